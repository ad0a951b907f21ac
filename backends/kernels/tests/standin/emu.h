// Kernel text on the host's processor: every thread of a block is a fiber, barriers are barriers. For tests; nothing of it is shipped.
//
// Compile a text and a small main with the runtime beside it:
//     c++ -std=c++17 -O1 -w -DWARP=32 main.cpp emu.cpp -o run
//     // main.cpp
//     #include "emu.h"
//     #define BM 64                       // the launch's defines, after emu.h
//     #include "hal.h"
//     #include "copy.cu"
//     int main() {
//       float a[1000], b[1000];           // fill a, poison b with 0xFF
//       for (int order = 0; order < 3; order++) {
//         // blocks x, y, z; threads; bytes of dynamic shared memory; schedule (EMU_FORWARD, EMU_REVERSE, EMU_RANDOM + seed)
//         const char* error = emu_launch({4, 1, 1}, 64, 0, order, [&] { copy_scalar(a, b, 1000); });
//         if (error) { __builtin_puts(error); return 1; }
//         // compare b
//       }
//     }
// WARP is 32 or 64. With 32 there is HAS_MMA (mma_bf16, ldmatrix4, ldmatrix4_t, copy_async16 as PTX documents them). With -DEMU_MFMA
// and 64 there is `__builtin_amdgcn_mfma_f32_16x16x16bf16_1k`. `-fsanitize=address` finds what leaves an array, at its line.
//
// What it finds, beside wrong sums:
// - a missing barrier: threads run one after the other until they wait, in an order that differs between schedules, blocks likewise;
// - a missing wait for a copy: copy_async16 overwrites the place with 0xFF at once and brings the bytes at the COPY_WAIT that covers them;
// - a read of shared memory that nothing wrote: it holds 0xFF (no number) when a block begins;
// - a write past dynamic shared memory; an address of sixteen bytes that is not a multiple of sixteen;
// - barriers that not all threads of a block, or lanes of a warp, reach, or at which they wait in different lines: an error with the
//   lines, never a hang. (A loop that waits for another thread without a barrier does hang: the hardware promises it no progress either.)
// Not emulated: wgmma, bulk copies, memory barriers in memory of the device, clusters, the order in which blocks see each other's writes.
#pragma once
#ifndef EMULATED
  #define EMULATED 1
#endif
#ifndef EMU_WARP
  #ifdef WARP
    #define EMU_WARP WARP
  #else
    #define EMU_WARP 32
  #endif
#endif

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
struct alignas(16) u128 { u32 x, y, z, w; };

#define EMU_FORWARD 0u
#define EMU_REVERSE 1u
#define EMU_RANDOM 2u

// The runtime: emu.cpp. Hidden, so that several texts of one process each have their own.
#pragma GCC visibility push(hidden)
struct EmuNow { int tid, ntid, bx, by, bz, gx, gy, gz; char* dynamic; };
extern "C" {
  extern EmuNow emu_now;
  void emu_sync(int line);
  void emu_warp_sync(int line);
  void emu_exchange(void* mine, int bytes, int from, int line);
  u64 emu_ballot(int yes, int line);
  void emu_mma(float* c, const u32* a, const u32* b, int line);
  void emu_mfma16(float* c, const u16* a, const u16* b, int line);
  void emu_ldmatrix(u32* to, const void* from, int transposed, int line);
  void emu_copy(void* to, const void* from, int bytes, int line);
  void emu_commit();
  void emu_wait(int groups);
  int emu_atomic_add(int* at, int value);
  struct EmuLaunch { u32 grid[3]; u32 threads; u32 shared; u32 schedule; int warp; void (*call)(void*); void* with; char* statics; char* statics_end; char* stacks; };
  // Room for the stacks of a block's threads, with guards between: thousands of mappings, so libraries in one thread share it. Null without room.
  char* emu_stacks();
  void emu_stacks_end(char* stacks);
  // Null, or what went wrong. The text lives until the next launch.
  const char* emu_run(const EmuLaunch* launch);
}
#pragma GCC visibility pop

#if defined(__SANITIZE_ADDRESS__)
  #define EMU_ASAN 1
#elif defined(__has_feature)
  #if __has_feature(address_sanitizer)
    #define EMU_ASAN 1
  #endif
#endif
// Static shared memory stands in a section of its own, which is poisoned when a block begins. Address sanitizer leaves such sections
// alone, so it gets ordinary arrays.
#if defined(EMU_ASAN)
  #define SHARED static
  #define EMU_STATICS 0, 0
