// Bytes from one place to another: what memory gives when nothing is computed.
// The plain form: four bytes of each thread at a time.
KERNEL void copy_scalar(GLOBAL const u32* from, GLOBAL u32* to, int words) {
  for (u64 i = (u64)BX * NTID + TID; i < (u64)(u32)words; i += (u64)GX * NTID) to[i] = from[i];
}
#if !defined(DIALECT_OPENCL)
// Sixteen bytes of each thread at a time, four loads under way before the first store.
KERNEL void copy_vector(GLOBAL const u128* from, GLOBAL u128* to, int quads) {
  u64 n = (u64)(u32)quads, step = (u64)GX * NTID, i = (u64)BX * NTID + TID;
  for (; i + 3 * step < n; i += 4 * step) {
    u128 a = from[i], b = from[i + step], c = from[i + 2 * step], d = from[i + 3 * step];
    to[i] = a; to[i + step] = b; to[i + 2 * step] = c; to[i + 3 * step] = d;
  }
  for (; i < n; i += step) to[i] = from[i];
}
// A block for each stretch of PER * NTID sixteens, so that what is open in memory at a time lies together; no loop, no reuse.
#ifdef PER
KERNEL void copy_tile(GLOBAL const u128* from, GLOBAL u128* to, int quads) {
  u64 n = (u64)(u32)quads, i = (u64)BX * (PER * NTID) + TID;
  u128 v[PER];
  if ((u64)(BX + 1) * (PER * NTID) <= n) {
    UNROLL for (int j = 0; j < PER; j++) v[j] = STREAM(from + i + (u64)j * NTID);
    UNROLL for (int j = 0; j < PER; j++) STREAM_OUT(to + i + (u64)j * NTID, v[j]);
  } else {
    UNROLL for (int j = 0; j < PER; j++) { u64 at = i + (u64)j * NTID; if (at < n) to[at] = from[at]; }
  }
}
#endif
#endif
