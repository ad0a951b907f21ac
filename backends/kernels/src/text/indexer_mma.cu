// The lightning indexer by tensor cores: keys are the rows of the product and go from memory straight into fragments; queries, the
// columns, lie in shared memory in the order in which lanes want them. HEADS is divisible by 16, DI by 32.
//
// A product sums over dimensions in any order, so a lane takes whole sixteens of a row: sixteen number 4j + t is for lane t of four,
// and its four words stand for the columns that m16n8k16 asks of it in steps 2j and 2j + 1. Queries follow the same order.
#if defined(HAS_MMA) && defined(HEADS)
#define STEPS (DI / 32)
// Blocks of a multiprocessor: the compiler for sm_80 needs a few registers more.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  #define BLOCKS 3
#else
  #define BLOCKS 4
#endif
KERNEL void BOUNDS(128, BLOCKS) indexer_mma(GLOBAL const u128* q, GLOBAL const u128* k, GLOBAL const float* w, GLOBAL float* logits, int length) {
  SHARED u128 queries[(HEADS / 8) * STEPS * 32];
  SHARED float weights[HEADS];
  int b = BY, lane = TID % 32, g = lane / 4, t = lane % 4;
  for (int i = TID; i < (HEADS / 8) * STEPS * 32; i += NTID) {
    int of = i % 32, head = i / (32 * STEPS) * 8 + of / 4, sixteen = i / 32 % STEPS * 4 + of % 4;
    queries[i] = q[((u64)b * HEADS + head) * (DI / 8) + sixteen];
  }
  for (int i = TID; i < HEADS; i += NTID) weights[i] = w[(u64)b * HEADS + i];
  SYNC();
  for (int first = (BX * 4 + TID / 32) * 32; first < length; first += GX * 128) {
    // Rows g, g + 8, g + 16 and g + 24 of 32 keys; past the end the last key stands in, and nothing is written.
    u128 row[4][STEPS];
    UNROLL for (int r = 0; r < 4; r++) {
      int at = first + r * 8 + g;
      GLOBAL const u128* from = k + ((u64)b * length + (at < length ? at : length - 1)) * (DI / 8) + t;
      UNROLL for (int j = 0; j < STEPS; j++) row[r][j] = STREAM(from + j * 4);
    }
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int n = 0; n < HEADS / 8; n += 2) {
      // Two eights of heads by two sixteens of keys: four chains, so that one step need not wait for the other.
      float acc[2][2][4];
      UNROLL for (int i = 0; i < 16; i++) acc[i / 8][i / 4 % 2][i % 4] = 0.0f;
      UNROLL for (int j = 0; j < STEPS; j++) {
        UNROLL for (int half = 0; half < 2; half++) {
          UNROLL for (int e = 0; e < 2; e++) {
            u128 query = queries[((n + e) * STEPS + j) * 32 + lane];
            u32 column[2] = {half ? query.z : query.x, half ? query.w : query.y};
            UNROLL for (int m = 0; m < 2; m++) {
              u128 low = row[2 * m][j], high = row[2 * m + 1][j];
              u32 rows[4] = {half ? low.z : low.x, half ? high.z : high.x, half ? low.w : low.y, half ? high.w : high.y};
              mma_bf16(acc[m][e], rows, column);
            }
          }
        }
      }
      UNROLL for (int e = 0; e < 2; e++) {
        float w0 = weights[(n + e) * 8 + 2 * t], w1 = weights[(n + e) * 8 + 2 * t + 1];
        UNROLL for (int r = 0; r < 4; r++) {
          sum[r] = FMAF(w0, FMAXF(acc[r / 2][e][r % 2 * 2], 0.0f), sum[r]);
          sum[r] = FMAF(w1, FMAXF(acc[r / 2][e][r % 2 * 2 + 1], 0.0f), sum[r]);
        }
      }
    }
    // Four lanes share a row; then each of them writes one of the four rows, a warp a line of memory.
    UNROLL for (int r = 0; r < 4; r++) {
      sum[r] += SHFL_XOR(sum[r], 1);
      sum[r] += SHFL_XOR(sum[r], 2);
    }
    float mine = t == 0 ? sum[0] : t == 1 ? sum[1] : t == 2 ? sum[2] : sum[3];
    int at = first + t * 8 + g;
    if (at < length) logits[(u64)b * length + at] = mine;
  }
}
#endif
