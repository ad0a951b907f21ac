// One kernel text, several compilers: NVRTC, hipRTC or clang for AMD, OpenCL C, and a host C++ compiler that emulates a grid.
//
// Text after this file is a subset of C: no templates, no includes, no address-space casts. Pointers to operands are GLOBAL, arrays
// shared by a block are SHARED and stand at the top of a kernel. What needs more than the portable part stands in variants of its own,
// under the guards HAS_MMA and HAS_WGMMA. Emulation is in emu.h, with the same names.
#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
  #define DIALECT_OPENCL 1
  #define KERNEL __kernel
  #define GLOBAL __global
  #define SHARED __local
  #define DEV inline
  #define SYNC() barrier(CLK_LOCAL_MEM_FENCE)
  #define TID ((int)get_local_id(0))
  #define NTID ((int)get_local_size(0))
  #define BX ((int)get_group_id(0))
  #define BY ((int)get_group_id(1))
  #define BZ ((int)get_group_id(2))
  #define GX ((int)get_num_groups(0))
  typedef ushort u16;
  typedef uint u32;
  typedef ulong u64;
  #define AS_FLOAT(x) as_float((uint)(x))
  #define AS_UINT(x) as_uint(x)
  #define EXPF(x) exp(x)
  #define EXP2F(x) exp2(x)
  #define LOGF(x) log(x)
  #define FMAF(a, b, c) fma(a, b, c)
  #define FMAXF(a, b) fmax((float)(a), (float)(b))
  #define FMINF(a, b) fmin((float)(a), (float)(b))
  #define ATOMIC_ADD_SHARED(p, v) atomic_add((volatile __local int*)(p), (int)(v))
  #define ATOMIC_ADD_GLOBAL(p, v) atomic_add((volatile __global int*)(p), (int)(v))
  #define UNROLL
  #define BOUNDS(threads, blocks)
#elif defined(EMULATED)
  // emu.h, put before this file, has everything.
#else
  #if defined(__HIPCC__) || defined(__HIPCC_RTC__) || defined(__HIP__)
    #define DIALECT_HIP 1
    #define WARP_SYNC()
    #define SHFL_XOR(x, m) __shfl_xor(x, m)
    #define SHFL(x, lane) __shfl(x, lane)
    #define BALLOT(p) __ballot(p)
  #else
    #define DIALECT_CUDA 1
    #define WARP_SYNC() __syncwarp()
    #define SHFL_XOR(x, m) __shfl_xor_sync(0xffffffffu, x, m)
    #define SHFL(x, lane) __shfl_sync(0xffffffffu, x, lane)
    #define BALLOT(p) __ballot_sync(0xffffffffu, p)
  #endif
  #define KERNEL extern "C" __global__
  #define GLOBAL
  #define SHARED __shared__
  #define DEV static __device__ __forceinline__
  #define SYNC() __syncthreads()
  #define TID ((int)threadIdx.x)
  #define NTID ((int)blockDim.x)
  #define BX ((int)blockIdx.x)
  #define BY ((int)blockIdx.y)
  #define BZ ((int)blockIdx.z)
  #define GX ((int)gridDim.x)
  typedef unsigned short u16;
  typedef unsigned int u32;
  typedef unsigned long long u64;
  #define AS_FLOAT(x) __uint_as_float((unsigned)(x))
  #define AS_UINT(x) __float_as_uint(x)
  #define EXPF(x) __expf(x)
  #if defined(DIALECT_CUDA)
    DEV float exp2_fast(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
    #define EXP2F(x) exp2_fast(x)
  #else
    #define EXP2F(x) exp2f(x)
  #endif
  #define LOGF(x) __logf(x)
  #define FMAF(a, b, c) fmaf(a, b, c)
  #define FMAXF(a, b) fmaxf(a, b)
  #define FMINF(a, b) fminf(a, b)
  #define ATOMIC_ADD_SHARED(p, v) atomicAdd((int*)(p), (int)(v))
  #define ATOMIC_ADD_GLOBAL(p, v) atomicAdd((int*)(p), (int)(v))
  #define UNROLL _Pragma("unroll")
  #define BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
  // Dynamic shared memory of the block, declared inside a kernel.
  #define DYNAMIC_SHARED(name) extern __shared__ __align__(1024) char name[]
  // Sixteen bytes at once.
  typedef uint4 u128;
#endif

#if defined(DIALECT_CUDA)
  // Sixteen bytes that are read once: they leave the first cache to what is read again.
  DEV u128 stream(const u128* from) {
    u128 to;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(to.x), "=r"(to.y), "=r"(to.z), "=r"(to.w) : "l"(from));
    return to;
  }
  #define STREAM(from) stream(from)
