//! The same load by nomoat: a process of its own, as the other harness was.

use super::plan::Plan;
use super::rows_of;
use crate::ctrl_c::by_signal;
use crate::exit::{Exit, Failure};
use crate::joined::Joined;
use nomoat_core::units::Nanos;
use nomoat_drive::Stop;
use nomoat_results::RunDir;
use nomoat_truth::Truth;
use nomoat_truth::audit::{AskedLoad, Side, of_records};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// Our side, and what there is to say about it.
pub struct Ours {
    /// Held against the log.
    pub side: Side,
    /// Lines under the table.
    pub notes: Vec<String>,
}

/// Runs `nomoat run` against the server and holds it against the log.
pub fn run(plan: &Plan, server: &Truth, out: &Path, stop: &Stop) -> Result<Ours, Failure> {
    let own = std::env::current_exe().map_err(|e| Failure::internal(format!("finding our own program: {e}")))?;
    let mut command = Command::new(own);
    command.args(["run", "--url", &format!("http://{}", server.addr()), "--warmup", "0s", "--quiet", "--format", "json", "--out"]).arg(out);
    for (flag, value) in [("--requests", plan.requests), ("--input-tokens", plan.input_tokens), ("--output-tokens", plan.output_tokens)] {
        command.args([flag, &value.to_string()]);
    }
    match plan.load {
        AskedLoad::Constant(rate) => command.args(["--rate", &rate.to_string(), "--arrivals", "constant"]),
        AskedLoad::Poisson(rate) => command.args(["--rate", &rate.to_string(), "--arrivals", "poisson"]),
        AskedLoad::Closed(concurrency) => command.args(["--concurrency", &concurrency.to_string()]),
    };
    // A Ctrl-C reaches it too and ends it, so that waiting is bounded by its own timeouts.
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| Failure::internal(format!("starting our own run: {e}")))?;
    if stop.asked() {
        return Err(Failure { exit: by_signal(Exit::Interrupted), message: "stopped while our own run went on".into() });
    }
    let rows = rows_of(server);
    let summary: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| Failure::internal(format!("our own run ended with {} and no report; what it said is above", output.status)))?;
    let id = summary["run_id"].as_str().unwrap_or_default();
    let dir = RunDir::open(&out.join(id)).map_err(Failure::internal)?;
    let manifest = dir.manifest().map_err(Failure::internal)?;
    let joined = Joined::read(&dir, &manifest).map_err(Failure::internal)?;
    let reported = of_records(&joined.records, env!("CARGO_PKG_VERSION"), |record| joined.id(record));
    let mut notes = vec![];
    if let Some(errors) = joined.compare(&rows).ttft.all {
        notes.push(format!(
            "nomoat's TTFT counts from due and so has our own lateness and connecting in it; from sent, its error is {} on average, p99 {}",
            Nanos(errors.mean_ns.round() as i64),
            errors.p99
        ));
    }
    let broken = broken(&summary);
    if !broken.is_empty() {
        notes.push(format!("nomoat's own run is INVALID here: {}", broken.join("; ")));
    }
    // Ids match, so that no offset between clocks is needed.
    Ok(Ours { side: Side::new(reported, &rows, plan.load, Nanos::ZERO), notes })
}

/// The rules that made our run INVALID.
fn broken(summary: &Value) -> Vec<String> {
    let rules = summary.pointer("/validity/rules").and_then(Value::as_array);
    let failed = rules.into_iter().flatten().filter(|rule| rule["severity"] == "invalid" && rule["finding"] == "fail");
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    failed
        .map(|rule| format!("{} {}: {}, allowed {}", text(rule, "code"), text(rule, "rule"), text(rule, "value"), text(rule, "limit")))
        .collect()
}
