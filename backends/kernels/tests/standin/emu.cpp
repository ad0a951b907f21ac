// The emulator's runtime: see emu.h. One launch at a time; each library that links this file has its own state.
#include "emu.h"
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#if defined(EMU_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

const int MOST = 1024;  // threads of a block
const int FAR = 1024;   // bytes behind dynamic shared memory that must stay as they are
const size_t STACK = 256 << 10;
const size_t GUARD = 64 << 10;

// Switching fibers: what a call must keep is pushed, the stack is exchanged. Elsewhere than on x86-64 the C library does it, slower.
#if defined(__x86_64__)
extern "C" void emu_switch(void** from, void* to) __attribute__((visibility("hidden")));
asm(R"(
.text
.hidden emu_switch
.globl emu_switch
.type emu_switch, @function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch, . - emu_switch
)");
struct Context { void* at; };
void exchange(Context* from, Context* to) { emu_switch(&from->at, to->at); }
void begin(Context* context, char* stack, void (*entry)()) {
  // As if `entry` had been called from nowhere: eight below a multiple of sixteen, where the address of return stands.
  uintptr_t top = ((uintptr_t)(stack + STACK) & ~(uintptr_t)15) - 24;
  void** at = (void**)top;
  *at = nullptr;
  *--at = (void*)entry;
  for (int i = 0; i < 6; i++) *--at = nullptr;
  context->at = at;
}
#else
}
#include <ucontext.h>
namespace {
struct Context { ucontext_t at; };
void exchange(Context* from, Context* to) { swapcontext(&from->at, &to->at); }
void begin(Context* context, char* stack, void (*entry)()) {
  getcontext(&context->at);
  context->at.uc_stack.ss_sp = stack;
  context->at.uc_stack.ss_size = STACK;
  context->at.uc_link = nullptr;
  makecontext(&context->at, entry, 0);
}
#endif

enum State : unsigned char { RUNS, AT_BLOCK, AT_WARP, GONE };
enum Kind : unsigned char { NOTHING, MEET, EXCHANGE, BALLOT_, MMA, MFMA, LDMATRIX, LDMATRIX_T };
const char* const KINDS[] = {"nothing", "a warp's barrier", "a shuffle", "a ballot", "mma", "mfma", "ldmatrix", "ldmatrix"};

struct Copy { void* to; const void* from; int bytes; int group; };
struct Fiber {
  Context context;
  State state;
  int line;
  Copy* copies;
  int count, room, group;
#if defined(EMU_ASAN)
  void* fake;
#endif
};
// What the lanes of a warp bring to an operation, and what they take away.
struct Warp {
  int arrived, gone, lanes;
  Kind kind;
  int line;
  union Lane {
    struct { u32 a[4], b[2]; float c[4]; } mma;
    struct { u16 a[4], b[4]; float c[4]; } mfma;
    struct { const void* at; u32 out[4]; } matrix;
    struct { u64 value[2], got[2]; int from; } word;
  } lane[64];
};

Fiber fibers[MOST];
Warp warps[MOST / 32];
u64 ready[MOST / 64];
char* stacks;
Context back;
const EmuLaunch* launch;
int arrived, gone, block_line, width;
u64 state_of_random;
char error[640];
bool failed;
char* room;
size_t room_bytes;
#if defined(EMU_ASAN)
const void* back_bottom;
size_t back_size;
void* back_fake;
bool from_back;
#endif

u32 next_random() {
  state_of_random ^= state_of_random << 13;
  state_of_random ^= state_of_random >> 7;
  state_of_random ^= state_of_random << 17;
  return (u32)(state_of_random >> 32);
}
char* stack_of(int tid) { return stacks + (size_t)tid * (STACK + GUARD) + GUARD; }
void set_ready(int tid) { ready[tid / 64] |= 1ull << (tid % 64); }
void set_waiting(int tid) { ready[tid / 64] &= ~(1ull << (tid % 64)); }

// The next ready thread upwards from `from`, around the end; -1 where none is.
int upwards(int from) {
  const int words = (emu_now.ntid + 63) / 64;
  u64 first = ready[from / 64] & (~0ull << (from % 64));
  if (first) return from / 64 * 64 + __builtin_ctzll(first);
  for (int i = 1; i <= words; i++) {
    const int at = (from / 64 + i) % words;
    if (ready[at]) return at * 64 + __builtin_ctzll(ready[at]);
  }
  return -1;
}
int downwards(int from) {
  const int words = (emu_now.ntid + 63) / 64;
  u64 first = ready[from / 64] & (~0ull >> (63 - from % 64));
  if (first) return from / 64 * 64 + 63 - __builtin_clzll(first);
  for (int i = 1; i <= words; i++) {
    const int at = (from / 64 + words - i) % words;
    if (ready[at]) return at * 64 + 63 - __builtin_clzll(ready[at]);
  }
  return -1;
}
// Forward and reverse, the first warp runs on until its block waits: warps are then as far apart as barriers let them be.
int choose() {
  const int n = emu_now.ntid;
  if (launch->schedule == EMU_FORWARD) return upwards(0);
  if (launch->schedule == EMU_REVERSE) return downwards(n - 1);
  const u32 random = next_random();
  const int from = (int)(random % (u32)n);
  return random >> 31 ? upwards(from) : downwards(from);
}

void to_back(Fiber* from, bool dying) {
#if defined(EMU_ASAN)
  __sanitizer_start_switch_fiber(dying ? nullptr : &from->fake, back_bottom, back_size);
#else
  (void)dying;
#endif
  exchange(&from->context, &back);
}
void to_fiber(Context* from, void** fake, int tid) {
#if defined(EMU_ASAN)
  __sanitizer_start_switch_fiber(fake, stack_of(tid), STACK);
#else
  (void)fake;
#endif
  emu_now.tid = tid;
  exchange(from, &fibers[tid].context);
}
void arrived_on_fiber(void* fake) {
#if defined(EMU_ASAN)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#else
  (void)fake;
#endif
}

// Ends the launch. Fibers stay as they are and begin anew with the next.
[[noreturn]] void fail(const char* form, ...) {
  va_list list;
  va_start(list, form);
  int used = snprintf(error, sizeof error, "block (%d, %d, %d): ", emu_now.bx, emu_now.by, emu_now.bz);
  vsnprintf(error + used, sizeof error - used, form, list);
  va_end(list);
  failed = true;
  to_back(&fibers[emu_now.tid], true);
  abort();
}

[[noreturn]] void stuck() {
  // Who waits where: the lines with the most threads say enough.
  char text[400];
  int used = 0, seen[5], lines = 0;
  text[0] = 0;
  for (int t = 0; t < emu_now.ntid; t++) {
    const int line = fibers[t].state == GONE ? 0 : fibers[t].line;
    bool known = false;
    for (int i = 0; i < lines; i++) known = known || seen[i] == line;
    if (known || lines == 5) continue;
    seen[lines++] = line;
    int same = 0, first = t;
    for (int other = 0; other < emu_now.ntid; other++) same += (fibers[other].state == GONE ? 0 : fibers[other].line) == line;
    if (line == 0) used += snprintf(text + used, sizeof text - used, "; %d have returned (thread %d first)", same, first);
    else used += snprintf(text + used, sizeof text - used, "; %d wait in line %d for %s (thread %d first)", same, line, fibers[t].state == AT_BLOCK ? "the block" : "their warp", first);
  }
  fail("nobody can go on%s", text);
}

// Gives the processor away until this thread is ready again.
void leave() {
  const int tid = emu_now.tid;
  const int to = choose();
  if (to < 0) stuck();
  if (to == tid) return;
  Fiber* me = &fibers[tid];
#if defined(EMU_ASAN)
  to_fiber(&me->context, &me->fake, to);
  arrived_on_fiber(me->fake);
#else
  to_fiber(&me->context, nullptr, to);
#endif
}

void entry() {
#if defined(EMU_ASAN)
  if (from_back) __sanitizer_finish_switch_fiber(nullptr, &back_bottom, &back_size);
  else __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
  from_back = false;
#endif
  launch->call(launch->with);
  const int tid = emu_now.tid;
  Fiber* me = &fibers[tid];
  me->state = GONE;
  me->line = 0;
  set_waiting(tid);
  gone++;
  warps[tid / width].gone++;
  const int to = choose();
  if (to < 0) {
    if (gone < emu_now.ntid) stuck();
    to_back(me, true);
  } else {
    to_fiber(&me->context, nullptr, to);
  }
  abort();
}

float of_bf16(u32 half) { return emu_float(half << 16); }

// C += A·B as PTX documents m16n8k16: which lane holds which elements.
void do_mma(Warp* warp) {
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; l++) {
    const int g = l / 4, t = l % 4;
    const auto& lane = warp->lane[l].mma;
    for (int r = 0; r < 4; r++) for (int h = 0; h < 2; h++) a[g + r % 2 * 8][2 * t + r / 2 * 8 + h] = of_bf16(lane.a[r] >> (16 * h) & 0xffff);
    for (int r = 0; r < 2; r++) for (int h = 0; h < 2; h++) b[2 * t + 8 * r + h][g] = of_bf16(lane.b[r] >> (16 * h) & 0xffff);
  }
  for (int l = 0; l < 32; l++) {
    const int g = l / 4, t = l % 4;
    float* c = warp->lane[l].mma.c;
    for (int e = 0; e < 4; e++) {
      float sum = c[e];
      for (int k = 0; k < 16; k++) sum += a[g + e / 2 * 8][k] * b[k][2 * t + e % 2];
      c[e] = sum;
    }
  }
}