#elif !defined(STREAM)
  #define STREAM(from) (*(from))
#endif

// WARP is defined by the host: 32 or 64 threads that run in step, 1 where there is no such thing (no shuffles there).
#if defined(WARP) && WARP > 1
  #define LANE (TID % WARP)
  #define WARP_ID (TID / WARP)
#endif

#define NEG_INF AS_FLOAT(0xff800000u)

DEV float bf2f(u16 x) { return AS_FLOAT(((u32)x) << 16); }
// The nearest bf16, ties to even. Not for NaN.
DEV u16 f2bf(float f) { u32 u = AS_UINT(f); return (u16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16); }
// Two singles as bf16 in one word, the first in the lower half.
#if defined(DIALECT_CUDA) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  DEV u32 pack2(float lo, float hi) { u32 both; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(hi), "f"(lo)); return both; }
#else
  DEV u32 pack2(float lo, float hi) { return (u32)f2bf(lo) | ((u32)f2bf(hi) << 16); }
#endif

#if defined(DIALECT_CUDA) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  #define HAS_MMA 1
  // acc[16x8] += a[16x16] * b[16x8], bf16 in, f32 out. Fragments as PTX documents m16n8k16: with g = lane/4 and t = lane%4,
  // a[0..3] hold rows g, g+8, g, g+8 and columns 2t, 2t, 2t+8, 2t+8 (two each); b[0..1] hold rows 2t, 2t+8 (two each) of column g;
  // acc[0..1] are row g, columns 2t and 2t+1, acc[2..3] row g+8.
  DEV void mma_bf16(float* c, const u32* a, const u32* b) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
  // Four 8x8 matrices of 16-bit elements: lane i gives the address of row i%8 of matrix i/8; r[j] of a lane is then row lane/4,
  // columns 2(lane%4) and the next, of matrix j. The transposed form gives column lane/4, rows 2(lane%4) and the next.
  DEV void ldmatrix4(u32* r, const void* shared) {
    u32 at = (u32)__cvta_generic_to_shared(shared);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
  }
  DEV void ldmatrix4_t(u32* r, const void* shared) {
    u32 at = (u32)__cvta_generic_to_shared(shared);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
  }
  // Sixteen bytes from memory to shared memory, past the registers. `bytes` of them are read, the rest become zero.
  DEV void copy_async16(void* shared, const void* global, int bytes) {
    u32 at = (u32)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" :: "r"(at), "l"(global), "r"(bytes));
  }
  #define COPY_COMMIT() asm volatile("cp.async.commit_group;\n" ::)
  // Waits until at most n groups of this thread are under way. A barrier makes them visible to the block.
  #define COPY_WAIT(n) asm volatile("cp.async.wait_group %0;\n" :: "n"(n))
#endif

// A pointer to shared memory as a parameter; only OpenCL has a word for it.
#if defined(DIALECT_OPENCL)
  #define LOCAL __local
#elif !defined(LOCAL)
  #define LOCAL
#endif

// Sixteen bytes that are written and not read again soon: caches need not keep them. A hint; the result is the same.
#if defined(DIALECT_CUDA)
  DEV void stream_out(u128* to, u128 from) {
    asm volatile("st.global.cs.v4.u32 [%0], {%1,%2,%3,%4};" :: "l"(to), "r"(from.x), "r"(from.y), "r"(from.z), "r"(from.w) : "memory");
  }
  #define STREAM_OUT(to, from) stream_out(to, from)
#elif !defined(STREAM_OUT)
  #define STREAM_OUT(to, from) (*(to) = (from))
#endif
