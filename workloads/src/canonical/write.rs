//! Writes the canonical format. What is written reads back as the same trace, or is refused before a reader would refuse it.

use super::blocks::{beyond, common, count, extend, leading};
use super::wire::{
    After, BlockList, Blocks, Counts, End, Head, HowWord, Input, JoinWord, OnWord, Output, Req, Scope, Source, Tail, Time, Tokens, Unit,
    WhyWord,
};
use super::{MAX_RANGES, VERSION};
use crate::error::TraceError;
use crate::import::{MAX_BLOCK_ID, MAX_REQUESTS, MAX_TIME, MAX_TOKENS};
use nomoat_core::digest::Digest;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::request::OutputLength;
use nomoat_core::trace::{Cause, EdgeKind, Join, Moment, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::Write;

/// Runs that a prompt must share with an earlier one before it is written as `of` and `keep`: below, the ranges are shorter.
const MIN_KEPT_RUNS: usize = 3;

/// Writes `trace` to `out` in the canonical format. `out` gets many small writes: buffer it.
///
/// # Errors
/// When `out` fails, and before anything was written for a trace that the format cannot say: recorded texts, live histories,
/// a prompt whose recipe and length disagree, references forwards, roots out of order, numbers beyond the format's bounds.
pub fn write_canonical(trace: &Trace, out: &mut dyn Write) -> Result<(), TraceError> {
    check(trace).map_err(|(problem, remedy)| TraceError::Unwritable { trace: trace.name.clone(), problem, remedy: remedy.into() })?;
    let mut file = Hashed { out, hash: Sha256::new(), line: vec![] };
    let wrong = |source| TraceError::Write { trace: trace.name.clone(), source };
    let unit = unit(trace);
    let blocks = blocks(trace);
    file.record(&head(trace, unit, blocks)).map_err(wrong)?;
    let mut sessions = HashSet::new();
    let mut kept = Kept::default();
    let mut end = End { k: "end".into(), n: Counts::default(), input: 0, out: 0, at: None, sha256: String::new() };
    for (index, request) in trace.requests.iter().enumerate() {
        if let Some(session) = request.session.filter(|session| sessions.insert(*session)) {
            file.record(&Sess { k: "sess", id: session.0 }).map_err(wrong)?;
        }
        let record = req(trace, index, unit, blocks, &mut kept);
        file.record(&record).map_err(wrong)?;
        end.input += u64::from(request.input_tokens);
        end.out += u64::from(request.output_tokens);
        end.at = record.at.or(end.at);
    }
    end.n = Counts { sess: sessions.len() as u64, req: trace.requests.len() as u64 };
    end.sha256 = Digest(file.hash.clone().finalize().into()).to_string();
    file.record(&end).map_err(wrong)?;
    file.out.flush().map_err(wrong)
}

#[derive(Serialize)]
struct Sess {
    k: &'static str,
    id: u32,
}

/// A target that hashes what it is given.
struct Hashed<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    line: Vec<u8>,
}

impl Hashed<'_> {
    fn record(&mut self, record: &impl Serialize) -> std::io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.out.write_all(&self.line)
    }
}

