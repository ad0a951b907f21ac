//! Faster or slower arrivals, with the gaps inside sessions as they are.

use nomoat_core::trace::Trace;

/// Multiplies the arrival times of roots by `scale`: below 1 for more load.
pub(super) fn arrivals(trace: &mut Trace, scale: f64) -> Result<(), String> {
    if !(scale > 0.0 && scale.is_finite()) {
        return Err(format!("--arrival-scale must be a positive number, not {scale}"));
    }
    for request in trace.requests.iter_mut().filter(|r| r.after.is_empty()) {
        request.at = request.at.map(|at| at.scale(scale));
    }
    trace.losses.push(format!("times between arrivals are multiplied by {scale}"));
    Ok(())
}
