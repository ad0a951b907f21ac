//! Sharing of prompts: by the trace's own blocks or pieces, for every size of cache, and by the blocks that an engine would cut them into.

use nomoat_core::prompt::Prompt;
use nomoat_core::reuse::{Recency, Unbounded, pieces};
use nomoat_core::rng::mix;
use nomoat_core::trace::{Trace, TraceRequest};
use nomoat_core::units::Nanos;
use std::collections::HashMap;

/// What to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharingOptions {
    /// Sizes of an engine's blocks, in tokens.
    pub engine_blocks: Vec<u32>,
    /// Sizes of a cache under least recently used, in the trace's own blocks.
    pub caches: Vec<u32>,
    /// How long a cache keeps a block after its last use.
    pub kept: Vec<Nanos>,
}

impl Default for SharingOptions {
    fn default() -> Self {
        Self {
            engine_blocks: vec![16],
            caches: vec![1_000, 5_000, 10_000, 20_000, 50_000, 100_000],
            kept: [60, 300, 3_600].map(Nanos::from_secs).to_vec(),
        }
    }
}

/// Sharing between prompts. "Leading" counts from the start of each prompt to the first block that no earlier request had: what a prefix
/// cache can use.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sharing {
    /// Tokens of the trace's own blocks; `None` where they differ or are pieces of any length.
    pub block_tokens: Option<u32>,
    /// Blocks or pieces of all prompts, repetitions counted.
    pub refs: u64,
    /// Different ones.
    pub unique: u64,
    /// Tokens of all prompts, those outside blocks included.
    pub tokens: u64,
    /// Blocks that some earlier request had, wherever they stand.
    pub seen: u64,
    /// Tokens of those.
    pub seen_tokens: u64,
    /// Leading blocks in a cache without bounds.
    pub leading: u64,
    /// Tokens of those.
    pub leading_tokens: u64,
    /// Requests that find nothing.
    pub cold: u64,
    /// Leading blocks by the size of a cache under least recently used.
    pub caches: Vec<(u32, u64)>,
    /// Leading tokens by how long a cache keeps what was used; empty where some request has no recorded arrival.
    pub kept: Vec<(Nanos, u64)>,
    /// By block size of an engine: prompt tokens that its cache finds, without bounds.
    pub engine: Vec<(u32, u64)>,
}

impl Sharing {
    /// A share of the blocks, 0 to 1; `None` without blocks.
    pub fn of_refs(&self, part: u64) -> Option<f64> {
        (self.refs > 0).then(|| part as f64 / self.refs as f64)
    }

    /// A share of the tokens, 0 to 1; `None` without tokens.
    pub fn of_tokens(&self, part: u64) -> Option<f64> {
        (self.tokens > 0).then(|| part as f64 / self.tokens as f64)
    }
}

/// Sharing as requests come.
pub(super) struct Shares {
    options: SharingOptions,
    sharing: Sharing,
    sizes: Option<(u32, bool)>,
    /// By block: when it was last used.
    last: HashMap<u64, Nanos>,
    timed: bool,
    recency: Recency,
    engines: Vec<Unbounded>,
    /// For prompts that continue others: those that may be.
    units: Vec<(u64, u32)>,
    blocks: Vec<u64>,
}

impl Shares {
    pub fn new(options: SharingOptions) -> Self {
        let caches = options.caches.iter().map(|size| (*size, 0)).collect();
        let kept = options.kept.iter().map(|time| (*time, 0)).collect();
        let engine = options.engine_blocks.iter().map(|size| (*size, 0)).collect();
        Self {
            engines: options.engine_blocks.iter().map(|size| Unbounded::new(*size)).collect(),
            options,
            sharing: Sharing { caches, kept, engine, ..Sharing::default() },
            sizes: None,
            last: HashMap::new(),
            timed: true,
            recency: Recency::new(1),
            units: vec![],
            blocks: vec![],
        }
    }

    pub fn add(&mut self, request: &TraceRequest) {
        self.sharing.tokens += u64::from(request.input_tokens);
        if !self.units_of(&request.prompt) {
            return;
        }
        // A live conversation's earlier turns are not at hand here, and recorded texts have no tokens.
        if let Some(pieces) = pieces(&Trace::default(), &request.prompt) {
            for (engine, found) in self.engines.iter_mut().zip(&mut self.sharing.engine) {
                found.1 += engine.look_up(&pieces);
            }
        }
        self.timed &= request.at.is_some();
        let at = request.at.unwrap_or_default();
        let sharing = &mut self.sharing;
        let (mut leads, mut oldest, mut found_any) = (true, Nanos::ZERO, false);
        for (unit, tokens) in &self.units {
            let tokens = u64::from(*tokens);
            sharing.refs += 1;
            let Some(before) = self.last.get(unit) else {
                leads = false;
                continue;
            };
            (sharing.seen, sharing.seen_tokens, found_any) = (sharing.seen + 1, sharing.seen_tokens + tokens, true);
            oldest = oldest.max(at - *before);
            if leads {
                (sharing.leading, sharing.leading_tokens) = (sharing.leading + 1, sharing.leading_tokens + tokens);
                for (kept, found) in &mut sharing.kept {
                    *found += if oldest <= *kept { tokens } else { 0 };
                }
            }
        }
        sharing.cold += u64::from(!found_any);
        // After all of it was looked up: a prompt does not reuse itself.
        for (unit, _) in &self.units {
            let last = self.last.entry(*unit).or_insert(at);
            *last = at.max(*last);
        }
        if !self.options.caches.is_empty() {
            self.blocks.clear();
            self.blocks.extend(self.units.iter().map(|(unit, _)| *unit));
            let found = self.recency.look_up_blocks(&self.blocks);
            for (size, leading) in &mut sharing.caches {
                *leading += found.leading(*size);
            }
        }
    }

    /// The trace's own units of a prompt; `false` for one that has none.
    fn units_of(&mut self, prompt: &Prompt) -> bool {
        self.units.clear();
        let mut note = |size: u32| {
            let (first, same) = *self.sizes.get_or_insert((size, true));
            self.sizes = Some((first, same && first == size));
        };
        match prompt {
            Prompt::Blocks(prompt) => {
                let mut left = prompt.tokens;
                let space = mix(prompt.namespace ^ (u64::from(prompt.block_tokens) << 40));
                for id in prompt.blocks.iter().flat_map(|range| range.first..range.first + u64::from(range.count)) {
                    let tokens = left.min(prompt.block_tokens);
                    left -= tokens;
                    self.units.push((mix(space ^ mix(id)), tokens));
                }
                if !self.units.is_empty() {
                    note(prompt.block_tokens);
                }
            }
            Prompt::Parts(prompt) => {
                let space = mix(prompt.namespace ^ 7);
                self.units.extend(prompt.parts.iter().map(|part| (mix(space ^ mix(part.id)), part.tokens)));
                note(0);
            }
            Prompt::Text(_) | Prompt::Messages(_) | Prompt::Ids(_) | Prompt::Live { .. } => {}
        }
        !self.units.is_empty()
    }

    pub fn finish(self) -> Option<Sharing> {
        let (size, same) = self.sizes?;
        let mut sharing = self.sharing;
        sharing.block_tokens = (same && size > 0).then_some(size);
        sharing.unique = self.last.len() as u64;
        if !self.timed {
            sharing.kept.clear();
        }
        Some(sharing)
    }
}
