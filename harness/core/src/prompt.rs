//! Prompts as recipes. A recipe is expanded ahead of due by a keyed generator: two prompts share exactly the blocks that
//! the trace says they share, and differ from the first token of every other block.
//!
//! Not here: tokenizers. An endpoint that takes token ids gets ids; one that takes text gets words, one per token.

use crate::request::RequestId;
use crate::rng::{keyed, mix};
use crate::words::WORDS;
use std::sync::Arc;

/// How to make a prompt.
#[derive(Clone, PartialEq, Debug)]
pub enum Prompt {
    /// Blocks of tokens by identity.
    Blocks(BlockPrompt),
    /// Pieces of content of any length, by identity, one after the other.
    Parts(PartPrompt),
    /// A recorded text.
    Text(Arc<str>),
    /// A recorded conversation.
    Messages(Messages),
    /// Recorded token ids.
    Ids(Arc<[u32]>),
    /// The live conversation so far (prompt and answer of request `of`), then `add`.
    Live {
        /// The earlier request of the same conversation.
        of: RequestId,
        /// What the user says next.
        add: Box<Prompt>,
    },
}

impl Prompt {
    /// Appends the token ids of a prompt that is given by identity; `false` for one that was recorded as it stands, or continues a live
    /// conversation.
    pub fn expand(&self, seed: u64, alphabet: Alphabet, out: &mut Vec<u32>) -> bool {
        self.expand_words(seed, alphabet, 1.0, out)
    }

    /// As [`Self::expand`], with `per_token` words for each token: for endpoints whose tokenizer makes more or less than one token of a word.
    /// Each block has a whole number of words, which its identity decides, so that sharing stays as it is.
    pub fn expand_words(&self, seed: u64, alphabet: Alphabet, per_token: f64, out: &mut Vec<u32>) -> bool {
        match self {
            Self::Blocks(prompt) => prompt.expand_words(seed, alphabet, per_token, out),
            Self::Parts(prompt) => prompt.expand_words(seed, alphabet, per_token, out),
            Self::Text(_) | Self::Messages(_) | Self::Ids(_) | Self::Live { .. } => return false,
        }
        true
    }
}

/// A run of consecutive block ids: `first`, `first + 1`, … (`count` of them). Traces store blocks this way because the
/// blocks of a growing conversation are consecutive: a few ranges instead of thousands of ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRange {
    /// First id.
    pub first: u64,
    /// How many.
    pub count: u32,
}

/// A prompt given by block identity.
#[derive(Clone, PartialEq, Debug)]
pub struct BlockPrompt {
    /// Which id space: the trace, a session, or one pass over a trace. Another namespace shares nothing.
    pub namespace: u64,
    /// Tokens per block.
    pub block_tokens: u32,
    /// The ids, in order.
    pub blocks: Arc<[BlockRange]>,
    /// Length of the prompt in tokens. The last block is cut to fit (its first tokens stay, so an equal id of another
    /// length still shares them); tokens beyond the blocks come from `unshared`.
    pub tokens: u32,
    /// Key of the tokens beyond the blocks: shared with nobody.
    pub unshared: u64,
}

/// A piece of content: the first `tokens` tokens of what `id` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Which content.
    pub id: u64,
    /// How much of it, from its start.
    pub tokens: u32,
}

/// A prompt given as pieces of content. They end where they end, not on the borders of blocks, and are not padded.
#[derive(Clone, PartialEq, Debug)]
pub struct PartPrompt {
    /// Which id space: the trace, a session, or one pass over a trace. Another namespace shares nothing.
    pub namespace: u64,
    /// The pieces, in order. Two prompts share tokens as long as their pieces are the same from the start.
    pub parts: Arc<[Part]>,
}

/// A recorded conversation, as it was sent to a chat endpoint. Prompts of one conversation share their messages' memory.
#[derive(Clone, PartialEq, Debug)]
pub struct Messages {
    /// Each a JSON object with a `role`, oldest first.
    pub messages: Arc<[Arc<str>]>,
    /// The tools the model may call: a JSON array.
    pub tools: Option<Arc<str>>,
}

/// The range of token ids a generator may draw from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alphabet {
    /// First usable id (below it tokenizers keep control tokens and bytes).
    pub first: u32,
    /// How many ids from there.
    pub size: u32,
}

