// Which k of the scores of each sequence are the largest, by radix select: counts of a digit tell which value of it the k-th largest
// has; what lies above is chosen, what lies below is dropped, and the next digit decides among the rest.
// Scores are floats that are numbers. picks[b, 0..k] are positions in any order, of ties any; -1 where there are fewer than k.

// A word that is ordered as the float is.
DEV u32 top_key(u32 bits) { return bits ^ ((bits >> 31) ? 0xffffffffu : 0x80000000u); }

// Digits of 11, 11 and 10 bits from the top.
#define BINS 2048
#define SHIFT(digit) ((digit) == 0 ? 21 : (digit) == 1 ? 10 : 0)
#define SIZE(digit) ((digit) == 2 ? 1024 : 2048)

// Finds the value of a digit that the element number `need` from the top has, from the counts of values. found becomes that value, how
// many of its elements are needed, and how many there are. part has room for one number of each thread; bins are a multiple of threads.
DEV void top_digit(LOCAL int* counts, LOCAL int* part, LOCAL int* found, int bins, int need) {
  int per = bins / NTID, sum = 0, top = bins - 1 - TID * per;
  for (int j = 0; j < per; j++) sum += counts[top - j];
  part[TID] = sum;
  SYNC();
  for (int off = 1; off < NTID; off *= 2) {
    int other = TID >= off ? part[TID - off] : 0;
    SYNC();
    part[TID] += other;
    SYNC();
  }
  int above = part[TID] - sum;
  for (int j = 0; j < per; j++) {
    int here = counts[top - j];
    if (above < need && need <= above + here) { found[0] = top - j; found[1] = need - above; found[2] = here; }
    above += here;
  }
  SYNC();
}

// One block for a sequence: every digit is a pass over the scores, then one more to write.
KERNEL void top_k_block(GLOBAL const u32* scores, GLOBAL int* picks, int length, int k) {
  SHARED int counts[BINS];
  SHARED int part[1024];
  SHARED int found[3];
  SHARED int out[2];
  GLOBAL const u32* row = scores + (u64)BX * length;
  GLOBAL int* mine = picks + (u64)BX * k;
  int want = k < length ? k : length, need = want;
  u32 mask = 0, value = 0;
  for (int i = want + TID; i < k; i += NTID) mine[i] = -1;
  for (int digit = 0; digit < 3; digit++) {
    int bins = SIZE(digit), shift = SHIFT(digit);
    for (int i = TID; i < bins; i += NTID) counts[i] = 0;
    SYNC();
    for (int i = TID; i < length; i += NTID) {
      u32 key = top_key(row[i]);
      if ((key & mask) == value) ATOMIC_ADD_SHARED(&counts[(key >> shift) & (u32)(bins - 1)], 1);
    }
    SYNC();
    top_digit(counts, part, found, bins, need);
    value |= (u32)found[0] << shift;
    mask |= (u32)(bins - 1) << shift;
    need = found[1];
    // All that have this value are needed: no further digit has to decide.
    if (need == found[2]) break;
  }
  if (TID == 0) { out[0] = 0; out[1] = 0; }
  SYNC();
  for (int i = TID; i < length; i += NTID) {
    u32 key = top_key(row[i]) & mask;
    if (key > value || (key == value && ATOMIC_ADD_SHARED(&out[1], 1) < need)) mine[ATOMIC_ADD_SHARED(&out[0], 1)] = i;
  }
}

// Many blocks for a sequence, four launches: clear, count, split, finish. Of each sequence, scratch holds the counts of the first digit,
// how many were chosen and how many are undecided (each in a sector of its own), and of those the words and the positions.
#define CHOSEN BINS
#define UNDECIDED (BINS + 32)
#define HEAD (BINS + 64)
#define SPAN(length) ((u64)HEAD + 2 * (u64)(length))

KERNEL void top_k_clear(GLOBAL int* scratch, int length) {
  for (int i = TID; i < HEAD; i += NTID) scratch[BX * SPAN(length) + i] = 0;
}

#ifdef VEC
// Scores of a thread in a tile: PER words, VEC of them neighbours.
#define TILE (256 * PER)
#define PLACE(tile, j) ((tile) * TILE + (j) / VEC * (256 * VEC) + TID * VEC + (j) % VEC)
#if VEC == 4
  #define LOAD_TILE(x, row, tile, length) \
    UNROLL for (int j = 0; j < PER; j += 4) { \
      int at = PLACE(tile, j); \
      u128 four = *(GLOBAL const u128*)((row) + (at < (length) ? at : 0)); \
      x[j] = four.x; x[j + 1] = four.y; x[j + 2] = four.z; x[j + 3] = four.w; \
    }
#else
  #define LOAD_TILE(x, row, tile, length) \
    UNROLL for (int j = 0; j < PER; j++) { int at = PLACE(tile, j); x[j] = (row)[at < (length) ? at : 0]; }
#endif

