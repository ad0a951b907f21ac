//! One engine, from its start to its stop: this is what runs inside the network of its own.

use super::cache::Cache;
use super::checks::{Checked, Seen, Verdict, judged};
use super::fill::Names;
use super::process::{Group, shown};
use super::relay::Relay;
use super::spec::{Counters, Spec};
use super::wire::{self, Exchange, Usage};
use super::{http, pages};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Set around everything: nothing here may look for a model hub or report its use.
const QUIET: &[(&str, &str)] = &[("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1"), ("DO_NOT_TRACK", "1"), ("PYTHONUNBUFFERED", "1")];
/// Between two looks whether it is ready.
const LOOK: Duration = Duration::from_millis(500);
/// Longest time for a run to end, and for `conform`.
const RUN_WITHIN: Duration = Duration::from_mins(15);
/// Longest time until counters say what was answered: some are written a moment after the answer.
const SETTLE: Duration = Duration::from_secs(20);
/// Requests over each further route.
const DIALECT_REQUESTS: &str = "5";
/// What may make a run INVALID here: the harness was late, because engine and harness share few cores.
const ALLOWED: [&str; 2] = ["V05", "V06"];

/// What belongs to one engine while it runs.
pub struct Place<'a> {
    pub spec: &'a Spec,
    pub cache: &'a Cache,
    pub nomoat: &'a Path,
    names: Names,
    logs: PathBuf,
}

impl<'a> Place<'a> {
    /// Makes its folders anew.
    pub fn new(spec: &'a Spec, cache: &'a Cache, nomoat: &'a Path) -> Result<Self> {
        let logs = cache.logs(&spec.name);
        let work = logs.join("work");
        if work.exists() {
            std::fs::remove_dir_all(&work).with_context(|| format!("removing {}", work.display()))?;
        }
        std::fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
        Ok(Self { spec, cache, nomoat, names: cache.names(spec), logs })
    }

    /// Starts it, checks it, stops it.
    pub fn see(&self) -> Seen {
        match self.start() {
            Err(error) => Seen::Skipped(format!("{error:#}")),
            Ok(groups) => {
                let (nomoat, checks) = self.check();
                // In the order of their start's reverse: a worker goes before what it reports to.
                groups.into_iter().rev().for_each(drop);
                Seen::Checked { nomoat, checks }
            }
        }
    }

