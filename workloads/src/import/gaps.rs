//! How a turn waits for the one before.

use super::Gaps;
use nomoat_core::request::RequestId;
use nomoat_core::trace::{Cause, Edge, EdgeKind, Moment};
use nomoat_core::units::Nanos;

/// "`gap` after the start of `request`", whatever the engine does.
pub(crate) fn after_start(request: RequestId, gap: Nanos, cause: Cause) -> Edge {
    Edge { request, on: Moment::Start, gap, kind: EdgeKind::Needs, cause }
}

/// Edges to a turn before of which only the start was recorded, `gap` earlier. Under [`Gaps::Think`] the recorded distance holds as long as the
/// answer is there by then, because the next turn contains it; otherwise the next turn follows the answer at once.
pub(crate) fn since_start(request: RequestId, gap: Nanos, cause: Cause, gaps: Gaps) -> Vec<Edge> {
    let start = after_start(request, gap, cause);
    match gaps {
        Gaps::Think => vec![start, Edge::after_end(request, Nanos::ZERO, cause)],
        Gaps::Recorded => vec![start],
    }
}
