//! Streams that trap naive readers, as raw bytes with what they mean (rows of the list in the methodology: roles, reasoning,
//! several tokens in an event, empty texts, usage here and there, comments, errors inside, missing ends, all of the grammar).
//!
//! Each string of a row is one read; moments are numbers of reads.

use crate::common::{How, decode};
use nomoat_core::event::EventSink;
use nomoat_core::record::{CountSource, RequestRecord};
use nomoat_http::protocol::{Chat, Completions, Protocol};

/// A chat event.
fn chat(delta: &str, tail: &str) -> String {
    format!("data: {{\"id\":\"1\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":null}}]{tail}}}\n\n")
}

fn content(text: &str) -> String {
    chat(&format!("\"content\":\"{text}\""), "")
}

fn running(text: &str, output: u32) -> String {
    chat(
        &format!("\"content\":\"{text}\""),
        &format!(",\"usage\":{{\"prompt_tokens\":7,\"total_tokens\":{},\"completion_tokens\":{output}}}", u64::from(output) + 7),
    )
}

fn usage(output: u32) -> String {
    format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{output}}}}}\n\n")
}

fn stop() -> String {
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".into()
}

const DONE: &str = "data: [DONE]\n\n";
const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";

/// A record in short: outcome and finish; output tokens and their source; tokens by chunk and their source; reads of the first
/// byte, first token, first visible token and last token; coalesced chunks (`!` if the first is among them).
fn short(record: &RequestRecord) -> String {
    let outcome = record.error.map_or_else(|| record.status.name().to_owned(), |e| format!("{}/{}", record.status.name(), e.name()));
    let source = |s: CountSource| format!("{s:?}").to_lowercase();
    let moments: Vec<String> = [record.at.first_byte, record.at.first_token, record.at.first_visible, record.at.last_token]
        .map(|m| m.map_or("-".into(), |n| n.0.to_string()))
        .into();
    let chunks: Vec<String> = record.chunk_tokens.iter().map(u32::to_string).collect();
    format!(
        "{outcome} {} | {} {} | {} {} | {} | {}{}",
        record.finish.map_or("-".into(), |f| format!("{f:?}").to_lowercase()),
        record.tokens.output.map_or("-".into(), |n| n.to_string()),
        source(record.tokens.output_source),
        chunks.join(","),
        source(record.tokens.chunk_source),
        moments.join(" "),
        record.coalesced,
        if record.first_coalesced { "!" } else { "" },
    )
}

fn check(what: &str, protocol: &'static dyn Protocol, reads: &[String], expect: &str) -> RequestRecord {
    let pieces: Vec<&[u8]> = reads.iter().map(String::as_bytes).collect();
    let (slow, _) = decode(protocol, &pieces, How { skeleton: false, one_read: false });
    let (fast, _) = decode(protocol, &pieces, How { skeleton: true, one_read: false });
    assert_eq!(fast, slow, "{what}: with and without the skeleton");
    assert_eq!(short(&fast.record), expect, "{what}: {:?}", fast.text);
    fast.record
}

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
    row("an empty piece", &[content("a"), content(""), running("b", 2), content("c"), s(DONE)], "1 4 4 5 | 1");
    row("not streamed", &[s("{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}")], "1 1 1 - | 0");
}

