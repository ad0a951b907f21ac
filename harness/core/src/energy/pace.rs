//! How finely meters tell, by readings at a quicker pace than their own: what a window can be measured by depends on it.

use super::readings::{Device, readings};
use super::{Meter, Scope};
use crate::sample::Sample;
use crate::units::Nanos;

/// How finely one device of a meter tells.
#[derive(Clone, PartialEq, Debug)]
pub struct Pace {
    /// What it draws.
    pub scope: Scope,
    /// Who read it.
    pub meter: Meter,
    /// Which device.
    pub device: String,
    /// How often it was read.
    pub readings: u64,
    /// Watts as it tells them, mean, least and most; `None` where it tells none.
    pub watts: Option<(f64, f64, f64)>,
    /// Median time from one change of its power to the next; `None` where it changed less than twice.
    pub power_moves: Option<Nanos>,
    /// The same of its energy counter.
    pub counter_moves: Option<Nanos>,
    /// Least growth of its counter, in joules; `None` where it did not grow.
    pub step_j: Option<f64>,
}

/// The devices of `samples`, which are in order of time, by scope, meter and name. Readings of something else are passed over.
pub fn paces(samples: &[Sample]) -> Vec<Pace> {
    let all = readings(samples).into_iter();
    all.flat_map(|((scope, meter), devices)| devices.into_iter().map(move |(name, device)| pace(scope, meter, name, &device))).collect()
}

fn pace(scope: Scope, meter: Meter, name: &str, Device { watts, joules, .. }: &Device) -> Pace {
    let values = || watts.iter().map(|(_, watts)| *watts);
    let all = (!watts.is_empty()).then(|| {
        let (least, most) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), w| (least.min(w), most.max(w)));
        (values().sum::<f64>() / watts.len() as f64, least, most)
    });
    let growth = joules.windows(2).map(|pair| pair[1].1 - pair[0].1).filter(|grown| *grown > 0.0);
    Pace {
        scope,
        meter,
        device: name.to_owned(),
        readings: watts.len().max(joules.len()) as u64,
        watts: all,
        power_moves: moves(watts),
        counter_moves: moves(joules),
        step_j: growth.reduce(f64::min),
    }
}

/// Median time between readings that are others than the one before.
fn moves(series: &[(Nanos, f64)]) -> Option<Nanos> {
    let changes: Vec<Nanos> = series.windows(2).filter(|pair| pair[0].1.to_bits() != pair[1].1.to_bits()).map(|pair| pair[1].0).collect();
    let mut between: Vec<Nanos> = changes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    between.sort_unstable();
    between.get(between.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{SampleSource, names};

    fn sample(ms: i64, metric: &str, device: &str, value: f64) -> Sample {
        let labels = format!("scope=board,meter=nvml,device={device}");
        Sample { at: Nanos::from_millis(ms), source: SampleSource::Power, metric: metric.into(), labels, value }
    }

    #[test]
    fn a_device_moves_at_its_own_pace() {
        let mut samples = vec![];
        // Read every 20 ms; the power is another every 100 ms, the counter every 40 ms and by 6 J, but for a pause.
        for ms in (0..1_000).step_by(20) {
            samples.push(sample(ms, names::POWER_WATTS, "a", [100.0, 140.0][ms as usize / 100 % 2]));
            samples.push(sample(ms, names::POWER_ENERGY, "a", (ms / 40 * 6 + if ms > 500 { 100 } else { 0 }) as f64));
            samples.push(sample(ms, names::POWER_WATTS, "b", 80.0));
        }
        samples.push(Sample { source: SampleSource::Engine, ..sample(5, names::POWER_WATTS, "c", 1.0) });
        samples.push(Sample { labels: "scope=attic,meter=nvml".into(), ..sample(5, names::POWER_WATTS, "d", 1.0) });
        let found = paces(&samples);
        assert_eq!(found.len(), 2);
        let a = &found[0];
        assert_eq!((a.device.as_str(), a.readings, a.watts), ("a", 50, Some((120.0, 100.0, 140.0))));
        assert_eq!((a.power_moves, a.counter_moves), (Some(Nanos::from_millis(100)), Some(Nanos::from_millis(40))));
        assert_eq!(a.step_j, Some(6.0));
        let b = &found[1];
        assert_eq!((b.watts, b.power_moves, b.counter_moves, b.step_j), (Some((80.0, 80.0, 80.0)), None, None, None));
        assert_eq!(paces(&[]), []);
    }
}
