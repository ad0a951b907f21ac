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
use super::gaps::{after_start, since_start};
use super::runs::Runs;
use super::weka_published::is_published;
use super::{Gaps, ImportOptions, Importer, MAX_BLOCK_ID, MAX_TIME, MAX_TOKENS, stem};
use crate::diagnose::{Field, Shape, explain_line};
use crate::error::{Place, TraceError, file_error};
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::digest::{Digest, Digester};
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, Origin, Recorded, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::Deserialize;
use serde::de::IgnoredAny;

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
    plain.starts_with("trace_") && (plain.ends_with(".json") || plain.ends_with(".jsonl"))
}

/// What sessions had that a trace has not, counted.
#[derive(Clone, Copy, Default)]
struct Notes {
    unknown_gaps: u64,
    empty_answers: u64,
    ended_at_t: u64,
    late: u64,
    unawaited: u64,
}

impl Notes {
    fn told(self, sessions: usize) -> Vec<String> {
        let mut told = vec![
            "models, kinds of content, stop reasons and whether an answer was streamed are not kept; lengths are those of the recorder's tokenizer"
                .to_owned(),
        ];
        if sessions > 1 {
            told.push(format!(
                "the {sessions} sessions were recorded apart and have no arrivals: give a rate of arrivals, or lanes that take one session after the other"
            ));
        }
        let counted = [
            (
                self.unknown_gaps,
                "requests follow one whose duration and think time are unknown: they keep the recorded distance from its start, and wait for its end",
            ),
            (self.empty_answers, "answers of no token became answers of one token"),
            (
                self.ended_at_t,
                "sub-agents began their duration before their `t`, which is when the request that spawned them ended: `t` is taken as when their result came",
            ),
            (self.late, "sub-agents ended after the next request of their parent began: the first one after their end waits for them"),
            (self.unawaited, "sub-agents are waited for by nobody: their parent has no request after their end"),
        ];
        told.extend(counted.iter().filter(|(n, _)| *n > 0).map(|(n, text)| format!("{n} {text}")));
        told
    }
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

/// A request that others may wait for, with its recorded times.
#[derive(Clone, Copy)]
struct Done {
    id: RequestId,
    start: Nanos,
    end: Option<Nanos>,
}

impl Done {
    fn until(self) -> Nanos {
        self.end.unwrap_or(self.start)
    }
}

/// A sub-agent that its parent has not waited for yet.
struct Agent {
    last: Done,
    start: Nanos,
    spawner: Option<RequestId>,
    is_late: bool,
}

/// Makes the requests of one session.
struct Builder<'a> {
    place: Place<'a>,
    session: SessionId,
    namespace: u64,
    block_tokens: u32,
    gaps: Gaps,
    base: usize,
    classes: &'a mut Classes,
    notes: Notes,
    requests: Vec<TraceRequest>,
    latest_root: Nanos,
}

