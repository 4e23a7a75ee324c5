// Loaded in front of a program (LD_PRELOAD), it counts the calls on files of all threads but the first, which is where a
// checkpoint is written, and raises a signal right before one of them.
//
// SIGNAL_AT_CALL=N   the call, from 1; 0 for none
// SIGNAL_NUMBER=S    the signal; SIGKILL without it
// CALLS_FILE=PATH    gets a line for each call: its number, its name and the path that it is given
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int count;

static void before(const char *name, const char *path) {
  if (syscall(SYS_gettid) == getpid()) return;
  const int number = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
  const char *file = getenv("CALLS_FILE");
  if (file) {
    char line[4600];
    const int length = snprintf(line, sizeof line, "%d %s %s\n", number, name, path ? path : "");
    const int descriptor = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (syscall(SYS_write, descriptor, line, length) != length) abort();
    syscall(SYS_close, descriptor);
  }
  const char *wanted = getenv("SIGNAL_AT_CALL"), *signal = getenv("SIGNAL_NUMBER");
  // To this thread itself: then it does not come back from here before the signal has had its effect.
  if (wanted && atoi(wanted) == number)
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal ? atoi(signal) : SIGKILL);
}

// The C library's own function of that name.
#define NEXT(result, name, ...) \
  static result (*next)(__VA_ARGS__); \
  if (!next) next = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list list; va_start(list, flags); \
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
    va_end(list); \
    NEXT(int, name, const char *, int, ...); \
    before("open", path); \
    return next(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    va_list list; va_start(list, flags); \
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; \
    va_end(list); \
    NEXT(int, name, int, const char *, int, ...); \
    before("openat", path); \
    return next(folder, path, flags, mode); \
  }
OPENAT(openat)
OPENAT(openat64)

#define CALL(result, name, parameters, types, path, ...) \
  result name parameters { \
    NEXT(result, name, types); \
    before(#name, path); \
    return next(__VA_ARGS__); \
  }
#define TYPES(...) __VA_ARGS__
CALL(int, close, (int d), TYPES(int), 0, d)
CALL(ssize_t, write, (int d, const void *b, size_t n), TYPES(int, const void *, size_t), 0, d, b, n)
CALL(ssize_t, read, (int d, void *b, size_t n), TYPES(int, void *, size_t), 0, d, b, n)
CALL(ssize_t, pread, (int d, void *b, size_t n, off_t o), TYPES(int, void *, size_t, off_t), 0, d, b, n, o)
CALL(ssize_t, pread64, (int d, void *b, size_t n, off64_t o), TYPES(int, void *, size_t, off64_t), 0, d, b, n, o)
CALL(ssize_t, pwrite, (int d, const void *b, size_t n, off_t o), TYPES(int, const void *, size_t, off_t), 0, d, b, n, o)
CALL(ssize_t, pwrite64, (int d, const void *b, size_t n, off64_t o), TYPES(int, const void *, size_t, off64_t), 0, d, b, n, o)
CALL(int, fsync, (int d), TYPES(int), 0, d)
CALL(int, ftruncate, (int d, off_t n), TYPES(int, off_t), 0, d, n)
CALL(int, flock, (int d, int o), TYPES(int, int), 0, d, o)
CALL(int, rename, (const char *a, const char *b), TYPES(const char *, const char *), b, a, b)
CALL(int, renameat, (int d, const char *a, int e, const char *b), TYPES(int, const char *, int, const char *), b, d, a, e, b)
CALL(int, mkdir, (const char *p, mode_t m), TYPES(const char *, mode_t), p, p, m)
CALL(int, rmdir, (const char *p), TYPES(const char *), p, p)
CALL(int, unlink, (const char *p), TYPES(const char *), p, p)
CALL(int, unlinkat, (int d, const char *p, int f), TYPES(int, const char *, int), p, d, p, f)
CALL(int, chmod, (const char *p, mode_t m), TYPES(const char *, mode_t), p, p, m)
CALL(int, fchmodat, (int d, const char *p, mode_t m, int f), TYPES(int, const char *, mode_t, int), p, d, p, m, f)
CALL(int, access, (const char *p, int m), TYPES(const char *, int), p, p, m)
CALL(int, stat, (const char *p, struct stat *s), TYPES(const char *, struct stat *), p, p, s)
CALL(int, lstat, (const char *p, struct stat *s), TYPES(const char *, struct stat *), p, p, s)
CALL(int, fstat, (int d, struct stat *s), TYPES(int, struct stat *), 0, d, s)
CALL(struct dirent *, readdir, (DIR *f), TYPES(DIR *), 0, f)