    fn start(&self) -> Result<Vec<Group>> {
        let mut groups = vec![];
        for start in &self.spec.start {
            let words = self.names.fill_all(&start.command)?;
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).current_dir(self.logs.join("work")).envs(QUIET.iter().copied());
            for (name, value) in self.spec.env.iter().chain(&start.env) {
                command.env(name, self.names.fill(value)?);
            }
            let log = self.logs.join(format!("{}.log", start.name));
            std::fs::write(&log, format!("{}\n", shown(&command))).with_context(|| format!("writing {}", log.display()))?;
            groups.push(Group::start(&start.name, &mut command, &log)?);
        }
        let ready = self.names.fill(&format!("{}{}", self.spec.endpoint.url, self.spec.endpoint.ready))?;
        let contains = self.names.fill(&self.spec.endpoint.ready_contains)?;
        eprintln!("   starting; its words are in {}", self.logs.display());
        let begun = Instant::now();
        loop {
            groups.iter_mut().try_for_each(Group::must_run)?;
            if http::get(&ready).is_ok_and(|(status, body)| status == 200 && body.contains(&contains)) {
                eprintln!("   ready after {:.1} s", begun.elapsed().as_secs_f64());
                return Ok(groups);
            }
            let within = self.spec.endpoint.within_s;
            if begun.elapsed() > Duration::from_secs(within) {
                let tails: Vec<String> =
                    self.spec.start.iter().map(|s| super::process::tail(&self.logs.join(format!("{}.log", s.name)))).collect();
                bail!("it was not ready after {within} s at {ready}; its last words:\n{}", tails.join("\n"));
            }
            thread::sleep(LOOK);
        }
    }

    fn check(&self) -> (String, Vec<Checked>) {
        let judged = |name, outcome| judged(self.spec, name, outcome);
        let (mut nomoat, mut checks) = ("without a manifest".to_owned(), vec![]);
        let load = &self.spec.run;
        match self.run("runs", &["--duration", &load.duration]) {
            Err(error) => checks.push(judged("run", Err(error))),
            Ok(run) => {
                nomoat = run.nomoat();
                checks.push(judged("run", run.complete()));
                checks.push(judged("tokens", self.tokens(&run)));
                if !load.dialects.is_empty() {
                    checks.push(judged("dialects", self.dialects()));
                }
                if self.spec.counters.is_some() {
                    checks.push(judged("join", run.join()));
                }
                checks.push(judged("version", self.version(&run)));
                run.notes().into_iter().for_each(|note| eprintln!("   nomoat notes: {note}"));
            }
        }
        checks.push(match self.conform() {
            Ok(Some(said)) => judged("conform", Ok(said)),
            Ok(None) => {
                Checked { name: "conform".into(), verdict: Verdict::Unavailable, said: "this nomoat has no `engine conform`".into() }
            }
            Err(error) => judged("conform", Err(error)),
        });
        (nomoat, checks)
    }

    /// What the engine has counted: of prompts, and of answers.
    fn counted(&self, counters: &Counters) -> Result<(u64, u64)> {
        let url = self.names.fill(&counters.url)?;
        let (status, page) = http::get(&url)?;
        ensure!(status == 200, "{url} answers {status}");
        std::fs::write(self.logs.join("metrics.txt"), &page).context("keeping the metrics page")?;
        Ok((pages::total(&page, &counters.input).unwrap_or(0), pages::total(&page, &counters.output).unwrap_or(0)))
    }

    /// Every other route; one that fails hides none after it.
    fn dialects(&self) -> Result<String> {
        let (mut good, mut bad) = (vec![], vec![]);
        for (n, route) in self.spec.run.dialects.iter().enumerate() {
            let run = self.run(&format!("dialect-{n}"), &["--requests", DIALECT_REQUESTS, "--endpoint", route]);
            match run.and_then(|run| run.complete().and_then(|_| self.tokens(&run))) {
                Ok(said) => good.push(format!("{route}: {said}")),
                Err(error) => bad.push(format!("{route}: {error:#}")),
            }
        }
        ensure!(bad.is_empty(), "{}", [bad, good].concat().join("; "));
        Ok(good.join("; "))
    }

    fn run(&self, name: &str, more: &[&str]) -> Result<Run> {
        let before = self.spec.counters.as_ref().map(|counters| self.counted(counters)).transpose()?;
        let endpoint = self.names.fill(&self.spec.endpoint.url)?;
        let (host, path) = http::split(&endpoint)?;
        let relay = Relay::start(host)?;
        let out = self.logs.join("work").join(name);
        let load = &self.spec.run;
        let mut command = Command::new(self.nomoat);
        command.args(["run", "--url", &format!("http://{}{}", relay.address, path.trim_end_matches('/'))]);
        command.args(["--rate", &load.rate.to_string(), "--arrivals", "constant"]).args(more);
        command.args(["--input-tokens", &load.input_tokens.to_string(), "--output-tokens", &load.output_tokens.to_string()]);
        command.arg("--out").arg(&out).arg("--quiet").args(self.names.fill_all(&load.flags)?);
        command.env_remove("NOMOAT_API_KEY");
        eprintln!("   {}", shown(&command));
        let log = self.logs.join(format!("nomoat-{name}.log"));
        std::fs::write(&log, "").with_context(|| format!("writing {}", log.display()))?;
        let code = Group::start("nomoat run", &mut command, &log)?.wait(RUN_WITHIN)?;
        let dirs: Vec<PathBuf> = std::fs::read_dir(&out).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        let [dir] = dirs.as_slice() else {
            bail!("nomoat ended with {code:?} and {} run directories; its last words:\n{}", dirs.len(), super::process::tail(&log));
        };
        let report =
            Command::new(self.nomoat).arg("report").arg(dir).args(["--format", "json"]).output().context("starting nomoat report")?;
        let summary: Value = serde_json::from_slice(&report.stdout)
            .with_context(|| format!("reading what nomoat report prints: {}", String::from_utf8_lossy(&report.stderr)))?;
        let manifest = std::fs::read(dir.join("manifest.json")).context("reading the run's manifest")?;
        let manifest: Value = serde_json::from_slice(&manifest).context("reading the run's manifest")?;
        let mut exchanges = vec![];
        for talk in relay.take() {
            exchanges.extend(wire::posts(&talk)?);
        }
        Ok(Run { code, summary, manifest, exchanges, before })
    }

    fn tokens(&self, run: &Run) -> Result<String> {
        let (ours, others) = run.exchanges()?;
        let wire = sum(&ours)?;
        let records = run.counts()?;
        ensure!(records == wire, "the records count {}, the same answers on the wire {}", words(records), words(wire));
        // What is refused makes no token; what is answered must say how many.
        let before: Vec<&Exchange> = others.into_iter().filter(|e| e.status == 200).collect();
        let all = wire + sum(&before)?;
        let Some((counters, (input, output))) = self.spec.counters.as_ref().zip(run.before) else {
            let again = self.retokenized(&ours)?;
            return Ok(format!(
                "{} in {} answers, by records and by each response's usage; it has no counters; tokenized again, the text has {again} tokens \
                 (not judged: random weights write broken characters)",
                words(records),
                ours.len()
            ));
        };
        let begun = Instant::now();
        loop {
            let (now_input, now_output) = self.counted(counters)?;
            let grown = now_input.checked_sub(input).zip(now_output.checked_sub(output)).context("the engine's counters went back")?;
            if grown == (all.input, all.output) {
                let settled = format!("{} + {} of {} pre-flight requests", words(records), words(sum(&before)?), before.len());
                return Ok(format!("{settled} = the engine's counters {} + {}", grown.0, grown.1));
            }
            if begun.elapsed() > SETTLE {
                bail!(
                    "{} of {} answers and {} of {} pre-flight requests on the wire, but the engine's counters grew by {} + {}",
                    words(wire),
                    ours.len(),
                    words(sum(&before)?),
                    before.len(),
                    grown.0,
                    grown.1
                );
            }
            thread::sleep(LOOK);
        }
    }

    /// The answers' text, tokenized again by the model's own tokenizer.
    fn retokenized(&self, ours: &[&Exchange]) -> Result<String> {
        let texts: Vec<&str> = ours.iter().map(|e| e.text.as_str()).collect();
        let file = self.logs.join("work/texts.json");
        std::fs::write(&file, serde_json::to_vec(&texts)?).with_context(|| format!("writing {}", file.display()))?;
        let script = self.names.fill("{scripts}/count_tokens.py")?;
        let output = Command::new(self.cache.python()).args([script, self.names.fill("{model}")?]).arg(&file).output()?;
        ensure!(output.status.success(), "count_tokens.py: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn version(&self, run: &Run) -> Result<String> {
        let said = |name: &str| run.manifest.pointer(&format!("/backend/{name}")).and_then(Value::as_str).unwrap_or_default();
        let (engine, version, source) = (said("engine"), said("engine_version"), said("version_source"));
        let expect = &self.spec.expect;
        let found = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        ensure!(
            found(engine, &expect.engine) && expect.version.as_ref().is_none_or(|expected| found(version, expected)),
            "it is taken for `{engine}`, version `{version}` ({source}), not for {} {}",
            expect.engine,
            expect.version.as_deref().unwrap_or_default()
        );
        Ok(format!("{engine} {version} ({source})"))
    }

    fn conform(&self) -> Result<Option<String>> {
        let help = Command::new(self.nomoat).args(["engine", "conform", "--help"]).output().context("starting nomoat engine")?;
        if !help.status.success() {
            return Ok(None);
        }
        let [out, log] = ["nomoat-conform.json", "nomoat-conform.log"].map(|name| self.logs.join(name));
        for file in [&out, &log] {
            std::fs::write(file, "").with_context(|| format!("writing {}", file.display()))?;
        }
        let mut command = Command::new(self.nomoat);
        command.args(["engine", "conform", &self.names.fill(&self.spec.endpoint.url)?, "--format", "json"]);
        command.args(self.names.fill_all(&self.spec.run.flags)?);
        let code = Group::start_apart("nomoat engine conform", &mut command, &out, &log)?.wait(RUN_WITHIN)?;
        let found = std::fs::read(&out).with_context(|| format!("reading {}", out.display()))?;
        let found: Value = serde_json::from_slice(&found)
            .with_context(|| format!("it ended with {code:?}; its last words:\n{}", super::process::tail(&log)))?;
        let said = findings(&found)?;
        let wrong = found.get("wrong").and_then(Value::as_bool).context("it does not say whether anything is wrong")?;
        ensure!(code == Some(if wrong { 5 } else { 0 }), "it ended with {code:?}, which its findings do not say: {said}");
        ensure!(!wrong, "{said}");
        Ok(Some(said))
    }
}

