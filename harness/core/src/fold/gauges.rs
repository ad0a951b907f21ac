//! Readings over time: KV memory, the harness's busiest thread, the engine's own token counter. Of several endpoints the readings are added
//! up, shares averaged ([`super::engine`]).
//!
//! The three figures of KV memory (theoretical, allocated, occupied) are never mixed: where one is derived from another, the
//! row says so.

use super::engine::Readings;
use super::row::{Cell, Run, Tally};
use crate::report::{RunFacts, Window};
use crate::sample::{RunEvent, Sample, names};
use crate::units::Nanos;

const NO_GAUGE: &str = "the endpoint exposes no KV gauge";
const NOT_ALL: &str = "not every endpoint exposes it";
const NO_CAPACITY: &str = "the endpoint does not say how large its KV cache is";
const NO_SHAPE: &str = "the endpoint says how many tokens its KV cache holds and not how many bytes: give --model-config FILE";
const NOT_HELD: &str = "no reading of the KV gauge held for any part of the window: give a longer --duration";

/// Theoretical bytes of KV cache per token, from the model's shape.
pub fn kv_bytes_per_token(run: &Run<'_>) -> Cell {
    match run.facts.geometry {
        Some(geometry) => Cell::of(geometry.bytes_per_token(), 1, "formula"),
        None => Cell::none("formula", 0, NO_GEOMETRY),
    }
}

/// Bytes of KV cache the engine has allocated: its capacity, the latest reading up to the end of the window.
pub fn kv_allocated_bytes(run: &Run<'_>) -> Cell {
    let gauges = &run.gauges;
    match gauges.capacity {
        Some(Capacity { bytes, derived }) => {
            Cell::of(bytes, 1, if derived { "formula" } else { "gauge" }).note(derived.then(|| DERIVED.to_owned()))
        }
        None => Cell::none("gauge", 0, gauges.no_capacity.clone()),
    }
}

/// Bytes of KV cache in use, mean over the window; each reading holds until the next.
pub fn kv_occupied_mean_bytes(run: &Run<'_>) -> Cell {
    occupied(run, |used| used.mean)
}

/// Bytes of KV cache in use, largest reading of the window.
pub fn kv_occupied_peak_bytes(run: &Run<'_>) -> Cell {
    occupied(run, |used| Some(used.peak))
}

/// Share of the KV cache in use, largest reading of the window.
pub fn kv_occupied_peak_frac(run: &Run<'_>) -> Cell {
    let gauges = &run.gauges;
    match (gauges.used_fraction, gauges.used_bytes, gauges.capacity) {
        (Some(used), ..) => Cell::of(used.peak, used.readings, "gauge"),
        (None, Some(used), Some(capacity)) => Cell::of(used.peak / capacity.bytes, used.readings, "gauge"),
        (None, Some(used), None) => Cell::none("gauge", used.readings, gauges.no_capacity.clone()),
        (None, None, _) => Cell::none("gauge", 0, gauges.missing.clone()),
    }
}

/// KV memory that an answered request holds, in bytes × seconds, mean over the requests of the window: the theoretical bytes per token times, of every token, the time from the moment that it is known to be held to the last token. Of the prompt that is the first token, so that prefill and queue are left out and it is a lower bound; shared prefixes count for each.
pub fn kv_request_byte_seconds(run: &Run<'_>, tally: &Tally) -> Cell {
    match run.facts.geometry {
        None => Cell::none("formula", tally.kv_requests, NO_GEOMETRY),
        Some(_) if tally.kv_requests == 0 => Cell::none("formula", 0, "no answered request has its tokens counted"),
        Some(geometry) => {
            let token_seconds = tally.kv_token_ns as f64 / 1e9 / tally.kv_requests as f64;
            Cell::of(token_seconds * geometry.bytes_per_token(), tally.kv_requests, "formula")
        }
    }
}

const NO_GEOMETRY: &str = "the shape of the model's KV cache is not known: it is in the model's config.json";
const DERIVED: &str = "derived: the engine's tokens × theoretical bytes per token";

fn occupied(run: &Run<'_>, of: fn(&Held) -> Option<f64>) -> Cell {
    let gauges = &run.gauges;
    let (used, scale, derived) = match (gauges.used_bytes, gauges.used_fraction, gauges.capacity) {
        (Some(used), ..) => (used, 1.0, false),
        (None, Some(used), Some(capacity)) => (used, capacity.bytes, capacity.derived),
        (None, share, _) => match (gauges.used_tokens, run.facts.geometry, share) {
            (Some(tokens), Some(geometry), _) => (tokens, geometry.bytes_per_token(), true),
            (_, _, Some(used)) => {
                return Cell::none("gauge", used.readings, format!("only a share of the KV cache is known: {}", gauges.no_capacity));
            }
            (Some(tokens), None, None) => return Cell::none("gauge", tokens.readings, NO_SHAPE),
            (None, _, None) => return Cell::none("gauge", 0, gauges.missing.clone()),
        },
    };
    let method = if derived { "formula" } else { "gauge" };
    match of(&used) {
        Some(value) => Cell::of(value * scale, used.readings, method).note(derived.then(|| DERIVED.to_owned())),
        None => Cell::none("gauge", used.readings, NOT_HELD),
    }
}

