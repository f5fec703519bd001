/* Signals on a thread that waits in a call, and a thread with as small a stack as the header allows. */
#include "http.h"
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

enum { SIGNALS = 50, STACK = 256 << 10 };

static hr_listener listener;
static hr_sender sender;
static sem_t handled;

static void handles(int number) {
  (void)number;
  sem_post(&handled);
}

static void waits_for_handled(void) {
  while (sem_wait(&handled) != 0) {
  }
}

static void *accepts(void *connection) {
  hr_incoming incoming;
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, connection, &error));
  return NULL;
}

static void *receives_late(void *connection) {
  receives(*(hr_connection *)connection, "late");
  return NULL;
}

static void signals(pthread_t thread) {
  int number;
  for (number = 0; number < SIGNALS; number++) {
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    waits_for_handled();
  }
}

/* No call ends by a signal, whatever the handler's flags are. */
static void a_call_survives_signals(int flags) {
  struct sigaction action;
  hr_connection there, back;
  pthread_t thread;
  memset(&action, 0, sizeof action);
  action.sa_handler = handles;
  action.sa_flags = flags;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  CHECK(pthread_create(&thread, NULL, accepts, &back) == 0);
  signals(thread);
  OK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &there, &error));
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(pthread_create(&thread, NULL, receives_late, &back) == 0);
  signals(thread);
  text(there, "late");
  CHECK(pthread_join(thread, NULL) == 0);
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
}

/* Everything that takes stack: handshakes with TLS, streams and requests. */
static void *does_everything(void *unused) {
  char cs[512], pem[4096];
  hr_local_relay relay;
  hr_options options;
  hr_queue queue;
  hr_completion end;
  hr_incoming incoming;
  hr_connection there, back;
  hr_request request;
  hr_responder responder;
  hr_response response;
  (void)unused;
  OK(hr_local_relay_start(true, &relay, &error));
  OK(hr_local_relay_connection_string(relay, "hyco", HR_NTS, cs, sizeof cs, NULL, &error));
  OK(hr_local_relay_ca_pem(relay, pem, sizeof pem, NULL, &error));
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_EXTRA_CA_PEM, pem, HR_NTS, &error));
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, options, &sender, &error));
  OK(hr_queue_new(&queue, &error));
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, 1, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &back, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  there = end.connection;
  text(there, "with little stack");
  receives(back, "with little stack");
  OK(hr_connection_close_submit(there, queue, 1, NULL, &error));
  OK(hr_connection_close(back, LONG, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  response = asks(sender, "POST", "/", "a body");
  takes(listener, &request, &responder);
  answers(request, responder, "an answer");
  answered(response, 200, "an answer");
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_options_release(options, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  return NULL;
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  pthread_attr_t small;
  pthread_t thread;
  CHECK(sem_init(&handled, 0, 0) == 0);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  a_call_survives_signals(0);
  a_call_survives_signals(SA_RESTART);
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));

  CHECK(pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, STACK) == 0);
  CHECK(pthread_create(&thread, &small, does_everything, NULL) == 0 && pthread_join(thread, NULL) == 0);
  CHECK(pthread_attr_destroy(&small) == 0);
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
