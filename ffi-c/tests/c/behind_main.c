/* Calls behind main, where destructors and functions of atexit run, are calls as any others. */
#include "check.h"

static hr_local_relay relay;
static hr_listener listener;
static hr_events events;

static void behind_main(void) {
  hr_incoming incoming;
  WANT(HR_TIMEOUT, hr_listener_accept(listener, 5, &incoming, &error));
  OK(hr_listener_events(listener, &events, &error));
  OK(hr_events_release(events, &error));
  OK(hr_listener_close(listener, LONG, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_local_relay_stop(relay, LONG, &error));
  hr_shutdown(LONG);
}

int main(void) {
  static char cs[512];
  CHECK(atexit(behind_main) == 0);
  relay = start(cs, sizeof cs);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  return 0;
}
