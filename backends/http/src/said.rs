//! What an endpoint says about a failure, made short enough for a message.

use crate::encoder::Secret;
use nomoat_core::event::EventSink;
use serde_json::Value;

/// Tells in the endpoint's own words what went wrong; of `secrets` none may appear in them.
pub(crate) fn complain(secrets: &[Secret], words: &str, events: &mut EventSink) {
    let clean = secrets.iter().fold(words.to_owned(), |text, secret| secret.scrub(&text));
    events.complaint(&clean);
}

/// What an error body says, bounded, as `: text`.
pub(crate) fn said(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
    let message = serde_json::from_str::<Value>(&text).ok().and_then(|v| {
        let found = ["/error/message", "/message", "/detail", "/error"]
            .iter()
            .find_map(|p| v.pointer(p).and_then(Value::as_str).map(str::to_owned));
        found.filter(|s| !s.is_empty())
    });
    let message = message.unwrap_or_else(|| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let short: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    if short.is_empty() { String::new() } else { format!(": {short}") }
}
