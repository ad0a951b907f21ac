// Decoding against a cache of latent rows that all heads share, by the matrix unit of sm_80 and later: a row is the key, its first RANK
// elements are the value, so that it is fetched once for both products. A block for ROWS heads, a split of the context and a sequence.
//
// Which rows a sequence sees: with PAGE, those of its pages, in order, as many as `lens` says; without, those that its list names, where
// -1 names none.
//
// For each TILE rows of the cache: warps share out the scores, by sixteen heads and by tokens; maxima, and what outputs decay by, go
// through shared memory, as do the probabilities, in bf16; then each warp adds to its own columns of the output, for all heads.
//
// Defines: HEADS; ROWS, 16, 32 or 64; TILE, 32 or 64; WARPS; STAGES; RANK, divisible by 64 * WARPS; ROPE, divisible by 64;
// KEPT, whether queries stay in registers (ROWS is 16) or in shared memory; PAGE.
#if defined(HAS_MMA) && defined(ROWS)
#define DEPTH (RANK + ROPE)
#define ROW_BYTES (DEPTH * 2)
#define TILE_BYTES (TILE * ROW_BYTES)
#define QUERY_BYTES (KEPT ? 0 : ROWS * ROW_BYTES)
#define STEPS (DEPTH / 16)
// Scores: sixteen heads and SLICE tokens of a warp.
#define GROUPS (ROWS / 16)
#define SLICES (WARPS / GROUPS)
#define SLICE (TILE / SLICES)
#define COLUMNS (RANK / WARPS)
// Piece p of sixteen bytes of row r stands at p ^ (r % 8), so that eight rows of one column lie in eight different groups of banks. Rows
// of probabilities are 128 bytes, or 64: then two rows share the banks of eight pieces.
#define PLACE(row, piece) ((row) * ROW_BYTES + (((piece) ^ ((row) % 8)) << 4))
#define PLACE_P(row, piece) ((row) * (TILE * 2) + (((piece) ^ (TILE == 64 ? (row) % 8 : (row) / 2 % 4)) << 4))
// Sixteen columns number `step` of a row whose first sixteen are at `base`.
#define STEP(base, step) (((base) ^ ((step) % 4 << 5)) + (step) / 4 * 128)
// A copy: eight threads fetch 128 bytes of a row at a time.
#define PASS (WARPS * 4)
#define PASSES (TILE / PASS)

