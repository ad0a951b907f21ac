//! Traces for other tools: what their formats cannot say is lost, and said.

mod aiperf;
mod mooncake;

use crate::error::TraceError;
use nomoat_core::suggest::nearest;
use nomoat_core::trace::Trace;
use std::io::Write;

/// Writes one foreign format.
pub trait Exporter: Sync {
    /// Name as typed after `--to`.
    fn name(&self) -> &'static str;

    /// One line for lists.
    fn about(&self) -> &'static str;

    /// Writes `trace`; what comes back is what the format could not say, in words.
    ///
    /// # Errors
    /// What of the trace the format cannot say even roughly, or why `out` failed.
    fn export(&self, trace: &Trace, out: &mut dyn Write) -> Result<Vec<String>, TraceError>;
}

/// Every format.
pub const EXPORTERS: &[&dyn Exporter] = &[&mooncake::Mooncake, &aiperf::AiPerf];

/// The exporter of a format.
///
/// # Errors
/// An unknown name, with the nearest known one.
pub fn exporter(name: &str) -> Result<&'static dyn Exporter, TraceError> {
    let names = || EXPORTERS.iter().map(|e| e.name());
    EXPORTERS.iter().copied().find(|e| e.name() == name).ok_or_else(|| TraceError::UnknownFormat {
        name: name.into(),
        nearest: nearest(name, names()).unwrap_or_default().into(),
        known: names().collect::<Vec<_>>().join(", "),
    })
}

/// What neither of the formats here can say.
fn common_losses(trace: &Trace) -> Vec<String> {
    let count = |is: &dyn Fn(&nomoat_core::trace::TraceRequest) -> bool| trace.requests.iter().filter(|r| is(r)).count();
    let mut losses = vec![];
    for (n, what) in [
        (count(&|r| r.class != 0), "requests lose their class"),
        (count(&|r| r.priority != 0), "requests lose their priority"),
        (count(&|r| r.adapter != 0), "requests lose their adapter"),
        (count(&|r| r.cancel.is_some()), "requests are not cancelled"),
        (count(&|r| r.recorded.is_some()), "requests lose what came of them when they were recorded"),
    ] {
        if n > 0 {
            losses.push(format!("{n} {what}"));
        }
    }
    if trace.origin.licence.is_some() || trace.origin.attribution.is_some() {
        losses.push("licence and attribution do not stand in the file: name them beside it".into());
    }
    losses
}

#[cfg(test)]
mod tests;
