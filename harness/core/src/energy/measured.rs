//! From the readings of a run to the energy of its window, scope by scope.

use super::readings::{Device, readings};
use super::series::{by_counter, by_power, distinct, edges, lowest, mean};
use super::{EnergyFacts, Fault, Job, MAX_DISAGREEMENT, MAX_EDGES, MAX_GAP, Meter, Scope};
use crate::report::Window;
use crate::sample::Sample;
use crate::units::Nanos;
use std::collections::BTreeMap;

/// How joules were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// The growth of energy counters.
    Counter,
    /// Power, integrated by trapezoids.
    Trapezoid,
    /// The energy of a job that is the window but for [`MAX_GAP`] at either edge and [`MAX_EDGES`] of it.
    Job,
    /// Provisioned power times time: nothing was measured.
    Formula,
}

impl Method {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        ["counter", "trapezoid", "job", "formula"][self as usize]
    }
}

/// The energy of a window.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// Joules of all devices.
    pub joules: f64,
    /// Of how many devices; none where nothing was measured.
    pub devices: u32,
    /// From how many readings, over all of them.
    pub readings: u64,
    /// How.
    pub method: Method,
    /// By whom; `None` for a batch system's and the user's word.
    pub meter: Option<Meter>,
    /// Whether it was held against how many devices there are.
    pub counted: bool,
    /// By how much either edge of the window is unknown, where a meter's clock ticks more rarely than it was read or writes whole seconds.
    pub tick: Option<Nanos>,
    /// Of how many of the devices it is nothing: a board of several parts is told at one of them, others have a counter that does not count.
    pub still: u32,
    /// Another meter of as many devices of the scope that tells more than [`MAX_DISAGREEMENT`] more or less, and its joules.
    pub other: Option<(Meter, f64)>,
}

impl Measured {
    /// Joules by a method, of which nothing else is known.
    fn of(joules: f64, method: Method) -> Self {
        Self { joules, devices: 0, readings: 0, method, meter: None, counted: false, tick: None, still: 0, other: None }
    }
}

/// The energy of `window` in every scope that was read or told, or why there is none. The scope the user named comes first, whether it
/// was read or not; the others follow in the order of [`Scope::ALL`]. `boards` is how many accelerators the engine has, where known.
pub fn measured(facts: &EnergyFacts, boards: Option<u32>, window: Window, samples: &[Sample]) -> Vec<(Scope, Result<Measured, Fault>)> {
    let mut found: Vec<(Scope, Result<Measured, Fault>)> = vec![];
    for ((scope, meter), devices) in readings(samples) {
        let expected = match scope {
            Scope::Board => boards,
            Scope::Package => facts.packages,
            Scope::Node | Scope::Wall | Scope::Provisioned => None,
        };
        let energy = of_devices(scope, meter, devices, expected, window);
        // The map is in order of scope and then of belief: the first of a scope is the one. What others say of as many devices is no
        // number of its own, and no reason against the first, but is not kept from the reader where it is another.
        match (found.last_mut().filter(|(last, _)| *last == scope), energy) {
            (None, energy) => found.push((scope, energy)),
            (Some((_, Ok(first))), Ok(other)) if first.devices == other.devices && first.other.is_none() => {
                let apart = (other.joules - first.joules).abs() > MAX_DISAGREEMENT * first.joules.abs();
                first.other = apart.then_some((meter, other.joules));
            }
            _ => {}
        }
    }
    if let Some(job) = facts.job.as_ref().filter(|_| found.iter().all(|(scope, _)| *scope != Scope::Node)) {
        found.push((Scope::Node, of_job(job, window)));
    }
    if let Some(watts) = facts.provisioned_w {
        found.push((Scope::Provisioned, provisioned(watts, window)));
    }
    found.sort_by_key(|(scope, _)| (facts.scope != Some(*scope), *scope));
    found
}

fn of_devices(
    scope: Scope,
    meter: Meter,
    devices: BTreeMap<&str, Device>,
    expected: Option<u32>,
    window: Window,
) -> Result<Measured, Fault> {
    if window.seconds() <= 0.0 {
        return Err(Fault::NoWindow);
    }
    let found = devices.len() as u32;
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(Fault::Devices { found, expected, scope });
    }
    let mut sum = Measured { devices: found, meter: Some(meter), counted: expected.is_some(), ..Measured::of(0.0, Method::Counter) };
    for (name, mut device) in devices {
        let name = if name.is_empty() { "the meter" } else { name };
        for (series, of_a_moment) in [(&mut device.watts, mean as fn(&[_]) -> f64), (&mut device.joules, lowest)] {
            series.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            let (one_each, tick) = distinct(series, of_a_moment);
            *series = one_each;
            sum.tick = sum.tick.max(edges(name, tick.max(device.step), window)?);
        }
        let counter = (!device.joules.is_empty()).then(|| by_counter(name, &device.joules, device.range, window)).transpose()?;
        let power = (!device.watts.is_empty()).then(|| by_power(name, &device.watts, window)).transpose()?;
        if let (Some((counter, _)), Some((power, _))) = (counter, power)
            && (power - counter).abs() > MAX_DISAGREEMENT * counter.abs()
        {
            return Err(Fault::Disagree { device: name.to_owned(), counter, power });
        }
        if counter.is_none() {
            sum.method = Method::Trapezoid;
        }
        // A device has at least one reading, so one of the two is there.
        let (joules, readings) = counter.or(power).unwrap_or_default();
        sum.joules += joules;
        sum.readings += readings;
        sum.still += u32::from(joules == 0.0);
    }
    // What is on draws something. Where nobody counts any of it that is no number but a meter that does not count.
    if sum.still == sum.devices { Err(Fault::Still { meter, devices: found }) } else { Ok(sum) }
}

/// A job is one number: it is the window's where both its edges are next to the window's, and what lies between them, with the second to
/// which a batch system's times are known at either edge, is no more of the window than a meter's clock may leave unknown.
fn of_job(job: &Job, window: Window) -> Result<Measured, Fault> {
    let before = window.start - job.start;
    let after = job.end - window.end;
    let near = |part: Nanos| part.0 >= 0 && part <= MAX_GAP;
    let lasted = job.end - job.start;
    let unknown = (before + after).as_secs_f64() + 2.0;
    if near(before) && near(after) && unknown <= MAX_EDGES * window.seconds() {
        let joules = job.joules * window.seconds() / lasted.as_secs_f64();
        return Ok(Measured { devices: job.nodes.unwrap_or(1), readings: 2, ..Measured::of(joules, Method::Job) });
    }
    let holds = before.0 >= 0 && after.0 >= 0;
    Err(Fault::WholeJob { job: job.id.clone(), lasted, watts: job.joules / lasted.as_secs_f64(), holds })
}

fn provisioned(watts: f64, window: Window) -> Result<Measured, Fault> {
    if window.seconds() <= 0.0 {
        return Err(Fault::NoWindow);
    }
    Ok(Measured::of(watts * window.seconds(), Method::Formula))
}
