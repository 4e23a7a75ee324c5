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

/// Adds blocks of 64 bytes to the state a…h; `k` are the 64 constants. FIPS 180-4, section 6.2.2.
__attribute__((target("sha,sse4.1,ssse3"))) static inline void lockstep_sha256_add(
    uint32_t *state, const void *bytes, size_t blocks, const uint32_t *k) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  // The instructions want the words as (a, b, e, f) and (c, d, g, h), the first in the highest place.
  __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
  __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
  __m128i abef = _mm_alignr_epi8(high, low, 8);
  __m128i cdgh = _mm_blend_epi16(low, high, 0xf0);
  const __m128i *input = (const __m128i *)bytes;
  for (; blocks > 0; --blocks, input += 4) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
    for (int i = 0; i < 4; ++i) w[i] = _mm_shuffle_epi8(_mm_loadu_si128(input + i), swap);
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; ++i) {
      __m128i sum = _mm_add_epi32(w[i & 3], _mm_loadu_si128((const __m128i *)(k + 4 * i)));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
      if (i >= 12) continue;
      // The four words after those at hand.
      __m128i next = _mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]);
      next = _mm_add_epi32(next, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
      w[i & 3] = _mm_sha256msg2_epu32(next, w[(i + 3) & 3]);
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  high = _mm_shuffle_epi32(abef, 0x1b);
  low = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(high, low, 0xf0));
  _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(low, high, 8));
}
#else
static inline int lockstep_sha256_is_supported(void) { return 0; }
static inline void lockstep_sha256_add(uint32_t *state, const void *bytes, size_t blocks, const uint32_t *k) {
  (void)state, (void)bytes, (void)blocks, (void)k;
}
#endif

#endif
