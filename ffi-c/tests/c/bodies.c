/* Long bodies: they stream both ways at once, whoever does not read stops the writer, and nothing is kept whole. */
#include "http.h"
#include <pthread.h>

enum { TEN_MIB = 10 << 20, LARGEST = 256 << 20, PIECE = 100000 };

static hr_listener listener;
static hr_sender sender;

static void *uploads(void *argument) {
  static uint8_t data[PIECE];
  hr_body_writer body = *(hr_body_writer *)argument;
  size_t at = 0, written;
  while (at < TEN_MIB) {
    size_t len = TEN_MIB - at < PIECE ? TEN_MIB - at : PIECE;
    fill(data, at, len);
    OK(hr_body_write(body, data, len, LONG, &written, &error));
    CHECK(written == len);
    at += len;
  }
  OK(hr_body_finish(body, LONG, &error));
  OK(hr_body_finish(body, LONG, &error));
  WANT(HR_CLOSED, hr_body_write(body, data, 1, LONG, NULL, &error));
  WANT(HR_CLOSED, hr_body_flush(body, LONG, &error));
  OK(hr_body_release(body, &error));
  return NULL;
}

static void *echoes(void *unused) {
  static uint8_t data[48 * 1024];
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
  size_t len;
  hr_code code;
  (void)unused;
  takes(listener, &request, &responder);
  OK(hr_responder_start(responder, 200, NULL, 0, NULL, 0, &body, &error));
  while ((code = hr_request_read(request, data, sizeof data, &len, LONG, NULL)) == HR_OK) {
    OK(hr_body_write(body, data, len, LONG, NULL, &error));
  }
  CHECK(code == HR_END);
  OK(hr_body_finish(body, LONG, &error));
  OK(hr_body_release(body, &error));
  OK(hr_request_release(request, &error));
  return NULL;
}

/* Reads a response to its end. */
static size_t reads(hr_response response, size_t from) {
  static uint8_t data[70000];
  size_t at = from, len;
  hr_code code;
  while ((code = hr_response_read(response, data, sizeof data, &len, LONG, NULL)) == HR_OK) {
    is_filled(data, at, len);
    at += len;
  }
  CHECK(code == HR_END);
  return at - from;
}

static void ten_mib_go_both_ways_at_once(void) {
  pthread_t uploader, server;
  hr_outgoing outgoing;
  hr_response response;
  hr_body_writer body;
  CHECK(pthread_create(&server, NULL, echoes, NULL) == 0);
  OK(hr_outgoing_new("POST", HR_NTS, "/echo", HR_NTS, &outgoing, &error));
  OK(hr_outgoing_stream(outgoing, &body, &error));
  OK(hr_sender_request(sender, outgoing, &response, &error));
  CHECK(pthread_create(&uploader, NULL, uploads, &body) == 0);
  CHECK(reads(response, 0) == TEN_MIB);
  OK(hr_response_release(response, &error));
  CHECK(pthread_join(uploader, NULL) == 0 && pthread_join(server, NULL) == 0);
}

/* One byte more than fits into a control message, a frame and a piece. */
static void whole_bodies_of_any_length_arrive(void) {
  static const size_t LENGTHS[] = {0, 1, 65535, 65536, 65537, TEN_MIB};
  uint8_t *data = malloc(TEN_MIB), *got = malloc(TEN_MIB);
  size_t at;
  CHECK(data && got);
  fill(data, 0, TEN_MIB);
  for (at = 0; at < sizeof LENGTHS / sizeof *LENGTHS; at++) {
    size_t length = LENGTHS[at], total = 0, len;
    hr_outgoing outgoing;
    hr_response response;
    hr_request request;
    hr_responder responder;
    hr_queue queue;
    hr_completion end;
    hr_code code;
    OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
    OK(hr_outgoing_body(outgoing, data, length, &error));
    OK(hr_sender_request(sender, outgoing, &response, &error));
    takes(listener, &request, &responder);
    while ((code = hr_request_read(request, got + total, TEN_MIB - total ? TEN_MIB - total : 1, &len, LONG, NULL)) == HR_OK) {
      total += len;
      if (total == TEN_MIB) {
        uint8_t none;
        WANT(HR_END, hr_request_read(request, &none, 1, &len, LONG, &error));
        code = HR_END;
        break;
      }
    }
    CHECK(code == HR_END && total == length);
    is_filled(got, 0, total);
    /* It leaves only as fast as it is read, so this thread does not wait for it. */
    OK(hr_queue_new(&queue, &error));
    OK(hr_responder_send_submit(responder, 200, NULL, 0, NULL, 0, got, total, queue, 7, NULL, &error));
    CHECK(reads(response, 0) == length);
    OK(hr_queue_next(queue, LONG, &end, &error));
    CHECK(end.tag == 7 && end.code == HR_OK);
    OK(hr_queue_release(queue, &error));
    OK(hr_response_release(response, &error));
    OK(hr_request_release(request, &error));
  }
  free(data);
  free(got);
}

