//! Energy of the window and what it comes to per token and request. The rules and the arithmetic are those of [`crate::energy`].
//!
//! Every number is of one scope, which is part of its row's key; each scope that was read has rows of its own. What nobody read has one
//! row without a scope, with the reason.

use super::rates::events_note;
use super::row::{Cell, Run};
use crate::energy::{self, EnergyFacts, Measured, Meter, Method, kwh};
use crate::report::{RunFacts, Window};
use crate::sample::Sample;

/// What to give where no meter was read.
const GIVE: &str = "give --power FILE.csv or --power-url URL";

/// Joules drawn in the window, by the scope in the row's key: the growth of energy counters, or the area under readings of power.
pub fn energy_joules(_: &Run<'_>, told: &Told) -> Cell {
    per(told, |joules| joules)
}

/// Mean power of the window: its joules by its length.
pub fn avg_power_w(run: &Run<'_>, told: &Told) -> Cell {
    per(told, |joules| joules / run.window.seconds())
}

/// Joules of the window by the output tokens that arrived in it.
pub fn j_per_output_token(run: &Run<'_>, told: &Told) -> Cell {
    divided(told, run.arrived.output, "no output token arrived in the window").note(noted(told, events_note(run)))
}

/// Joules of the window by the tokens of the window, prompt and output together.
pub fn j_per_total_token(run: &Run<'_>, told: &Told) -> Cell {
    if told.energy.is_ok() && run.arrived.input_unknown > 0 {
        let why = format!("{} requests do not report their prompt tokens", run.arrived.input_unknown);
        return Cell::none("formula", 0, why);
    }
    let tokens = run.arrived.output + run.arrived.input;
    divided(told, tokens, "no token arrived in the window").note(noted(told, events_note(run)))
}

/// Joules of the window by the answers that ended in it, as `request_rate` counts them.
pub fn j_per_request(run: &Run<'_>, told: &Told) -> Cell {
    // Not by the requests due in it: an engine that is behind answers them after the window, with energy that is not counted here.
    divided(told, run.arrived.answers, "no answer ended in the window")
}

/// What the joules of the window cost by the user's tariff, with the building's share where its effectiveness is told. Beside the cost of the pool, never added to it: an hourly price holds its power already.
pub fn energy_usd(run: &Run<'_>, told: &Told) -> Cell {
    money(run, told, None)
}

/// The same per million output tokens that arrived in the window.
pub fn energy_usd_per_mtok_out(run: &Run<'_>, told: &Told) -> Cell {
    money(run, told, Some(run.arrived.output)).note(noted(told, events_note(run)))
}

/// The energy of one scope, or why there is none.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    /// What was measured; `None` where nothing was.
    pub scope: Option<energy::Scope>,
    energy: Result<Measured, String>,
    /// Whether meters of this host were read because of the engine's address alone.
    by_address: bool,
}

impl Told {
    /// Every scope of a run, the headline first; at least one.
    pub fn all(facts: &RunFacts, window: Window, samples: &[Sample]) -> Vec<Self> {
        let by_address = facts.energy.by_address;
        let found = energy::measured(&facts.energy, facts.accelerators, window, samples);
        let mut all: Vec<Self> = found
            .into_iter()
            .map(|(scope, energy)| Self { scope: Some(scope), energy: energy.map_err(|fault| fault.to_string()), by_address })
            .collect();
        // A scope that the user named and nobody read stays the headline: another one is no answer to the question.
        let named = facts.energy.scope;
        if all.is_empty() || named.is_some_and(|named| all[0].scope != Some(named)) {
            all.insert(0, Self { scope: named, energy: Err(none(&facts.energy)), by_address });
        }
        all
    }
}

