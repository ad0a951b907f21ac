//! `manifest.json`: what was run, on what, with which settings, and what the fold must know to be run again.
//!
//! It holds only what something real fills today; the full list of fields is the reference of results. Nothing here is secret:
//! whoever fills `argv_redacted`, `config` and `target` has taken credentials out before.

use crate::error::StoreError;
use crate::facts::FactsWire;
use crate::json::{optional_number, parse, pretty};
use crate::placement::Placement;
use nomoat_core::report::RunFacts;
use nomoat_core::schedule::Totals;
use nomoat_core::units::Nanos;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The schema this crate writes and reads.
pub const SCHEMA: &str = "run-manifest/1";

/// How far a run has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on, or its process died: only the spool has its records.
    #[default]
    Running,
    /// It ended as it was meant to.
    Complete,
    /// It was stopped early, or put together from a spool: all that was measured is there, and less than was intended.
    Interrupted,
}

/// One run. Absent values are `null`, never zero and never a guess.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// Its identity, and the name of its directory.
    pub run_id: String,
    /// Runs of one experiment share it: the rungs of a ladder, for example.
    pub group_id: String,
    /// How far it has come.
    pub state: State,
    /// How it was put together from a spool, where it was.
    #[serde(default)]
    pub recovered: Option<Recovery>,
    /// What the user called it.
    pub labels: BTreeMap<String, String>,
    /// When it was created: RFC 3339, UTC.
    pub created_at: String,
    /// The instrument.
    pub harness: Harness,
    /// What was typed, and what it came to.
    pub command: Command,
    /// The clock that took the stamps.
    pub clock: Clock,
    /// The machine the harness ran on.
    pub host: Host,
    /// The engine under test and the way to it.
    pub backend: Engine,
    /// What is behind the endpoint, by the user's word and by recorded pages.
    pub system: System,
    /// What was offered.
    pub workload: Workload,
    /// What the fold must know.
    pub facts: FactsWire,
    /// The other files of the run.
    pub files: Vec<FileEntry>,
    /// What the instrument found out about itself at this run's load: certificates from `before` and `after`; `null` when not asked to.
    pub calibration: Option<Value>,
    /// Room for others. Nothing of nomoat is read from here.
    #[serde(default)]
    pub ext: Map<String, Value>,
}

/// How a run was put together from its spool.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// Records that were complete.
    pub records: u64,
    /// Bytes at the end of the spool that were not a complete record.
    pub dropped_bytes: u64,
    /// Why reading stopped there; `null` when the spool was whole.
    pub stopped_because: Option<String>,
}

/// The instrument.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Harness {
    /// Version of nomoat.
    pub version: String,
    /// Commit it was built from.
    pub git_sha: Option<String>,
    /// Whether the tree had changes beyond it.
    pub git_dirty: Option<bool>,
    /// `release` or `debug`.
    pub profile: String,
    /// Target triple.
    pub target: String,
    /// Compiler.
    pub rustc: Option<String>,
}

/// What was typed, and what it came to.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The arguments, secrets replaced.
    pub argv_redacted: Vec<String>,
    /// The resolved, complete configuration under the names of the flags. Enough to repeat the run.
    pub config: Map<String, Value>,
}

/// The clock that took the stamps.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// Its name, such as `CLOCK_MONOTONIC`.
    pub source: String,
    /// What a chunk's stamp is: `kernel`, `read` or `local`.
    pub stamp_source: String,
    /// Its resolution.
    pub resolution_ns: i64,
    /// What the kernel takes the time from, such as `tsc`.
    #[serde(default)]
    pub clocksource: Option<String>,
    /// Whether the wall clock was kept by NTP or PTP at the start.
    #[serde(default)]
    pub ntp_synced: Option<bool>,
    /// The same moment on both clocks, at the start and at the end of the run.
    pub wall_anchor: Vec<WallAnchor>,
}

/// One moment on two clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WallAnchor {
    /// On the run's clock.
    pub mono_ns: i64,
    /// Since 1970, UTC.
    pub unix_ns: i64,
}

/// The machine the harness ran on. No host name, no user name.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Operating system.
    pub os: String,
    /// Kernel version.
    pub kernel: Option<String>,
    /// The processor.
    pub cpu: Cpu,
    /// The hypervisor underneath, or `none`.
    #[serde(default)]
    pub virt: Option<String>,
    /// Memory.
    pub mem_bytes: Option<u64>,
    /// Nodes of memory.
    #[serde(default)]
    pub numa_nodes: Option<u32>,
    /// One-minute load average before the run.
    #[serde(serialize_with = "optional_number")]
    pub load1_start: Option<f64>,
    /// One-minute load average after it.
    #[serde(serialize_with = "optional_number")]
    pub load1_end: Option<f64>,
}

