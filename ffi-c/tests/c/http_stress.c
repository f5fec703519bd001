/* Servers and clients of requests in many threads at once; some clients go early, some servers do not answer, and handles are released
 * under calls that use them. */
#include "http.h"
#include <pthread.h>

enum { SERVERS = 6, CLIENTS = 16, ROUNDS = 24, LENGTH = 150000 };

static hr_listener listener;
static hr_sender sender;
static uint8_t body_data[LENGTH];

static void serve(hr_incoming incoming) {
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
  uint8_t data[20000];
  char path[64];
  size_t len, total = 0;
  hr_code code;
  OK(hr_incoming_into_request(incoming, &request, &responder, &error));
  OK(hr_request_get(request, HR_INCOMING_PATH, path, sizeof path, NULL, &error));
  if (strcmp(path, "/unanswered") == 0) {
    OK(hr_request_release(request, &error));
    OK(hr_responder_release(responder, &error));
    return;
  }
  OK(hr_responder_start(responder, 200, NULL, 0, NULL, 0, &body, &error));
  /* The sender may have gone. */
  while ((code = hr_request_read(request, data, sizeof data, &len, LONG, NULL)) == HR_OK) {
    is_filled(data, total, len);
    total += len;
    if (hr_body_write(body, data, len, LONG, NULL, NULL) != HR_OK) {
      break;
    }
  }
  if (code == HR_END) {
    (void)hr_body_finish(body, LONG, NULL);
  }
  OK(hr_body_release(body, &error));
  OK(hr_request_release(request, &error));
}

static void *serves(void *unused) {
  hr_incoming incoming;
  hr_code code;
  (void)unused;
  while ((code = hr_listener_accept(listener, HR_FOREVER, &incoming, NULL)) == HR_OK) {
    serve(incoming);
  }
  CHECK(code == HR_END);
  return NULL;
}

static void *releases(void *argument) {
  OK(hr_response_release(*(hr_response *)argument, &error));
  return NULL;
}

static void *asks_again_and_again(void *argument) {
  size_t me = (size_t)argument;
  int round;
  for (round = 0; round < ROUNDS; round++) {
    static const char *const PATHS[] = {"/echo", "/early", "/under", "/unanswered"};
    const char *path = PATHS[(me + (size_t)round) % 4];
    hr_outgoing outgoing;
    hr_response response;
    uint8_t data[30000];
    size_t len, total = 0;
    uint16_t status;
    hr_code code;
    OK(hr_outgoing_new("POST", HR_NTS, path, HR_NTS, &outgoing, &error));
    OK(hr_outgoing_body(outgoing, body_data, LENGTH, &error));
    OK(hr_sender_request(sender, outgoing, &response, &error));
    if (strcmp(path, "/unanswered") == 0) {
      OK(hr_response_wait(response, LONG, &status, &error));
      CHECK(status == 500);
    } else if (strcmp(path, "/early") == 0) {
      (void)hr_response_wait(response, (uint32_t)round, NULL, NULL);
    } else if (strcmp(path, "/under") == 0) {
      pthread_t other;
      CHECK(pthread_create(&other, NULL, releases, &response) == 0);
      do {
        code = hr_response_read(response, data, sizeof data, &len, LONG, NULL);
      } while (code == HR_OK);
      CHECK(code == HR_CLOSED || code == HR_INVALID_HANDLE || code == HR_END);
      CHECK(pthread_join(other, NULL) == 0);
      continue;
    } else {
      while ((code = hr_response_read(response, data, sizeof data, &len, LONG, NULL)) == HR_OK) {
        is_filled(data, total, len);
        total += len;
      }
      CHECK(code == HR_END && total == LENGTH);
    }
    OK(hr_response_release(response, &error));
  }
  return NULL;
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  pthread_t servers[SERVERS], clients[CLIENTS];
  size_t at;
  fill(body_data, 0, LENGTH);
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  for (at = 0; at < SERVERS; at++) {
    CHECK(pthread_create(&servers[at], NULL, serves, NULL) == 0);
  }
  for (at = 0; at < CLIENTS; at++) {
    CHECK(pthread_create(&clients[at], NULL, asks_again_and_again, (void *)at) == 0);
  }
  for (at = 0; at < CLIENTS; at++) {
    CHECK(pthread_join(clients[at], NULL) == 0);
  }
  OK(hr_listener_close(listener, LONG, &error));
  for (at = 0; at < SERVERS; at++) {
    CHECK(pthread_join(servers[at], NULL) == 0);
  }
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
