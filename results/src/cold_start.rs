//! Cold starts of an engine as they are stored: `cold-start.json` of a directory of their own.
//!
//! Every cycle is kept, not their means: every number of a table can be computed again from here.

use crate::error::StoreError;
use crate::json::{pretty, read_file, write_file};
use crate::kernels::HostWire;
use crate::manifest::Launched;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the schema.
pub const SCHEMA: &str = "cold-start/1";
/// Name of the file.
pub const FILE: &str = "cold-start.json";

/// One engine, brought to one cold state and back again and again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdStartRun {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of its directory.
    pub id: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// Version of nomoat.
    pub nomoat: String,
    /// The host of the harness.
    pub host: HostWire,
    /// The engine.
    pub engine: EngineWire,
    /// How nomoat started it, where it did.
    pub launched: Option<Launched>,
    /// The action, as it was asked for.
    pub action: String,
    /// What brought it to the cold state, call by call.
    pub cooled_by: Vec<String>,
    /// What showed that it was there; `null` where nothing can, and it was believed.
    pub cold_by: Option<String>,
    /// What brought it back, call by call; empty where the first request did.
    pub warmed_by: Vec<String>,
    /// What showed that it was back; empty where nothing can but an answer.
    pub ready_by: Vec<String>,
    /// Cycles that were asked for.
    pub wanted: u32,
    /// Those that were completed, in order.
    pub cycles: Vec<CycleWire>,
    /// Why there are fewer than were asked for; `null` where there are not.
    pub stopped_because: Option<String>,
}

/// The engine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineWire {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The model that requests asked for.
    pub model: String,
    /// Where it is.
    pub target: String,
}

/// One cycle. Its times but the first and the last count from the moment at which bringing it back began.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CycleWire {
    /// From the first call that cools to the cold state, as far as it is shown.
    pub cool_ns: i64,
    /// Until the last call was answered; `null` without calls.
    pub api_ns: Option<i64>,
    /// Until its port took a connection; of a process that was started.
    pub port_open_ns: Option<i64>,
    /// Until it was shown to be ready; `null` where nothing shows it.
    pub ready_ns: Option<i64>,
    /// Until the first token of the first request that was answered, all attempts before it included.
    pub first_token_ns: i64,
    /// Answers other than 200 on the way, by their status.
    pub refused: BTreeMap<u16, u32>,
    /// Attempts that got no answer.
    pub lost: u32,
    /// From sending to the first token of the same request once more, when it was warm.
    pub warm_token_ns: i64,
    /// Resident memory of its processes before it was cooled, where nomoat started it.
    pub resident_warm_bytes: Option<u64>,
    /// The same in the cold state.
    pub resident_cold_bytes: Option<u64>,
}

/// Mean, least and most of a part.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Least.
    pub min: i64,
    /// Most.
    pub max: i64,
    /// Cycles that have it.
    pub n: usize,
}

/// A part of a switch: its name, and where it stands in a cycle.
pub type Part = (&'static str, fn(&CycleWire) -> Option<i64>);

/// The parts, in the order of tables.
pub const PARTS: [Part; 6] = [
    ("to the cold state", |c| Some(c.cool_ns)),
    ("API calls", |c| c.api_ns),
    ("port open", |c| c.port_open_ns),
    ("ready", |c| c.ready_ns),
    ("first token", |c| Some(c.first_token_ns)),
    ("first token, warm", |c| Some(c.warm_token_ns)),
];

impl ColdStartRun {
    /// A part over all cycles that have it; `None` where none has.
    pub fn spread(&self, of: impl Fn(&CycleWire) -> Option<i64>) -> Option<Spread> {
        let values: Vec<i64> = self.cycles.iter().filter_map(of).collect();
        let (min, max) = (*values.iter().min()?, *values.iter().max()?);
        let mean = values.iter().map(|v| *v as f64).sum::<f64>() / values.len() as f64;
        Some(Spread { mean, min, max, n: values.len() })
    }

    /// As stored.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// From a directory.
    ///
    /// # Errors
    /// When the file is absent, is no JSON, or is of another schema.
    pub fn read(directory: &Path) -> Result<Self, StoreError> {
        read_file(directory, FILE, SCHEMA)
    }

    /// Into a directory, which is made. The file appears whole or not at all.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, directory: &Path) -> Result<(), StoreError> {
        write_file(directory, FILE, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::cold_start;

    #[test]
    fn it_reads_back_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let run = cold_start();
        run.write(dir.path()).unwrap();
        assert_eq!(ColdStartRun::read(dir.path()).unwrap(), run);
        let text = run.to_json().replace("cold-start/1", "cold-start/2");
        std::fs::write(dir.path().join(FILE), text).unwrap();
        assert!(ColdStartRun::read(dir.path()).unwrap_err().to_string().contains("update this one"));
    }

    #[test]
    fn parts_are_spread_over_the_cycles_that_have_them() {
        let run = cold_start();
        let ready = run.spread(|c| c.ready_ns).unwrap();
        assert_eq!((ready.mean, ready.min, ready.max, ready.n), (2_000_000_000.0, 1_000_000_000, 3_000_000_000, 2));
        assert_eq!(run.spread(|c| c.port_open_ns), None, "absent is not zero");
        assert_eq!(ColdStartRun { cycles: vec![], ..run }.spread(|c| Some(c.cool_ns)), None);
    }
}
