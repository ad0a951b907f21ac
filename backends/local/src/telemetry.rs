//! The engine's own numbers under canonical names.

use crate::pool::BLOCK_TOKENS;
use crate::thread::Handle;
use nomoat_core::backend::{BackendError, BoxFuture, Telemetry};
use nomoat_core::sample::{Sample, SampleSource, names};
use nomoat_core::units::Nanos;

/// Reads a running engine.
#[derive(Debug)]
pub struct LocalTelemetry(Handle);

impl LocalTelemetry {
    /// Of that engine.
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }

    fn read(&self) -> Result<Vec<Sample>, BackendError> {
        let Handle { commands, gauges, pool, .. } = &self.0;
        if commands.is_closed() {
            return Err(BackendError::Unreachable("reading the built-in engine's metrics: its thread has ended".into()));
        }
        let now = gauges.read();
        // What its thread has not yet taken in waits too.
        let queued = (commands.max_capacity() - commands.capacity()) as u64;
        let values = [
            (names::KV_USED_BYTES, (now.used_blocks * pool.block_bytes) as f64),
            (names::KV_CAPACITY_BYTES, pool.capacity_bytes() as f64),
            (names::KV_USED_FRACTION, now.used_blocks as f64 / pool.capacity_blocks as f64),
            (names::KV_CAPACITY_TOKENS, (pool.capacity_blocks * BLOCK_TOKENS as u64) as f64),
            (names::RUNNING, now.running as f64),
            (names::WAITING, (now.waiting + queued) as f64),
            (names::PROMPT_TOKENS, now.prompt_tokens as f64),
            (names::GENERATION_TOKENS, now.generation_tokens as f64),
            (names::PREEMPTIONS, now.preemptions as f64),
        ];
        let sample = |(metric, value): (&str, f64)| Sample {
            at: Nanos::ZERO,
            source: SampleSource::Engine,
            metric: metric.into(),
            labels: String::new(),
            value,
        };
        Ok(values.into_iter().map(sample).collect())
    }
}

impl Telemetry for LocalTelemetry {
    fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
        let reading = self.read();
        Box::pin(async { reading })
    }
}
