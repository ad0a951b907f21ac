//! `events.jsonl`: what happened to the run as a whole, one JSON object a line, in order.

use crate::error::StoreError;
use crate::wire::EventWire;
use nomoat_core::sample::RunEvent;

/// Longest line a reader accepts, in bytes.
const LINE_MAX: usize = 1 << 20;

/// The lines of a run's events.
pub fn to_jsonl(events: &[RunEvent]) -> String {
    let mut text = String::new();
    for event in events {
        text.push_str(&serde_json::to_string(&EventWire::from(event)).expect("three plain fields always serialize"));
        text.push('\n');
    }
    text
}

/// Reads the events of a run. `what` names the file in messages.
///
/// # Errors
/// Which line is not an event, and why.
pub fn from_jsonl(what: &str, text: &str) -> Result<Vec<RunEvent>, StoreError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    lines
        .map(|(index, line)| {
            let place = format!("{what} line {}", index + 1);
            if line.len() > LINE_MAX {
                return Err(StoreError::value(place, format!("it is longer than {LINE_MAX} bytes")));
            }
            let wire: EventWire = serde_json::from_str(line).map_err(|source| StoreError::Json { what: place, source })?;
            wire.try_into()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::units::Nanos;

    #[test]
    fn events_read_back() {
        let events = vec![
            RunEvent { at: Nanos(-3), code: "start", detail: String::new() },
            RunEvent { at: Nanos(7), code: "telemetry_failed", detail: "two\nlines and a \"quote\"".into() },
        ];
        let text = to_jsonl(&events);
        assert_eq!(text.lines().count(), 2);
        assert_eq!(from_jsonl("events.jsonl", &text).unwrap(), events);
        assert_eq!(from_jsonl("events.jsonl", "").unwrap(), vec![]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (line, says) in [
            ("{\"at_ns\":1,\"code\":\"a\"}", "missing field `detail`"),
            ("{\"at_ns\":1,\"code\":\"a\",\"detail\":\"\",\"x\":1}", "unknown field `x`"),
            ("nonsense", "expected"),
        ] {
            let text = format!("{}{line}\n", to_jsonl(&[RunEvent { at: Nanos(0), code: "start", detail: String::new() }]));
            let error = from_jsonl("events.jsonl", &text).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(says), "{error}");
        }
    }
}
