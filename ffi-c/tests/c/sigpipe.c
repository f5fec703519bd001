/* Writing to what is gone raises no signal in the program's threads, whatever they do about SIGPIPE. */
#include "http.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* A proxy for one connection, which it closes in good order on demand: what is written to it then is answered by a reset. */
static struct {
  int listener, cut[2];
} proxy;

static int dial(uint16_t port) {
  struct sockaddr_in address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
  return fd;
}

static void passes(int from, int to) {
  char data[4096];
  ssize_t len = recv(from, data, sizeof data, 0);
  CHECK(len > 0 && send(to, data, (size_t)len, MSG_NOSIGNAL) == len);
}

static void *proxies(void *unused) {
  static const char ESTABLISHED[] = "HTTP/1.1 200 OK\r\n\r\n";
  char head[1024] = {0}, *colon;
  size_t len = 0;
  struct pollfd watched[3];
  int client = accept(proxy.listener, NULL, NULL), relay;
  (void)unused;
  CHECK(client >= 0);
  while (!strstr(head, "\r\n\r\n")) {
    ssize_t more = recv(client, head + len, sizeof head - 1 - len, 0);
    CHECK(more > 0);
    len += (size_t)more;
  }
  CHECK(strncmp(head, "CONNECT ", 8) == 0 && (colon = strchr(head, ':')) != NULL);
  relay = dial((uint16_t)atoi(colon + 1));
  CHECK(send(client, ESTABLISHED, sizeof ESTABLISHED - 1, MSG_NOSIGNAL) == sizeof ESTABLISHED - 1);
  watched[0].fd = client;
  watched[1].fd = relay;
  watched[2].fd = proxy.cut[0];
  watched[0].events = watched[1].events = watched[2].events = POLLIN;
  for (;;) {
    CHECK(poll(watched, 3, -1) > 0);
    if (watched[2].revents) {
      CHECK(read(proxy.cut[0], head, 1) == 1);
      CHECK(close(client) == 0 && close(relay) == 0);
      return NULL;
    }
    if (watched[0].revents) {
      passes(client, relay);
    }
    if (watched[1].revents) {
      passes(relay, client);
    }
  }
}

/* Blocking calls are polled on this thread, so this thread writes to the socket. */
static void writes_until_it_fails(hr_connection connection, size_t len) {
  static uint8_t data[1 << 20];
  hr_code code;
  do {
    code = hr_connection_send(connection, HR_MESSAGE_BINARY, data, len, LONG, NULL);
  } while (code == HR_OK);
  CHECK(code == HR_CONNECTION_LOST);
}

/* The peer closes its socket in good order, as one that ends does, and what we write is answered by a reset. */
static void closed_in_good_order(hr_listener listener, const char *cs, size_t len) {
  hr_connection ours, theirs;
  hr_incoming incoming;
  hr_completion end;
  hr_queue queue;
  hr_options options;
  hr_sender sender;
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  pthread_t thread;
  char url[64];
  proxy.listener = socket(AF_INET, SOCK_STREAM, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(proxy.listener >= 0 && bind(proxy.listener, (struct sockaddr *)&address, size) == 0);
  CHECK(listen(proxy.listener, 1) == 0 && getsockname(proxy.listener, (struct sockaddr *)&address, &size) == 0);
  CHECK(pipe(proxy.cut) == 0 && pthread_create(&thread, NULL, proxies, NULL) == 0);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));

  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_PROXY, url, HR_NTS, &error));
  OK(hr_sender_new(cs, HR_NTS, options, &sender, &error));
  OK(hr_queue_new(&queue, &error));
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, 1, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &theirs, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  ours = end.connection;
  CHECK(write(proxy.cut[1], "x", 1) == 1 && pthread_join(thread, NULL) == 0);
  writes_until_it_fails(ours, len);

  OK(hr_connection_release(ours, &error));
  OK(hr_connection_release(theirs, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_options_release(options, &error));
  CHECK(close(proxy.listener) == 0 && close(proxy.cut[0]) == 0 && close(proxy.cut[1]) == 0);
}

static void round_of(hr_listener listener, hr_sender sender, size_t len) {
  hr_connection ours, theirs;
  hr_incoming incoming;
  hr_completion end;
  hr_queue queue;
  OK(hr_queue_new(&queue, &error));
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, 1, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &theirs, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  ours = end.connection;
  OK(hr_connection_abort(theirs, &error));
  writes_until_it_fails(ours, len);
  OK(hr_connection_release(ours, &error));
  OK(hr_connection_release(theirs, &error));
  OK(hr_queue_release(queue, &error));
}

int main(void) {
  char cs[512];
  hr_local_relay relay;
  hr_listener listener;
  hr_sender sender;
  hr_response response;
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
  sigset_t pipe_signal;
  int round;
  CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
  CHECK(sigemptyset(&pipe_signal) == 0 && sigaddset(&pipe_signal, SIGPIPE) == 0);
  CHECK(sigprocmask(SIG_UNBLOCK, &pipe_signal, NULL) == 0);
  relay = start(cs, sizeof cs);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  for (round = 0; round < 20; round++) {
    round_of(listener, sender, 1);
    round_of(listener, sender, 70000);
    round_of(listener, sender, 1 << 20);
  }
  closed_in_good_order(listener, cs, 1);
  closed_in_good_order(listener, cs, 70000);
  closed_in_good_order(listener, cs, 1 << 20);
  /* The same for a body. */
  response = asks(sender, "GET", "/", NULL);
  takes(listener, &request, &responder);
  OK(hr_responder_start(responder, 200, NULL, 0, NULL, 0, &body, &error));
  OK(hr_body_flush(body, LONG, &error));
  OK(hr_response_release(response, &error));
  for (;;) {
    static uint8_t data[70000];
    hr_code code = hr_body_write(body, data, sizeof data, LONG, NULL, NULL);
    if (code != HR_OK) {
      CHECK(code == HR_CONNECTION_LOST);
      break;
    }
  }
  OK(hr_body_release(body, &error));
  OK(hr_request_release(request, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
