//! Shapes that models have, each with what it costs at least.

use nomoat_kernels::dims::Dims;
use nomoat_kernels::dims::Dtype::{self, Bf16, F32, I32};
use nomoat_kernels::fill::{mix, to_bf16, uniform};
use nomoat_kernels::host::Host;
use nomoat_kernels::kernel::Native;
use nomoat_kernels::native::{
    decode_attention, decode_mla, gemm, gemv, indexer, mamba2, memory, pages, prefill_attention, sparse_attention, top_k,
};

/// One shape of one kernel.
pub struct Case {
    pub kernel: &'static str,
    pub dims: Dims,
    pub native: Native,
    pub operands: Vec<Host>,
    pub cost: Cost,
}

/// Random numbers of a type in (−1, 1).
fn random(dtype: Dtype, len: usize) -> Host {
    let mut host = Host::new(dtype, len);
    // Repeated: making them must not take longer than measuring.
    let values: Vec<f32> = (0..len.min(1 << 16)).map(|i| uniform(i as u64, 7, 1.0)).collect();
    match dtype {
        Bf16 => host.bf16_mut().iter_mut().zip(values.iter().cycle()).for_each(|(to, value)| *to = to_bf16(*value)),
        F32 => host.f32_mut().iter_mut().zip(values.iter().cycle()).for_each(|(to, value)| *to = *value),
        I32 => unreachable!("integers are given one by one"),
    }
    host
}

/// Singles of one value.
fn constant(len: usize, value: f32) -> Host {
    let mut host = Host::new(F32, len);
    host.f32_mut().fill(value);
    host
}

/// Room for a result.
fn room(dtype: Dtype, len: usize) -> Host {
    Host::new(dtype, len)
}

/// What a run costs at least.
#[derive(Clone, Copy)]
pub enum Cost {
    /// Bytes read and written.
    Bytes(u64),
    /// Multiplications and additions.
    Operations(u64),
}

fn bytes(operands: &[Host]) -> Cost {
    Cost::Bytes(operands.iter().map(|operand| operand.bytes().len() as u64).sum())
}

fn memories(n: usize) -> Vec<Case> {
    let dims = Dims::new(F32, &[("N", n)]);
    let case = |kernel, native, operands: Vec<Host>| Case { kernel, dims: dims.clone(), native, cost: bytes(&operands), operands };
    vec![
        case("copy", memory::copy, vec![random(F32, n), room(F32, n)]),
        case("triad", memory::triad, vec![random(F32, n), random(F32, n), room(F32, n)]),
        case("read", memory::read, vec![random(F32, n), room(F32, n.div_ceil(1 << 16))]),
    ]
}

fn gemv(b: usize, n: usize, k: usize) -> Case {
    let operands = vec![random(Bf16, b * k), random(Bf16, n * k), room(F32, b * n)];
    let dims = Dims::new(Bf16, &[("B", b), ("N", n), ("K", k)]);
    Case { kernel: "gemv", dims, native: gemv::native, cost: bytes(&operands), operands }
}

fn ints(values: Vec<i32>) -> Host {
    let mut host = Host::new(I32, values.len());
    host.i32_mut().copy_from_slice(&values);
    host
}

/// The numbers below `len` in no order.
fn shuffled(len: usize) -> Vec<i32> {
    let mut all: Vec<i32> = (0..len as i32).collect();
    (1..len).for_each(|at| all.swap(at, mix(at as u64, 3) as usize % (at + 1)));
    all
}

fn gemm(m: usize, n: usize, k: usize) -> Case {
    let operands = vec![random(F32, m * k), random(F32, n * k), room(F32, m * n)];
    let dims = Dims::new(F32, &[("M", m), ("N", n), ("K", k)]);
    Case { kernel: "gemm", dims, native: gemm::native, cost: Cost::Operations(2 * (m * n * k) as u64), operands }
}

/// Sequences of equal length; `heads` of queries by `kv` of keys.
fn decode_attention(b: usize, l: usize, heads: usize, kv: usize) -> Case {
    let (d, page) = (128, 16);
    let pages = b * l.div_ceil(page);
    let cache = || random(Bf16, pages * page * kv * d);
    let operands = vec![
        random(Bf16, b * heads * d),
        cache(),
        cache(),
        ints(shuffled(pages)),
        ints(vec![l as i32; b]),
        room(F32, 1),
        room(F32, 1),
        room(Bf16, b * heads * d),
    ];
    let dims = Dims::new(Bf16, &[("B", b), ("L", l), ("HQ", heads), ("HKV", kv), ("D", d), ("PAGE", page)]);
    Case { kernel: "decode-attention", dims, native: decode_attention::native, cost: bytes(&operands), operands }
}

fn decode_mla(b: usize, l: usize, heads: usize) -> Case {
    let page = 64;
    let pages = b * l.div_ceil(page);
    let operands = vec![
        random(Bf16, b * heads * 576),
        random(Bf16, pages * page * 576),
        ints(shuffled(pages)),
        ints(vec![l as i32; b]),
        room(F32, 1),
        room(F32, 1),
        room(Bf16, b * heads * 512),
    ];
    let dims = Dims::new(Bf16, &[("B", b), ("L", l), ("H", heads), ("R", 512), ("ROPE", 64), ("PAGE", page)]);
    let cost = Cost::Operations(2 * (b * l * heads * (576 + 512)) as u64);
    Case { kernel: "decode-mla", dims, native: decode_mla::native, cost, operands }
}

