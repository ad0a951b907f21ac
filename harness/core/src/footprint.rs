//! What a sequence costs in a model's cache or state, and what one decoded token reads and computes: from shapes alone, for every kind of
//! layer that mixes tokens. Theoretical figures: never mixed with what an engine allocated or occupied.
//!
//! Formulas, per layer, for L cached tokens, h query heads, g KV heads, key and value dimensions d and dv:
//! attention holds g·(d + dv) elements a token and computes 2h·(d + dv)·L; latent attention (MLA, DeepSeek-V2, arXiv 2405.04434 §2.1) holds
//! r + dr and computes, absorbed, 2h·(2r + dr)·L; a sparse indexer (DSA, DeepSeek-V3.2) adds a key of its own for every token and bounds
//! what is read to k; a compressed cache (DeepSeek-V4) holds a window and one entry for every m tokens; a state space or gated delta
//! layer holds one matrix a head, whatever L is, and reads and writes all of it. H3 (arXiv 2212.14052, and its released code) holds a shift of its
//! keys and, for every pair of dimensions of a head, a diagonal state.

/// How densely a cache is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// Two bytes an element; matrix states in four.
    Bf16,
    /// One byte an element, and the packed rows that engines deploy for latent and compressed caches (656 and 584 bytes); states in two.
    Fp8,
}

mod layer;
mod prompt;
mod shape;
mod step;

pub use layer::{Indexer, Layer, Work};
pub use prompt::{Expanded, Mixing, Prompt};
pub use shape::{Embedding, Experts, Shape};
pub use step::{Chip, Limit, Precision, Step};

#[cfg(test)]
mod tests;
