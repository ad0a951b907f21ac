//! Making a trace fit an engine's context: refuse, leave out, or cut.

use super::{Edge, Trace, TraceRequest};
use crate::prompt::{BlockRange, Prompt};
use crate::request::RequestId;
use std::sync::Arc;

/// What to do with requests that are longer than the engine's context.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overlong {
    /// Do not start.
    #[default]
    Refuse,
    /// Leave them out, with all that depends on them; the report counts them.
    Skip,
    /// Cut the prompt, then the answer, to fit; the report counts them.
    Clip,
}

/// A trace that fits a context.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The trace.
    pub trace: Arc<Trace>,
    /// How many requests were cut.
    pub clipped: u32,
    /// How many were left out, children included.
    pub skipped: u32,
}

impl Trace {
    /// Makes every request fit `context` tokens (prompt plus answer), or says which does not.
    ///
    /// # Errors
    /// Under [`Overlong::Refuse`], how many do not fit and the first of them.
    pub fn fit(self: &Arc<Self>, context: u32, policy: Overlong) -> Result<Fitted, String> {
        let too_long = |r: &TraceRequest| u64::from(r.input_tokens) + u64::from(r.output_tokens) > u64::from(context);
        let count = self.requests.iter().filter(|r| too_long(r)).count() as u32;
        if count == 0 {
            return Ok(Fitted { trace: self.clone(), clipped: 0, skipped: 0 });
        }
        match policy {
            Overlong::Refuse => {
                let (index, first) = self.requests.iter().enumerate().find(|(_, r)| too_long(r)).expect("counted above");
                Err(format!(
                    "{count} of {} requests of trace `{}` do not fit the engine's context of {context} tokens; the first is request {index} with {} + {} tokens; see --overlong skip|clip",
                    self.requests.len(),
                    self.name,
                    first.input_tokens,
                    first.output_tokens
                ))
            }
            Overlong::Clip => {
                let mut trace = Trace::clone(self);
                for r in trace.requests.iter_mut().filter(|r| too_long(r)) {
                    r.output_tokens = r.output_tokens.min(context.saturating_sub(1)).max(1);
                    r.input_tokens = context.saturating_sub(r.output_tokens).max(1);
                    cut(&mut r.prompt, r.input_tokens);
                }
                Ok(Fitted { trace: Arc::new(trace), clipped: count, skipped: 0 })
            }
            Overlong::Skip => {
                let mut trace = Trace::clone(self);
                let mut moved: Vec<Option<u32>> = Vec::with_capacity(trace.requests.len());
                let mut kept = Vec::with_capacity(trace.requests.len());
                for mut r in std::mem::take(&mut trace.requests) {
                    let parents: Option<Vec<Edge>> =
                        r.after.iter().map(|e| moved[e.request.0 as usize].map(|id| Edge { request: RequestId(id), ..*e })).collect();
                    match parents {
                        Some(after) if !too_long(&r) && moves(&mut r.prompt, &moved) => {
                            r.after = after;
                            moved.push(Some(kept.len() as u32));
                            kept.push(r);
                        }
                        _ => moved.push(None),
                    }
                }
                let skipped = (moved.len() - kept.len()) as u32;
                trace.requests = kept;
                Ok(Fitted { trace: Arc::new(trace), clipped: 0, skipped })
            }
        }
    }
}

/// Points a live conversation at where its earlier requests moved to; `false` when one of them was left out.
fn moves(prompt: &mut Prompt, moved: &[Option<u32>]) -> bool {
    let Prompt::Live { of, add } = prompt else { return true };
    match moved[of.0 as usize] {
        None => false,
        Some(id) => {
            *of = RequestId(id);
            moves(add, moved)
        }
    }
}

fn cut(prompt: &mut Prompt, tokens: u32) {
    match prompt {
        Prompt::Blocks(b) => {
            b.tokens = tokens;
            let mut left = tokens.div_ceil(b.block_tokens.max(1));
            let kept = b.blocks.iter().map(|range| {
                let count = range.count.min(left);
                left -= count;
                BlockRange { count, ..*range }
            });
            b.blocks = kept.filter(|range| range.count > 0).collect();
        }
        Prompt::Ids(ids) => *ids = ids.iter().copied().take(tokens as usize).collect(),
        Prompt::Parts(p) => p.cut(tokens),
        // What was said is said whole or not at all.
        Prompt::Messages(_) => {}
        // A text is cut by words: at most one per token.
        Prompt::Text(text) => *text = text.split_whitespace().take(tokens as usize).collect::<Vec<_>>().join(" ").into(),
        Prompt::Live { add, .. } => cut(add, tokens),
    }
}
