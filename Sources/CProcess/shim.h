// What Linux has for supervising processes and Swift cannot import: variadic functions and headers outside Glibc's map.

#ifndef LOCKSTEP_CPROCESS_SHIM_H
#define LOCKSTEP_CPROCESS_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

/// Asks the kernel to send `signal` to this process when the thread that made it ends. Survives execve.
static inline int lockstep_signal_on_parent_death(int signal) {
  return prctl(PR_SET_PDEATHSIG, (unsigned long)signal, 0ul, 0ul, 0ul);
}

/// Fills `mask` (`bytes` long, a bit a CPU) with the CPUs that this process may run on.
static inline int lockstep_cpu_affinity(void *mask, size_t bytes) {
  return sched_getaffinity(0, bytes, (cpu_set_t *)mask);
}

/// A file in memory only, gone when the last descriptor is closed.
static inline int lockstep_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

static const int lockstep_spawn_new_session = 0x80;  // POSIX_SPAWN_SETSID, behind _GNU_SOURCE

#endif
