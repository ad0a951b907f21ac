//! A mergeable histogram of nanoseconds with a relative error of at most 0.1 %: for the live line, and for gaps that are too
//! many to keep.
//!
//! Log-linear: every power of two is cut into 512 equal buckets and a bucket stands for its middle, so a value is off by at most
//! 1 part in 1,024. Values below 1,024 are exact. It keeps no order and knows no time; published per-request percentiles
//! never come from it.

use crate::stats::nearest_rank;

/// Buckets per power of two, as a power of two.
const SUB_BITS: u32 = 9;
const SUB: usize = 1 << SUB_BITS;

/// Counts of values by magnitude. Negative values are kept apart, not cut to zero: they are errors of an instrument.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hist {
    positive: Vec<u64>,
    negative: Vec<u64>,
    count: u64,
    sum: i128,
    /// Smallest and largest value.
    range: Option<(i64, i64)>,
}

impl Hist {
    /// Counts `value` `count` times.
    #[inline]
    pub fn add(&mut self, value: i64, count: u64) {
        if count == 0 {
            return;
        }
        let side = if value < 0 { &mut self.negative } else { &mut self.positive };
        let index = index_of(value.unsigned_abs());
        if index >= side.len() {
            // Whole powers of two, so that a slowly rising maximum does not grow it bucket by bucket.
            side.resize((index / SUB + 1) * SUB, 0);
        }
        side[index] += count;
        self.count += count;
        self.sum += i128::from(value) * i128::from(count);
        self.range = Some(self.range.map_or((value, value), |(min, max)| (min.min(value), max.max(value))));
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            mine.resize(mine.len().max(theirs.len()), 0);
            mine.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
        }
        self.count += other.count;
        self.sum += other.sum;
        self.range = match (self.range, other.range) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean, exact but for the last rounding.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// The largest value, exact.
    pub fn max(&self) -> Option<i64> {
        self.range.map(|(_, max)| max)
    }

    /// The nearest-rank quantile x(⌈qN⌉), within 0.1 %; the smallest and the largest value are exact.
    pub fn quantile(&self, q: f64) -> Option<i64> {
        let (min, max) = self.range?;
        let rank = nearest_rank(self.count, q);
        if rank <= 1 || rank == self.count {
            return Some(if rank == self.count { max } else { min });
        }
        let below = self.negative.iter().enumerate().rev().map(|(i, c)| (-middle_of(i), *c));
        let above = self.positive.iter().enumerate().map(|(i, c)| (middle_of(i), *c));
        let mut seen = 0;
        let value = below.chain(above).find_map(|(value, count)| {
            seen += count;
            (seen >= rank).then_some(value)
        });
        value.map(|v| v.clamp(min, max))
    }
}

/// The bucket of a magnitude.
#[inline]
fn index_of(magnitude: u64) -> usize {
    let shift = (magnitude | 1).ilog2().saturating_sub(SUB_BITS);
    ((shift as usize) << SUB_BITS) + (magnitude >> shift) as usize
}

/// The middle of a bucket. Buckets of index below 1,024 hold one value; above, `shift` counts the doublings of their width.
fn middle_of(index: usize) -> i64 {
    let shift = (index / SUB).saturating_sub(1);
    let lowest = ((index - shift * SUB) as u64) << shift;
    // The last bucket may reach past the largest i64; the caller cuts to the largest value seen.
    i64::try_from(lowest + ((1_u64 << shift) - 1) / 2).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_values_are_exact_and_ends_too() {
        let mut hist = Hist::default();
        assert_eq!((hist.quantile(0.5), hist.mean(), hist.max(), hist.count()), (None, None, None, 0));
        (1..=1000).for_each(|v| hist.add(v, 1));
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| hist.quantile(q)), [Some(1), Some(500), Some(990), Some(1000)]);
        assert_eq!((hist.mean(), hist.count()), (Some(500.5), 1000));
        hist.add(7, 0);
        assert_eq!(hist.count(), 1000, "a count of nothing adds nothing");
        let mut ends = Hist::default();
        ends.add(i64::MIN, 1);
        ends.add(i64::MAX, 1);
        assert_eq!((ends.quantile(0.5), ends.quantile(1.0), ends.max()), (Some(i64::MIN), Some(i64::MAX), Some(i64::MAX)));
        let mut ends = Hist::default();
        [5_000_001, 6_000_001].into_iter().for_each(|v| ends.add(v, 1));
        assert_eq!((ends.quantile(0.0), ends.quantile(1.0)), (Some(5_000_001), Some(6_000_001)));
    }

    #[test]
    fn it_is_small() {
        let mut hist = Hist::default();
        hist.add(3_600_000_000_000, 1); // an hour
        assert!(hist.positive.len() * 8 < 160_000);
    }

    proptest! {
        #[test]
        fn error_is_at_most_a_thousandth(mut values in prop::collection::vec(-5_000_i64..4_000_000_000_000, 1..200), q in 0.0..=1.0_f64) {
            let mut hist = Hist::default();
            values.iter().for_each(|v| hist.add(*v, 1));
            values.sort_unstable();
            let exact = values[nearest_rank(values.len() as u64, q) as usize - 1];
            let found = hist.quantile(q).expect("there are values");
            prop_assert!((found - exact).abs() as f64 <= 0.001 * exact.abs() as f64, "{found} for {exact}");
        }

        #[test]
        fn every_magnitude_is_within_its_bucket(magnitude in 0_i64..=i64::MAX) {
            let middle = middle_of(index_of(magnitude.unsigned_abs()));
            prop_assert!((middle - magnitude).unsigned_abs() as f64 <= 0.001 * magnitude as f64, "{middle} for {magnitude}");
        }

        #[test]
        fn merging_is_order_free(a in prop::collection::vec((any::<i32>(), 0_u64..5), 0..50), b in prop::collection::vec((any::<i32>(), 0_u64..5), 0..50)) {
            let of = |items: &[(i32, u64)]| {
                let mut hist = Hist::default();
                items.iter().for_each(|(v, c)| hist.add(i64::from(*v) * 1_000, *c));
                hist
            };
            let (mut ab, mut ba) = (of(&a), of(&b));
            ab.merge(&of(&b));
            ba.merge(&of(&a));
            let all = of(&[a, b].concat());
            prop_assert_eq!(&ab, &ba);
            prop_assert_eq!(&ab, &all);
        }
    }
}
