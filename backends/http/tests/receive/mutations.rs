//! Recorded streams of every engine, mutated: the learnt skeletons still change nothing. Mutations keep to the shape of real events
//! where damage by single bytes (also here) seldom does: keys doubled, dropped and swapped, values of another kind, escapes where
//! none are needed, other ids, one answer after the other on one decoder.

use crate::common::{How, Outcome, decode_on, recording, split, streams};
use nomoat_http::protocol::Protocol;
use nomoat_http::stream::StreamDecoder;
use proptest::prelude::*;
use serde_json::Value;
use std::fmt::Write as _;

/// Values that stand in for others.
const VALUES: &[&str] = &[
    "0",
    "7",
    "-1",
    "01",
    "1.5",
    "1e3",
    "1e999",
    "4294967295",
    "4294967296",
    "99999999999999999999",
    "null",
    "true",
    "\"\"",
    "\"x\"",
    "\"x\\n\"",
    "\"\\ud83d\"",
    "\"\\ud83d\\ude00\"",
    "\"\\x\"",
    "\"a\\\",\\\"content\\\":\\\"b\"",
    "[]",
    "[1,2]",
    "[1, 2]",
    "[-1]",
    "{}",
    "{\"content\":\"x\"}",
    "{\"completion_tokens\":5}",
    "[{\"index\":0,\"delta\":{\"content\":\"x\"},\"text\":\"x\"}]",
    "\"stop\"",
    "\"error\"",
    "",
];
/// Keys that stand in for others.
const KEYS: &[&str] = &[
    "content",
    "text",
    "reasoning",
    "id",
    "finish_reason",
    "error",
    "usage",
    "timings",
    "completion_tokens",
    "index",
    "x\\n",
    "type",
    "delta",
    "stop",
    "output_ids",
    "meta_info",
    "sequence_number",
];

/// One change to one member of one event.
#[derive(Clone, Debug)]
struct Mutation {
    event: usize,
    member: usize,
    how: u8,
    value: usize,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    (any::<usize>(), any::<usize>(), any::<u8>(), any::<usize>()).prop_map(|(event, member, how, value)| Mutation {
        event,
        member,
        how,
        value,
    })
}

/// Writes JSON again, with at most one member changed.
struct Writer<'a> {
    change: Option<&'a Mutation>,
    /// Members until the one to change.
    left: usize,
    out: String,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(object) => {
                self.out.push('{');
                let mut parts: Vec<String> = vec![];
                let mut swap = None;
                for (key, value) in object {
                    let mine = self.left == 0;
                    self.left = self.left.wrapping_sub(1);
                    let outer = std::mem::take(&mut self.out);
                    self.value(value);
                    let json = std::mem::replace(&mut self.out, outer);
                    let member = |key: &str, json: &str| format!("\"{key}\":{json}");
                    let Some(change) = self.change.filter(|_| mine) else {
                        parts.push(member(key, &json));
                        continue;
                    };
                    let other = VALUES[change.value % VALUES.len()];
                    match change.how % 8 {
                        0 => {}
                        1 => parts.extend([member(key, &json), member(key, &json)]),
                        2 => parts.extend([member(key, &json), member(key, other)]),
                        3 => parts.extend([member(key, other), member(key, &json)]),
                        4 => parts.push(member(key, other)),
                        5 => parts.push(member(KEYS[change.value % KEYS.len()], &json)),
                        6 => {
                            swap = Some(parts.len());
                            parts.push(member(key, &json));
                        }
                        _ => parts.push(member(key, &escaped(value).unwrap_or_else(|| format!(" {json} ")))),
                    }
                }
                if let Some(at) = swap
                    && parts.len() > 1
                {
                    let with = (at + 1) % parts.len();
                    parts.swap(at, with);
                }
                self.out += &parts.join(",");
                self.out.push('}');
            }
            Value::Array(array) => {
                self.out.push('[');
                for (i, value) in array.iter().enumerate() {
                    self.out.push_str(if i == 0 { "" } else { "," });
                    self.value(value);
                }
                self.out.push(']');
            }
            leaf => self.out += &leaf.to_string(),
        }
    }
}

/// A text, every character an escape.
fn escaped(value: &Value) -> Option<String> {
    let mut json = String::from("\"");
    for unit in value.as_str()?.encode_utf16() {
        write!(json, "\\u{unit:04x}").expect("a String takes any text");
    }
    Some(json + "\"")
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(array) => array.iter().map(members).sum(),
        _ => 0,
    }
}

