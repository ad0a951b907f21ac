//! Spans of model calls after OpenTelemetry's conventions for generative AI, one JSON object of spans a file, or one a line.
//!
//! Messages are recorded as they were sent, so prompts are recorded conversations. What waits for what is not recorded and is inferred inside
//! an object: a span follows every span whose answer stands among its messages; without such, the one that ended last before it began. What
//! follows from other edges is left out. All of a span's edges have the gap from the end of the last of them to the span's start.

use super::classes::Classes;
use super::clock::moment;
use super::documents::Documents;
use super::gaps::after_start;
use super::{Gaps, ImportOptions, Importer, MAX_TIME, MAX_TOKENS, stem};
use crate::diagnose::{Field, Shape, explain_line};
use crate::error::{Place, TraceError, file_error};
use crate::sink::Sink;
use crate::source::Source;
use messages::{Interner, answers, assistant_texts};
use nomoat_core::prompt::{Messages, Prompt};
use nomoat_core::request::{OutputLength, RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, Origin, Recorded, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

mod graph;
mod messages;

/// The importer.
pub(crate) struct OtelGenAi;

/// Most spans of one object: every one is compared with those before it.
const MAX_SPANS: usize = 4_096;
/// A token where nobody counted them.
const BYTES_PER_TOKEN: u64 = 4;

/// SHA-256 of the published examples of kubernetes-sigs/inference-perf, all Apache-2.0.
const PUBLISHED: [&str; 7] = [
    "24b8d280e66421da857521b6ccd712137c99be0daf89235148bc3c67e18cd33a",
    "8ac2fefc76c360892b57900a8862e040d20c083e6875a254279e7be71d554b7e",
    "c68bda1db7479ad77382364510a205fe268c57f2b4c371db612cd34e5bfb820f",
    "83cdefa5de4432418002f96907cee190ad06d7c5109a6d6dee45c322f59e1cf2",
    "9b9a58da249ec71c85e6e7b079bd4656357ded0148de0679f862f94cbc5df62d",
    "edef110bee07665b12407c5557e3ea3016d534976082358a2e53f2380d41fce1",
    "0e7bdadaae2aa2e7185df26bc6d85f29c36abc6171ac9288d5f43bda8935af41",
];

const FIELDS: &[Field] = &[
    Field::required(
        "spans",
        Shape::Objects(&[
            Field::required("span_id", Shape::Text),
            Field::required("start_time", Shape::Text),
            Field::required("end_time", Shape::Text),
            Field::required("attributes", Shape::Any),
            Field::optional("status", Shape::Any),
            Field::optional("trace_id", Shape::Any),
            Field::optional("parent_span_id", Shape::Any),
            Field::optional("name", Shape::Any),
            Field::optional("kind", Shape::Any),
            Field::optional("resource_attributes", Shape::Any),
            Field::optional("events", Shape::Any),
            Field::optional("links", Shape::Any),
        ]),
    ),
    Field::optional("trace_id", Shape::Any),
    Field::optional("span_count", Shape::Any),
    Field::optional("collected_at", Shape::Any),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "keys of the format that a trace does not keep are read so that unknown ones stand out")]
struct Document {
    spans: Vec<SpanRow>,
    trace_id: Option<IgnoredAny>,
    span_count: Option<IgnoredAny>,
    collected_at: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "as of a document")]
struct SpanRow {
    span_id: String,
    start_time: String,
    end_time: String,
    attributes: Map<String, Value>,
    status: Option<Value>,
    trace_id: Option<IgnoredAny>,
    parent_span_id: Option<IgnoredAny>,
    name: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
    resource_attributes: Option<IgnoredAny>,
    events: Option<IgnoredAny>,
    links: Option<IgnoredAny>,
}

/// A model call.
struct Span {
    start: Nanos,
    end: Nanos,
    /// Texts of the assistant's messages in its prompt.
    given: Vec<String>,
    /// Texts of its answer.
    answers: Vec<String>,
    class: u16,
    request: TraceRequest,
    /// Positions, in its object, of what it follows.
    follows: Vec<usize>,
}

impl Importer for OtelGenAi {
    fn name(&self) -> &'static str {
        "otel"
    }

    fn about(&self) -> &'static str {
        "OpenTelemetry GenAI spans (JSON or JSON Lines): recorded messages, times, and an inferred graph of who waits for whom"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let has = |key: &[u8]| head.windows(key.len()).any(|window| window == key);
        head.trim_ascii_start().starts_with(b"{") && has(b"\"spans\"") && has(b"gen_ai.")
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let name = source.name().to_owned();
        let mut reader = Reader::default();
        let mut documents = Documents::new(source, &name, options);
        let explain = |bytes: &[u8], place: Place<'_>, error: &serde_json::Error| explain_line(bytes, FIELDS, place, error);
        while documents.next(explain, |document, place| reader.document(document, place))? {}
        let (digest, skipped) = documents.finish();
        let mut losses = reader.notes.told();
        losses.extend(skipped);
        let classes = reader.send(&name, options.gaps, sink)?;
        let published = PUBLISHED.contains(&digest.to_string().as_str());
        let origin = Origin {
            licence: published.then(|| "Apache-2.0".to_owned()),
            attribution: published.then(|| "inference-perf example traces, Kubernetes SIGs".to_owned()),
            repository: published.then(|| "kubernetes-sigs/inference-perf".to_owned()),
            commit: published.then(|| "7de5ef2ed6f7934e0ecbc8297e593f79e68430c0".to_owned()),
            ..Origin::default()
        };
        Ok(Trace { name: stem(&name), source: digest, origin, classes: classes.names(), losses, ..Trace::default() })
    }
}

