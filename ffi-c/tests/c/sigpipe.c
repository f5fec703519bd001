/* Writing to what is gone raises no signal in the program's threads, whatever they do about SIGPIPE. */
#include "http.h"
#include <signal.h>

/* Blocking calls are polled on this thread, so this thread writes to the socket. */
static void writes_until_it_fails(hr_connection connection, size_t len) {
  static uint8_t data[1 << 20];
  hr_code code;
  do {
    code = hr_connection_send(connection, HR_MESSAGE_BINARY, data, len, LONG, NULL);
  } while (code == HR_OK);
  CHECK(code == HR_CONNECTION_LOST || code == HR_CLOSED);
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
  return 0;
}
