//! `mooncake_trace` rows. A later row of a session whose ids begin with the session's first one is the whole prompt again; any other adds to
//! it, as AIPerf and srt-slurm's delta rows have it: its length and ids are those of the new part.

use super::{Counts, name};
use crate::diagnose::{Field, Shape, explain_line};
use crate::error::{Place, TraceError};
use crate::import::conversation::{Said, messages, tokens};
use crate::import::decimal::{millis, plain as decimal};
use crate::import::thread::{Thread, UNSAID_OUTPUT, plain};
use crate::import::{ImportOptions, MAX_BLOCK_ID, MAX_TIME, MAX_TOKENS};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::prompt::{BlockPrompt, BlockRange, Part, PartPrompt, Prompt};
use nomoat_core::request::{OutputLength, RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, Moment, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::Deserialize;
use serde_json::{Number, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Tokens per block of this format.
const BLOCK_TOKENS: u32 = 512;

/// Ids of answers and of parts without ids, by the position of their request: away from the block ids of sessions, which have 51 bits.
const ANSWER: u64 = 1 << 52;
const UNIQUE: u64 = 1 << 51;

const TOKENS: Shape = Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" };

pub(super) const FIELDS: &[Field] = &[
    Field::optional("timestamp", Shape::Any),
    Field::optional("delay", Shape::Any),
    Field::optional("input_length", TOKENS),
    Field::optional("text_input", Shape::Text),
    Field::optional("messages", Shape::Any),
    Field::optional("hash_ids", Shape::Wholes { max: MAX_BLOCK_ID, of: "block ids" }),
    Field::optional("output_length", TOKENS),
    Field::optional("session_id", Shape::Any),
    Field::optional("group_id", Shape::Any),
    Field::optional("tools", Shape::Any),
    Field::optional("extra", Shape::Any),
    Field::optional("message_mode", Shape::Word(&["history", "delta"])),
    Field::optional("payload", Shape::Any),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    timestamp: Option<Number>,
    delay: Option<Number>,
    input_length: Option<u64>,
    text_input: Option<String>,
    messages: Option<Vec<Value>>,
    hash_ids: Option<Vec<u64>>,
    output_length: Option<u64>,
    session_id: Option<Value>,
    #[serde(rename = "group_id")]
    _group_id: Option<Value>,
    tools: Option<Value>,
    extra: Option<Value>,
    message_mode: Option<Mode>,
    payload: Option<Value>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    History,
    Delta,
}

/// Whether a first line, as far as it goes, has values of these kinds: other formats have keys of the same names.
pub(super) fn fits(line: &[u8]) -> bool {
    !serde_json::from_slice::<Row>(line).is_err_and(|error| error.is_data())
}

/// A session so far.
#[derive(Clone)]
struct Session {
    number: u32,
    turns: u16,
    last: u32,
    at: Option<Nanos>,
    thread: Thread,
    parts: Vec<Part>,
    /// Whether its messages are additions; `None` before its first messages.
    mode: Option<Mode>,
    said: Vec<Said>,
    tools: Option<Arc<str>>,
}

struct Reader {
    sessions: HashMap<String, Session>,
    counts: Counts,
    index: u32,
    first: Option<Nanos>,
    previous: Nanos,
}

pub(super) fn import(source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
    let mut rows = Rows::new(source, options);
    let counts = Counts::default();
    let mut reader = Reader { sessions: HashMap::new(), counts, index: 0, first: None, previous: Nanos::ZERO };
    while let Some(line) = rows.next()? {
        let row = serde_json::from_slice(line.bytes)
            .map_err(|error| explain_line(line.bytes, FIELDS, line.place, &error))
            .and_then(|row: Row| reader.request(&row, line.place));
        if let Some(request) = rows.take(row)? {
            reader.index += 1;
            sink.request(request)?;
        }
    }
    let (source, skipped) = rows.finish();
    let losses = reader.counts.losses().into_iter().chain(skipped).collect();
    Ok(Trace { source, tokenizer: reader.counts.tokenizer(), losses, ..Trace::default() })
}

impl Reader {
    /// The request of a row. Nothing is noted of a row that is wrong.
    fn request(&mut self, row: &Row, place: Place<'_>) -> Result<TraceRequest, TraceError> {
        let time = |key: &'static str, value: &Option<Number>| match value {
            None => Ok(None),
            Some(number) => match millis(&decimal(number)).filter(|time| *time <= MAX_TIME) {
                Some(time) => Ok(Some(time)),
                None => Err(place.field(key, format!("is {number}"), "a number of milliseconds, 0 or more, within a century")),
            },
        };
        let (at, delay) = (time("timestamp", &row.timestamp)?, time("delay", &row.delay)?);
        let since = at.map(|at| at - self.first.unwrap_or(at));
        let key = match &row.session_id {
            None | Some(Value::Null) => None,
            Some(value) => Some(name(value).ok_or_else(|| place.field("session_id", "is neither a text nor a number", "a name"))?),
        };
        let before = key.as_ref().and_then(|key| self.sessions.get(key));
        let output = match row.output_length {
            None => UNSAID_OUTPUT,
            Some(tokens @ 1..=MAX_TOKENS) => tokens as u32,
            Some(other) => return Err(place.field("output_length", format!("is {other}"), format!("tokens from 1 to {MAX_TOKENS}"))),
        };
        let mut session = match before {
            Some(session) if session.turns == u16::MAX => {
                return Err(place.line("its session has more than 65535 rows", "split the session"));
            }
            Some(session) => session.clone(),
            None => {
                let number = self.sessions.len() as u32;
                let thread = Thread::default();
                Session { number, turns: 0, last: 0, at: None, thread, parts: vec![], mode: None, said: vec![], tools: None }
            }
        };
        let (after, root) = match before {
            None => (vec![], true),
            Some(before) => (edges(before, delay, since), false),
        };
        // Children have their recorded time as well, and only roots have to be in order of it.
        if let Some(since) = since.filter(|since| *since < self.previous).filter(|_| root) {
            let problem = format!("is {} earlier than the row before", self.previous - since);
            return Err(place.field("timestamp", problem, "in order of time: sort the file by timestamp"));
        }
        let since = since.filter(|since| *since >= Nanos::ZERO);
        let (prompt, input, gappy) = self.prompt(row, key.is_some(), &mut session, place)?;
        let Some(input_tokens) = u32::try_from(input).ok().filter(|tokens| u64::from(*tokens) <= MAX_TOKENS) else {
            return Err(place.line(format!("the prompt has {input} tokens with its session's history"), "split the session"));
        };

        let by_text = row.input_length.is_none();
        self.counts.estimated += u64::from(by_text);
        self.counts.unsaid += u64::from(row.output_length.is_none());
        self.counts.gappy += u64::from(gappy);
        self.counts.extra += u64::from(row.extra.is_some());
        self.counts.early += u64::from(root && delay.is_some());
        self.counts.deltas += u64::from(!root && !by_text && session.parts.iter().any(|part| part.id & ANSWER != 0));
        if let (true, Some(since)) = (root, since) {
            self.first = self.first.or(at);
            self.previous = since;
        }
        let live = row.message_mode == Some(Mode::Delta);
        let (number, turn) = (session.number, session.turns);
        if let Some(key) = key.clone() {
            if !by_text {
                session.parts.push(Part { id: ANSWER | u64::from(self.index), tokens: output });
            }
            session.thread.sent(self.index, input_tokens, output);
            (session.turns, session.last, session.at) = (turn + 1, self.index, since);
            self.sessions.insert(key, session);
        }
        Ok(TraceRequest {
            at: since,
            after,
            session: key.as_ref().map(|_| SessionId(number)),
            turn,
            // AIPerf asks for no more than the recorded length; what was recorded is a length nevertheless, but for a limit on live answers.
            length: if row.output_length.is_some() && !live { OutputLength::Exact } else { OutputLength::Cap },
            ..TraceRequest::new(prompt, input_tokens, output)
        })
    }

    /// What a row asks, its length in tokens, and whether answers are missing from its history.
    fn prompt(&self, row: &Row, in_session: bool, session: &mut Session, place: Place<'_>) -> Result<(Prompt, u64, bool), TraceError> {
        if row.payload.is_some() {
            return Err(place.field("payload", "is a whole request body, which is not read", "left out, and its prompt in `messages`"));
        }
        match &row.tools {
            None => {}
            Some(tools @ Value::Array(_)) if row.messages.is_some() => session.tools = Some(tools.to_string().into()),
            Some(_) => return Err(place.field("tools", "stands without messages, or is no list", "a list beside `messages`")),
        }
        // What a turn of additions does not declare again goes on.
        let declared = row.tools.is_some() || row.message_mode == Some(Mode::Delta);
        let tools = session.tools.clone().filter(|_| declared);
        if row.hash_ids.is_some() && row.input_length.is_none() {
            return Err(place.field("hash_ids", "stands without `input_length`", "left out, or beside a length"));
        }
        if row.message_mode.is_some() && row.messages.is_none() {
            return Err(place.field("message_mode", "stands without `messages`", "left out"));
        }
        let too_long = || place.line("its conversation has too many messages", "split the session");
        match (row.input_length, &row.text_input, &row.messages) {
            (Some(length), None, None) => {
                self.blocks(length, row.hash_ids.as_deref(), in_session, session, place).map(|(p, n)| (p, n, false))
            }
            (None, Some(text), None) => {
                let next = session.thread.say(vec![Said::text("user", text)], Some(text.clone()), None).ok_or_else(too_long)?;
                Ok((next.prompt, next.input, next.gappy))
            }
            (None, None, Some(list)) => {
                if list.is_empty() {
                    return Err(place.field("messages", "is empty", "at least one message"));
                }
                let said = messages(list, "messages").map_err(|complaint| complaint.at(place))?;
                let mode = row.message_mode.unwrap_or(Mode::History);
                if session.mode.replace(mode).is_some_and(|before| before != mode) {
                    return Err(place.field("message_mode", "changes inside the session", "the same in all rows of a session"));
                }
                if mode == Mode::Delta {
                    let next = session.thread.say(said, plain(list), tools.as_ref()).ok_or_else(too_long)?;
                    return Ok((next.prompt, next.input, next.gappy));
                }
                let mut said = said;
                let same = said.iter().zip(&session.said).take_while(|(a, b)| a == b).count();
                // Prompts of a session share their messages' memory.
                said[..same].clone_from_slice(&session.said[..same]);
                session.said.clone_from(&said);
                let bytes = said.iter().map(|said| said.bytes).sum::<u64>() + tools.as_ref().map_or(0, |tools| tools.len() as u64);
                Ok((crate::import::conversation::prompt(&said, tools.as_ref()), tokens(bytes).into(), false))
            }
            _ => Err(place.line("it has none or several of `input_length`, `text_input` and `messages`", "keep exactly one of them")),
        }
    }

    /// A prompt by its length and perhaps the ids of its blocks.
    fn blocks(
        &self,
        length: u64,
        ids: Option<&[u64]>,
        in_session: bool,
        session: &mut Session,
        place: Place<'_>,
    ) -> Result<(Prompt, u64), TraceError> {
        let Some(length) = u32::try_from(length).ok().filter(|length| (1..=MAX_TOKENS).contains(&u64::from(*length))) else {
            return Err(place.field("input_length", format!("is {length}"), format!("tokens from 1 to {MAX_TOKENS}")));
        };
        if let Some(ids) = ids {
            let blocks = length.div_ceil(BLOCK_TOKENS) as usize;
            if ids.len() != blocks {
                let should = format!("{blocks} ids: one for each {BLOCK_TOKENS} tokens, the last block may be partial");
                return Err(place.field("hash_ids", format!("has {} ids for {length} tokens", ids.len()), should));
            }
            let most = if in_session { UNIQUE - 1 } else { MAX_BLOCK_ID };
            if let Some(id) = ids.iter().find(|id| **id > most) {
                return Err(place.field("hash_ids", format!("has {id}"), format!("ids up to {most}")));
            }
        }
        let index = u64::from(self.index);
        if !in_session {
            let Some(ids) = ids else { return Ok((Prompt::Blocks(BlockPrompt::unique(0, index, length)), length.into())) };
            let mut ranges: Vec<BlockRange> = vec![];
            for id in ids {
                match ranges.last_mut() {
                    Some(last) if last.first + u64::from(last.count) == *id => last.count += 1,
                    _ => ranges.push(BlockRange { first: *id, count: 1 }),
                }
            }
            let blocks = ranges.into();
            let prompt = BlockPrompt { namespace: 0, block_tokens: BLOCK_TOKENS, blocks, tokens: length, unshared: index };
            return Ok((Prompt::Blocks(prompt), length.into()));
        }
        // Ids are chained: a prompt that begins as the session did is all of it.
        if ids.and_then(<[u64]>::first).is_some_and(|id| session.parts.first().is_some_and(|part| part.id == *id)) {
            session.parts.clear();
        }
        // New parts begin where the answer before them ended, which is on no border of blocks.
        let mut left = length;
        for id in ids.unwrap_or_default() {
            let tokens = left.min(BLOCK_TOKENS);
            session.parts.push(Part { id: *id, tokens });
            left -= tokens;
        }
        if left > 0 {
            session.parts.push(Part { id: UNIQUE | index, tokens: left });
        }
        let prompt = PartPrompt { namespace: 0, parts: session.parts.as_slice().into() };
        let tokens = prompt.tokens();
        Ok((Prompt::Parts(prompt), tokens))
    }
}

/// What a row waits for, after the row of its session before it.
fn edges(before: &Session, delay: Option<Nanos>, since: Option<Nanos>) -> Vec<Edge> {
    let end = |gap| Edge::after_end(RequestId(before.last), gap, Cause::Think);
    match (delay, since, before.at) {
        (Some(delay), _, _) => vec![end(delay)],
        // Not before its recorded time since the one before, and not before the answer is there.
        (None, Some(since), Some(at)) if since >= at => vec![Edge { on: Moment::Start, ..end(since - at) }, end(Nanos::ZERO)],
        (None, _, _) => vec![end(Nanos::ZERO)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;

    fn read(text: &str) -> Result<Trace, TraceError> {
        from_bytes("dir/rows.jsonl", text.as_bytes(), Some("aiperf"), &ImportOptions::default())
    }

    #[test]
    fn deltas_grow_with_their_answers() {
        let trace = read(concat!(
            "{\"session_id\": \"a\", \"group_id\": 1, \"timestamp\": 1000.5, \"input_length\": 600, \"output_length\": 20, \"hash_ids\": [7, 8]}\n",
            "{\"timestamp\": 1200, \"input_length\": 1100, \"output_length\": 3, \"hash_ids\": [7, 8, 12]}\n",
            "{\"session_id\": \"a\", \"delay\": 250, \"input_length\": 100, \"output_length\": 30, \"hash_ids\": [9]}\n",
            "{\"session_id\": \"a\", \"delay\": 0, \"input_length\": 5, \"output_length\": 1}\n",
            "{\"session_id\": \"b\", \"input_length\": 5}\n",
        ))
        .unwrap();
        let parts = |index: usize| match &trace.requests[index].prompt {
            Prompt::Parts(p) => p.parts.iter().map(|part| (part.id, part.tokens)).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let first = vec![(7, 512), (8, 88)];
        let second = [first.clone(), vec![(ANSWER, 20), (9, 100)]].concat();
        assert_eq!((parts(0), parts(2)), (first, second.clone()));
        assert_eq!(parts(3), [second, vec![(ANSWER | 2, 30), (UNIQUE | 3, 5)]].concat());
        let lengths: Vec<_> = trace.requests.iter().map(|r| (r.input_tokens, r.output_tokens, r.turn)).collect();
        assert_eq!(lengths, [(600, 20, 0), (1_100, 3, 0), (720, 30, 1), (755, 1, 2), (5, 256, 0)]);
        assert!(matches!(&trace.requests[1].prompt, Prompt::Blocks(b) if b.blocks.len() == 2));
        assert_eq!(trace.requests[1].at, Some(Nanos(199_500_000)));
        assert_eq!(trace.requests[2].after, [Edge::after_end(RequestId(0), Nanos::from_millis(250), Cause::Think)]);
        assert_eq!(trace.requests[4].length, OutputLength::Cap);
        assert!(trace.losses[0].starts_with("1 requests do not say how long"), "{:?}", trace.losses);
        assert!(trace.losses[1].starts_with("2 rows add to the prompt"), "{:?}", trace.losses);
    }

    #[test]
    fn a_prompt_that_begins_as_its_session_is_whole() {
        let trace = read(concat!(
            "{\"session_id\": \"0\", \"timestamp\": 0, \"input_length\": 600, \"output_length\": 20, \"hash_ids\": [7, 8]}\n",
            "{\"session_id\": \"0\", \"delay\": 5, \"input_length\": 1100, \"output_length\": 3, \"hash_ids\": [7, 9, 12]}\n",
        ))
        .unwrap();
        let Prompt::Parts(parts) = &trace.requests[1].prompt else { panic!("parts") };
        assert_eq!(parts.parts.iter().map(|part| (part.id, part.tokens)).collect::<Vec<_>>(), [(7, 512), (9, 512), (12, 76)]);
        assert_eq!((trace.requests[1].input_tokens, trace.losses.len()), (1_100, 0), "{:?}", trace.losses);
    }

    #[test]
    fn texts_and_messages() {
        let trace = read(concat!(
            "{\"text_input\": \"12345678\", \"output_length\": 9}\n",
            "{\"session_id\": 5, \"text_input\": \"1234\", \"output_length\": 9, \"timestamp\": 0}\n",
            "{\"session_id\": 5, \"text_input\": \"1234\", \"output_length\": 9, \"timestamp\": 40}\n",
            "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], \"tools\": [1], \"extra\": {\"top_k\": 1}}\n",
            "{\"session_id\": 6, \"messages\": [{\"role\": \"system\", \"content\": \"s\"}], \"message_mode\": \"delta\", \"output_length\": 1}\n",
            "{\"session_id\": 6, \"messages\": [{\"role\": \"user\", \"content\": \"u\"}], \"message_mode\": \"delta\", \"output_length\": 1}\n",
        ))
        .unwrap();
        assert_eq!(trace.requests[0].prompt, Prompt::Text("12345678".into()));
        assert_eq!(trace.requests[2].prompt, Prompt::Live { of: RequestId(1), add: Box::new(Prompt::Text("1234".into())) });
        assert_eq!((trace.requests[0].input_tokens, trace.requests[2].input_tokens), (2, 11));
        let end = Edge::after_end(RequestId(1), Nanos::ZERO, Cause::Think);
        assert_eq!(trace.requests[2].after, [Edge { on: Moment::Start, gap: Nanos::from_millis(40), ..end }, end]);
        assert!(matches!(&trace.requests[3].prompt, Prompt::Messages(m) if m.tools.as_deref() == Some("[1]")));
        assert!(matches!(&trace.requests[5].prompt, Prompt::Messages(m) if m.messages.len() == 2));
        let text = trace.losses.join("; ");
        for part in ["four bytes", "1 requests do not say", "1 requests are not plain", "`extra`"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(trace.tokenizer.as_deref(), Some("estimated: 4 bytes a token"));
    }

    #[test]
    fn plain_mooncake_rows_are_the_same_requests() {
        let text = include_str!("../../../samples/mooncake.jsonl");
        let options = ImportOptions { spread_ticks: false, ..ImportOptions::default() };
        let mooncake = from_bytes("f", text.as_bytes(), None, &options).unwrap();
        assert_eq!(from_bytes("f", text.as_bytes(), Some("aiperf"), &options).unwrap().requests, mooncake.requests);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let error = read(text).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        check("{\"output_length\": 1}\n", &[":1:", "none or several", "exactly one"]);
        check("{\"input_length\": 5, \"text_input\": \"\"}\n", &["exactly one"]);
        check("{\"input_length\": 0}\n", &["`input_length`", "is 0"]);
        check("{\"input_length\": 513, \"hash_ids\": [1]}\n", &["`hash_ids`", "1 ids for 513 tokens", "2 ids"]);
        check("{\"text_input\": \"a\", \"hash_ids\": [1]}\n", &["`hash_ids`", "without `input_length`"]);
        check("{\"input_length\": 5, \"timestamp\": -1}\n", &["`timestamp`", "-1", "milliseconds"]);
        check(
            "{\"input_length\": 5, \"timestamp\": 9}\n{\"input_length\": 5, \"timestamp\": 8}\n",
            &[":2:", "`timestamp`", "1.00 ms earlier", "sort"],
        );
        check("{\"input_length\": 5, \"dealy\": 9}\n", &["`dealy`", "unknown", "`delay`"]);
        check("{\"messages\": []}\n", &["`messages`", "empty"]);
        check("{\"messages\": [{\"content\": \"x\"}]}\n", &["`messages[0].role`"]);
        check("{\"messages\": [{\"role\": \"user\"}], \"message_mode\": \"all\"}\n", &["`message_mode`", "\"history\", \"delta\""]);
        check("{\"input_length\": 5, \"tools\": []}\n", &["`tools`", "messages"]);
        check("{\"input_length\": 5, \"payload\": {}}\n", &["`payload`", "not read"]);
        let say = |mode: &str| {
            format!("{{\"session_id\": 1, \"messages\": [{{\"role\": \"user\", \"content\": \"a\"}}], \"message_mode\": \"{mode}\"}}\n")
        };
        check(&(say("delta") + &say("history")), &[":2:", "`message_mode`", "changes"]);
        check("{\"input_length\": 5, \"session_id\": []}\n", &["`session_id`"]);
        let lenient = ImportOptions { lenient: true, ..ImportOptions::default() };
        let text = "{\"session_id\": 1, \"input_length\": 5, \"output_length\": 1}\n{\"session_id\": 1, \"input_length\": 513, \"hash_ids\": [1]}\n{\"session_id\": 1, \"input_length\": 5, \"output_length\": 1}\n";
        let trace = from_bytes("f", text.as_bytes(), Some("aiperf"), &lenient).unwrap();
        assert_eq!((trace.requests.len(), trace.requests[1].input_tokens, trace.requests[1].turn), (2, 11, 1));
    }
}
