/* hr_shutdown in the middle of everything: it returns, whoever waits is told, and what is made later works. */
#include "check.h"
#include <pthread.h>
#include <time.h>

enum { TAG = 1, LIMIT_S = 60 };

static hr_queue queue;
static hr_listener listener;
static hr_connection there, back;

static hr_queue made(void) {
  hr_queue made;
  OK(hr_queue_new(&made, &error));
  return made;
}

/* Waits for what never comes, which a completion tells. */
static void *waits(void *unused) {
  (void)unused;
  WANT(HR_CLOSED, hr_test_wait(queue, TAG, HR_FOREVER, &error));
  return NULL;
}

/* The same for a connection. A call that begins behind the end finds the connection cut. */
static void *receives_nothing(void *unused) {
  hr_message message;
  hr_code code = hr_connection_receive(back, HR_FOREVER, &message, NULL);
  (void)unused;
  CHECK(code == HR_CLOSED || code == HR_CONNECTION_LOST);
  return NULL;
}

static void meet(hr_sender sender) {
  hr_incoming incoming;
  hr_completion end;
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, TAG, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &back, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  there = end.connection;
}

/* A connection that is released while its close still waits for the other side, and ends in the background. */
static void lingers(hr_sender sender) {
  hr_code code;
  meet(sender);
  text(there, "never read");
  do {
    code = hr_connection_close(there, 1, NULL);
  } while (code == HR_OK);
  CHECK(code == HR_TIMEOUT);
  OK(hr_connection_release(there, &error));
}

int main(void) {
  static void *(*const WAIT[])(void *) = {waits, waits, receives_nothing};
  enum { THREADS = sizeof WAIT / sizeof *WAIT };
  int turn, number;
  for (turn = 0; turn < 3; turn++) {
    pthread_t threads[THREADS];
    struct timespec began, ended;
    char cs[512];
    hr_completion end;
    hr_connection unread;
    hr_message message;
    hr_sender sender;
    hr_local_relay relay = start(cs, sizeof cs);
    queue = made();
    OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
    OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
    lingers(sender);
    unread = back;
    meet(sender);
    text(there, "to whoever comes");
    receives(back, "to whoever comes");
    for (number = 0; number < THREADS; number++) {
      CHECK(pthread_create(&threads[number], NULL, WAIT[number], NULL) == 0);
    }
    for (number = 0; number < 2; number++) {
      OK(hr_queue_next(queue, LONG, &end, &error));
      CHECK(end.tag == TAG && end.code == HR_OK && end.operation.id == 0);
    }
    CHECK(clock_gettime(CLOCK_MONOTONIC, &began) == 0);
    hr_shutdown(LIMIT_S * 1000);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &ended) == 0);
    CHECK(ended.tv_sec - began.tv_sec < LIMIT_S);
    for (number = 0; number < THREADS; number++) {
      CHECK(pthread_join(threads[number], NULL) == 0);
    }
    /* What was there before has ended, and is released as ever. */
    CHECK(hr_connection_receive(there, LONG, &message, NULL) == HR_CONNECTION_LOST);
    OK(hr_connection_release(there, &error));
    OK(hr_connection_release(back, &error));
    OK(hr_connection_release(unread, &error));
    OK(hr_listener_release(listener, &error));
    OK(hr_sender_release(sender, &error));
    OK(hr_queue_release(queue, &error));
    OK(hr_local_relay_stop(relay, 1000, &error));
    CHECK(hr_live_handles() == 0);
  }
  hr_shutdown(1000);
  hr_shutdown(1000);
  return 0;
}
