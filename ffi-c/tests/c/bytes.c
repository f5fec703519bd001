/* Connections as bytes. */
#include "http.h"
#include <pthread.h>

enum { TEN_MIB = 10 << 20, LARGEST = 256 << 20, READ = 1, WRITE, SHUT, CLOSE, FLUSH };

static hr_listener listener;
static hr_sender sender;

/* A connection, and both of its ends as bytes. */
static void join(hr_stream *ours, hr_stream *theirs) {
  hr_connection client, server;
  hr_incoming incoming;
  hr_queue queue;
  hr_completion end;
  hr_message message;
  OK(hr_queue_new(&queue, &error));
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, 1, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &server, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  client = end.connection;
  OK(hr_connection_into_stream(client, ours, &error));
  OK(hr_connection_into_stream(server, theirs, &error));
  WANT(HR_STREAM_IN_USE, hr_connection_into_stream(server, theirs, &error));
  WANT(HR_STREAM_IN_USE, hr_connection_receive(server, LONG, &message, &error));
  WANT(HR_STREAM_IN_USE, hr_connection_send(server, HR_MESSAGE_TEXT, NULL, 0, LONG, &error));
  OK(hr_connection_release(client, &error));
  OK(hr_connection_release(server, &error));
  OK(hr_queue_release(queue, &error));
}

static void reads(hr_stream stream, const char *wanted) {
  char got[64];
  size_t at = 0, len, length = strlen(wanted);
  while (at < length) {
    OK(hr_stream_read(stream, (uint8_t *)got + at, length - at, &len, LONG, &error));
    at += len;
  }
  CHECK(memcmp(got, wanted, length) == 0);
}

static void writes(hr_stream stream, const char *data) {
  size_t written;
  OK(hr_stream_write(stream, (const uint8_t *)data, strlen(data), LONG, &written, &error));
  CHECK(written == strlen(data));
}

static void each_direction_ends_by_itself(void) {
  hr_stream ours, theirs;
  uint8_t byte;
  size_t len, written = 7;
  join(&ours, &theirs);
  WANT(HR_WOULD_BLOCK, hr_stream_read(ours, &byte, 1, &len, 0, &error));
  WANT(HR_TIMEOUT, hr_stream_read(ours, &byte, 1, &len, 10, &error));
  WANT(HR_INVALID_ARGUMENT, hr_stream_read(ours, &byte, 0, &len, LONG, &error));
  WANT(HR_INVALID_ARGUMENT, hr_stream_read(ours, NULL, 1, &len, LONG, &error));
  writes(ours, "hello");
  OK(hr_stream_write(ours, NULL, 0, LONG, &written, &error));
  CHECK(written == 0);
  OK(hr_stream_flush(ours, LONG, &error));
  reads(theirs, "hel");
  reads(theirs, "lo");
  OK(hr_stream_shutdown(ours, LONG, &error));
  OK(hr_stream_shutdown(ours, LONG, &error));
  WANT(HR_CLOSED, hr_stream_write(ours, &byte, 1, LONG, &written, &error));
  WANT(HR_END, hr_stream_read(theirs, &byte, 1, &len, LONG, &error));
  WANT(HR_END, hr_stream_read(theirs, &byte, 1, &len, LONG, &error));
  writes(theirs, "and more");
  OK(hr_stream_shutdown(theirs, LONG, &error));
  reads(ours, "and more");
  WANT(HR_END, hr_stream_read(ours, &byte, 1, &len, LONG, &error));
  OK(hr_stream_release(ours, &error));
  OK(hr_stream_release(theirs, &error));
}

static void *closes(void *argument) {
  hr_stream stream = *(hr_stream *)argument;
  OK(hr_stream_close(stream, LONG, &error));
  return NULL;
}

