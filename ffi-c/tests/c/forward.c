/* What comes in at a listener goes to a server near it. */
#include "http.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT = 1, FAILURE, CONNECT };

static char cs[512];

/* A socket that is bound to a port of loopback; the target names it. */
static int bound(const char *scheme, char target[64]) {
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
  snprintf(target, 64, "%s://127.0.0.1:%d", scheme, ntohs(address.sin_port));
  return fd;
}

static void *echoes(void *argument) {
  char data[4096];
  ssize_t len;
  int client = accept(*(int *)argument, NULL, NULL);
  CHECK(client >= 0);
  while ((len = recv(client, data, sizeof data, 0)) > 0) {
    CHECK(send(client, data, (size_t)len, MSG_NOSIGNAL) == len);
  }
  CHECK(len == 0 && close(client) == 0);
  return NULL;
}

static char seen[4096];

/* Answers one request and keeps its head. */
static void *serves(void *argument) {
  static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
  size_t len = 0;
  int client = accept(*(int *)argument, NULL, NULL);
  CHECK(client >= 0);
  memset(seen, 0, sizeof seen);
  while (!strstr(seen, "\r\n\r\n")) {
    ssize_t more = recv(client, seen + len, sizeof seen - 1 - len, 0);
    CHECK(more > 0);
    len += (size_t)more;
  }
  CHECK(send(client, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) == sizeof ANSWER - 1);
  CHECK(close(client) == 0);
  return NULL;
}

static hr_listener opened(void) {
  hr_listener listener;
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  return listener;
}

static void connections_go_to_a_server_until_the_forwarder_stops(hr_sender sender) {
  char target[64];
  int server = bound("tcp", target);
  hr_listener listener = opened();
  hr_forwarder forwarder;
  hr_connection connection;
  hr_stream stream;
  hr_incoming incoming;
  hr_error *failure = NULL;
  pthread_t thread;
  uint8_t got[16];
  size_t len, at = 0;
  CHECK(listen(server, 1) == 0 && pthread_create(&thread, NULL, echoes, &server) == 0);
  OK(hr_listener_forward(listener, target, HR_NTS, DEFAULTS, &forwarder, &error));
  WANT(HR_WOULD_BLOCK, hr_forwarder_wait(forwarder, 0, &error));
  WANT(HR_TIMEOUT, hr_forwarder_failure(forwarder, 10, &failure, &error));
  OK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &connection, &error));
  OK(hr_connection_into_stream(connection, &stream, &error));
  OK(hr_stream_write(stream, (const uint8_t *)"there and back", 14, LONG, NULL, &error));
  while (at < 14) {
    OK(hr_stream_read(stream, got + at, sizeof got - at, &len, LONG, &error));
    at += len;
  }
  CHECK(at == 14 && memcmp(got, "there and back", 14) == 0);
  /* What was accepted goes on behind the stop. */
  OK(hr_forwarder_stop(forwarder, &error));
  OK(hr_forwarder_wait(forwarder, LONG, &error));
  OK(hr_forwarder_wait(forwarder, 0, &error));
  WANT(HR_END, hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_stream_write(stream, (const uint8_t *)"more", 4, LONG, NULL, &error));
  OK(hr_stream_read(stream, got, 1, &len, LONG, &error));
  OK(hr_stream_close(stream, LONG, &error));
  WANT(HR_END, hr_forwarder_failure(forwarder, LONG, &failure, &error));
  CHECK(pthread_join(thread, NULL) == 0 && close(server) == 0);
  OK(hr_stream_release(stream, &error));
  OK(hr_connection_release(connection, &error));
  OK(hr_forwarder_release(forwarder, &error));
  OK(hr_listener_release(listener, &error));
}

