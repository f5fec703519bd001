/* A listener and a sender with blocking calls. */
#include "check.h"
#include <pthread.h>

static hr_sender sender;

static void *connects(void *unused) {
  hr_connection connection;
  hr_message message;
  char name[16];
  (void)unused;
  OK(hr_sender_connect(sender, "/orders/7?x=1", HR_NTS, "chat.v1, chat.v2", HR_NTS, LONG, &connection, &error));
  OK(hr_connection_subprotocol(connection, name, sizeof name, NULL, &error));
  CHECK(strcmp(name, "chat.v2") == 0);
  text(connection, "gr\xc3\xbc\xc3\x9f" "e");
  OK(hr_connection_send(connection, HR_MESSAGE_BINARY, NULL, 0, LONG, &error));
  receives(connection, "welcome");
  WANT(HR_WOULD_BLOCK, hr_connection_receive(connection, 0, &message, &error));
  WANT(HR_TIMEOUT, hr_connection_receive(connection, 10, &message, &error));
  OK(hr_connection_shutdown(connection, LONG, &error));
  receives(connection, "and more");
  WANT(HR_END, hr_connection_receive(connection, LONG, &message, &error));
  OK(hr_connection_close(connection, LONG, &error));
  OK(hr_connection_release(connection, &error));

  {
    hr_error *error = NULL;
    CHECK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &connection, &error) == HR_REJECTED);
    CHECK(hr_error_status(error) == 451 && strcmp(hr_error_reason(error), "not for you") == 0);
    CHECK(hr_error_tracking_id(error) != NULL && !hr_error_is_retryable(error) && hr_error_retry_after_ms(error) == 0);
    hr_error_free(error);
  }

  OK(hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &connection, &error));
  WANT(HR_CONNECTION_LOST, hr_connection_receive(connection, LONG, &message, &error));
  OK(hr_connection_release(connection, &error));
  return NULL;
}

