/* Who listens, and what a namespace offers. */
#include "check.h"

enum { NOW = 1, WATCH, CHANGED, SOMEBODY, FOUND, ENDPOINTS };

static uint64_t count(hr_presence presence) {
  hr_presence_summary summary;
  OK(hr_presence_read(presence, &summary, &error));
  CHECK((summary.count > 0) == (summary.since_ms > 0) && summary.told == summary.count);
  OK(hr_presence_release(presence, &error));
  return summary.count;
}

static void end_of(hr_queue queue, hr_completion *end, uint64_t tag) {
  OK(hr_queue_next(queue, LONG, end, &error));
  expect(end->code, HR_OK, end->error, "an operation", __LINE__);
  CHECK(end->tag == tag);
}

static void tells(hr_presence presence) {
  char buffer[128];
  hr_present_numbers numbers;
  OK(hr_presence_get(presence, 0, HR_PRESENT_RULE, buffer, sizeof buffer, NULL, &error));
  CHECK(strcmp(buffer, "RootManageSharedAccessKey") == 0);
  OK(hr_presence_get(presence, 0, HR_PRESENT_ADDRESS, buffer, sizeof buffer, NULL, &error));
  CHECK(strncmp(buffer, "127.0.0.1:", 10) == 0);
  OK(hr_presence_get(presence, 0, HR_PRESENT_FEATURES, buffer, sizeof buffer, NULL, &error));
  CHECK(strstr(buffer, "cancel") != NULL);
  OK(hr_presence_label(presence, 0, "room", HR_NTS, buffer, sizeof buffer, NULL, &error));
  CHECK(strcmp(buffer, "kitchen") == 0);
  WANT(HR_END, hr_presence_label(presence, 0, "floor", HR_NTS, buffer, sizeof buffer, NULL, &error));
  OK(hr_presence_numbers(presence, 0, &numbers, &error));
  CHECK(numbers.since_ms > 0 && numbers.in_flight == 0);
  WANT(HR_END, hr_presence_numbers(presence, 1, &numbers, &error));
  WANT(HR_END, hr_presence_get(presence, 1, HR_PRESENT_ID, buffer, sizeof buffer, NULL, &error));
  WANT(HR_INVALID_ARGUMENT, hr_presence_get(presence, 0, 99, buffer, sizeof buffer, NULL, &error));
}

static size_t endpoints(hr_endpoints found) {
  size_t many;
  OK(hr_endpoints_count(found, &many, &error));
  OK(hr_endpoints_release(found, &error));
  return many;
}

int main(void) {
  char cs[512], buffer[128];
  hr_local_relay relay = start(cs, sizeof cs);
  hr_options options;
  hr_listener listener;
  hr_sender sender;
  hr_presence presence;
  hr_presence_watch watch;
  hr_endpoints found;
  hr_endpoints_watch endpoints_watch;
  hr_queue queue;
  hr_completion end;
  bool needs_token;
  int64_t since;
  OK(hr_local_relay_add(relay, "hyco", HR_NTS, HR_ENTITY_DISCOVERABLE, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  OK(hr_queue_new(&queue, &error));

  OK(hr_sender_presence(sender, LONG, &presence, &error));
  CHECK(count(presence) == 0);
  WANT(HR_TIMEOUT, hr_sender_wait_for_listener(sender, 10, NULL, &error));
  OK(hr_sender_watch_presence(sender, LONG, &watch, &error));
  OK(hr_presence_watch_current(watch, &presence, &error));
  CHECK(count(presence) == 0);
  WANT(HR_WOULD_BLOCK, hr_presence_watch_next(watch, 0, &presence, &error));
  OK(hr_presence_watch_interruption(watch, &error));
  OK(hr_endpoints_find(cs, HR_NTS, DEFAULTS, LONG, &found, &error));
  CHECK(endpoints(found) == 0);
  OK(hr_endpoints_watch_new(cs, HR_NTS, DEFAULTS, &endpoints_watch, &error));
  OK(hr_endpoints_watch_next(endpoints_watch, LONG, &found, &error));
  CHECK(endpoints(found) == 0);

  OK(hr_endpoints_watch_next_submit(endpoints_watch, queue, ENDPOINTS, NULL, &error));
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_LABEL, "room=kitchen", HR_NTS, &error));
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &listener, &error));
  OK(hr_options_set_str(options, HR_OPT_LABEL, "nothing", HR_NTS, &error));
  {
    hr_listener no_listener;
    WANT(HR_INVALID_ARGUMENT, hr_listener_open(cs, HR_NTS, options, LONG, &no_listener, &error));
  }
  OK(hr_options_release(options, &error));

  OK(hr_presence_watch_next(watch, LONG, &presence, &error));
  tells(presence);
  CHECK(count(presence) == 1);
  OK(hr_sender_wait_for_listener(sender, LONG, &presence, &error));
  CHECK(count(presence) == 1);
  end_of(queue, &end, ENDPOINTS);
  OK(hr_endpoints_get(end.endpoints, 0, HR_ENDPOINT_PATH, buffer, sizeof buffer, NULL, &error));
  CHECK(strcmp(buffer, "hyco") == 0);
  OK(hr_endpoints_get(end.endpoints, 0, HR_ENDPOINT_URL, buffer, sizeof buffer, NULL, &error));
  CHECK(strncmp(buffer, "http://127.0.0.1:", 17) == 0);
  OK(hr_endpoints_access(end.endpoints, 0, &needs_token, &since, &error));
  CHECK(needs_token && since > 0);
  WANT(HR_END, hr_endpoints_get(end.endpoints, 1, HR_ENDPOINT_PATH, buffer, sizeof buffer, NULL, &error));
  WANT(HR_INVALID_ARGUMENT, hr_endpoints_get(end.endpoints, 0, 99, buffer, sizeof buffer, NULL, &error));
  CHECK(endpoints(end.endpoints) == 1);

  OK(hr_sender_presence_submit(sender, queue, NOW, NULL, &error));
  end_of(queue, &end, NOW);
  CHECK(count(end.presence) == 1);
  OK(hr_sender_wait_for_listener_submit(sender, queue, SOMEBODY, NULL, &error));
  end_of(queue, &end, SOMEBODY);
  CHECK(count(end.presence) == 1);
  OK(hr_endpoints_find_submit(cs, HR_NTS, DEFAULTS, queue, FOUND, NULL, &error));
  end_of(queue, &end, FOUND);
  CHECK(endpoints(end.endpoints) == 1);
  OK(hr_presence_watch_release(watch, &error));
  OK(hr_sender_watch_presence_submit(sender, queue, WATCH, NULL, &error));
  end_of(queue, &end, WATCH);
  watch = end.presence_watch;
  OK(hr_presence_watch_next_submit(watch, queue, CHANGED, NULL, &error));
  OK(hr_listener_close(listener, LONG, &error));
  OK(hr_listener_release(listener, &error));
  end_of(queue, &end, CHANGED);
  CHECK(count(end.presence) == 0);
  OK(hr_endpoints_watch_next(endpoints_watch, LONG, &found, &error));
  CHECK(endpoints(found) == 0);

  /* The relay goes, and the watch says so. */
  OK(hr_local_relay_stop(relay, 0, &error));
  OK(hr_presence_watch_next(watch, LONG, &presence, &error));
  CHECK(count(presence) == 0);
  CHECK(hr_presence_watch_interruption(watch, NULL) != HR_OK);
  OK(hr_presence_watch_release(watch, &error));
  OK(hr_endpoints_watch_release(endpoints_watch, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_queue_release(queue, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
