// For ThreadSanitizer, preloaded by Tests/checked: the order that Swift's Mutex makes.
//
// The fast way into and out of a Mutex is compiled into the code that uses it, where the sanitizer sees its atomics. The slow
// way, of a thread that has to wait or has to wake one that does, is in Swift's library, which is not built for the sanitizer:
// it would take every second thread at a contended lock for a race. These functions stand before the library's and say
// what they order.
//
// The names and the place of `self` are Swift's ABI: Synchronization._MutexHandle has been part of it since 6.0.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *

// The sanitizer's own, in the program.
extern void __tsan_acquire(void *address);
extern void __tsan_release(void *address);

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

static void *next(const char *name) {
  void *function = dlsym(RTLD_NEXT, name);
  if (!function) {
    fprintf(stderr, "tsan-mutex: %s is not in Swift's library\n", name);
    abort();
  }
  return function;
}

SWIFT void lock_slow(uint32_t thread, SELF handle) __asm__(LOCK);
SWIFT void lock_slow(uint32_t thread, SELF handle) {
  SWIFT void (*lock)(uint32_t, SELF) = next(LOCK);
  lock(thread, handle);
  __tsan_acquire(handle);
}

SWIFT bool try_lock_slow(SELF handle) __asm__(TRY_LOCK);
SWIFT bool try_lock_slow(SELF handle) {
  SWIFT bool (*lock)(SELF) = next(TRY_LOCK);
  bool isLocked = lock(handle);
  if (isLocked) __tsan_acquire(handle);
  return isLocked;
}

SWIFT void unlock_slow(SELF handle) __asm__(UNLOCK);
SWIFT void unlock_slow(SELF handle) {
  SWIFT void (*unlock)(SELF) = next(UNLOCK);
  __tsan_release(handle);
  unlock(handle);
}
