//! Power meters of this host: management libraries of accelerators, loaded where they are installed, and files of the kernel.
//!
//! What is there is a [`Telemetry`] whose samples are labelled with scope, meter and device; what is not there has a reason and a remedy.
//! Nothing is set, and nothing is read but power and energy. A library stays loaded for the rest of the process: drivers register
//! functions that run at exit. Which meters speak of the engine is the caller's to know: those of this host say nothing of an engine on
//! another one.

mod amdsmi;
mod hwmon;
mod library;
mod look;
mod meters;
mod nvml;
mod rapl;
mod thread;

pub use look::find;
pub use meters::Meters;
pub(crate) use meters::watch;

use nomoat_core::backend::Telemetry;
use nomoat_core::energy::{Meter, Scope};
use nomoat_core::sample::{Sample, SampleSource, label_value, names};
use nomoat_core::units::Nanos;
use std::path::{Path, PathBuf};

/// The meters of a host that can be asked for by name, in the order in which they are looked for.
pub const HOST_METERS: [Meter; 4] = [Meter::Nvml, Meter::AmdSmi, Meter::Hwmon, Meter::Rapl];

/// Where to look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PowerPlaces {
    /// The kernel's folder of attributes; `/sys` but for tests.
    pub sys: PathBuf,
    /// Devices to read, by their name or a part of it that only they have; all where there is none.
    pub devices: Vec<String>,
}

impl Default for PowerPlaces {
    fn default() -> Self {
        Self { sys: "/sys".into(), devices: vec![] }
    }
}

/// A meter that is there.
pub struct PowerMeter {
    /// Which.
    pub meter: Meter,
    /// What its devices draw.
    pub scope: Scope,
    /// Its devices.
    pub devices: Vec<String>,
    /// How they are read.
    pub telemetry: Box<dyn Telemetry>,
}

/// A meter that is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoMeter {
    /// Why.
    pub why: String,
    /// What to try; empty where there is nothing to.
    pub remedy: String,
}

impl NoMeter {
    fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: remedy.into() }
    }
}

/// Looks for a meter of this host, and asks each of its devices once.
///
/// # Errors
/// Why it is not there, or is there and cannot be read.
fn look(meter: Meter, places: &PowerPlaces) -> Result<PowerMeter, NoMeter> {
    let (scope, found) = match meter {
        Meter::Nvml => (Scope::Board, nvml::find()?),
        Meter::AmdSmi => (Scope::Board, amdsmi::find()?),
        Meter::Hwmon => (Scope::Board, hwmon::find(&places.sys)?),
        Meter::Rapl => (Scope::Package, rapl::find(&places.sys)?),
        Meter::Csv | Meter::Exporter => {
            return Err(NoMeter::new("it is no meter of this host", "give --power FILE.csv or --power-url URL"));
        }
    };
    let all: Vec<String> = found.iter().map(|device| device.name()).collect();
    let devices = if scope == Scope::Board { chosen(found, &all, &places.devices)? } else { found };
    let names = devices.iter().map(|device| device.name()).collect();
    Ok(PowerMeter { meter, scope, devices: names, telemetry: Box::new(thread::Devices::new(meter, scope, devices)?) })
}

/// One device of a meter.
trait Device: Send {
    /// Its name, the same at every start.
    fn name(&self) -> String;
    /// What it says now.
    ///
    /// # Errors
    /// Why it says nothing.
    fn read(&self) -> Result<Reading, String>;
}

/// What a device says at one moment; of the two at least one.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Reading {
    watts: Option<f64>,
    joules: Option<f64>,
    /// After how many joules its counter starts again.
    range: Option<f64>,
}

type Found = Vec<Box<dyn Device>>;

/// The devices that are asked for; all where none is.
fn chosen(found: Found, all: &[String], wanted: &[String]) -> Result<Found, NoMeter> {
    let mut keep = vec![wanted.is_empty(); all.len()];
    for want in wanted {
        let named = |name: &&String| name.split_once('/').is_some_and(|(index, id)| index == want || id == want) || *name == want;
        let at: Vec<usize> = all.iter().enumerate().filter(|(_, name)| named(name)).map(|(i, _)| i).collect();
        let at = if at.is_empty() {
            all.iter().enumerate().filter(|(_, name)| name.contains(want.as_str())).map(|(i, _)| i).collect()
        } else {
            at
        };
        let [one] = at[..] else {
            let why = if at.is_empty() { "none" } else { "several" };
            let why = format!("{why} of its devices is called `{want}`");
            return Err(NoMeter::new(why, format!("--energy-devices takes numbers or identities of {}", all.join(", "))));
        };
        keep[one] = true;
    }
    Ok(found.into_iter().zip(keep).filter(|(_, keep)| *keep).map(|(device, _)| device).collect())
}

/// Readings of one device as samples, whose moment is the sampler's. `range` is the joules after which the counter starts again.
pub fn power_samples(
    scope: Scope,
    meter: Meter,
    device: &str,
    watts: Option<f64>,
    joules: Option<f64>,
    range: Option<f64>,
) -> impl Iterator<Item = Sample> {
    let labels = format!(
        "{}={},{}={},{}={}",
        names::POWER_SCOPE,
        scope.name(),
        names::POWER_METER,
        meter.name(),
        names::POWER_DEVICE,
        label_value(device)
    );
    let with_range = range.map_or_else(|| labels.clone(), |range| format!("{labels},{}={range}", names::POWER_RANGE));
    let sample =
        |metric: &str, labels, value| Sample { at: Nanos::ZERO, source: SampleSource::Power, metric: metric.into(), labels, value };
    let watts = watts.map(|watts| sample(names::POWER_WATTS, labels, watts));
    watts.into_iter().chain(joules.map(|joules| sample(names::POWER_ENERGY, with_range, joules)))
}

/// The text of one of the kernel's files, without its end of line.
///
/// # Errors
/// What the system said.
fn attribute(path: &Path) -> std::io::Result<String> {
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

/// A whole number in one of the kernel's files.
///
/// # Errors
/// The path and what is wrong.
fn number(path: &Path) -> Result<u64, String> {
    let text = attribute(path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.parse().map_err(|_| format!("{}: `{}` is no number", path.display(), text.chars().take(40).collect::<String>()))
}

/// The entries of a folder in the order of their names; `None` where there is no such folder.
fn entries(folder: &Path) -> Option<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    Some(entries)
}

#[cfg(test)]
mod tests;
