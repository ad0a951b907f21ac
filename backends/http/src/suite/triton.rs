//! Cases of Triton's generate extension.

use super::{Row, error_body, s};

/// An event of vLLM's backend, which is told to count.
fn counted(text: &str, reason: &str, n: u32) -> String {
    format!(
        "data: {{\"finish_reason\":\"{reason}\",\"model_name\":\"m\",\"model_version\":\"1\",\"num_input_tokens\":9,\"num_output_tokens\":{n},\"text_output\":\"{text}\"}}\n\n"
    )
}

/// An event of a backend that tells nothing else.
fn plain(text: &str) -> String {
    format!(
        "data: {{\"model_name\":\"m\",\"model_version\":\"1\",\"sequence_end\":false,\"sequence_id\":0,\"sequence_start\":false,\"text_output\":\"{text}\"}}\n\n"
    )
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            4,
            "counts of each event",
            vec![counted("a", "None", 1), counted("bcd", "None", 2), counted("e", "length", 1)],
            "ok length | 4 per_chunk | 1,2,1 per_chunk | 1 1 1 3 | 0 | 9 - - -",
        ),
        (
            5,
            "half of a character",
            vec![counted("a", "None", 1), counted("", "None", 1), counted("é", "length", 1)],
            "ok length | 3 per_chunk | 1,2 per_chunk | 1 1 1 3 | 0 | 9 - - -",
        ),
        (
            10,
            "a comment first",
            vec![s(": ping\n\n"), counted("a", "stop", 1)],
            "ok stop | 1 per_chunk | 1 per_chunk | 1 2 2 2 | 0 | 9 - - -",
        ),
        (14, "no terminator by design", vec![plain("a")], "ok - | 1 chunks | 1 chunks | 1 1 1 1 | 0"),
        (7, "no count and no reason", vec![plain("a"), plain("b")], "ok - | 2 chunks | 1,1 chunks | 1 1 1 2 | 0"),
        (
            11,
            "a body instead of a stream",
            vec![s("{\"model_name\":\"m\",\"model_version\":\"1\",\"text_output\":\"abc\"}")],
            "ok - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (11, "a body without a text", vec![s("{\"model_name\":\"m\"}")], "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0"),
        (
            12,
            "an error inside",
            vec![plain("a"), s("data: {\"error\":\"Failed to generate\"}\n\n")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (12, "an error body under 200", error_body(), "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0"),
        (16, "two events in a read", vec![plain("a") + &plain("b"), plain("c")], "ok - | 3 chunks | 1,1,1 chunks | 1 1 1 2 | 2!"),
        (
            21,
            "KServe's reason",
            vec![s(
                "data: {\"text_output\":\"a\",\"model_name\":\"m\",\"model_version\":null,\"details\":{\"finish_reason\":\"stop_sequence\"}}\n\n",
            )],
            "ok stop | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
    ]
}
