/* The C member of the conformance tests: what its files have in common. See ../README.md. */
#ifndef TESTEE_H
#define TESTEE_H

#include <cjson/cJSON.h>
#include <hybridrelay.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A command that is under way, in a thread of its own. */
struct command {
  uint64_t id;
  const cJSON *json;
  struct command *next;
  /* Guarded by the lock of all commands. */
  bool cancelled;
  bool over;
  hr_operation operation;
  hr_completion completion;
  pthread_cond_t ended;
};

enum kind { LISTENER = 1, CONNECTION, REQUEST, RESPONSE, PUBLISHER, EVENTS, STREAM };

/* A request, and its answer: owed, or begun. */
struct exchange {
  hr_request request;
  hr_responder responder;
  hr_body_writer body;
};

/* An object under the name that a command gave it. */
struct object {
  char *name;
  enum kind kind;
  hr_listener listener;
  hr_connection connection;
  struct exchange *exchange;
  hr_response response;
  hr_publisher publisher;
  hr_events events;
  hr_stream stream;
  struct object *next;
};

/* A payload; free its data. */
struct payload {
  hr_message_kind kind;
  uint8_t *data;
  size_t len;
};

/* support.c */
const char *text_of(const cJSON *json, const char *field);
double number_of(const cJSON *json, const char *field, double otherwise);
bool flag_of(const cJSON *json, const char *field);
struct payload payload_of(const cJSON *json);
void digest_into(cJSON *told, hr_message_kind kind, const uint8_t *data, size_t len);
void add_digest(cJSON *told, hr_message_kind kind, const unsigned char *digest, unsigned int digest_len, size_t len);
void put_object(const char *name, struct object object);
bool get_object(const char *name, enum kind kind, struct object *object);
void release_objects(const char *name, const char *prefix);
size_t count_objects(void);
void *must(void *allocated);

/* testee.c: what a command comes to. Each is told once. */
void tell_ok(struct command *command, cJSON *told);
void tell_error(struct command *command, hr_code code, hr_error *error);
void tell_fault(struct command *command, const char *fault);

/* An operation that ends in the queue. `submit` is called with the queue, the tag and where to store the operation. */
hr_queue the_queue(void);
hr_completion awaited(struct command *command, hr_operation operation);

/* streams.c and process.c */
void do_open(struct command *command);
void do_accept(struct command *command);
void do_reject(struct command *command);
void do_connect(struct command *command);
void do_send(struct command *command);
void do_receive(struct command *command);
void do_echo(struct command *command);
void do_shutdown(struct command *command);
void do_close(struct command *command);
void do_abort(struct command *command);
void do_status(struct command *command);
void do_release(struct command *command);
void do_counters(struct command *command);
void do_vector(struct command *command);
void do_fork(struct command *command);
void do_token(struct command *command);

/* bytes.c */
void do_bytes(struct command *command);
void write_stream(struct command *command, const struct object *object);
void shut_stream(struct command *command, const struct object *object);
void close_stream(struct command *command, const struct object *object);

/* http.c */
void do_request(struct command *command);
void do_respond(struct command *command);
void take_request(struct command *command, hr_incoming incoming);
void receive_body(struct command *command, const struct object *object);
void send_piece(struct command *command, const struct object *object);
void finish_answer(struct command *command, const struct object *object);
void break_off(struct command *command, const struct object *object);
void wait_gone(struct command *command, const struct object *object);

/* events.c */
void do_publish(struct command *command);
void do_events(struct command *command);
void do_presence(struct command *command);
void send_event(struct command *command, const struct object *object);
void close_publisher(struct command *command, const struct object *object);
void next_event(struct command *command, const struct object *object);

/* Where a command goes, as the library wants it. */
struct way {
  const char *connection_string;
  hr_options options;
};
bool way_of(struct command *command, struct way *way);

#endif
