/* From one to everybody: `publish subscribe` in any number of places, `publish say TEXT` in any other. The relay must be told that the hybrid
 * connection is one for events, as by `hybridrelay serve --dev --events NAME`; elsewhere one listener hears each publisher.
 *
 * cc -std=c99 publish.c -lhybridrelay -lpthread -o publish
 */
#include <hybridrelay.h>
#include <stdio.h>
#include <string.h>

/* Options that are all zero stand for the defaults. */
static const hr_options DEFAULTS = {0};

/* Every call takes the place for an error, which tells more than the code that the call returns. It is ours to free. */
static int failed(const char *what, hr_error *error) {
  fprintf(stderr, "%s: %s\n", what, hr_error_message(error));
  hr_error_free(error);
  return 1;
}

static hr_code tell(hr_event event, hr_error **error) {
  hr_event_kind kind;
  hr_message message;
  uint64_t missed;
  hr_code code = hr_event_kind_of(event, &kind, &missed, error);

  if (code != HR_OK) return code;
  if (kind == HR_EVENT_MISSED) {
    /* A subscriber that does not keep up slows nobody down: it misses the oldest events, and is told. */
    fprintf(stderr, "%lu events were missed\n", (unsigned long)missed);
    return HR_OK;
  }
  code = hr_event_message(event, &message, error);
  if (code != HR_OK) return code;
  printf("%.*s\n", (int)message.len, (const char *)message.data);
  fflush(stdout);
  hr_message_free(&message);
  return HR_OK;
}

static int subscribe(void) {
  hr_listener listener;
  hr_events events;
  hr_event event;
  hr_error *error = NULL;
  hr_code code;

  /* NULL stands for the connection string in HYBRIDRELAY_CONNECTION_STRING. */
  if (hr_listener_open(NULL, 0, DEFAULTS, HR_FOREVER, &listener, &error) != HR_OK) return failed("cannot listen", error);
  /* Everything that any publisher says, as one sequence. */
  if (hr_listener_events(listener, &events, &error) != HR_OK) {
    hr_listener_release(listener, NULL);
    return failed("cannot hear", error);
  }
  puts("online");
  fflush(stdout);
  while ((code = hr_events_next(events, HR_FOREVER, &event, &error)) == HR_OK) {
    code = tell(event, &error);
    hr_event_release(event, NULL);
    if (code != HR_OK) break;
  }
  hr_events_release(events, NULL);
  hr_listener_release(listener, NULL);
  return failed("the listener has ended", error);
}

static int say(const char *text) {
  hr_sender sender;
  hr_publisher publisher;
  hr_error *error = NULL;
  hr_code code;

  if (hr_sender_new(NULL, 0, DEFAULTS, &sender, &error) != HR_OK) return failed("cannot publish", error);
  code = hr_publisher_open(sender, NULL, 0, NULL, 0, HR_FOREVER, &publisher, &error);
  hr_sender_release(sender, NULL); /* A publisher goes on without its sender. */
  if (code != HR_OK) return failed("cannot publish", error);
  code = hr_publisher_publish(publisher, HR_MESSAGE_TEXT, (const uint8_t *)text, strlen(text), HR_FOREVER, &error);
  /* The relay has taken everything when this returns. Nobody needs to be listening. */
  if (code == HR_OK) code = hr_publisher_close(publisher, HR_FOREVER, &error);
  hr_publisher_release(publisher, NULL);
  return code == HR_OK ? 0 : failed("cannot publish", error);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "subscribe") == 0) return subscribe();
  if (argc == 3 && strcmp(argv[1], "say") == 0) return say(argv[2]);
  fputs("usage: publish subscribe | publish say TEXT\n", stderr);
  return 2;
}
