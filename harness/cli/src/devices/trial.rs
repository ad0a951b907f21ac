//! `nomoat devices --power TIME`: meters read at a quicker pace than their own, and held to the rules that a run holds them to.

use super::meters;
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use crate::wait::block_on;
use nomoat_core::clock::Clock as _;
use nomoat_core::energy::{EnergyFacts, Fault, Measured, Pace, Scope, measured, paces};
use nomoat_core::report::Window;
use nomoat_core::sample::{Sample, names};
use nomoat_core::units::Nanos;
use nomoat_drive::MonotonicClock;
use nomoat_drive::power::PowerMeter;
use nomoat_results::Format;
use nomoat_results::table::{Cell, Figure, Figures, note};
use serde_json::{Value, json};

/// Quicker than what is read: NVML's power moves every 20 to 100 ms, RAPL's counter every millisecond.
const EVERY: Nanos = Nanos::from_millis(20);
/// From a second to ten minutes.
const TIMES: std::ops::RangeInclusive<Nanos> = Nanos::from_secs(1)..=Nanos::from_secs(600);

/// What was read of one meter.
struct Tried {
    name: &'static str,
    scope: Scope,
    window: Window,
    paces: Vec<Pace>,
    /// What it said of itself where it could not be read.
    failures: Vec<String>,
    energy: Result<Measured, Fault>,
    /// Joules by its power and by its counter, where it tells both.
    both: Option<(f64, f64)>,
}

/// Reads every meter that is there for `time`.
pub fn trial(time: &str, format: Format) -> Result<Exit, Failure> {
    let time = Nanos::parse(time).map_err(|e| Failure::usage(format!("--power {e}")))?;
    if !TIMES.contains(&time) {
        return Err(Failure::usage(format!("--power {time} is not from {} to {}", TIMES.start(), TIMES.end())));
    }
    if format == Format::Csv {
        return Err(Failure::usage("--power prints a table or json, no csv"));
    }
    let all = meters::all();
    let mut tried = vec![];
    let mut missing = vec![];
    for (meter, found) in all {
        match found {
            Ok(found) => {
                eprintln!("nomoat: reading {} for {time}", meter.words());
                tried.push(block_on(read(found, time))?);
            }
            Err(none) => missing.push((meter, Err(none))),
        }
    }
    let broken = tried.iter().any(|tried| tried.energy.is_err() || !tried.failures.is_empty());
    match format {
        Format::Json => {
            let meters: Vec<Value> = tried.iter().map(as_json).collect();
            let missing = meters::json(&missing)["missing"].clone();
            let page = json!({"schema": "nomoat.power-trial/1", "every_ns": EVERY.0, "meters": meters, "missing": missing});
            line(&serde_json::to_string_pretty(&page).map_err(Failure::internal)?);
        }
        _ => put(&text(&tried, &missing, format)),
    }
    Ok(if broken { Exit::Invalid } else { Exit::Ok })
}

/// Reads one meter again and again.
async fn read(mut meter: PowerMeter, time: Nanos) -> Tried {
    let clock = MonotonicClock;
    let (mut samples, mut failures): (Vec<Sample>, Vec<String>) = (vec![], vec![]);
    let begun = clock.now();
    let mut next = begun;
    while clock.now() - begun <= time {
        match meter.telemetry.sample().await {
            Ok(read) => {
                let at = clock.now();
                samples.extend(read.into_iter().map(|sample| Sample { at, ..sample }));
            }
            // What it says again and again is said once.
            Err(error) => {
                let words = error.to_string();
                if !failures.contains(&words) {
                    failures.push(words);
                }
            }
        }
        next = (next + EVERY).max(clock.now());
        tokio::time::sleep((next - clock.now()).to_std()).await;
    }
    // Readings of one moment are of all devices, so the first and the last bracket what is between them.
    let ends = samples.first().zip(samples.last()).map(|(first, last)| (first.at, last.at));
    let window = ends.map_or(Window { start: begun, end: begun }, |(start, end)| Window { start, end });
    let of = |samples: &[Sample]| measured(&EnergyFacts::default(), None, window, samples).into_iter().next().map(|(_, energy)| energy);
    let told = |metric: &str| {
        let only: Vec<Sample> = samples.iter().filter(|sample| sample.metric == metric).cloned().collect();
        Some(of(&only)?.ok()?.joules)
    };
    Tried {
        name: meter.meter.name(),
        scope: meter.scope,
        window,
        paces: paces(&samples),
        failures,
        energy: of(&samples).unwrap_or(Err(Fault::NoWindow)),
        both: told(names::POWER_WATTS).zip(told(names::POWER_ENERGY)),
    }
}

