#include "avx2.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma"), always_inline)) static inline
#define AVX2_ENTRY __attribute__((target("avx2,fma")))

// MARK: Packing

// 8 × 8 numbers transposed.
AVX2 void transpose8(__m256 *rows) {
  __m256 t[8];
  for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
  }
  __m256 u[8];
  for (int i = 0; i < 2; i++) {
    u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
    u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    rows[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

// The nearest bf16 number, of two that are equally near the even one; what is not a number stays none.
AVX2 __m256 nearest_bf16(__m256 x) {
  __m256i bits = _mm256_castps_si256(x);
  __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  __m256i isNone = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return _mm256_castsi256_ps(
      _mm256_and_si256(_mm256_blendv_epi8(up, quiet, isNone), _mm256_set1_epi32((int)0xffff0000)));
}

// 16 × 16 numbers, as they lie or transposed.
AVX2 void pack_tile(const int isRounded, const int isTransposed, const float *source, ptrdiff_t stride, float *tile) {
#pragma clang loop unroll(full)
  for (int quarter = 0; quarter < 4; quarter++) {
    int row = quarter / 2 * 8, column = quarter % 2 * 8;
    __m256 numbers[8];
    for (int i = 0; i < 8; i++) {
      numbers[i] = _mm256_loadu_ps(source + (row + i) * stride + column);
      if (isRounded) numbers[i] = nearest_bf16(numbers[i]);
    }
    if (isTransposed) transpose8(numbers);
    float *target = tile + (isTransposed ? 16 * column + row : 16 * row + column);
    for (int i = 0; i < 8; i++) _mm256_store_ps(target + 16 * i, numbers[i]);
  }
}

// Packs a panel from memory of `rows` rows of `columns` numbers, `stride` apart; the depth goes down the rows or along them.
AVX2 void pack(
    const int isRounded, const int isTransposed, const int goesDown, const float *source, ptrdiff_t stride, int rows,
    int columns, float *panel) {
  for (int k = 0; k < (goesDown ? rows : columns); k += 16, panel += 256) {
    const float *tile = source + (goesDown ? k * stride : k);
    int height = goesDown ? rows - k : rows, width = goesDown ? columns : columns - k;
    // What comes next: of this panel, or of the one after it.
    for (int row = 16; row < 32; row++) __builtin_prefetch(tile + row * stride);
    if (height >= 16 && width >= 16) {
      pack_tile(isRounded, isTransposed, tile, stride, panel);
    } else {
      float some[256] __attribute__((aligned(32))) = {0};
      for (int row = 0; row < height && row < 16; row++)
        for (int column = 0; column < width && column < 16; column++)
          some[16 * row + column] = tile[row * stride + column];
      pack_tile(isRounded, isTransposed, some, 16, panel);
    }
  }
}

AVX2_ENTRY void lockstep_avx2_pack(
    int isRounded, int isRight, int isStrided, const float *source, ptrdiff_t stride, int lines, int depth, float *panel) {
  if (isStrided) {
    if (isRight) {
      isRounded ? pack(1, 0, 1, source, stride, depth, lines, panel) : pack(0, 0, 1, source, stride, depth, lines, panel);
    } else {
      isRounded ? pack(1, 1, 1, source, stride, depth, lines, panel) : pack(0, 1, 1, source, stride, depth, lines, panel);
    }
  } else {
    if (isRight) {
      isRounded ? pack(1, 1, 0, source, stride, lines, depth, panel) : pack(0, 1, 0, source, stride, lines, depth, panel);
    } else {
      isRounded ? pack(1, 0, 0, source, stride, lines, depth, panel) : pack(0, 0, 0, source, stride, lines, depth, panel);
    }
  }
}

// MARK: Output

AVX2 void finish_row(const lockstep_pending_t *pending, int row) {
  const float *line = pending->block + row / 16 * 512 + row % 16 * 16;
  float *output = pending->output + row * pending->stride;
  if (pending->width < 32) {
    for (int j = 0; j < pending->width; j++) {
      float number = line[j / 16 * 256 + j % 16];
      output[j] = pending->way == lockstep_add ? output[j] + number : number;
    }
    return;
  }
  for (int j = 0; j < 32; j += 8) {
    __m256 numbers = _mm256_load_ps(line + j / 16 * 256 + j % 16);
    if (pending->way == lockstep_past_caches)
      _mm256_stream_ps(output + j, numbers);
    else
      _mm256_storeu_ps(
          output + j, pending->way == lockstep_add ? _mm256_add_ps(numbers, _mm256_loadu_ps(output + j)) : numbers);
  }
}

AVX2_ENTRY void lockstep_avx2_finish(lockstep_pending_t *pending) {
  for (int row = 0; row < pending->height; row++) finish_row(pending, row);
  pending->output = 0;
}

// MARK: Products. `count` rows by 16 columns: 12 or 10 accumulators, of 16 registers.

AVX2 void times(
    const int count, int tiles, const float *left, const float *right, float *block, lockstep_ahead_t *ahead) {
  __m256 first[6], second[6];
  for (int row = 0; row < count; row++) first[row] = second[row] = _mm256_setzero_ps();
  for (int k = 0; k < tiles; k++, left += 256, right += 256) {
    lockstep_fetch_line(ahead);
    // The left factor's next tile, which the second cache holds.
    for (int row = 0; row < count; row++) __builtin_prefetch(left + 256 + 16 * row);
#pragma clang loop unroll_count(4)
    for (int word = 0; word < 16; word++) {
      __m256 columns0 = _mm256_load_ps(right + 16 * word), columns1 = _mm256_load_ps(right + 16 * word + 8);
#pragma clang loop unroll(full)
      for (int row = 0; row < count; row++) {
        __m256 number = _mm256_broadcast_ss(left + 16 * row + word);
        first[row] = _mm256_fmadd_ps(number, columns0, first[row]);
        second[row] = _mm256_fmadd_ps(number, columns1, second[row]);
      }
    }
  }
  for (int row = 0; row < count; row++) {
    _mm256_store_ps(block + 16 * row, first[row]);
    _mm256_store_ps(block + 16 * row + 8, second[row]);
  }
}

AVX2_ENTRY void lockstep_avx2_multiply(
    int tiles, const float *left0, const float *left1, const float *right0, const float *right1,
    const lockstep_pending_t *own, const lockstep_pending_t *before, lockstep_ahead_t *ahead) {
  lockstep_ahead_t fetched = *ahead;
  int finished = before->output ? 0 : before->height;
  // 16 rows are 6, 5 and 5.
  for (int row = 0; row < own->height; row += row % 16 == 0 ? 6 : 5) {
    int within = row % 16;
    const float *left = (row < 16 ? left0 : left1) + within * 16;
    if (own->way != lockstep_past_caches)
      for (int i = row; i < row + 6 && i < own->height; i++) {
        __builtin_prefetch(own->output + i * own->stride, 1);
        __builtin_prefetch(own->output + i * own->stride + 16, 1);
      }
    for (int column = 0; column < (own->width > 16 ? 2 : 1); column++) {
      float *block = own->block + row / 16 * 512 + column * 256 + within * 16;
      const float *right = column == 0 ? right0 : right1;
      if (within == 0)
        times(6, tiles, left, right, block, &fetched);
      else
        times(5, tiles, left, right, block, &fetched);
      for (int i = 0; i < 3 && finished < before->height; i++, finished++) finish_row(before, finished);
    }
  }
  for (; finished < before->height; finished++) finish_row(before, finished);
  *ahead = fetched;
}
#endif