/// The processor.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Its name.
    pub model: Option<String>,
    /// Logical cores the harness may use.
    pub cores: u32,
    /// Logical cores that are online.
    #[serde(default)]
    pub threads: Option<u32>,
    /// Logical cores per core, the most of any.
    #[serde(default)]
    pub threads_per_core: Option<u32>,
    /// Whether several threads share a core.
    #[serde(default)]
    pub smt: Option<bool>,
    /// Packages.
    #[serde(default)]
    pub sockets: Option<u32>,
    /// What decides the clock rate; several where cores differ.
    #[serde(default)]
    pub governor: Option<String>,
    /// Cores that the CPU quota around the harness comes to; `null` where there is none.
    #[serde(default, serialize_with = "optional_number")]
    pub quota_cores: Option<f64>,
}

/// The engine under test and the way to it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// `local`, `http`, …
    pub kind: String,
    /// The dialect spoken.
    pub dialect: String,
    /// Where it is, without credentials.
    pub target: String,
    /// Where each of its endpoints is, where there are several: a record's `endpoint` is an index into them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// The engine's name, as far as it tells.
    pub engine: String,
    /// Its version, or the words that it is not disclosed.
    pub engine_version: String,
    /// What the version was read from.
    pub version_source: String,
    /// The model.
    pub model: String,
    /// Longest prompt plus answer.
    pub context_tokens: Option<u32>,
    /// Whether exact answer lengths were accepted.
    pub exact_length: bool,
    /// Whether prompts went out as token ids.
    pub token_ids: bool,
    /// What the probe saw.
    pub notes: Vec<String>,
    /// What the engine tells of itself, read from it and not declared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub told: BTreeMap<String, Told>,
    /// What the probe tried, and how it went.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probed: BTreeMap<String, String>,
    /// Whether it competes with the harness for this host's cores.
    pub shares_host: bool,
    /// How nomoat started it, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launched: Option<Launched>,
    /// How long that took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<ColdStart>,
}

/// Something an engine tells of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// What it says.
    pub value: String,
    /// Where it says it.
    pub source: String,
}

/// How an engine was started, where nomoat did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launched {
    /// The name of its description; `adapter` where an engine's adapter was started.
    pub engine: String,
    /// The words of its command, without secrets.
    pub argv: Vec<String>,
    /// The variables it was given beside the harness's own, without secrets.
    pub env: BTreeMap<String, String>,
    /// Where its log is, from the folder of runs.
    pub log: String,
    /// Why it could not be told whether its port is held by its own processes; absent where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_doubt: Option<String>,
}

/// How long a started engine took: times from the moment before its process was made, on the run's clock.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdStart {
    /// Until its port, or its adapter's socket, took a connection.
    pub port_open_ns: i64,
    /// Until all pages showed that it is ready, or its adapter said hello.
    pub ready_ns: i64,
    /// Until the first token of the first request arrived; that request was sent once it was ready.
    pub first_token_ns: Option<i64>,
    /// How long before the first two moments the last look found them not yet come: they are late by no more than this.
    pub looks_ns: [i64; 2],
    /// What counted as ready.
    pub ready_by: Vec<String>,
    /// Resident memory of all its processes when it was ready; of an adapter, after its first answer.
    pub resident_bytes: Option<u64>,
}

/// What is behind the endpoint: what the user declared, of which nothing was verified, and what recorded pages of a scheduler tell.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Accelerators.
    pub accelerators: Vec<Accelerator>,
    /// Everything else that was declared.
    pub declared: Map<String, Value>,
    /// Where a scheduler put it, each value with the page it was read from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placement: Vec<Placement>,
}

/// Accelerators of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accelerator {
    /// Their name, as the user gave it.
    pub name: String,
    /// How many.
    pub count: u32,
}

/// What was offered.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// The trace; `null` for prompts of a fixed length.
    pub trace: Option<TraceInfo>,
    /// The load in words, as the header of the table prints it.
    pub load: String,
    /// Identity of the schedule. Tables require it equal.
    pub schedule_digest: String,
    /// Identity of the bytes offered; comparable within one dialect only.
    pub wire_digest: Option<String>,
    /// The run's seed.
    pub seed: u64,
    /// What the schedule offers in all; `null` where only time ends it.
    pub totals: Option<TotalsWire>,
}

/// The trace that was replayed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceInfo {
    /// Its name, not its path.
    pub name: String,
    /// Digest of its content.
    pub sha256: String,
    /// Its requests.
    pub n_requests: u64,
    /// Its licence, where known.
    pub licence: Option<String>,
    /// What importing it lost.
    pub losses: Vec<String>,
}

/// Stored form of [`Totals`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotalsWire {
    /// Requests, warm-up included.
    pub requests: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Answer tokens asked for.
    pub output_tokens: u64,
    /// Due time of the last request with a due of its own.
    pub last_due_ns: i64,
    /// Largest number of requests in flight under the assumed pace.
    pub peak_concurrency: u32,
}

impl From<Totals> for TotalsWire {
    fn from(totals: Totals) -> Self {
        let Totals { requests, input_tokens, output_tokens, last_due, peak_concurrency } = totals;
        Self { requests, input_tokens, output_tokens, last_due_ns: last_due.0, peak_concurrency }
    }
}

