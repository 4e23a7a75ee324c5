// What Swift cannot say: products of small matrices in the CPU's bf16 tile registers (AMX), by its dot products of bf16
// pairs (AVX512-BF16) or in fp32 (AVX-512, AVX2), and the packing of fp32 matrices for them. Compiled for any x86-64; each
// function may be called only where `lockstep_tile_kind` says that the CPU has what it needs.
//
// A *tile* is 16 rows (or columns) by 16 words of depth, 1 KiB: a word is one number in fp32, or two of bf16. The left
// factor's tile is row by row, the right factor's word by word of the depth, 16 columns each, as TDPBF16PS wants it. A
// *panel* is 16 rows (or columns) through the whole depth, rounded up to whole tiles with zeros: tile after tile. In bf16
// a tile has 1, 2 or 3 *parts* one after the other, whose sum is the fp32 matrix: bf16 numbers hold 8 bits of a number's
// 24, and each part what the parts before it left over. 0 parts: the numbers themselves, in fp32; -1: words of fp32 that
// hold the numbers rounded to bf16, for CPUs that multiply no bf16.
#ifndef LOCKSTEP_CTILES_H
#define LOCKSTEP_CTILES_H

#include <stddef.h>
#include <stdint.h>

/// Each kind has those before it: AVX2 and AVX-512 multiply fp32, the other two bf16 besides.
typedef enum {
  lockstep_no_tiles = 0,
  lockstep_avx2 = 1,
  lockstep_avx512 = 2,
  lockstep_avx512_bf16 = 3,
  lockstep_amx = 4,
} lockstep_tile_kind_t;

/// The best that this CPU has; asks the kernel for the right to use AMX, once for the process.
lockstep_tile_kind_t lockstep_tile_kind(void);

/// Packs a panel whose rows (or columns) lie `stride` floats apart, each contiguous along the depth.
/// `lines` of 16 are there; the others are zeros. `isRight` says which factor's order the tiles have.
void lockstep_pack_contiguous(
    lockstep_tile_kind_t kind, int parts, int isRight, const float *_Nonnull source, ptrdiff_t stride, int lines, int depth,
    uint16_t *_Nonnull panel);

/// Packs a panel whose depth lies `stride` floats apart, its rows (or columns) contiguous.
void lockstep_pack_strided(
    lockstep_tile_kind_t kind, int parts, int isRight, const float *_Nonnull source, ptrdiff_t stride, int lines, int depth,
    uint16_t *_Nonnull panel);

/// Prepares the calling thread for `lockstep_multiply`; to be ended before the thread does anything else for long.
void lockstep_tiles_begin(lockstep_tile_kind_t kind);
void lockstep_tiles_end(lockstep_tile_kind_t kind);

/// How a block comes to its output.
typedef enum {
  lockstep_overwrite,
  lockstep_add,
  /// Overwritten past the caches, for an output that nobody reads soon: its old contents need not be fetched. It begins at a
  /// cache line's start, and so do its rows.
  lockstep_past_caches,
} lockstep_way_t;

/// A block of up to 32 × 32 that is computed, but not written yet.
typedef struct {
  float *_Nonnull block;  // four tiles of [16, 16], at a cache line's start
  float *_Nonnull other;  // of the same size, for the next block
  float *_Nullable output;  // null: nothing waits
  ptrdiff_t stride;
  int height, width;
  lockstep_way_t way;
} lockstep_pending_t;

/// What is needed after this product: fetched meanwhile, a few lines at a time. Rows of `lines` cache lines, `stride` floats
/// apart.
typedef struct {
  const float *_Nullable row;
  ptrdiff_t stride;
  int rows, lines;
  int line;  // of the first row: the next to be fetched
} lockstep_ahead_t;

/// The product of two left panels and two right ones, into `output`: `height` and `width` of 32 are written. Parts are
/// multiplied such that what is left out is below fp32's own rounding (3 parts) or below 2^-16 of a product (2); those of
/// 0 and -1 parts are fp32's own products.
///
/// Each call leaves its block for the next one to write, and the last for `lockstep_finish`: memory is slow, and so has the
/// time of a whole block. Tiles (AMX) leave `ahead` alone: they are so fast that memory is busy without it.
void lockstep_multiply(
    lockstep_tile_kind_t kind, int parts, int tiles, const uint16_t *_Nonnull left0, const uint16_t *_Nonnull left1,
    const uint16_t *_Nonnull right0, const uint16_t *_Nonnull right1, float *_Nonnull output, ptrdiff_t stride, int height,
    int width, lockstep_way_t way, lockstep_pending_t *_Nonnull pending, lockstep_ahead_t *_Nonnull ahead);

/// Writes what waits; after it other threads and processes may read all outputs.
void lockstep_finish(lockstep_tile_kind_t kind, lockstep_pending_t *_Nonnull pending);

#endif
