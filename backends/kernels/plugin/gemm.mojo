# A plug-in in Mojo: a matrix product on the CPU, vectorised over K.
#   mojo build --emit shared-lib -o libmojo.so gemm.mojo        (Mojo 1.2.0, of the package modular 26.7.0)
#   nomoat kernels gemm --device cpu --quick --plugin ./libmojo.so
# Fields of `struct nomoat_problem` are read by their offsets on 64-bit hosts, as nomoat_kernels.h lays them out. Names are compared as
# numbers, because that release links no text constants into a shared library.

from std.memory import Pointer
from std.sys import simd_width_of

comptime Words = Pointer[Int64, MutAnyOrigin]
comptime Halves = Pointer[UInt32, MutAnyOrigin]
comptime Bytes = Pointer[UInt8, MutAnyOrigin]
comptime Floats = Pointer[Float32, MutAnyOrigin]
comptime WIDTH = 4 * simd_width_of[DType.float32]()
comptime CPU = 0x757063  # "cpu" and its end
comptime F32 = 0x323366  # "f32" and its end


def word(base: Int, offset: Int) -> Int:
    return Int(Words(unsafe_from_address=base + offset)[unsafe_offset=0])


def half(base: Int, offset: Int) -> Int:
    return Int(Halves(unsafe_from_address=base + offset)[unsafe_offset=0])


# The size whose name is one letter, or -1.
def size(problem: Int, letter: Int) -> Int:
    for i in range(half(problem, 24)):
        var name = Bytes(unsafe_from_address=word(word(problem, 32), 8 * i))
        if Int(name[unsafe_offset=0]) == letter and Int(name[unsafe_offset=1]) == 0:
            return word(word(problem, 40), 8 * i)
    return -1


# gemm: C = A·Bᵀ; operands a[M,K], b[N,K], c[M,N].
@export("nomoat_gemm")
def nomoat_gemm(problem: Int) abi("C") -> Int32:
    if half(word(problem, 16), 0) != CPU or half(word(problem, 8), 0) != F32:
        return 1
    var m = size(problem, 77)
    var n = size(problem, 78)
    var k = size(problem, 75)
    if m < 0 or n < 0 or k < 0 or half(problem, 28) != 3:
        return 2
    var operands = word(problem, 48)
    var a = Floats(unsafe_from_address=word(operands, 0))
    var b = Floats(unsafe_from_address=word(operands, 8))
    var c = Floats(unsafe_from_address=word(operands, 16))
    for i in range(m):
        for j in range(n):
            var lanes = SIMD[DType.float32, WIDTH](0)
            var at = 0
            while at + WIDTH <= k:
                var left = a.unsafe_offset(i * k + at).unsafe_load[width=WIDTH]()
                var right = b.unsafe_offset(j * k + at).unsafe_load[width=WIDTH]()
                lanes = left.fma(right, lanes)
                at += WIDTH
            var sum = lanes.reduce_add()
            while at < k:
                sum += a[unsafe_offset=i * k + at] * b[unsafe_offset=j * k + at]
                at += 1
            c[unsafe_offset=i * n + j] = sum
    return 0
