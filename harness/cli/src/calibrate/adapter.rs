//! `nomoat calibrate --exec`: an adapter plays a script, and what its answers take beyond it is its own latency and the way to us.

use super::{Row, chosen, table};
use crate::args::{CalibrateArgs, RunArgs};
use crate::certify::{Case, Way, Whom, load};
use crate::ctrl_c;
use crate::exec;
use crate::exit::{Exit, Failure};
use crate::folder::Folder;
use crate::output::{line, put};
use crate::setup::Setup;
use crate::truth::errors_json;
use nomoat_core::record::RequestRecord;
use nomoat_core::units::Nanos;
use nomoat_drive::{HostFacts, Stop, StopHandle};
use nomoat_exec::{Script, delays};
use nomoat_truth::Errors;
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

/// The loads that adapters are held under: one request after the other, and requests beside each other.
const LOADS: &[Row] = &[
    ("closed loop 1 × 32", None, 1, (64, 32), "ttft=50ms,itl=10ms", 10),
    ("20 requests/s × 32", Some(20.0), 0, (64, 32), "ttft=50ms,itl=10ms", 10),
];

/// What one load found.
struct Found {
    case: Case,
    /// Name, key in JSON, and the values: the adapter's first, then ours.
    rows: Vec<(&'static str, &'static str, Option<Errors>)>,
    requests: u64,
    failed: u64,
    matched: u64,
    /// Why its numbers are not to be believed.
    broken: Vec<String>,
}

/// Runs the subcommand, `format` being the name of a known one.
pub fn calibrate(args: &CalibrateArgs, format: &str) -> Result<Exit, Failure> {
    let of_servers = [("--http", args.http.is_some()), ("--tls", args.tls), ("--ceiling", args.ceiling), ("--streams", args.streams)];
    if let Some((flag, _)) = of_servers.iter().find(|(_, given)| *given) {
        return Err(Failure::usage(format!(
            "{flag} is about the way over HTTP; --exec and --exec-socket measure an adapter; leave one out"
        )));
    }
    let (cases, _) = chosen(args, LOADS)?;
    let cases: Vec<Case> = cases.into_iter().map(|case| Case { way: Way::default(), ..case }).collect();
    let scripts = cases.iter().map(|case| script(&case.script)).collect::<Result<Vec<_>, _>>()?;
    let run = RunArgs {
        exec: args.exec.clone(),
        exec_socket: args.exec_socket.clone(),
        wait_ready: args.wait_ready.clone(),
        quiet: args.quiet,
        concurrency: Some(1),
        requests: Some(1),
        ..RunArgs::default()
    };
    let setup = Setup::new(run)?;
    let Some(plan) = &setup.adapter else { return Err(Failure::usage("give --exec COMMAND or --exec-socket PATH")) };
    let (handle, stop) = ctrl_c::install()?;
    let (adapter, mut found) = (exec::start(&setup, &stop)?, vec![]);
    for (case, script) in cases.iter().zip(scripts) {
        if !args.quiet {
            eprintln!("calibrating the adapter: {}", case.name);
        }
        match hold(case, script, &plan.socket, (&handle, &stop)) {
            Ok(one) => found.push(one),
            Err(failure) => return Err(exec::blamed(adapter, failure)),
        }
    }
    match format {
        "json" => {
            let loads: Vec<_> = found.iter().map(Found::json).collect();
            line(&serde_json::to_string_pretty(&json!({"adapter": loads})).map_err(Failure::internal)?);
        }
        _ => put(&text(&found, format == "markdown")),
    }
    let mut exit = if found.iter().any(|f| !f.broken.is_empty()) { Exit::Invalid } else { Exit::Ok };
    if let Some(ended) = adapter.and_then(exec::Adapter::stop) {
        eprintln!("nomoat: {ended}");
        exit = exit.worst(Exit::Unreachable);
    }
    Ok(exit)
}

/// What an adapter can be asked to play: two times and nothing else.
fn script(text: &str) -> Result<Script, Failure> {
    let mut script = Script { ttft: Nanos::ZERO, itl: Nanos::ZERO };
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let time = || Nanos::parse(value).map_err(|e| Failure::usage(format!("--script {key}: {e}")));
        match key {
            "ttft" => script.ttft = time()?,
            "itl" => script.itl = time()?,
            _ => return Err(Failure::usage(format!("--script `{part}`: an adapter plays ttft and itl alone; write ttft=50ms,itl=10ms"))),
        }
    }
    Ok(script)
}

