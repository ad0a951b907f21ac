//! The engine's own numbers, as its adapter tells them, under canonical names.

use crate::frame::framed;
use crate::link::Link;
use crate::message::Said;
use nomoat_core::backend::{BackendError, BoxFuture, Telemetry};
use nomoat_core::sample::{Sample, SampleSource, names};
use nomoat_core::units::Nanos;
use std::path::PathBuf;
use std::time::Duration;

/// What an adapter may tell.
const KNOWN: &[&str] = &[
    names::RUNNING,
    names::WAITING,
    names::KV_USED_BYTES,
    names::KV_USED_FRACTION,
    names::KV_CAPACITY_BYTES,
    names::KV_CAPACITY_TOKENS,
    names::PROMPT_TOKENS,
    names::GENERATION_TOKENS,
    names::PREEMPTIONS,
    names::PREFIX_HITS,
    names::PREFIX_QUERIES,
];

/// Asks on a connection of its own, so that a slow reading delays no token.
#[derive(Debug)]
pub struct ExecTelemetry {
    socket: PathBuf,
    within: Duration,
    link: Option<Link>,
}

impl ExecTelemetry {
    /// Of the adapter at `socket`; each reading may take `within`.
    pub fn new(socket: PathBuf, within: Duration) -> Self {
        Self { socket, within, link: None }
    }

    async fn read(&mut self) -> Result<Vec<Sample>, BackendError> {
        let failed = |why: String| BackendError::Unreachable(format!("reading the metrics of the adapter: {why}"));
        let mut link = match self.link.take().filter(Link::is_idle) {
            Some(link) => link,
            None => Link::open(&self.socket, self.within).await.map_err(|e| failed(e.to_string()))?,
        };
        let frame = framed(br#"{"type":"sample"}"#).unwrap_or_default();
        let values = match link.ask(&frame, self.within).await {
            Ok(Said::Samples { values }) => values,
            Ok(_) => return Err(failed("it answers `sample` with another message".into())),
            Err(broken) => return Err(failed(broken.to_string())),
        };
        self.link = Some(link);
        let sample = |(metric, value): (String, f64)| match KNOWN.iter().find(|known| **known == metric) {
            Some(known) => {
                Ok(Sample { at: Nanos::ZERO, source: SampleSource::Engine, metric: (*known).into(), labels: String::new(), value })
            }
            None => Err(failed(format!("`{metric}` is no canonical name; PROTOCOL.md lists them"))),
        };
        values.into_iter().map(sample).collect()
    }
}

impl Telemetry for ExecTelemetry {
    fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
        Box::pin(self.read())
    }
}
