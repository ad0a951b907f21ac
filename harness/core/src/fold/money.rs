//! What a run cost, and per what. The sums are of [`crate::cost`].

use super::rates::{NO_SLO, no_window};
use super::row::{Cell, Run};
use crate::cost::{NO_PRICE, Pricing};

/// Cost of the window: the whole pool's price for its length, or the billed tokens of its requests, failed ones included
/// where their usage is known.
pub fn usd_total(run: &Run<'_>) -> Cell {
    match usd(run) {
        Ok(usd) => Cell::of(usd, run.counts.measured, "formula").note(unbilled(run)),
        Err(why) => Cell::none("formula", run.counts.measured, why),
    }
}

/// Cost per million output tokens: a pool's by the tokens that arrived in the window, an API's by the tokens billed.
pub fn usd_per_mtok_out(run: &Run<'_>) -> Cell {
    per_million(run, if is_pool(run) { run.arrived.output } else { run.bill.tokens.output() }, "no output token arrived in the window")
}

/// Cost per million tokens, prompt and output together: a pool's by the tokens of the window, an API's by the tokens billed.
pub fn usd_per_mtok_total(run: &Run<'_>) -> Cell {
    if is_pool(run) && run.arrived.input_unknown > 0 {
        let why = format!("{} requests do not report their prompt tokens", run.arrived.input_unknown);
        return Cell::none("formula", 0, why);
    }
    let tokens = if is_pool(run) { run.arrived.output + run.arrived.input } else { run.bill.tokens.total() };
    per_million(run, tokens, "no token arrived in the window")
}

/// Cost per million output tokens of requests that met the service level, whatever the others cost: a pool's by those that
/// arrived in the window, an API's by those billed. Never less than the cost per million output tokens.
pub fn usd_per_mtok_good_out(run: &Run<'_>) -> Cell {
    if run.facts.pricing.is_some() && run.facts.slo.is_empty() {
        return Cell::none("formula", 0, NO_SLO);
    }
    if is_pool(run) {
        return per_million(run, run.arrived.good_output, "no token of a request that met the service level arrived in the window");
    }
    per_million(run, run.counts.good_tokens.unwrap_or(0), "no request met the service level")
}

/// Cost by the number of answers: a pool's by those that ended in the window, an API's by the answered requests that were billed.
pub fn usd_per_request(run: &Run<'_>) -> Cell {
    let answers = if is_pool(run) { run.arrived.answers } else { run.counts.ok };
    divide(run, answers, 1.0, "no request was answered")
}

/// Cost per million characters of output, as UTF-8 has them, by the characters that a token had: comparable between tokenizers.
pub fn usd_per_mchar_out(run: &Run<'_>) -> Cell {
    let cost = usd_per_mtok_out(run);
    let ratio = chars_per_token(run);
    match (cost.value, ratio.value) {
        (Some(usd), Some(chars)) => Cell::of(usd / chars, ratio.n, "formula").note(ratio.reason),
        (None, _) => cost,
        (_, None) => ratio,
    }
}

/// Characters of output, as UTF-8 has them, for each output token, over answered requests of which both are counted.
pub fn chars_per_token(run: &Run<'_>) -> Cell {
    let (chars, tokens) = (run.tally.chars, run.tally.chars_tokens);
    if tokens == 0 {
        return Cell::none("sum", 0, "no answer has both counted tokens and text: an engine that hands over token ids has no characters");
    }
    Cell::of(chars as f64 / tokens as f64, tokens, "sum")
}

/// What a sum of billed tokens leaves out.
fn unbilled(run: &Run<'_>) -> Option<String> {
    let n = run.bill.failed_unknown;
    (n > 0 && !is_pool(run)).then(|| format!("a lower bound: {n} failed requests do not tell what they cost"))
}

fn is_pool(run: &Run<'_>) -> bool {
    matches!(run.facts.pricing, Some(Pricing::Pool { .. }))
}

fn usd(run: &Run<'_>) -> Result<f64, String> {
    let pricing = run.facts.pricing.ok_or(NO_PRICE)?;
    match no_window(run) {
        Some(why) if is_pool(run) => Err(why.into()),
        _ => pricing.usd(run.window.seconds(), &run.bill),
    }
}

fn per_million(run: &Run<'_>, tokens: u64, none: &str) -> Cell {
    divide(run, tokens, 1e6, none)
}

fn divide(run: &Run<'_>, by: u64, unit: f64, none: &str) -> Cell {
    match usd(run) {
        Err(why) => Cell::none("formula", by, why),
        Ok(_) if by == 0 => Cell::none("formula", 0, none),
        Ok(usd) => Cell::of(usd / by as f64 * unit, by, "formula"),
    }
}
