/* Listeners, senders, connections. */
#include "testee.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG ((uint64_t)(uintptr_t)command)

static void add_each(hr_options options, hr_option option, const cJSON *texts) {
  const cJSON *text;
  cJSON_ArrayForEach(text, texts) { hr_options_set_str(options, option, cJSON_GetStringValue(text), HR_NTS, NULL); }
}

static void add_number(hr_options options, hr_option option, const cJSON *given, const char *field) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(given, field);
  if (item) {
    hr_options_set_int(options, option, cJSON_IsBool(item) ? (cJSON_IsTrue(item) ? 1u : 0u) : (uint64_t)item->valuedouble, NULL);
  }
}

/* Release the options of the way. */
bool way_of(struct command *command, struct way *way) {
  static const struct {
    const char *field;
    hr_option option;
  } TEXTS[] = {{"token", HR_OPT_TOKEN}, {"caPem", HR_OPT_EXTRA_CA_PEM}, {"proxy", HR_OPT_PROXY}};
  const cJSON *target = cJSON_GetObjectItemCaseSensitive(command->json, "target");
  const cJSON *given = cJSON_GetObjectItemCaseSensitive(command->json, "options");
  const cJSON *headers = cJSON_GetObjectItemCaseSensitive(command->json, "headers"), *header;
  hr_error *error = NULL;
  hr_code code = hr_options_new(&way->options, &error);
  way->connection_string = text_of(target, "connectionString");
  for (size_t at = 0; at < 3 && code == HR_OK; at++) {
    const char *text = text_of(target, TEXTS[at].field);
    code = text ? hr_options_set_str(way->options, TEXTS[at].option, text, HR_NTS, &error) : HR_OK;
  }
  cJSON_ArrayForEach(header, headers) {
    char line[512];
    snprintf(line, sizeof line, "%s: %s", header->string, cJSON_GetStringValue(header));
    hr_options_set_str(way->options, HR_OPT_HEADER, line, HR_NTS, NULL);
  }
  add_each(way->options, HR_OPT_SUBPROTOCOL, cJSON_GetObjectItemCaseSensitive(given, "subprotocols"));
  add_number(way->options, HR_OPT_RECONNECT, given, "reconnect");
  add_number(way->options, HR_OPT_WAIT, given, "wait");
  add_number(way->options, HR_OPT_MAX_CONCURRENT, given, "maxConcurrent");
  add_number(way->options, HR_OPT_CONNECT_TIMEOUT_MS, given, "connectTimeout");
  add_number(way->options, HR_OPT_CLOSE_TIMEOUT_MS, given, "closeTimeout");
  add_number(way->options, HR_OPT_MAX_MESSAGE_SIZE, given, "maxMessageSize");
  if (code != HR_OK) {
    hr_options_release(way->options, NULL);
    tell_error(command, code, error);
  }
  return code == HR_OK;
}

/* Tells that there is no such object. */
static bool finds(struct command *command, enum kind kind, struct object *object) {
  bool found = get_object(text_of(command->json, "on"), kind, object);
  if (!found) {
    tell_fault(command, "there is no such object");
  }
  return found;
}

static void tell(struct command *command, hr_code code, hr_error *error) {
  if (code == HR_OK) {
    tell_ok(command, NULL);
  } else {
    tell_error(command, code, error);
  }
}

/* The end of an operation that was submitted, or why it was not. */
static hr_completion ended(struct command *command, hr_code code, hr_operation operation, hr_error *error) {
  return code == HR_OK ? awaited(command, operation) : (hr_completion){.code = code, .error = error};
}

static void tell_end(struct command *command, hr_error *error) {
  cJSON *told = cJSON_CreateObject();
  cJSON_AddTrueToObject(told, "end");
  hr_error_free(error);
  tell_ok(command, told);
}

void do_open(struct command *command) {
  struct object made = {.kind = LISTENER};
  struct way way;
  hr_operation operation;
  hr_error *error = NULL;
  if (!way_of(command, &way)) {
    return;
  }
  hr_code code = hr_listener_open_submit(way.connection_string, HR_NTS, way.options, the_queue(), TAG, &operation, &error);
  hr_options_release(way.options, NULL);
  hr_completion end = ended(command, code, operation, error);
  if (end.code == HR_OK) {
    made.listener = end.listener;
    put_object(text_of(command->json, "as"), made);
  }
  tell(command, end.code, end.error);
}

