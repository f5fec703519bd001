/* HTTP requests that are sent and answered. */
#include "testee.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG ((uint64_t)(uintptr_t)command)
#define MOST_HEADERS 16

/* The end of an operation that was submitted, or why it was not. */
#define AWAITED(code, operation, error) \
  ((code) == HR_OK ? awaited(command, operation) : (hr_completion){.code = (code), .error = (error)})

/* The texts stay the command's. */
static size_t headers_of(const cJSON *json, struct hr_header headers[MOST_HEADERS]) {
  const cJSON *given = cJSON_GetObjectItemCaseSensitive(json, "headers"), *header;
  size_t count = 0;
  cJSON_ArrayForEach(header, given) {
    if (count < MOST_HEADERS) {
      headers[count++] = (struct hr_header){header->string, HR_NTS, cJSON_GetStringValue(header), HR_NTS};
    }
  }
  return count;
}

static void add_header(cJSON *told, const char *name, const char *value) {
  cJSON_DeleteItemFromObjectCaseSensitive(told, name);
  cJSON_AddStringToObject(told, name, value);
}

/* The next piece of a body or a stream. */
static hr_completion piece_of(struct command *command, const struct object *object, size_t max) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code;
  if (object->kind == REQUEST) {
    code = hr_request_read_submit(object->exchange->request, max, the_queue(), TAG, &operation, &error);
  } else if (object->kind == RESPONSE) {
    code = hr_response_read_submit(object->response, max, the_queue(), TAG, &operation, &error);
  } else {
    code = hr_stream_read_submit(object->stream, max, the_queue(), TAG, &operation, &error);
  }
  return AWAITED(code, operation, error);
}

/* Reads so much of a body, and adds what it was; how it failed, otherwise. */
static hr_completion read_into(struct command *command, const struct object *object, size_t wanted, cJSON *told) {
  EVP_MD_CTX *context = must(EVP_MD_CTX_new());
  hr_completion end = {0};
  size_t size = 0;
  bool is_end = false;
  EVP_DigestInit_ex(context, EVP_sha256(), NULL);
  while (size < wanted && end.code == HR_OK && !is_end) {
    end = piece_of(command, object, wanted - size);
    if (end.code == HR_OK) {
      size += end.message.len;
      EVP_DigestUpdate(context, end.message.data, end.message.len);
      hr_message_free(&end.message);
    } else if (end.code == HR_END) {
      hr_error_free(end.error);
      end = (hr_completion){0};
      is_end = true;
    }
  }
  if (end.code == HR_OK) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    EVP_DigestFinal_ex(context, digest, &len);
    add_digest(told, HR_MESSAGE_BINARY, digest, len, size);
    cJSON_AddBoolToObject(told, "end", is_end);
  }
  EVP_MD_CTX_free(context);
  return end;
}

static void tell_read(struct command *command, const struct object *object, size_t wanted, cJSON *told) {
  hr_completion end = read_into(command, object, wanted, told);
  if (end.code == HR_OK) {
    tell_ok(command, told);
  } else {
    cJSON_Delete(told);
    tell_error(command, end.code, end.error);
  }
}

void receive_body(struct command *command, const struct object *object) {
  size_t wanted = flag_of(command->json, "whole") ? SIZE_MAX : (size_t)number_of(command->json, "size", (double)(1u << 31));
  tell_read(command, object, wanted, cJSON_CreateObject());
}

/* A request has come. */
void take_request(struct command *command, hr_incoming incoming) {
  static const struct {
    const char *name;
    hr_incoming_field field;
  } FIELDS[] = {{"method", HR_INCOMING_METHOD}, {"path", HR_INCOMING_PATH}, {"query", HR_INCOMING_QUERY}};
  struct exchange *exchange = must(calloc(1, sizeof *exchange));
  char name[256], value[4096];
  bool is_one_way = false;
  hr_error *error = NULL;
  hr_code code = hr_incoming_into_request(incoming, &exchange->request, &exchange->responder, &error);
  if (code != HR_OK) {
    hr_incoming_release(incoming, NULL);
    free(exchange);
    tell_error(command, code, error);
    return;
  }
  cJSON *told = cJSON_CreateObject(), *headers = cJSON_CreateObject();
  cJSON_AddStringToObject(told, "kind", "request");
  for (size_t at = 0; at < 3; at++) {
    if (hr_request_get(exchange->request, FIELDS[at].field, value, sizeof value, NULL, NULL) == HR_OK) {
      cJSON_AddStringToObject(told, FIELDS[at].name, value);
    }
  }
  for (size_t at = 0;
       hr_request_header_at(exchange->request, at, name, sizeof name, NULL, value, sizeof value, NULL, NULL) == HR_OK; at++) {
    add_header(headers, name, value);
  }
  cJSON_AddItemToObject(told, "headers", headers);
  hr_request_is_one_way(exchange->request, &is_one_way, NULL);
  cJSON_AddBoolToObject(told, "oneWay", is_one_way);
  put_object(text_of(command->json, "as"), (struct object){.kind = REQUEST, .exchange = exchange});
  tell_ok(command, told);
}

