// y = x·Wᵀ for one to sixteen rows of x by the matrix unit of sm_80 and later: W streams straight from memory into fragments.
// Needs K divisible by 32.
//
// The order of k does not matter to a sum. So a lane that owns columns 2t, 2t+1, 2t+8, 2t+9 of a fragment takes four neighbours instead,
// and eight for two products: sixteen bytes at once, of W and of x alike. No shared memory, no shuffle before the end.
//
// Defines: TOKENS, the rows of x; TILES, fragments of sixteen rows of W that a warp reads together; SPLIT, warps of a block, which share
// its rows and take pieces of K in turn.
#if defined(HAS_MMA)
#define EIGHTS ((TOKENS + 7) / 8)
#define ROWS (16 * TILES)
// Pieces of 32 columns under way at a time.
#define DEEP 2
KERNEL void BOUNDS(SPLIT * 32, 32 / (SPLIT * TILES)) gemv_mma(GLOBAL const u128* x, GLOBAL const u128* w, GLOBAL float* y, int n, int k) {
  SHARED float sums[SPLIT][ROWS * EIGHTS * 8];
  const int pieces = k / 8, first = BX * ROWS, g = LANE / 4, t = LANE % 4;
  GLOBAL const u128* row[TILES][2];
  // A row past the end is the last one again, read for nothing and not written.
  UNROLL for (int i = 0; i < TILES; i++) UNROLL for (int h = 0; h < 2; h++) {
    const int at = first + 16 * i + 8 * h + g;
    row[i][h] = w + (u64)(at < n ? at : n - 1) * (u64)pieces + t;
  }
  GLOBAL const u128* of_x[EIGHTS];
  UNROLL for (int e = 0; e < EIGHTS; e++) of_x[e] = x + (u64)(8 * e + g < TOKENS ? 8 * e + g : TOKENS - 1) * (u64)pieces + t;
  float acc[TILES][EIGHTS][4];
  UNROLL for (int i = 0; i < TILES; i++) UNROLL for (int e = 0; e < EIGHTS; e++) UNROLL for (int c = 0; c < 4; c++) acc[i][e][c] = 0.0f;

  // A turn is DEEP pieces of 32 columns: of each row 128 bytes, a line of the cache.
  for (int from = WARP_ID * 4 * DEEP; from < pieces; from += SPLIT * 4 * DEEP) {
    u128 fw[DEEP][TILES][2];
    UNROLL for (int d = 0; d < DEEP; d++) UNROLL for (int i = 0; i < TILES; i++) UNROLL for (int h = 0; h < 2; h++) {
      if (from + 4 * d < pieces) fw[d][i][h] = STREAM(row[i][h] + from + 4 * d);
    }
    UNROLL for (int d = 0; d < DEEP; d++) {
      if (from + 4 * d < pieces) {
        UNROLL for (int e = 0; e < EIGHTS; e++) {
          // Columns past the last repeat the last row of x; what they give is not written.
          const u128 fx = of_x[e][from + 4 * d];
          const u32 low[2] = {fx.x, fx.y}, high[2] = {fx.z, fx.w};
          UNROLL for (int i = 0; i < TILES; i++) {
            const u32 left[4] = {fw[d][i][0].x, fw[d][i][1].x, fw[d][i][0].y, fw[d][i][1].y};
            const u32 right[4] = {fw[d][i][0].z, fw[d][i][1].z, fw[d][i][0].w, fw[d][i][1].w};
            mma_bf16(acc[i][e], left, low);
            mma_bf16(acc[i][e], right, high);
          }
        }
      }
    }
  }
  UNROLL for (int i = 0; i < TILES; i++) UNROLL for (int e = 0; e < EIGHTS; e++) UNROLL for (int c = 0; c < 4; c++) {
    sums[WARP_ID][(8 * e + 2 * t + c % 2) * ROWS + 16 * i + 8 * (c / 2) + g] = acc[i][e][c];
  }
  SYNC();
  for (int at = TID; at < ROWS * TOKENS; at += SPLIT * 32) {
    float all = 0.0f;
    UNROLL for (int s = 0; s < SPLIT; s++) all += sums[s][at];
    if (first + at % ROWS < n) y[(u64)(at / ROWS) * (u64)n + (u64)(first + at % ROWS)] = all;
  }
}
#endif