/* The next sender that wants a connection, and what is told of it. False if there is none, which was told then, or if it was a request, which
 * was taken. */
static bool comes(struct command *command, hr_incoming *incoming, cJSON **told) {
  struct object object;
  hr_operation operation;
  hr_error *error = NULL;
  const char *header = text_of(command->json, "header");
  char text[1024];
  if (!finds(command, LISTENER, &object)) {
    return false;
  }
  hr_code code = hr_listener_accept_submit(object.listener, the_queue(), TAG, &operation, &error);
  if (code == HR_OK) {
    hr_completion end = awaited(command, operation);
    code = end.code;
    error = end.error;
    *incoming = end.incoming;
  }
  if (code == HR_END) {
    tell_end(command, error);
  } else if (code != HR_OK) {
    tell_error(command, code, error);
  }
  if (code != HR_OK) {
    return false;
  }
  hr_kind kind = 0;
  if (hr_incoming_kind(*incoming, &kind, NULL) == HR_OK && kind == HR_INCOMING_REQUEST) {
    take_request(command, *incoming);
    return false;
  }
  *told = cJSON_CreateObject();
  cJSON_AddStringToObject(*told, "kind", "connect");
  if (hr_incoming_get(*incoming, HR_INCOMING_PATH, text, sizeof text, NULL, NULL) == HR_OK) {
    cJSON_AddStringToObject(*told, "path", text);
  }
  if (hr_incoming_get(*incoming, HR_INCOMING_QUERY, text, sizeof text, NULL, NULL) == HR_OK) {
    cJSON_AddStringToObject(*told, "query", text);
  }
  if (header && hr_incoming_header(*incoming, header, HR_NTS, text, sizeof text, NULL, NULL) == HR_OK) {
    cJSON_AddStringToObject(*told, "header", text);
  }
  if (hr_incoming_get(*incoming, HR_INCOMING_SUBPROTOCOLS, text, sizeof text, NULL, NULL) == HR_OK) {
    cJSON *names = cJSON_AddArrayToObject(*told, "subprotocols");
    char *rest = NULL;
    for (char *name = strtok_r(text, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest)) {
      cJSON_AddItemToArray(names, cJSON_CreateString(name));
    }
  }
  return true;
}

static void add_subprotocol(cJSON *told, hr_connection connection) {
  char name[256] = "";
  hr_connection_subprotocol(connection, name, sizeof name, NULL, NULL);
  cJSON_AddItemToObject(told, "subprotocol", *name ? cJSON_CreateString(name) : cJSON_CreateNull());
}

/* A connection that an operation has made, or why it has not. */
static void join(struct command *command, hr_completion end, cJSON *told) {
  if (end.code != HR_OK) {
    cJSON_Delete(told);
    tell_error(command, end.code, end.error);
    return;
  }
  put_object(text_of(command->json, "as"), (struct object){.kind = CONNECTION, .connection = end.connection});
  add_subprotocol(told, end.connection);
  tell_ok(command, told);
}

void do_accept(struct command *command) {
  const char *name = text_of(command->json, "subprotocol");
  hr_incoming incoming;
  hr_operation operation;
  hr_error *error = NULL;
  cJSON *told;
  if (!comes(command, &incoming, &told)) {
    return;
  }
  hr_code code = hr_incoming_accept_submit(incoming, name, HR_NTS, the_queue(), TAG, &operation, &error);
  join(command, code == HR_OK ? awaited(command, operation) : (hr_completion){.code = code, .error = error}, told);
}

void do_reject(struct command *command) {
  uint16_t status = (uint16_t)number_of(command->json, "status", 0);
  const char *reason = text_of(command->json, "reason");
  hr_incoming incoming;
  hr_error *error = NULL;
  cJSON *told;
  if (!comes(command, &incoming, &told)) {
    return;
  }
  hr_completion end = {0};
  if (status) {
    hr_operation operation;
    hr_code code = hr_incoming_reject_submit(incoming, status, reason, HR_NTS, the_queue(), TAG, &operation, &error);
    end = ended(command, code, operation, error);
  } else {
    end.code = hr_incoming_release(incoming, &end.error);
  }
  if (end.code == HR_OK) {
    tell_ok(command, told);
  } else {
    cJSON_Delete(told);
    tell_error(command, end.code, end.error);
  }
}

