//! One calibration: the instrument against the scripted server, as a process of its own on this host, under one load. What it gives is
//! the certificate of that load: how far off every kind of number was.

use crate::args::{EnergyArgs, RunArgs};
use crate::exit::{Exit, Failure};
use crate::folder::Folder;
use crate::joined::Joined;
use crate::measure::Bench;
use crate::setup::{Mode, Setup};
use crate::target;
use crate::truth::errors_json;
use nomoat_core::record::RequestRecord;
use nomoat_core::report::{Population, Stat};
use nomoat_core::units::Nanos;
use nomoat_core::validity::Severity;
use nomoat_drive::{Stop, StopHandle};
use nomoat_exec::Script;
use nomoat_truth::{ErrorReport, Errors, read_log};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The file that holds the scripted server's certificate.
const CERTIFICATE: &str = "truth.pem";

/// How a calibration loads the instrument.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// What it is called.
    pub name: String,
    /// Requests per second of an open loop with Poisson arrivals; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Lanes of a closed loop.
    pub concurrency: u32,
    /// Tokens of prompt and answer.
    pub tokens: (u32, u32),
    /// What the server plays.
    pub script: String,
    /// Length of the measured window.
    pub lasts: Nanos,
    /// Load-generating threads; `None` for the default.
    pub shards: Option<u16>,
    /// How the server is reached.
    pub way: Way,
}

/// The transport of a calibration: that of the run it certifies.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Way {
    /// Under TLS.
    pub tls: bool,
    /// As --http.
    pub http: Option<String>,
    /// As --connections.
    pub connections: Option<String>,
}

impl Way {
    /// In words, for certificates.
    pub fn name(&self) -> String {
        let http = if self.http.as_deref() == Some("2") { "HTTP/2" } else { "HTTP/1.1" };
        let connections = self.connections.as_ref().map_or(String::new(), |c| format!(", connections {c}"));
        format!("{http}{}{connections}", if self.tls { " over TLS" } else { "" })
    }
}

/// What a calibration found.
#[derive(Clone, PartialEq, Debug)]
pub struct Certificate {
    /// The load.
    pub case: Case,
    /// Ours minus the server's log.
    pub errors: ErrorReport,
    /// Start − due of the measured requests.
    pub lag: Option<Errors>,
    /// Requests whose due came, and those whose bytes went out.
    pub scheduled: u64,
    pub sent: u64,
    /// How much it took.
    pub volume: Volume,
    /// Largest resident memory of this process so far.
    pub resident_bytes: Option<u64>,
    /// Chunks that shared their read.
    pub coalesced: f64,
    /// Rules the run broke.
    pub broken: Vec<String>,
}

/// The scripted server as a process of its own; it ends with this value.
pub struct Server {
    child: Child,
    pub url: String,
}

impl Server {
    /// Starts it with these arguments after `truth`.
    pub fn start(args: &[&str]) -> Result<Self, Failure> {
        let failed = |what: &str, e: std::io::Error| Failure::internal(format!("{what} the scripted server for calibration: {e}"));
        let program = std::env::current_exe().map_err(|e| failed("finding", e))?;
        let mut child = Command::new(program)
            .args(["truth", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| failed("starting", e))?;
        let mut url = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut url).map_err(|e| failed("hearing from", e))?;
        }
        let server = Self { child, url: url.trim().to_owned() };
        if server.url.is_empty() {
            return Err(Failure::internal("the scripted server for calibration did not start; try `nomoat truth` by hand"));
        }
        Ok(server)
    }

    /// Asks it to end and waits until its log is written.
    pub fn stop(mut self) {
        self.interrupt();
        let _ = self.child.wait();
    }

    fn interrupt(&self) {
        #[cfg(unix)]
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a run against the scripted server gave, for a certificate or a ceiling.
pub struct Taken {
    /// Its records, to be held against the server's log.
    pub joined: Joined,
    pub scheduled: u64,
    /// Rules of the verdict that it broke.
    pub broken: Vec<String>,
    pub coalesced: f64,
    cpu: Nanos,
}

/// How much a run took, from its first start to its last end.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Volume {
    /// Token events and answers per second.
    pub events_per_s: f64,
    pub requests_per_s: f64,
    /// CPU time of the harness, all threads, per million token events.
    pub cpu_s_per_million: f64,
    /// The same as a part of one core.
    pub cpu_cores: f64,
    /// Requests that failed.
    pub failed: u64,
}

