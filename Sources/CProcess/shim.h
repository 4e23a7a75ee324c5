// What Linux has for supervising processes and Swift cannot import: variadic functions and headers outside Glibc's map.
// System calls by number, since the library's own declarations need _GNU_SOURCE, and headers read with it no longer
// agree with those that Swift's Glibc module was built from.

#ifndef LOCKSTEP_CPROCESS_SHIM_H
#define LOCKSTEP_CPROCESS_SHIM_H

#include <fcntl.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <termios.h>
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

/// Asks the kernel to make this process the parent of all that its descendants leave behind.
static inline int lockstep_adopt_orphans(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1ul, 0ul, 0ul, 0ul); }

/// A pseudo-terminal that changes no byte: its master, and in `slave` what a program gets as its output; both are closed
/// on exec. Negative where none can be had. By the numbers of Linux, since the functions need _GNU_SOURCE.
static inline int lockstep_open_terminal(int *slave) {
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0) return -1;
  int unlocked = 0;
  if (ioctl(master, 0x40045431 /* TIOCSPTLCK */, &unlocked) == 0) {
    *slave = ioctl(master, 0x5441 /* TIOCGPTPEER */, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios settings;
    if (*slave >= 0 && tcgetattr(*slave, &settings) == 0) {
      settings.c_iflag = 0;
      settings.c_oflag = 0;
      settings.c_lflag = 0;
      if (tcsetattr(*slave, TCSANOW, &settings) == 0) return master;
    }
    if (*slave >= 0) close(*slave);
  }
  close(master);
  return -1;
}

/// A descriptor that stands for the process `pid`; negative where it cannot be had.
static inline int lockstep_open_process(pid_t pid) { return (int)syscall(434 /* pidfd_open */, pid, 0u); }

/// A copy of the file `descriptor` of that process, closed on exec; negative where the system does not allow it.
static inline int lockstep_copy_descriptor(int process, int descriptor) {
  return (int)syscall(438 /* pidfd_getfd */, process, descriptor, 0u);
}

/// Reads a byte of this process's own memory the way that MPI reads other ranks': 0, or -1 where a filter of system calls
/// forbids it.
static inline int lockstep_reads_memory(void) {
  char from = 1, to = 0;
  struct {
    void *base;
    size_t length;
  } local = {&to, 1}, remote = {&from, 1};
  return syscall(SYS_process_vm_readv, (long)getpid(), &local, 1ul, &remote, 1ul, 0ul) == 1 ? 0 : -1;
}

static const int lockstep_spawn_new_session = 0x80;  // POSIX_SPAWN_SETSID

#endif
