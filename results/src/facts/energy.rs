//! What a run knows of its energy beside the readings, as it stands in the manifest.

use super::known;
use crate::error::StoreError;
use crate::json::{number, optional_number};
use crate::words::Word;
use nomoat_core::energy::{Absent, EnergyFacts, Job};
use nomoat_core::units::Nanos;
use serde::{Deserialize, Serialize};

/// Stored form of [`EnergyFacts`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyWire {
    /// Whether the user asked for energy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
    /// The scope the user named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Processor packages of the host that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<u32>,
    /// Whether meters of this host were read because of the engine's address alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_address: bool,
    /// Watts set aside, by the user's word.
    #[serde(default, serialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub provisioned_w: Option<f64>,
    /// USD per kilowatt-hour, by the user's word.
    #[serde(default, serialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub usd_per_kwh: Option<f64>,
    /// Power usage effectiveness, by the user's word.
    #[serde(default, serialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub pue: Option<f64>,
    /// A job whose energy a batch system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobWire>,
    /// Meters that were looked for and are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<AbsentWire>,
}

/// Stored form of [`Job`]. Times are ns on the run's clock.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobWire {
    /// Its number.
    pub id: String,
    /// When it began.
    pub start_ns: i64,
    /// When it ended.
    pub end_ns: i64,
    /// What its nodes drew.
    #[serde(serialize_with = "number")]
    pub joules: f64,
    /// How many nodes; `null` when not told.
    pub nodes: Option<u32>,
}

/// Stored form of [`Absent`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbsentWire {
    /// Which meter.
    pub what: String,
    /// Why, and what to try.
    pub why: String,
}

impl From<&EnergyFacts> for EnergyWire {
    fn from(facts: &EnergyFacts) -> Self {
        let EnergyFacts { asked, scope, packages, by_address, provisioned_w, usd_per_kwh, pue, job, absent } = facts.clone();
        Self {
            asked,
            scope: scope.map(|scope| scope.word().to_owned()),
            packages,
            by_address,
            provisioned_w,
            usd_per_kwh,
            pue,
            job: job.map(|Job { id, start, end, joules, nodes }| JobWire { id, start_ns: start.0, end_ns: end.0, joules, nodes }),
            absent: absent.into_iter().map(|Absent { what, why }| AbsentWire { what, why }).collect(),
        }
    }
}

impl EnergyWire {
    /// The facts for the fold.
    pub(super) fn facts(&self) -> Result<EnergyFacts, StoreError> {
        let Self { asked, scope, packages, by_address, provisioned_w, usd_per_kwh, pue, job, absent } = self.clone();
        Ok(EnergyFacts {
            asked,
            scope: scope.as_deref().map(|word| known("energy.scope", word)).transpose()?,
            packages,
            by_address,
            provisioned_w,
            usd_per_kwh,
            pue,
            job: job.map(|JobWire { id, start_ns, end_ns, joules, nodes }| Job {
                id,
                start: Nanos(start_ns),
                end: Nanos(end_ns),
                joules,
                nodes,
            }),
            absent: absent.into_iter().map(|AbsentWire { what, why }| Absent { what, why }).collect(),
        })
    }

    /// Whether there is nothing to store.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
