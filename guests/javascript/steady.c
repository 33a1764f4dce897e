/* Loaded before the tools that build a runtime: chance and the time of day are the same at every build. */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

static unsigned char next = 1;

ssize_t getrandom(void *into, size_t count, unsigned flags) {
  (void)flags;
  for (size_t n = 0; n < count; n++) ((unsigned char *)into)[n] = next += 97;
  return (ssize_t)count;
}

int getentropy(void *into, size_t count) { return getrandom(into, count, 0) == (ssize_t)count ? 0 : -1; }

int clock_gettime(clockid_t clock, struct timespec *into) {
  (void)clock;

  into->tv_sec = 1700000000;
  into->tv_nsec = 0;
  return 0;
}
