//! The engine as a state machine: requests in, one step at a time, tokens out. No threads of its own but the helpers of large
//! matrix products, no clock, no channels.

use crate::cache::KvCache;
use crate::config::LocalConfig;
use crate::crew::Crew;
use crate::kernels::Kernel;
use crate::kernels::pointwise::greedy;
use crate::model::{Model, Span};
use crate::pool::{BlockPool, PoolUsage};
use crate::preset::Preset;
use crate::scheduler::{Ask, Limits, Produced, Refusal, Scheduler, SequenceId};
use nomoat_core::backend::BackendError;

/// What a step did, beside the tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// Tokens computed, of prompts and of answers, recomputed ones included.
    pub computed: u64,
    /// Prompt tokens computed for the first time.
    pub prompt_tokens: u64,
    /// Sequences preempted.
    pub preempted: u32,
}

/// A model, its cache and its scheduler.
#[derive(Debug)]
pub struct Engine {
    model: Model,
    cache: KvCache,
    pool: BlockPool,
    scheduler: Scheduler,
    sampled: Vec<u32>,
    produced: Vec<Produced>,
}

impl Engine {
    /// The engine that `config` describes, idle. `prepare` runs at the start of each helper thread.
    ///
    /// # Errors
    /// [`BackendError::Config`] for a setting that cannot work, [`BackendError::Unreachable`] when the system gives no thread.
    pub fn new(config: &LocalConfig, kernel: Kernel, prepare: fn()) -> Result<Self, BackendError> {
        let preset = config.checked()?;
        let no_thread = |error| BackendError::Unreachable(format!("starting the helper threads of the built-in engine: {error}"));
        let crew = Crew::new(kernel, config.threads, prepare).map_err(no_thread)?;
        let cache = KvCache::new(preset, config.pool_blocks as usize);
        let limits = Limits {
            batch_tokens: config.max_batch_tokens as usize,
            running: config.max_running as usize,
            context: preset.context,
            pool_blocks: config.pool_blocks as usize,
            vocab: preset.vocab,
        };
        Ok(Self {
            pool: BlockPool::new(config.pool_blocks, cache.block_bytes()),
            cache,
            model: Model::new(preset, config.seed, crew),
            scheduler: Scheduler::new(limits),
            sampled: vec![],
            produced: vec![],
        })
    }

    /// The model's shape.
    pub fn preset(&self) -> &Preset {
        self.model.preset()
    }

    /// What bounds its requests.
    pub fn limits(&self) -> &Limits {
        self.scheduler.limits()
    }

    /// The KV pool's account.
    pub fn pool(&self) -> PoolUsage {
        self.pool.usage()
    }

    /// Forgets the pool's peak.
    pub fn reset_peak(&mut self) {
        self.pool.reset_peak();
    }

    /// Who waits and who runs.
    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.scheduler.is_idle()
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// Why it can never run.
    pub fn submit(&mut self, ask: Ask) -> Result<SequenceId, Refusal> {
        self.scheduler.submit(ask)
    }

    /// Lets go of a request and its blocks. Whether it was there.
    pub fn cancel(&mut self, id: SequenceId) -> bool {
        self.scheduler.cancel(id, &mut self.pool)
    }

    /// Computes the next batch. Nothing happens when the engine is idle.
    pub fn step(&mut self) -> Step {
        self.sampled.clear();
        self.produced.clear();
        let plan = self.scheduler.plan(&mut self.pool);
        if !plan.slices.is_empty() {
            let running = self.scheduler.running();
            let spans: Vec<Span<'_>> = plan
                .slices
                .iter()
                .map(|slice| {
                    let sequence = &running[slice.index];
                    let start = sequence.computed();
                    let tokens = &sequence.tokens()[start..start + slice.count];
                    Span { table: sequence.table(), start, tokens, logits: slice.samples }
                })
                .collect();
            self.model.forward(&mut self.cache, &spans);
            self.sampled.extend(self.model.logits().map(greedy));
        }
        let prompt_tokens = self.scheduler.commit(&mut self.pool, &plan, &self.sampled, &mut self.produced);
        let computed = plan.slices.iter().map(|slice| slice.count as u64).sum();
        Step { computed, prompt_tokens, preempted: plan.preempted }
    }

    /// Tokens that came out of the last step.
    pub fn produced(&self) -> &[Produced] {
        &self.produced
    }

    /// The logits they were chosen by, in the same order.
    pub fn logits(&self) -> std::slice::ChunksExact<'_, f32> {
        self.model.logits()
    }
}
