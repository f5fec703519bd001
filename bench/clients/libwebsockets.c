/* libwebsockets, by its event loop: it calls us when it may be written to and when something has come. */
#include "client.h"
#include <libwebsockets.h>
#include <stdbool.h>

static const char *what;
static size_t size;
static unsigned char *payload; /* with LWS_PRE bytes of room in front */

static struct lws_context *context;
static struct lws *socket_of_ws;
static bool is_open, is_closing, is_closed;

static char command[64];
static unsigned long to_send, to_receive;
static size_t received_of_message;

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
  (void)user;
  (void)in;
  switch (reason) {
  case LWS_CALLBACK_CLIENT_ESTABLISHED:
    is_open = true;
    break;
  case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    fprintf(stderr, "connection error: %s\n", in ? (char *)in : "unknown");
    exit(1);
  case LWS_CALLBACK_CLIENT_WRITEABLE:
    if (is_closing) {
      lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
      return -1;
    }
    if (command[0] != 0) {
      unsigned char text[LWS_PRE + sizeof command];
      size_t words = strlen(command);
      memcpy(text + LWS_PRE, command, words);
      REQUIRE(lws_write(wsi, text + LWS_PRE, words, LWS_WRITE_TEXT) >= (int)words);
      command[0] = 0;
      lws_callback_on_writable(wsi);
    } else if (to_send > 0) {
      REQUIRE(lws_write(wsi, payload + LWS_PRE, size, LWS_WRITE_BINARY) >= (int)size);
      if (--to_send > 0 && strcmp(what, "echo") != 0) {
        lws_callback_on_writable(wsi);
      }
    }
    break;
  case LWS_CALLBACK_CLIENT_RECEIVE:
    received_of_message += len;
    if (lws_is_final_fragment(wsi)) {
      REQUIRE(received_of_message == size || strcmp(what, "send") == 0);
      received_of_message = 0;
      to_receive--;
      if (to_send > 0) {
        lws_callback_on_writable(wsi);
      }
    }
    break;
  case LWS_CALLBACK_CLIENT_CLOSED:
    is_closed = true;
    break;
  default:
    break;
  }
  return 0;
}

static const struct lws_protocols protocols[] = {{"bench", callback, 0, 256 * 1024, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};

static void connected(void) {
  struct lws_client_connect_info info;
  memset(&info, 0, sizeof info);
  info.context = context;
  info.address = "localhost";
  info.host = info.address;
  info.origin = info.address;
  info.port = atoi(told("BENCH_PORT"));
  info.path = "/$hc/bench?sb-hc-action=connect";
  info.ssl_connection = getenv("BENCH_CA") ? LCCSCF_USE_SSL : 0;
  info.local_protocol_name = "bench";
  info.pwsi = &socket_of_ws;
  is_open = is_closing = is_closed = false;
  REQUIRE(lws_client_connect_via_info(&info) != NULL);
  while (!is_open) {
    REQUIRE(lws_service(context, 0) >= 0);
  }
}

static void closed(void) {
  is_closing = true;
  lws_callback_on_writable(socket_of_ws);
  while (!is_closed) {
    REQUIRE(lws_service(context, 0) >= 0);
  }
}

int main(int count_of_arguments, char **arguments) {
  struct lws_context_creation_info info;
  unsigned long count, i;

  REQUIRE(count_of_arguments == 3);
  what = arguments[1];
  size = strtoul(arguments[2], NULL, 10);
  payload = calloc(1, LWS_PRE + size);
  lws_set_log_level(LLL_ERR, NULL);
  memset(&info, 0, sizeof info);
  info.port = CONTEXT_PORT_NO_LISTEN;
  info.protocols = protocols;
  info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
  info.pt_serv_buf_size = 256 * 1024;
  info.client_ssl_ca_filepath = getenv("BENCH_CA");
  context = lws_create_context(&info);
  REQUIRE(context != NULL);
  if (strcmp(what, "connect") != 0) {
    connected();
  }
  for (count = next_count("ready"); count > 0; count = next_count("done")) {
    if (strcmp(what, "connect") == 0) {
      for (i = 0; i < count; i++) {
        connected();
        closed();
      }
      continue;
    }
    if (strcmp(what, "send") == 0) {
      snprintf(command, sizeof command, "send %lu", count);
      to_send = count;
      to_receive = 1;
    } else if (strcmp(what, "receive") == 0) {
      snprintf(command, sizeof command, "receive %lu %lu", count, (unsigned long)size);
      to_receive = count;
    } else if (strcmp(what, "echo") == 0) {
      snprintf(command, sizeof command, "echo %lu", count);
      to_send = to_receive = count;
    } else {
      fprintf(stderr, "no such case: %s\n", what);
      return 2;
    }
    lws_callback_on_writable(socket_of_ws);
    while (to_receive > 0) {
      REQUIRE(lws_service(context, 0) >= 0 && !is_closed);
    }
  }
  lws_context_destroy(context);
  free(payload);
  return 0;
}
