//! Cases of OpenAI's completions: what differs from chat, and a few of what does not.

use super::chat::usage;
use super::{DONE, Row, s};

fn text(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}],\"usage\":null}}\n\n")
}

pub(super) fn rows() -> Vec<Row> {
    let last = s(
        "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\
        \"prompt_tokens_details\":{\"cached_tokens\":8,\"cache_write_tokens\":1},\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\n\n",
    );
    let running = |text: &str, output: u32| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{output}}}}}\n\n"
        )
    };
    vec![
        (4, "by bytes of text", vec![text("a"), text("b"), last.clone()], "ok length | 3 usage | 2,1 estimated | 1 1 1 2 | 0 | 9 8 1 2"),
        (
            4,
            "by log probabilities",
            vec![
                text("ab").replace("\"index\":0", "\"index\":0,\"logprobs\":{\"text_offset\":[0,1],\"token_logprobs\":[-1.5,-2],\"tokens\":[\"a\",\"b\"],\"top_logprobs\":null}"),
                text("c").replace("\"index\":0", "\"index\":0,\"logprobs\":{\"text_offset\":[2],\"token_logprobs\":[-1],\"tokens\":[\"c\"],\"top_logprobs\":null}"),
                last.clone(),
            ],
            "ok length | 3 usage | 2,1 per_chunk | 1 1 1 2 | 0 | 9 8 1 2",
        ),
        (
            4,
            "several tokens in one",
            vec![running("abc", 3), running("d", 4), last.replace(":3,", ":4,"), s(DONE)],
            "ok length | 4 usage | 3,1 per_chunk | 1 1 1 2 | 0 | 9 8 1 2",
        ),
        (
            5,
            "half of a character",
            vec![running("", 1), running("é", 2), last.replace(":3,", ":2,"), s(DONE)],
            "ok length | 2 usage | 2 per_chunk | 1 2 2 2 | 0 | 9 8 1 2",
        ),
        (6, "usage last", vec![text("a"), text("b"), usage(2), s(DONE)], "ok - | 2 usage | 1,1 usage | 1 1 1 2 | 0 | 7 - - -"),
        (7, "cut before usage", vec![text("a"), text("b")], "truncated/no_terminator - | 2 chunks | 1,1 chunks | 1 1 1 2 | 0"),
        (
            10,
            "comments first",
            vec![s(": hi\n\n"), text("a"), last.replace(":3,", ":1,")],
            "ok length | 1 usage | 1 usage | 1 2 2 2 | 0 | 9 8 1 2",
        ),
        (
            11,
            "a body behind blank lines",
            vec![
                s("\n\n\n"),
                s(
                    "{\"choices\":[{\"text\":\"abc\",\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}",
                ),
            ],
            "ok length | 3 usage | 3 per_chunk | 1 2 2 2 | 0 | 9 - - -",
        ),
        (
            12,
            "an error inside",
            vec![text("a"), s("data: {\"error\":{\"message\":\"boom\"}}\n\n"), s(DONE)],
            "protocol/stream_error - | 1 chunks | 1 chunks | 1 1 1 1 | 0",
        ),
        (
            20,
            "two choices",
            vec![text("a"), text("b").replace("\"index\":0", "\"index\":1"), last.replace(":3,", ":2,"), s(DONE)],
            "ok length | 2 usage | 1,1 usage | 1 1 1 2 | 0 | 9 8 1 2",
        ),
    ]
}
