//! The engine's readings of a run, joined: several endpoints, several pages of metrics, and layers that tell the same twice.
//!
//! A reading holds until the next of its source. From the moment on that all sources are known their sum is read, of shares their
//! mean; where an endpoint has no such reading the whole is not known. Of several layers the innermost that tells a name is believed
//! for the whole run: a gateway's count of tokens is never added to that of the engines behind it.

use crate::report::Window;
use crate::sample::{COUNTER_FELL, ENGINE_READINGS, Layer, ReadingKind, RunEvent, Sample, SampleSource, names};
use crate::units::Nanos;
use std::collections::BTreeMap;

/// Values in order of time.
pub(super) type Course = Vec<(Nanos, f64)>;

/// A source of readings: the endpoint, and its page.
type Source = (u16, u16);

/// The engine's readings by canonical name.
#[derive(Debug)]
pub struct Readings<'a> {
    endpoints: u16,
    by_name: BTreeMap<&'a str, Vec<&'a Sample>>,
    /// When a counter fell.
    fell: Vec<Nanos>,
}

impl<'a> Readings<'a> {
    /// Sorts the samples of a run from `endpoints` endpoints.
    pub fn new(endpoints: u16, samples: &'a [Sample], events: &[RunEvent]) -> Self {
        let mut by_name: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
        for sample in samples.iter().filter(|s| s.source == SampleSource::Engine && s.value.is_finite() && is_canonical(&s.metric)) {
            by_name.entry(&sample.metric).or_default().push(sample);
        }
        let fell = events.iter().filter(|e| e.code == COUNTER_FELL).map(|e| e.at).collect();
        Self { endpoints: endpoints.max(1), by_name, fell }
    }

    /// The course of one reading over all sources.
    pub fn course(&self, name: &str) -> Course {
        self.joined(name, self.by_name.get(name).map_or(&[][..], Vec::as_slice))
    }

