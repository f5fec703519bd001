/* Requests from head to end: what the listener sees, what the sender gets, and what becomes of those that nobody answers. */
#include "http.h"

static hr_listener listener;
static hr_sender sender;

static void a_request_and_its_response_have_everything(void) {
  hr_header headers[] = {{"X-Many", HR_NTS, "a", HR_NTS}, {"X-Many", 6, "bc", 1}, {"X-Empty", HR_NTS, NULL, 0}};
  hr_header cookies[] = {{"Set-Cookie", HR_NTS, "a=1", HR_NTS}, {"Set-Cookie", HR_NTS, "b=2", HR_NTS}};
  hr_outgoing outgoing;
  hr_response response;
  hr_incoming incoming;
  hr_request request;
  hr_responder responder;
  hr_connection connection;
  hr_queue queue;
  hr_kind kind;
  hr_body_writer body;
  char name[64], value[256];
  size_t index, len, value_len;
  int many = 0;
  uint16_t status;
  bool is_one_way = true;

  OK(hr_outgoing_new("PUT", HR_NTS, "orders/7%2F8?x=1&y", HR_NTS, &outgoing, &error));
  OK(hr_outgoing_headers(outgoing, headers, 3, &error));
  OK(hr_outgoing_body(outgoing, (const uint8_t *)"replaced", 8, &error));
  OK(hr_outgoing_body(outgoing, (const uint8_t *)"0123456789", 10, &error));
  OK(hr_sender_request(sender, outgoing, &response, &error));
  WANT(HR_WOULD_BLOCK, hr_response_wait(response, 0, &status, &error));
  WANT(HR_TIMEOUT, hr_response_wait(response, 10, &status, &error));
  WANT(HR_WOULD_BLOCK, hr_response_reason(response, value, sizeof value, NULL, &error));
  WANT(HR_WOULD_BLOCK, hr_response_header(response, "a", 1, value, sizeof value, NULL, &error));
  WANT(HR_WOULD_BLOCK, hr_response_read(response, (uint8_t *)value, sizeof value, &len, 0, &error));

  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_kind(incoming, &kind, &error));
  CHECK(kind == HR_INCOMING_REQUEST);
  WANT(HR_INVALID_ARGUMENT, hr_incoming_accept(incoming, NULL, 0, LONG, &connection, &error));
  OK(hr_queue_new(&queue, &error));
  WANT(HR_INVALID_ARGUMENT, hr_incoming_accept_submit(incoming, NULL, 0, queue, 1, NULL, &error));
  WANT(HR_INVALID_ARGUMENT, hr_incoming_reject(incoming, 100, NULL, 0, LONG, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_incoming_get(incoming, HR_INCOMING_METHOD, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "PUT") == 0);
  OK(hr_incoming_get(incoming, HR_INCOMING_MOUNT, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "/hyco") == 0);
  OK(hr_incoming_header(incoming, "x-many", HR_NTS, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "a, b") == 0);
  OK(hr_incoming_header_at(incoming, 0, name, sizeof name, NULL, value, sizeof value, NULL, &error));
  OK(hr_incoming_into_request(incoming, &request, &responder, &error));
  WANT(HR_INVALID_HANDLE, hr_incoming_kind(incoming, &kind, &error));

  OK(hr_request_get(request, HR_INCOMING_METHOD, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "PUT") == 0);
  OK(hr_request_get(request, HR_INCOMING_PATH, value, sizeof value, &len, &error));
  CHECK(strcmp(value, "/orders/7%2F8") == 0 && len == 13);
  OK(hr_request_get(request, HR_INCOMING_QUERY, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "x=1&y") == 0);
  OK(hr_request_get(request, HR_INCOMING_MOUNT, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "/hyco") == 0);
  OK(hr_request_get(request, HR_INCOMING_REMOTE_ADDRESS, value, sizeof value, NULL, &error));
  CHECK(strncmp(value, "127.0.0.1:", 10) == 0);
  OK(hr_request_get(request, HR_INCOMING_TRACKING_ID, value, sizeof value, &len, &error));
  CHECK(len >= 36);
  OK(hr_request_get(request, HR_INCOMING_SUBPROTOCOLS, value, sizeof value, &len, &error));
  CHECK(len == 0);
  WANT(HR_INVALID_ARGUMENT, hr_request_get(request, 77, value, sizeof value, NULL, &error));
  OK(hr_request_header(request, "X-MANY", HR_NTS, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "a, b") == 0);
  OK(hr_request_header(request, "content-length", HR_NTS, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "10") == 0);
  OK(hr_request_header(request, "x-empty", HR_NTS, value, sizeof value, &len, &error));
  CHECK(len == 0);
  WANT(HR_END, hr_request_header(request, "x-none", HR_NTS, value, sizeof value, NULL, &error));
  for (index = 0;; index++) {
    hr_code code = hr_request_header_at(request, index, name, sizeof name, &len, value, sizeof value, &value_len, NULL);
    if (code != HR_OK) {
      CHECK(code == HR_END);
      break;
    }
    if (strcmp(name, "x-many") == 0) {
      CHECK(len == 6 && value_len == 1 && value[0] == (many++ ? 'b' : 'a'));
    }
  }
  CHECK(many == 2);
  /* Both lengths are told, also if only one of them has room. */
  WANT(HR_INVALID_ARGUMENT, hr_request_header_at(request, 0, name, 1, &len, value, sizeof value, &value_len, &error));
  CHECK(len > 1);
  OK(hr_request_header_at(request, 0, NULL, 0, &len, NULL, 0, &value_len, &error));
  OK(hr_request_is_one_way(request, &is_one_way, &error));
  CHECK(!is_one_way);

  /* In pieces that fit. */
  OK(hr_request_read(request, (uint8_t *)value, 4, &len, LONG, &error));
  CHECK(len == 4 && memcmp(value, "0123", 4) == 0);
  OK(hr_request_read(request, (uint8_t *)value, sizeof value, &len, LONG, &error));
  CHECK(len == 6 && memcmp(value, "456789", 6) == 0);
  WANT(HR_END, hr_request_read(request, (uint8_t *)value, sizeof value, &len, LONG, &error));
  WANT(HR_END, hr_request_read(request, (uint8_t *)value, sizeof value, &len, 0, &error));
  WANT(HR_WOULD_BLOCK, hr_request_wait_gone(request, 0, &error));

  /* What cannot be used leaves the responder as it is. */
  WANT(HR_INVALID_ARGUMENT, hr_responder_send(responder, 101, NULL, 0, NULL, 0, NULL, 0, LONG, &error));
  WANT(HR_INVALID_ARGUMENT, hr_responder_send(responder, 200, NULL, 0, NONE, 1, NULL, 0, LONG, &error));
  WANT(HR_INVALID_ARGUMENT, hr_responder_start(responder, 99, NULL, 0, NULL, 0, &body, &error));
  OK(hr_responder_send(responder, 299, "Gr\xc3\xbc\xc3\x9f" "e", HR_NTS, cookies, 2, (const uint8_t *)"hello", 5, LONG, &error));
  WANT(HR_INVALID_HANDLE, hr_responder_release(responder, &error));
  WANT(HR_END, hr_request_wait_gone(request, LONG, &error));
  OK(hr_request_release(request, &error));

  OK(hr_response_wait(response, LONG, &status, &error));
  CHECK(status == 299);
  OK(hr_response_wait(response, 0, NULL, &error));
  OK(hr_response_header(response, "set-cookie", HR_NTS, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "a=1, b=2") == 0);
  WANT(HR_END, hr_response_header(response, "x-none", HR_NTS, value, sizeof value, NULL, &error));
  for (index = 0, many = 0;; index++) {
    hr_code code = hr_response_header_at(response, index, name, sizeof name, NULL, value, sizeof value, NULL, NULL);
    if (code != HR_OK) {
      CHECK(code == HR_END);
      break;
    }
    many += strcmp(name, "set-cookie") == 0 && strcmp(value, many ? "b=2" : "a=1") == 0;
  }
  CHECK(many == 2);
  answered(response, 299, "hello");
}