impl Tried {
    /// By how much its power and its counter differ, as a share of the counter.
    fn apart(&self) -> Option<f64> {
        self.both.filter(|(_, counter)| *counter > 0.0).map(|(power, counter)| (power - counter) / counter)
    }

    fn seconds(&self) -> f64 {
        self.window.seconds()
    }

    /// What it came to, and what went wrong, a line each.
    fn words(&self) -> Vec<String> {
        let of = format!("{} ({})", self.name, self.scope.name());
        let energy = match &self.energy {
            Ok(energy) => {
                let devices = if energy.devices == 1 { "1 device".to_owned() } else { format!("{} devices", energy.devices) };
                let watts = energy.joules / self.seconds();
                format!("{of}: {devices}, {:.1} J in {:.2} s, {watts:.1} W", energy.joules, self.seconds())
            }
            Err(fault) => format!("{of}: no number: {fault}"),
        };
        let apart = self.apart().map(|share| {
            let (percent, side) = ((share * 100.0).abs(), if share < 0.0 { "less" } else { "more" });
            format!("{of}: by its power it is {percent:.1} % {side} than by its counter")
        });
        let failed = self.failures.iter().map(|why| format!("{of}: failed: {why}"));
        [energy].into_iter().chain(apart).chain(failed).collect()
    }
}

/// A row for each device.
fn figures(tried: &[Tried]) -> Figures {
    let word = |key, header| Figure { key, header, number: false };
    let number = |key, header| Figure { key, header, number: true };
    let columns = vec![
        word("meter", "meter"),
        word("device", "device"),
        number("watts", "W"),
        number("watts_least", "least W"),
        number("watts_most", "most W"),
        number("power_moves_ns", "power moves every"),
        number("counter_moves_ns", "counter moves every"),
        number("step_j", "step J"),
    ];
    let watts = |pace: &Pace, of: fn((f64, f64, f64)) -> f64| Cell::number(pace.watts.map(of), |watts| format!("{watts:.1}"));
    let time = |time: Option<Nanos>| Cell::number(time.map(|time| time.0 as f64), |ns| Nanos(ns as i64).to_string());
    let rows = tried.iter().flat_map(|tried| &tried.paces).map(|pace| {
        vec![
            Cell::word(pace.meter.name()),
            Cell::word(pace.device.as_str()),
            watts(pace, |w| w.0),
            watts(pace, |w| w.1),
            watts(pace, |w| w.2),
            time(pace.power_moves),
            time(pace.counter_moves),
            Cell::number(pace.step_j, |joules| format!("{joules:.4}")),
        ]
    });
    Figures { rows: rows.collect(), columns }
}

fn text(tried: &[Tried], missing: &[meters::Metered], format: Format) -> String {
    let mut text = String::new();
    let say = |words: &str| note(words) + if format == Format::Markdown { "\n" } else { "" };
    if !tried.is_empty() {
        text = figures(tried).render(format) + "\n";
        tried.iter().flat_map(Tried::words).for_each(|words| text += &say(&words));
        text += &say(
            "An edge of a window is known to the time in which a meter moves, so that a window should be many times as long. – never moved; a \
             load shows more than an idle device does.",
        );
        if !missing.is_empty() {
            text.push('\n');
        }
    }
    if missing.is_empty() { text } else { text + &meters::text(missing) }
}

fn as_json(tried: &Tried) -> Value {
    let ns = |time: Option<Nanos>| time.map(|time| time.0);
    let devices: Vec<Value> = tried
        .paces
        .iter()
        .map(|pace| {
            let [mean, least, most] = pace.watts.map_or([None; 3], |(mean, least, most)| [Some(mean), Some(least), Some(most)]);
            json!({"device": pace.device, "readings": pace.readings, "watts": mean, "watts_least": least, "watts_most": most,
                   "power_moves_ns": ns(pace.power_moves), "counter_moves_ns": ns(pace.counter_moves), "step_j": pace.step_j})
        })
        .collect();
    let energy = tried.energy.as_ref();
    json!({"meter": tried.name, "scope": tried.scope.name(), "seconds": tried.seconds(), "devices": devices,
           "joules": energy.ok().map(|energy| energy.joules), "reason": energy.err().map(ToString::to_string),
           "power_against_counter": tried.apart(), "failures": tried.failures})
}
