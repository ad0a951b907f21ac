//! How a trace is replayed, from flags to a policy: the same for `run` and for `trace slice`.

use crate::args::{Input, Replay, RunArgs};
use crate::exit::Failure;
use crate::setup::time;
use nomoat_workloads::{GapPolicy, Gaps, ImportOptions, Policy, Slice};

/// The flags of a run.
pub fn of_run(args: &RunArgs) -> Replay {
    Replay {
        from: args.trace_from.clone(),
        span: args.trace_span.clone(),
        sessions: args.trace_sessions,
        enter: args.enter.clone(),
        thin: args.thin,
        superpose: args.superpose,
        arrival_scale: args.arrival_scale,
        gap_scale: args.gap_scale,
        gap_cap: args.gap_cap.clone(),
        history: args.history.clone(),
    }
}

/// What they mean.
pub fn policy(replay: &Replay, seed: u64) -> Result<Policy, Failure> {
    let slice = Slice {
        from: time("--trace-from", replay.from.as_deref())?.unwrap_or_default(),
        span: time("--trace-span", replay.span.as_deref())?,
        sessions: replay.sessions,
    };
    let live = match replay.history.as_deref() {
        None | Some("recorded") => false,
        Some("live") => true,
        Some(other) => return Err(Failure::usage(format!("--history is recorded or live, not `{other}`"))),
    };
    Ok(Policy {
        slice,
        enter: replay.enter.as_deref().map(shares).transpose()?,
        thin: replay.thin.unwrap_or(1.0),
        superpose: replay.superpose.unwrap_or(1),
        arrival_scale: replay.arrival_scale.unwrap_or(1.0),
        gaps: GapPolicy { scale: replay.gap_scale.unwrap_or(1.0), cap: time("--gap-cap", replay.gap_cap.as_deref())? },
        live,
        seed,
    })
}

fn shares(text: &str) -> Result<(f64, f64), Failure> {
    let wrong = || Failure::usage(format!("--enter takes two shares of a session's turns, such as 0.25,0.75, not `{text}`"));
    let (low, high) = text.split_once(',').ok_or_else(wrong)?;
    let share = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
    Ok((share(low)?, share(high)?))
}

/// How gaps inside sessions are read.
pub fn gaps(word: Option<&str>) -> Result<Gaps, Failure> {
    match word {
        None | Some("think") => Ok(Gaps::Think),
        Some("recorded") => Ok(Gaps::Recorded),
        Some(other) => Err(Failure::usage(format!("--gaps is think or recorded, not `{other}`"))),
    }
}

/// How a trace of `nomoat trace` is read.
pub fn import_options(input: &Input) -> Result<ImportOptions, Failure> {
    Ok(ImportOptions { seed: input.seed, spread_ticks: !input.no_spread, lenient: input.lenient, gaps: gaps(input.gaps.as_deref())? })
}
