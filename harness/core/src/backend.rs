//! Our end of the line to an engine: what a kernel, an engine in this process, a server and a hosted API have in common.
//!
//! Backends never decide when to send, and `drive` never asks which engine it talks to.

use crate::event::{EventSink, Finish, RequestError};
use crate::kv::KvGeometry;
use crate::prompt::Prompt;
use crate::quota::Quota;
use crate::request::{Request, ShardId};
use crate::sample::Sample;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a backend is, before anything was asked of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendInfo {
    /// `local`, `http`, `exec` or `sim`.
    pub kind: &'static str,
    /// Name of the dialect or of the engine, for tables.
    pub dialect: String,
    /// Where it is, without credentials.
    pub target: String,
    /// Whether the engine competes with the harness for this host's cores.
    pub shares_host: bool,
    /// What the moments of arrival are, in words.
    pub stamps: &'static str,
}

/// The receipt of what was measured. No version, no run: an endpoint that hides it is recorded as saying so.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EngineVersion {
    /// The engine's name, as far as it tells.
    pub engine: String,
    /// Its version, or "not disclosed by the endpoint".
    pub version: String,
    /// What it was read from.
    pub source: String,
}

/// What an engine can do, found out by asking it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Capabilities {
    /// The model's name as requests must give it.
    pub model: String,
    /// Longest prompt plus answer in tokens, where known.
    pub context_tokens: Option<u32>,
    /// Whether an exact answer length was accepted.
    pub exact_length: bool,
    /// Whether prompts go out as token ids.
    pub token_ids: bool,
    /// Whether token counts came back.
    pub usage: bool,
    /// Shape of the KV cache, where known.
    pub geometry: Option<KvGeometry>,
    /// What the probe saw that a reader of the report should know.
    pub notes: Vec<String>,
    /// What the endpoint allows, where it says.
    pub quotas: Vec<Quota>,
    /// What the engine tells of itself: types, parallelism, arguments.
    pub told: BTreeMap<String, Told>,
    /// What the probe tried, by a short name, and how it went.
    pub probed: BTreeMap<String, String>,
}

/// Something an engine tells of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// What it says.
    pub value: String,
    /// Where it says it.
    pub source: String,
}

/// Why a run cannot start, or why a telemetry read failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BackendError {
    /// A setting that cannot work. Exit code 2.
    #[error("{0}")]
    Config(String),
    /// The engine cannot be reached or does not do what is needed. Exit code 3.
    #[error("{0}")]
    Unreachable(String),
}

/// A request made ready ahead of its due.
#[derive(Clone, PartialEq, Debug)]
pub struct Prepared {
    /// What it is.
    pub request: Request,
    /// What goes out.
    pub payload: Payload,
}

/// What goes out for a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Payload {
    /// Bytes for a socket: a head, which may hold a secret, and from `body_at` the body.
    Wire {
        /// Head and body.
        bytes: Vec<u8>,
        /// Where the body starts.
        body_at: usize,
    },
    /// Token ids for an engine in this process.
    Ids(Vec<u32>),
}

impl Payload {
    /// Size in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Wire { bytes, .. } => bytes.len(),
            Self::Ids(ids) => ids.len() * 4,
        }
    }

    /// Identity of what is offered: of the body, never of the head.
    pub fn digest(&self) -> crate::digest::Digest {
        match self {
            Self::Wire { bytes, body_at } => crate::digest::Digest::of(bytes.get(*body_at..).unwrap_or_default()),
            Self::Ids(ids) => {
                let mut d = crate::digest::Digester::new("ids");
                for id in ids {
                    d.int((*id).into());
                }
                d.finish()
            }
        }
    }
}

/// The text of an earlier exchange, for prompts that continue a live conversation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LiveTurn {
    /// What the user side said.
    pub prompt: String,
    /// What the engine answered.
    pub answer: String,
}

/// What tells one run's requests from another's at the same endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// Decides what generated prompts consist of: another seed shares no prompt with this one, so no run finds another's in a prefix
    /// cache.
    pub prompt_seed: u64,
    /// Starts every request's id at the endpoint; the request's number follows.
    pub id_prefix: String,
    /// Names of the adapters that requests name by number.
    pub adapters: Arc<[String]>,
    /// The alphabet of generated texts: words that are one token each. Empty for the bundled ones.
    pub words: Arc<[String]>,
}

/// Makes requests ready. Pure and off the measured path: runs on a thread of its own, ahead of due.
pub trait Encoder: Send + Sync {
    /// Expands and encodes one request. `history` holds the earlier exchanges of a live conversation, oldest first.
    ///
    /// # Errors
    /// What could not be encoded; the request becomes a `client` failure.
    fn encode(&self, request: &Request, history: &[LiveTurn]) -> Result<Payload, String>;

    /// What a user says in a prompt, for the requests that continue its conversation; empty where it is no text.
    fn spoken(&self, prompt: &Prompt) -> String {
        match prompt {
            Prompt::Text(text) => text.to_string(),
            Prompt::Live { add, .. } => self.spoken(add),
            Prompt::Blocks(_) | Prompt::Parts(_) | Prompt::Ids(_) | Prompt::Messages(_) => String::new(),
        }
    }
}

/// An engine under test, or the way to it.
pub trait Backend: Send + Sync {
    /// What it is.
    fn info(&self) -> BackendInfo;
    /// The receipt.
    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, BackendError>>;
    /// One real exchange before the run, outside the records: is it there, is it the model, what can it do.
    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, BackendError>>;
    /// How to make requests ready for it. Called after [`Backend::probe`].
    fn encoder(&self, offer: &Offer) -> Arc<dyn Encoder>;
    /// A channel for one shard. Does not connect yet: connecting belongs to the first request and is timed there.
    fn open(&self, shard: ShardId) -> BoxFuture<'_, Result<Box<dyn Channel>, BackendError>>;
    /// Its own metrics, where it has any.
    fn telemetry(&self) -> Option<Box<dyn Telemetry>>;
}

/// Carries at most one request at a time: one HTTP/1.1 connection, one HTTP/2 stream slot, one engine slot.
pub trait Channel: Send {
    /// Sends a prepared request and reports what happens to `events`. Dropping the future cancels the request at the peer.
    ///
    /// # Errors
    /// How the request failed; the channel may be used again afterwards.
    fn generate<'a>(&'a mut self, request: &'a Prepared, events: &'a mut EventSink) -> BoxFuture<'a, Result<Finish, RequestError>>;
}

/// Metrics of the engine itself.
pub trait Telemetry: Send {
    /// One reading of all of them, under canonical names. Stamps are the caller's, but for a power meter that waited for some of its
    /// devices longer than for others: each sample it stamped keeps its own.
    ///
    /// # Errors
    /// Why there is no reading; absence is never zero.
    fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>>;

    /// What was noticed since this was last asked, as codes and words of run events: a counter that fell, a metric that became another
    /// kind.
    fn noticed(&mut self) -> Vec<(&'static str, String)> {
        vec![]
    }

    /// Says that the next reading is the run's last: what is kept of its ends only belongs in it.
    fn closing(&mut self) {}
}
