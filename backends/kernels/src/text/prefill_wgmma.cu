// Causal attention of whole sequences by the matrix unit of sm_90a: wgmma, which four warps issue together and which reads keys and values
// from shared memory by itself.
//
// A block keeps 128 rows of one head and is three groups of four warps. The first only copies; the other two have 64 rows each and walk
// over the keys before them, 128 at a time, from the diagonal back to the start. While the matrix unit gathers the values of one tile, the
// group weighs the scores of the next. Groups meet at barriers in shared memory, a pair for each tile in flight: `full` (the copies have
// landed) and `empty` (nobody reads it any more).
//
// Defines: DEPTH (64 or 128) numbers of a head.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) && defined(DEPTH)
#define QUERIES 128
#define KEYS 128
// A row of a tile lies in pieces of 64 elements, 128 bytes; all first halves stand before all second ones. Sixteen bytes number p of a
// half row r stand at p ^ (r % 8): the unit's own 128-byte swizzle, which repeats every eight rows, 1024 bytes.
#define HALVES (DEPTH / 64)
#define HALF_BYTES (KEYS * 128)
#define TILE_BYTES (HALVES * HALF_BYTES)
// Tiles of keys, and of values, in flight.
#define STAGES 2
// Tiles that a copying thread may have in flight when it starts another. Keys and values take turns; with two more than these in the
// ring, a group never waits for a tile that is announced only after the group has released another.
#define LAG 2
#define PIECES (DEPTH / 8)
#define PASS (128 / PIECES)

DEV void barrier_init(u32 barrier, int arrivals) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(arrivals) : "memory"); }
DEV void barrier_arrive(u32 barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(barrier) : "memory"); }
// Waits until the phase of this parity is over. A fresh barrier counts as past its phase of parity 1.
DEV void barrier_wait(u32 barrier, u32 parity) {
  u32 done;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.b32 %0, 1, 0, p;\n}\n"
      : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
  } while (!done);
}
#define ASYNC_FENCE() asm volatile("fence.proxy.async.shared::cta;" ::: "memory")
#define MULTIPLY_BEGIN() asm volatile("wgmma.fence.sync.aligned;" ::: "memory")
#define MULTIPLY_COMMIT() asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")
#define MULTIPLY_WAIT(n) asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(n) : "memory")
// The compiler must neither move what uses these registers over this line nor keep them elsewhere.
#define PIN(array, count) UNROLL for (int pin = 0; pin < count; pin++) asm volatile("" : "+f"((array)[pin]) :: "memory")

// Where a tile of 128-byte rows starts, as the unit wants it: the address and the distance of eight rows, both in sixteens of bytes, and
// the kind of swizzle (1: 128 bytes) on top. Where rows are columns of the product, sixteen elements on are two sixteens of bytes on: the
// unit swizzles the address that results. Where they are its depth, sixteen rows on are 128 on; then the distance of eight rows stands in
// either of two fields, and the other one, the distance of the next 64 elements, is not used by products of 64 columns.
DEV u64 describe(u32 address) { return (u64)((address & 0x3ffffu) >> 4) | (u64)(1024 >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62; }

// s[64x128] = a[64x16] * b[128x16]ᵀ, or that added to it. Of rows 16 times the warp's number and on, s[4j + e] is what mma.sync's
// accumulator e of columns 8j and on would be.
DEV void score(float* d, u64 a, u64 b, int add) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\nwgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, p, 1, 1, 0, 0;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
      , "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
      , "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
      , "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      , "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])
      , "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
      , "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55])
      , "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      : "l"(a), "l"(b), "r"(add));
}

// d[64x64] += p[64x16] * v[16x64]: the left side from registers, as mma.sync has it, the right with rows of keys, transposed by the unit.
DEV void gather(float* d, const u32* p, u64 v) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, 1, 1, 1, 1;\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
      , "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
      , "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
      , "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "l"(v));
}

// All copies of a tile by the 128 threads of the first group: rows first, first + PASS, ..., of which `left` and later ones become zero.
DEV void copy_tile(u32 to, GLOBAL const u16* from, int left, u32 stride) {
  UNROLL for (int row = 0; row < KEYS; row += PASS) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" :: "r"(to + row * 128), "l"(from + (u64)row * stride), "r"(row < left ? 16 : 0) : "memory");
  }
}

// Starts the scores of a tile.
DEV void score_tile(float* s, u64 queries, u64 keys) {
  PIN(s, KEYS / 2);
  MULTIPLY_BEGIN();
  UNROLL for (int step = 0; step < DEPTH / 16; step++) {
    const u64 on = step / 4 * (HALF_BYTES >> 4) + step % 4 * 2;
    score(s, queries + on, keys + on, step > 0);
  }
  MULTIPLY_COMMIT();
}

