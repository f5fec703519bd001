/* Lets somebody send for an hour who has no key: `token create` where the key is, `token send TOKEN TEXT` where it is not.
 * A listener of the example `echo` answers.
 *
 * cc -std=c99 token.c -lhybridrelay -o token
 */
#include <hybridrelay.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_error(const char *what, hr_error *error) {
  fprintf(stderr, "%s: %s\n", what, hr_error_message(error));
  hr_error_free(error);
}

/* A part of a connection string, which is `Name=value;Name=value;…`: where the value begins, and its length. NULL if it is not there. */
static const char *part(const char *connection_string, const char *name, size_t *len) {
  const char *at = connection_string;
  while (at != NULL && *at != '\0') {
    if (strncmp(at, name, strlen(name)) == 0 && at[strlen(name)] == '=') {
      const char *value = at + strlen(name) + 1;
      *len = strcspn(value, ";");
      return value;
    }
    at = strchr(at, ';');
    if (at != NULL) at++;
  }
  return NULL;
}

static int create(void) {
  const char *connection_string = getenv("HYBRIDRELAY_CONNECTION_STRING");
  size_t host_len, entity_len, name_len, key_len, len;
  const char *host = part(connection_string, "Endpoint", &host_len);
  const char *entity = part(connection_string, "EntityPath", &entity_len);
  const char *name = part(connection_string, "SharedAccessKeyName", &name_len);
  const char *key = part(connection_string, "SharedAccessKey", &key_len);
  char audience[1024], token[2048];
  hr_error *error = NULL;

  if (host == NULL || strncmp(host, "sb://", 5) != 0 || entity == NULL || name == NULL || key == NULL) {
    fputs("HYBRIDRELAY_CONNECTION_STRING must hold Endpoint, EntityPath, SharedAccessKeyName and SharedAccessKey\n", stderr);
    return 1;
  }
  /* What the token is good for: this hybrid connection and nothing else of the namespace. It is written http://, whatever is dialled,
   * and without the port. */
  host += 5;
  len = (size_t)snprintf(audience, sizeof audience, "http://%.*s/%.*s/", (int)strcspn(host, ":/;"), host, (int)entity_len, entity);
  if (len >= sizeof audience) {
    fputs("the name of the hybrid connection is too long\n", stderr);
    return 1;
  }
  /* Whoever has the token may do what the key's rule allows. Take a rule that may send and no more. */
  if (hr_token_create(audience, HR_NTS, name, name_len, key, key_len, 60 * 60, token, sizeof token, NULL, &error) != HR_OK) {
    print_error("no token", error);
    return 1;
  }
  puts(token);
  return 0;
}

static int send_text(const char *token, const char *text) {
  hr_options options = {0};
  hr_sender sender;
  hr_connection connection;
  hr_message reply;
  hr_error *error = NULL;
  hr_code code = hr_options_new(&options, &error);

  /* Instead of a key that the connection string may hold. NULL stands for the one in HYBRIDRELAY_CONNECTION_STRING. */
  if (code == HR_OK) code = hr_options_set_str(options, HR_OPT_TOKEN, token, HR_NTS, &error);
  if (code == HR_OK) code = hr_sender_new(NULL, 0, options, &sender, &error);
  hr_options_release(options, NULL);
  if (code == HR_OK) {
    code = hr_sender_connect(sender, NULL, 0, NULL, 0, HR_FOREVER, &connection, &error);
    hr_sender_release(sender, NULL);
  }
  if (code != HR_OK) {
    print_error("cannot connect", error);
    return 1;
  }
  code = hr_connection_send(connection, HR_MESSAGE_TEXT, (const uint8_t *)text, strlen(text), HR_FOREVER, &error);
  if (code == HR_OK) code = hr_connection_receive(connection, HR_FOREVER, &reply, &error);
  if (code == HR_OK) {
    printf("%.*s\n", (int)reply.len, (const char *)reply.data);
    hr_message_free(&reply);
    code = hr_connection_close(connection, HR_FOREVER, &error);
  }
  if (code != HR_OK) print_error("no answer", error);
  hr_connection_release(connection, NULL);
  return code == HR_OK ? 0 : 1;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "create") == 0) return create();
  if (argc == 4 && strcmp(argv[1], "send") == 0) return send_text(argv[2], argv[3]);
  fputs("usage: token create | token send TOKEN TEXT\n", stderr);
  return 2;
}
