//! Continuous batching: which tokens of which sequences are computed in the next step.
//!
//! Decoding sequences come first, one token each; what is left of the token budget goes to prompts in chunks, first come first
//! served. A sequence is admitted when all blocks of what it must compute are free plus one to grow into. When a growing
//! sequence finds no block, the newest is preempted: its blocks go back, and its prompt and what it has generated are computed
//! again later (recompute, as in vLLM, arXiv 2309.06180 §4.5). There is no prefix cache: a prompt is always computed.
//!
//! Pure: no threads, no clock, no numbers of the model. Every method ends in a state in which each sequence is either waiting
//! without a block or running with the blocks its computed tokens need.

use crate::pool::{BLOCK_TOKENS, Block, BlockPool, blocks_for};
use nomoat_core::record::FinishReason;
use std::collections::VecDeque;

/// The id that ends an answer whose length is a cap.
pub const END_OF_ANSWER: u32 = 0;

/// A sequence in the scheduler. Later ones have larger numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SequenceId(pub u64);

/// What a request asks of the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// Length of the answer in tokens.
    pub max_tokens: u32,
    /// Whether the answer goes on past [`END_OF_ANSWER`].
    pub exact: bool,
}

/// What bounds the scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most tokens in one step.
    pub batch_tokens: usize,
    /// Most sequences running at once; at most `batch_tokens`.
    pub running: usize,
    /// Longest prompt plus answer.
    pub context: usize,
    /// Blocks of the whole pool.
    pub pool_blocks: usize,
    /// Token ids are below this.
    pub vocab: usize,
}

/// Why a request can never run here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// No prompt.
    #[error("the prompt has no token; send at least one")]
    NoPrompt,
    /// No answer asked for.
    #[error("an answer of 0 tokens is asked for; ask for at least one")]
    NoAnswer,
    /// An id beyond the vocabulary.
    #[error("token id {id} is not below the vocabulary's {vocab}")]
    Vocabulary {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocab: usize,
    },
    /// Longer than the context.
    #[error("{tokens} tokens of prompt and answer do not fit the context of {context}; see --overlong")]
    Context {
        /// Prompt plus answer.
        tokens: usize,
        /// The context.
        context: usize,
    },
    /// Larger than the whole pool.
    #[error("{blocks} KV blocks are needed and the whole pool has {pool}; give it more blocks")]
    Pool {
        /// Blocks at the end of the answer.
        blocks: usize,
        /// Blocks of the pool.
        pool: usize,
    },
}

impl Limits {
    /// Whether a request of this size can run when it is alone, which is also what makes it certain to run at some time.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check_size(&self, prompt: usize, max_tokens: u32) -> Result<(), Refusal> {
        let tokens = prompt.saturating_add(max_tokens as usize);
        // The last token of an answer is handed over and never computed.
        let blocks = blocks_for(tokens.saturating_sub(1));
        match () {
            () if prompt == 0 => Err(Refusal::NoPrompt),
            () if max_tokens == 0 => Err(Refusal::NoAnswer),
            () if tokens > self.context => Err(Refusal::Context { tokens, context: self.context }),
            () if blocks > self.pool_blocks => Err(Refusal::Pool { blocks, pool: self.pool_blocks }),
            () => Ok(()),
        }
    }
}

/// One sequence.
#[derive(Debug)]
pub struct Sequence {
    id: SequenceId,
    /// The prompt, then what was generated.
    tokens: Vec<u32>,
    prompt: usize,
    end: usize,
    exact: bool,
    /// Tokens whose keys and values are in the cache.
    computed: usize,
    /// The largest `computed` ever, so that recomputed prompt tokens are not counted again.
    reached: usize,
    table: Vec<Block>,
}

impl Sequence {
    /// Its number.
    pub fn id(&self) -> SequenceId {
        self.id
    }

    /// The prompt, then what was generated.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens whose keys and values are in the cache.
    pub fn computed(&self) -> usize {
        self.computed
    }

    /// Its blocks, in order.
    pub fn table(&self) -> &[Block] {
        &self.table
    }

    fn left(&self) -> usize {
        self.tokens.len() - self.computed
    }
}

/// Tokens of one running sequence in a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// Index into [`Scheduler::running`].
    pub index: usize,
    /// How many tokens from the first that is not computed.
    pub count: usize,
    /// Whether they reach the sequence's end, so that its next token comes out.
    pub samples: bool,
}

/// One step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// What to compute, in the order of the batch.
    pub slices: Vec<Slice>,
    /// Sequences that were preempted to make room.
    pub preempted: u32,
}

/// A token that came out of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Produced {
    /// Whose.
    pub id: SequenceId,
    /// The token.
    pub token: u32,
    /// Why the sequence ended, if it did.
    pub finish: Option<FinishReason>,
}

/// The waiting and the running.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    waiting: VecDeque<Sequence>,
    /// Oldest first.
    running: Vec<Sequence>,
    next: u64,
}

