// C = A·Bᵀ by the matrix unit of sm_80 and later: mma.sync on fragments that ldmatrix fetches from shared memory, which cp.async fills
// several tiles ahead. Needs K divisible by 8 (rows of sixteen bytes); M and N are free.
//
// Defines: BM x BN is the tile of a block, WM x WN that of a warp, STAGES the tiles in flight.
#if defined(HAS_MMA)
#define BK 64
#define THREADS (BM / WM * (BN / WN) * 32)
// A row of a tile is 64 elements, 128 bytes, eight pieces of sixteen. Piece p of row r stands at p ^ (r % 8): eight rows of one column
// then lie in eight different groups of banks, for ldmatrix as for cp.async.
#define ROW_BYTES 128
#define A_BYTES (BM * ROW_BYTES)
#define STAGE_BYTES ((BM + BN) * ROW_BYTES)
#define PASS (THREADS / 8)
#define A_PASSES (BM / PASS)
#define B_PASSES (BN / PASS)
#define MI (WM / 16)
#define NI (WN / 8)

// Which tile a block computes: blocks that run at the same time form a patch `HIGH` tiles high, so that they share rows of A and B in
// the last cache, instead of a row of tiles that shares only A.
#define HIGH 8
DEV void tile_of(int block, int down, int across, int* tm, int* tn) {
  const int patch = block / (HIGH * across), inside = block % (HIGH * across);
  const int left = down - patch * HIGH, high = left < HIGH ? left : HIGH;
  *tm = patch * HIGH + inside % high;
  *tn = inside / high;
}

// Copies one pass of rows: bit `at` of `rows` says whether this thread's row exists. (A form for whole tiles, without this, needed more
// registers than there are: the compiler then kept every row's address.)
#define COPY(to, from, at, rows) copy_async16((to), (from), (int)(((rows) << 4 >> (at)) & 16u))

