//! What a prefix cache finds of prompts that are given by identity: which of their blocks, of the size that an engine has, earlier
//! prompts began with. Exact for any block size, because identities are cut where the engine's blocks end.
//!
//! The rules of an engine's cache, as vLLM and SGLang have them: only full blocks are kept; a block is found only if all before it are; a
//! prompt that is found whole computes its last block again, since one token must be computed; of two blocks of one prompt the deeper is
//! given up first. Generated tokens are not counted, and a block is there from its request's arrival on: a running engine stays a little
//! below while a block's first user is still in prefill.
//!
//! Not here: texts and recorded conversations, whose tokens nobody knows without a tokenizer.

use crate::prompt::Prompt;
use crate::rng::mix;
use crate::trace::Trace;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A stretch of content: its identity, and how many of its tokens from its start.
pub type Piece = (u64, u32);

/// The content of a prompt, piece by piece; `None` where its tokens are not known by identity. Of a live conversation, the answers are
/// pieces of their own, as long as they were asked for.
pub fn pieces(trace: &Trace, prompt: &Prompt) -> Option<Vec<Piece>> {
    let mut out = vec![];
    gather(trace, prompt, &mut out).then_some(out)
}

fn gather(trace: &Trace, prompt: &Prompt, out: &mut Vec<Piece>) -> bool {
    match prompt {
        Prompt::Text(_) | Prompt::Messages(_) => return false,
        Prompt::Ids(ids) => out.extend(ids.iter().map(|id| (mix(u64::from(*id) ^ RECORDED), 1))),
        Prompt::Parts(prompt) => {
            let space = mix(prompt.namespace ^ PARTS);
            out.extend(prompt.parts.iter().map(|part| (mix(space ^ mix(part.id)), part.tokens)));
        }
        Prompt::Blocks(prompt) => {
            let space = mix(prompt.namespace ^ BLOCKS);
            let mut left = prompt.tokens;
            for id in prompt.blocks.iter().flat_map(|range| range.first..range.first + u64::from(range.count)) {
                let take = left.min(prompt.block_tokens);
                if take == 0 {
                    break;
                }
                out.push((mix(space ^ mix(id)), take));
                left -= take;
            }
            if left > 0 {
                out.push((mix(space ^ mix(prompt.unshared) ^ REST), left));
            }
        }
        Prompt::Live { of, add } => {
            let Some(before) = trace.requests.get(of.0 as usize) else { return false };
            if !gather(trace, &before.prompt, out) {
                return false;
            }
            out.push((mix(u64::from(of.0) ^ ANSWER), before.output_tokens));
            return gather(trace, add, out);
        }
    }
    true
}

const RECORDED: u64 = 1 << 60;
const PARTS: u64 = 2 << 60;
const BLOCKS: u64 = 3 << 60;
const REST: u64 = 4 << 60;
const ANSWER: u64 = 5 << 60;

/// The full blocks of `block` tokens that some content has, each by a hash of everything up to its end.
pub fn chain(pieces: &[Piece], block: u32, out: &mut Vec<u64>) {
    let block = block.max(1);
    let (mut hash, mut room) = (mix(u64::from(block)), block);
    for (identity, tokens) in pieces {
        let mut from = 0;
        while from < *tokens {
            let take = room.min(tokens - from);
            // The same stretch of the same content; a stretch that begins elsewhere or is longer is another.
            hash = mix(hash ^ mix(*identity ^ (u64::from(from) << 32 | u64::from(take))));
            (from, room) = (from + take, room - take);
            if room == 0 {
                out.push(hash);
                room = block;
            }
        }
    }
}

/// Hashes that are hashes already.
#[derive(Default)]
pub struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0 ^ u64::from(*byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A map by such hashes.
pub type ByHash<V> = HashMap<u64, V, BuildHasherDefault<Mixed>>;

/// How many tokens of a prompt of `tokens` are read from a cache that holds its first `found` blocks.
pub fn usable(found: u64, block: u32, tokens: u64) -> u64 {
    let block = u64::from(block.max(1));
    (found * block).min(tokens.saturating_sub(1) / block * block)
}

/// A cache under least recently used, of every size at once: how far back in the order of use each prompt's blocks lie.
pub struct Recency {
    block: u32,
    /// When each block was used last: a position in the order of all uses.
    last: ByHash<u32>,
    /// Which positions are some block's last use, as sums over the past (a Fenwick tree).
    uses: Vec<u32>,
    now: u32,
    blocks: Vec<u64>,
}

/// Of one prompt: its full blocks, and for each leading one the size of the smallest cache, in blocks, in which it and all before it are
/// found. Shorter than the prompt where a block is new.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Full blocks of the prompt.
    pub blocks: u64,
    /// By position: blocks a cache must hold; never smaller than at the position before.
    pub within: Vec<u32>,
}

