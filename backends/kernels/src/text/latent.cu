// Decoding against a cache of latent rows that all heads share: a row is the key, its first RANK elements are the value. Plain form: a
// block for GROUP heads, a split of the context and a sequence; 16 rows lie in shared memory at a time.
//
// Which rows a sequence sees: with PAGE, those of its pages, in order, as many as `lens` says; without, those that its list names, where
// -1 names none.
//
// Defines: HEADS; GROUP, which divides HEADS; RANK and ROPE, even; PAGE.
#define WORDS ((RANK + ROPE) / 2)
#define PITCH (WORDS + 1)
#define TOKENS 16
#define THREADS 128
#define WIDTH (RANK / 2)
// Words of the output of a thread.
#define MINE ((GROUP * WIDTH + THREADS - 1) / THREADS)
KERNEL void latent_portable(GLOBAL const u32* q, GLOBAL const u32* cache, GLOBAL const int* list,
#if defined(PAGE)
                            GLOBAL const int* lens,
#endif
                            GLOBAL float* part, GLOBAL float* sums, int across, int splits, float scale) {
  SHARED u32 query[GROUP * WORDS];
  SHARED u32 rows[TOKENS * PITCH];
  SHARED float score[GROUP * TOKENS];
  SHARED float decay[GROUP];
  SHARED int number[TOKENS];
  int split = BY, b = BZ;
#if defined(PAGE)
  int length = lens[b];
#else
  int length = across;
#endif
  int each = ((length + splits - 1) / splits + TOKENS - 1) / TOKENS * TOKENS;
  int first = split * each, end = first + each < length ? first + each : length;
  u64 row = (u64)b * HEADS + BX * GROUP;
  for (int i = TID; i < GROUP * WORDS; i += NTID) query[i] = q[row * WORDS + i];
  float out[2 * MINE], largest = NEG_INF, sum = 0.0f;
  for (int i = 0; i < 2 * MINE; i++) out[i] = 0.0f;
  for (int from = first; from < end; from += TOKENS) {
    SYNC();
    if (TID < TOKENS) {
      int token = from + TID, of = -1;
      if (token < end) {
#if defined(PAGE)
        of = list[(u64)b * across + token / PAGE] * PAGE + token % PAGE;
#else
        of = list[(u64)b * across + token];
#endif
      }
      number[TID] = of;
    }
    SYNC();
    for (int i = TID; i < TOKENS * WORDS; i += NTID) {
      int of = number[i / WORDS];
      rows[i / WORDS * PITCH + i % WORDS] = of >= 0 ? cache[(u64)of * WORDS + i % WORDS] : 0u;
    }
    SYNC();
    for (int i = TID; i < GROUP * TOKENS; i += NTID) {
      int of = i / TOKENS, token = i % TOKENS;
      float dot = 0.0f;
      for (int w = 0; w < WORDS; w++) {
        u32 left = query[of * WORDS + w], right = rows[token * PITCH + w];
        dot = FMAF(AS_FLOAT(left << 16), AS_FLOAT(right << 16), dot);
        dot = FMAF(AS_FLOAT(left & 0xffff0000u), AS_FLOAT(right & 0xffff0000u), dot);
      }
      score[i] = number[token] >= 0 ? dot * scale : NEG_INF;
    }
    SYNC();
    // One thread keeps the maximum and the sum of a head. Until a row is seen the maximum is no number to subtract.
    if (TID < GROUP) {
      float before = largest;
      for (int t = 0; t < TOKENS; t++) largest = FMAXF(largest, score[TID * TOKENS + t]);
      float base = largest == NEG_INF ? 0.0f : largest;
      decay[TID] = EXP2F(before - base);
      sum *= decay[TID];
      for (int t = 0; t < TOKENS; t++) {
        float probability = EXP2F(score[TID * TOKENS + t] - base);
        score[TID * TOKENS + t] = probability;
        sum += probability;
      }
    }
    SYNC();
    for (int m = 0; m < MINE; m++) {
      int i = m * THREADS + TID, of = i / WIDTH;
      if (i < GROUP * WIDTH) {
        float low = out[2 * m] * decay[of], high = out[2 * m + 1] * decay[of];
        for (int t = 0; t < TOKENS; t++) {
          u32 word = rows[t * PITCH + i % WIDTH];
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
      if (i < GROUP * WIDTH) {
        u64 at = ((row + i / WIDTH) * splits + split) * RANK + i % WIDTH * 2;
        part[at] = out[2 * m];
        part[at + 1] = out[2 * m + 1];
      }
    }
  }
}