// Starts the sums over the values of a tile.
DEV void gather_tile(float (*acc)[32], u32 (*p)[4], u64 values) {
  UNROLL for (int i = 0; i < HALVES; i++) PIN(acc[i], 32);
  MULTIPLY_BEGIN();
  UNROLL for (int i = 0; i < HALVES; i++) {
    UNROLL for (int step = 0; step < KEYS / 16; step++) gather(acc[i], p[step], values + i * (HALF_BYTES >> 4) + step * 128);
  }
  MULTIPLY_COMMIT();
}

// Scores become weights: a running maximum `most` of each of the lane's two rows, the sum of weights, and by what earlier sums shrink.
DEV void weigh(float* s, float* most, float* sum, float* less, float scale) {
  UNROLL for (int h = 0; h < 2; h++) {
    float top[4], part[4];
    UNROLL for (int c = 0; c < 4; c++) top[c] = most[h];
    UNROLL for (int j = 0; j < KEYS / 8; j++) top[j % 4] = FMAXF(top[j % 4], FMAXF(s[4 * j + 2 * h], s[4 * j + 2 * h + 1]));
    float all = FMAXF(FMAXF(top[0], top[1]), FMAXF(top[2], top[3]));
    all = FMAXF(all, SHFL_XOR(all, 1));
    all = FMAXF(all, SHFL_XOR(all, 2));
    less[h] = EXP2F((most[h] - all) * scale);
    most[h] = all;
    const float shift = -all * scale;
    UNROLL for (int c = 0; c < 4; c++) part[c] = 0.0f;
    UNROLL for (int j = 0; j < KEYS / 8; j++) UNROLL for (int e = 2 * h; e < 2 * h + 2; e++) {
      s[4 * j + e] = EXP2F(FMAF(s[4 * j + e], scale, shift));
      part[j % 4] += s[4 * j + e];
    }
    sum[h] = FMAF(sum[h], less[h], (part[0] + part[1]) + (part[2] + part[3]));
  }
}