fn hold(case: &Case, script: Script, socket: &Path, stopping: (&StopHandle, &Stop)) -> Result<Found, Failure> {
    let folder = Folder::new(None)?;
    let taken = load(case, Whom::Adapter(socket, script), folder.path(), stopping)?;
    if stopping.1.asked() {
        return Err(Failure { exit: Exit::Interrupted, message: "stopped during a calibration".into() });
    }
    let records = &taken.joined.records;
    let found = delays(records.iter(), script);
    let mut broken = taken.broken;
    if found.matched == 0 {
        broken.push("no answer came with the moments of its tokens".into());
    }
    if found.unmatched > 0 {
        broken.push(format!("{} answers whose `sent_ns` has not one moment for each `tokens` that holds one", found.unmatched));
    }
    if found.impossible > 0 {
        broken.push(format!(
            "{} answers with moments before their request was sent, after their token came, or out of order: \
             `sent_ns` must be CLOCK_MONOTONIC of this host",
            found.impossible
        ));
    }
    let of = |part: fn(&RequestRecord) -> Option<Nanos>| Errors::of(records.iter().filter_map(part).collect());
    let sent_late = |r: &RequestRecord| Some(r.at.sent? - r.at.start?);
    Ok(Found {
        case: case.clone(),
        rows: vec![
            ("token: arrived − handed over", "token", Errors::of(found.token)),
            ("adapter's pace: gap − scripted ITL", "pace", Errors::of(found.pace)),
            ("TTFT: first arrived − request sent − script", "ttft", Errors::of(found.ttft)),
            ("  of it the adapter, until it hands over", "ttft_adapter", Errors::of(found.ttft_adapter)),
            ("  of it the way, until it has arrived", "ttft_way", Errors::of(found.ttft_way)),
            ("harness: dispatch lag (start − due)", "dispatch_lag", of(RequestRecord::dispatch_lag)),
            ("harness: connection and upload (sent − start)", "sent_after_start", of(sent_late)),
        ],
        requests: records.len() as u64,
        failed: records.iter().filter(|r| !r.is_ok()).count() as u64,
        matched: found.matched,
        broken,
    })
}

impl Found {
    /// Tokens whose way is known.
    fn tokens(&self) -> u64 {
        self.rows.first().and_then(|row| row.2).map_or(0, |errors| errors.n)
    }

    fn json(&self) -> serde_json::Value {
        let Case { name, rate, concurrency, tokens, script, lasts, .. } = &self.case;
        let parts: serde_json::Map<_, _> = self.rows.iter().map(|(_, key, errors)| ((*key).to_owned(), errors_json(*errors))).collect();
        json!({
            "case": {
                "name": name, "rate_per_s": rate, "concurrency": rate.is_none().then_some(concurrency), "input_tokens": tokens.0,
                "output_tokens": tokens.1, "script": script, "duration_ns": lasts.0,
            },
            "latency": parts, "requests": self.requests, "failed": self.failed, "matched": self.matched, "tokens": self.tokens(),
            "broken": self.broken,
        })
    }
}

fn text(found: &[Found], markdown: bool) -> String {
    let host = HostFacts::read();
    let mut out = String::from("The adapter's own latency: what scripted answers took beyond their script, same host, one clock\n\n");
    for one in found {
        let Case { name, tokens, script, lasts, .. } = &one.case;
        let title = format!("{name}, {} + {} tokens, {script}, {lasts}", tokens.0, tokens.1);
        table(
            &mut out,
            &title,
            &["", "n", "mean", "p50", "p99", "largest"],
            markdown,
            one.rows.iter().filter_map(|(name, _, errors)| {
                let e = (*errors)?;
                let times = [Nanos(e.mean_ns as i64), e.p50, e.p99, e.max_abs].map(|t| t.to_string());
                Some([(*name).to_owned(), e.n.to_string()].into_iter().chain(times).collect())
            }),
        );
        let _ = writeln!(
            out,
            "{} requests, {} failed, {} with all their moments, {} tokens",
            one.requests,
            one.failed,
            one.matched,
            one.tokens()
        );
        for broken in &one.broken {
            let _ = writeln!(out, "INVALID {broken}");
        }
        out.push('\n');
    }
    let _ = writeln!(out, "host: {} cores, {}, {}, kernel {}; load average {:.2}", host.cores, host.cpu, host.os, host.kernel, host.load1);
    let _ = writeln!(
        out,
        "adapter and harness share these cores; the way of a token holds the adapter's encoding and write, the socket, and our wake-up"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_adapter_can_play() {
        let check = |text: &str, expect: Result<(i64, i64), &str>| match (script(text), expect) {
            (Ok(script), Ok(expect)) => assert_eq!((script.ttft.0, script.itl.0), expect, "{text}"),
            (Err(failure), Err(words)) => assert!(failure.message.contains(words), "{text}: {failure}"),
            (got, expect) => panic!("{text}: {expect:?}, {got:?}"),
        };
        check("ttft=50ms,itl=10ms", Ok((50_000_000, 10_000_000)));
        check("itl=1us", Ok((0, 1_000)));
        check("", Ok((0, 0)));
        check("ttft=soon", Err("--script ttft"));
        check("ttft", Err("--script ttft"));
        check("ttft=1ms,jitter=uniform:0.5", Err("ttft and itl alone"));
        LOADS.iter().for_each(|row| assert!(script(row.4).is_ok(), "{}", row.0));
    }
}