// C += A·B as AMD's ISA documents v_mfma_f32_16x16x16_bf16.
void do_mfma(Warp* warp) {
  for (int l = 0; l < 64; l++) {
    float* c = warp->lane[l].mfma.c;
    for (int e = 0; e < 4; e++) {
      const int row = 4 * (l / 16) + e, column = l % 16;
      float sum = c[e];
      for (int k = 0; k < 16; k++) sum += of_bf16(warp->lane[k / 4 * 16 + row].mfma.a[k % 4]) * of_bf16(warp->lane[k / 4 * 16 + column].mfma.b[k % 4]);
      c[e] = sum;
    }
  }
}

void do_ldmatrix(Warp* warp, bool transposed) {
  u16 matrix[4][8][8];
  for (int l = 0; l < 32; l++) memcpy(matrix[l / 8][l % 8], warp->lane[l].matrix.at, 16);
  for (int l = 0; l < 32; l++) {
    for (int m = 0; m < 4; m++) {
      const int row = l / 4, pair = l % 4 * 2;
      const u16 low = transposed ? matrix[m][pair][row] : matrix[m][row][pair], high = transposed ? matrix[m][pair + 1][row] : matrix[m][row][pair + 1];
      warp->lane[l].matrix.out[m] = low | (u32)high << 16;
    }
  }
}

