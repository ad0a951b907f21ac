//! A whole model: its layers and its parameters.

use super::{Layer, Packing, Work};

/// A model's layers that mix tokens, and its parameters.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shape {
    /// How many layers of each kind.
    pub layers: Vec<(u32, Layer)>,
    /// Parameters that one token uses; `None` where they are not known.
    pub active: Option<f64>,
    /// Parameters in all.
    pub total: Option<f64>,
    /// Width of the residual stream, which is what a tensor-parallel all-reduce carries for each token.
    pub width: Option<u32>,
    /// Its input embedding, where that is a matrix of its own; `None` where it is the output's too, or where nobody says.
    pub embedding: Option<Embedding>,
    /// Its experts; `None` where it has none or they are not known.
    pub experts: Option<Experts>,
}

/// An input embedding that is not the output's matrix too: a step looks up one row of it for each token and multiplies nothing with it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Embedding {
    /// Parameters of all rows; the model's total counts them.
    pub parameters: f64,
    /// Parameters of a row.
    pub row: f64,
    /// Whether the model's active parameters count them: some cards do and some do not.
    pub counted_active: bool,
}

/// Feed-forward parts of which each token uses a few.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Experts {
    /// Layers that have them.
    pub layers: u32,
    /// Experts of a layer that a token may be sent to.
    pub count: u32,
    /// How many of them it is sent to.
    pub chosen: u32,
    /// Parameters of one.
    pub parameters: f64,
    /// Parameters outside the experts, where the difference to the model's total is not good enough: a total of trillions is rounded by
    /// more than all of them.
    pub rest: Option<f64>,
}

/// More sequences than any step serves.
const MOST: f64 = 1e12;

impl Experts {
    /// Parameters of all of them.
    pub fn total(&self) -> f64 {
        f64::from(self.layers) * f64::from(self.count) * self.parameters
    }

    /// Parameters of those that `batch` tokens use, if each token chooses evenly and without regard to the others:
    /// E·(1 − (1 − k/E)^B) experts of each layer. Real routing is less even and touches fewer.
    pub fn touched(&self, batch: f64) -> f64 {
        let share = f64::from(self.chosen) / f64::from(self.count.max(1));
        self.total() * (1.0 - libm::pow(1.0 - share, batch))
    }
}

impl Shape {
    /// Bytes that one sequence of `tokens` holds.
    pub fn held(&self, tokens: u64, packing: Packing) -> u64 {
        self.layers.iter().map(|(n, layer)| u64::from(*n) * layer.held(tokens, packing)).sum()
    }

    /// Bytes of cache and state that one decoded token moves.
    pub fn moved(&self, tokens: u64, packing: Packing) -> u64 {
        self.layers.iter().map(|(n, layer)| u64::from(*n) * layer.moved(tokens, packing)).sum()
    }

    /// Bytes that a sequence holds besides, whatever its length; see [`Layer::tail`].
    pub fn tail(&self) -> u64 {
        self.layers.iter().map(|(n, layer)| u64::from(*n) * layer.tail()).sum()
    }

    /// Operations of one decoded token in these layers; see [`Shape::matrices`] for the rest of the model.
    pub fn work(&self, tokens: u64) -> Work {
        self.layers.iter().fold(Work::default(), |sum, (n, layer)| sum.plus(layer.work(tokens), u64::from(*n)))
    }

    /// Operations of one token in the model's matrices: two for each active parameter but those of an input embedding of its own. `None`
    /// where those are not known.
    pub fn matrices(&self) -> Option<f64> {
        let rows = self.embedding.filter(|embedding| embedding.counted_active).map_or(0.0, |embedding| embedding.parameters);
        self.active.map(|active| 2.0 * (active - rows))
    }

    /// Parameters that a step over `batch` tokens reads: all of a dense model; of one with experts the rest and those that are touched;
    /// of an input embedding of its own one row a token.
    /// `None` where that is not known: the parameters, or the experts of a model that uses a part of itself.
    pub fn read(&self, batch: f64) -> Option<f64> {
        let total = self.total?;
        let (all, looked_up) = self.embedding.map_or((0.0, 0.0), |of| (of.parameters, (batch * of.row).min(of.parameters)));
        let whole = match self.experts {
            Some(experts) => experts.rest.unwrap_or((total - experts.total()).max(0.0)) + experts.touched(batch),
            None => (self.active == Some(total)).then_some(total)?,
        };
        Some((whole - all).max(0.0) + looked_up)
    }

    /// Sequences of `tokens` at which the bytes of cache and state that a decode step moves are as many as those of weights that it reads: below
    /// it most of what is read are weights, above it caches. Below one where a single sequence has more. `None` where the weights that
    /// are read are not known.
    pub fn even_batch(&self, tokens: u64, packing: Packing, weight_bytes: f64) -> Option<f64> {
        let moved = self.moved(tokens, packing) as f64;
        let caches_are_less = |batch: f64| Some(batch * moved < self.read(batch)? * weight_bytes);
        let (mut below, mut above) = (0.0, MOST);
        if caches_are_less(above)? {
            return None;
        }
        // What is read grows ever less with the batch, what is moved as the batch does: there is one crossing.
        while above - below > 1e-9 * above {
            let middle = f64::midpoint(below, above);
            if caches_are_less(middle)? { below = middle } else { above = middle }
        }
        Some(above)
    }

    /// Tokens of each of `batch` sequences from which on the bytes of cache and state that a decode step moves are at least those of weights that
    /// it reads. `None` where that is not known, or at no context below 2³² tokens: a state does not grow.
    pub fn even_context(&self, batch: f64, packing: Packing, weight_bytes: f64) -> Option<u64> {
        let weights = self.read(batch)? * weight_bytes;
        let caches_are_less = |tokens: u64| batch * (self.moved(tokens, packing) as f64) < weights;
        let (mut below, mut above) = (0, 1 << 32);
        if caches_are_less(above) {
            return None;
        }
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            if caches_are_less(middle) { below = middle } else { above = middle }
        }
        Some(above)
    }

    /// Bytes that one more token takes, at `tokens`: the mean over the next 128, because compressed layers grow in steps.
    pub fn per_token(&self, tokens: u64, packing: Packing) -> f64 {
        (self.held(tokens + 128, packing) - self.held(tokens, packing)) as f64 / 128.0
    }

    /// Sequences of `tokens` that fit into `memory` bytes beside weights of `weight_bytes` a parameter; `None` where the parameters are not
    /// known.
    pub fn users(&self, memory: f64, weight_bytes: f64, tokens: u64, packing: Packing) -> Option<u64> {
        let left = memory - self.total? * weight_bytes;
        Some(if left <= 0.0 { 0 } else { (left / self.held(tokens, packing).max(1) as f64) as u64 })
    }
}
