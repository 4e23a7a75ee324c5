#include "avx2.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VECTORS __attribute__((target("avx512f"), always_inline)) static inline
#define VECTORS_ENTRY __attribute__((target("avx512f")))
#define BF16_VECTORS __attribute__((target("avx512f,avx512bf16"), always_inline)) static inline
#define AMX __attribute__((target("amx-tile,amx-bf16,avx512f"), always_inline)) static inline
#define AMX_ENTRY __attribute__((target("amx-tile,amx-bf16,avx512f")))
#define BF16_ENTRY __attribute__((target("avx512f,avx512bf16")))

// MARK: Output. A block is 32 × 32, in four tiles of 16 × 16: [left 0, right 0], [0, 1], [1, 0], [1, 1].

// Writes row `row` of a finished block.
VECTORS void finish_row(const lockstep_pending_t *pending, int row) {
  const float *line = pending->block + row / 16 * 512 + row % 16 * 16;
  float *output = pending->output + row * pending->stride;
  __m512 first = _mm512_load_ps(line), second = _mm512_load_ps(line + 256);
  if (pending->way == lockstep_past_caches && pending->width == 32) {
    _mm512_stream_ps(output, first);
    _mm512_stream_ps(output + 16, second);
    return;
  }
  __mmask16 first_mask = pending->width >= 16 ? 0xffff : (1u << pending->width) - 1;
  __mmask16 second_mask = pending->width <= 16 ? 0 : 0xffff >> (32 - pending->width);
  if (pending->way == lockstep_add) {
    first = _mm512_add_ps(first, _mm512_maskz_loadu_ps(first_mask, output));
    second = _mm512_add_ps(second, _mm512_maskz_loadu_ps(second_mask, output + 16));
  }
  _mm512_mask_storeu_ps(output, first_mask, first);
  _mm512_mask_storeu_ps(output + 16, second_mask, second);
}

VECTORS_ENTRY static void finish(lockstep_pending_t *pending) {
  for (int row = 0; row < pending->height; row++) finish_row(pending, row);
  pending->output = 0;
}

// MARK: AMX. Accumulators are tiles 0-3; 4 and 5 hold left tiles, 6 and 7 right ones.

// One part of the left times one of the right.
#define TIMES                \
  do {                       \
    _tile_dpbf16ps(0, 4, 6); \
    _tile_dpbf16ps(1, 4, 7); \
    _tile_dpbf16ps(2, 5, 6); \
    _tile_dpbf16ps(3, 5, 7); \
  } while (0)

#define LOAD(tile, panel, part) _tile_loadd(tile, panel##0 + 512 * (part), 64), _tile_loadd(tile + 1, panel##1 + 512 * (part), 64)

// While a block is computed, its output's lines are fetched, and those of the block before it are written, a few at a time:
// all at once they would fill the processor's buffers, and the loads of tiles would wait for memory.
AMX void amx_multiply(
    const int parts, int tiles, const uint16_t *left0, const uint16_t *left1, const uint16_t *right0,
    const uint16_t *right1, const lockstep_pending_t *own, const lockstep_pending_t *before) {
  int rows_a_tile = (32 + tiles - 1) / tiles;
  int fetched = own->way == lockstep_past_caches ? own->height : 0, finished = before->output ? 0 : before->height;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int k = 0; k < tiles; k++) {
    for (int i = 0; i < rows_a_tile && fetched < own->height; i++, fetched++) {
      __builtin_prefetch(own->output + fetched * own->stride, 1);
      __builtin_prefetch(own->output + fetched * own->stride + 16, 1);
    }
    LOAD(4, left, 0);
    LOAD(6, right, 0);
    TIMES;
    for (int i = 0; i < rows_a_tile && finished < before->height; i++, finished++) finish_row(before, finished);
    if (parts >= 2) {
      LOAD(6, right, 1);
      TIMES;  // 0 · 1
      LOAD(4, left, 1);
      if (parts >= 3) TIMES;  // 1 · 1
      LOAD(6, right, 0);
      TIMES;  // 1 · 0
    }
    if (parts >= 3) {
      LOAD(4, left, 2);
      TIMES;  // 2 · 0
      LOAD(4, left, 0);
      LOAD(6, right, 2);
      TIMES;  // 0 · 2
    }
    left0 += 512 * parts;
    left1 += 512 * parts;
    right0 += 512 * parts;
    right1 += 512 * parts;
  }
  _tile_stored(0, own->block, 64);
  _tile_stored(1, own->block + 256, 64);
  _tile_stored(2, own->block + 512, 64);
  _tile_stored(3, own->block + 768, 64);
}