/// What the readings of a run say.
#[derive(Clone, PartialEq, Debug)]
pub struct Gauges {
    capacity: Option<Capacity>,
    used_bytes: Option<Held>,
    used_fraction: Option<Held>,
    used_tokens: Option<Held>,
    /// Why no reading says how much is in use, when none does.
    missing: String,
    /// Why the capacity is not known, when it is not.
    no_capacity: String,
    /// Cores used by the harness's busiest thread, mean over the window.
    pub busiest_thread: Option<f64>,
    /// First and last reading of the engine's counter of generated tokens.
    pub generated: Option<[(Nanos, f64); 2]>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Capacity {
    bytes: f64,
    /// From its capacity in tokens.
    derived: bool,
}

/// A gauge over the window.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Held {
    /// Weighted by time; `None` when no reading held for any time of the window.
    pub mean: Option<f64>,
    /// The largest.
    pub peak: f64,
    /// How many.
    pub readings: u64,
}

impl Gauges {
    /// Reads the samples of a run.
    pub fn new(facts: &RunFacts, window: Window, samples: &[Sample], readings: &Readings<'_>, events: &[RunEvent]) -> Self {
        let (endpoints, engine) = (facts.endpoints, |name: &str| readings.course(name));
        let held = |name: &str| Held::over(&engine(name), window);
        let read = |of: &[&str]| of.iter().any(|name| !engine(name).is_empty());
        let used = read(&[names::KV_USED_BYTES, names::KV_USED_FRACTION]);
        let failed = events.iter().filter(|e| e.code == "telemetry_failed").min_by_key(|e| (e.at, e.detail.as_str()));
        let without = if endpoints > 1 { format!("{NO_GAUGE}: {NOT_ALL}") } else { NO_GAUGE.to_owned() };
        let no_gauge = failed.map_or(without, |e| format!("the endpoint's metrics could not be read: {}", e.detail));
        let no_capacity = match (read(&[names::KV_CAPACITY_TOKENS]), used) {
            (true, _) if facts.geometry.is_none() => NO_SHAPE.to_owned(),
            (false, false) => no_gauge.clone(),
            _ => NO_CAPACITY.to_owned(),
        };
        Self {
            capacity: Capacity::of(facts, window, readings),
            used_bytes: held(names::KV_USED_BYTES),
            used_fraction: held(names::KV_USED_FRACTION),
            used_tokens: held(names::KV_USED_TOKENS),
            missing: if used { NOT_HELD.to_owned() } else { no_gauge },
            no_capacity,
            busiest_thread: Held::over(&series(samples, names::HARNESS_THREAD), window).and_then(|h| h.mean),
            generated: ends(&engine(names::GENERATION_TOKENS)),
        }
    }
}

impl Capacity {
    fn of(facts: &RunFacts, window: Window, readings: &Readings<'_>) -> Option<Self> {
        // A capacity is often read once, before the window: it is then still the one that holds.
        let latest = |name| {
            let series = readings.course(name);
            series.iter().rev().find(|(at, _)| *at <= window.end).or(series.first()).map(|(_, value)| *value).filter(|v| *v > 0.0)
        };
        let reported = latest(names::KV_CAPACITY_BYTES).map(|bytes| Self { bytes, derived: false });
        reported.or_else(|| Some(Self { bytes: latest(names::KV_CAPACITY_TOKENS)? * facts.geometry?.bytes_per_token(), derived: true }))
    }
}

impl Held {
    /// Over a window; nothing where no reading is of it.
    pub fn over(series: &[(Nanos, f64)], window: Window) -> Option<Self> {
        let before = series.partition_point(|(at, _)| *at <= window.start).saturating_sub(1);
        let until = series.partition_point(|(at, _)| *at <= window.end);
        let inside = series.get(before..until).filter(|s| !s.is_empty())?;
        let ends = inside.iter().skip(1).map(|(at, _)| *at).chain([window.end]);
        let (mut area, mut time) = (0.0, 0.0);
        for ((at, value), end) in inside.iter().zip(ends) {
            let seconds = (end - (*at).max(window.start)).as_secs_f64().max(0.0);
            area += value * seconds;
            time += seconds;
        }
        let peak = inside.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
        Some(Self { mean: (time > 0.0).then(|| area / time), peak, readings: inside.len() as u64 })
    }
}

/// The readings of one canonical name in order of time.
pub(super) fn series(samples: &[Sample], name: &str) -> Vec<(Nanos, f64)> {
    let of_name = samples.iter().filter(|s| s.metric == name && s.labels.is_empty() && s.value.is_finite());
    let mut series: Vec<_> = of_name.map(|s| (s.at, s.value)).collect();
    series.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    series
}

/// The first and the last of a course, where there are two.
pub(super) fn ends(series: &[(Nanos, f64)]) -> Option<[(Nanos, f64); 2]> {
    match series {
        [first, .., last] => Some([*first, *last]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_holds_until_the_next() {
        let s = Nanos::from_secs;
        let check = |series: &[(i64, f64)], window: (i64, i64), expect: Option<(Option<f64>, f64, u64)>| {
            let series: Vec<_> = series.iter().map(|(at, v)| (s(*at), *v)).collect();
            let held = Held::over(&series, Window { start: s(window.0), end: s(window.1) });
            assert_eq!(held.map(|h| (h.mean, h.peak, h.readings)), expect, "{series:?} in {window:?}");
        };
        check(&[], (0, 10), None);
        check(&[(0, 4.0)], (0, 10), Some((Some(4.0), 4.0, 1)));
        check(&[(0, 4.0), (5, 8.0)], (0, 10), Some((Some(6.0), 8.0, 2)));
        check(&[(-9, 100.0), (-5, 4.0), (8, 9.0), (20, 50.0)], (0, 10), Some((Some(5.0), 9.0, 2))); // it holds into the window
        check(&[(5, 2.0)], (0, 10), Some((Some(2.0), 2.0, 1))); // nothing is known before it
        check(&[(11, 2.0)], (0, 10), None);
        check(&[(3, 2.0)], (3, 3), Some((None, 2.0, 1)));
    }
}