KERNEL void BOUNDS(384, 1) prefill_wgmma(GLOBAL const u16* q, GLOBAL const u16* k, GLOBAL const u16* v, GLOBAL const int* starts, GLOBAL u16* out,
    int heads, int kv, int blocks, float scale) {
  DYNAMIC_SHARED(dynamic);
  SHARED u64 barriers[4 * STAGES];
  const int head = BX, start = starts[BZ], length = starts[BZ + 1] - start, q0 = (blocks - 1 - BY) * QUERIES;
  if (q0 >= length) return;
  const u32 shared = (u32)__cvta_generic_to_shared(dynamic), tile_k = shared + TILE_BYTES, tile_v = tile_k + STAGES * TILE_BYTES;
  const u32 full_k = (u32)__cvta_generic_to_shared(barriers), full_v = full_k + 8 * STAGES, empty_k = full_v + 8 * STAGES, empty_v = empty_k + 8 * STAGES;
  if (TID == 0) {
    for (int i = 0; i < 2 * STAGES; i++) {
      barrier_init(full_k + 8 * i, 128);
      barrier_init(empty_k + 8 * i, 8);
    }
    ASYNC_FENCE();
  }
  SYNC();
  // Queries and keys have tiles of one size: the last tile of keys is the one on the diagonal.
  const int tiles = q0 / KEYS + 1;

  if (WARP_ID < 4) {
    // Registers of all threads together stay what they are at entry, 168 of each by the bounds above.
    asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
    const int first = TID / PIECES, piece = TID % PIECES;
    const u32 to = first * 128 + piece / 8 * HALF_BYTES + ((piece % 8 ^ (first % 8)) << 4), stride = (u32)kv * DEPTH;
    const u64 from = ((u64)(start + first) * kv + head / (heads / kv)) * DEPTH + piece * 8;
    copy_tile(shared + to, q + ((u64)(start + q0 + first) * heads + head) * DEPTH + piece * 8, length - q0 - first, (u32)heads * DEPTH);
    for (int at = 0; at < tiles; at++) {
      const int key0 = (tiles - 1 - at) * KEYS, stage = at % STAGES;
      const u32 parity = at / STAGES % 2 ^ 1;
      const u64 here = from + (u64)key0 * stride;
      barrier_wait(empty_k + 8 * stage, parity);
      copy_tile(tile_k + stage * TILE_BYTES + to, k + here, length - key0 - first, stride);
      COPY_COMMIT();
      // What was started LAG tiles ago has landed. The matrix unit reads shared memory by another way than copies write it: the fence puts
      // the writes before reads that follow the arrival.
      COPY_WAIT(LAG);
      ASYNC_FENCE();
      if (at > 0) barrier_arrive(full_k + 8 * ((at - 1) % STAGES));
      barrier_wait(empty_v + 8 * stage, parity);
      copy_tile(tile_v + stage * TILE_BYTES + to, v + here, length - key0 - first, stride);
      COPY_COMMIT();
      COPY_WAIT(LAG);
      ASYNC_FENCE();
      if (at > 0) barrier_arrive(full_v + 8 * ((at - 1) % STAGES));
    }
    COPY_WAIT(0);
    ASYNC_FENCE();
    barrier_arrive(full_k + 8 * ((tiles - 1) % STAGES));
    barrier_arrive(full_v + 8 * ((tiles - 1) % STAGES));
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
    const int group = WARP_ID / 4 - 1, mine = group * 64 + WARP_ID % 4 * 16;
    const u64 queries = describe(shared + group * 64 * 128);
    float s[KEYS / 2], acc[HALVES][32], most[2], sum[2], less[2];
    u32 p[KEYS / 16][4];
    UNROLL for (int i = 0; i < HALVES; i++) UNROLL for (int e = 0; e < 32; e++) acc[i][e] = 0.0f;
    UNROLL for (int e = 0; e < KEYS / 2; e++) s[e] = 0.0f;
    UNROLL for (int h = 0; h < 2; h++) {
      most[h] = NEG_INF;
      sum[h] = 0.0f;
    }
    barrier_wait(full_k, 0);
    score_tile(s, queries, describe(tile_k));
    MULTIPLY_WAIT(0);
    PIN(s, KEYS / 2);
    if (LANE == 0) barrier_arrive(empty_k);
    // The diagonal. Every row sees itself, so its maximum is a number from the first tile on.
    const int late = mine + LANE / 4 - LANE % 4 * 2;
    UNROLL for (int j = 0; j < KEYS / 8; j++) UNROLL for (int e = 0; e < 4; e++) {
      if (j * 8 + e % 2 > late + e / 2 * 8) s[4 * j + e] = NEG_INF;
    }
    weigh(s, most, sum, less, scale);
    UNROLL for (int step = 0; step < KEYS / 16; step++) UNROLL for (int e = 0; e < 4; e++) p[step][e] = pack2(s[8 * step + 2 * e], s[8 * step + 2 * e + 1]);
    for (int at = 1; at < tiles; at++) {
      const int stage = at % STAGES, last = (at - 1) % STAGES;
      // Scores of this tile, and behind them in the unit's queue the values of the tile before.
      barrier_wait(full_k + 8 * stage, at / STAGES % 2);
      score_tile(s, queries, describe(tile_k + stage * TILE_BYTES));
      barrier_wait(full_v + 8 * last, (at - 1) / STAGES % 2);
      gather_tile(acc, p, describe(tile_v + last * TILE_BYTES));
      MULTIPLY_WAIT(1);
      PIN(s, KEYS / 2);
      if (LANE == 0) barrier_arrive(empty_k + 8 * stage);
      weigh(s, most, sum, less, scale);
      MULTIPLY_WAIT(0);
      UNROLL for (int i = 0; i < HALVES; i++) PIN(acc[i], 32);
      if (LANE == 0) barrier_arrive(empty_v + 8 * last);
      UNROLL for (int i = 0; i < HALVES; i++) UNROLL for (int e = 0; e < 32; e++) acc[i][e] *= less[e / 2 % 2];
      UNROLL for (int step = 0; step < KEYS / 16; step++) UNROLL for (int e = 0; e < 4; e++) p[step][e] = pack2(s[8 * step + 2 * e], s[8 * step + 2 * e + 1]);
    }
    barrier_wait(full_v + 8 * ((tiles - 1) % STAGES), (tiles - 1) / STAGES % 2);
    gather_tile(acc, p, describe(tile_v + (tiles - 1) % STAGES * TILE_BYTES));
    MULTIPLY_WAIT(0);
    UNROLL for (int i = 0; i < HALVES; i++) PIN(acc[i], 32);

    // Four lanes share a row. It goes out by way of the place of the group's queries, which nobody reads any more once all four warps are
    // here, in pieces of sixteen bytes.
    asm volatile("bar.sync %0, 128;" :: "r"(group + 1) : "memory");
    UNROLL for (int h = 0; h < 2; h++) {
      sum[h] += SHFL_XOR(sum[h], 1);
      sum[h] += SHFL_XOR(sum[h], 2);
      const float share = 1.0f / sum[h];
      char* const row = dynamic + (mine + h * 8 + LANE / 4) * 128 + LANE % 4 * 4;
      UNROLL for (int i = 0; i < HALVES; i++) UNROLL for (int j = 0; j < 8; j++) {
        *(u32*)(row + i * HALF_BYTES + ((j ^ (LANE / 4)) << 4)) = pack2(acc[i][4 * j + 2 * h] * share, acc[i][4 * j + 2 * h + 1] * share);
      }
    }
    WARP_SYNC();
    UNROLL for (int i = 0; i < 16 * PIECES / 32; i++) {
      const int row = mine + (i * 32 + LANE) / PIECES, of = LANE % PIECES;
      if (q0 + row < length) {
        *(GLOBAL u128*)(out + ((u64)(start + q0 + row) * heads + head) * DEPTH + of * 8) = *(const u128*)(dynamic + of / 8 * HALF_BYTES + row * 128 + ((of % 8 ^ (row % 8)) << 4));
      }
    }
  }
}
#endif
