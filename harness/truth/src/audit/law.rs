//! The same statistics of the log, by a harness's own definitions: what it would have reported without error.

use crate::row::LogRow;
use nomoat_core::units::Nanos;

/// How a quantity follows from a row. A row without the moments has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Law {
    /// first_write − request_complete.
    FirstToken,
    /// last_token_write − request_complete.
    LastToken,
    /// Each gap between successive writes of tokens is a value.
    Gaps,
    /// (last_token_write − first_write) / (tokens − tokens of the first write), one value per request.
    MeanGap,
    /// The same, which counts as often as the request has tokens after its first.
    MeanGapByTokens,
    /// (last_token_write − request_complete) / tokens, which counts as often as the request has tokens.
    TokenShare,
}

impl Law {
    /// In words, with the names of the log.
    pub fn words(self) -> &'static str {
        match self {
            Self::FirstToken => "first write − request complete",
            Self::LastToken => "last token's write − request complete",
            Self::Gaps => "gaps between writes, of all requests together",
            Self::MeanGap => "(last token's write − first write) / (tokens − those of the first write), per request",
            Self::MeanGapByTokens => "(last token's write − first write) / (tokens − those of the first write), weighted by tokens",
            Self::TokenShare => "(last token's write − request complete) / tokens, weighted by tokens",
        }
    }

    /// The values of a row, each with how often it counts.
    pub fn values(self, row: &LogRow, mut value: impl FnMut(Nanos, u64)) {
        let after_first = || u64::from(row.output_tokens).saturating_sub(u64::from(row.writes.first().map_or(0, |w| w.1)));
        match self {
            Self::FirstToken => row.ttft().into_iter().for_each(|v| value(v, 1)),
            Self::LastToken => row.e2e().into_iter().for_each(|v| value(v, 1)),
            Self::Gaps => row.writes.windows(2).for_each(|pair| value(pair[1].0 - pair[0].0, 1)),
            Self::MeanGap => row.tpot().into_iter().for_each(|v| value(v, 1)),
            Self::MeanGapByTokens => row.tpot().into_iter().for_each(|v| value(v, after_first())),
            Self::TokenShare => {
                let tokens = row.output_tokens;
                row.e2e().filter(|_| tokens > 0).into_iter().for_each(|v| value(v / i64::from(tokens), u64::from(tokens)));
            }
        }
    }

    /// The value of a row, where there is exactly one.
    pub fn value(self, row: &LogRow) -> Option<Nanos> {
        let mut found = None;
        if self != Self::Gaps {
            self.values(row, |v, _| found = Some(v));
        }
        found
    }
}

/// How a percentile is taken; harnesses differ, and over a few hundred requests it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rank {
    /// Between the two nearest values, by distance: numpy's default.
    Linear,
    /// The smallest value with at least the share at or below it.
    Nearest,
    /// The smallest value with more than the share at or below it.
    Above,
}

/// Values of which statistics are asked.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Values {
    /// Ascending; each with how many there are up to it.
    sorted: Vec<(Nanos, u64)>,
    sum: i128,
}

impl Values {
    /// The values of some rows under a law.
    pub fn of<'a>(law: Law, rows: impl IntoIterator<Item = &'a LogRow>) -> Self {
        let mut pairs = vec![];
        rows.into_iter().for_each(|row| law.values(row, |v, weight| pairs.push((v, weight))));
        Self::new(pairs)
    }

    /// Values with how often each counts.
    pub fn new(mut pairs: Vec<(Nanos, u64)>) -> Self {
        pairs.retain(|pair| pair.1 > 0);
        pairs.sort_unstable();
        let sum = pairs.iter().map(|(v, weight)| i128::from(v.0) * i128::from(*weight)).sum();
        let mut below = 0;
        for pair in &mut pairs {
            below += pair.1;
            pair.1 = below;
        }
        Self { sorted: pairs, sum }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.sorted.last().map_or(0, |pair| pair.1)
    }

    /// Arithmetic mean.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// The value at a position, counted from 0.
    fn at(&self, position: u64) -> Option<f64> {
        let index = self.sorted.partition_point(|pair| pair.1 <= position);
        self.sorted.get(index).map(|pair| pair.0.0 as f64)
    }

    /// A percentile.
    pub fn percentile(&self, percent: u32, rank: Rank) -> Option<f64> {
        let n = self.count();
        let last = n.checked_sub(1)?;
        // Whole numbers, because 0.99 × 100 is not 99 in floating point.
        let scaled = u128::from(n) * u128::from(percent);
        match rank {
            Rank::Nearest => self.at((scaled.div_ceil(100) as u64).saturating_sub(1)),
            Rank::Above => self.at(((scaled / 100) as u64).min(last)),
            Rank::Linear => {
                let exact = u128::from(last) * u128::from(percent);
                let (low, part) = ((exact / 100) as u64, (exact % 100) as f64 / 100.0);
                let (a, b) = (self.at(low)?, self.at((low + 1).min(last))?);
                Some(a + (b - a) * part)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::side::made_up::row;

    #[test]
    fn percentiles_by_hand() {
        let check = |values: &[(i64, u64)], percent, expect: [f64; 3]| {
            let values = Values::new(values.iter().map(|(v, w)| (Nanos(*v), *w)).collect());
            let got = [Rank::Linear, Rank::Nearest, Rank::Above].map(|rank| values.percentile(percent, rank).unwrap());
            assert_eq!(got, expect, "{values:?} p{percent}");
        };
        check(&[(7, 1)], 99, [7.0, 7.0, 7.0]);
        // numpy.percentile([10, 20, 30, 40], 50) is 25.
        check(&[(40, 1), (10, 1), (30, 1), (20, 1)], 50, [25.0, 20.0, 30.0]);
        check(&[(40, 1), (10, 1), (30, 1), (20, 1)], 99, [39.7, 40.0, 40.0]);
        // The same as [10, 10, 10, 50].
        check(&[(10, 3), (50, 1)], 50, [10.0, 10.0, 10.0]);
        let hundred: Vec<(i64, u64)> = (1..=100).map(|v| (v, 1)).collect();
        check(&hundred, 99, [99.01, 99.0, 100.0]);
        assert_eq!(Values::new(vec![]).percentile(50, Rank::Linear), None);
        assert_eq!(Values::new(vec![(Nanos(5), 0)]).mean(), None);
        assert_eq!(Values::new(vec![(Nanos(10), 3), (Nanos(50), 1)]).mean(), Some(20.0));
    }

    #[test]
    fn laws_by_hand() {
        // Complete at 1,000; tokens at 1,500 (2), 1,600 and 1,900.
        let row = row(None, 1_000, &[(500, 2), (600, 1), (900, 1)]);
        let check = |law: Law, expect: &[(i64, u64)]| {
            let mut got = vec![];
            law.values(&row, |v, weight| got.push((v.0, weight)));
            assert_eq!(got, expect, "{law:?}");
        };
        check(Law::FirstToken, &[(500, 1)]);
        check(Law::LastToken, &[(900, 1)]);
        check(Law::Gaps, &[(100, 1), (300, 1)]);
        check(Law::MeanGap, &[(200, 1)]);
        check(Law::MeanGapByTokens, &[(200, 2)]);
        check(Law::TokenShare, &[(225, 4)]);
        assert_eq!((Law::Gaps.value(&row), Law::MeanGap.value(&row)), (None, Some(Nanos(200))));
    }
}
