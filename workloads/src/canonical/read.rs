//! Reads the canonical format: one pass, references backwards only, and nothing believed before the `end` record agrees.

use super::inputs::{Inputs, tokens};
use super::wire::{self, End, Head, HowWord, JoinWord, OnWord, Req, Sess, Tool, WhyWord};
use crate::diagnose::{Field, explain, explain_line, parse};
use crate::error::{Place, TraceError, file_error};
use crate::import::{MAX_BLOCK_ID, MAX_TIME};
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::digest::Digest;
use nomoat_core::request::{Cancel, OutputLength, RequestId, SessionId};
use nomoat_core::suggest::nearest;
use nomoat_core::trace::{Cause, Edge, EdgeKind, Join, Moment, Origin, Recorded, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

const KINDS: &str = "the kind of the record: \"head\", \"sess\", \"text\", \"chunk\", \"req\", \"tool\" or \"end\"";

/// Reads a trace to its `end`; what is returned has no requests, they go to `sink`.
pub(crate) fn read(source: &mut Source<'_>, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
    let file = source.name().to_owned();
    let mut lines = source.lines();
    let mut reader = match lines.next()? {
        None => return Err(file_error(&file, "the file is empty", "give a file that starts with a `head` record")),
        Some(line) => Reader::new(whole::<Head>(line.bytes, wire::HEAD, line.place)?, line.place)?,
    };
    loop {
        let Some(line) = lines.next()? else {
            return Err(file_error(
                &file,
                format!("the file ends after line {} without an `end` record: it is truncated", lines.place().line),
                "get the whole file again, or import the original trace again",
            ));
        };
        let (bytes, place) = (line.bytes, line.place);
        // Nearly every line is a request written by `write_canonical`: it is parsed once, without a look at its kind.
        if bytes.starts_with(b"{\"k\":\"req\"") {
            sink.request(reader.request_line(bytes, place)?)?;
            continue;
        }
        match kind(bytes, place)?.as_str() {
            "req" => sink.request(reader.request_line(bytes, place)?)?,
            "sess" => reader.session(&whole::<Sess>(bytes, wire::SESS, place)?, place)?,
            "end" => {
                let end: End = whole(bytes, wire::END, place)?;
                let before = lines.digest_before();
                reader.check_end(&end, before, lines.place())?;
                break;
            }
            "head" => return Err(place.field("k", "is a second \"head\"", "another kind: one file holds one trace")),
            "text" => reader.inputs.text(whole(bytes, wire::TEXT, place)?, place)?,
            "chunk" => reader.inputs.chunk(&whole(bytes, wire::CHUNK, place)?, place)?,
            "tool" => reader.tool(whole(bytes, wire::TOOL, place)?, place)?,
            kind => return Err(place.field("k", format!("is \"{kind}\", which is no kind of record"), KINDS)),
        }
    }
    if let Some(line) = lines.next()? {
        return Err(line.place.line("there is a line after the `end` record", "delete it, or write one trace a file"));
    }
    let whole_file = lines.digest();
    Ok(reader.finish(whole_file))
}

/// The kind of a record of unknown kind.
fn kind(bytes: &[u8], place: Place<'_>) -> Result<String, TraceError> {
    match parse(bytes, place)?.get("k") {
        Some(Value::String(kind)) => Ok(kind.clone()),
        Some(_) => Err(place.field("k", "is not a text", KINDS)),
        None => Err(place.field("k", "is missing", KINDS)),
    }
}

/// Parses a record by its list of fields, remarks (`x-…`) left out.
fn whole<T: DeserializeOwned>(bytes: &[u8], fields: &[Field], place: Place<'_>) -> Result<T, TraceError> {
    let mut object = parse(bytes, place)?;
    strip_remarks(&mut object);
    if let Some(complaint) = explain(&object, fields) {
        return Err(complaint.at(place));
    }
    serde_json::from_value(Value::Object(object)).map_err(|error| explain_line(bytes, fields, place, &error))
}

fn strip_remarks(object: &mut Map<String, Value>) {
    object.retain(|key, _| !key.starts_with("x-"));
    for value in object.values_mut() {
        match value {
            Value::Object(inner) => strip_remarks(inner),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(strip_remarks),
            _ => {}
        }
    }
}

/// A trace being read.
struct Reader {
    trace: Trace,
    source: Option<Digest>,
    unit: i64,
    inputs: Inputs,
    /// Sessions so far, with their class and adapter.
    sessions: HashMap<u32, (u16, u16)>,
    latest_root: Nanos,
    tools: u64,
    sums: (u64, u64),
    last_at: Option<u64>,
    free: u64,
    /// Keys that were read and are not kept, and how often.
    unkept: BTreeMap<&'static str, u64>,
}

impl Reader {
    fn new(head: Head, place: Place<'_>) -> Result<Self, TraceError> {
        let source = head.source.as_ref().and_then(|s| s.sha256.as_deref());
        let source = match source {
            None => None,
            Some(text) => Some(parse_digest(text).ok_or_else(|| place.field("source.sha256", "is no digest", "64 hexadecimal digits"))?),
        };
        let told = head.source.unwrap_or_default();
        let origin =
            Origin { licence: told.license, attribution: told.attribution, repository: told.repo, commit: told.commit, path: told.path };
        let tick = head.time.tick_us.map(|us| i64::try_from(us).unwrap_or(i64::MAX).min(MAX_TIME.0 / 1_000)).map(Nanos::from_micros);
        let tokenizer = head.tokens.and_then(|tokens| tokens.tokenizer);
        let classes = head.classes.unwrap_or_else(|| vec!["default".into()]);
        let repeated = classes.iter().enumerate().find(|(index, class)| classes[..*index].contains(class));
        if let Some((_, class)) = repeated {
            return Err(place.field("classes", format!("has `{class}` twice"), "a list of different names"));
        }
        if classes.is_empty() || classes.len() > usize::from(u16::MAX) {
            return Err(place.field("classes", format!("has {} names", classes.len()), "left out, or a list of 1 to 65535 names"));
        }
        if head.adapters.len() >= usize::from(u16::MAX) {
            return Err(place.field("adapters", format!("has {} names", head.adapters.len()), "fewer than 65535 names"));
        }
        Ok(Self {
            trace: Trace {
                name: head.name,
                origin,
                tick,
                tokenizer,
                classes,
                adapters: head.adapters,
                losses: head.losses,
                ..Trace::default()
            },
            source,
            unit: head.time.unit.nanos(),
            inputs: Inputs::new(head.blocks),
            sessions: HashMap::new(),
            latest_root: Nanos::ZERO,
            tools: 0,
            sums: (0, 0),
            last_at: None,
            free: 0,
            unkept: BTreeMap::new(),
        })
    }

    fn session(&mut self, sess: &Sess, place: Place<'_>) -> Result<(), TraceError> {
        let class = match &sess.class {
            Some(name) => self.class(name, place)?,
            None => 0,
        };
        let adapter = match &sess.lora {
            Some(name) => self.adapter(name, place)?,
            None => 0,
        };
        self.not_kept(&[
            ("sess.parent", sess.parent.is_some()),
            ("sess.tenant", sess.tenant.is_some()),
            ("sess.model", sess.model.is_some()),
            ("sess.prefix", sess.prefix.is_some()),
            ("sess.weight", sess.weight.is_some()),
        ]);
        match self.sessions.insert(sess.id, (class, adapter)) {
            None => Ok(()),
            Some(_) => Err(place.field("id", format!("{} was declared before", sess.id), "different from every earlier session's")),
        }
    }

    fn not_kept(&mut self, keys: &[(&'static str, bool)]) {
        for (key, _) in keys.iter().filter(|(_, is_there)| *is_there) {
            *self.unkept.entry(key).or_default() += 1;
        }
    }

    /// A name of the head's list of adapters, counted from 1.
    fn adapter(&self, name: &str, place: Place<'_>) -> Result<u16, TraceError> {
        let index = self.trace.adapters.iter().position(|adapter| adapter == name);
        index
            .map(|index| index as u16 + 1)
            .ok_or_else(|| place.field("lora", format!("`{name}` is not in the head's `adapters`"), "one of them, or add it there"))
    }

    fn class(&self, name: &str, place: Place<'_>) -> Result<u16, TraceError> {
        let index = self.trace.classes.iter().position(|class| class == name);
        index.map(|index| index as u16).ok_or_else(|| {
            let nearest = nearest(name, self.trace.classes.iter().map(String::as_str)).unwrap_or_default();
            place.field("class", format!("`{name}` is not in the head's `classes`"), format!("one of them (`{nearest}` is the nearest)"))
        })
    }

    fn request_line(&mut self, bytes: &[u8], place: Place<'_>) -> Result<TraceRequest, TraceError> {
        if let Ok(req) = serde_json::from_slice::<Req<'_>>(bytes) {
            return self.request(req, place);
        }
        // Either wrong, or with remarks: the slow path tells.
        let mut object = parse(bytes, place)?;
        strip_remarks(&mut object);
        if let Some(complaint) = explain(&object, wire::REQ) {
            return Err(complaint.at(place));
        }
        let plain = Value::Object(object).to_string();
        let req = serde_json::from_str(&plain).map_err(|error| explain_line(bytes, wire::REQ, place, &error))?;
        self.request(req, place)
    }

    fn request(&mut self, req: Req<'_>, place: Place<'_>) -> Result<TraceRequest, TraceError> {
        let ids = &self.inputs.ids;
        if req.id > MAX_BLOCK_ID || ids.last().is_some_and(|last| req.id <= last) {
            return Err(place.field("id", format!("is {}", req.id), "larger than the id of the request before, and below 2^53"));
        }
        let (session_class, session_adapter) = match req.s {
            None => (0, 0),
            Some(s) => *self.sessions.get(&s).ok_or_else(|| {
                place.field("s", format!("is {s}, which no `sess` record before declares"), "the id of an earlier `sess` record")
            })?,
        };
        if req.turn.is_some() && req.s.is_none() {
            return Err(place.field("turn", "has no session", "left out, or beside `s`"));
        }
        if req.join.is_some() && req.after.is_empty() {
            return Err(place.field("join", "joins nothing", "left out, or beside `after`"));
        }
        let at = req.at.map(|at| self.time(at, "at", place)).transpose()?;
        if let (Some(at), true) = (at, req.after.is_empty()) {
            if at < self.latest_root {
                let problem = format!("is {} earlier than the root before", self.latest_root - at);
                return Err(place.field("at", problem, "in order of arrival: sort the roots by `at`"));
            }
            self.latest_root = at;
        }
        let after = req.after.iter().enumerate().map(|(i, edge)| self.edge(i, edge, place)).collect::<Result<Vec<_>, _>>()?;
        let (prompt, input_tokens) = self.inputs.prompt(req.input, req.id, req.s, place)?;
        let output_tokens = tokens("out.n", req.out.n, place)?;
        if req.out.reason.is_some_and(|n| n > output_tokens) {
            return Err(place.field("out.reason", format!("is more than the {output_tokens} tokens of the answer"), "a part of them"));
        }
        self.free += u64::from(req.out.how == HowWord::Free);
        let class = match &req.class {
            Some(name) => self.class(name, place)?,
            None => session_class,
        };
        let adapter = match &req.lora {
            Some(name) => self.adapter(name, place)?,
            None => session_adapter,
        };
        let cancel = req.cancel.map(|cancel| self.cancel(cancel, place)).transpose()?;
        let recorded = req.obs.as_ref().map(|obs| self.recorded(obs, place)).transpose()?;
        self.not_kept(&[
            ("out.reason", req.out.reason.is_some()),
            ("out.t", req.out.t.is_some()),
            ("samp", req.samp.is_some()),
            ("model", req.model.is_some()),
            ("tenant", req.tenant.is_some()),
            ("slo", req.slo.is_some()),
            ("media", req.media.is_some()),
        ]);
        self.sums = (self.sums.0 + u64::from(input_tokens), self.sums.1 + u64::from(output_tokens));
        self.last_at = req.at.or(self.last_at);
        self.inputs.note(req.id, &prompt);
        Ok(TraceRequest {
            at,
            after,
            join: if req.join == Some(JoinWord::Any) { Join::Any } else { Join::All },
            session: req.s.map(SessionId),
            turn: req.turn.unwrap_or(0),
            class,
            priority: req.prio.unwrap_or(0),
            adapter,
            length: if req.out.how == HowWord::Exact { OutputLength::Exact } else { OutputLength::Cap },
            cancel,
            recorded: recorded.map(Box::new),
            ..TraceRequest::new(prompt, input_tokens, output_tokens)
        })
    }

    fn cancel(&self, cancel: wire::Cancel, place: Place<'_>) -> Result<Cancel, TraceError> {
        match (cancel.after, cancel.tok, cancel.first) {
            (Some(after), None, None) => Ok(Cancel::After(self.time(after, "cancel.after", place)?)),
            (None, Some(n), None) => Ok(Cancel::Tokens(tokens("cancel.tok", n, place)?)),
            (None, None, Some(true)) => Ok(Cancel::FirstToken),
            _ => Err(place.field("cancel", "does not say when", "one of `after` (a time), `tok` (tokens of the answer), `first` (true)")),
        }
    }

    fn recorded(&mut self, obs: &wire::Obs, place: Place<'_>) -> Result<Recorded, TraceError> {
        self.not_kept(&[("obs.finish", obs.finish.is_some()), ("obs.status", obs.status.is_some()), ("obs.error", obs.error.is_some())]);
        Ok(Recorded {
            ttft: obs.ttft.map(|t| self.time(t, "obs.ttft", place)).transpose()?,
            e2e: obs.e2e.map(|t| self.time(t, "obs.e2e", place)).transpose()?,
            cached_tokens: obs.cached,
            failed: obs.failed,
        })
    }

    fn edge(&mut self, i: usize, edge: &wire::After, place: Place<'_>) -> Result<Edge, TraceError> {
        Ok(Edge {
            request: RequestId(self.inputs.ids.position(edge.r, &format!("after[{i}].r"), place)?),
            on: match edge.on {
                OnWord::Start => Moment::Start,
                OnWord::First => Moment::FirstToken,
                OnWord::End => Moment::End,
            },
            gap: self.time(edge.gap, &format!("after[{i}].gap"), place)?,
            kind: if edge.why == Some(WhyWord::Order) { EdgeKind::Order } else { EdgeKind::Needs },
            cause: match edge.why {
                None | Some(WhyWord::Order) => Cause::Unsaid,
                Some(WhyWord::Think) => Cause::Think,
                Some(WhyWord::Tool) => Cause::Tool,
                Some(WhyWord::Queue) => Cause::Queue,
            },
        })
    }

    fn time(&self, value: u64, field: &str, place: Place<'_>) -> Result<Nanos, TraceError> {
        i64::try_from(value)
            .ok()
            .and_then(|value| value.checked_mul(self.unit))
            .filter(|ns| *ns <= MAX_TIME.0)
            .map(Nanos)
            .ok_or_else(|| place.field(field, format!("is {value}"), "at most a century"))
    }

    fn tool(&mut self, tool: Tool, place: Place<'_>) -> Result<(), TraceError> {
        self.inputs.ids.position(tool.r, "r", place)?;
        self.tools += 1;
        Ok(())
    }

    fn check_end(&self, end: &End, before: Digest, place: Place<'_>) -> Result<(), TraceError> {
        let expect = End {
            k: "end".into(),
            n: wire::Counts {
                sess: self.sessions.len() as u64,
                req: self.inputs.ids.len(),
                text: self.inputs.texts(),
                chunk: self.inputs.chunks(),
                tool: self.tools,
            },
            input: self.sums.0,
            out: self.sums.1,
            at: self.last_at,
            sha256: before.to_string(),
        };
        let at = |at: Option<u64>| at.map_or_else(|| "absent".to_owned(), |at| at.to_string());
        let checks = [
            ("n.sess", end.n.sess.to_string(), expect.n.sess.to_string()),
            ("n.req", end.n.req.to_string(), expect.n.req.to_string()),
            ("n.text", end.n.text.to_string(), expect.n.text.to_string()),
            ("n.chunk", end.n.chunk.to_string(), expect.n.chunk.to_string()),
            ("n.tool", end.n.tool.to_string(), expect.n.tool.to_string()),
            ("in", end.input.to_string(), expect.input.to_string()),
            ("out", end.out.to_string(), expect.out.to_string()),
            ("at", at(end.at), at(expect.at)),
            ("sha256", end.sha256.clone(), expect.sha256.clone()),
        ];
        match checks.into_iter().find(|(_, given, counted)| given != counted) {
            None => Ok(()),
            Some((field, given, counted)) => {
                let problem = format!("is {given}, but the file before it gives {counted}: the file is truncated or was changed");
                Err(place.field(field, problem, "as written; get the file again, or write it again with its importer or generator"))
            }
        }
    }

    fn finish(mut self, whole_file: Digest) -> Trace {
        self.trace.source = self.source.unwrap_or(whole_file);
        if self.tools > 0 {
            self.unkept.insert("tool", self.tools);
        }
        let unkept = self.unkept.iter().map(|(key, n)| format!("`{key}` ({n})")).collect::<Vec<_>>();
        if !unkept.is_empty() {
            self.trace.losses.push(format!("read and not kept: {}", unkept.join(", ")));
        }
        if self.free > 0 {
            self.trace
                .losses
                .push(format!("{} requests left the answer's length to the engine; it is capped at the recorded one", self.free));
        }
        self.trace
    }
}

fn parse_digest(text: &str) -> Option<Digest> {
    let bytes = text.as_bytes();
    if bytes.len() != 64 || !bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let nibble = |b: u8| if b <= b'9' { b - b'0' } else { b - b'a' + 10 };
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
    }
    Some(Digest(digest))
}
