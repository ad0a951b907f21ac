//! What the pieces of an answer come to: its tokens, shared out over them, and its characters.

use crate::record::{CountSource, Tokens};

/// Shares the tokens of an answer out over its chunks.
pub(super) struct Share<'a> {
    pub(super) bytes: &'a [u32],
    pub(super) all_known: bool,
}

impl Share<'_> {
    pub(super) fn settle(&self, tokens: &mut Tokens, chunks: &mut [u32]) {
        if chunks.is_empty() {
            return;
        }
        if self.all_known {
            let sum = chunks.iter().fold(0, |sum: u32, n| sum.saturating_add(*n));
            // Tokens whose text stayed empty to the end are in the usage but in no chunk: they belong to the answer.
            tokens.output.get_or_insert(sum);
            if tokens.output_source == CountSource::Unknown {
                tokens.output_source = CountSource::PerChunk;
            }
            tokens.chunk_source = CountSource::PerChunk;
            return;
        }
        let n = chunks.len() as u64;
        match tokens.output {
            None => {
                chunks.fill(1);
                tokens.output = Some(n as u32);
                tokens.output_source = CountSource::Chunks;
                tokens.chunk_source = CountSource::Chunks;
            }
            Some(total) if u64::from(total) == n => {
                chunks.fill(1);
                tokens.chunk_source = CountSource::Usage;
            }
            Some(total) => {
                tokens.chunk_source = CountSource::Estimated;
                let bytes: u128 = self.bytes.iter().map(|b| u128::from(*b)).sum::<u128>().max(1);
                // Cumulative rounding: the parts sum to the whole, and none is off by more than one.
                let (mut seen, mut given) = (0_u128, 0_u128);
                for (chunk, size) in chunks.iter_mut().zip(self.bytes) {
                    seen += u128::from(*size);
                    let upto = (seen * u128::from(total) * 2 + bytes) / (2 * bytes);
                    *chunk = (upto - given) as u32;
                    given = upto;
                }
                // The first token is in the first chunk, by definition of both.
                if total > 0 && chunks[0] == 0 {
                    chunks[0] = 1;
                    if let Some(donor) = chunks[1..].iter_mut().max_by_key(|c| **c)
                        && *donor > 0
                    {
                        *donor -= 1;
                    }
                }
            }
        }
    }
}

/// Characters that begin in a piece of UTF-8. A character that is divided between two pieces is counted once, with its first byte.
///
/// Eight bytes at a time, because this is on the receive path and pieces are short: of each byte of a word the lowest bit tells whether it
/// goes on with a character (`10xxxxxx`), and the product adds the eight up in the highest byte.
#[inline]
pub(super) fn characters(text: &[u8]) -> u32 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let further = |word: u64| (((word >> 7) & !(word >> 6) & LOW).wrapping_mul(LOW) >> 56) as u32;
    let (words, rest) = text.as_chunks();
    let whole: u32 = words.iter().map(|word| further(u64::from_le_bytes(*word))).sum();
    let last = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    text.len() as u32 - whole - further(last)
}