impl Scheduler {
    /// An empty scheduler.
    ///
    /// # Panics
    /// When a limit is zero or more sequences may run than a step has tokens: some would never get one.
    pub fn new(limits: Limits) -> Self {
        assert!(0 < limits.running && limits.running <= limits.batch_tokens, "every running sequence gets a token in every step");
        Self { limits, waiting: VecDeque::new(), running: vec![], next: 0 }
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The running, oldest first.
    pub fn running(&self) -> &[Sequence] {
        &self.running
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// Why it can never run.
    pub fn submit(&mut self, ask: Ask) -> Result<SequenceId, Refusal> {
        self.limits.check_size(ask.prompt.len(), ask.max_tokens)?;
        if let Some(id) = ask.prompt.iter().find(|id| **id as usize >= self.limits.vocab) {
            return Err(Refusal::Vocabulary { id: *id, vocab: self.limits.vocab });
        }
        let id = SequenceId(self.next);
        self.next += 1;
        self.waiting.push_back(Sequence {
            id,
            prompt: ask.prompt.len(),
            end: ask.prompt.len() + ask.max_tokens as usize,
            exact: ask.exact,
            tokens: ask.prompt,
            computed: 0,
            reached: 0,
            table: vec![],
        });
        Ok(id)
    }

    /// Lets go of a sequence and its blocks. Whether it was there.
    pub fn cancel(&mut self, id: SequenceId, pool: &mut BlockPool) -> bool {
        if let Some(index) = self.running.iter().position(|sequence| sequence.id == id) {
            pool.give_back(&mut self.running.remove(index).table);
            return true;
        }
        let before = self.waiting.len();
        self.waiting.retain(|sequence| sequence.id != id);
        self.waiting.len() < before
    }

    /// Chooses what to compute next and takes the blocks for it. To be followed by [`Self::commit`].
    pub fn plan(&mut self, pool: &mut BlockPool) -> Plan {
        let mut plan = Plan::default();
        self.grow(pool, &mut plan);
        let mut budget = self.limits.batch_tokens - plan.slices.len();
        for (index, sequence) in self.running.iter().enumerate() {
            if budget > 0 && sequence.left() > 1 {
                let count = sequence.left().min(budget);
                plan.slices.push(Slice { index, count, samples: count == sequence.left() });
                budget -= count;
            }
        }
        // After a preemption the pool is short: whoever was admitted now would be preempted next.
        if plan.preempted == 0 {
            self.admit(pool, &mut plan, budget);
        }
        plan
    }

    /// One token for each decoding sequence, oldest first, preempting from the newest where a block is missing.
    fn grow(&mut self, pool: &mut BlockPool, plan: &mut Plan) {
        let mut index = 0;
        while index < self.running.len() {
            if self.running[index].left() == 1 {
                let needed = blocks_for(self.running[index].tokens.len());
                while index < self.running.len() && self.running[index].table.len() < needed {
                    match pool.take() {
                        Some(block) => self.running[index].table.push(block),
                        None => plan.preempted += u32::from(self.preempt_newest(pool)),
                    }
                }
                if index < self.running.len() {
                    plan.slices.push(Slice { index, count: 1, samples: true });
                }
            }
            index += 1;
        }
    }

    /// The newest running sequence goes back to the head of the line: everyone there is newer.
    fn preempt_newest(&mut self, pool: &mut BlockPool) -> bool {
        let Some(mut newest) = self.running.pop() else { return false };
        pool.give_back(&mut newest.table);
        newest.computed = 0;
        self.waiting.push_front(newest);
        true
    }

    /// Lets waiting sequences in, in order, while there are seats, tokens and blocks.
    fn admit(&mut self, pool: &mut BlockPool, plan: &mut Plan, mut budget: usize) {
        while budget > 0 && self.running.len() < self.limits.running {
            let Some(first) = self.waiting.front() else { return };
            let needed = blocks_for(first.tokens.len());
            // Alone, a sequence may have the last block: `check_size` has made sure that it never needs more than there are.
            let spare = usize::from(!self.running.is_empty());
            if needed + spare > pool.free() {
                return;
            }
            let mut sequence = self.waiting.pop_front().expect("front was there");
            sequence.table.extend((0..needed).map(|_| pool.take().expect("free blocks were counted")));
            let count = sequence.left().min(budget);
            plan.slices.push(Slice { index: self.running.len(), count, samples: count == sequence.left() });
            budget -= count;
            self.running.push(sequence);
        }
    }

    /// Records what a plan computed. `sampled` holds one token for each slice that samples, in order. Appends the tokens to
    /// `produced`, frees what ended, and returns how many prompt tokens were computed for the first time.
    pub fn commit(&mut self, pool: &mut BlockPool, plan: &Plan, sampled: &[u32], produced: &mut Vec<Produced>) -> u64 {
        let mut sampled = sampled.iter();
        let mut fresh = 0;
        for slice in &plan.slices {
            let sequence = &mut self.running[slice.index];
            sequence.computed += slice.count;
            debug_assert!(sequence.computed <= sequence.table.len() * BLOCK_TOKENS, "every computed token has its place");
            fresh += sequence.computed.min(sequence.prompt).saturating_sub(sequence.reached) as u64;
            sequence.reached = sequence.reached.max(sequence.computed);
            if slice.samples {
                let token = *sampled.next().expect("one token for each slice that samples");
                sequence.tokens.push(token);
                let finish = match () {
                    () if token == END_OF_ANSWER && !sequence.exact => Some(FinishReason::Stop),
                    () if sequence.tokens.len() == sequence.end => Some(FinishReason::Length),
                    () => None,
                };
                if finish.is_some() {
                    pool.give_back(&mut sequence.table);
                }
                produced.push(Produced { id: sequence.id, token, finish });
            }
        }
        // Only what has just ended runs without a block.
        self.running.retain(|sequence| !sequence.table.is_empty());
        fresh
    }
}
