//! The script: when each token of each answer leaves, as plain data.
//!
//! It says nothing of sockets and nothing of JSON, and it reads no clock: offsets count from the moment a request was complete.

use crate::error::TruthError;
use crate::fault::Fault;
use crate::jitter::Jitter;
use crate::pause::{Freeze, Stall};
use crate::sleep::Sleep;
use crate::text::{self, parse_duration};
use nomoat_core::units::Nanos;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most tokens a model length may allow: bounds the plan of one answer to tens of megabytes.
const LONGEST_MODEL: u32 = 1 << 20;

/// The field that carries reasoning in chat chunks; engines disagree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReasoningField {
    /// `reasoning_content`.
    #[default]
    ReasoningContent,
    /// `reasoning`.
    Reasoning,
}

impl ReasoningField {
    /// The field's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReasoningContent => "reasoning_content",
            Self::Reasoning => "reasoning",
        }
    }
}

impl fmt::Display for ReasoningField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ReasoningField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::ReasoningContent, Self::Reasoning]
            .into_iter()
            .find(|field| field.name() == text)
            .ok_or_else(|| format!("reasoning field `{text}` should be reasoning_content or reasoning"))
    }
}

/// What the server plays. Durations are written with a unit (`20ms`).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The one model it serves.
    pub model: String,
    /// Longest prompt plus answer in tokens; longer requests are refused.
    pub max_model_len: u32,
    /// From the request's completion to the first token.
    #[serde(with = "text::duration")]
    pub ttft: Nanos,
    /// From token to token. A chunk of k tokens comes k of these after the one before it.
    #[serde(with = "text::duration")]
    pub itl: Nanos,
    /// How both vary.
    #[serde(with = "text")]
    pub jitter: Jitter,
    /// Seed of the jitter.
    pub seed: u64,
    /// Tokens in each chunk; the last may have fewer.
    pub tokens_per_chunk: u32,
    /// Whether chat streams open with a chunk that has a role and no text.
    pub role_chunk: bool,
    /// When that chunk leaves, at most the first token's time. vLLM sends it together with the first token: give it the TTFT.
    #[serde(with = "text::duration")]
    pub role_delay: Nanos,
    /// So many first tokens of each chat answer are reasoning.
    pub reasoning_tokens: u32,
    /// The field they come in.
    #[serde(with = "text")]
    pub reasoning_field: ReasoningField,
    /// A pause inside each answer.
    #[serde(with = "text::option", skip_serializing_if = "Option::is_none")]
    pub stall: Option<Stall>,
    /// A window in which nothing is written.
    #[serde(with = "text::option", skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// Answer length where the request does not force one.
    pub output_tokens: u32,
    /// What goes wrong.
    #[serde(with = "text::option", skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// The fault befalls every n-th request: with 3 the third, sixth, …
    pub fault_every: u32,
    /// Tokens per KV block, for the metrics page.
    pub block_size: u32,
    /// KV blocks, for the metrics page. Nothing is refused when they run out; the gauge then stays at 1.
    pub kv_blocks: u32,
    /// From its start it answers 503 for so long, with `retry-after`.
    #[serde(with = "text::duration")]
    pub loading: Nanos,
    /// The same after it was woken.
    #[serde(with = "text::duration")]
    pub waking: Nanos,
    /// What the routes do that put it to sleep and wake it.
    #[serde(with = "text")]
    pub sleep: Sleep,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            model: "truth".to_owned(),
            max_model_len: 131_072,
            ttft: Nanos::from_millis(20),
            itl: Nanos::from_millis(5),
            jitter: Jitter::None,
            seed: 0,
            tokens_per_chunk: 1,
            role_chunk: true,
            role_delay: Nanos::ZERO,
            reasoning_tokens: 0,
            reasoning_field: ReasoningField::default(),
            stall: None,
            freeze: None,
            output_tokens: 64,
            fault: None,
            fault_every: 1,
            block_size: 16,
            kv_blocks: 65_536,
            loading: Nanos::ZERO,
            waking: Nanos::ZERO,
            sleep: Sleep::default(),
        }
    }
}

