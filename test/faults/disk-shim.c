// Preloaded into a Node process: the steps by which files below one folder change are counted, and
// from a chosen one on the disk misbehaves. What libraries call is caught, so LevelDB is the real one.
//
// CVMP_DISK_CONTROL names a file of at least sizeof(struct control), mapped and read at each step.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum kind {
  COUNT = 0,   // nothing happens
  LOST = 1,    // this step and all later ones do nothing and say they did: as after kill -9
  TORN = 2,    // as LOST, but half of this write reaches the disk
  FULL = 3,    // writes and new files fail with ENOSPC, after half of this write
  UNSYNC = 4,  // fsync and fdatasync fail with EIO; only they are counted
  FROZEN = 5,  // every change fails with EROFS
  KILL = 6,    // the process is killed for real, after half of this write
};

struct control {
  volatile int32_t kind;
  volatile int32_t at;     // the step it begins at, from 1
  volatile int32_t steps;  // counted so far
  char folder[4096];       // with '/' at its end; changes elsewhere are none of ours
};

static struct control *control;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("CVMP_DISK_CONTROL");
  int file = path == NULL ? -1 : open(path, O_RDWR);
  if (file < 0) return;
  void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (map != MAP_FAILED) control = map;
  close(file);
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (real == NULL) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int ours(const char *path) {
  return control != NULL && control->folder[0] != 0 &&
         strncmp(path, control->folder, strlen(control->folder)) == 0;
}

static int file_is_ours(int file) {
  if (control == NULL || control->folder[0] == 0) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  // LevelDB's own diary is no part of the store.
  return ours(path) && strstr(path, "/LOG") == NULL;
}

// Counts a step. 0: before the fault, 1: the fault begins here, 2: it has begun.
static int step(int is_sync) {
  if (control->kind == UNSYNC && !is_sync) return 0;
  int32_t n = __atomic_add_fetch(&control->steps, 1, __ATOMIC_SEQ_CST);
  if (control->kind == COUNT || n < control->at) return 0;
  return n == control->at ? 1 : 2;
}

// What a changing call that writes no bytes does: 0 the real thing, 1 nothing, -1 errno is set.
static int outcome(int phase, int makes_file) {
  if (phase == 0) return 0;
  switch (control->kind) {
    case LOST:
    case TORN:
      return 1;
    case KILL:
      kill(getpid(), SIGKILL);
      return 1;
    case FULL:
      if (!makes_file) return 0;
      errno = ENOSPC;
      return -1;
    case FROZEN:
      errno = EROFS;
      return -1;
    default:
      return 0;
  }
}

// How many of `length` bytes are really written; -1: all, as if nothing were.
static ssize_t written(int phase, size_t length) {
  if (phase == 0 || control->kind == UNSYNC) return -1;
  int is_torn = control->kind == TORN || control->kind == FULL || control->kind == KILL;
  return phase == 1 && is_torn ? (ssize_t)(length / 2) : 0;
}

// What the caller is told of a write that did not happen as a whole.
static int told_done(void) {
  if (control->kind == KILL) kill(getpid(), SIGKILL);
  if (control->kind == LOST || control->kind == TORN) return 1;
  errno = control->kind == FULL ? ENOSPC : EROFS;
  return 0;
}

FILE *fopen64(const char *path, const char *mode) {
  REAL(fopen64);
  int changes = ours(path) && strchr(mode, 'w') != NULL && strstr(path, "/LOG") == NULL;
  if (!changes) return real(path, mode);
  int what = outcome(step(0), 1);
  if (what < 0) return NULL;
  FILE *file = real(what == 0 ? path : "/dev/null", mode);
  // Each write is one step, not whenever a buffer is full.
  if (file != NULL) setvbuf(file, NULL, _IONBF, 0);
  return file;
}

#undef fwrite_unlocked
size_t fwrite_unlocked(const void *bytes, size_t size, size_t count, FILE *file) {
  REAL(fwrite_unlocked);
  if (!file_is_ours(fileno(file))) return real(bytes, size, count, file);
  ssize_t part = written(step(0), size * count);
  if (part < 0) return real(bytes, size, count, file);
  if (part > 0) real(bytes, 1, part, file);
  return told_done() ? count : 0;
}

// What was written is in the kernel's memory, which outlives the process: a sync only costs time.
static int sync_file(int file) {
  if (!file_is_ours(file)) return 0;
  int phase = step(1);
  if (phase > 0 && control->kind == UNSYNC) {
    errno = EIO;
    return -1;
  }
  return outcome(phase, 0) < 0 ? -1 : 0;
}

int fsync(int file) { return sync_file(file); }

int fdatasync(int file) { return sync_file(file); }

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset) {
  REAL(pwrite64);
  if (!file_is_ours(file)) return real(file, bytes, length, offset);
  ssize_t part = written(step(0), length);
  if (part < 0) return real(file, bytes, length, offset);
  if (part > 0) real(file, bytes, part, offset);
  return told_done() ? (ssize_t)length : -1;
}

ssize_t write(int file, const void *bytes, size_t length) {
  REAL(write);
  if (!file_is_ours(file)) return real(file, bytes, length);
  ssize_t part = written(step(0), length);
  if (part < 0) return real(file, bytes, length);
  if (part > 0) real(file, bytes, part);
  return told_done() ? (ssize_t)length : -1;
}

static int change(int (*call)(const char *, const char *), const char *from, const char *to,
                  int makes_file) {
  int what = outcome(step(0), makes_file);
  return what == 0 ? call(from, to) : what == 1 ? 0 : -1;
}

int rename(const char *from, const char *to) {
  REAL(rename);
  return ours(to) && strstr(to, "/LOG") == NULL ? change(real, from, to, 0) : real(from, to);
}

int link(const char *from, const char *to) {
  REAL(link);
  return ours(to) ? change(real, from, to, 1) : real(from, to);
}

int unlink(const char *path) {
  REAL(unlink);
  if (!ours(path)) return real(path);
  int what = outcome(step(0), 0);
  return what == 0 ? real(path) : what == 1 ? 0 : -1;
}

int ftruncate64(int file, off64_t length) {
  REAL(ftruncate64);
  if (!file_is_ours(file)) return real(file, length);
  int what = outcome(step(0), 0);
  return what == 0 ? real(file, length) : what == 1 ? 0 : -1;
}

int open64(const char *path, int flags, ...) {
  REAL(open64);
  va_list rest;
  va_start(rest, flags);
  int mode = (flags & O_CREAT) != 0 ? va_arg(rest, int) : 0;
  va_end(rest);
  int makes = (flags & O_CREAT) != 0 && ours(path) && access(path, F_OK) != 0;
  int changes = makes || ((flags & O_TRUNC) != 0 && ours(path));
  if (!changes) return real(path, flags, mode);
  int what = outcome(step(0), 1);
  if (what < 0) return -1;
  return what == 0 ? real(path, flags, mode) : real("/dev/null", O_RDWR, 0);
}
