//! What the engine says of itself over the window: its queue, its prefix cache, its preemptions, its own latencies.
//!
//! Its own latencies begin where it likes (at tokenisation, at the receipt) and are counts in wide buckets: they are
//! never set beside the client's, never compared across engines, and every quantile says how wide its bucket is.

use super::engine::{Course, Readings, at, grown};
use super::gauges::Held;
use super::row::{Cell, Run};
use crate::report::Window;
use crate::sample::names;
use crate::stats::{LEVEL, min_observations};
use crate::units::Nanos;

const NOT_TOLD: &str = "the engine's metrics do not tell it";
const NOT_HELD: &str = "no reading held for any part of the window: give a longer --duration";
const FELL: &str = "a counter fell in the window: the engine was restarted";

/// Requests that the engine was working on, mean over the window; each reading holds until the next.
pub fn server_running_mean(run: &Run<'_>) -> Cell {
    mean(run.server.running)
}

/// Requests that the engine was working on, largest reading of the window.
pub fn server_running_peak(run: &Run<'_>) -> Cell {
    peak(run.server.running)
}

/// Requests that waited in the engine, mean over the window; each reading holds until the next.
pub fn server_waiting_mean(run: &Run<'_>) -> Cell {
    mean(run.server.waiting)
}

/// Requests that waited in the engine, largest reading of the window.
pub fn server_waiting_peak(run: &Run<'_>) -> Cell {
    peak(run.server.waiting)
}

/// Share of the prompt tokens looked up in the engine's prefix cache during the window that were found there, by its counters.
pub fn prefix_hit_rate(run: &Run<'_>) -> Cell {
    share(&run.server.prefix)
}

/// Share of the prompt tokens looked up in a cache outside the engine during the window that were found there, by its counters.
pub fn external_hit_rate(run: &Run<'_>) -> Cell {
    share(&run.server.external)
}

/// Prompt tokens that the engine counted during the window, whoever asked. V07 holds its count of the whole run against the answers' usage.
pub fn server_prompt_tokens(run: &Run<'_>) -> Cell {
    total(&run.server.prompt_tokens)
}

/// Tokens that the engine counted as generated during the window, whoever asked. V07 holds its count of the whole run against the answers' usage.
pub fn server_generation_tokens(run: &Run<'_>) -> Cell {
    total(&run.server.generation_tokens)
}

/// Requests that the engine preempted during the window, by its counter.
pub fn preemptions(run: &Run<'_>) -> Cell {
    total(&run.server.preemptions)
}

/// Bytes of KV that were moved between instances or tiers of memory during the window, by the engine's counter.
pub fn kv_transfer_bytes(run: &Run<'_>) -> Cell {
    total(&run.server.transfer_bytes)
}

/// Time spent moving KV during the window, added up over transfers, by the engine's counter.
pub fn kv_transfer_time(run: &Run<'_>) -> Cell {
    total(&run.server.transfer_seconds)
}

/// TTFT as the engine sees it, of requests whose first token came in the window: from the growth of its histogram, interpolated in a bucket whose width is told. Never comparable with the client's TTFT or with another engine's.
pub fn server_ttft(run: &Run<'_>, q: f64) -> Cell {
    quantile(&run.server.ttft, q)
}

/// Time between tokens as the engine sees it: from the growth of its histogram over the window, interpolated in a bucket whose width is told.
pub fn server_itl(run: &Run<'_>, q: f64) -> Cell {
    quantile(&run.server.itl, q)
}

/// Time that requests waited in the engine, as it sees it: from the growth of its histogram over the window, interpolated in a bucket whose width is told.
pub fn server_queue(run: &Run<'_>, q: f64) -> Cell {
    quantile(&run.server.queue, q)
}

/// Time of prefill as the engine sees it: from the growth of its histogram over the window, interpolated in a bucket whose width is told.
pub fn server_prefill(run: &Run<'_>, q: f64) -> Cell {
    quantile(&run.server.prefill, q)
}

fn mean(held: Option<Held>) -> Cell {
    match held {
        None => Cell::none("gauge", 0, NOT_TOLD),
        Some(held) => held.mean.map_or_else(|| Cell::none("gauge", held.readings, NOT_HELD), |mean| Cell::of(mean, held.readings, "gauge")),
    }
}

fn peak(held: Option<Held>) -> Cell {
    held.map_or_else(|| Cell::none("gauge", 0, NOT_TOLD), |held| Cell::of(held.peak, held.readings, "gauge"))
}

