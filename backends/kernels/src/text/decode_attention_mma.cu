// Decoding against a paged cache of keys and values by the matrix unit of sm_80 and later: a block for a head of keys, a split of the
// context and a sequence. The GROUP heads of queries that share the head of keys are rows of m16n8k16, the rest of the sixteen is zero.
//
// The four warps of a block are independent until the end: each takes every fourth sixteen tokens, copies them itself several steps
// ahead, waits for its own copies only, and has a maximum, a sum and an output of its own.
//
// Defines: GROUP, at most 16; DEPTH, 64 or 128 elements of a head; PAGE, tokens of a page, a multiple of 16; STAGES of a warp.
#if defined(HAS_MMA) && defined(GROUP)
#define WARPS 4
// A row is a token's head, pieces of sixteen bytes; piece p of row r stands at p ^ (r % 8), so that eight rows of one column lie in
// eight different groups of banks.
#define PIECES (DEPTH / 8)
#define ROW_BYTES (DEPTH * 2)
#define TILE_BYTES (16 * ROW_BYTES)
// Rows that a warp copies at once, and how often.
#define PASS (32 / PIECES)
#define PASSES (16 / PASS)

KERNEL void BOUNDS(WARPS * 32, 2) decode_attention_mma(GLOBAL const u32* q, GLOBAL const u16* keys, GLOBAL const u16* values, GLOBAL const int* table,
                                                       GLOBAL const int* lens, GLOBAL float* part, GLOBAL float* sums, int heads, int pages,
                                                       int splits, float scale) {
  DYNAMIC_SHARED(shared);
  SHARED float all[2][WARPS][16];
  const int head = BX, split = BY, b = BZ, length = lens[b];
  const int each = ((length + splits - 1) / splits + 63) / 64 * 64;
  const int first = split * each, end = first + each < length ? first + each : length;
  const u64 row = ((u64)b * heads + head) * GROUP;
  if (first >= end) {
    if (TID < GROUP) {
      sums[((row + TID) * splits + split) * 2] = NEG_INF;
      sums[((row + TID) * splits + split) * 2 + 1] = 0.0f;
    }
    return;
  }
  // Sixteens of this warp: number `WARP_ID`, and every fourth from there.
  const int tiles = ((end - first + 15) / 16 + WARPS - 1 - WARP_ID) / WARPS;
  const int g = LANE / 4, t = LANE % 4, swap = LANE % 8;
  char* own = shared + WARP_ID * STAGES * 2 * TILE_BYTES;

  // What this lane copies: piece `piece` of rows lead, lead + PASS, ... The number of the page is fetched a step before it is needed.
  const int lead = LANE / PIECES, piece = LANE % PIECES;
  GLOBAL const int* list = table + (u64)b * pages;
  int token = first + WARP_ID * 16, page = tiles > 0 ? list[token / PAGE] : 0;
#define FETCH(stage)                                                                                                   \
  {                                                                                                                    \
    const u64 from = (((u64)page * PAGE + token % PAGE + lead) * heads + head) * DEPTH + piece * 8;                    \
    char* to = own + (stage) * (2 * TILE_BYTES);                                                                       \
    UNROLL for (int i = 0; i < PASSES; i++) {                                                                          \
      const int at = lead + i * PASS, bytes = token + at < end ? 16 : 0;                                               \
      const int place = at * ROW_BYTES + ((piece ^ (at % 8)) << 4);                                                    \
      copy_async16(to + place, keys + from + (u64)(i * PASS) * heads * DEPTH, bytes);                                  \
      copy_async16(to + TILE_BYTES + place, values + from + (u64)(i * PASS) * heads * DEPTH, bytes);                   \
    }                                                                                                                  \
    token += WARPS * 16;                                                                                               \
    if (token < end) page = list[token / PAGE];                                                                        \
  }
  UNROLL for (int s = 0; s < STAGES - 1; s++) {
    if (s < tiles) FETCH(s);
    COPY_COMMIT();
  }

  u32 query[DEPTH / 16][4];
  UNROLL for (int k = 0; k < DEPTH / 16; k++) {
    UNROLL for (int e = 0; e < 4; e++) {
      const int of = g + e % 2 * 8;
      query[k][e] = of < GROUP ? q[(row + of) * (DEPTH / 2) + k * 8 + e / 2 * 4 + t] : 0u;
    }
  }
  float out[DEPTH / 8][4];
  UNROLL for (int n = 0; n < DEPTH / 8; n++) UNROLL for (int e = 0; e < 4; e++) out[n][e] = 0.0f;
  // Rows g and g + 8. The sums are those of this lane's columns until the end.
  float most[2] = {NEG_INF, NEG_INF}, sum[2] = {0.0f, 0.0f};

  // What this lane points ldmatrix at: of keys, two eights of tokens by two pieces; of values, transposed, the same sixteen tokens.
  const int at_k = (LANE / 16 * 8 + swap) * ROW_BYTES, half_k = LANE / 8 % 2;
  const int at_v = TILE_BYTES + LANE % 16 * ROW_BYTES, half_v = LANE / 16;

  int read = 0, write = STAGES - 1;
  for (int tile = 0; tile < tiles; tile++) {
    COPY_WAIT(STAGES - 2);
    // The tile has come for all lanes, and all have read the one before: its stage may be filled again.
    WARP_SYNC();
    if (tile + STAGES - 1 < tiles) FETCH(write);
    COPY_COMMIT();
    write = write + 1 == STAGES ? 0 : write + 1;
    const char* at = own + read * (2 * TILE_BYTES);
    read = read + 1 == STAGES ? 0 : read + 1;

    float s[2][4];
    UNROLL for (int e = 0; e < 8; e++) s[e / 4][e % 4] = 0.0f;
    UNROLL for (int k = 0; k < DEPTH / 16; k++) {
      u32 key[4];
      ldmatrix4(key, at + at_k + (((2 * k + half_k) ^ swap) << 4));
      mma_bf16(s[0], query[k], key);
      mma_bf16(s[1], query[k], key + 2);
    }
    // Only a warp's last tile has tokens past the end.
    const int left = end - (first + (tile * WARPS + WARP_ID) * 16);
    UNROLL for (int e = 0; e < 8; e++) {
      const int column = e / 4 * 8 + t * 2 + e % 2;
      s[e / 4][e % 4] = column < left ? s[e / 4][e % 4] * scale : NEG_INF;
    }
    u32 probability[4];
    float decay[2];
    UNROLL for (int h = 0; h < 2; h++) {
      float now = FMAXF(FMAXF(s[0][2 * h], s[0][2 * h + 1]), FMAXF(s[1][2 * h], s[1][2 * h + 1]));
      now = FMAXF(now, SHFL_XOR(now, 1));
      now = FMAXF(now, SHFL_XOR(now, 2));
      now = FMAXF(now, most[h]);
      decay[h] = EXP2F(most[h] - now);
      most[h] = now;
      UNROLL for (int n = 0; n < 2; n++) {
        const float low = EXP2F(s[n][2 * h] - now), high = EXP2F(s[n][2 * h + 1] - now);
        sum[h] = (n ? sum[h] : sum[h] * decay[h]) + low + high;
        // Sums of the first product are in lanes as the second wants its left factor.
        probability[2 * n + h] = pack2(low, high);
      }
    }
    // Maxima settle early: then nothing decays.
    if (BALLOT(decay[0] != 1.0f || decay[1] != 1.0f)) {
      UNROLL for (int n = 0; n < DEPTH / 8; n++) UNROLL for (int e = 0; e < 4; e++) out[n][e] *= decay[e / 2];
    }
    UNROLL for (int n = 0; n < DEPTH / 16; n++) {
      u32 value[4];
      ldmatrix4_t(value, at + at_v + (((2 * n + half_v) ^ swap) << 4));
      mma_bf16(out[2 * n], probability, value);
      mma_bf16(out[2 * n + 1], probability, value + 2);
    }
  }
  COPY_WAIT(0);

  UNROLL for (int h = 0; h < 2; h++) {
    sum[h] += SHFL_XOR(sum[h], 1);
    sum[h] += SHFL_XOR(sum[h], 2);
    if (t == 0) {
      all[0][WARP_ID][g + h * 8] = most[h];
      all[1][WARP_ID][g + h * 8] = sum[h];
    }
  }
  // All warps are done with their tiles, and outputs take the place.
  SYNC();
  float* outs = (float*)shared;
  UNROLL for (int h = 0; h < 2; h++) {
    const int of = g + h * 8;
    if (of < GROUP) {
      UNROLL for (int n = 0; n < DEPTH / 8; n++) {
        const int at = (WARP_ID * GROUP + of) * DEPTH + n * 8 + t * 2;
        outs[at] = out[n][2 * h];
        outs[at + 1] = out[n][2 * h + 1];
      }
    }
  }
  SYNC();
  for (int i = TID; i < GROUP * DEPTH; i += WARPS * 32) {
    const int of = i / DEPTH;
    float largest = NEG_INF, total = 0.0f, sum_out = 0.0f;
    UNROLL for (int w = 0; w < WARPS; w++) largest = FMAXF(largest, all[0][w][of]);
    UNROLL for (int w = 0; w < WARPS; w++) {
      const float weight = EXP2F(all[0][w][of] - largest);
      total = FMAF(weight, all[1][w][of], total);
      sum_out = FMAF(weight, outs[w * GROUP * DEPTH + i], sum_out);
    }
    const u64 to = (row + of) * splits + split;
    part[to * DEPTH + i % DEPTH] = sum_out;
    if (i % DEPTH == 0) {
      sums[to * 2] = largest;
      sums[to * 2 + 1] = total;
    }
  }
}
#endif