static void a_reason_travels(void) {
  hr_request request;
  hr_responder responder;
  hr_response response = asks(sender, "GET", "", NULL);
  char reason[64];
  takes(listener, &request, &responder);
  OK(hr_request_get(request, HR_INCOMING_QUERY, reason, sizeof reason, NULL, &error));
  CHECK(reason[0] == 0);
  OK(hr_responder_send(responder, 418, "I am a teapot", HR_NTS, NULL, 0, NULL, 0, LONG, &error));
  OK(hr_response_wait(response, LONG, NULL, &error));
  OK(hr_response_reason(response, reason, sizeof reason, NULL, &error));
  CHECK(strcmp(reason, "I am a teapot") == 0);
  answered(response, 418, "");
  OK(hr_request_release(request, &error));
}

static void what_nobody_answers_has_its_status(void) {
  hr_incoming incoming;
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
  hr_response response = asks(sender, NULL, "/a", NULL);
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_release(incoming, &error));
  answered(response, 501, NULL);

  response = asks(sender, "GET", "/b", NULL);
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_reject(incoming, 403, "no", HR_NTS, LONG, &error));
  answered(response, 403, "");

  response = asks(sender, "GET", "/c", NULL);
  takes(listener, &request, &responder);
  OK(hr_responder_release(responder, &error));
  OK(hr_request_release(request, &error));
  answered(response, 500, NULL);

  response = asks(sender, "GET", "/d", NULL);
  takes(listener, &request, &responder);
  OK(hr_responder_start(responder, 200, NULL, 0, NULL, 0, &body, &error));
  OK(hr_body_write(body, (const uint8_t *)"begun", 5, LONG, NULL, &error));
  OK(hr_body_release(body, &error));
  OK(hr_request_release(request, &error));
  answered(response, 500, NULL);
}

