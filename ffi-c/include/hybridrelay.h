/* libhybridrelay: listeners, senders, relayed HTTP and tokens for Azure Relay Hybrid Connections and the hybridrelay server.
 *
 * Made by cbindgen from ffi-c/src; do not edit. The rules that hold for every call:
 *
 * - A call returns an hr_code: HR_OK (0) or why it failed. Codes never change their meaning; tolerate numbers you do not know.
 * - The last parameter, where it is `struct hr_error **`, may be NULL. If the call fails, an error that tells more is stored there,
 *   which you free with hr_error_free. It is left alone on success.
 * - A text is a pointer and a length in bytes, or HR_NTS for one that ends with a NUL. It is UTF-8 and copied, never kept.
 * - Objects are handles, small structs that you copy as you like. {0} names no object. A handle whose object was released gives
 *   HR_INVALID_HANDLE, never more. Handles may be used from every thread at once, unless a call says otherwise.
 * - timeout_ms: 0 looks and does not wait (HR_WOULD_BLOCK), HR_FOREVER waits as long as it takes. What a call that timed out waited
 *   for is not lost: the next one gets it, unless the call says otherwise. The same holds for an operation that is cancelled. HR_TIMEOUT may
 *   also be a limit of an option or of the relay, which has ended something: hr_error_is_call_timeout tells them apart.
 * - What a call uses up it also releases: its handle gives HR_INVALID_HANDLE from then on.
 * - After fork, handles of the parent give HR_FORKED in the child, which makes objects of its own.
 * - A blocking call does the library's work on the thread that waits in it: the sockets, TLS and timers of all that calls without
 *   _submit have begun. A thread of the library stands in while none of yours waits, and what was submitted runs on worker threads of the
 *   library. None of them calls into the program. A thread that makes calls needs a stack of 256 KiB.
 * - No call raises a signal or changes a handler, prints, or ends the process. A signal that is handled on a thread that waits in a call does
 *   not end the wait. Nor does pthread_cancel: the thread ends at its next cancellation point behind the call, whose outcome is not lost.
 *   Cancellation must be deferred, as it is by default. A program may end without releasing anything; one that looks for leaks calls
 *   hr_shutdown first.
 */

#ifndef HYBRIDRELAY_H
#define HYBRIDRELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The length of a text that ends with a NUL.
 */
#define HR_NTS ((size_t)-1)

/**
 * The version of the interface, which this header describes. A library with the same number can be used instead of this one; a
 * larger number means that something was taken away or changed.
 */
#define HR_ABI_VERSION 0

/**
 * A time limit that never passes.
 */
#define HR_FOREVER UINT32_MAX

/**
 * What went wrong, in detail. Made by a call that failed; freed with hr_error_free. Its texts are valid until then.
 */
typedef struct hr_error hr_error;

/**
 * Text or bytes.
 */
typedef uint32_t hr_message_kind;

/**
 * A message that was received. Free it with hr_message_free; its data is valid until then. One that is all zero may be freed as well.
 */
typedef struct hr_message {
  /**
   * HR_MESSAGE_TEXT or HR_MESSAGE_BINARY.
   */
  hr_message_kind kind;
  /**
   * Its bytes, without a NUL behind them. Not NULL, also if there are none.
   */
  const uint8_t *data;
  /**
   * How many.
   */
  size_t len;
  /**
   * Not yours to touch.
   */
  void *owner;
} hr_message;

/**
 * What a call came to. HR_OK, or one of the codes below.
 */
typedef uint32_t hr_code;

/**
 * A stream of messages to the other program. One thread may receive while another sends.
 */