impl Found {
    /// Leading blocks that a cache of `size` blocks finds.
    pub fn leading(&self, size: u32) -> u64 {
        self.within.partition_point(|needs| *needs <= size) as u64
    }
}

impl Recency {
    /// A cache of blocks of `block` tokens.
    pub fn new(block: u32) -> Self {
        Self { block: block.max(1), last: ByHash::default(), uses: vec![0], now: 0, blocks: vec![] }
    }

    /// Different blocks so far.
    pub fn distinct(&self) -> u64 {
        self.last.len() as u64
    }

    /// Looks a prompt up, then uses all its blocks, the deepest first.
    pub fn look_up(&mut self, pieces: &[Piece]) -> Found {
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.clear();
        chain(pieces, self.block, &mut blocks);
        let found = self.look_up_blocks(&blocks);
        self.blocks = blocks;
        found
    }

    /// As [`Self::look_up`], of a prompt whose blocks have these hashes.
    pub fn look_up_blocks(&mut self, blocks: &[u64]) -> Found {
        let mut found = Found { blocks: blocks.len() as u64, within: vec![] };
        let mut deepest = 0;
        for hash in blocks {
            let Some(at) = self.last.get(hash) else { break };
            // Blocks used later than this one, and itself.
            deepest = deepest.max(self.sum(self.now) - self.sum(at - 1));
            found.within.push(deepest);
        }
        for hash in blocks.iter().rev() {
            self.now += 1;
            self.grow();
            if let Some(before) = self.last.insert(*hash, self.now) {
                self.add(before, u32::MAX);
            }
            self.add(self.now, 1);
        }
        found
    }

    /// A new last position, whose node sums what the nodes below it hold.
    fn grow(&mut self) {
        let at = self.now;
        let below = at - (at & at.wrapping_neg());
        let value = self.sum(at - 1).wrapping_sub(self.sum(below));
        self.uses.push(value);
    }

    fn add(&mut self, mut at: u32, by: u32) {
        while (at as usize) < self.uses.len() {
            self.uses[at as usize] = self.uses[at as usize].wrapping_add(by);
            at += at & at.wrapping_neg();
        }
    }

    fn sum(&self, mut at: u32) -> u32 {
        let mut sum = 0_u32;
        while at > 0 {
            sum = sum.wrapping_add(self.uses[at as usize]);
            at -= at & at.wrapping_neg();
        }
        sum
    }
}

/// A cache without bounds: which leading blocks of a prompt some earlier one had.
pub struct Unbounded {
    block: u32,
    seen: HashSet<u64, BuildHasherDefault<Mixed>>,
    blocks: Vec<u64>,
}

impl Unbounded {
    /// A cache of blocks of `block` tokens.
    pub fn new(block: u32) -> Self {
        Self { block: block.max(1), seen: HashSet::default(), blocks: vec![] }
    }

