// What Swift cannot say: what to load in advance, how to store past the caches, which instruction sets the importing module was
// compiled for, and which this CPU has.
// The macros are those of the module that includes this header, so `-march` of that module decides them.
#ifndef LOCKSTEP_CCPU_SHIM_H
#define LOCKSTEP_CCPU_SHIM_H

#include <stddef.h>
#include <stdint.h>

// X(bit, name): `name` is GCC's and clang's for __builtin_cpu_supports.
#define LOCKSTEP_CPU_FEATURES(X) \
  X(0, "avx") X(1, "avx2") X(2, "fma") X(3, "bmi") X(4, "bmi2") X(5, "avx512f") X(6, "avx512bw") X(7, "avx512cd") \
  X(8, "avx512dq") X(9, "avx512vl") X(10, "avx512vbmi") X(11, "avx512vnni") X(12, "avx512bf16")

static inline unsigned lockstep_compiled_cpu_features(void) {
  unsigned features = 0;
#ifdef __AVX__
  features |= 1u << 0;
#endif
#ifdef __AVX2__
  features |= 1u << 1;
#endif
#ifdef __FMA__
  features |= 1u << 2;
#endif
#ifdef __BMI__
  features |= 1u << 3;
#endif
#ifdef __BMI2__
  features |= 1u << 4;
#endif
#ifdef __AVX512F__
  features |= 1u << 5;
#endif
#ifdef __AVX512BW__
  features |= 1u << 6;
#endif
#ifdef __AVX512CD__
  features |= 1u << 7;
#endif
#ifdef __AVX512DQ__
  features |= 1u << 8;
#endif
#ifdef __AVX512VL__
  features |= 1u << 9;
#endif
#ifdef __AVX512VBMI__
  features |= 1u << 10;
#endif
#ifdef __AVX512VNNI__
  features |= 1u << 11;
#endif
#ifdef __AVX512BF16__
  features |= 1u << 12;
#endif
  return features;
}

static inline unsigned lockstep_cpu_features(void) {
  unsigned features = 0;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
#define X(bit, name) if (__builtin_cpu_supports(name)) features |= 1u << bit;
  LOCKSTEP_CPU_FEATURES(X)
#undef X
#else
  features = ~0u;
#endif
  return features;
}

static inline const char *_Nullable lockstep_cpu_feature_name(int index) {
  switch (index) {
#define X(bit, name) case bit: return name;
    LOCKSTEP_CPU_FEATURES(X)
#undef X
  }
  return 0;
}
/// Asks for the cache line at `address`, which may be none of this process's.
static inline void lockstep_prefetch(const void *address) { __builtin_prefetch(address); }

// Copies floats without reading the lines that they go to first, as ordinary stores must, and without keeping them in the
// caches. C libraries do so too, but only from a size on that depends on the CPU. Nothing overlaps.
static inline void lockstep_copy_past_caches(float *to, const float *from, size_t count) {
  typedef float line __attribute__((vector_size(64), aligned(64)));
  typedef float unaligned_line __attribute__((vector_size(64), aligned(4)));
  const size_t lineFloats = sizeof(line) / sizeof(float);
  for (; count > 0 && (uintptr_t)to % sizeof(line) != 0; --count) *to++ = *from++;
  for (; count >= lineFloats; count -= lineFloats, to += lineFloats, from += lineFloats) {
    const line values = *(const unaligned_line *)from;
    __builtin_nontemporal_store(values, (line *)to);
  }
  while (count-- > 0) *to++ = *from++;
#if defined(__x86_64__) || defined(__i386__)
  // Such stores are not ordered with later ones, by which others learn that they are there.
  __builtin_ia32_sfence();
#else
  __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

#endif