static void a_response_that_breaks_off_is_an_error(void) {
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
  uint8_t got[16];
  size_t len, written = 7;
  hr_response response = asks(sender, "GET", "/", NULL);
  takes(listener, &request, &responder);
  OK(hr_responder_start(responder, 200, NULL, 0, NULL, 0, &body, &error));
  OK(hr_body_write(body, (const uint8_t *)"begun", 5, LONG, &written, &error));
  CHECK(written == 5);
  OK(hr_body_flush(body, LONG, &error));
  OK(hr_response_read(response, got, sizeof got, &len, LONG, &error));
  CHECK(len == 5 && memcmp(got, "begun", 5) == 0);
  OK(hr_body_release(body, &error));
  WANT(HR_CONNECTION_LOST, hr_response_read(response, got, sizeof got, &len, LONG, &error));
  WANT(HR_CONNECTION_LOST, hr_response_read(response, got, sizeof got, &len, LONG, &error));
  OK(hr_response_release(response, &error));
  OK(hr_request_release(request, &error));
}

static void a_sender_that_goes_is_noticed(void) {
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
  hr_code code;
  size_t written;
  /* Before the answer. */
  hr_response response = asks(sender, "GET", "/", NULL);
  takes(listener, &request, &responder);
  OK(hr_response_release(response, &error));
  OK(hr_request_wait_gone(request, LONG, &error));
  WANT(HR_CONNECTION_LOST, hr_responder_send(responder, 200, NULL, 0, NULL, 0, NULL, 0, LONG, &error));
  OK(hr_request_release(request, &error));

  /* In the middle of it. */
  response = asks(sender, "GET", "/", NULL);
  takes(listener, &request, &responder);
  OK(hr_responder_start(responder, 200, NULL, 0, NULL, 0, &body, &error));
  OK(hr_body_flush(body, LONG, &error));
  OK(hr_response_wait(response, LONG, NULL, &error));
  OK(hr_response_release(response, &error));
  OK(hr_request_wait_gone(request, LONG, &error));
  do {
    code = hr_body_write(body, (const uint8_t *)"more", 4, LONG, &written, NULL);
  } while (code == HR_OK);
  CHECK(code == HR_CONNECTION_LOST && written == 0);
  WANT(HR_CONNECTION_LOST, hr_body_finish(body, LONG, &error));
  WANT(HR_CONNECTION_LOST, hr_body_finish(body, LONG, &error));
  WANT(HR_CLOSED, hr_body_write(body, (const uint8_t *)"more", 4, LONG, &written, &error));
  OK(hr_body_release(body, &error));
  OK(hr_request_release(request, &error));
}

static void an_upload_that_breaks_off_is_an_error_at_both_ends(void) {
  hr_outgoing outgoing;
  hr_response response;
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
  uint8_t got[16];
  size_t len;
  OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
  OK(hr_outgoing_stream(outgoing, &body, &error));
  OK(hr_sender_request(sender, outgoing, &response, &error));
  OK(hr_body_write(body, (const uint8_t *)"begun", 5, LONG, NULL, &error));
  OK(hr_body_flush(body, LONG, &error));
  takes(listener, &request, &responder);
  OK(hr_request_read(request, got, sizeof got, &len, LONG, &error));
  CHECK(len == 5 && memcmp(got, "begun", 5) == 0);
  OK(hr_body_release(body, &error));
  WANT(HR_CONNECTION_LOST, hr_request_read(request, got, sizeof got, &len, LONG, &error));
  WANT(HR_CONNECTION_LOST, hr_request_read(request, got, sizeof got, &len, LONG, &error));
  WANT(HR_CONNECTION_LOST, hr_response_wait(response, LONG, NULL, &error));
  WANT(HR_CONNECTION_LOST, hr_response_reason(response, (char *)got, sizeof got, NULL, &error));
  OK(hr_response_release(response, &error));
  OK(hr_responder_release(responder, &error));
  OK(hr_request_release(request, &error));

  /* Of a request that is not sent. */
  OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
  OK(hr_outgoing_stream(outgoing, &body, &error));
  OK(hr_body_write(body, (const uint8_t *)"a", 1, LONG, NULL, &error));
  WANT(HR_WOULD_BLOCK, hr_body_write(body, (const uint8_t *)"b", 1, 0, NULL, &error));
  OK(hr_outgoing_release(outgoing, &error));
  WANT(HR_CONNECTION_LOST, hr_body_write(body, (const uint8_t *)"b", 1, LONG, NULL, &error));
  WANT(HR_CONNECTION_LOST, hr_body_flush(body, LONG, &error));
  OK(hr_body_release(body, &error));
}

