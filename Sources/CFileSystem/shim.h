// What Linux has for files and Swift cannot import. By number: the library's declaration needs _GNU_SOURCE.

#ifndef LOCKSTEP_CFILESYSTEM_SHIM_H
#define LOCKSTEP_CFILESYSTEM_SHIM_H

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Exchanges what the names `a` and `b` stand for, in one step: 0, or -1 with errno. EINVAL where the file system
/// cannot do that.
static inline int lockstep_exchange_names(const char *a, const char *b) {
  return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2u /* RENAME_EXCHANGE */);
}

/// The flag of `open` with which writes go past the page cache. Its number differs between CPUs.
static inline int lockstep_direct_flag(void) { return __O_DIRECT; }

#endif