/// How many findings there are of each kind, and those that are not good with their words.
fn findings(found: &Value) -> Result<String> {
    let all = found.get("findings").and_then(Value::as_array).context("it lists no findings")?;
    let text = |finding: &Value, name: &str| finding.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let good = all.iter().filter(|finding| text(finding, "outcome") == "good").count();
    let others: Vec<String> = all
        .iter()
        .filter(|finding| text(finding, "outcome") != "good")
        .map(|finding| format!("{}: {} ({})", text(finding, "outcome"), text(finding, "check"), text(finding, "saw")))
        .collect();
    Ok([vec![format!("{good} of {} good", all.len())], others].concat().join("; "))
}

/// What is left of a run.
struct Run {
    code: Option<i32>,
    summary: Value,
    manifest: Value,
    exchanges: Vec<Exchange>,
    before: Option<(u64, u64)>,
}

impl Run {
    fn count(&self, name: &str) -> Result<u64> {
        self.summary.pointer(&format!("/counts/{name}")).and_then(Value::as_u64).with_context(|| format!("the report has no counts.{name}"))
    }

    fn counts(&self) -> Result<Usage> {
        Ok(Usage { input: self.count("input_tokens")?, output: self.count("output_tokens")?, cached: self.count("cached_tokens")? })
    }

