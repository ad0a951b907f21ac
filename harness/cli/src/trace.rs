//! `nomoat trace`: convert, check, describe, make.

use crate::args::{TraceArgs, TraceCommand};
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use crate::setup::DEFAULT_SEED;
use nomoat_core::trace::Trace;
use nomoat_workloads::{ChatOptions, ImportOptions, TraceStats, chat, open, stats, write_canonical};
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Runs the subcommand.
pub fn trace(args: &TraceArgs) -> Result<Exit, Failure> {
    match &args.command {
        TraceCommand::Import { input, output, from, seed } => {
            let trace = read(input, from.as_deref(), *seed)?;
            losses(&trace);
            write(&trace, output.as_deref())?;
        }
        TraceCommand::Check { input, from } => {
            let trace = read(input, from.as_deref(), DEFAULT_SEED)?;
            losses(&trace);
            line(&format!("{}: {} requests, no fault found", input.display(), trace.requests.len()));
        }
        TraceCommand::Stats { input, from } => put(&describe(&stats(&read(input, from.as_deref(), DEFAULT_SEED)?))),
        TraceCommand::Make { seed, requests, output } => {
            let mut options = ChatOptions::default();
            options.seed = seed.unwrap_or(options.seed);
            options.requests = requests.unwrap_or(options.requests);
            write(&chat(&options).map_err(Failure::usage_of)?, output.as_deref())?;
        }
    }
    Ok(Exit::Ok)
}

fn read(path: &Path, format: Option<&str>, seed: u64) -> Result<Trace, Failure> {
    open(path, format, &ImportOptions { seed, ..ImportOptions::default() }).map_err(Failure::usage_of)
}

fn losses(trace: &Trace) {
    for loss in &trace.losses {
        eprintln!("note: {loss}");
    }
}

fn write(trace: &Trace, output: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = output else {
        let mut text = Vec::new();
        write_canonical(trace, &mut text).map_err(Failure::usage_of)?;
        put(&String::from_utf8_lossy(&text));
        return Ok(());
    };
    let failed = |e: &dyn std::fmt::Display| Failure::usage(format!("writing {}: {e}", path.display()));
    let mut buffered = BufWriter::new(std::fs::File::create(path).map_err(|e| failed(&e))?);
    write_canonical(trace, &mut buffered).map_err(|e| failed(&e))?;
    buffered.flush().map_err(|e| failed(&e))
}

fn describe(s: &TraceStats) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<34}{value}");
    };
    let none = || "–".to_owned();
    put("requests", s.rows.to_string());
    put("span", s.span.map_or_else(none, |t| format!("{:.1} s", t.as_secs_f64())));
    put("rate", s.rate_per_s.map_or_else(none, |r| format!("{r:.3}/s")));
    put("coefficient of variation of gaps", s.gap_cv.map_or_else(none, |cv| format!("{cv:.2}")));
    for (name, l) in [("input tokens", s.input), ("output tokens", s.output)] {
        put(name, format!("mean {:.1}, p50 {}, p95 {}, p99 {}, max {}", l.mean, l.p50, l.p95, l.p99, l.max));
    }
    match &s.blocks {
        None => put("prefix blocks", "none in this format".into()),
        Some(b) => {
            put("prefix blocks", format!("{} references, {} distinct", b.refs, b.unique));
            put("seen before, from the start on", b.leading_share().map_or_else(none, |share| format!("{:.2} %", share * 100.0)));
        }
    }
    text
}
