//! A user's own power: a table with `time`, `device`, `watts` and, where the meter counts, `joules_total`.
//!
//! The first row names the columns, in any order; a `device` may be left out where there is one. Every row that is not blank must be
//! read: a row that is left out could be the one that matters.

use super::WallClock;
use super::time::{Stamp, cut, parse};
use nomoat_core::energy::{MAX_GAP, Meter, Scope};
use nomoat_core::report::Window;
use nomoat_core::sample::{Sample, SampleSource, label_value, names};
use nomoat_core::units::Nanos;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a table holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PowerTable {
    rows: Vec<Row>,
}

/// One reading.
#[derive(Clone, PartialEq, Debug)]
struct Row {
    at: Stamp,
    device: String,
    watts: Option<f64>,
    joules: Option<f64>,
}

/// Columns, and what they are called.
const COLUMNS: [&str; 4] = ["time", "device", "watts", "joules_total"];
/// What a device is called in a table without that column.
const ONLY: &str = "meter";

/// Reads a table.
///
/// # Errors
/// The line and what is wrong with it.
pub fn table(text: &str) -> Result<PowerTable, String> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().zip(1_u64..).filter(|(line, _)| !line.trim().is_empty());
    let asks = "its first line names the columns: time,device,watts or time,device,joules_total";
    let (header, at) = lines.next().ok_or_else(|| format!("it is empty; {asks}"))?;
    let names: Vec<String> = header.split(',').map(|name| name.trim().trim_matches('"').to_ascii_lowercase()).collect();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(&name.as_str())) {
        return Err(format!("line {at}: `{}` is no column; {asks}", cut(unknown)));
    }
    let column = |name: &str| names.iter().position(|n| n == name);
    if let Some(twice) = COLUMNS.iter().find(|name| names.iter().filter(|n| n == *name).count() > 1) {
        return Err(format!("line {at}: `{twice}` is there twice"));
    }
    let (Some(time), device, watts, joules) = (column("time"), column("device"), column("watts"), column("joules_total")) else {
        return Err(format!("line {at}: there is no column `time`; {asks}"));
    };
    if watts.is_none() && joules.is_none() {
        return Err(format!("line {at}: there is neither `watts` nor `joules_total`; {asks}"));
    }
    let mut rows = vec![];
    for (line, at) in lines {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"').trim()).collect();
        let row = || -> Result<Row, String> {
            if cells.len() != names.len() {
                return Err(format!("it has {} cells for {} columns", cells.len(), names.len()));
            }
            let number = |column: Option<usize>| -> Result<Option<f64>, String> {
                let Some(text) = column.map(|column| cells[column]).filter(|text| !text.is_empty()) else { return Ok(None) };
                let value = text.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0);
                value
                    .map(Some)
                    .ok_or_else(|| format!("`{}` is no number of {}", cut(text), if column == watts { "watts" } else { "joules" }))
            };
            let row = Row {
                at: parse(cells[time])?,
                device: device.map_or(ONLY, |column| cells[column]).to_owned(),
                watts: number(watts)?,
                joules: number(joules)?,
            };
            if row.device.is_empty() {
                return Err("it names no device".into());
            }
            if row.watts.is_none() && row.joules.is_none() {
                return Err("it tells neither watts nor joules".into());
            }
            Ok(row)
        };
        rows.push(row().map_err(|why| format!("line {at}: {why}"))?);
    }
    if rows.is_empty() { Err(format!("it has no reading; {asks}")) } else { Ok(PowerTable { rows }) }
}

impl PowerTable {
    /// The readings on the run's clock, as samples of a scope: those within `around` and as far outside as the rules ask, of every device
    /// the nearest on either side of it at least, so that a day's file does not become a part of every run. A device whose clock writes
    /// no time finer than a tenth of a second has that in a label: on the run's clock it can no longer be seen.
    pub fn samples(&self, scope: Scope, clock: &WallClock, around: Window) -> Vec<Sample> {
        let wide = Window { start: around.start - MAX_GAP, end: around.end + MAX_GAP };
        let mut nearest: BTreeMap<&str, (Nanos, Nanos, Option<Nanos>)> = BTreeMap::new();
        for row in &self.rows {
            let at = clock.place(row.at.unix_ns);
            let (before, after, step) = nearest.entry(&row.device).or_insert((Nanos(i64::MIN), Nanos::MAX, row.at.step));
            // The finest that it wrote: some leave a fraction out where it is zero.
            *step = (*step).min(row.at.step);
            if at < wide.start {
                *before = (*before).max(at);
            } else if at > wide.end {
                *after = (*after).min(at);
            }
        }
        let mut samples = vec![];
        for row in &self.rows {
            let at = clock.place(row.at.unix_ns);
            let (before, after, step) = nearest[row.device.as_str()];
            if at < before || at > after {
                continue;
            }
            let (scope, meter, device) = (scope.name(), Meter::Csv.name(), label_value(&row.device));
            let mut labels = format!("{}={scope},{}={meter},{}={device}", names::POWER_SCOPE, names::POWER_METER, names::POWER_DEVICE);
            if let Some(step) = step {
                // A string takes whatever is written to it.
                let _ = write!(labels, ",{}={}", names::POWER_STEP, step.as_secs_f64());
            }
            for (metric, value) in [(names::POWER_WATTS, row.watts), (names::POWER_ENERGY, row.joules)] {
                samples.extend(value.map(|value| Sample {
                    at,
                    source: SampleSource::Power,
                    metric: metric.into(),
                    labels: labels.clone(),
                    value,
                }));
            }
        }
        samples.sort_by_key(|sample| sample.at);
        samples
    }

    /// The last moment that every device tells, on the run's clock; none in an empty table.
    pub fn told_until(&self, clock: &WallClock) -> Option<Nanos> {
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for row in &self.rows {
            let last = last.entry(&row.device).or_insert(row.at.unix_ns);
            *last = row.at.unix_ns.max(*last);
        }
        last.into_values().min().map(|unix_ns| clock.place(unix_ns))
    }
}
