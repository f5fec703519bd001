/* The process itself, and what needs no relay. */
#include "testee.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double resident_kib(void) {
  FILE *status = fopen("/proc/self/status", "r");
  char line[256];
  double kib = 0;
  while (status && fgets(line, sizeof line, status)) {
    if (strncmp(line, "VmRSS:", 6) == 0) {
      kib = strtod(line + 6, NULL);
    }
  }
  if (status) {
    fclose(status);
  }
  return kib;
}

static double descriptors(void) {
  DIR *folder = opendir("/proc/self/fd");
  double count = 0;
  while (folder && readdir(folder)) {
    count++;
  }
  if (folder) {
    closedir(folder);
  }
  return count;
}

void do_counters(struct command *command) {
  cJSON *told = cJSON_CreateObject();
  cJSON_AddNumberToObject(told, "rssKib", resident_kib());
  cJSON_AddNumberToObject(told, "descriptors", descriptors());
  cJSON_AddNumberToObject(told, "objects", (double)count_objects());
  /* The queue is this program's own. */
  cJSON_AddNumberToObject(told, "liveHandles", (double)hr_live_handles() - 1);
  tell_ok(command, told);
}

void do_vector(struct command *command) {
  const cJSON *vector = cJSON_GetObjectItemCaseSensitive(command->json, "vector");
  char token[1024];
  hr_error *error = NULL;
  uint32_t seconds = (uint32_t)(number_of(vector, "expiresAt", 0) - (double)time(NULL));
  hr_code code = hr_token_create(text_of(vector, "audience"), HR_NTS, text_of(vector, "keyName"), HR_NTS,
                                 text_of(vector, "key"), HR_NTS, seconds, token, sizeof token, NULL, &error);
  if (code != HR_OK) {
    tell_error(command, code, error);
    return;
  }
  cJSON *told = cJSON_CreateObject();
  cJSON_AddStringToObject(told, "token", token);
  tell_ok(command, told);
}

/* In the child: the parent's listener is known to be one, and objects of its own work. The number tells what does not. */
static int in_the_child(struct command *command, hr_listener old) {
  enum { LONG = 30000 };
  hr_incoming incoming;
  hr_listener listener;
  hr_sender sender;
  hr_queue queue;
  hr_connection accepted;
  hr_completion end;
  hr_message message;
  struct way way;
  if (hr_listener_accept(old, 0, &incoming, NULL) != HR_FORKED || hr_listener_release(old, NULL) != HR_FORKED) {
    return 1;
  }
  if (!way_of(command, &way) ||
      hr_listener_open(way.connection_string, HR_NTS, way.options, LONG, &listener, NULL) != HR_OK ||
      hr_sender_new(way.connection_string, HR_NTS, way.options, &sender, NULL) != HR_OK) {
    return 2;
  }
  if (hr_queue_new(&queue, NULL) != HR_OK ||
      hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, 1, NULL, NULL) != HR_OK ||
      hr_listener_accept(listener, LONG, &incoming, NULL) != HR_OK ||
      hr_incoming_accept(incoming, NULL, 0, LONG, &accepted, NULL) != HR_OK ||
      hr_queue_next(queue, LONG, &end, NULL) != HR_OK || end.code != HR_OK) {
    return 3;
  }
  if (hr_connection_send(accepted, HR_MESSAGE_TEXT, (const uint8_t *)"hello", 5, LONG, NULL) != HR_OK ||
      hr_connection_receive(end.connection, LONG, &message, NULL) != HR_OK || message.len != 5) {
    return 4;
  }
  return 0;
}

void do_fork(struct command *command) {
  struct object object;
  int status = 0;
  if (!get_object(text_of(command->json, "on"), LISTENER, &object)) {
    tell_fault(command, "there is no such listener");
    return;
  }
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(in_the_child(command, object.listener));
  }
  waitpid(child, &status, 0);
  cJSON *told = cJSON_CreateObject();
  cJSON_AddNumberToObject(told, "code", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  tell_ok(command, told);
}
