// Causal attention of whole sequences by the matrix unit of sm_80 and later: a block keeps QUERIES rows of one head and walks over the
// keys before them, KEYS at a time, with a running maximum and sum of each row, so that scores are never written anywhere.
//
// A warp keeps ROWS rows: scores, probabilities and sums stay in its registers, and a score's place among the accumulators of the first
// product is its place among the left fragments of the second. Keys and values come by cp.async one tile ahead.
//
// Defines: DEPTH (64 or 128) numbers of a head, ROWS of a warp (16 or 32), WARPS of a block, BLOCKS of a multiprocessor.
#if defined(HAS_MMA) && defined(DEPTH)
#define THREADS (WARPS * 32)
#define QUERIES (WARPS * ROWS)
#define KEYS 64
// A row is DEPTH elements, PIECES pieces of sixteen bytes. Piece p of row r stands at p ^ (r % 8): eight rows of one column then lie in
// eight different groups of banks, for ldmatrix as for cp.async.
#define PIECES (DEPTH / 8)
#define ROW_BYTES (DEPTH * 2)
#define TILE_BYTES (KEYS * ROW_BYTES)
#define PASS (THREADS / PIECES)
#define STEPS (DEPTH / 16)
#define MI (ROWS / 16)
#define JK (KEYS / 16)
// Fragments of keys or values that are fetched before they are wanted: a warp of few rows is done with one sooner than the next comes.
#define AHEAD (ROWS == 16 ? 3 : 1)
#define FRAGMENTS (AHEAD + 1)

// Rows first, first + PASS, ... of a tile, of which `left` and later ones do not exist and become zero.
DEV void copy_rows(char* to, GLOBAL const u16* from, int rows, int left, u32 stride) {
  UNROLL for (int row = 0; row < rows; row += PASS) copy_async16(to + row * ROW_BYTES, from + (u64)row * stride, row < left ? 16 : 0);
}

