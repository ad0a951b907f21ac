//! `nomoat truth`: the scripted server, and how far off a run's stamps were.

use crate::args::{TruthArgs, TruthCommand, TruthCompareArgs, TruthServeArgs};
use crate::config::choose;
use crate::ctrl_c;
use crate::exit::{Exit, Failure};
use crate::joined::Joined;
use crate::output::{line, put};
use nomoat_core::units::Nanos;
use nomoat_results::RunDir;
use nomoat_truth::{CERTIFICATE_PEM, Config, ErrorReport, Errors, Instant, Play, Script, Truth, Writes, read_log};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Runs the subcommand.
pub fn truth(args: &TruthArgs) -> Result<Exit, Failure> {
    match &args.command {
        Some(TruthCommand::Compare(args)) => compared(args),
        None => serve(&args.serve),
    }
}

fn serve(args: &TruthServeArgs) -> Result<Exit, Failure> {
    let listen = args
        .listen
        .parse()
        .map_err(|_| Failure::usage(format!("--listen `{}` is not ADDRESS:PORT, such as 127.0.0.1:8100", args.listen)))?;
    if let Some(path) = &args.certificate {
        std::fs::write(path, CERTIFICATE_PEM).map_err(|e| Failure::usage(format!("writing --certificate {}: {e}", path.display())))?;
    }
    if let Some(writes) = &args.instant {
        let writes = if choose("--instant", writes, &["whole", "token"])? == "whole" { Writes::Whole } else { Writes::PerToken };
        if args.tokens == 0 {
            return Err(Failure::usage("--tokens must be at least 1"));
        }
        let (_handle, mut stop) = ctrl_c::install()?;
        let server = Instant::start(listen, writes, args.tokens).map_err(Failure::usage_of)?;
        line(&format!("http://{}", server.addr()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| Failure::internal(format!("waiting: {e}")))?;
        runtime.block_on(stop.wait());
        return Ok(Exit::Ok);
    }
    let script = Script::parse(&args.script).map_err(|e| Failure::usage(format!("--{e}")))?;
    let cut = args.cut.parse().map_err(|e| Failure::usage(format!("--{e}")))?;
    let play = args.play.as_deref().map(|folder| Play::read(folder, cut)).transpose().map_err(Failure::usage_of)?;
    let (_handle, mut stop) = ctrl_c::install()?;
    let config =
        Config { listen, script, play, threads: args.threads.max(1), log_file: args.log.clone(), tls: args.tls, ..Config::default() };
    let truth = Truth::start(config).map_err(Failure::usage_of)?;
    line(&format!("{}://{}", if args.tls { "https" } else { "http" }, truth.addr()));
    eprintln!("listening; Ctrl-C ends");
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| Failure::internal(format!("waiting: {e}")))?;
    runtime.block_on(stop.wait());
    truth.stop();
    Ok(Exit::Ok)
}

fn compared(args: &TruthCompareArgs) -> Result<Exit, Failure> {
    let format = choose("--format", &args.format, &["table", "json"])?;
    let dir = RunDir::open(&args.run).map_err(Failure::usage_of)?;
    let manifest = dir.manifest().map_err(Failure::usage_of)?;
    let rows = read_log(&args.log).map_err(Failure::usage_of)?;
    let report = Joined::read(&dir, &manifest).map_err(Failure::usage_of)?.compare(&rows);
    if format == "json" {
        line(&serde_json::to_string_pretty(&json(&report)).map_err(Failure::internal)?);
    } else {
        put(&table(&report));
    }
    Ok(if report.matched == 0 { Exit::NothingMeasured } else { Exit::Ok })
}

/// The errors by name.
fn rows(report: &ErrorReport) -> [(&'static str, Option<Errors>); 9] {
    [
        ("TTFT", report.ttft.all),
        ("TTFT, first token alone in its read", report.ttft.separate),
        ("TTFT, first token coalesced", report.ttft.coalesced),
        ("first token", report.first_token.all),
        ("last token", report.last_token),
        ("TPOT", report.tpot),
        ("ITL", report.itl),
        ("E2E", report.e2e),
        ("first token, alone in its read", report.first_token.separate),
    ]
}

fn table(report: &ErrorReport) -> String {
    let mut text = String::from("instrument error: ours minus the server's own log\n\n");
    let _ = writeln!(text, "{:<38}{:>8}{:>12}{:>12}{:>12}{:>12}", "", "n", "mean", "p50", "p99", "largest");
    for (name, errors) in rows(report) {
        let _ = match errors {
            Some(e) => writeln!(
                text,
                "{name:<38}{:>8}{:>12}{:>12}{:>12}{:>12}",
                e.n,
                Nanos(e.mean_ns as i64).to_string(),
                e.p50.to_string(),
                e.p99.to_string(),
                e.max_abs.to_string()
            ),
            None => writeln!(text, "{name:<38}{:>8}{:>12}{:>12}{:>12}{:>12}", 0, "–", "–", "–", "–"),
        };
    }
    let _ = writeln!(
        text,
        "\n{} requests matched; {} of ours and {} of the server's have no counterpart; {} differ in tokens, {} in outcome",
        report.matched, report.unmatched_records, report.unmatched_rows, report.token_mismatches, report.outcome_mismatches
    );
    text
}

/// A distribution of errors as it stands in documents; `null` where there is none.
pub fn errors_json(errors: Option<Errors>) -> Value {
    errors.map_or(Value::Null, |e| json!({"n": e.n, "mean_ns": e.mean_ns, "p50_ns": e.p50.0, "p99_ns": e.p99.0, "max_abs_ns": e.max_abs.0}))
}

fn json(report: &ErrorReport) -> Value {
    let errors: serde_json::Map<String, Value> = rows(report).into_iter().map(|(name, e)| (name.to_owned(), errors_json(e))).collect();
    json!({
        "errors": errors,
        "matched": report.matched,
        "unmatched_records": report.unmatched_records,
        "unmatched_rows": report.unmatched_rows,
        "token_mismatches": report.token_mismatches,
        "outcome_mismatches": report.outcome_mismatches,
    })
}
