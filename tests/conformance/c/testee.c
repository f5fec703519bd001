/* The C member of the conformance tests: does what lines of JSON say, with libhybridrelay. See ../README.md.
 *
 * Each command has a thread. Operations that the library can cancel end in one queue; a thread hands what ends there to the command
 * that waits for it. */
#include "testee.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What this program does not do. */
static const char *const LACKS[][2] = {
    {"close-code", "the header does not tell with which code the peer has closed"},
    {"fragments", "the library decides where a message is cut"},
};

static const struct {
  const char *name;
  void (*run)(struct command *);
} OPERATIONS[] = {
    {"open", do_open},         {"accept", do_accept}, {"reject", do_reject},     {"connect", do_connect}, {"send", do_send},
    {"receive", do_receive},   {"echo", do_echo},     {"shutdown", do_shutdown}, {"close", do_close},     {"abort", do_abort},
    {"status", do_status},     {"fork", do_fork},     {"release", do_release},   {"vector", do_vector},   {"counters", do_counters},
    {"request", do_request},   {"respond", do_respond}, {"publish", do_publish},   {"events", do_events},   {"presence", do_presence},
    {"bytes", do_bytes},       {"token", do_token},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static struct command *under_way;
static hr_queue queue;

hr_queue the_queue(void) { return queue; }

static void tell(cJSON *line) {
  char *text = must(cJSON_PrintUnformatted(line));
  pthread_mutex_lock(&output);
  puts(text);
  fflush(stdout);
  pthread_mutex_unlock(&output);
  free(text);
  cJSON_Delete(line);
}

static cJSON *answer_to(struct command *command) {
  cJSON *line = must(cJSON_CreateObject());
  cJSON_AddNumberToObject(line, "id", (double)command->id);
  return line;
}

void tell_ok(struct command *command, cJSON *told) {
  cJSON *line = answer_to(command);
  cJSON_AddItemToObject(line, "ok", told ? told : cJSON_CreateObject());
  tell(line);
}

void tell_fault(struct command *command, const char *fault) {
  cJSON *line = answer_to(command);
  cJSON_AddStringToObject(line, "fault", fault);
  tell(line);
}

/* HR_NO_LISTENERS is NoListeners. */
static void pascal(hr_code code, char *kind) {
  bool begins = true;
  for (const char *at = hr_code_name(code) + strlen("HR_"); *at; at++) {
    if (*at == '_') {
      begins = true;
    } else {
      *kind++ = begins ? *at : (char)tolower((unsigned char)*at);
      begins = false;
    }
  }
  *kind = '\0';
}

static void add_text(cJSON *object, const char *field, const char *text) {
  if (text) {
    cJSON_AddStringToObject(object, field, text);
  }
}

/* Tells an error and frees it. */
void tell_error(struct command *command, hr_code code, hr_error *error) {
  char kind[64];
  cJSON *line = answer_to(command), *told = cJSON_AddObjectToObject(line, "error");
  pascal(code, kind);
  cJSON_AddStringToObject(told, "kind", kind);
  cJSON_AddNumberToObject(told, "code", code);
  if (error) {
    if (hr_error_status(error)) {
      cJSON_AddNumberToObject(told, "status", hr_error_status(error));
    }
    if (hr_error_close_code(error)) {
      cJSON_AddNumberToObject(told, "closeCode", hr_error_close_code(error));
    }
    cJSON_AddBoolToObject(told, "retryable", hr_error_is_retryable(error));
    add_text(told, "reason", hr_error_reason(error));
    add_text(told, "message", hr_error_message(error));
    hr_error_free(error);
  }
  tell(line);
}

/* Waits for an operation that was submitted with the command as its tag. */
hr_completion awaited(struct command *command, hr_operation operation) {
  pthread_mutex_lock(&lock);
  command->operation = operation;
  if (command->cancelled) {
    hr_operation_cancel(operation);
  }
  while (!command->over) {
    pthread_cond_wait(&command->ended, &lock);
  }
  command->over = false;
  command->operation.id = 0;
  hr_completion completion = command->completion;
  pthread_mutex_unlock(&lock);
  return completion;
}

static void *hand_out(void *unused) {
  hr_completion completion;
  (void)unused;
  while (hr_queue_next(queue, HR_FOREVER, &completion, NULL) == HR_OK) {
    struct command *command = (struct command *)(uintptr_t)completion.tag;
    pthread_mutex_lock(&lock);
    command->completion = completion;
    command->over = true;
    pthread_cond_signal(&command->ended);
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

static void *carry_out(void *of) {
  struct command *command = of;
  const char *op = text_of(command->json, "op");
  void (*run)(struct command *) = NULL;
  for (size_t at = 0; at < LENGTH(OPERATIONS) && op; at++) {
    if (strcmp(OPERATIONS[at].name, op) == 0) {
      run = OPERATIONS[at].run;
    }
  }
  if (run) {
    run(command);
  } else {
    tell_fault(command, "there is no such operation");
  }
  pthread_mutex_lock(&lock);
  struct command **at = &under_way;
  while (*at != command) {
    at = &(*at)->next;
  }
  *at = command->next;
  pthread_mutex_unlock(&lock);
  pthread_cond_destroy(&command->ended);
  cJSON_Delete((cJSON *)command->json);
  free(command);
  return NULL;
}

static void begin(cJSON *json) {
  struct command *command = must(calloc(1, sizeof *command));
  pthread_attr_t attributes;
  pthread_t thread;
  command->id = (uint64_t)number_of(json, "id", 0);
  command->json = json;
  pthread_cond_init(&command->ended, NULL);
  pthread_mutex_lock(&lock);
  command->next = under_way;
  under_way = command;
  pthread_mutex_unlock(&lock);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  if (pthread_create(&thread, &attributes, carry_out, command) != 0) {
    fputs("no thread\n", stderr);
    abort();
  }
  pthread_attr_destroy(&attributes);
}

/* Ends a command, which answers that it was cancelled. */
static void cancel(const cJSON *json) {
  struct command answered = {.id = (uint64_t)number_of(json, "id", 0)};
  uint64_t id = (uint64_t)number_of(json, "command", 0);
  pthread_mutex_lock(&lock);
  for (struct command *at = under_way; at; at = at->next) {
    if (at->id == id) {
      at->cancelled = true;
      hr_operation_cancel(at->operation);
    }
  }
  pthread_mutex_unlock(&lock);
  tell_ok(&answered, NULL);
}

static void hello(void) {
  cJSON *line = must(cJSON_CreateObject()), *hello = cJSON_AddObjectToObject(line, "hello");
  cJSON_AddNumberToObject(hello, "protocol", 1);
  cJSON_AddStringToObject(hello, "language", "c");
  cJSON *lacks = cJSON_AddObjectToObject(hello, "lacks");
  for (size_t at = 0; at < LENGTH(LACKS); at++) {
    cJSON_AddStringToObject(lacks, LACKS[at][0], LACKS[at][1]);
  }
  tell(line);
}

int main(void) {
  char *line = NULL;
  size_t capacity = 0;
  pthread_t thread;
  if (hr_abi_version() != HR_ABI_VERSION || hr_queue_new(&queue, NULL) != HR_OK ||
      pthread_create(&thread, NULL, hand_out, NULL) != 0) {
    fputs("the library is another one, or cannot begin\n", stderr);
    return 1;
  }
  hello();
  while (getline(&line, &capacity, stdin) > 0) {
    cJSON *json = cJSON_Parse(line);
    const char *op = text_of(json, "op");
    if (!op) {
      fprintf(stderr, "not a command: %s\n", line);
      return 1;
    } else if (strcmp(op, "exit") == 0) {
      /* Nothing is released, and what others wait for is not awaited. */
      exit((int)number_of(json, "code", 0));
    } else if (strcmp(op, "cancel") == 0) {
      cancel(json);
      cJSON_Delete(json);
    } else {
      begin(json);
    }
  }
  return 0;
}