KERNEL void top_k_count(GLOBAL const u32* scores, GLOBAL int* scratch, int length) {
  SHARED int counts[BINS];
  GLOBAL const u32* row = scores + (u64)BY * length;
  GLOBAL int* all = scratch + BY * SPAN(length);
  for (int i = TID; i < BINS; i += NTID) counts[i] = 0;
  SYNC();
  for (int tile = BX; tile * TILE < length; tile += GX) {
    u32 x[PER];
    LOAD_TILE(x, row, tile, length)
    UNROLL for (int j = 0; j < PER; j++) {
      if (PLACE(tile, j) < length) ATOMIC_ADD_SHARED(&counts[top_key(x[j]) >> 21], 1);
    }
  }
  SYNC();
  for (int i = TID; i < BINS; i += NTID) if (counts[i]) ATOMIC_ADD_GLOBAL(&all[i], counts[i]);
}

KERNEL void top_k_split(GLOBAL const u32* scores, GLOBAL int* scratch, GLOBAL int* picks, int length, int k) {
  SHARED int counts[BINS];
  SHARED int part[256];
  SHARED int found[3];
  SHARED int here[2];
  SHARED int base[2];
  GLOBAL const u32* row = scores + (u64)BY * length;
  GLOBAL int* all = scratch + BY * SPAN(length);
  GLOBAL int* words = all + HEAD;
  GLOBAL int* places = words + length;
  GLOBAL int* mine = picks + (u64)BY * k;
  for (int i = TID; i < BINS; i += NTID) counts[i] = all[i];
  SYNC();
  top_digit(counts, part, found, BINS, k < length ? k : length);
  u32 value = (u32)found[0];
  // Backwards: what was counted last may still be in the cache.
  int tiles = (length + TILE - 1) / TILE;
  for (int tile = tiles - 1 - BX; tile >= 0; tile -= GX) {
    u32 x[PER];
    int chosen = 0, undecided = 0;
    LOAD_TILE(x, row, tile, length)
    if (TID == 0) { here[0] = 0; here[1] = 0; }
    UNROLL for (int j = 0; j < PER; j++) {
      x[j] = top_key(x[j]);
      if (PLACE(tile, j) < length) {
        chosen += (x[j] >> 21) > value;
        undecided += (x[j] >> 21) == value;
      }
    }
    SYNC();
    int c = chosen ? ATOMIC_ADD_SHARED(&here[0], chosen) : 0;
    int u = undecided ? ATOMIC_ADD_SHARED(&here[1], undecided) : 0;
    SYNC();
    if (TID == 0 && here[0]) base[0] = ATOMIC_ADD_GLOBAL(&all[CHOSEN], here[0]);
    if (TID == 32 && here[1]) base[1] = ATOMIC_ADD_GLOBAL(&all[UNDECIDED], here[1]);
    SYNC();
    c += base[0];
    u += base[1];
    UNROLL for (int j = 0; j < PER; j++) {
      int at = PLACE(tile, j);
      if (at < length) {
        if ((x[j] >> 21) > value) mine[c++] = at;
        if ((x[j] >> 21) == value) { words[u] = (int)x[j]; places[u++] = at; }
      }
    }
  }
}
#endif

KERNEL void top_k_finish(GLOBAL int* scratch, GLOBAL int* picks, int length, int k) {
  SHARED int counts[BINS];
  SHARED int part[1024];
  SHARED int found[3];
  SHARED int out[2];
  GLOBAL int* all = scratch + BX * SPAN(length);
  GLOBAL int* words = all + HEAD;
  GLOBAL int* places = words + length;
  GLOBAL int* mine = picks + (u64)BX * k;
  int want = k < length ? k : length, chosen = all[CHOSEN], rest = all[UNDECIDED], need = want - chosen;
  u32 mask = 0, value = 0;
  for (int i = want + TID; i < k; i += NTID) mine[i] = -1;
  // The words of the rest agree in the first digit.
  for (int digit = 1; digit < 3 && need < rest; digit++) {
    int bins = SIZE(digit), shift = SHIFT(digit);
    for (int i = TID; i < bins; i += NTID) counts[i] = 0;
    SYNC();
    for (int i = TID; i < rest; i += 4 * NTID) {
      u32 word[4];
      UNROLL for (int j = 0; j < 4; j++) { int at = i + j * NTID; word[j] = (u32)words[at < rest ? at : i]; }
      UNROLL for (int j = 0; j < 4; j++) {
        if (i + j * NTID < rest && (word[j] & mask) == value) ATOMIC_ADD_SHARED(&counts[(word[j] >> shift) & (u32)(bins - 1)], 1);
      }
    }
    SYNC();
    top_digit(counts, part, found, bins, need);
    value |= (u32)found[0] << shift;
    mask |= (u32)(bins - 1) << shift;
    need = found[1];
    if (need == found[2]) break;
  }
  if (TID == 0) { out[0] = chosen; out[1] = 0; }
  SYNC();
  for (int i = TID; i < rest; i += 4 * NTID) {
    u32 word[4];
    UNROLL for (int j = 0; j < 4; j++) { int at = i + j * NTID; word[j] = (u32)words[at < rest ? at : i]; }
    UNROLL for (int j = 0; j < 4; j++) {
      u32 key = word[j] & mask;
      if (i + j * NTID < rest && (key > value || (key == value && ATOMIC_ADD_SHARED(&out[1], 1) < need))) {
        mine[ATOMIC_ADD_SHARED(&out[0], 1)] = places[i + j * NTID];
      }
    }
  }
}
