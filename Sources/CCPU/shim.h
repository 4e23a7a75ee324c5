// What Swift cannot say: what to load in advance, which instruction sets the importing module was compiled for, and which this CPU has.
// The macros are those of the module that includes this header, so `-march` of that module decides them.
#ifndef LOCKSTEP_CCPU_SHIM_H
#define LOCKSTEP_CCPU_SHIM_H

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

#endif
