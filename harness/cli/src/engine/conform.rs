//! `nomoat engine conform`: whether numbers taken from an endpoint would be true.

use crate::args::{ConformArgs, RunArgs};
use crate::ctrl_c;
use crate::exec;
use crate::exit::{Exit, Failure};
use crate::output::put;
use crate::setup::{self, Setup};
use crate::target::{self, Engine};
use crate::wait::unless_stopped;
use nomoat_core::conform::{Finding, Outcome, is_wrong};
use nomoat_drive::conform::{Quality, QualityOptions};
use nomoat_drive::{MonotonicClock, Stop};
use nomoat_results::Format;
use nomoat_results::table::List;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Longest time for one answer when none is given.
const PATIENCE: Duration = Duration::from_mins(2);
/// A text whose probability is asked for, where the endpoint tells those of prompts.
const TEXT: &str = "The quick brown fox jumps over the lazy dog. It was the best of times, it was the worst of times.";

/// What is said of a stop before the end.
const STOPPED: &str = "stopped before every check was made";

/// What was checked, in the words of its probe; empty where it was never answered.
#[derive(Default)]
struct Title {
    target: String,
    engine: String,
    version: String,
    model: String,
    dialect: String,
}

impl Title {
    fn of(engine: &Engine) -> Self {
        let (info, version) = (&engine.info, &engine.version);
        Self {
            target: info.target.clone(),
            engine: version.engine.clone(),
            version: version.version.clone(),
            model: engine.can.model.clone(),
            dialect: info.dialect.clone(),
        }
    }
}

/// What the checks found.
struct Found {
    findings: Vec<Finding>,
    quality: Option<(Quality, Result<f64, String>)>,
}

/// Runs the subcommand.
pub fn conform(args: ConformArgs) -> Result<Exit, Failure> {
    let format = setup::format(args.endpoint.format.as_deref().unwrap_or("table"))?;
    let load = args.quality.then_some(args.quality_load);
    if load == Some(0) {
        return Err(Failure::usage("--quality-load must be at least 1"));
    }
    if args.quality && (args.endpoint.exec.is_some() || args.endpoint.exec_socket.is_some()) {
        return Err(Failure::usage("--quality asks an endpoint over HTTP; leave it out with --exec and --exec-socket"));
    }
    let run = RunArgs { concurrency: Some(1), requests: Some(1), format: None, ..args.endpoint.into() };
    let mut setup = Setup::new(run)?;
    let (_, stop) = ctrl_c::install()?;
    let patience = if setup.args.timeout.is_some() { setup.timeouts.total.to_std() } else { PATIENCE };
    if setup.adapter.is_some() {
        return adapter(setup, &stop, patience, format);
    }
    let engine = target::connect(&mut setup, stop.clone())?;
    let found = unless_stopped(stop, STOPPED, check(&engine, setup.seed, patience, load))?;
    put(&show(&Title::of(&engine), &found, format)?);
    Ok(if is_wrong(&found.findings) { Exit::Invalid } else { Exit::Ok })
}

/// The same of an adapter: the rules of its protocol and, where it answers at all, what holds for every engine.
fn adapter(mut setup: Setup, stop: &Stop, patience: Duration, format: Format) -> Result<Exit, Failure> {
    exec::must_listen(&mut setup);
    let started = exec::start(&setup, stop)?;
    match held(&mut setup, stop, patience) {
        Err(failure) => Err(exec::blamed(started, failure)),
        Ok((title, found)) => {
            put(&show(&title, &found, format)?);
            let mut exit = if is_wrong(&found.findings) { Exit::Invalid } else { Exit::Ok };
            if let Some(ended) = started.and_then(exec::Adapter::stop) {
                eprintln!("nomoat: {ended}");
                exit = exit.worst(Exit::Unreachable);
            }
            Ok(exit)
        }
    }
}

fn held(setup: &mut Setup, stop: &Stop, patience: Duration) -> Result<(Title, Found), Failure> {
    let Some(socket) = setup.adapter.as_ref().map(|plan| plan.socket.clone()) else {
        return Err(Failure::usage("give --exec COMMAND or --exec-socket PATH"));
    };
    let rules = unless_stopped(stop.clone(), STOPPED, async { Ok(nomoat_exec::conform(&socket, patience).await) })?;
    let answers = rules.iter().any(|rule| rule.rule == "answer" && rule.ok);
    let of_rule = |rule: nomoat_exec::Finding| Finding::new(rule.rule, if rule.ok { Outcome::Good } else { Outcome::Wrong }, rule.detail);
    let mut findings: Vec<Finding> = rules.into_iter().map(of_rule).collect();
    if !answers {
        let title = Title { target: socket.display().to_string(), dialect: "exec".into(), ..Title::default() };
        return Ok((title, Found { findings, quality: None }));
    }
    let engine = target::connect(setup, stop.clone())?;
    let seed = nomoat_core::rng::stream_key(setup.seed, &uuid::Uuid::now_v7().to_string());
    let checks = async {
        let [backend] = &engine.backends[..] else { return Err(Failure::internal("an adapter is one backend")) };
        Ok(nomoat_drive::conform::conform(&**backend, &engine.can, Arc::new(MonotonicClock), seed, patience).await?)
    };
    findings.extend(unless_stopped(stop.clone(), STOPPED, checks)?);
    Ok((Title::of(&engine), Found { findings, quality: None }))
}