typedef struct hr_connection {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_connection;

/**
 * A queue in which operations end.
 */
typedef struct hr_queue {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_queue;

/**
 * An operation that was submitted. It needs no release: it is over when its completion is in the queue.
 */
typedef struct hr_operation {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_operation;

/**
 * Options for hr_listener_open, hr_sender_new, hr_listener_forward and hr_endpoints_find. {0} stands for the defaults. One object serves any
 * number of calls; a change concerns later ones.
 */
typedef struct hr_options {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_options;

/**
 * The endpoints of a namespace that are online, at one moment, in the order of their names.
 */
typedef struct hr_endpoints {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_endpoints;

/**
 * What can be asked about an endpoint.
 */
typedef uint32_t hr_endpoint_field;

/**
 * Follows which endpoints of a namespace are online.
 */
typedef struct hr_endpoints_watch {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_endpoints_watch;

/**
 * A sender: opens connections to a hybrid connection.
 */
typedef struct hr_sender {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_sender;

/**
 * A connection on which this side only speaks. Threads may publish at once.
 */
typedef struct hr_publisher {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_publisher;

/**
 * A listener: it is online under a hybrid connection, survives the loss of the network, and gets senders.
 */
typedef struct hr_listener {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_listener;

/**
 * Everything that the publishers of a hybrid connection say, one event after the other.
 */
typedef struct hr_events {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_events;

/**
 * An event.
 */
typedef struct hr_event {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_event;

/**
 * What an event is. Tolerate numbers you do not know.
 */
typedef uint32_t hr_event_kind;

/**
 * What can be asked about an event. What it does not tell is empty.
 */
typedef uint32_t hr_event_field;

/**
 * A forwarder at work.
 */
typedef struct hr_forwarder {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_forwarder;

/**
 * A body that is written piece by piece: of a response, from hr_responder_start, or of a request, from hr_outgoing_stream. One thread
 * writes at a time.
 */
typedef struct hr_body_writer {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_body_writer;

/**
 * A sender that waits, or a request. The call that accepts, takes or rejects it uses it up; one that was a mistake, which
 * HR_INVALID_ARGUMENT and HR_INVALID_HANDLE tell, leaves it as it is.
 */
typedef struct hr_incoming {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_incoming;

/**
 * A request that has come: its head, and its body, which is read as it comes.
 */
typedef struct hr_request {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_request;

/**
 * What answers one request. Answering uses it up: the handle is released by that, whatever comes of it.
 */
typedef struct hr_responder {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_responder;

/**
 * What can be asked about a sender or a request.
 */
typedef uint32_t hr_incoming_field;

/**
 * A header of a message that is sent. Several may have the same name.
 */
typedef struct hr_header {
  /**
   * The name.
   */
  const char *name;
  /**
   * Its length, or HR_NTS.
   */
  size_t name_len;
  /**
   * The value; bytes beyond ASCII are passed on as they are. NULL is an empty one.
   */
  const char *value;
  /**
   * Its length, or HR_NTS.
   */
  size_t value_len;
} hr_header;

/**
 * A request that is about to be sent. Sending uses it up.
 */
typedef struct hr_outgoing {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_outgoing;

/**
 * The response to a request that was sent, from the moment of sending on: wait for it, then read it.
 */
typedef struct hr_response {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_response;

/**
 * What has come. Tolerate numbers you do not know: release such an incoming, which refuses it.
 */
typedef uint32_t hr_kind;

/**
 * Whether a listener is online. Tolerate numbers you do not know.
 */
typedef uint32_t hr_status;

/**
 * A relay on loopback, with everything that listeners and senders of a test need. Hybrid connections come to be when somebody listens.
 */
typedef struct hr_local_relay {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_local_relay;

/**
 * Follows what happens at a local relay.
 */
typedef struct hr_relay_events {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_relay_events;

/**
 * Something that happened at a local relay.
 */
typedef struct hr_relay_event {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_relay_event;

/**
 * What can be asked about an event of a relay. What it does not tell is empty.
 */
typedef uint32_t hr_relay_event_field;

/**
 * What a hybrid connection is, added together.
 */
typedef uint32_t hr_entity_flags;

/**
 * What somebody comes to a relay for.
 */
typedef uint32_t hr_attempt;

/**
 * A relayed connection of a local relay, an HTTP request, or a control channel.
 */
typedef struct hr_relayed {
  /**
   * Names it, for as long as the relay lives.
   */
  uint64_t id;
  /**
   * Bytes that the sender has sent, as they are on the wire: payload, and the headers of its frames. Of a request those of its body that a
   * listener was given. Of a control channel none.
   */
  uint64_t from_sender;
  /**
   * Bytes that the listener has sent, counted in the same way. Of a request those of the response's body that the sender was given. Of a
   * control channel all behind its handshake.
   */
  uint64_t from_listener;
  /**
   * Whether it is held up by hr_local_relay_stall.
   */
  bool stalled;
} hr_relayed;

/**
 * What can be asked about a relayed connection.
 */
typedef uint32_t hr_relayed_field;

/**
 * How important a record is.
 */
typedef uint32_t hr_log_level;

/**
 * A record. Free it with hr_log_record_free.
 */
typedef struct hr_log_record {
  /**
   * How important it is.
   */
  hr_log_level level;
  /**
   * The part of the library.
   */
  char *target;
  /**
   * What happened.
   */
  char *text;
} hr_log_record;

/**
 * An option. Durations are whole milliseconds; yes and no are 1 and 0.
 */
typedef uint32_t hr_option;

/**
 * Who listens on a hybrid connection, at one moment.
 */
typedef struct hr_presence {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_presence;

/**
 * How many listen.
 */
typedef struct hr_presence_summary {
  /**
   * How many listeners are online.
   */
  uint64_t count;
  /**
   * Since when there has been one without interruption, in milliseconds since 1970; 0 if there is none.
   */
  int64_t since_ms;
  /**
   * How many of them are told one by one: 0 without the right to manage.
   */
  uint64_t told;
} hr_presence_summary;

/**
 * What can be asked about a listener that is online. What is not known is empty.
 */
typedef uint32_t hr_present_field;

/**
 * Numbers of a listener that is online.
 */
typedef struct hr_present_numbers {
  /**
   * Since when it is online, in milliseconds since 1970; 0 if it is not known.
   */
  int64_t since_ms;
  /**
   * When its last byte came, in milliseconds since 1970; 0 if it is not known.
   */
  int64_t last_heard_ms;
  /**
   * Senders and requests that it has been given and has not answered yet.
   */
  uint64_t in_flight;
} hr_present_numbers;

/**
 * Follows who listens on a hybrid connection.
 */
typedef struct hr_presence_watch {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_presence_watch;

/**
 * The end of an operation. Which of its parts hold something follows from the operation; the others are all zero. What it holds is
 * yours to release or free, `error` too.
 */
typedef struct hr_completion {
  /**
   * What was given when the operation was submitted.
   */
  uint64_t tag;
  /**
   * The operation.
   */
  struct hr_operation operation;
  /**
   * What it came to; HR_CANCELLED after hr_operation_cancel, unless it was over before.
   */
  hr_code code;
  /**
   * Of an accept on a listener.
   */
  struct hr_incoming incoming;
  /**
   * Of a connect, and of an accept of a sender.
   */
  struct hr_connection connection;
  /**
   * Of a receive, and of a read of a body or a stream: then HR_MESSAGE_BINARY.
   */
  struct hr_message message;
  /**
   * More about a failure; NULL on success. With the code HR_OK: of hr_forwarder_failure_submit what has failed in the forwarder, of
   * hr_listener_wait_status_submit why the listener is not online.
   */
  struct hr_error *error;
  /**
   * How many bytes a write has taken over; how many listeners have a one-way request; the status of a response or of a
   * listener.
   */
  uint64_t number;
  /**
   * Of hr_publisher_open_submit.
   */
  struct hr_publisher publisher;
  /**
   * Of hr_events_next_submit.
   */
  struct hr_event event;
  /**
   * Of what tells who listens.
   */
  struct hr_presence presence;
  /**
   * Of hr_sender_watch_presence_submit.
   */
  struct hr_presence_watch presence_watch;
  /**
   * Of what tells the endpoints of a namespace.
   */
  struct hr_endpoints endpoints;
  /**
   * Of hr_relay_events_next_submit.
   */
  struct hr_relay_event relay_event;
  /**
   * Of hr_listener_open_submit.
   */
  struct hr_listener listener;
} hr_completion;

/**
 * A connection as a stream of bytes. One thread may read while another writes.
 */
typedef struct hr_stream {
  /**
   * Not yours to read.
   */
  uint64_t id;
} hr_stream;

/**
 * UTF-8.
 */
#define HR_MESSAGE_TEXT 1

/**
 * Bytes.
 */
#define HR_MESSAGE_BINARY 2

/**
 * Its name, for HR_OPT_ENTITY.
 */
#define HR_ENDPOINT_PATH 1

/**
 * A name for people.
 */
#define HR_ENDPOINT_TITLE 2

/**
 * A sentence or two for people; may be empty.
 */
#define HR_ENDPOINT_SUMMARY 3

/**
 * Words to look for, separated by ", ".
 */
#define HR_ENDPOINT_TAGS 4

/**
 * Where it takes HTTP requests.
 */
#define HR_ENDPOINT_URL 5

/**
 * Where it takes WebSockets.
 */
#define HR_ENDPOINT_WEB_SOCKET_URL 6

/**
 * Success.
 */
#define HR_OK 0

/**
 * An argument, connection string or option is not usable; the message names it.
 */
#define HR_INVALID_ARGUMENT 1

/**
 * The credential was refused: token missing, malformed, expired or without the right.
 */
#define HR_UNAUTHORIZED 2

/**
 * There is no such hybrid connection.
 */
#define HR_ENDPOINT_NOT_FOUND 3

/**
 * The hybrid connection exists, but nobody listens on it.
 */
#define HR_NO_LISTENERS 4

/**
 * Something took longer than its limit, here or at the relay.
 */
#define HR_TIMEOUT 5

/**
 * The listener or the relay refused the connection with a status of its own.
 */
#define HR_REJECTED 6

/**
 * A quota is exhausted, such as the number of listeners.
 */
#define HR_QUOTA_EXCEEDED 7

/**
 * The relay is overloaded or shutting down.
 */
#define HR_SERVER_BUSY 8

/**
 * An established connection ended without a close.
 */
#define HR_CONNECTION_LOST 9

/**
 * The peer broke the protocol.
 */
#define HR_PROTOCOL 10

/**
 * The network failed below TLS: name resolution, TCP connect, reset while opening.
 */
#define HR_NETWORK 11

/**
 * TLS failed: untrusted or wrong certificate, handshake alert.
 */
#define HR_TLS 12

/**
 * The object was closed by this program.
 */
#define HR_CLOSED 13

/**
 * The connection was converted into bytes; message calls are no longer possible.
 */
#define HR_STREAM_IN_USE 14

/**
 * The relay does not offer the feature that the call needs; the message names it.
 */
#define HR_UNSUPPORTED 15

/**
 * A message is longer than the configured limit.
 */
#define HR_MESSAGE_TOO_LARGE 16

/**
 * A fault of this library. Please report it.
 */
#define HR_INTERNAL 17

/**
 * A proxy on the way to the relay wants credentials, or others.
 */
#define HR_PROXY_AUTHENTICATION_REQUIRED 18

/**
 * Nothing has come yet, and the call was not to wait.
 */
#define HR_WOULD_BLOCK 100

/**
 * The program cancelled the operation.
 */
#define HR_CANCELLED 101

/**
 * The handle is none, or its object was closed or released.
 */
#define HR_INVALID_HANDLE 102

/**
 * The object comes from before a fork; make a new one in the child.
 */
#define HR_FORKED 103

/**
 * The sequence has ended in order.
 */
#define HR_END 104

/**
 * A message of a publisher that is connected.
 */
#define HR_EVENT_MESSAGE 1

/**
 * An HTTP request. Its sender has been answered.
 */
#define HR_EVENT_REQUEST 2

/**
 * The relay has dropped events of a publisher, because this listener did not keep up.
 */
#define HR_EVENT_MISSED 3

/**
 * The path behind the hybrid connection, percent-encoded as the sender wrote it.
 */
#define HR_EVENT_PATH 1

/**
 * The query without the relay's own parameters.
 */
#define HR_EVENT_QUERY 2

/**
 * The sender's address and port as the relay saw them.
 */
#define HR_EVENT_REMOTE_ADDRESS 3

/**
 * The sub-protocol of a publisher.
 */
#define HR_EVENT_SUBPROTOCOL 4

/**
 * The id under which the relay knows the publisher, or the request: the same for all events of one connection.
 */
#define HR_EVENT_TRACKING_ID 5

/**
 * The method of a request.
 */
#define HR_EVENT_METHOD 6

/**
 * A sender that wants a connection: accept it with hr_incoming_accept.
 */
#define HR_INCOMING_CONNECT 1

/**
 * An HTTP request: take it with hr_incoming_into_request.
 */
#define HR_INCOMING_REQUEST 2

/**
 * The path behind the hybrid connection, percent-encoded as the sender wrote it; empty without one.
 */
#define HR_INCOMING_PATH 1

/**
 * The query without the relay's own parameters; empty without one.
 */
#define HR_INCOMING_QUERY 2

/**
 * The sender's address and port as the relay saw them; empty if the relay does not tell.
 */
#define HR_INCOMING_REMOTE_ADDRESS 3

/**
 * The sub-protocols that a sender offers, separated by ", "; empty of a request.
 */
#define HR_INCOMING_SUBPROTOCOLS 4

/**
 * The id under which relay and sender know the attempt.
 */
#define HR_INCOMING_TRACKING_ID 5

/**
 * The method of a request; empty of a sender.
 */
#define HR_INCOMING_METHOD 6

/**
 * Where the listener is mounted: a slash and the hybrid connection's name. In front of the path it is what the sender asked for.
 */
#define HR_INCOMING_MOUNT 7

/**
 * The first connection is being made.
 */
#define HR_STATUS_CONNECTING 1

/**
 * Senders reach the listener.
 */
#define HR_STATUS_ONLINE 2

/**
 * The control channel was lost and is being opened again.
 */
#define HR_STATUS_OFFLINE 3

/**
 * The listener has ended for good.
 */
#define HR_STATUS_CLOSED 4

/**
 * What happened, by the names of Azure's diagnostic log, such as "NewListenerRegistered".
 */
#define HR_RELAY_EVENT_OPERATION 1

/**
 * The hybrid connection.
 */
#define HR_RELAY_EVENT_ENTITY 2

/**
 * The id under which listener, sender and relay know the attempt.
 */
#define HR_RELAY_EVENT_TRACKING_ID 3

/**
 * Address and port of whoever caused it.
 */
#define HR_RELAY_EVENT_PEER 4

/**
 * Why something was refused, or how it ended, in a word that never changes.
 */
#define HR_RELAY_EVENT_REASON 5

/**
 * The status of a refusal, in digits.
 */
#define HR_RELAY_EVENT_STATUS 6

/**
 * Every listener gets everything: see hr_listener_events.
 */
#define HR_ENTITY_EVENTS 1

/**
 * Senders need no token.
 */
#define HR_ENTITY_ANONYMOUS 2

/**
 * Everybody who asks for the endpoints is told of it while somebody listens: see hr_endpoints_find.
 */
#define HR_ENTITY_DISCOVERABLE 4

/**
 * Whatever it is.
 */
#define HR_ATTEMPT_ANY 0

/**
 * A listener opens its control channel.
 */
#define HR_ATTEMPT_LISTEN 1

/**
 * A sender opens a connection.
 */
#define HR_ATTEMPT_CONNECT 2

/**
 * A sender makes an HTTP request.
 */
#define HR_ATTEMPT_REQUEST 3

/**
 * The hybrid connection.
 */
#define HR_RELAYED_ENTITY 1

/**
 * The id under which the relay's events know it.
 */
#define HR_RELAYED_TRACKING_ID 2

/**
 * The method of an HTTP request; empty of everything else.
 */
#define HR_RELAYED_METHOD 3

/**
 * Nothing at all.
 */
#define HR_LOG_OFF 0

/**
 * Faults of the library.
 */
#define HR_LOG_ERROR 1

/**
 * What somebody should look at.
 */
#define HR_LOG_WARN 2

/**
 * What happens.
 */
#define HR_LOG_INFO 3

/**
 * Every step.
 */
#define HR_LOG_DEBUG 4

/**
 * Everything.
 */
#define HR_LOG_TRACE 5

/**
 * Text: the hybrid connection, instead of the connection string's EntityPath.
 */
#define HR_OPT_ENTITY 1

/**
 * Text: a ready-made shared access signature, instead of the connection string's key. Replace it before it expires with
 * hr_listener_set_token and hr_sender_set_token.
 */
#define HR_OPT_TOKEN 2

/**
 * Text: a proxy's URL, `http://user:password@host:port` or `socks5://…`, or "none". Default: as the environment says.
 */
#define HR_OPT_PROXY 3

/**
 * Text: certificates in PEM to trust beside the platform's. May be set several times; each adds.
 */
#define HR_OPT_EXTRA_CA_PEM 4

/**
 * Text, for listeners: a sub-protocol that is accepted. May be set several times; each adds.
 */
#define HR_OPT_SUBPROTOCOL 5

/**
 * Text: "Name: value", a header of every handshake with the relay. May be set several times; each adds.
 */
#define HR_OPT_HEADER 6

/**
 * Text, for listeners: the tracking id, which begins with a GUID.
 */
#define HR_OPT_TRACKING_ID 7

/**
 * Text, for listeners: "key=value", what it says of itself to whoever may manage. May be set several times; each adds.
 */
#define HR_OPT_LABEL 8

/**
 * Duration: how long a whole connect may take. Default 60 000.
 */
#define HR_OPT_CONNECT_TIMEOUT_MS 100

/**
 * Duration, for listeners: how long the dial to a sender may take. Default 20 000.
 */
#define HR_OPT_ACCEPT_TIMEOUT_MS 101

/**
 * Duration: how long a closing connection may make no progress. Default 60 000.
 */
#define HR_OPT_CLOSE_TIMEOUT_MS 102

/**
 * Duration: ping after so long without a byte. Default 20 000; 0 never pings.
 */
#define HR_OPT_KEEP_ALIVE_MS 103

/**
 * Yes or no, for listeners: whether a lost control channel is opened again. Default yes.
 */
#define HR_OPT_RECONNECT 104

/**
 * Yes or no, for listeners: whether the first open waits for the network and for the hybrid connection as well. Default no.
 */
#define HR_OPT_WAIT 105

/**
 * Number, for listeners: the most senders that wait to be accepted. Default 1024.
 */
#define HR_OPT_MAX_CONCURRENT 106

/**
 * Number: the longest message in bytes that is received. Default 64 MiB.
 */
#define HR_OPT_MAX_MESSAGE_SIZE 107

/**
 * Yes or no: accept any certificate of the relay. Anybody in between can read and change everything then. Default no.
 */
#define HR_OPT_INSECURE_SKIP_VERIFY 108

/**
 * Yes or no: allow plain text to public hosts. Tokens and data travel readable then. Default no.
 */
#define HR_OPT_INSECURE_PLAINTEXT 109

/**
 * Yes or no, for hr_listener_forward: whether the hybrid connection's name is taken off the path. Default yes.
 */
#define HR_OPT_FORWARD_STRIP 200

/**
 * Yes or no, for hr_listener_forward: whether `Location` and cookies of responses are adapted to where the sender is. Default no.
 */
#define HR_OPT_FORWARD_REWRITE 201

/**
 * Yes or no, for hr_listener_forward: whether the server is told who asks, by `X-Forwarded-*`. Default no.
 */
#define HR_OPT_FORWARD_HEADERS 202

/**
 * Names this life of it.
 */
#define HR_PRESENT_ID 1

/**
 * The id by which senders choose it and logs know it.
 */
#define HR_PRESENT_TRACKING_ID 2

/**
 * Where it connected from.
 */
#define HR_PRESENT_ADDRESS 3

/**
 * What it says it is.
 */
#define HR_PRESENT_AGENT 4

/**
 * The rule that let it in.
 */
#define HR_PRESENT_RULE 5

/**
 * What it and the relay agreed on, separated by ", ".
 */
#define HR_PRESENT_FEATURES 6

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Frees what was received and makes the message empty, so that doing it twice does no harm. NULL does nothing.
 */
void hr_message_free(struct hr_message *message);

/**
 * Sends a message: `kind` is HR_MESSAGE_TEXT, which must be UTF-8, or HR_MESSAGE_BINARY. Returns when the connection has taken it over,
 * which it does as fast as the peer reads. A call that timed out has sent nothing.
 */
hr_code hr_connection_send(struct hr_connection connection,
                           hr_message_kind kind,
                           const uint8_t *data,
                           size_t len,
                           uint32_t timeout_ms,
                           struct hr_error **error);

/**
 * The same for a queue. The data is copied. One that is cancelled has sent nothing.
 */
hr_code hr_connection_send_submit(struct hr_connection connection,
                                  hr_message_kind kind,
                                  const uint8_t *data,
                                  size_t len,
                                  struct hr_queue queue,
                                  uint64_t tag,
                                  struct hr_operation *operation,
                                  struct hr_error **error);

/**
 * Receives a message. HR_END when the peer has closed its direction.
 */
hr_code hr_connection_receive(struct hr_connection connection,
                              uint32_t timeout_ms,
                              struct hr_message *message,
                              struct hr_error **error);

/**
 * The same for a queue: the completion holds the message.
 */
hr_code hr_connection_receive_submit(struct hr_connection connection,
                                     struct hr_queue queue,
                                     uint64_t tag,
                                     struct hr_operation *operation,
                                     struct hr_error **error);

/**
 * Waits until everything that was sent has left.
 */
hr_code hr_connection_flush(struct hr_connection connection,
                            uint32_t timeout_ms,
                            struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_connection_flush_submit(struct hr_connection connection,
                                   struct hr_queue queue,
                                   uint64_t tag,
                                   struct hr_operation *operation,
                                   struct hr_error **error);

/**
 * Closes our direction behind what was sent. The peer sees the end, and may go on sending.
 */
hr_code hr_connection_shutdown(struct hr_connection connection,
                               uint32_t timeout_ms,
                               struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_connection_shutdown_submit(struct hr_connection connection,
                                      struct hr_queue queue,
                                      uint64_t tag,
                                      struct hr_operation *operation,
                                      struct hr_error **error);

/**
 * Closes both directions in good order: sends what is to be sent, and waits for the peer's close. What it still sends is dropped.
 * HR_TIMEOUT if nothing moves for HR_OPT_CLOSE_TIMEOUT_MS, which begin anew with each call; then the connection was aborted. Release it
 * all the same.
 */
hr_code hr_connection_close(struct hr_connection connection,
                            uint32_t timeout_ms,
                            struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_connection_close_submit(struct hr_connection connection,
                                   struct hr_queue queue,
                                   uint64_t tag,
                                   struct hr_operation *operation,
                                   struct hr_error **error);

/**
 * As hr_connection_close, with a close code and a reason for the peer: 1000 to 1003, 1007 to 1014, or 3000 to 4999, and at most 123 bytes.
 */
hr_code hr_connection_close_with(struct hr_connection connection,
                                 uint16_t code,
                                 const char *reason,
                                 size_t reason_len,
                                 uint32_t timeout_ms,
                                 struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_connection_close_with_submit(struct hr_connection connection,
                                        uint16_t code,
                                        const char *reason,
                                        size_t reason_len,
                                        struct hr_queue queue,
                                        uint64_t tag,
                                        struct hr_operation *operation,
                                        struct hr_error **error);

/**
 * Ends both directions at once: the peer sees an error, whoever waits on the connection gets one, and what waits is lost.
 */
hr_code hr_connection_abort(struct hr_connection connection,
                            struct hr_error **error);

/**
 * Copies the sub-protocol that was agreed on, in the manner of hr_incoming_get; empty if there is none.
 */
hr_code hr_connection_subprotocol(struct hr_connection connection,
                                  char *buffer,
                                  size_t capacity,
                                  size_t *len,
                                  struct hr_error **error);

/**
 * Releases a connection. One whose sending direction was not closed is aborted, as soon as no call and no stream uses it any more.
 */
hr_code hr_connection_release(struct hr_connection connection,
                              struct hr_error **error);

/**
 * Finds the endpoints of a namespace that are online now. The connection string is as for hr_listener_open; a hybrid connection in it
 * does not count. With a credential what it may send to is found as well, without one only what is public. HR_UNSUPPORTED from a relay
 * that does not tell, as Azure Relay. Release it with hr_endpoints_release.
 */
hr_code hr_endpoints_find(const char *connection_string,
                          size_t len,
                          struct hr_options options,
                          uint32_t timeout_ms,
                          struct hr_endpoints *endpoints,
                          struct hr_error **error);

/**
 * The same for a queue: the completion holds the endpoints.
 */
hr_code hr_endpoints_find_submit(const char *connection_string,
                                 size_t len,
                                 struct hr_options options,
                                 struct hr_queue queue,
                                 uint64_t tag,
                                 struct hr_operation *operation,
                                 struct hr_error **error);

/**
 * How many endpoints there are.
 */
hr_code hr_endpoints_count(struct hr_endpoints endpoints, size_t *count, struct hr_error **error);

/**
 * Copies what is known about the endpoint with an index from 0 on, in the manner of hr_incoming_get. HR_END if there is none.
 */
hr_code hr_endpoints_get(struct hr_endpoints endpoints,
                         size_t index,
                         hr_endpoint_field field,
                         char *buffer,
                         size_t capacity,
                         size_t *len,
                         struct hr_error **error);

/**
 * Whether senders to the endpoint with an index need a token, and since when it is online, in milliseconds since 1970; 0 if that is not
 * known. Both may be NULL. HR_END if there is none.
 */
hr_code hr_endpoints_access(struct hr_endpoints endpoints,
                            size_t index,
                            bool *requires_token,
                            int64_t *since_ms,
                            struct hr_error **error);

/**
 * Releases a list of endpoints.
 */
hr_code hr_endpoints_release(struct hr_endpoints endpoints, struct hr_error **error);

/**
 * Follows which endpoints of a namespace are online. Nothing is asked before hr_endpoints_watch_next. Release it with
 * hr_endpoints_watch_release.
 */
hr_code hr_endpoints_watch_new(const char *connection_string,
                               size_t len,
                               struct hr_options options,
                               struct hr_endpoints_watch *watch,
                               struct hr_error **error);

/**
 * Waits for the next change and tells all that are online then; at first, at once. It fails only if the relay cannot be heard at first;
 * later the relay is asked again for ever.
 */
hr_code hr_endpoints_watch_next(struct hr_endpoints_watch watch,
                                uint32_t timeout_ms,
                                struct hr_endpoints *endpoints,
                                struct hr_error **error);

/**
 * The same for a queue: the completion holds the endpoints.
 */
hr_code hr_endpoints_watch_next_submit(struct hr_endpoints_watch watch,
                                       struct hr_queue queue,
                                       uint64_t tag,
                                       struct hr_operation *operation,
                                       struct hr_error **error);

/**
 * Releases a watch.
 */
hr_code hr_endpoints_watch_release(struct hr_endpoints_watch watch, struct hr_error **error);

/**
 * The code of an error; HR_OK for NULL.
 */
hr_code hr_error_code(const struct hr_error *error);

/**
 * What failed and why, one line. NULL for NULL.
 */
const char *hr_error_message(const struct hr_error *error);

/**
 * Why, in the relay's or the listener's own words; NULL if nobody said.
 */
const char *hr_error_reason(const struct hr_error *error);

/**
 * The id under which the relay's logs know the attempt; NULL if there is none.
 */
const char *hr_error_tracking_id(const struct hr_error *error);

/**
 * What to do about it, where the library knows; else NULL.
 */
const char *hr_error_hint(const struct hr_error *error);

/**
 * The HTTP status with which the relay or the listener refused; 0 if it did not.
 */
uint16_t hr_error_status(const struct hr_error *error);

/**
 * The WebSocket close code with which the connection ended; 0 if there was none.
 */
uint16_t hr_error_close_code(const struct hr_error *error);

/**
 * Whether HR_TIMEOUT is the call's own `timeout_ms`: what it waited for goes on, and the call may be made again. False of every other
 * limit, which has ended something: that of an option such as HR_OPT_CLOSE_TIMEOUT_MS, that of the relay, and of every other error.
 */
bool hr_error_is_call_timeout(const struct hr_error *error);

/**
 * Whether the same call may succeed later without a change.
 */
bool hr_error_is_retryable(const struct hr_error *error);

/**
 * How long the relay asked to wait before the next attempt, in milliseconds; 0 if it did not.
 */
uint64_t hr_error_retry_after_ms(const struct hr_error *error);

/**
 * Frees an error; NULL does nothing.
 */
void hr_error_free(struct hr_error *error);

/**
 * The name of a code, such as "HR_NO_LISTENERS"; "HR_UNKNOWN" for one that this library does not know. Valid for ever.
 */
const char *hr_code_name(hr_code code);

/**
 * Opens a publisher. `path` and `subprotocols` are as for hr_sender_connect. At a hybrid connection for events every listener hears it,
 * at any other one the listener that accepts it. A call that times out has given the attempt up. Release it with hr_publisher_release.
 */
hr_code hr_publisher_open(struct hr_sender sender,
                          const char *path,
                          size_t path_len,
                          const char *subprotocols,
                          size_t subprotocols_len,
                          uint32_t timeout_ms,
                          struct hr_publisher *publisher,
                          struct hr_error **error);

/**
 * The same for a queue: the completion holds the publisher.
 */
hr_code hr_publisher_open_submit(struct hr_sender sender,
                                 const char *path,
                                 size_t path_len,
                                 const char *subprotocols,
                                 size_t subprotocols_len,
                                 struct hr_queue queue,
                                 uint64_t tag,
                                 struct hr_operation *operation,
                                 struct hr_error **error);

/**
 * Publishes an event: HR_MESSAGE_TEXT, which must be UTF-8, or HR_MESSAGE_BINARY. It is taken over whole, as fast as the network takes it;
 * that says nothing of who has heard it. A call that timed out has published nothing. HR_MESSAGE_TOO_LARGE when an event before was
 * longer than the hybrid connection takes, which ends the publisher.
 */
hr_code hr_publisher_publish(struct hr_publisher publisher,
                             hr_message_kind kind,
                             const uint8_t *data,
                             size_t len,
                             uint32_t timeout_ms,
                             struct hr_error **error);

/**
 * The same for a queue. The data is copied. One that is cancelled has published nothing.
 */
hr_code hr_publisher_publish_submit(struct hr_publisher publisher,
                                    hr_message_kind kind,
                                    const uint8_t *data,
                                    size_t len,
                                    struct hr_queue queue,
                                    uint64_t tag,
                                    struct hr_operation *operation,
                                    struct hr_error **error);

/**
 * Waits until everything that was published has left.
 */
hr_code hr_publisher_flush(struct hr_publisher publisher,
                           uint32_t timeout_ms,
                           struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_publisher_flush_submit(struct hr_publisher publisher,
                                  struct hr_queue queue,
                                  uint64_t tag,
                                  struct hr_operation *operation,
                                  struct hr_error **error);

/**
 * Ends a publisher behind everything that was published, and waits until the other side has taken it. Doing it twice does nothing.
 */
hr_code hr_publisher_close(struct hr_publisher publisher,
                           uint32_t timeout_ms,
                           struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_publisher_close_submit(struct hr_publisher publisher,
                                  struct hr_queue queue,
                                  uint64_t tag,
                                  struct hr_operation *operation,
                                  struct hr_error **error);

/**
 * Waits until the other side has ended the publisher, and fails with why. Never succeeds.
 */
hr_code hr_publisher_ended(struct hr_publisher publisher,
                           uint32_t timeout_ms,
                           struct hr_error **error);

/**
 * The same for a queue. It uses the publisher, and hr_publisher_close does not end it: cancel it when you have done with the publisher.
 */
hr_code hr_publisher_ended_submit(struct hr_publisher publisher,
                                  struct hr_queue queue,
                                  uint64_t tag,
                                  struct hr_operation *operation,
                                  struct hr_error **error);

/**
 * Ends a publisher at once; what has not left is lost.
 */
hr_code hr_publisher_abort(struct hr_publisher publisher, struct hr_error **error);

/**
 * Copies the id under which relay and subscribers know the publisher, in the manner of hr_incoming_get.
 */
hr_code hr_publisher_tracking_id(struct hr_publisher publisher,
                                 char *buffer,
                                 size_t capacity,
                                 size_t *len,
                                 struct hr_error **error);

/**
 * Releases a publisher. One that was not closed is aborted, as soon as no call uses it any more.
 */
hr_code hr_publisher_release(struct hr_publisher publisher, struct hr_error **error);

/**
 * Takes everything that comes to a listener from here on as events: the messages of every publisher, and requests, one after the other.
 * At most 1 MiB of them waits. Once it is released, what comes then waits for hr_listener_accept again. Release it with
 * hr_events_release.
 */
hr_code hr_listener_events(struct hr_listener listener,
                           struct hr_events *events,
                           struct hr_error **error);

/**
 * Waits for the next event. HR_END after hr_listener_close. Release it with hr_event_release.
 */
hr_code hr_events_next(struct hr_events events,
                       uint32_t timeout_ms,
                       struct hr_event *event,
                       struct hr_error **error);

/**
 * The same for a queue: the completion holds the event.
 */
hr_code hr_events_next_submit(struct hr_events events,
                              struct hr_queue queue,
                              uint64_t tag,
                              struct hr_operation *operation,
                              struct hr_error **error);

/**
 * What an event is, and how many events were dropped if it is HR_EVENT_MISSED. Both may be NULL.
 */
hr_code hr_event_kind_of(struct hr_event event,
                         hr_event_kind *kind,
                         uint64_t *missed,
                         struct hr_error **error);

/**
 * What an event says: a publisher's message, or the body of a request. Free it with hr_message_free; it may outlive the event.
 */
hr_code hr_event_message(struct hr_event event,
                         struct hr_message *message,
                         struct hr_error **error);

/**
 * Copies what is known about an event, in the manner of hr_incoming_get.
 */
hr_code hr_event_get(struct hr_event event,
                     hr_event_field field,
                     char *buffer,
                     size_t capacity,
                     size_t *len,
                     struct hr_error **error);

/**
 * Copies a header of the publisher's handshake, or of the request, in the manner of hr_incoming_header. HR_END if there is none.
 */
hr_code hr_event_header(struct hr_event event,
                        const char *name,
                        size_t name_len,
                        char *buffer,
                        size_t capacity,
                        size_t *len,
                        struct hr_error **error);

/**
 * Releases an event.
 */
hr_code hr_event_release(struct hr_event event, struct hr_error **error);

/**
 * Releases events: publishers are let go as soon as no call uses them any more.
 */
hr_code hr_events_release(struct hr_events events, struct hr_error **error);

/**
 * Begins to send everything that comes in at a listener to a server near it, in the background. `target` is `http://host:port`, with a path if
 * need be, or `https://…`: requests as requests, relayed WebSockets as WebSockets; or `tcp://host:port`, `unix:/path`: connections as
 * bytes, requests are answered 501. A server that cannot be reached gives the sender 502.
 *
 * Of the options these count: HR_OPT_FORWARD_STRIP, HR_OPT_FORWARD_REWRITE, HR_OPT_FORWARD_HEADERS, and for an `https://` server
 * HR_OPT_EXTRA_CA_PEM and HR_OPT_INSECURE_SKIP_VERIFY. {0} stands for the defaults. What else accepts on the listener gets a part of what comes.
 * Release it with hr_forwarder_release.
 */
hr_code hr_listener_forward(struct hr_listener listener,
                            const char *target,
                            size_t target_len,
                            struct hr_options options,
                            struct hr_forwarder *forwarder,
                            struct hr_error **error);

/**
 * Stops a forwarder in good order: what still comes is refused with 503, answers under way are finished, then the listener is closed.
 * Connections go on. Never waits: see hr_forwarder_wait.
 */
hr_code hr_forwarder_stop(struct hr_forwarder forwarder,
                          struct hr_error **error);

/**
 * Waits until a forwarder has ended: HR_OK after hr_forwarder_stop and hr_listener_close, else why it has.
 */
hr_code hr_forwarder_wait(struct hr_forwarder forwarder,
                          uint32_t timeout_ms,
                          struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_forwarder_wait_submit(struct hr_forwarder forwarder,
                                 struct hr_queue queue,
                                 uint64_t tag,
                                 struct hr_operation *operation,
                                 struct hr_error **error);

/**
 * Waits for a sender that could not be forwarded, or whose exchange broke off: `failure` gets why, with the tracking id, and is yours to
 * free. The forwarder goes on. 256 wait at most, later ones are dropped. HR_END once the forwarder and its last connection have ended.
 */
hr_code hr_forwarder_failure(struct hr_forwarder forwarder,
                             uint32_t timeout_ms,
                             struct hr_error **failure,
                             struct hr_error **error);

/**
 * The same for a queue: the completion's `error` holds the failure, and its code is HR_OK.
 */
hr_code hr_forwarder_failure_submit(struct hr_forwarder forwarder,
                                    struct hr_queue queue,
                                    uint64_t tag,
                                    struct hr_operation *operation,
                                    struct hr_error **error);

/**
 * Releases a forwarder. One that is at work takes on nothing more from now on, and the listener stays; answers that are under way and
 * connections go on. Whoever waits in a call for it gets HR_CLOSED.
 */
hr_code hr_forwarder_release(struct hr_forwarder forwarder,
                             struct hr_error **error);

/**
 * Writes a part of a body, as fast as the other side reads. Of a response, the first 64 KiB are held back until hr_body_flush, more data or
 * hr_body_finish. Answers to HEAD, and those with status 204 or 304, have no body: what is written is dropped.
 *
 * `written`, unless it is NULL, gets how many bytes were taken over, also if the call fails or times out: go on behind them.
 * HR_CONNECTION_LOST if the other side has gone, or has ended the exchange without the whole body. HR_CLOSED behind hr_body_finish.
 */
hr_code hr_body_write(struct hr_body_writer body,
                      const uint8_t *data,
                      size_t len,
                      uint32_t timeout_ms,
                      size_t *written,
                      struct hr_error **error);

/**
 * The same for a queue: the completion's `number` is how many bytes were taken over. The data is copied. One that is cancelled or fails may
 * have written a part.
 */
hr_code hr_body_write_submit(struct hr_body_writer body,
                             const uint8_t *data,
                             size_t len,
                             struct hr_queue queue,
                             uint64_t tag,
                             struct hr_operation *operation,
                             struct hr_error **error);

/**
 * Sends what was written so far, the head of a response included, and waits until it has left. From then on every part of the body of a
 * response leaves at once.
 */
hr_code hr_body_flush(struct hr_body_writer body,
                      uint32_t timeout_ms,
                      struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_body_flush_submit(struct hr_body_writer body,
                             struct hr_queue queue,
                             uint64_t tag,
                             struct hr_operation *operation,
                             struct hr_error **error);

/**
 * Ends a body in good order, and waits until that has left. A call that times out leaves it going on: the next one waits for the same
 * end. Release the body all the same.
 */
hr_code hr_body_finish(struct hr_body_writer body,
                       uint32_t timeout_ms,
                       struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_body_finish_submit(struct hr_body_writer body,
                              struct hr_queue queue,
                              uint64_t tag,
                              struct hr_operation *operation,
                              struct hr_error **error);

/**
 * Releases a body. One that was not finished is broken off: the other side sees an error, or of a response of which nothing was sent yet
 * the status 500. Whoever waits in a call for it gets HR_CLOSED.
 */
hr_code hr_body_release(struct hr_body_writer body,
                        struct hr_error **error);

/**
 * Takes a request on: makes its head and body one object, and its answer another, which may go to different threads. The incoming is used
 * up. Release the request with hr_request_release, and answer with hr_responder_send or hr_responder_start.
 */
hr_code hr_incoming_into_request(struct hr_incoming incoming,
                                 struct hr_request *request,
                                 struct hr_responder *responder,
                                 struct hr_error **error);

/**
 * Copies what is known about a request, in the manner of hr_incoming_get.
 */
hr_code hr_request_get(struct hr_request request,
                       hr_incoming_field field,
                       char *buffer,
                       size_t capacity,
                       size_t *len,
                       struct hr_error **error);

/**
 * Copies a header of a request, in the manner of hr_incoming_get; several values are joined by ", ". HR_END if there is none.
 */
hr_code hr_request_header(struct hr_request request,
                          const char *name,
                          size_t name_len,
                          char *buffer,
                          size_t capacity,
                          size_t *len,
                          struct hr_error **error);

/**
 * Copies name and value of the header at an index from 0 on, each in the manner of hr_incoming_get. Names are in lower case; several headers
 * of one name are several. HR_END behind the last.
 */
hr_code hr_request_header_at(struct hr_request request,
                             size_t index,
                             char *name,
                             size_t name_capacity,
                             size_t *name_len,
                             char *value,
                             size_t value_capacity,
                             size_t *value_len,
                             struct hr_error **error);

/**
 * Whether nobody waits for the answer: the sender was told that the request is handed over. It may be answered all the same, but need
 * not be: releasing the responder is enough.
 */
hr_code hr_request_is_one_way(struct hr_request request,
                              bool *is_one_way,
                              struct hr_error **error);

/**
 * Reads of a request's body what has come: at least one byte, at most `capacity`; `len` gets how many. What is not read slows the sender
 * down and costs no memory. HR_END at the end, HR_CONNECTION_LOST if the sender broke it off.
 */
hr_code hr_request_read(struct hr_request request,
                        uint8_t *buffer,
                        size_t capacity,
                        size_t *len,
                        uint32_t timeout_ms,
                        struct hr_error **error);

/**
 * The same for a queue: the completion's message holds the bytes, at most `max` and at most 64 KiB.
 */
hr_code hr_request_read_submit(struct hr_request request,
                               size_t max,
                               struct hr_queue queue,
                               uint64_t tag,
                               struct hr_operation *operation,
                               struct hr_error **error);

/**
 * Waits until the sender of a request has gone, so that nobody waits for the answer any more: HR_OK then, HR_END if the request was
 * answered before. While a long body is not read, it may not be seen that the sender has gone; Azure Relay does not tell of short requests.
 */
hr_code hr_request_wait_gone(struct hr_request request,
                             uint32_t timeout_ms,
                             struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_request_wait_gone_submit(struct hr_request request,
                                    struct hr_queue queue,
                                    uint64_t tag,
                                    struct hr_operation *operation,
                                    struct hr_error **error);

/**
 * Releases a request: of its body nothing more is read, and whoever waits for it in a call gets HR_CLOSED. Its answer is another object.
 */
hr_code hr_request_release(struct hr_request request,
                           struct hr_error **error);

/**
 * Answers a request: status from 200 to 999, reason (NULL for the usual one), headers, and the whole body. Headers of the connection,
 * such as Content-Length, are written by the relay and ignored here. Returns when everything has left, which a slow sender delays.
 *
 * Uses the responder up, unless an argument is not usable. A call that times out has given the answer up, which the sender sees as 500 or as
 * a broken response: where that matters, use hr_responder_start. HR_CONNECTION_LOST if the sender has gone.
 */
hr_code hr_responder_send(struct hr_responder responder,
                          uint16_t status,
                          const char *reason,
                          size_t reason_len,
                          const struct hr_header *headers,
                          size_t headers_count,
                          const uint8_t *body,
                          size_t body_len,
                          uint32_t timeout_ms,
                          struct hr_error **error);

/**
 * The same for a queue. Everything is copied.
 */
hr_code hr_responder_send_submit(struct hr_responder responder,
                                 uint16_t status,
                                 const char *reason,
                                 size_t reason_len,
                                 const struct hr_header *headers,
                                 size_t headers_count,
                                 const uint8_t *body,
                                 size_t body_len,
                                 struct hr_queue queue,
                                 uint64_t tag,
                                 struct hr_operation *operation,
                                 struct hr_error **error);

/**
 * Begins an answer whose body is written with hr_body_write. Never waits. Status, reason and headers are as for hr_responder_send. Uses the
 * responder up, unless an argument is not usable. Release the body with hr_body_release.
 */
hr_code hr_responder_start(struct hr_responder responder,
                           uint16_t status,
                           const char *reason,
                           size_t reason_len,
                           const struct hr_header *headers,
                           size_t headers_count,
                           struct hr_body_writer *body,
                           struct hr_error **error);

/**
 * Releases a responder that was not used: the sender is answered 500, unless the request is one-way.
 */
hr_code hr_responder_release(struct hr_responder responder,
                             struct hr_error **error);

/**
 * Makes a request without headers and body. `method` NULL is GET; `path`, such as "/orders/7?x=1", is percent-encoded and is added to
 * the hybrid connection; NULL adds nothing. Send it with hr_sender_request, or release it with hr_outgoing_release.
 */
hr_code hr_outgoing_new(const char *method,
                        size_t method_len,
                        const char *path,
                        size_t path_len,
                        struct hr_outgoing *outgoing,
                        struct hr_error **error);

/**
 * Adds headers. May be called several times; several headers may have the same name. Those of the connection, such as Host and
 * Transfer-Encoding, are the library's to write. Content-Length says how long a streamed body will be.
 */
hr_code hr_outgoing_headers(struct hr_outgoing outgoing,
                            const struct hr_header *headers,
                            size_t headers_count,
                            struct hr_error **error);

/**
 * Sets the whole body, which is copied, instead of any body before.
 */
hr_code hr_outgoing_body(struct hr_outgoing outgoing,
                         const uint8_t *data,
                         size_t len,
                         struct hr_error **error);

/**
 * Makes the body one that is written with hr_body_write while the request is under way, instead of any body before. Before the request is
 * sent, at most two parts of it are taken over. Release the body with hr_body_release.
 */
hr_code hr_outgoing_stream(struct hr_outgoing outgoing,
                           struct hr_body_writer *body,
                           struct hr_error **error);

/**
 * Releases a request that is not sent.
 */
hr_code hr_outgoing_release(struct hr_outgoing outgoing, struct hr_error **error);

/**
 * Sends a request to a listener. Never waits, and uses the request up. Wait for the response with hr_response_wait; release it with
 * hr_response_release, which also withdraws a request that is under way.
 */
hr_code hr_sender_request(struct hr_sender sender,
                          struct hr_outgoing outgoing,
                          struct hr_response *response,
                          struct hr_error **error);

/**
 * Waits until a response begins; `status`, unless it is NULL, gets its status, whatever it is. A call that times out does not withdraw the
 * request.
 *
 * What the relay itself refused is an error, the same each time: HR_NO_LISTENERS, HR_ENDPOINT_NOT_FOUND, HR_UNAUTHORIZED, HR_TIMEOUT if no
 * listener answered in time, HR_MESSAGE_TOO_LARGE for the request's body, and others. HR_CONNECTION_LOST if the way broke before the
 * response, also if the program broke its own body off.
 */
hr_code hr_response_wait(struct hr_response response,
                         uint32_t timeout_ms,
                         uint16_t *status,
                         struct hr_error **error);

/**
 * The same for a queue: the completion's `number` is the status.
 */
hr_code hr_response_wait_submit(struct hr_response response,
                                struct hr_queue queue,
                                uint64_t tag,
                                struct hr_operation *operation,
                                struct hr_error **error);

/**
 * Copies the reason phrase of a response, in the manner of hr_incoming_get. HR_WOULD_BLOCK if the response has not come yet.
 */
hr_code hr_response_reason(struct hr_response response,
                           char *buffer,
                           size_t capacity,
                           size_t *len,
                           struct hr_error **error);

/**
 * Copies a header of a response, in the manner of hr_incoming_get; several values are joined by ", ", which cookies do not bear: see
 * hr_response_header_at. HR_END if there is none, HR_WOULD_BLOCK if the response has not come yet.
 */
hr_code hr_response_header(struct hr_response response,
                           const char *name,
                           size_t name_len,
                           char *buffer,
                           size_t capacity,
                           size_t *len,
                           struct hr_error **error);

/**
 * Copies name and value of the header at an index from 0 on, each in the manner of hr_incoming_get. Names are in lower case; several headers
 * of one name are several. HR_END behind the last, HR_WOULD_BLOCK if the response has not come yet.
 */
hr_code hr_response_header_at(struct hr_response response,
                              size_t index,
                              char *name,
                              size_t name_capacity,
                              size_t *name_len,
                              char *value,
                              size_t value_capacity,
                              size_t *value_len,
                              struct hr_error **error);

/**
 * Reads of a response's body what has come, after waiting for the response itself: at least one byte, at most `capacity`; `len` gets how
 * many. What is not read slows the listener down and costs no memory. HR_END at the end, HR_CONNECTION_LOST if the listener broke it off.
 */
hr_code hr_response_read(struct hr_response response,
                         uint8_t *buffer,
                         size_t capacity,
                         size_t *len,
                         uint32_t timeout_ms,
                         struct hr_error **error);

/**
 * The same for a queue: the completion's message holds the bytes, at most `max` and at most 64 KiB.
 */
hr_code hr_response_read_submit(struct hr_response response,
                                size_t max,
                                struct hr_queue queue,
                                uint64_t tag,
                                struct hr_operation *operation,
                                struct hr_error **error);

/**
 * Releases a response. If it was not read to its end the request is withdrawn, which the listener sees; whoever waits for it in a call gets
 * HR_CLOSED.
 */
hr_code hr_response_release(struct hr_response response,
                            struct hr_error **error);

/**
 * Sends a request for whose answer nobody waits, and uses it up. Returns as soon as one listener has been handed all of it, or at a hybrid
 * connection for events all that are online; `listeners`, unless it is NULL, gets how many. The body may be 64 KiB long unless the hybrid
 * connection allows more.
 *
 * HR_UNSUPPORTED behind a relay that knows no such requests: a listener has got it as an ordinary one. HR_NO_LISTENERS, HR_SERVER_BUSY,
 * HR_MESSAGE_TOO_LARGE: nobody got it. After HR_TIMEOUT, HR_CONNECTION_LOST and HR_REJECTED, and a call that timed out, a listener may have it.
 */
hr_code hr_sender_send_one_way(struct hr_sender sender,
                               struct hr_outgoing outgoing,
                               uint32_t timeout_ms,
                               uint64_t *listeners,
                               struct hr_error **error);

/**
 * The same for a queue: the completion's `number` is how many listeners have it.
 */
hr_code hr_sender_send_one_way_submit(struct hr_sender sender,
                                      struct hr_outgoing outgoing,
                                      struct hr_queue queue,
                                      uint64_t tag,
                                      struct hr_operation *operation,
                                      struct hr_error **error);

/**
 * Tells what has come: HR_INCOMING_CONNECT or HR_INCOMING_REQUEST.
 */
hr_code hr_incoming_kind(struct hr_incoming incoming, hr_kind *kind, struct hr_error **error);

/**
 * Copies what is known about a sender or a request into a buffer, with a NUL behind it. `len`, unless it is NULL, gets the length without the NUL,
 * also if the buffer is too small (HR_INVALID_ARGUMENT). A buffer of NULL with a capacity of 0 only asks for the length.
 */
hr_code hr_incoming_get(struct hr_incoming incoming,
                        hr_incoming_field field,
                        char *buffer,
                        size_t capacity,
                        size_t *len,
                        struct hr_error **error);

/**
 * Copies a header of a sender's handshake or of a request, in the manner of hr_incoming_get; several values are joined by ", ". HR_END if
 * there is none.
 */
hr_code hr_incoming_header(struct hr_incoming incoming,
                           const char *name,
                           size_t name_len,
                           char *buffer,
                           size_t capacity,
                           size_t *len,
                           struct hr_error **error);

/**
 * Copies name and value of the header at an index from 0 on, each in the manner of hr_incoming_get. Names are in lower case; several headers
 * of one name are several. HR_END behind the last.
 */
hr_code hr_incoming_header_at(struct hr_incoming incoming,
                              size_t index,
                              char *name,
                              size_t name_capacity,
                              size_t *name_len,
                              char *value,
                              size_t value_capacity,
                              size_t *value_len,
                              struct hr_error **error);

/**
 * Accepts a sender: dials to it. `subprotocol` is one that it offers, or NULL for the first of the listener's options that it does.
 *
 * The handle is used up by success, and by a dial that fails. A call that times out leaves both: the dial goes on, and the next call on the
 * same handle gets the connection; releasing the handle gives the sender up. HR_INVALID_ARGUMENT of a request and for a sub-protocol that
 * cannot be one; the handle stays and can be taken, accepted or rejected as if the call had not been made.
 */
hr_code hr_incoming_accept(struct hr_incoming incoming,
                           const char *subprotocol,
                           size_t subprotocol_len,
                           uint32_t timeout_ms,
                           struct hr_connection *connection,
                           struct hr_error **error);

/**
 * The same for a queue: the completion holds the connection. After a cancel the handle is as after a time limit.
 */
hr_code hr_incoming_accept_submit(struct hr_incoming incoming,
                                  const char *subprotocol,
                                  size_t subprotocol_len,
                                  struct hr_queue queue,
                                  uint64_t tag,
                                  struct hr_operation *operation,
                                  struct hr_error **error);

/**
 * Refuses a sender, or answers a request, with a status from 200 to 999 and a reason. A sender sees them in its error.
 *
 * The handle is used up, also if the call fails or times out: a sender is refused with 503 then, a request gets 500. HR_INVALID_ARGUMENT for
 * another status, and for a sender that is being accepted; the handle stays.
 */
hr_code hr_incoming_reject(struct hr_incoming incoming,
                           uint16_t status,
                           const char *reason,
                           size_t reason_len,
                           uint32_t timeout_ms,
                           struct hr_error **error);

/**
 * The same for a queue. The handle is used up at once. A sender is refused with 503 after a cancel, and a request gets 500, unless the relay has
 * heard of the other status before.
 */
hr_code hr_incoming_reject_submit(struct hr_incoming incoming,
                                  uint16_t status,
                                  const char *reason,
                                  size_t reason_len,
                                  struct hr_queue queue,
                                  uint64_t tag,
                                  struct hr_operation *operation,
                                  struct hr_error **error);

/**
 * Releases what was not answered: a sender is refused with 503, a request with 501.
 */
hr_code hr_incoming_release(struct hr_incoming incoming, struct hr_error **error);

/**
 * Opens a listener. Returns when it is online. A call that times out has given the attempt up.
 *
 * A connection string of NULL stands for the environment: HYBRIDRELAY_CONNECTION_STRING, or the file that
 * HYBRIDRELAY_CONNECTION_STRING_FILE names. An address such as `sb://host/entity` needs HR_OPT_TOKEN.
 *
 * Release it with hr_listener_release.
 */
hr_code hr_listener_open(const char *connection_string,
                         size_t len,
                         struct hr_options options,
                         uint32_t timeout_ms,
                         struct hr_listener *listener,
                         struct hr_error **error);

/**
 * The same for a queue: the completion holds the listener.
 */
hr_code hr_listener_open_submit(const char *connection_string,
                                size_t len,
                                struct hr_options options,
                                struct hr_queue queue,
                                uint64_t tag,
                                struct hr_operation *operation,
                                struct hr_error **error);

/**
 * Waits for a sender, or for a sender's HTTP request: see hr_incoming_kind.
 *
 * HR_END after hr_listener_close. A final failure is told once, then HR_END. Accept a sender with hr_incoming_accept, take a request with
 * hr_incoming_into_request, or refuse either with hr_incoming_reject; a sender that is released unanswered is refused with 503, a request
 * with 501.
 */
hr_code hr_listener_accept(struct hr_listener listener,
                           uint32_t timeout_ms,
                           struct hr_incoming *incoming,
                           struct hr_error **error);

/**
 * The same for a queue: the completion holds the sender or the request.
 */
hr_code hr_listener_accept_submit(struct hr_listener listener,
                                  struct hr_queue queue,
                                  uint64_t tag,
                                  struct hr_operation *operation,
                                  struct hr_error **error);

/**
 * Replaces the token that a listener was opened with by HR_OPT_TOKEN: it is shown to the relay at once, and whenever the listener gets
 * online again. The text is copied. May be called from any thread, also while others wait on the listener.
 *
 * HR_INVALID_ARGUMENT for an empty text, and for a listener that was opened without HR_OPT_TOKEN. What the relay thinks of the token
 * is told by the status.
 */
hr_code hr_listener_set_token(struct hr_listener listener,
                              const char *token,
                              size_t token_len,
                              struct hr_error **error);

/**
 * Whether a listener is online, now. `reason`, unless it is NULL, gets why it is not: HR_OK if there is no reason.
 */
hr_code hr_listener_status(struct hr_listener listener,
                           hr_status *status,
                           hr_code *reason,
                           struct hr_error **error);

/**
 * Waits for a change of the status that no call on this listener has told of, and tells the newest. What was over before it looked is
 * skipped. HR_END once the listener has ended and its end was told.
 */
hr_code hr_listener_wait_status(struct hr_listener listener,
                                uint32_t timeout_ms,
                                hr_status *status,
                                hr_code *reason,
                                struct hr_error **error);

/**
 * The same for a queue: the completion's `number` is the status; its `error` says why it is not online, with the code HR_OK, and is NULL if
 * there is no reason. It does not keep the listener online: releasing the listener ends it with HR_STATUS_CLOSED.
 */
hr_code hr_listener_wait_status_submit(struct hr_listener listener,
                                       struct hr_queue queue,
                                       uint64_t tag,
                                       struct hr_operation *operation,
                                       struct hr_error **error);

/**
 * Closes a listener: no sender comes any more, whoever waits in a call for one gets HR_END, connections that were accepted go on.
 * Closing it twice does nothing. Release it all the same.
 */
hr_code hr_listener_close(struct hr_listener listener,
                          uint32_t timeout_ms,
                          struct hr_error **error);

/**
 * The same for a queue. One that is cancelled closes the listener all the same.
 */
hr_code hr_listener_close_submit(struct hr_listener listener,
                                 struct hr_queue queue,
                                 uint64_t tag,
                                 struct hr_operation *operation,
                                 struct hr_error **error);

/**
 * Releases a listener. One that was not closed goes offline, as soon as no call uses it any more.
 */
hr_code hr_listener_release(struct hr_listener listener, struct hr_error **error);

/**
 * Starts a relay on a free port of loopback. With `tls` it has a certificate: see hr_local_relay_ca_pem. Stop it with
 * hr_local_relay_stop.
 */
hr_code hr_local_relay_start(bool tls,
                             struct hr_local_relay *relay,
                             struct hr_error **error);

/**
 * Copies a connection string with every right, in the manner of hr_incoming_get.
 */
hr_code hr_local_relay_connection_string(struct hr_local_relay relay,
                                         const char *entity,
                                         size_t entity_len,
                                         char *buffer,
                                         size_t capacity,
                                         size_t *len,
                                         struct hr_error **error);

/**
 * Copies the certificate to trust, for HR_OPT_EXTRA_CA_PEM, in the manner of hr_incoming_get; empty without TLS.
 */
hr_code hr_local_relay_ca_pem(struct hr_local_relay relay,
                              char *buffer,
                              size_t capacity,
                              size_t *len,
                              struct hr_error **error);

/**
 * Cuts the control channels of a hybrid connection, as a failure of the network would; its listeners come back. `cut`, unless it is
 * NULL, gets how many there were.
 */
hr_code hr_local_relay_drop_control(struct hr_local_relay relay,
                                    const char *entity,
                                    size_t entity_len,
                                    size_t *cut,
                                    struct hr_error **error);

/**
 * Stops a relay and releases it: connections have so many milliseconds to end, then they are cut.
 */
hr_code hr_local_relay_stop(struct hr_local_relay relay,
                            uint32_t drain_ms,
                            struct hr_error **error);

/**
 * Follows what happens from now on. The relay waits for nobody: whoever is more than 1 024 events behind misses the oldest ones.
 * Release it with hr_relay_events_release.
 */
hr_code hr_local_relay_events(struct hr_local_relay relay,
                              struct hr_relay_events *events,
                              struct hr_error **error);

/**
 * Waits for the next event. HR_END once the relay has ended. Release it with hr_relay_event_release.
 */
hr_code hr_relay_events_next(struct hr_relay_events events,
                             uint32_t timeout_ms,
                             struct hr_relay_event *event,
                             struct hr_error **error);

/**
 * The same for a queue: the completion holds the event.
 */
hr_code hr_relay_events_next_submit(struct hr_relay_events events,
                                    struct hr_queue queue,
                                    uint64_t tag,
                                    struct hr_operation *operation,
                                    struct hr_error **error);

/**
 * Copies what an event tells, in the manner of hr_incoming_get.
 */
hr_code hr_relay_event_get(struct hr_relay_event event,
                           hr_relay_event_field field,
                           char *buffer,
                           size_t capacity,
                           size_t *len,
                           struct hr_error **error);

/**
 * Releases an event.
 */
hr_code hr_relay_event_release(struct hr_relay_event event, struct hr_error **error);

/**
 * Follows a relay no longer.
 */
hr_code hr_relay_events_release(struct hr_relay_events events, struct hr_error **error);

/**
 * Makes a hybrid connection, or makes it anew with other flags. Those that nobody makes come to be when somebody listens.
 */
hr_code hr_local_relay_add(struct hr_local_relay relay,
                           const char *entity,
                           size_t entity_len,
                           hr_entity_flags flags,
                           struct hr_error **error);

/**
 * Moves the relay's clocks on in one leap, as if its machine had slept for so long: all that was due meanwhile happens now. Returns at
 * once.
 *
 * Tokens are older: a control channel is closed when its token and five minutes of grace are over. Whoever waits for a listener for 30 s
 * gets HR_TIMEOUT. Peers that were silent for the time of a Ping are asked, however far the leap was, and given up if the clock moves by
 * the time for the answer before it has come: a listener after 45 s, a relayed connection after 90 s. The kernel's timers stay as they
 * are, and so do the clocks of listeners and senders, unless they were made with hr_options_use_clock.
 */
hr_code hr_local_relay_advance(struct hr_local_relay relay,
                               uint64_t by_ms,
                               struct hr_error **error);

/**
 * Lets listeners and senders that are made with these options live by the clock of a local relay, which hr_local_relay_advance moves:
 * then they renew their tokens. A leap of more than the ten seconds in which a Ping is answered makes them dial anew.
 */
hr_code hr_options_use_clock(struct hr_options options,
                             struct hr_local_relay relay,
                             struct hr_error **error);

/**
 * Refuses who comes next, or who comes next for `attempt`, with a status from 400 to 599 and a reason, before the relay looks at
 * anything else. NULL is a reason of the library's own. Several are used up one after the other.
 */
hr_code hr_local_relay_refuse_next(struct hr_local_relay relay,
                                   uint16_t status,
                                   hr_attempt attempt,
                                   const char *reason,
                                   size_t reason_len,
                                   struct hr_error **error);

/**
 * The same, and the refusal tells by Retry-After to come again after `retry_after_ms`: in whole seconds, rounded up, and one at least. A
 * listener waits for as long, up to five minutes; anybody else finds it by hr_error_retry_after_ms.
 */
hr_code hr_local_relay_refuse_next_after(struct hr_local_relay relay,
                                         uint16_t status,
                                         hr_attempt attempt,
                                         const char *reason,
                                         size_t reason_len,
                                         uint64_t retry_after_ms,
                                         struct hr_error **error);

/**
 * Lists the relayed connections that are open and the HTTP requests that are under way, in the order in which they came: each WebSocket
 * connection of a sender that is joined to a listener, from the moment on at which the sender's connect returns; each request from its
 * admission to the end of its answer, one-way requests excepted. Writes `capacity` of them at most; `count` gets how many there are, and may
 * be NULL.
 */
hr_code hr_local_relay_connections(struct hr_local_relay relay,
                                   struct hr_relayed *connections,
                                   size_t capacity,
                                   size_t *count,
                                   struct hr_error **error);

/**
 * Lists the control channels of the listeners that are online in the same way, each from the moment on at which its listener knows that it is
 * online. They are held up and cut as what is relayed.
 */
hr_code hr_local_relay_control_channels(struct hr_local_relay relay,
                                        struct hr_relayed *connections,
                                        size_t capacity,
                                        size_t *count,
                                        struct hr_error **error);

/**
 * Copies what is known about a relayed connection or a control channel, in the manner of hr_incoming_get. HR_END if it has ended.
 */
hr_code hr_local_relay_connection_get(struct hr_local_relay relay,
                                      uint64_t id,
                                      hr_relayed_field field,
                                      char *buffer,
                                      size_t capacity,
                                      size_t *len,
                                      struct hr_error **error);

/**
 * Lets no byte of a relayed connection through until hr_local_relay_resume, as a network that has lost its way; of a request neither its body
 * nor the response. A control channel is held up as well, and then the relay gives the listener up by its own times; the listener comes back by
 * another channel as soon as it notices. HR_END if it has ended.
 */
hr_code hr_local_relay_stall(struct hr_local_relay relay,
                             uint64_t id,
                             struct hr_error **error);

/**
 * Lets a stalled connection go on; nothing was lost. HR_END if it has ended.
 */
hr_code hr_local_relay_resume(struct hr_local_relay relay, uint64_t id, struct hr_error **error);

/**
 * Cuts a relayed connection once so many bytes more were read from its two ends: both are reset, and what was on the way may be lost. 0
 * cuts at once. Of a request the sender's connection ends, before the response's head or in its body, and the listener sees that the
 * sender has gone. Of a control channel what the listener says counts, and it comes back. An id of 0 means the connection or request that
 * comes next, from its first byte on. HR_END if it has ended.
 */
hr_code hr_local_relay_cut_after(struct hr_local_relay relay,
                                 uint64_t id,
                                 uint64_t bytes,
                                 struct hr_error **error);

/**
 * Begins to collect records up to a level, or changes the level. Nothing is collected before. Take them with hr_log_next from one
 * thread of yours: 4096 wait at most, older ones are dropped.
 */
hr_code hr_log_collect(hr_log_level level,
                       struct hr_error **error);

/**
 * Takes the next record. HR_WOULD_BLOCK if none comes in that time, and at once before hr_log_collect. Only a record ends a wait without a
 * limit.
 */
hr_code hr_log_next(uint32_t timeout_ms,
                    struct hr_log_record *record,
                    struct hr_error **error);

/**
 * Frees the texts of a record and makes it empty. NULL does nothing.
 */
void hr_log_record_free(struct hr_log_record *record);

/**
 * Makes options with every default. Release them with hr_options_release.
 */
hr_code hr_options_new(struct hr_options *options, struct hr_error **error);

/**
 * Sets an option that is a text. Those that are yes or no, numbers or durations are refused. Whether the text can be used is told by
 * the call that uses the options.
 */
hr_code hr_options_set_str(struct hr_options options,
                           hr_option option,
                           const char *value,
                           size_t len,
                           struct hr_error **error);

/**
 * Sets an option that is a number, a duration, or yes or no.
 */
hr_code hr_options_set_int(struct hr_options options,
                           hr_option option,
                           uint64_t value,
                           struct hr_error **error);

/**
 * Releases options; listeners and senders that were made with them keep what they have.
 */
hr_code hr_options_release(struct hr_options options, struct hr_error **error);

/**
 * Asks who listens now. HR_UNSUPPORTED from a relay that does not tell, as Azure Relay. Release it with hr_presence_release.
 */
hr_code hr_sender_presence(struct hr_sender sender,
                           uint32_t timeout_ms,
                           struct hr_presence *presence,
                           struct hr_error **error);

/**
 * The same for a queue: the completion holds the presence.
 */
hr_code hr_sender_presence_submit(struct hr_sender sender,
                                  struct hr_queue queue,
                                  uint64_t tag,
                                  struct hr_operation *operation,
                                  struct hr_error **error);

/**
 * Waits until somebody listens, for so long. HR_TIMEOUT if nobody does. `presence`, unless it is NULL, gets who; release it then.
 */
hr_code hr_sender_wait_for_listener(struct hr_sender sender,
                                    uint32_t timeout_ms,
                                    struct hr_presence *presence,
                                    struct hr_error **error);

/**
 * The same for a queue, without a limit: the completion holds the presence.
 */
hr_code hr_sender_wait_for_listener_submit(struct hr_sender sender,
                                           struct hr_queue queue,
                                           uint64_t tag,
                                           struct hr_operation *operation,
                                           struct hr_error **error);

/**
 * How many listen, and since when.
 */
hr_code hr_presence_read(struct hr_presence presence,
                         struct hr_presence_summary *summary,
                         struct hr_error **error);

/**
 * Copies what is known about the listener with an index from 0 on, in the manner of hr_incoming_get. They are told in the order in
 * which they came. HR_END if there is none.
 */
hr_code hr_presence_get(struct hr_presence presence,
                        size_t index,
                        hr_present_field field,
                        char *buffer,
                        size_t capacity,
                        size_t *len,
                        struct hr_error **error);

/**
 * Copies what a listener says of itself under a key (HR_OPT_LABEL), in the manner of hr_incoming_get. HR_END if it has no such label.
 */
hr_code hr_presence_label(struct hr_presence presence,
                          size_t index,
                          const char *key,
                          size_t key_len,
                          char *buffer,
                          size_t capacity,
                          size_t *len,
                          struct hr_error **error);

/**
 * The numbers of the listener with an index. HR_END if there is none.
 */
hr_code hr_presence_numbers(struct hr_presence presence,
                            size_t index,
                            struct hr_present_numbers *numbers,
                            struct hr_error **error);

/**
 * Releases a presence.
 */
hr_code hr_presence_release(struct hr_presence presence, struct hr_error **error);

/**
 * Follows who listens, in the background. Returns with the first answer, which hr_presence_watch_current tells; after it nothing ends
 * the watch. A call that times out has given the attempt up. Release it with hr_presence_watch_release.
 */
hr_code hr_sender_watch_presence(struct hr_sender sender,
                                 uint32_t timeout_ms,
                                 struct hr_presence_watch *watch,
                                 struct hr_error **error);

/**
 * The same for a queue: the completion holds the watch.
 */
hr_code hr_sender_watch_presence_submit(struct hr_sender sender,
                                        struct hr_queue queue,
                                        uint64_t tag,
                                        struct hr_operation *operation,
                                        struct hr_error **error);

/**
 * Who listens now, or did when the relay was heard last.
 */
hr_code hr_presence_watch_current(struct hr_presence_watch watch,
                                  struct hr_presence *presence,
                                  struct hr_error **error);

/**
 * Waits for a change that this watch has not told, an interruption or its end included, and tells who listens. What was over before it
 * looked is skipped.
 */
hr_code hr_presence_watch_next(struct hr_presence_watch watch,
                               uint32_t timeout_ms,
                               struct hr_presence *presence,
                               struct hr_error **error);

/**
 * The same for a queue: the completion holds the presence.
 */
hr_code hr_presence_watch_next_submit(struct hr_presence_watch watch,
                                      struct hr_queue queue,
                                      uint64_t tag,
                                      struct hr_operation *operation,
                                      struct hr_error **error);

/**
 * HR_OK while the relay is heard; otherwise why it is not, as a failure of this call. It is asked again for ever.
 */
hr_code hr_presence_watch_interruption(struct hr_presence_watch watch,
                                       struct hr_error **error);

/**
 * Releases a watch.
 */
hr_code hr_presence_watch_release(struct hr_presence_watch watch, struct hr_error **error);

/**
 * Copies what a listener and its relay have agreed on beyond the protocol, separated by ", ", in the manner of hr_incoming_get. Empty
 * with Azure Relay, and while the listener is not online.
 */
hr_code hr_listener_features(struct hr_listener listener,
                             char *buffer,
                             size_t capacity,
                             size_t *len,
                             struct hr_error **error);

/**
 * Makes a queue. Release it with hr_queue_release.
 *
 * What a queue uses is best opened by a call that ends in _submit: then the thread that serves its sockets also ends its operations. What a
 * blocking call has opened serves a queue as well, and each end costs one change of threads more.
 */
hr_code hr_queue_new(struct hr_queue *queue,
                     struct hr_error **error);

/**
 * Takes the next completion. HR_CLOSED if the queue is released meanwhile.
 */
hr_code hr_queue_next(struct hr_queue queue,
                      uint32_t timeout_ms,
                      struct hr_completion *completion,
                      struct hr_error **error);

/**
 * A descriptor that is readable while completions wait, for poll, epoll or kqueue. It belongs to the queue: neither read nor close it.
 * -1 if the handle is none, and on systems without descriptors.
 */
int32_t hr_queue_fd(struct hr_queue queue);

/**
 * Cancels an operation. Its completion comes all the same. One that is over is left alone.
 */
void hr_operation_cancel(struct hr_operation operation);

/**
 * Releases a queue: whoever waits in hr_queue_next gets HR_CLOSED, and every operation that would end in it is cancelled, since nobody can
 * hear of its end. When the call returns none is under way any more.
 *
 * What has come for them and was not taken from the queue goes back: senders and requests to their listener, messages, bytes and events to
 * what they were received from, in their order; the next call gets them. A change of a status, of who listens or of
 * the endpoints is still news. Objects that an operation has opened, such as a connection or a listener, are released.
 */
hr_code hr_queue_release(struct hr_queue queue,
                         struct hr_error **error);

/**
 * Makes a sender. Nothing is dialled yet. The connection string is as for hr_listener_open. Release it with hr_sender_release.
 */
hr_code hr_sender_new(const char *connection_string,
                      size_t len,
                      struct hr_options options,
                      struct hr_sender *sender,
                      struct hr_error **error);

/**
 * Replaces the token that a sender was made with by HR_OPT_TOKEN: what is opened and asked from now on shows the new one. The text is
 * copied. May be called from any thread.
 *
 * HR_INVALID_ARGUMENT for an empty text, and for a sender that was made without HR_OPT_TOKEN.
 */
hr_code hr_sender_set_token(struct hr_sender sender,
                            const char *token,
                            size_t token_len,
                            struct hr_error **error);

/**
 * Opens a connection. `path`, such as "/orders/7?x=1", is added to the hybrid connection; NULL adds nothing. `subprotocols` are those
 * that are offered, separated by commas; NULL offers none.
 *
 * A call that times out has given the attempt up. Release the connection with hr_connection_release.
 */
hr_code hr_sender_connect(struct hr_sender sender,
                          const char *path,
                          size_t path_len,
                          const char *subprotocols,
                          size_t subprotocols_len,
                          uint32_t timeout_ms,
                          struct hr_connection *connection,
                          struct hr_error **error);

/**
 * The same for a queue: the completion holds the connection.
 */
hr_code hr_sender_connect_submit(struct hr_sender sender,
                                 const char *path,
                                 size_t path_len,
                                 const char *subprotocols,
                                 size_t subprotocols_len,
                                 struct hr_queue queue,
                                 uint64_t tag,
                                 struct hr_operation *operation,
                                 struct hr_error **error);

/**
 * Releases a sender; its connections go on.
 */
hr_code hr_sender_release(struct hr_sender sender, struct hr_error **error);

/**
 * Turns a connection into bytes, once. What is written travels as binary messages; of what comes, the borders and kinds of messages are
 * dropped, and bytes of a message that was received in part come first.
 *
 * The connection's handle stays, to be released by itself. Its calls that send and receive messages give HR_STREAM_IN_USE from now on, as does
 * a second conversion. Release the stream with hr_stream_release.
 */
hr_code hr_connection_into_stream(struct hr_connection connection,
                                  struct hr_stream *stream,
                                  struct hr_error **error);

/**
 * Reads what has come: at least one byte, at most `capacity`; `len` gets how many. What is not read slows the peer down. HR_END once the
 * peer has closed its direction, HR_CONNECTION_LOST after an abort, HR_CLOSED after hr_stream_close.
 */
hr_code hr_stream_read(struct hr_stream stream,
                       uint8_t *buffer,
                       size_t capacity,
                       size_t *len,
                       uint32_t timeout_ms,
                       struct hr_error **error);

/**
 * The same for a queue: the completion's message holds the bytes, at most `max` and at most 64 KiB.
 */
hr_code hr_stream_read_submit(struct hr_stream stream,
                              size_t max,
                              struct hr_queue queue,
                              uint64_t tag,
                              struct hr_operation *operation,
                              struct hr_error **error);

/**
 * Writes everything, as fast as the peer reads. `written`, unless it is NULL, gets how many bytes were taken over, also if the call fails or
 * times out: go on behind them. HR_CLOSED after hr_stream_shutdown and hr_stream_close, HR_CONNECTION_LOST after an abort.
 */
hr_code hr_stream_write(struct hr_stream stream,
                        const uint8_t *data,
                        size_t len,
                        uint32_t timeout_ms,
                        size_t *written,
                        struct hr_error **error);

/**
 * The same for a queue: the completion's `number` is how many bytes were taken over. The data is copied. One that is cancelled or fails may
 * have written a part.
 */
hr_code hr_stream_write_submit(struct hr_stream stream,
                               const uint8_t *data,
                               size_t len,
                               struct hr_queue queue,
                               uint64_t tag,
                               struct hr_operation *operation,
                               struct hr_error **error);

/**
 * Waits until everything that was written has left.
 */
hr_code hr_stream_flush(struct hr_stream stream, uint32_t timeout_ms, struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_stream_flush_submit(struct hr_stream stream,
                               struct hr_queue queue,
                               uint64_t tag,
                               struct hr_operation *operation,
                               struct hr_error **error);

/**
 * Closes our direction behind what was written. The peer sees the end, and may go on writing.
 */
hr_code hr_stream_shutdown(struct hr_stream stream, uint32_t timeout_ms, struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_stream_shutdown_submit(struct hr_stream stream,
                                  struct hr_queue queue,
                                  uint64_t tag,
                                  struct hr_operation *operation,
                                  struct hr_error **error);

/**
 * Closes both directions in good order: sends what was written, and waits for the peer's close. What it still sends is dropped. Whoever
 * reads or writes at this moment gets HR_CLOSED. HR_TIMEOUT if nothing moves for HR_OPT_CLOSE_TIMEOUT_MS, which begin anew with each call;
 * then the connection was aborted.
 */
hr_code hr_stream_close(struct hr_stream stream,
                        uint32_t timeout_ms,
                        struct hr_error **error);

/**
 * The same for a queue.
 */
hr_code hr_stream_close_submit(struct hr_stream stream,
                               struct hr_queue queue,
                               uint64_t tag,
                               struct hr_operation *operation,
                               struct hr_error **error);

/**
 * Ends both directions at once: the peer sees an error, whoever waits on the stream gets one, and what was not sent is lost.
 */
hr_code hr_stream_abort(struct hr_stream stream,
                        struct hr_error **error);

/**
 * Releases a stream. One whose writing direction was not closed is aborted. Whoever waits in a call for it gets HR_CLOSED.
 */
hr_code hr_stream_release(struct hr_stream stream,
                          struct hr_error **error);

#if defined(HR_TEST_HOOKS)
/**
 * Panics.
 */
hr_code hr_test_panic(struct hr_error **error);
#endif

#if defined(HR_TEST_HOOKS)
/**
 * Fails with a code and everything that an error may tell.
 */
hr_code hr_test_fail(hr_code code, struct hr_error **error);
#endif

#if defined(HR_TEST_HOOKS)
/**
 * An operation that panics, or one that never ends.
 */
hr_code hr_test_submit(bool panics,
                       struct hr_queue queue,
                       uint64_t tag,
                       struct hr_operation *operation,
                       struct hr_error **error);
#endif

#if defined(HR_TEST_HOOKS)
/**
 * A blocking call that never ends. That it waits is told by a completion of operation 0 in the queue.
 */
hr_code hr_test_wait(struct hr_queue queue,
                     uint64_t tag,
                     uint32_t timeout_ms,
                     struct hr_error **error);
#endif

/**
 * Makes a shared access signature for an audience, such as "http://relay.example.net/hyco", that is valid for so many seconds from
 * now. It is copied in the manner of hr_incoming_get. A secret: whoever has it may do what the key's rule allows.
 */
hr_code hr_token_create(const char *audience,
                        size_t audience_len,
                        const char *key_name,
                        size_t key_name_len,
                        const char *key,
                        size_t key_len,
                        uint32_t valid_seconds,
                        char *buffer,
                        size_t capacity,
                        size_t *len,
                        struct hr_error **error);

/**
 * The version of the interface that the loaded library has: compare it with HR_ABI_VERSION.
 */
uint32_t hr_abi_version(void);

/**
 * The version of the loaded library, such as "0.1.0". Valid for ever.
 */
const char *hr_version(void);

/**
 * How many objects of all kinds are alive: 0 when everything was released.
 */
size_t hr_live_handles(void);

/**
 * Ends the library's threads: for programs that unload it, and before a leak checker looks, to which what is in the middle of something
 * may seem to be a leak. Connections that are open are cut, whoever waits in a call of an object gets HR_CLOSED, and operations under way
 * end with that or with what their object came to. What was connected is of no more use and can be released. Waits timeout_ms at most.
 * The next object starts threads anew.
 */
void hr_shutdown(uint32_t timeout_ms);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HYBRIDRELAY_H */
