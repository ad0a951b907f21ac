//! Records of the canonical format as they stand in a file: `serde` types, and the fields with their bounds for messages.

use crate::diagnose::{Field, Shape};
use crate::import::{MAX_BLOCK_ID, MAX_TIME, MAX_TOKENS};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// First line.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Head {
    pub k: String,
    pub v: u64,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    pub time: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Blocks>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<String>,
    pub order: Option<String>,
}

#[derive(Serialize, Deserialize, Debug, Default)]
pub(crate) struct Source {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Time {
    pub unit: Unit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick_us: Option<u64>,
}

#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Tokens {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Us,
    Ns,
}

impl Unit {
    pub fn nanos(self) -> i64 {
        match self {
            Self::Us => 1_000,
            Self::Ns => 1,
        }
    }
}

#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) struct Blocks {
    pub size: u32,
    #[serde(default = "trace_scope")]
    pub scope: Scope,
    pub tail: Tail,
}

fn trace_scope() -> Scope {
    Scope::Trace
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    Trace,
    Session,
}

/// How many block ids a prompt of `n` tokens has, and what the tokens beyond them are.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Tail {
    /// ⌈n / size⌉; an unfilled last block is the start of that block.
    Partial,
    /// ⌊n / size⌋; the rest is shared with nobody.
    FullOnly,
    /// ⌈n / size⌉; an unfilled last block is shared with nobody, whatever its id.
    Unshared,
    /// At most ⌈n / size⌉; the rest is shared with nobody.
    Open,
}

#[derive(Deserialize, Debug)]
pub(crate) struct Sess {
    pub id: u32,
    pub class: Option<String>,
    pub lora: Option<String>,
    pub parent: Option<Value>,
    pub tenant: Option<Value>,
    pub model: Option<Value>,
    pub prefix: Option<Value>,
    pub weight: Option<Value>,
}

/// A text, a message or a list of tools, by its digest.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    pub k: String,
    pub h: String,
    pub json: Value,
}

/// A piece of content, by its id.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chunk {
    pub k: String,
    pub id: u64,
    pub n: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub c: Option<String>,
}

/// What ran between two requests: for reports.
#[derive(Deserialize, Debug)]
pub(crate) struct Tool {
    pub r: u64,
}

/// One request. Borrows from its line.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Req<'a> {
    #[serde(borrow)]
    pub k: Cow<'a, str>,
    pub id: u64,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub s: Option<u32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub turn: Option<u16>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<After>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinWord>,
    #[serde(rename = "in")]
    pub input: Input,
    pub out: Output,
    #[serde(borrow, default, deserialize_with = "present_text", skip_serializing_if = "Option::is_none")]
    pub class: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub prio: Option<i32>,
    #[serde(borrow, default, deserialize_with = "present_text", skip_serializing_if = "Option::is_none")]
    pub lora: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Cancel>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub obs: Option<Obs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hist: Option<HistWord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samp: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Value>,
}

/// Which answers a prompt continues. Live ones are a way to replay, not a property of what was recorded.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HistWord {
    Recorded,
}

/// When the user goes away: one of the three.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tok: Option<u32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub first: Option<bool>,
}

/// What came of it when it was recorded.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Obs {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ttft: Option<u64>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub e2e: Option<u64>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cached: Option<u32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub failed: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    pub r: u64,
    pub on: OnWord,
    pub gap: u64,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub why: Option<WhyWord>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnWord {
    Start,
    First,
    End,
}

/// Why a child waits. All but `order` need the parent's success.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhyWord {
    Think,
    Tool,
    Queue,
    Order,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JoinWord {
    All,
    Any,
}

#[derive(Serialize, Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub b: Option<BlockList>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub space: Option<u64>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub u: Option<u64>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u32>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub m: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub append: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tools: Option<String>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub c: Option<Vec<Piece>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub add: Option<u32>,
}

/// A piece of content: all of it, or its first tokens.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(untagged)]
pub(crate) enum Piece {
    Whole(u64),
    First(u64, u32),
}

