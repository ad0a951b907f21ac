//! The first of two passes over what will be written: whether the format can say it, and what its head must say.

use super::MAX_RANGES;
use super::blocks::count;
use super::outputs::{MOST_HELD, is_plain};
use super::wire::{Blocks, Scope, Tail, Unit};
use crate::error::TraceError;
use crate::import::{MAX_BLOCK_ID, MAX_REQUESTS, MAX_TIME, MAX_TOKENS};
use crate::sink::Sink;
use nomoat_core::prompt::{BlockPrompt, Messages, Prompt};
use nomoat_core::request::Cancel;
use nomoat_core::trace::{Join, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Looks at requests that will be written, in their order.
#[derive(Default)]
pub struct Survey {
    requests: usize,
    latest_root: Nanos,
    ranges: usize,
    /// Some time is no whole number of microseconds.
    fine: bool,
    classes: u16,
    adapters: u16,
    /// The size that the first prompt by blocks has.
    size: Option<u32>,
    not_partial: bool,
    not_full: bool,
    /// By address: messages that were looked at, which later prompts of their conversation share. They are held, so that nothing else
    /// gets their address.
    looked: HashMap<usize, Arc<str>>,
}

/// Why a trace cannot be written, and what to do.
type Refusal = (String, &'static str);

impl Sink for Survey {
    fn request(&mut self, request: TraceRequest) -> Result<(), TraceError> {
        let index = self.requests;
        self.look(&request).map_err(|(problem, remedy)| TraceError::Unwritable {
            trace: "being written".into(),
            problem: format!("request {index} {problem}"),
            remedy: remedy.into(),
        })
    }
}

impl Survey {
    /// The unit of times, and what the head says of blocks: the narrowest tail rule that all keep.
    pub(super) fn plan(self, head: &Trace) -> Result<(Unit, Option<Blocks>), TraceError> {
        let refuse =
            |problem: String, remedy: &str| Err(TraceError::Unwritable { trace: head.name.clone(), problem, remedy: remedy.to_owned() });
        if self.requests == 0 {
            return refuse("it has no requests".into(), "give it at least one");
        }
        for (what, names, most) in [("class", &head.classes, self.classes), ("adapter", &head.adapters, self.adapters)] {
            let distinct: HashSet<_> = names.iter().collect();
            if names.len() > usize::from(u16::MAX) || distinct.len() != names.len() || (what == "class" && names.is_empty()) {
                return refuse(format!("its {what} names are none, too many or not distinct"), "name each once");
            }
            let first = usize::from(what == "class");
            if usize::from(most) + first > names.len() {
                return refuse(format!("a request has {what} {most}, which has no name"), "name all of them");
            }
        }
        let tail = match (self.not_partial, self.not_full) {
            (false, _) => Tail::Partial,
            (true, false) => Tail::FullOnly,
            (true, true) => Tail::Open,
        };
        let blocks = self.size.map(|size| Blocks { size, scope: Scope::Trace, tail });
        Ok((if self.fine { Unit::Ns } else { Unit::Us }, blocks))
    }

    fn look(&mut self, request: &TraceRequest) -> Result<(), Refusal> {
        if self.requests >= MAX_REQUESTS {
            return Err(("is one too many".into(), "split the trace"));
        }
        let recorded = request.recorded.iter().flat_map(|r| [r.ttft, r.e2e]).flatten();
        let cancel = if let Some(Cancel::After(t)) = request.cancel { Some(t) } else { None };
        for time in request.after.iter().map(|e| e.gap).chain(request.at).chain(recorded).chain(cancel) {
            if time < Nanos::ZERO || time > MAX_TIME {
                return Err(("has a negative time or one beyond a century".into(), "give times from the start of the trace"));
            }
            self.fine |= time.0 % 1_000 != 0;
        }
        if request.after.iter().any(|e| e.request.0 as usize >= self.requests) {
            return Err(("waits for a request that is not before it".into(), "put parents before their children"));
        }
        if request.session.is_none() && request.turn != 0 {
            return Err(("has a turn but no session".into(), "give it a session"));
        }
        if request.join == Join::Any && request.after.is_empty() {
            return Err(("joins nothing".into(), "use Join::All for roots"));
        }
        if [request.input_tokens, request.output_tokens].iter().any(|n| !(1..=MAX_TOKENS).contains(&u64::from(*n))) {
            return Err((format!("has a length outside 1 to {MAX_TOKENS} tokens"), "leave it out"));
        }
        if matches!(request.cancel, Some(Cancel::Tokens(n)) if !(1..=MAX_TOKENS).contains(&u64::from(n))) {
            return Err(("is cancelled at an impossible token".into(), "cancel it at its first token or later"));
        }
        self.prompt(&request.prompt, request.input_tokens)?;
        if let (Some(at), true) = (request.at, request.after.is_empty()) {
            if at < self.latest_root {
                return Err(("arrives before the root before it".into(), "sort the roots by arrival"));
            }
            self.latest_root = at;
        }
        self.classes = self.classes.max(request.class);
        self.adapters = self.adapters.max(request.adapter);
        self.requests += 1;
        Ok(())
    }

    fn prompt(&mut self, prompt: &Prompt, input_tokens: u32) -> Result<(), Refusal> {
        let length = match prompt {
            Prompt::Ids(ids) => ids.len() as u64,
            Prompt::Blocks(prompt) => {
                self.blocks(prompt)?;
                u64::from(prompt.tokens)
            }
            Prompt::Parts(prompt) => {
                if prompt.parts.is_empty() || prompt.parts.iter().any(|part| part.tokens == 0 || part.id > MAX_BLOCK_ID) {
                    return Err(("has an empty piece or one with an id of 2^53 and above".into(), "number pieces from 0"));
                }
                self.ranges += prompt.parts.len();
                prompt.tokens()
            }
            Prompt::Text(_) => u64::from(input_tokens),
            Prompt::Messages(messages) => {
                self.messages(messages)?;
                u64::from(input_tokens)
            }
            Prompt::Live { .. } => {
                return Err(("continues a live conversation".into(), "write its recorded history; live is a way to replay it"));
            }
        };
        if self.ranges > MAX_RANGES {
            return Err((format!("brings the ranges of blocks and pieces above {MAX_RANGES}"), "split the trace"));
        }
        if length != u64::from(input_tokens) {
            return Err((format!("says {input_tokens} input tokens, but its prompt has {length}"), "make the two agree"));
        }
        Ok(())
    }

    fn blocks(&mut self, prompt: &BlockPrompt) -> Result<(), Refusal> {
        if prompt.block_tokens == 0 || u64::from(prompt.block_tokens) > MAX_TOKENS {
            return Err((format!("has blocks of {} tokens", prompt.block_tokens), "use a block size from 1 to 16777216"));
        }
        if prompt.blocks.iter().any(|r| r.count == 0 || r.first > MAX_BLOCK_ID || u64::from(r.count) > MAX_TOKENS) {
            return Err((
                "has an empty range of blocks or an id of 2^53 and above".into(),
                "number blocks from 0 and leave out empty ranges",
            ));
        }
        let blocks = count(&prompt.blocks);
        let all = u64::from(prompt.tokens.div_ceil(prompt.block_tokens));
        if blocks > all {
            return Err((format!("has {blocks} blocks for {} tokens", prompt.tokens), "cut the list of blocks to the prompt's length"));
        }
        if !is_plain(prompt) {
            self.size.get_or_insert(prompt.block_tokens);
            self.not_partial |= blocks != all;
            self.not_full |= blocks != u64::from(prompt.tokens / prompt.block_tokens);
        }
        self.ranges += prompt.blocks.len();
        Ok(())
    }

    fn messages(&mut self, messages: &Messages) -> Result<(), Refusal> {
        if messages.messages.is_empty() {
            return Err(("has no messages".into(), "give it at least one"));
        }
        let is = |text: &str, object: bool| {
            let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return false };
            let written = value.to_string();
            written == text && if object { value.is_object() } else { value.is_array() }
        };
        if self.looked.len() > MOST_HELD {
            self.looked.clear();
        }
        let mut fine = messages.tools.as_deref().is_none_or(|tools| is(tools, false));
        for message in messages.messages.iter() {
            if self.looked.insert(message.as_ptr().addr(), message.clone()).is_none() {
                fine &= is(message, true);
            }
        }
        if !fine {
            return Err(("has messages or tools that are no JSON, or have spaces".into(), "write each as JSON without spaces"));
        }
        Ok(())
    }
}