impl Script {
    /// The keys of [`Self::parse`], which are the fields.
    pub const KEYS: [&'static str; 21] = [
        "model",
        "max_model_len",
        "ttft",
        "itl",
        "jitter",
        "seed",
        "tokens_per_chunk",
        "role_chunk",
        "role_delay",
        "reasoning_tokens",
        "reasoning_field",
        "stall",
        "freeze",
        "output_tokens",
        "fault",
        "fault_every",
        "block_size",
        "kv_blocks",
        "loading",
        "waking",
        "sleep",
    ];

    /// Reads `key=value,key=value` over the default, such as `ttft=50ms,itl=10ms,fault=close_after:3`. Empty text is the default.
    ///
    /// # Errors
    /// A [`TruthError::Script`] that names the key and what its value should be.
    pub fn parse(text: &str) -> Result<Self, TruthError> {
        let mut script = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (key, value) = item
                .split_once('=')
                .ok_or_else(|| TruthError::Script(format!("`{item}` should look like key=value, such as ttft=20ms")))?;
            let (key, value) = (key.trim(), value.trim());
            if seen.contains(&key) {
                return Err(TruthError::Script(format!("key `{key}` is given twice")));
            }
            seen.push(key);
            script.set(key, value).map_err(TruthError::Script)?;
        }
        script.check()?;
        Ok(script)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        fn number<T: FromStr>(key: &str, value: &str) -> Result<T, String> {
            value.parse().map_err(|_| format!("{key} `{value}` is not a whole number in range"))
        }
        match key {
            "model" => value.clone_into(&mut self.model),
            "max_model_len" => self.max_model_len = number(key, value)?,
            "ttft" => self.ttft = parse_duration(value)?,
            "itl" => self.itl = parse_duration(value)?,
            "jitter" => self.jitter = value.parse()?,
            "seed" => self.seed = number(key, value)?,
            "tokens_per_chunk" => self.tokens_per_chunk = number(key, value)?,
            "role_chunk" => self.role_chunk = value.parse().map_err(|_| format!("role_chunk `{value}` should be true or false"))?,
            "role_delay" => self.role_delay = parse_duration(value)?,
            "reasoning_tokens" => self.reasoning_tokens = number(key, value)?,
            "reasoning_field" => self.reasoning_field = value.parse()?,
            "stall" => self.stall = Some(value.parse()?),
            "freeze" => self.freeze = Some(value.parse()?),
            "output_tokens" => self.output_tokens = number(key, value)?,
            "fault" => self.fault = Some(value.parse()?),
            "fault_every" => self.fault_every = number(key, value)?,
            "block_size" => self.block_size = number(key, value)?,
            "kv_blocks" => self.kv_blocks = number(key, value)?,
            "loading" => self.loading = parse_duration(value)?,
            "waking" => self.waking = parse_duration(value)?,
            "sleep" => self.sleep = value.parse()?,
            _ => return Err(format!("unknown key `{key}`; there are {}", Self::KEYS.join(", "))),
        }
        Ok(())
    }

    /// Whether it can be played: a struct written by hand is not bound by what [`Self::parse`] allows.
    ///
    /// # Errors
    /// A [`TruthError::Script`] that names the field.
    pub fn check(&self) -> Result<(), TruthError> {
        let wrong = |what: &str| Err(TruthError::Script(what.to_owned()));
        let mut durations = vec![self.ttft, self.itl, self.role_delay, self.loading, self.waking];
        durations.extend(self.stall.map(|stall| stall.lasts));
        durations.extend(self.freeze.into_iter().flat_map(|freeze| [freeze.at, freeze.lasts]));
        if durations.into_iter().any(|d| d < Nanos::ZERO || d > Nanos::from_secs(86_400)) {
            return wrong("durations must lie between 0 and a day");
        }
        if let Jitter::Uniform(share) = self.jitter
            && !(0.0..=1.0).contains(&share)
        {
            return wrong("the share of a uniform jitter must lie between 0 and 1");
        }
        if self.model.is_empty() || self.model.len() > 256 {
            return wrong("model must have 1 to 256 bytes");
        }
        if !(2..=LONGEST_MODEL).contains(&self.max_model_len) {
            return wrong("max_model_len must lie between 2 and 1048576");
        }
        for (name, value) in [
            ("tokens_per_chunk", self.tokens_per_chunk),
            ("output_tokens", self.output_tokens),
            ("fault_every", self.fault_every),
            ("block_size", self.block_size),
            ("kv_blocks", self.kv_blocks),
        ] {
            if value == 0 {
                return wrong(&format!("{name} must be at least 1"));
            }
        }
        self.fault.map_or(Ok(()), Fault::check).map_err(TruthError::Script)
    }

    /// The fault that befalls request `ordinal` (counted from 0).
    pub(crate) fn fault_of(&self, ordinal: u64) -> Option<Fault> {
        self.fault.filter(|_| (ordinal + 1).is_multiple_of(u64::from(self.fault_every)))
    }

    /// The chunks of an answer of `tokens` tokens to request `ordinal`: when each is due, counted from the request's completion,
    /// and how many tokens it has. Freezes and coalescing come on top.
    ///
    /// Chunk j of k tokens is due at ttft·f₀ + Σ itl·fᵢ over the tokens i after the first chunk up to its own last, f the jitter
    /// factors, plus the stall when it starts at or after the stalled token.
    pub fn chunks(&self, ordinal: u64, tokens: u32) -> impl Iterator<Item = (Nanos, u32)> + '_ {
        let mut sent = 0_u32;
        let mut at = Nanos::ZERO;
        std::iter::from_fn(move || {
            let count = self.tokens_per_chunk.min(tokens - sent);
            if count == 0 {
                return None;
            }
            let factor = |index: u32| self.jitter.factor(self.seed, ordinal, index.into());
            if sent == 0 {
                at = self.ttft.scale(factor(0));
            } else {
                for index in sent..sent + count {
                    at += self.itl.scale(factor(index));
                }
            }
            let stalled = self.stall.filter(|stall| sent >= stall.after).map_or(Nanos::ZERO, |stall| stall.lasts);
            sent += count;
            Some((at + stalled, count))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scripts_read() {
        let script = Script::parse("ttft=50ms, itl=1.5ms,jitter=uniform:0.25,seed=7,tokens_per_chunk=4,role_chunk=false,role_delay=1ms,reasoning_tokens=3,reasoning_field=reasoning,stall=10:2s,freeze=20s:10s,output_tokens=9,fault=close_after:3,fault_every=5,model=m,max_model_len=99,block_size=8,kv_blocks=100,loading=3s,waking=4s,sleep=ignored").unwrap();
        let expected = Script {
            model: "m".to_owned(),
            max_model_len: 99,
            ttft: Nanos::from_millis(50),
            itl: Nanos::from_micros(1_500),
            jitter: Jitter::Uniform(0.25),
            seed: 7,
            tokens_per_chunk: 4,
            role_chunk: false,
            role_delay: Nanos::from_millis(1),
            reasoning_tokens: 3,
            reasoning_field: ReasoningField::Reasoning,
            stall: Some(Stall { after: 10, lasts: Nanos::from_secs(2) }),
            freeze: Some(Freeze { at: Nanos::from_secs(20), lasts: Nanos::from_secs(10) }),
            output_tokens: 9,
            fault: Some(Fault::CloseAfter(3)),
            fault_every: 5,
            block_size: 8,
            kv_blocks: 100,
            loading: Nanos::from_secs(3),
            waking: Nanos::from_secs(4),
            sleep: Sleep::Ignored,
        };
        assert_eq!(script, expected);
        let json = serde_json::to_string(&script).unwrap();
        assert_eq!(serde_json::from_str::<Script>(&json).unwrap(), script, "{json}");
        assert_eq!(Script::parse("").unwrap(), Script::default());
        let default = serde_json::to_string(&Script::default()).unwrap();
        assert_eq!(serde_json::from_str::<Script>(&default).unwrap(), Script::default());
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), Script::KEYS, "keys are the fields, in order");
    }

    #[test]
    fn bad_scripts_say_why() {
        let check = |text: &str, needle: &str| {
            let error = Script::parse(text).unwrap_err().to_string();
            assert!(error.contains(needle), "{text}: {error}");
        };
        check("ttft", "key=value");
        check("tttf=1ms", "unknown key `tttf`; there are model");
        check("ttft=1ms,ttft=2ms", "twice");
        check("ttft=soon", "not a duration");
        check("ttft=25h", "longer than a day");
        check("jitter=uniform:2", "share from 0 to 1");
        check("jitter=normal", "none, exponential");
        check("stall=3", "TOKENS:TIME");
        check("stall=x:1s", "number of tokens");
        check("freeze=1s", "AT:TIME");
        check("tokens_per_chunk=0", "at least 1");
        check("output_tokens=-1", "whole number");
        check("fault=explode", "unknown fault");
        check("role_chunk=yes", "true or false");
        check("reasoning_field=thoughts", "reasoning_content or reasoning");
        check("model=", "1 to 256 bytes");
        check("max_model_len=1", "between 2");
        assert!(serde_json::from_str::<Script>(r#"{"ttft":"1ms","surprise":1}"#).unwrap_err().to_string().contains("surprise"));
        assert!(serde_json::from_str::<Script>(r#"{"ttft":5}"#).is_err(), "a duration without a unit is a guess");
        let by_hand = Script { ttft: Nanos(-1), ..Script::default() };
        assert!(by_hand.check().is_err());
    }

    #[test]
    fn chunks_fall_due() {
        let check = |text: &str, tokens: u32, expected: &[(i64, u32)]| {
            let got: Vec<_> = Script::parse(text).unwrap().chunks(0, tokens).map(|(at, n)| (at.0 / 1_000_000, n)).collect();
            assert_eq!(got, expected, "{text}");
        };
        check("ttft=20ms,itl=5ms", 3, &[(20, 1), (25, 1), (30, 1)]);
        check("ttft=20ms,itl=5ms,tokens_per_chunk=4", 10, &[(20, 4), (40, 4), (50, 2)]);
        check("ttft=20ms,itl=5ms,tokens_per_chunk=9", 4, &[(20, 4)]);
        check("ttft=20ms,itl=5ms,stall=2:1s", 4, &[(20, 1), (25, 1), (1030, 1), (1035, 1)]);
        check("ttft=20ms,itl=5ms,stall=0:1s", 2, &[(1020, 1), (1025, 1)]);
        check("ttft=0ms,itl=0ms", 2, &[(0, 1), (0, 1)]);
        check("ttft=20ms", 0, &[]);
    }

    #[test]
    fn jitter_repeats_by_seed_and_ordinal() {
        let times = |text: &str, ordinal| Script::parse(text).unwrap().chunks(ordinal, 50).collect::<Vec<_>>();
        for jitter in ["uniform:0.5", "exponential"] {
            let (a, b) = (format!("jitter={jitter},seed=1"), format!("jitter={jitter},seed=2"));
            assert_eq!(times(&a, 3), times(&a, 3));
            assert_ne!(times(&a, 3), times(&a, 4));
            assert_ne!(times(&a, 3), times(&b, 3));
        }
        let script = Script::parse("jitter=exponential,itl=1s,ttft=1s").unwrap();
        let mean = |of: &dyn Fn(u64) -> Nanos| (0..20_000).map(|o| of(o).as_secs_f64()).sum::<f64>() / 20_000.0;
        let first = mean(&|o| script.chunks(o, 1).next().unwrap().0);
        let gap = mean(&|o| script.chunks(o, 2).nth(1).unwrap().0 - script.chunks(o, 2).next().unwrap().0);
        assert!((first - 1.0).abs() < 0.03 && (gap - 1.0).abs() < 0.03, "{first} {gap}");
    }

    #[test]
    fn faults_befall_every_nth() {
        let befallen = |every: u32| {
            let script = Script { fault: Some(Fault::Crlf), fault_every: every, ..Script::default() };
            (0..6).filter(|o| script.fault_of(*o).is_some()).collect::<Vec<u64>>()
        };
        assert_eq!(befallen(1), [0, 1, 2, 3, 4, 5]);
        assert_eq!(befallen(3), [2, 5]);
    }

    proptest! {
        #[test]
        fn chunks_are_monotone_and_complete(seed in 0_u64.., ordinal in 0_u64..1_000_000, tokens in 1_u32..300, per in 1_u32..9, kind in 0_u8..3) {
            let jitter = [Jitter::None, Jitter::Uniform(1.0), Jitter::Exponential][kind as usize];
            let script = Script { seed, jitter, tokens_per_chunk: per, ..Script::default() };
            let chunks: Vec<_> = script.chunks(ordinal, tokens).collect();
            prop_assert_eq!(chunks.iter().map(|c| c.1).sum::<u32>(), tokens);
            prop_assert!(chunks.is_sorted_by_key(|c| c.0));
            prop_assert!(chunks[0].0 >= Nanos::ZERO);
        }
    }
}
