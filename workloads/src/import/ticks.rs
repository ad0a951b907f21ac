//! Arrivals that a coarse clock rounded together, spread again.

use nomoat_core::rng::Stream;
use nomoat_core::trace::TraceRequest;
use nomoat_core::units::Nanos;

/// Spreads requests of the same recorded arrival uniformly at random over `tick` from there on, in their order, never past the next recorded
/// arrival; a request alone in its tick too, unless `only_shared`.
pub(crate) fn spread(requests: &mut [TraceRequest], tick: Nanos, only_shared: bool, stream: &mut Stream) {
    let mut offsets = vec![];
    let mut start = 0;
    while start < requests.len() {
        let at = requests[start].at.unwrap_or_default();
        let end = start + requests[start..].iter().take_while(|r| r.at == Some(at)).count();
        if end == start {
            // It has no arrival to spread.
            start += 1;
            continue;
        }
        if only_shared && end == start + 1 {
            start = end;
            continue;
        }
        // Never past the next tick, so that the order of the file holds; whole microseconds, as the canonical format has.
        let room = requests.get(end).and_then(|next| next.at).map_or(tick, |next| (next - at).min(tick));
        offsets.clear();
        offsets.extend((start..end).map(|_| stream.below(room.0 as u64 / 1_000)));
        offsets.sort_unstable();
        for (request, offset) in requests[start..end].iter_mut().zip(&offsets) {
            request.at = Some(at + Nanos::from_micros(*offset as i64));
        }
        start = end;
    }
}
