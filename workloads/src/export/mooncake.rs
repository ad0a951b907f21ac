//! Mooncake's JSON Lines: arrival in milliseconds, lengths, ids of the prompt's 512-token blocks.

use super::{Exporter, common_losses};
use crate::error::TraceError;
use nomoat_core::prompt::Prompt;
use nomoat_core::reuse::{ByHash, Piece, chain, pieces};
use nomoat_core::rng::mix;
use nomoat_core::trace::{Trace, TraceRequest};
use std::io::Write;

/// The exporter.
pub(super) struct Mooncake;

/// Tokens per block of this format.
const BLOCK_TOKENS: u32 = 512;

/// Ids of prompts' blocks, numbered as they come: equal ids are equal prefixes.
#[derive(Default)]
pub(super) struct Numbers {
    ids: ByHash<u64>,
    hashes: Vec<u64>,
}

impl Numbers {
    /// The ids of a prompt: one for each 512 tokens, the last perhaps for fewer.
    pub fn of(&mut self, pieces: &[Piece]) -> Vec<u64> {
        self.hashes.clear();
        chain(pieces, BLOCK_TOKENS, &mut self.hashes);
        let full = u64::from(BLOCK_TOKENS) * self.hashes.len() as u64;
        let rest = pieces.iter().map(|p| u64::from(p.1)).sum::<u64>() - full;
        if rest > 0 {
            // What is beyond the full blocks, by what it consists of.
            let mut ends = vec![];
            let mut from = 0_u64;
            for (identity, tokens) in pieces {
                let to = from + u64::from(*tokens);
                if to > full {
                    ends.push(mix(*identity ^ full.saturating_sub(from)) ^ (to - full.max(from)));
                }
                from = to;
            }
            let before = self.hashes.last().copied().unwrap_or_default();
            self.hashes.push(ends.iter().fold(mix(before ^ 0x9a), |hash, end| mix(hash ^ end)));
        }
        let next = |ids: &ByHash<u64>| ids.len() as u64;
        let mut numbered = Vec::with_capacity(self.hashes.len());
        for hash in &self.hashes {
            let number = next(&self.ids);
            numbered.push(*self.ids.entry(*hash).or_insert(number));
        }
        numbered
    }
}

/// The content of a request's prompt.
pub(super) fn content(trace: &Trace, index: usize, request: &TraceRequest) -> Result<Vec<Piece>, TraceError> {
    pieces(trace, &request.prompt).filter(|_| !matches!(request.prompt, Prompt::Live { .. })).ok_or_else(|| TraceError::Unwritable {
        trace: trace.name.clone(),
        problem: format!("request {index} is a recorded text or a live conversation, which has no blocks"),
        remedy: "export a trace whose prompts are given by blocks, pieces, ids or lengths".into(),
    })
}

impl Exporter for Mooncake {
    fn name(&self) -> &'static str {
        "mooncake"
    }

    fn about(&self) -> &'static str {
        "Mooncake traces (JSON Lines): timestamp, input_length, output_length, hash_ids of 512 tokens"
    }

    fn export(&self, trace: &Trace, out: &mut dyn Write) -> Result<Vec<String>, TraceError> {
        let mut numbers = Numbers::default();
        let mut latest = 0;
        let (mut rows, mut fine) = (Vec::with_capacity(trace.requests.len()), false);
        let untimed = trace.requests.iter().filter(|r| r.at.is_none()).count();
        if untimed > 0 {
            return Err(TraceError::Unwritable {
                trace: trace.name.clone(),
                problem: format!("{untimed} requests have no recorded arrival, and this format knows nothing else"),
                remedy: "export it to aiperf, which knows delays".into(),
            });
        }
        for (index, request) in trace.requests.iter().enumerate() {
            let at = request.at.unwrap_or_default();
            fine |= at.0 % 1_000_000 != 0;
            rows.push((at.0 / 1_000_000, index, content(trace, index, request)?));
        }
        rows.sort_by_key(|row| (row.0, row.1));
        let wrong = |source| TraceError::Write { trace: trace.name.clone(), source };
        for (ms, index, content) in rows {
            let request = &trace.requests[index];
            latest = latest.max(ms);
            let ids = numbers.of(&content);
            let row = serde_json::json!({
                "timestamp": ms, "input_length": request.input_tokens, "output_length": request.output_tokens, "hash_ids": ids,
            });
            writeln!(out, "{row}").map_err(wrong)?;
        }
        out.flush().map_err(wrong)?;
        let mut losses = common_losses(trace);
        if fine {
            losses.push("arrivals are cut to whole milliseconds".into());
        }
        let waiting = trace.requests.iter().filter(|r| !r.after.is_empty()).count();
        if waiting > 0 {
            losses.push(format!("{waiting} requests that wait for others arrive at recorded times, however long the others take"));
        }
        if trace.requests.iter().any(|r| r.session.is_some()) {
            losses.push("sessions are not named".into());
        }
        losses.push("sharing is kept in blocks of 512 tokens: shorter common beginnings are lost".into());
        Ok(losses)
    }
}
