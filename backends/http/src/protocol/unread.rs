//! Where values lie in an event of the OpenAI dialects that nobody reads, or whose digits are kept as they are.
//!
//! Apart from the decoding, because it is asked only when a kind of event is learnt: see [`crate::skeleton`]. Everything named here
//! is ignored by [`super::openai`], or kept whole; a value that it reads must not be listed.

use super::{HoleKind, Pieces};
use crate::scan;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    created: Option<&'a RawValue>,
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage<'a>>,
    /// How far llama.cpp's server is in the prompt.
    prompt_progress: Option<&'a RawValue>,
    /// OpenAI's padding, so that nobody reads a text from the length of its packets.
    obfuscation: Option<&'a RawValue>,
    time_info: Option<&'a RawValue>,
    timings: Option<&'a RawValue>,
    metrics: Option<&'a RawValue>,
    nvext: Option<Dynamo<'a>>,
    sglext: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    token_ids: Option<&'a RawValue>,
    logprobs: Option<&'a RawValue>,
}

/// What log probabilities hold beside the entries that are counted.
#[derive(Deserialize)]
struct LogProbs<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    token_logprobs: Option<&'a RawValue>,
    top_logprobs: Option<&'a RawValue>,
    text_offset: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Usage<'a> {
    #[serde(borrow)]
    total_tokens: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Dynamo<'a> {
    /// Which workers an answer comes from.
    #[serde(borrow)]
    worker_id: Option<&'a RawValue>,
    timing: Option<&'a RawValue>,
}

/// Adds their places to `pieces`. Where the event has another shape, or names something twice, none: it is learnt as it is.
pub(super) fn places(data: &[u8], pieces: &mut Pieces) {
    let Ok(event) = serde_json::from_slice::<Event<'_>>(data) else { return };
    let worker = event.nvext.as_ref().and_then(|n| n.worker_id);
    for raw in [event.id, event.created, worker].into_iter().flatten() {
        pieces.push_hole(HoleKind::Steady, raw.get().as_bytes(), data);
    }
    for choice in event.choices.iter().flatten() {
        let Some(raw) = choice.logprobs else { continue };
        if choice.token_ids.is_some() {
            // Nobody reads them. Where there are none, some engines still send the object, the same every time.
            let kind = if raw.get().bytes().any(|b| b.is_ascii_digit()) { HoleKind::Unread } else { HoleKind::Steady };
            pieces.push_hole(kind, raw.get().as_bytes(), data);
        } else if pieces.ids.is_some()
            && let Ok(logprobs) = serde_json::from_str::<LogProbs<'_>>(raw.get())
            && logprobs.content.is_none()
        {
            // The entries of completions, which are counted, have lists beside them.
            let lists = [logprobs.token_logprobs, logprobs.top_logprobs, logprobs.text_offset];
            lists.into_iter().flatten().for_each(|raw| pieces.push_hole(HoleKind::Unread, raw.get().as_bytes(), data));
        }
    }
    let total = event.usage.and_then(|u| u.total_tokens);
    for raw in total.into_iter().chain(event.prompt_progress).chain(event.obfuscation) {
        pieces.push_hole(HoleKind::Unread, raw.get().as_bytes(), data);
    }
    let vendor = [
        ("time_info", event.time_info),
        ("timings", event.timings),
        ("metrics", event.metrics),
        ("nvext.timing", event.nvext.and_then(|n| n.timing)),
        ("sglext", event.sglext),
    ];
    for (key, raw) in vendor {
        if let Some(raw) = raw
            && pieces.vendor.iter().any(|(k, kept)| *k == key && kept == raw.get())
        {
            numbers(key, raw.get().as_bytes(), data, pieces);
        }
    }
}

/// Marks vendor numbers that are kept byte for byte: where they begin and end, and each number. `raw` holds keys, numbers and
/// brackets and nothing else. Nothing is marked where one of them is of a size or form that is not read by scanning.
fn numbers(key: &'static str, raw: &[u8], data: &[u8], pieces: &mut Pieces) {
    let before = pieces.holes.len();
    pieces.push_hole(HoleKind::Vendor(key), &raw[..0], data);
    let mut rest = raw;
    while let Some(first) = rest.first() {
        let after = match first {
            b'-' | b'0'..=b'9' => scan::decimal(rest),
            b'"' => scan::value(rest),
            // An exponent: what stands behind it may not be any number.
            b'e' | b'E' | b'+' => None,
            _ => Some(&rest[1..]),
        };
        let Some(after) = after else {
            pieces.holes.truncate(before);
            return;
        };
        if first.is_ascii_digit() || *first == b'-' {
            pieces.push_hole(HoleKind::Number, &rest[..rest.len() - after.len()], data);
        }
        rest = after;
    }
    pieces.push_hole(HoleKind::VendorEnd, rest, data);
}
