//! Cases of OpenAI's responses.

use super::{DONE, Row, error_body, s, typed};

/// A text of a response.
fn said(kind: &str, text: &str, more: &str) -> String {
    typed(
        &format!("response.{kind}.delta"),
        &format!("\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"{text}\"{more}"),
    )
}

fn output(text: &str) -> String {
    said("output_text", text, "")
}

/// The end of a response.
fn ended(kind: &str, members: &str) -> String {
    let usage = "\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":8},\"output_tokens\":3,\"output_tokens_details\":{\"reasoning_tokens\":1}}";
    typed(&format!("response.{kind}"), &format!("\"response\":{{\"id\":\"r\",\"status\":\"{kind}\",{usage}{members}}}"))
}

pub(super) fn rows() -> Vec<Row> {
    let created =
        || typed("response.created", "\"response\":{\"id\":\"r\",\"status\":\"in_progress\",\"output\":[],\"usage\":null,\"error\":null}");
    let item = || typed("response.output_item.added", "\"output_index\":0,\"item\":{\"type\":\"message\",\"content\":[]}");
    let completed = || ended("completed", "");
    let whole = "\"usage\":{\"input_tokens\":9,\"output_tokens\":3},\"incomplete_details\":null,\"error\":null,\"status\":\"completed\"";
    vec![
        (
            1,
            "events before the first text",
            vec![created(), item(), output(""), output("abc"), completed()],
            "ok stop | 3 usage | 3 estimated | 1 4 4 4 | 0 | 9 8 - 1",
        ),
        (
            1,
            "texts that come a second time, whole",
            vec![
                output("abc"),
                typed("response.output_text.done", "\"text\":\"abc\""),
                typed(
                    "response.output_item.done",
                    "\"item\":{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"abc\"}]}",
                ),
                completed(),
            ],
            "ok stop | 3 usage | 3 estimated | 1 1 1 1 | 0 | 9 8 - 1",
        ),
        (
            2,
            "reasoning",
            vec![said("reasoning_text", "hm", ""), output("a"), output("b"), completed()],
            "ok stop | 3 usage | 1,1,1 usage | 1 1 2 3 | 0 | 9 8 - 1",
        ),
        (
            2,
            "a summary of reasoning",
            vec![said("reasoning_summary_text", "hm", ""), output("a"), output("b"), completed()],
            "ok stop | 3 usage | 1,1,1 usage | 1 1 2 3 | 0 | 9 8 - 1",
        ),
        (
            4,
            "by log probabilities",
            vec![
                said("output_text", "ab", ",\"logprobs\":[{\"logprob\":-1},{\"logprob\":-2}]"),
                said("output_text", "c", ",\"logprobs\":[{\"logprob\":-3}]"),
                completed(),
            ],
            "ok stop | 3 usage | 2,1 per_chunk | 1 1 1 2 | 0 | 9 8 - 1",
        ),
        (
            5,
            "an empty text",
            vec![output("a"), output(""), output("bc"), completed()],
            "ok stop | 3 usage | 1,2 estimated | 1 1 1 3 | 0 | 9 8 - 1",
        ),
        (
            7,
            "cut before usage",
            vec![created(), output("a"), output("b")],
            "truncated/no_terminator - | 2 chunks | 1,1 chunks | 1 2 2 3 | 0",
        ),
        (
            10,
            "comments first",
            vec![s(": keep-alive\n\n"), created(), output("abc"), completed()],
            "ok stop | 3 usage | 3 estimated | 1 3 3 3 | 0 | 9 8 - 1",
        ),
        (
            11,
            "a body behind blank lines",
            vec![
                s("\n\n"),
                format!(
                    "{{\"object\":\"response\",\"output\":[{{\"type\":\"reasoning\",\"summary\":[{{\"text\":\"hm\"}}]}},{{\"type\":\"message\",\"content\":[{{\"type\":\"output_text\",\"text\":\"ab\"}}]}}],{whole}}}"
                ),
            ],
            "ok stop | 3 usage | 3 per_chunk | 1 2 2 2 | 0 | 9 - - -",
        ),
        (
            11,
            "a body without an output",
            vec![s("{\"object\":\"response\"}")],
            "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0",
        ),
        (
            12,
            "response.failed",
            vec![
                output("a"),
                typed("response.failed", "\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"boom\"}}"),
            ],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            12,
            "response.failed without words",
            vec![output("a"), typed("response.failed", "")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            12,
            "an error event",
            vec![output("a"), typed("error", "\"code\":\"server_error\",\"message\":\"boom\",\"param\":null")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            12,
            "an error event without a name",
            vec![output("a"), s("data: {\"type\":\"error\",\"error\":{\"message\":\"boom\"}}\n\n")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            12,
            "an error in the shape of chat",
            vec![output("a"), s("data: {\"error\":{\"message\":\"boom\"}}\n\n")],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (12, "an error body under 200", error_body(), "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0"),
        (
            12,
            "a failed body",
            vec![s("{\"status\":\"failed\",\"output\":[],\"error\":null}")],
            "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0",
        ),
        (13, "no end at all", vec![created(), item()], "truncated/no_terminator - | - unknown | - unknown | 1 - - - | 0"),
        (13, "an end without a text", vec![created(), completed()], "ok stop | 3 usage | - unknown | 1 - - - | 0 | 9 8 - 1"),
        (14, "without DONE, by design", vec![output("abc"), completed()], "ok stop | 3 usage | 3 estimated | 1 1 1 1 | 0 | 9 8 - 1"),
        (
            14,
            "with DONE all the same",
            vec![output("abc"), completed(), s(DONE)],
            "ok stop | 3 usage | 3 estimated | 1 1 1 1 | 0 | 9 8 - 1",
        ),
        (
            14,
            "data behind the end",
            vec![output("abc"), completed(), output("zzz"), s("data: {nonsense\n\n")],
            "ok stop | 3 usage | 3 estimated | 1 1 1 1 | 0 | 9 8 - 1",
        ),
        (
            15,
            "types without names",
            vec![
                output("a").replace("event: response.output_text.delta\n", ""),
                output("bc"),
                completed().replace("event: response.completed\n", ""),
            ],
            "ok stop | 3 usage | 1,2 estimated | 1 1 1 2 | 0 | 9 8 - 1",
        ),
        (
            15,
            "a type that nobody knows",
            vec![typed("response.daydream", "\"delta\":\"x\""), s("event: x\ndata: {}\n\n"), output("abc"), completed()],
            "ok stop | 3 usage | 3 estimated | 1 3 3 3 | 0 | 9 8 - 1",
        ),
        (
            16,
            "the last text with the end",
            vec![output("a"), output("bc") + &completed()],
            "ok stop | 3 usage | 1,2 estimated | 1 1 1 2 | 1 | 9 8 - 1",
        ),
        (
            18,
            "padding",
            vec![
                said("output_text", "a", ",\"obfuscation\":\"xxxxxxxxxxxx\""),
                said("output_text", "bc", ",\"obfuscation\":\"\""),
                completed(),
            ],
            "ok stop | 3 usage | 1,2 estimated | 1 1 1 2 | 0 | 9 8 - 1",
        ),
        (
            19,
            "timings",
            vec![output("abc"), completed().replacen("\"response\":{\"id\"", "\"timings\":{\"prompt_ms\":3.5},\"response\":{\"id\"", 1)],
            "ok stop | 3 usage | 3 estimated | 1 1 1 1 | 0 | 9 8 - 1 | {\"timings\":{\"prompt_ms\":3.5}}",
        ),
        (
            20,
            "two tools at once",
            vec![
                said("function_call_arguments", "{", ""),
                said("function_call_arguments", "[", "").replace("\"output_index\":0", "\"output_index\":1"),
                said("function_call_arguments", "}", ""),
                ended(
                    "completed",
                    ",\"output\":[{\"type\":\"function_call\",\"arguments\":\"{}\"},{\"type\":\"function_call\",\"arguments\":\"[\"}]",
                ),
            ],
            "ok tool | 3 usage | 1,1,1 usage | 1 1 1 3 | 0 | 9 8 - 1",
        ),
        (
            20,
            "a refusal is an answer",
            vec![said("refusal", "no", ""), completed()],
            "ok stop | 3 usage | 3 estimated | 1 1 1 1 | 0 | 9 8 - 1",
        ),
        (
            20,
            "sound is no text",
            vec![said("audio", "AAAA", ""), output("abc"), completed()],
            "ok stop | 3 usage | 3 estimated | 1 2 2 2 | 0 | 9 8 - 1",
        ),
        (
            21,
            "response.incomplete",
            vec![output("abc"), ended("incomplete", ",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}")],
            "ok length | 3 usage | 3 estimated | 1 1 1 1 | 0 | 9 8 - 1",
        ),
        (
            21,
            "incomplete, as vLLM says it",
            vec![
                output("abc"),
                ended("completed", ",\"incomplete_details\":{\"reason\":\"max_output_tokens\"}")
                    .replace("\"status\":\"completed\"", "\"status\":\"incomplete\""),
            ],
            "ok length | 3 usage | 3 estimated | 1 1 1 1 | 0 | 9 8 - 1",
        ),
        (
            21,
            "a filter",
            vec![output("abc"), ended("incomplete", ",\"incomplete_details\":{\"reason\":\"content_filter\"}")],
            "ok content_filter | 3 usage | 3 estimated | 1 1 1 1 | 0 | 9 8 - 1",
        ),
        (
            23,
            "a stall behind the first token",
            vec![output("a"), s(": wait\n\n"), s(": wait\n\n"), output("bc"), completed()],
            "ok stop | 3 usage | 1,2 estimated | 1 1 1 4 | 0 | 9 8 - 1",
        ),
    ]
}
