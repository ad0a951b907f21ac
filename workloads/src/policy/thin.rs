//! Less load with the same gaps: whole sessions are left out at random.

use super::kept::keep;
use super::slice::groups;
use nomoat_core::rng::{keyed, stream_key};
use nomoat_core::trace::Trace;

/// Keeps a share of the sessions, and of the requests without one.
pub(super) fn thin(trace: &mut Trace, share: f64, seed: u64) -> Result<(), String> {
    if !(share > 0.0 && share <= 1.0) {
        return Err(format!("thinning keeps a share above 0 and at most 1, not {share}"));
    }
    let key = stream_key(seed, "policy/thin");
    let groups = groups(trace);
    let all = trace.requests.len();
    keep(trace, |index| ((keyed(key, u64::from(groups[index])) >> 11) as f64) < share * (1_u64 << 53) as f64);
    trace.losses.push(format!("thinned to a share of {share} of its sessions: {} of {all} requests", trace.requests.len()));
    Ok(())
}
