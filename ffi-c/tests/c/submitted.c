/* What waits for a queue: each ends in it, is cancelled, and is left behind with it. */
#include "http.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TAG = 1, TURNS = 20 };

/* More than the buffers of every socket on the way take. */
#define MUCH (32u << 20)

static hr_listener listener;
static hr_sender sender;

static hr_queue made(void) {
  hr_queue queue;
  OK(hr_queue_new(&queue, &error));
  return queue;
}

/* The next end, whatever it is. */
static hr_completion next(hr_queue queue) {
  hr_completion end;
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.tag == TAG);
  return end;
}

/* The next end, which has this code. Its error is freed. */
static hr_completion ends(hr_queue queue, hr_code wanted) {
  hr_completion end = next(queue);
  expect(end.code, wanted, end.error, "an operation", __LINE__);
  end.error = NULL;
  return end;
}

/* Releases a queue behind its first completion. */
static void leaves(hr_queue queue) {
  struct pollfd watched = {.fd = hr_queue_fd(queue), .events = POLLIN};
  CHECK(poll(&watched, 1, (int)LONG) == 1);
  OK(hr_queue_release(queue, &error));
}

static hr_incoming comes(void) {
  hr_incoming incoming;
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  return incoming;
}

static void meet(hr_connection *there, hr_connection *back) {
  hr_queue queue = made();
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, TAG, NULL, &error));
  OK(hr_incoming_accept(comes(), NULL, 0, LONG, back, &error));
  *there = ends(queue, HR_OK).connection;
  OK(hr_queue_release(queue, &error));
}

static uint64_t listening(hr_presence presence) {
  hr_presence_summary summary;
  OK(hr_presence_read(presence, &summary, &error));
  OK(hr_presence_release(presence, &error));
  return summary.count;
}

/* A server that takes connections and says nothing. */
static int silent(char *cs, size_t capacity) {
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 1) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
  snprintf(cs, capacity,
           "Endpoint=sb://127.0.0.1:%d/;SharedAccessKeyName=k;SharedAccessKey=a2V5;EntityPath=hyco;UseDevelopmentEmulator=true",
           ntohs(address.sin_port));
  return fd;
}

/* Whoever dials the silent server, once it asks for something. */
static int dials(int server) {
  char data[64];
  int fd = accept(server, NULL, NULL);
  CHECK(fd >= 0 && recv(fd, data, sizeof data, 0) > 0);
  return fd;
}

static void gives_up(int fd) {
  char data[64];
  while (recv(fd, data, sizeof data, 0) > 0) {
  }
  CHECK(close(fd) == 0);
}

static void a_listener_is_opened_and_closed(const char *cs) {
  hr_queue queue = made();
  hr_options options;
  hr_listener opened;
  hr_incoming incoming;
  hr_status status;
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_ENTITY, "opened", HR_NTS, &error));
  OK(hr_listener_open_submit(cs, HR_NTS, options, queue, TAG, NULL, &error));
  opened = ends(queue, HR_OK).listener;
  OK(hr_listener_status(opened, &status, NULL, &error));
  CHECK(status == HR_STATUS_ONLINE);
  OK(hr_listener_close_submit(opened, queue, TAG, NULL, &error));
  ends(queue, HR_OK);
  OK(hr_listener_close_submit(opened, queue, TAG, NULL, &error));
  ends(queue, HR_OK);
  WANT(HR_END, hr_listener_accept(opened, 0, &incoming, &error));
  OK(hr_listener_release(opened, &error));

  OK(hr_listener_open_submit("no connection string", HR_NTS, options, queue, TAG, NULL, &error));
  CHECK(ends(queue, HR_INVALID_ARGUMENT).listener.id == 0);
  OK(hr_options_release(options, &error));
  OK(hr_queue_release(queue, &error));
}

static void an_attempt_that_nobody_waits_for_is_given_up(void) {
  char cs[256];
  int server = silent(cs, sizeof cs), dialled;
  hr_queue queue = made();
  hr_operation opening;
  OK(hr_listener_open_submit(cs, HR_NTS, DEFAULTS, queue, TAG, &opening, &error));
  dialled = dials(server);
  hr_operation_cancel(opening);
  CHECK(ends(queue, HR_CANCELLED).listener.id == 0);
  gives_up(dialled);
  OK(hr_listener_open_submit(cs, HR_NTS, DEFAULTS, queue, TAG, NULL, &error));
  dialled = dials(server);
  OK(hr_queue_release(queue, &error));
  gives_up(dialled);
  CHECK(close(server) == 0);
}