impl Taken {
    /// How much it took.
    pub fn volume(&self) -> Volume {
        let records = &self.joined.records;
        let events: u64 = records.iter().map(|r| r.chunk_gaps.len() as u64).sum();
        let answers = records.iter().filter(|r| r.is_ok()).count() as u64;
        let (first, last) = (records.iter().filter_map(|r| r.at.start).min(), records.iter().filter_map(|r| r.at.end).max());
        let seconds = first.zip(last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        let over = |value: f64, divisor: f64| if divisor > 0.0 { value / divisor } else { 0.0 };
        let cpu = self.cpu.as_secs_f64();
        Volume {
            events_per_s: over(events as f64, seconds),
            requests_per_s: over(answers as f64, seconds),
            cpu_s_per_million: over(cpu, events as f64) * 1e6,
            cpu_cores: over(cpu, seconds),
            failed: records.len() as u64 - answers,
        }
    }
}

/// What is loaded.
#[derive(Clone, Copy)]
pub enum Whom<'a> {
    /// A server at this address.
    Server(&'a str),
    /// The adapter that listens on this socket; it plays the script.
    Adapter(&'a Path, Script),
}

/// Runs the load of `case` against `whom`, with its files under `out`.
pub fn load(case: &Case, whom: Whom<'_>, out: &Path, stopping: (&StopHandle, &Stop)) -> Result<Taken, Failure> {
    let (url, socket, script) = match whom {
        Whom::Server(url) => (vec![url.to_owned()], None, None),
        Whom::Adapter(socket, script) => (vec![], Some(socket.to_owned()), Some(script)),
    };
    let nanos = |n: Nanos| format!("{}ns", n.0);
    let args = RunArgs {
        url,
        exec_socket: socket,
        input_tokens: Some(case.tokens.0),
        output_tokens: Some(case.tokens.1),
        rate: case.rate,
        concurrency: case.rate.is_none().then_some(case.concurrency),
        duration: Some(nanos(case.lasts)),
        warmup: Some("500ms".into()),
        max_in_flight: Some(100_000),
        shards: case.shards,
        quiet: true,
        out: Some(out.to_owned()),
        http: case.way.http.clone(),
        connections: case.way.connections.clone(),
        ca_file: case.way.tls.then(|| out.join(CERTIFICATE)),
        // The instrument alone is measured here.
        energy: EnergyArgs { energy: Some("off".into()), ..EnergyArgs::default() },
        ..RunArgs::default()
    };
    let mut setup = Setup::new(args)?;
    if let Some(adapter) = &mut setup.adapter {
        adapter.script = script;
    }
    let (handle, stop) = (stopping.0.clone(), stopping.1.clone());
    let engine = target::connect(&mut setup, stop.clone())?;
    let Mode::Single(load) = setup.mode.clone() else { return Err(Failure::internal("a calibration has one load")) };
    let measured = Bench::new(&setup, &engine, handle, stop)?.measure(load)?;
    let report = &measured.report;
    // On this host the engine shares its cores; that is the point of the exercise and no news.
    let broken = report.validity.broken(Severity::Invalid).map(|r| format!("{} {}: {}", r.code, r.rule, r.value)).collect();
    Ok(Taken {
        joined: Joined::read(&measured.dir, &measured.manifest).map_err(Failure::internal)?,
        scheduled: report.counts.scheduled,
        broken,
        coalesced: report.get("coalesced_share", Stat::Rate, Population::Ok).and_then(|r| r.value).unwrap_or_default(),
        cpu: measured.cpu,
    })
}

/// Calibrates under one load.
pub fn certify(case: &Case, stop_handle: &StopHandle, stop: &Stop) -> Result<Certificate, Failure> {
    let folder = Folder::new(None)?;
    let log = folder.file("truth.jsonl");
    let shown = log.to_string_lossy().into_owned();
    let certificate = folder.file(CERTIFICATE).to_string_lossy().into_owned();
    let secure = ["--tls", "--certificate", &certificate];
    let server = Server::start(&[&["--script", &case.script, "--log", &shown], &secure[..if case.way.tls { 3 } else { 0 }]].concat())?;
    let taken = load(case, Whom::Server(&server.url), folder.path(), (stop_handle, stop))?;
    server.stop();
    if stop.asked() {
        return Err(Failure { exit: Exit::Interrupted, message: "stopped during a calibration".into() });
    }
    let rows = read_log(&log).map_err(Failure::internal)?;
    let (volume, records) = (taken.volume(), &taken.joined.records);
    Ok(Certificate {
        case: case.clone(),
        errors: taken.joined.compare(&rows),
        lag: Errors::of(records.iter().filter_map(RequestRecord::dispatch_lag).collect()),
        scheduled: taken.scheduled,
        sent: records.iter().filter(|r| r.at.sent.is_some()).count() as u64,
        volume,
        resident_bytes: nomoat_drive::peak_resident(),
        coalesced: taken.coalesced,
        broken: taken.broken,
    })
}

impl Certificate {
    /// As it stands in a manifest.
    pub fn json(&self) -> Value {
        let volume = &self.volume;
        let case = &self.case;
        json!({
            "case": {
                "name": case.name, "rate_per_s": case.rate, "concurrency": case.rate.is_none().then_some(case.concurrency),
                "input_tokens": case.tokens.0, "output_tokens": case.tokens.1, "script": case.script, "transport": case.way.name(), "duration_ns": case.lasts.0,
            },
            "error": {
                "ttft": errors_json(self.errors.ttft.all), "ttft_separate": errors_json(self.errors.ttft.separate),
                "ttft_coalesced": errors_json(self.errors.ttft.coalesced), "itl": errors_json(self.errors.itl),
                "tpot": errors_json(self.errors.tpot), "e2e": errors_json(self.errors.e2e),
            },
            "dispatch_lag": errors_json(self.lag),
            "scheduled": self.scheduled, "sent": self.sent, "failed": volume.failed,
            "matched": self.errors.matched, "token_mismatches": self.errors.token_mismatches,
            "events_per_s": volume.events_per_s, "requests_per_s": volume.requests_per_s,
            "cpu_s_per_million_events": volume.cpu_s_per_million, "cpu_cores": volume.cpu_cores,
            "resident_bytes": self.resident_bytes, "coalesced_share": self.coalesced, "broken": self.broken,
        })
    }

    /// The error of TTFT as it is judged: its 99th percentile, or the largest magnitude where fewer values make that the same.
    pub fn ttft_error(&self) -> Option<Nanos> {
        self.errors.ttft.all.map(|e| Nanos(e.p99.0.abs().max(e.mean_ns.abs() as i64)))
    }
}