void do_connect(struct command *command) {
  const char *given = text_of(command->json, "path"), *query = text_of(command->json, "query");
  const cJSON *names = cJSON_GetObjectItemCaseSensitive(command->json, "subprotocols"), *name;
  char path[1024], offered[1024] = "";
  hr_operation operation;
  hr_sender sender;
  hr_error *error = NULL;
  struct way way;
  if (!way_of(command, &way)) {
    return;
  }
  snprintf(path, sizeof path, "%s%s%s", given ? given : "", query ? "?" : "", query ? query : "");
  cJSON_ArrayForEach(name, names) {
    size_t len = strlen(offered);
    snprintf(offered + len, sizeof offered - len, "%s%s", len ? "," : "", cJSON_GetStringValue(name));
  }
  hr_code code = hr_sender_new(way.connection_string, HR_NTS, way.options, &sender, &error);
  hr_options_release(way.options, NULL);
  if (code != HR_OK) {
    tell_error(command, code, error);
    return;
  }
  code = hr_sender_connect_submit(sender, path, HR_NTS, *offered ? offered : NULL, *offered ? HR_NTS : 0, the_queue(), TAG,
                                  &operation, &error);
  join(command, code == HR_OK ? awaited(command, operation) : (hr_completion){.code = code, .error = error},
       cJSON_CreateObject());
  hr_sender_release(sender, NULL);
}

static hr_completion sent(struct command *command, hr_connection connection, hr_message_kind kind, const uint8_t *data,
                          size_t len) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_connection_send_submit(connection, kind, data, len, the_queue(), TAG, &operation, &error);
  return code == HR_OK ? awaited(command, operation) : (hr_completion){.code = code, .error = error};
}

static hr_completion received(struct command *command, hr_connection connection) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_connection_receive_submit(connection, the_queue(), TAG, &operation, &error);
  return code == HR_OK ? awaited(command, operation) : (hr_completion){.code = code, .error = error};
}

void do_send(struct command *command) {
  size_t times = (size_t)number_of(command->json, "times", 1);
  hr_completion end = {0};
  struct object object;
  if (!finds(command, 0, &object)) {
    return;
  }
  if (object.kind == REQUEST) {
    send_piece(command, &object);
    return;
  }
  if (object.kind == PUBLISHER) {
    send_event(command, &object);
    return;
  }
  if (object.kind == STREAM) {
    write_stream(command, &object);
    return;
  }
  struct payload payload = payload_of(command->json);
  while (times-- > 0 && end.code == HR_OK) {
    end = sent(command, object.connection, payload.kind, payload.data, payload.len);
  }
  free(payload.data);
  tell(command, end.code, end.error);
}

void do_receive(struct command *command) {
  struct object object;
  if (!finds(command, 0, &object)) {
    return;
  }
  if (object.kind == REQUEST || object.kind == RESPONSE || object.kind == STREAM) {
    receive_body(command, &object);
    return;
  }
  if (object.kind == EVENTS) {
    next_event(command, &object);
    return;
  }
  hr_completion end = received(command, object.connection);
  if (end.code == HR_OK) {
    cJSON *told = cJSON_CreateObject();
    digest_into(told, end.message.kind, end.message.data, end.message.len);
    hr_message_free(&end.message);
    tell_ok(command, told);
  } else if (end.code == HR_END) {
    tell_end(command, end.error);
  } else {
    tell_error(command, end.code, end.error);
  }
}

void do_echo(struct command *command) {
  double messages = 0, bytes = 0;
  hr_operation operation;
  hr_error *error = NULL;
  struct object object;
  if (!finds(command, CONNECTION, &object)) {
    return;
  }
  hr_completion end = received(command, object.connection);
  while (end.code == HR_OK) {
    hr_message message = end.message;
    messages++;
    bytes += (double)message.len;
    end = sent(command, object.connection, message.kind, message.data, message.len);
    hr_message_free(&message);
    if (end.code == HR_OK) {
      end = received(command, object.connection);
    }
  }
  if (end.code == HR_END) {
    hr_error_free(end.error);
    hr_code code = hr_connection_close_submit(object.connection, the_queue(), TAG, &operation, &error);
    end = ended(command, code, operation, error);
  }
  if (end.code != HR_OK) {
    tell_error(command, end.code, end.error);
    return;
  }
  cJSON *told = cJSON_CreateObject();
  cJSON_AddNumberToObject(told, "messages", messages);
  cJSON_AddNumberToObject(told, "bytes", bytes);
  tell_ok(command, told);
}

