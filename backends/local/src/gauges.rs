//! Numbers the engine's thread shows while it runs: written by it alone, read by whoever samples.
//!
//! They are written before the tokens of a step are handed over, so that whoever has an answer reads counters that include it.

use crate::engine::{Engine, Step};
use crate::pool::PoolUsage;
use std::sync::atomic::{AtomicU64, Ordering};

/// The numbers. Totals count from the start of the engine; probes of its capacity are not in them.
#[derive(Debug, Default)]
pub struct Gauges {
    used_blocks: AtomicU64,
    peak_blocks: AtomicU64,
    running: AtomicU64,
    waiting: AtomicU64,
    prompt_tokens: AtomicU64,
    generation_tokens: AtomicU64,
    preemptions: AtomicU64,
}

/// One reading of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// Blocks in use.
    pub used_blocks: u64,
    /// The most there ever were.
    pub peak_blocks: u64,
    /// Requests running.
    pub running: u64,
    /// Requests waiting, those not yet taken in by the engine's thread not among them.
    pub waiting: u64,
    /// Prompt tokens computed, each once.
    pub prompt_tokens: u64,
    /// Tokens handed over.
    pub generation_tokens: u64,
    /// Preemptions.
    pub preemptions: u64,
}

impl Gauges {
    /// Shows the state of an engine.
    pub fn show(&self, engine: &Engine) {
        let PoolUsage { used_blocks, peak_blocks, .. } = engine.pool();
        self.used_blocks.store(used_blocks, Ordering::Relaxed);
        self.peak_blocks.store(peak_blocks, Ordering::Relaxed);
        self.running.store(engine.scheduler().running().len() as u64, Ordering::Relaxed);
        self.waiting.store(engine.scheduler().waiting() as u64, Ordering::Relaxed);
    }

    /// Counts what a step did.
    pub fn count(&self, step: Step) {
        self.prompt_tokens.fetch_add(step.prompt_tokens, Ordering::Relaxed);
        self.preemptions.fetch_add(step.preempted.into(), Ordering::Relaxed);
    }

    /// Counts a token that is about to be handed over and cannot be refused any more.
    pub fn handing_over(&self) {
        self.generation_tokens.fetch_add(1, Ordering::Relaxed);
    }

    /// All of them. The hand-over of a token orders them, not the reading.
    pub fn read(&self) -> Reading {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Reading {
            used_blocks: read(&self.used_blocks),
            peak_blocks: read(&self.peak_blocks),
            running: read(&self.running),
            waiting: read(&self.waiting),
            prompt_tokens: read(&self.prompt_tokens),
            generation_tokens: read(&self.generation_tokens),
            preemptions: read(&self.preemptions),
        }
    }
}
