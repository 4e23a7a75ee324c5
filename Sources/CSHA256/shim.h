// The CPU's own instructions for SHA-256, which Swift cannot say: about seven times as fast as without.

#ifndef LOCKSTEP_CSHA256_SHIM_H
#define LOCKSTEP_CSHA256_SHIM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/// Whether this CPU has the instructions. Asking takes long on a virtual machine, so ask once.
static inline int lockstep_sha256_is_supported(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 19)) || !(c & (1u << 9))) return 0;  // SSE4.1, SSSE3
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29)) != 0;
}

/// Adds blocks of 64 bytes to one state a…h or to two, each with as many bytes of its own. FIPS 180-4, section 6.2.2.
__attribute__((target("sha,sse4.1,ssse3"), always_inline)) static inline void lockstep_sha256_add_lanes(
    int lanes, uint32_t *const *states, const void *const *bytes, size_t blocks, const uint32_t *k) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  __m128i abef[2], cdgh[2];
  for (int l = 0; l < lanes; ++l) {
    // The instructions want the words as (a, b, e, f) and (c, d, g, h), the first in the highest place.
    const __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)states[l]), 0xb1);
    const __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(states[l] + 4)), 0x1b);
    abef[l] = _mm_alignr_epi8(high, low, 8);
    cdgh[l] = _mm_blend_epi16(low, high, 0xf0);
  }
  for (size_t block = 0; block < blocks; ++block) {
    __m128i abef_before[2], cdgh_before[2], w[2][4];
    for (int l = 0; l < lanes; ++l) {
      const __m128i *input = (const __m128i *)bytes[l] + 4 * block;
      abef_before[l] = abef[l], cdgh_before[l] = cdgh[l];
      for (int i = 0; i < 4; ++i) w[l][i] = _mm_shuffle_epi8(_mm_loadu_si128(input + i), swap);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; ++i) {
      for (int l = 0; l < lanes; ++l) {
        __m128i sum = _mm_add_epi32(w[l][i & 3], _mm_loadu_si128((const __m128i *)(k + 4 * i)));
        cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], sum);
        abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], _mm_shuffle_epi32(sum, 0x0e));
        if (i >= 12) continue;
        // The four words after those at hand.
        __m128i next = _mm_sha256msg1_epu32(w[l][i & 3], w[l][(i + 1) & 3]);
        next = _mm_add_epi32(next, _mm_alignr_epi8(w[l][(i + 3) & 3], w[l][(i + 2) & 3], 4));
        w[l][i & 3] = _mm_sha256msg2_epu32(next, w[l][(i + 3) & 3]);
      }
    }
    for (int l = 0; l < lanes; ++l) {
      abef[l] = _mm_add_epi32(abef[l], abef_before[l]);
      cdgh[l] = _mm_add_epi32(cdgh[l], cdgh_before[l]);
    }
  }
  for (int l = 0; l < lanes; ++l) {
    const __m128i high = _mm_shuffle_epi32(abef[l], 0x1b), low = _mm_shuffle_epi32(cdgh[l], 0xb1);
    _mm_storeu_si128((__m128i *)states[l], _mm_blend_epi16(high, low, 0xf0));
    _mm_storeu_si128((__m128i *)(states[l] + 4), _mm_alignr_epi8(low, high, 8));
  }
}

/// Adds blocks of 64 bytes to the state a…h; `k` are the 64 constants.
__attribute__((target("sha,sse4.1,ssse3"))) static inline void lockstep_sha256_add(
    uint32_t *state, const void *bytes, size_t blocks, const uint32_t *k) {
  lockstep_sha256_add_lanes(1, &state, &bytes, blocks, k);
}

/// The same for two states at a time, which takes little longer than one: each instruction waits for the one before it.
__attribute__((target("sha,sse4.1,ssse3"))) static inline void lockstep_sha256_add_two(
    uint32_t *first_state, const void *first, uint32_t *second_state, const void *second, size_t blocks,
    const uint32_t *k) {
  uint32_t *const states[2] = {first_state, second_state};
  const void *const bytes[2] = {first, second};
  lockstep_sha256_add_lanes(2, states, bytes, blocks, k);
}
#else
static inline int lockstep_sha256_is_supported(void) { return 0; }
static inline void lockstep_sha256_add(uint32_t *state, const void *bytes, size_t blocks, const uint32_t *k) {
  (void)state, (void)bytes, (void)blocks, (void)k;
}
static inline void lockstep_sha256_add_two(
    uint32_t *first_state, const void *first, uint32_t *second_state, const void *second, size_t blocks,
    const uint32_t *k) {
  (void)first_state, (void)first, (void)second_state, (void)second, (void)blocks, (void)k;
}
#endif

#endif
