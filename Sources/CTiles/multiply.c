#include "CTiles.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AMX __attribute__((target("amx-tile,amx-bf16,avx512f"), always_inline)) static inline
#define ENTRY __attribute__((target("amx-tile,amx-bf16,avx512f")))

// MARK: AMX. Accumulators are tiles 0-3: [left 0, right 0], [0, 1], [1, 0], [1, 1]; 4 and 5 hold left tiles, 6 and 7 right ones.

// One part of the left times one of the right. TWO_LEFT, TWO_RIGHT: whether second panels are there.
#define TIMES(TWO_LEFT, TWO_RIGHT)                    \
  do {                                                \
    _tile_dpbf16ps(0, 4, 6);                          \
    if (TWO_RIGHT) _tile_dpbf16ps(1, 4, 7);           \
    if (TWO_LEFT) _tile_dpbf16ps(2, 5, 6);            \
    if (TWO_LEFT && TWO_RIGHT) _tile_dpbf16ps(3, 5, 7); \
  } while (0)

#define LOAD_LEFT(part)                                           \
  do {                                                            \
    _tile_loadd(4, left0 + 512 * (part), 64);                     \
    if (two_left) _tile_loadd(5, left1 + 512 * (part), 64);       \
  } while (0)

#define LOAD_RIGHT(part)                                          \
  do {                                                            \
    _tile_loadd(6, right0 + 512 * (part), 64);                    \
    if (two_right) _tile_loadd(7, right1 + 512 * (part), 64);     \
  } while (0)

// All products of parts of the k-th tiles; moves on to the next.
#define STEP(BETWEEN)                                   \
  do {                                                  \
    LOAD_LEFT(0);                                       \
    LOAD_RIGHT(0);                                      \
    TIMES(two_left, two_right);                         \
    BETWEEN;                                            \
    if (parts >= 2) {                                   \
      LOAD_RIGHT(1);                                    \
      TIMES(two_left, two_right);  /* 0 · 1 */          \
      LOAD_LEFT(1);                                     \
      if (parts >= 3) TIMES(two_left, two_right);  /* 1 · 1 */ \
      LOAD_RIGHT(0);                                    \
      TIMES(two_left, two_right);  /* 1 · 0 */          \
    }                                                   \
    if (parts >= 3) {                                   \
      LOAD_LEFT(2);                                     \
      TIMES(two_left, two_right);  /* 2 · 0 */          \
      LOAD_LEFT(0);                                     \
      LOAD_RIGHT(2);                                    \
      TIMES(two_left, two_right);  /* 0 · 2 */          \
    }                                                   \
    left0 += 512 * parts;                               \
    left1 += 512 * parts;                               \
    right0 += 512 * parts;                              \
    right1 += 512 * parts;                              \
  } while (0)

AMX void amx_multiply(
    const int parts, const int two_left, const int two_right, int tiles, const uint16_t *left0, const uint16_t *left1,
    const uint16_t *right0, const uint16_t *right1, float *output, ptrdiff_t stride, int adds) {
  ptrdiff_t bytes = stride * (ptrdiff_t)sizeof(float);
  float *below = output + 16 * stride;
  if (adds) {
    _tile_loadd(0, output, bytes);
    if (two_right) _tile_loadd(1, output + 16, bytes);
    if (two_left) _tile_loadd(2, below, bytes);
    if (two_left && two_right) _tile_loadd(3, below + 16, bytes);
  } else {
    // The output's lines are fetched while the products are computed.
    for (int row = 0; row < (two_left ? 32 : 16); row++) {
      __builtin_prefetch(output + row * stride, 1);
      if (two_right) __builtin_prefetch(output + row * stride + 16, 1);
    }
    _tile_zero(0);
    if (two_right) _tile_zero(1);
    if (two_left) _tile_zero(2);
    if (two_left && two_right) _tile_zero(3);
  }
  for (int k = 0; k < tiles; k++) STEP((void)0);
  _tile_stored(0, output, bytes);
  if (two_right) _tile_stored(1, output + 16, bytes);
  if (two_left) _tile_stored(2, below, bytes);
  if (two_left && two_right) _tile_stored(3, below + 16, bytes);
}

