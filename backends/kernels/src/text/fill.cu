// What operands hold before a run: the functions of `fill.rs`, bit for bit.
DEV u32 fill_mix(u64 index, u32 seed) {
  u32 x = (u32)index ^ ((u32)(index >> 32) * 0x9E3779B9u);
  x ^= x >> 16; x = x * 0x7FEB352Du + seed; x ^= x >> 15; x *= 0x846CA68Bu; x ^= x >> 16;
  return x;
}
DEV float fill_value(u64 index, u32 seed, float scale) {
  int odd = (int)(fill_mix(index, seed) >> 24) * 2 - 255;
  return (float)odd * (scale / 256.0f);
}
// `base` is added to every value; lo and hi are the halves of the number of elements.
KERNEL void fill_f32(GLOBAL float* out, int lo, int hi, int seed, float scale, float base) {
  u64 n = ((u64)(u32)hi << 32) | (u32)lo;
  for (u64 i = (u64)BX * NTID + TID; i < n; i += (u64)GX * NTID) out[i] = base + fill_value(i, (u32)seed, scale);
}
KERNEL void fill_bf16(GLOBAL u16* out, int lo, int hi, int seed, float scale, float base) {
  u64 n = ((u64)(u32)hi << 32) | (u32)lo;
  for (u64 i = (u64)BX * NTID + TID; i < n; i += (u64)GX * NTID) out[i] = f2bf(base + fill_value(i, (u32)seed, scale));
}
KERNEL void fill_fine(GLOBAL float* out, int lo, int hi, int seed, float scale, float base) {
  u64 n = ((u64)(u32)hi << 32) | (u32)lo;
  for (u64 i = (u64)BX * NTID + TID; i < n; i += (u64)GX * NTID) {
    int odd = (int)(fill_mix(i, (u32)seed) >> 9) * 2 - 8388607;
    out[i] = base + (float)odd * (scale / 8388608.0f);
  }
}