/* Whose limit has passed. */
static void limits_are_told_apart(const char *cs, hr_listener listener) {
  hr_options options;
  hr_sender impatient;
  hr_queue queue;
  hr_completion end;
  hr_incoming incoming;
  hr_connection there, back;
  hr_message message;
  hr_error *error = NULL;
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_int(options, HR_OPT_CLOSE_TIMEOUT_MS, 20, &error));
  OK(hr_sender_new(cs, HR_NTS, options, &impatient, &error));
  OK(hr_queue_new(&queue, &error));
  OK(hr_sender_connect_submit(impatient, NULL, 0, NULL, 0, queue, 1, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &back, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  there = end.connection;

  CHECK(hr_connection_receive(there, 1, &message, &error) == HR_TIMEOUT);
  CHECK(hr_error_is_call_timeout(error) && hr_error_is_retryable(error));
  hr_error_free(error);
  CHECK(hr_queue_next(queue, 1, &end, &error) == HR_TIMEOUT && hr_error_is_call_timeout(error));
  hr_error_free(error);
  CHECK(hr_listener_accept(listener, 0, &incoming, &error) == HR_WOULD_BLOCK && !hr_error_is_call_timeout(error));
  hr_error_free(error);
  /* The other side does not close. */
  CHECK(hr_connection_close(there, LONG, &error) == HR_TIMEOUT && !hr_error_is_call_timeout(error));
  hr_error_free(error);
  OK(hr_connection_release(there, &error));
  OK(hr_connection_release(back, &error));
  OK(hr_sender_release(impatient, &error));
  OK(hr_options_release(options, &error));
  OK(hr_queue_release(queue, &error));
}

/* What a call that timed out or was cancelled was to send does not come, and everything else does. */
static void a_send_that_timed_out_has_sent_nothing(hr_listener listener) {
  enum { CONNECT, OPEN, SEND };
  static uint8_t data[256 << 10];
  hr_connection there = {0}, back;
  hr_publisher publisher = {0};
  hr_queue queue;
  hr_operation sending;
  hr_completion end;
  hr_incoming incoming;
  hr_message message;
  hr_code code;
  int publishes;
  OK(hr_queue_new(&queue, &error));
  for (publishes = 0; publishes < 2; publishes++) {
    unsigned sent = 0, came = 0;
    if (publishes) {
      OK(hr_publisher_open_submit(sender, NULL, 0, NULL, 0, queue, OPEN, NULL, &error));
    } else {
      OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, CONNECT, NULL, &error));
    }
    OK(hr_listener_accept(listener, LONG, &incoming, &error));
    OK(hr_incoming_accept(incoming, NULL, 0, LONG, &back, &error));
    OK(hr_queue_next(queue, LONG, &end, &error));
    CHECK(end.code == HR_OK);
    there = end.connection;
    publisher = end.publisher;
    do {
      code = publishes ? hr_publisher_publish(publisher, HR_MESSAGE_BINARY, data, sizeof data, 20, NULL)
                       : hr_connection_send(there, HR_MESSAGE_BINARY, data, sizeof data, 20, NULL);
      sent += code == HR_OK;
    } while (code == HR_OK);
    CHECK(code == HR_TIMEOUT);
    for (; code != HR_CANCELLED; sent += code == HR_OK) {
      if (publishes) {
        OK(hr_publisher_publish_submit(publisher, HR_MESSAGE_BINARY, data, sizeof data, queue, SEND, &sending, &error));
      } else {
        OK(hr_connection_send_submit(there, HR_MESSAGE_BINARY, data, sizeof data, queue, SEND, &sending, &error));
      }
      hr_operation_cancel(sending);
      OK(hr_queue_next(queue, LONG, &end, &error));
      CHECK(end.tag == SEND && (end.code == HR_OK || end.code == HR_CANCELLED));
      code = end.code;
      hr_error_free(end.error);
    }
    if (publishes) {
      OK(hr_publisher_close_submit(publisher, queue, SEND, NULL, &error));
    } else {
      OK(hr_connection_close_submit(there, queue, SEND, NULL, &error));
    }
    while ((code = hr_connection_receive(back, LONG, &message, NULL)) == HR_OK) {
      came++;
      hr_message_free(&message);
    }
    CHECK(code == HR_END);
    CHECK(came == sent);
    OK(hr_connection_close(back, LONG, &error));
    OK(hr_queue_next(queue, LONG, &end, &error));
    CHECK(end.code == HR_OK);
    if (publishes) {
      OK(hr_publisher_release(publisher, &error));
    } else {
      OK(hr_connection_release(there, &error));
    }
    OK(hr_connection_release(back, &error));
  }
  OK(hr_queue_release(queue, &error));
}

