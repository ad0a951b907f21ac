//! What an adapter says. Unknown fields are passed over, so that an adapter may say more; an unknown type is an error.

use nomoat_core::event::{TokenKind, Usage};
use nomoat_core::kv::{KvGeometry, Mixer};
use nomoat_core::prompt::Alphabet;
use nomoat_core::record::FinishReason;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The version of the protocol that is spoken here.
pub const PROTOCOL: u32 = 1;

/// A message of the adapter.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Said {
    /// First on every connection.
    Hello(Hello),
    /// Generated tokens.
    Tokens(Tokens),
    /// The answer is complete.
    Done(Done),
    /// There will be no complete answer.
    Error(Refusal),
    /// One reading of the engine's metrics.
    Samples {
        /// Value by canonical name.
        values: BTreeMap<String, f64>,
    },
}

/// What the engine is and can do.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Hello {
    /// Version of the protocol.
    pub protocol: u32,
    /// The engine's name.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// The model's name.
    pub model: String,
    /// Longest prompt plus answer, in tokens.
    pub context_tokens: Option<u32>,
    /// Whether `exact` is honoured.
    pub exact_length: bool,
    /// What a prompt is.
    pub takes: Takes,
    /// With `ids`: which may be used.
    pub vocab: Option<Vocab>,
    /// Shape of the KV cache.
    pub kv: Option<Kv>,
    /// Longest frame it reads, in bytes; [`crate::frame::MAX_FRAME`] where it does not say.
    pub max_frame: Option<u32>,
    /// Whether it answers `sample`.
    #[serde(default)]
    pub samples: bool,
    /// Whether it plays the scripted times of a request that has them, instead of asking an engine.
    #[serde(default)]
    pub echo: bool,
}

/// What a prompt is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// Token ids.
    Ids,
    /// Text.
    Text,
}

/// Token ids that prompts may consist of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
pub struct Vocab {
    /// First usable id.
    pub first: u32,
    /// How many from there.
    pub size: u32,
}

/// Shape of a KV cache, all layers alike.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(untagged)]
pub enum Kv {
    /// Keys and values per head.
    Grouped {
        /// Layers that keep a cache.
        layers: u32,
        /// KV heads.
        kv_heads: u32,
        /// Dimensions of a key.
        key_dim: u32,
        /// Dimensions of a value.
        value_dim: u32,
        /// Bytes per element.
        bytes_per_element: f64,
    },
    /// One latent for all heads.
    Latent {
        /// Layers that keep a cache.
        layers: u32,
        /// Rank of the latent.
        rank: u32,
        /// Rotary dimensions.
        rope_dim: u32,
        /// Bytes per element.
        bytes_per_element: f64,
    },
}

/// Generated tokens.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Tokens {
    /// How many.
    pub n: u32,
    /// Their text.
    pub text: Option<String>,
    /// Their ids.
    pub ids: Option<Vec<u32>>,
    /// Which kind.
    #[serde(default)]
    pub kind: Kind,
}

/// Which kind of text tokens are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What the user sees.
    #[default]
    Visible,
    /// Reasoning.
    Reasoning,
}

/// The end of a complete answer.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Done {
    /// `stop`, `length`, `tool`, `content_filter`, `abort`, or another word.
    pub finish: String,
    /// Counts, as the engine has them.
    #[serde(default)]
    pub usage: Counts,
    /// In echo: when each `tokens` frame was handed to the socket, nanoseconds of `CLOCK_MONOTONIC`.
    pub sent_ns: Option<Vec<i64>>,
}

/// Token counts. What is not said is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct Counts {
    /// Prompt tokens.
    pub input: Option<u32>,
    /// Of them, read from a cache.
    pub cache_read: Option<u32>,
    /// Generated tokens.
    pub output: Option<u32>,
    /// Of them, reasoning.
    pub reasoning: Option<u32>,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Refusal {
    /// For people.
    pub message: String,
    /// `overloaded`, `invalid`, or another word.
    pub code: String,
}

impl Hello {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.protocol != PROTOCOL {
            return Err(format!("it speaks protocol {}, nomoat speaks {PROTOCOL}", self.protocol));
        }
        for (name, value) in [("engine", &self.engine), ("version", &self.version), ("model", &self.model)] {
            if value.trim().is_empty() {
                return Err(format!("its `{name}` is empty"));
            }
        }
        match (self.takes, self.vocab) {
            (Takes::Ids, None) => Err("it takes ids and names no `vocab`".into()),
            (Takes::Ids, Some(Vocab { first, size })) if size < 2 || first.checked_add(size).is_none() => {
                Err(format!("its `vocab` of {size} ids from {first} is not usable"))
            }
            _ => Ok(()),
        }
    }

    /// The ids or words that generated prompts are drawn from.
    pub fn alphabet(&self) -> Alphabet {
        self.vocab.filter(|_| self.takes == Takes::Ids).map_or(Alphabet::WORDS, |v| Alphabet { first: v.first, size: v.size })
    }
}

impl From<Kv> for KvGeometry {
    fn from(kv: Kv) -> Self {
        match kv {
            Kv::Grouped { layers, kv_heads, key_dim, value_dim, bytes_per_element } => {
                Self { layers, mixer: Mixer::Grouped { kv_heads, key_dim, value_dim }, bytes_per_element }
            }
            Kv::Latent { layers, rank, rope_dim, bytes_per_element } => {
                Self { layers, mixer: Mixer::Latent { rank, rope_dim }, bytes_per_element }
            }
        }
    }
}

impl From<Kind> for TokenKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Visible => Self::Visible,
            Kind::Reasoning => Self::Reasoning,
        }
    }
}

impl From<Counts> for Usage {
    fn from(c: Counts) -> Self {
        Self { input: c.input, cache_read: c.cache_read, cache_write: None, output: c.output, reasoning: c.reasoning }
    }
}

impl Done {
    /// Why the engine stopped.
    pub fn reason(&self) -> FinishReason {
        match self.finish.as_str() {
            "stop" => FinishReason::Stop,
            "length" => FinishReason::Length,
            "tool" => FinishReason::Tool,
            "content_filter" => FinishReason::ContentFilter,
            "abort" => FinishReason::Abort,
            _ => FinishReason::Other,
        }
    }
}
