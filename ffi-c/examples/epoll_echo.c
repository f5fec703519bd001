/* Serves any number of connections in one thread: everything that ends is told by one queue, whose descriptor epoll watches beside
 * standard input. The program ends in good order when that does.
 *
 *   cc epoll_echo.c $(pkg-config --cflags --libs hybridrelay) -o epoll_echo
 *   HYBRIDRELAY_CONNECTION_STRING='Endpoint=sb://…;EntityPath=hyco' ./epoll_echo
 */
#include <hybridrelay.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* What an operation was for: the tag leads to one of these. */
struct peer {
  enum { ACCEPTING, JOINING, RECEIVING, SENDING, CLOSING } does;
  hr_connection connection;
};

static hr_queue queue;
static hr_listener listener;
static int served;

static uint64_t tag(struct peer *peer) { return (uint64_t)(uintptr_t)peer; }

static void drop(struct peer *peer) {
  if (peer->connection.id != 0) {
    hr_connection_release(peer->connection, NULL); /* Aborts it, unless both directions are closed. */
  }
  free(peer);
}

static void accept_next(void) {
  struct peer *peer = calloc(1, sizeof *peer);
  if (!peer || hr_listener_accept_submit(listener, queue, tag(peer), NULL, NULL) != HR_OK) {
    free(peer);
  }
}

static hr_code receive(struct peer *peer) {
  peer->does = RECEIVING;
  return hr_connection_receive_submit(peer->connection, queue, tag(peer), NULL, NULL);
}

/* Takes the next step of whoever has something; one that fails is let go. */
static void step(hr_completion *end) {
  struct peer *peer = (struct peer *)(uintptr_t)end->tag;
  hr_code code = end->code;
  if (code == HR_OK && peer->does == ACCEPTING) {
    accept_next();
    peer->does = JOINING;
    code = hr_incoming_accept_submit(end->incoming, NULL, 0, queue, tag(peer), NULL, NULL);
  } else if (code == HR_OK && peer->does == JOINING) {
    peer->connection = end->connection;
    served++;
    code = receive(peer);
  } else if (code == HR_OK && peer->does == RECEIVING) {
    hr_message *said = &end->message;
    peer->does = SENDING;
    code = hr_connection_send_submit(peer->connection, said->kind, said->data, said->len, queue, tag(peer), NULL, NULL);
  } else if (code == HR_OK && peer->does == SENDING) {
    code = receive(peer);
  } else if (code == HR_END && peer->does == RECEIVING) {
    peer->does = CLOSING; /* The sender has closed; this answers. */
    code = hr_connection_close_submit(peer->connection, queue, tag(peer), NULL, NULL);
  } else {
    code = HR_END;
  }
  hr_message_free(&end->message);
  hr_error_free(end->error);
  if (code != HR_OK) {
    drop(peer);
  }
}

int main(void) {
  const hr_options defaults = {0};
  hr_error *error = NULL;
  struct epoll_event event = {0};
  int loop = epoll_create1(EPOLL_CLOEXEC), runs = 1;
  if (hr_listener_open(NULL, 0, defaults, HR_FOREVER, &listener, &error) != HR_OK || hr_queue_new(&queue, &error) != HR_OK) {
    fprintf(stderr, "cannot listen: %s\n", hr_error_message(error));
    return 1;
  }
  event.events = EPOLLIN;
  event.data.fd = hr_queue_fd(queue);
  epoll_ctl(loop, EPOLL_CTL_ADD, event.data.fd, &event);
  event.data.fd = STDIN_FILENO;
  epoll_ctl(loop, EPOLL_CTL_ADD, STDIN_FILENO, &event);
  accept_next();
  puts("online");
  fflush(stdout);
  while (runs && epoll_wait(loop, &event, 1, -1) == 1) {
    hr_completion end;
    char ignored[256];
    if (event.data.fd == STDIN_FILENO) {
      runs = read(STDIN_FILENO, ignored, sizeof ignored) > 0;
      continue;
    }
    while (hr_queue_next(queue, 0, &end, NULL) == HR_OK) {
      step(&end);
    }
  }
  hr_listener_close(listener, 2000, NULL);
  hr_listener_release(listener, NULL);
  hr_queue_release(queue, NULL); /* What is under way is given up; what it held is the system's to take back. */
  close(loop);
  printf("%d connections were served\n", served);
  return 0;
}