impl Alphabet {
    /// The bundled words, as indices into their list; [`words`] spells them.
    pub const WORDS: Self = Self { first: 0, size: WORDS.len() as u32 };

    /// How many digits in base `size` write 64 bits: the tokens at the start of a block that carry its identity.
    fn digits(self) -> u32 {
        let (mut digits, mut reach) = (0, 1_u128);
        while reach < 1 << 64 {
            reach *= u128::from(self.size.max(2));
            digits += 1;
        }
        digits
    }
}

impl BlockPrompt {
    /// A prompt that shares nothing with any other: `tokens` long, keyed by `unshared`.
    pub fn unique(namespace: u64, unshared: u64, tokens: u32) -> Self {
        Self { namespace, block_tokens: tokens.max(1), blocks: Arc::new([]), tokens, unshared }
    }

    /// Appends the token ids of this prompt to `out`; always exactly `self.tokens` of them.
    ///
    /// tokens(block) = digits of mix(id under the namespace), then a keyed filler. The first ⌈64 / log2 size⌉ tokens of a
    /// block write its identity through a bijection, so that two different blocks differ inside their first engine block
    /// and no accidental prefix-cache hit can happen.
    pub fn expand(&self, seed: u64, alphabet: Alphabet, out: &mut Vec<u32>) {
        self.expand_words(seed, alphabet, 1.0, out);
    }

    fn expand_words(&self, seed: u64, alphabet: Alphabet, per_token: f64, out: &mut Vec<u32>) {
        let space = mix(seed ^ mix(self.namespace));
        let mut left = self.tokens;
        out.reserve(left as usize);
        for range in self.blocks.iter() {
            for id in range.first..range.first + u64::from(range.count) {
                if left == 0 {
                    return;
                }
                let take = left.min(self.block_tokens);
                let key = mix(space ^ mix(id));
                fill(key, words_for(take, per_token, key), alphabet, out);
                left -= take;
            }
        }
        if left > 0 {
            let key = mix(space ^ mix(self.unshared) ^ UNSHARED);
            fill(key, words_for(left, per_token, key), alphabet, out);
        }
    }
}

impl PartPrompt {
    /// Length of the prompt in tokens.
    pub fn tokens(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.tokens)).sum()
    }

    /// The prompt's first `tokens` tokens, or all of it.
    pub fn cut(&mut self, tokens: u32) {
        let mut left = tokens;
        let kept = self.parts.iter().map(|part| {
            let tokens = part.tokens.min(left);
            left -= tokens;
            Part { tokens, ..*part }
        });
        self.parts = kept.filter(|part| part.tokens > 0).collect();
    }

    /// Appends the token ids of this prompt to `out`. Each piece starts with its identity, as blocks do ([`BlockPrompt::expand`]).
    pub fn expand(&self, seed: u64, alphabet: Alphabet, out: &mut Vec<u32>) {
        self.expand_words(seed, alphabet, 1.0, out);
    }

    fn expand_words(&self, seed: u64, alphabet: Alphabet, per_token: f64, out: &mut Vec<u32>) {
        let space = mix(seed ^ mix(self.namespace));
        for part in self.parts.iter() {
            let key = mix(space ^ mix(part.id) ^ PART);
            fill(key, words_for(part.tokens, per_token, key), alphabet, out);
        }
    }
}

/// Keeps the keys of pieces apart from those of block ids.
const PART: u64 = 0x5eed_0000_9a27_0002;
/// Keeps the keys of unshared tails apart from those of block ids.
const UNSHARED: u64 = 0x5eed_0000_7a11_0001;

/// Words that stand for `tokens` of the content `key`: rounded up or down as the key says, so that the mean is right, and never fewer for
/// more tokens, so that the beginning of some content is the beginning of all of it.
fn words_for(tokens: u32, per_token: f64, key: u64) -> u32 {
    if per_token == 1.0 {
        return tokens;
    }
    let fraction = (mix(key ^ UNSHARED) >> 11) as f64 / (1_u64 << 53) as f64;
    (f64::from(tokens) * per_token + fraction) as u32
}

