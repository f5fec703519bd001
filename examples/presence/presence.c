/* Tells how many listeners are online: `presence watch` prints it now, and whenever it changes.
 *
 * cc -std=c99 presence.c -lhybridrelay -lpthread -o presence
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

static int watch(void) {
  hr_sender sender;
  hr_presence_watch watch;
  hr_presence presence;
  hr_presence_summary summary;
  uint64_t told = UINT64_MAX;
  hr_error *error = NULL;
  hr_code code;

  /* NULL stands for the connection string in HYBRIDRELAY_CONNECTION_STRING. */
  if (hr_sender_new(NULL, 0, DEFAULTS, &sender, &error) != HR_OK) return failed("cannot ask", error);
  /* HR_UNSUPPORTED from a relay that does not tell, such as Azure's. */
  code = hr_sender_watch_presence(sender, HR_FOREVER, &watch, &error);
  hr_sender_release(sender, NULL); /* A watch goes on without its sender. */
  if (code != HR_OK) return failed("cannot ask", error);
  /* From here on a lost network is no error: the watch follows again by itself. */
  code = hr_presence_watch_current(watch, &presence, &error);
  while (code == HR_OK) {
    code = hr_presence_read(presence, &summary, &error);
    hr_presence_release(presence, NULL);
    if (code != HR_OK) break;
    if (summary.count != told) {
      told = summary.count;
      printf("%lu online\n", (unsigned long)told);
      fflush(stdout);
    }
    /* What is skipped is only what was over before we looked: the newest always comes. */
    code = hr_presence_watch_next(watch, HR_FOREVER, &presence, &error);
  }
  hr_presence_watch_release(watch, NULL);
  return failed("the watch has ended", error);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "watch") == 0) return watch();
  fputs("usage: presence watch\n", stderr);
  return 2;
}
