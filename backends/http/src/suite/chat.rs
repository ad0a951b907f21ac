//! Cases of OpenAI's chat, and of the engines that speak it.

use super::{DONE, Row, s};

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

pub(super) fn usage(output: u32) -> String {
    format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{output}}}}}\n\n")
}

/// An event with numbers of a vendor, and no choice.
fn vendor(member: &str) -> String {
    format!("data: {{\"choices\":[],{member}}}\n\n")
}

fn stop() -> String {
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".into()
}

const ROLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";

pub(super) fn rows() -> Vec<Row> {
    let end = || vec![stop(), s(DONE)];
    let with = |mut reads: Vec<String>, rest: Vec<String>| {
        reads.extend(rest);
        reads
    };
    vec![
        (1, "role first", with(vec![s(ROLE), content("a")], end()), "ok stop | 1 chunks | 1 chunks | 1 2 2 2 | 0"),
        (
            1,
            "null content",
            with(vec![chat("\"role\":\"assistant\",\"content\":null", ""), content("a")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 2 2 2 | 0",
        ),
        (
            2,
            "reasoning",
            with(vec![chat("\"reasoning\":\"hm\"", ""), content("a")], end()),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 2 2 | 0",
        ),
        (
            2,
            "reasoning_content",
            with(vec![chat("\"reasoning_content\":\"hm\",\"content\":null", ""), content("a")], end()),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 2 2 | 0",
        ),
        (2, "thinking", with(vec![chat("\"thinking\":\"hm\"", ""), content("a")], end()), "ok stop | 2 chunks | 1,1 chunks | 1 1 2 2 | 0"),
        (2, "reasoning only", with(vec![chat("\"reasoning\":\"hm\"", "")], end()), "ok stop | 1 chunks | 1 chunks | 1 1 - 1 | 0"),
        (
            2,
            "both names at once",
            with(vec![chat("\"reasoning\":\"hm\",\"reasoning_content\":\"hm\"", "")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 - 1 | 0",
        ),
        (
            3,
            "both in one",
            with(vec![chat("\"reasoning\":\"hm\"", ""), chat("\"reasoning\":\"h\",\"content\":\"a\"", "")], end()),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 2 2 | 0",
        ),
        (
            20,
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
            4,
            "several tokens in one",
            with(vec![running("a", 1), running("bcd", 4), running("e", 5)], end()),
            "ok stop | 5 usage | 1,3,1 per_chunk | 1 1 1 3 | 0 | 7 - - -",
        ),
        (
            4,
            "by token ids",
            with(
                vec![
                    chat("\"content\":\"a\"", "").replace("\"index\":0", "\"index\":0,\"token_ids\":[1,2]"),
                    chat("\"content\":\"b\"", "").replace("\"index\":0", "\"index\":0,\"token_ids\":[3]"),
                ],
                end(),
            ),
            "ok stop | 3 per_chunk | 2,1 per_chunk | 1 1 1 2 | 0",
        ),
        (
            4,
            "by log probabilities",
            with(
                vec![
                    chat("\"content\":\"ab\"", "")
                        .replace("\"index\":0", "\"index\":0,\"logprobs\":{\"content\":[{\"logprob\":-1},{\"logprob\":-2.5}]}"),
                    chat("\"content\":\"c\"", "").replace("\"index\":0", "\"index\":0,\"logprobs\":{\"content\":[{\"logprob\":-0.5}]}"),
                    chat("\"content\":\"def\"", "").replace(
                        "\"index\":0",
                        "\"index\":0,\"logprobs\":{\"content\":[{\"logprob\":-1},{\"logprob\":-2.5},{\"logprob\":0}]}",
                    ),
                ],
                end(),
            ),
            "ok stop | 6 per_chunk | 2,1,3 per_chunk | 1 1 1 3 | 0",
        ),
        (
            4,
            "by ids where there are log probabilities too",
            with(
                vec![
                    chat("\"content\":\"ab\"", "")
                        .replace("\"index\":0", "\"index\":0,\"token_ids\":[1,2],\"logprobs\":{\"content\":[{\"logprob\":-1}]}"),
                    chat("\"content\":\"c\"", "").replace("\"index\":0", "\"index\":0,\"token_ids\":[3],\"logprobs\":{\"content\":[]}"),
                ],
                end(),
            ),
            "ok stop | 3 per_chunk | 2,1 per_chunk | 1 1 1 2 | 0",
        ),
        (
            4,
            "log probabilities of no token",
            with(
                vec![
                    chat("\"content\":\"ab\"", "").replace("\"index\":0", "\"index\":0,\"logprobs\":{\"content\":[]}"),
                    chat("\"content\":\"c\"", "").replace("\"index\":0", "\"index\":0,\"logprobs\":{\"content\":null}"),
                    chat("\"content\":\"d\"", "").replace("\"index\":0", "\"index\":0,\"logprobs\":[7]"),
                    usage(3),
                ],
                end(),
            ),
            "ok stop | 3 usage | 1,1,1 usage | 1 1 1 3 | 0 | 7 - - -",
        ),
        (
            4,
            "by bytes of text",
            with(vec![content("a"), content("bcd"), usage(4)], end()),
            "ok stop | 4 usage | 1,3 estimated | 1 1 1 2 | 0 | 7 - - -",
        ),
        (
            5,
            "empty text",
            with(vec![running("a", 1), running("", 2), running("b", 3)], end()),
            "ok stop | 3 usage | 1,2 per_chunk | 1 1 1 3 | 0 | 7 - - -",
        ),
        (
            5,
            "empty text first",
            with(vec![running("", 2), running("b", 3)], end()),
            "ok stop | 3 usage | 3 per_chunk | 1 2 2 2 | 0 | 7 - - -",
        ),
        (
            5,
            "empty text, no counts",
            with(vec![content("a"), content(""), content("b")], end()),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 1 3 | 0",
        ),
        (
            5,
            "empty text to the end",
            with(vec![running("a", 1), running("", 2)], end()),
            "ok stop | 2 usage | 1 per_chunk | 1 1 1 1 | 0 | 7 - - -",
        ),
        (
            6,
            "usage last",
            with(vec![content("a"), content("b"), stop(), usage(2)], vec![s(DONE)]),
            "ok stop | 2 usage | 1,1 usage | 1 1 1 2 | 0 | 7 - - -",
        ),
        (
            6,
            "usage on the finish",
            vec![content("a"), stop().replace("}]}", "}],\"usage\":{\"completion_tokens\":1}}")],
            "ok stop | 1 usage | 1 usage | 1 1 1 1 | 0",
        ),
        (7, "cut before usage", vec![content("a"), content("b")], "truncated/no_terminator - | 2 chunks | 1,1 chunks | 1 1 1 2 | 0"),
        (
            8,
            "running usage, cut",
            vec![running("a", 1), running("b", 3)],
            "truncated/no_terminator - | 3 usage | 1,2 per_chunk | 1 1 1 2 | 0 | 7 - - -",
        ),
        (
            8,
            "placeholders until the end",
            with(vec![running("a", 0), running("b", 0), usage(2)], end()),
            "ok stop | 2 usage | 1,1 usage | 1 1 1 2 | 0 | 7 - - -",
        ),
        (
            8,
            "counts that no answer has",
            with(
                vec![
                    running("a", 1),
                    running("b", u32::MAX),
                    running("c", 3).replace("\"index\":0", "\"index\":0,\"token_ids\":[1,2]"),
                    usage(4),
                ],
                end(),
            ),
            "ok stop | 4 usage | 1,2,1 estimated | 1 1 1 3 | 0 | 7 - - -",
        ),
        (
            8,
            "counts that go back",
            with(vec![running("a", 5), running("b", 2), usage(2)], end()),
            "ok stop | 2 usage | 1,1 usage | 1 1 1 2 | 0 | 7 - - -",
        ),
        (
            10,
            "comments first",
            with(vec![s(": keep-alive\n\n"), s(": OPENROUTER PROCESSING\n\n"), content("a")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 3 3 3 | 0",
        ),
        (
            10,
            "a named ping",
            with(vec![s("event: ping\ndata: {\"type\": \"ping\"}\n\n"), s("event: ping\n\n"), content("a")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 3 3 3 | 0",
        ),
        (10, "empty data", with(vec![s("data:\n\n"), content("a")], end()), "ok stop | 1 chunks | 1 chunks | 1 2 2 2 | 0"),
        (
            11,
            "a body behind blank lines",
            vec![
                s("\n\n"),
                s("\n  {\"choices\":[{\"message\":{\"content\":"),
                s("\"abc\"},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":3}}\n"),
            ],
            "ok stop | 3 usage | 3 per_chunk | 1 3 3 3 | 0",
        ),
        (
            11,
            "a body without usage",
            vec![s("{\"choices\":[{\"message\":{\"content\":\"abc\"}}]}")],
            "ok - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            11,
            "a body that is cut",
            vec![s("{\"choices\":[{\"message\":{\"conte")],
            "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0",
        ),
        (11, "a body without choices", vec![s("{\"answer\":42}")], "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0"),
        (
            12,
            "an error inside",
            vec![content("a"), s("data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n"), s(DONE)],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            12,
            "an error as text",
            vec![content("a"), s("data: {\"error\":\"boom\"}\n\n")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            12,
            "vLLM's shape",
            vec![s("data: {\"object\":\"error\",\"message\":\"boom\",\"code\":400}\n\n"), s(DONE)],
            "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0",
        ),
        (
            12,
            "Dynamo's shape",
            vec![s("data: {\"message\":\"boom\",\"type\":\"x\",\"code\":404}\n\n")],
            "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0",
        ),
        (
            12,
            "an error event",
            vec![content("a"), s("event: error\ndata: boom\n\n")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            12,
            "Groq's shape",
            vec![s("data: {\"choices\":[],\"x_groq\":{\"id\":\"1\",\"error\":\"boom\"}}\n\n")],
            "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0",
        ),
        (
            12,
            "finish reason error",
            vec![content("a"), stop().replace("stop", "error"), s(DONE)],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            12,
            "an error body under 200",
            vec![s("{\"error\":{\"message\":\"boom\"}}")],
            "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0",
        ),
        (
            12,
            "a null error",
            with(vec![chat("\"content\":\"a\"", ",\"error\":null")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (13, "no end at all", vec![s(ROLE)], "truncated/no_terminator - | - unknown | - unknown | 1 - - - | 0"),
        (
            13,
            "cut inside an event",
            vec![content("a"), s("data: {\"choices\":[{\"del")],
            "truncated/no_terminator - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (13, "nothing", vec![], "truncated/no_terminator - | - unknown | - unknown | - - - - | 0"),
        (
            13,
            "not a stream",
            vec![s("<html>\n\n<body>sign in</body>\n\n</html>")],
            "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0",
        ),
        (13, "a finish without [DONE]", vec![content("a"), stop()], "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (13, "[DONE] without a finish", vec![content("a"), s(DONE)], "ok - | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (13, "a finish without a token", vec![s(ROLE), stop(), s(DONE)], "protocol/no_token stop | - unknown | - unknown | 1 - - - | 0"),
        (
            14,
            "data after [DONE]",
            vec![content("a"), format!("{}{DONE}{}", stop(), content("zzz")), s("data: {nonsense\n\n")],
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            15,
            "without the space",
            with(vec![content("a").replace("data: ", "data:")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            15,
            "CRLF, cut in two",
            with(
                vec![content("a").replace("\n\n", "\r\n\r"), content("b").replace("\n\n", "\r\n\r\n").replacen("data", "\ndata", 1)],
                end(),
            ),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 1 2 | 0",
        ),
        (
            15,
            "several data lines",
            with(vec![content("a").replace("\"choices\"", "\ndata: \"choices\"")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (15, "a byte order mark", with(vec![format!("\u{feff}{}", content("a"))], end()), "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (
            15,
            "event and id fields",
            with(vec![content("a").replace("data:", "event: message\nid: 3\ndata:")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            15,
            "an event over two reads",
            with(vec![s("data: {\"choices\":[{\"delta\":{\"cont"), s("ent\":\"a\"}}]}\n\n")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 2 2 2 | 0",
        ),
        (
            16,
            "two events in a read",
            with(vec![content("a"), content("b") + &content("c"), content("d")], end()),
            "ok stop | 4 chunks | 1,1,1,1 chunks | 1 1 1 3 | 2",
        ),
        (16, "the role with the first token", with(vec![s(ROLE) + &content("a")], end()), "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 1!"),
        (16, "the last token with [DONE]", vec![content("a"), content("b") + DONE], "ok - | 2 chunks | 1,1 chunks | 1 1 1 2 | 1"),
        (
            15,
            "malformed JSON",
            vec![content("a"), s("data: {\"choices\":[}\n\n"), content("b")],
            "protocol/bad_event - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (15, "not an object", vec![content("a"), s("data: null\n\n")], "protocol/bad_event - | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (15, "a wrong type", vec![content("a"), chat("\"content\":7", "")], "protocol/bad_event - | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (
            20,
            "two choices",
            with(vec![content("a"), content("b").replace("\"index\":0", "\"index\":1"), usage(2)], end()),
            "ok stop | 2 usage | 1,1 usage | 1 1 1 2 | 0 | 7 - - -",
        ),
        (
            20,
            "two choices with running counts of each",
            with(vec![running("a", 1), running("b", 1).replace("\"index\":0", "\"index\":1"), running("c", 2), usage(3)], end()),
            "ok stop | 3 usage | 1,1,1 usage | 1 1 1 3 | 0 | 7 - - -",
        ),
        (
            8,
            "usage on every event, and a last one",
            with(vec![running("a", 1), running("b", 2), usage(2)], end()),
            "ok stop | 2 usage | 1,1 per_chunk | 1 1 1 2 | 0 | 7 - - -",
        ),
        (
            14,
            "no terminator, as transformers' server ends",
            vec![content("a"), stop().replace("}]}", "}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}")],
            "ok stop | 1 usage | 1 usage | 1 1 1 1 | 0 | 7 - - -",
        ),
        (
            15,
            "a comment between the lines of an event",
            with(vec![content("a").replace("data:", ": hi\ndata:")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 1!",
        ),
        (
            15,
            "carriage returns alone",
            with(vec![content("a").replace('\n', "\r"), content("b").replace('\n', "\r")], end()),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 1 2 | 0",
        ),
        (
            18,
            "padding",
            with(
                vec![
                    chat("\"content\":\"a\"", ",\"obfuscation\":\"xxxxxxxx\""),
                    chat("\"content\":\"bcd\"", ",\"obfuscation\":\"x\""),
                    usage(4),
                ],
                end(),
            ),
            "ok stop | 4 usage | 1,3 estimated | 1 1 1 2 | 0 | 7 - - -",
        ),
        (
            19,
            "time_info",
            with(
                vec![content("a"), vendor("\"time_info\":{\"queue_time\":0.001,\"total_time\":0.02,\"created\":1,\"who\":\"me\"}")],
                end(),
            ),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0 | - - - - | {\"time_info\":{\"queue_time\":0.001,\"total_time\":0.02,\"created\":1}}",
        ),
        (
            19,
            "x_groq",
            with(
                vec![
                    content("a"),
                    vendor("\"x_groq\":{\"id\":\"1\",\"usage\":{\"queue_time\":0.5,\"prompt_tokens\":7,\"completion_tokens\":1}}"),
                ],
                end(),
            ),
            "ok stop | 1 usage | 1 usage | 1 1 1 1 | 0 | 7 - - - | {\"x_groq.usage\":{\"queue_time\":0.5,\"prompt_tokens\":7,\"completion_tokens\":1}}",
        ),
        (
            19,
            "nvext",
            with(vec![content("a"), vendor("\"nvext\":{\"timing\":{\"ttft_ms\":3.5},\"worker_id\":{\"prefill_worker_id\":1}}")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0 | - - - - | {\"nvext.timing\":{\"ttft_ms\":3.5}}",
        ),
        (
            19,
            "metrics",
            with(vec![content("a"), vendor("\"metrics\":{\"time_to_first_token_ms\":62.797,\"mean_itl_ms\":null}")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0 | - - - - | {\"metrics\":{\"time_to_first_token_ms\":62.797}}",
        ),
        (
            19,
            "timings on every event",
            with(
                vec![
                    chat("\"content\":\"a\"", ",\"timings\":{\"predicted_n\":1}"),
                    chat("\"content\":\"b\"", ",\"timings\":{\"predicted_n\":2}"),
                ],
                end(),
            ),
            "ok stop | 2 chunks | 1,1 chunks | 1 1 1 2 | 0 | - - - - | {\"timings\":{\"predicted_n\":2}}",
        ),
        (
            19,
            "sglext",
            with(vec![content("a"), vendor("\"sglext\":{\"cached_tokens_details\":{\"device\":4,\"host\":0,\"storage\":null}}")], end()),
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0 | - - - - | {\"sglext\":{\"cached_tokens_details\":{\"device\":4,\"host\":0}}}",
        ),
        (
            20,
            "two tools at once",
            with(
                vec![
                    chat(
                        "\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}},{\"index\":1,\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]",
                        "",
                    ),
                    chat(
                        "\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}},{\"index\":1,\"function\":{\"arguments\":\"[]\"}}]",
                        "",
                    ),
                    stop().replace("stop", "tool_calls"),
                ],
                vec![usage(4), s(DONE)],
            ),
            "ok tool | 4 usage | 4 estimated | 1 2 2 2 | 0 | 7 - - -",
        ),
        (21, "length", vec![content("a"), stop().replace("stop", "length"), s(DONE)], "ok length | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (
            21,
            "max_tokens",
            vec![content("a"), stop().replace("stop", "max_tokens"), s(DONE)],
            "ok length | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            21,
            "tool_calls",
            vec![content("a"), stop().replace("stop", "tool_calls"), s(DONE)],
            "ok tool | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            21,
            "function_call",
            vec![content("a"), stop().replace("stop", "function_call"), s(DONE)],
            "ok tool | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            21,
            "content_filter",
            vec![content("a"), stop().replace("stop", "content_filter"), s(DONE)],
            "ok content_filter | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (21, "abort", vec![content("a"), stop().replace("stop", "abort"), s(DONE)], "ok abort | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (
            21,
            "cache_threshold",
            vec![content("a"), stop().replace("stop", "cache_threshold"), s(DONE)],
            "ok other | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            23,
            "a stall behind the first token",
            with(vec![running("a", 1), s(": wait\n\n"), s(": wait\n\n"), s(": wait\n\n"), running("b", 2), running("c", 3)], end()),
            "ok stop | 3 usage | 1,1,1 per_chunk | 1 1 1 6 | 0 | 7 - - -",
        ),
        (
            24,
            "usage says more than the ids",
            with(
                vec![
                    chat("\"content\":\"a\"", "").replace("\"index\":0", "\"index\":0,\"token_ids\":[1]"),
                    chat("\"content\":\"b\"", "").replace("\"index\":0", "\"index\":0,\"token_ids\":[2]"),
                    usage(9),
                ],
                end(),
            ),
            "ok stop | 9 usage | 1,1 per_chunk | 1 1 1 2 | 0 | 7 - - -",
        ),
    ]
}

/// Not really compressed: what says so is not looked at any further.
pub(super) fn compressed() -> Vec<Row> {
    vec![(17, "compressed", vec![content("a"), DONE.into()], "protocol/encoded - | - unknown | - unknown | 1 - - - | 0")]
}

pub(super) fn rejected() -> Vec<Row> {
    let body = "{\"error\":{\"message\":\"slow down\",\"type\":\"rate_limit_exceeded\"}}";
    vec![(22, "too many requests", vec![body.into()], "rejected/http_4xx - | - unknown | - unknown | 1 - - - | 0")]
}

pub(super) fn asleep() -> Vec<Row> {
    let body = "{\"error\":{\"message\":\"the model is asleep and was woken; try again\"}}";
    vec![(22, "a model that sleeps", vec![body.into()], "http/http_5xx - | - unknown | - unknown | 1 - - - | 0")]
}