AMX_ENTRY static void amx_dispatch(
    int parts, int tiles, const uint16_t *left0, const uint16_t *left1, const uint16_t *right0, const uint16_t *right1,
    const lockstep_pending_t *own, const lockstep_pending_t *before) {
  switch (parts) {
    case 1: amx_multiply(1, tiles, left0, left1, right0, right1, own, before); break;
    case 2: amx_multiply(2, tiles, left0, left1, right0, right1, own, before); break;
    case 3: amx_multiply(3, tiles, left0, left1, right0, right1, own, before); break;
    default: __builtin_trap();
  }
}

// MARK: Vectors. The same block, eight of its rows at a time: 16 accumulators, and 10 loads for 16 products.

VECTORS __m512 times_fp32(__m512 sum, __m512 row, __m512 columns) { return _mm512_fmadd_ps(row, columns, sum); }

BF16_VECTORS __m512 times_bf16(__m512 sum, __m512 row, __m512 columns) {
  return _mm512_dpbf16_ps(sum, (__m512bh)row, (__m512bh)columns);
}

// Both kinds of tiles are 16 × 16 words: a word is a number in fp32, or two of bf16 along the depth.
#define EIGHT_ROWS(name, TARGET, times)                                                                              \
  TARGET void name(                                                                                                  \
      const int parts, int tiles, const float *left, const float *right0, const float *right1, float *block,         \
      lockstep_ahead_t *ahead) {                                                                                     \
    lockstep_ahead_t fetched = *ahead;                                                                               \
    __m512 first[8], second[8];                                                                                      \
    for (int row = 0; row < 8; row++) first[row] = second[row] = _mm512_setzero_ps();                                \
    for (int k = 0; k < tiles; k++, left += 256 * parts, right0 += 256 * parts, right1 += 256 * parts) {             \
      lockstep_fetch_line(&fetched);                                                                                 \
      lockstep_fetch_line(&fetched);                                                                                 \
      for (int a = 0; a < parts; a++)                                                                                \
        /* As many products as TDPBF16PS does above: (0,0); (0,0), (0,1), (1,0); or these and (1,1), (0,2), (2,0). */ \
        for (int b = 0; b + a < parts; b++)                                                                          \
          _Pragma("clang loop unroll_count(4)") for (int word = 0; word < 16; word++) {                              \
            __m512 columns0 = _mm512_load_ps(right0 + 256 * b + 16 * word);                                          \
            __m512 columns1 = _mm512_load_ps(right1 + 256 * b + 16 * word);                                          \
            _Pragma("clang loop unroll(full)") for (int row = 0; row < 8; row++) {                                   \
              __m512 number = _mm512_set1_ps(left[256 * a + 16 * row + word]);                                       \
              first[row] = times(first[row], number, columns0);                                                      \
              second[row] = times(second[row], number, columns1);                                                    \
            }                                                                                                        \
          }                                                                                                          \
    }                                                                                                                \
    for (int row = 0; row < 8; row++) {                                                                              \
      _mm512_store_ps(block + 16 * row, first[row]);                                                                 \
      _mm512_store_ps(block + 256 + 16 * row, second[row]);                                                          \
    }                                                                                                                \
    *ahead = fetched;                                                                                                \
  }
EIGHT_ROWS(eight_rows_fp32, VECTORS, times_fp32)
EIGHT_ROWS(eight_rows_bf16, BF16_VECTORS, times_bf16)

// Rows of the block before are written between those of this one, whose own lines are fetched meanwhile: all at once they
// would wait for memory.
#define VECTOR_MULTIPLY(name, TARGET, eight_rows)                                                                    \
  TARGET void name(                                                                                            \
      const int parts, int tiles, const float *left0, const float *left1, const float *right0, const float *right1,  \
      const lockstep_pending_t *own, const lockstep_pending_t *before, lockstep_ahead_t *ahead) {                    \
    int finished = before->output ? 0 : before->height;                                                              \
    for (int row = 0; row < own->height; row += 8) {                                                                 \
      if (own->way != lockstep_past_caches)                                                                          \
        for (int i = row; i < row + 8 && i < own->height; i++) {                                                     \
          __builtin_prefetch(own->output + i * own->stride, 1);                                                      \
          __builtin_prefetch(own->output + i * own->stride + 16, 1);                                                 \
        }                                                                                                            \
      eight_rows(                                                                                                    \
          parts, tiles, (row < 16 ? left0 : left1) + row % 16 * 16, right0, right1,                                  \
          own->block + row / 16 * 512 + row % 16 * 16, ahead);                                                       \
      for (int i = 0; i < 8 && finished < before->height; i++, finished++) finish_row(before, finished);             \
    }                                                                                                                \
    for (; finished < before->height; finished++) finish_row(before, finished);                                      \
  }
