/* Our C library, by its blocking calls. */
#include "client.h"
#include <hybridrelay.h>

static void must(hr_code code, hr_error *error, int line) {
  if (code != HR_OK) {
    fprintf(stderr, "line %d: %s: %s\n", line, hr_code_name(code), error ? hr_error_message(error) : "");
    exit(1);
  }
}

#define MUST(call)                \
  do {                            \
    hr_error *error = NULL;       \
    hr_code code = (call);        \
    must(code, error, __LINE__);  \
  } while (0)

static void say(hr_connection connection, const char *words) {
  MUST(hr_connection_send(connection, HR_MESSAGE_TEXT, (const uint8_t *)words, strlen(words), HR_FOREVER, &error));
}

static hr_connection connected(hr_sender sender) {
  hr_connection connection;
  MUST(hr_sender_connect(sender, NULL, 0, NULL, 0, HR_FOREVER, &connection, &error));
  return connection;
}

static void closed(hr_connection connection) {
  MUST(hr_connection_close(connection, HR_FOREVER, &error));
  MUST(hr_connection_release(connection, &error));
}

static void received(hr_connection connection, size_t size) {
  hr_message message;
  MUST(hr_connection_receive(connection, HR_FOREVER, &message, &error));
  REQUIRE(message.len == size);
  hr_message_free(&message);
}

static void requested(hr_sender sender, size_t size) {
  static uint8_t buffer[64 * 1024];
  hr_outgoing outgoing;
  hr_response response;
  size_t len, all = 0;
  uint16_t status;
  hr_code code;
  hr_error *error = NULL;
  MUST(hr_outgoing_new(NULL, 0, NULL, 0, &outgoing, &error));
  MUST(hr_sender_request(sender, outgoing, &response, &error));
  MUST(hr_response_wait(response, HR_FOREVER, &status, &error));
  while ((code = hr_response_read(response, buffer, sizeof buffer, &len, HR_FOREVER, &error)) == HR_OK) {
    all += len;
  }
  REQUIRE(code == HR_END && status == 200 && all == size);
  hr_error_free(error);
  MUST(hr_response_release(response, &error));
}

int main(int count_of_arguments, char **arguments) {
  const char *what = count_of_arguments == 3 ? arguments[1] : "";
  size_t size = count_of_arguments == 3 ? strtoul(arguments[2], NULL, 10) : 0;
  uint8_t *payload = calloc(1, size + 1);
  unsigned long count, i;
  char words[64];
  bool is_stream;
  hr_options options;
  hr_sender sender;
  hr_connection connection = {0};

  MUST(hr_options_new(&options, &error));
  if (getenv("BENCH_CA")) {
    size_t len;
    char *pem = whole_file(told("BENCH_CA"), &len);
    MUST(hr_options_set_str(options, HR_OPT_EXTRA_CA_PEM, pem, len, &error));
    free(pem);
  }
  MUST(hr_sender_new(told("BENCH_CONNECTION_STRING"), HR_NTS, options, &sender, &error));
  is_stream = strcmp(what, "connect") != 0 && strcmp(what, "request") != 0;
  if (is_stream) {
    connection = connected(sender);
  }
  for (count = next_count("ready"); count > 0; count = next_count("done")) {
    if (strcmp(what, "send") == 0) {
      snprintf(words, sizeof words, "send %lu", count);
      say(connection, words);
      for (i = 0; i < count; i++) {
        MUST(hr_connection_send(connection, HR_MESSAGE_BINARY, payload, size, HR_FOREVER, &error));
      }
      received(connection, 4);
    } else if (strcmp(what, "receive") == 0) {
      snprintf(words, sizeof words, "receive %lu %lu", count, (unsigned long)size);
      say(connection, words);
      for (i = 0; i < count; i++) {
        received(connection, size);
      }
    } else if (strcmp(what, "echo") == 0) {
      snprintf(words, sizeof words, "echo %lu", count);
      say(connection, words);
      for (i = 0; i < count; i++) {
        MUST(hr_connection_send(connection, HR_MESSAGE_BINARY, payload, size, HR_FOREVER, &error));
        received(connection, size);
      }
    } else if (strcmp(what, "connect") == 0) {
      for (i = 0; i < count; i++) {
        closed(connected(sender));
      }
    } else if (strcmp(what, "request") == 0) {
      for (i = 0; i < count; i++) {
        requested(sender, size);
      }
    } else {
      fprintf(stderr, "no such case: %s\n", what);
      return 2;
    }
  }
  if (is_stream) {
    closed(connection);
  }
  MUST(hr_sender_release(sender, &error));
  MUST(hr_options_release(options, &error));
  free(payload);
  return 0;
}
