/* Handles of every kind that name nothing, that name another kind, that were released before, and results that have no place. */
#include "http.h"

enum { TAG = 1 };

#define NOTHING(call) WANT(HR_INVALID_HANDLE, call)
#define NOWHERE(call) WANT(HR_INVALID_ARGUMENT, call)

/* Releases an object, and not a second time. */
#define ONCE(release, handle)      \
  do {                             \
    OK(release(handle, &error));   \
    NOTHING(release(handle, &error)); \
  } while (0)

static char buffer[256];
static size_t len;

/* Calls that end in a queue, and every call on publishers, events, presences, endpoints and what follows a relay, with this number for a handle. */
static void leads_nowhere(uint64_t id, hr_queue queue) {
  hr_listener listener = {id};
  hr_incoming incoming = {id};
  hr_connection connection = {id};
  hr_publisher publisher = {id};
  hr_events events = {id};
  hr_event event = {id}, an_event;
  hr_relay_events log = {id};
  hr_relay_event entry = {id}, an_entry;
  hr_presence presence = {id}, a_presence;
  hr_presence_watch watch = {id};
  hr_presence_summary summary;
  hr_present_numbers numbers;
  hr_endpoints endpoints = {id}, some_endpoints;
  hr_endpoints_watch follows = {id};
  hr_message message;

  NOTHING(hr_listener_wait_status_submit(listener, queue, TAG, NULL, &error));
  NOTHING(hr_listener_close_submit(listener, queue, TAG, NULL, &error));
  NOTHING(hr_incoming_reject_submit(incoming, 403, NULL, 0, queue, TAG, NULL, &error));
  NOTHING(hr_connection_flush_submit(connection, queue, TAG, NULL, &error));
  NOTHING(hr_connection_shutdown_submit(connection, queue, TAG, NULL, &error));
  NOTHING(hr_connection_close_submit(connection, queue, TAG, NULL, &error));
  NOTHING(hr_connection_close_with_submit(connection, 1000, NULL, 0, queue, TAG, NULL, &error));
  NOTHING(hr_publisher_publish(publisher, HR_MESSAGE_TEXT, NULL, 0, 0, &error));
  NOTHING(hr_publisher_publish_submit(publisher, HR_MESSAGE_TEXT, NULL, 0, queue, TAG, NULL, &error));
  NOTHING(hr_publisher_flush(publisher, 0, &error));
  NOTHING(hr_publisher_flush_submit(publisher, queue, TAG, NULL, &error));
  NOTHING(hr_publisher_close(publisher, 0, &error));
  NOTHING(hr_publisher_close_submit(publisher, queue, TAG, NULL, &error));
  NOTHING(hr_publisher_ended(publisher, 0, &error));
  NOTHING(hr_publisher_ended_submit(publisher, queue, TAG, NULL, &error));
  NOTHING(hr_publisher_abort(publisher, &error));
  NOTHING(hr_publisher_tracking_id(publisher, buffer, sizeof buffer, &len, &error));
  NOTHING(hr_publisher_release(publisher, &error));
  NOTHING(hr_events_next(events, 0, &an_event, &error));
  NOTHING(hr_events_next_submit(events, queue, TAG, NULL, &error));
  NOTHING(hr_events_release(events, &error));
  NOTHING(hr_event_kind_of(event, NULL, NULL, &error));
  NOTHING(hr_event_message(event, &message, &error));
  NOTHING(hr_event_get(event, HR_EVENT_PATH, buffer, sizeof buffer, &len, &error));
  NOTHING(hr_event_header(event, "a", 1, buffer, sizeof buffer, &len, &error));
  NOTHING(hr_event_release(event, &error));
  NOTHING(hr_relay_events_next(log, 0, &an_entry, &error));
  NOTHING(hr_relay_events_next_submit(log, queue, TAG, NULL, &error));
  NOTHING(hr_relay_events_release(log, &error));
  NOTHING(hr_relay_event_get(entry, HR_RELAY_EVENT_ENTITY, buffer, sizeof buffer, &len, &error));
  NOTHING(hr_relay_event_release(entry, &error));
  NOTHING(hr_presence_read(presence, &summary, &error));
  NOTHING(hr_presence_get(presence, 0, HR_PRESENT_RULE, buffer, sizeof buffer, &len, &error));
  NOTHING(hr_presence_label(presence, 0, "a", 1, buffer, sizeof buffer, &len, &error));
  NOTHING(hr_presence_numbers(presence, 0, &numbers, &error));
  NOTHING(hr_presence_release(presence, &error));
  NOTHING(hr_presence_watch_current(watch, &a_presence, &error));
  NOTHING(hr_presence_watch_next(watch, 0, &a_presence, &error));
  NOTHING(hr_presence_watch_next_submit(watch, queue, TAG, NULL, &error));
  NOTHING(hr_presence_watch_interruption(watch, &error));
  NOTHING(hr_presence_watch_release(watch, &error));
  NOTHING(hr_endpoints_count(endpoints, &len, &error));
  NOTHING(hr_endpoints_get(endpoints, 0, HR_ENDPOINT_PATH, buffer, sizeof buffer, &len, &error));
  NOTHING(hr_endpoints_access(endpoints, 0, NULL, NULL, &error));
  NOTHING(hr_endpoints_release(endpoints, &error));
  NOTHING(hr_endpoints_watch_next(follows, 0, &some_endpoints, &error));
  NOTHING(hr_endpoints_watch_next_submit(follows, queue, TAG, NULL, &error));
  NOTHING(hr_endpoints_watch_release(follows, &error));

  NOWHERE(hr_events_next(events, 0, NULL, &error));
  NOWHERE(hr_event_message(event, NULL, &error));
  NOWHERE(hr_relay_events_next(log, 0, NULL, &error));
  NOWHERE(hr_presence_read(presence, NULL, &error));
  NOWHERE(hr_presence_numbers(presence, 0, NULL, &error));
  NOWHERE(hr_presence_watch_current(watch, NULL, &error));
  NOWHERE(hr_presence_watch_next(watch, 0, NULL, &error));
  NOWHERE(hr_endpoints_count(endpoints, NULL, &error));
  NOWHERE(hr_endpoints_watch_next(follows, 0, NULL, &error));
}