static void some_answers_have_no_body(void) {
  hr_request request;
  hr_responder responder;
  hr_header length = {"Content-Length", HR_NTS, "12345", HR_NTS};
  char value[16];
  hr_response response = asks(sender, "HEAD", "/", NULL);
  takes(listener, &request, &responder);
  OK(hr_responder_send(responder, 200, NULL, 0, &length, 1, NULL, 0, LONG, &error));
  OK(hr_request_release(request, &error));
  OK(hr_response_wait(response, LONG, NULL, &error));
  OK(hr_response_header(response, "content-length", HR_NTS, value, sizeof value, NULL, &error));
  CHECK(strcmp(value, "12345") == 0);
  answered(response, 200, "");
  response = asks(sender, "GET", "/", NULL);
  takes(listener, &request, &responder);
  OK(hr_responder_send(responder, 204, NULL, 0, NULL, 0, (const uint8_t *)"dropped", 7, LONG, &error));
  OK(hr_request_release(request, &error));
  answered(response, 204, "");
}

static void a_one_way_request_needs_no_answer(void) {
  static uint8_t large[65537];
  hr_outgoing outgoing;
  hr_incoming incoming;
  hr_request request;
  hr_responder responder;
  uint8_t got[16];
  uint64_t listeners = 0;
  bool is_one_way = false;
  size_t len;
  OK(hr_outgoing_new("POST", HR_NTS, "/log", HR_NTS, &outgoing, &error));
  OK(hr_outgoing_body(outgoing, (const uint8_t *)"a line", 6, &error));
  OK(hr_sender_send_one_way(sender, outgoing, LONG, &listeners, &error));
  CHECK(listeners == 1);
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_into_request(incoming, &request, &responder, &error));
  OK(hr_request_is_one_way(request, &is_one_way, &error));
  CHECK(is_one_way);
  OK(hr_request_read(request, got, sizeof got, &len, LONG, &error));
  CHECK(len == 6 && memcmp(got, "a line", 6) == 0);
  OK(hr_request_release(request, &error));
  OK(hr_responder_release(responder, &error));

  OK(hr_outgoing_new("POST", HR_NTS, NULL, 0, &outgoing, &error));
  OK(hr_outgoing_body(outgoing, large, sizeof large, &error));
  WANT(HR_MESSAGE_TOO_LARGE, hr_sender_send_one_way(sender, outgoing, LONG, NULL, &error));
  WANT(HR_INVALID_HANDLE, hr_outgoing_release(outgoing, &error));
}

static void unusable_requests_are_told_of(void) {
  hr_outgoing outgoing;
  hr_header secret = {"X-Key", HR_NTS, "a\nsecret", HR_NTS}, nameless = {"a b", HR_NTS, "v", HR_NTS};
  hr_error *error = NULL;
  WANT(HR_INVALID_ARGUMENT, hr_outgoing_new("G T", HR_NTS, NULL, 0, &outgoing, &error));
  WANT(HR_INVALID_ARGUMENT, hr_outgoing_new(NULL, 0, "/a b", HR_NTS, &outgoing, &error));
  WANT(HR_INVALID_ARGUMENT, hr_outgoing_new(NULL, 0, "/a#b", HR_NTS, &outgoing, &error));
  OK(hr_outgoing_new(NULL, 0, NULL, 0, &outgoing, &error));
  WANT(HR_INVALID_ARGUMENT, hr_outgoing_headers(outgoing, &nameless, 1, &error));
  CHECK(hr_outgoing_headers(outgoing, &secret, 1, &error) == HR_INVALID_ARGUMENT);
  CHECK(strstr(hr_error_message(error), "X-Key") && !strstr(hr_error_message(error), "secret"));
  hr_error_free(error);
  OK(hr_outgoing_release(outgoing, &error));
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  hr_response response;
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));

  a_request_and_its_response_have_everything();
  a_reason_travels();
  what_nobody_answers_has_its_status();
  a_response_that_breaks_off_is_an_error();
  a_sender_that_goes_is_noticed();
  an_upload_that_breaks_off_is_an_error_at_both_ends();
  some_answers_have_no_body();
  a_one_way_request_needs_no_answer();
  unusable_requests_are_told_of();

  OK(hr_listener_close(listener, LONG, &error));
  response = asks(sender, "GET", "/", NULL);
  WANT(HR_NO_LISTENERS, hr_response_wait(response, LONG, NULL, &error));
  OK(hr_response_release(response, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_local_relay_stop(relay, 1000, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