static void a_listener_that_nobody_takes_goes_offline(hr_local_relay relay, const char *cs) {
  hr_options options;
  hr_sender asks;
  hr_presence_watch watch;
  hr_presence presence;
  hr_queue queue = made();
  OK(hr_options_new(&options, &error));
  OK(hr_local_relay_add(relay, "left", HR_NTS, 0, &error));
  OK(hr_options_set_str(options, HR_OPT_ENTITY, "left", HR_NTS, &error));
  OK(hr_sender_new(cs, HR_NTS, options, &asks, &error));
  OK(hr_listener_open_submit(cs, HR_NTS, options, queue, TAG, NULL, &error));
  OK(hr_sender_wait_for_listener(asks, LONG, NULL, &error));
  OK(hr_sender_watch_presence(asks, LONG, &watch, &error));
  OK(hr_presence_watch_current(watch, &presence, &error));
  CHECK(listening(presence) == 1);
  leaves(queue);
  do {
    OK(hr_presence_watch_next(watch, LONG, &presence, &error));
  } while (listening(presence) != 0);
  OK(hr_presence_watch_release(watch, &error));
  OK(hr_sender_release(asks, &error));
  OK(hr_options_release(options, &error));
}

static void closing_goes_on_whatever_becomes_of_its_queue(const char *cs) {
  hr_options options;
  hr_listener opened;
  hr_queue queue = made();
  hr_operation closing;
  hr_incoming incoming;
  hr_completion end;
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_ENTITY, "closing", HR_NTS, &error));
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &opened, &error));
  OK(hr_listener_close_submit(opened, queue, TAG, &closing, &error));
  hr_operation_cancel(closing);
  end = next(queue);
  CHECK(end.code == HR_OK || end.code == HR_CANCELLED);
  hr_error_free(end.error);
  WANT(HR_END, hr_listener_accept(opened, LONG, &incoming, &error));
  OK(hr_listener_release(opened, &error));

  OK(hr_listener_open(cs, HR_NTS, options, LONG, &opened, &error));
  OK(hr_listener_close_submit(opened, queue, TAG, NULL, &error));
  OK(hr_queue_release(queue, &error));
  WANT(HR_END, hr_listener_accept(opened, LONG, &incoming, &error));
  OK(hr_listener_release(opened, &error));
  OK(hr_options_release(options, &error));
}

/* Of a change. */
static void told(hr_queue queue, hr_status status, hr_code reason) {
  hr_completion end = next(queue);
  CHECK(end.code == HR_OK && end.number == status && hr_error_code(end.error) == reason);
  hr_error_free(end.error);
}

/* A listener whose being online was told. */
static hr_listener watched_one(const char *cs, hr_options options, hr_queue queue) {
  hr_listener watched;
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &watched, &error));
  OK(hr_listener_wait_status_submit(watched, queue, TAG, NULL, &error));
  told(queue, HR_STATUS_ONLINE, HR_OK);
  return watched;
}

static void a_change_of_the_status_is_told_once(hr_local_relay relay, const char *cs) {
  hr_options options;
  hr_listener watched;
  hr_queue queue = made(), left = made();
  hr_operation waits;
  hr_status status;
  hr_code reason;
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_ENTITY, "watched", HR_NTS, &error));
  OK(hr_options_set_int(options, HR_OPT_RECONNECT, 0, &error));
  watched = watched_one(cs, options, queue);
  WANT(HR_WOULD_BLOCK, hr_listener_wait_status(watched, 0, &status, &reason, &error));
  OK(hr_listener_wait_status_submit(watched, queue, TAG, &waits, &error));
  hr_operation_cancel(waits);
  ends(queue, HR_CANCELLED);
  OK(hr_listener_wait_status_submit(watched, left, TAG, NULL, &error));
  OK(hr_listener_wait_status_submit(watched, queue, TAG, NULL, &error));
  OK(hr_local_relay_drop_control(relay, "watched", HR_NTS, NULL, &error));
  told(queue, HR_STATUS_CLOSED, HR_CONNECTION_LOST);
  OK(hr_queue_release(left, &error));
  OK(hr_listener_wait_status_submit(watched, queue, TAG, NULL, &error));
  ends(queue, HR_END);
  OK(hr_listener_release(watched, &error));

  /* What came for a queue that is released is still news. */
  watched = watched_one(cs, options, queue);
  left = made();
  OK(hr_listener_wait_status_submit(watched, left, TAG, NULL, &error));
  OK(hr_listener_close(watched, LONG, &error));
  leaves(left);
  OK(hr_listener_wait_status(watched, 0, &status, &reason, &error));
  CHECK(status == HR_STATUS_CLOSED && reason == HR_OK);
  WANT(HR_END, hr_listener_wait_status(watched, 0, &status, &reason, &error));
  OK(hr_listener_release(watched, &error));

  /* Whoever waits for a change does not keep the listener online. */
  watched = watched_one(cs, options, queue);
  OK(hr_listener_wait_status_submit(watched, queue, TAG, NULL, &error));
  OK(hr_listener_release(watched, &error));
  told(queue, HR_STATUS_CLOSED, HR_OK);
  OK(hr_options_release(options, &error));
  OK(hr_queue_release(queue, &error));
}

