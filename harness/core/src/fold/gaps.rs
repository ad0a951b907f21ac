//! Gaps inside answers: between chunks (ICL) and per token (ITL). Exact up to [`EXACT_LIMIT`] samples of a run, then a histogram,
//! so that memory has a bound.

use super::row::Cell;
use crate::hist::Hist;
use crate::record::RequestRecord;
use crate::report::Stat;
use crate::stats::{LEVEL, Ranks, min_observations, nearest_rank};

/// Samples of one metric and run that are kept as they are: 40 MB, as nearly all gaps are below 2³² ns (4.3 s).
pub const EXACT_LIMIT: u64 = 10_000_000;

/// ITL: a gap g to a chunk of k tokens is k samples of g / k, rounded to the nanosecond; a gap to a chunk without tokens is
/// part of the next one. Answered requests of the window; the first chunk has no gap.
pub fn itl(record: &RequestRecord, mut sample: impl FnMut(i64, u32)) {
    let mut open = 0_i64;
    for (gap, tokens) in record.chunk_gaps.iter().zip(&record.chunk_tokens).skip(1) {
        open = open.saturating_add(*gap);
        match i64::from(*tokens) {
            0 => continue,
            1 => sample(open, 1),
            k => sample((open.saturating_mul(2).saturating_add(k)).div_euclid(2 * k), *tokens),
        }
        open = 0;
    }
}

/// ICL: the gaps between token-bearing chunks. Answered requests of the window; the first chunk has no gap.
pub fn icl(record: &RequestRecord, sample: impl FnMut(i64)) {
    record.chunk_gaps.iter().skip(1).copied().for_each(sample);
}

/// Samples of one metric, by class of request.
#[derive(Debug, Default)]
pub struct Gaps {
    classes: Vec<Class>,
    total: u64,
    limit: u64,
}

/// Samples of one class: the values themselves, or their histogram once the run has too many.
#[derive(Debug, Default)]
struct Class {
    values: Values,
    hist: Hist,
}

/// Samples as they are, in half the space wherever they fit.
#[derive(Debug, Default)]
struct Values {
    /// Those of 0 to 2³² − 1 ns.
    small: Vec<u32>,
    /// The negative and the longer ones.
    rest: Vec<i64>,
}

impl Values {
    #[inline]
    fn push(&mut self, value: i64, count: u32) {
        match (u32::try_from(value), count) {
            (Ok(value), 1) => self.small.push(value),
            (Ok(value), _) => self.small.extend(std::iter::repeat_n(value, count as usize)),
            (Err(_), _) => self.rest.extend(std::iter::repeat_n(value, count as usize)),
        }
    }

    fn iter(&self) -> impl Iterator<Item = i64> {
        self.small.iter().map(|v| i64::from(*v)).chain(self.rest.iter().copied())
    }

    fn len(&self) -> u64 {
        (self.small.len() + self.rest.len()) as u64
    }

    fn append(&mut self, other: &Self) {
        self.small.extend_from_slice(&other.small);
        self.rest.extend_from_slice(&other.rest);
    }

    /// The percentiles `qs`, by nearest rank: the negative values come first, then the small ones, then the longer ones.
    fn percentiles<const N: usize>(self, qs: [f64; N]) -> [Option<i64>; N] {
        let (n, small, negative) = (self.len(), self.small.len() as u64, self.rest.iter().filter(|v| **v < 0).count() as u64);
        let (mut near, mut far) = (Ranks::new(self.small), Ranks::new(self.rest));
        qs.map(|q| match nearest_rank(n, q) {
            rank if rank <= negative => far.at(rank),
            rank if rank <= negative + small => near.at(rank - negative).map(i64::from),
            rank => far.at(rank - small),
        })
    }
}

impl Gaps {
    /// Room for `classes` classes; more than `limit` samples in all become a histogram.
    pub fn new(classes: usize, limit: u64) -> Self {
        Self { classes: (0..classes.max(1)).map(|_| Class::default()).collect(), total: 0, limit }
    }

    /// Adds `count` samples of `value`. A class that was not announced counts as the last one.
    #[inline]
    pub fn add(&mut self, class: usize, value: i64, count: u32) {
        let was_exact = self.exact();
        self.total += u64::from(count);
        if was_exact && !self.exact() {
            for class in &mut self.classes {
                std::mem::take(&mut class.values).iter().for_each(|v| class.hist.add(v, 1));
            }
        }
        let exact = self.exact();
        let last = self.classes.len() - 1;
        let class = &mut self.classes[class.min(last)];
        if exact {
            class.values.push(value, count);
        } else {
            class.hist.add(value, u64::from(count));
        }
    }

    fn exact(&self) -> bool {
        self.total <= self.limit
    }

