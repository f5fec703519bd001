/* Ready-made tokens, and others in their place. */
#include "check.h"

enum { NEXT = 1 };

/* Copies what stands between a name and the next semicolon of a connection string. */
static void part(const char *cs, const char *name, char *value, size_t capacity) {
  const char *at = strstr(cs, name);
  CHECK(at != NULL);
  at += strlen(name);
  CHECK(strcspn(at, ";") < capacity);
  snprintf(value, capacity, "%.*s", (int)strcspn(at, ";"), at);
}

/* A token for the relay of the connection string. */
static void sign(const char *cs, const char *key, uint32_t seconds, char *token, size_t capacity) {
  char host[128], name[64], audience[256];
  part(cs, "Endpoint=sb://", host, sizeof host);
  part(cs, "SharedAccessKeyName=", name, sizeof name);
  host[strcspn(host, ":/")] = '\0';
  snprintf(audience, sizeof audience, "http://%s/hyco", host);
  OK(hr_token_create(audience, HR_NTS, name, HR_NTS, key, HR_NTS, seconds, token, capacity, NULL, &error));
}

static void renewed(hr_relay_events events) {
  char operation[64] = "";
  while (strcmp(operation, "TokenRenewed") != 0) {
    hr_relay_event event;
    OK(hr_relay_events_next(events, LONG, &event, &error));
    OK(hr_relay_event_get(event, HR_RELAY_EVENT_OPERATION, operation, sizeof operation, NULL, &error));
    OK(hr_relay_event_release(event, &error));
  }
}

int main(void) {
  char cs[512], host[128], key[128], keyless[512], good[1024], expired[1024], forged[1024];
  hr_local_relay relay = start(cs, sizeof cs);
  hr_relay_events events;
  hr_options options;
  hr_listener listener, with_key;
  hr_sender sender, other;
  hr_queue queue;
  hr_connection connection, accepted;
  hr_incoming incoming;
  hr_completion end;
  hr_outgoing outgoing;
  uint64_t listeners;

  part(cs, "SharedAccessKey=", key, sizeof key);
  part(cs, "Endpoint=", host, sizeof host);
  snprintf(keyless, sizeof keyless, "Endpoint=%s;EntityPath=hyco;UseDevelopmentEmulator=true", host);
  sign(cs, key, 3600, good, sizeof good);
  sign(cs, key, 0, expired, sizeof expired);
  sign(cs, "another key", 3600, forged, sizeof forged);
  OK(hr_local_relay_events(relay, &events, &error));
  OK(hr_queue_new(&queue, &error));
  OK(hr_options_new(&options, &error));
  OK(hr_options_set_str(options, HR_OPT_TOKEN, good, HR_NTS, &error));
  OK(hr_listener_open(keyless, HR_NTS, options, LONG, &listener, &error));
  OK(hr_sender_new(keyless, HR_NTS, options, &other, &error));

  /* Of several that were set the last counts, and each listener and sender has its own. */
  OK(hr_options_set_str(options, HR_OPT_TOKEN, expired, HR_NTS, &error));
  OK(hr_sender_new(keyless, HR_NTS, options, &sender, &error));
  WANT(HR_UNAUTHORIZED, hr_sender_connect(sender, NULL, 0, NULL, 0, LONG, &connection, &error));
  OK(hr_outgoing_new("GET", HR_NTS, "/", HR_NTS, &outgoing, &error));
  WANT(HR_UNAUTHORIZED, hr_sender_send_one_way(sender, outgoing, LONG, &listeners, &error));
  OK(hr_sender_set_token(other, forged, HR_NTS, &error));
  {
    hr_error *error = NULL;
    CHECK(hr_sender_connect(other, NULL, 0, NULL, 0, LONG, &connection, &error) == HR_UNAUTHORIZED);
    CHECK(strstr(hr_error_message(error), "sig=") == NULL && hr_error_status(error) == 401);
    hr_error_free(error);
  }

  /* The next ones are good, for connections and for requests. */
  OK(hr_sender_set_token(sender, good, strlen(good), &error));
  OK(hr_sender_connect_submit(sender, NULL, 0, NULL, 0, queue, NEXT, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_accept(incoming, NULL, 0, LONG, &accepted, &error));
  OK(hr_queue_next(queue, LONG, &end, &error));
  CHECK(end.code == HR_OK);
  OK(hr_outgoing_new("GET", HR_NTS, "/", HR_NTS, &outgoing, &error));
  OK(hr_sender_send_one_way_submit(sender, outgoing, queue, NEXT, NULL, &error));
  OK(hr_listener_accept(listener, LONG, &incoming, &error));
  OK(hr_incoming_release(incoming, &error));

  /* A listener shows the next one at once. */
  OK(hr_listener_set_token(listener, good, HR_NTS, &error));
  renewed(events);

  WANT(HR_INVALID_ARGUMENT, hr_listener_set_token(listener, NULL, 0, &error));
  WANT(HR_INVALID_ARGUMENT, hr_listener_set_token(listener, "", HR_NTS, &error));
  WANT(HR_INVALID_ARGUMENT, hr_sender_set_token(sender, "\xff", 1, &error));
  OK(hr_listener_open(cs, HR_NTS, DEFAULTS, LONG, &with_key, &error));
  WANT(HR_INVALID_ARGUMENT, hr_listener_set_token(with_key, good, HR_NTS, &error));
  OK(hr_sender_release(other, &error));
  OK(hr_sender_new(cs, HR_NTS, DEFAULTS, &other, &error));
  WANT(HR_INVALID_ARGUMENT, hr_sender_set_token(other, good, HR_NTS, &error));
  /* One that was closed can be told, and has no use for it. */
  OK(hr_listener_close(with_key, LONG, &error));
  OK(hr_listener_close(listener, LONG, &error));
  OK(hr_listener_set_token(listener, good, HR_NTS, &error));

  OK(hr_connection_release(end.connection, &error));
  OK(hr_connection_release(accepted, &error));
  OK(hr_queue_release(queue, &error));
  OK(hr_sender_release(sender, &error));
  OK(hr_sender_release(other, &error));
  OK(hr_listener_release(listener, &error));
  OK(hr_listener_release(with_key, &error));
  WANT(HR_INVALID_HANDLE, hr_listener_set_token(listener, good, HR_NTS, &error));
  WANT(HR_INVALID_HANDLE, hr_sender_set_token(sender, good, HR_NTS, &error));
  OK(hr_options_release(options, &error));
  OK(hr_relay_events_release(events, &error));
  OK(hr_local_relay_stop(relay, 0, &error));
  CHECK(hr_live_handles() == 0);
  hr_shutdown(1000);
  return 0;
}
