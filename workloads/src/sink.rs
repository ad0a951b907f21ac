//! Where requests go as they are read or made: into memory, into a file, into statistics.

use crate::error::TraceError;
use nomoat_core::trace::{Trace, TraceRequest};

/// Takes the requests of a trace, one by one.
pub trait Sink {
    /// Takes the next request. Its id is how many came before it.
    ///
    /// # Errors
    /// Why it cannot take it; the import ends there.
    fn request(&mut self, request: TraceRequest) -> Result<(), TraceError>;
}

/// Keeps them.
#[derive(Default)]
pub(crate) struct Collect {
    pub requests: Vec<TraceRequest>,
}

impl Sink for Collect {
    fn request(&mut self, request: TraceRequest) -> Result<(), TraceError> {
        self.requests.push(request);
        Ok(())
    }
}

/// Lets each of two see them.
pub struct Both<'a>(pub &'a mut dyn Sink, pub &'a mut dyn Sink);

impl Sink for Both<'_> {
    fn request(&mut self, request: TraceRequest) -> Result<(), TraceError> {
        self.0.request(request.clone())?;
        self.1.request(request)
    }
}

/// Sends the requests of a trace in memory to `sink`.
///
/// # Errors
/// What the sink says.
pub fn replay(trace: &Trace, sink: &mut dyn Sink) -> Result<(), TraceError> {
    trace.requests.iter().try_for_each(|request| sink.request(request.clone()))
}
