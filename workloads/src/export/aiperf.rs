//! AIPerf's superset of Mooncake's JSON Lines: sessions, and delays after the turn before.

use super::mooncake::{Numbers, content};
use super::{Exporter, common_losses};
use crate::error::TraceError;
use nomoat_core::trace::{Moment, Trace};
use serde_json::{Map, Value};
use std::io::Write;

/// The exporter.
pub(super) struct AiPerf;

impl Exporter for AiPerf {
    fn name(&self) -> &'static str {
        "aiperf"
    }

    fn about(&self) -> &'static str {
        "AIPerf mooncake_trace (JSON Lines): Mooncake's fields, session_id, and delay after the turn before"
    }

    fn export(&self, trace: &Trace, out: &mut dyn Write) -> Result<Vec<String>, TraceError> {
        let mut numbers = Numbers::default();
        let wrong = |source| TraceError::Write { trace: trace.name.clone(), source };
        let (mut forked, mut unordered, mut fine) = (0_u64, 0_u64, false);
        for (index, request) in trace.requests.iter().enumerate() {
            let mut row = Map::new();
            if let Some(session) = request.session {
                row.insert("session_id".into(), session.0.to_string().into());
            }
            let ms = |t: nomoat_core::units::Nanos| Value::from(t.0 / 1_000_000);
            match request.after.first() {
                None => {
                    if let Some(at) = request.at {
                        fine |= at.0 % 1_000_000 != 0;
                        row.insert("timestamp".into(), ms(at));
                    }
                }
                Some(edge) => {
                    let parent = &trace.requests[edge.request.0 as usize];
                    let follows = request.session.is_some() && parent.session == request.session && edge.on == Moment::End;
                    forked += u64::from(request.after.len() > 1 || !follows);
                    unordered += u64::from(request.session.is_none());
                    fine |= edge.gap.0 % 1_000_000 != 0;
                    row.insert("delay".into(), ms(edge.gap));
                }
            }
            row.insert("input_length".into(), request.input_tokens.into());
            row.insert("output_length".into(), request.output_tokens.into());
            row.insert("hash_ids".into(), numbers.of(&content(trace, index, request)?).into());
            writeln!(out, "{}", Value::Object(row)).map_err(wrong)?;
        }
        out.flush().map_err(wrong)?;
        let mut losses = common_losses(trace);
        if forked > 0 {
            losses.push(format!(
                "{forked} requests that wait for several others, or not for the turn before, follow the row before of their session"
            ));
        }
        if unordered > 0 {
            losses.push(format!("{unordered} requests wait for others outside a session, which the format cannot say"));
        }
        if fine {
            losses.push("times are cut to whole milliseconds".into());
        }
        losses.push("sharing is kept in blocks of 512 tokens: shorter common beginnings are lost".into());
        Ok(losses)
    }
}
