//! Agentic coding sessions as kv-cache-tester and its relatives record them: a JSON file a session, a folder of such files, or JSON Lines with
//! a session a line. Prompts are prefix-chained ids of full 64-token blocks; sub-agents are requests inside the list of their parent's.
//!
//! A sub-agent begins after the request that spawned it, and the parent's next request waits for it. Its `t` is when its result came, not
//! when it began: in all published sessions that were seen, `t` less `duration_ms` is the end of the parent's request before, and taken as a
//! beginning `t` would let most sub-agents outlive the request that reads their result. Where the end of the request before does not
//! agree, `t` is taken as the beginning.

use super::classes::Classes;
use super::decimal::Seconds;
use super::documents::Documents;
use super::runs::Runs;
use super::{ImportOptions, Importer, MAX_BLOCK_ID, MAX_TIME, MAX_TOKENS, stem};
use crate::diagnose::{Field, Shape, explain_line};
use crate::error::{Place, TraceError, file_error};
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::digest::{Digest, Digester};
use nomoat_core::request::SessionId;
use nomoat_core::trace::{Origin, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use published::is_published;
use serde::Deserialize;
use serde::de::IgnoredAny;
use session::{Builder, Notes};
use std::path::Path;

mod published;
mod session;

/// The importer.
pub(crate) struct Weka;

static SESSION: &[Field] = &[
    Field::required("id", Shape::Any),
    Field::required("block_size", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" }),
    Field::required("hash_id_scope", Shape::Word(&["local", "global"])),
    Field::required("requests", Shape::Objects(&ENTRY)),
    Field::optional("models", Shape::Any),
    Field::optional("tool_tokens", Shape::Any),
    Field::optional("system_tokens", Shape::Any),
    Field::optional("totals", Shape::Any),
];

static ENTRY: [Field; 22] = [
    Field::required("t", Shape::Seconds),
    Field::required("type", Shape::Word(&["s", "n", "subagent"])),
    Field::optional("in", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" }),
    Field::optional("out", Shape::Whole { min: 0, max: MAX_TOKENS, of: "tokens" }),
    Field::optional("hash_ids", Shape::Wholes { max: MAX_BLOCK_ID, of: "block ids" }),
    Field::optional("input_types", Shape::Texts),
    Field::optional("api_time", Shape::Seconds),
    Field::optional("think_time", Shape::Seconds),
    Field::optional("ttft", Shape::Seconds),
    Field::optional("subagent_type", Shape::Text),
    Field::optional("duration_ms", Shape::Whole { min: 0, max: (MAX_TIME.0 / 1_000_000) as u64, of: "milliseconds" }),
    Field::optional("requests", Shape::Objects(&ENTRY)),
    Field::optional("model", Shape::Any),
    Field::optional("output_types", Shape::Any),
    Field::optional("stop", Shape::Any),
    Field::optional("agent_id", Shape::Any),
    Field::optional("total_tokens", Shape::Any),
    Field::optional("tool_use_count", Shape::Any),
    Field::optional("status", Shape::Any),
    Field::optional("models", Shape::Any),
    Field::optional("tool_tokens", Shape::Any),
    Field::optional("system_tokens", Shape::Any),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    #[serde(rename = "id")]
    _id: IgnoredAny,
    block_size: u64,
    hash_id_scope: Scope,
    requests: Vec<Entry>,
    #[serde(rename = "models")]
    _models: Option<IgnoredAny>,
    #[serde(rename = "tool_tokens")]
    _tool_tokens: Option<IgnoredAny>,
    #[serde(rename = "system_tokens")]
    _system_tokens: Option<IgnoredAny>,
    #[serde(rename = "totals")]
    _totals: Option<IgnoredAny>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Local,
    Global,
}

/// A request or a sub-agent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    t: Seconds,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(rename = "in")]
    input: Option<u64>,
    #[serde(rename = "out")]
    output: Option<u64>,
    hash_ids: Option<Runs>,
    input_types: Option<Vec<String>>,
    api_time: Option<Seconds>,
    think_time: Option<Seconds>,
    ttft: Option<Seconds>,
    subagent_type: Option<String>,
    duration_ms: Option<u64>,
    requests: Option<Vec<Entry>>,
    #[serde(rename = "model")]
    _model: Option<IgnoredAny>,
    #[serde(rename = "output_types")]
    _output_types: Option<IgnoredAny>,
    #[serde(rename = "stop")]
    _stop: Option<IgnoredAny>,
    #[serde(rename = "agent_id")]
    _agent_id: Option<IgnoredAny>,
    #[serde(rename = "total_tokens")]
    _total_tokens: Option<IgnoredAny>,
    #[serde(rename = "tool_use_count")]
    _tool_use_count: Option<IgnoredAny>,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
    #[serde(rename = "models")]
    _models: Option<IgnoredAny>,
    #[serde(rename = "tool_tokens")]
    _tool_tokens: Option<IgnoredAny>,
    #[serde(rename = "system_tokens")]
    _system_tokens: Option<IgnoredAny>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
enum Kind {
    #[serde(rename = "s")]
    Streaming,
    #[serde(rename = "n")]
    Whole,
    #[serde(rename = "subagent")]
    SubAgent,
}

impl Importer for Weka {
    fn name(&self) -> &'static str {
        "weka"
    }

    fn about(&self) -> &'static str {
        "Weka and SemiAnalysis agentic coding sessions (JSON, JSON Lines or a folder): block ids, sub-agents, think times"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let has = |key: &[u8]| head.windows(key.len()).any(|window| window == key);
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        head.trim_ascii_start().starts_with(b"{") && has(b"\"hash_id_scope\"") && has(b"\"block_size\"")
    }

    fn sniff_folder(&self, names: &[String]) -> bool {
        names.iter().any(|name| is_session(name))
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let name = source.name().to_owned();
        let mut reader = Reader { options, sink, classes: Classes::default(), notes: Notes::default(), first: None, sessions: 0, sent: 0 };
        let (mut skipped, mut published) = (vec![], true);
        let digest = match source.names().map(<[String]>::to_vec) {
            None => reader.file(source, &mut skipped)?,
            Some(names) => {
                let mut all = Digester::new("weka folder");
                for file in names.iter().filter(|name| is_session(name)) {
                    let missing = || file_error(&name, format!("{file} went away"), "import it again when nobody changes it");
                    let digest = reader.file(&mut source.beside(file)?.ok_or_else(missing)?, &mut skipped)?;
                    published &= is_published(&digest);
                    all.text(file).text(&digest.to_string());
                }
                all.finish()
            }
        };
        published &= source.names().is_some() || is_published(&digest);
        reader.flush()?;
        let origin = Origin {
            licence: published.then(|| "Apache-2.0".to_owned()),
            attribution: published.then(|| "kv-cache-tester agentic coding traces, callanjfox".to_owned()),
            repository: published.then(|| "callanjfox/kv-cache-tester".to_owned()),
            commit: published.then(|| "94f6046dfd9c0c8bc0cdb24a5aa6579bac8669bf".to_owned()),
            ..Origin::default()
        };
        let mut losses = reader.notes.told(reader.sessions);
        let more = skipped.len().saturating_sub(3);
        losses.extend(skipped.into_iter().take(3));
        losses.extend((more > 0).then(|| format!("wrong sessions were left out in {more} more files")));
        Ok(Trace { name: stem(&name), source: digest, origin, classes: reader.classes.names(), losses, ..Trace::default() })
    }
}

fn is_session(name: &str) -> bool {
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    let ending = Path::new(plain).extension();
    plain.starts_with("trace_") && ending.is_some_and(|ending| ending == "json" || ending == "jsonl")
}

/// Passes sessions on. The first waits until it is known whether it is the only one, because only then its times mean anything.
struct Reader<'a> {
    options: &'a ImportOptions,
    sink: &'a mut dyn Sink,
    classes: Classes,
    notes: Notes,
    first: Option<Vec<TraceRequest>>,
    sessions: usize,
    sent: usize,
}