async fn check(engine: &Engine, seed: u64, patience: Duration, load: Option<usize>) -> Result<Found, Failure> {
    let Some(backend) = engine.over_http.first() else { return Err(Failure::usage("nomoat engine conform needs an endpoint's address")) };
    let clock = Arc::new(MonotonicClock);
    // A run of its own: its prompts are nobody else's.
    let seed = nomoat_core::rng::stream_key(seed, &uuid::Uuid::now_v7().to_string());
    let mut findings = vec![identity(engine)];
    findings.extend(nomoat_drive::conform::conform(&**backend, &engine.can, clock.clone(), seed, patience).await?);
    findings.extend(backend.conform(engine.can.context_tokens).await);
    let quality = match load {
        None => None,
        Some(load) => {
            let options = QualityOptions { load, patience, seed };
            let quality = nomoat_drive::conform::quality(&**backend, &engine.can, clock, options).await?;
            findings.push(agreement(&quality));
            Some((quality, backend.text_logprob(TEXT).await))
        }
    };
    Ok(Found { findings, quality })
}

/// Which engine and version it is.
fn identity(engine: &Engine) -> Finding {
    let version = &engine.version;
    let known = !version.engine.starts_with("unknown") && !version.version.starts_with('(');
    let saw = format!("{} {} ({})", version.engine, version.version, version.source);
    Finding::new("engine and version are told", if known { Outcome::Good } else { Outcome::Odd }, saw)
}

fn agreement(quality: &Quality) -> Finding {
    let Quality { prompts, same_alone, same_under_load, common_under_load, degenerate, empty, load, .. } = quality;
    let saw = format!(
        "{same_alone} of {prompts} the same alone, {same_under_load} under a load of {load} ({:.0} % of an answer on average); {degenerate} repeat themselves, {empty} are empty",
        common_under_load * 100.0
    );
    let outcome = match () {
        () if *empty > prompts / 2 => Outcome::Wrong,
        () if same_alone < prompts || same_under_load < prompts || *degenerate > 0 => Outcome::Odd,
        () => Outcome::Good,
    };
    Finding::new("answers repeat", outcome, saw)
}

fn show(title: &Title, found: &Found, format: Format) -> Result<String, Failure> {
    if format == Format::Json {
        let findings: Vec<_> =
            found.findings.iter().map(|f| json!({"check": f.check, "outcome": f.outcome.name().to_lowercase(), "saw": f.saw})).collect();
        let quality = found.quality.as_ref().map(|(q, logprob)| {
            json!({
                "prompts": q.prompts, "same_alone": q.same_alone, "same_under_load": q.same_under_load, "load": q.load,
                "common_under_load": q.common_under_load, "degenerate": q.degenerate, "empty": q.empty, "finishes": q.finishes,
                "mean_logprob": logprob.as_ref().ok(), "mean_logprob_reason": logprob.as_ref().err(),
            })
        });
        let whole = json!({
            "schema": "conform/1", "target": title.target, "engine": title.engine, "version": title.version,
            "model": title.model, "dialect": title.dialect, "wrong": is_wrong(&found.findings), "findings": findings,
            "quality": quality,
        });
        return serde_json::to_string_pretty(&whole).map(|text| text + "\n").map_err(Failure::internal);
    }
    let rows = found.findings.iter().map(|f| vec![f.check.to_owned(), f.outcome.name().to_owned(), f.saw.clone()]).collect();
    let list = List { columns: vec![("check", 33), ("", 8), ("what was seen", 54)], rows };
    if format != Format::Table {
        return Ok(list.render(format));
    }
    let model = if title.model.is_empty() { String::new() } else { format!(", model {}", title.model) };
    let heading = format!("{}{model}, {}\n", title.target, title.dialect);
    let mut lines = vec![heading, list.render(format)];
    if let Some((quality, logprob)) = &found.quality {
        let finishes: Vec<String> = quality.finishes.iter().map(|(why, n)| format!("{n} {why}")).collect();
        lines.push(format!("answers end by: {}", finishes.join(", ")));
        lines.push(match logprob {
            Ok(mean) => format!("mean log-probability of a fixed text: {mean:.4} per token"),
            Err(why) => format!("mean log-probability of a fixed text: – ({why})"),
        });
    }
    lines.push(if is_wrong(&found.findings) {
        "WRONG: numbers taken here would be wrong in what is marked so\n".into()
    } else {
        "numbers taken here are true, with what is marked odd in mind\n".into()
    });
    Ok(lines.join("\n"))
}
