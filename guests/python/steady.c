/* Loaded before the tool that builds the runtime: what it sees of the world is the same at every build.
 *
 * The state of CPython is taken down once its modules are read, and with it all that it saw: chance, the time of day, and
 * of files their times and numbers and the order of folders. The tool asks for those by system calls of its own, which no
 * function can take the place of: the kernel hands them over as signals (seccomp). For Linux on x86-64. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { MOMENT = 1700000000, NUMBER = 1, SIZE = 4096, PASS = 0x57ead1, FOLDERS = 1024, FOLDER_BYTES = 1 << 20, LOADER_BYTES = 1 << 18 };

/* ---- chance and time ---- */

static unsigned char next = 1;

ssize_t getrandom(void *into, size_t count, unsigned flags) {
  (void)flags;
  for (size_t n = 0; n < count; n++) ((unsigned char *)into)[n] = next += 97;
  return (ssize_t)count;
}

int getentropy(void *into, size_t count) { return getrandom(into, count, 0) == (ssize_t)count ? 0 : -1; }

int clock_gettime(clockid_t clock, struct timespec *into) {
  (void)clock;
  into->tv_sec = MOMENT;
  into->tv_nsec = 0;
  return 0;
}

/* ---- files ---- */

/* The last argument, which none of them has, tells the filter that this is the call itself. */
static long call(long number, long a, long b, long c, long d, long e) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = PASS;
  long found;
  __asm__ volatile("syscall"
                   : "=a"(found)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return found;
}

static dev_t processes; /* the device of /proc, whose numbers tell what it is */

static void steady_stat(struct stat *found) {
  const struct timespec moment = {MOMENT, 0};
  if (found->st_dev == processes) return;
  found->st_atim = found->st_mtim = found->st_ctim = moment;
  found->st_dev = found->st_ino = found->st_nlink = NUMBER;
  if (S_ISDIR(found->st_mode)) found->st_size = SIZE;
  found->st_blocks = 8, found->st_blksize = SIZE;
}

static void steady_statx(struct statx *found) {
  const struct statx_timestamp moment = {.tv_sec = MOMENT};
  if (makedev(found->stx_dev_major, found->stx_dev_minor) == processes) return;
  found->stx_atime = found->stx_mtime = found->stx_ctime = found->stx_btime = moment;
  found->stx_ino = found->stx_nlink = found->stx_dev_major = found->stx_dev_minor = found->stx_mnt_id = NUMBER;
  if (S_ISDIR(found->stx_mode)) found->stx_size = SIZE;
  found->stx_blocks = 8, found->stx_blksize = SIZE;
}

/* ---- folders, in the order of their names ---- */

static struct folder {
  char *entries;
  size_t size, at;
} folders[FOLDERS];

static int by_name(const void *one, const void *other) {
  return strcmp((*(struct dirent64 *const *)one)->d_name, (*(struct dirent64 *const *)other)->d_name);
}

static long fetch(int file, struct folder *folder) {
  static char raw[FOLDER_BYTES];
  static struct dirent64 *sorted[FOLDER_BYTES / 24];
  size_t size = 0, count = 0;
  for (long more; (more = call(SYS_getdents64, file, (long)(raw + size), (long)(sizeof raw - size), 0, 0)); size += (size_t)more)
    if (more < 0) return more;
  for (size_t at = 0; at < size; at += sorted[count++]->d_reclen) sorted[count] = (struct dirent64 *)(raw + at);
  qsort(sorted, count, sizeof *sorted, by_name);
  if (!folder->entries)
    folder->entries = mmap(NULL, FOLDER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (folder->entries == MAP_FAILED) return -ENOMEM;
  folder->size = folder->at = 0;
  for (size_t n = 0; n < count; n++) {
    struct dirent64 *entry = (struct dirent64 *)(folder->entries + folder->size);
    memcpy(entry, sorted[n], sorted[n]->d_reclen);
    entry->d_ino = NUMBER;
    entry->d_off = (off64_t)n + 1;
    folder->size += entry->d_reclen;
  }
  return 0;
}

static long entries(int file, char *into, size_t count) {
  if (file < 0 || file >= FOLDERS) return -EBADF;
  struct folder *folder = &folders[file];
  if (lseek(file, 0, SEEK_CUR) == 0) { /* it is read for the first time */
    long failed = fetch(file, folder);
    if (failed) return failed;
  }
  size_t start = folder->at;
  while (folder->at < folder->size) {
    size_t length = ((struct dirent64 *)(folder->entries + folder->at))->d_reclen;
    if (folder->at + length - start > count) break;
    folder->at += length;
  }
  memcpy(into, folder->entries + start, folder->at - start);
  return (long)(folder->at - start);
}

/* ---- the kernel asks ---- */

static void asked(int signal, siginfo_t *info, void *context) {
  (void)signal;
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  long number = info->si_syscall, found;
  /* The loader knows libraries by their numbers. */
  int loader = (uintptr_t)info->si_call_addr - getauxval(AT_BASE) < LOADER_BYTES;
  if (number == SYS_getdents64) {
    found = entries((int)r[REG_RDI], (char *)r[REG_RSI], (size_t)r[REG_RDX]);
  } else {
    found = call(number, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8]);
    if (found || loader) number = -1;
    if (number == SYS_statx) steady_statx((struct statx *)r[REG_R8]);
    if (number == SYS_newfstatat) steady_stat((struct stat *)r[REG_RDX]);
    if (number == SYS_stat || number == SYS_lstat || number == SYS_fstat) steady_stat((struct stat *)r[REG_RSI]);
  }
  r[REG_RAX] = found;
}

#define ASK(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 3), \
  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])), \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PASS, 1, 0), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)

__attribute__((constructor)) static void begin(void) {
  struct stat there;
  if (stat("/proc", &there) == 0) processes = there.st_dev;
  struct sigaction action = {.sa_sigaction = asked, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      ASK(SYS_stat), ASK(SYS_lstat), ASK(SYS_fstat), ASK(SYS_newfstatat), ASK(SYS_statx), ASK(SYS_getdents64),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program)) {
    static const char why[] = "the kernel hands over no system calls: the build would not be the same each time\n";
    if (write(2, why, sizeof why - 1) < 0) abort();
    _exit(1);
  }
}
