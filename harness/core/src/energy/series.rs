//! The energy of one device over a window, from its power or from its counter. Between readings both are taken to be straight lines.

use super::{Edge, Fault, MAX_EDGES, MAX_GAP, MAX_WRAP_W};
use crate::report::Window;
use crate::units::Nanos;

/// Readings in order of time.
pub(super) type Series = Vec<(Nanos, f64)>;

/// The reading of a moment at which a counter was read several times: the first, which is the lowest but where it started again.
pub(super) fn lowest(values: &[(Nanos, f64)]) -> f64 {
    values.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min)
}

/// The reading of a moment at which power was read several times: their mean, but one that is no power is kept to be told of.
pub(super) fn mean(values: &[(Nanos, f64)]) -> f64 {
    let lowest = lowest(values);
    if lowest < 0.0 { lowest } else { values.iter().map(|(_, value)| value).sum::<f64>() / values.len() as f64 }
}

/// One reading for each moment of `series`, which is in order of time, and the step of its clock where most readings share their moment
/// with another. What a counter grew by between two readings of one moment has no time of its own, and is kept for the next step.
pub(super) fn distinct(series: &[(Nanos, f64)], of_a_moment: fn(&[(Nanos, f64)]) -> f64) -> (Series, Option<Nanos>) {
    let moments = || series.chunk_by(|a, b| a.0 == b.0);
    let one_each: Series = moments().map(|values| (values[0].0, of_a_moment(values))).collect();
    let shared: usize = moments().map(<[_]>::len).filter(|len| *len > 1).sum();
    let tick = one_each.windows(2).map(|pair| pair[1].0 - pair[0].0).min();
    (one_each, tick.filter(|_| 2 * shared > series.len()))
}

/// The step of a meter's clock, where the window is long enough for it. A moment is then known to one step, at either edge.
pub(super) fn edges(device: &str, tick: Option<Nanos>, window: Window) -> Result<Option<Nanos>, Fault> {
    let length = window.end - window.start;
    match tick {
        Some(tick) if 2.0 * tick.as_secs_f64() > MAX_EDGES * length.as_secs_f64() => {
            Err(Fault::Coarse { device: device.to_owned(), tick, window: length })
        }
        tick => Ok(tick),
    }
}

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
/// joules, where that is known and comes to at most [`MAX_WRAP_W`]; within [`MAX_GAP`] it does so at most once. Gives the number of readings too.
pub(super) fn by_counter(device: &str, series: &[(Nanos, f64)], range: Option<f64>, window: Window) -> Result<(f64, u64), Fault> {
    let readings = bracket(device, series, window)?;
    let mut joules = 0.0;
    for pair in readings.windows(2) {
        let ((from, before), (to, after)) = (pair[0], pair[1]);
        let fell = |wrapped_w| Fault::Fell { device: device.to_owned(), from: before, to: after, wrapped_w };
        let grown = match range {
            _ if after >= before => after - before,
            Some(range) if before <= range => {
                let grown = after + range - before;
                let watts = grown / (to - from).as_secs_f64();
                if watts > MAX_WRAP_W {
                    return Err(fell(Some(watts)));
                }
                grown
            }
            _ => return Err(fell(None)),
        };
        let (a, b) = part(from, to, window);
        joules += grown * (b - a);
    }
    Ok((joules, readings.len() as u64))
}
