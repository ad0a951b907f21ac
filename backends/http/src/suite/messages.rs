//! Cases of Anthropic's messages.

use super::{Row, s, typed};

/// The beginning of a message: nine prompt tokens, of which so many belong to a cache.
fn started(cached: &str) -> String {
    typed(
        "message_start",
        &format!(
            "\"message\":{{\"id\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{{\"input_tokens\":4{cached},\"output_tokens\":1}}}}"
        ),
    )
}

fn block(kind: &str, name: &str, text: &str) -> String {
    typed("content_block_delta", &format!("\"index\":0,\"delta\":{{\"type\":\"{kind}\",\"{name}\":\"{text}\"}}"))
}

fn written(text: &str) -> String {
    block("text_delta", "text", text)
}

/// The end of a message.
fn closed(reason: &str, usage: &str) -> Vec<String> {
    vec![
        typed("message_delta", &format!("\"delta\":{{\"stop_reason\":\"{reason}\",\"stop_sequence\":null}},\"usage\":{{{usage}}}")),
        typed("message_stop", ""),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let start = || started(",\"cache_read_input_tokens\":3,\"cache_creation_input_tokens\":2");
    let open = || typed("content_block_start", "\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
    let ping = || typed("ping", "");
    let end = |reads: Vec<String>, reason: &str, usage: &str| reads.into_iter().chain(closed(reason, usage)).collect::<Vec<_>>();
    vec![
        (
            1,
            "events before the first text",
            end(vec![start(), open(), written(""), written("abc")], "end_turn", "\"output_tokens\":3"),
            "ok stop | 3 usage | 3 estimated | 1 4 4 4 | 0 | 9 3 2 -",
        ),
        (
            2,
            "thinking",
            end(
                vec![start(), block("thinking_delta", "thinking", "hm"), block("signature_delta", "signature", "c2ln"), written("a")],
                "end_turn",
                "\"output_tokens\":2",
            ),
            "ok stop | 2 usage | 1,1 usage | 1 2 4 4 | 0 | 9 3 2 -",
        ),
        (
            4,
            "by bytes of text",
            end(vec![start(), written("a"), written("bcd")], "end_turn", "\"output_tokens\":4"),
            "ok stop | 4 usage | 1,3 estimated | 1 2 2 3 | 0 | 9 3 2 -",
        ),
        (
            5,
            "an empty text",
            end(vec![start(), written("a"), written(""), written("b")], "end_turn", "\"output_tokens\":2"),
            "ok stop | 2 usage | 1,1 usage | 1 2 2 4 | 0 | 9 3 2 -",
        ),
        (7, "cut before usage", vec![written("a"), written("b")], "truncated/no_terminator - | 2 chunks | 1,1 chunks | 1 1 1 2 | 0"),
        (
            7,
            "cut behind the first usage",
            vec![start(), written("a"), written("b")],
            "truncated/no_terminator - | 1 usage | 1,0 estimated | 1 2 2 3 | 0 | 9 3 2 -",
        ),
        (
            9,
            "usage that is cumulative",
            end(
                vec![
                    started(""),
                    written("a"),
                    typed(
                        "message_delta",
                        "\"delta\":{\"stop_reason\":null},\"usage\":{\"input_tokens\":4,\"cache_read_input_tokens\":5,\"output_tokens\":1}",
                    ),
                    written("b"),
                ],
                "end_turn",
                "\"input_tokens\":4,\"cache_read_input_tokens\":5,\"cache_creation_input_tokens\":0,\"output_tokens\":2",
            ),
            "ok stop | 2 usage | 1,1 usage | 1 2 2 4 | 0 | 9 5 0 -",
        ),
        (
            9,
            "a cache told once, at the beginning",
            end(vec![start(), written("a")], "end_turn", "\"input_tokens\":4,\"output_tokens\":1"),
            "ok stop | 1 usage | 1 usage | 1 2 2 2 | 0 | 9 3 2 -",
        ),
        (
            10,
            "pings first",
            end(
                vec![ping(), s("event: ping\ndata: {\"type\": \"ping\"}\n\n"), start(), ping(), written("a"), ping()],
                "end_turn",
                "\"output_tokens\":1",
            ),
            "ok stop | 1 usage | 1 usage | 1 5 5 5 | 0 | 9 3 2 -",
        ),
        (
            11,
            "a body behind blank lines",
            vec![
                s("\n\n"),
                s(
                    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"x\"},{\"type\":\"text\",\"text\":\"abc\"}],\
                   \"stop_reason\":\"max_tokens\",\"usage\":{\"input_tokens\":4,\"cache_read_input_tokens\":5,\"output_tokens\":3}}",
                ),
            ],
            "ok length | 3 usage | 3 per_chunk | 1 2 2 2 | 0 | 9 5 - -",
        ),
        (
            11,
            "a body with a tool",
            vec![s(
                "{\"type\":\"message\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"x\":1}}],\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":9,\"output_tokens\":3}}",
            )],
            "ok tool | 3 usage | 3 per_chunk | 1 1 1 1 | 0 | 9 - - -",
        ),
        (11, "a body without content", vec![s("{\"type\":\"message\"}")], "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0"),
        (
            12,
            "an error event",
            vec![start(), written("a"), typed("error", "\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}")],
            "protocol/stream_error - | 1 usage | 1 usage | 1 2 2 2 | 0 | 9 3 2 -",
        ),
        (
            12,
            "an error event without a name",
            vec![written("a"), s("data: {\"type\":\"error\",\"error\":{\"message\":\"boom\"}}\n\n")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            12,
            "an error body under 200",
            vec![s("{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"boom\"}}")],
            "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0",
        ),
        (13, "no end at all", vec![start(), open()], "truncated/no_terminator - | 1 usage | - unknown | 1 - - - | 0 | 9 3 2 -"),
        (
            14,
            "data behind the end",
            end(vec![start(), written("a")], "end_turn", "\"output_tokens\":1")
                .into_iter()
                .chain([written("zzz"), s("data: {nonsense\n\n")])
                .collect(),
            "ok stop | 1 usage | 1 usage | 1 2 2 2 | 0 | 9 3 2 -",
        ),
        (
            15,
            "types without names",
            end(vec![start(), written("a").replace("event: content_block_delta\n", "")], "end_turn", "\"output_tokens\":1"),
            "ok stop | 1 usage | 1 usage | 1 2 2 2 | 0 | 9 3 2 -",
        ),
        (
            15,
            "a type that nobody knows",
            end(vec![start(), typed("daydream", "\"delta\":{\"text\":\"x\"}"), written("a")], "end_turn", "\"output_tokens\":1"),
            "ok stop | 1 usage | 1 usage | 1 3 3 3 | 0 | 9 3 2 -",
        ),
        (
            16,
            "the beginning with the first text",
            end(vec![start() + &open() + &written("a")], "end_turn", "\"output_tokens\":1"),
            "ok stop | 1 usage | 1 usage | 1 1 1 1 | 1! | 9 3 2 -",
        ),
        (
            20,
            "a text, then a tool",
            end(
                vec![
                    start(),
                    written("a"),
                    typed("content_block_stop", "\"index\":0"),
                    typed(
                        "content_block_start",
                        "\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}",
                    ),
                    block("input_json_delta", "partial_json", ""),
                    block("input_json_delta", "partial_json", "{\\\"x\\\""),
                    block("input_json_delta", "partial_json", ":1}"),
                ],
                "tool_use",
                "\"output_tokens\":3",
            ),
            "ok tool | 3 usage | 1,1,1 usage | 1 2 2 7 | 0 | 9 3 2 -",
        ),
        (21, "max_tokens", end(vec![written("a")], "max_tokens", "\"output_tokens\":1"), "ok length | 1 usage | 1 usage | 1 1 1 1 | 0"),
        (21, "stop_sequence", end(vec![written("a")], "stop_sequence", "\"output_tokens\":1"), "ok stop | 1 usage | 1 usage | 1 1 1 1 | 0"),
        (21, "refusal", end(vec![written("a")], "refusal", "\"output_tokens\":1"), "ok content_filter | 1 usage | 1 usage | 1 1 1 1 | 0"),
        (21, "pause_turn", end(vec![written("a")], "pause_turn", "\"output_tokens\":1"), "ok other | 1 usage | 1 usage | 1 1 1 1 | 0"),
        (
            23,
            "a stall behind the first token",
            end(vec![start(), written("a"), ping(), ping(), written("b")], "end_turn", "\"output_tokens\":2"),
            "ok stop | 2 usage | 1,1 usage | 1 2 2 5 | 0 | 9 3 2 -",
        ),
    ]
}

pub(super) fn rejected() -> Vec<Row> {
    let body = "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down\"}}";
    vec![(22, "too many requests", vec![s(body)], "rejected/http_4xx - | - unknown | - unknown | 1 - - - | 0")]
}