impl Builder<'_> {
    /// Appends the requests of one agent that began at `base`, spawned by `spawner`; its last request.
    fn stream(
        &mut self,
        entries: Vec<Entry>,
        path: &str,
        base: Nanos,
        class: &str,
        spawner: Option<Done>,
    ) -> Result<Option<Done>, TraceError> {
        let (mut previous, mut agents, mut clock) = (None, vec![], Nanos::ZERO);
        for (index, entry) in entries.into_iter().enumerate() {
            let path = format!("{path}requests[{index}].");
            let start = base + entry.t.0;
            if entry.t.0 < clock {
                let problem = format!("is {} earlier than that of the entry before", clock - entry.t.0);
                return Err(self.place.field(format!("{path}t"), problem, "in order of time"));
            }
            if start > MAX_TIME {
                return Err(self.place.field(format!("{path}t"), "is beyond a century", "seconds from the session's start"));
            }
            clock = entry.t.0;
            if entry.kind == Kind::SubAgent {
                agents.extend(self.agent(entry, &path, start, previous.or(spawner))?);
            } else {
                previous = Some(self.request(entry, &path, start, class, previous, &mut agents, spawner)?);
            }
        }
        self.notes.unawaited += agents.len() as u64;
        Ok(previous)
    }

    fn agent(&mut self, entry: Entry, path: &str, t: Nanos, spawner: Option<Done>) -> Result<Option<Agent>, TraceError> {
        let should = "a list of the sub-agent's requests";
        let Some(requests) = entry.requests else { return Err(self.place.field(format!("{path}requests"), "is missing", should)) };
        let ran = entry.duration_ms.filter(|ms| *ms > 0).and_then(|ms| i64::try_from(ms).ok()).filter(|ms| *ms <= MAX_TIME.0 / 1_000_000);
        let began =
            ran.map(|ms| t - Nanos::from_millis(ms)).filter(|began| spawner.is_some_and(|s| s.end.is_some_and(|end| *began >= end)));
        let start = began.unwrap_or(t);
        let class = entry.subagent_type.as_deref().unwrap_or("subagent");
        let last = self.stream(requests, path, start, class, spawner)?;
        self.notes.ended_at_t += u64::from(began.is_some() && last.is_some());
        Ok(last.map(|last| Agent { last, start, spawner: spawner.map(|s| s.id), is_late: false }))
    }

    #[allow(clippy::too_many_arguments)]
    fn request(
        &mut self,
        entry: Entry,
        path: &str,
        start: Nanos,
        class: &str,
        previous: Option<Done>,
        agents: &mut Vec<Agent>,
        spawner: Option<Done>,
    ) -> Result<Done, TraceError> {
        let missing = |name: &str| self.place.field(format!("{path}{name}"), "is missing", "there: only sub-agents go without it");
        let tokens = |name: &str, value: u64, min: u64| match value {
            n if (min..=MAX_TOKENS).contains(&n) => Ok(n as u32),
            n => Err(self.place.field(
                format!("{path}{name}"),
                format!("is {n}"),
                format!("a whole number of tokens from {min} to {MAX_TOKENS}"),
            )),
        };
        let input = tokens("in", entry.input.ok_or_else(|| missing("in"))?, 1)?;
        let output = tokens("out", entry.output.ok_or_else(|| missing("out"))?, 0)?;
        let ids = entry.hash_ids.as_ref().ok_or_else(|| missing("hash_ids"))?;
        let (full, all) = (input / self.block_tokens, input.div_ceil(self.block_tokens));
        if ids.count != u64::from(full) && ids.count != u64::from(all) {
            let should = format!("{full} ids, one for each full block of {} tokens, or {all} with the partial one", self.block_tokens);
            return Err(self.place.field(format!("{path}hash_ids"), format!("has {} ids for {input} tokens", ids.count), should));
        }
        let too_many = |what: &str| self.place.line(format!("there are too many {what}"), "split it");
        let position = self.base + self.requests.len();
        let id = RequestId(u32::try_from(position).map_err(|_| too_many("requests in the file"))?);
        let turn = u16::try_from(self.requests.len()).map_err(|_| too_many("requests in the session"))?;
        let class = self.classes.of(class).ok_or_else(|| too_many("kinds of sub-agents"))?;

        let after = self.edges(&entry, start, previous, agents, spawner);
        // A root of a later stream never arrives before one of an earlier stream, which a trace's order asks for.
        let at = if after.is_empty() { start.max(self.latest_root) } else { start };
        if after.is_empty() {
            self.latest_root = at;
        }
        self.notes.empty_answers += u64::from(output == 0);
        let recorded = Recorded { ttft: entry.ttft.map(|s| s.0), e2e: entry.api_time.map(|s| s.0), ..Recorded::default() };
        let prompt = Prompt::Blocks(BlockPrompt {
            namespace: self.namespace,
            block_tokens: self.block_tokens,
            blocks: entry.hash_ids.map(|ids| ids.ranges).unwrap_or_default().into(),
            tokens: input,
            unshared: position as u64,
        });
        self.requests.push(TraceRequest {
            at: Some(at),
            after,
            session: Some(self.session),
            turn,
            class,
            recorded: (recorded != Recorded::default()).then(|| Box::new(recorded)),
            ..TraceRequest::new(prompt, input, output.max(1))
        });
        Ok(Done { id, start, end: entry.api_time.map(|api| start + api.0) })
    }

    /// What a request waits for: the one before it in its stream, or the one that spawned the stream, and sub-agents that had ended by then.
    fn edges(&mut self, entry: &Entry, start: Nanos, previous: Option<Done>, agents: &mut Vec<Agent>, spawner: Option<Done>) -> Vec<Edge> {
        let is_tool = entry.input_types.iter().flatten().any(|kind| kind == "tool_result");
        let cause = if is_tool { Cause::Tool } else { Cause::Think };
        let (mut joined, mut pending) = (vec![], vec![]);
        for agent in agents.drain(..) {
            if agent.last.until() <= start { joined.push(agent) } else { pending.push(agent) }
        }
        for agent in &mut pending {
            self.notes.late += u64::from(!agent.is_late);
            agent.is_late = true;
        }
        *agents = pending;

        let mut edges = match (previous, spawner) {
            (Some(previous), _) => {
                // The recorded think time contains what the engine took for sub-agents: the wait for them stands in its place.
                let spawned = joined.iter().filter(|agent| agent.spawner == Some(previous.id)).map(|agent| agent.start).min();
                let think = match spawned {
                    Some(spawned) => Some((spawned - previous.until()).max(Nanos::ZERO)),
                    None => entry.think_time.map(|s| s.0),
                };
                self.wait(previous, start, think, cause)
            }
            (None, Some(spawner)) => self.wait(spawner, start, None, Cause::Tool),
            (None, None) => vec![],
        };
        // Their results were read together: what passed after the last of them is the client's.
        let tail = joined.iter().map(|agent| start - agent.last.until()).min().unwrap_or_default();
        edges.extend(joined.iter().map(|agent| match self.gaps {
            Gaps::Think => Edge::after_end(agent.last.id, tail, Cause::Tool),
            Gaps::Recorded => after_start(agent.last.id, start - agent.last.start, Cause::Tool),
        }));
        edges
    }

    fn wait(&mut self, before: Done, start: Nanos, think: Option<Nanos>, cause: Cause) -> Vec<Edge> {
        let distance = (start - before.start).max(Nanos::ZERO);
        let think = think.or_else(|| before.end.map(|end| (start - end).max(Nanos::ZERO)));
        match (self.gaps, think) {
            (Gaps::Think, Some(gap)) => vec![Edge::after_end(before.id, gap, cause)],
            (Gaps::Think, None) => {
                self.notes.unknown_gaps += 1;
                since_start(before.id, distance, cause, self.gaps)
            }
            (Gaps::Recorded, _) => since_start(before.id, distance, cause, self.gaps),
        }
    }
}

#[cfg(test)]
#[path = "weka/tests.rs"]
mod tests;
