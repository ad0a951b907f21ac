//! LMCache's agentic traces: JSON Lines of `{session_id, model, input, output_length, pre_gap}`, `input` being all messages so far.
//!
//! Calls of one session follow each other: `pre_gap` seconds after the end of the call before. Messages that were said before share their
//! memory with the call before.

use super::classes::Classes;
use super::conversation::{ESTIMATED, Said, TOKENIZER, messages, prompt, tokens};
use super::decimal::Seconds;
use super::records::{Records, has, keys};
use super::{ImportOptions, Importer, MAX_TOKENS, stem};
use crate::diagnose::{Field, Shape, explain, parse};
use crate::error::{Place, TraceError};
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The importer.
pub(crate) struct LmCache;

const FIELDS: &[Field] = &[
    Field::required("session_id", Shape::Any),
    Field::optional("model", Shape::Text),
    Field::required("input", Shape::Any),
    Field::required("output_length", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" }),
    Field::optional("pre_gap", Shape::Any),
];

/// A session so far.
struct Session {
    number: u32,
    turns: u16,
    last: u32,
    said: Vec<Said>,
}

/// A call as it stands in a row.
struct Call {
    session: String,
    said: Vec<Said>,
    output: u32,
    gap: Nanos,
    class: u16,
}

impl Importer for LmCache {
    fn name(&self) -> &'static str {
        "lmcache-jsonl"
    }

    fn about(&self) -> &'static str {
        "LMCache's agentic traces (JSON Lines): sessions with recorded messages and gaps; prompts' lengths are estimated"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let keys = keys(head);
        // What stands behind the messages may be far away.
        has(&keys, "session_id") && has(&keys, "input") && keys.iter().all(|key| FIELDS.iter().any(|field| field.is(key)))
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let file = source.name().to_owned();
        let mut records = Records::new(source, options)?;
        let (mut classes, mut sessions) = (Classes::default(), HashMap::<String, Session>::new());
        let (mut index, mut rewritten, mut media, mut early) = (0_u32, 0_u64, 0_u64, 0_u64);
        while let Some(record) = records.next()? {
            let (place, named) = (record.place, classes.len());
            let call = parse(record.bytes, place).and_then(|object| call(&object, &mut classes, place)).and_then(|call| {
                let full = sessions.get(&call.session).is_some_and(|session| session.turns == u16::MAX);
                if full { Err(place.line("its session has more than 65535 calls", "split the session")) } else { Ok(call) }
            });
            let Some(mut call) = records.take(call)? else {
                classes.truncate(named);
                continue;
            };
            media += call.said.iter().filter(|said| said.media).count() as u64;
            let next = sessions.len() as u32;
            let (number, turn, after) = match sessions.get(&call.session) {
                None => {
                    early += u64::from(call.gap > Nanos::ZERO);
                    (next, 0, vec![])
                }
                Some(before) => {
                    let same = before.said.iter().zip(&call.said).take_while(|(a, b)| a == b).count();
                    rewritten += u64::from(same < before.said.len());
                    call.said[..same].clone_from_slice(&before.said[..same]);
                    // What a tool said stands behind the last answer; a user's turn ends with what the user said.
                    let cause = if call.said.last().is_some_and(|said| said.tool) { Cause::Tool } else { Cause::Think };
                    (before.number, before.turns, vec![Edge::after_end(RequestId(before.last), call.gap, cause)])
                }
            };
            let input = tokens(call.said.iter().map(|said| said.bytes).sum());
            sink.request(TraceRequest {
                after,
                session: Some(SessionId(number)),
                turn,
                class: call.class,
                ..TraceRequest::new(prompt(&call.said, None), input, call.output)
            })?;
            sessions.insert(call.session, Session { number, turns: turn + 1, last: index, said: call.said });
            index += 1;
        }
        let (digest, skipped) = records.finish();
        let mut losses = vec![
            format!("{ESTIMATED}; answers have their recorded length"),
            "sessions have no arrivals: choose an arrival law or lanes".to_owned(),
            "the tools that models could call are not recorded".to_owned(),
        ];
        let counts = [
            (early, "sessions have a gap before their first call, which is not used"),
            (rewritten, "calls do not continue the messages of the call before; they are sent as recorded"),
            (media, "messages hold more than text; it is sent as recorded, and not a part of the estimated lengths"),
        ];
        losses.extend(counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        losses.extend(skipped);
        let tokenizer = Some(TOKENIZER.to_owned());
        Ok(Trace { name: stem(&file), source: digest, tokenizer, classes: classes.names(), losses, ..Trace::default() })
    }
}

