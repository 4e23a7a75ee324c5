#include "avx2.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define FP32 __attribute__((target("avx512f"), always_inline)) static inline
#define FP32_ENTRY __attribute__((target("avx512f")))
#define VECTOR __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), always_inline)) static inline
#define ENTRY __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

// A tile's 16 × 16 words transposed: turns either order of a tile into the other.
FP32 void transpose(__m512i *rows) {
  __m512i t[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++) {
    rows[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    rows[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(rows[i], rows[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(rows[i + 8], rows[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    rows[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    rows[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    rows[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

FP32 void store_tile(__m512i rows[16], int transposed, uint16_t *tile) {
  if (transposed) transpose(rows);
  for (int row = 0; row < 16; row++) _mm512_store_si512(tile + 32 * row, rows[row]);
}

// MARK: fp32: a tile is 16 × 16 numbers.

FP32 void pack_contiguous_fp32(
    const int isRight, const float *source, ptrdiff_t stride, int lines, int depth, float *panel) {
  for (int k = 0; k < depth; k += 16, panel += 256) {
    __mmask16 mask = depth - k >= 16 ? 0xffff : (1u << (depth - k)) - 1;
    __m512i rows[16];
    for (int line = 0; line < 16; line++) {
      rows[line] = _mm512_setzero_si512();
      if (line >= lines) continue;
      // The same place in the next panel.
      __builtin_prefetch(source + (line + 16) * stride + k);
      rows[line] = _mm512_maskz_loadu_epi32(mask, source + line * stride + k);
    }
    store_tile(rows, isRight, (uint16_t *)panel);
  }
}

FP32 void pack_strided_fp32(
    const int isRight, const float *source, ptrdiff_t stride, int lines, int depth, float *panel) {
  __mmask16 mask = lines >= 16 ? 0xffff : (1u << lines) - 1;
  for (int k = 0; k < depth; k += 16, panel += 256) {
    __m512i rows[16];
    for (int row = 0; row < 16; row++) {
      rows[row] = _mm512_setzero_si512();
      if (k + row >= depth) continue;
      // The same lines in the next tile.
      __builtin_prefetch(source + (k + row + 16) * stride);
      rows[row] = _mm512_maskz_loadu_epi32(mask, source + (k + row) * stride);
    }
    store_tile(rows, !isRight, (uint16_t *)panel);
  }
}

// MARK: bf16, in parts

// 16 floats rounded to bf16, each in the low half of a word.
VECTOR __m512i rounded(__m512 x) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x)); }

VECTOR __m512 as_float(__m512i bf16) { return _mm512_castsi512_ps(_mm512_slli_epi32(bf16, 16)); }

// Takes the next part of 16 pairs (first, second) off them: words with the first in the low half.
VECTOR __m512i next_pairs(__m512 *first, __m512 *second) {
  __m512i low = rounded(*first), high = rounded(*second);
  __m512 low_float = as_float(low), high_float = as_float(high);
  *first = _mm512_sub_ps(*first, low_float);
  *second = _mm512_sub_ps(*second, high_float);
  return _mm512_or_si512(low, _mm512_castps_si512(high_float));
}

// The same of 32 contiguous floats: their bf16 numbers in order.
VECTOR __m512i next_row(__m512 *first, __m512 *second) {
  __m512i both = (__m512i)_mm512_cvtne2ps_pbh(*second, *first);
  __m512 low = as_float(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(both)));
  __m512 high = as_float(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(both, 1)));
  *first = _mm512_sub_ps(*first, low);
  *second = _mm512_sub_ps(*second, high);
  return both;
}

VECTOR void pack_contiguous(
    const int parts, const int isRight, const float *source, ptrdiff_t stride, int lines, int depth, uint16_t *panel) {
  for (int k = 0; k < depth; k += 32, panel += 512 * parts) {
    int left = depth - k;
    __mmask16 first_mask = left >= 16 ? 0xffff : (1u << left) - 1;
    __mmask16 second_mask = left >= 32 ? 0xffff : left > 16 ? (1u << (left - 16)) - 1 : 0;
    __m512i rows[3][16];
    for (int line = 0; line < 16; line++) {
      __m512 first = _mm512_setzero_ps(), second = _mm512_setzero_ps();
      if (line < lines) {
        // The same place in the next panel.
        __builtin_prefetch(source + (line + 16) * stride + k);
        __builtin_prefetch(source + (line + 16) * stride + k + 16);
        first = _mm512_maskz_loadu_ps(first_mask, source + line * stride + k);
        second = _mm512_maskz_loadu_ps(second_mask, source + line * stride + k + 16);
      }
      for (int part = 0; part < parts; part++) rows[part][line] = next_row(&first, &second);
    }
    for (int part = 0; part < parts; part++) store_tile(rows[part], isRight, panel + 512 * part);
  }
}

VECTOR void pack_strided(
    const int parts, const int isRight, const float *source, ptrdiff_t stride, int lines, int depth, uint16_t *panel) {
  __mmask16 mask = lines >= 16 ? 0xffff : (1u << lines) - 1;
  for (int k = 0; k < depth; k += 32, panel += 512 * parts) {
    __m512i rows[3][16];
    for (int pair = 0; pair < 16; pair++) {
      int at = k + 2 * pair;
      // The same lines in the next tile.
      __builtin_prefetch(source + (at + 32) * stride);
      __builtin_prefetch(source + (at + 33) * stride);
      __m512 first = _mm512_setzero_ps(), second = _mm512_setzero_ps();
      if (at < depth) first = _mm512_maskz_loadu_ps(mask, source + at * stride);
      if (at + 1 < depth) second = _mm512_maskz_loadu_ps(mask, source + (at + 1) * stride);
      for (int part = 0; part < parts; part++) rows[part][pair] = next_pairs(&first, &second);
    }
    for (int part = 0; part < parts; part++) store_tile(rows[part], !isRight, panel + 512 * part);
  }
}

#define SPECIALISED(name, isStrided)                                                                                \
  FP32_ENTRY static void name##_fp32_panel(                                                                         \
      int isRight, const float *source, ptrdiff_t stride, int lines, int depth, float *panel) {                     \
    if (isRight)                                                                                                    \
      name##_fp32(1, source, stride, lines, depth, panel);                                                          \
    else                                                                                                            \
      name##_fp32(0, source, stride, lines, depth, panel);                                                          \
  }                                                                                                                 \
  ENTRY static void name##_parts(                                                                                   \
      int parts, int isRight, const float *source, ptrdiff_t stride, int lines, int depth, uint16_t *panel) {       \
    switch (parts * 2 + (isRight != 0)) {                                                                           \
      case 2: name(1, 0, source, stride, lines, depth, panel); break;                                               \
      case 3: name(1, 1, source, stride, lines, depth, panel); break;                                               \
      case 4: name(2, 0, source, stride, lines, depth, panel); break;                                               \
      case 5: name(2, 1, source, stride, lines, depth, panel); break;                                               \
      case 6: name(3, 0, source, stride, lines, depth, panel); break;                                               \
      case 7: name(3, 1, source, stride, lines, depth, panel); break;                                               \
      default: __builtin_trap();                                                                                    \
    }                                                                                                               \
  }                                                                                                                 \
  void lockstep_##name(                                                                                             \
      lockstep_tile_kind_t kind, int parts, int isRight, const float *source, ptrdiff_t stride, int lines,          \
      int depth, uint16_t *panel) {                                                                                 \
    if (kind == lockstep_avx2 || parts < 0)                                                                         \
      lockstep_avx2_pack(parts < 0, isRight, isStrided, source, stride, lines, depth, (float *)panel);              \
    else if (parts == 0)                                                                                            \
      name##_fp32_panel(isRight, source, stride, lines, depth, (float *)panel);                                     \
    else                                                                                                            \
      name##_parts(parts, isRight, source, stride, lines, depth, panel);                                            \
  }
SPECIALISED(pack_contiguous, 0)
SPECIALISED(pack_strided, 1)

#else
void lockstep_pack_contiguous(
    lockstep_tile_kind_t n, int p, int r, const float *s, ptrdiff_t t, int l, int d, uint16_t *o) {
  __builtin_trap();
}
void lockstep_pack_strided(
    lockstep_tile_kind_t n, int p, int r, const float *s, ptrdiff_t t, int l, int d, uint16_t *o) {
  __builtin_trap();
}
#endif
