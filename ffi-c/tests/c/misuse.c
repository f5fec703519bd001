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
  hr_operation_cancel((hr_operation){0});
  hr_message_free(NULL);
  hr_error_free(NULL);
  hr_log_record_free(NULL);
  CHECK(hr_error_code(NULL) == HR_OK && hr_error_message(NULL) == NULL && hr_error_status(NULL) == 0);

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
  return 0;
}
