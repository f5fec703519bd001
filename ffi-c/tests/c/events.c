/* Publishers and those who hear them: with blocking calls, and with a queue. */
#include "check.h"

enum { OPEN = 1, PUBLISH, NEXT, CLOSE };

static void is(hr_event event, const char *says) {
  hr_message message;
  hr_event_kind kind;
  uint64_t missed = 7;
  OK(hr_event_kind_of(event, &kind, &missed, &error));
  CHECK(kind == HR_EVENT_MESSAGE && missed == 0);
  OK(hr_event_message(event, &message, &error));
  OK(hr_event_release(event, &error));
  WANT(HR_INVALID_HANDLE, hr_event_release(event, &error));
  CHECK(message.len == strlen(says) && memcmp(message.data, says, message.len) == 0);
  hr_message_free(&message);
}

static void field(hr_event event, hr_event_field which, const char *value) {
  char buffer[64];
  OK(hr_event_get(event, which, buffer, sizeof buffer, NULL, &error));
  CHECK(strcmp(buffer, value) == 0);
}

static void says(hr_publisher publisher, const char *what) {
  OK(hr_publisher_publish(publisher, HR_MESSAGE_TEXT, (const uint8_t *)what, strlen(what), LONG, &error));
}

static void blocking(hr_sender sender, hr_listener one, hr_listener two) {
  hr_events events[2];
  hr_event event;
  hr_publisher publisher;
  char id[64], of_event[64];
  int i;
  OK(hr_listener_events(one, &events[0], &error));
  OK(hr_listener_events(two, &events[1], &error));
  WANT(HR_WOULD_BLOCK, hr_events_next(events[0], 0, &event, &error));
  OK(hr_publisher_open(sender, "/prices?day=1", HR_NTS, "ticks", HR_NTS, LONG, &publisher, &error));
  OK(hr_publisher_tracking_id(publisher, id, sizeof id, NULL, &error));
  says(publisher, "AAPL 196.5");
  says(publisher, "");
  OK(hr_publisher_flush(publisher, LONG, &error));
  for (i = 0; i < 2; i++) {
    OK(hr_events_next(events[i], LONG, &event, &error));
    field(event, HR_EVENT_PATH, "/prices");
    field(event, HR_EVENT_QUERY, "day=1");
    field(event, HR_EVENT_SUBPROTOCOL, "ticks");
    field(event, HR_EVENT_METHOD, "");
    OK(hr_event_get(event, HR_EVENT_TRACKING_ID, of_event, sizeof of_event, NULL, &error));
    CHECK(strncmp(id, of_event, 36) == 0);
    WANT(HR_INVALID_ARGUMENT, hr_event_get(event, 99, of_event, sizeof of_event, NULL, &error));
    WANT(HR_END, hr_event_header(event, "X-None", HR_NTS, of_event, sizeof of_event, NULL, &error));
    is(event, "AAPL 196.5");
    OK(hr_events_next(events[i], LONG, &event, &error));
    is(event, "");
  }
  WANT(HR_TIMEOUT, hr_publisher_ended(publisher, 1, &error));
  WANT(HR_INVALID_ARGUMENT, hr_publisher_publish(publisher, 9, NULL, 0, LONG, &error));
  OK(hr_publisher_close(publisher, LONG, &error));
  OK(hr_publisher_close(publisher, LONG, &error));
  WANT(HR_CLOSED, hr_publisher_publish(publisher, HR_MESSAGE_BINARY, NULL, 0, LONG, &error));
  OK(hr_publisher_release(publisher, &error));

  /* One event too long ends the publisher, and says so. */
  {
    size_t len = (1u << 20) + 1;
    uint8_t *much = calloc(1, len);
    CHECK(much != NULL);
    OK(hr_publisher_open(sender, NULL, 0, NULL, 0, LONG, &publisher, &error));
    OK(hr_publisher_publish(publisher, HR_MESSAGE_BINARY, much, len, LONG, &error));
    WANT(HR_MESSAGE_TOO_LARGE, hr_publisher_ended(publisher, LONG, &error));
    OK(hr_publisher_release(publisher, &error));
    free(much);
  }
  OK(hr_events_release(events[0], &error));
  OK(hr_events_release(events[1], &error));
}

static void queued(hr_sender sender, hr_listener listener) {
  hr_queue queue;
  hr_completion end;
  hr_events events;
  hr_publisher publisher = {0};
  int heard = 0, closed = 0;
  OK(hr_queue_new(&queue, &error));
  OK(hr_listener_events(listener, &events, &error));
  OK(hr_events_next_submit(events, queue, NEXT, NULL, &error));
  OK(hr_publisher_open_submit(sender, NULL, 0, NULL, 0, queue, OPEN, NULL, &error));
  while (heard < 3 || !closed) {
    OK(hr_queue_next(queue, LONG, &end, &error));
    if (end.code != HR_OK) {
      expect(end.code, HR_OK, end.error, "an operation", __LINE__);
    }
    switch (end.tag) {
    case OPEN:
      publisher = end.publisher;
      OK(hr_publisher_publish_submit(publisher, HR_MESSAGE_TEXT, (const uint8_t *)"tick", 4, queue, PUBLISH, NULL, &error));
      break;
    case PUBLISH:
      break;
    case NEXT:
      is(end.event, "tick");
      if (++heard < 3) {
        OK(hr_events_next_submit(events, queue, NEXT, NULL, &error));
        OK(hr_publisher_publish_submit(publisher, HR_MESSAGE_TEXT, (const uint8_t *)"tick", 4, queue, PUBLISH, NULL, &error));
      } else {
        OK(hr_publisher_close_submit(publisher, queue, CLOSE, NULL, &error));
      }
      break;
    default:
      CHECK(end.tag == CLOSE);
      closed = 1;
    }
  }
  OK(hr_publisher_release(publisher, &error));
  /* What nobody takes out of the queue is released. */
  OK(hr_publisher_open(sender, NULL, 0, NULL, 0, LONG, &publisher, &error));
  OK(hr_events_next_submit(events, queue, NEXT, NULL, &error));
  says(publisher, "too late");
  OK(hr_publisher_close(publisher, LONG, &error));
  OK(hr_publisher_release(publisher, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_listener_close(listener, LONG, &error));
  {
    hr_event event;
    hr_code code;
    while ((code = hr_events_next(events, LONG, &event, NULL)) == HR_OK) {
      OK(hr_event_release(event, &error));
    }
    CHECK(code == HR_END);
  }
  OK(hr_events_release(events, &error));
}

int main(void) {
  char cs[512], features[64];
  hr_local_relay relay = start(cs, sizeof cs);
  hr_listener one, two;
  hr_sender sender;
  hr_publisher none = {0};
  hr_events no_events = {0};
  hr_event event;
  OK(hr_local_relay_add(relay, "hyco", HR_NTS, HR_ENTITY_EVENTS, &error));
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &one, &error));
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &two, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  OK(hr_listener_features(one, features, sizeof features, NULL, &error));
  CHECK(strstr(features, "events") != NULL);
  WANT(HR_INVALID_HANDLE, hr_publisher_close(none, 0, &error));
  WANT(HR_INVALID_HANDLE, hr_events_next(no_events, 0, &event, &error));
  WANT(HR_INVALID_ARGUMENT, hr_listener_events(one, NULL, &error));
  blocking(sender, one, two);
  queued(sender, one);
  OK(hr_listener_release(one, &error));
  OK(hr_listener_release(two, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  while (hr_live_handles() > 0) {
    /* An operation whose queue has gone is about to end. */
  }
  hr_shutdown(1000);
  return 0;
}
