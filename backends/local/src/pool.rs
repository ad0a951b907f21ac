//! The KV pool's ledger: which blocks are out, how many bytes that is, how many it ever was.
//!
//! A [`Block`] cannot be copied, so two sequences cannot own the same one. Not here: the numbers in the blocks
//! ([`crate::cache`]), sharing of equal prefixes (there is no prefix cache), or any policy of who gets a block.

/// Tokens per block.
pub const BLOCK_TOKENS: usize = 16;

/// The right to one block of the pool.
#[derive(PartialEq, Eq, Debug)]
pub struct Block(u32);

impl Block {
    /// Its place in the cache.
    pub fn index(&self) -> usize {
        self.0 as usize
    }
}

/// Blocks that a sequence of `tokens` needs.
pub fn blocks_for(tokens: usize) -> usize {
    tokens.div_ceil(BLOCK_TOKENS)
}

/// What is in use, and of how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolUsage {
    /// Blocks that sequences own now.
    pub used_blocks: u64,
    /// The most there ever were.
    pub peak_blocks: u64,
    /// All blocks.
    pub capacity_blocks: u64,
    /// Bytes of one block, keys and values over all layers.
    pub block_bytes: u64,
}

impl PoolUsage {
    /// Bytes that sequences own now, whole blocks.
    pub fn used_bytes(&self) -> u64 {
        self.used_blocks * self.block_bytes
    }

    /// The most bytes there ever were.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_blocks * self.block_bytes
    }

    /// Bytes of all blocks.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_blocks * self.block_bytes
    }

    /// Tokens that all blocks can hold.
    pub fn capacity_tokens(&self) -> u64 {
        self.capacity_blocks * BLOCK_TOKENS as u64
    }
}

/// Hands out blocks and takes them back.
#[derive(Debug)]
pub struct BlockPool {
    /// Last in, first out: memory that was touched before is touched again.
    free: Vec<Block>,
    /// Whether a block is out, by index: the second book of the same account.
    out: Vec<bool>,
    peak: usize,
    block_bytes: u64,
}

impl BlockPool {
    /// A pool of `capacity` free blocks of `block_bytes` each.
    pub fn new(capacity: u32, block_bytes: u64) -> Self {
        Self { free: (0..capacity).rev().map(Block).collect(), out: vec![false; capacity as usize], peak: 0, block_bytes }
    }

    /// All blocks.
    pub fn capacity(&self) -> usize {
        self.out.len()
    }

    /// Blocks that nobody owns.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Blocks that sequences own.
    pub fn used(&self) -> usize {
        self.capacity() - self.free()
    }

    /// The account.
    pub fn usage(&self) -> PoolUsage {
        PoolUsage {
            used_blocks: self.used() as u64,
            peak_blocks: self.peak as u64,
            capacity_blocks: self.capacity() as u64,
            block_bytes: self.block_bytes,
        }
    }

    /// Forgets the peak: it becomes what is in use now.
    pub fn reset_peak(&mut self) {
        self.peak = self.used();
    }

    /// One block, or none when all are out.
    pub fn take(&mut self) -> Option<Block> {
        let block = self.free.pop()?;
        debug_assert!(!self.out[block.index()], "a free block is not out");
        self.out[block.index()] = true;
        self.peak = self.peak.max(self.used());
        Some(block)
    }

    /// Takes back every block of a table and leaves it empty.
    ///
    /// # Panics
    /// When a block is not out of this pool: the ledger would be wrong from here on.
    pub fn give_back(&mut self, table: &mut Vec<Block>) {
        for block in table.drain(..).rev() {
            assert!(std::mem::take(&mut self.out[block.index()]), "block {} comes back once", block.index());
            self.free.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_exact() {
        let mut pool = BlockPool::new(3, 640);
        let mut table: Vec<Block> = (0..3).map(|_| pool.take().unwrap()).collect();
        assert_eq!(table.iter().map(Block::index).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(pool.take(), None);
        let full = pool.usage();
        assert_eq!((full.used_bytes(), full.peak_bytes(), full.capacity_bytes(), full.capacity_tokens()), (1920, 1920, 1920, 48));
        pool.give_back(&mut table);
        assert_eq!((pool.used(), pool.free(), pool.usage().peak_blocks), (0, 3, 3));
        let again = pool.take().map(|block| block.index());
        assert_eq!(again, Some(0), "the block used first is used again first");
        pool.reset_peak();
        assert_eq!(pool.usage().peak_blocks, 1);
    }

    #[test]
    fn blocks_of_a_length() {
        for (tokens, blocks) in [(0, 0), (1, 1), (16, 1), (17, 2), (32, 2), (33, 3)] {
            assert_eq!(blocks_for(tokens), blocks, "{tokens}");
        }
    }
}