/// Why a trace cannot be written, and what to do.
type Refusal = (String, &'static str);

fn check(trace: &Trace) -> Result<(), Refusal> {
    if trace.requests.len() > MAX_REQUESTS {
        return Err((format!("it has {} requests", trace.requests.len()), "split it"));
    }
    if trace.requests.is_empty() {
        return Err(("it has no requests".into(), "give it at least one"));
    }
    let distinct: HashSet<_> = trace.classes.iter().collect();
    if trace.classes.is_empty() || trace.classes.len() > usize::from(u16::MAX) || distinct.len() != trace.classes.len() {
        return Err(("its class names are none, too many or not distinct".into(), "name each class once"));
    }
    let mut latest_root = Nanos::ZERO;
    let mut ranges = 0;
    for (index, request) in trace.requests.iter().enumerate() {
        check_request(trace, index, request).map_err(|(problem, remedy)| (format!("request {index} {problem}"), remedy))?;
        if let (Some(at), true) = (request.at, request.after.is_empty()) {
            if at < latest_root {
                return Err((format!("request {index} arrives before the root before it"), "sort the roots by arrival"));
            }
            latest_root = at;
        }
        if let Prompt::Blocks(prompt) = &request.prompt {
            ranges += prompt.blocks.len();
        }
    }
    if ranges > MAX_RANGES {
        return Err((format!("its prompts have more than {MAX_RANGES} block ranges"), "split it"));
    }
    Ok(())
}

fn check_request(trace: &Trace, index: usize, request: &TraceRequest) -> Result<(), Refusal> {
    let times = request.after.iter().map(|e| e.gap).chain(request.at);
    if times.into_iter().any(|t| t < Nanos::ZERO || t > MAX_TIME) {
        return Err(("has a negative time or one beyond a century".into(), "give times from the start of the trace"));
    }
    if request.after.iter().any(|e| e.request.0 as usize >= index) {
        return Err(("waits for a request that is not before it".into(), "put parents before their children"));
    }
    if usize::from(request.class) >= trace.classes.len() {
        return Err((format!("has class {}, which has no name", request.class), "name every class"));
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
    let length = match &request.prompt {
        Prompt::Ids(ids) => ids.len() as u64,
        Prompt::Blocks(prompt) => {
            check_blocks(prompt)?;
            u64::from(prompt.tokens)
        }
        Prompt::Parts(_) | Prompt::Messages(_) => {
            return Err(("has pieces of content or messages".into(), "this version writes lengths, blocks and token ids only"));
        }
        Prompt::Text(_) => return Err(("has a recorded text".into(), "this version writes lengths, blocks and token ids only")),
        Prompt::Live { .. } => return Err(("continues a live conversation".into(), "this version writes recorded histories only")),
    };
    if length != u64::from(request.input_tokens) {
        return Err((format!("says {} input tokens, but its prompt has {length}", request.input_tokens), "make the two agree"));
    }
    Ok(())
}

fn check_blocks(prompt: &BlockPrompt) -> Result<(), Refusal> {
    if prompt.block_tokens == 0 || u64::from(prompt.block_tokens) > MAX_TOKENS {
        return Err((format!("has blocks of {} tokens", prompt.block_tokens), "use a block size from 1 to 16777216"));
    }
    if prompt.blocks.iter().any(|r| r.count == 0 || r.first > MAX_BLOCK_ID || u64::from(r.count) > MAX_TOKENS) {
        return Err(("has an empty range of blocks or an id of 2^53 and above".into(), "number blocks from 0 and leave out empty ranges"));
    }
    let blocks = count(&prompt.blocks);
    if blocks > u64::from(prompt.tokens.div_ceil(prompt.block_tokens)) {
        return Err((format!("has {blocks} blocks for {} tokens", prompt.tokens), "cut the list of blocks to the prompt's length"));
    }
    Ok(())
}

/// Microseconds, unless some time is finer.
fn unit(trace: &Trace) -> Unit {
    let mut times = trace.requests.iter().flat_map(|r| r.after.iter().map(|e| e.gap).chain(r.at));
    if times.all(|t| t.0 % 1_000 == 0) { Unit::Us } else { Unit::Ns }
}

/// Whether a prompt is written by its length alone.
fn is_plain(prompt: &BlockPrompt) -> bool {
    prompt.blocks.is_empty() && prompt.block_tokens == prompt.tokens.max(1)
}

/// What the head says of blocks: the size that the first prompt has, and the narrowest tail rule that all keep.
fn blocks(trace: &Trace) -> Option<Blocks> {
    let prompts =
        || trace.requests.iter().filter_map(|r| if let Prompt::Blocks(b) = &r.prompt { Some(b) } else { None }).filter(|b| !is_plain(b));
    let size = prompts().next()?.block_tokens;
    let tail = if prompts().all(|b| count(&b.blocks) == u64::from(b.tokens.div_ceil(b.block_tokens))) {
        Tail::Partial
    } else if prompts().all(|b| count(&b.blocks) == u64::from(b.tokens / b.block_tokens)) {
        Tail::FullOnly
    } else {
        Tail::Open
    };
    Some(Blocks { size, scope: Scope::Trace, tail })
}

fn head(trace: &Trace, unit: Unit, blocks: Option<Blocks>) -> Head {
    Head {
        k: "head".into(),
        v: VERSION,
        name: trace.name.clone(),
        source: Some(Source {
            sha256: Some(trace.source.to_string()),
            license: trace.origin.licence.clone(),
            attribution: trace.origin.attribution.clone(),
            repo: trace.origin.repository.clone(),
            commit: trace.origin.commit.clone(),
            path: trace.origin.path.clone(),
        }),
        time: Time { unit, tick_us: trace.tick.map(|tick| (tick.0 / 1_000) as u64) },
        tokens: trace.tokenizer.clone().map(|tokenizer| Tokens { tokenizer: Some(tokenizer) }),
        blocks,
        classes: (trace.classes != ["default"]).then(|| trace.classes.clone()),
        losses: trace.losses.clone(),
        order: Some("arrival".into()),
    }
}

fn req<'a>(trace: &'a Trace, index: usize, unit: Unit, blocks: Option<Blocks>, kept: &mut Kept) -> Req<'a> {
    let request = &trace.requests[index];
    let units = |t: Nanos| (t.0 / unit.nanos()) as u64;
    let after = request.after.iter().map(|edge| After {
        r: edge.request.0.into(),
        on: match edge.on {
            Moment::Start => OnWord::Start,
            Moment::FirstToken => OnWord::First,
            Moment::End => OnWord::End,
        },
        gap: units(edge.gap),
        why: match (edge.kind, edge.cause) {
            (EdgeKind::Order, _) => Some(WhyWord::Order),
            (EdgeKind::Needs, Cause::Unsaid) => None,
            (EdgeKind::Needs, Cause::Think) => Some(WhyWord::Think),
            (EdgeKind::Needs, Cause::Tool) => Some(WhyWord::Tool),
            (EdgeKind::Needs, Cause::Queue) => Some(WhyWord::Queue),
        },
    });
    Req {
        k: Cow::Borrowed("req"),
        id: index as u64,
        s: request.session.map(|s| s.0),
        turn: request.session.map(|_| request.turn),
        at: request.at.map(units),
        after: after.collect(),
        join: (request.join == Join::Any).then_some(JoinWord::Any),
        input: match &request.prompt {
            Prompt::Ids(ids) => Input { ids: Some(ids.to_vec()), ..Input::default() },
            Prompt::Blocks(prompt) => input(trace, index, prompt, blocks, kept),
            Prompt::Parts(_) | Prompt::Messages(_) | Prompt::Text(_) | Prompt::Live { .. } => {
                unreachable!("`check` refuses them before anything is written")
            }
        },
        out: Output { n: request.output_tokens, how: if request.length == OutputLength::Exact { HowWord::Exact } else { HowWord::Cap } },
        class: (request.class != 0).then(|| Cow::Borrowed(trace.classes[usize::from(request.class)].as_str())),
        prio: (request.priority != 0).then_some(request.priority),
    }
}