/// An answer: the recording's events, some of them twice, with another id, mutated.
fn answer(body: &str, number: usize, mutations: &[Mutation]) -> String {
    let events: Vec<&str> = body.split_inclusive("\n\n").collect();
    let most = events.len().saturating_sub(3);
    let twice = (0..events.len()).flat_map(|i| (0..if i < most { 2 } else { 1 }).map(move |copy| (i, copy)));
    let mut out = String::new();
    for (i, copy) in twice {
        let event = events[i];
        // What stands before the data: the event's name, or nothing.
        let (name, data) = event.trim().split_once("data:").unwrap_or(("", "no data"));
        let Ok(mut json) = serde_json::from_str::<Value>(data) else {
            out += event;
            continue;
        };
        for key in ["id", "item_id"] {
            if let Some(id) = json.get_mut(key) {
                *id = Value::from(format!("answer-{}", number * 995));
            }
        }
        // A mutation hits both copies, so that what it teaches is used, or one of them.
        let hits = |m: &&Mutation| m.event % events.len() == i && (m.how >= 128 || m.event / events.len() % 2 == copy);
        let change = mutations.iter().find(hits);
        let left = change.map_or(0, |m| m.member % members(&json).max(1));
        let mut writer = Writer { change, left, out: format!("{name}data: ") };
        writer.value(&json);
        out += &writer.out;
        out += "\n\n";
    }
    out
}

/// Decodes answers one after the other, with skeletons and without; both must tell the same of each.
fn same(protocol: &'static dyn Protocol, answers: &[Vec<u8>], cuts: &[usize]) {
    let mut fast = StreamDecoder::new(protocol);
    let mut slow = StreamDecoder::new(protocol).without_skeleton();
    for bytes in answers {
        let read = |decoder: &mut StreamDecoder, skeleton| -> (Outcome, u64) {
            decode_on(decoder, &split(bytes, cuts), How { skeleton, one_read: false })
        };
        let ((expect, all), (got, parsed)) = (read(&mut slow, false), read(&mut fast, true));
        assert_eq!(got, expect, "{}", String::from_utf8_lossy(bytes));
        assert!(parsed <= all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn mutated_events(which: prop::sample::Index, mutations in prop::collection::vec(prop::collection::vec(mutation(), 0..6), 1..4), cuts in prop::collection::vec(any::<usize>(), 0..5)) {
        let streams = streams();
        let (name, protocol) = which.get(&streams);
        let body = String::from_utf8(recording(name).body).expect("text");
        // Each answer comes twice, the second time with another id.
        let answers: Vec<Vec<u8>> = mutations.iter().flat_map(|m| [m, m]).enumerate().map(|(i, m)| answer(&body, i, m).into_bytes()).collect();
        same(*protocol, &answers, &cuts);
    }

    #[test]
    fn damaged_bytes(which: prop::sample::Index, hits in prop::collection::vec((any::<usize>(), any::<u8>(), crate::equivalence::byte()), 0..4), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let streams = streams();
        let (name, protocol) = which.get(&streams);
        let whole = recording(name).body;
        let mut bytes = whole.clone();
        crate::equivalence::damage(&mut bytes, &hits);
        same(*protocol, &[whole, bytes], &cuts);
    }
}

/// The same bytes a second time need no full parser at all, but where vendor numbers lack a number: what was learnt is kept from
/// answer to answer, with another id and another time of day.
#[test]
fn a_second_answer_needs_no_parser() {
    for (name, protocol) in streams() {
        let body = String::from_utf8(recording(&name).body).expect("text");
        // Of the other dialects, and of streams that begin with annotations, some events are read by the parser each time.
        if !["chat", "completions"].contains(&protocol.name()) || !body.starts_with("data:") {
            continue;
        }
        let mut decoder = StreamDecoder::new(protocol);
        let parsed: Vec<u64> = (0..3)
            .map(|n| {
                let bytes = answer(&body, n, &[]).replace("\"created\":1", &format!("\"created\":{}", 10 + n));
                decode_on(&mut decoder, &[bytes.as_bytes()], How { skeleton: true, one_read: false }).1
            })
            .collect();
        assert!(parsed[0] > 0, "{name}");
        assert_eq!(parsed[1..], [0, 0], "{name}: {parsed:?}");
    }
}
