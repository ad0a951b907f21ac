//! Who waits for whom, from what was said and when.

use nomoat_core::units::Nanos;
use std::collections::HashMap;

/// A call as far as the graph needs it.
pub(super) struct Node<'a> {
    pub start: Nanos,
    pub end: Nanos,
    /// Texts of the assistant's messages in its prompt.
    pub given: &'a [String],
    /// Texts of its answer.
    pub answers: &'a [String],
}

/// For each of `nodes`, which are in order of their start, the earlier ones it directly follows, in order.
pub(super) fn infer(nodes: &[Node<'_>]) -> Vec<Vec<usize>> {
    let mut said: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut reach: Vec<Bits> = vec![];
    let mut all = vec![];
    for (index, node) in nodes.iter().enumerate() {
        let ended = |before: &&usize| nodes[**before].end <= node.start;
        let mut follows: Vec<usize> = node
            .given
            .iter()
            // Where the same was answered more than once, the latest answer that was there.
            .filter_map(|text| said.get(text.as_str())?.iter().filter(ended).max_by_key(|before| (nodes[**before].end, **before)).copied())
            .collect();
        if follows.is_empty() {
            let before = (0..index).filter(|before| nodes[*before].end <= node.start);
            follows.extend(before.max_by_key(|before| (nodes[*before].end, *before)));
        }
        follows.sort_unstable();
        follows.dedup();
        let direct: Vec<usize> = follows.iter().copied().filter(|a| !follows.iter().any(|b| reach[*b].has(*a))).collect();
        let mut reached = Bits(vec![0; nodes.len().div_ceil(64)]);
        for before in &direct {
            reached.add(*before);
            reached.join(&reach[*before]);
        }
        reach.push(reached);
        all.push(direct);
        for text in node.answers.iter().filter(|text| !text.is_empty()) {
            said.entry(text).or_default().push(index);
        }
    }
    all
}

/// A set of positions.
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    fn add(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_causal_else_temporal_and_reduced() {
        let check = |calls: &[(i64, i64, &[&str], &str)], expect: &[&[usize]]| {
            let texts = |given: &[&str]| given.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            let owned: Vec<_> = calls.iter().map(|call| (call.0, call.1, texts(call.2), texts(&[call.3]))).collect();
            let nodes: Vec<_> = owned.iter().map(|c| Node { start: Nanos(c.0), end: Nanos(c.1), given: &c.2, answers: &c.3 }).collect();
            assert_eq!(infer(&nodes), expect, "{calls:?}");
        };
        check(&[(0, 2, &[], "a"), (3, 5, &["a"], "b"), (6, 7, &["a", "b"], "c")], &[&[], &[0], &[1]]);
        // Two at the same time, then one that reads both.
        check(&[(0, 2, &[], "a"), (3, 5, &["a"], "b"), (3, 6, &["a"], "c"), (7, 8, &["a", "b", "c"], "d")], &[&[], &[0], &[0], &[1, 2]]);
        // Without a word in common: the one that ended last before.
        check(&[(0, 5, &[], "a"), (1, 2, &[], "b"), (3, 4, &[], "c"), (6, 7, &[], "d")], &[&[], &[], &[1], &[0]]);
        // An answer that was not there yet is no cause.
        check(&[(0, 5, &[], "a"), (1, 2, &["a"], "b")], &[&[], &[]]);
        // The same answer twice: the later one.
        check(&[(0, 1, &[], "a"), (2, 3, &[], "a"), (4, 5, &["a"], "b")], &[&[], &[0], &[1]]);
        check(&[], &[]);
    }
}