impl Reader<'_> {
    fn file(&mut self, source: &mut Source<'_>, skipped: &mut Vec<String>) -> Result<Digest, TraceError> {
        let name = source.name().to_owned();
        let mut documents = Documents::new(source, &name, self.options);
        while documents
            .next(|bytes, place, error| explain_line(bytes, SESSION, place, error), |session, place| self.session(session, place))?
        {
        }
        let (digest, told) = documents.finish();
        skipped.extend(told);
        Ok(digest)
    }

    fn session(&mut self, session: Session, place: Place<'_>) -> Result<(), TraceError> {
        let index = u32::try_from(self.sessions).map_err(|_| place.line("there are too many sessions", "split the file"))?;
        let block_tokens = match session.block_size {
            size @ 1..=MAX_TOKENS => size as u32,
            size => {
                return Err(place.field("block_size", format!("is {size}"), format!("a whole number of tokens from 1 to {MAX_TOKENS}")));
            }
        };
        let known = self.classes.len();
        let mut builder = Builder {
            place,
            session: SessionId(index),
            namespace: if session.hash_id_scope == Scope::Local { u64::from(index) + 1 } else { 0 },
            block_tokens,
            gaps: self.options.gaps,
            base: self.sent,
            classes: &mut self.classes,
            notes: self.notes,
            requests: vec![],
            latest_root: Nanos::ZERO,
        };
        let stream = builder.stream(session.requests, "", Nanos::ZERO, "main", None);
        let (notes, requests) = (builder.notes, builder.requests);
        if let Err(error) = stream {
            self.classes.truncate(known);
            return Err(error);
        }
        if requests.is_empty() {
            return Err(place.field("requests", "has no request", "a list of at least one"));
        }
        (self.notes, self.sessions, self.sent) = (notes, self.sessions + 1, self.sent + requests.len());
        if self.sessions == 1 {
            self.first = Some(requests);
            return Ok(());
        }
        let first = self.first.take().into_iter().flatten();
        first.chain(requests).try_for_each(|request| self.sink.request(TraceRequest { at: None, ..request }))
    }

    fn flush(&mut self) -> Result<(), TraceError> {
        let Some(mut first) = self.first.take() else { return Ok(()) };
        let zero = first.iter().find_map(|r| r.at).unwrap_or_default();
        first.iter_mut().for_each(|r| r.at = r.at.map(|at| (at - zero).max(Nanos::ZERO)));
        first.into_iter().try_for_each(|request| self.sink.request(request))
    }
}

#[cfg(test)]
mod tests;
