//! One family of kernels: what it computes, what that costs, what is right, and how each variant does it.
//!
//! A family is one file in `kernels/` and one line in [`crate::kernels::KERNELS`]. Everything else (checks, timing, tables, sweeps,
//! the emulator's tests, plug-ins) goes over that slice and knows no family.

use crate::device::DeviceInfo;
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::host::Host;
use crate::plugin::Entry;
use crate::scaling::Scaling;
use rayon::ThreadPool;

/// Who may touch an operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Read only.
    In,
    /// Written whole, poisoned before a checked run.
    Out,
    /// Read and written in place; holds its fill before a checked run.
    InOut,
    /// Room between launches; poisoned before a checked run.
    Scratch,
}

/// One array of a problem. Their order is the order of a plug-in's pointers.
#[derive(Clone, Debug)]
pub struct Operand {
    /// Its name in errors and in the account of memory.
    pub name: &'static str,
    /// Who may touch it.
    pub role: Role,
    /// How an element is stored.
    pub dtype: Dtype,
    /// Elements.
    pub len: usize,
    /// What it holds before a run.
    pub fill: Fill,
}

impl Operand {
    /// An input.
    pub fn input(name: &'static str, dtype: Dtype, len: usize, fill: Fill) -> Self {
        Self { name, role: Role::In, dtype, len, fill }
    }

    /// An input of integers.
    pub fn ints(name: &'static str, values: Vec<i32>) -> Self {
        Self { name, role: Role::In, dtype: Dtype::I32, len: values.len(), fill: Fill::Ints(values.into()) }
    }

    /// An output.
    pub fn output(name: &'static str, dtype: Dtype, len: usize) -> Self {
        Self { name, role: Role::Out, dtype, len, fill: Fill::Poison }
    }

    /// Room between launches.
    pub fn scratch(name: &'static str, dtype: Dtype, len: usize) -> Self {
        Self { name, role: Role::Scratch, dtype, len, fill: Fill::Poison }
    }

    /// Its size in memory.
    pub fn bytes(&self) -> usize {
        self.len * self.dtype.bytes()
    }
}

/// The least a problem costs, whatever computes it: each input read once, each output written once.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Cost {
    /// Multiplications and additions that a matrix unit could do.
    pub matrix_flops: f64,
    /// Other floating-point operations.
    pub vector_flops: f64,
    /// Bytes read from memory.
    pub read: f64,
    /// Bytes written to memory.
    pub written: f64,
}

impl Cost {
    /// Bytes moved, both ways.
    pub fn bytes(&self) -> f64 {
        self.read + self.written
    }

    /// Operations, of both kinds.
    pub fn flops(&self) -> f64 {
        self.matrix_flops + self.vector_flops
    }

    /// Operations per byte.
    pub fn intensity(&self) -> f64 {
        if self.bytes() > 0.0 { self.flops() / self.bytes() } else { 0.0 }
    }
}

/// Which shapes are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// Small and awkward: odd lengths, empty sequences, one element over a tile. For checking; never timed. A variant that runs
    /// in a software emulator of threads must take seconds at most.
    Check,
    /// One or two shapes of a size that models have, working sets beyond the last cache.
    Quick,
    /// The table that is published.
    Full,
    /// The sweep that a scaling claim is fitted over, of the size named `L`, or `B`, all else equal.
    Sweep,
}

/// One way to compute it.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Its name in tables: `naive`, `vector`, `mma`, `wgmma`, `mfma`, `vendor`, `native`.
    pub name: &'static str,
    /// A sentence for `--help` and documentation.
    pub about: &'static str,
    /// What does it.
    pub how: How,
}

/// Steps of a variant, in order, for a shape on a device; or why it cannot.
pub type Steps = fn(&Dims, &DeviceInfo) -> Result<Vec<Step>, String>;
/// A native function over host operands.
pub type Native = fn(&Dims, &mut [Host], &ThreadPool);

/// What computes a variant.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// Kernel text, compiled for the device: any GPU dialect.
    Text(Steps),
    /// A function of this program; the operands are in the host's memory, in order.
    Native(Native),
    /// A function of somebody else's library, on any device.
    Plugin(Entry),
}

/// One thing a device is told to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// Start a kernel.
    Launch(Launch),
    /// The vendor's matrix product: C = A·Bᵀ, row-major, A of m×k and B of n×k in bf16, C of m×n in f32.
    VendorGemm {
        /// Rows of A and C.
        m: usize,
        /// Rows of B, columns of C.
        n: usize,
        /// Columns of A and B.
        k: usize,
        /// Which operands are A, B and C.
        operands: [usize; 3],
    },
    /// Copy all bytes of one operand over another of the same size by the device's own copy.
    Copy {
        /// Operand read.
        from: usize,
        /// Operand written.
        to: usize,
    },
    /// A function of this program, over operands in the host's memory.
    Native {
        /// The function.
        run: Native,
        /// The shape.
        dims: Dims,
    },
    /// A function of somebody else's library.
    Plugin {
        /// The function.
        entry: Entry,
        /// The family.
        kernel: &'static str,
        /// The shape.
        dims: Dims,
    },
    /// Copy an operand from, or to, host memory of the same size.
    HostCopy {
        /// The operand on the device.
        operand: usize,
        /// Towards the device, or from it.
        towards_device: bool,
        /// From page-locked memory, or from ordinary memory.
        pinned: bool,
    },
}