static void closing_ends_both_directions_in_good_order(void) {
  hr_stream ours, theirs;
  pthread_t closer;
  uint8_t byte;
  size_t len;
  join(&ours, &theirs);
  writes(ours, "bye");
  CHECK(pthread_create(&closer, NULL, closes, &ours) == 0);
  reads(theirs, "bye");
  WANT(HR_END, hr_stream_read(theirs, &byte, 1, &len, LONG, &error));
  OK(hr_stream_close(theirs, LONG, &error));
  CHECK(pthread_join(closer, NULL) == 0);
  WANT(HR_CLOSED, hr_stream_read(ours, &byte, 1, &len, LONG, &error));
  WANT(HR_CLOSED, hr_stream_write(ours, &byte, 1, LONG, NULL, &error));
  OK(hr_stream_close(ours, LONG, &error));
  OK(hr_stream_release(ours, &error));
  OK(hr_stream_release(theirs, &error));
}

static void an_abort_is_an_error_at_both_ends(void) {
  hr_stream ours, theirs;
  uint8_t byte;
  size_t len;
  join(&ours, &theirs);
  OK(hr_stream_abort(ours, &error));
  WANT(HR_CONNECTION_LOST, hr_stream_read(theirs, &byte, 1, &len, LONG, &error));
  WANT(HR_CLOSED, hr_stream_read(ours, &byte, 1, &len, LONG, &error));
  OK(hr_stream_release(ours, &error));
  OK(hr_stream_release(theirs, &error));
  /* Releasing what was not closed is one as well. */
  join(&ours, &theirs);
  OK(hr_stream_release(ours, &error));
  WANT(HR_CONNECTION_LOST, hr_stream_read(theirs, &byte, 1, &len, LONG, &error));
  OK(hr_stream_release(theirs, &error));
}

static void *writes_ten_mib(void *argument) {
  static uint8_t data[65537];
  hr_stream stream = *(hr_stream *)argument;
  size_t at = 0;
  while (at < TEN_MIB) {
    size_t len = TEN_MIB - at < sizeof data ? TEN_MIB - at : sizeof data;
    fill(data, at, len);
    OK(hr_stream_write(stream, data, len, LONG, NULL, &error));
    at += len;
  }
  OK(hr_stream_shutdown(stream, LONG, &error));
  return NULL;
}

static void *echoes(void *argument) {
  static uint8_t data[33333];
  hr_stream stream = *(hr_stream *)argument;
  size_t len;
  hr_code code;
  while ((code = hr_stream_read(stream, data, sizeof data, &len, LONG, NULL)) == HR_OK) {
    OK(hr_stream_write(stream, data, len, LONG, NULL, &error));
  }
  CHECK(code == HR_END);
  OK(hr_stream_shutdown(stream, LONG, &error));
  return NULL;
}

static size_t reads_to_the_end(hr_stream stream) {
  static uint8_t data[70000];
  size_t at = 0, len;
  hr_code code;
  while ((code = hr_stream_read(stream, data, sizeof data, &len, LONG, NULL)) == HR_OK) {
    is_filled(data, at, len);
    at += len;
  }
  CHECK(code == HR_END);
  return at;
}

static void ten_mib_go_both_ways_at_once(void) {
  hr_stream ours, theirs;
  pthread_t writer, server;
  join(&ours, &theirs);
  CHECK(pthread_create(&writer, NULL, writes_ten_mib, &ours) == 0);
  CHECK(pthread_create(&server, NULL, echoes, &theirs) == 0);
  CHECK(reads_to_the_end(ours) == TEN_MIB);
  CHECK(pthread_join(writer, NULL) == 0 && pthread_join(server, NULL) == 0);
  OK(hr_stream_release(ours, &error));
  OK(hr_stream_release(theirs, &error));
}

