//! The energy of one device over a window, from its power or from its counter. Between readings both are taken to be straight lines.

use super::{Edge, Fault, MAX_GAP};
use crate::report::Window;
use crate::units::Nanos;

/// Readings in order of time.
pub(super) type Series = Vec<(Nanos, f64)>;

/// The readings that a window is measured by: from the last up to its start to the first from its end on.
fn bracket<'a>(device: &str, series: &'a [(Nanos, f64)], window: Window) -> Result<&'a [(Nanos, f64)], Fault> {
    let inside: Vec<Nanos> = series.iter().map(|(at, _)| *at).filter(|at| window.start <= *at && *at <= window.end).collect();
    let missing = |edge, by| Fault::NotBracketed { device: device.to_owned(), edge, by };
    let from = series.partition_point(|(at, _)| *at <= window.start).checked_sub(1);
    let from = from.ok_or_else(|| missing(Edge::Start, inside.first().map(|at| *at - window.start)))?;
    let to = series.partition_point(|(at, _)| *at < window.end);
    if to == series.len() {
        return Err(missing(Edge::End, inside.last().map(|at| window.end - *at)));
    }
    let readings = &series[from..=to];
    match readings.windows(2).map(|pair| pair[1].0 - pair[0].0).max() {
        Some(gap) if gap > MAX_GAP => Err(Fault::Gap { device: device.to_owned(), gap }),
        _ => Ok(readings),
    }
}

/// The part of a step from one reading to the next that lies in the window, as shares of the step.
fn part(from: Nanos, to: Nanos, window: Window) -> (f64, f64) {
    let seconds = (to - from).as_secs_f64();
    let share = |at: Nanos| (at.max(from).min(to) - from).as_secs_f64() / seconds;
    if seconds > 0.0 { (share(window.start), share(window.end)) } else { (0.0, 0.0) }
}

/// Joules by power in watts: the area under straight lines between readings, interpolated at the window's edges. Gives the number of
/// readings too.
pub(super) fn by_power(device: &str, series: &[(Nanos, f64)], window: Window) -> Result<(f64, u64), Fault> {
    let readings = bracket(device, series, window)?;
    if let Some((_, watts)) = readings.iter().find(|(_, watts)| *watts < 0.0) {
        return Err(Fault::NotPower { device: device.to_owned(), watts: *watts });
    }
    let joules = readings.windows(2).map(|pair| {
        let ((from, before), (to, after)) = (pair[0], pair[1]);
        let (a, b) = part(from, to, window);
        let at = |share: f64| before + (after - before) * share;
        f64::midpoint(at(a), at(b)) * (b - a) * (to - from).as_secs_f64()
    });
    Ok((joules.sum(), readings.len() as u64))
}

/// Joules by a counter in joules: its growth, interpolated at the window's edges. One that falls has started again at zero after `range`
/// joules, where that is known; within [`MAX_GAP`] it does so at most once. Gives the number of readings too.
pub(super) fn by_counter(device: &str, series: &[(Nanos, f64)], range: Option<f64>, window: Window) -> Result<(f64, u64), Fault> {
    let readings = bracket(device, series, window)?;
    let mut joules = 0.0;
    for pair in readings.windows(2) {
        let ((from, before), (to, after)) = (pair[0], pair[1]);
        let grown = match range {
            _ if after >= before => after - before,
            Some(range) if before <= range => after + range - before,
            _ => return Err(Fault::Fell { device: device.to_owned(), from: before, to: after }),
        };
        let (a, b) = part(from, to, window);
        joules += grown * (b - a);
    }
    Ok((joules, readings.len() as u64))
}