int main(void) {
  char cs[512], buffer[64];
  size_t len;
  hr_local_relay relay = start(cs, sizeof cs);
  hr_options options;
  hr_listener listener;
  hr_incoming incoming;
  hr_request request;
  hr_responder responder;
  hr_connection connection;
  hr_message message;
  hr_status status;
  hr_code reason;
  pthread_t thread;

  CHECK(hr_abi_version() == HR_ABI_VERSION && strlen(hr_version()) > 0);
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_SUBPROTOCOL, "chat.v2", HR_NTS, &error));
  OK(hr_options_set_int(options, HR_OPT_KEEP_ALIVE_MS, 5000, &error));
  OK(hr_listener_open(cs, HR_NTS, options, LONG, &listener, &error));
  OK(hr_listener_status(listener, &status, &reason, &error));
  CHECK(status == HR_STATUS_ONLINE && reason == HR_OK);
  OK(hr_sender_new(cs, strlen(cs), DEFAULTS, &sender, &error));
  WANT(HR_WOULD_BLOCK, hr_listener_accept(listener, 0, &incoming, &error));
  CHECK(pthread_create(&thread, NULL, connects, NULL) == 0);

  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_get(incoming, HR_INCOMING_PATH, NULL, 0, &len, &error));
  CHECK(len == 9);
  WANT(HR_INVALID_ARGUMENT, hr_incoming_get(incoming, HR_INCOMING_PATH, buffer, 9, &len, &error));
  OK(hr_incoming_get(incoming, HR_INCOMING_PATH, buffer, 10, &len, &error));
  CHECK(strcmp(buffer, "/orders/7") == 0);
  OK(hr_incoming_get(incoming, HR_INCOMING_QUERY, buffer, sizeof buffer, NULL, &error));
  CHECK(strcmp(buffer, "x=1") == 0);
  OK(hr_incoming_get(incoming, HR_INCOMING_SUBPROTOCOLS, buffer, sizeof buffer, NULL, &error));
  CHECK(strcmp(buffer, "chat.v1, chat.v2") == 0);
  OK(hr_incoming_get(incoming, HR_INCOMING_REMOTE_ADDRESS, buffer, sizeof buffer, NULL, &error));
  CHECK(strncmp(buffer, "127.0.0.1:", 10) == 0);
  OK(hr_incoming_header(incoming, "sec-websocket-version", HR_NTS, buffer, sizeof buffer, NULL, &error));
  CHECK(strcmp(buffer, "13") == 0);
  WANT(HR_END, hr_incoming_header(incoming, "x-none", HR_NTS, buffer, sizeof buffer, NULL, &error));
  /* A mistake leaves it as it is. */
  WANT(HR_INVALID_ARGUMENT, hr_incoming_accept(incoming, "chat v2", HR_NTS, LONG, &connection, &error));
  WANT(HR_INVALID_ARGUMENT, hr_incoming_accept(incoming, "", HR_NTS, LONG, &connection, &error));
  WANT(HR_INVALID_ARGUMENT, hr_incoming_accept(incoming, NULL, 0, LONG, NULL, &error));
  WANT(HR_INVALID_ARGUMENT, hr_incoming_reject(incoming, 1000, NULL, 0, LONG, &error));
  WANT(HR_INVALID_ARGUMENT, hr_incoming_into_request(incoming, &request, &responder, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &connection, &error));
  WANT(HR_INVALID_HANDLE, hr_incoming_accept(incoming, NULL, 0, LONG, &connection, &error));
  receives(connection, "gr\xc3\xbc\xc3\x9f" "e");
  OK(hr_connection_receive(connection, LONG, &message, &error));
  CHECK(message.kind == HR_MESSAGE_BINARY && message.len == 0 && message.data != NULL);
  hr_message_free(&message);
  text(connection, "welcome");
  WANT(HR_END, hr_connection_receive(connection, LONG, &message, &error));
  text(connection, "and more");
  OK(hr_connection_flush(connection, LONG, &error));
  OK(hr_connection_close_with(connection, 4000, "done", HR_NTS, LONG, &error));
  OK(hr_connection_release(connection, &error));

  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_reject(incoming, 451, "not for you", HR_NTS, LONG, &error));

  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &connection, &error));
  OK(hr_connection_abort(connection, &error));
  OK(hr_connection_release(connection, &error));
  CHECK(pthread_join(thread, NULL) == 0);
  limits_are_told_apart(cs, listener);
  a_send_that_timed_out_has_sent_nothing(listener);

  OK(hr_local_relay_drop_control(relay, "hyco", HR_NTS, &len, &error));
  CHECK(len == 1);
  /* That it was offline may be over before this looks. */
  do {
    OK(hr_listener_wait_status(listener, LONG, &status, &reason, &error));
    CHECK(reason == (status == HR_STATUS_OFFLINE ? HR_CONNECTION_LOST : HR_OK));
  } while (status != HR_STATUS_ONLINE);

  OK(hr_listener_close(listener, LONG, &error));
  OK(hr_listener_close(listener, LONG, &error));
  WANT(HR_END, hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_listener_wait_status(listener, LONG, &status, &reason, &error));
  CHECK(status == HR_STATUS_CLOSED && reason == HR_OK);
  WANT(HR_END, hr_listener_wait_status(listener, LONG, &status, &reason, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_options_release(options, &error));
  OK(hr_local_relay_stop(relay, 1000, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
