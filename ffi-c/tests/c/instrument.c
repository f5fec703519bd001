/* What a test does to its relay. */
#include "http.h"
#include <pthread.h>

enum { NEXT = 1 };

static const uint64_t HOUR = 3600 * 1000;
static hr_listener listener;

static void *accepts(void *connection) {
  hr_incoming incoming;
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, connection, &error));
  return NULL;
}

static void meet(hr_sender sender, hr_connection *there, hr_connection *back) {
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, accepts, back) == 0);
  OK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, there, &error));
  CHECK(pthread_join(thread, NULL) == 0);
}

/* Waits for an event of the relay. */
static void happens(hr_relay_events events, const char *operation, const char *reason) {
  for (;;) {
    hr_relay_event event;
    char is[128], why[128], entity[64];
    OK(hr_relay_events_next(events, LONG, &event, &error));
    OK(hr_relay_event_get(event, HR_RELAY_EVENT_OPERATION, is, sizeof is, NULL, &error));
    OK(hr_relay_event_get(event, HR_RELAY_EVENT_REASON, why, sizeof why, NULL, &error));
    OK(hr_relay_event_get(event, HR_RELAY_EVENT_ENTITY, entity, sizeof entity, NULL, &error));
    WANT(HR_INVALID_ARGUMENT, hr_relay_event_get(event, 99, is, sizeof is, NULL, &error));
    OK(hr_relay_event_release(event, &error));
    if (strcmp(is, operation) == 0 && strcmp(why, reason) == 0) {
      return;
    }
  }
}

static void refuses(hr_local_relay relay, hr_sender sender, hr_relay_events events) {
  hr_connection connection;
  hr_error *error = NULL;
  WANT(HR_INVALID_ARGUMENT, hr_local_relay_refuse_next(relay, 200, HR_ATTEMPT_ANY, NULL, 0, &error));
  WANT(HR_INVALID_ARGUMENT, hr_local_relay_refuse_next(relay, 403, 99, NULL, 0, &error));
  OK(hr_local_relay_refuse_next(relay, 503, HR_ATTEMPT_CONNECT, "closed for today", HR_NTS, &error));
  CHECK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &connection, &error) == HR_SERVER_BUSY);
  CHECK(hr_error_status(error) == 503 && strncmp(hr_error_reason(error), "closed for today", 16) == 0);
  CHECK(hr_error_retry_after_ms(error) == 0);
  hr_error_free(error);
  happens(events, "ProcessingRequestFailed", "instructed");
  WANT(HR_INVALID_ARGUMENT, hr_local_relay_refuse_next_after(relay, 200, HR_ATTEMPT_ANY, NULL, 0, 1, &error));
  OK(hr_local_relay_refuse_next_after(relay, 503, HR_ATTEMPT_CONNECT, NULL, 0, 6001, &error));
  CHECK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &connection, &error) == HR_SERVER_BUSY);
  CHECK(hr_error_retry_after_ms(error) == 7000);
  hr_error_free(error);
  happens(events, "ProcessingRequestFailed", "instructed");
}

/* A control channel that is cut, and another that is the listener's again. */
static void cuts_control(hr_local_relay relay, hr_relay_events events) {
  hr_relayed channels[2];
  size_t many = 0;
  char buffer[64];
  uint64_t id;

  OK(hr_local_relay_control_channels(relay, channels, 2, &many, &error));
  CHECK(many == 1 && !channels[0].stalled && channels[0].from_sender == 0);
  id = channels[0].id;
  OK(hr_local_relay_connection_get(relay, id, HR_RELAYED_ENTITY, buffer, sizeof buffer, NULL, &error));
  CHECK(strcmp(buffer, "hyco") == 0);
  OK(hr_local_relay_connection_get(relay, id, HR_RELAYED_METHOD, buffer, sizeof buffer, NULL, &error));
  CHECK(buffer[0] == '\0');
  OK(hr_local_relay_stall(relay, id, &error));
  OK(hr_local_relay_control_channels(relay, channels, 2, NULL, &error));
  CHECK(channels[0].stalled);
  OK(hr_local_relay_cut_after(relay, id, 0, &error));
  happens(events, "NewListenerRegistered", "");
  WANT(HR_END, hr_local_relay_resume(relay, id, &error));
}

