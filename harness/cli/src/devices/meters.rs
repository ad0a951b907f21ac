//! The power meters of this host, and why the others are not there.

use nomoat_core::energy::Meter;
use nomoat_drive::power::{self, HOST_METERS, NoMeter, PowerMeter, PowerPlaces};
use serde_json::json;
use std::fmt::Write as _;

/// A power meter of this host, or why it is not there.
pub type Metered = (Meter, Result<PowerMeter, NoMeter>);

/// Every meter that `nomoat run` can read here.
pub fn all() -> Vec<Metered> {
    power::find(&HOST_METERS, &PowerPlaces::default())
}

pub fn json(meters: &[Metered]) -> serde_json::Value {
    let found = meters.iter().filter_map(|(meter, found)| {
        let found = found.as_ref().ok()?;
        Some(json!({"meter": meter.name(), "scope": found.scope.name(), "devices": found.devices}))
    });
    let missing = meters.iter().filter_map(|(meter, found)| {
        let none = found.as_ref().err()?;
        Some(json!({"what": meter.name(), "why": none.why, "remedy": none.remedy}))
    });
    json!({"meters": found.collect::<Vec<_>>(), "missing": missing.collect::<Vec<_>>()})
}

pub fn text(meters: &[Metered]) -> String {
    let mut text = String::from("Energy meters\n");
    for (meter, found) in meters {
        let name = meter.name();
        match found {
            Ok(found) => {
                let _ = writeln!(text, "  {name:<9} {} scope: {}", found.scope.name(), found.devices.join(", "));
            }
            Err(none) => {
                let _ = writeln!(text, "  {name:<9} not there: {}", none.why);
                if !none.remedy.is_empty() {
                    let _ = writeln!(text, "            {}", none.remedy);
                }
            }
        }
    }
    text.push_str("  Others by flags of `nomoat run`: --power FILE.csv, --power-url URL, --power-slurm FILE, --provisioned-watts W\n");
    text
}