void do_shutdown(struct command *command) {
  hr_operation operation;
  hr_error *error = NULL;
  struct object object;
  if (!finds(command, 0, &object)) {
    return;
  }
  if (object.kind == STREAM) {
    shut_stream(command, &object);
    return;
  }
  hr_code code = hr_connection_shutdown_submit(object.connection, the_queue(), TAG, &operation, &error);
  hr_completion end = ended(command, code, operation, error);
  tell(command, end.code, end.error);
}

void do_close(struct command *command) {
  uint16_t with = (uint16_t)number_of(command->json, "code", 0);
  const char *reason = text_of(command->json, "reason");
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code;
  struct object object;
  if (!finds(command, 0, &object)) {
    return;
  }
  if (object.kind == REQUEST) {
    finish_answer(command, &object);
    return;
  }
  if (object.kind == PUBLISHER) {
    close_publisher(command, &object);
    return;
  }
  if (object.kind == STREAM) {
    close_stream(command, &object);
    return;
  }
  if (object.kind == LISTENER) {
    code = hr_listener_close_submit(object.listener, the_queue(), TAG, &operation, &error);
  } else if (with) {
    code = hr_connection_close_with_submit(object.connection, with, reason, HR_NTS, the_queue(), TAG, &operation, &error);
  } else {
    code = hr_connection_close_submit(object.connection, the_queue(), TAG, &operation, &error);
  }
  hr_completion end = ended(command, code, operation, error);
  tell(command, end.code, end.error);
}

void do_abort(struct command *command) {
  hr_error *error = NULL;
  struct object object;
  if (!finds(command, 0, &object)) {
    return;
  }
  if (object.kind == REQUEST || object.kind == RESPONSE) {
    break_off(command, &object);
  } else if (object.kind == PUBLISHER) {
    hr_code code = hr_publisher_release(object.publisher, &error);
    tell(command, code, error);
  } else if (object.kind == STREAM) {
    hr_code code = hr_stream_abort(object.stream, &error);
    tell(command, code, error);
  } else {
    hr_code code = hr_connection_abort(object.connection, &error);
    tell(command, code, error);
  }
}

void do_status(struct command *command) {
  static const char *const NAMES[] = {"unknown", "connecting", "online", "offline", "closed"};
  const char *until = text_of(command->json, "until");
  hr_status status = 0;
  hr_code reason = HR_OK, code;
  hr_operation operation;
  hr_error *error = NULL;
  struct object object;
  if (!finds(command, 0, &object)) {
    return;
  }
  if (object.kind == REQUEST) {
    wait_gone(command, &object);
    return;
  }
  code = hr_listener_status(object.listener, &status, &reason, &error);
  while (code == HR_OK && until && strcmp(NAMES[status], until) != 0) {
    code = hr_listener_wait_status_submit(object.listener, the_queue(), TAG, &operation, &error);
    hr_completion end = ended(command, code, operation, error);
    code = end.code;
    error = end.error;
    if (code == HR_OK) {
      status = (hr_status)end.number;
      reason = hr_error_code(error);
      hr_error_free(error);
    }
  }
  if (code == HR_END) {
    tell_end(command, error);
  } else if (code != HR_OK) {
    tell_error(command, code, error);
  } else {
    cJSON *told = cJSON_CreateObject();
    cJSON_AddStringToObject(told, "status", NAMES[status]);
    cJSON_AddItemToObject(told, "code", reason ? cJSON_CreateNumber(reason) : cJSON_CreateNull());
    tell_ok(command, told);
  }
}

/* Gives a listener that was opened with a token another one. */
void do_token(struct command *command) {
  hr_error *error = NULL;
  struct object object;
  if (finds(command, LISTENER, &object)) {
    hr_code code = hr_listener_set_token(object.listener, text_of(command->json, "token"), HR_NTS, &error);
    tell(command, code, error);
  }
}

void do_release(struct command *command) {
  release_objects(text_of(command->json, "on"), text_of(command->json, "prefix"));
  tell_ok(command, NULL);
}
