//! Reads the canonical format: one pass, references backwards only, and nothing believed before the `end` record agrees.

use super::MAX_RANGES;
use super::blocks::{check_count, count, extend, leading};
use super::wire::{self, Blocks, End, Head, HowWord, Input, JoinWord, OnWord, Req, Scope, Sess, WhyWord};
use crate::diagnose::{Field, explain, explain_line, parse};
use crate::error::{Place, TraceError, file_error};
use crate::import::{MAX_BLOCK_ID, MAX_TIME, MAX_TOKENS};
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::digest::Digest;
use nomoat_core::prompt::{BlockPrompt, BlockRange, Prompt};
use nomoat_core::request::{OutputLength, RequestId, SessionId};
use nomoat_core::suggest::nearest;
use nomoat_core::trace::{Cause, Edge, EdgeKind, Join, Moment, Origin, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::HashMap;

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
            "head" => return Err(place.field("k", "is a second \"head\"", "\"sess\", \"req\" or \"end\": one file holds one trace")),
            known @ ("text" | "chunk" | "tool") => {
                return Err(place.field(
                    "k",
                    format!("is \"{known}\", which this version does not read yet"),
                    "\"sess\", \"req\" or \"end\"",
                ));
            }
            _ => {
                let kind = kind(bytes, place)?;
                return Err(place.field("k", format!("is \"{kind}\", which is no kind of record"), "\"sess\", \"req\" or \"end\""));
            }
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
        Some(_) => Err(place.field("k", "is not a text", "the kind of the record: \"head\", \"sess\", \"req\" or \"end\"")),
        None => Err(place.field("k", "is missing", "the kind of the record: \"head\", \"sess\", \"req\" or \"end\"")),
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
    blocks: Option<Blocks>,
    /// Record ids of the requests so far, increasing: their position is the id in memory.
    ids: Vec<u64>,
    /// Those of them that are given by blocks.
    prompts: HashMap<u32, BlockPrompt>,
    /// Sessions so far, with their class.
    sessions: HashMap<u32, u16>,
    latest_root: Nanos,
    ranges: usize,
    sums: (u64, u64),
    last_at: Option<u64>,
    free: u64,
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
        Ok(Self {
            trace: Trace { name: head.name, origin, tick, tokenizer, classes, losses: head.losses, ..Trace::default() },
            source,
            unit: head.time.unit.nanos(),
            blocks: head.blocks,
            ids: vec![],
            prompts: HashMap::new(),
            sessions: HashMap::new(),
            latest_root: Nanos::ZERO,
            ranges: 0,
            sums: (0, 0),
            last_at: None,
            free: 0,
        })
    }

    fn session(&mut self, sess: &Sess, place: Place<'_>) -> Result<(), TraceError> {
        let class = match &sess.class {
            Some(name) => self.class(name, place)?,
            None => 0,
        };
        match self.sessions.insert(sess.id, class) {
            None => Ok(()),
            Some(_) => Err(place.field("id", format!("{} was declared before", sess.id), "different from every earlier session's")),
        }
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
        if req.id > MAX_BLOCK_ID || self.ids.last().is_some_and(|last| req.id <= *last) {
            return Err(place.field("id", format!("is {}", req.id), "larger than the id of the request before, and below 2^53"));
        }
        let session_class = match req.s {
            None => 0,
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
        let (prompt, input_tokens) = self.prompt(req.input, req.id, req.s, place)?;
        let output_tokens = tokens("out.n", req.out.n, place)?;
        self.free += u64::from(req.out.how == HowWord::Free);
        let class = match &req.class {
            Some(name) => self.class(name, place)?,
            None => session_class,
        };
        self.sums = (self.sums.0 + u64::from(input_tokens), self.sums.1 + u64::from(output_tokens));
        self.last_at = req.at.or(self.last_at);
        self.note(req.id, &prompt);
        Ok(TraceRequest {
            at,
            after,
            join: if req.join == Some(JoinWord::Any) { Join::Any } else { Join::All },
            session: req.s.map(SessionId),
            turn: req.turn.unwrap_or(0),
            class,
            priority: req.prio.unwrap_or(0),
            length: if req.out.how == HowWord::Exact { OutputLength::Exact } else { OutputLength::Cap },
            ..TraceRequest::new(prompt, input_tokens, output_tokens)
        })
    }

    /// Keeps of a request what later ones may refer to.
    fn note(&mut self, id: u64, prompt: &Prompt) {
        if let Prompt::Blocks(prompt) = prompt
            && !prompt.blocks.is_empty()
        {
            self.prompts.insert(self.ids.len() as u32, prompt.clone());
        }
        self.ids.push(id);
    }

    fn edge(&mut self, i: usize, edge: &wire::After, place: Place<'_>) -> Result<Edge, TraceError> {
        Ok(Edge {
            request: RequestId(self.earlier(edge.r, &format!("after[{i}].r"), place)? as u32),
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

    /// The position of the earlier request with the record id `id`.
    fn earlier(&self, id: u64, field: &str, place: Place<'_>) -> Result<usize, TraceError> {
        // Ids mostly count up from zero: then the position is the id.
        if usize::try_from(id).is_ok_and(|index| self.ids.get(index) == Some(&id)) {
            return Ok(id as usize);
        }
        self.ids
            .binary_search(&id)
            .map_err(|_| place.field(field, format!("is {id}, which is no earlier request"), "the id of an earlier request"))
    }

    fn time(&self, value: u64, field: &str, place: Place<'_>) -> Result<Nanos, TraceError> {
        i64::try_from(value)
            .ok()
            .and_then(|value| value.checked_mul(self.unit))
            .filter(|ns| *ns <= MAX_TIME.0)
            .map(Nanos)
            .ok_or_else(|| place.field(field, format!("is {value}"), "at most a century"))
    }

    fn prompt(&mut self, input: Input, id: u64, session: Option<u32>, place: Place<'_>) -> Result<(Prompt, u32), TraceError> {
        if let Some(ids) = input.ids {
            if input.n.is_some() || input.b.is_some() || input.size.is_some() || input.space.is_some() || input.u.is_some() {
                return Err(place.field("in", "has more than `ids`", "either `ids` alone, or `n` with or without `b`"));
            }
            let n = tokens("in.ids", u32::try_from(ids.len()).unwrap_or(u32::MAX), place)?;
            return Ok((Prompt::Ids(ids.into()), n));
        }
        let n = input.n.ok_or_else(|| place.field("in.n", "is missing", format!("a whole number of tokens from 1 to {MAX_TOKENS}")))?;
        let n = tokens("in.n", n, place)?;
        let scope = self.blocks.map_or(Scope::Trace, |b| b.scope);
        let namespace = match (input.space, scope, session) {
            (Some(space), _, _) => space,
            (None, Scope::Trace, _) => 0,
            (None, Scope::Session, Some(s)) => session_space(s),
            (None, Scope::Session, None) if input.b.is_none() => 0,
            (None, Scope::Session, None) => {
                return Err(place.field("in.b", "has block ids of a session, but the request has none", "in a request with `s`"));
            }
        };
        let unshared = input.u.unwrap_or(id);
        let Some(list) = input.b else {
            if input.size.is_some() {
                return Err(place.field("in.size", "has no blocks", "left out, or beside `b`"));
            }
            return Ok((Prompt::Blocks(BlockPrompt::unique(namespace, unshared, n)), n));
        };
        let Some(blocks) = self.blocks else {
            return Err(place.field("in.b", "has block ids, but the head does not describe blocks", "in a file whose head has `blocks`"));
        };
        let block_tokens = tokens("in.size", input.size.unwrap_or(blocks.size), place)?;
        let mut ranges = self.kept(&list, namespace, block_tokens, place)?;
        for (i, &(first, count)) in list.add.iter().enumerate() {
            if first > MAX_BLOCK_ID || count == 0 || u64::from(count) > MAX_TOKENS {
                let should = format!("[first up to {MAX_BLOCK_ID}, count from 1 to {MAX_TOKENS}]");
                return Err(place.field(format!("in.b.add[{i}]"), format!("is [{first},{count}]"), should));
            }
        }
        extend(&mut ranges, list.add.iter().map(|&(first, count)| BlockRange { first, count }));
        self.ranges += ranges.len();
        if self.ranges > MAX_RANGES {
            return Err(place.line(format!("the prompts have more than {MAX_RANGES} block ranges"), "split the trace"));
        }
        check_count(&mut ranges, n, block_tokens, blocks.tail, place)?;
        Ok((Prompt::Blocks(BlockPrompt { namespace, block_tokens, blocks: ranges.into(), tokens: n, unshared }), n))
    }

    /// The leading runs that a prompt takes over from an earlier one.
    fn kept(&self, list: &wire::BlockList, namespace: u64, block_tokens: u32, place: Place<'_>) -> Result<Vec<BlockRange>, TraceError> {
        let (of, keep) = match (list.of, list.keep) {
            (None, None) => return Ok(vec![]),
            (Some(of), Some(keep)) => (of, keep),
            (Some(_), None) => return Err(place.field("in.b.keep", "is missing", "how many leading blocks of `of` stay")),
            (None, Some(_)) => return Err(place.field("in.b.of", "is missing", "the request whose leading blocks stay")),
        };
        let parent = self.earlier(of, "in.b.of", place)?;
        let Some(parent) = self.prompts.get(&(parent as u32)) else {
            return Err(place.field("in.b.of", format!("is {of}, which has no blocks"), "an earlier request with blocks"));
        };
        if parent.namespace != namespace || parent.block_tokens != block_tokens {
            return Err(place.field(
                "in.b.of",
                format!("is {of}, whose blocks are of another size or space"),
                "a request with blocks of the same kind",
            ));
        }
        leading(&parent.blocks, keep).ok_or_else(|| {
            let has = count(&parent.blocks);
            place.field("in.b.keep", format!("is {keep}, but request {of} has {has} blocks"), format!("at most {has}"))
        })
    }

    fn check_end(&self, end: &End, before: Digest, place: Place<'_>) -> Result<(), TraceError> {
        let expect = End {
            k: "end".into(),
            n: wire::Counts { sess: self.sessions.len() as u64, req: self.ids.len() as u64 },
            input: self.sums.0,
            out: self.sums.1,
            at: self.last_at,
            sha256: before.to_string(),
        };
        let at = |at: Option<u64>| at.map_or_else(|| "absent".to_owned(), |at| at.to_string());
        let checks = [
            ("n.sess", end.n.sess.to_string(), expect.n.sess.to_string()),
            ("n.req", end.n.req.to_string(), expect.n.req.to_string()),
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
        if self.free > 0 {
            self.trace
                .losses
                .push(format!("{} requests left the answer's length to the engine; it is capped at the recorded one", self.free));
        }
        self.trace
    }
}

/// Namespace of a session's own block ids: apart from the trace's own, which is 0.
pub(super) fn session_space(session: u32) -> u64 {
    u64::from(session) + 1
}

fn tokens(field: &str, value: u32, place: Place<'_>) -> Result<u32, TraceError> {
    match u64::from(value) {
        1..=MAX_TOKENS => Ok(value),
        _ => Err(place.field(field, format!("is {value}"), format!("a whole number of tokens from 1 to {MAX_TOKENS}"))),
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
