/* A relay inside a test: no server to start, no address to configure, nothing left behind. Prints `passed`.
 *
 * cc -std=c99 local-relay-test.c -lhybridrelay -lpthread -o local-relay-test
 */
#include <hybridrelay.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A test that hangs tells nothing: no wait is longer than ten seconds. */
#define SOON 10000

static const hr_options DEFAULTS = {0};

/* Ends the test where something is not as it must be. A program may end without releasing anything. */
static void must(hr_code code, hr_code wanted, const char *what, hr_error **error) {
  if (code != wanted) {
    fprintf(stderr, "%s: %s: %s\n", what, hr_code_name(code), *error != NULL ? hr_error_message(*error) : "no error");
    exit(1);
  }
  hr_error_free(*error);
  *error = NULL;
}

/* What is tested: here a listener that greets. */
static void *greets(void *argument) {
  hr_listener listener = *(hr_listener *)argument;
  hr_incoming incoming;
  hr_connection connection;
  hr_error *error = NULL;
  must(hr_listener_accept(listener, SOON, &incoming, &error), HR_OK, "accept a sender", &error);
  must(hr_incoming_accept(incoming, NULL, 0, SOON, &connection, &error), HR_OK, "answer it", &error);
  must(hr_connection_send(connection, HR_MESSAGE_TEXT, (const uint8_t *)"welcome", 7, SOON, &error), HR_OK, "greet", &error);
  must(hr_connection_close(connection, SOON, &error), HR_OK, "close", &error);
  must(hr_connection_release(connection, &error), HR_OK, "release", &error);
  return NULL;
}

int main(void) {
  hr_local_relay relay;
  hr_listener listener;
  hr_sender sender;
  hr_connection connection;
  hr_message greeting, more;
  char connection_string[512];
  pthread_t greeter;
  hr_error *error = NULL;

  /* On a free port of 127.0.0.1, without TLS. A hybrid connection of a name comes to be when somebody listens on it. */
  must(hr_local_relay_start(false, &relay, &error), HR_OK, "start a relay", &error);
  must(hr_local_relay_connection_string(relay, "greetings", HR_NTS, connection_string, sizeof connection_string, NULL, &error), HR_OK,
       "its connection string", &error);
  must(hr_listener_open(connection_string, HR_NTS, DEFAULTS, SOON, &listener, &error), HR_OK, "listen", &error);
  if (pthread_create(&greeter, NULL, greets, &listener) != 0) return 1;

  /* The other side of the conversation, played by the test. */
  must(hr_sender_new(connection_string, HR_NTS, DEFAULTS, &sender, &error), HR_OK, "make a sender", &error);
  must(hr_sender_connect(sender, NULL, 0, NULL, 0, SOON, &connection, &error), HR_OK, "connect", &error);
  must(hr_connection_receive(connection, SOON, &greeting, &error), HR_OK, "receive", &error);
  if (greeting.len != 7 || memcmp(greeting.data, "welcome", 7) != 0) {
    fprintf(stderr, "the listener said '%.*s'\n", (int)greeting.len, (const char *)greeting.data);
    return 1;
  }
  hr_message_free(&greeting);
  must(hr_connection_receive(connection, SOON, &more, &error), HR_END, "only one greeting", &error);
  must(hr_connection_close(connection, SOON, &error), HR_OK, "close", &error);

  if (pthread_join(greeter, NULL) != 0) return 1;
  must(hr_connection_release(connection, &error), HR_OK, "release", &error);
  must(hr_sender_release(sender, &error), HR_OK, "release", &error);
  must(hr_listener_release(listener, &error), HR_OK, "release", &error);
  /* Connections that are still there would have a second to end. */
  must(hr_local_relay_stop(relay, 1000, &error), HR_OK, "stop the relay", &error);
  if (hr_live_handles() != 0) {
    fputs("something was not released\n", stderr);
    return 1;
  }
  puts("passed");
  return 0;
}