#[test]
fn rows() {
    let s = str::to_owned;
    let end = || vec![stop(), s(DONE)];
    let with = |mut reads: Vec<String>, rest: Vec<String>| {
        reads.extend(rest);
        reads
    };
    let rows: Vec<(&str, Vec<String>, &str)> = vec![
        ("1 role first", with(vec![s(ROLE), content("a")], end()), "ok stop | 1 chunks | 1 chunks | 1 2 2 2 | 0"),
        (
            "1 null content",
            with(vec![chat("\"role\":\"assistant\",\"content\":null", ""), content("a")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 2 2 2 | 0",
        ),
        ("2 reasoning", with(vec![chat("\"reasoning\":\"hm\"", ""), content("a")], end()), "ok stop | 2 chunks | 1,1 chunks | 1 1 2 2 | 0"),
        (
            "2 reasoning_content",
            with(vec![chat("\"reasoning_content\":\"hm\",\"content\":null", ""), content("a")], end()),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 2 2 | 0",
        ),
        ("2 thinking", with(vec![chat("\"thinking\":\"hm\"", ""), content("a")], end()), "ok stop | 2 chunks | 1,1 chunks | 1 1 2 2 | 0"),
        ("2 reasoning only", with(vec![chat("\"reasoning\":\"hm\"", "")], end()), "ok stop | 1 chunks | 1 chunks | 1 1 - 1 | 0"),
        (
            "2 both names at once",
            with(vec![chat("\"reasoning\":\"hm\",\"reasoning_content\":\"hm\"", "")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 - 1 | 0",
        ),
        (
            "3 both in one",
            with(vec![chat("\"reasoning\":\"hm\"", ""), chat("\"reasoning\":\"h\",\"content\":\"a\"", "")], end()),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 2 2 | 0",
        ),
        (
            "tool arguments",
            with(
                vec![
                    chat("\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]", ""),
                    chat("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\"\"}}]", ""),
                ],
                end(),
            ),
            "ok stop | 1 chunks | 1 chunks | 1 2 2 2 | 0",
        ),
        (
            "4 several tokens in one",
            with(vec![running("a", 1), running("bcd", 4), running("e", 5)], end()),
            "ok stop | 5 usage | 1,3,1 perchunk | 1 1 1 3 | 0",
        ),
        (
            "4 by token ids",
            with(
                vec![
                    chat("\"content\":\"a\"", "").replace("\"index\":0", "\"index\":0,\"token_ids\":[1,2]"),
                    chat("\"content\":\"b\"", "").replace("\"index\":0", "\"index\":0,\"token_ids\":[3]"),
                ],
                end(),
            ),
            "ok stop | 3 perchunk | 2,1 perchunk | 1 1 1 2 | 0",
        ),
        (
            "4 by bytes of text",
            with(vec![content("a"), content("bcd"), usage(4)], end()),
            "ok stop | 4 usage | 1,3 estimated | 1 1 1 2 | 0",
        ),
        (
            "5 empty text",
            with(vec![running("a", 1), running("", 2), running("b", 3)], end()),
            "ok stop | 3 usage | 1,2 perchunk | 1 1 1 3 | 0",
        ),
        ("5 empty text first", with(vec![running("", 2), running("b", 3)], end()), "ok stop | 3 usage | 3 perchunk | 1 2 2 2 | 0"),
        (
            "5 empty text, no counts",
            with(vec![content("a"), content(""), content("b")], end()),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 1 3 | 0",
        ),
        ("5 empty text to the end", with(vec![running("a", 1), running("", 2)], end()), "ok stop | 2 usage | 1 perchunk | 1 1 1 1 | 0"),
        (
            "6 usage last",
            with(vec![content("a"), content("b"), stop(), usage(2)], vec![s(DONE)]),
            "ok stop | 2 usage | 1,1 usage | 1 1 1 2 | 0",
        ),
        (
            "6 usage on the finish",
            vec![content("a"), stop().replace("}]}", "}],\"usage\":{\"completion_tokens\":1}}")],
            "ok stop | 1 usage | 1 usage | 1 1 1 1 | 0",
        ),
        ("7 cut before usage", vec![content("a"), content("b")], "truncated/no_terminator - | 2 chunks | 1,1 chunks | 1 1 1 2 | 0"),
        (
            "8 running usage, cut",
            vec![running("a", 1), running("b", 3)],
            "truncated/no_terminator - | 3 usage | 1,2 perchunk | 1 1 1 2 | 0",
        ),
        (
            "8 placeholders until the end",
            with(vec![running("a", 0), running("b", 0), usage(2)], end()),
            "ok stop | 2 usage | 1,1 usage | 1 1 1 2 | 0",
        ),
        (
            "8 counts that no answer has",
            with(
                vec![
                    running("a", 1),
                    running("b", u32::MAX),
                    running("c", 3).replace("\"index\":0", "\"index\":0,\"token_ids\":[1,2]"),
                    usage(4),
                ],
                end(),
            ),
            "ok stop | 4 usage | 1,2,1 estimated | 1 1 1 3 | 0",
        ),
        (
            "8 counts that go back",
            with(vec![running("a", 5), running("b", 2), usage(2)], end()),
            "ok stop | 2 usage | 1,1 usage | 1 1 1 2 | 0",
        ),
        (
            "10 comments first",
            with(vec![s(": keep-alive\n\n"), s(": OPENROUTER PROCESSING\n\n"), content("a")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 3 3 3 | 0",
        ),
        (
            "10 a named ping",
            with(vec![s("event: ping\ndata: {\"type\": \"ping\"}\n\n"), s("event: ping\n\n"), content("a")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 3 3 3 | 0",
        ),
        ("10 empty data", with(vec![s("data:\n\n"), content("a")], end()), "ok stop | 1 chunks | 1 chunks | 1 2 2 2 | 0"),
        (
            "11 a body behind blank lines",
            vec![
                s("\n\n"),
                s("\n  {\"choices\":[{\"message\":{\"content\":"),
                s("\"abc\"},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":3}}\n"),
            ],
            "ok stop | 3 usage | 3 perchunk | 1 3 3 3 | 0",
        ),
        (
            "11 a body without usage",
            vec![s("{\"choices\":[{\"message\":{\"content\":\"abc\"}}]}")],
            "ok - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            "11 a body that is cut",
            vec![s("{\"choices\":[{\"message\":{\"conte")],
            "protocol/bad_event - | - unknown |  unknown | 1 - - - | 0",
        ),
        ("11 a body without choices", vec![s("{\"answer\":42}")], "protocol/bad_event - | - unknown |  unknown | 1 - - - | 0"),
        (
            "12 an error inside",
            vec![content("a"), s("data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n"), s(DONE)],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            "12 an error as text",
            vec![content("a"), s("data: {\"error\":\"boom\"}\n\n")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            "12 vLLM's shape",
            vec![s("data: {\"object\":\"error\",\"message\":\"boom\",\"code\":400}\n\n"), s(DONE)],
            "protocol/stream_error - | - unknown |  unknown | 1 - - - | 0",
        ),
        (
            "12 Dynamo's shape",
            vec![s("data: {\"message\":\"boom\",\"type\":\"x\",\"code\":404}\n\n")],
            "protocol/stream_error - | - unknown |  unknown | 1 - - - | 0",
        ),
        (
            "12 an error event",
            vec![content("a"), s("event: error\ndata: boom\n\n")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            "12 Groq's shape",
            vec![s("data: {\"choices\":[],\"x_groq\":{\"id\":\"1\",\"error\":\"boom\"}}\n\n")],
            "protocol/stream_error - | - unknown |  unknown | 1 - - - | 0",
        ),
        (
            "12 finish reason error",
            vec![content("a"), stop().replace("stop", "error"), s(DONE)],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            "12 an error body under 200",
            vec![s("{\"error\":{\"message\":\"boom\"}}")],
            "protocol/stream_error - | - unknown |  unknown | 1 - - - | 0",
        ),
        ("12 a null error", with(vec![chat("\"content\":\"a\"", ",\"error\":null")], end()), "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        ("13 no end at all", vec![s(ROLE)], "truncated/no_terminator - | - unknown |  unknown | 1 - - - | 0"),
        (
            "13 cut inside an event",
            vec![content("a"), s("data: {\"choices\":[{\"del")],
            "truncated/no_terminator - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        ("13 nothing", vec![], "truncated/no_terminator - | - unknown |  unknown | - - - - | 0"),
        (
            "13 not a stream",
            vec![s("<html>\n\n<body>sign in</body>\n\n</html>")],
            "protocol/bad_event - | - unknown |  unknown | 1 - - - | 0",
        ),
        ("13 a finish without [DONE]", vec![content("a"), stop()], "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        ("13 [DONE] without a finish", vec![content("a"), s(DONE)], "ok - | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        ("13 a finish without a token", vec![s(ROLE), stop(), s(DONE)], "protocol/no_token stop | - unknown |  unknown | 1 - - - | 0"),
        (
            "14 data after [DONE]",
            vec![content("a"), format!("{}{DONE}{}", stop(), content("zzz")), s("data: {nonsense\n\n")],
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        ("15 without the space", with(vec![content("a").replace("data: ", "data:")], end()), "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (
            "15 CRLF, cut in two",
            with(
                vec![content("a").replace("\n\n", "\r\n\r"), content("b").replace("\n\n", "\r\n\r\n").replacen("data", "\ndata", 1)],
                end(),
            ),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 1 2 | 0",
        ),
        (
            "15 several data lines",
            with(vec![content("a").replace("\"choices\"", "\ndata: \"choices\"")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        ("15 a byte order mark", with(vec![format!("\u{feff}{}", content("a"))], end()), "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (
            "15 event and id fields",
            with(vec![content("a").replace("data:", "event: message\nid: 3\ndata:")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            "15 an event over two reads",
            with(vec![s("data: {\"choices\":[{\"delta\":{\"cont"), s("ent\":\"a\"}}]}\n\n")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 2 2 2 | 0",
        ),
        (
            "16 two events in a read",
            with(vec![content("a"), content("b") + &content("c"), content("d")], end()),
            "ok stop | 4 chunks | 1,1,1,1 chunks | 1 1 1 3 | 2",
        ),
        ("16 the role with the first token", with(vec![s(ROLE) + &content("a")], end()), "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 1!"),
        ("16 the last token with [DONE]", vec![content("a"), content("b") + DONE], "ok - | 2 chunks | 1,1 chunks | 1 1 1 2 | 1"),
        (
            "malformed JSON",
            vec![content("a"), s("data: {\"choices\":[}\n\n"), content("b")],
            "protocol/bad_event - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        ("not an object", vec![content("a"), s("data: null\n\n")], "protocol/bad_event - | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        ("a wrong type", vec![content("a"), chat("\"content\":7", "")], "protocol/bad_event - | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (
            "two choices",
            with(vec![content("a"), content("b").replace("\"index\":0", "\"index\":1"), usage(2)], end()),
            "ok stop | 2 usage | 1,1 usage | 1 1 1 2 | 0",
        ),
        (
            "two choices with running counts of each",
            with(vec![running("a", 1), running("b", 1).replace("\"index\":0", "\"index\":1"), running("c", 2), usage(3)], end()),
            "ok stop | 3 usage | 1,1,1 usage | 1 1 1 3 | 0",
        ),
    ];
    for (what, reads, expect) in &rows {
        check(what, &Chat, reads, expect);
    }
}

#[test]
fn completions_and_counts_of_kinds() {
    let text = |text: &str| format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}],\"usage\":null}}\n\n");
    let last = "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\
        \"prompt_tokens_details\":{\"cached_tokens\":8,\"cache_write_tokens\":1},\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\n\n";
    let record =
        check("completions", &Completions, &[text("a"), text("b"), last.into()], "ok length | 3 usage | 2,1 estimated | 1 1 1 2 | 0");
    let t = record.tokens;
    assert_eq!((t.input, t.cache_read, t.cache_write, t.reasoning), (Some(9), Some(8), Some(1), Some(2)));
    // A completion event in a chat answer has no `delta`: no text.
    check("chat", &Chat, &[text("a"), last.into()], "protocol/no_token length | 3 usage |  unknown | 1 - - - | 0");
}

#[test]
fn reasons_and_words() {
    use nomoat_core::record::FinishReason as F;
    for (word, reason) in [
        ("stop", F::Stop),
        ("length", F::Length),
        ("tool_calls", F::Tool),
        ("function_call", F::Tool),
        ("content_filter", F::ContentFilter),
        ("abort", F::Abort),
        ("cache_threshold", F::Other),
    ] {
        let reads = [content("a"), stop().replace("stop", word)];
        let pieces: Vec<&[u8]> = reads.iter().map(String::as_bytes).collect();
        let (outcome, _) = decode(&Chat, &pieces, How { skeleton: true, one_read: false });
        assert_eq!(outcome.record.finish, Some(reason), "{word}");
    }
}

#[test]
fn a_decoder_is_used_again() {
    let mut decoder = nomoat_http::stream::StreamDecoder::new(&Chat);
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