static void who_listens_is_still_news(hr_local_relay relay, const char *cs) {
  hr_options options;
  hr_sender asks;
  hr_listener opened;
  hr_presence_watch watch;
  hr_presence presence;
  hr_endpoints_watch finds;
  hr_endpoints found;
  size_t many;
  hr_queue queue = made();
  OK(hr_local_relay_add(relay, "news", HR_NTS, HR_ENTITY_DISCOVERABLE, &error));
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_ENTITY, "news", HR_NTS, &error));
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &opened, &error));
  OK(hr_sender_new(cs, HR_NTS, options, &asks, &error));
  OK(hr_sender_watch_presence(asks, LONG, &watch, &error));
  OK(hr_endpoints_watch_new(cs, HR_NTS, DEFAULTS, &finds, &error));
  OK(hr_endpoints_watch_next_submit(finds, queue, TAG, NULL, &error));
  leaves(queue);
  OK(hr_endpoints_watch_next(finds, 0, &found, &error));
  OK(hr_endpoints_count(found, &many, &error));
  CHECK(many == 1);
  OK(hr_endpoints_release(found, &error));
  WANT(HR_WOULD_BLOCK, hr_endpoints_watch_next(finds, 0, &found, &error));
  OK(hr_endpoints_watch_release(finds, &error));

  queue = made();
  OK(hr_presence_watch_next_submit(watch, queue, TAG, NULL, &error));
  OK(hr_listener_close(opened, LONG, &error));
  leaves(queue);
  OK(hr_presence_watch_next(watch, 0, &presence, &error));
  CHECK(listening(presence) == 0);
  OK(hr_presence_watch_release(watch, &error));
  OK(hr_listener_release(opened, &error));
  OK(hr_sender_release(asks, &error));
  OK(hr_options_release(options, &error));
}

/* What a sender is told, which has this status. */
static void refused(hr_queue queue, uint16_t status, const char *reason) {
  hr_completion end = next(queue);
  CHECK(end.code != HR_OK && hr_error_status(end.error) == status);
  CHECK(!reason || strcmp(hr_error_reason(end.error), reason) == 0);
  hr_error_free(end.error);
}

static void whoever_comes_is_refused(void) {
  hr_queue queue = made(), own = made(), nothing = {0};
  hr_incoming incoming;
  hr_response response;
  hr_kind kind;
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, own, TAG, NULL, &error));
  incoming = comes();
  /* Mistakes, which leave it as it is. */
  WANT(HR_INVALID_ARGUMENT, hr_incoming_reject_submit(incoming, 99, NULL, 0, queue, TAG, NULL, &error));
  WANT(HR_INVALID_HANDLE, hr_incoming_reject_submit(incoming, 403, NULL, 0, nothing, TAG, NULL, &error));
  OK(hr_incoming_kind(incoming, &kind, &error));
  OK(hr_incoming_reject_submit(incoming, 403, "not you", HR_NTS, queue, TAG, NULL, &error));
  WANT(HR_INVALID_HANDLE, hr_incoming_release(incoming, &error));
  ends(queue, HR_OK);
  refused(own, 403, "not you");

  response = asks(sender, "GET", "/", NULL);
  OK(hr_incoming_reject_submit(comes(), 404, NULL, 0, queue, TAG, NULL, &error));
  ends(queue, HR_OK);
  answered(response, 404, NULL);
  OK(hr_queue_release(queue, &error));
  OK(hr_queue_release(own, &error));
}

