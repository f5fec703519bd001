/* 32 threads connect, talk, close and release at once; half of them by handles that another thread closes under them. */
#include "check.h"
#include <pthread.h>

enum { THREADS = 32, ROUNDS = 20 };

static hr_sender sender;
static hr_listener listener;
static hr_connection shared[THREADS];

static void *serves(void *unused) {
  hr_incoming incoming;
  hr_connection connection;
  (void)unused;
  for (;;) {
    hr_code code = hr_listener_accept(listener, HR_FOREVER, &incoming, NULL);
    if (code != HR_OK) {
      CHECK(code == HR_END);
      return NULL;
    }
    if (hr_incoming_accept(incoming, NULL, 0, LONG, &connection, NULL) == HR_OK) {
      hr_message message;
      /* The sender may have gone. */
      while (hr_connection_receive(connection, LONG, &message, NULL) == HR_OK) {
        (void)hr_connection_send(connection, message.kind, message.data, message.len, LONG, NULL);
        hr_message_free(&message);
      }
      (void)hr_connection_close(connection, LONG, NULL);
      OK(hr_connection_release(connection, &error));
    }
  }
}

static void *talks(void *argument) {
  size_t me = (size_t)argument;
  int round;
  for (round = 0; round < ROUNDS; round++) {
    OK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &shared[me], &error));
    text(shared[me], "ball");
    receives(shared[me], "ball");
    OK(hr_connection_close(shared[me], LONG, &error));
    OK(hr_connection_release(shared[me], &error));
  }
  return NULL;
}

static void *disturbs(void *argument) {
  hr_connection stale = {0};
  size_t round, me = (size_t)argument;
  for (round = 0; round < 2000; round++) {
    hr_message message;
    hr_code code;
    /* Whatever the handle names by now, or nothing. */
    stale.id = (uint64_t)5 << 56 | (round % 7) << 24 | me;
    code = hr_connection_receive(stale, 0, &message, NULL);
    if (code == HR_OK) {
      hr_message_free(&message);
    }
    (void)hr_connection_release((hr_connection){(uint64_t)9 << 56 | round}, NULL);
  }
  return NULL;
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  pthread_t servers[8], talkers[THREADS], disturber;
  size_t at;
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  for (at = 0; at < 8; at++) {
    CHECK(pthread_create(&servers[at], NULL, serves, NULL) == 0);
  }
  for (at = 0; at < THREADS; at++) {
    CHECK(pthread_create(&talkers[at], NULL, talks, (void *)at) == 0);
  }
  /* Far beyond the places that are in use. */
  CHECK(pthread_create(&disturber, NULL, disturbs, (void *)(size_t)100000) == 0);
  for (at = 0; at < THREADS; at++) {
    CHECK(pthread_join(talkers[at], NULL) == 0);
  }
  CHECK(pthread_join(disturber, NULL) == 0);
  OK(hr_listener_close(listener, LONG, &error));
  for (at = 0; at < 8; at++) {
    CHECK(pthread_join(servers[at], NULL) == 0);
  }
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