    /// Tokens of a prompt that are read from the cache; afterwards all its full blocks are in it.
    pub fn look_up(&mut self, pieces: &[Piece]) -> u64 {
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.clear();
        chain(pieces, self.block, &mut blocks);
        let found = blocks.iter().take_while(|hash| self.seen.contains(hash)).count() as u64;
        self.seen.extend(blocks.iter().skip(found as usize));
        self.blocks = blocks;
        usable(found, self.block, pieces.iter().map(|(_, tokens)| u64::from(*tokens)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::{Alphabet, BlockPrompt, BlockRange, Part, PartPrompt};
    use crate::request::RequestId;
    use crate::rng::Stream;
    use crate::trace::TraceRequest;

    fn blocks(namespace: u64, size: u32, ids: &[(u64, u32)], tokens: u32, unshared: u64) -> Prompt {
        let blocks = ids.iter().map(|&(first, count)| BlockRange { first, count }).collect();
        Prompt::Blocks(BlockPrompt { namespace, block_tokens: size, blocks, tokens, unshared })
    }

    /// A cache that knows nothing of identities: it sees token ids, and keeps every block as the list of all tokens up to its end.
    struct Plain {
        block: usize,
        seen: HashSet<Vec<u32>>,
    }

    impl Plain {
        fn look_up(&mut self, ids: &[u32]) -> u64 {
            let full = ids.len() / self.block;
            let prefix = |n: usize| ids[..n * self.block].to_vec();
            let found = (1..=full).take_while(|n| self.seen.contains(&prefix(*n))).count();
            self.seen.extend((1..=full).map(prefix));
            if found * self.block == ids.len() { (found as u64 - 1) * self.block as u64 } else { (found * self.block) as u64 }
        }
    }

    #[test]
    fn predicts_what_a_cache_of_token_ids_finds() {
        let mut stream = Stream::new(9, "prompts");
        let mut prompts = vec![];
        for index in 0..400_u64 {
            let mut below = |n: u64| stream.below(n);
            let tokens = 1 + below(300) as u32;
            let size = [16, 24, 64][below(3) as usize];
            let most = u64::from(tokens.div_ceil(size));
            let shared = below(most + 1) as u32;
            prompts.push(match below(3) {
                0 => {
                    let parts: Vec<Part> = (0..=below(4)).map(|_| Part { id: below(3), tokens: 1 + below(90) as u32 }).collect();
                    Prompt::Parts(PartPrompt { namespace: below(2), parts: parts.into() })
                }
                // Chained: what follows the first block is told by it.
                _ => blocks(below(2), size, &[(100 * below(2), shared)][..usize::from(shared > 0)], tokens, index),
            });
        }
        let alphabet = Alphabet { first: 10, size: 30_000 };
        for block in [1, 16, 17, 32, 64] {
            let (mut plain, mut unbounded) = (Plain { block, seen: HashSet::new() }, Unbounded::new(block as u32));
            let mut recency = Recency::new(block as u32);
            let mut total = 0;
            for prompt in &prompts {
                let mut ids = vec![];
                assert!(prompt.expand(3, alphabet, &mut ids));
                let pieces = pieces(&Trace::default(), prompt).unwrap();
                assert_eq!(pieces.iter().map(|p| p.1 as usize).sum::<usize>(), ids.len());
                let expect = plain.look_up(&ids);
                assert_eq!(unbounded.look_up(&pieces), expect, "{prompt:?} in blocks of {block}");
                let found = recency.look_up(&pieces);
                assert_eq!(usable(found.leading(u32::MAX), block as u32, ids.len() as u64), expect);
                total += expect;
            }
            assert!(total > 10_000, "they share something: {total}");
        }
    }

    #[test]
    fn a_bounded_cache_gives_up_what_was_used_longest_ago() {
        // By hand against a list in order of use, for every size.
        let mut stream = Stream::new(4, "lru");
        let prompts: Vec<Vec<Piece>> =
            (0..300).map(|_| (0..=stream.below(6)).map(|depth| (10 * depth + stream.below(2), 4)).collect()).collect();
        let mut recency = Recency::new(4);
        let found: Vec<Found> = prompts.iter().map(|p| recency.look_up(p)).collect();
        for size in [1_usize, 2, 5, 8, 13, 100] {
            let mut order: Vec<u64> = vec![];
            for (prompt, found) in prompts.iter().zip(&found) {
                let mut hashes = vec![];
                chain(prompt, 4, &mut hashes);
                let leading = hashes.iter().take_while(|h| order.contains(h)).count() as u64;
                assert_eq!(found.leading(size as u32), leading, "{size} blocks");
                for hash in hashes.iter().rev() {
                    order.retain(|h| h != hash);
                    order.push(*hash);
                    if order.len() > size {
                        order.remove(0);
                    }
                }
            }
        }
        assert_eq!(recency.distinct(), found.iter().map(|f| f.blocks - f.leading(u32::MAX)).sum::<u64>());
    }

    #[test]
    fn a_live_conversation_holds_its_answers() {
        let first = TraceRequest::new(blocks(0, 16, &[(0, 2)], 32, 0), 32, 20);
        let trace = Trace { requests: vec![first], ..Trace::default() };
        let live = Prompt::Live { of: RequestId(0), add: Box::new(blocks(0, 16, &[], 10, 1)) };
        let pieces = pieces(&trace, &live).unwrap();
        assert_eq!(pieces.iter().map(|p| p.1).collect::<Vec<_>>(), [16, 16, 20, 10]);
        assert_eq!(super::pieces(&trace, &Prompt::Text("x".into())), None);
    }
}
