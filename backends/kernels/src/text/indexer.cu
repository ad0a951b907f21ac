// The lightning indexer: logits[b, l] = sum over heads of w[b, h] * relu(q[b, h] . k[b, l]). Plain form: 32 keys of a block in shared
// memory, a thread for a key and an eighth of the heads. HEADS is divisible by 8, DI by 2.
#define WORDS (DI / 2)
#define PITCH (WORDS + 1)
#define MINE (HEADS / 8)
KERNEL void indexer_portable(GLOBAL const u32* q, GLOBAL const u32* k, GLOBAL const float* w, GLOBAL float* logits, int length) {
  SHARED u32 keys[32 * PITCH];
  SHARED u32 queries[HEADS * WORDS];
  SHARED float part[256];
  int b = BY, key = TID % 32, group = TID / 32, first = BX * 32;
  for (int i = TID; i < HEADS * WORDS; i += NTID) queries[i] = q[(u64)b * (HEADS * WORDS) + i];
  for (int i = TID; i < 32 * WORDS; i += NTID) {
    int row = i / WORDS, at = first + row;
    keys[row * PITCH + i % WORDS] = at < length ? k[((u64)b * length + at) * WORDS + i % WORDS] : 0u;
  }
  SYNC();
  float dot[MINE];
  for (int h = 0; h < MINE; h++) dot[h] = 0.0f;
  for (int i = 0; i < WORDS; i++) {
    u32 word = keys[key * PITCH + i];
    float lo = AS_FLOAT(word << 16), hi = AS_FLOAT(word & 0xffff0000u);
    UNROLL for (int h = 0; h < MINE; h++) {
      u32 other = queries[(group * MINE + h) * WORDS + i];
      dot[h] = FMAF(lo, AS_FLOAT(other << 16), dot[h]);
      dot[h] = FMAF(hi, AS_FLOAT(other & 0xffff0000u), dot[h]);
    }
  }
  float sum = 0.0f;
  for (int h = 0; h < MINE; h++) sum = FMAF(w[(u64)b * HEADS + group * MINE + h], FMAXF(dot[h], 0.0f), sum);
  part[TID] = sum;
  SYNC();
  if (TID < 32 && first + TID < length) {
    float all = 0.0f;
    for (int g = 0; g < 8; g++) all += part[g * 32 + TID];
    logits[(u64)b * length + first + TID] = all;
  }
}
