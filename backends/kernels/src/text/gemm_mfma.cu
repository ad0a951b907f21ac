// C = A·Bᵀ by the matrix unit of gfx90a and gfx942, waves of 64. Needs K divisible by 8; M and N are free.
//
// v_mfma_f32_16x16x16_bf16: lane l holds four elements of k, 4(l/16) on, of row l%16 of A and of column l%16 of B, and gets rows 4(l/16) on
// of column l%16 of C. A sum does not care for the order of k, so a lane fetches eight neighbours of each row at once and gives them to
// two instructions: A and B are permuted alike.
#if defined(__gfx90a__) || defined(__gfx940__) || defined(__gfx941__) || defined(__gfx942__)
typedef short bf16x4 __attribute__((vector_size(8)));
typedef float f32x4 __attribute__((vector_size(16)));
typedef u32 u32x4 __attribute__((vector_size(16)));
#define BM 128
#define BN 128
#define BK 32
// Words of a row in shared memory: 16 hold it, 4 more spread rows over the banks and keep sixteen bytes aligned.
#define PITCH 20
// 256 threads fetch 64 rows of four pieces of sixteen bytes at a time.
#define PASSES 2

DEV u32x4 piece(GLOBAL const u16* from, int there) {
  u32x4 none = {0, 0, 0, 0};
  return there ? *(GLOBAL const u32x4*)from : none;
}

KERNEL void BOUNDS(256, 2) gemm_mfma(GLOBAL const u16* a, GLOBAL const u16* b, GLOBAL float* c, int m, int n, int k, int across) {
  SHARED u32 sa[BM * PITCH] __attribute__((aligned(16)));
  SHARED u32 sb[BN * PITCH] __attribute__((aligned(16)));
  const int m0 = BX / across * BM, n0 = BX % across * BN;
  const int first = TID / 4, column = TID % 4 * 8, to = first * PITCH + TID % 4 * 4;
  const int wm = WARP_ID / 2 * 64, wn = WARP_ID % 2 * 64;
  const int at = LANE % 16 * PITCH + LANE / 16 * 4;
  f32x4 acc[4][4];
  UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++) UNROLL for (int e = 0; e < 4; e++) acc[i][j][e] = 0.0f;
  u32x4 next_a[PASSES], next_b[PASSES];
  UNROLL for (int i = 0; i < PASSES; i++) {
    const int row = first + i * 64;
    next_a[i] = piece(a + (u64)(m0 + row) * (u64)k + column, m0 + row < m && column < k);
    next_b[i] = piece(b + (u64)(n0 + row) * (u64)k + column, n0 + row < n && column < k);
  }
  for (int k0 = 0; k0 < k; k0 += BK) {
    UNROLL for (int i = 0; i < PASSES; i++) {
      *(u32x4*)(sa + to + i * 64 * PITCH) = next_a[i];
      *(u32x4*)(sb + to + i * 64 * PITCH) = next_b[i];
    }
    SYNC();
    // The next tile is under way while this one is worked on.
    const int ahead = k0 + BK + column;
    UNROLL for (int i = 0; i < PASSES; i++) {
      const int row = first + i * 64;
      next_a[i] = piece(a + (u64)(m0 + row) * (u64)k + ahead, m0 + row < m && ahead < k);
      next_b[i] = piece(b + (u64)(n0 + row) * (u64)k + ahead, n0 + row < n && ahead < k);
    }
    union { u32x4 words; bf16x4 halves[2]; } fa[4], fb[4];
    UNROLL for (int i = 0; i < 4; i++) {
      fa[i].words = *(const u32x4*)(sa + at + (wm + i * 16) * PITCH);
      fb[i].words = *(const u32x4*)(sb + at + (wn + i * 16) * PITCH);
    }
    UNROLL for (int h = 0; h < 2; h++) UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++) {
      acc[i][j] = __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(fa[i].halves[h], fb[j].halves[h], acc[i][j], 0, 0, 0);
    }
    SYNC();
  }
  UNROLL for (int i = 0; i < 4; i++) UNROLL for (int j = 0; j < 4; j++) UNROLL for (int e = 0; e < 4; e++) {
    const int row = m0 + wm + i * 16 + LANE / 16 * 4 + e, to_column = n0 + wn + j * 16 + LANE % 16;
    if (row < m && to_column < n) c[(u64)row * (u64)n + (u64)to_column] = acc[i][j][e];
  }
}
#endif
