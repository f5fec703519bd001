/* After fork the parent goes on and the child begins anew. */
#include "http.h"
#include <sys/wait.h>
#include <unistd.h>

/* A listener, a sender, and a message from one to the other. */
static hr_connection talk(const char *cs, hr_listener *listener, hr_sender *sender, hr_queue *queue, hr_connection *accepted) {
  hr_connection connection;
  hr_incoming incoming;
  hr_completion end;
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, listener, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, sender, &error));
  OK(hr_queue_new(queue, &error));
  OK(hr_sender_connect_submit(*sender, NULL, 0, NULL, 0, *queue, 1, NULL, &error));
  OK(hr_listener_accept(*listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, accepted, &error));
  OK(hr_queue_next(*queue, LONG, &end, &error));
  CHECK(end.code == HR_OK);
  connection = end.connection;
  text(connection, "hello");
  receives(*accepted, "hello");
  return connection;
}

int main(void) {
  char cs[512];
  hr_local_relay relay = start(cs, sizeof cs);
  hr_listener listener;
  hr_sender sender;
  hr_queue queue;
  hr_connection accepted, connection = talk(cs, &listener, &sender, &queue, &accepted);
  hr_connection bytes_accepted, bytes;
  hr_stream stream;
  hr_outgoing outgoing;
  hr_response response;
  hr_request request;
  hr_responder responder;
  hr_incoming connects;
  hr_completion connected;
  hr_message message;
  int status;
  pid_t child;
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, 1, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &connects, &error));
  OK(hr_incoming_accept(connects, NULL, 0, LONG, &bytes_accepted, &error));
  OK(hr_queue_next(queue, LONG, &connected, &error));
  bytes = connected.connection;
  OK(hr_connection_into_stream(bytes, &stream, &error));
  response = asks(sender, "GET", "/", NULL);
  takes(listener, &request, &responder);
  OK(hr_outgoing_new(NULL, 0, NULL, 0, &outgoing, &error));
  child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    char of_child[512];
    hr_incoming incoming;
    hr_connection other;
    hr_completion end;
    alarm(60);
    WANT(HR_FORKED, hr_listener_accept(listener, 0, &incoming, &error));
    WANT(HR_FORKED, hr_sender_connect(sender, NULL, 0, NULL, 0, 0, &other, &error));
    WANT(HR_FORKED, hr_queue_next(queue, 0, &end, &error));
    WANT(HR_FORKED, hr_connection_send(connection, HR_MESSAGE_TEXT, NULL, 0, 0, &error));
    WANT(HR_FORKED, hr_connection_release(connection, &error));
    WANT(HR_FORKED, hr_stream_write(stream, (const uint8_t *)"x", 1, 0, NULL, &error));
    WANT(HR_FORKED, hr_stream_release(stream, &error));
    WANT(HR_FORKED, hr_response_wait(response, 0, NULL, &error));
    WANT(HR_FORKED, hr_response_release(response, &error));
    WANT(HR_FORKED, hr_request_release(request, &error));
    WANT(HR_FORKED, hr_responder_send(responder, 200, NULL, 0, NULL, 0, NULL, 0, 0, &error));
    WANT(HR_FORKED, hr_sender_request(sender, outgoing, &response, &error));
    WANT(HR_FORKED, hr_outgoing_release(outgoing, &error));
    start(of_child, sizeof of_child);
    talk(of_child, &listener, &sender, &queue, &accepted);
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  text(connection, "still there");
  receives(accepted, "still there");
  OK(hr_stream_write(stream, (const uint8_t *)"still there", 11, LONG, NULL, &error));
  OK(hr_connection_receive(bytes_accepted, LONG, &message, &error));
  CHECK(message.kind == HR_MESSAGE_BINARY && message.len == 11);
  hr_message_free(&message);
  answers(request, responder, "still there");
  answered(response, 200, "still there");
  OK(hr_outgoing_release(outgoing, &error));
  OK(hr_stream_release(stream, &error));
  OK(hr_connection_release(bytes, &error));
  OK(hr_connection_release(bytes_accepted, &error));
  OK(hr_connection_release(connection, &error));
  OK(hr_connection_release(accepted, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