    /// The courses of a histogram's buckets, by bound in ascending order; the last is infinite.
    pub fn buckets(&self, name: &str) -> Vec<(f64, Course)> {
        let mut by_bound: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
        for sample in self.by_name.get(format!("{name}{}", names::BUCKET).as_str()).into_iter().flatten() {
            if let Some(bound) = sample.label(names::BOUND) {
                by_bound.entry(bound).or_default().push(sample);
            }
        }
        let mut buckets: Vec<(f64, Course)> = by_bound
            .into_iter()
            .filter_map(|(bound, samples)| {
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
                Some((bound, self.joined(name, &samples)))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    /// Whether a counter fell after `from` and up to `to`.
    pub fn fell(&self, from: Nanos, to: Nanos) -> bool {
        self.fell.iter().any(|at| from < *at && *at <= to)
    }

    /// When a counter fell.
    pub fn falls(&self) -> &[Nanos] {
        &self.fell
    }

    fn joined(&self, name: &str, samples: &[&Sample]) -> Course {
        let layer =
            |s: &Sample| s.label(names::LAYER).and_then(|word| Layer::ALL.into_iter().find(|l| l.name() == word)).unwrap_or_default();
        let Some(believed) = samples.iter().map(|s| layer(s)).min() else { return vec![] };
        let index = |s: &Sample, label: &str| s.label(label).map_or(Ok(0), str::parse::<u16>).ok();
        let source = |s: &Sample| -> Option<Source> {
            // Of several endpoints each reading says of which it is.
            let endpoint = if self.endpoints > 1 { s.label(names::ENDPOINT)?.parse().ok()? } else { index(s, names::ENDPOINT)? };
            (endpoint < self.endpoints).then_some(())?;
            Some((endpoint, index(s, names::PAGE)?))
        };
        let mut readings: Vec<(Nanos, Source, f64)> =
            samples.iter().filter(|s| layer(s) == believed).filter_map(|s| Some((s.at, source(s)?, s.value))).collect();
        readings.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
        let mut latest: BTreeMap<Source, Option<f64>> = readings.iter().map(|(_, source, _)| (*source, None)).collect();
        let told = |endpoint| latest.keys().any(|source| source.0 == endpoint);
        if !(0..self.endpoints).all(told) {
            return vec![];
        }
        let share = ENGINE_READINGS.iter().any(|(n, kind)| *n == name && *kind == ReadingKind::Share);
        let parts = if share { latest.len() as f64 } else { 1.0 };
        if latest.len() == 1 {
            return readings.into_iter().map(|(at, _, value)| (at, value)).collect();
        }
        let mut whole: Course = vec![];
        for (at, source, value) in readings {
            latest.insert(source, Some(value));
            if let Some(sum) = latest.values().copied().sum::<Option<f64>>() {
                // Sources read at one moment are one reading: a sum of new and old ones was never there.
                if whole.last().is_some_and(|(before, _)| *before == at) {
                    whole.pop();
                }
                whole.push((at, sum / parts));
            }
        }
        whole
    }
}

/// Raw series of an engine stand beside its canonical readings.
fn is_canonical(metric: &str) -> bool {
    metric.starts_with("engine.")
}

/// The value that held at a moment.
pub(super) fn at(course: &[(Nanos, f64)], moment: Nanos) -> Option<f64> {
    let until = course.partition_point(|(at, _)| *at <= moment);
    until.checked_sub(1).map(|i| course[i].1)
}

/// By how much a counter grew over the window, by the values that held at its ends.
pub(super) fn grown(course: &[(Nanos, f64)], window: Window) -> Result<f64, &'static str> {
    if course.is_empty() {
        return Err("the engine's metrics do not tell it");
    }
    let from = at(course, window.start).ok_or("it was not read before the window")?;
    let inside = course.iter().filter(|(at, _)| window.start < *at && *at <= window.end);
    let mut last = from;
    for (_, value) in inside {
        if *value < last {
            return Err("its counter fell in the window: the engine was restarted");
        }
        last = *value;
    }
    Ok(last - from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample((at, metric, labels, value): &(i64, &str, &str, f64)) -> Sample {
        Sample {
            at: Nanos::from_secs(*at),
            source: SampleSource::Engine,
            metric: (*metric).into(),
            labels: (*labels).into(),
            value: *value,
        }
    }

    fn check(endpoints: u16, name: &str, readings: &[(i64, &str, f64)], expect: &[(i64, f64)]) {
        let samples: Vec<_> = readings.iter().map(|(at, labels, value)| sample(&(*at, name, labels, *value))).collect();
        let expect: Vec<_> = expect.iter().map(|(at, value)| (Nanos::from_secs(*at), *value)).collect();
        assert_eq!(Readings::new(endpoints, &samples, &[]).course(name), expect, "{readings:?}");
    }

    #[test]
    fn readings_of_endpoints_are_added_up_once_all_are_known() {
        let both =
            [(1, "endpoint=0", 10.0), (2, "endpoint=1", 5.0), (3, "endpoint=0", 20.0), (4, "endpoint=7", 1.0), (5, "endpoint=1", 6.0)];
        check(2, names::GENERATION_TOKENS, &both, &[(2, 15.0), (3, 25.0), (5, 26.0)]);
        check(2, names::KV_USED_FRACTION, &both[..2], &[(2, 7.5)]);
        check(2, names::KV_USED_BYTES, &[(1, "endpoint=0", 10.0), (2, "endpoint=0", 11.0)], &[]);
        check(2, names::KV_USED_BYTES, &[(1, "", 10.0)], &[]);
        check(1, names::RUNNING, &[(1, "", 10.0), (2, "", 11.0)], &[(1, 10.0), (2, 11.0)]);
    }

    #[test]
    fn replicas_behind_one_address_are_added_up_by_page() {
        let pages = [(1, "page=0", 10.0), (1, "page=1", 5.0), (2, "page=1", 6.0), (3, "page=0", 12.0)];
        check(1, names::RUNNING, &pages, &[(1, 15.0), (2, 16.0), (3, 18.0)]);
        check(1, names::RUNNING, &[(1, "page=0", 9.0), (1, "page=1", 0.0), (2, "page=0", 0.0), (2, "page=1", 9.0)], &[(1, 9.0), (2, 9.0)]);
        check(1, names::KV_USED_FRACTION, &[(1, "page=0", 0.5), (1, "page=1", 0.25)], &[(1, 0.375)]);
        let of_two = [(1, "endpoint=0,page=0", 1.0), (1, "page=1,endpoint=0", 2.0), (1, "endpoint=1", 4.0)];
        check(2, names::RUNNING, &of_two, &[(1, 7.0)]);
    }

    #[test]
    fn the_innermost_layer_is_believed_for_the_whole_run() {
        let both = [(1, "layer=gateway,page=0", 9.0), (2, "page=1", 4.0), (3, "layer=gateway,page=0", 9.0), (4, "page=1", 5.0)];
        check(1, names::RUNNING, &both, &[(2, 4.0), (4, 5.0)]);
        check(1, names::RUNNING, &both[..1], &[(1, 9.0)]);
        check(1, names::EXTERNAL_HITS, &[(1, "layer=sidecar", 3.0), (1, "layer=gateway", 2.0)], &[(1, 2.0)]);
    }

    #[test]
    fn buckets_are_in_order_of_their_bounds() {
        let name = format!("{}{}", names::TTFT, names::BUCKET);
        let rows = [("le=10", 3.0), ("le=+Inf", 4.0), ("le=0.5", 1.0), ("le=x", 1.0), ("", 1.0)];
        let samples: Vec<_> = rows.iter().map(|(labels, value)| sample(&(1, &name, labels, *value))).collect();
        let readings = Readings::new(1, &samples, &[]);
        let buckets: Vec<_> = readings.buckets(names::TTFT).into_iter().map(|(bound, course)| (bound, course[0].1)).collect();
        assert_eq!(buckets, [(0.5, 1.0), (10.0, 3.0), (f64::INFINITY, 4.0)]);
    }

    #[test]
    fn a_counter_grows_between_the_values_that_held() {
        let window = Window { start: Nanos::from_secs(10), end: Nanos::from_secs(20) };
        let check = |course: &[(i64, f64)], expect: Result<f64, &str>| {
            let course: Course = course.iter().map(|(at, value)| (Nanos::from_secs(*at), *value)).collect();
            let got = grown(&course, window);
            assert!(
                matches!((got, expect), (Ok(a), Ok(b)) if a == b) || matches!((got, expect), (Err(a), Err(b)) if a.contains(b)),
                "{course:?}: {got:?}"
            );
        };
        check(&[(5, 100.0), (15, 130.0), (25, 150.0)], Ok(30.0));
        check(&[(10, 100.0), (20, 130.0)], Ok(30.0));
        check(&[(1, 7.0)], Ok(0.0)); // told once and unchanged since
        check(&[(11, 100.0), (20, 130.0)], Err("not read before"));
        check(&[(5, 100.0), (12, 3.0), (18, 200.0)], Err("fell"));
        check(&[(1, 50.0), (5, 3.0), (18, 4.0)], Ok(1.0)); // it fell before the window
        check(&[], Err("do not tell"));
    }
}