/* The same for listeners, senders, relays and options, and for queues that name nothing. */
static void begins_nothing(const char *cs, uint64_t id, hr_sender sender, hr_queue queue) {
  hr_listener no_listener = {id};
  hr_sender no_sender = {id};
  hr_local_relay no_relay = {id};
  hr_options no_options = {id};
  hr_queue no_queue = {id};
  hr_publisher publisher;
  hr_events events;
  hr_relay_events log;
  hr_presence presence;
  hr_presence_watch watch;
  hr_endpoints endpoints;
  hr_endpoints_watch follows;

  NOTHING(hr_publisher_open(no_sender, NULL, 0, NULL, 0, 0, &publisher, &error));
  NOTHING(hr_publisher_open_submit(no_sender, NULL, 0, NULL, 0, queue, TAG, NULL, &error));
  NOTHING(hr_publisher_open_submit(sender, NULL, 0, NULL, 0, no_queue, TAG, NULL, &error));
  NOTHING(hr_sender_presence(no_sender, 0, &presence, &error));
  NOTHING(hr_sender_presence_submit(no_sender, queue, TAG, NULL, &error));
  NOTHING(hr_sender_presence_submit(sender, no_queue, TAG, NULL, &error));
  NOTHING(hr_sender_wait_for_listener(no_sender, 0, &presence, &error));
  NOTHING(hr_sender_wait_for_listener_submit(no_sender, queue, TAG, NULL, &error));
  NOTHING(hr_sender_watch_presence(no_sender, 0, &watch, &error));
  NOTHING(hr_sender_watch_presence_submit(no_sender, queue, TAG, NULL, &error));
  NOTHING(hr_sender_set_token(no_sender, "t", 1, &error));
  NOTHING(hr_listener_set_token(no_listener, "t", 1, &error));
  NOTHING(hr_listener_events(no_listener, &events, &error));
  NOTHING(hr_listener_features(no_listener, buffer, sizeof buffer, &len, &error));
  NOTHING(hr_local_relay_events(no_relay, &log, &error));
  NOTHING(hr_local_relay_add(no_relay, "e", 1, 0, &error));
  NOTHING(hr_local_relay_advance(no_relay, 0, &error));
  NOTHING(hr_local_relay_refuse_next(no_relay, 503, HR_ATTEMPT_ANY, NULL, 0, &error));
  NOTHING(hr_local_relay_refuse_next_after(no_relay, 503, HR_ATTEMPT_ANY, NULL, 0, 1, &error));
  NOTHING(hr_local_relay_connections(no_relay, NULL, 0, &len, &error));
  NOTHING(hr_local_relay_control_channels(no_relay, NULL, 0, &len, &error));
  NOTHING(hr_local_relay_connection_get(no_relay, 1, HR_RELAYED_ENTITY, buffer, sizeof buffer, &len, &error));
  NOTHING(hr_local_relay_stall(no_relay, 1, &error));
  NOTHING(hr_local_relay_resume(no_relay, 1, &error));
  NOTHING(hr_local_relay_cut_after(no_relay, 1, 0, &error));
  if (id) {
    NOTHING(hr_listener_open_submit(cs, HR_NTS, no_options, queue, TAG, NULL, &error));
    NOTHING(hr_endpoints_find(cs, HR_NTS, no_options, 0, &endpoints, &error));
    NOTHING(hr_endpoints_find_submit(cs, HR_NTS, no_options, queue, TAG, NULL, &error));
    NOTHING(hr_endpoints_watch_new(cs, HR_NTS, no_options, &follows, &error));
  }
  NOTHING(hr_listener_open_submit(cs, HR_NTS, DEFAULTS, no_queue, TAG, NULL, &error));
  NOTHING(hr_endpoints_find_submit(cs, HR_NTS, DEFAULTS, no_queue, TAG, NULL, &error));
  NOWHERE(hr_publisher_open(no_sender, NULL, 0, NULL, 0, 0, NULL, &error));
  NOWHERE(hr_sender_presence(no_sender, 0, NULL, &error));
  NOWHERE(hr_sender_watch_presence(no_sender, 0, NULL, &error));
  NOWHERE(hr_listener_events(no_listener, NULL, &error));
  NOWHERE(hr_local_relay_events(no_relay, NULL, &error));
  NOWHERE(hr_endpoints_find(cs, HR_NTS, DEFAULTS, 0, NULL, &error));
  NOWHERE(hr_endpoints_watch_new(cs, HR_NTS, DEFAULTS, NULL, &error));
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  hr_options options, no_options = {0};
  hr_queue queue;
  hr_listener listener;
  hr_sender sender, publishes;
  hr_incoming incoming;
  hr_connection there, back;
  hr_stream stream;
  hr_request request;
  hr_responder responder;
  hr_body_writer body, upload;
  hr_outgoing outgoing;
  hr_response response;
  hr_forwarder forwarder;
  hr_publisher publisher;
  hr_events events;
  hr_event event;
  hr_relay_events log;
  hr_relay_event entry;
  hr_presence presence;
  hr_presence_watch watch;
  hr_endpoints endpoints;
  hr_endpoints_watch follows;
  hr_completion end;

  OK(hr_queue_new(&queue, &error));
  OK(hr_options_new(&options, &error));
  OK(hr_local_relay_events(relay, &log, &error));
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, options, &sender, &error));
  NOTHING(hr_options_use_clock(no_options, relay, &error));
  NOTHING(hr_options_use_clock(options, (hr_local_relay){0}, &error));

  /* Nothing, another kind, and a number that was never given out. */
  leads_nowhere(0, queue);
  leads_nowhere(options.id, queue);
  leads_nowhere(UINT64_MAX, queue);
  begins_nothing(cs, 0, sender, queue);
  begins_nothing(cs, log.id, sender, queue);
  begins_nothing(cs, UINT64_MAX, sender, queue);

  /* One of each kind, released once. */
  OK(hr_relay_events_next(log, LONG, &entry, &error));
  ONCE(hr_relay_event_release, entry);
  ONCE(hr_relay_events_release, log);
  OK(hr_sender_presence(sender, LONG, &presence, &error));
  ONCE(hr_presence_release, presence);
  OK(hr_sender_watch_presence(sender, LONG, &watch, &error));
  ONCE(hr_presence_watch_release, watch);
  OK(hr_local_relay_add(relay, "found", HR_NTS, HR_ENTITY_DISCOVERABLE, &error));
  OK(hr_endpoints_find(cs, HR_NTS, DEFAULTS, LONG, &endpoints, &error));
  ONCE(hr_endpoints_release, endpoints);
  OK(hr_endpoints_watch_new(cs, HR_NTS, DEFAULTS, &follows, &error));
  ONCE(hr_endpoints_watch_release, follows);

  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, TAG, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &back, &error));
  NOTHING(hr_incoming_release(incoming, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  there = end.connection;
  OK(hr_connection_into_stream(back, &stream, &error));
  OK(hr_connection_close_submit(there, queue, TAG, NULL, &error));
  OK(hr_stream_close(stream, LONG, &error));
  OK(hr_stream_close(stream, LONG, &error));
  ONCE(hr_stream_release, stream);
  NOTHING(hr_stream_close(stream, LONG, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.code == HR_OK);
  OK(hr_connection_close(there, LONG, &error));
  ONCE(hr_connection_release, there);
  ONCE(hr_connection_release, back);
  NOTHING(hr_connection_close(there, LONG, &error));

  response = asks(sender, "GET", "/", NULL);
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  ONCE(hr_incoming_release, incoming);
  ONCE(hr_response_release, response);
  OK(hr_outgoing_new(NULL, 0, NULL, 0, &outgoing, &error));
  ONCE(hr_outgoing_release, outgoing);
  OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
  OK(hr_outgoing_stream(outgoing, &upload, &error));
  OK(hr_sender_request(sender, outgoing, &response, &error));
  takes(listener, &request, &responder);
  OK(hr_responder_start(responder, 200, NULL, 0, NULL, 0, &body, &error));
  NOTHING(hr_responder_release(responder, &error));
  OK(hr_body_finish(upload, LONG, &error));
  OK(hr_body_finish(upload, LONG, &error));
  ONCE(hr_body_release, upload);
  ONCE(hr_body_release, body);
  NOTHING(hr_body_finish(body, LONG, &error));
  ONCE(hr_request_release, request);
  ONCE(hr_response_release, response);
  response = asks(sender, "GET", "/", NULL);
  takes(listener, &request, &responder);
  ONCE(hr_responder_release, responder);
  answered(response, 500, NULL);
  OK(hr_request_release(request, &error));

  OK(hr_sender_new(cs, HR_NTS, options, &publishes, &error));
  OK(hr_listener_events(listener, &events, &error));
  OK(hr_publisher_open(publishes, NULL, 0, NULL, 0, LONG, &publisher, &error));
  OK(hr_publisher_publish(publisher, HR_MESSAGE_TEXT, (const uint8_t *)"news", 4, LONG, &error));
  OK(hr_events_next(events, LONG, &event, &error));
  ONCE(hr_event_release, event);
  OK(hr_publisher_abort(publisher, &error));
  OK(hr_publisher_abort(publisher, &error));
  WANT(HR_CLOSED, hr_publisher_publish(publisher, HR_MESSAGE_TEXT, (const uint8_t *)"more", 4, LONG, &error));
  ONCE(hr_publisher_release, publisher);
  ONCE(hr_events_release, events);
  ONCE(hr_sender_release, publishes);

  OK(hr_listener_forward(listener, "tcp://127.0.0.1:1", HR_NTS, DEFAULTS, &forwarder, &error));
  OK(hr_forwarder_stop(forwarder, &error));
  OK(hr_forwarder_stop(forwarder, &error));
  ONCE(hr_forwarder_release, forwarder);
  OK(hr_listener_close(listener, LONG, &error));
  OK(hr_listener_close(listener, LONG, &error));
  ONCE(hr_listener_release, listener);
  ONCE(hr_sender_release, sender);
  ONCE(hr_options_release, options);
  ONCE(hr_queue_release, queue);
  OK(hr_local_relay_stop(relay, 0, &error));
  NOTHING(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
