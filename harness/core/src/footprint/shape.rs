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