    /// The requests of the records, and all others.
    fn exchanges(&self) -> Result<(Vec<&Exchange>, Vec<&Exchange>)> {
        let prefix =
            self.manifest.pointer("/ext/x_request_id_prefix").and_then(Value::as_str).context("the manifest has no request id prefix")?;
        Ok(self.exchanges.iter().partition(|e| e.id.starts_with(prefix)))
    }

    fn rules(&self) -> impl Iterator<Item = &Value> {
        self.summary.pointer("/validity/rules").and_then(Value::as_array).into_iter().flatten()
    }

    fn complete(&self) -> Result<String> {
        let text = |rule: &Value, name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let failed: Vec<&Value> =
            self.rules().filter(|rule| text(rule, "severity") == "invalid" && text(rule, "finding") == "fail").collect();
        let late: Vec<String> =
            failed.iter().map(|rule| format!("{} {}: {}", text(rule, "code"), text(rule, "rule"), text(rule, "value"))).collect();
        if let Some(other) = failed.iter().find(|rule| !ALLOWED.contains(&text(rule, "code").as_str())) {
            bail!("{} {}: {}; exit {:?}", text(other, "code"), text(other, "rule"), text(other, "value"), self.code);
        }
        let wanted = if failed.is_empty() { 0 } else { 5 };
        ensure!(self.code == Some(wanted), "it ended with {:?}, and its report says {wanted}", self.code);
        let [scheduled, recorded, ok, uncounted] = ["scheduled", "recorded", "ok", "uncounted"].map(|name| self.count(name));
        let (scheduled, recorded, ok, uncounted) = (scheduled?, recorded?, ok?, uncounted?);
        let sent = self.exchanges()?.0.len() as u64;
        ensure!(
            scheduled > 0 && [recorded, ok, sent].iter().all(|n| *n == scheduled) && uncounted == 0,
            "{scheduled} scheduled, {sent} on the wire, {recorded} recorded, {ok} answered, {uncounted} uncounted"
        );
        let late = if late.is_empty() { String::new() } else { format!("; INVALID, allowed here: {}", late.join("; ")) };
        Ok(format!("{scheduled} requests scheduled, sent, recorded, answered and counted{late}"))
    }

    fn join(&self) -> Result<String> {
        let is_it = |rule: &&Value| rule.get("rule").and_then(Value::as_str).is_some_and(|r| r.contains("engine's counter"));
        let rule = self.rules().find(is_it).context("the report has no such rule")?;
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
        ensure!(text("finding") == "pass", "{}: {}", text("finding").replace('_', " "), text("value"));
        Ok(text("value").to_owned())
    }

    /// Which nomoat it was.
    fn nomoat(&self) -> String {
        let harness = |name: &str| self.manifest.pointer(&format!("/harness/{name}"));
        let sha: String = harness("git_sha").and_then(Value::as_str).unwrap_or("an unknown revision").chars().take(12).collect();
        let changed = if harness("git_dirty").and_then(Value::as_bool) == Some(false) { "" } else { " with changes" };
        format!("{sha}{changed}")
    }

    fn notes(&self) -> Vec<String> {
        let notes = self.manifest.pointer("/backend/notes").and_then(Value::as_array);
        notes.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
    }
}

/// All usage together.
fn sum(exchanges: &[&Exchange]) -> Result<Usage> {
    exchanges.iter().try_fold(Usage::default(), |sum, exchange| {
        let usage = exchange.usage.ok_or_else(|| anyhow!("the answer to {} ({}) reports no usage", exchange.path, exchange.id))?;
        Ok(sum + usage)
    })
}

fn words(usage: Usage) -> String {
    format!("{} + {} tokens ({} cached)", usage.input, usage.output, usage.cached)
}
