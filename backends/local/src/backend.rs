//! The engine as a backend, like any other: the harness does not know that it runs in the same process.

use crate::capacity::{Capacity, Load};
use crate::channel::LocalChannel;
use crate::config::LocalConfig;
use crate::encoder::LocalEncoder;
use crate::gauges::Reading;
use crate::kernels::Kernel;
use crate::pool::PoolUsage;
use crate::preset::Preset;
use crate::scheduler::Ask;
use crate::telemetry::LocalTelemetry;
use crate::thread::{self, Command, Handle};
use nomoat_core::backend::{
    Backend, BackendError, BackendInfo, BoxFuture, Capabilities, Channel, Encoder, EngineVersion, Offer, Telemetry,
};
use nomoat_core::request::ShardId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The name of the engine in versions and tables.
const ENGINE: &str = "nomoat-cpu";

/// The built-in engine, running on its own threads until the backend and all its channels are gone.
#[derive(Debug)]
pub struct LocalBackend {
    config: LocalConfig,
    preset: &'static Preset,
    kernel: Kernel,
    handle: Handle,
}

impl LocalBackend {
    /// Makes the weights and starts the engine with the fastest kernels of this CPU.
    ///
    /// # Errors
    /// [`BackendError::Config`] for a setting that cannot work (an unknown preset is answered with the nearest),
    /// [`BackendError::Unreachable`] when the system gives no thread.
    pub fn new(config: LocalConfig) -> Result<Arc<Self>, BackendError> {
        let (preset, kernel) = (config.checked()?, Kernel::detect());
        let handle = thread::start(&config, kernel)?;
        Ok(Arc::new(Self { config, preset, kernel, handle }))
    }

    /// The settings it runs with.
    pub fn config(&self) -> &LocalConfig {
        &self.config
    }

    /// The model's shape.
    pub fn preset(&self) -> &'static Preset {
        self.preset
    }

    /// The KV pool's account, as of the last step.
    pub fn pool(&self) -> PoolUsage {
        let Reading { used_blocks, peak_blocks, .. } = self.handle.gauges.read();
        PoolUsage { used_blocks, peak_blocks, ..self.handle.pool }
    }

    /// Keeps `concurrency` requests of `shape` (input tokens, output tokens) in the engine for `budget` of wall time and tells the
    /// rate it sustained. Blocks the caller for that time, and longer only where the host is too slow for a token in it.
    /// Nothing of it enters the engine's counters; requests that come meanwhile wait.
    ///
    /// # Errors
    /// [`BackendError::Config`] when the shape cannot run or the engine is not idle,
    /// [`BackendError::Unreachable`] when its thread has ended.
    pub fn probe_capacity(&self, budget: Duration, shape: (u32, u32), concurrency: u32) -> Result<Capacity, BackendError> {
        let load = Load { budget, input_tokens: shape.0, output_tokens: shape.1, concurrency };
        let (reply, answer) = std::sync::mpsc::channel();
        let gone = || BackendError::Unreachable("probing the built-in engine's capacity: its thread has ended".into());
        match self.handle.commands.try_send(Command::Measure(load, reply)) {
            Ok(()) => answer.recv().map_err(|_| gone())?.map_err(|error| BackendError::Config(error.to_string())),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(gone()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(BackendError::Config("probing the built-in engine's capacity while it serves requests; probe before the load".into()))
            }
        }
    }

    /// One token from the engine, to see that it answers.
    async fn one_token(&self) -> Result<(), BackendError> {
        let silent = || BackendError::Unreachable("the built-in engine's thread has ended; this is a bug, please report it".into());
        let (owner, mut pieces) = mpsc::channel(1);
        let ask = Ask { prompt: vec![1], max_tokens: 1, exact: true };
        self.handle.commands.send(Command::Generate(ask, owner)).await.map_err(|_| silent())?;
        pieces.recv().await.map(|_| ()).ok_or_else(silent)
    }
}

impl Backend for LocalBackend {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            kind: "local",
            dialect: ENGINE.into(),
            target: format!("{} in this process", self.preset.name),
            shares_host: true,
            stamps: "hand-over in this process",
        }
    }

    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, BackendError>> {
        let version = format!("{} {} {}", env!("CARGO_PKG_VERSION"), self.preset.name, self.kernel.name());
        Box::pin(async { Ok(EngineVersion { engine: ENGINE.into(), version, source: "built in".into() }) })
    }

    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, BackendError>> {
        Box::pin(async {
            self.one_token().await?;
            let mut notes = vec![
                format!("kernels: {}, threads: {}", self.kernel.name(), self.config.threads),
                "random weights, greedy sampling, no prefix cache: every prompt is computed".into(),
            ];
            if let Err(why) = &self.handle.priority {
                notes.push(format!("the engine's threads run at the harness's priority, lowering it failed: {why}"));
            }
            Ok(Capabilities {
                model: self.preset.name.into(),
                context_tokens: Some(self.preset.context as u32),
                exact_length: true,
                token_ids: true,
                usage: true,
                geometry: Some(self.preset.geometry()),
                notes,
                ..Capabilities::default()
            })
        })
    }

    fn encoder(&self, offer: &Offer) -> Arc<dyn Encoder> {
        Arc::new(LocalEncoder::new(offer.prompt_seed, self.preset.vocab, self.preset.context))
    }

    fn open(&self, _shard: ShardId) -> BoxFuture<'_, Result<Box<dyn Channel>, BackendError>> {
        let channel: Box<dyn Channel> = Box::new(LocalChannel::new(self.handle.commands.clone(), self.handle.limits));
        Box::pin(async { Ok(channel) })
    }

    fn telemetry(&self) -> Option<Box<dyn Telemetry>> {
        Some(Box::new(LocalTelemetry::new(self.handle.clone())))
    }
}