fn sparse_attention(b: usize, l: usize, heads: usize) -> Case {
    let k = 2048.min(l);
    let picks = (0..b).flat_map(|b| shuffled(l).into_iter().take(k).map(move |pick| pick + (b * l) as i32)).collect();
    let operands = vec![
        random(Bf16, b * heads * 576),
        random(Bf16, b * l * 576),
        ints(picks),
        room(F32, 1),
        room(F32, 1),
        room(Bf16, b * heads * 512),
    ];
    let dims = Dims::new(Bf16, &[("B", b), ("L", l), ("K", k), ("H", heads), ("R", 512), ("ROPE", 64)]);
    let cost = Cost::Operations(2 * (b * k * heads * (576 + 512)) as u64);
    Case { kernel: "sparse-attention", dims, native: sparse_attention::native, cost, operands }
}

fn prefill_attention(l: usize, heads: usize, kv: usize) -> Case {
    let d = 128;
    let of = |heads: usize| random(Bf16, l * heads * d);
    let operands = vec![of(heads), of(kv), of(kv), ints(vec![0, l as i32]), room(Bf16, l * heads * d)];
    let dims = Dims::new(Bf16, &[("S", 1), ("L", l), ("HQ", heads), ("HKV", kv), ("D", d)]);
    let cost = Cost::Operations(2 * (l * (l + 1) * heads * d) as u64);
    Case { kernel: "prefill-attention", dims, native: prefill_attention::native, cost, operands }
}

fn indexer(b: usize, l: usize) -> Case {
    let operands = vec![random(Bf16, b * 64 * 128), random(Bf16, b * l * 128), random(F32, b * 64), room(F32, b * l)];
    let dims = Dims::new(Bf16, &[("B", b), ("L", l), ("HI", 64), ("DI", 128)]);
    Case { kernel: "indexer", dims, native: indexer::native, cost: Cost::Operations(2 * (b * l * 64 * 128) as u64), operands }
}

fn top_k(b: usize, l: usize) -> Case {
    let mut scores = Host::new(F32, b * l);
    scores.f32_mut().iter_mut().enumerate().for_each(|(at, score)| *score = mix(at as u64, 5) as f32);
    let operands = vec![scores, room(I32, 1), room(I32, b * 2048)];
    let dims = Dims::new(F32, &[("B", b), ("L", l), ("K", 2048)]);
    Case { kernel: "top-k", dims, native: top_k::native, cost: Cost::Bytes((b * l * 4) as u64), operands }
}

fn mamba2(b: usize) -> Case {
    let (h, p, n, g) = (80, 64, 128, 1);
    let operands = vec![
        random(F32, b * h * p * n),
        random(Bf16, b * h * p),
        constant(b * h, 0.5),
        constant(h, -0.25),
        random(Bf16, b * g * n),
        random(Bf16, b * g * n),
        random(F32, h),
        room(Bf16, b * h * p),
    ];
    let dims = Dims::new(F32, &[("B", b), ("H", h), ("P", p), ("N", n), ("G", g)]);
    let cost = Cost::Bytes((operands.iter().map(|operand| operand.bytes().len()).sum::<usize>() + operands[0].bytes().len()) as u64);
    Case { kernel: "mamba2-step", dims, native: mamba2::native, cost, operands }
}

fn page_moves(pages: usize, row: usize) -> Vec<Case> {
    let case = |kernel, native, sizes: [usize; 2]| {
        let table = ints(shuffled(pages));
        let operands = vec![random(F32, sizes[0]), table, random(F32, sizes[1])];
        Case { kernel, dims: Dims::new(F32, &[("PAGES", pages), ("ROW", row)]), native, cost: bytes(&operands), operands }
    };
    let size = pages * row / 4;
    vec![case("page-gather", pages::gather as Native, [size, size]), case("page-scatter", pages::scatter as Native, [size, size])]
}

/// Makes the cases of each kernel, one list after the other: together they need more memory than small machines have.
pub const ALL: &[fn() -> Vec<Case>] = &[
    || memories(48 << 20),
    || [1, 4, 16].map(|b| gemv(b, 10240, 8192)).into(),
    || vec![decode_attention(16, 4096, 32, 8), decode_attention(4, 4096, 32, 32), decode_attention(1, 32768, 32, 8)],
    || [1, 64].map(mamba2).into(),
    || vec![gemm(1024, 1024, 1024), gemm(2048, 2048, 2048), gemm(16, 2048, 2048), gemm(64, 2048, 2048)],
    || [(4096, 16), (1024, 128), (4096, 128), (16384, 128)].map(|(l, heads)| decode_mla(1, l, heads)).into(),
    || [4096, 16384, 65536].map(|l| sparse_attention(1, l, 128)).into(),
    || [4096, 16384, 65536].map(|l| indexer(1, l)).into(),
    || [4096, 32768, 262144].map(|l| top_k(1, l)).into(),
    || page_moves(4096, 32768),
    || vec![prefill_attention(2048, 32, 8)],
];
