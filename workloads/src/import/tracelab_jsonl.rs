//! TraceLab's rounds (JSON Lines): one call of a model by a coding agent a line, with token counts and the times of its events.
//!
//! A round begins with the last user message or tool result it answers, and ends with its last event. The moments of first tokens are not in
//! the file: events are written when a part of the answer is complete.

use super::classes::Classes;
use super::clock::moment;
use super::tracelab::{Round, Sessions, lengths};
use super::tracelab_csv::origin;
use super::{ImportOptions, Importer, MAX_TOKENS, first_line, stem};
use crate::diagnose::{Field, Shape, explain_line};
use crate::error::{Place, TraceError};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::trace::{Cause, Recorded, Trace};
use nomoat_core::units::Nanos;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The importer.
pub(crate) struct TraceLabJsonl;

/// SHA-256 of the published example.
const PUBLISHED: &str = "314c49483148fe68e230a683f739e3e6e68d478948ecf342739596f30af36b57";

const TOKENS: Shape = Shape::Whole { min: 0, max: MAX_TOKENS, of: "tokens" };
const FIELDS: &[Field] = &[
    Field::required("provider", Shape::Text),
    Field::required("session_id", Shape::Text),
    Field::required("round_index", Shape::Whole { min: 0, max: u32::MAX as u64, of: "rounds" }),
    Field::required("input_tokens_total", TOKENS),
    Field::required("prefix_tokens", TOKENS),
    Field::required("newly_append_tokens", TOKENS),
    Field::required("output_tokens", TOKENS),
    Field::required(
        "timing_events",
        Shape::Objects(&[
            Field::required("event_type", Shape::Text),
            Field::required("timestamp", Shape::Text),
            Field::optional("source", Shape::Any),
            Field::optional("tool_name", Shape::Any),
            Field::optional("tool_index", Shape::Any),
            Field::optional("tool_call_id", Shape::Any),
            Field::optional("content_chars", Shape::Any),
            Field::optional("result_chars", Shape::Any),
            Field::optional("is_error", Shape::Any),
        ]),
    ),
    Field::optional("project", Shape::Any),
    Field::optional("turn_id", Shape::Any),
    Field::optional("round_id", Shape::Any),
    Field::optional("model", Shape::Any),
    Field::optional("claude_uncached_input_tokens", Shape::Any),
    Field::optional("claude_cache_creation_input_tokens", Shape::Any),
    Field::optional("claude_cache_read_input_tokens", Shape::Any),
    Field::optional("reasoning_output_tokens", Shape::Any),
    Field::optional("tools", Shape::Any),
    Field::optional("current_input_event_count", Shape::Any),
    Field::optional("current_user_message_count", Shape::Any),
    Field::optional("current_tool_result_count", Shape::Any),
    Field::optional("current_user_message_chars", Shape::Any),
    Field::optional("current_tool_result_chars", Shape::Any),
    Field::optional("current_input_chars", Shape::Any),
    Field::optional("first_input_event_type", Shape::Any),
    Field::optional("store", Shape::Any),
    Field::optional("trace_key", Shape::Any),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "keys of the format that a trace does not keep are read so that unknown ones stand out")]
struct Row {
    provider: String,
    session_id: String,
    round_index: u64,
    input_tokens_total: u64,
    prefix_tokens: u64,
    newly_append_tokens: u64,
    output_tokens: u64,
    timing_events: Vec<Event>,
    project: Option<IgnoredAny>,
    turn_id: Option<IgnoredAny>,
    round_id: Option<IgnoredAny>,
    model: Option<IgnoredAny>,
    claude_uncached_input_tokens: Option<IgnoredAny>,
    claude_cache_creation_input_tokens: Option<IgnoredAny>,
    claude_cache_read_input_tokens: Option<IgnoredAny>,
    reasoning_output_tokens: Option<IgnoredAny>,
    tools: Option<IgnoredAny>,
    current_input_event_count: Option<IgnoredAny>,
    current_user_message_count: Option<IgnoredAny>,
    current_tool_result_count: Option<IgnoredAny>,
    current_user_message_chars: Option<IgnoredAny>,
    current_tool_result_chars: Option<IgnoredAny>,
    current_input_chars: Option<IgnoredAny>,
    first_input_event_type: Option<IgnoredAny>,
    store: Option<IgnoredAny>,
    trace_key: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "as of a row")]
