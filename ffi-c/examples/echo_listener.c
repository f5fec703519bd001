/* Sends back whatever comes: blocking calls, one thread for each connection.
 *
 *   cc echo_listener.c $(pkg-config --cflags --libs hybridrelay) -lpthread -o echo_listener
 *   HYBRIDRELAY_CONNECTION_STRING='Endpoint=sb://…;EntityPath=hyco' ./echo_listener
 */
#include <hybridrelay.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void fail(const char *what, hr_error *error) {
  fprintf(stderr, "%s: %s\n", what, hr_error_message(error));
  if (hr_error_hint(error)) {
    fprintf(stderr, "hint: %s\n", hr_error_hint(error));
  }
  hr_error_free(error);
}

static void *echo(void *given) {
  hr_connection connection = *(hr_connection *)given;
  hr_error *error = NULL;
  hr_message message;
  hr_code code;
  free(given);
  while ((code = hr_connection_receive(connection, HR_FOREVER, &message, &error)) == HR_OK) {
    code = hr_connection_send(connection, message.kind, message.data, message.len, HR_FOREVER, &error);
    hr_message_free(&message);
    if (code != HR_OK) {
      break;
    }
  }
  if (code == HR_END) { /* The sender has closed its direction; so do we. */
    hr_error_free(error);
    error = NULL;
    code = hr_connection_close(connection, HR_FOREVER, &error);
  }
  if (code != HR_OK) {
    fail("a connection", error);
  }
  hr_connection_release(connection, NULL);
  return NULL;
}

int main(void) {
  const hr_options defaults = {0};
  hr_listener listener;
  hr_incoming incoming;
  hr_error *error = NULL;
  hr_code code;
  if (hr_listener_open(NULL, 0, defaults, HR_FOREVER, &listener, &error) != HR_OK) {
    fail("cannot listen", error);
    return 1;
  }
  puts("online");
  fflush(stdout);
  while ((code = hr_listener_accept(listener, HR_FOREVER, &incoming, &error)) == HR_OK) {
    hr_connection *connection = malloc(sizeof *connection);
    pthread_t thread;
    if (!connection) {
      hr_incoming_reject(incoming, 503, "out of memory", HR_NTS, HR_FOREVER, NULL);
    } else if (hr_incoming_accept(incoming, NULL, 0, HR_FOREVER, connection, &error) != HR_OK) {
      fail("a sender", error); /* It has gone. Others come. */
      error = NULL;
      free(connection);
    } else if (pthread_create(&thread, NULL, echo, connection) == 0) {
      pthread_detach(thread);
    } else {
      hr_connection_release(*connection, NULL); /* Not closed, so it is aborted. */
      free(connection);
    }
  }
  fail("the listener has ended", error); /* HR_END only after hr_listener_close. */
  hr_listener_release(listener, NULL);
  return code == HR_END ? 0 : 1;
}
