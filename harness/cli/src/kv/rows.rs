//! The figures: one row for each model, kind of cache and context.

use super::ask::{Ask, Kept};
use nomoat_core::footprint::{Prompt, Shape, Step, Work};
use nomoat_results::models::Named;

/// Figures of one model at one context.
pub struct Row<'a> {
    pub model: &'a Named,
    pub kept: Kept,
    pub context: u64,
    /// Bytes that a sequence holds.
    pub held: f64,
    pub per_token: f64,
    /// Bytes of cache and state that one decoded token moves.
    pub moved: f64,
    /// Operations of it in the layers that mix tokens.
    pub work: Work,
    pub users: Option<u64>,
    pub hand_over_s: Option<f64>,
    pub step: Option<Step>,
    /// A prompt of the context's length.
    pub prompt: Prompt,
    /// Sequences of it at which a step moves as many bytes of caches as of weights.
    pub even_batch: Option<f64>,
    /// Tokens at which the sequences of a step do.
    pub even_context: Option<u64>,
    pub against: Option<Against>,
}

/// Shares of another model's figures; `None` where the parameters of one are not known.
pub struct Against {
    pub held: f64,
    /// In operations of an fp8 unit.
    pub weighted: Option<f64>,
    /// Each operation counted once.
    pub plain: Option<f64>,
}

/// Computes them.
pub fn rows(ask: &Ask) -> Vec<Row<'_>> {
    let mut rows = vec![];
    for model in &ask.models {
        for kept in &ask.kept {
            rows.extend(ask.contexts.iter().map(|context| row(ask, model, *kept, *context)));
        }
    }
    rows
}

fn row<'a>(ask: &Ask, model: &'a Named, kept: Kept, context: u64) -> Row<'a> {
    let shape = &model.shape;
    let held = shape.held(context, kept.packing) as f64;
    Row {
        model,
        kept,
        context,
        held,
        per_token: shape.per_token(context, kept.packing),
        moved: shape.moved(context, kept.packing) as f64,
        work: shape.work(context),
        users: ask.memory.and_then(|memory| shape.users(memory, kept.weights.bytes(), context, kept.packing)),
        hand_over_s: ask.link.as_ref().map(|link| link.seconds(held)),
        prompt: Prompt::new(shape, context, kept.weights, &ask.chip()),
        even_batch: shape.even_batch(context, kept.packing, kept.weights.bytes()),
        even_context: shape.even_context(ask.batch.unwrap_or(1) as f64, kept.packing, kept.weights.bytes()),
        step: ask.batch.map(|batch| Step::new(shape, batch, context, kept.packing, kept.weights, &ask.chip())),
        against: ask.against.as_ref().map(|other| against(shape, &other.shape, kept, context)),
    }
}

fn against(shape: &Shape, other: &Shape, kept: Kept, context: u64) -> Against {
    let share = |of: fn(&Work) -> f64| {
        let whole = |shape: &Shape| shape.matrices().map(|matrices| matrices + of(&shape.work(context)));
        Some(whole(shape)? / whole(other)?)
    };
    Against {
        held: shape.held(context, kept.packing) as f64 / other.held(context, kept.packing).max(1) as f64,
        weighted: share(Work::fp8_equivalent),
        plain: share(|work| work.total() as f64),
    }
}
