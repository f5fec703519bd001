/* A thread that is cancelled in a call ends behind it, and what the call brought is not lost. */
#include "http.h"
#include <pthread.h>
#include <semaphore.h>

static char cs[512];
static hr_connection there, back;
static hr_message got;
static sem_t about_to_wait;
static int calls_made;

static void was_cancelled(pthread_t thread) {
  void *end;
  CHECK(pthread_join(thread, &end) == 0 && end == PTHREAD_CANCELED);
}

/* Calls of every kind, all of them with the end of their thread pending: the first of them would be where it ends. */
static void *is_cancelled_from_the_beginning(void *relay) {
  hr_listener listener;
  hr_sender sender;
  hr_queue queue;
  hr_completion end;
  hr_operation waits;
  hr_incoming incoming;
  hr_request request;
  hr_responder responder;
  hr_response response;
  CHECK(pthread_cancel(pthread_self()) == 0);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  OK(hr_queue_new(&queue, &error));
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, 1, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &back, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.code == HR_OK);
  there = end.connection;
  text(there, "hello");
  receives(back, "hello");
  WANT(HR_TIMEOUT, hr_connection_receive(back, 1, &got, &error));
  OK(hr_connection_receive_submit(there, queue, 2, &waits, &error));
  hr_operation_cancel(waits);
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.code == HR_CANCELLED);
  hr_error_free(end.error);
  response = asks(sender, "POST", "/", "a body");
  takes(listener, &request, &responder);
  answers(request, responder, "an answer");
  answered(response, 200, "an answer");
  OK(hr_queue_release(queue, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_local_relay_drop_control(*(hr_local_relay *)relay, "hyco", HR_NTS, NULL, &error));
  calls_made = 1;
  pthread_testcancel();
  CHECK(!"behind the calls the thread ends");
  return NULL;
}

static void *is_cancelled_while_it_waits(void *unused) {
  (void)unused;
  CHECK(sem_post(&about_to_wait) == 0);
  OK(hr_connection_receive(back, LONG, &got, &error));
  pthread_testcancel();
  CHECK(!"behind the call the thread ends");
  return NULL;
}

/* Whoever does not want to be cancelled is not either behind a call. */
static void *cannot_be_cancelled(void *unused) {
  int before;
  (void)unused;
  CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0 && before == PTHREAD_CANCEL_ENABLE);
  CHECK(pthread_cancel(pthread_self()) == 0);
  WANT(HR_TIMEOUT, hr_connection_receive(back, 1, &got, &error));
  pthread_testcancel();
  CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0 && before == PTHREAD_CANCEL_DISABLE);
  return NULL;
}

static void *ends_the_library(void *unused) {
  (void)unused;
  CHECK(pthread_cancel(pthread_self()) == 0);
  hr_shutdown(LONG);
  calls_made = 2;
  pthread_testcancel();
  CHECK(!"behind the call the thread ends");
  return NULL;
}

int main(void) {
  hr_local_relay relay = start(cs, sizeof cs);
  pthread_t thread;
  void *end;
  CHECK(sem_init(&about_to_wait, 0, 0) == 0);
  CHECK(pthread_create(&thread, NULL, is_cancelled_from_the_beginning, &relay) == 0);
  was_cancelled(thread);
  CHECK(calls_made == 1);

  CHECK(pthread_create(&thread, NULL, is_cancelled_while_it_waits, NULL) == 0);
  while (sem_wait(&about_to_wait) != 0) {
  }
  CHECK(pthread_cancel(thread) == 0);
  text(there, "for a thread that ends");
  was_cancelled(thread);
  CHECK(got.len == 22 && memcmp(got.data, "for a thread that ends", 22) == 0);
  hr_message_free(&got);

  CHECK(pthread_create(&thread, NULL, cannot_be_cancelled, NULL) == 0);
  CHECK(pthread_join(thread, &end) == 0 && end == NULL);

  text(there, "still there");
  receives(back, "still there");
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  CHECK(pthread_create(&thread, NULL, ends_the_library, NULL) == 0);
  was_cancelled(thread);
  CHECK(calls_made == 2);
  return 0;
}
