//! The readings of a run, device by device.

use super::series::Series;
use super::{Meter, Scope};
use crate::sample::{Sample, SampleSource, names};
use crate::units::Nanos;
use std::collections::BTreeMap;

/// Readings of one device.
#[derive(Default)]
pub(super) struct Device {
    pub watts: Series,
    pub joules: Series,
    /// The largest value of the counter.
    pub range: Option<f64>,
    /// The step of the clock that stamped them, where it was told.
    pub step: Option<Nanos>,
}

/// What was read of power and energy, in the order of `samples`, by scope and meter and then by device. Readings of something else, and
/// those that are no number, are passed over.
pub(super) fn readings(samples: &[Sample]) -> BTreeMap<(Scope, Meter), BTreeMap<&str, Device>> {
    let mut read: BTreeMap<(Scope, Meter), BTreeMap<&str, Device>> = BTreeMap::new();
    for sample in samples.iter().filter(|s| s.source == SampleSource::Power && s.value.is_finite()) {
        let scope = sample.label(names::POWER_SCOPE).and_then(Scope::find);
        let meter = sample.label(names::POWER_METER).and_then(Meter::find);
        let (Some(scope), Some(meter)) = (scope, meter) else { continue };
        let device = read.entry((scope, meter)).or_default().entry(sample.label(names::POWER_DEVICE).unwrap_or_default()).or_default();
        let step = sample.label(names::POWER_STEP).and_then(|step| step.parse().ok()).filter(|step: &f64| step.is_finite() && *step > 0.0);
        device.step = device.step.max(step.map(Nanos::from_secs_f64));
        match sample.metric.as_str() {
            names::POWER_WATTS => device.watts.push((sample.at, sample.value)),
            names::POWER_ENERGY => {
                device.joules.push((sample.at, sample.value));
                device.range = sample.label(names::POWER_RANGE).and_then(|range| range.parse().ok());
            }
            _ => {}
        }
    }
    read
}