static void what_fails_is_told(hr_sender sender) {
  char target[64];
  int nobody = bound("tcp", target);
  hr_listener listener = opened();
  hr_forwarder forwarder;
  hr_connection connection;
  hr_queue queue;
  hr_completion end;
  hr_operation operation;
  hr_error *failure = NULL, *error = NULL;
  hr_incoming incoming;
  OK(hr_queue_new(&queue, &error));
  OK(hr_listener_forward(listener, target, HR_NTS, DEFAULTS, &forwarder, &error));
  OK(hr_forwarder_failure_submit(forwarder, queue, FAILURE, &operation, &error));
  hr_operation_cancel(operation);
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.code == HR_CANCELLED);
  hr_error_free(end.error);
  CHECK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &connection, &error) == HR_REJECTED);
  CHECK(hr_error_status(error) == 502);
  hr_error_free(error);
  OK(hr_forwarder_failure(forwarder, LONG, &failure, &error));
  CHECK(hr_error_code(failure) == HR_NETWORK && hr_error_tracking_id(failure) != NULL);
  hr_error_free(failure);
  OK(hr_forwarder_failure_submit(forwarder, queue, FAILURE, NULL, &error));
  WANT(HR_REJECTED, hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &connection, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.tag == FAILURE && end.code == HR_OK && hr_error_code(end.error) == HR_NETWORK);
  hr_error_free(end.error);
  /* Released at work, it leaves the listener as it is. */
  OK(hr_forwarder_wait_submit(forwarder, queue, WAIT, NULL, &error));
  OK(hr_forwarder_release(forwarder, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.tag == WAIT && end.code == HR_CLOSED);
  hr_error_free(end.error);
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, CONNECT, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_reject(incoming, 451, NULL, 0, LONG, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.tag == CONNECT && end.code == HR_REJECTED && hr_error_status(end.error) == 451);
  hr_error_free(end.error);
  OK(hr_listener_release(listener, &error));
  OK(hr_queue_release(queue, &error));
  CHECK(close(nobody) == 0);
}

static void requests_go_to_a_server_as_the_options_say(hr_sender sender) {
  char target[64];
  int server = bound("http", target);
  hr_listener listener = opened();
  hr_forwarder forwarder;
  hr_options options;
  hr_queue queue;
  hr_completion end;
  pthread_t thread;
  CHECK(listen(server, 8) == 0);
  OK(hr_queue_new(&queue, &error));
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_int(options, HR_OPT_FORWARD_HEADERS, 1, &error));
  OK(hr_listener_forward(listener, target, HR_NTS, options, &forwarder, &error));
  CHECK(pthread_create(&thread, NULL, serves, &server) == 0);
  answered(asks(sender, "GET", "/orders?x=1", NULL), 200, "ok");
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(strncmp(seen, "GET /orders?x=1 HTTP/1.1\r\n", 26) == 0 && strstr(seen, "x-forwarded-prefix: /hyco\r\n"));
  OK(hr_forwarder_wait_submit(forwarder, queue, WAIT, NULL, &error));
  OK(hr_listener_close(listener, LONG, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.tag == WAIT && end.code == HR_OK);
  OK(hr_forwarder_release(forwarder, &error));
  OK(hr_listener_release(listener, &error));

  listener = opened();
  OK(hr_options_set_int(options, HR_OPT_FORWARD_STRIP, 0, &error));
  OK(hr_options_set_int(options, HR_OPT_FORWARD_HEADERS, 0, &error));
  OK(hr_options_set_int(options, HR_OPT_FORWARD_REWRITE, 1, &error));
  OK(hr_listener_forward(listener, target, HR_NTS, options, &forwarder, &error));
  CHECK(pthread_create(&thread, NULL, serves, &server) == 0);
  answered(asks(sender, "GET", "/orders", NULL), 200, "ok");
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(strncmp(seen, "GET /hyco/orders HTTP/1.1\r\n", 27) == 0 && !strstr(seen, "x-forwarded"));
  OK(hr_forwarder_release(forwarder, &error));
  WANT(HR_INVALID_HANDLE, hr_forwarder_stop(forwarder, &error));

  /* A target that is none. */
  WANT(HR_INVALID_ARGUMENT, hr_listener_forward(listener, "ftp://host", HR_NTS, options, &forwarder, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_options_release(options, &error));
  OK(hr_queue_release(queue, &error));
  CHECK(close(server) == 0);
}

int main(void) {
  hr_local_relay relay = start(cs, sizeof cs);
  hr_sender sender;
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  connections_go_to_a_server_until_the_forwarder_stops(sender);
  what_fails_is_told(sender);
  requests_go_to_a_server_as_the_options_say(sender);
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
