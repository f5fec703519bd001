/* Events, and who is there. */
#include "testee.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG ((uint64_t)(uintptr_t)command)

#define AWAITED(code, operation, error) \
  ((code) == HR_OK ? awaited(command, operation) : (hr_completion){.code = (code), .error = (error)})

/* A sender for where the command goes. */
static bool sender_of(struct command *command, hr_sender *sender) {
  hr_error *error = NULL;
  struct way way;
  if (!way_of(command, &way)) {
    return false;
  }
  hr_code code = hr_sender_new(way.connection_string, HR_NTS, way.options, sender, &error);
  hr_options_release(way.options, NULL);
  if (code != HR_OK) {
    tell_error(command, code, error);
  }
  return code == HR_OK;
}

void do_publish(struct command *command) {
  const char *given = text_of(command->json, "path"), *query = text_of(command->json, "query");
  char path[1024];
  hr_sender sender;
  hr_operation operation;
  hr_error *error = NULL;
  if (!sender_of(command, &sender)) {
    return;
  }
  snprintf(path, sizeof path, "%s%s%s", given ? given : "", query && *query ? "?" : "", query ? query : "");
  hr_code code = hr_publisher_open_submit(sender, path, HR_NTS, NULL, 0, the_queue(), TAG, &operation, &error);
  hr_completion end = AWAITED(code, operation, error);
  hr_sender_release(sender, NULL);
  if (end.code == HR_OK) {
    put_object(text_of(command->json, "as"), (struct object){.kind = PUBLISHER, .publisher = end.publisher});
    tell_ok(command, NULL);
  } else {
    tell_error(command, end.code, end.error);
  }
}

void send_event(struct command *command, const struct object *object) {
  size_t times = (size_t)number_of(command->json, "times", 1);
  struct payload payload = payload_of(command->json);
  hr_completion end = {0};
  while (times-- > 0 && end.code == HR_OK) {
    hr_operation operation;
    hr_error *error = NULL;
    hr_code code = hr_publisher_publish_submit(object->publisher, payload.kind, payload.data, payload.len, the_queue(), TAG,
                                               &operation, &error);
    end = AWAITED(code, operation, error);
  }
  free(payload.data);
  if (end.code == HR_OK) {
    tell_ok(command, NULL);
  } else {
    tell_error(command, end.code, end.error);
  }
}

void close_publisher(struct command *command, const struct object *object) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_publisher_close_submit(object->publisher, the_queue(), TAG, &operation, &error);
  hr_completion end = AWAITED(code, operation, error);
  if (end.code == HR_OK) {
    tell_ok(command, NULL);
  } else {
    tell_error(command, end.code, end.error);
  }
}

void do_events(struct command *command) {
  struct object listener, made = {.kind = EVENTS};
  hr_error *error = NULL;
  if (!get_object(text_of(command->json, "on"), LISTENER, &listener)) {
    tell_fault(command, "there is no such listener");
    return;
  }
  hr_code code = hr_listener_events(listener.listener, &made.events, &error);
  if (code == HR_OK) {
    put_object(text_of(command->json, "as"), made);
    tell_ok(command, NULL);
  } else {
    tell_error(command, code, error);
  }
}

void next_event(struct command *command, const struct object *object) {
  hr_event_kind kind = 0;
  uint64_t missed = 0;
  hr_message message;
  char path[1024];
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_events_next_submit(object->events, the_queue(), TAG, &operation, &error);
  hr_completion end = AWAITED(code, operation, error);
  if (end.code == HR_END) {
    cJSON *told = cJSON_CreateObject();
    hr_error_free(end.error);
    cJSON_AddTrueToObject(told, "end");
    tell_ok(command, told);
    return;
  } else if (end.code != HR_OK) {
    tell_error(command, end.code, end.error);
    return;
  }
  cJSON *told = cJSON_CreateObject();
  hr_event_kind_of(end.event, &kind, &missed, NULL);
  if (kind == HR_EVENT_MISSED) {
    cJSON_AddNumberToObject(told, "missed", (double)missed);
  } else if (hr_event_message(end.event, &message, NULL) == HR_OK) {
    digest_into(told, message.kind, message.data, message.len);
    hr_message_free(&message);
  }
  cJSON_AddStringToObject(told, "event", kind == HR_EVENT_MESSAGE ? "message" : kind == HR_EVENT_REQUEST ? "request" : "missed");
  if (hr_event_get(end.event, HR_EVENT_PATH, path, sizeof path, NULL, NULL) == HR_OK) {
    cJSON_AddStringToObject(told, "path", path);
  }
  hr_event_release(end.event, NULL);
  tell_ok(command, told);
}

/* Reads and releases who is there. */
static uint64_t count_of(hr_presence presence) {
  hr_presence_summary summary = {0};
  hr_presence_read(presence, &summary, NULL);
  hr_presence_release(presence, NULL);
  return summary.count;
}

void do_presence(struct command *command) {
  double at_least = number_of(command->json, "atLeast", -1);
  uint64_t count = 0;
  hr_sender sender;
  hr_operation operation;
  hr_presence presence;
  hr_error *error = NULL;
  if (!sender_of(command, &sender)) {
    return;
  }
  if (at_least < 0) {
    hr_code code = hr_sender_presence_submit(sender, the_queue(), TAG, &operation, &error);
    hr_completion end = AWAITED(code, operation, error);
    hr_sender_release(sender, NULL);
    if (end.code != HR_OK) {
      tell_error(command, end.code, end.error);
      return;
    }
    count = count_of(end.presence);
  } else {
    hr_code code = hr_sender_watch_presence_submit(sender, the_queue(), TAG, &operation, &error);
    hr_completion end = AWAITED(code, operation, error);
    hr_presence_watch watch = end.presence_watch;
    hr_sender_release(sender, NULL);
    if (end.code == HR_OK && (end.code = hr_presence_watch_current(watch, &presence, &end.error)) == HR_OK) {
      count = count_of(presence);
    }
    while (end.code == HR_OK && (double)count < at_least) {
      error = NULL;
      code = hr_presence_watch_next_submit(watch, the_queue(), TAG, &operation, &error);
      end = AWAITED(code, operation, error);
      if (end.code == HR_OK) {
        count = count_of(end.presence);
      }
    }
    hr_presence_watch_release(watch, NULL);
    if (end.code != HR_OK) {
      tell_error(command, end.code, end.error);
      return;
    }
  }
  cJSON *told = cJSON_CreateObject();
  cJSON_AddNumberToObject(told, "count", (double)count);
  tell_ok(command, told);
}
