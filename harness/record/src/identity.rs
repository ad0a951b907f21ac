//! Which prompts begin alike, without what they say.
//!
//! A prompt is cut into blocks; each is hashed together with all before it and a salt that is made at the start, kept in memory only and
//! gone afterwards. What is kept of a hash is a number: when it was first seen. So the file shows that two prompts are equal up to a border, and
//! nobody who has it can test a guess of what they say.

use crate::ask::Content;
use nomoat_core::prompt::BlockRange;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Bytes of text that stand for a token until an endpoint says better.
pub const BYTES_PER_TOKEN: u64 = 4;

/// The first half of a SHA-256 under the salt.
pub type Key = [u8; 16];

/// A prompt as numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// Numbers of its blocks, in runs. The last one may be short.
    pub blocks: Vec<BlockRange>,
    /// Its length: bytes, or token ids.
    pub units: u64,
    /// It was given as token ids: units are tokens.
    pub is_exact: bool,
}

/// Gives numbers to what it has not seen before.
pub struct Identity {
    salt: [u8; 32],
    block: u32,
    seen: HashMap<Key, u64>,
}

impl Identity {
    pub fn new(salt: [u8; 32], block: u32) -> Self {
        Self { salt, block, seen: HashMap::new() }
    }

    /// A hash of `bytes` after `before`, of a kind of its own.
    pub fn key(&self, kind: &str, before: Key, bytes: &[u8]) -> Key {
        let mut hash = Sha256::new();
        hash.update(self.salt);
        hash.update([kind.len() as u8]);
        hash.update(kind);
        hash.update(before);
        hash.update(bytes);
        let hash: [u8; 32] = hash.finalize().into();
        let mut key = Key::default();
        key.copy_from_slice(&hash[..16]);
        key
    }

    /// Units in a full block of this content.
    pub fn block_units(&self, is_exact: bool) -> u64 {
        u64::from(self.block) * if is_exact { 1 } else { BYTES_PER_TOKEN }
    }

    pub fn outline(&mut self, content: &Content) -> Outline {
        let mut blocks = Blocks { ranges: vec![], before: Key::default() };
        let is_exact = matches!(content, Content::Ids(_));
        let size = self.block_units(is_exact) as usize;
        if let Content::Ids(ids) = content {
            for block in ids.chunks(size) {
                let bytes: Vec<u8> = block.iter().flat_map(|id| id.to_le_bytes()).collect();
                blocks.push(self, "ids", &bytes);
            }
            return Outline { blocks: blocks.ranges, units: ids.len() as u64, is_exact };
        }
        let (mut waiting, mut units) = (Vec::with_capacity(size), 0);
        for text in content.texts() {
            let mut rest = &text[..];
            units += rest.len() as u64;
            while !rest.is_empty() {
                let (taken, after) = rest.split_at(rest.len().min(size - waiting.len()));
                waiting.extend_from_slice(taken);
                rest = after;
                if waiting.len() == size {
                    blocks.push(self, "text", &waiting);
                    waiting.clear();
                }
            }
        }
        if !waiting.is_empty() {
            blocks.push(self, "text", &waiting);
        }
        Outline { blocks: blocks.ranges, units, is_exact }
    }
}

struct Blocks {
    ranges: Vec<BlockRange>,
    before: Key,
}

impl Blocks {
    fn push(&mut self, identity: &mut Identity, kind: &str, bytes: &[u8]) {
        self.before = identity.key(kind, self.before, bytes);
        let next = identity.seen.len() as u64;
        let number = *identity.seen.entry(self.before).or_insert(next);
        match self.ranges.last_mut() {
            Some(range) if range.first + u64::from(range.count) == number => range.count += 1,
            _ => self.ranges.push(BlockRange { first: number, count: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(outline: &Outline) -> Vec<(u64, u32)> {
        outline.blocks.iter().map(|range| (range.first, range.count)).collect()
    }

    #[test]
    fn equal_beginnings_have_equal_numbers() {
        let mut identity = Identity::new([7; 32], 2);
        let mut text = |text: &str| ranges(&identity.outline(&Content::Text(text.into())));
        assert_eq!(text("aaaaaaaabbbbbbbbcc"), [(0, 3)], "two whole blocks of eight bytes, and a rest");
        assert_eq!(text("aaaaaaaabbbbbbbbcc"), [(0, 3)]);
        assert_eq!(text("aaaaaaaabbbbbbbbccc"), [(0, 2), (3, 1)]);
        assert_eq!(text("bbbbbbbb"), [(4, 1)], "the same block elsewhere is another: it has another past");
        assert_eq!(text(""), []);
        let ids = identity.outline(&Content::Ids(vec![1, 2, 3]));
        assert_eq!((ranges(&ids), ids.units, ids.is_exact), (vec![(5, 2)], 3, true));
    }

    #[test]
    fn messages_are_read_on_from_each_other() {
        use crate::ask::{Message, Role};
        let message = |json: &str| Message { role: Role::Other, json: json.into() };
        let chat = |tools: Option<&str>, all: &[&str]| Content::Chat {
            tools: tools.map(str::to_owned),
            messages: all.iter().map(|json| message(json)).collect(),
        };
        let mut identity = Identity::new([7; 32], 1);
        let one = identity.outline(&chat(Some("[]"), &["{12}", "{34}"]));
        assert_eq!((ranges(&one), one.units), (vec![(0, 3)], 10));
        assert_eq!(ranges(&identity.outline(&chat(Some("[]"), &["{12}", "{34}", "{5}"]))), [(0, 2), (3, 2)]);
        assert_eq!(ranges(&identity.outline(&chat(None, &["{12}"]))), [(5, 1)]);
    }

    #[test]
    fn another_salt_is_another_world() {
        let (a, b) = (Identity::new([1; 32], 1), Identity::new([2; 32], 1));
        assert_ne!(a.key("text", Key::default(), b"x"), b.key("text", Key::default(), b"x"));
        assert_ne!(a.key("text", Key::default(), b"x"), a.key("ids", Key::default(), b"x"));
    }
}
