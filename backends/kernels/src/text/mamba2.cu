// One step of a state-space layer (Mamba-2): each head's state of P rows by N decays and takes the token in, and the token leaves as
// state . c. A block for each head of each sequence.
// s = s * exp(dt * a) + dt * x * bm;  y = sum over n of s * cm + d * x.
#define STEP_ARGS \
  GLOBAL float* state, GLOBAL const u16* x, GLOBAL const float* dt, GLOBAL const float* a, GLOBAL const u16* bm, GLOBAL const u16* cm, \
  GLOBAL const float* d, GLOBAL u16* y, int heads, int rows, int groups

// Plain form: 32 threads share a row, sums go through shared memory.
KERNEL void mamba2_portable(STEP_ARGS) {
  SHARED float part[256];
  int head = BX, b = BY, lane = TID % 32, group = b * groups + head / (heads / groups);
  u64 unit = (u64)b * heads + head;
  float step = dt[unit], decay = EXPF(step * a[head]);
  for (int first = 0; first < rows; first += 8) {
    int row = first + TID / 32;
    float in = row < rows ? bf2f(x[unit * rows + row]) : 0.0f, sum = 0.0f;
    if (row < rows) {
      for (int n = lane; n < STATE; n += 32) {
        u64 at = (unit * rows + row) * STATE + n;
        float s = FMAF(state[at], decay, step * in * bf2f(bm[group * STATE + n]));
        state[at] = s;
        sum = FMAF(s, bf2f(cm[group * STATE + n]), sum);
      }
    }
    part[TID] = sum;
    SYNC();
    for (int other = 16; other > 0; other /= 2) {
      if (lane < other) part[TID] += part[TID + other];
      SYNC();
    }
    if (lane == 0 && row < rows) y[unit * rows + row] = f2bf(FMAF(d[head], in, part[TID]));
    SYNC();
  }
}

#if defined(LANES) && !defined(DIALECT_OPENCL)
// LANES lanes share a row, sixteen bytes of each at a time; DEEP rows of a lane are under way before the first is used. LANES is a
// power of two and at most WARP, STATE is divisible by 4 * LANES.
#define QUADS (STATE / (4 * LANES))
#define ROWS (256 / LANES)
DEV float mamba2_word(u32* s, float decay, float in, u32 b, u32 c, float sum) {
  float next = FMAF(AS_FLOAT(*s), decay, in * AS_FLOAT(b));
  *s = AS_UINT(next);
  return FMAF(next, AS_FLOAT(c), sum);
}
KERNEL void BOUNDS(256, 4) mamba2_vector(STEP_ARGS) {
  int head = BX, b = BY, lane = TID % LANES, group = b * groups + head / (heads / groups);
  u64 unit = (u64)b * heads + head;
  // Inputs and outputs of the state space: four of each for every sixteen bytes of a row.
  GLOBAL const u32* ins = (GLOBAL const u32*)(bm + (u64)group * STATE);
  GLOBAL const u32* outs = (GLOBAL const u32*)(cm + (u64)group * STATE);
  float step = dt[unit], decay = EXPF(step * a[head]), skip = d[head];
  // Every thread goes round as often as every other, with a row or without: shuffles need all lanes.
  for (int from = 0; from < rows; from += DEEP * ROWS) {
    int first = from + TID / LANES;
    GLOBAL u128* at = (GLOBAL u128*)(state + (unit * rows + first) * STATE) + lane;
    u128 s[DEEP][QUADS];
    float in[DEEP];
    UNROLL for (int r = 0; r < DEEP; r++) {
      if (first + r * ROWS < rows) {
        UNROLL for (int q = 0; q < QUADS; q++) s[r][q] = STREAM(at + (u64)r * (ROWS * STATE / 4) + q * LANES);
        in[r] = bf2f(x[unit * rows + first + r * ROWS]);
      } else {
        UNROLL for (int q = 0; q < QUADS; q++) { s[r][q].x = 0u; s[r][q].y = 0u; s[r][q].z = 0u; s[r][q].w = 0u; }
        in[r] = 0.0f;
      }
    }
    float sum[DEEP];
    UNROLL for (int r = 0; r < DEEP; r++) sum[r] = 0.0f;
    UNROLL for (int q = 0; q < QUADS; q++) {
      int pair = (q * LANES + lane) * 2;
      u32 b0 = ins[pair], b1 = ins[pair + 1], c0 = outs[pair], c1 = outs[pair + 1];
      UNROLL for (int r = 0; r < DEEP; r++) {
        float gain = step * in[r];
        sum[r] = mamba2_word(&s[r][q].x, decay, gain, b0 << 16, c0 << 16, sum[r]);
        sum[r] = mamba2_word(&s[r][q].y, decay, gain, b0 & 0xffff0000u, c0 & 0xffff0000u, sum[r]);
        sum[r] = mamba2_word(&s[r][q].z, decay, gain, b1 << 16, c1 << 16, sum[r]);
        sum[r] = mamba2_word(&s[r][q].w, decay, gain, b1 & 0xffff0000u, c1 & 0xffff0000u, sum[r]);
      }
    }
    UNROLL for (int r = 0; r < DEEP; r++) {
      if (first + r * ROWS < rows) {
        UNROLL for (int q = 0; q < QUADS; q++) STREAM_OUT(at + (u64)r * (ROWS * STATE / 4) + q * LANES, s[r][q]);
      }
    }
    UNROLL for (int r = 0; r < DEEP; r++) {
      UNROLL for (int m = LANES / 2; m > 0; m /= 2) sum[r] += SHFL_XOR(sum[r], m);
      if (lane == 0 && first + r * ROWS < rows) y[unit * rows + first + r * ROWS] = f2bf(FMAF(skip, in[r], sum[r]));
    }
  }
}
#endif
