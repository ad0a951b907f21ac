// Pages of a pool, scattered, to or from a place where they lie together: what a cache in pages costs when it is moved.
// LONG is the length of a page in what a thread moves at a time.
KERNEL void gather_scalar(GLOBAL const u32* pool, GLOBAL const int* table, GLOBAL u32* packed, int words) {
  for (u64 i = (u64)BX * NTID + TID; i < (u64)(u32)words; i += (u64)GX * NTID) packed[i] = pool[(u64)table[i / LONG] * LONG + i % LONG];
}
KERNEL void scatter_scalar(GLOBAL u32* pool, GLOBAL const int* table, GLOBAL const u32* packed, int words) {
  for (u64 i = (u64)BX * NTID + TID; i < (u64)(u32)words; i += (u64)GX * NTID) pool[(u64)table[i / LONG] * LONG + i % LONG] = packed[i];
}
#if defined(PER) && !defined(DIALECT_OPENCL)
// A block for each stretch of PER * NTID sixteens of the packed side; 32 bits count them.
#define PLACE(at) ((u64)table[(at) / LONG] * LONG + (at) % LONG)
KERNEL void gather_tile(GLOBAL const u128* pool, GLOBAL const int* table, GLOBAL u128* packed, int quads) {
  u32 i = (u32)BX * (PER * NTID) + TID;
  u128 v[PER];
  UNROLL for (int j = 0; j < PER; j++) { u32 at = i + j * NTID; if (at < (u32)quads) v[j] = STREAM(pool + PLACE(at)); }
  UNROLL for (int j = 0; j < PER; j++) { u32 at = i + j * NTID; if (at < (u32)quads) STREAM_OUT(packed + at, v[j]); }
}
KERNEL void scatter_tile(GLOBAL u128* pool, GLOBAL const int* table, GLOBAL const u128* packed, int quads) {
  u32 i = (u32)BX * (PER * NTID) + TID;
  u128 v[PER];
  UNROLL for (int j = 0; j < PER; j++) { u32 at = i + j * NTID; if (at < (u32)quads) v[j] = STREAM(packed + at); }
  UNROLL for (int j = 0; j < PER; j++) { u32 at = i + j * NTID; if (at < (u32)quads) STREAM_OUT(pool + PLACE(at), v[j]); }
}
#endif