fn total(growth: &Growth) -> Cell {
    match growth {
        Ok(by) => Cell::of(*by, 1, "gauge"),
        Err(why) => Cell::none("gauge", 0, *why),
    }
}

fn share((found, looked_up): &(Growth, Growth)) -> Cell {
    match (found, looked_up) {
        (Ok(_), Ok(0.0)) => Cell::none("gauge", 0, "nothing was looked up in the window"),
        (Ok(found), Ok(looked_up)) => Cell::of(found / looked_up, *looked_up as u64, "gauge"),
        (Err(why), _) | (_, Err(why)) => Cell::none("gauge", 0, *why),
    }
}

/// By how much a counter grew, or why that is not known.
type Growth = Result<f64, &'static str>;

/// Of a histogram, by how much each bucket grew, by its upper bound, without those before it; or why that is not known.
type Buckets = Result<Vec<(f64, f64)>, &'static str>;

/// What the engine says of the window.
#[derive(Clone, PartialEq, Debug)]
pub struct Server {
    running: Option<Held>,
    waiting: Option<Held>,
    prefix: (Growth, Growth),
    external: (Growth, Growth),
    prompt_tokens: Growth,
    generation_tokens: Growth,
    preemptions: Growth,
    transfer_bytes: Growth,
    transfer_seconds: Growth,
    ttft: Buckets,
    itl: Buckets,
    queue: Buckets,
    prefill: Buckets,
    /// First and last reading of the engine's counter of prompt tokens.
    pub prompts: Option<[(Nanos, f64); 2]>,
    /// First and last reading of what was found in the prefix cache, and of what was looked up.
    pub cached: Option<[[(Nanos, f64); 2]; 2]>,
    /// When a counter fell.
    pub fell: Vec<Nanos>,
}

impl Server {
    /// Reads the engine's readings of a run.
    pub fn new(window: Window, readings: &Readings<'_>) -> Self {
        let held = |name| Held::over(&readings.course(name), window);
        let fell = readings.fell(window.start, window.end);
        let growth = |name| if fell { Err(FELL) } else { grown(&readings.course(name), window) };
        let buckets = |name| if fell { Err(FELL) } else { buckets(&readings.buckets(name), window) };
        let ends = |name| super::gauges::ends(&readings.course(name));
        Self {
            running: held(names::RUNNING),
            waiting: held(names::WAITING),
            prefix: (growth(names::PREFIX_HITS), growth(names::PREFIX_QUERIES)),
            external: (growth(names::EXTERNAL_HITS), growth(names::EXTERNAL_QUERIES)),
            prompt_tokens: growth(names::PROMPT_TOKENS),
            generation_tokens: growth(names::GENERATION_TOKENS),
            preemptions: growth(names::PREEMPTIONS),
            transfer_bytes: growth(names::KV_TRANSFER_BYTES),
            transfer_seconds: growth(names::KV_TRANSFER_SECONDS),
            ttft: buckets(names::TTFT),
            itl: buckets(names::ITL),
            queue: buckets(names::QUEUE),
            prefill: buckets(names::PREFILL),
            prompts: ends(names::PROMPT_TOKENS),
            cached: ends(names::PREFIX_HITS).zip(ends(names::PREFIX_QUERIES)).map(|(hits, queries)| [hits, queries]),
            fell: readings.falls().to_vec(),
        }
    }
}

fn buckets(courses: &[(f64, Course)], window: Window) -> Buckets {
    if courses.last().is_none_or(|(bound, _)| bound.is_finite()) {
        return Err(NOT_TOLD);
    }
    let mut before = 0.0;
    let mut counts = vec![];
    for (bound, course) in courses {
        if at(course, window.start).is_none() {
            return Err("it was not read before the window");
        }
        let up_to = grown(course, window)?;
        if up_to < before {
            return Err("its buckets contradict each other");
        }
        counts.push((*bound, up_to - before));
        before = up_to;
    }
    Ok(counts)
}