#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlockList {
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    pub add: Vec<(u64, u32)>,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    pub n: u32,
    pub how: HowWord,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub reason: Option<u32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub t: Option<String>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HowWord {
    Exact,
    Cap,
    Free,
}

/// Last line.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub(crate) struct End {
    pub k: String,
    pub n: Counts,
    #[serde(rename = "in")]
    pub input: u64,
    pub out: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    pub sha256: String,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    pub sess: u64,
    pub req: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub text: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chunk: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tool: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A key that is there has a value: `null` is not a way to say absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// As [`present`], for a text that borrows from its line where it can.
fn present_text<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
    Borrowed::deserialize(deserializer).map(|text| Some(text.0))
}

const ID: Shape = Shape::Whole { min: 0, max: MAX_BLOCK_ID, of: "request ids" };
const ANY_U32: Shape = Shape::Whole { min: 0, max: u32::MAX as u64, of: "ids" };
const KEY: Shape = Shape::Whole { min: 0, max: u64::MAX, of: "keys" };
const TOKENS: Shape = Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" };
const TIME: Shape = Shape::Whole { min: 0, max: MAX_TIME.0 as u64, of: "time units" };
const COUNT: Shape = Shape::Whole { min: 0, max: u64::MAX, of: "records or tokens" };

pub(crate) const HEAD: &[Field] = &[
    Field::required("k", Shape::Word(&["head"])),
    Field::required("v", Shape::Whole { min: super::VERSION, max: super::VERSION, of: "format versions" }),
    Field::required("name", Shape::Text),
    Field::optional(
        "source",
        Shape::Object(&[
            Field::optional("repo", Shape::Text),
            Field::optional("commit", Shape::Text),
            Field::optional("path", Shape::Text),
            Field::optional("sha256", Shape::Text),
            Field::optional("license", Shape::Text),
            Field::optional("attribution", Shape::Text),
        ]),
    ),
    Field::optional(
        "importer",
        Shape::Object(&[
            Field::optional("name", Shape::Text),
            Field::optional("version", Shape::Text),
            Field::optional("options", Shape::Any),
        ]),
    ),
    Field::required(
        "time",
        Shape::Object(&[
            Field::required("unit", Shape::Word(&["us", "ns"])),
            Field::optional("tick_us", COUNT),
            Field::optional("epoch", Shape::Any),
        ]),
    ),
    Field::optional("tokens", Shape::Object(&[Field::optional("tokenizer", Shape::Text), Field::optional("exact", Shape::Any)])),
    Field::optional(
        "blocks",
        Shape::Object(&[
            Field::required("size", TOKENS),
            Field::optional("id", Shape::Word(&["chained", "content", "none", "assumed"])),
            Field::optional("scope", Shape::Word(&["trace", "session"])),
            Field::required("tail", Shape::Word(&["partial", "full_only", "unshared", "open"])),
        ]),
    ),
    Field::optional("classes", Shape::Texts),
    Field::optional("adapters", Shape::Texts),
    Field::optional("losses", Shape::Texts),
    Field::optional("has", Shape::Texts),
    Field::optional("order", Shape::Word(&["arrival"])),
];

pub(crate) const SESS: &[Field] = &[
    Field::required("k", Shape::Word(&["sess"])),
    Field::required("id", ANY_U32),
    Field::optional("class", Shape::Text),
    Field::optional("lora", Shape::Text),
    Field::optional("parent", Shape::Any),
    Field::optional("tenant", Shape::Any),
    Field::optional("model", Shape::Any),
    Field::optional("prefix", Shape::Any),
    Field::optional("weight", Shape::Any),
];

pub(crate) const TEXT: &[Field] =
    &[Field::required("k", Shape::Word(&["text"])), Field::required("h", Shape::Text), Field::required("json", Shape::Any)];

pub(crate) const CHUNK: &[Field] = &[
    Field::required("k", Shape::Word(&["chunk"])),
    Field::required("id", ID),
    Field::required("n", TOKENS),
    Field::optional("c", Shape::Text),
];