/// One start of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Kernel text, after `hal.h`.
    pub text: &'static str,
    /// Name of the function.
    pub entry: &'static str,
    /// `#define`s before the text. They are part of what is compiled, so only what must be known then belongs here.
    pub defines: Vec<(&'static str, i64)>,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: u32,
    /// Bytes of dynamic shared memory (`DYNAMIC_SHARED` in `hal.h`).
    pub shared: u32,
    /// Arguments in order.
    pub args: Vec<Arg>,
}

/// One argument of a kernel.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Arg {
    /// The address of this operand.
    Operand(usize),
    /// An `int`.
    I32(i32),
    /// A `float`.
    F32(f32),
}

/// Inputs as the reference sees them: any element of any operand, computed from its index.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    operands: &'a [Operand],
    seed: u32,
}

impl<'a> Inputs<'a> {
    /// The inputs of a problem with this seed.
    pub fn new(operands: &'a [Operand], seed: u32) -> Self {
        Self { operands, seed }
    }

    /// Element `index` of operand `operand`.
    pub fn at(&self, operand: usize, index: usize) -> f64 {
        debug_assert!(index < self.operands[operand].len, "element {index} of `{}`", self.operands[operand].name);
        self.operands[operand].fill.at(index, operand_seed(self.seed, operand))
    }

    /// `len` elements from `from` on.
    pub fn row(&self, operand: usize, from: usize, len: usize) -> Vec<f64> {
        (from..from + len).map(|index| self.at(operand, index)).collect()
    }

    /// The integers of an operand.
    ///
    /// # Panics
    /// When the operand holds no integers.
    pub fn ints(&self, operand: usize) -> &'a [i32] {
        match &self.operands[operand].fill {
            Fill::Ints(values) => values,
            other => panic!("operand `{}` holds {other:?}, not integers", self.operands[operand].name),
        }
    }
}

/// The seed of one operand's values.
pub fn operand_seed(seed: u32, operand: usize) -> u32 {
    seed.wrapping_mul(0x0001_0003).wrapping_add((operand as u32).wrapping_mul(0x9E37_79B9))
}

/// What should stand in a stretch of an output.
#[derive(Clone, PartialEq, Debug)]
pub struct Piece {
    /// Which operand.
    pub operand: usize,
    /// The first element.
    pub from: usize,
    /// The values, in f64 from the inputs as stored.
    pub values: Vec<f64>,
}

/// What a device wrote, fetched by the stretch: an output may be larger than the host's memory.
pub struct Written<'a> {
    fetch: &'a dyn Fn(usize, usize, usize) -> Vec<f64>,
}

impl<'a> Written<'a> {
    /// By a function of operand, first element and number of elements.
    pub fn new(fetch: &'a dyn Fn(usize, usize, usize) -> Vec<f64>) -> Self {
        Self { fetch }
    }

    /// `len` elements of an operand from `from` on, as numbers.
    pub fn row(&self, operand: usize, from: usize, len: usize) -> Vec<f64> {
        (self.fetch)(operand, from, len)
    }
}

impl std::fmt::Debug for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Written").finish_non_exhaustive()
    }
}

/// How far a unit is off.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Distance {
    /// Sum of squares of the differences.
    pub error: f64,
    /// Sum of squares of the right values.
    pub norm: f64,
    /// Elements that are wrong in kind: not a number, an index twice or out of range.
    pub broken: u64,
}

/// A family of kernels.
pub trait Kernel: Sync {
    /// Its name in tables and on the command line.
    fn name(&self) -> &'static str;

    /// What it computes, in a sentence.
    fn about(&self) -> &'static str;

    /// Shapes of a tier that make sense on a device.
    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims>;

    /// Its arrays for a shape.
    fn operands(&self, dims: &Dims) -> Vec<Operand>;

    /// The least it costs.
    fn cost(&self, dims: &Dims) -> Cost;

    /// The ways it is computed, the plainest first.
    fn variants(&self) -> &'static [Variant];

    /// How its time grows, if that is a claim.
    fn scaling(&self) -> Option<Scaling> {
        None
    }

    /// Parts of the result that can be computed each by itself: rows, heads, sequences.
    fn units(&self, dims: &Dims) -> usize;

    /// The right values of one unit, in f64, from the inputs as stored.
    fn reference(&self, dims: &Dims, inputs: &Inputs<'_>, unit: usize) -> Vec<Piece>;

    /// The largest relative error (L2 norm of the difference over that of the right values) that passes.
    fn tolerance(&self, dims: &Dims) -> f64 {
        match dims.dtype {
            Dtype::Bf16 => 5e-3,
            Dtype::F32 | Dtype::I32 => 1e-5,
        }
    }

    /// How far what was written is off in one unit, whose right values are `right`. The default compares with them.
    fn distance(&self, _dims: &Dims, _inputs: &Inputs<'_>, _unit: usize, right: &[Piece], written: &Written<'_>) -> Distance {
        let mut distance = Distance::default();
        for piece in right {
            let got = written.row(piece.operand, piece.from, piece.values.len());
            for (right, got) in piece.values.iter().zip(got) {
                let difference = got - right;
                if difference.is_nan() {
                    distance.broken += 1;
                } else {
                    distance.error += difference * difference;
                }
                distance.norm += right * right;
            }
        }
        distance
    }
}
