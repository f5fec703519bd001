/* Queues that are released while operations are under way: nothing that came for them is lost, and nothing goes on for nobody. */
#include "http.h"
#include <poll.h>
#include <pthread.h>

enum { TAG = 1, TURNS = 50, MANY = 3 };

static hr_listener listener;
static hr_sender sender;

static hr_queue made(void) {
  hr_queue queue;
  OK(hr_queue_new(&queue, &error));
  return queue;
}

/* Releases a queue: at once, behind its first completion, or somewhere in between. */
static void abandon(hr_queue queue, int turn) {
  struct pollfd watched = {.fd = hr_queue_fd(queue), .events = POLLIN};
  if (turn % 3 != 0) {
    CHECK(poll(&watched, 1, turn % 3 == 1 ? (int)LONG : 1) >= 0);
  }
  OK(hr_queue_release(queue, &error));
}

static void *accepts(void *connection) {
  hr_incoming incoming;
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, connection, &error));
  return NULL;
}

static void meet(hr_connection *there, hr_connection *back) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, accepts, back) == 0);
  OK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, there, &error));
  CHECK(pthread_join(thread, NULL) == 0);
}

static void messages_go_back_to_their_connection(void) {
  hr_connection there, back;
  char said[16];
  int turn, number;
  meet(&there, &back);
  for (turn = 0; turn < TURNS; turn++) {
    hr_queue queue = made();
    for (number = 0; number < MANY; number++) {
      OK(hr_connection_receive_submit(back, queue, TAG, NULL, &error));
    }
    for (number = 0; number < MANY; number++) {
      snprintf(said, sizeof said, "%d of %d", number, turn);
      text(there, said);
    }
    abandon(queue, turn);
    for (number = 0; number < MANY; number++) {
      snprintf(said, sizeof said, "%d of %d", number, turn);
      receives(back, said);
    }
  }
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
}

/* A connection is only let go of when no call uses it any more. */
static void what_waits_is_cancelled(void) {
  hr_connection there, back;
  hr_message message;
  hr_queue queue = made();
  meet(&there, &back);
  OK(hr_connection_receive_submit(back, queue, TAG, NULL, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_connection_release(back, &error));
  WANT(HR_CONNECTION_LOST, hr_connection_receive(there, LONG, &message, &error));
  OK(hr_connection_release(there, &error));
}

static void reads(hr_stream stream, const char *bytes) {
  size_t len, got = 0;
  char buffer[4];
  while (got < strlen(bytes)) {
    OK(hr_stream_read(stream, (uint8_t *)buffer, sizeof buffer, &len, LONG, &error));
    CHECK(len <= strlen(bytes) - got && memcmp(buffer, bytes + got, len) == 0);
    got += len;
  }
}

static void bytes_go_back_to_their_stream(void) {
  hr_connection there, back;
  hr_stream stream;
  hr_queue queue = made();
  int turn;
  meet(&there, &back);
  /* A message that went back is the beginning of the stream. */
  OK(hr_connection_receive_submit(back, queue, TAG, NULL, &error));
  text(there, "message ");
  abandon(queue, 1);
  OK(hr_connection_into_stream(back, &stream, &error));
  reads(stream, "message ");
  for (turn = 0; turn < TURNS; turn++) {
    queue = made();
    OK(hr_stream_read_submit(stream, 5, queue, TAG, NULL, &error));
    OK(hr_stream_read_submit(stream, 5, queue, TAG, NULL, &error));
    text(there, "abcdefghij");
    text(there, "klmnopqrst");
    abandon(queue, turn);
    reads(stream, "abcdefghijklmnopqrst");
  }
  OK(hr_stream_release(stream, &error));
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
}

static void senders_and_requests_go_back_to_their_listener(void) {
  int turn;
  for (turn = 0; turn < TURNS; turn++) {
    hr_queue queue = made(), own = made();
    hr_connection back;
    hr_incoming incoming;
    hr_completion end;
    hr_response response;
    hr_kind kind;
    OK(hr_listener_accept_submit(listener, queue, TAG, NULL, &error));
    OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, own, TAG, NULL, &error));
    abandon(queue, turn);
    accepts(&back);
    OK(hr_queue_next(own, LONG, &end, &error));
    CHECK(end.code == HR_OK);
    OK(hr_connection_release(end.connection, &error));
    OK(hr_connection_release(back, &error));
    OK(hr_queue_release(own, &error));

    queue = made();
    OK(hr_listener_accept_submit(listener, queue, TAG, NULL, &error));
    response = asks(sender, "GET", "/", NULL);
    abandon(queue, turn);
    OK(hr_listener_accept(listener, LONG, &incoming, &error));
    OK(hr_incoming_kind(incoming, &kind, &error));
    CHECK(kind == HR_INCOMING_REQUEST);
    OK(hr_incoming_reject(incoming, 404, NULL, 0, LONG, &error));
    answered(response, 404, NULL);
  }
}

