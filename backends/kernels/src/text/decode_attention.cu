// Decoding against a paged cache of keys and values, plain form: a block for a head of keys, a split of the context and a sequence. 32
// tokens lie in shared memory at a time; the block's queries are the GROUP heads that share the head of keys.
//
// Defines: GROUP; DEPTH, the elements of a head, even; PAGE, the tokens of a page.
#define WORDS (DEPTH / 2)
#define PITCH (WORDS + 1)
#define TOKENS 32
#define THREADS 128
// Words of the output of a thread.
#define MINE ((GROUP * WORDS + THREADS - 1) / THREADS)
KERNEL void decode_attention_portable(GLOBAL const u32* q, GLOBAL const u32* keys, GLOBAL const u32* values, GLOBAL const int* table,
                                      GLOBAL const int* lens, GLOBAL float* part, GLOBAL float* sums, int heads, int pages, int splits,
                                      float scale) {
  SHARED u32 query[GROUP * WORDS];
  SHARED u32 key[TOKENS * PITCH];
  SHARED u32 value[TOKENS * WORDS];
  SHARED float score[GROUP * TOKENS];
  SHARED float decay[GROUP];
  int head = BX, split = BY, b = BZ, length = lens[b];
  int each = ((length + splits - 1) / splits + TOKENS - 1) / TOKENS * TOKENS;
  int first = split * each, end = first + each < length ? first + each : length;
  u64 row = ((u64)b * heads + head) * GROUP;
  for (int i = TID; i < GROUP * WORDS; i += NTID) query[i] = q[row * WORDS + i];
  float out[2 * MINE], largest = NEG_INF, sum = 0.0f;
  for (int i = 0; i < 2 * MINE; i++) out[i] = 0.0f;
  for (int from = first; from < end; from += TOKENS) {
    int count = end - from < TOKENS ? end - from : TOKENS;
    SYNC();
    for (int i = TID; i < count * WORDS; i += NTID) {
      int token = from + i / WORDS;
      u64 at = (((u64)table[(u64)b * pages + token / PAGE] * PAGE + token % PAGE) * heads + head) * WORDS + i % WORDS;
      key[i / WORDS * PITCH + i % WORDS] = keys[at];
      value[i] = values[at];
    }
    SYNC();
    for (int i = TID; i < GROUP * TOKENS; i += NTID) {
      int of = i / TOKENS, token = i % TOKENS;
      float dot = NEG_INF;
      if (token < count) {
        dot = 0.0f;
        for (int w = 0; w < WORDS; w++) {
          u32 left = query[of * WORDS + w], right = key[token * PITCH + w];
          dot = FMAF(AS_FLOAT(left << 16), AS_FLOAT(right << 16), dot);
          dot = FMAF(AS_FLOAT(left & 0xffff0000u), AS_FLOAT(right & 0xffff0000u), dot);
        }
        dot *= scale;
      }
      score[i] = dot;
    }
    SYNC();
    // One thread keeps the maximum and the sum of a head.
    if (TID < GROUP) {
      float before = largest;
      for (int t = 0; t < count; t++) largest = FMAXF(largest, score[TID * TOKENS + t]);
      decay[TID] = EXP2F(before - largest);
      sum *= decay[TID];
      for (int t = 0; t < count; t++) {
        float probability = EXP2F(score[TID * TOKENS + t] - largest);
        score[TID * TOKENS + t] = probability;
        sum += probability;
      }
    }
    SYNC();
    for (int m = 0; m < MINE; m++) {
      int i = m * THREADS + TID, of = i / WORDS;
      if (i < GROUP * WORDS) {
        float low = out[2 * m] * decay[of], high = out[2 * m + 1] * decay[of];
        for (int t = 0; t < count; t++) {
          u32 word = value[t * WORDS + i % WORDS];
          low = FMAF(score[of * TOKENS + t], AS_FLOAT(word << 16), low);
          high = FMAF(score[of * TOKENS + t], AS_FLOAT(word & 0xffff0000u), high);
        }
        out[2 * m] = low;
        out[2 * m + 1] = high;
      }
    }
  }
  if (TID < GROUP) {
    sums[((row + TID) * splits + split) * 2] = largest;
    sums[((row + TID) * splits + split) * 2 + 1] = sum;
  }
  if (first < end) {
    for (int m = 0; m < MINE; m++) {
      int i = m * THREADS + TID;
      if (i < GROUP * WORDS) {
        u64 at = ((row + i / WORDS) * splits + split) * DEPTH + i % WORDS * 2;
        part[at] = out[2 * m];
        part[at + 1] = out[2 * m + 1];
      }
    }
  }
}
