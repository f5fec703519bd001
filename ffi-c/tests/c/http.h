/* What the tests of relayed HTTP have in common. */
#ifndef HTTP_H
#define HTTP_H

#include "check.h"

static const hr_header NONE[1] = {{NULL, 0, NULL, 0}};

/* The byte at a place of every long body. */
static inline uint8_t byte_at(size_t at) { return (uint8_t)(at * 31 + (at >> 9)); }

static inline void fill(uint8_t *data, size_t from, size_t len) {
  size_t at;
  for (at = 0; at < len; at++) {
    data[at] = byte_at(from + at);
  }
}

static inline void is_filled(const uint8_t *data, size_t from, size_t len) {
  size_t at;
  for (at = 0; at < len; at++) {
    CHECK(data[at] == byte_at(from + at));
  }
}

/* Sends a request; its body is `body`, or none. */
static inline hr_response asks(hr_sender sender, const char *method, const char *path, const char *body) {
  hr_outgoing outgoing;
  hr_response response;
  OK(hr_outgoing_new(method, HR_NTS, path, HR_NTS, &outgoing, &error));
  if (body) {
    OK(hr_outgoing_body(outgoing, (const uint8_t *)body, strlen(body), &error));
  }
  OK(hr_sender_request(sender, outgoing, &response, &error));
  WANT(HR_INVALID_HANDLE, hr_sender_request(sender, outgoing, &response, &error));
  return response;
}

static inline void takes(hr_listener listener, hr_request *request, hr_responder *responder) {
  hr_incoming incoming;
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_into_request(incoming, request, responder, &error));
  WANT(HR_INVALID_HANDLE, hr_incoming_into_request(incoming, request, responder, &error));
}

/* Answers 200 and releases the request. */
static inline void answers(hr_request request, hr_responder responder, const char *body) {
  OK(hr_responder_send(responder, 200, NULL, 0, NULL, 0, (const uint8_t *)body, strlen(body), LONG, &error));
  WANT(HR_INVALID_HANDLE, hr_responder_send(responder, 200, NULL, 0, NULL, 0, NULL, 0, LONG, &error));
  OK(hr_request_release(request, &error));
}

/* The response has a status, and a body that is `body`, or any. */
static inline void answered(hr_response response, uint16_t wanted, const char *body) {
  char got[256];
  size_t len = 0, more = 0;
  uint16_t status = 0;
  hr_code code;
  OK(hr_response_wait(response, LONG, &status, &error));
  CHECK(status == wanted);
  while ((code = hr_response_read(response, (uint8_t *)got + len, sizeof got - len, &more, LONG, NULL)) == HR_OK) {
    len += more;
  }
  CHECK(code == HR_END);
  CHECK(!body || (len == strlen(body) && memcmp(got, body, len) == 0));
  WANT(HR_END, hr_response_read(response, (uint8_t *)got, sizeof got, &more, LONG, &error));
  OK(hr_response_release(response, &error));
}

#endif
