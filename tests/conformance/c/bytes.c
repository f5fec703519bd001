/* Streams of bytes. They are read as the bodies of HTTP are: see http.c. */
#include "testee.h"
#include <stdlib.h>

#define TAG ((uint64_t)(uintptr_t)command)

/* Tells the end of an operation that was submitted, or why it was not. */
static void tell(struct command *command, hr_code code, hr_operation operation, hr_error *error) {
  hr_completion end = code == HR_OK ? awaited(command, operation) : (hr_completion){.code = code, .error = error};
  if (end.code == HR_OK) {
    tell_ok(command, NULL);
  } else {
    tell_error(command, end.code, end.error);
  }
}

void do_bytes(struct command *command) {
  struct object connection, made = {.kind = STREAM};
  hr_error *error = NULL;
  if (!get_object(text_of(command->json, "on"), CONNECTION, &connection)) {
    tell_fault(command, "there is no such connection");
    return;
  }
  hr_code code = hr_connection_into_stream(connection.connection, &made.stream, &error);
  if (code == HR_OK) {
    put_object(text_of(command->json, "as"), made);
    tell_ok(command, NULL);
  } else {
    tell_error(command, code, error);
  }
}

void write_stream(struct command *command, const struct object *object) {
  struct payload payload = payload_of(command->json);
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_stream_write_submit(object->stream, payload.data, payload.len, the_queue(), TAG, &operation, &error);
  free(payload.data);
  hr_completion end = code == HR_OK ? awaited(command, operation) : (hr_completion){.code = code, .error = error};
  if (end.code != HR_OK) {
    tell_error(command, end.code, end.error);
    return;
  }
  code = hr_stream_flush_submit(object->stream, the_queue(), TAG, &operation, &error);
  tell(command, code, operation, error);
}

void shut_stream(struct command *command, const struct object *object) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_stream_shutdown_submit(object->stream, the_queue(), TAG, &operation, &error);
  tell(command, code, operation, error);
}

void close_stream(struct command *command, const struct object *object) {
  hr_operation operation;
  hr_error *error = NULL;
  hr_code code = hr_stream_close_submit(object->stream, the_queue(), TAG, &operation, &error);
  tell(command, code, operation, error);
}