#define ARGUMENTS tiles, left0, left1, right0, right1, output, stride, adds
#define CASES(parts)                                          \
  case 4 * parts: amx_multiply(parts, 0, 0, ARGUMENTS); break;  \
  case 4 * parts + 1: amx_multiply(parts, 0, 1, ARGUMENTS); break; \
  case 4 * parts + 2: amx_multiply(parts, 1, 0, ARGUMENTS); break; \
  case 4 * parts + 3: amx_multiply(parts, 1, 1, ARGUMENTS); break;

ENTRY static void amx_dispatch(
    int parts, int tiles, const uint16_t *left0, const uint16_t *left1, const uint16_t *right0, const uint16_t *right1,
    float *output, ptrdiff_t stride, int adds) {
  int shape = 4 * parts + 2 * (left1 != 0) + (right1 != 0);
  switch (shape) {
    CASES(1)
    CASES(2)
    CASES(3)
    default: __builtin_trap();
  }
}

// MARK: AMX, the output behind by one block

// Writes row `row` of a finished block, which lies tile after tile.
AMX void finish_row(const lockstep_pending_t *pending, int row) {
  const float *line = pending->block + row / 16 * 512 + row % 16 * 16;
  float *output = pending->output + row * pending->stride;
  __m512 first = _mm512_load_ps(line), second = _mm512_load_ps(line + 256);
  if (pending->way == lockstep_past_caches) {
    _mm512_stream_ps(output, first);
    _mm512_stream_ps(output + 16, second);
    return;
  }
  if (pending->way == lockstep_add) {
    first = _mm512_add_ps(first, _mm512_loadu_ps(output));
    second = _mm512_add_ps(second, _mm512_loadu_ps(output + 16));
  }
  _mm512_storeu_ps(output, first);
  _mm512_storeu_ps(output + 16, second);
}

// While a block is computed, its output's lines are fetched, and those of the block before it are written, a few at a time:
// all at once they would fill the processor's buffers, and the loads of tiles would wait for memory.
AMX void amx_multiply_block(
    const int parts, int tiles, const uint16_t *left0, const uint16_t *left1, const uint16_t *right0,
    const uint16_t *right1, const lockstep_pending_t *own, const lockstep_pending_t *before) {
  const int two_left = 1, two_right = 1;
  int rows_a_tile = (32 + tiles - 1) / tiles, fetches = own->way != lockstep_past_caches, finishes = before->output != 0;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int k = 0, row = 0; k < tiles; k++) {
    int end = row + rows_a_tile < 32 ? row + rows_a_tile : 32;
    if (fetches)
      for (int fetched = row; fetched < end; fetched++) {
        __builtin_prefetch(own->output + fetched * own->stride, 1);
        __builtin_prefetch(own->output + fetched * own->stride + 16, 1);
      }
    STEP(if (finishes) for (int finished = row; finished < end; finished++) finish_row(before, finished));
    row = end;
  }
  _tile_stored(0, own->block, 64);
  _tile_stored(1, own->block + 256, 64);
  _tile_stored(2, own->block + 512, 64);
  _tile_stored(3, own->block + 768, 64);
}

ENTRY static void amx_dispatch_block(
    int parts, int tiles, const uint16_t *left0, const uint16_t *left1, const uint16_t *right0, const uint16_t *right1,
    const lockstep_pending_t *own, const lockstep_pending_t *before) {
  switch (parts) {
    case 1: amx_multiply_block(1, tiles, left0, left1, right0, right1, own, before); break;
    case 2: amx_multiply_block(2, tiles, left0, left1, right0, right1, own, before); break;
    case 3: amx_multiply_block(3, tiles, left0, left1, right0, right1, own, before); break;
    default: __builtin_trap();
  }
}