/* A connection that was cut is in the list until the relay has dropped both its sockets. */
static void none_is_left(hr_local_relay relay) {
  size_t many;
  do {
    OK(hr_local_relay_connections(relay, NULL, 0, &many, &error));
  } while (many > 0);
}

static void cuts(hr_local_relay relay, hr_sender sender) {
  hr_connection there, back;
  hr_message message;
  hr_relayed open[2];
  size_t many = 0;
  char buffer[64];
  uint64_t id;

  meet(sender, &there, &back);
  OK(hr_local_relay_connections(relay, NULL, 0, &many, &error));
  CHECK(many == 1);
  WANT(HR_INVALID_ARGUMENT, hr_local_relay_connections(relay, NULL, 1, NULL, &error));
  OK(hr_local_relay_connections(relay, open, 2, NULL, &error));
  id = open[0].id;
  CHECK(!open[0].stalled && open[0].from_sender == 0 && open[0].from_listener == 0);
  OK(hr_local_relay_connection_get(relay, id, HR_RELAYED_ENTITY, buffer, sizeof buffer, NULL, &error));
  CHECK(strcmp(buffer, "hyco") == 0);
  OK(hr_local_relay_connection_get(relay, id, HR_RELAYED_TRACKING_ID, buffer, sizeof buffer, NULL, &error));
  CHECK(strlen(buffer) >= 36);

  OK(hr_local_relay_stall(relay, id, &error));
  text(there, "held up");
  OK(hr_connection_flush(there, LONG, &error));
  WANT(HR_TIMEOUT, hr_connection_receive(back, 20, &message, &error));
  OK(hr_local_relay_connections(relay, open, 2, NULL, &error));
  CHECK(open[0].stalled && open[0].from_sender == 0);
  OK(hr_local_relay_resume(relay, id, &error));
  receives(back, "held up");

  OK(hr_local_relay_cut_after(relay, id, 0, &error));
  WANT(HR_CONNECTION_LOST, hr_connection_receive(back, LONG, &message, &error));
  WANT(HR_CONNECTION_LOST, hr_connection_receive(there, LONG, &message, &error));
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
  none_is_left(relay);
  WANT(HR_END, hr_local_relay_stall(relay, id, &error));
  WANT(HR_END, hr_local_relay_resume(relay, id, &error));
  WANT(HR_END, hr_local_relay_cut_after(relay, id, 0, &error));
  WANT(HR_END, hr_local_relay_connection_get(relay, id, HR_RELAYED_ENTITY, buffer, sizeof buffer, NULL, &error));

  OK(hr_local_relay_cut_after(relay, 0, 12, &error));
  meet(sender, &there, &back);
  text(there, "123456");
  WANT(HR_CONNECTION_LOST, hr_connection_receive(there, LONG, &message, &error));
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
  none_is_left(relay);
}

/* Time passes: who does not live by the relay's clock has a token that is too old, who does has a new one. */
static void passes(hr_local_relay relay, const char *cs, hr_relay_events events) {
  hr_options options;
  hr_listener renews;
  hr_relay_event event;
  hr_code code;
  hr_queue queue;
  hr_completion end;
  char operation[64];
  int renewed = 0;
  /* A token is for an hour, and there are five minutes of grace. */
  OK(hr_local_relay_advance(relay, HOUR + HOUR / 10, &error));
  happens(events, "ListenerClosingFromExpiredToken", "");
  OK(hr_options_new(&options, &error));
  OK(hr_options_use_clock(options, relay, &error));
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &renews, &error));
  OK(hr_options_release(options, &error));
  OK(hr_queue_new(&queue, &error));
  /* What was before is of no interest, the first registration least of all. */
  while ((code = hr_relay_events_next(events, 0, &event, NULL)) == HR_OK) {
    OK(hr_relay_event_release(event, &error));
  }
  CHECK(code == HR_WOULD_BLOCK);
  OK(hr_local_relay_advance(relay, HOUR, &error));
  while (!renewed) {
    OK(hr_relay_events_next_submit(events, queue, NEXT, NULL, &error));
    OK(hr_queue_next(queue, LONG, &end, &error));
    CHECK(end.tag == NEXT && end.code == HR_OK);
    OK(hr_relay_event_get(end.relay_event, HR_RELAY_EVENT_OPERATION, operation, sizeof operation, NULL, &error));
    OK(hr_relay_event_release(end.relay_event, &error));
    renewed = strcmp(operation, "TokenRenewed") == 0 || strcmp(operation, "NewListenerRegistered") == 0;
  }
  OK(hr_queue_release(queue, &error));
  OK(hr_listener_release(renews, &error));
}

