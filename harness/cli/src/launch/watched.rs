//! The way to an engine that runs as our child: its memory is read beside its metrics.

use crate::processes;
use nomoat_core::backend::{
    Backend, BackendError, BackendInfo, BoxFuture, Capabilities, Channel, Encoder, EngineVersion, Offer, Telemetry,
};
use nomoat_core::request::ShardId;
use nomoat_core::sample::{Sample, SampleSource, names};
use nomoat_core::units::Nanos;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often memory is read: all of `/proc` is gone through for it.
const EVERY: Duration = Duration::from_secs(1);

/// A backend whose engine is a group of processes of this host.
pub struct Watched {
    inner: Arc<dyn Backend>,
    group: u32,
}

impl Watched {
    /// `inner`, whose engine is process group `group`.
    pub fn new(inner: Arc<dyn Backend>, group: u32) -> Self {
        Self { inner, group }
    }
}

impl Backend for Watched {
    fn info(&self) -> BackendInfo {
        self.inner.info()
    }

    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, BackendError>> {
        self.inner.version()
    }

    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, BackendError>> {
        self.inner.probe()
    }

    fn encoder(&self, offer: &Offer) -> Arc<dyn Encoder> {
        self.inner.encoder(offer)
    }

    fn open(&self, shard: ShardId) -> BoxFuture<'_, Result<Box<dyn Channel>, BackendError>> {
        self.inner.open(shard)
    }

    fn telemetry(&self) -> Option<Box<dyn Telemetry>> {
        Some(Box::new(Memory { inner: self.inner.telemetry(), group: self.group, read: None }))
    }
}

/// The engine's metrics, where it has any, and its memory.
struct Memory {
    inner: Option<Box<dyn Telemetry>>,
    group: u32,
    read: Option<Instant>,
}

impl Telemetry for Memory {
    fn sample(&mut self) -> BoxFuture<'_, Result<Vec<Sample>, BackendError>> {
        Box::pin(async move {
            let mut samples = match &mut self.inner {
                Some(inner) => inner.sample().await?,
                None => vec![],
            };
            if self.read.is_none_or(|read| read.elapsed() >= EVERY) {
                self.read = Some(Instant::now());
                // An engine that is gone holds nothing that could be read; that is no zero.
                if let Some(held) = processes::held(self.group) {
                    samples.push(reading(names::ENGINE_RESIDENT, held.resident_bytes));
                    samples.push(reading(names::ENGINE_PROCESSES, held.processes));
                }
            }
            Ok(samples)
        })
    }
}

/// A reading whose moment is the sampler's.
fn reading(metric: &str, value: u64) -> Sample {
    Sample { at: Nanos::ZERO, source: SampleSource::Engine, metric: metric.into(), labels: String::new(), value: value as f64 }
}
