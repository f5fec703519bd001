/* One thread, one queue, poll: an echo server and its client. */
#include "check.h"
#include <poll.h>

enum { ACCEPT = 1, JOIN, CONNECT, SERVER_RECEIVE, CLIENT_RECEIVE, SEND, HANGS, PANICS };

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  hr_listener listener;
  hr_sender sender;
  hr_queue queue;
  hr_connection server = {0}, client = {0};
  hr_operation hangs;
  hr_completion end;
  struct pollfd watched;
  int echoed = 0;

  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  OK(hr_queue_new(&queue, &error));
  watched.fd = hr_queue_fd(queue);
  watched.events = POLLIN;
  CHECK(watched.fd >= 0 && poll(&watched, 1, 0) == 0);
  WANT(HR_WOULD_BLOCK, hr_queue_next(queue, 0, &end, &error));

  OK(hr_listener_accept_submit(listener, queue, ACCEPT, NULL, &error));
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, CONNECT, NULL, &error));
  while (echoed < 100) {
    CHECK(poll(&watched, 1, 60000) == 1);
    while (hr_queue_next(queue, 0, &end, NULL) == HR_OK) {
      if (end.code != HR_OK) {
        expect(end.code, HR_OK, end.error, "an operation", __LINE__);
      }
      switch (end.tag) {
      case ACCEPT:
        OK(hr_incoming_accept_submit(end.incoming, NULL, 0, queue, JOIN, NULL, &error));
        break;
      case JOIN:
        server = end.connection;
        OK(hr_connection_receive_submit(server, queue, SERVER_RECEIVE, NULL, &error));
        break;
      case CONNECT:
        client = end.connection;
        OK(hr_connection_receive_submit(client, queue, CLIENT_RECEIVE, NULL, &error));
        OK(hr_connection_send_submit(client, HR_MESSAGE_BINARY, (const uint8_t *)"ball", 4, queue, SEND, NULL, &error));
        break;
      case SERVER_RECEIVE:
      case CLIENT_RECEIVE: {
        hr_connection to = end.tag == SERVER_RECEIVE ? server : client;
        CHECK(end.message.len == 4 && memcmp(end.message.data, "ball", 4) == 0);
        echoed++;
        OK(hr_connection_send_submit(to, end.message.kind, end.message.data, end.message.len, queue, SEND, NULL, &error));
        OK(hr_connection_receive_submit(to, queue, end.tag, NULL, &error));
        hr_message_free(&end.message);
        break;
      }
      default:
        CHECK(end.tag == SEND);
      }
    }
  }

  OK(hr_test_submit(false, queue, HANGS, &hangs, &error));
  OK(hr_test_submit(true, queue, PANICS, NULL, &error));
  hr_operation_cancel(hangs);
  hr_operation_cancel(hangs);
  {
    int cancelled = 0, panicked = 0;
    while (!cancelled || !panicked) {
      OK(hr_queue_next(queue, LONG, &end, &error));
      if (end.tag == HANGS) {
        cancelled = 1;
        CHECK(end.code == HR_CANCELLED && end.operation.id == hangs.id && hr_error_code(end.error) == HR_CANCELLED);
      } else if (end.tag == PANICS) {
        panicked = 1;
        CHECK(end.code == HR_INTERNAL);
      }
      hr_message_free(&end.message);
      hr_error_free(end.error);
    }
  }
  /* Operations are under way, and end with it. */
  OK(hr_listener_accept_submit(listener, queue, ACCEPT, NULL, &error));
  OK(hr_test_submit(false, queue, HANGS, NULL, &error));
  OK(hr_queue_release(queue, &error));
  CHECK(hr_queue_fd(queue) == -1);
  OK(hr_connection_release(server, &error));
  OK(hr_connection_release(client, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
