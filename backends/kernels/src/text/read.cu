// The sum of each stretch of STRETCH elements: memory is read, and next to nothing written.
DEV float read_sum(LOCAL float* part, float mine) {
  part[TID] = mine;
  SYNC();
  for (int reach = NTID / 2; reach > 0; reach /= 2) {
    if (TID < reach) part[TID] += part[TID + reach];
    SYNC();
  }
  return part[0];
}
KERNEL void read_scalar(GLOBAL const float* a, GLOBAL float* sums, int n) {
  SHARED float part[256];
  u64 from = (u64)BX * STRETCH, end = from + STRETCH;
  if (end > (u64)(u32)n) end = (u64)(u32)n;
  float sum = 0.0f;
  for (u64 i = from + TID; i < end; i += NTID) sum += a[i];
  sum = read_sum(part, sum);
  if (TID == 0) sums[BX] = sum;
}
#if !defined(DIALECT_OPENCL)
DEV float read_quad(u128 v) { return (AS_FLOAT(v.x) + AS_FLOAT(v.y)) + (AS_FLOAT(v.z) + AS_FLOAT(v.w)); }
// Sixteen bytes of each thread at a time, eight loads under way.
KERNEL void read_vector(GLOBAL const u128* a, GLOBAL float* sums, int quads) {
  SHARED float part[256];
  u64 from = (u64)BX * (STRETCH / 4), end = from + STRETCH / 4, i = from + TID;
  if (end > (u64)(u32)quads) end = (u64)(u32)quads;
  float sum = 0.0f;
  for (; i + 7 * NTID < end; i += 8 * NTID) {
    u128 v[8];
    UNROLL for (int j = 0; j < 8; j++) v[j] = STREAM(a + i + j * NTID);
    UNROLL for (int j = 0; j < 8; j++) sum += read_quad(v[j]);
  }
  for (; i < end; i += NTID) sum += read_quad(a[i]);
  sum = read_sum(part, sum);
  if (TID == 0) sums[BX] = sum;
}
#endif