#else
  #define SHARED static __attribute__((section("emu_shared")))
  extern "C" __attribute__((weak, visibility("hidden"))) char __start_emu_shared[], __stop_emu_shared[];
  #define EMU_STATICS __start_emu_shared, __stop_emu_shared
#endif

// The stand-in compiler finds kernels in preprocessed text by these marks.
#if defined(EMU_MARKS)
  #define KERNEL emu_mark_kernel
  #define BOUNDS(threads, blocks) emu_mark_bounds((threads))
#else
  #define KERNEL extern "C"
  #define BOUNDS(threads, blocks)
#endif
#define GLOBAL
#define DEV static inline
#define SYNC() emu_sync(__LINE__)
#define TID (emu_now.tid)
#define NTID (emu_now.ntid)
#define BX (emu_now.bx)
#define BY (emu_now.by)
#define BZ (emu_now.bz)
#define GX (emu_now.gx)
static inline float emu_float(u32 bits) { float value; __builtin_memcpy(&value, &bits, 4); return value; }
static inline u32 emu_bits(float value) { u32 bits; __builtin_memcpy(&bits, &value, 4); return bits; }
#define AS_FLOAT(x) emu_float((u32)(x))
#define AS_UINT(x) emu_bits(x)
#define EXPF(x) __builtin_expf(x)
#define EXP2F(x) __builtin_exp2f(x)
#define LOGF(x) __builtin_logf(x)
#define FMAF(a, b, c) __builtin_fmaf(a, b, c)
#define FMAXF(a, b) __builtin_fmaxf(a, b)
#define FMINF(a, b) __builtin_fminf(a, b)
#define ATOMIC_ADD_SHARED(p, v) emu_atomic_add((int*)(p), (int)(v))
#define ATOMIC_ADD_GLOBAL(p, v) emu_atomic_add((int*)(p), (int)(v))
#define UNROLL
#define DYNAMIC_SHARED(name) char* const name = emu_now.dynamic

#define WARP_SYNC() emu_warp_sync(__LINE__)
template <class T> static inline T emu_shuffle(T value, int from, int line) { emu_exchange(&value, sizeof value, from & (EMU_WARP - 1), line); return value; }
#define SHFL_XOR(x, m) emu_shuffle((x), (emu_now.tid & (EMU_WARP - 1)) ^ (int)(m), __LINE__)
#define SHFL(x, lane) emu_shuffle((x), (int)(lane), __LINE__)
#if EMU_WARP == 64
  #define BALLOT(p) emu_ballot((p) ? 1 : 0, __LINE__)
#else
  #define BALLOT(p) ((u32)emu_ballot((p) ? 1 : 0, __LINE__))
#endif

#if EMU_WARP == 32
  #define HAS_MMA 1
  static inline void mma_bf16(float* c, const u32* a, const u32* b, int line = __builtin_LINE()) { emu_mma(c, a, b, line); }
  static inline void ldmatrix4(u32* r, const void* shared, int line = __builtin_LINE()) { emu_ldmatrix(r, shared, 0, line); }
  static inline void ldmatrix4_t(u32* r, const void* shared, int line = __builtin_LINE()) { emu_ldmatrix(r, shared, 1, line); }
#endif
// Also without a matrix unit: what waits for a copy is then right everywhere.
static inline void copy_async16(void* shared, const void* global, int bytes, int line = __builtin_LINE()) { emu_copy(shared, global, bytes, line); }
#define COPY_COMMIT() emu_commit()
#define COPY_WAIT(n) emu_wait(n)

#if defined(EMU_MFMA) && EMU_WARP == 64
  template <class A, class C> static inline C emu_mfma(A a, A b, C c, int line) {
    u16 left[4], right[4]; float sum[4];
    __builtin_memcpy(left, &a, 8); __builtin_memcpy(right, &b, 8); __builtin_memcpy(sum, &c, 16);
    emu_mfma16(sum, left, right, line);
    __builtin_memcpy(&c, sum, 16);
    return c;
  }
  #define __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(a, b, c, x, y, z) emu_mfma((a), (b), (c), __LINE__)
#endif

struct EmuGrid { u32 x, y, z; };
template <class F> static inline const char* emu_launch(EmuGrid grid, u32 threads, u32 shared, u32 schedule, F body) {
  EmuLaunch launch = {{grid.x, grid.y, grid.z}, threads, shared, schedule, EMU_WARP, [](void* with) { (*(F*)with)(); }, &body, EMU_STATICS, nullptr};
  return emu_run(&launch);
}
