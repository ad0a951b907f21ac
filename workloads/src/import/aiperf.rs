//! AIPerf's supersets of Mooncake's rows, and its files of turns: JSON Lines of one of two families.
//!
//! Rows of `mooncake_trace` hold one of a length (perhaps with block ids), a text or messages, a time or a delay, perhaps a session
//! (`aiperf/rows.rs`); rows of `single_turn`, `multi_turn` and `dag_jsonl` hold turns and their children (`aiperf/talk.rs`, `aiperf/turns.rs`). A plain Mooncake
//! row, with its four keys and no other, belongs to `mooncake-jsonl`, which spreads its ticks.

mod rows;
mod talk;
mod turns;

use super::conversation::{ESTIMATED, TOKENIZER};
use super::records::{has, keys};
use super::thread::UNSAID_OUTPUT;
use super::{ImportOptions, Importer, first_line, stem};
use crate::error::TraceError;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::trace::Trace;
use serde_json::Value;

/// The importer.
pub(crate) struct AiPerf;

impl Importer for AiPerf {
    fn name(&self) -> &'static str {
        "aiperf"
    }

    fn about(&self) -> &'static str {
        "AIPerf's JSON Lines: mooncake_trace with sessions, texts and deltas, single_turn, multi_turn, dag_jsonl"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let keys = keys(head);
        let any = |names: &[&str]| names.iter().any(|name| has(&keys, name));
        let plain = super::mooncake::is_plain(&keys);
        let row = any(&["input_length", "text_input"])
            || (any(&["messages"]) && any(&["timestamp", "delay", "session_id", "output_length", "message_mode"]));
        let known = |fields: &[crate::diagnose::Field]| keys.iter().all(|key| fields.iter().any(|field| field.is(key)));
        (row && !plain && known(rows::FIELDS) && rows::fits(first_line(head))) || (is_turns(&keys) && known(talk::FIELDS))
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let name = stem(source.name());
        let turns = is_turns(&keys(source.head()?));
        let trace = if turns { turns::import(source, options, sink)? } else { rows::import(source, options, sink)? };
        Ok(Trace { name, ..trace })
    }
}

/// Whether the first row has the keys of a conversation.
fn is_turns(keys: &[&[u8]]) -> bool {
    ["turns", "orchestrator", "text", "texts"].iter().any(|key| has(keys, key))
}

/// What was counted while rows became requests.
#[derive(Default)]
struct Counts {
    estimated: u64,
    unsaid: u64,
    gappy: u64,
    media: u64,
    extra: u64,
    early: u64,
    deltas: u64,
}

impl Counts {
    /// What counted the tokens.
    fn tokenizer(&self) -> Option<String> {
        (self.estimated > 0).then(|| TOKENIZER.to_owned())
    }

    fn losses(&self) -> Vec<String> {
        let mut losses = vec![];
        if self.estimated > 0 {
            losses.push(ESTIMATED.to_owned());
        }
        let unsaid = format!("requests do not say how long their answer is; it is capped at {UNSAID_OUTPUT} tokens");
        let counts = [
            (self.unsaid, unsaid.as_str()),
            (self.gappy, "requests are not plain text by the user, so that the answers before them are missing from their history"),
            (self.deltas, "rows add to the prompt of their session; the answers in between are made up, of the recorded length"),
            (self.media, "pictures, sounds or videos are not sent, or not a part of the estimated lengths"),
            (self.extra, "requests have further parameters (`extra`), which are not sent"),
            (self.early, "delays before the first request of a session are not used"),
        ];
        losses.extend(counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        losses
    }
}

/// A session's name.
fn name(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
