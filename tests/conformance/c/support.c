/* Fields of commands, payloads, objects by name. */
#include "testee.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Characters of one to four bytes, so that fragments end inside of some. */
static const char UNIT[] = "a\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x8c\x8d";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct object *objects;

void *must(void *allocated) {
  if (!allocated) {
    fputs("no memory\n", stderr);
    abort();
  }
  return allocated;
}

/* NULL if it is missing. */
const char *text_of(const cJSON *json, const char *field) {
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, field));
}

double number_of(const cJSON *json, const char *field, double otherwise) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, field);
  return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

bool flag_of(const cJSON *json, const char *field) {
  return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, field));
}

static void decode(struct payload *payload, const char *base64) {
  size_t len = strlen(base64), padding = 0;
  while (padding < 2 && padding < len && base64[len - 1 - padding] == '=') {
    padding++;
  }
  payload->data = must(malloc(len / 4 * 3 + 1));
  int decoded = EVP_DecodeBlock(payload->data, (const unsigned char *)base64, (int)len);
  payload->len = decoded < 0 ? 0 : (size_t)decoded - padding;
}

/* What a command wants sent: the same in every language. */
struct payload payload_of(const cJSON *json) {
  const char *kind = text_of(json, "kind"), *base64 = text_of(json, "base64");
  size_t size = (size_t)number_of(json, "size", 0), seed = (size_t)number_of(json, "seed", 0), unit = sizeof UNIT - 1;
  struct payload payload = {0};
  payload.kind = kind && strcmp(kind, "text") == 0 ? HR_MESSAGE_TEXT : HR_MESSAGE_BINARY;
  if (base64) {
    decode(&payload, base64);
    return payload;
  }
  payload.len = size;
  payload.data = must(malloc(size + 1));
  for (size_t at = 0; at < size; at++) {
    bool is_filled = at >= size / unit * unit;
    uint8_t text = is_filled ? (uint8_t)('a' + (23 + seed) % 26) : (uint8_t)UNIT[at % unit];
    payload.data[at] = payload.kind == HR_MESSAGE_TEXT ? text : (uint8_t)((at + seed) % 251);
  }
  return payload;
}

/* Says what a payload was. */
void digest_into(cJSON *told, hr_message_kind kind, const uint8_t *data, size_t len) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int digest_len = 0;
  EVP_Digest(data, len, digest, &digest_len, EVP_sha256(), NULL);
  add_digest(told, kind, digest, digest_len, len);
}

void add_digest(cJSON *told, hr_message_kind kind, const unsigned char *digest, unsigned int digest_len, size_t len) {
  char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
  for (unsigned int at = 0; at < digest_len; at++) {
    sprintf(hex + 2 * at, "%02x", digest[at]);
  }
  cJSON_AddStringToObject(told, "kind", kind == HR_MESSAGE_TEXT ? "text" : "binary");
  cJSON_AddNumberToObject(told, "size", (double)len);
  cJSON_AddStringToObject(told, "sha256", hex);
}

void put_object(const char *name, struct object object) {
  struct object *made = must(malloc(sizeof *made));
  *made = object;
  made->name = must(strdup(name ? name : ""));
  pthread_mutex_lock(&lock);
  made->next = objects;
  objects = made;
  pthread_mutex_unlock(&lock);
}

/* Whether there is one of that kind; any kind if it is 0. */
bool get_object(const char *name, enum kind kind, struct object *object) {
  bool found = false;
  pthread_mutex_lock(&lock);
  for (struct object *at = objects; at && name && !found; at = at->next) {
    if (strcmp(at->name, name) == 0 && (!kind || at->kind == kind)) {
      *object = *at;
      found = true;
    }
  }
  pthread_mutex_unlock(&lock);
  return found;
}

/* Releases the object of a name, or all whose names begin with a prefix. */
void release_objects(const char *name, const char *prefix) {
  struct object *released = NULL;
  pthread_mutex_lock(&lock);
  for (struct object **at = &objects; *at;) {
    struct object *object = *at;
    bool is_it = prefix ? strncmp(object->name, prefix, strlen(prefix)) == 0 : name && strcmp(object->name, name) == 0;
    if (is_it) {
      *at = object->next;
      object->next = released;
      released = object;
    } else {
      at = &object->next;
    }
  }
  pthread_mutex_unlock(&lock);
  while (released) {
    struct object *next = released->next;
    switch (released->kind) {
    case LISTENER:
      hr_listener_release(released->listener, NULL);
      break;
    case CONNECTION:
      hr_connection_release(released->connection, NULL);
      break;
    case REQUEST:
      /* What was used up or released before gives an error, which is of no interest. */
      hr_body_release(released->exchange->body, NULL);
      hr_responder_release(released->exchange->responder, NULL);
      hr_request_release(released->exchange->request, NULL);
      free(released->exchange);
      break;
    case RESPONSE:
      hr_response_release(released->response, NULL);
      break;
    case PUBLISHER:
      hr_publisher_release(released->publisher, NULL);
      break;
    case EVENTS:
      hr_events_release(released->events, NULL);
      break;
    case STREAM:
      hr_stream_release(released->stream, NULL);
      break;
    }
    free(released->name);
    free(released);
    released = next;
  }
}

size_t count_objects(void) {
  size_t count = 0;
  pthread_mutex_lock(&lock);
  for (struct object *at = objects; at; at = at->next) {
    count++;
  }
  pthread_mutex_unlock(&lock);
  return count;
}
