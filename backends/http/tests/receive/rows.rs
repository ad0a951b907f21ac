//! The suite of traps, decoded: with and without the skeletons, cut anywhere, one answer after the other.

use crate::common::{How, Outcome, decode, decode_on, split};
use nomoat_core::event::EventSink;
use nomoat_core::record::RequestRecord;
use nomoat_http::body::Head;
use nomoat_http::protocol::{Chat, PROTOCOLS, Protocol, by_name};
use nomoat_http::stream::StreamDecoder;
use nomoat_http::suite::{Case, Expect, TRAPS, cases};
use std::collections::BTreeSet;

fn dialect(case: &Case) -> &'static dyn Protocol {
    by_name(case.dialect).unwrap_or_else(|| panic!("{} is no dialect", case.dialect))
}

fn pieces(case: &Case) -> Vec<&[u8]> {
    case.reads.iter().map(Vec::as_slice).collect()
}

/// What is decided by the head alone never reaches a decoder.
fn is_decoded(case: &Case) -> bool {
    let response = case.response();
    let (head, _) = Head::parse(&response).expect("a head").expect("a whole head");
    head.refusal().is_ok()
}

fn decoded() -> Vec<Case> {
    cases().into_iter().filter(is_decoded).collect()
}

fn check(case: &Case, outcome: &Outcome) {
    assert_eq!(Expect::of(&outcome.record).to_string(), case.expect.to_string(), "{}: {:?}", case.name(), outcome.text);
}

#[test]
fn every_case() {
    for case in decoded() {
        let (slow, _) = decode(dialect(&case), &pieces(&case), How { skeleton: false, one_read: false });
        check(&case, &slow);
        let (fast, _) = decode(dialect(&case), &pieces(&case), How { skeleton: true, one_read: false });
        assert_eq!(fast, slow, "{}: with and without the skeleton", case.name());
    }
}

/// Cut in two at every byte: what does not depend on the reads stays.
#[test]
fn every_cut() {
    for case in decoded() {
        let bytes = case.reads.concat();
        let expect = case.expect.whatever_the_reads();
        for at in 0..=bytes.len() {
            let (outcome, _) = decode(dialect(&case), &split(&bytes, &[at]), How { skeleton: true, one_read: false });
            assert_eq!(Expect::of(&outcome.record).whatever_the_reads(), expect, "{}, cut at {at}", case.name());
        }
    }
}

/// All cases of a dialect on one decoder, twice: nothing of an answer stays for the next.
#[test]
fn one_after_the_other() {
    for protocol in PROTOCOLS {
        let mut decoder = StreamDecoder::new(*protocol);
        let own: Vec<Case> = decoded().into_iter().filter(|c| c.dialect == protocol.name()).collect();
        for case in own.iter().chain(&own) {
            check(case, &decode_on(&mut decoder, &pieces(case), How { skeleton: true, one_read: false }).0);
        }
    }
}

#[test]
fn the_suite_is_whole() {
    let cases = cases();
    let names: BTreeSet<String> = cases.iter().map(Case::name).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    for protocol in PROTOCOLS {
        assert!(cases.iter().filter(|c| c.dialect == protocol.name()).count() >= 9, "{}", protocol.name());
    }
    let set: BTreeSet<usize> = cases.iter().map(|c| c.trap).collect();
    // The last is about connections: see the loopback tests.
    assert_eq!(set, (1..TRAPS.len()).collect());
    for case in &cases {
        assert_eq!(Expect::parse(&case.expect.to_string()).as_ref(), Some(&case.expect), "{}", case.name());
        assert!(case.name().chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{}", case.name());
        assert!(dialect(case).name() == case.dialect);
    }
}

fn chat(delta: &str, tail: &str) -> String {
    format!("data: {{\"id\":\"1\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":null}}]{tail}}}\n\n")
}

fn content(text: &str) -> String {
    chat(&format!("\"content\":\"{text}\""), "")
}

fn usage(output: u32) -> String {
    format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{output}}}}}\n\n")
}

fn stop() -> String {
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".into()
}

const DONE: &str = "data: [DONE]\n\n";
const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";

/// Reads of the first and the last choice, of the last event and of the terminator, and events of the answer without text.
#[test]
fn where_other_clocks_start_and_stop() {
    let row = |what: &str, reads: &[String], expect: &str| {
        let pieces: Vec<&[u8]> = reads.iter().map(String::as_bytes).collect();
        for skeleton in [false, true] {
            let (outcome, _) = decode(&Chat, &pieces, How { skeleton, one_read: false });
            let at = outcome.record.at;
            let moments =
                [at.first_choice, at.last_choice, at.last_event, at.terminator].map(|m| m.map_or("-".into(), |n| n.0.to_string()));
            assert_eq!(format!("{} | {}", moments.join(" "), outcome.record.empty_choices), expect, "{what}, skeleton: {skeleton}");
        }
    };
    let s = str::to_owned;
    row("role, finish, usage", &[s(ROLE), content("a"), content("b"), stop(), usage(2), s(DONE)], "1 4 5 6 | 2");
    row("text alone", &[content("a"), content("b"), content("c"), s(DONE)], "1 3 3 4 | 0");
    row("comments are nothing", &[s(": hi\n\n"), content("a"), s(": hi\n\n"), stop(), s(DONE), s(": hi\n\n")], "2 4 4 5 | 1");
    row("an event without data is nothing", &[s(ROLE), content("a"), stop(), s("event: x\n\n"), s("data:\n\n"), s(DONE)], "1 3 3 6 | 2");
    row("usage first is no choice", &[usage(0), content("a"), stop(), s(DONE)], "2 3 3 4 | 1");
    row("an annotation is no choice", &[s("event: x\ndata: [1]\n\n"), content("a"), stop()], "2 3 3 - | 1");
    row("an empty piece", &[content("a"), content(""), usage(2), content("c"), s(DONE)], "1 4 4 5 | 1");
    row("not streamed", &[s("{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}")], "1 1 1 - | 0");
}

#[test]
fn a_decoder_is_used_again() {
    let mut decoder = StreamDecoder::new(&Chat);
    let mut sink = EventSink::new(std::sync::Arc::new(nomoat_core::clock::ManualClock::default()), std::sync::Arc::default());
    for (body, message) in [
        ("data: {\"error\":{\"message\":\"boom\"}}\n\n", Some("boom")),
        ("{\"choices\":[{\"message\":{\"content\":\"a\"}}]}", None),
        ("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n", None),
        (": one\n: two\ndata: {\n\n", Some("an event is not the JSON of a `chat` answer")),
        ("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n", None),
    ] {
        sink.begin(RequestRecord::default(), false);
        decoder.reset();
        assert_eq!((decoder.message(), decoder.comments(), decoder.fallbacks()), (None, 0, 0));
        let stamp = sink.arrived(body.len(), None);
        let fed = decoder.feed(body.as_bytes(), stamp, &mut sink);
        let ended = decoder.end(&mut sink);
        assert_eq!((fed.is_err(), ended.is_err()), (message.is_some(), message.is_some()), "{body}");
        match message {
            Some(words) => assert!(decoder.message().is_some_and(|m| m.starts_with(words)), "{body}: {:?}", decoder.message()),
            None => assert_eq!(decoder.message(), None),
        }
    }
}
