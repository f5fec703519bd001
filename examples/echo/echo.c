/* Sends back whatever comes: `echo listen` in one place, `echo send TEXT` in any other.
 *
 * cc -std=c99 echo.c -lhybridrelay -lpthread -o echo
 */
#include <hybridrelay.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Options that are all zero stand for the defaults. */
static const hr_options DEFAULTS = {0};

/* Every call takes the place for an error, which tells more than the code that the call returns. It is ours to free. */
static void print_error(const char *what, hr_error *error) {
  fprintf(stderr, "%s: %s\n", what, hr_error_message(error));
  hr_error_free(error);
}

/* A thread's work: one sender, from its accept to its end. */
static void *serve(void *argument) {
  hr_incoming incoming = *(hr_incoming *)argument;
  hr_connection connection;
  hr_message message;
  hr_error *error = NULL;
  hr_code code;

  free(argument);
  if (hr_incoming_accept(incoming, NULL, 0, HR_FOREVER, &connection, &error) != HR_OK) {
    print_error("a sender was lost", error);
    /* Whatever was not used up by that is refused; for a handle that was, this does nothing. */
    hr_incoming_release(incoming, NULL);
    return NULL;
  }
  while ((code = hr_connection_receive(connection, HR_FOREVER, &message, &error)) == HR_OK) {
    code = hr_connection_send(connection, message.kind, message.data, message.len, HR_FOREVER, &error);
    hr_message_free(&message);
    if (code != HR_OK) break;
  }
  /* HR_END is the sender's orderly end, and comes with an error to free as well. */
  if (code == HR_END) {
    hr_error_free(error);
    error = NULL;
    code = hr_connection_close(connection, HR_FOREVER, &error);
  }
  if (code != HR_OK) print_error("a sender was lost", error);
  hr_connection_release(connection, NULL);
  return NULL;
}

static int listen_for_senders(void) {
  hr_listener listener;
  hr_incoming incoming;
  hr_error *error = NULL;

  /* NULL stands for the connection string in HYBRIDRELAY_CONNECTION_STRING. */
  if (hr_listener_open(NULL, 0, DEFAULTS, HR_FOREVER, &listener, &error) != HR_OK) {
    print_error("cannot listen", error);
    return 1;
  }
  puts("online");
  fflush(stdout);
  /* A lost network is no error here: the listener comes back by itself. */
  while (hr_listener_accept(listener, HR_FOREVER, &incoming, &error) == HR_OK) {
    pthread_t thread;
    hr_incoming *argument = malloc(sizeof *argument);
    if (argument != NULL) *argument = incoming;
    if (argument == NULL || pthread_create(&thread, NULL, serve, argument) != 0) {
      /* Released unanswered, the sender is refused with 503. */
      hr_incoming_release(incoming, NULL);
      free(argument);
      continue;
    }
    pthread_detach(thread);
  }
  print_error("the listener has ended", error);
  hr_listener_release(listener, NULL);
  return 1;
}

static int send_text(const char *text) {
  hr_sender sender;
  hr_connection connection;
  hr_message reply;
  hr_error *error = NULL;
  hr_code code;

  if (hr_sender_new(NULL, 0, DEFAULTS, &sender, &error) != HR_OK) {
    print_error("cannot send", error);
    return 1;
  }
  code = hr_sender_connect(sender, NULL, 0, NULL, 0, HR_FOREVER, &connection, &error);
  hr_sender_release(sender, NULL); /* A connection goes on without its sender. */
  if (code != HR_OK) {
    print_error("cannot connect", error);
    return 1;
  }
  code = hr_connection_send(connection, HR_MESSAGE_TEXT, (const uint8_t *)text, strlen(text), HR_FOREVER, &error);
  if (code == HR_OK) code = hr_connection_receive(connection, HR_FOREVER, &reply, &error);
  if (code == HR_OK) {
    printf("%.*s\n", (int)reply.len, (const char *)reply.data);
    hr_message_free(&reply);
    /* Released without this, the connection would be aborted, and the listener would see an error. */
    code = hr_connection_close(connection, HR_FOREVER, &error);
  }
  if (code != HR_OK) print_error("no answer", error);
  hr_connection_release(connection, NULL);
  return code == HR_OK ? 0 : 1;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "listen") == 0) return listen_for_senders();
  if (argc == 3 && strcmp(argv[1], "send") == 0) return send_text(argv[2]);
  fputs("usage: echo listen | echo send TEXT\n", stderr);
  return 2;
}