#[derive(Clone, Copy, Default)]
struct Notes {
    others: u64,
    estimated_inputs: u64,
    capped: u64,
    estimated_outputs: u64,
    empty_answers: u64,
}

impl Notes {
    fn told(self) -> Vec<String> {
        let mut told = vec![
            "who waits for whom is not recorded: it was inferred from answers that stand in later prompts, and else from times".to_owned(),
        ];
        let counted = [
            (self.others, "spans are no calls of a model with recorded messages and were left out"),
            (self.estimated_inputs, "prompts have no count of tokens: four bytes of their messages are taken as one"),
            (self.capped, "answers have no count of tokens: the limit of the request is asked for, as a limit"),
            (self.estimated_outputs, "answers have neither a count of tokens nor a limit: four bytes of their text are taken as one"),
            (self.empty_answers, "answers of no token became answers of one token"),
        ];
        told.extend(counted.iter().filter(|(n, _)| *n > 0).map(|(n, text)| format!("{n} {text}")));
        told
    }
}

#[derive(Default)]
struct Reader {
    documents: Vec<Vec<Span>>,
    classes: Classes,
    texts: Interner,
    notes: Notes,
}

impl Reader {
    fn document(&mut self, document: Document, place: Place<'_>) -> Result<(), TraceError> {
        let (known, notes) = (self.classes.len(), self.notes);
        let spans = self.spans(document, place);
        if spans.is_err() {
            self.classes.truncate(known);
            self.notes = notes;
        }
        let mut spans = spans?;
        spans.sort_by_key(|span| (span.start, span.end));
        let nodes: Vec<graph::Node<'_>> =
            spans.iter().map(|span| graph::Node { start: span.start, end: span.end, given: &span.given, answers: &span.answers }).collect();
        let follows = graph::infer(&nodes);
        for (span, follows) in spans.iter_mut().zip(follows) {
            span.follows = follows;
            (span.given, span.answers) = (vec![], vec![]);
        }
        self.documents.push(spans);
        Ok(())
    }

    fn spans(&mut self, document: Document, place: Place<'_>) -> Result<Vec<Span>, TraceError> {
        if document.spans.len() > MAX_SPANS {
            let problem = format!("has {} spans", document.spans.len());
            return Err(place.field("spans", problem, format!("at most {MAX_SPANS} in one object: split it by trace")));
        }
        let mut ids = HashSet::new();
        let mut spans = vec![];
        for (index, row) in document.spans.into_iter().enumerate() {
            let path = format!("spans[{index}].");
            if !ids.insert(row.span_id.clone()) {
                return Err(place.field(format!("{path}span_id"), "stands twice", "an id of its own"));
            }
            spans.extend(self.span(&row, &path, place)?);
        }
        Ok(spans)
    }