/* Writes a piece of an answer that was begun. */
static hr_completion written(struct command *command, hr_body_writer body, const uint8_t *data, size_t len) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_body_write_submit(body, data, len, the_queue(), TAG, &operation, &error);
  return AWAITED(code, operation, error);
}

static hr_completion flushed(struct command *command, hr_body_writer body) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_body_flush_submit(body, the_queue(), TAG, &operation, &error);
  return AWAITED(code, operation, error);
}

static hr_completion finished(struct command *command, hr_body_writer body) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_body_finish_submit(body, the_queue(), TAG, &operation, &error);
  return AWAITED(code, operation, error);
}

static void tell_completion(struct command *command, hr_completion end) {
  if (end.code == HR_OK) {
    tell_ok(command, NULL);
  } else {
    tell_error(command, end.code, end.error);
  }
}

/* Sends the body of the request back as it comes. */
static hr_completion echoed(struct command *command, const struct object *object) {
  hr_completion end = piece_of(command, object, SIZE_MAX);
  while (end.code == HR_OK) {
    hr_message message = end.message;
    end = written(command, object->exchange->body, message.data, message.len);
    hr_message_free(&message);
    if (end.code == HR_OK) {
      end = piece_of(command, object, SIZE_MAX);
    }
  }
  if (end.code == HR_END) {
    hr_error_free(end.error);
    end = finished(command, object->exchange->body);
  }
  return end;
}

void do_respond(struct command *command) {
  struct hr_header headers[MOST_HEADERS];
  size_t count = headers_of(command->json, headers);
  uint16_t status = (uint16_t)number_of(command->json, "status", 200);
  const char *reason = text_of(command->json, "reason");
  bool is_echo = flag_of(command->json, "echo");
  hr_completion end;
  hr_operation operation;
  hr_error *error = NULL;
  struct object object;
  if (!get_object(text_of(command->json, "on"), REQUEST, &object)) {
    tell_fault(command, "there is no such request");
    return;
  }
  struct exchange *exchange = object.exchange;
  if (is_echo || flag_of(command->json, "stream")) {
    hr_code code = hr_responder_start(exchange->responder, status, reason, HR_NTS, headers, count, &exchange->body, &error);
    end = (hr_completion){.code = code, .error = error};
    if (code == HR_OK) {
      end = is_echo ? echoed(command, &object) : flushed(command, exchange->body);
    }
  } else {
    struct payload payload = payload_of(command->json);
    hr_code code = hr_responder_send_submit(exchange->responder, status, reason, HR_NTS, headers, count, payload.data,
                                            payload.len, the_queue(), TAG, &operation, &error);
    free(payload.data);
    end = AWAITED(code, operation, error);
  }
  tell_completion(command, end);
}

void send_piece(struct command *command, const struct object *object) {
  struct payload payload = payload_of(command->json);
  hr_completion end = written(command, object->exchange->body, payload.data, payload.len);
  free(payload.data);
  if (end.code == HR_OK) {
    end = flushed(command, object->exchange->body);
  }
  tell_completion(command, end);
}

void finish_answer(struct command *command, const struct object *object) {
  tell_completion(command, finished(command, object->exchange->body));
}

/* Breaks an answer off, or a response that is being read. */
void break_off(struct command *command, const struct object *object) {
  hr_error *error = NULL;
  hr_code code = HR_OK;
  if (object->kind == RESPONSE) {
    code = hr_response_release(object->response, &error);
  } else if (object->exchange->body.id) {
    code = hr_body_release(object->exchange->body, &error);
  } else {
    code = hr_responder_release(object->exchange->responder, &error);
  }
  tell_completion(command, (hr_completion){.code = code, .error = error});
}

