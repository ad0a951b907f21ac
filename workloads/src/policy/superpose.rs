//! More load with the same gaps: copies of the trace run at once, shifted in time, and share no block with each other.

use super::kept::order;
use nomoat_core::prompt::Prompt;
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::rng::Stream;
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;

/// Most copies: their number stands in the top bits of a namespace.
const MOST: u32 = 256;

/// Runs `copies` of the trace at once. Each but the first is shifted by a random part of the span, around its end, so that the busy times do
/// not fall together.
pub(super) fn superpose(trace: &mut Trace, copies: u32, seed: u64) -> Result<(), String> {
    if copies == 0 || copies > MOST {
        return Err(format!("a trace is superposed with 1 to {MOST} copies of itself, not {copies}"));
    }
    let n = trace.requests.len() as u64;
    if n * u64::from(copies) > u64::from(u32::MAX) {
        return Err(format!("{copies} copies of {n} requests are more than there are request ids; take fewer"));
    }
    let sessions = trace.requests.iter().filter_map(|r| r.session).map(|s| s.0 + 1).max().unwrap_or_default();
    if u64::from(sessions) * u64::from(copies) > u64::from(u32::MAX) {
        return Err(format!("{copies} copies have more sessions than there are session ids; take fewer"));
    }
    let span = trace.span().unwrap_or_default();
    let mut shifts = Stream::new(seed, "policy/superpose");
    let original = trace.requests.clone();
    for copy in 1..copies {
        let shift = Nanos(shifts.below(span.0.max(1) as u64) as i64 / 1_000 * 1_000);
        let base = trace.requests.len() as u32;
        for request in &original {
            let mut request = request.clone();
            request.session = request.session.map(|s| SessionId(s.0 + sessions * copy));
            request.after.iter_mut().for_each(|edge| edge.request = RequestId(edge.request.0 + base));
            apart(&mut request.prompt, copy, base);
            // What is shifted beyond the end begins again at the start. Children have their times from their edges.
            request.at = request.at.map(|at| if at + shift > span { at + shift - span } else { at + shift });
            trace.requests.push(request);
        }
    }
    order(trace);
    trace.losses.push(format!("{copies} copies at once, each shifted by a random time and with blocks of its own"));
    Ok(())
}

fn apart(prompt: &mut Prompt, copy: u32, base: u32) {
    match prompt {
        Prompt::Blocks(p) => p.namespace ^= u64::from(copy) << 56,
        Prompt::Parts(p) => p.namespace ^= u64::from(copy) << 56,
        Prompt::Live { of, add } => {
            of.0 += base;
            apart(add, copy, base);
        }
        // Recorded content is the same in every copy, and shared.
        Prompt::Text(_) | Prompt::Messages(_) | Prompt::Ids(_) => {}
    }
}