fn call(object: &Map<String, Value>, classes: &mut Classes, place: Place<'_>) -> Result<Call, TraceError> {
    if let Some(complaint) = explain(object, FIELDS) {
        return Err(complaint.at(place));
    }
    let session = match &object["session_id"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(place.field("session_id", "is neither a text nor a number", "the name of the session")),
    };
    let Some(input) = object["input"].as_array().filter(|list| !list.is_empty()) else {
        return Err(place.field("input", "is no list of messages", "all messages before the answer"));
    };
    let said = messages(input, "input").map_err(|complaint| complaint.at(place))?;
    let gap = match object.get("pre_gap") {
        None | Some(Value::Null) => Nanos::ZERO,
        Some(gap) => match serde_json::from_value::<Seconds>(gap.clone()) {
            Ok(Seconds(gap)) => gap,
            Err(_) => return Err(place.field("pre_gap", format!("is {gap}"), "a number of seconds from 0 to a century")),
        },
    };
    let model = object.get("model").and_then(Value::as_str).unwrap_or("default");
    let Some(class) = classes.of(model) else {
        return Err(place.field("model", "is one too many", "one of at most 65535 models"));
    };
    let output = object["output_length"].as_u64().unwrap_or(1) as u32;
    Ok(Call { session, said, output, gap, class })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;
    use nomoat_core::prompt::Prompt;
    use nomoat_core::request::OutputLength;
    use std::sync::Arc;

    fn read(text: &str) -> Result<Trace, TraceError> {
        from_bytes("dir/agents.jsonl", text.as_bytes(), Some("lmcache-jsonl"), &ImportOptions::default())
    }

    fn row(session: &str, input: &str, gap: &str) -> String {
        format!("{{\"session_id\": \"{session}\", \"model\": \"m\", \"input\": [{input}], \"output_length\": 7, \"pre_gap\": {gap}}}\n")
    }

    const USER: &str = "{\"role\": \"user\", \"content\": \"12345678\"}";
    const CALL: &str = "{\"role\": \"assistant\", \"content\": \"abcd\"}";
    const TOOL: &str = "{\"role\": \"tool\", \"content\": \"efgh\", \"tool_call_id\": \"a\"}";

    #[test]
    fn calls_follow_each_other() {
        let text = row("a", USER, "0.5")
            + &row("b", USER, "0")
            + &row("a", &format!("{USER}, {CALL}, {TOOL}"), "1.25")
            + &row("b", &format!("{CALL}, {USER}"), "3");
        let trace = read(&text).unwrap();
        let seen: Vec<_> = trace.requests.iter().map(|r| (r.session.unwrap().0, r.turn, r.input_tokens, r.output_tokens, r.at)).collect();
        assert_eq!(seen, [(0, 0, 2, 7, None), (1, 0, 2, 7, None), (0, 1, 4, 7, None), (1, 1, 3, 7, None)]);
        assert_eq!(trace.requests[2].after, [Edge::after_end(RequestId(0), Nanos::from_millis(1_250), Cause::Tool)]);
        assert_eq!(trace.requests[3].after, [Edge::after_end(RequestId(1), Nanos::from_secs(3), Cause::Think)]);
        assert!(trace.requests.iter().all(|r| r.length == OutputLength::Exact));
        let message = |index: usize| match &trace.requests[index].prompt {
            Prompt::Messages(messages) => messages.messages[0].clone(),
            _ => panic!("messages"),
        };
        assert!(Arc::ptr_eq(&message(0), &message(2)), "what was said before is kept once");
        assert!(trace.losses.iter().any(|l| l.starts_with("1 sessions have a gap before")), "{:?}", trace.losses);
        assert!(trace.losses.iter().any(|l| l.starts_with("1 calls do not continue")), "{:?}", trace.losses);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let error = read(text).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        let good = row("a", USER, "0");
        check(&row("a", "", "0"), &[":1:", "`input`", "messages"]);
        check(&(good.clone() + &row("a", USER, "-1")), &[":2:", "`pre_gap`", "-1", "seconds"]);
        check(&row("a", USER, "\"soon\""), &["`pre_gap`", "soon"]);
        check(&row("a", USER, "1e12"), &["`pre_gap`"]);
        check(&good.replace(": 7", ": 0"), &["`output_length`", "0", "from 1"]);
        check(&good.replace("\"session_id\": \"a\"", "\"session_id\": null"), &["`session_id`"]);
        check(&good.replace("\"model\"", "\"modell\""), &["`modell`", "unknown", "`model`"]);
        check(&good.replace("\"role\": \"user\"", "\"rule\": \"user\""), &["`input[0].role`", "missing"]);
    }
}
