// C = A·Bᵀ by the matrix unit of sm_90a: wgmma, which four warps issue together and which reads both tiles from shared memory by itself.
// Needs K divisible by 8; M and N are free.
//
// A block is three groups of four warps. The first only copies, the other two only multiply, 64 rows of the tile each; they meet at
// barriers in shared memory, one pair for each stage: `full` (the copies have landed) and `empty` (nobody reads them any more). Blocks
// stay and take tile after tile, so that the copies for the next one run while the sums of the last are written.
//
// The copies are cp.async of ordinary addresses, not the bulk engine with a tensor map: a map would have to be an argument of the launch.
//
// Defines: STAGES, tiles in flight.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define BM 128
#define BN 256
#define BK 64
// A row of a tile is 64 elements, 128 bytes, eight pieces of sixteen. Piece p of row r stands at p ^ (r % 8): the unit's own 128-byte
// swizzle, which repeats every eight rows, 1024 bytes. Stages start at multiples of that.
#define ROW_BYTES 128
#define A_BYTES (BM * ROW_BYTES)
#define STAGE_BYTES ((BM + BN) * ROW_BYTES)
// Rows that the 128 copying threads fetch at a time, eight threads to a row.
#define PASS 16
// Stages of a copying thread that may still be in flight when it starts another: waiting for the one just started would stop the flow.
#if !defined(LAG)
#define LAG (STAGES - 2)
#endif

#define HIGH 16
DEV void tile_of(int tile, int down, int across, int* tm, int* tn) {
  const int patch = tile / (HIGH * across), inside = tile % (HIGH * across);
  const int left = down - patch * HIGH, high = left < HIGH ? left : HIGH;
  *tm = patch * HIGH + inside % high;
  *tn = inside / high;
}

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

// Where a tile of 128-byte rows starts, as the unit wants it: the address and the distance of eight rows, both in sixteens of bytes, and
// the kind of swizzle (1: 128 bytes) on top. The other distance is not used with this swizzle. Sixteen columns on are two sixteens on:
// the unit swizzles the address that results.
DEV u64 describe(u32 address) { return (u64)((address & 0x3ffffu) >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62; }

// d[64x256] += a[64x16] * b[256x16]ᵀ. Of rows 16 times the warp's number and on, d[4j + e] is what mma.sync's accumulator e of columns 8j
// and on would be.
DEV void multiply(float* d, u64 a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, "
      "%128, %129, 1, 1, 1, 0, 0;\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
      , "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
      , "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23])
      , "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      , "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])
      , "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
      , "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55])
      , "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
      , "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71])
      , "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79])
      , "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87])
      , "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
      , "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103])
      , "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111])
      , "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119])
      , "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
      : "l"(a), "l"(b));
}

