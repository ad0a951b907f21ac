//! The description of one engine, as its file says it.

use super::look::Look;
use crate::metrics::MetricMap;
use crate::protocol::{Fields, Protocol};
use nomoat_core::quota::QuotaOf;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What an engine is, and how it is spoken to. Every table but the first four keys may be left out.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineSpec {
    /// Its name in flags and manifests; also the file's.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// What it is.
    pub kind: Kind,
    /// The dialects it speaks, the preferred first; names of [`crate::protocol::PROTOCOLS`].
    pub protocols: Vec<String>,
    /// The description whose tables hold where this one has none. Resolved by the catalogue.
    #[serde(default)]
    pub extends: Option<String>,
    /// What a reader of a table should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What it is recognised by: any of these.
    #[serde(default)]
    pub detect: Vec<Look>,
    /// Where it tells its version: the first that does.
    #[serde(default)]
    pub version: Vec<Look>,
    /// What tells that it is ready; where there is nothing, its list of models.
    #[serde(default)]
    pub ready: Option<Look>,
    /// How it takes a key.
    #[serde(default)]
    pub auth: Auth,
    /// How lengths and counts are asked for, by dialect; without it, as the dialect has it.
    #[serde(default)]
    pub fields: BTreeMap<String, Fields>,
    /// What it can tell of counts.
    #[serde(default)]
    pub usage: Usage,
    /// What it allows, as the headers of its answers say.
    #[serde(default)]
    pub quota: Vec<QuotaHeader>,
    /// Further fields of every body, such as those that make it tell its own timings. Left out if the endpoint refuses them.
    #[serde(default)]
    pub body: Map<String, Value>,
    /// What it tells about itself: hardware, parallelism, types.
    #[serde(default)]
    pub fact: Vec<Fact>,
    /// What its metrics mean; nothing where it has none.
    #[serde(default)]
    pub metrics: Option<MetricMap>,
    /// How it is started.
    #[serde(default)]
    pub launch: toml::Table,
    /// How it is put to sleep and woken.
    #[serde(default)]
    pub cold_start: toml::Table,
}

/// What kind of thing an engine is. The more outward one is asked first: a gateway shows the signs of what is behind it too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A hosted API, known by its name.
    Hosted,
    /// Stands before engines.
    Gateway,
    /// Computes.
    Engine,
    /// Serves no requests; its metrics belong to an engine's.
    Sidecar,
    /// Whatever shows no sign.
    Generic,
}

impl Kind {
    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        ["hosted", "gateway", "engine", "sidecar", "generic"][self as usize]
    }
}

/// How a key is sent.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The header.
    pub header: String,
    /// The word before the key; empty for none.
    pub scheme: String,
}

impl Default for Auth {
    fn default() -> Self {
        Self { header: "Authorization".into(), scheme: "Bearer".into() }
    }
}

/// What an engine can tell of token counts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// With every event of a stream, if asked (`continuous_usage_stats`).
    #[serde(default)]
    pub per_event: bool,
}

/// A header that tells how much is allowed.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaHeader {
    /// Its name.
    pub header: String,
    /// What it counts.
    pub of: Counted,
    /// In how many seconds.
    pub per_s: u32,
}

/// What a quota counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Requests.
    Requests,
    /// Tokens of prompts and answers.
    Tokens,
    /// Tokens of prompts.
    InputTokens,
    /// Tokens of answers.
    OutputTokens,
}

impl From<Counted> for QuotaOf {
    fn from(counted: Counted) -> Self {
        match counted {
            Counted::Requests => Self::Requests,
            Counted::Tokens => Self::Tokens,
            Counted::InputTokens => Self::InputTokens,
            Counted::OutputTokens => Self::OutputTokens,
        }
    }
}

/// Something an engine tells about itself.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Fact {
    /// What it is: `dtype`, `tensor_parallel`, ….
    pub name: String,
    /// Where it stands.
    #[serde(flatten)]
    pub look: Look,
}

impl EngineSpec {
    /// How lengths and counts are asked for in a dialect, where that differs from the dialect's own way.
    pub fn fields(&self, protocol: &dyn Protocol) -> Option<Fields> {
        self.fields.get(protocol.name()).map(|fields| fields.or(protocol.fields()))
    }

    /// Whether it knows a way to force an answer's length in a dialect.
    pub fn can_force(&self, protocol: &dyn Protocol) -> bool {
        self.fields(protocol).as_ref().unwrap_or(protocol.fields()).can_force()
    }
}
