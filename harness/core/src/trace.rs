//! What once happened: requests with arrival times, lengths, conversations and block identities, in memory.
//!
//! Reading and writing files is `nomoat-workloads`; what we will do with a trace is [`crate::schedule`].

mod fit;
mod identity;

pub use fit::{Fitted, Overlong};

use crate::digest::Digest;
use crate::prompt::Prompt;
use crate::request::{Cancel, OutputLength, Request, RequestId, SessionId};
use crate::units::Nanos;

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

/// What passes the time between a request and the one that waits for it, where the source says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cause {
    /// Nobody said.
    #[default]
    Unsaid,
    /// A user thinks.
    Think,
    /// A tool runs.
    Tool,
    /// It is queued at the client.
    Queue,
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
    /// What the gap is.
    pub cause: Cause,
}

impl Edge {
    /// "`gap` after the end of `request`, which must have succeeded".
    pub fn after_end(request: RequestId, gap: Nanos, cause: Cause) -> Self {
        Self { request, on: Moment::End, gap, kind: EdgeKind::Needs, cause }
    }
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

/// What came of a request when it was recorded: for comparisons, never sent. What was not recorded is absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recorded {
    /// From its arrival to its first token.
    pub ttft: Option<Nanos>,
    /// From its arrival to its end.
    pub e2e: Option<Nanos>,
    /// Prompt tokens that were read from a cache.
    pub cached_tokens: Option<u32>,
    /// Whether it failed.
    pub failed: Option<bool>,
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
    /// Which adapter answers: 0 for none, else a position in [`Trace::adapters`] plus 1.
    pub adapter: u16,
    /// The prompt's recipe.
    pub prompt: Prompt,
    /// Prompt length in tokens.
    pub input_tokens: u32,
    /// Answer length in tokens.
    pub output_tokens: u32,
    /// Whether the answer's length is exact or a cap.
    pub length: OutputLength,
    /// When the user goes away, if it does.
    pub cancel: Option<Cancel>,
    /// What came of it when it was recorded.
    pub recorded: Option<Box<Recorded>>,
}

impl TraceRequest {
    /// A request that stands alone, without an arrival: one turn of nobody's, of the first class.
    pub fn new(prompt: Prompt, input_tokens: u32, output_tokens: u32) -> Self {
        Self {
            at: None,
            after: vec![],
            join: Join::All,
            session: None,
            turn: 0,
            class: 0,
            priority: 0,
            adapter: 0,
            prompt,
            input_tokens,
            output_tokens,
            length: OutputLength::Exact,
            cancel: None,
            recorded: None,
        }
    }
}

/// Where a trace's data come from, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// Name of the licence of the data.
    pub licence: Option<String>,
    /// Whom to name wherever the data are shown.
    pub attribution: Option<String>,
    /// The repository or data set.
    pub repository: Option<String>,
    /// Its version.
    pub commit: Option<String>,
    /// The file in it.
    pub path: Option<String>,
}

/// A recorded workload.
#[derive(Clone, PartialEq, Debug)]
pub struct Trace {
    /// A short name for tables.
    pub name: String,
    /// SHA-256 of the file it was read from, or of the generator's options.
    pub source: Digest,
    /// Where the data come from.
    pub origin: Origin,
    /// The recording clock's tick, where it is coarser than a microsecond and known.
    pub tick: Option<Nanos>,
    /// What counted the tokens, where it is known.
    pub tokenizer: Option<String>,
    /// Names of request classes; at least one.
    pub classes: Vec<String>,
    /// Names of adapters (LoRA) that requests name.
    pub adapters: Vec<String>,
    /// What the importer could not keep, in words.
    pub losses: Vec<String>,
    /// The requests; roots in order of arrival, children after their parents.
    pub requests: Vec<TraceRequest>,
}

impl Default for Trace {
    /// No request, one class.
    fn default() -> Self {
        Self {
            name: String::new(),
            source: Digest([0; 32]),
            origin: Origin::default(),
            tick: None,
            tokenizer: None,
            classes: vec!["default".into()],
            adapters: vec![],
            losses: vec![],
            requests: vec![],
        }
    }
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
            adapter: r.adapter,
            cancel: r.cancel,
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
        Prompt::Parts(p) => p.namespace = p.namespace.wrapping_add(u64::from(pass) << 40),
        Prompt::Text(_) | Prompt::Ids(_) | Prompt::Messages(_) => {}
    }
}
