//! Rates and shares of a whole run.

use super::row::{Cell, Run, Tally};
use super::window::{Arrived, Ended};

/// What to give when there is no service level.
pub const NO_SLO: &str = "no service level: give --slo ttft=…,tpot=…";

/// Output tokens that arrived in the window, of requests of every phase and status, by its length.
pub fn output_tput(run: &Run<'_>) -> Cell {
    per_second(run, run.arrived.output).note(events_note(run))
}

/// Output tokens that arrived in the window, of requests that met every limit of the service level, by its length.
pub fn good_output_tput(run: &Run<'_>) -> Cell {
    if run.facts.slo.is_empty() { Cell::none("sum", 0, NO_SLO) } else { per_second(run, run.arrived.good_output) }
}

/// Prompt tokens, cached ones included, of requests whose first token arrived in the window, by its length.
pub fn input_tput(run: &Run<'_>) -> Cell {
    input_known(run).unwrap_or_else(|| per_second(run, run.arrived.input).note(input_note(run)))
}

/// Output and input throughput together.
pub fn total_tput(run: &Run<'_>) -> Cell {
    let total = run.arrived.output + run.arrived.input;
    input_known(run).unwrap_or_else(|| per_second(run, total).note(events_note(run)).note(input_note(run)))
}

/// Answers that ended in the window, of requests of every phase, by its length.
pub fn request_rate(run: &Run<'_>) -> Cell {
    per_second(run, run.arrived.answers)
}

/// Output throughput by the number of accelerators behind the endpoint.
pub fn output_tput_per_accel(run: &Run<'_>) -> Cell {
    per_accelerator(run, output_tput(run))
}

/// Total throughput by the number of accelerators behind the endpoint.
pub fn total_tput_per_accel(run: &Run<'_>) -> Cell {
    per_accelerator(run, total_tput(run))
}

/// Intended requests of the window that met every limit of the service level, by its length. Failed and never-sent requests
/// met none.
pub fn goodput_rate(run: &Run<'_>, tally: &Tally) -> Cell {
    if run.facts.slo.is_empty() { Cell::none("sum", tally.measured, NO_SLO) } else { per_second(run, tally.good) }
}

/// Share of the intended requests of the window that met every limit of the service level.
pub fn goodput_share(run: &Run<'_>, tally: &Tally) -> Cell {
    if run.facts.slo.is_empty() {
        Cell::none("sum", tally.measured, NO_SLO)
    } else {
        share(tally.good, tally.measured, "no request was measured")
    }
}

/// Share of the token-bearing chunks of answered requests that shared their read with another event: their stamps are upper
/// bounds.
pub fn coalesced_share(_: &Run<'_>, tally: &Tally) -> Cell {
    share(tally.coalesced, tally.chunks, "no request was answered")
}

/// Share of answered requests whose first token shared its read with another event: their TTFT is an upper bound.
pub fn first_coalesced_share(_: &Run<'_>, tally: &Tally) -> Cell {
    share(tally.first_coalesced, tally.ok, "no request was answered")
}

/// Time from the end of the window to the end of the last request.
pub fn drain_seconds(run: &Run<'_>) -> Cell {
    match run.last_end {
        Some(end) => Cell::of((end - run.window.end).as_secs_f64().max(0.0), run.counts.recorded, "formula"),
        None => Cell::none("formula", run.counts.recorded, "no request ended"),
    }
}

/// The reason why nothing can be given per second, when the window is empty.
pub fn no_window(run: &Run<'_>) -> Option<&'static str> {
    (run.window.seconds() <= 0.0).then_some("the window has no length: give --duration or more --requests")
}

fn per_second(run: &Run<'_>, amount: u64) -> Cell {
    match no_window(run) {
        Some(why) => Cell::none("sum", amount, why),
        None => Cell::of(amount as f64 / run.window.seconds(), amount, "sum").note(ended_note(run)),
    }
}

fn per_accelerator(run: &Run<'_>, cell: Cell) -> Cell {
    match (cell.value, run.facts.accelerators.filter(|count| *count > 0)) {
        (None, _) => cell,
        (_, None) => Cell::none("sum", cell.n, "number of accelerators unknown: give --accelerators NAME:COUNT"),
        (Some(value), Some(count)) => Cell { value: Some(value / f64::from(count)), ..cell },
    }
}

fn share(part: u64, whole: u64, empty: &str) -> Cell {
    if whole == 0 { Cell::none("sum", 0, empty) } else { Cell::of(part as f64 / whole as f64, whole, "sum") }
}

fn ended_note(run: &Run<'_>) -> Option<String> {
    (run.ended == Ended::LastDue).then(|| "the window ends at the last due".to_owned())
}

/// What a number of tokens leaves to be known.
pub(super) fn events_note(run: &Run<'_>) -> Option<String> {
    let Arrived { output_as_events: events, output_broken_off: broken, .. } = run.arrived;
    let reported = (events > 0).then(|| format!("{events} of them are events, because the endpoint reports no token counts"));
    let broken = (broken > 0).then(|| format!("{broken} of them are events of streams that broke off before their token count"));
    match (reported, broken) {
        (Some(reported), Some(broken)) => Some(format!("{reported}; {broken}")),
        (reported, broken) => reported.or(broken),
    }
}

/// The cell that says so when prompts were read and nobody counted any.
fn input_known(run: &Run<'_>) -> Option<Cell> {
    let arrived = &run.arrived;
    (arrived.input_unknown > 0 && arrived.input_unknown == arrived.first_tokens && no_window(run).is_none())
        .then(|| Cell::none("sum", 0, "the endpoint reports no prompt tokens"))
}

fn input_note(run: &Run<'_>) -> Option<String> {
    let unknown = run.arrived.input_unknown;
    (unknown > 0).then(|| format!("{unknown} requests without a reported prompt length are left out"))
}
