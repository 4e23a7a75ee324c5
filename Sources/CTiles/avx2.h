// Products in fp32 by AVX2 and FMA, of the same tiles; see CTiles.h. For CPUs without AVX-512.
#ifndef LOCKSTEP_AVX2_H
#define LOCKSTEP_AVX2_H

#include "CTiles.h"

// Takes the next line of what is needed later into the second cache.
__attribute__((always_inline)) static inline void lockstep_fetch_line(lockstep_ahead_t *ahead) {
  if (ahead->rows == 0) return;
  __builtin_prefetch(ahead->row + 16 * ahead->line, 0, 2);
  if (++ahead->line < ahead->lines) return;
  ahead->line = 0;
  ahead->row += ahead->stride;
  ahead->rows--;
}

// As `lockstep_pack_strided` (`isStrided`) and `lockstep_pack_contiguous`.
void lockstep_avx2_pack(
    int isRounded, int isRight, int isStrided, const float *source, ptrdiff_t stride, int lines, int depth, float *panel);

// As `lockstep_multiply` and `lockstep_finish`.
void lockstep_avx2_multiply(
    int tiles, const float *left0, const float *left1, const float *right0, const float *right1,
    const lockstep_pending_t *own, const lockstep_pending_t *before, lockstep_ahead_t *ahead);
void lockstep_avx2_finish(lockstep_pending_t *pending);

#endif
