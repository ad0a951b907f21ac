//! Cases of llama.cpp's own dialect.

use super::{Row, error_body, s};

/// A piece of llama.cpp's own stream.
fn piece(text: &str, output: u32) -> String {
    format!(
        "data: {{\"index\":0,\"content\":\"{text}\",\"tokens\":[],\"stop\":false,\"id_slot\":-1,\"tokens_predicted\":{output},\"tokens_evaluated\":9}}\n\n"
    )
}

/// Its end.
fn stopped(output: u32, why: &str) -> String {
    format!(
        "data: {{\"index\":0,\"content\":\"\",\"tokens\":[],\"stop\":true,\"tokens_predicted\":{output},\"tokens_evaluated\":9,\"tokens_cached\":{},{why},\"timings\":{{\"cache_n\":8,\"prompt_ms\":3.5}}}}\n\n",
        output + 8
    )
}

pub(super) fn rows() -> Vec<Row> {
    let limit = |output: u32| stopped(output, "\"stop_type\":\"limit\"");
    let other = |event: String| event.replace("\"index\":0", "\"index\":1");
    vec![
        (
            1,
            "how far the prompt is",
            vec![
                piece("", 0).replace("\"stop\":false", "\"stop\":false,\"prompt_progress\":{\"total\":9,\"processed\":4}"),
                piece("a", 1),
                limit(1),
            ],
            "ok length | 1 usage | 1 per_chunk | 1 2 2 2 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            4,
            "several tokens in one",
            vec![piece("a", 1), piece("bcd", 4), limit(4)],
            "ok length | 4 usage | 1,3 per_chunk | 1 1 1 2 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            5,
            "half of a character",
            vec![piece("a", 1), piece("", 2), piece("é", 3), limit(3)],
            "ok length | 3 usage | 1,2 per_chunk | 1 1 1 3 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            6,
            "counts with the end alone, by an older server",
            vec![
                piece("a", 1).replace(",\"tokens_predicted\":1,\"tokens_evaluated\":9", ""),
                piece("b", 2).replace(",\"tokens_predicted\":2,\"tokens_evaluated\":9", ""),
                limit(2),
            ],
            "ok length | 2 usage | 1,1 usage | 1 1 1 2 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            7,
            "cut before the end",
            vec![piece("a", 1), piece("b", 2)],
            "truncated/no_terminator - | 2 usage | 1,1 per_chunk | 1 1 1 2 | 0 | 9 - - -",
        ),
        (
            10,
            "comments first",
            vec![s(": hi\n\n"), piece("a", 1), limit(1)],
            "ok length | 1 usage | 1 per_chunk | 1 2 2 2 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            11,
            "a body behind blank lines",
            vec![s("\n"), limit(3).replace("data: ", "").replace("\"content\":\"\"", "\"content\":\"abc\"")],
            "ok length | 3 usage | 3 per_chunk | 1 2 2 2 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (11, "a body without content", vec![s("{\"stop\":true}")], "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0"),
        (
            12,
            "an error inside",
            vec![piece("a", 1), s("data: {\"error\":{\"code\":500,\"message\":\"boom\",\"type\":\"server_error\"}}\n\n")],
            "protocol/stream_error - | 1 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 - - -",
        ),
        (12, "an error body under 200", error_body(), "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0"),
        (
            13,
            "an end without a token",
            vec![limit(0)],
            "protocol/no_token length | 0 usage | - unknown | 1 - - - | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            14,
            "no terminator, by design",
            vec![piece("a", 1), limit(1)],
            "ok length | 1 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            16,
            "two events in a read",
            vec![piece("a", 1) + &piece("b", 2), limit(2)],
            "ok length | 2 usage | 1,1 per_chunk | 1 1 1 1 | 2! | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            20,
            "two choices, each with its own count",
            vec![piece("a", 1), other(piece("b", 1)), piece("c", 2), limit(2), other(piece("d", 2)), other(limit(2))],
            "ok length | 4 usage | 1,1,1,1 per_chunk | 1 1 1 5 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            21,
            "eos",
            vec![piece("a", 1), stopped(2, "\"stop_type\":\"eos\"")],
            "ok stop | 2 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            21,
            "word",
            vec![piece("a", 1), stopped(1, "\"stop_type\":\"word\"")],
            "ok stop | 1 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            21,
            "a limit, as an older server says it",
            vec![piece("a", 1), stopped(1, "\"stopped_limit\":true,\"stopped_eos\":false")],
            "ok length | 1 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            21,
            "a reason that nobody knows",
            vec![piece("a", 1), stopped(1, "\"stop_type\":\"none\"")],
            "ok other | 1 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
        (
            23,
            "a stall behind the first token",
            vec![piece("a", 1), s(": wait\n\n"), piece("b", 2), limit(2)],
            "ok length | 2 usage | 1,1 per_chunk | 1 1 1 3 | 0 | 9 8 - - | {\"timings\":{\"cache_n\":8,\"prompt_ms\":3.5}}",
        ),
    ]
}
