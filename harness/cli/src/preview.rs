//! `--dry-run`: what would be sent, without connecting.

use crate::exec;
use crate::exit::Failure;
use crate::launch::{without_ourselves, words};
use crate::manifest::{ASSUMED_TPOT, ASSUMED_TTFT};
use crate::setup::{Mode, Setup};
use nomoat_core::cost::{Pricing, TokenPrices};
use nomoat_core::schedule::Load;
use nomoat_core::units::Nanos;
use nomoat_results::models::layout;
use std::fmt::Write as _;
use std::path::Path;

/// Bytes of a request around its prompt: head and the JSON's keys.
const HEAD_BYTES: u64 = 420;
/// Bytes of a token id in JSON, comma included; a word of text with its space is about as long.
const TOKEN_BYTES: u64 = 5;

/// Describes every load of a run.
pub fn preview(setup: &Setup) -> Result<String, Failure> {
    let loads = match &setup.mode {
        Mode::Single(load) => vec![*load],
        Mode::Ladder(rungs) => rungs.iter().map(|c| Load::Closed { concurrency: *c, think: Nanos::ZERO }).collect(),
        Mode::Probed => {
            let recorded = setup.trace.as_ref().and_then(|t| t.rate_per_s()).unwrap_or(1.0);
            vec![Load::Rescaled { rate_per_s: recorded }]
        }
    };
    let mut text = String::new();
    if let Some(plan) = &setup.launch {
        let command = plan.secrets().scrub(&without_ourselves(&words::join(&plan.argv(Path::new("SCRATCH"))?)));
        let _ = writeln!(text, "{:<26}{command}\n", "would be started");
    }
    if let Some(command) = setup.adapter.as_ref().and_then(exec::Plan::command_words) {
        let _ = writeln!(text, "{:<26}{command}\n", "would be started");
    }
    for load in loads {
        describe(setup, load, &mut text)?;
    }
    if setup.mode == Mode::Probed {
        let _ = writeln!(text, "the rate is found by a two-second probe when the run starts; shown at the trace's own. --rate R fixes it");
    }
    Ok(text)
}

fn describe(setup: &Setup, load: Load, text: &mut String) -> Result<(), Failure> {
    let (schedule, fitted) = setup.schedule(load, setup.args.context)?;
    let mut put = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<26}{value}");
    };
    put("load", setup.load_words(load, fitted.as_ref().map(|f| &*f.trace)));
    match schedule.totals(ASSUMED_TTFT, ASSUMED_TPOT) {
        None => put("requests", "as many as the endpoint answers in the time given".into()),
        Some(t) => {
            put("requests", format!("{}, warm-up included", t.requests));
            put("prompt tokens", t.input_tokens.to_string());
            put("output tokens", t.output_tokens.to_string());
            put(
                "peak offered concurrency",
                format!("{} (at {ASSUMED_TTFT} to the first token and {ASSUMED_TPOT} a token)", t.peak_concurrency),
            );
            if !load.is_closed() {
                put("last due", format!("{} after the start", t.last_due));
            }
            put("bytes up", format!("about {}", bytes((t.requests * HEAD_BYTES + t.input_tokens * TOKEN_BYTES) as f64)));
            put(
                "KV cache",
                match &setup.geometry {
                    Some(g) => format!(
                        "{} in all, {} per token, {}",
                        bytes(g.bytes_per_token() * (t.input_tokens + t.output_tokens) as f64),
                        bytes(g.bytes_per_token()),
                        layout(g).unwrap_or_else(|| "every element in the type of the cache".into())
                    ),
                    None => "– (give --model-config FILE)".into(),
                },
            );
            put(
                "estimated cost",
                match setup.pricing {
                    Some(Pricing::PerToken(TokenPrices { input, output, .. })) => {
                        format!("{:.4} USD if nothing is cached", (t.input_tokens as f64 * input + t.output_tokens as f64 * output) / 1e6)
                    }
                    Some(Pricing::Pool { .. }) if load.is_closed() => "– (a closed loop takes as long as the endpoint does)".into(),
                    Some(Pricing::Pool { usd_per_hour }) => {
                        format!("{:.4} USD until the last due", usd_per_hour * t.last_due.as_secs_f64() / 3600.0)
                    }
                    None => "– (give --usd-per-hour or --price)".into(),
                },
            );
        }
    }
    if let Some(duration) = setup.limit.duration {
        put("measured window", duration.to_string());
    }
    if let Some(fitted) = fitted.filter(|f| f.clipped + f.skipped > 0) {
        put("over the context", format!("{} clipped, {} skipped", fitted.clipped, fitted.skipped));
    }
    put("schedule digest", schedule.digest().to_string());
    text.push('\n');
    Ok(())
}

fn bytes(n: f64) -> String {
    let (mut value, mut unit) = (n, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") }
}