/// Why nothing was read.
fn none(facts: &EnergyFacts) -> String {
    let of = facts.scope.map_or_else(String::new, |scope| format!(" of the {} scope", scope.name()));
    if facts.absent.is_empty() {
        return format!("no energy source{of}: {GIVE}");
    }
    if facts.asked || facts.absent.len() == 1 {
        let each: Vec<String> = facts.absent.iter().map(|absent| format!("{}: {}", absent.what, absent.why)).collect();
        return format!("no energy source{of}: {}; {GIVE}", each.join("; "));
    }
    let names: Vec<&str> = facts.absent.iter().map(|absent| absent.what.as_str()).collect();
    format!("no energy source: none of {} is there (`nomoat devices` says why); {GIVE}", names.join(", "))
}

/// What a number of joules is of.
fn source(measured: &Measured, told: &Told) -> String {
    use energy::Scope;
    let Measured { devices, method, meter, counted, tick, still, other, .. } = measured;
    let count = |one: &str, many: &str| if *devices == 1 { format!("1 {one}") } else { format!("{devices} {many}") };
    let scope = told.scope.unwrap_or(Scope::Provisioned);
    let what = match scope {
        Scope::Board => count("board", "boards"),
        Scope::Package => count("processor package, whoever used it", "processor packages, whoever used them"),
        Scope::Node => count("node", "nodes"),
        Scope::Wall => count("meter at the wall", "meters at the wall"),
        Scope::Provisioned => return "provisioned, by --provisioned-watts: nothing was measured".into(),
    };
    let by = match (method, meter.map(Meter::words)) {
        (Method::Counter, Some(words)) => format!("energy counters of {words}"),
        (Method::Trapezoid, Some(words)) => format!("integrated power of {words}"),
        _ => "the batch system's word on the job".to_owned(),
    };
    let unsure =
        if scope == Scope::Board && !counted { "; whether those are the engine's is not known without --accelerators" } else { "" };
    // The user's own table and exporter are named by their flags; whether a tunnel or a container is behind the address nobody knows.
    let of_host = meter.is_some_and(|meter| !matches!(meter, Meter::Csv | Meter::Exporter));
    let here = if told.by_address && of_host { "; the engine is taken to run here by its address: --energy says so" } else { "" };
    let edges = tick.map_or_else(String::new, |tick| {
        format!("; the meter's clock has steps of {:.1} s, so either edge of the window is unknown by that", tick.as_secs_f64())
    });
    let nothing = if *still > 0 { format!("; of {still} of them it is 0 J") } else { String::new() };
    let unlike = other.map_or_else(String::new, |(meter, joules)| format!("; by {} it is {joules:.1} J", meter.words()));
    format!("{} scope: {what}, by {by}{nothing}{unlike}{unsure}{here}{edges}", scope.name())
}

fn per(told: &Told, of: impl Fn(f64) -> f64) -> Cell {
    match &told.energy {
        Err(why) => Cell::none("gauge", 0, why.clone()),
        Ok(m) => Cell::of(of(m.joules), m.readings, m.method.name()).note(Some(source(m, told))),
    }
}

fn divided(told: &Told, by: u64, none: &str) -> Cell {
    match &told.energy {
        Ok(m) if by == 0 => Cell::none(m.method.name(), 0, none),
        Ok(_) => per(told, |joules| joules / by as f64),
        Err(_) => per(told, |joules| joules),
    }
}

fn money(run: &Run<'_>, told: &Told, tokens: Option<u64>) -> Cell {
    let facts = &run.facts.energy;
    let Some(tariff) = facts.usd_per_kwh else { return Cell::none("formula", 0, "no tariff: give --usd-per-kwh") };
    if told.energy.is_ok() && tokens == Some(0) {
        return Cell::none("formula", 0, "no output token arrived in the window");
    }
    let parts = tokens.map_or(1.0, |tokens| tokens as f64 / 1e6);
    let cell = per(told, |joules| kwh(joules) * tariff * facts.pue.unwrap_or(1.0) / parts);
    let building = facts.pue.map_or_else(|| "without the building: --pue adds it".to_owned(), |pue| format!("times a PUE of {pue}"));
    Cell { method: "formula", ..cell }.note(told.energy.is_ok().then_some(building))
}

/// A note that belongs to a number only.
fn noted(told: &Told, note: Option<String>) -> Option<String> {
    note.filter(|_| told.energy.is_ok())
}