KERNEL void BOUNDS(THREADS, BLOCKS) prefill_mma(GLOBAL const u16* q, GLOBAL const u16* k, GLOBAL const u16* v, GLOBAL const int* starts, GLOBAL u16* out,
    int heads, int kv, int blocks, float scale) {
  DYNAMIC_SHARED(shared);
  // The last rows see most keys: they start first, and the short ones fill what is left at the end.
  const int head = BX, start = starts[BZ], length = starts[BZ + 1] - start, q0 = (blocks - 1 - BY) * QUERIES;
  if (q0 >= length) return;
  const u32 stride = (u32)kv * DEPTH;
  const int end = q0 + QUERIES < length ? q0 + QUERIES : length;
  const int tiles = (end + KEYS - 1) / KEYS;

  // What this thread copies: piece `piece` of rows first, first + PASS, ...
  const int first = TID / PIECES, piece = TID % PIECES;
  const int to = first * ROW_BYTES + ((piece ^ (first % 8)) << 4);
  u64 from = ((u64)(start + first) * kv + head / (heads / kv)) * DEPTH + piece * 8;
  char* const stages = shared + QUERIES * ROW_BYTES;
  copy_rows(shared + to, q + ((u64)(start + q0 + first) * heads + head) * DEPTH + piece * 8, QUERIES, length - q0 - first, (u32)heads * DEPTH);
  copy_rows(stages + to, k + from, KEYS, length - first, stride);
  copy_rows(stages + TILE_BYTES + to, v + from, KEYS, length - first, stride);
  COPY_COMMIT();

  // What this lane points ldmatrix at: of queries, four matrices of 8x8 in a 16x16; of keys, whose rows are columns of scores, two
  // columns of eight; of values, transposed, sixteen keys by two columns of eight.
  const int mine = WARP_ID * ROWS, swap = LANE % 8;
  const int half = ((LANE / 16) ^ swap) << 4;
  const int at_q = (mine + LANE % 16) * ROW_BYTES + half;
  const int at_k = QUERIES * ROW_BYTES + (LANE / 16 * 8 + LANE % 8) * ROW_BYTES + (((LANE / 8 % 2) ^ swap) << 4);
  const int at_v = QUERIES * ROW_BYTES + TILE_BYTES + LANE % 16 * ROW_BYTES + half;

  float acc[MI][2 * STEPS][4], most[MI][2], sum[MI][2];
  UNROLL for (int i = 0; i < MI; i++) {
    UNROLL for (int j = 0; j < 2 * STEPS; j++) UNROLL for (int e = 0; e < 4; e++) acc[i][j][e] = 0.0f;
    UNROLL for (int h = 0; h < 2; h++) {
      most[i][h] = NEG_INF;
      sum[i][h] = 0.0f;
    }
  }
#if ROWS == 16
  u32 fq[STEPS][MI][4];
#else
  u32 fq[2][MI][4];
#endif
  u32 f[FRAGMENTS][4];

  for (int tile = 0; tile < tiles; tile++) {
    const int key0 = tile * KEYS;
    const int stage = tile % 2 * (2 * TILE_BYTES), now_k = at_k + stage, now_v = at_v + stage;
    // This tile has come for all threads, and all are done with the one before: its place may be filled again.
    COPY_WAIT(0);
    SYNC();
    if (tile + 1 < tiles) {
      char* const next = stages + (tile + 1) % 2 * (2 * TILE_BYTES) + to;
      const int left = length - key0 - KEYS - first;
      from += (u64)KEYS * stride;
      copy_rows(next, k + from, KEYS, left, stride);
      copy_rows(next + TILE_BYTES, v + from, KEYS, left, stride);
    }
    COPY_COMMIT();
#if ROWS == 16
    if (tile == 0) UNROLL for (int step = 0; step < STEPS; step++) ldmatrix4(fq[step][0], shared + (at_q ^ (step * 32)));
#endif
    // Keys after the last row of this warp: on the diagonal alone.
    if (key0 > q0 + mine + ROWS - 1) continue;

    float s[MI][2 * JK][4];
    UNROLL for (int i = 0; i < MI; i++) UNROLL for (int j = 0; j < 2 * JK; j++) UNROLL for (int e = 0; e < 4; e++) s[i][j][e] = 0.0f;
    UNROLL for (int n = 0; n < AHEAD; n++) ldmatrix4(f[n], shared + (now_k ^ (n / JK * 32)) + n % JK * 16 * ROW_BYTES);
#if ROWS != 16
    UNROLL for (int i = 0; i < MI; i++) ldmatrix4(fq[0][i], shared + at_q + i * 16 * ROW_BYTES);
#endif
    UNROLL for (int n = 0; n < STEPS * JK; n++) {
      const int step = n / JK, j = n % JK, then = n + AHEAD;
      if (then < STEPS * JK) ldmatrix4(f[then % FRAGMENTS], shared + (now_k ^ (then / JK * 32)) + then % JK * 16 * ROW_BYTES);
#if ROWS == 16
      u32 (*rows)[4] = fq[step];
#else
      if (j == 0 && step + 1 < STEPS) {
        UNROLL for (int i = 0; i < MI; i++) ldmatrix4(fq[(step + 1) % 2][i], shared + (at_q ^ ((step + 1) * 32)) + i * 16 * ROW_BYTES);
      }
      u32 (*rows)[4] = fq[step % 2];
#endif
      UNROLL for (int e = 0; e < 2; e++) UNROLL for (int i = 0; i < MI; i++) mma_bf16(s[i][2 * j + e], rows[i], f[n % FRAGMENTS] + 2 * e);
    }

    // Element e of a lane is in row lane/4 + 8 (e/2), column 2 (lane%4) + e%2.
    if (key0 + KEYS - 1 > q0 + mine) {
      const int late = q0 + mine + LANE / 4 - key0 - LANE % 4 * 2;
      UNROLL for (int i = 0; i < MI; i++) UNROLL for (int j = 0; j < 2 * JK; j++) UNROLL for (int e = 0; e < 4; e++) {
        if (j * 8 + e % 2 > late + i * 16 + e / 2 * 8) s[i][j][e] = NEG_INF;
      }
    }

    // The first key is seen by every row, so a maximum is a number from the first tile on.
    float less[MI][2];
    int grown = 0;
    UNROLL for (int i = 0; i < MI; i++) UNROLL for (int h = 0; h < 2; h++) {
      float top = most[i][h];
      UNROLL for (int j = 0; j < 2 * JK; j++) top = FMAXF(top, FMAXF(s[i][j][2 * h], s[i][j][2 * h + 1]));
      top = FMAXF(top, SHFL_XOR(top, 1));
      top = FMAXF(top, SHFL_XOR(top, 2));
      grown |= top > most[i][h] ? 1 : 0;
      less[i][h] = EXP2F((most[i][h] - top) * scale);
      most[i][h] = top;
    }
    if (BALLOT(grown)) {
      UNROLL for (int i = 0; i < MI; i++) UNROLL for (int h = 0; h < 2; h++) {
        sum[i][h] *= less[i][h];
        UNROLL for (int j = 0; j < 2 * STEPS; j++) {
          acc[i][j][2 * h] *= less[i][h];
          acc[i][j][2 * h + 1] *= less[i][h];
        }
      }
    }
    u32 p[JK][MI][4];
    UNROLL for (int i = 0; i < MI; i++) UNROLL for (int h = 0; h < 2; h++) {
      const float shift = -most[i][h] * scale;
      UNROLL for (int j = 0; j < 2 * JK; j++) {
        const float left = EXP2F(FMAF(s[i][j][2 * h], scale, shift)), right = EXP2F(FMAF(s[i][j][2 * h + 1], scale, shift));
        sum[i][h] += left + right;
        p[j / 2][i][j % 2 * 2 + h] = pack2(left, right);
      }
    }

    UNROLL for (int n = 0; n < AHEAD; n++) ldmatrix4_t(f[n], shared + (now_v ^ (n % STEPS * 32)) + n / STEPS * 16 * ROW_BYTES);
    UNROLL for (int n = 0; n < STEPS * JK; n++) {
      const int step = n / STEPS, j = n % STEPS, then = n + AHEAD;
      if (then < STEPS * JK) ldmatrix4_t(f[then % FRAGMENTS], shared + (now_v ^ (then % STEPS * 32)) + then / STEPS * 16 * ROW_BYTES);
      UNROLL for (int e = 0; e < 2; e++) UNROLL for (int i = 0; i < MI; i++) mma_bf16(acc[i][2 * j + e], p[step][i], f[n % FRAGMENTS] + 2 * e);
    }
  }

  // Four lanes share a row. It goes out by way of the place of its queries, which only this warp still reads, in pieces of sixteen bytes.
  UNROLL for (int i = 0; i < MI; i++) UNROLL for (int h = 0; h < 2; h++) {
    sum[i][h] += SHFL_XOR(sum[i][h], 1);
    sum[i][h] += SHFL_XOR(sum[i][h], 2);
    const float share = 1.0f / sum[i][h];
    char* const row = shared + (mine + i * 16 + h * 8 + LANE / 4) * ROW_BYTES + LANE % 4 * 4;
    UNROLL for (int j = 0; j < 2 * STEPS; j++) {
      *(u32*)(row + ((j ^ (LANE / 4)) << 4)) = pack2(acc[i][j][2 * h] * share, acc[i][j][2 * h + 1] * share);
    }
  }
  WARP_SYNC();
  UNROLL for (int i = 0; i < ROWS * PIECES / 32; i++) {
    const int row = mine + (i * 32 + LANE) / PIECES, of = LANE % PIECES;
    if (q0 + row < length) {
      *(GLOBAL u128*)(out + ((u64)(start + q0 + row) * heads + head) * DEPTH + of * 8) = *(const u128*)(shared + row * ROW_BYTES + ((of ^ (row % 8)) << 4));
    }
  }
}
#endif