    /// The cells of [`Stat::DISTRIBUTION`] over one class or over all.
    pub fn cells(&self, class: Option<usize>) -> Vec<Cell> {
        let classes = || self.classes.iter().enumerate().filter(|(i, _)| class.is_none_or(|c| c == *i)).map(|(_, c)| c);
        let mut hist = Hist::default();
        classes().for_each(|c| hist.merge(&c.hist));
        let mut values = Values::default();
        classes().for_each(|c| values.append(&c.values));
        let exact = self.exact();
        let (n, method) = if exact { (values.len(), "exact") } else { (hist.count(), "hist") };
        let sum: i128 = values.iter().map(i128::from).sum();
        let (mean, max) = if exact { (sum as f64 / n as f64, values.iter().max()) } else { (hist.mean().unwrap_or(0.0), hist.max()) };
        let quantiles = Stat::DISTRIBUTION.map(|stat| stat.quantile().unwrap_or(1.0));
        let percentiles = if exact { values.percentiles(quantiles) } else { quantiles.map(|q| hist.quantile(q)) };
        let cell = |(stat, percentile): (Stat, Option<i64>)| match (max, stat.quantile()) {
            (None, _) => Cell::none(method, 0, "no answer has a second chunk with tokens"),
            (_, Some(q)) if n < min_observations(q, LEVEL) => too_few(method, n, q),
            (_, Some(_)) => Cell::of(percentile.map_or(f64::NAN, |v| v as f64), n, method),
            (Some(max), None) => Cell::of(if stat == Stat::Max { max as f64 } else { mean }, n, method),
        };
        Stat::DISTRIBUTION.into_iter().zip(percentiles).map(cell).collect()
    }
}

/// The cell of a percentile that has too few observations, with the number it needs.
pub fn too_few(method: &'static str, n: u64, q: f64) -> Cell {
    Cell::none(method, n, format!("needs n ≥ {}, has {n}", min_observations(q, LEVEL)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(gaps: &[i64], tokens: &[u32]) -> RequestRecord {
        RequestRecord { chunk_gaps: gaps.to_vec(), chunk_tokens: tokens.to_vec(), ..RequestRecord::default() }
    }

    #[test]
    fn samples_per_token() {
        let check = |gaps: &[i64], tokens: &[u32], expect: &[(i64, u32)]| {
            let mut found = vec![];
            itl(&record(gaps, tokens), |value, count| found.push((value, count)));
            assert_eq!(found, expect, "{gaps:?} {tokens:?}");
        };
        check(&[], &[], &[]);
        check(&[0], &[5], &[]);
        check(&[0, 10, 20], &[1, 1, 1], &[(10, 1), (20, 1)]);
        check(&[0, 10, 21], &[1, 3, 2], &[(3, 3), (11, 2)]);
        check(&[0, 10, 20], &[1, 0, 3], &[(10, 3)]);
        check(&[0, 10, 20], &[1, 1, 0], &[(10, 1)]);
        check(&[0, -4], &[1, 2], &[(-2, 2)]);
    }

    #[test]
    fn distributions() {
        let mut gaps = Gaps::new(2, 100);
        (1..=20).for_each(|v| gaps.add(0, v, 2));
        gaps.add(1, 1000, 1);
        let values = |gaps: &Gaps, class| gaps.cells(class).into_iter().map(|c| c.value).collect::<Vec<_>>();
        assert_eq!(values(&gaps, None), [Some(11.0), Some(19.0), None, None, Some(1420.0 / 41.0), Some(1000.0)]);
        assert_eq!(values(&gaps, Some(0)), [Some(10.0), Some(18.0), None, None, Some(10.5), Some(20.0)]);
        assert_eq!(values(&gaps, Some(1)), [None, None, None, None, Some(1000.0), Some(1000.0)]);
        assert_eq!(gaps.cells(None)[2].reason.as_deref(), Some("needs n ≥ 72, has 41"));
        assert_eq!(values(&Gaps::new(1, 100), None), [None; 6]);
    }

    proptest! {
        #[test]
        fn small_values_and_the_rest_have_one_order(
            samples in prop::collection::vec(prop_oneof![-3_i64..3, 4_294_967_293_i64..4_294_967_299], 1..60),
            q in 0.0_f64..=1.0,
        ) {
            let mut values = Values::default();
            samples.iter().for_each(|v| values.push(*v, 1));
            let sorted = Ranks::new(samples).percentile(q);
            prop_assert_eq!(values.percentiles([q]), [sorted]);
        }

        /// Which method is used depends on the number of samples, never on their order.
        #[test]
        fn order_free_across_the_limit(samples in prop::collection::vec((0_usize..3, 0_i64..900, 1_u32..4), 0..60)) {
            let of = |samples: &[(usize, i64, u32)]| {
                let mut gaps = Gaps::new(3, 60);
                samples.iter().for_each(|(class, value, count)| gaps.add(*class, *value, *count));
                [None, Some(0), Some(1), Some(2)].map(|class| gaps.cells(class))
            };
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            prop_assert_eq!(of(&samples), of(&sorted));
        }
    }
}
