// y = x·Wᵀ for one to sixteen rows of x without a matrix unit: W streams through registers once, sixteen bytes of a lane at a time.
// Needs K divisible by 8.
//
// Defines: TOKENS, the rows of x; ROWS, rows of W that a warp reads together, each with a load under way and all with the same piece of x;
// CHUNK, columns of x that stand in shared memory at a time, divisible by 8; BLOCKS, how many blocks should fit a multiprocessor.
#if defined(WARP) && WARP > 1
DEV void products(float* sum, u32 w, u32 x) {
  *sum = FMAF(AS_FLOAT(w << 16), AS_FLOAT(x << 16), *sum);
  *sum = FMAF(AS_FLOAT(w & 0xffff0000u), AS_FLOAT(x & 0xffff0000u), *sum);
}

KERNEL void BOUNDS(THREADS, BLOCKS) gemv_vector(GLOBAL const u128* x, GLOBAL const u128* w, GLOBAL float* y, int n, int k) {
  DYNAMIC_SHARED(shared);
  u128* part = (u128*)shared;
  const int pieces = k / 8, chunk = CHUNK / 8;
  const int groups = (n + ROWS - 1) / ROWS, warps = NTID / WARP;
  // All warps of a block go round equally often: they meet at barriers.
  for (int base = BX * warps; base < groups; base += GX * warps) {
    const int first = (base + WARP_ID) * ROWS;
    GLOBAL const u128* row[ROWS];
    // A row past the end is the last one again, read for nothing and not written.
    UNROLL for (int r = 0; r < ROWS; r++) row[r] = w + (u64)(first + r < n ? first + r : n - 1) * (u64)pieces;
    float sum[ROWS][TOKENS];
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int i = 0; i < TOKENS; i++) sum[r][i] = 0.0f;
    for (int from = 0; from < pieces; from += chunk) {
      const int here = pieces - from < chunk ? pieces - from : chunk;
      // Where all of x fits it is fetched once.
      if (from > 0 || base == BX * warps || chunk < pieces) {
        SYNC();
        for (int i = 0; i < TOKENS; i++) for (int j = TID; j < here; j += NTID) part[i * chunk + j] = x[(u64)i * (u64)pieces + (u64)(from + j)];
        SYNC();
      }
      u128 now[ROWS];
      if (LANE < here) {
        UNROLL for (int r = 0; r < ROWS; r++) now[r] = STREAM(row[r] + from + LANE);
      }
      for (int j = LANE; j < here; j += WARP) {
        // The next pieces are on their way while these are multiplied.
        u128 next[ROWS];
        const int ahead = j + WARP;
        // An `if`, not a choice of two values: some compilers choose between addresses then, and keep the pieces in memory.
        UNROLL for (int r = 0; r < ROWS; r++) {
          next[r] = now[r];
          if (ahead < here) next[r] = STREAM(row[r] + from + ahead);
        }
        UNROLL for (int i = 0; i < TOKENS; i++) {
          const u128 of_x = part[i * chunk + j];
          UNROLL for (int r = 0; r < ROWS; r++) {
            products(&sum[r][i], now[r].x, of_x.x);
            products(&sum[r][i], now[r].y, of_x.y);
            products(&sum[r][i], now[r].z, of_x.z);
            products(&sum[r][i], now[r].w, of_x.w);
          }
        }
        UNROLL for (int r = 0; r < ROWS; r++) now[r] = next[r];
      }
    }
    UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int i = 0; i < TOKENS; i++) {
      float all = sum[r][i];
      UNROLL for (int far = WARP / 2; far > 0; far /= 2) all += SHFL_XOR(all, far);
      if (LANE == 0 && first + r < n) y[(u64)i * (u64)n + (u64)(first + r)] = all;
    }
  }
}
#endif