pub(crate) const TOOL: &[Field] = &[
    Field::required("k", Shape::Word(&["tool"])),
    Field::required("r", ID),
    Field::optional("name", Shape::Text),
    Field::optional("us", COUNT),
    Field::optional("err", Shape::Any),
];

pub(crate) const REQ: &[Field] = &[
    Field::required("k", Shape::Word(&["req"])),
    Field::required("id", ID),
    Field::optional("s", ANY_U32),
    Field::optional("turn", Shape::Whole { min: 0, max: u16::MAX as u64, of: "turns" }),
    Field::optional("at", TIME),
    Field::optional(
        "after",
        Shape::Objects(&[
            Field::required("r", ID),
            Field::required("on", Shape::Word(&["start", "first", "end"])),
            Field::required("gap", TIME),
            Field::optional("why", Shape::Word(&["think", "tool", "queue", "order"])),
        ]),
    ),
    Field::optional("join", Shape::Word(&["all", "any"])),
    Field::required(
        "in",
        Shape::Object(&[
            Field::optional("n", TOKENS),
            Field::optional(
                "b",
                Shape::Object(&[
                    Field::optional("of", ID),
                    Field::optional("keep", Shape::Whole { min: 0, max: MAX_TOKENS, of: "blocks" }),
                    Field::required("add", Shape::Ranges { max_first: MAX_BLOCK_ID, max_count: MAX_TOKENS }),
                ]),
            ),
            Field::optional("size", TOKENS),
            Field::optional("space", KEY),
            Field::optional("u", KEY),
            Field::optional("ids", Shape::Wholes { max: u32::MAX as u64, of: "token ids" }),
            Field::optional("text", Shape::Text),
            Field::optional("m", Shape::Texts),
            Field::optional("append", Shape::Texts),
            Field::optional("tools", Shape::Text),
            Field::optional("c", Shape::Any),
            Field::optional("of", ID),
            Field::optional("keep", Shape::Whole { min: 0, max: MAX_TOKENS, of: "tokens" }),
            Field::optional("add", TOKENS),
        ]),
    ),
    Field::required(
        "out",
        Shape::Object(&[
            Field::required("n", TOKENS),
            Field::required("how", Shape::Word(&["exact", "cap", "free"])),
            Field::optional("reason", Shape::Whole { min: 0, max: MAX_TOKENS, of: "tokens" }),
            Field::optional("t", Shape::Text),
        ]),
    ),
    Field::optional("class", Shape::Text),
    Field::optional("prio", Shape::Signed),
    Field::optional("lora", Shape::Text),
    Field::optional(
        "cancel",
        Shape::Object(&[Field::optional("after", TIME), Field::optional("tok", TOKENS), Field::optional("first", Shape::Bool)]),
    ),
    Field::optional(
        "obs",
        Shape::Object(&[
            Field::optional("ttft", TIME),
            Field::optional("e2e", TIME),
            Field::optional("cached", Shape::Whole { min: 0, max: MAX_TOKENS, of: "tokens" }),
            Field::optional("failed", Shape::Bool),
            Field::optional("finish", Shape::Any),
            Field::optional("status", Shape::Any),
            Field::optional("error", Shape::Any),
        ]),
    ),
    Field::optional("hist", Shape::Word(&["recorded"])),
    Field::optional("samp", Shape::Any),
    Field::optional("model", Shape::Any),
    Field::optional("tenant", Shape::Any),
    Field::optional("slo", Shape::Any),
    Field::optional("media", Shape::Any),
];

pub(crate) const END: &[Field] = &[
    Field::required("k", Shape::Word(&["end"])),
    Field::required(
        "n",
        Shape::Object(&[
            Field::required("sess", COUNT),
            Field::required("req", COUNT),
            Field::optional("text", COUNT),
            Field::optional("chunk", COUNT),
            Field::optional("tool", COUNT),
        ]),
    ),
    Field::required("in", COUNT),
    Field::required("out", COUNT),
    Field::optional("at", TIME),
    Field::required("sha256", Shape::Text),
];