void complete(Warp* warp) {
  switch (warp->kind) {
    case MMA: do_mma(warp); break;
    case MFMA: do_mfma(warp); break;
    case LDMATRIX: do_ldmatrix(warp, false); break;
    case LDMATRIX_T: do_ldmatrix(warp, true); break;
    case EXCHANGE:
      for (int l = 0; l < warp->lanes; l++) {
        const int from = warp->lane[l].word.from;
        // A lane that the block does not have gives no number.
        if (from < warp->lanes) memcpy(warp->lane[l].word.got, warp->lane[from].word.value, 16);
        else memset(warp->lane[l].word.got, 0xff, 16);
      }
      break;
    case BALLOT_: {
      u64 votes = 0;
      for (int l = 0; l < warp->lanes; l++) votes |= warp->lane[l].word.value[0] << l;
      for (int l = 0; l < warp->lanes; l++) warp->lane[l].word.got[0] = votes;
      break;
    }
    default: break;
  }
}

// All lanes of a warp meet; the last to come does what they came for. Only when all have come can the next operation begin, and its
// first lane overwrites nothing but its own place, which it has read.
void meet(Kind kind, int line) {
  const int tid = emu_now.tid, number = tid / width;
  Warp* warp = &warps[number];
  if (warp->arrived == 0) {
    warp->kind = kind;
    warp->line = line;
  } else if (warp->kind != kind || warp->line != line) {
    fail("lanes of warp %d meet in different operations: %s in line %d, %s in line %d (lane %d)", number, KINDS[warp->kind], warp->line, KINDS[kind], line, tid % width);
  }
  if (kind >= MMA && warp->lanes != width) fail("line %d: %s needs a whole warp, this one has %d lanes", line, KINDS[kind], warp->lanes);
  if (warp->gone > 0) fail("line %d: %s needs all lanes of warp %d, of which %d have returned", line, KINDS[kind], number, warp->gone);
  fibers[tid].line = line;
  if (++warp->arrived == warp->lanes) {
    complete(warp);
    warp->arrived = 0;
    const int first = number * width;
    for (int t = first; t < first + warp->lanes; t++) {
      fibers[t].state = RUNS;
      set_ready(t);
    }
    // The last to come need not be the first to go on.
    if (launch->schedule >= EMU_RANDOM && next_random() % 2 == 0) leave();
    return;
  }
  fibers[tid].state = AT_WARP;
  set_waiting(tid);
  leave();
}

Warp::Lane* mine() { return &warps[emu_now.tid / width].lane[emu_now.tid % width]; }

