// C = A·Bᵀ for any device: bf16 in, f32 accumulated and out. Rows of A, B and C lie one after another.

// One thread of each element: what the definition says, and the yardstick of what tiles are worth.
KERNEL void gemm_naive(GLOBAL const u16* a, GLOBAL const u16* b, GLOBAL float* c, int m, int n, int k) {
  u64 i = (u64)BX * NTID + TID;
  if (i >= (u64)m * (u64)n) return;
  GLOBAL const u16* row = a + i / (u64)n * (u64)k;
  GLOBAL const u16* column = b + i % (u64)n * (u64)k;
  float sum = 0.0f;
  for (int j = 0; j < k; j++) sum = FMAF(bf2f(row[j]), bf2f(column[j]), sum);
  c[i] = sum;
}

// A tile of 128x128 per block of 256 threads, eight by eight elements of each thread in registers, sixteen columns of A and B at a time
// in shared memory. A thread's rows lie 16 apart, so that a warp reads neighbouring words and writes neighbouring columns.
#define TILE 128
#define DEEP 16
// A column of the tile is one word longer than the tile: threads store down a column.
#define PITCH (TILE + 1)
KERNEL void BOUNDS(256, 1) gemm_tiled(GLOBAL const u16* a, GLOBAL const u16* b, GLOBAL float* c, int m, int n, int k, int across) {
  SHARED float sa[DEEP * PITCH];
  SHARED float sb[DEEP * PITCH];
  const int m0 = BX / across * TILE, n0 = BX % across * TILE;
  const int ty = TID / 16, tx = TID % 16;
  float sum[8][8];
  UNROLL for (int i = 0; i < 8; i++) UNROLL for (int j = 0; j < 8; j++) sum[i][j] = 0.0f;
  for (int k0 = 0; k0 < k; k0 += DEEP) {
    const int column = k0 + tx;
    UNROLL for (int i = 0; i < 8; i++) {
      const int row = ty + 16 * i;
      sa[tx * PITCH + row] = m0 + row < m && column < k ? bf2f(a[(u64)(m0 + row) * (u64)k + (u64)column]) : 0.0f;
      sb[tx * PITCH + row] = n0 + row < n && column < k ? bf2f(b[(u64)(n0 + row) * (u64)k + (u64)column]) : 0.0f;
    }
    SYNC();
    UNROLL for (int j = 0; j < DEEP; j++) {
      float left[8], right[8];
      UNROLL for (int i = 0; i < 8; i++) left[i] = sa[j * PITCH + ty + 16 * i];
      UNROLL for (int i = 0; i < 8; i++) right[i] = sb[j * PITCH + tx + 16 * i];
      UNROLL for (int y = 0; y < 8; y++) UNROLL for (int x = 0; x < 8; x++) sum[y][x] = FMAF(left[y], right[x], sum[y][x]);
    }
    SYNC();
  }
  UNROLL for (int y = 0; y < 8; y++) UNROLL for (int x = 0; x < 8; x++) {
    const int row = m0 + ty + 16 * y, column = n0 + tx + 16 * x;
    if (row < m && column < n) c[(u64)row * (u64)n + (u64)column] = sum[y][x];
  }
}
