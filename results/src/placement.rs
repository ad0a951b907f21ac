//! Where a scheduler put the engine, as recorded pages of the cluster tell it: `kubectl get … -o json` and what Slurm prints of a job.
//!
//! Pages are read, never asked for: nothing here talks to a cluster. Of a page a few fields are taken and the rest is passed over, since
//! pods carry variables that may be secret. What a page does not say stays unknown, and every value names the page and the object it was
//! read from.

mod kubectl;
mod slurm;
#[cfg(test)]
mod tests;
mod words;

pub use words::line;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest page that is read, in bytes: some ten thousand pods.
pub const MOST_BYTES: u64 = 256 << 20;

/// A value with the page and the object it was read from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read<T> {
    /// The value.
    pub value: T,
    /// `PAGE: OBJECT`.
    pub read: String,
}

/// What one scheduler placed as one: a gang, a job, or pods that it placed one by one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The scheduler's name: `kai-scheduler`, `default-scheduler`, `slurm`, …
    pub scheduler: Read<String>,
    /// What is placed together or not at all; `null` where each member is placed for itself, as far as the pages tell.
    pub gang: Option<Gang>,
    /// Pods or, of a Slurm job, its part on each node; by name.
    pub members: Vec<Member>,
}

/// What is placed together or not at all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gang {
    /// What it is: `PodGroup`, `PodGang`, `job`.
    pub kind: String,
    /// Its name, of a job its number.
    pub name: Read<String>,
    /// How many members must be placed for any to be.
    pub minimum: Option<Read<u32>>,
}

/// A pod, or the part of a job on one node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub name: Read<String>,
    /// The node it is on; `null` while it waits for one.
    pub node: Option<Read<String>>,
    /// Whole GPUs it asked for. Shares of one are not counted here.
    pub gpus: Option<Read<u32>>,
    /// What the node's label, or the job's type of GPU, says they are.
    pub gpu_product: Option<Read<String>>,
    /// The node's labels that tell where in the network or building it is.
    pub topology: BTreeMap<String, Read<String>>,
}

/// Why pages tell no placement.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlacementError {
    /// Neither of the two languages.
    #[error("{page} is neither JSON nor what `scontrol show job` prints ({why}); {REMEDY}")]
    Unreadable {
        /// Its name.
        page: String,
        /// What the parser says.
        why: String,
    },
    /// JSON of somebody else.
    #[error("{page} holds {what}; {REMEDY}")]
    Unknown {
        /// Its name.
        page: String,
        /// What it holds instead.
        what: String,
    },
    /// A page that ends before what it tells of does.
    #[error("{page}: {what}; it was cut off: {REMEDY}")]
    CutOff {
        /// Its name.
        page: String,
        /// Where.
        what: String,
    },
    /// A list of nodes that cannot be taken apart.
    #[error("{page}: the list of nodes `{list}` of job {job} is not understood; `scontrol show hostnames` would take it apart")]
    Nodes {
        /// The page's name.
        page: String,
        /// The list.
        list: String,
        /// The job's number.
        job: String,
    },
    /// Nothing in them was placed.
    #[error("{pages} name neither a pod nor a job that still runs or waits; {REMEDY}")]
    Nothing {
        /// Their names.
        pages: String,
    },
}

/// How a page is recorded.
const REMEDY: &str = "record it again by `kubectl get pods,podgroups,nodes -o json > FILE` (Grove: podgangs,podcliquesets too) or \
                      `scontrol show job ID --json > FILE`";

/// The placements that `pages`, names with their texts, tell together: nodes may be in another one than pods.
///
/// # Errors
/// A page that cannot be read, or pages that tell of nothing that was placed.
pub fn read(pages: &[(String, String)]) -> Result<Vec<Placement>, PlacementError> {
    let (mut cluster, mut placements) = (kubectl::Cluster::default(), vec![]);
    for (page, text) in pages {
        match text.trim_start().as_bytes().first() {
            Some(b'{') => {
                let value: serde_json::Value = serde_json::from_str(text).map_err(|e| {
                    let (page, what) = (page.clone(), e.to_string());
                    if e.is_eof() { PlacementError::CutOff { page, what } } else { PlacementError::Unreadable { page, why: what } }
                })?;
                if value.get("jobs").is_some_and(serde_json::Value::is_array) {
                    placements.extend(slurm::of_json(page, &value)?);
                } else {
                    cluster.take(page, &value)?;
                }
            }
            _ if text.contains("JobId=") => placements.extend(slurm::of_text(page, text)?),
            _ => {
                let why = if text.trim().is_empty() { "it is empty" } else { "no `{` and no JobId=" };
                return Err(PlacementError::Unreadable { page: page.clone(), why: why.into() });
            }
        }
    }
    placements.extend(cluster.placements());
    if placements.is_empty() {
        let pages: Vec<&str> = pages.iter().map(|(page, _)| page.as_str()).collect();
        return Err(PlacementError::Nothing { pages: pages.join(", ") });
    }
    Ok(placements)
}

/// `value` as it was read from `object` of `page`.
fn seen<T>(page: &str, object: &str, value: T) -> Read<T> {
    Read { value, read: format!("{page}: {object}") }
}
