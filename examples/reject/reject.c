/* Lets nobody in: `reject listen` in one place, and `reject connect`, which tells why not, in any other.
 *
 * cc -std=c99 reject.c -lhybridrelay -o reject
 */
#include <hybridrelay.h>
#include <stdio.h>
#include <string.h>

/* Options that are all zero stand for the defaults. */
static const hr_options DEFAULTS = {0};

static void print_error(const char *what, hr_error *error) {
  fprintf(stderr, "%s: %s\n", what, hr_error_message(error));
  hr_error_free(error);
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
  while (hr_listener_accept(listener, HR_FOREVER, &incoming, &error) == HR_OK) {
    char path[1024];
    hr_error *refused = NULL;
    /* What a listener would decide by: the path, the headers and the address of who asks. */
    if (hr_incoming_get(incoming, HR_INCOMING_PATH, path, sizeof path, NULL, NULL) != HR_OK) strcpy(path, "(a long one)");
    /* An HTTP status of your own and a reason, which the sender sees. It gets no connection. */
    if (hr_incoming_reject(incoming, 410, "closed for today", HR_NTS, HR_FOREVER, &refused) == HR_OK) {
      printf("rejected a sender with the path '%s'\n", path);
      fflush(stdout);
    } else {
      /* The sender may have gone by itself; that must not end the listener. */
      print_error("a sender could not be told", refused);
      /* Whatever was not used up by that is refused with 503; for a handle that was, this does nothing. */
      hr_incoming_release(incoming, NULL);
    }
  }
  print_error("the listener has ended", error);
  hr_listener_release(listener, NULL);
  return 1;
}

static int connect_to_it(void) {
  hr_sender sender;
  hr_connection connection;
  hr_error *error = NULL;
  hr_code code;

  if (hr_sender_new(NULL, 0, DEFAULTS, &sender, &error) != HR_OK) {
    print_error("cannot send", error);
    return 1;
  }
  code = hr_sender_connect(sender, "/door", HR_NTS, NULL, 0, HR_FOREVER, &connection, &error);
  hr_sender_release(sender, NULL);
  if (code == HR_OK) {
    fputs("the listener let us in\n", stderr);
    hr_connection_release(connection, NULL);
    return 1;
  }
  /* The code tells a listener that refuses from a relay that cannot be reached. */
  if (code != HR_REJECTED) {
    print_error("cannot connect", error);
    return 1;
  }
  /* A listener need not give a reason. */
  printf("rejected: %u %s\n", (unsigned)hr_error_status(error), hr_error_reason(error) ? hr_error_reason(error) : "");
  hr_error_free(error);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "listen") == 0) return listen_for_senders();
  if (argc == 2 && strcmp(argv[1], "connect") == 0) return connect_to_it();
  fputs("usage: reject listen | reject connect\n", stderr);
  return 2;
}
