//! Cases of Text Generation Inference.

use super::{Row, error_body, s};

/// A token of Text Generation Inference.
fn token(text: &str, special: bool, rest: &str) -> String {
    format!("data:{{\"index\":1,\"token\":{{\"id\":7,\"text\":\"{text}\",\"logprob\":-0.5,\"special\":{special}}},{rest}}}\n\n")
}

pub(super) fn rows() -> Vec<Row> {
    let open = "\"generated_text\":null,\"details\":null";
    let more = |text: &str| token(text, false, open);
    let end = |text: &str, special: bool, reason: &str, n: u32| {
        token(
            text,
            special,
            &format!(
                "\"generated_text\":\"whole\",\"details\":{{\"finish_reason\":\"{reason}\",\"generated_tokens\":{n},\"input_length\":9,\"seed\":null}}"
            ),
        )
    };
    vec![
        (
            4,
            "one event is one token",
            vec![more("a"), more("bcd"), end("e", false, "length", 3)],
            "ok length | 3 usage | 1,1,1 per_chunk | 1 1 1 3 | 0 | 9 - - -",
        ),
        (
            5,
            "half of a character",
            vec![more("a"), more(""), end("é", false, "length", 3)],
            "ok length | 3 usage | 1,2 per_chunk | 1 1 1 3 | 0 | 9 - - -",
        ),
        (
            5,
            "a special token at the end",
            vec![more("a"), end("</s>", true, "eos_token", 2)],
            "ok stop | 2 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 - - -",
        ),
        (
            7,
            "no details",
            vec![more("a"), token("b", false, "\"generated_text\":\"ab\",\"details\":null")],
            "ok - | 2 per_chunk | 1,1 per_chunk | 1 1 1 2 | 0",
        ),
        (7, "cut before the end", vec![more("a"), more("b")], "truncated/no_terminator - | 2 per_chunk | 1,1 per_chunk | 1 1 1 2 | 0"),
        (
            10,
            "comments first",
            vec![s(":\n\n"), s(":keep-alive\n\n"), end("a", false, "length", 1)],
            "ok length | 1 usage | 1 per_chunk | 1 3 3 3 | 0 | 9 - - -",
        ),
        (
            11,
            "a body behind blank lines",
            vec![
                s("\n\n"),
                s(
                    "{\"generated_text\":\"abc\",\"details\":{\"finish_reason\":\"length\",\"generated_tokens\":3,\"prefill\":[],\"tokens\":[]}}",
                ),
            ],
            "ok length | 3 usage | 3 per_chunk | 1 2 2 2 | 0",
        ),
        (11, "a body without a text", vec![s("{\"details\":null}")], "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0"),
        (
            12,
            "an error inside",
            vec![more("a"), s("data:{\"error\":\"Request failed during generation\",\"error_type\":\"generation\"}\n\n")],
            "protocol/stream_error - | 1 per_chunk | 1 per_chunk | 1 1 1 1 | 0",
        ),
        (12, "an error body under 200", error_body(), "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0"),
        (13, "no end at all", vec![s(":\n\n")], "truncated/no_terminator - | - unknown | - unknown | 1 - - - | 0"),
        (
            14,
            "data behind the end",
            vec![end("a", false, "length", 1), more("zzz")],
            "ok length | 1 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 - - -",
        ),
        (
            16,
            "two events in a read",
            vec![more("a") + &more("b"), end("c", false, "length", 3)],
            "ok length | 3 usage | 1,1,1 per_chunk | 1 1 1 2 | 2! | 9 - - -",
        ),
        (
            21,
            "stop_sequence",
            vec![more("a"), end("b", false, "stop_sequence", 2)],
            "ok stop | 2 usage | 1,1 per_chunk | 1 1 1 2 | 0 | 9 - - -",
        ),
        (
            23,
            "a stall behind the first token",
            vec![more("a"), s(":\n\n"), s(":\n\n"), end("b", false, "length", 2)],
            "ok length | 2 usage | 1,1 per_chunk | 1 1 1 4 | 0 | 9 - - -",
        ),
        (
            24,
            "details count more than came",
            vec![more("a"), end("b", false, "length", 9)],
            "ok length | 9 usage | 1,1 per_chunk | 1 1 1 2 | 0 | 9 - - -",
        ),
    ]
}
