// y = x·Wᵀ for one to sixteen rows of x, for any device: bf16 in, f32 accumulated and out. Defines: TOKENS, the rows of x.

// A block of 256 threads per row of W; each thread takes pairs of columns, then the threads' sums are added in shared memory.
KERNEL void BOUNDS(256, 1) gemv_portable(GLOBAL const u32* x, GLOBAL const u32* w, GLOBAL float* y, int n, int k) {
  SHARED float sums[TOKENS * 256];
  const int pairs = k / 2;
  GLOBAL const u32* row = w + (u64)BX * (u64)pairs;
  float sum[TOKENS];
  UNROLL for (int i = 0; i < TOKENS; i++) sum[i] = 0.0f;
  for (int j = TID; j < pairs; j += 256) {
    const u32 two = row[j];
    const float low = AS_FLOAT(two << 16), high = AS_FLOAT(two & 0xffff0000u);
    UNROLL for (int i = 0; i < TOKENS; i++) {
      const u32 of_x = x[(u64)i * (u64)pairs + (u64)j];
      sum[i] = FMAF(low, AS_FLOAT(of_x << 16), FMAF(high, AS_FLOAT(of_x & 0xffff0000u), sum[i]));
    }
  }
  UNROLL for (int i = 0; i < TOKENS; i++) sums[i * 256 + TID] = sum[i];
  SYNC();
  for (int reach = 128; reach > 0; reach /= 2) {
    if (TID < reach) {
      UNROLL for (int i = 0; i < TOKENS; i++) sums[i * 256 + TID] += sums[i * 256 + TID + reach];
    }
    SYNC();
  }
  if (TID < TOKENS) y[(u64)TID * (u64)n + (u64)BX] = sums[TID * 256];
}
