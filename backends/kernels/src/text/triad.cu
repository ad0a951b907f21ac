// c = a + 0.5 b.
KERNEL void triad_scalar(GLOBAL const float* a, GLOBAL const float* b, GLOBAL float* c, int n) {
  for (u64 i = (u64)BX * NTID + TID; i < (u64)(u32)n; i += (u64)GX * NTID) c[i] = FMAF(0.5f, b[i], a[i]);
}
#if defined(PER) && !defined(DIALECT_OPENCL)
DEV u32 triad_word(u32 a, u32 b) { return AS_UINT(FMAF(0.5f, AS_FLOAT(b), AS_FLOAT(a))); }
DEV u128 triad_quad(u128 a, u128 b) {
  u128 c;
  c.x = triad_word(a.x, b.x); c.y = triad_word(a.y, b.y); c.z = triad_word(a.z, b.z); c.w = triad_word(a.w, b.w);
  return c;
}
// A block for each stretch of PER * NTID sixteens, all loads under way before the first store.
KERNEL void triad_tile(GLOBAL const u128* a, GLOBAL const u128* b, GLOBAL u128* c, int quads) {
  u64 n = (u64)(u32)quads, i = (u64)BX * (PER * NTID) + TID;
  u128 x[PER], y[PER];
  if ((u64)(BX + 1) * (PER * NTID) <= n) {
    UNROLL for (int j = 0; j < PER; j++) { x[j] = STREAM(a + i + (u64)j * NTID); y[j] = STREAM(b + i + (u64)j * NTID); }
    UNROLL for (int j = 0; j < PER; j++) STREAM_OUT(c + i + (u64)j * NTID, triad_quad(x[j], y[j]));
  } else {
    UNROLL for (int j = 0; j < PER; j++) { u64 at = i + (u64)j * NTID; if (at < n) c[at] = triad_quad(a[at], b[at]); }
  }
}
#endif
