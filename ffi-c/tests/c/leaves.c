/* Nothing is released, an accept is pending in another thread, and main returns. */
#include "check.h"
#include <pthread.h>

static hr_listener listener;

static void *waits(void *unused) {
  hr_incoming incoming;
  (void)unused;
  (void)hr_listener_accept(listener, HR_FOREVER, &incoming, NULL);
  return NULL;
}

int main(void) {
  static char cs[512];
  static hr_sender sender;
  static hr_queue queue;
  pthread_t thread;
  start(cs, sizeof cs);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  OK(hr_queue_new(&queue, &error));
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, 1, NULL, &error));
  CHECK(pthread_create(&thread, NULL, waits, NULL) == 0);
  return 0;
}
