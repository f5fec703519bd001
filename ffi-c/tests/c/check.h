/* What the tests in this folder have in common. */
#ifndef CHECK_H
#define CHECK_H

#include <hybridrelay.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG 60000u

/* Fails with the place and what the library says. */
#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);   \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

static inline void expect(hr_code got, hr_code wanted, hr_error *error, const char *call, int line) {
  if (got != wanted) {
    const char *message = error ? hr_error_message(error) : "no error was given";
    fprintf(stderr, "line %d: %s gave %s and not %s: %s\n", line, call, hr_code_name(got), hr_code_name(wanted), message);
    exit(1);
  }
  hr_error_free(error);
}

/* A call whose last argument is `&error`. */
#define WANT(wanted, call)                                \
  do {                                                    \
    hr_error *error = NULL;                               \
    hr_code code_of_call = (call);                        \
    CHECK((code_of_call == HR_OK) == (error == NULL));    \
    expect(code_of_call, wanted, error, #call, __LINE__); \
  } while (0)

#define OK(call) WANT(HR_OK, call)

static const hr_options DEFAULTS = {0};

/* A relay, and the connection string of one of its hybrid connections. */
static inline hr_local_relay start(char *cs, size_t capacity) {
  hr_local_relay relay;
  OK(hr_local_relay_start(false, &relay, &error));
  OK(hr_local_relay_connection_string(relay, "hyco", HR_NTS, cs, capacity, NULL, &error));
  return relay;
}

static inline void text(hr_connection connection, const char *message) {
  OK(hr_connection_send(connection, HR_MESSAGE_TEXT, (const uint8_t *)message, strlen(message), LONG, &error));
}

static inline void receives(hr_connection connection, const char *message) {
  hr_message got;
  OK(hr_connection_receive(connection, LONG, &got, &error));
  CHECK(got.kind == HR_MESSAGE_TEXT && got.len == strlen(message) && memcmp(got.data, message, got.len) == 0);
  hr_message_free(&got);
  hr_message_free(&got);
}

#endif