impl From<TotalsWire> for Totals {
    fn from(totals: TotalsWire) -> Self {
        let TotalsWire { requests, input_tokens, output_tokens, last_due_ns, peak_concurrency } = totals;
        Self { requests, input_tokens, output_tokens, last_due: Nanos(last_due_ns), peak_concurrency }
    }
}

/// One of the other files of the run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the run's directory.
    pub name: String,
    /// Its digest.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
}

impl Manifest {
    /// The manifest of a run that is about to start, with everything else empty for the caller to fill:
    /// `Manifest { host, backend, ..Manifest::new(id, group, created_at, &facts) }`. The two facts that only the end knows are
    /// left out; see [`Manifest::ended`].
    pub fn new(run_id: &str, group_id: &str, created_at: &str, facts: &RunFacts) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            run_id: run_id.to_owned(),
            group_id: group_id.to_owned(),
            state: State::Running,
            recovered: None,
            labels: BTreeMap::new(),
            created_at: created_at.to_owned(),
            harness: Harness::default(),
            command: Command::default(),
            clock: Clock::default(),
            host: Host::default(),
            backend: Engine::default(),
            system: System::default(),
            workload: Workload::default(),
            facts: FactsWire::unfinished(facts),
            files: vec![],
            calibration: None,
            ext: Map::new(),
        }
    }

    /// Takes over the facts of the run's end; the state follows from them.
    pub fn ended(&mut self, facts: &RunFacts) {
        self.facts = FactsWire::from(facts);
        self.state = if facts.interrupted { State::Interrupted } else { State::Complete };
    }

    /// The facts for the fold.
    ///
    /// # Errors
    /// The run has not ended.
    pub fn facts(&self) -> Result<RunFacts, StoreError> {
        self.facts.facts()
    }

    /// Pretty JSON, the same bytes for the same manifest.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// Reads a manifest. `what` names the file in messages.
    ///
    /// # Errors
    /// It is not a manifest, it is of a newer schema, or it has an unknown key outside `ext`.
    pub fn from_json(what: &str, text: &str) -> Result<Self, StoreError> {
        parse(what, text, SCHEMA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;

    #[test]
    fn it_reads_back_what_it_wrote() {
        let manifest = made_up::manifest();
        let text = manifest.to_json();
        assert_eq!(Manifest::from_json("manifest.json", &text).unwrap(), manifest);
        assert_eq!(Manifest::from_json("manifest.json", &text).unwrap().to_json(), text, "byte for byte");
        insta::assert_snapshot!("manifest", text);
    }

    #[test]
    fn what_it_does_not_know_is_an_error() {
        let good = made_up::manifest().to_json();
        for (from, to, says) in [
            ("run-manifest/1", "run-manifest/2", "update this one"),
            ("run-manifest/1", "run-summary/1", "right file"),
            ("\"labels\"", "\"lables\"", "unknown field `lables`"),
            ("\"cores\"", "\"coers\"", "unknown field `coers`"),
            ("\"kind\": \"pool\"", "\"kind\": \"tank\"", "unknown variant `tank`"),
            ("\"state\": \"complete\"", "\"state\": \"done\"", "unknown variant `done`"),
            ("\"time_ns\"", "\"time_s\"", "unknown variant `time_s`"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = Manifest::from_json("manifest.json", &good.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("manifest.json"), "{from} -> {to}: {error}");
        }
        assert!(Manifest::from_json("manifest.json", &good[..good.len() / 2]).is_err());
    }

    #[test]
    fn what_earlier_versions_did_not_write_is_not_known() {
        let manifest = made_up::manifest();
        let mut value: Value = serde_json::from_str(&manifest.to_json()).unwrap();
        let later = [
            ("/clock", &["clocksource", "ntp_synced"][..]),
            ("/facts", &["endpoints"]),
            ("/system", &["placement"]),
            ("/host", &["virt", "numa_nodes"]),
            ("/host/cpu", &["threads", "threads_per_core", "smt", "sockets", "governor", "quota_cores"]),
        ];
        for (part, keys) in later {
            let part = value.pointer_mut(part).and_then(Value::as_object_mut).unwrap();
            keys.iter().for_each(|key| assert!(part.remove(*key).is_some(), "{key}"));
        }
        let read = Manifest::from_json("manifest.json", &value.to_string()).unwrap();
        assert_eq!((read.host.virt, read.clock.ntp_synced, read.host.cpu.quota_cores), (None, None, None));
        assert_eq!((read.host.cpu.cores, read.facts.endpoints), (manifest.host.cpu.cores, 1));
    }

    #[test]
    fn others_may_use_ext() {
        let mut manifest = made_up::manifest();
        manifest.ext.insert("theirs".into(), serde_json::json!({"any": ["thing"]}));
        assert_eq!(Manifest::from_json("manifest.json", &manifest.to_json()).unwrap(), manifest);
    }

    #[test]
    fn totals_convert_both_ways() {
        let totals = Totals { requests: 1, input_tokens: 2, output_tokens: 3, last_due: Nanos(4), peak_concurrency: 5 };
        assert_eq!(Totals::from(TotalsWire::from(totals)), totals);
    }
}
