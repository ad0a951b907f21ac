//! The load host during the window: how busy it was, by whom, and what held the harness back.
//!
//! A share or a number of cores is about the time since the reading before it; a counter is the difference between two readings.

use super::gauges::series;
use super::row::{Cell, Run};
use crate::report::Window;
use crate::sample::{Sample, names};
use crate::units::Nanos;

const NOT_TOLD: &str = "this host does not tell";
const NOT_READ: &str = "no two readings of the host around the window: give a longer --duration";

/// Share of the cores' time of this host that was at work, for anybody, mean over the window. What a hypervisor took is not in it.
pub fn host_cpu_share(run: &Run<'_>) -> Cell {
    mean(run.host.cpu)
}

/// Share of the cores' time of this host that its hypervisor gave to others while there was work here, mean over the window.
pub fn host_steal_share(run: &Run<'_>) -> Cell {
    mean(run.host.steal)
}

/// Share of the window in which at least one task of this host, anybody's, waited for a core.
pub fn host_cpu_pressure(run: &Run<'_>) -> Cell {
    mean(run.host.pressure)
}

/// Cores used by this process, an engine in it included, mean over the window.
pub fn harness_cpu_cores(run: &Run<'_>) -> Cell {
    mean(run.host.harness_cpu)
}

/// Resident memory of this process, an engine in it included, largest reading of the window.
pub fn harness_resident_peak_bytes(run: &Run<'_>) -> Cell {
    mean(run.host.resident)
}

/// Times per second that a thread of this process was taken off its core while it had work, between the readings around the window.
pub fn harness_involuntary_rate(run: &Run<'_>) -> Cell {
    match run.host.involuntary {
        Told::Value(Grown { by, seconds }, n) => Cell::of(by / seconds, n, "gauge"),
        ref none => absent(none),
    }
}

/// TCP segments that this host sent again, on whatever connection, between the readings around the window.
pub fn tcp_retransmits(run: &Run<'_>) -> Cell {
    match run.host.retransmits {
        Told::Value(Grown { by, .. }, n) => Cell::of(by, n, "gauge"),
        ref none => absent(none),
    }
}

fn mean(told: Told<f64>) -> Cell {
    match told {
        Told::Value(value, n) => Cell::of(value, n, "gauge"),
        none => absent(&none),
    }
}

fn absent<T>(told: &Told<T>) -> Cell {
    Cell::none("gauge", 0, if matches!(told, Told::Never) { NOT_TOLD } else { NOT_READ })
}

/// What readings say of the window.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Told<T> {
    /// A value, from so many readings.
    Value(T, u64),
    /// There are readings, none of which speaks of the window.
    Elsewhere,
    /// There is no reading.
    Never,
}

impl<T: Copy> Told<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        if let Self::Value(value, _) = self { Some(value) } else { None }
    }

    fn of(series: &[(Nanos, f64)], value: Option<(T, u64)>) -> Self {
        match value {
            Some((value, n)) => Self::Value(value, n),
            None if series.is_empty() => Self::Never,
            None => Self::Elsewhere,
        }
    }
}

/// By how much a counter grew, in how long.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Grown {
    /// By how much.
    pub by: f64,
    /// Between readings that were so far apart; never zero.
    pub seconds: f64,
}

/// The load host during the window.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct HostUse {
    cpu: Told<f64>,
    /// Share of time that the hypervisor took.
    pub steal: Told<f64>,
    pressure: Told<f64>,
    harness_cpu: Told<f64>,
    resident: Told<f64>,
    involuntary: Told<Grown>,
    retransmits: Told<Grown>,
    /// Periods in which a CPU quota was used up.
    pub throttled: Told<Grown>,
    /// Times a core was slowed down by heat.
    pub heated: Told<Grown>,
}

impl HostUse {
    /// Reads the samples of a run.
    pub fn new(window: Window, samples: &[Sample]) -> Self {
        let share = |name| {
            let series = series(samples, name);
            Told::of(&series, mean_since(&series, window))
        };
        let counter = |name| {
            let series = series(samples, name);
            Told::of(&series, grown(&series, window))
        };
        let resident = series(samples, names::HARNESS_RSS);
        Self {
            cpu: share(names::HOST_CPU),
            steal: share(names::HOST_STEAL),
            pressure: share(names::HOST_CPU_PRESSURE),
            harness_cpu: share(names::HARNESS_CPU),
            resident: Told::of(&resident, largest(&resident, window)),
            involuntary: counter(names::HARNESS_INVOLUNTARY),
            retransmits: counter(names::HOST_RETRANSMITS),
            throttled: counter(names::HARNESS_THROTTLED),
            heated: counter(names::HOST_THERMAL),
        }
    }
}

/// The length of time that the first reading of a rate is about: the host is read once a second.
const FIRST: Nanos = Nanos::from_secs(1);