struct Event {
    #[serde(rename = "event_type")]
    what: String,
    timestamp: String,
    source: Option<IgnoredAny>,
    tool_name: Option<IgnoredAny>,
    tool_index: Option<IgnoredAny>,
    tool_call_id: Option<IgnoredAny>,
    content_chars: Option<IgnoredAny>,
    result_chars: Option<IgnoredAny>,
    is_error: Option<IgnoredAny>,
}

impl Importer for TraceLabJsonl {
    fn name(&self) -> &'static str {
        "tracelab-jsonl"
    }

    fn about(&self) -> &'static str {
        "TraceLab rounds of coding agents (JSON Lines): arrivals, lengths and prefix counts of Claude and Codex sessions"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let line = first_line(head);
        let has = |key: &[u8]| line.windows(key.len()).any(|window| window == key);
        line.starts_with(b"{") && has(b"\"newly_append_tokens\"") && has(b"\"prefix_tokens\"")
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let name = source.name().to_owned();
        let mut rows = Rows::new(source, options);
        let (mut sessions, mut classes) = (Sessions::default(), Classes::default());
        while let Some(line) = rows.next()? {
            let known = classes.len();
            let row = serde_json::from_slice(line.bytes)
                .map_err(|error| explain_line(line.bytes, FIELDS, line.place, &error))
                .and_then(|row: Row| Ok((round(&row, &mut classes, line.place)?, row.session_id)))
                .and_then(|(round, session)| sessions.push(&session, round, "round_index", line.place));
            if row.is_err() {
                classes.truncate(known);
            }
            rows.take(row)?;
        }
        let (digest, skipped) = rows.finish();
        let mut losses = sessions.send(&name, options.gaps, sink)?;
        losses.push("models, tools and the share of reasoning in answers are not kept".into());
        losses.extend(skipped);
        let origin = origin(digest.to_string() == PUBLISHED);
        Ok(Trace { name: stem(&name), source: digest, origin, classes: classes.names(), losses, ..Trace::default() })
    }
}

fn round(row: &Row, classes: &mut Classes, place: Place<'_>) -> Result<Round, TraceError> {
    let (prefix, append, output) = lengths(
        ("prefix_tokens", row.prefix_tokens),
        ("newly_append_tokens", row.newly_append_tokens),
        ("output_tokens", row.output_tokens),
        place,
    )?;
    let sum = prefix + append;
    if row.input_tokens_total != u64::from(sum) {
        let should = format!("{sum}, the sum of `prefix_tokens` and `newly_append_tokens`");
        return Err(place.field("input_tokens_total", format!("is {}", row.input_tokens_total), should));
    }
    let mut times = Times { start: None, is_begun: false, end: None, cause: Cause::Tool };
    for (index, event) in row.timing_events.iter().enumerate() {
        let at = moment(&event.timestamp).ok_or_else(|| {
            let shown: String = event.timestamp.chars().take(40).collect();
            place.field(format!("timing_events[{index}].timestamp"), format!("is {shown:?}"), "a moment such as 2026-06-01T05:40:20.151Z")
        })?;
        times.see(&event.what, at);
    }
    let should = "a list with at least one event: a round has no other times";
    let (Some(start), Some(end)) = (times.start, times.end) else { return Err(place.field("timing_events", "is empty", should)) };
    let class = classes.of(&row.provider).ok_or_else(|| place.line("there are too many providers", "split the file"))?;
    let recorded = Recorded { e2e: times.is_begun.then_some(end - start), cached_tokens: Some(prefix), ..Recorded::default() };
    Ok(Round {
        index: row.round_index,
        prefix,
        append,
        output,
        start: Some(start),
        end: times.is_begun.then_some(end),
        wait: None,
        cause: times.cause,
        class,
        recorded,
    })
}

