/* Sends each argument as a message, and prints what comes back.
 *
 *   cc echo_sender.c $(pkg-config --cflags --libs hybridrelay) -o echo_sender
 *   HYBRIDRELAY_CONNECTION_STRING='Endpoint=sb://…;EntityPath=hyco' ./echo_sender hello world
 */
#include <hybridrelay.h>
#include <stdio.h>
#include <string.h>

#define LIMIT 60000 /* milliseconds */

static hr_code talk(hr_connection connection, int count, char **texts, hr_error **error) {
  hr_message message;
  hr_code code;
  int i;
  for (i = 0; i < count; i++) {
    const uint8_t *text = (const uint8_t *)texts[i];
    code = hr_connection_send(connection, HR_MESSAGE_TEXT, text, strlen(texts[i]), LIMIT, error);
    if (code == HR_OK) {
      code = hr_connection_receive(connection, LIMIT, &message, error);
    }
    if (code != HR_OK) {
      return code;
    }
    printf("%.*s\n", (int)message.len, (const char *)message.data);
    hr_message_free(&message);
  }
  return hr_connection_close(connection, LIMIT, error);
}

int main(int argc, char **argv) {
  const hr_options defaults = {0};
  hr_sender sender = {0};
  hr_connection connection = {0};
  hr_error *error = NULL;
  hr_code code = hr_sender_new(NULL, 0, defaults, &sender, &error);
  if (code == HR_OK) {
    code = hr_sender_connect(sender, NULL, 0, NULL, 0, LIMIT, &connection, &error);
  }
  if (code == HR_OK) {
    code = talk(connection, argc - 1, argv + 1, &error);
  }
  if (code != HR_OK) {
    fprintf(stderr, "%s: %s\n", hr_code_name(code), hr_error_message(error));
    hr_error_free(error);
  }
  hr_connection_release(connection, NULL); /* A handle of {0} is an error and no harm. */
  hr_sender_release(sender, NULL);
  return code == HR_OK ? 0 : 1;
}
