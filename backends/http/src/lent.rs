//! The memory that a connection reads into: one piece per thread, lent from read to read.
//!
//! What was read is looked at before anything else is read, so all connections of a thread can share it. It stays in the processor's
//! cache, where memory of a connection's own would be written to and fetched from further away at every turn, and ten thousand
//! connections that wait hold none.

use std::cell::Cell;
use std::ops::{Deref, Range};

/// Enough for a fast stream to be read in few reads, and little enough to stay in the cache of a core.
const LENGTH: usize = 64 << 10;

thread_local! {
    /// Empty while it is lent, and before it was ever needed.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What one read brought. To be dropped before the next wait: whoever reads meanwhile would have to make memory of its own.
pub(crate) struct Lent {
    bytes: Vec<u8>,
    filled: Range<usize>,
}

impl Lent {
    /// Takes this thread's memory; nothing is in it yet.
    pub fn take() -> Self {
        let mut bytes = SPARE.take();
        // No work but for the first time and after a prepended beginning.
        bytes.resize(LENGTH, 0);
        Self { bytes, filled: 0..0 }
    }

    /// All of the memory, to be read into.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `length` bytes of the room were read.
    pub fn fill(&mut self, length: usize) {
        self.filled = 0..length;
    }

    /// Puts bytes of earlier reads in front of what was read.
    pub fn prepend(&mut self, earlier: &[u8]) {
        let at = self.filled.start;
        self.bytes.splice(at..at, earlier.iter().copied());
        self.filled.end += earlier.len();
    }

    /// Forgets the first `length` bytes of what was read.
    pub fn skip(&mut self, length: usize) {
        self.filled.start += length;
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.filled.clone()]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // At the end of a thread there is nobody to give it back to.
        let _ = SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_seen_and_the_memory_comes_back() {
        let mut lent = Lent::take();
        assert!(lent.is_empty() && lent.room().len() == LENGTH);
        lent.room()[..6].copy_from_slice(b"abcdef");
        lent.fill(6);
        lent.skip(2);
        lent.prepend(b"12");
        assert_eq!(&*lent, b"12cdef");
        let memory = lent.room().as_ptr();
        // One that is read meanwhile has memory of its own.
        assert_ne!(Lent::take().room().as_ptr(), memory);
        drop(lent);
        let mut again = Lent::take();
        assert!(again.is_empty());
        assert_eq!((again.room().as_ptr(), again.room().len()), (memory, LENGTH));
    }
}
