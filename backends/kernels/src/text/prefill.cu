// Causal attention of whole sequences, plain form: a block of 128 threads keeps 16 rows of one head and walks over the keys before them,
// 32 at a time, with a running maximum and sum of each row. DEPTH is divisible by 16 and at most 128.
#define WORDS (DEPTH / 2)
#define PITCH (WORDS + 1)
#define QUERIES 16
#define KEYS 32
// Words of a row of the result that each of its eight threads keeps.
#define MINE (WORDS / 8)
KERNEL void prefill_portable(GLOBAL const u32* q, GLOBAL const u32* k, GLOBAL const u32* v, GLOBAL const int* starts, GLOBAL u32* out,
    int heads, int kv, int blocks, float scale) {
  SHARED u32 queries[QUERIES * PITCH];
  SHARED u32 keys[KEYS * PITCH];
  SHARED u32 values[KEYS * WORDS];
  SHARED float scores[QUERIES * (KEYS + 1)];
  SHARED float weights[QUERIES * (KEYS + 1)];
  // The last rows see most keys: they start first.
  int head = BX, of = head / (heads / kv), start = starts[BZ], length = starts[BZ + 1] - start, q0 = (blocks - 1 - BY) * QUERIES;
  if (q0 >= length) return;
  int end = q0 + QUERIES < length ? q0 + QUERIES : length;
  for (int i = TID; i < QUERIES * WORDS; i += NTID) {
    int row = i / WORDS;
    queries[row * PITCH + i % WORDS] = q0 + row < length ? q[((u64)(start + q0 + row) * heads + head) * WORDS + i % WORDS] : 0u;
  }
  // Of scores, a thread has one key and every fourth row; of the result, an eighth of one row.
  int key = TID % KEYS, mine = TID / 8, part = TID % 8;
  float most = NEG_INF, sum = 0.0f;
  float low[MINE], high[MINE];
  for (int i = 0; i < MINE; i++) low[i] = high[i] = 0.0f;
  for (int key0 = 0; key0 < end; key0 += KEYS) {
    for (int i = TID; i < KEYS * WORDS; i += NTID) {
      int row = i / WORDS;
      u64 at = ((u64)(start + key0 + row) * kv + of) * WORDS + i % WORDS;
      keys[row * PITCH + i % WORDS] = key0 + row < length ? k[at] : 0u;
      values[i] = key0 + row < length ? v[at] : 0u;
    }
    SYNC();
    float dot[QUERIES / 4];
    for (int r = 0; r < QUERIES / 4; r++) dot[r] = 0.0f;
    for (int i = 0; i < WORDS; i++) {
      u32 word = keys[key * PITCH + i];
      float lo = AS_FLOAT(word << 16), hi = AS_FLOAT(word & 0xffff0000u);
      UNROLL for (int r = 0; r < QUERIES / 4; r++) {
        u32 other = queries[(r * 4 + TID / KEYS) * PITCH + i];
        dot[r] = FMAF(lo, AS_FLOAT(other << 16), dot[r]);
        dot[r] = FMAF(hi, AS_FLOAT(other & 0xffff0000u), dot[r]);
      }
    }
    for (int r = 0; r < QUERIES / 4; r++) {
      int row = r * 4 + TID / KEYS;
      scores[row * (KEYS + 1) + key] = key0 + key <= q0 + row ? dot[r] * scale : NEG_INF;
    }
    SYNC();
    // The first key is seen by every row, so the maximum is a number from the first tile on.
    float top = most;
    for (int i = 0; i < KEYS; i++) top = FMAXF(top, scores[mine * (KEYS + 1) + i]);
    float less = EXP2F(most - top);
    most = top;
    for (int i = part; i < KEYS; i += 8) weights[mine * (KEYS + 1) + i] = EXP2F(scores[mine * (KEYS + 1) + i] - top);
    SYNC();
    sum *= less;
    UNROLL for (int i = 0; i < MINE; i++) {
      low[i] *= less;
      high[i] *= less;
    }
    for (int at = 0; at < KEYS; at++) {
      float weight = weights[mine * (KEYS + 1) + at];
      sum += weight;
      UNROLL for (int i = 0; i < MINE; i++) {
        u32 word = values[at * WORDS + i * 8 + part];
        low[i] = FMAF(weight, AS_FLOAT(word << 16), low[i]);
        high[i] = FMAF(weight, AS_FLOAT(word & 0xffff0000u), high[i]);
      }
    }
    SYNC();
  }
  if (q0 + mine < length) {
    for (int i = 0; i < MINE; i++) out[((u64)(start + q0 + mine) * heads + head) * WORDS + i * 8 + part] = pack2(low[i] / sum, high[i] / sum);
  }
}