/// A quantile of counts in buckets: the nearest rank, at its place between the bounds of its bucket.
fn quantile(buckets: &Buckets, q: f64) -> Cell {
    let counts = match buckets {
        Ok(counts) => counts,
        Err(why) => return Cell::none("bucket", 0, *why),
    };
    let n = counts.iter().map(|(_, count)| count).sum::<f64>();
    if n < 1.0 {
        return Cell::none("bucket", 0, "the engine counted none in the window");
    }
    let needs = min_observations(q, LEVEL);
    if q > 0.5 && n < needs as f64 {
        return Cell::none("bucket", n as u64, format!("needs n ≥ {needs}, has {n:.0}"));
    }
    let rank = libm::ceil(q * n).max(1.0);
    let (mut below, mut lower) = (0.0, 0.0);
    for (upper, count) in counts {
        if below + count >= rank {
            if upper.is_infinite() {
                let why = format!("above the largest bound of the engine's buckets, {}", shown(lower));
                return Cell::none("bucket", n as u64, why);
            }
            let value = lower + (upper - lower) * ((rank - below) / count);
            let note = format!("in a bucket {} wide, from {} to {}", shown(upper - lower), shown(lower), shown(*upper));
            return Cell::of(value * 1e9, n as u64, "bucket").note(Some(note));
        }
        (below, lower) = (below + count, *upper);
    }
    Cell::none("bucket", n as u64, "its buckets contradict each other")
}

/// Seconds for people.
fn shown(seconds: f64) -> String {
    Nanos((seconds * 1e9) as i64).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_their_buckets_and_say_how_wide_these_are() {
        let check = |counts: &[(f64, f64)], q: f64, value: Option<f64>, reason: &str| {
            let cell = quantile(&Ok(counts.to_vec()), q);
            let near = match (cell.value, value) {
                (Some(a), Some(b)) => (a - b).abs() < 1.0,
                (a, b) => a == b,
            };
            assert!(near && cell.reason.as_deref().unwrap_or("").contains(reason), "{counts:?} {q}: {cell:?}");
        };
        let inf = f64::INFINITY;
        check(&[(0.1, 10.0), (0.3, 10.0), (inf, 0.0)], 0.5, Some(100e6), "in a bucket 100 ms wide, from 0 ns to 100 ms");
        check(&[(0.1, 5.0), (0.3, 10.0), (inf, 0.0)], 0.5, Some(160e6), "200 ms wide, from 100 ms to 300 ms");
        check(&[(0.1, 0.0), (inf, 3.0)], 0.5, None, "above the largest bound of the engine's buckets, 100 ms");
        check(&[(0.1, 0.0), (inf, 0.0)], 0.5, None, "counted none");
        check(&[(0.1, 100.0), (inf, 0.0)], 0.99, None, "needs n ≥ 368, has 100");
        check(&[(0.1, 1000.0), (inf, 0.0)], 0.99, Some(99e6), "100 ms wide");
    }

    #[test]
    fn a_histogram_is_read_as_its_growth() {
        let s = Nanos::from_secs;
        let window = Window { start: s(10), end: s(20) };
        let course = |values: &[(i64, f64)]| values.iter().map(|(at, v)| (s(*at), *v)).collect::<Course>();
        // Five before the window in the first bucket; in it two and three.
        let told = [(0.1, course(&[(0, 5.0), (15, 7.0)])), (f64::INFINITY, course(&[(0, 5.0), (15, 7.0), (16, 10.0), (21, 99.0)]))];
        assert_eq!(buckets(&told, window), Ok(vec![(0.1, 2.0), (f64::INFINITY, 3.0)]));
        assert_eq!(buckets(&told[..1], window), Err(NOT_TOLD), "without a count of all");
        assert_eq!(buckets(&[], window), Err(NOT_TOLD));
        assert!(buckets(&[(f64::INFINITY, course(&[(11, 5.0)]))], window).is_err_and(|why| why.contains("before the window")));
        assert!(buckets(&[(f64::INFINITY, course(&[(1, 5.0), (12, 1.0)]))], window).is_err_and(|why| why.contains("restarted")));
    }

    #[test]
    fn shares_of_nothing_have_a_reason() {
        let check = |pair: (Growth, Growth), value: Option<f64>, reason: &str| {
            let cell = share(&pair);
            assert_eq!((cell.value, cell.reason.as_deref().unwrap_or("").contains(reason)), (value, true), "{pair:?}");
        };
        check((Ok(30.0), Ok(120.0)), Some(0.25), "");
        check((Ok(0.0), Ok(0.0)), None, "nothing was looked up");
        check((Err(NOT_TOLD), Ok(120.0)), None, "do not tell");
        check((Ok(1.0), Err(FELL)), None, "restarted");
    }
}
