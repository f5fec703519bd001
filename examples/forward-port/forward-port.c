/* Lets others reach a TCP port near here: `forward-port listen HOST:PORT` beside the server, `forward-port connect` in any other place.
 *
 * cc -std=c99 forward-port.c -lhybridrelay -lpthread -o forward-port
 */
#include <hybridrelay.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Options that are all zero stand for the defaults. */
static const hr_options DEFAULTS = {0};

static void print_error(const char *what, hr_error *error) {
  fprintf(stderr, "%s: %s\n", what, hr_error_message(error));
  hr_error_free(error);
}

static int listen_for_senders(const char *server) {
  hr_listener listener;
  hr_forwarder forwarder;
  hr_error *error = NULL;
  hr_code code;
  char target[300];

  if ((size_t)snprintf(target, sizeof target, "tcp://%s", server) >= sizeof target) {
    fputs("the name of the server is too long\n", stderr);
    return 1;
  }
  /* NULL stands for the connection string in HYBRIDRELAY_CONNECTION_STRING. */
  if (hr_listener_open(NULL, 0, DEFAULTS, HR_FOREVER, &listener, &error) != HR_OK) {
    print_error("cannot listen", error);
    return 1;
  }
  /* The server is dialled anew for each sender; one that is down gives the sender 502. `http://…` and `unix:…` work as well. */
  code = hr_listener_forward(listener, target, HR_NTS, DEFAULTS, &forwarder, &error);
  if (code == HR_OK) {
    puts("online");
    fflush(stdout);
    code = hr_forwarder_wait(forwarder, HR_FOREVER, &error);
    hr_forwarder_release(forwarder, NULL);
  }
  if (code != HR_OK) print_error("cannot forward", error);
  hr_listener_release(listener, NULL);
  return code == HR_OK ? 0 : 1;
}

/* A thread's work: everything from standard input to the server, and then the end of this direction. */
static void *upwards(void *argument) {
  hr_stream server = *(hr_stream *)argument;
  hr_error *error = NULL;
  hr_code code = HR_OK;
  uint8_t part[65536];
  ssize_t len;

  while (code == HR_OK && (len = read(STDIN_FILENO, part, sizeof part)) > 0) {
    code = hr_stream_write(server, part, (size_t)len, HR_FOREVER, NULL, &error);
  }
  /* What the server still says is read to its end. */
  if (code == HR_OK) code = hr_stream_shutdown(server, HR_FOREVER, &error);
  if (code != HR_OK) print_error("the server hears no more", error);
  return NULL;
}

static int connect_to_it(void) {
  hr_sender sender;
  hr_connection connection;
  hr_stream server;
  pthread_t thread;
  hr_error *error = NULL;
  hr_code code;
  uint8_t part[65536];
  size_t len;

  if (hr_sender_new(NULL, 0, DEFAULTS, &sender, &error) != HR_OK) {
    print_error("cannot send", error);
    return 1;
  }
  code = hr_sender_connect(sender, NULL, 0, NULL, 0, HR_FOREVER, &connection, &error);
  hr_sender_release(sender, NULL);
  if (code == HR_OK) {
    /* A connection carries messages; as a stream of bytes it is like a TCP connection. */
    code = hr_connection_into_stream(connection, &server, &error);
    hr_connection_release(connection, NULL);
  }
  if (code != HR_OK) {
    print_error("cannot connect", error);
    return 1;
  }
  if (pthread_create(&thread, NULL, upwards, &server) != 0) return 1;
  while ((code = hr_stream_read(server, part, sizeof part, &len, HR_FOREVER, &error)) == HR_OK) {
    fwrite(part, 1, len, stdout);
    fflush(stdout);
  }
  if (code != HR_END) {
    print_error("the connection was lost", error);
    return 1;
  }
  hr_error_free(error);
  /* The server has ended; our direction ends with standard input. */
  pthread_join(thread, NULL);
  hr_stream_release(server, NULL);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "listen") == 0) return listen_for_senders(argv[2]);
  if (argc == 2 && strcmp(argv[1], "connect") == 0) return connect_to_it();
  fputs("usage: forward-port listen HOST:PORT | forward-port connect\n", stderr);
  return 2;
}
