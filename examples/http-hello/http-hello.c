/* Answers HTTP requests without an open port: `http-hello listen` in one place, `http-hello get NAME` in any other.
 *
 * cc -std=c99 http-hello.c -lhybridrelay -o http-hello
 */
#include <hybridrelay.h>
#include <stdio.h>
#include <string.h>

/* Options that are all zero stand for the defaults. */
static const hr_options DEFAULTS = {0};

/* How long one answer may take to leave. */
#define PATIENCE 20000

static void print_error(const char *what, hr_error *error) {
  fprintf(stderr, "%s: %s\n", what, hr_error_message(error));
  hr_error_free(error);
}

static void answer(hr_incoming incoming) {
  hr_request request;
  hr_responder responder;
  hr_error *error = NULL;
  char path[256], body[300];
  int len;

  /* A WebSocket, which this program does not serve, is no request. */
  if (hr_incoming_into_request(incoming, &request, &responder, &error) != HR_OK) {
    print_error("not a request", error);
    hr_incoming_release(incoming, NULL);
    return;
  }
  /* The path is what stands behind the name of the hybrid connection, as the sender wrote it. */
  if (hr_request_get(request, HR_INCOMING_PATH, path, sizeof path, NULL, NULL) != HR_OK) strcpy(path, "/stranger");
  hr_request_release(request, NULL);
  len = snprintf(body, sizeof body, "Hello, %s!\n", path + strspn(path, "/"));
  /* NULL stands for the usual reason of a status. Answering uses the responder up. */
  if (hr_responder_send(responder, 200, NULL, 0, NULL, 0, (const uint8_t *)body, (size_t)len, PATIENCE, &error) != HR_OK) {
    print_error("a request was not answered", error);
  }
}

static int listen_for_requests(void) {
  hr_listener listener;
  hr_incoming incoming;
  hr_error *error = NULL;

  /* NULL stands for the connection string in HYBRIDRELAY_CONNECTION_STRING. */
  if (hr_listener_open(NULL, 0, DEFAULTS, HR_FOREVER, &listener, &error) != HR_OK) {
    print_error("cannot listen", error);
    return 1;
  }
  puts("online");
  fflush(stdout);
  while (hr_listener_accept(listener, HR_FOREVER, &incoming, &error) == HR_OK) answer(incoming);
  print_error("the listener has ended", error);
  hr_listener_release(listener, NULL);
  return 1;
}

static int get(const char *name) {
  hr_sender sender;
  hr_outgoing request;
  hr_response response;
  hr_error *error = NULL;
  hr_code code;
  uint16_t status = 0;
  uint8_t part[4096];
  size_t len;
  char path[256];

  if ((size_t)snprintf(path, sizeof path, "/%s", name) >= sizeof path) {
    fputs("the name is too long\n", stderr);
    return 1;
  }
  if (hr_sender_new(NULL, 0, DEFAULTS, &sender, &error) != HR_OK) {
    print_error("cannot send", error);
    return 1;
  }
  /* NULL is GET. Sending uses the request up. */
  code = hr_outgoing_new(NULL, 0, path, HR_NTS, &request, &error);
  if (code == HR_OK) code = hr_sender_request(sender, request, &response, &error);
  hr_sender_release(sender, NULL);
  if (code != HR_OK) {
    print_error("cannot ask", error);
    return 1;
  }
  /* Whatever a listener answers is no error, but what the relay itself refuses is one: HR_NO_LISTENERS, for instance. */
  code = hr_response_wait(response, HR_FOREVER, &status, &error);
  if (code == HR_OK && status / 100 != 2) {
    fprintf(stderr, "the listener answered %u\n", (unsigned)status);
    hr_response_release(response, NULL);
    return 1;
  }
  /* The body comes in parts, at our pace. HR_END is its end, and comes with an error to free as well. */
  while (code == HR_OK && (code = hr_response_read(response, part, sizeof part, &len, HR_FOREVER, &error)) == HR_OK) {
    fwrite(part, 1, len, stdout);
  }
  hr_response_release(response, NULL);
  if (code != HR_END) {
    print_error("no answer", error);
    return 1;
  }
  hr_error_free(error);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "listen") == 0) return listen_for_requests();
  if (argc == 3 && strcmp(argv[1], "get") == 0) return get(argv[2]);
  fputs("usage: http-hello listen | http-hello get NAME\n", stderr);
  return 2;
}