/* Reads a body to its end. */
static void body_is(bool of_request, uint64_t of, const char *bytes) {
  char buffer[64];
  size_t len, got = 0;
  for (;;) {
    hr_error *error = NULL;
    hr_request request = {of_request ? of : 0};
    hr_response response = {of_request ? 0 : of};
    uint8_t *room = (uint8_t *)buffer + got;
    hr_code code = of_request ? hr_request_read(request, room, 4, &len, LONG, &error)
                              : hr_response_read(response, room, 4, &len, LONG, &error);
    if (code == HR_END) {
      hr_error_free(error);
      break;
    }
    expect(code, HR_OK, error, "read", __LINE__);
    got += len;
    CHECK(got <= strlen(bytes));
  }
  CHECK(got == strlen(bytes) && memcmp(buffer, bytes, got) == 0);
}

static void bytes_go_back_to_their_body(void) {
  int turn;
  for (turn = 0; turn < TURNS; turn++) {
    hr_queue queue = made();
    hr_incoming incoming;
    hr_request request;
    hr_responder responder;
    uint16_t status;
    hr_response response = asks(sender, "POST", "/", "0123456789");
    OK(hr_listener_accept(listener, LONG, &incoming, &error));
    OK(hr_incoming_into_request(incoming, &request, &responder, &error));
    OK(hr_request_read_submit(request, 3, queue, TAG, NULL, &error));
    OK(hr_request_read_submit(request, 3, queue, TAG, NULL, &error));
    abandon(queue, turn);
    body_is(true, request.id, "0123456789");
    OK(hr_responder_send(responder, 200, NULL, 0, NULL, 0, (const uint8_t *)"the answer", 10, LONG, &error));
    OK(hr_request_release(request, &error));

    OK(hr_response_wait(response, LONG, &status, &error));
    queue = made();
    OK(hr_response_read_submit(response, 3, queue, TAG, NULL, &error));
    OK(hr_response_read_submit(response, 6, queue, TAG, NULL, &error));
    abandon(queue, turn);
    body_is(false, response.id, "the answer");
    OK(hr_response_release(response, &error));
  }
}

static void events_go_back(hr_local_relay relay, const char *cs) {
  hr_listener hears;
  hr_sender says;
  hr_events events;
  hr_relay_events log;
  hr_relay_event entry;
  hr_publisher publisher;
  hr_event event;
  hr_options options;
  char number[16];
  int turn;
  OK(hr_local_relay_add(relay, "events", HR_NTS, HR_ENTITY_EVENTS, &error));
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_ENTITY, "events", HR_NTS, &error));
  OK(hr_local_relay_events(relay, &log, &error));
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &hears, &error));
  OK(hr_sender_new(cs, HR_NTS, options, &says, &error));
  OK(hr_listener_events(hears, &events, &error));
  OK(hr_publisher_open(says, NULL, 0, NULL, 0, LONG, &publisher, &error));
  for (turn = 0; turn < TURNS; turn++) {
    hr_queue queue = made();
    hr_message message;
    OK(hr_events_next_submit(events, queue, TAG, NULL, &error));
    snprintf(number, sizeof number, "%d", turn);
    OK(hr_publisher_publish(publisher, HR_MESSAGE_TEXT, (const uint8_t *)number, strlen(number), LONG, &error));
    abandon(queue, turn);
    OK(hr_events_next(events, LONG, &event, &error));
    OK(hr_event_message(event, &message, &error));
    CHECK(message.len == strlen(number) && memcmp(message.data, number, message.len) == 0);
    hr_message_free(&message);
    OK(hr_event_release(event, &error));
  }
  {
    hr_queue queue = made();
    char operation[64];
    OK(hr_relay_events_next_submit(log, queue, TAG, NULL, &error));
    abandon(queue, 1);
    OK(hr_relay_events_next(log, LONG, &entry, &error));
    OK(hr_relay_event_get(entry, HR_RELAY_EVENT_OPERATION, operation, sizeof operation, NULL, &error));
    CHECK(strcmp(operation, "NewListenerRegistered") == 0);
    OK(hr_relay_event_release(entry, &error));
  }
  OK(hr_publisher_release(publisher, &error));
  OK(hr_events_release(events, &error));
  OK(hr_relay_events_release(log, &error));
  OK(hr_listener_release(hears, &error));
  OK(hr_sender_release(says, &error));
  OK(hr_options_release(options, &error));
}

/* What has gone back to a listener that is closed is refused. */
static void nothing_goes_back_to_what_is_closed(void) {
  hr_queue queue = made(), own = made();
  hr_completion end;
  OK(hr_listener_accept_submit(listener, queue, TAG, NULL, &error));
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, own, TAG, NULL, &error));
  abandon(queue, 1);
  OK(hr_listener_close(listener, LONG, &error));
  OK(hr_queue_next(own, LONG, &end, &error));
  CHECK(end.code != HR_OK && hr_error_status(end.error) == 503);
  hr_error_free(end.error);
  OK(hr_queue_release(own, &error));
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  messages_go_back_to_their_connection();
  what_waits_is_cancelled();
  bytes_go_back_to_their_stream();
  senders_and_requests_go_back_to_their_listener();
  bytes_go_back_to_their_body();
  events_go_back(relay, cs);
  nothing_goes_back_to_what_is_closed();
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
