//! The least time of a decode step: a roofline over the whole model. Nothing of a launch, a collective or an engine is in it.

use super::{Packing, Shape};

/// What weights are kept and multiplied in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// Two bytes a parameter.
    Bf16,
    /// One byte.
    Fp8,
    /// Half a byte; scales are not counted.
    Fp4,
}

impl Precision {
    /// Bytes of a parameter.
    pub fn bytes(self) -> f64 {
        match self {
            Self::Bf16 => 2.0,
            Self::Fp8 => 1.0,
            Self::Fp4 => 0.5,
        }
    }
}

/// What a device can do at most; `None` where nobody says.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Chip {
    /// Bytes of its memory per second.
    pub bandwidth: Option<f64>,
    /// Operations per second in bf16, dense.
    pub bf16: Option<f64>,
    /// In fp8.
    pub fp8: Option<f64>,
    /// In four bits.
    pub fp4: Option<f64>,
}

impl Chip {
    /// Operations per second in `precision`. One that is not stated stays unknown: that of a slower unit would make a floor too high.
    pub fn peak(&self, precision: Precision) -> Option<f64> {
        match precision {
            Precision::Bf16 => self.bf16,
            Precision::Fp8 => self.fp8,
            Precision::Fp4 => self.fp4,
        }
    }

    /// Seconds that `flop` take at `peak`: no work takes no time, whether a peak is known or not.
    pub(super) fn seconds(flop: f64, peak: Option<f64>) -> Option<f64> {
        if flop == 0.0 { Some(0.0) } else { peak.map(|peak| flop / peak) }
    }

    /// Operations a byte at which computing takes as long as reading.
    pub fn ridge(&self, precision: Precision) -> Option<f64> {
        Some(self.peak(precision)? / self.bandwidth?)
    }
}

/// One decode step of `batch` sequences of the same length: each gets one token.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// Operations of the model's matrices; `None` where its parameters are not known.
    pub matrices: Option<f64>,
    /// Operations of the layers that mix tokens.
    pub mixing: f64,
    /// Bytes of weights that are read.
    pub weights: Option<f64>,
    /// Bytes of cache and state that are moved.
    pub cache: f64,
    /// Seconds of computing at the peaks of a device; `None` where it or the model does not say.
    pub compute_s: Option<f64>,
    /// Seconds of moving bytes.
    pub memory_s: Option<f64>,
}

/// Which of the two takes longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// The operations.
    Compute,
    /// The bytes.
    Memory,
}

impl Step {
    /// Of `shape` at `tokens` of context. Matrices run at the peak of the weights' precision, attention and states at that of bf16,
    /// indexers at that of fp8 and, without a peak in four bits, those in four bits too.
    pub fn new(shape: &Shape, batch: u64, tokens: u64, packing: Packing, weights: Precision, chip: &Chip) -> Self {
        let count = batch as f64;
        let work = shape.work(tokens);
        let matrices = shape.matrices().map(|flop| flop * count);
        let read = shape.read(count).map(|parameters| parameters * weights.bytes());
        let cache = count * shape.moved(tokens, packing) as f64;
        let compute_s = (|| {
            Some(
                Chip::seconds(matrices?, chip.peak(weights))?
                    + Chip::seconds(count * (work.attention + work.state) as f64, chip.bf16)?
                    + Chip::seconds(count * (work.index_fp8 + work.index_fp4) as f64, chip.fp8)?,
            )
        })();
        let memory_s = (|| Some((read? + cache) / chip.bandwidth?))();
        Self { matrices, mixing: count * work.total() as f64, weights: read, cache, compute_s, memory_s }
    }

    /// Operations for each byte that is moved; `None` where the model's parameters or experts are not known.
    pub fn intensity(&self) -> Option<f64> {
        Some((self.matrices? + self.mixing) / (self.weights? + self.cache).max(1.0))
    }

    /// Seconds that the step takes at least. Where one side is unknown, that of the other: it is still a floor, if a lower one.
    pub fn floor_s(&self) -> Option<f64> {
        match (self.compute_s, self.memory_s) {
            (Some(compute), Some(memory)) => Some(compute.max(memory)),
            (one, other) => one.or(other),
        }
    }

    /// Which side is the limit; `None` where one is unknown.
    pub fn limit(&self) -> Option<Limit> {
        Some(if self.compute_s? > self.memory_s? { Limit::Compute } else { Limit::Memory })
    }
}