fn fill(key: u64, tokens: u32, alphabet: Alphabet, out: &mut Vec<u32>) {
    let size = u64::from(alphabet.size.max(1));
    let identity = alphabet.digits().min(tokens);
    let mut digits = key;
    for _ in 0..identity {
        out.push(alphabet.first + (digits % size) as u32);
        digits /= size.max(2);
    }
    for position in identity..tokens {
        let word = keyed(key, u64::from(position)) >> 32;
        out.push(alphabet.first + ((word * size) >> 32) as u32);
    }
}

/// The alphabet of a list of words, the bundled ones where it is empty: indices into it.
pub fn alphabet_of(list: &[String]) -> Alphabet {
    if list.is_empty() { Alphabet::WORDS } else { Alphabet { first: 0, size: list.len() as u32 } }
}

/// As [`words`], from another list where it is not empty.
pub fn words_of(list: &[String], indices: &[u32], out: &mut String) {
    if list.is_empty() {
        return words(indices, out);
    }
    for index in indices {
        out.push(' ');
        out.push_str(&list[*index as usize % list.len()]);
    }
}

/// Appends the words for `indices` to `out`, one space before each: " word word …", so that byte-pair tokenizers of the GPT-2
/// family split before every word.
pub fn words(indices: &[u32], out: &mut String) {
    for index in indices {
        out.push(' ');
        out.push_str(WORDS[*index as usize % WORDS.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const IDS: Alphabet = Alphabet { first: 1000, size: 30_000 };

    fn prompt(ids: &[(u64, u32)], tokens: u32) -> BlockPrompt {
        BlockPrompt {
            namespace: 3,
            block_tokens: 64,
            blocks: ids.iter().map(|&(first, count)| BlockRange { first, count }).collect(),
            tokens,
            unshared: 9,
        }
    }

    fn expand(prompt: &BlockPrompt) -> Vec<u32> {
        let mut out = vec![];
        prompt.expand(42, IDS, &mut out);
        out
    }

    #[test]
    fn shares_exactly_the_shared_blocks() {
        let (a, b) = (expand(&prompt(&[(0, 2), (7, 1)], 160)), expand(&prompt(&[(0, 2), (9, 1)], 170)));
        assert_eq!((a.len(), b.len()), (160, 170));
        assert_eq!(a[..128], b[..128], "two shared blocks");
        assert_ne!(a[128..132], b[128..132], "the third differs in its first tokens");
        assert_eq!(a[..], expand(&prompt(&[(0, 2), (7, 1)], 192))[..160], "a cut block keeps its first tokens");
        let other = BlockPrompt { namespace: 4, ..prompt(&[(0, 2), (7, 1)], 160) };
        assert_ne!(a[..4], expand(&other)[..4], "another namespace shares nothing");
        assert!(a.iter().all(|t| (1000..31_000).contains(t)));
    }

    #[test]
    fn blocks_differ_within_an_engine_block() {
        for alphabet in [IDS, Alphabet::WORDS] {
            let mut seen = HashSet::new();
            for id in 0..50_000 {
                let mut out = vec![];
                prompt(&[(id, 1)], 16).expand(1, alphabet, &mut out);
                assert!(seen.insert(out), "block {id} repeats another's first 16 tokens");
            }
        }
    }

    #[test]
    fn fewer_words_where_a_word_is_several_tokens() {
        let words = |prompt: &BlockPrompt, per_token| {
            let mut out = vec![];
            assert!(Prompt::Blocks(prompt.clone()).expand_words(42, IDS, per_token, &mut out));
            out
        };
        let long = prompt(&[(0, 200)], 64 * 200);
        let few = words(&long, 1.0 / 2.45);
        assert!((f64::from(few.len() as u32) * 2.45 / 12_800.0 - 1.0).abs() < 0.01, "{} words", few.len());
        assert_eq!(
            words(&prompt(&[(0, 100)], 64 * 100 - 20), 1.0 / 2.45)[..],
            few[..words(&prompt(&[(0, 100)], 64 * 100 - 20), 1.0 / 2.45).len()]
        );
        assert_eq!(words(&long, 1.0), expand(&long));
    }

    #[test]
    fn words_are_distinct_and_plain() {
        assert_eq!(WORDS.iter().collect::<HashSet<_>>().len(), WORDS.len());
        assert!(WORDS.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase())));
        let mut text = String::new();
        words(&[0, 1], &mut text);
        assert_eq!(text, format!(" {} {}", WORDS[0], WORDS[1]));
    }
}
