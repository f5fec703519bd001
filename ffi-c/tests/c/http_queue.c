/* One thread and one queue: a server that echoes while it reads, its client, and operations that are cancelled. */
#include "http.h"
#include <poll.h>

enum { ACCEPT = 1, READ, WRITE, FINISH, ANSWER, READ_ANSWER, UPLOAD, UPLOADED, GONE, CANCELLED, DIAL, CONNECT, SENT, FLUSH };

static hr_queue queue;

static hr_completion next(uint64_t wanted) {
  hr_completion end;
  OK(hr_queue_next(queue, LONG, &end, &error));
  if (end.tag != wanted || end.code != HR_OK) {
    fprintf(stderr, "the end of %u came, not that of %u\n", (unsigned)end.tag, (unsigned)wanted);
    expect(end.code, HR_OK, end.error, "an operation", __LINE__);
    exit(1);
  }
  return end;
}

int main(void) {
  static uint8_t data[65537];
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  hr_listener listener;
  hr_sender sender;
  hr_outgoing outgoing;
  hr_response response;
  hr_request request = {0};
  hr_responder responder;
  hr_body_writer upload, body = {0};
  hr_operation operation;
  hr_completion end;
  size_t received = 0, echoed = 0;
  struct pollfd watched;
  int finished = 0, ended = 0, gone = 0;

  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  OK(hr_queue_new(&queue, &error));

  OK(hr_listener_accept_submit(listener, queue, ACCEPT, NULL, &error));
  OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
  OK(hr_outgoing_stream(outgoing, &upload, &error));
  OK(hr_sender_request(sender, outgoing, &response, &error));
  fill(data, 0, sizeof data);
  OK(hr_body_write_submit(upload, data, sizeof data, queue, UPLOAD, NULL, &error));
  OK(hr_response_wait_submit(response, queue, ANSWER, NULL, &error));
  while (!finished || !ended || !gone) {
    OK(hr_queue_next(queue, LONG, &end, &error));
    if (end.code != HR_OK && end.code != HR_END) {
      expect(end.code, HR_OK, end.error, "an operation", __LINE__);
    }
    switch (end.tag) {
    case ACCEPT:
      OK(hr_incoming_into_request(end.incoming, &request, &responder, &error));
      OK(hr_responder_start(responder, 201, NULL, 0, NULL, 0, &body, &error));
      OK(hr_body_flush_submit(body, queue, FLUSH, NULL, &error));
      OK(hr_request_wait_gone_submit(request, queue, GONE, NULL, &error));
      OK(hr_request_read_submit(request, 50000, queue, READ, NULL, &error));
      break;
    case UPLOAD:
      CHECK(end.number == sizeof data);
      OK(hr_body_finish_submit(upload, queue, UPLOADED, NULL, &error));
      break;
    case READ:
      if (end.code == HR_END) {
        OK(hr_body_finish_submit(body, queue, FINISH, NULL, &error));
        break;
      }
      CHECK(end.message.kind == HR_MESSAGE_BINARY && end.message.len > 0 && end.message.len <= 50000);
      is_filled(end.message.data, echoed, end.message.len);
      echoed += end.message.len;
      OK(hr_body_write_submit(body, end.message.data, end.message.len, queue, WRITE, NULL, &error));
      break;
    case WRITE:
      OK(hr_request_read_submit(request, 50000, queue, READ, NULL, &error));
      break;
    case ANSWER:
      CHECK(end.number == 201);
      OK(hr_response_read_submit(response, 1 << 20, queue, READ_ANSWER, NULL, &error));
      break;
    case READ_ANSWER:
      if (end.code == HR_END) {
        ended = 1;
        break;
      }
      CHECK(end.message.len <= 65536);
      is_filled(end.message.data, received, end.message.len);
      received += end.message.len;
      OK(hr_response_read_submit(response, 1 << 20, queue, READ_ANSWER, NULL, &error));
      break;
    case GONE:
      CHECK(end.code == HR_END);
      gone = 1;
      break;
    case FINISH:
      finished = 1;
      break;
    default:
      CHECK(end.tag == UPLOADED || end.tag == FLUSH);
    }
    hr_message_free(&end.message);
    hr_error_free(end.error);
  }
  CHECK(received == sizeof data && echoed == sizeof data);
  OK(hr_request_release(request, &error));
  OK(hr_response_release(response, &error));
  OK(hr_body_release(body, &error));
  OK(hr_body_release(upload, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_queue_new(&queue, &error));

  /* A read that is cancelled loses nothing, and neither does a wait for the answer. */
  OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
  OK(hr_outgoing_stream(outgoing, &upload, &error));
  OK(hr_sender_request(sender, outgoing, &response, &error));
  OK(hr_body_write(upload, (const uint8_t *)"a", 1, LONG, NULL, &error));
  OK(hr_listener_accept_submit(listener, queue, ACCEPT, NULL, &error));
  OK(hr_incoming_into_request(next(ACCEPT).incoming, &request, &responder, &error));
  OK(hr_request_read_submit(request, 1, queue, READ, NULL, &error));
  end = next(READ);
  hr_message_free(&end.message);
  OK(hr_request_read_submit(request, 10, queue, CANCELLED, &operation, &error));
  hr_operation_cancel(operation);
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.tag == CANCELLED && end.code == HR_CANCELLED);
  hr_error_free(end.error);
  OK(hr_response_wait_submit(response, queue, CANCELLED, &operation, &error));
  hr_operation_cancel(operation);
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.tag == CANCELLED && end.code == HR_CANCELLED);
  hr_error_free(end.error);
  OK(hr_body_write(upload, (const uint8_t *)"bc", 2, LONG, NULL, &error));
  OK(hr_body_finish(upload, LONG, &error));
  OK(hr_request_read_submit(request, 10, queue, READ, NULL, &error));
  end = next(READ);
  CHECK(end.message.len == 2 && memcmp(end.message.data, "bc", 2) == 0);
  hr_message_free(&end.message);
  OK(hr_responder_send_submit(responder, 200, NULL, 0, NULL, 0, (const uint8_t *)"ok", 2, queue, SENT, NULL, &error));
  next(SENT);
  answered(response, 200, "ok");
  OK(hr_request_release(request, &error));
  OK(hr_body_release(upload, &error));

  OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
  OK(hr_sender_send_one_way_submit(sender, outgoing, queue, SENT, NULL, &error));
  CHECK(next(SENT).number == 1);
  OK(hr_listener_accept_submit(listener, queue, ACCEPT, NULL, &error));
  /* Nobody takes it out: it goes back when the queue is released. */
  watched.fd = hr_queue_fd(queue);
  watched.events = POLLIN;
  CHECK(poll(&watched, 1, LONG) == 1);
  OK(hr_queue_release(queue, &error));
  OK(hr_queue_new(&queue, &error));
  takes(listener, &request, &responder);
  answers(request, responder, "");

  /* Accepting a sender and cancelling that does not lose it: the dial goes on, and the next call gets the connection. */
  {
    hr_incoming incoming;
    hr_connection ours, theirs;
    hr_kind kind;
    char path[16];
    OK(hr_sender_connect_submit(sender, "/dial", HR_NTS, NULL, 0, queue, CONNECT, NULL, &error));
    OK(hr_listener_accept(listener, LONG, &incoming, &error));
    OK(hr_incoming_kind(incoming, &kind, &error));
    CHECK(kind == HR_INCOMING_CONNECT);
    OK(hr_incoming_accept_submit(incoming, NULL, 0, queue, CANCELLED, &operation, &error));
    hr_operation_cancel(operation);
    OK(hr_queue_next(queue, LONG, &end, &error));
    if (end.tag == CONNECT) {
      theirs = end.connection;
      OK(hr_queue_next(queue, LONG, &end, &error));
    } else {
      theirs.id = 0;
    }
    CHECK(end.tag == CANCELLED);
    if (end.code == HR_OK) {
      ours = end.connection;
    } else {
      CHECK(end.code == HR_CANCELLED);
      WANT(HR_INVALID_ARGUMENT, hr_incoming_get(incoming, HR_INCOMING_PATH, path, sizeof path, NULL, &error));
      WANT(HR_INVALID_ARGUMENT, hr_incoming_reject(incoming, 403, NULL, 0, LONG, &error));
      OK(hr_incoming_accept(incoming, NULL, 0, LONG, &ours, &error));
    }
    hr_error_free(end.error);
    WANT(HR_INVALID_HANDLE, hr_incoming_release(incoming, &error));
    if (!theirs.id) {
      theirs = next(CONNECT).connection;
    }
    text(theirs, "hello");
    receives(ours, "hello");
    OK(hr_connection_release(theirs, &error));
    OK(hr_connection_release(ours, &error));

    /* One that looks and does not wait, and one that is given up. */
    OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, CONNECT, NULL, &error));
    OK(hr_listener_accept(listener, LONG, &incoming, &error));
    {
      hr_code code = hr_incoming_accept(incoming, NULL, 0, 0, &ours, NULL);
      if (code == HR_WOULD_BLOCK) {
        OK(hr_incoming_accept(incoming, NULL, 0, LONG, &ours, &error));
      } else {
        CHECK(code == HR_OK);
      }
    }
    theirs = next(CONNECT).connection;
    OK(hr_connection_release(theirs, &error));
    OK(hr_connection_release(ours, &error));
  }

  /* An operation ends with its queue, and takes nothing from whoever comes next. */
  OK(hr_listener_accept_submit(listener, queue, ACCEPT, NULL, &error));
  OK(hr_queue_release(queue, &error));
  response = asks(sender, "GET", "/", NULL);
  takes(listener, &request, &responder);
  answers(request, responder, "here");
  answered(response, 200, "here");
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
