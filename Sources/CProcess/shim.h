// What Linux has for supervising processes and Swift cannot import: variadic functions and headers outside Glibc's map.
// System calls by number, since the library's own declarations need _GNU_SOURCE, and headers read with it no longer
// agree with those that Swift's Glibc module was built from.

#ifndef LOCKSTEP_CPROCESS_SHIM_H
#define LOCKSTEP_CPROCESS_SHIM_H

#include <stddef.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Asks the kernel to send `signal` to this process when the thread that made it ends. Survives execve.
static inline int lockstep_signal_on_parent_death(int signal) {
  return prctl(PR_SET_PDEATHSIG, (unsigned long)signal, 0ul, 0ul, 0ul);
}

/// Fills `mask` (`bytes` long, a bit a CPU) with the CPUs that this process may run on; negative where that fails.
static inline long lockstep_cpu_affinity(void *mask, size_t bytes) {
  return syscall(SYS_sched_getaffinity, 0, bytes, mask);
}

/// A file in memory only, gone when the last descriptor is closed; itself closed on exec.
static inline int lockstep_memory_file(const char *name) { return (int)syscall(SYS_memfd_create, name, 1u); }

static const int lockstep_spawn_new_session = 0x80;  // POSIX_SPAWN_SETSID

#endif