void run_block() {
  const int n = emu_now.ntid;
  arrived = gone = 0;
  for (int w = 0; w * width < n; w++) {
    warps[w].arrived = warps[w].gone = 0;
    warps[w].lanes = n - w * width < width ? n - w * width : width;
  }
  for (int t = 0; t < n; t++) {
    Fiber* fiber = &fibers[t];
    fiber->state = RUNS;
    fiber->line = fiber->count = fiber->group = 0;
#if defined(EMU_ASAN)
    // Frames that a thread of the block before never left.
    __asan_unpoison_memory_region(stack_of(t), STACK);
#endif
    begin(&fiber->context, stack_of(t), entry);
    set_ready(t);
  }
  if (launch->statics) memset(launch->statics, 0xff, launch->statics_end - launch->statics);
  memset(emu_now.dynamic, 0xff, launch->shared);
#if !defined(EMU_ASAN)
  memset(emu_now.dynamic + launch->shared, 0xa5, FAR);
#endif
  const u32 schedule = launch->schedule;
  const int first = schedule == EMU_FORWARD ? 0 : schedule == EMU_REVERSE ? n - 1 : (int)(next_random() % (u32)n);
#if defined(EMU_ASAN)
  from_back = true;
  to_fiber(&back, &back_fake, first);
  __sanitizer_finish_switch_fiber(back_fake, nullptr, nullptr);
#else
  to_fiber(&back, nullptr, first);
  for (int i = 0; i < FAR && !failed; i++) {
    if ((unsigned char)emu_now.dynamic[launch->shared + i] != 0xa5) {
      snprintf(error, sizeof error, "block (%d, %d, %d): byte %d past the end of %u bytes of dynamic shared memory was written", emu_now.bx, emu_now.by, emu_now.bz, i, launch->shared);
      failed = true;
    }
  }
#endif
}

}  // namespace

