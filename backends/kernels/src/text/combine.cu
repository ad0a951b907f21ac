// Parts of attention over splits of a context become the whole: out = sum 2^(max_s - max) part_s / sum 2^(max_s - max) sum_s. Parts are
// not divided by their sums yet, and maxima are of exponents of two. A split without tokens has a sum of zero and no part.
//
// Defines: WIDTH elements of a row, even.
#define MOST 256
KERNEL void attention_combine(GLOBAL const u64* part, GLOBAL const float* sums, GLOBAL u32* out, int splits) {
  SHARED float weight[MOST];
  GLOBAL const float* of = sums + (u64)BX * splits * 2;
  float most = NEG_INF, all = 0.0f;
  for (int s = 0; s < splits; s++) {
    if (of[2 * s + 1] > 0.0f) most = FMAXF(most, of[2 * s]);
  }
  for (int s = 0; s < splits; s++) {
    if (of[2 * s + 1] > 0.0f) all += of[2 * s + 1] * EXP2F(of[2 * s] - most);
  }
  for (int s = TID; s < splits; s += NTID) weight[s] = of[2 * s + 1] > 0.0f ? EXP2F(of[2 * s] - most) / all : 0.0f;
  SYNC();
  for (int i = TID; i < WIDTH / 2; i += NTID) {
    GLOBAL const u64* from = part + (u64)BX * splits * (WIDTH / 2) + i;
    float low = 0.0f, high = 0.0f;
    for (int s = 0; s < splits; s++) {
      // What was not written may hold anything.
      if (weight[s] > 0.0f) {
        u64 two = from[(u64)s * (WIDTH / 2)];
        low = FMAF(weight[s], AS_FLOAT((u32)two), low);
        high = FMAF(weight[s], AS_FLOAT((u32)(two >> 32)), high);
      }
    }
    out[(u64)BX * (WIDTH / 2) + i] = pack2(low, high);
  }
}
