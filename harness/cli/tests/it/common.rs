//! Starting the binary, waiting for it, and reading what it left.

use nomoat_truth::{Config, Script, Truth};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for a process or for something it does; only one that hangs needs it.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Rules that judge how punctual the host was.
const OF_THE_HOST: [&str; 2] = ["V05", "V06"];

/// A folder that a test works in.
pub struct Place {
    dir: TempDir,
    env: Vec<(String, String)>,
    started: AtomicU32,
}

/// A process that ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A process that runs; dropping it kills it.
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), env: vec![], started: AtomicU32::new(0) }
    }

    /// Sets an environment variable for what is started here.
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file and returns its path as text.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Starts the binary here.
    pub fn start<S: AsRef<str>>(&self, args: &[S]) -> Running {
        let n = self.started.fetch_add(1, Ordering::Relaxed);
        let (stdout, stderr) = (self.path().join(format!("{n}.stdout")), self.path().join(format!("{n}.stderr")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_nomoat"));
        // What the developer's shell says shall not matter.
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "RUST_BACKTRACE", "COLUMNS"] {
            command.env_remove(name);
        }
        let child = command
            .args(args.iter().map(AsRef::as_ref))
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Running { child, stdout, stderr }
    }

    /// Runs the binary here to its end.
    pub fn run<S: AsRef<str>>(&self, args: &[S]) -> Ended {
        self.start(args).end()
    }

    /// The same with words between spaces.
    pub fn say(&self, line: &str) -> Ended {
        self.run(&words(line))
    }

    /// The run directories, in the order in which they were made (their names begin with the time).
    pub fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path().join("runs")) else { return vec![] };
        let mut runs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        runs.sort();
        runs
    }

    /// The only run directory.
    pub fn only_run(&self) -> PathBuf {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].clone()
    }
}

/// The words of a command line without quotes.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

impl Running {
    /// Waits for the end.
    pub fn end(mut self) -> Ended {
        let status = until("the process ends", || self.child.try_wait().unwrap());
        let read = |path: &Path| String::from_utf8(fs::read(path).unwrap()).unwrap();
        Ended { code: status.code(), stdout: read(&self.stdout), stderr: read(&self.stderr) }
    }

    /// What it said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// What it printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap()
    }

    /// Whether it is still there; with what it said if it is not.
    pub fn check_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("ended too early with {status}: {}", fs::read_to_string(&self.stderr).unwrap());
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended in every test that passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until there is an answer.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {} s and more until {what}", PATIENCE.as_secs());
        std::thread::sleep(LOOK_EVERY);
    }
}

impl Ended {
    /// The summary that `--format json` printed.
    pub fn summary(&self) -> Summary {
        Summary(serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}")))
    }

    /// Holds the exit code against what it should be, where a verdict that was broken by the punctuality of the host alone is
    /// allowed to show through.
    pub fn assert_exit(&self, expect: i32, summary: &Summary) {
        let broken = summary.broken();
        let host: Vec<&String> = broken.iter().filter(|code| OF_THE_HOST.contains(&code.as_str())).collect();
        // INVALID (5) goes before a missed service level (20) and before success; everything else goes before it.
        let expect = if !host.is_empty() && [0, 20].contains(&expect) { 5 } else { expect };
        assert_eq!(self.code, Some(expect), "{broken:?} {}", self.stderr);
    }
}

/// A summary as stored.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary(pub Value);

impl Summary {
    /// A number among the counts.
    pub fn count(&self, name: &str) -> u64 {
        self.0["counts"][name].as_u64().unwrap_or_else(|| panic!("counts.{name}: {}", self.0["counts"]))
    }

    fn counts_of(&self, name: &str) -> BTreeMap<String, u64> {
        serde_json::from_value(self.0["counts"][name].clone()).unwrap()
    }

    /// Requests by their status.
    pub fn by_status(&self) -> BTreeMap<String, u64> {
        self.counts_of("by_status")
    }

    /// Failed requests by their error.
    pub fn by_error(&self) -> BTreeMap<String, u64> {
        self.counts_of("by_error")
    }

    /// The rules that make it INVALID, each once.
    pub fn broken(&self) -> Vec<String> {
        let rules = self.0["validity"]["rules"].as_array().unwrap();
        let mut codes: Vec<String> = rules
            .iter()
            .filter(|rule| rule["severity"] == "invalid" && rule["finding"] == "fail")
            .map(|rule| rule["code"].as_str().unwrap().to_owned())
            .collect();
        codes.sort();
        codes.dedup();
        codes
    }

    /// The broken rules that say something about the requests, not about the host.
    pub fn broken_by_requests(&self) -> Vec<String> {
        self.broken().into_iter().filter(|code| !OF_THE_HOST.contains(&code.as_str())).collect()
    }

    /// The value of a metric about the whole run.
    pub fn metric(&self, name: &str, stat: &str) -> Option<f64> {
        let whole = |row: &&Value| row["scope"]["class"].is_null() && row["scope"]["connection"].is_null();
        let rows = self.0["metrics"].as_array().unwrap();
        let row = rows.iter().filter(whole).find(|row| row["name"] == name && row["stat"] == stat);
        row.unwrap_or_else(|| panic!("no metric {name} {stat}"))["value"].as_f64()
    }
}

/// A scripted server with the key `api_key`, if one is given.
pub fn truth(script: &str, api_key: Option<&str>, log_file: Option<PathBuf>) -> Truth {
    let script = Script::parse(script).unwrap();
    Truth::start(Config { script, api_key: api_key.map(String::from), log_file, ..Config::default() }).unwrap()
}

pub fn url(truth: &Truth) -> String {
    format!("http://{}", truth.addr())
}

/// The process is gone, or has ended and waits for somebody to notice.
pub fn is_gone(pid: &str) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", pid.trim())) else { return true };
    stat.rsplit(')').next().unwrap().trim_start().starts_with('Z')
}

/// The names in a folder, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files of a run that has ended.
pub const FIVE: [&str; 5] = ["events.jsonl", "manifest.json", "records.parquet", "samples.parquet", "summary.json"];
