//! The numbers of the KV pool: keys and values by block, layer, head and token.
//!
//! In a block, a key head lies dimension by dimension (the sixteen tokens side by side, so that one register holds the same
//! dimension of sixteen keys) and a value head token by token. Not here: who owns a block ([`crate::pool`]).

use crate::kernels::LANES;
use crate::pool::{BLOCK_TOKENS, Block};
use crate::preset::Preset;

// The attention kernel computes the scores of a block as one set of lanes.
const _: () = assert!(BLOCK_TOKENS == LANES);

/// Keys and values of all blocks.
#[derive(Debug)]
pub struct KvCache {
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
    /// Block by block, in it layer by layer: all key heads, then all value heads. Asked for zeroed and large, so that the
    /// system backs a block with memory when it is first used.
    numbers: Vec<[f32; LANES]>,
}

impl KvCache {
    /// Room for `blocks` blocks of the preset.
    pub fn new(preset: &Preset, blocks: usize) -> Self {
        let per_block = preset.layers * 2 * preset.kv_dim();
        Self {
            layers: preset.layers,
            kv_heads: preset.kv_heads,
            head_dim: preset.head_dim,
            numbers: vec![[0.0; LANES]; blocks * per_block],
        }
    }

    /// Bytes of one block, as it lies in memory.
    pub fn block_bytes(&self) -> u64 {
        (self.layers * 2 * self.side() * size_of::<[f32; LANES]>()) as u64
    }

    /// Bytes of all blocks, as they lie in memory.
    pub fn bytes(&self) -> u64 {
        size_of_val(self.numbers.as_slice()) as u64
    }

    /// Heads that have keys and values.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Dimensions of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Sets of lanes of all keys (or all values) of a block in one layer.
    fn side(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    fn at(&self, block: &Block, layer: usize) -> usize {
        (block.index() * self.layers + layer) * 2 * self.side()
    }

    /// Keys of a block: `head_dim` sets, each one dimension of sixteen tokens.
    #[inline(always)]
    pub fn keys(&self, block: &Block, layer: usize, head: usize) -> &[[f32; LANES]] {
        &self.numbers[self.at(block, layer) + head * self.head_dim..][..self.head_dim]
    }

    /// Values of a block: sixteen tokens, each `head_dim` / 16 sets.
    #[inline(always)]
    pub fn values(&self, block: &Block, layer: usize, head: usize) -> &[[f32; LANES]] {
        &self.numbers[self.at(block, layer) + self.side() + head * self.head_dim..][..self.head_dim]
    }

    /// Writes the keys and values of one token, head by head, into `slot` of a block.
    pub fn write(&mut self, block: &Block, layer: usize, slot: usize, keys: &[f32], values: &[f32]) {
        let (at, side) = (self.at(block, layer), self.side());
        let (key_side, value_side) = self.numbers[at..at + 2 * side].split_at_mut(side);
        for (lanes, key) in key_side.iter_mut().zip(keys) {
            lanes[slot] = *key;
        }
        let sets = self.head_dim / LANES;
        for (head, values) in values.chunks_exact(self.head_dim).enumerate() {
            let from = head * self.head_dim + slot * sets;
            for (lanes, values) in value_side[from..from + sets].iter_mut().zip(values.chunks_exact(LANES)) {
                lanes.copy_from_slice(values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::BlockPool;
    use crate::preset::PRESETS;

    #[test]
    fn memory_is_what_the_formula_says() {
        for preset in PRESETS {
            let cache = KvCache::new(preset, 7);
            let formula = preset.geometry().bytes_in_blocks(7 * 16, 16);
            assert_eq!((cache.block_bytes() * 7) as f64, formula, "{}", preset.name);
            assert_eq!(cache.bytes() as f64, formula, "{}", preset.name);
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_changes() {
        let preset = &PRESETS[0];
        let (mut cache, mut pool) = (KvCache::new(preset, 3), BlockPool::new(3, 1));
        let blocks: Vec<Block> = (0..3).map(|_| pool.take().unwrap()).collect();
        let row = |base: f32| (0..preset.kv_dim()).map(|i| base + i as f32).collect::<Vec<f32>>();
        cache.write(&blocks[1], 2, 5, &row(1000.0), &row(2000.0));
        for head in 0..preset.kv_heads {
            for dim in 0..preset.head_dim {
                let offset = (head * preset.head_dim + dim) as f32;
                assert_eq!(cache.keys(&blocks[1], 2, head)[dim][5], 1000.0 + offset);
                assert_eq!(cache.values(&blocks[1], 2, head)[5 * 2 + dim / 16][dim % 16], 2000.0 + offset);
            }
        }
        let written = cache.numbers.iter().flatten().filter(|x| **x != 0.0).count();
        assert_eq!(written, 2 * preset.kv_dim());
    }
}