/* A sender and a request, of which nobody waits to hear that they are refused, are refused all the same. */
static void whoever_is_left_is_refused(void) {
  int turn;
  for (turn = 0; turn < TURNS; turn++) {
    hr_queue queue = made(), own = made();
    hr_operation refusing;
    hr_completion end;
    hr_response response;
    uint16_t status;
    OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, own, TAG, NULL, &error));
    OK(hr_incoming_reject_submit(comes(), 403, NULL, 0, queue, TAG, &refusing, &error));
    if (turn % 2) {
      hr_operation_cancel(refusing);
      end = next(queue);
      CHECK(end.code == HR_OK || end.code == HR_CANCELLED);
      hr_error_free(end.error);
    }
    OK(hr_queue_release(queue, &error));
    end = next(own);
    status = hr_error_status(end.error);
    CHECK(end.code != HR_OK && (status == 403 || status == 503));
    hr_error_free(end.error);
    OK(hr_queue_release(own, &error));

    queue = made();
    response = asks(sender, "GET", "/", NULL);
    OK(hr_incoming_reject_submit(comes(), 404, NULL, 0, queue, TAG, &refusing, &error));
    if (turn % 2) {
      hr_operation_cancel(refusing);
    }
    OK(hr_queue_release(queue, &error));
    OK(hr_response_wait(response, LONG, &status, &error));
    CHECK(status == 404 || status == 500);
    OK(hr_response_release(response, &error));
  }
}

/* The connection that is open. */
static uint64_t the_only(hr_local_relay relay) {
  hr_relayed open;
  size_t many;
  do {
    OK(hr_local_relay_connections(relay, &open, 1, &many, &error));
  } while (many != 1);
  return open.id;
}

static void a_connection_is_flushed_and_shut_down(hr_local_relay relay) {
  uint8_t *much = calloc(1, MUCH);
  hr_connection there, back;
  hr_queue queue = made(), sending = made(), left = made();
  hr_operation waits;
  hr_message message;
  hr_code code;
  uint64_t id;
  CHECK(much != NULL);
  meet(&there, &back);
  OK(hr_connection_flush_submit(there, queue, TAG, NULL, &error));
  ends(queue, HR_OK);
  id = the_only(relay);
  OK(hr_local_relay_stall(relay, id, &error));
  OK(hr_connection_send_submit(there, HR_MESSAGE_BINARY, much, MUCH, sending, TAG, NULL, &error));
  free(much);
  /* Until the message has its turn. */
  do {
    code = hr_connection_flush(there, 20, NULL);
  } while (code == HR_OK);
  CHECK(code == HR_TIMEOUT);
  OK(hr_connection_flush_submit(there, queue, TAG, &waits, &error));
  hr_operation_cancel(waits);
  ends(queue, HR_CANCELLED);
  OK(hr_connection_shutdown_submit(there, queue, TAG, &waits, &error));
  hr_operation_cancel(waits);
  ends(queue, HR_CANCELLED);
  OK(hr_connection_flush_submit(there, left, TAG, NULL, &error));
  OK(hr_connection_shutdown_submit(there, left, TAG, NULL, &error));
  OK(hr_queue_release(left, &error));
  OK(hr_connection_shutdown_submit(there, queue, TAG, NULL, &error));
  OK(hr_local_relay_resume(relay, id, &error));
  OK(hr_connection_receive(back, LONG, &message, &error));
  CHECK(message.len == MUCH);
  hr_message_free(&message);
  ends(sending, HR_OK);
  ends(queue, HR_OK);
  WANT(HR_END, hr_connection_receive(back, LONG, &message, &error));
  WANT(HR_CLOSED, hr_connection_send(there, HR_MESSAGE_TEXT, NULL, 0, LONG, &error));
  /* The other direction is open. */
  text(back, "still here");
  receives(there, "still here");
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_queue_release(sending, &error));
}

