//! What once happened: requests with arrival times, lengths, conversations and block identities, in memory.
//!
//! Reading and writing files is `nomoat-workloads`; what we will do with a trace is [`crate::schedule`].

use crate::digest::{Digest, Digester};
use crate::prompt::{BlockRange, Prompt};
use crate::request::{OutputLength, Request, RequestId, SessionId};
use crate::units::Nanos;
use std::sync::Arc;

/// A moment of one request that another may wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The harness began to act on it.
    Start,
    /// Its first token came.
    FirstToken,
    /// Its stream ended.
    End,
}

/// Whether a request needs its parent's success or only its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EdgeKind {
    /// Failure, drop or cancellation of the parent is passed on: the child is `not_run`.
    Needs,
    /// The child goes on after a failure, with a gap of at least 100 ms.
    Order,
}

/// "`gap` after `on` of `request`".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// The earlier request.
    pub request: RequestId,
    /// Which moment of it.
    pub on: Moment,
    /// How long after that moment.
    pub gap: Nanos,
    /// What its failure means.
    pub kind: EdgeKind,
}

/// How several edges join.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Join {
    /// The last of them decides.
    #[default]
    All,
    /// The first of them decides.
    Any,
}

/// One recorded request. Its id is its position in [`Trace::requests`].
#[derive(Clone, PartialEq, Debug)]
pub struct TraceRequest {
    /// Recorded arrival from the start of the trace, where there is one.
    pub at: Option<Nanos>,
    /// Earlier requests it waits for; empty for roots.
    pub after: Vec<Edge>,
    /// How they join.
    pub join: Join,
    /// Its conversation.
    pub session: Option<SessionId>,
    /// Position inside the conversation.
    pub turn: u16,
    /// Index into [`Trace::classes`].
    pub class: u16,
    /// Recorded priority.
    pub priority: i32,
    /// The prompt's recipe.
    pub prompt: Prompt,
    /// Prompt length in tokens.
    pub input_tokens: u32,
    /// Answer length in tokens.
    pub output_tokens: u32,
    /// Whether the answer's length is exact or a cap.
    pub length: OutputLength,
}

/// A recorded workload.
#[derive(Clone, PartialEq, Debug)]
pub struct Trace {
    /// A short name for tables.
    pub name: String,
    /// SHA-256 of the file it was read from, or of the generator's options.
    pub source: Digest,
    /// Licence of the data, where the file tells.
    pub licence: Option<String>,
    /// Names of request classes; at least one.
    pub classes: Vec<String>,
    /// What the importer could not keep, in words.
    pub losses: Vec<String>,
    /// The requests; roots in order of arrival, children after their parents.
    pub requests: Vec<TraceRequest>,
}

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
    /// Time from the first to the last recorded arrival.
    pub fn span(&self) -> Option<Nanos> {
        let at = || self.requests.iter().filter_map(|r| r.at);
        Some(at().max()? - at().min()?)
    }

    /// Recorded arrivals of roots per second: (n − 1) / (last − first). `None` without arrival times or with all at once.
    /// Children do not count: their recorded times are answers to what was measured then, not load that was offered.
    pub fn rate_per_s(&self) -> Option<f64> {
        let mut at = self.requests.iter().filter(|r| r.after.is_empty()).filter_map(|r| r.at);
        let first = at.next()?;
        let (n, last) = at.fold((1_u64, first), |(n, _), at| (n + 1, at));
        let span = (last - first).as_secs_f64();
        (span > 0.0).then(|| (n - 1) as f64 / span)
    }

    /// The request at `index` as one to be sent, numbered `id`, its blocks moved to `pass`'s own namespace.
    pub fn request(&self, index: usize, id: RequestId, pass: u32) -> Request {
        let r = &self.requests[index];
        let mut prompt = r.prompt.clone();
        rebase(&mut prompt, id.0 - index as u32, pass);
        Request {
            id,
            session: r.session,
            turn: r.turn,
            class: r.class,
            priority: r.priority,
            prompt,
            input_tokens: r.input_tokens,
            output_tokens: r.output_tokens,
            length: r.length,
        }
    }

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

    /// Identity of everything a schedule takes from this trace.
    pub fn content_digest(&self) -> Digest {
        let mut d = Digester::new("trace-content/1");
        for r in &self.requests {
            d.int(r.at.map_or(-1, |at| at.0)).int(r.after.len() as i64).int(r.join as i64);
            for e in &r.after {
                d.int(e.request.0.into()).int(e.on as i64).int(e.gap.0).int(e.kind as i64);
            }
            d.int(r.session.map_or(-1, |s| s.0.into())).int(r.turn.into()).int(r.class.into()).int(r.priority.into());
            d.int(r.input_tokens.into()).int(r.output_tokens.into()).int(r.length as i64);
            digest_prompt(&r.prompt, &mut d);
        }
        d.finish()
    }
}

fn digest_prompt(prompt: &Prompt, d: &mut Digester) {
    match prompt {
        Prompt::Blocks(b) => {
            d.int(0)
                .int(b.namespace as i64)
                .int(b.block_tokens.into())
                .int(b.tokens.into())
                .int(b.unshared as i64)
                .int(b.blocks.len() as i64);
            for range in b.blocks.iter() {
                d.int(range.first as i64).int(range.count.into());
            }
        }
        Prompt::Text(text) => {
            d.int(1).text(text);
        }
        Prompt::Ids(ids) => {
            d.int(2).int(ids.len() as i64);
            for id in ids.iter() {
                d.int((*id).into());
            }
        }
        Prompt::Live { of, add } => {
            d.int(3).int(of.0.into());
            digest_prompt(add, d);
        }
    }
}

/// Moves a prompt of one pass to a later one: its own id space, its own parents.
fn rebase(prompt: &mut Prompt, by: u32, pass: u32) {
    match prompt {
        Prompt::Blocks(b) => b.namespace = b.namespace.wrapping_add(u64::from(pass) << 40),
        Prompt::Live { of, add } => {
            of.0 += by;
            rebase(add, by, pass);
        }
        Prompt::Text(_) | Prompt::Ids(_) => {}
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
        // A text is cut by words: at most one per token.
        Prompt::Text(text) => *text = text.split_whitespace().take(tokens as usize).collect::<Vec<_>>().join(" ").into(),
        Prompt::Live { add, .. } => cut(add, tokens),
    }
}
