/* What the measured clients in C have in common. Each is started as `PROGRAM CASE SIZE`, says `ready`, and then does as many units of
 * its case as each line of its input says, and answers `done`. It is told by the environment where to go:
 *
 * - BENCH_CONNECTION_STRING, for clients that know the relay;
 * - BENCH_PORT, the port of localhost, for the others; BENCH_CA, a file with the certificate to trust, unless there is no TLS. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition)                                                    \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                \
    }                                                                         \
  } while (0)

static inline const char *told(const char *name) {
  const char *value = getenv(name);
  if (value == NULL) {
    fprintf(stderr, "%s is not set\n", name);
    exit(2);
  }
  return value;
}

/* How many units are to be done next; 0 at the end. */
static inline unsigned long next_count(const char *answer) {
  char line[64];
  puts(answer);
  fflush(stdout);
  return fgets(line, sizeof line, stdin) == NULL ? 0 : strtoul(line, NULL, 10);
}

static inline char *whole_file(const char *path, size_t *len) {
  FILE *file = fopen(path, "rb");
  char *text = malloc(1 << 20);
  REQUIRE(file != NULL && text != NULL);
  *len = fread(text, 1, 1 << 20, file);
  fclose(file);
  return text;
}

#endif