/* Writes until nothing is taken any more, which is long before the end. */
static size_t writes_until_it_stands(hr_body_writer body) {
  static uint8_t data[1 << 20];
  size_t total = 0, written;
  hr_code code;
  do {
    fill(data, total, sizeof data);
    code = hr_body_write(body, data, sizeof data, 500, &written, NULL);
    total += written;
    CHECK(total < LARGEST);
  } while (code == HR_OK);
  CHECK(code == HR_TIMEOUT && total > 0);
  return total;
}

static void whoever_does_not_read_a_response_stops_its_writer(void) {
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
  hr_response response = asks(sender, "GET", "/", NULL);
  size_t total;
  takes(listener, &request, &responder);
  OK(hr_responder_start(responder, 200, NULL, 0, NULL, 0, &body, &error));
  total = writes_until_it_stands(body);
  /* An end that has no room yet goes on by itself. */
  {
    hr_code code = hr_body_finish(body, 0, NULL);
    CHECK(code == HR_WOULD_BLOCK || code == HR_OK);
  }
  CHECK(reads(response, 0) == total);
  OK(hr_body_finish(body, LONG, &error));
  OK(hr_body_release(body, &error));
  OK(hr_response_release(response, &error));
  OK(hr_request_release(request, &error));
}

static void whoever_does_not_read_a_request_stops_its_writer(void) {
  static uint8_t data[70000];
  hr_outgoing outgoing;
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
  hr_response response;
  size_t total, at = 0, len;
  hr_code code;
  OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
  OK(hr_outgoing_stream(outgoing, &body, &error));
  OK(hr_sender_request(sender, outgoing, &response, &error));
  total = writes_until_it_stands(body);
  (void)hr_body_finish(body, 0, NULL);
  takes(listener, &request, &responder);
  while ((code = hr_request_read(request, data, sizeof data, &len, LONG, NULL)) == HR_OK) {
    is_filled(data, at, len);
    at += len;
  }
  CHECK(code == HR_END && at == total);
  OK(hr_body_finish(body, LONG, &error));
  OK(hr_body_release(body, &error));
  answers(request, responder, "got it");
  answered(response, 200, "got it");
}

static hr_request waited_on;
static hr_response awaited;
static hr_body_writer written_to;
static pthread_barrier_t begun;

static void *waits_for_a_body(void *unused) {
  uint8_t data[16];
  size_t len;
  hr_code code;
  (void)unused;
  pthread_barrier_wait(&begun);
  do {
    code = hr_request_read(waited_on, data, sizeof data, &len, LONG, NULL);
  } while (code == HR_OK);
  /* Or the handle was gone before. */
  CHECK(code == HR_CLOSED || code == HR_INVALID_HANDLE);
  return NULL;
}

static void *waits_for_a_response(void *unused) {
  hr_code code;
  (void)unused;
  pthread_barrier_wait(&begun);
  code = hr_response_wait(awaited, LONG, NULL, NULL);
  CHECK(code == HR_CLOSED || code == HR_INVALID_HANDLE);
  return NULL;
}

static void *writes_without_end(void *unused) {
  static uint8_t data[1 << 20];
  hr_code code;
  (void)unused;
  pthread_barrier_wait(&begun);
  do {
    code = hr_body_write(written_to, data, sizeof data, LONG, NULL, NULL);
  } while (code == HR_OK);
  CHECK(code == HR_CLOSED || code == HR_INVALID_HANDLE || code == HR_CONNECTION_LOST);
  return NULL;
}

static void releasing_wakes_whoever_waits(void) {
  pthread_t threads[3];
  hr_outgoing outgoing;
  hr_responder responder;
  CHECK(pthread_barrier_init(&begun, NULL, 4) == 0);
  OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
  OK(hr_outgoing_stream(outgoing, &written_to, &error));
  OK(hr_sender_request(sender, outgoing, &awaited, &error));
  OK(hr_body_write(written_to, (const uint8_t *)"a", 1, LONG, NULL, &error));
  takes(listener, &waited_on, &responder);
  {
    uint8_t first;
    size_t len;
    OK(hr_request_read(waited_on, &first, 1, &len, LONG, &error));
  }
  CHECK(pthread_create(&threads[0], NULL, waits_for_a_body, NULL) == 0);
  CHECK(pthread_create(&threads[1], NULL, waits_for_a_response, NULL) == 0);
  CHECK(pthread_create(&threads[2], NULL, writes_without_end, NULL) == 0);
  pthread_barrier_wait(&begun);
  OK(hr_request_release(waited_on, &error));
  CHECK(pthread_join(threads[0], NULL) == 0);
  OK(hr_response_release(awaited, &error));
  CHECK(pthread_join(threads[1], NULL) == 0);
  OK(hr_body_release(written_to, &error));
  CHECK(pthread_join(threads[2], NULL) == 0);
  OK(hr_responder_release(responder, &error));
  CHECK(pthread_barrier_destroy(&begun) == 0);
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  ten_mib_go_both_ways_at_once();
  whole_bodies_of_any_length_arrive();
  whoever_does_not_read_a_response_stops_its_writer();
  whoever_does_not_read_a_request_stops_its_writer();
  releasing_wakes_whoever_waits();
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
