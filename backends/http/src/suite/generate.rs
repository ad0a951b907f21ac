//! Cases of SGLang's own dialect.

use super::{DONE, Row, error_body, s};

/// The text so far, the ids so far and the count so far.
fn so_far(text: &str, ids: &str, output: u32, more: &str) -> String {
    format!(
        "data: {{\"text\":\"{text}\",\"output_ids\":[{ids}],\"meta_info\":{{\"id\":\"g\",\"finish_reason\":null,\"prompt_tokens\":9,\"completion_tokens\":{output},\"cached_tokens\":8{more}}}}}\n\n"
    )
}

fn last(event: String, reason: &str) -> String {
    event.replace("\"finish_reason\":null", &format!("\"finish_reason\":{{\"type\":\"{reason}\"}}"))
}

pub(super) fn rows() -> Vec<Row> {
    let first = || so_far("ab", "1", 1, "");
    let second = || so_far("abcd", "1,2", 2, "");
    let third = || last(so_far("abcdef", "1,2,3", 3, ""), "length");
    let end = |reads: Vec<String>| reads.into_iter().chain([s(DONE)]).collect::<Vec<_>>();
    vec![
        (
            1,
            "half of a character first",
            end(vec![so_far("", "1", 1, ""), so_far("é", "1,2", 2, ""), last(so_far("éa", "1,2,3", 3, ""), "stop")]),
            "ok stop | 3 usage | 2,1 per_chunk | 1 2 2 3 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (
            4,
            "several tokens in one",
            end(vec![first(), third()]),
            "ok length | 3 usage | 1,2 per_chunk | 1 1 1 2 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (
            5,
            "a text that does not grow",
            end(vec![first(), so_far("ab", "1,2", 2, ""), third()]),
            "ok length | 3 usage | 1,2 per_chunk | 1 1 1 3 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (
            5,
            "a stop word that is taken back",
            end(vec![first(), second(), last(so_far("abc", "1,2,3", 3, ""), "stop")]),
            "ok stop | 3 usage | 1,1 per_chunk | 1 1 1 2 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (7, "cut before the end", vec![first(), second()], "truncated/no_terminator - | 2 usage | 1,1 per_chunk | 1 1 1 2 | 0 | 9 8 - -"),
        (
            8,
            "everything so far, each time",
            end(vec![first(), second(), third()]),
            "ok length | 3 usage | 1,1,1 per_chunk | 1 1 1 3 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (
            8,
            "only what is new, by a server told to",
            end(vec![first(), so_far("ab", "2", 2, ""), last(so_far("cdefgh", "3,4", 4, ""), "length")]),
            "ok length | 4 usage | 1,1,2 per_chunk | 1 1 1 3 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"cached_tokens\":8}}",
        ),
        (
            8,
            "the text so far without ids",
            end(vec![first().replace("\"output_ids\":[1],", ""), third().replace("\"output_ids\":[1,2,3],", "")]),
            "ok length | 3 usage | 1,2 per_chunk | 1 1 1 2 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (
            10,
            "comments first",
            end(vec![s(": hi\n\n"), first(), third()]),
            "ok length | 3 usage | 1,2 per_chunk | 1 2 2 3 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (
            11,
            "a body behind blank lines",
            vec![s("\n\n"), third().replace("data: ", "")],
            "ok length | 3 usage | 3 per_chunk | 1 2 2 2 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (11, "a body without a text", vec![s("{\"meta_info\":{}}")], "protocol/bad_event - | - unknown | - unknown | 1 - - - | 0"),
        (
            12,
            "an error inside",
            end(vec![first(), s("data: {\"error\":{\"message\":\"out of memory\"}}\n\n")]),
            "protocol/stream_error - | 1 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 8 - -",
        ),
        (
            12,
            "an abort with words",
            end(vec![
                first(),
                second()
                    .replace("\"finish_reason\":null", "\"finish_reason\":{\"type\":\"abort\",\"message\":\"boom\",\"status_code\":500}"),
            ]),
            "protocol/stream_error - | 2 usage | 1,1 per_chunk | 1 1 1 2 | 0 | 9 8 - - | {\"meta_info\":{\"finish_reason\":{\"status_code\":500},\"prompt_tokens\":9,\"completion_tokens\":2,\"cached_tokens\":8}}",
        ),
        (12, "an error body under 200", error_body(), "protocol/stream_error - | - unknown | - unknown | 1 - - - | 0"),
        (13, "no end at all", vec![s(": hi\n\n")], "truncated/no_terminator - | - unknown | - unknown | 1 - - - | 0"),
        (
            14,
            "data behind the terminator",
            end(vec![third()]).into_iter().chain([so_far("zzz", "1,2,3,4", 4, "")]).collect(),
            "ok length | 3 usage | 3 per_chunk | 1 1 1 1 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (
            16,
            "two events in a read",
            end(vec![first() + &second(), third()]),
            "ok length | 3 usage | 1,1,1 per_chunk | 1 1 1 2 | 2! | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (
            19,
            "meta_info",
            end(vec![last(
                so_far(
                    "ab",
                    "1",
                    1,
                    ",\"e2e_latency\":2.5,\"queue_time\":null,\"output_token_logprobs\":[[-1.5,1,null]],\"weight_version\":\"x\",\"cached_tokens_details\":{\"device\":8}",
                ),
                "stop",
            )]),
            "ok stop | 1 usage | 1 per_chunk | 1 1 1 1 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"cached_tokens\":8,\"e2e_latency\":2.5,\"cached_tokens_details\":{\"device\":8}}}",
        ),
        (
            20,
            "two choices, each with its own text and count",
            end(vec![
                first(),
                first().replace("{\"text\"", "{\"index\":1,\"text\""),
                second(),
                third().replace("{\"text\"", "{\"index\":1,\"text\""),
            ]),
            "ok length | 5 usage | 1,1,1,2 per_chunk | 1 1 1 4 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
        (
            21,
            "abort",
            end(vec![first(), last(second(), "abort")]),
            "ok abort | 2 usage | 1,1 per_chunk | 1 1 1 2 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"cached_tokens\":8}}",
        ),
        (
            23,
            "a stall behind the first token",
            end(vec![first(), s(": wait\n\n"), third()]),
            "ok length | 3 usage | 1,2 per_chunk | 1 1 1 3 | 0 | 9 8 - - | {\"meta_info\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"cached_tokens\":8}}",
        ),
    ]
}