extern "C" {

EmuNow emu_now;

void emu_sync(int line) {
  const int tid = emu_now.tid;
  if (arrived == 0) block_line = line;
  else if (block_line != line) fail("threads of a block wait at different barriers: in line %d, and thread %d in line %d", block_line, tid, line);
  if (gone > 0) fail("thread %d waits for the block in line %d, and %d threads have returned", tid, line, gone);
  fibers[tid].line = line;
  if (++arrived == emu_now.ntid) {
    arrived = 0;
    for (int t = 0; t < emu_now.ntid; t++) {
      fibers[t].state = RUNS;
      set_ready(t);
    }
    // The last to come need not be the first to go on.
    leave();
    return;
  }
  fibers[tid].state = AT_BLOCK;
  set_waiting(tid);
  leave();
}

void emu_warp_sync(int line) { meet(MEET, line); }

void emu_exchange(void* value, int bytes, int from, int line) {
  Warp::Lane* lane = mine();
  memset(lane->word.value, 0xff, 16);
  memcpy(lane->word.value, value, bytes < 16 ? bytes : 16);
  lane->word.from = from;
  meet(EXCHANGE, line);
  memcpy(value, lane->word.got, bytes < 16 ? bytes : 16);
}

u64 emu_ballot(int yes, int line) {
  mine()->word.value[0] = (u64)yes;
  meet(BALLOT_, line);
  return mine()->word.got[0];
}

void emu_mma(float* c, const u32* a, const u32* b, int line) {
  Warp::Lane* lane = mine();
  memcpy(lane->mma.a, a, 16);
  memcpy(lane->mma.b, b, 8);
  memcpy(lane->mma.c, c, 16);
  meet(MMA, line);
  memcpy(c, lane->mma.c, 16);
}

void emu_mfma16(float* c, const u16* a, const u16* b, int line) {
  Warp::Lane* lane = mine();
  memcpy(lane->mfma.a, a, 8);
  memcpy(lane->mfma.b, b, 8);
  memcpy(lane->mfma.c, c, 16);
  meet(MFMA, line);
  memcpy(c, lane->mfma.c, 16);
}

void emu_ldmatrix(u32* to, const void* from, int transposed, int line) {
  if ((uintptr_t)from % 16) fail("line %d: ldmatrix of thread %d from an address that is no multiple of sixteen", line, emu_now.tid);
  Warp::Lane* lane = mine();
  lane->matrix.at = from;
  meet(transposed ? LDMATRIX_T : LDMATRIX, line);
  memcpy(to, lane->matrix.out, 16);
}

void emu_copy(void* to, const void* from, int bytes, int line) {
  if ((uintptr_t)to % 16) fail("line %d: a copy of thread %d to an address that is no multiple of sixteen", line, emu_now.tid);
  if (bytes > 0 && (uintptr_t)from % 16) fail("line %d: a copy of thread %d from an address that is no multiple of sixteen", line, emu_now.tid);
  if (bytes < 0 || bytes > 16) fail("line %d: a copy of %d bytes out of sixteen", line, bytes);
  Fiber* fiber = &fibers[emu_now.tid];
  if (fiber->count == fiber->room) {
    fiber->room = fiber->room ? 2 * fiber->room : 16;
    fiber->copies = (Copy*)realloc(fiber->copies, (size_t)fiber->room * sizeof(Copy));
  }
  // From now until the wait the place may hold anything.
  memset(to, 0xff, 16);
  fiber->copies[fiber->count++] = {to, from, bytes, fiber->group};
}

void emu_commit() { fibers[emu_now.tid].group++; }

void emu_wait(int groups) {
  Fiber* fiber = &fibers[emu_now.tid];
  int kept = 0;
  for (int i = 0; i < fiber->count; i++) {
    const Copy copy = fiber->copies[i];
    if (copy.group < fiber->group - groups) {
      memset(copy.to, 0, 16);
      memcpy(copy.to, copy.from, (size_t)copy.bytes);
    } else {
      fiber->copies[kept++] = copy;
    }
  }
  fiber->count = kept;
}

int emu_atomic_add(int* at, int value) {
  // Others may come in between, before or after.
  if (launch->schedule >= EMU_RANDOM && next_random() % 4 == 0) leave();
  const int old = *at;
  *at = (int)((u32)old + (u32)value);
  return old;
}

char* emu_stacks() {
  const size_t one = STACK + GUARD, bytes = one * MOST;
  char* at = (char*)mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  for (int t = 0; t < MOST; t++) {
    if (mprotect(at + (size_t)t * one + GUARD, STACK, PROT_READ | PROT_WRITE) == 0) continue;
    munmap(at, bytes);
    return nullptr;
  }
  return at;
}

void emu_stacks_end(char* at) { munmap(at, (STACK + GUARD) * MOST); }

const char* emu_run(const EmuLaunch* what) {
  launch = what;
  width = what->warp;
  failed = false;
  error[0] = 0;
  const u64 blocks = (u64)what->grid[0] * what->grid[1] * what->grid[2];
  if (what->threads < 1 || what->threads > (u32)MOST || blocks == 0) {
    snprintf(error, sizeof error, "%u threads in %llu blocks: a block has 1 to %d threads, a grid one block at least", what->threads, blocks, MOST);
    return error;
  }
  static char* own_stacks;
  stacks = what->stacks ? what->stacks : own_stacks ? own_stacks : (own_stacks = emu_stacks());
  if (!stacks) {
    snprintf(error, sizeof error, "no room for the stacks of %d threads", MOST);
    return error;
  }
#if defined(EMU_ASAN)
  // Of just this size, for the sanitizer to see its ends; the bottom of this thread's stack for the way back.
  free(room);
  room = nullptr;
  void* exact = nullptr;
  if (posix_memalign(&exact, 1024, what->shared ? what->shared : 1) == 0) room = (char*)exact;
  room_bytes = what->shared;
#else
  if (room_bytes < what->shared + (size_t)FAR) {
    free(room);
    room_bytes = (what->shared + (size_t)FAR + 1023) / 1024 * 1024;
    room = (char*)aligned_alloc(1024, room_bytes);
  }
#endif
  if (!room) { snprintf(error, sizeof error, "no room for %u bytes of shared memory", what->shared); return error; }
  memset(ready, 0, sizeof ready);
  emu_now = {0, (int)what->threads, 0, 0, 0, (int)what->grid[0], (int)what->grid[1], (int)what->grid[2], room};
  state_of_random = 0x9E3779B97F4A7C15ull * (what->schedule + 1);
  // A stride that shares no factor with the number of blocks visits each once.
  u64 stride = 1, start = 0;
  if (what->schedule == EMU_REVERSE) { stride = blocks - 1; start = blocks - 1; }
  if (what->schedule >= EMU_RANDOM) {
    start = next_random() % blocks;
    for (stride = next_random() % blocks | 1;; stride++) {
      u64 a = stride, b = blocks;
      while (b) { const u64 rest = a % b; a = b; b = rest; }
      if (a == 1) break;
    }
  }
  u64 at = start;
  for (u64 i = 0; i < blocks && !failed; i++, at = (at + stride) % blocks) {
    emu_now.bx = (int)(at % what->grid[0]);
    emu_now.by = (int)(at / what->grid[0] % what->grid[1]);
    emu_now.bz = (int)(at / what->grid[0] / what->grid[1]);
    run_block();
  }
  return failed ? error : nullptr;
}

}