/// When a round began and ended, from its events.
struct Times {
    start: Option<Nanos>,
    /// Whether an event of the answer came, without which the end is not known.
    is_begun: bool,
    end: Option<Nanos>,
    cause: Cause,
}

impl Times {
    fn see(&mut self, kind: &str, at: Nanos) {
        let is_input = matches!(kind, "user_message" | "tool_result");
        if is_input && !self.is_begun {
            // What the last of them brought completed the request.
            self.start = self.start.max(Some(at));
        }
        if kind == "user_message" {
            self.cause = Cause::Think;
        }
        self.is_begun |= !is_input;
        self.start = self.start.or(Some(at));
        self.end = self.end.max(Some(at)).max(self.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;
    use crate::import::Gaps;
    use nomoat_core::prompt::Prompt;
    use nomoat_core::trace::Moment;

    const SAMPLE: &str = include_str!("../../samples/tracelab.jsonl");

    fn read(text: &str, gaps: Gaps) -> Result<Trace, TraceError> {
        from_bytes("dir/t.jsonl", text.as_bytes(), Some("tracelab-jsonl"), &ImportOptions { gaps, ..ImportOptions::default() })
    }

    fn edges(trace: &Trace) -> Vec<Vec<(u32, Moment, i64, Cause)>> {
        trace.requests.iter().map(|r| r.after.iter().map(|e| (e.request.0, e.on, e.gap.0 / 1_000_000, e.cause)).collect()).collect()
    }

    #[test]
    fn rounds_follow_each_other() {
        let trace = read(SAMPLE, Gaps::Think).unwrap();
        assert_eq!(trace.classes, ["codex", "claude"], "in the order of the file");
        let at: Vec<_> = trace.requests.iter().map(|r| (r.session.unwrap().0, r.turn, r.at.unwrap().0 / 1_000_000)).collect();
        assert_eq!(at, [(0, 0, 0), (0, 1, 9_500), (0, 2, 12_000), (1, 0, 3_000), (1, 1, 64_000)]);
        use Moment::{End, Start};
        assert_eq!(
            edges(&trace),
            [
                vec![],
                vec![(0, End, 2_500, Cause::Tool)],
                // It began before the round before it had ended.
                vec![(1, Start, 2_500, Cause::Tool)],
                vec![],
                vec![(3, End, 56_000, Cause::Think)],
            ]
        );
        let Prompt::Parts(p) = &trace.requests[1].prompt else { panic!("parts") };
        assert_eq!(p.parts.iter().map(|part| (part.id, part.tokens)).collect::<Vec<_>>(), [(0, 100), (1, 400), (2, 48), (5, 60)]);
        let recorded = trace.requests[0].recorded.as_deref().unwrap();
        assert_eq!((recorded.cached_tokens, recorded.e2e, recorded.ttft), (Some(100), Some(Nanos::from_millis(7_000)), None));
        assert!(trace.losses.iter().any(|loss| loss.starts_with("1 rounds began before")), "{:?}", trace.losses);
        let recorded = read(SAMPLE, Gaps::Recorded).unwrap();
        assert_eq!(edges(&recorded)[1], [(0, Start, 9_500, Cause::Tool)]);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |from: &str, to: &str, expect: &[&str]| {
            assert!(SAMPLE.contains(from), "{from}");
            let error = read(&SAMPLE.replacen(from, to, 1), Gaps::Think).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        check("\"input_tokens_total\": 500", "\"input_tokens_total\": 501", &["dir/t.jsonl:1:", "`input_tokens_total` is 501", "500"]);
        check("\"prefix_tokens\": 100", "\"prefix_tokens\": -100", &["`prefix_tokens`", "-100"]);
        check("\"output_tokens\"", "\"output_token\"", &["`output_token`", "unknown", "`output_tokens`"]);
        check("\"round_index\": 1", "\"round_index\": 0", &[":3:", "`round_index` is 0, after round 0"]);
        check("10:00:00.000Z", "10:00", &["`timing_events[0].timestamp`", "moment such as"]);
        check("\"event_type\": \"user_message\"", "\"event\": 1", &["timing_events[0].event", "unknown"]);
    }
}
