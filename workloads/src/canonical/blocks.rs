//! Lists of block ids as runs of consecutive ones: what the reader and the writer both say about them.

use super::wire::Tail;
use crate::error::{Place, TraceError};
use nomoat_core::prompt::BlockRange;

/// How many ids.
pub(super) fn count(ranges: &[BlockRange]) -> u64 {
    ranges.iter().map(|r| u64::from(r.count)).sum()
}

/// The first `keep` ids of `ranges`; `None` when there are fewer.
pub(super) fn leading(ranges: &[BlockRange], keep: u64) -> Option<Vec<BlockRange>> {
    let mut kept = vec![];
    let mut left = keep;
    for range in ranges {
        if left == 0 {
            break;
        }
        let count = u64::from(range.count).min(left);
        kept.push(BlockRange { first: range.first, count: count as u32 });
        left -= count;
    }
    (left == 0).then_some(kept)
}

/// Appends runs to kept ones. A kept run that goes on is one run, as it was before it was written.
pub(super) fn extend(kept: &mut Vec<BlockRange>, add: impl Iterator<Item = BlockRange>) {
    for (i, range) in add.enumerate() {
        match kept.last_mut() {
            Some(last) if i == 0 && last.first + u64::from(last.count) == range.first => last.count += range.count,
            _ => kept.push(range),
        }
    }
}

/// How many leading ids two lists have in common, and how many whole runs of the second those are.
pub(super) fn common(a: &[BlockRange], b: &[BlockRange]) -> (u64, usize) {
    let (mut keep, mut runs) = (0, 0);
    for (x, y) in a.iter().zip(b) {
        if x.first != y.first {
            break;
        }
        keep += u64::from(x.count.min(y.count));
        if x.count != y.count {
            break;
        }
        runs += 1;
    }
    (keep, runs)
}

/// The ranges after the first `skip` ids.
pub(super) fn beyond(ranges: &[BlockRange], skip: u64) -> Vec<BlockRange> {
    let mut left = skip;
    let mut rest = vec![];
    for range in ranges {
        let cut = left.min(range.count.into());
        left -= cut;
        if cut < range.count.into() {
            rest.push(BlockRange { first: range.first + cut, count: range.count - cut as u32 });
        }
    }
    rest
}

/// Holds the number of block ids against the tail rule; under [`Tail::Unshared`] an unfilled last block's id is taken out.
pub(super) fn check_count(ranges: &mut Vec<BlockRange>, n: u32, size: u32, tail: Tail, place: Place<'_>) -> Result<(), TraceError> {
    let count = count(ranges);
    let (full, all) = (u64::from(n / size), u64::from(n.div_ceil(size)));
    let (fits, should) = match tail {
        Tail::Partial | Tail::Unshared => (count == all, format!("{all} blocks for {n} tokens in blocks of {size}")),
        Tail::FullOnly => (count == full, format!("{full} full blocks for {n} tokens in blocks of {size}")),
        Tail::Open => (count <= all, format!("at most {all} blocks for {n} tokens in blocks of {size}")),
    };
    if !fits {
        return Err(place.field("in.b", format!("has {count} blocks"), should));
    }
    if tail == Tail::Unshared
        && full < all
        && let Some(last) = ranges.last_mut()
    {
        last.count -= 1;
        if last.count == 0 {
            ranges.pop();
        }
    }
    Ok(())
}