/* Waits until the sender of a request has gone. */
void wait_gone(struct command *command, const struct object *object) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_request_wait_gone_submit(object->exchange->request, the_queue(), TAG, &operation, &error);
  hr_completion end = AWAITED(code, operation, error);
  if (end.code == HR_OK) {
    cJSON *told = cJSON_CreateObject();
    cJSON_AddStringToObject(told, "status", "gone");
    tell_ok(command, told);
  } else {
    tell_error(command, end.code, end.error);
  }
}

static hr_code prepared(struct command *command, hr_outgoing *outgoing, hr_error **error) {
  const char *method = text_of(command->json, "method"), *path = text_of(command->json, "path");
  const char *query = text_of(command->json, "query");
  struct hr_header headers[MOST_HEADERS];
  size_t count = headers_of(command->json, headers);
  char target[1024];
  snprintf(target, sizeof target, "%s%s%s", path ? path : "", query && *query ? "?" : "", query ? query : "");
  hr_code code = hr_outgoing_new(method, HR_NTS, target, HR_NTS, outgoing, error);
  if (code != HR_OK) {
    return code;
  }
  code = hr_outgoing_headers(*outgoing, headers, count, error);
  if (code == HR_OK && (cJSON_HasObjectItem(command->json, "size") || cJSON_HasObjectItem(command->json, "base64"))) {
    struct payload payload = payload_of(command->json);
    code = hr_outgoing_body(*outgoing, payload.data, payload.len, error);
    free(payload.data);
  }
  if (code != HR_OK) {
    hr_outgoing_release(*outgoing, NULL);
  }
  return code;
}

static void send_one_way(struct command *command, hr_sender sender, hr_outgoing outgoing) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_sender_send_one_way_submit(sender, outgoing, the_queue(), TAG, &operation, &error);
  hr_completion end = AWAITED(code, operation, error);
  if (end.code == HR_OK) {
    cJSON *told = cJSON_CreateObject();
    cJSON_AddNumberToObject(told, "listeners", (double)end.number);
    tell_ok(command, told);
  } else {
    tell_error(command, end.code, end.error);
  }
}

static void ask(struct command *command, hr_sender sender, hr_outgoing outgoing) {
  const char *as = text_of(command->json, "as");
  struct object object = {.kind = RESPONSE};
  char name[256], value[4096];
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_sender_request(sender, outgoing, &object.response, &error);
  if (code != HR_OK) {
    tell_error(command, code, error);
    return;
  }
  code = hr_response_wait_submit(object.response, the_queue(), TAG, &operation, &error);
  hr_completion end = AWAITED(code, operation, error);
  if (end.code != HR_OK) {
    hr_response_release(object.response, NULL);
    tell_error(command, end.code, end.error);
    return;
  }
  cJSON *told = cJSON_CreateObject(), *headers = cJSON_CreateObject();
  cJSON_AddNumberToObject(told, "status", (double)end.number);
  if (hr_response_reason(object.response, value, sizeof value, NULL, NULL) == HR_OK && *value) {
    cJSON_AddStringToObject(told, "reason", value);
  }
  for (size_t at = 0;
       hr_response_header_at(object.response, at, name, sizeof name, NULL, value, sizeof value, NULL, NULL) == HR_OK; at++) {
    add_header(headers, name, value);
  }
  cJSON_AddItemToObject(told, "headers", headers);
  if (as) {
    put_object(as, object);
    tell_ok(command, told);
  } else {
    tell_read(command, &object, SIZE_MAX, told);
    hr_response_release(object.response, NULL);
  }
}

void do_request(struct command *command) {
  hr_sender sender;
  hr_outgoing outgoing;
  hr_error *error = NULL;
  struct way way;
  if (!way_of(command, &way)) {
    return;
  }
  hr_code code = hr_sender_new(way.connection_string, HR_NTS, way.options, &sender, &error);
  hr_options_release(way.options, NULL);
  if (code == HR_OK && (code = prepared(command, &outgoing, &error)) != HR_OK) {
    hr_sender_release(sender, NULL);
  }
  if (code != HR_OK) {
    tell_error(command, code, error);
    return;
  }
  if (flag_of(command->json, "oneWay")) {
    send_one_way(command, sender, outgoing);
  } else {
    ask(command, sender, outgoing);
  }
  hr_sender_release(sender, NULL);
}
