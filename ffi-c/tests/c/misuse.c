/* NULL, stale and foreign handles, bad arguments: errors, with a text that names what was wrong. */
#include "check.h"

int main(void) {
  char cs[512], buffer[8];
  hr_local_relay relay = start(cs, sizeof cs), no_relay = {0};
  hr_listener listener, no_listener = {0};
  hr_sender sender, no_sender = {0};
  hr_incoming no_incoming = {0}, incoming;
  hr_connection no_connection = {0}, connection;
  hr_options options, no_options = {0};
  hr_queue queue, no_queue = {0};
  hr_message message;
  hr_completion completion;
  hr_status status;
  hr_log_record record;
  hr_code code;
  const char *bad = "\xff";
  hr_kind kind;
  hr_request request, no_request = {0};
  hr_responder responder, no_responder = {0};
  hr_body_writer body, no_body = {0};
  hr_outgoing outgoing, no_outgoing = {0};
  hr_response response, no_response = {0};
  hr_stream stream, no_stream = {0};
  hr_forwarder forwarder, no_forwarder = {0};
  hr_error *failure;
  bool is_one_way;
  size_t len;

  /* Results that have no place, texts that are none. */
  CHECK(hr_local_relay_start(false, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_listener_open(bad, 1, DEFAULTS, LONG, &listener, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_listener_open("nothing", HR_NTS, DEFAULTS, LONG, &listener, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_sender_new(cs, HR_NTS, DEFAULTS, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_options_new(NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_queue_new(NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_token_create(NULL, 0, "n", 1, "k", 1, 60, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_token_create("http://h/", HR_NTS, "n", 1, "k", 1, 60, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_log_collect(77, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_log_next(0, &record, NULL) == HR_WOULD_BLOCK);

  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &sender, &error));
  OK(hr_options_new(&options, &error));
  OK(hr_queue_new(&queue, &error));
  CHECK(hr_listener_accept(listener, 0, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_listener_status(listener, NULL, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_sender_connect(sender, bad, 1, NULL, 0, LONG, &connection, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_queue_next(queue, 0, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_options_set_str(options, HR_OPT_ENTITY, NULL, 0, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_options_set_str(options, HR_OPT_WAIT, "1", 1, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_options_set_int(options, HR_OPT_ENTITY, 1, NULL) == HR_INVALID_ARGUMENT);
  OK(hr_options_set_str(options, HR_OPT_HEADER, "no colon", HR_NTS, &error));
  {
    hr_error *error = NULL;
    CHECK(hr_sender_new(cs, HR_NTS, options, &sender, &error) == HR_INVALID_ARGUMENT);
    CHECK(strstr(hr_error_message(error), "colon") != NULL);
    hr_error_free(error);
  }

  /* Every call with a handle that is none. */
  CHECK(hr_listener_accept(no_listener, 0, &incoming, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_listener_accept_submit(no_listener, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_listener_accept_submit(listener, no_queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_listener_status(no_listener, &status, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_listener_wait_status(no_listener, 0, &status, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_listener_close(no_listener, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_listener_release(no_listener, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_incoming_get(no_incoming, HR_INCOMING_PATH, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_incoming_header(no_incoming, "a", 1, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_incoming_accept(no_incoming, NULL, 0, 0, &connection, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_incoming_accept_submit(no_incoming, NULL, 0, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_incoming_reject(no_incoming, 400, NULL, 0, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_incoming_release(no_incoming, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_sender_connect(no_sender, NULL, 0, NULL, 0, 0, &connection, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_sender_connect_submit(no_sender, NULL, 0, NULL, 0, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_sender_release(no_sender, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_send(no_connection, HR_MESSAGE_BINARY, NULL, 0, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_send_submit(no_connection, HR_MESSAGE_BINARY, NULL, 0, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_receive(no_connection, 0, &message, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_receive_submit(no_connection, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_flush(no_connection, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_shutdown(no_connection, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_close(no_connection, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_close_with(no_connection, 1000, NULL, 0, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_abort(no_connection, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_subprotocol(no_connection, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_release(no_connection, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_options_set_str(no_options, HR_OPT_ENTITY, "e", 1, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_options_set_int(no_options, HR_OPT_WAIT, 1, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_options_release(no_options, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_queue_next(no_queue, 0, &completion, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_queue_release(no_queue, NULL) == HR_INVALID_HANDLE && hr_queue_fd(no_queue) == -1);
  CHECK(hr_local_relay_connection_string(no_relay, "e", 1, cs, sizeof cs, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_local_relay_ca_pem(no_relay, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_local_relay_drop_control(no_relay, "e", 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_local_relay_stop(no_relay, 0, NULL) == HR_INVALID_HANDLE);
  /* Requests, bodies, streams and forwarders. */
  CHECK(hr_incoming_kind(no_incoming, &kind, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_incoming_kind(no_incoming, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_incoming_header_at(no_incoming, 0, buffer, sizeof buffer, NULL, NULL, 0, &len, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_incoming_into_request(no_incoming, &request, &responder, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_incoming_into_request(no_incoming, NULL, &responder, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_incoming_into_request(no_incoming, &request, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_request_get(no_request, HR_INCOMING_PATH, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_request_header(no_request, "a", 1, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_request_header(no_request, NULL, 0, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_request_header_at(no_request, 0, buffer, sizeof buffer, NULL, NULL, 0, &len, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_request_is_one_way(no_request, &is_one_way, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_request_is_one_way(no_request, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_request_read(no_request, (uint8_t *)buffer, sizeof buffer, &len, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_request_read_submit(no_request, 1, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_request_wait_gone(no_request, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_request_wait_gone_submit(no_request, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_request_release(no_request, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_responder_send(no_responder, 200, NULL, 0, NULL, 0, NULL, 0, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_responder_send(no_responder, 200, bad, 1, NULL, 0, NULL, 0, 0, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_responder_send(no_responder, 200, NULL, 0, NULL, 1, NULL, 0, 0, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_responder_send(no_responder, 200, NULL, 0, NULL, 0, NULL, 1, 0, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_responder_send_submit(no_responder, 200, NULL, 0, NULL, 0, NULL, 0, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_responder_send_submit(no_responder, 200, NULL, 0, NULL, 0, NULL, 0, no_queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_responder_start(no_responder, 200, NULL, 0, NULL, 0, &body, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_responder_start(no_responder, 200, NULL, 0, NULL, 0, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_responder_release(no_responder, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_body_write(no_body, NULL, 0, 0, &len, NULL) == HR_INVALID_HANDLE && len == 0);
  CHECK(hr_body_write_submit(no_body, NULL, 0, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_body_flush(no_body, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_body_flush_submit(no_body, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_body_finish(no_body, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_body_finish_submit(no_body, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_body_release(no_body, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_outgoing_new(NULL, 0, NULL, 0, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_outgoing_new(bad, 1, NULL, 0, &outgoing, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_outgoing_headers(no_outgoing, NULL, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_outgoing_headers(no_outgoing, NULL, 1, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_outgoing_body(no_outgoing, NULL, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_outgoing_stream(no_outgoing, &body, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_outgoing_stream(no_outgoing, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_outgoing_release(no_outgoing, NULL) == HR_INVALID_HANDLE);
  /* A sender that is none leaves the request as it is. */
  OK(hr_outgoing_new(NULL, 0, NULL, 0, &outgoing, &error));
  CHECK(hr_sender_request(no_sender, outgoing, &response, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_sender_request(sender, outgoing, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_sender_send_one_way(no_sender, outgoing, 0, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_sender_send_one_way_submit(sender, outgoing, no_queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  OK(hr_outgoing_release(outgoing, &error));
  CHECK(hr_sender_request(sender, no_outgoing, &response, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_sender_send_one_way(sender, no_outgoing, 0, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_response_wait(no_response, 0, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_response_wait_submit(no_response, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_response_reason(no_response, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_response_header(no_response, "a", 1, buffer, sizeof buffer, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_response_header_at(no_response, 0, buffer, sizeof buffer, NULL, NULL, 0, &len, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_response_read(no_response, (uint8_t *)buffer, sizeof buffer, &len, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_response_read_submit(no_response, 1, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_response_release(no_response, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_into_stream(no_connection, &stream, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_connection_into_stream(no_connection, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_stream_read(no_stream, (uint8_t *)buffer, sizeof buffer, &len, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_read(no_stream, (uint8_t *)buffer, sizeof buffer, NULL, 0, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_stream_read_submit(no_stream, 1, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_write(no_stream, NULL, 0, 0, &len, NULL) == HR_INVALID_HANDLE && len == 0);
  CHECK(hr_stream_write_submit(no_stream, NULL, 0, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_flush(no_stream, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_flush_submit(no_stream, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_shutdown(no_stream, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_shutdown_submit(no_stream, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_close(no_stream, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_close_submit(no_stream, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_abort(no_stream, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_stream_release(no_stream, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_listener_forward(no_listener, "tcp://h:1", HR_NTS, DEFAULTS, &forwarder, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_listener_forward(listener, NULL, 0, DEFAULTS, &forwarder, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_listener_forward(listener, "tcp://h:1", HR_NTS, DEFAULTS, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_forwarder_stop(no_forwarder, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_forwarder_wait(no_forwarder, 0, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_forwarder_wait_submit(no_forwarder, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_forwarder_failure(no_forwarder, 0, &failure, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_forwarder_failure(no_forwarder, 0, NULL, NULL) == HR_INVALID_ARGUMENT);
  CHECK(hr_forwarder_failure_submit(no_forwarder, queue, 1, NULL, NULL) == HR_INVALID_HANDLE);
  CHECK(hr_forwarder_release(no_forwarder, NULL) == HR_INVALID_HANDLE);

  hr_operation_cancel((hr_operation){0});
  hr_message_free(NULL);
  hr_error_free(NULL);
  hr_log_record_free(NULL);
  CHECK(hr_error_code(NULL) == HR_OK && hr_error_message(NULL) == NULL && hr_error_status(NULL) == 0);
  CHECK(!hr_error_is_call_timeout(NULL));

  /* A handle of another kind, and one that was used up. */
  no_connection.id = listener.id;
  WANT(HR_INVALID_HANDLE, hr_connection_abort(no_connection, &error));
  OK(hr_listener_release(listener, &error));
  WANT(HR_INVALID_HANDLE, hr_listener_release(listener, &error));
  WANT(HR_INVALID_HANDLE, hr_listener_close(listener, LONG, &error));

  /* What the library itself may get wrong, and each of its errors. */
  WANT(HR_INTERNAL, hr_test_panic(&error));
  for (code = 1; code < 110; code++) {
    hr_error *error = NULL;
    if (strcmp(hr_code_name(code), "HR_UNKNOWN") == 0) {
      CHECK(hr_test_fail(code, &error) == HR_OK && error == NULL);
      continue;
    }
    CHECK(hr_test_fail(code, &error) == code && hr_error_code(error) == code);
    CHECK(strstr(hr_error_message(error), "on demand") != NULL);
    if (code < 100) {
      CHECK(strcmp(hr_error_reason(error), "because") == 0 && hr_error_status(error) == 418);
      CHECK(hr_error_hint(error) != NULL && hr_error_tracking_id(error) != NULL && hr_error_close_code(error) == 0);
    }
    hr_error_free(error);
  }

  OK(hr_sender_release(sender, &error));
  OK(hr_options_release(options, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