static void a_connection_is_closed_with_a_code(void) {
  hr_connection there, back;
  hr_queue queue = made(), left = made();
  hr_operation closing;
  hr_message message;
  meet(&there, &back);
  OK(hr_connection_close_with_submit(there, 1005, NULL, 0, queue, TAG, NULL, &error));
  ends(queue, HR_INVALID_ARGUMENT);
  /* Nobody at the other side answers yet. */
  OK(hr_connection_close_with_submit(there, 4000, "done", HR_NTS, queue, TAG, &closing, &error));
  hr_operation_cancel(closing);
  ends(queue, HR_CANCELLED);
  OK(hr_connection_close_with_submit(there, 4000, "done", HR_NTS, left, TAG, NULL, &error));
  OK(hr_queue_release(left, &error));
  OK(hr_connection_close_with_submit(there, 4000, "done", HR_NTS, queue, TAG, NULL, &error));
  WANT(HR_END, hr_connection_receive(back, LONG, &message, &error));
  OK(hr_connection_close(back, LONG, &error));
  ends(queue, HR_OK);
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
  OK(hr_queue_release(queue, &error));
}

static void a_publisher_is_flushed_and_its_end_is_told(hr_local_relay relay, const char *cs) {
  static uint8_t too_much[(1 << 20) + 1];
  hr_options options;
  hr_sender says;
  hr_listener hears;
  hr_events events;
  hr_event event;
  hr_publisher publisher;
  hr_queue queue = made(), left = made();
  hr_operation waits;
  OK(hr_local_relay_add(relay, "events", HR_NTS, HR_ENTITY_EVENTS, &error));
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_ENTITY, "events", HR_NTS, &error));
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &hears, &error));
  OK(hr_listener_events(hears, &events, &error));
  OK(hr_sender_new(cs, HR_NTS, options, &says, &error));
  OK(hr_publisher_open(says, NULL, 0, NULL, 0, LONG, &publisher, &error));
  OK(hr_publisher_publish(publisher, HR_MESSAGE_TEXT, (const uint8_t *)"news", 4, LONG, &error));
  OK(hr_publisher_flush_submit(publisher, queue, TAG, NULL, &error));
  ends(queue, HR_OK);
  OK(hr_events_next(events, LONG, &event, &error));
  OK(hr_event_release(event, &error));
  OK(hr_publisher_ended_submit(publisher, left, TAG, NULL, &error));
  OK(hr_queue_release(left, &error));
  OK(hr_publisher_ended_submit(publisher, queue, TAG, &waits, &error));
  hr_operation_cancel(waits);
  ends(queue, HR_CANCELLED);
  OK(hr_publisher_ended_submit(publisher, queue, TAG, NULL, &error));
  OK(hr_publisher_publish(publisher, HR_MESSAGE_BINARY, too_much, sizeof too_much, LONG, &error));
  ends(queue, HR_MESSAGE_TOO_LARGE);
  OK(hr_publisher_flush_submit(publisher, queue, TAG, NULL, &error));
  ends(queue, HR_MESSAGE_TOO_LARGE);
  OK(hr_publisher_release(publisher, &error));
  /* Our own end of it is told to whoever waits for one only if it is sudden. */
  OK(hr_publisher_open(says, NULL, 0, NULL, 0, LONG, &publisher, &error));
  OK(hr_publisher_ended_submit(publisher, queue, TAG, NULL, &error));
  OK(hr_publisher_abort(publisher, &error));
  ends(queue, HR_CLOSED);
  OK(hr_publisher_release(publisher, &error));
  OK(hr_publisher_open(says, NULL, 0, NULL, 0, LONG, &publisher, &error));
  OK(hr_publisher_ended_submit(publisher, queue, TAG, &waits, &error));
  OK(hr_publisher_close(publisher, LONG, &error));
  OK(hr_publisher_release(publisher, &error));
  hr_operation_cancel(waits);
  ends(queue, HR_CANCELLED);
  OK(hr_events_release(events, &error));
  OK(hr_listener_release(hears, &error));
  OK(hr_sender_release(says, &error));
  OK(hr_options_release(options, &error));
  OK(hr_queue_release(queue, &error));
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  a_listener_is_opened_and_closed(cs);
  an_attempt_that_nobody_waits_for_is_given_up();
  a_listener_that_nobody_takes_goes_offline(relay, cs);
  closing_goes_on_whatever_becomes_of_its_queue(cs);
  a_change_of_the_status_is_told_once(relay, cs);
  who_listens_is_still_news(relay, cs);
  whoever_comes_is_refused();
  whoever_is_left_is_refused();
  a_connection_is_flushed_and_shut_down(relay);
  a_connection_is_closed_with_a_code();
  a_publisher_is_flushed_and_its_end_is_told(relay, cs);
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