fn input(trace: &Trace, index: usize, prompt: &BlockPrompt, blocks: Option<Blocks>, kept: &mut Kept) -> Input {
    let plain = is_plain(prompt);
    Input {
        n: Some(prompt.tokens),
        b: (!plain).then(|| kept.list(trace, index, prompt)),
        size: (!plain && blocks.is_none_or(|b| b.size != prompt.block_tokens)).then_some(prompt.block_tokens),
        space: (prompt.namespace != 0).then_some(prompt.namespace),
        u: (prompt.unshared != index as u64).then_some(prompt.unshared),
        ids: None,
    }
}

/// Which earlier prompt last had a run of blocks begin with an id, so that a long common beginning is written as a reference.
#[derive(Default)]
struct Kept {
    /// By namespace, block size and the run's first id: the prompt, and the position of that run among its runs.
    last: HashMap<(u64, u32, u64), (u32, u32)>,
}

impl Kept {
    fn list(&mut self, trace: &Trace, index: usize, prompt: &BlockPrompt) -> BlockList {
        let list = self.reference(trace, prompt).unwrap_or_else(|| BlockList {
            of: None,
            keep: None,
            add: prompt.blocks.iter().map(|r| (r.first, r.count)).collect(),
        });
        for (position, range) in prompt.blocks.iter().enumerate() {
            self.last.insert((prompt.namespace, prompt.block_tokens, range.first), (index as u32, position as u32));
        }
        list
    }

    /// The prompt as the beginning of an earlier one and what follows, if enough is common.
    fn reference(&self, trace: &Trace, prompt: &BlockPrompt) -> Option<BlockList> {
        // The deepest run that an earlier prompt has at the same place shows the prompt with most in common, where ids are
        // chained; where they are not, the comparison below finds less or nothing.
        let (of, _) = prompt.blocks.iter().enumerate().rev().find_map(|(position, range)| {
            let seen = self.last.get(&(prompt.namespace, prompt.block_tokens, range.first))?;
            (seen.1 as usize == position).then_some(*seen)
        })?;
        let Prompt::Blocks(parent) = &trace.requests[of as usize].prompt else { return None };
        let (keep, runs) = common(&parent.blocks, &prompt.blocks);
        if runs < MIN_KEPT_RUNS {
            return None;
        }
        let add = beyond(&prompt.blocks, keep);
        let mut again = leading(&parent.blocks, keep)?;
        extend(&mut again, add.iter().copied());
        // A list that was not in runs to begin with would read back merged: it is written in full.
        (again[..] == prompt.blocks[..]).then(|| BlockList {
            of: Some(of.into()),
            keep: Some(keep),
            add: add.iter().map(|r| (r.first, r.count)).collect(),
        })
    }
}
