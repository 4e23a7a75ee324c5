#include "CTiles.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AVX512 __attribute__((target("avx512f"), always_inline)) static inline
#define AMX __attribute__((target("amx-tile,amx-bf16,avx512f"), always_inline)) static inline
#define AMX_ENTRY __attribute__((target("amx-tile,amx-bf16,avx512f")))
#define BF16_ENTRY __attribute__((target("avx512f,avx512bf16")))

// MARK: Output. A block is 32 × 32, in four tiles of 16 × 16: [left 0, right 0], [0, 1], [1, 0], [1, 1].

// Writes row `row` of a finished block.
AVX512 void finish_row(const lockstep_pending_t *pending, int row) {
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

__attribute__((target("avx512f"))) static void finish(lockstep_pending_t *pending) {
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

// MARK: AVX512-BF16. The same tiles, 16 rows of accumulators at a time.

BF16_ENTRY static void vector_multiply(
    int parts, int tiles, const uint16_t *left, const uint16_t *right, float *output) {
  __m512 sums[16];
  for (int row = 0; row < 16; row++) sums[row] = _mm512_setzero_ps();
  for (int k = 0; k < tiles; k++, left += 512 * parts, right += 512 * parts)
    for (int a = 0; a < parts; a++)
      // As many products as TDPBF16PS does above: (0,0); (0,0), (0,1), (1,0); or these and (1,1), (0,2), (2,0).
      for (int b = 0; b + a < parts; b++)
        for (int pair = 0; pair < 16; pair++) {
          __m512bh columns = (__m512bh)_mm512_load_si512(right + 512 * b + 32 * pair);
          const int32_t *words = (const int32_t *)(left + 512 * a) + pair;
#pragma clang loop unroll(full)
          for (int row = 0; row < 16; row++)
            sums[row] = _mm512_dpbf16_ps(sums[row], (__m512bh)_mm512_set1_epi32(words[16 * row]), columns);
        }
  for (int row = 0; row < 16; row++) _mm512_store_ps(output + 16 * row, sums[row]);
}

// MARK: Doors

lockstep_tile_kind_t lockstep_tile_kind(void) {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
    return lockstep_no_tiles;
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
    lockstep_way_t way, lockstep_pending_t *pending) {
  lockstep_pending_t own = {pending->other, pending->block, output, stride, height, width, way};
  if (kind == lockstep_amx) {
    amx_dispatch(parts, tiles, left0, left1, right0, right1, &own, pending);
    *pending = own;
    return;
  }
  vector_multiply(parts, tiles, left0, right0, own.block);
  if (width > 16) vector_multiply(parts, tiles, left0, right1, own.block + 256);
  if (height > 16) vector_multiply(parts, tiles, left1, right0, own.block + 512);
  if (height > 16 && width > 16) vector_multiply(parts, tiles, left1, right1, own.block + 768);
  finish(&own);
}

void lockstep_finish(lockstep_pending_t *pending) {
  if (pending->output) finish(pending);
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
    lockstep_way_t way, lockstep_pending_t *pending) {
  __builtin_trap();
}
void lockstep_finish(lockstep_pending_t *pending) {}
#endif
