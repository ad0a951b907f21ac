//! Weighted values of one definition: their mean exactly, their percentiles as a tool takes them.

use super::{Percentiles, StatOf};
use crate::hist::Hist;

/// Values that are kept as they are, 16 bytes each; beyond, percentiles are those of a histogram, within 0.1 %.
const KEPT: usize = 5_000_000;

/// A running mean.
#[derive(Clone, Copy, Default, Debug)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    pub fn add(&mut self, value: f64, weight: f64) {
        self.sum += value * weight;
        self.weight += weight;
    }

    /// The mean; `None` of nothing.
    pub fn get(self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }
}

/// Values with weights.
#[derive(Default, Debug)]
pub struct Values {
    mean: Mean,
    kept: Vec<(f64, f64)>,
    /// In place of `kept`, once there are too many.
    hist: Option<Hist>,
    added: u64,
    range: Option<(f64, f64)>,
    sorted: bool,
}

impl Values {
    pub fn add(&mut self, value: f64, weight: f64) {
        self.mean.add(value, weight);
        self.added += 1;
        self.range = Some(self.range.map_or((value, value), |(min, max)| (min.min(value), max.max(value))));
        if self.hist.is_none() && self.kept.len() == KEPT {
            let mut hist = Hist::default();
            std::mem::take(&mut self.kept).iter().for_each(|(v, w)| hist.add(whole(*v), *w as u64));
            self.hist = Some(hist);
        }
        match &mut self.hist {
            Some(hist) => hist.add(whole(value), weight as u64),
            None => self.kept.push((value, weight)),
        }
        self.sorted = false;
    }

    /// How many values: by weight where a weight is how often a value occurred, else as they were added.
    pub fn count(&self, percentiles: Percentiles) -> u64 {
        match percentiles {
            Percentiles::Linear => self.mean.weight as u64,
            Percentiles::Weighted => self.added,
        }
    }

    /// Whether percentiles are a histogram's.
    pub fn approximate(&self) -> bool {
        self.hist.is_some()
    }

    /// A number of the distribution; `None` of nothing.
    pub fn get(&mut self, stat: StatOf, percentiles: Percentiles) -> Option<f64> {
        match (stat, &self.hist) {
            (StatOf::Mean, _) => self.mean.get(),
            (StatOf::Min, _) => self.range.map(|(min, _)| min),
            (StatOf::Max, _) => self.range.map(|(_, max)| max),
            (StatOf::Percentile(p), Some(hist)) => hist.quantile(p / 100.0).map(|v| v as f64),
            (StatOf::Percentile(p), None) => self.percentile(p / 100.0, percentiles),
        }
    }

    fn percentile(&mut self, q: f64, percentiles: Percentiles) -> Option<f64> {
        if !self.sorted {
            self.kept.sort_by(|a, b| a.0.total_cmp(&b.0));
            self.sorted = true;
        }
        match percentiles {
            Percentiles::Linear => {
                let position = q * (self.mean.weight - 1.0);
                let (low, share) = (libm::floor(position), position - libm::floor(position));
                let (a, b) = (self.above(low)?, self.above(low + 1.0).unwrap_or(f64::NAN));
                // Beyond the last value there is nothing to lean to.
                Some(if share > 0.0 && b.is_finite() { a + share * (b - a) } else { a })
            }
            // The last bit of a sum of weights must not push a whole number to the next value.
            Percentiles::Weighted => self.above(q * self.mean.weight * (1.0 - 1e-12) - f64::MIN_POSITIVE),
        }
    }

    /// The first value at which the weights so far exceed `weight`.
    fn above(&self, weight: f64) -> Option<f64> {
        let mut seen = 0.0;
        self.kept.iter().find_map(|(value, w)| {
            seen += w;
            (seen > weight).then_some(*value)
        })
    }
}

fn whole(value: f64) -> i64 {
    libm::round(value) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_as_tools_take_them() {
        let check = |values: &[(f64, f64)], p: f64, linear: Option<f64>, weighted: Option<f64>| {
            let mut all = Values::default();
            values.iter().rev().for_each(|(v, w)| all.add(*v, *w));
            let of = |all: &mut Values, how| all.get(StatOf::Percentile(p), how);
            assert_eq!(of(&mut all, Percentiles::Linear), linear, "linear p{p} of {values:?}");
            assert_eq!(of(&mut all, Percentiles::Weighted), weighted, "weighted p{p} of {values:?}");
        };
        let plain = |values: &[f64]| values.iter().map(|v| (*v, 1.0)).collect::<Vec<_>>();
        check(&[], 50.0, None, None);
        check(&plain(&[7.0]), 99.0, Some(7.0), Some(7.0));
        // numpy.percentile([1, 2, 3, 4], 50) = 2.5 and (…, 90) = 3.7; the share 0.5 is reached at 2, 0.9 at 4.
        check(&plain(&[1.0, 2.0, 3.0, 4.0]), 50.0, Some(2.5), Some(2.0));
        check(&plain(&[1.0, 2.0, 3.0, 4.0]), 90.0, Some(1.0 + 2.7), Some(4.0));
        check(&plain(&[1.0, 2.0, 3.0, 4.0]), 0.0, Some(1.0), Some(1.0));
        check(&plain(&[1.0, 2.0, 3.0, 4.0]), 100.0, Some(4.0), Some(4.0));
        // Three ones and a nine: [1, 1, 1, 9].
        check(&[(1.0, 3.0), (9.0, 1.0)], 75.0, Some(3.0), Some(1.0));
        check(&[(1.0, 3.0), (9.0, 1.0)], 87.5, Some(6.0), Some(9.0));
    }

    #[test]
    fn means_and_counts() {
        let mut all = Values::default();
        for (value, weight) in [(1.0, 3.0), (9.0, 1.0)] {
            all.add(value, weight);
        }
        let of = |all: &mut Values, stat| all.get(stat, Percentiles::Linear);
        assert_eq!([StatOf::Mean, StatOf::Min, StatOf::Max].map(|s| of(&mut all, s)), [Some(3.0), Some(1.0), Some(9.0)]);
        assert_eq!((all.count(Percentiles::Linear), all.count(Percentiles::Weighted), all.approximate()), (4, 2, false));
        assert_eq!(of(&mut Values::default(), StatOf::Mean), None);
    }

    #[test]
    fn too_many_values_become_a_histogram() {
        let mut all = Values::default();
        (0..=KEPT).for_each(|i| all.add((i % 1000) as f64, 1.0));
        assert!(all.approximate() && all.kept.is_empty());
        assert_eq!(all.get(StatOf::Percentile(50.0), Percentiles::Linear), Some(499.0));
        assert_eq!((all.get(StatOf::Max, Percentiles::Linear), all.count(Percentiles::Linear)), (Some(999.0), KEPT as u64 + 1));
    }
}