    /// A span as a request, or `None` for one that is no call of a model.
    fn span(&mut self, row: &SpanRow, path: &str, place: Place<'_>) -> Result<Option<Span>, TraceError> {
        let Some(input) = row.attributes.get("gen_ai.input.messages") else {
            self.notes.others += 1;
            return Ok(None);
        };
        let time = |name: &str, text: &str| {
            moment(text).ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                place.field(format!("{path}{name}"), format!("is {shown:?}"), "a moment such as 2026-02-25T10:00:00.000000Z")
            })
        };
        let (start, end) = (time("start_time", &row.start_time)?, time("end_time", &row.end_time)?);
        if end < start {
            return Err(place.field(format!("{path}end_time"), format!("is {} before `start_time`", start - end), "after it"));
        }
        let wrong = |key: &str, (problem, should): (String, &str)| place.field(format!("{path}attributes.{key}"), problem, should);
        let list = messages::list(input).map_err(|why| wrong("gen_ai.input.messages", why))?;
        let tools = ["gen_ai.tool.definitions", "gen_ai.request.tools"].iter().find_map(|key| row.attributes.get(*key));
        let tools =
            tools.map(|tools| messages::tools(tools, &mut self.texts)).transpose().map_err(|why| wrong("gen_ai.tool.definitions", why))?;
        let answers = answers(&row.attributes).map_err(|why| wrong("gen_ai.output.messages", why))?;
        let count = |keys: &[&str]| {
            let found = keys.iter().find_map(|key| row.attributes.get(*key).map(|value| (*key, value)));
            let Some((key, value)) = found else { return Ok(None) };
            let should = format!("a whole number of tokens from 0 to {MAX_TOKENS}");
            let tokens = value.as_u64().filter(|n| *n <= MAX_TOKENS).map(|n| Some(n as u32));
            tokens.ok_or_else(|| place.field(format!("{path}attributes.{key}"), format!("is {}", messages::shown(value)), should))
        };
        let given = assistant_texts(&list);
        let texts: Vec<_> = list.iter().map(|message| self.texts.json(message)).collect();
        let bytes: u64 = texts.iter().map(|text| text.len() as u64).sum();
        let input_tokens = match count(&["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"])? {
            Some(tokens) if tokens > 0 => tokens,
            _ => {
                self.notes.estimated_inputs += 1;
                bytes.div_ceil(BYTES_PER_TOKEN).clamp(1, MAX_TOKENS) as u32
            }
        };
        let counted = count(&["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"])?;
        let limit = count(&["gen_ai.request.max_tokens"])?.filter(|limit| *limit > 0);
        let (output_tokens, length) = match (counted, limit) {
            (Some(tokens), _) => {
                self.notes.empty_answers += u64::from(tokens == 0);
                (tokens.max(1), OutputLength::Exact)
            }
            (None, Some(limit)) => {
                self.notes.capped += 1;
                (limit, OutputLength::Cap)
            }
            (None, None) => {
                self.notes.estimated_outputs += 1;
                let bytes: u64 = answers.iter().map(|text| text.len() as u64).sum();
                (bytes.div_ceil(BYTES_PER_TOKEN).clamp(1, MAX_TOKENS) as u32, OutputLength::Cap)
            }
        };
        let model = row.attributes.get("gen_ai.request.model").and_then(Value::as_str).unwrap_or("unknown model");
        let class = self.classes.of(model).ok_or_else(|| place.line("there are too many models", "split the file"))?;
        let recorded = Recorded {
            e2e: Some(end - start),
            cached_tokens: count(&["gen_ai.usage.cache_read.input_tokens"])?,
            failed: row.status.as_ref().and_then(failed),
            ..Recorded::default()
        };
        let prompt = Prompt::Messages(Messages { messages: texts.into(), tools });
        let request = TraceRequest { length, recorded: Some(Box::new(recorded)), ..TraceRequest::new(prompt, input_tokens, output_tokens) };
        Ok(Some(Span { start, end, given, answers, class, request, follows: vec![] }))
    }

    /// Sends all spans, in the order in which they began; spans of one object are one session.
    fn send(self, file: &str, gaps: Gaps, sink: &mut dyn Sink) -> Result<Classes, TraceError> {
        let too_many = |what: &str| file_error(file, format!("there are too many {what}"), "split it");
        let mut order: Vec<(Nanos, usize, usize)> = vec![];
        for (document, spans) in self.documents.iter().enumerate() {
            order.extend(spans.iter().enumerate().map(|(turn, span)| (span.start, document, turn)));
        }
        order.sort_unstable();
        let zero = order.first().map(|first| first.0).unwrap_or_default();
        let mut placed: HashMap<(usize, usize), RequestId> = HashMap::new();
        for (position, &(start, document, turn)) in order.iter().enumerate() {
            let spans = &self.documents[document];
            let span = &spans[turn];
            let at = start - zero;
            if at > MAX_TIME {
                return Err(file_error(file, "it spans more than a century", "check its times"));
            }
            let last = span.follows.iter().map(|before| spans[*before].end).max().unwrap_or(start);
            let edge = |before: &usize| {
                let id = placed[&(document, *before)];
                match gaps {
                    Gaps::Think => Edge::after_end(id, start - last, Cause::Unsaid),
                    Gaps::Recorded => after_start(id, start - spans[*before].start, Cause::Unsaid),
                }
            };
            let after = span.follows.iter().map(edge).collect();
            placed.insert((document, turn), RequestId(u32::try_from(position).map_err(|_| too_many("spans"))?));
            sink.request(TraceRequest {
                at: Some(at),
                after,
                session: Some(SessionId(u32::try_from(document).map_err(|_| too_many("objects"))?)),
                turn: u16::try_from(turn).map_err(|_| too_many("spans"))?,
                class: span.class,
                ..span.request.clone()
            })?;
        }
        Ok(self.classes)
    }
}

/// Whether a status says that the call failed; `None` where it says nothing.
fn failed(status: &Value) -> Option<bool> {
    match status.get("code")? {
        Value::Number(code) => match code.as_u64()? {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        },
        Value::String(code) if code.ends_with("ERROR") => Some(true),
        Value::String(code) if code.ends_with("OK") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