/* Requests are held up and cut as connections are. */
static void cuts_requests(hr_local_relay relay, hr_sender sender) {
  hr_queue queue;
  hr_request request;
  hr_responder responder;
  hr_response response;
  hr_relayed open;
  hr_completion end;
  size_t many = 0, len;
  uint16_t status;
  char method[16], body[64];
  hr_error *error = NULL;
  OK(hr_queue_new(&queue, &error));

  response = asks(sender, "POST", "/", "body");
  takes(listener, &request, &responder);
  OK(hr_local_relay_connections(relay, &open, 1, &many, &error));
  CHECK(many == 1 && open.from_sender == 4 && open.from_listener == 0 && !open.stalled);
  OK(hr_local_relay_connection_get(relay, open.id, HR_RELAYED_METHOD, method, sizeof method, NULL, &error));
  CHECK(strcmp(method, "POST") == 0);
  OK(hr_local_relay_stall(relay, open.id, &error));
  OK(hr_responder_send_submit(responder, 200, NULL, 0, NULL, 0, (const uint8_t *)"answer", 6, queue, NEXT, NULL, &error));
  WANT(HR_TIMEOUT, hr_response_wait(response, 50, &status, &error));
  OK(hr_local_relay_resume(relay, open.id, &error));
  answered(response, 200, "answer");
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.code == HR_OK);
  OK(hr_request_release(request, &error));
  WANT(HR_END, hr_local_relay_stall(relay, open.id, &error));

  OK(hr_local_relay_cut_after(relay, 0, 2, &error));
  response = asks(sender, "GET", "/", NULL);
  takes(listener, &request, &responder);
  answers(request, responder, "answer");
  OK(hr_response_wait(response, LONG, &status, &error));
  CHECK(status == 200);
  OK(hr_response_read(response, (uint8_t *)body, sizeof body, &len, LONG, &error));
  CHECK(len == 2 && memcmp(body, "an", 2) == 0);
  CHECK(hr_response_read(response, (uint8_t *)body, sizeof body, &len, LONG, &error) == HR_CONNECTION_LOST);
  hr_error_free(error);
  OK(hr_response_release(response, &error));
  OK(hr_queue_release(queue, &error));
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs), none = {0};
  hr_relay_events events, no_events = {0};
  hr_relay_event event;
  hr_sender sender;
  OK(hr_local_relay_events(relay, &events, &error));
  WANT(HR_WOULD_BLOCK, hr_relay_events_next(events, 0, &event, &error));
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  refuses(relay, sender, events);
  cuts_control(relay, events);
  cuts(relay, sender);
  cuts_requests(relay, sender);
  passes(relay, cs, events);
  WANT(HR_INVALID_HANDLE, hr_local_relay_advance(none, 1, &error));
  WANT(HR_INVALID_HANDLE, hr_local_relay_stall(none, 1, &error));
  WANT(HR_INVALID_HANDLE, hr_local_relay_cut_after(none, 0, 1, &error));
  WANT(HR_INVALID_HANDLE, hr_local_relay_refuse_next(none, 403, 0, NULL, 0, &error));
  WANT(HR_INVALID_HANDLE, hr_local_relay_refuse_next_after(none, 403, 0, NULL, 0, 1, &error));
  WANT(HR_INVALID_HANDLE, hr_local_relay_connections(none, NULL, 0, NULL, &error));
  WANT(HR_INVALID_HANDLE, hr_local_relay_control_channels(none, NULL, 0, NULL, &error));
  WANT(HR_INVALID_HANDLE, hr_local_relay_add(none, "e", 1, 0, &error));
  WANT(HR_INVALID_HANDLE, hr_relay_events_next(no_events, 0, &event, &error));
  WANT(HR_INVALID_HANDLE, hr_options_use_clock(DEFAULTS, relay, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  {
    hr_code code;
    while ((code = hr_relay_events_next(events, LONG, &event, NULL)) == HR_OK) {
      OK(hr_relay_event_release(event, &error));
    }
    CHECK(code == HR_END);
  }
  OK(hr_relay_events_release(events, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