static void whoever_does_not_read_stops_the_writer(void) {
  static uint8_t data[1 << 20];
  hr_stream ours, theirs;
  size_t total = 0, written;
  hr_code code;
  pthread_t server;
  join(&ours, &theirs);
  do {
    fill(data, total, sizeof data);
    code = hr_stream_write(ours, data, sizeof data, 500, &written, NULL);
    total += written;
    CHECK(total < LARGEST);
  } while (code == HR_OK);
  CHECK(code == HR_TIMEOUT && total > 0);
  /* A writer that stands does not keep its reader from reading, nor the stream from being closed under it. */
  writes(theirs, "still here");
  reads(ours, "still here");
  CHECK(pthread_create(&server, NULL, closes, &ours) == 0);
  CHECK(reads_to_the_end(theirs) == total);
  OK(hr_stream_close(theirs, LONG, &error));
  CHECK(pthread_join(server, NULL) == 0);
  OK(hr_stream_release(ours, &error));
  OK(hr_stream_release(theirs, &error));
}

static void *waits(void *argument) {
  hr_stream stream = *(hr_stream *)argument;
  uint8_t byte;
  size_t len;
  hr_code code = hr_stream_read(stream, &byte, 1, &len, LONG, NULL);
  CHECK(code == HR_CLOSED || code == HR_INVALID_HANDLE);
  return NULL;
}

static void releasing_wakes_whoever_waits(void) {
  hr_stream ours, theirs;
  pthread_t waiter;
  join(&ours, &theirs);
  CHECK(pthread_create(&waiter, NULL, waits, &ours) == 0);
  OK(hr_stream_release(ours, &error));
  CHECK(pthread_join(waiter, NULL) == 0);
  OK(hr_stream_release(theirs, &error));
}

static void a_queue_serves_as_well(void) {
  hr_stream ours, theirs;
  hr_queue queue;
  hr_operation operation;
  hr_completion end;
  static uint8_t data[65537];
  size_t received = 0;
  int ends = 0;
  join(&ours, &theirs);
  OK(hr_queue_new(&queue, &error));
  OK(hr_stream_read_submit(theirs, 10, queue, READ, &operation, &error));
  hr_operation_cancel(operation);
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.code == HR_CANCELLED);
  hr_error_free(end.error);
  WANT(HR_INVALID_ARGUMENT, hr_stream_read_submit(theirs, 0, queue, READ, NULL, &error));

  fill(data, 0, sizeof data);
  OK(hr_stream_write_submit(ours, data, sizeof data, queue, WRITE, NULL, &error));
  OK(hr_stream_read_submit(theirs, 20000, queue, READ, NULL, &error));
  while (ends < 2) {
    OK(hr_queue_next(queue, LONG, &end, &error));
    switch (end.tag) {
    case WRITE:
      CHECK(end.code == HR_OK && end.number == sizeof data);
      OK(hr_stream_flush_submit(ours, queue, FLUSH, NULL, &error));
      break;
    case FLUSH:
      OK(hr_stream_shutdown_submit(ours, queue, SHUT, NULL, &error));
      break;
    case SHUT:
      CHECK(end.code == HR_OK);
      ends++;
      break;
    case READ:
      if (end.code == HR_OK) {
        CHECK(end.message.len > 0 && end.message.len <= 20000);
        is_filled(end.message.data, received, end.message.len);
        received += end.message.len;
        hr_message_free(&end.message);
        OK(hr_stream_read_submit(theirs, 20000, queue, READ, NULL, &error));
      } else {
        CHECK(end.code == HR_END && received == sizeof data);
        hr_error_free(end.error);
        ends++;
      }
      break;
    }
  }
  OK(hr_stream_close_submit(theirs, queue, CLOSE, NULL, &error));
  OK(hr_stream_close_submit(ours, queue, CLOSE, NULL, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.code == HR_OK);
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.code == HR_OK);
  OK(hr_queue_release(queue, &error));
  OK(hr_stream_release(ours, &error));
  OK(hr_stream_release(theirs, &error));
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  each_direction_ends_by_itself();
  closing_ends_both_directions_in_good_order();
  an_abort_is_an_error_at_both_ends();
  ten_mib_go_both_ways_at_once();
  whoever_does_not_read_stops_the_writer();
  releasing_wakes_whoever_waits();
  a_queue_serves_as_well();
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