ENTRY static void amx_finish(const lockstep_pending_t *pending) {
  for (int row = 0; row < 32; row++) finish_row(pending, row);
}

// MARK: AVX512-BF16. The same tiles, 16 rows of accumulators at a time.

__attribute__((target("avx512f,avx512bf16"))) static void vector_multiply(
    int parts, int tiles, const uint16_t *left, const uint16_t *right, float *output, ptrdiff_t stride, int adds) {
  __m512 sums[16];
  for (int row = 0; row < 16; row++) sums[row] = adds ? _mm512_loadu_ps(output + row * stride) : _mm512_setzero_ps();
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
  for (int row = 0; row < 16; row++) _mm512_storeu_ps(output + row * stride, sums[row]);
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

ENTRY void lockstep_tiles_begin(lockstep_tile_kind_t kind) {
  if (kind != lockstep_amx) return;
  struct tile_configuration configuration = {.palette = 1};
  for (int tile = 0; tile < 8; tile++) {
    configuration.row_bytes[tile] = 64;
    configuration.rows[tile] = 16;
  }
  _tile_loadconfig(&configuration);
}

ENTRY void lockstep_tiles_end(lockstep_tile_kind_t kind) {
  if (kind == lockstep_amx) _tile_release();
}

void lockstep_multiply(
    lockstep_tile_kind_t kind, int parts, int tiles, const uint16_t *left0, const uint16_t *left1,
    const uint16_t *right0, const uint16_t *right1, float *output, ptrdiff_t stride, int adds) {
  if (kind == lockstep_amx) {
    amx_dispatch(parts, tiles, left0, left1, right0, right1, output, stride, adds);
    return;
  }
  vector_multiply(parts, tiles, left0, right0, output, stride, adds);
  if (right1) vector_multiply(parts, tiles, left0, right1, output + 16, stride, adds);
  if (left1) vector_multiply(parts, tiles, left1, right0, output + 16 * stride, stride, adds);
  if (left1 && right1) vector_multiply(parts, tiles, left1, right1, output + 16 * stride + 16, stride, adds);
}

void lockstep_multiply_block(
    lockstep_tile_kind_t kind, int parts, int tiles, const uint16_t *left0, const uint16_t *left1,
    const uint16_t *right0, const uint16_t *right1, float *output, ptrdiff_t stride, lockstep_way_t way,
    lockstep_pending_t *pending) {
  if (kind != lockstep_amx) {
    lockstep_multiply(kind, parts, tiles, left0, left1, right0, right1, output, stride, way == lockstep_add);
    return;
  }
  lockstep_pending_t own = {pending->other, pending->block, output, stride, way};
  amx_dispatch_block(parts, tiles, left0, left1, right0, right1, &own, pending);
  *pending = own;
}

void lockstep_finish_block(lockstep_pending_t *pending) {
  if (!pending->output) return;
  amx_finish(pending);
  pending->output = 0;
  // Writes past the caches have no order of their own, and other ranks may read them.
  if (pending->way == lockstep_past_caches) _mm_sfence();
}

#else
lockstep_tile_kind_t lockstep_tile_kind(void) { return lockstep_no_tiles; }
void lockstep_tiles_begin(lockstep_tile_kind_t kind) {}
void lockstep_tiles_end(lockstep_tile_kind_t kind) {}
void lockstep_multiply(
    lockstep_tile_kind_t kind, int parts, int tiles, const uint16_t *left0, const uint16_t *left1,
    const uint16_t *right0, const uint16_t *right1, float *output, ptrdiff_t stride, int adds) {
  __builtin_trap();
}
void lockstep_multiply_block(
    lockstep_tile_kind_t kind, int parts, int tiles, const uint16_t *left0, const uint16_t *left1,
    const uint16_t *right0, const uint16_t *right1, float *output, ptrdiff_t stride, lockstep_way_t way,
    lockstep_pending_t *pending) {
  __builtin_trap();
}
void lockstep_finish_block(lockstep_pending_t *pending) {}
#endif