KERNEL void BOUNDS(384, 1) gemm_wgmma(GLOBAL const u16* a, GLOBAL const u16* b, GLOBAL float* c, int m, int n, int k, int down, int across) {
  DYNAMIC_SHARED(dynamic);
  SHARED u64 barriers[2 * STAGES];
  const u32 shared = (u32)__cvta_generic_to_shared(dynamic);
  const u32 full = (u32)__cvta_generic_to_shared(barriers), empty = full + 8 * STAGES;
  if (TID == 0) {
    for (int s = 0; s < STAGES; s++) {
      barrier_init(full + 8 * s, 128);
      barrier_init(empty + 8 * s, 8);
    }
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  SYNC();
  const int depth = (k + BK - 1) / BK, tiles = down * across;

  if (WARP_ID < 4) {
    // setmaxnreg needs the same register count at entry for all: 168 of each thread, by the bounds above.
    asm volatile("setmaxnreg.dec.sync.aligned.u32 88;");
    const int first = TID / 8, piece = TID % 8;
    const u32 to = shared + first * ROW_BYTES + ((piece ^ (first % 8)) << 4);
    const u32 pass = PASS * (u32)k;
    int step = 0, stage = 0;
    u32 parity = 1;
    for (int tile = BX; tile < tiles; tile += GX) {
      int tm, tn;
      tile_of(tile, down, across, &tm, &tn);
      const int m0 = tm * BM + first, n0 = tn * BN + first;
      u32 rows_a = 0, rows_b = 0;
      UNROLL for (int i = 0; i < BM / PASS; i++) rows_a |= (m0 + i * PASS < m ? 1u : 0u) << i;
      UNROLL for (int i = 0; i < BN / PASS; i++) rows_b |= (n0 + i * PASS < n ? 1u : 0u) << i;
      GLOBAL const u16* from_a = a + (u64)m0 * (u64)k + piece * 8;
      GLOBAL const u16* from_b = b + (u64)n0 * (u64)k + piece * 8;
      for (int at = 0; at < depth; at++) {
        barrier_wait(empty + 8 * stage, parity);
        const u32 inside = at * BK + piece * 8 < k ? 0xffffffffu : 0u;
        const u32 mask_a = rows_a & inside, mask_b = rows_b & inside;
        const u32 to_a = to + stage * STAGE_BYTES, to_b = to_a + A_BYTES;
        UNROLL for (int i = 0; i < BM / PASS; i++) {
          asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" :: "r"(to_a + i * PASS * ROW_BYTES), "l"(from_a + (u32)i * pass), "r"((mask_a << 4 >> i) & 16u) : "memory");
        }
        UNROLL for (int i = 0; i < BN / PASS; i++) {
          asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" :: "r"(to_b + i * PASS * ROW_BYTES), "l"(from_b + (u32)i * pass), "r"((mask_b << 4 >> i) & 16u) : "memory");
        }
        COPY_COMMIT();
        from_a += BK;
        from_b += BK;
        // What was started LAG stages ago has landed. The matrix unit reads shared memory by another way than copies write it: the fence
        // puts the writes before reads that follow the arrival.
        if (step >= LAG) {
          COPY_WAIT(LAG);
          asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
          const int landed = stage >= LAG ? stage - LAG : stage - LAG + STAGES;
          barrier_arrive(full + 8 * landed);
        }
        step++;
        if (++stage == STAGES) { stage = 0; parity ^= 1; }
      }
    }
    COPY_WAIT(0);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    for (int left = step < LAG ? step : LAG; left > 0; left--) barrier_arrive(full + 8 * (stage >= left ? stage - left : stage - left + STAGES));
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 208;");
    const int group = WARP_ID / 4 - 1;
    int stage = 0;
    u32 parity = 0;
    float acc[128];
    for (int tile = BX; tile < tiles; tile += GX) {
      int tm, tn;
      tile_of(tile, down, across, &tm, &tn);
      UNROLL for (int i = 0; i < 128; i++) acc[i] = 0.0f;
      int last = -1;
      for (int at = 0; at < depth; at++) {
        barrier_wait(full + 8 * stage, parity);
        const u64 left = describe(shared + stage * STAGE_BYTES + group * 64 * ROW_BYTES), right = describe(shared + stage * STAGE_BYTES + A_BYTES);
        UNROLL for (int i = 0; i < 128; i++) asm volatile("" : "+f"(acc[i]) :: "memory");
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        UNROLL for (int step = 0; step < BK / 16; step++) multiply(acc, left + 2 * step, right + 2 * step);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        // The stage before this one is read when all but the products just given are done.
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
        if (last >= 0 && LANE == 0) barrier_arrive(empty + 8 * last);
        last = stage;
        if (++stage == STAGES) { stage = 0; parity ^= 1; }
      }
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      UNROLL for (int i = 0; i < 128; i++) asm volatile("" : "+f"(acc[i]) :: "memory");
      if (last >= 0 && LANE == 0) barrier_arrive(empty + 8 * last);

      const int row = tm * BM + group * 64 + WARP_ID % 4 * 16 + LANE / 4, column = tn * BN + LANE % 4 * 2;
      UNROLL for (int h = 0; h < 2; h++) {
        if (row + 8 * h < m) {
          GLOBAL float* to_c = c + (u64)(row + 8 * h) * (u64)n + (u64)column;
          UNROLL for (int j = 0; j < BN / 8; j++) {
            const float low = acc[4 * j + 2 * h], high = acc[4 * j + 2 * h + 1];
            if (n % 2 == 0 && column + 8 * j < n) {
              *(GLOBAL u64*)(to_c + 8 * j) = (u64)AS_UINT(low) | (u64)AS_UINT(high) << 32;
            } else {
              if (column + 8 * j < n) to_c[8 * j] = low;
              if (column + 8 * j + 1 < n) to_c[8 * j + 1] = high;
            }
          }
        }
      }
    }
  }
}
#endif