KERNEL void BOUNDS(WARPS * 32, 1) latent_mma(GLOBAL const u16* q, GLOBAL const u16* cache, GLOBAL const int* list,
#if defined(PAGE)
                                             GLOBAL const int* lens,
#endif
                                             GLOBAL float* part, GLOBAL float* sums, int across, int splits, float scale) {
  DYNAMIC_SHARED(shared);
  SHARED float top[SLICES][ROWS];
  SHARED float decays[ROWS];
  // Zero for a row that counts, minus infinity for one that does not.
  SHARED float bias[STAGES][TILE];
  const int split = BY, b = BZ;
#if defined(PAGE)
  const int length = lens[b];
#else
  const int length = across;
#endif
  const int each = ((length + splits - 1) / splits + TILE - 1) / TILE * TILE;
  const int first = split * each, end = first + each < length ? first + each : length;
  const int head = BX * ROWS, heads = HEADS - head < ROWS ? HEADS - head : ROWS;
  const u64 row = (u64)b * HEADS + head;
  if (first >= end) {
    for (int i = TID; i < heads; i += WARPS * 32) {
      sums[((row + i) * splits + split) * 2] = NEG_INF;
      sums[((row + i) * splits + split) * 2 + 1] = 0.0f;
    }
    return;
  }
  const int tiles = (end - first + TILE - 1) / TILE;
  const int g = LANE / 4, t = LANE % 4, swap = LANE % 8;
  char* tile_at = shared + QUERY_BYTES;
  char* chances = tile_at + STAGES * TILE_BYTES;

  // What this thread copies: pieces `piece`, `piece` + 8, ... of rows lead, lead + PASS, ... Numbers of rows are fetched a tile before
  // they are needed.
  const int lead = TID / 8, piece = TID % 8;
  GLOBAL const int* names = list + (u64)b * across;
  int number[PASSES];
#if defined(PAGE)
#define NUMBER(token) (names[(token) / PAGE] * PAGE + (token) % PAGE)
#else
#define NUMBER(token) names[token]
#endif
#define NAME(tile)                                                                                                     \
  UNROLL for (int i = 0; i < PASSES; i++) {                                                                            \
    const int token = first + (tile) * TILE + lead + i * PASS;                                                         \
    number[i] = token < end ? NUMBER(token) : -1;                                                                      \
  }
#define FETCH(stage)                                                                                                   \
  UNROLL for (int i = 0; i < PASSES; i++) {                                                                            \
    const int at = lead + i * PASS, bytes = number[i] >= 0 ? 16 : 0;                                                   \
    GLOBAL const u16* from = cache + (u64)(number[i] >= 0 ? number[i] : 0) * DEPTH + piece * 8;                        \
    char* to = tile_at + (stage) * TILE_BYTES + PLACE(at, piece);                                                      \
    UNROLL for (int j = 0; j < DEPTH / 64; j++) copy_async16(to + j * 128, from + j * 64, bytes);                      \
    if (piece == 0) bias[stage][at] = number[i] >= 0 ? 0.0f : NEG_INF;                                                 \
  }

  NAME(0);
#if KEPT
  u32 query[STEPS][4];
  UNROLL for (int k = 0; k < STEPS; k++) {
    UNROLL for (int e = 0; e < 4; e++) {
      const int of = g + e % 2 * 8;
      query[k][e] = of < heads ? ((GLOBAL const u32*)q)[(row + of) * (DEPTH / 2) + k * 8 + e / 2 * 4 + t] : 0u;
    }
  }
#else
  for (int i = TID; i < ROWS * (DEPTH / 8); i += WARPS * 32) {
    const int of = i / (DEPTH / 8), at = i % (DEPTH / 8);
    copy_async16(shared + PLACE(of, at), q + (row + (of < heads ? of : 0)) * DEPTH + at * 8, of < heads ? 16 : 0);
  }
#endif
  // The queries belong to the first group of copies.
  UNROLL for (int s = 0; s < STAGES; s++) {
    if (s < tiles) {
      FETCH(s);
      NAME(s + 1);
    }
    COPY_COMMIT();
  }

  float out[GROUPS][COLUMNS / 8][4];
  UNROLL for (int m = 0; m < GROUPS; m++) UNROLL for (int n = 0; n < COLUMNS / 8; n++) UNROLL for (int e = 0; e < 4; e++) out[m][n][e] = 0.0f;
  const int group = WARP_ID % GROUPS, slice = WARP_ID / GROUPS;
  // Of rows g and g + 8 of this warp's sixteen; the sums are those of this lane's columns until the end.
  float most[2] = {NEG_INF, NEG_INF}, sum[2] = {0.0f, 0.0f};

  // What this lane points ldmatrix at: of queries and probabilities sixteen rows by two pieces; of keys eight tokens by four pieces, or two
  // eights by two; of values, transposed, sixteen tokens by two pieces.
  const int at_q = PLACE(group * 16 + LANE % 16, LANE / 16), at_p = PLACE_P(LANE % 16, LANE / 16);
#if SLICE == 8
  const int at_k = PLACE(slice * 8 + swap, LANE / 8);
#else
  const int at_k = PLACE(slice * SLICE + LANE / 16 * 8 + swap, LANE / 8 % 2);
#endif
  const int at_v = PLACE(LANE % 16, LANE / 16) + WARP_ID * COLUMNS * 2;

  int stage = 0;
  for (int tile = 0; tile < tiles; tile++) {
    COPY_WAIT(STAGES - 1);
    SYNC();
    const char* at = tile_at + stage * TILE_BYTES;

    // Scores, in two chains of products, or in one for each eight tokens.
    float s[SLICE / 8][4];
    UNROLL for (int n = 0; n < SLICE / 8; n++) UNROLL for (int e = 0; e < 4; e++) s[n][e] = 0.0f;
#if SLICE == 8
    float other[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    UNROLL for (int k = 0; k < STEPS; k += 2) {
      u32 key[4];
      ldmatrix4(key, at + STEP(at_k, k));
#if KEPT
      mma_bf16(s[0], query[k], key);
      mma_bf16(other, query[k + 1], key + 2);
#else
      u32 query[2][4];
      ldmatrix4(query[0], shared + STEP(at_q, k));
      ldmatrix4(query[1], shared + STEP(at_q, k + 1));
      mma_bf16(s[0], query[0], key);
      mma_bf16(other, query[1], key + 2);
#endif
    }
    UNROLL for (int e = 0; e < 4; e++) s[0][e] += other[e];
#else
    // By 128 bytes of rows: unrolled further, the compiler keeps more addresses than there are registers. What a step needs is fetched
    // while the matrix unit works on the one before; what is fetched last, past the end of a row, is not used.
    u32 query[2][4], key[2][SLICE / 16][4];
    ldmatrix4(query[0], shared + at_q);
    UNROLL for (int n = 0; n < SLICE / 16; n++) ldmatrix4(key[0][n], at + at_k + n * 16 * ROW_BYTES);
    for (int j = 0; j < STEPS / 4; j++) {
      UNROLL for (int k = 0; k < 4; k++) {
        ldmatrix4(query[(k + 1) % 2], shared + STEP(at_q, k + 1) + j * 128);
        UNROLL for (int n = 0; n < SLICE / 16; n++) {
          ldmatrix4(key[(k + 1) % 2][n], at + STEP(at_k, k + 1) + j * 128 + n * 16 * ROW_BYTES);
          mma_bf16(s[2 * n], query[k % 2], key[k % 2][n]);
          mma_bf16(s[2 * n + 1], query[k % 2], key[k % 2][n] + 2);
        }
      }
    }
#endif
    float now[2] = {most[0], most[1]};
    UNROLL for (int n = 0; n < SLICE / 8; n++) {
      UNROLL for (int e = 0; e < 4; e++) {
        s[n][e] = FMAF(s[n][e], scale, bias[stage][slice * SLICE + n * 8 + t * 2 + e % 2]);
        now[e / 2] = FMAXF(now[e / 2], s[n][e]);
      }
    }
    UNROLL for (int h = 0; h < 2; h++) {
      now[h] = FMAXF(now[h], SHFL_XOR(now[h], 1));
      now[h] = FMAXF(now[h], SHFL_XOR(now[h], 2));
      if (t == 0) top[slice][group * 16 + h * 8 + g] = now[h];
    }
    SYNC();
    UNROLL for (int h = 0; h < 2; h++) {
      const int of = group * 16 + h * 8 + g;
      UNROLL for (int i = 0; i < SLICES; i++) now[h] = FMAXF(now[h], top[i][of]);
      // Until a row is seen the maximum is no number to subtract.
      const float base = now[h] == NEG_INF ? 0.0f : now[h];
      const float decay = EXP2F(most[h] - base);
      most[h] = now[h];
      sum[h] *= decay;
      if (slice == 0 && t == 0) decays[of] = decay;
      UNROLL for (int n = 0; n < SLICE / 8; n++) {
        const float low = EXP2F(s[n][2 * h] - base), high = EXP2F(s[n][2 * h + 1] - base);
        sum[h] += low + high;
        *(u32*)(chances + PLACE_P(of, slice * (SLICE / 8) + n) + t * 4) = pack2(low, high);
      }
    }
    SYNC();

    // Outputs decay, then grow. Maxima settle early: then nothing decays.
    float decay[GROUPS][2];
    int settled = 1;
    UNROLL for (int m = 0; m < GROUPS; m++) UNROLL for (int h = 0; h < 2; h++) {
      decay[m][h] = decays[m * 16 + h * 8 + g];
      settled = settled && decay[m][h] == 1.0f;
    }
    if (BALLOT(!settled)) {
      UNROLL for (int m = 0; m < GROUPS; m++) UNROLL for (int n = 0; n < COLUMNS / 8; n++) UNROLL for (int e = 0; e < 4; e++) out[m][n][e] *= decay[m][e / 2];
    }
    u32 value[2][4];
    ldmatrix4_t(value[0], at + at_v);
    UNROLL for (int k = 0; k < TILE / 16; k++) {
      u32 chance[GROUPS][4];
      UNROLL for (int m = 0; m < GROUPS; m++) ldmatrix4(chance[m], chances + (at_p ^ (k << 5)) + m * 16 * (TILE * 2));
      UNROLL for (int n = 0; n < COLUMNS / 16; n++) {
        // COLUMNS / 16 is even.
        const int next = k * (COLUMNS / 16) + n + 1;
        if (next < TILE / 16 * (COLUMNS / 16)) {
          ldmatrix4_t(value[(n + 1) % 2], at + STEP(at_v, next % (COLUMNS / 16)) + next / (COLUMNS / 16) * 16 * ROW_BYTES);
        }
        UNROLL for (int m = 0; m < GROUPS; m++) {
          mma_bf16(out[m][2 * n], chance[m], value[n % 2]);
          mma_bf16(out[m][2 * n + 1], chance[m], value[n % 2] + 2);
        }
      }
    }
    // All are done with the tile: its stage is filled again while the next, which is on its way or here, is looked at.
    SYNC();
    if (tile + STAGES < tiles) {
      FETCH(stage);
      NAME(tile + STAGES + 1);
    }
    COPY_COMMIT();
    stage = stage + 1 == STAGES ? 0 : stage + 1;
  }
  COPY_WAIT(0);

  UNROLL for (int h = 0; h < 2; h++) {
    sum[h] += SHFL_XOR(sum[h], 1);
    sum[h] += SHFL_XOR(sum[h], 2);
    if (t == 0) top[slice][group * 16 + h * 8 + g] = sum[h];
    if (t == 0 && slice == 0) decays[group * 16 + h * 8 + g] = most[h];
  }
  SYNC();
  for (int i = TID; i < heads; i += WARPS * 32) {
    float total = 0.0f;
    UNROLL for (int w = 0; w < SLICES; w++) total += top[w][i];
    sums[((row + i) * splits + split) * 2] = decays[i];
    sums[((row + i) * splits + split) * 2 + 1] = total;
  }
  UNROLL for (int m = 0; m < GROUPS; m++) UNROLL for (int h = 0; h < 2; h++) {
    const int of = m * 16 + h * 8 + g;
    if (of < heads) {
      GLOBAL float* to = part + ((row + of) * splits + split) * RANK + WARP_ID * COLUMNS + t * 2;
      // Not eight bytes at once: pairs of registers for them are more than there are.
      UNROLL for (int n = 0; n < COLUMNS / 8; n++) {
        to[n * 8] = out[m][n][2 * h];
        to[n * 8 + 1] = out[m][n][2 * h + 1];
      }
    }
  }
}
#endif
