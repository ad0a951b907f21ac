//! Claims about inference held against measurements, formulas and prices, by rules fixed before.
//!
//! A study is one TOML file, which fixes claim, rule, thresholds and sweep, and one line in `SHIPPED`; one that can be judged here has a
//! judge in a file of its own too. Verdicts are `supported`, `contradicted`, `inconclusive` or `untested`: supported only if the whole
//! interval is on the claim's side, untested if something that it needs is not there, never a pass by absence.

mod collective_crossover;
mod cost_decline;
mod definition;
mod dsa_alone;
mod edge_fit;
mod edge_radio;
mod finding;
mod growth;
mod history;
mod kv_footprint;
mod phase_roofline;
mod ssm_state;

use crate::collectives::LinkFit;
use crate::kernels::KernelRun;
use nomoat_core::suggest::nearest;
use std::io;
use std::path::Path;

pub use crate::table::{Format, study_list, study_report, study_verdicts};
pub use definition::{Definition, Fixed, Given, Mode, Sweep, Threshold, Values};
pub(crate) use finding::context;
pub use finding::{Cell, Column, Evidence, Finding, Numbers, Verdict};
pub use history::{PricePoint, Score, Scores};

/// Why a study could not be judged. What merely is not there is no error but `untested`.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// A file that cannot be read.
    #[error("reading {file}: {source}")]
    Read {
        /// Which.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is no study.
    #[error("reading the study {file}: {source}")]
    Toml {
        /// Which.
        file: String,
        /// What is wrong where.
        source: Box<toml::de::Error>,
    },
    /// A value that is not what a rule can use.
    #[error("{file}: {why}")]
    Value {
        /// In which file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something the rule asks for and the file has not.
    #[error("{file} lacks the {what} `{name}`, which the study {study} is judged by; add it, or start from results/studies/{study}.toml")]
    Lacks {
        /// Which file.
        file: String,
        /// Which study.
        study: String,
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no study of that name.
    #[error("there is no study `{name}`{near} `nomoat study` lists them")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest, in words.
        near: String,
    },
    /// A measurement given to a study that judges none.
    #[error("the study {study} judges {by}, no measurement of kernels; leave the directory out")]
    NoRun {
        /// Which study.
        study: String,
        /// What it does judge.
        by: &'static str,
    },
}

/// What there is to judge by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// A measurement of kernels.
    pub kernels: Option<&'a KernelRun>,
    /// Prices, in the place of the book that ships.
    pub prices: Option<&'a [PricePoint]>,
    /// What models can do.
    pub scores: Option<&'a Scores>,
    /// Measured collectives.
    pub collectives: &'a [LinkFit],
}

/// Passes the verdicts of a study.
type Judge = fn(&Fixed, &Inputs) -> Result<Vec<Finding>, StudyError>;

/// One study.
#[derive(Clone, Debug)]
pub struct Study {
    /// Its definition.
    pub fixed: Fixed,
    judge: Option<Judge>,
}

/// What a study found.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The definition it was judged by.
    pub fixed: Fixed,
    /// The measurement it was judged on: device and run, in words; `None` where on none.
    pub on: Option<String>,
    /// Its findings.
    pub findings: Vec<Finding>,
}

macro_rules! shipped {
    ($($name:literal $judge:expr),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../studies/", $name, ".toml")), $judge)),+]
    };
}

/// Every study: its name, its file, and what judges it here, if anything does.
const SHIPPED: &[(&str, &str, Option<Judge>)] = shipped![
    "kv-footprint" Some(kv_footprint::judge),
    "dsa-alone" Some(dsa_alone::judge),
    "pd-interference" None,
    "pd-payoff" None,
    "kv-shrink-vs-disagg" None,
    "route-value" None,
    "phase-roofline" Some(phase_roofline::judge),
    "sram-phase-gap" None,
    "cold-start" None,
    "multi-model" None,
    "ssm-state" Some(ssm_state::judge),
    "edge-radio" Some(edge_radio::judge),
    "edge-fit" Some(edge_fit::judge),
    "token-transport" None,
    "latency-floor" None,
    "collective-crossover" Some(collective_crossover::judge),
    "nccl-vs-rccl" None,
    "cost-decline" Some(cost_decline::judge),
    "rank-stability" None,
    "same-metal" None,
    "orchestrator-parity" None,
    "offload-tier" None,
    "ep-overlap" None,
    "cpu-only" None,
    "bursty-edge" None,
    "ondevice-cascade" None,
    "agent-load" None,
    "long-context" None,
];

/// Every study, in the order of their numbers.
///
/// # Panics
/// A shipped file does not read, which a test excludes.
pub fn all() -> Vec<Study> {
    let read = |(name, text, judge): &(&str, &str, Option<Judge>)| Study {
        fixed: Fixed::read(&format!("results/studies/{name}.toml"), text).expect("a test reads every shipped file"),
        judge: *judge,
    };
    SHIPPED.iter().map(read).collect()
}

/// The study with a name.
///
/// # Errors
/// There is none, with the nearest.
pub fn find(name: &str) -> Result<Study, StudyError> {
    let mut all = all();
    match all.iter().position(|study| study.name() == name) {
        Some(index) => Ok(all.swap_remove(index)),
        None => {
            let near = nearest(name, all.iter().map(Study::name)).map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near}?"));
            Err(StudyError::Unknown { name: name.to_owned(), near })
        }
    }
}

impl Study {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.fixed.definition.name
    }

    /// Whether a measurement of kernels is judged.
    pub fn takes_runs(&self) -> bool {
        !self.fixed.definition.kernels.is_empty()
    }

    /// The same study by the thresholds of another file.
    ///
    /// # Errors
    /// As [`Fixed::replaced`].
    pub fn by(&self, path: &Path) -> Result<Self, StudyError> {
        Ok(Self { fixed: self.fixed.replaced(path)?, judge: self.judge })
    }

    /// What it takes to judge it here, in words.
    pub fn judged(&self) -> String {
        let definition = &self.fixed.definition;
        match (self.judge, &definition.kernels[..]) {
            (None, _) => format!("untested: needs {}", definition.needs),
            (Some(_), []) => "now: exact".to_owned(),
            (Some(_), kernels) => {
                let now = if definition.modes.contains(&Mode::Model) { "now: the exact part; all of it " } else { "" };
                format!("{now}with a run of nomoat kernels {}", kernels.join(" "))
            }
        }
    }

    /// Passes the verdicts.
    ///
    /// # Errors
    /// The file lacks what the rule asks for, or a measurement is given to a study that judges none.
    pub fn report(&self, inputs: &Inputs) -> Result<Report, StudyError> {
        let definition = &self.fixed.definition;
        if inputs.kernels.is_some() && !self.takes_runs() {
            let by = if self.judge.is_some() { "formulas and prices" } else { "nothing that nomoat can read yet" };
            return Err(StudyError::NoRun { study: definition.name.clone(), by });
        }
        let findings = match self.judge {
            Some(judge) => judge(&self.fixed, inputs)?,
            None => vec![Finding::untested(&definition.claim, &definition.rule, &definition.needs)],
        };
        let on = inputs.kernels.map(|run| format!("{} ({}), measured {}, {}", run.device.id, run.device.name, run.started_at, run.id));
        Ok(Report { fixed: self.fixed.clone(), on, findings })
    }
}

#[cfg(test)]
mod tests;