/// Mean of a rate over the window, each reading weighted by the time it is about and that lies in the window, and the number of those.
fn mean_since(series: &[(Nanos, f64)], window: Window) -> Option<(f64, u64)> {
    let (mut area, mut time, mut n) = (0.0, 0.0, 0);
    let mut from = series.first()?.0 - FIRST;
    for (at, value) in series {
        let seconds = ((*at).min(window.end) - from.max(window.start)).as_secs_f64();
        if seconds > 0.0 {
            area += value * seconds;
            time += seconds;
            n += 1;
        }
        from = *at;
    }
    (time > 0.0).then(|| (area / time, n))
}

/// The readings around the window: the last up to its start, or the first there is, and the first from its end on, or the last there is.
fn around(series: &[(Nanos, f64)], window: Window) -> &[(Nanos, f64)] {
    let from = series.partition_point(|(at, _)| *at <= window.start).saturating_sub(1);
    let to = (series.partition_point(|(at, _)| *at < window.end) + 1).min(series.len());
    series.get(from..to).unwrap_or_default()
}

/// By how much a counter grew between the readings around the window. A counter that went back tells nothing.
fn grown(series: &[(Nanos, f64)], window: Window) -> Option<(Grown, u64)> {
    let readings = around(series, window);
    let [(from, before), .., (to, after)] = readings else { return None };
    let (by, seconds) = (after - before, (*to - *from).as_secs_f64());
    // Two readings on one side of the window say nothing of it.
    let meets = *from < window.end && *to > window.start;
    (by >= 0.0 && seconds > 0.0 && meets).then_some((Grown { by, seconds }, readings.len() as u64))
}

fn largest(series: &[(Nanos, f64)], window: Window) -> Option<(f64, u64)> {
    let inside = series.iter().filter(|(at, _)| window.start <= *at && *at <= window.end).map(|(_, value)| *value);
    let n = inside.clone().count() as u64;
    inside.reduce(f64::max).map(|value| (value, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: &[(i64, f64)]) -> Vec<(Nanos, f64)> {
        seconds.iter().map(|(at, value)| (Nanos::from_secs(*at), *value)).collect()
    }

    fn window((start, end): (i64, i64)) -> Window {
        Window { start: Nanos::from_secs(start), end: Nanos::from_secs(end) }
    }

    #[test]
    fn a_rate_is_about_the_time_before_it() {
        let check = |series: &[(i64, f64)], of: (i64, i64), expect: Option<(f64, u64)>| {
            assert_eq!(mean_since(&s(series), window(of)), expect, "{series:?} in {of:?}");
        };
        check(&[], (0, 10), None);
        check(&[(1, 0.5)], (0, 10), Some((0.5, 1)));
        check(&[(1, 0.0), (5, 1.0)], (0, 5), Some((0.8, 2)));
        check(&[(1, 9.0), (3, 0.5), (5, 9.0)], (1, 3), Some((0.5, 1)));
        check(&[(1, 9.0), (3, 0.0), (7, 1.0)], (2, 4), Some((0.5, 2))); // half of each
        check(&[(1, 1.0)], (5, 10), None);
        check(&[(1, 1.0)], (1, 1), None);
    }

    #[test]
    fn a_counter_is_read_around_the_window() {
        let check = |series: &[(i64, f64)], of: (i64, i64), expect: Option<(f64, f64, u64)>| {
            let got = grown(&s(series), window(of)).map(|(grown, n)| (grown.by, grown.seconds, n));
            assert_eq!(got, expect, "{series:?} in {of:?}");
        };
        let series = [(0, 100.0), (1, 101.0), (2, 103.0), (3, 106.0), (4, 110.0)];
        check(&series, (1, 3), Some((5.0, 2.0, 3)));
        check(&series, (0, 9), Some((10.0, 4.0, 5)));
        check(&[(0, 5.0), (10, 8.0)], (4, 5), Some((3.0, 10.0, 2)));
        check(&[(0, 8.0), (10, 5.0)], (4, 5), None);
        check(&[(3, 5.0)], (0, 9), None);
        check(&[], (0, 9), None);
        check(&[(0, 1.0), (1, 2.0)], (3, 9), None);
        check(&[(7, 1.0), (8, 2.0)], (3, 5), None);
    }

    #[test]
    fn the_largest_of_the_window() {
        let series = s(&[(0, 9.0), (1, 1.0), (2, 3.0), (3, 2.0), (4, 9.0)]);
        assert_eq!((largest(&series, window((1, 3))), largest(&series, window((5, 6)))), (Some((3.0, 3)), None));
    }

    #[test]
    fn what_is_not_known_says_why() {
        let none = HostUse::new(window((0, 10)), &[]);
        assert_eq!((none.cpu, none.throttled), (Told::Never, Told::Never));
        assert_eq!(mean(none.cpu).reason.as_deref(), Some(NOT_TOLD));
        assert_eq!(mean(Told::Elsewhere).reason.as_deref(), Some(NOT_READ));
    }
}