KERNEL void BOUNDS(THREADS, 1) gemm_mma(GLOBAL const u16* a, GLOBAL const u16* b, GLOBAL float* c, int m, int n, int k, int down, int across) {
  DYNAMIC_SHARED(shared);
  int tm, tn;
  tile_of(BX, down, across, &tm, &tn);
  const int m0 = tm * BM, n0 = tn * BN;
  const int tiles = (k + BK - 1) / BK;

  // What this thread copies: piece `piece` of rows first, first + PASS, ... of both tiles.
  const int first = TID / 8, piece = TID % 8;
  const int to = first * ROW_BYTES + ((piece ^ (first % 8)) << 4);
  GLOBAL const u16* from_a = a + (u64)(m0 + first) * (u64)k + piece * 8;
  GLOBAL const u16* from_b = b + (u64)(n0 + first) * (u64)k + piece * 8;
  const u32 pass = PASS * (u32)k;
  u32 rows_a = 0, rows_b = 0;
  UNROLL for (int i = 0; i < A_PASSES; i++) rows_a |= (m0 + first + i * PASS < m ? 1u : 0u) << i;
  UNROLL for (int i = 0; i < B_PASSES; i++) rows_b |= (n0 + first + i * PASS < n ? 1u : 0u) << i;

  // What this lane points ldmatrix at: of A, four matrices of 8x8 in a 16x16; of B, whose rows are columns of C, two columns of eight.
  const int wm = WARP_ID / (BN / WN) * WM, wn = WARP_ID % (BN / WN) * WN;
  const int swap = LANE % 8;
  const int at_a = (wm + LANE % 16) * ROW_BYTES, half_a = ((LANE / 16) ^ swap) << 4;
  const int at_b = A_BYTES + (wn + LANE / 16 * 8 + LANE % 8) * ROW_BYTES, half_b = ((LANE / 8 % 2) ^ swap) << 4;

  float acc[MI][NI][4];
  u32 fa[2][MI][4], fb[2][NI / 2][4];
  UNROLL for (int i = 0; i < MI; i++) UNROLL for (int j = 0; j < NI; j++) UNROLL for (int e = 0; e < 4; e++) acc[i][j][e] = 0.0f;

  UNROLL for (int s = 0; s < STAGES - 1; s++) {
    if (s < tiles) {
      const u32 inside = s * BK + piece * 8 < k ? 0xffffffffu : 0u;
      char* stage = shared + s * STAGE_BYTES + to;
      UNROLL for (int i = 0; i < A_PASSES; i++) COPY(stage + i * PASS * ROW_BYTES, from_a + (u32)i * pass + s * BK, i, rows_a & inside);
      UNROLL for (int i = 0; i < B_PASSES; i++) COPY(stage + A_BYTES + i * PASS * ROW_BYTES, from_b + (u32)i * pass + s * BK, i, rows_b & inside);
    }
    COPY_COMMIT();
  }
  COPY_WAIT(STAGES - 2);
  SYNC();
  UNROLL for (int i = 0; i < MI; i++) ldmatrix4(fa[0][i], shared + at_a + half_a + i * 16 * ROW_BYTES);
  UNROLL for (int j = 0; j < NI / 2; j++) ldmatrix4(fb[0][j], shared + at_b + half_b + j * 16 * ROW_BYTES);

  int read = 0, write = STAGES - 1;
  for (int tile = 0; tile < tiles; tile++) {
    const int ahead = tile + STAGES - 1;
    const u32 inside = ahead < tiles && ahead * BK + piece * 8 < k ? 0xffffffffu : 0u;
    GLOBAL const u16* ahead_a = from_a + (u64)ahead * BK;
    GLOBAL const u16* ahead_b = from_b + (u64)ahead * BK;
    char* stage = shared + write * STAGE_BYTES + to;
    const char* at = shared + read * STAGE_BYTES;
    UNROLL for (int step = 0; step < BK / 16; step++) {
      const int now = step % 2, next = 1 - now;
      if (step == BK / 16 - 1) {
        // The next tile has come for all threads, and all have fetched the last of this one: its stage may be filled again.
        COPY_WAIT(STAGES - 2);
        SYNC();
        read = read + 1 == STAGES ? 0 : read + 1;
        at = shared + read * STAGE_BYTES;
      }
      // Fragments of the next step are fetched while the matrix unit works on this one's.
      const int turn = (step + 1) % (BK / 16) * 32;
      UNROLL for (int i = 0; i < MI; i++) ldmatrix4(fa[next][i], at + at_a + (half_a ^ turn) + i * 16 * ROW_BYTES);
      UNROLL for (int j = 0; j < NI / 2; j++) ldmatrix4(fb[next][j], at + at_b + (half_b ^ turn) + j * 16 * ROW_BYTES);
      // The copies of the tile ahead are spread over the steps: issued at once, they would hold up the fetches of fragments.
      if (step < BK / 16 - 1 && ahead < tiles) {
        UNROLL for (int i = 0; i < A_PASSES; i++) {
          if (i % 3 == step) COPY(stage + i * PASS * ROW_BYTES, ahead_a + (u32)i * pass, i, rows_a & inside);
        }
        UNROLL for (int i = 0; i < B_PASSES; i++) {
          if (i % 3 == step) COPY(stage + A_BYTES + i * PASS * ROW_BYTES, ahead_b + (u32)i * pass, i, rows_b & inside);
        }
      }
      if (step == BK / 16 - 2) {
        COPY_COMMIT();
        write = write + 1 == STAGES ? 0 : write + 1;
      }
      UNROLL for (int j = 0; j < NI; j++) {
        // There and back again: neighbouring products share a fragment.
        UNROLL for (int i = 0; i < MI; i++) {
          const int y = j % 2 ? MI - 1 - i : i;
          mma_bf16(acc[y][j], fa[now][y], fb[now][j / 2] + j % 2 * 2);
        }
      }
    }
  }
  COPY_WAIT(0);

  // A lane holds two neighbouring columns of rows lane/4 and lane/4 + 8: eight bytes at once where N keeps them aligned.
  UNROLL for (int i = 0; i < MI; i++) UNROLL for (int h = 0; h < 2; h++) {
    const int row = m0 + wm + i * 16 + h * 8 + LANE / 4;
    if (row < m) {
      GLOBAL float* to_c = c + (u64)row * (u64)n;
      UNROLL for (int j = 0; j < NI; j++) {
        const int column = n0 + wn + j * 8 + LANE % 4 * 2;
        const float left = acc[i][j][2 * h], right = acc[i][j][2 * h + 1];
        if (n % 2 == 0 && column < n) {
          *(GLOBAL u64*)(to_c + column) = (u64)AS_UINT(left) | (u64)AS_UINT(right) << 32;
        } else {
          if (column < n) to_c[column] = left;
          if (column + 1 < n) to_c[column + 1] = right;
        }
      }
    }
  }
}
#endif