VECTOR_MULTIPLY(fp32_multiply, VECTORS, eight_rows_fp32)
VECTOR_MULTIPLY(bf16_multiply, BF16_VECTORS, eight_rows_bf16)

VECTORS_ENTRY static void fp32_dispatch(
    int tiles, const float *left0, const float *left1, const float *right0, const float *right1,
    const lockstep_pending_t *own, const lockstep_pending_t *before, lockstep_ahead_t *ahead) {
  fp32_multiply(1, tiles, left0, left1, right0, right1, own, before, ahead);
}

BF16_ENTRY static void bf16_dispatch(
    int parts, int tiles, const float *left0, const float *left1, const float *right0, const float *right1,
    const lockstep_pending_t *own, const lockstep_pending_t *before, lockstep_ahead_t *ahead) {
  switch (parts) {
    case 1: bf16_multiply(1, tiles, left0, left1, right0, right1, own, before, ahead); break;
    case 2: bf16_multiply(2, tiles, left0, left1, right0, right1, own, before, ahead); break;
    case 3: bf16_multiply(3, tiles, left0, left1, right0, right1, own, before, ahead); break;
    default: __builtin_trap();
  }
}

// MARK: Doors

lockstep_tile_kind_t lockstep_tile_kind(void) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return lockstep_no_tiles;
  if (!__builtin_cpu_supports("avx512f")) return lockstep_avx2;
  if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
    return lockstep_avx512;
  if (__builtin_cpu_supports("amx-bf16") && __builtin_cpu_supports("amx-tile")) {
    // arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA): Linux gives tile registers to those who ask.
    if (syscall(SYS_arch_prctl, 0x1023, 18) == 0) return lockstep_amx;
  }
  return lockstep_avx512_bf16;
}

struct tile_configuration {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

AMX_ENTRY void lockstep_tiles_begin(lockstep_tile_kind_t kind) {
  if (kind != lockstep_amx) return;
  struct tile_configuration configuration = {.palette = 1};
  for (int tile = 0; tile < 8; tile++) {
    configuration.row_bytes[tile] = 64;
    configuration.rows[tile] = 16;
  }
  _tile_loadconfig(&configuration);
}

AMX_ENTRY void lockstep_tiles_end(lockstep_tile_kind_t kind) {
  if (kind == lockstep_amx) _tile_release();
}

void lockstep_multiply(
    lockstep_tile_kind_t kind, int parts, int tiles, const uint16_t *left0, const uint16_t *left1,
    const uint16_t *right0, const uint16_t *right1, float *output, ptrdiff_t stride, int height, int width,
    lockstep_way_t way, lockstep_pending_t *pending, lockstep_ahead_t *ahead) {
  lockstep_pending_t own = {pending->other, pending->block, output, stride, height, width, way};
  if (kind == lockstep_amx && parts > 0) {
    amx_dispatch(parts, tiles, left0, left1, right0, right1, &own, pending);
  } else {
    const float *l0 = (const float *)left0, *l1 = (const float *)left1;
    const float *r0 = (const float *)right0, *r1 = (const float *)right1;
    if (kind == lockstep_avx2)
      lockstep_avx2_multiply(tiles, l0, l1, r0, r1, &own, pending, ahead);
    else if (parts <= 0)
      fp32_dispatch(tiles, l0, l1, r0, r1, &own, pending, ahead);
    else
      bf16_dispatch(parts, tiles, l0, l1, r0, r1, &own, pending, ahead);
  }
  *pending = own;
}

void lockstep_finish(lockstep_tile_kind_t kind, lockstep_pending_t *pending) {
  if (pending->output) kind == lockstep_avx2 ? lockstep_avx2_finish(pending) : finish(pending);
  // Writes past the caches have no order of their own, and other ranks may read them.
  if (pending->way == lockstep_past_caches) _mm_sfence();
}

#else
lockstep_tile_kind_t lockstep_tile_kind(void) { return lockstep_no_tiles; }
void lockstep_tiles_begin(lockstep_tile_kind_t kind) {}
void lockstep_tiles_end(lockstep_tile_kind_t kind) {}
void lockstep_multiply(
    lockstep_tile_kind_t kind, int parts, int tiles, const uint16_t *left0, const uint16_t *left1,
    const uint16_t *right0, const uint16_t *right1, float *output, ptrdiff_t stride, int height, int width,
    lockstep_way_t way, lockstep_pending_t *pending, lockstep_ahead_t *ahead) {
  __builtin_trap();
}
void lockstep_finish(lockstep_tile_kind_t kind, lockstep_pending_t *pending) {}
#endif
