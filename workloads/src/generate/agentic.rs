//! Coding agents, as a tree: tools and system prompt that all share, a part that the users of one project share, what each session reads and
//! writes, and its history, which only grows until it is compacted. Sub-agents start from the shared part with a task of their own.
//!
//! The laws are fitted to the Weka agentic coding corpus (callanjfox/kv-cache-tester at 94f6046d: 710 sessions, 49 334 requests). Of it:
//! requests a session p50 45.5, p95 233, mean 69.5 · first prompt p50 24 259 · new tokens of later turns p50 712, p95 8 080, mean 3 084 ·
//! answers p50 216, p95 1 554, mean 440 · think time p50 10 s, p95 449 s · 1.9 % of turns keep less than half of the prompt before · prompts
//! p50 103 659, mean 122 379 · leading reuse 96.3 %. What is not fitted: how lengths depend on each other, and the time of day.

use super::law::{Lognormal, RATES, arrivals, micros};
use super::settings::option;
use super::{Generator, MOST_REQUESTS, OptionDef, Settings, made};
use crate::error::TraceError;
use nomoat_core::prompt::{BlockPrompt, BlockRange, Prompt};
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Cause, Edge, Trace, TraceRequest};
use nomoat_core::units::Nanos;

/// The generator.
pub(crate) struct Agentic;

/// Tokens per block, as in the corpus.
const BLOCK: u32 = 64;
/// Most blocks of one session, over all its compactions: what its ids have room for.
const SESSION_BLOCKS: u64 = 1 << 31;
/// Most sessions, sub-agents included: their ids stay below the largest that every JSON reader holds.
const MOST_SESSIONS: u32 = 2_000_000;

/// Requests of a session.
const TURNS: Lognormal = Lognormal { median: 45.5, sigma: 1.0, min: 1, max: 561 };
/// The first prompt, shared parts included.
const FIRST: Lognormal = Lognormal { median: 24_259.0, sigma: 0.55, min: 1, max: 200_000 };
/// New tokens of a later turn: the answer before it, a tool's output, what the user says. Without compactions.
const NEW: Lognormal = Lognormal { median: 685.0, sigma: 1.38, min: 8, max: 150_000 };
/// What follows the shared parts when a history is written anew; never more than there was.
const SUMMARY: Lognormal = Lognormal { median: 150_000.0, sigma: 0.7, min: 1_000, max: 500_000 };
/// Answers.
const ANSWER: Lognormal = Lognormal { median: 216.0, sigma: 1.2, min: 1, max: 18_195 };
/// Pauses in milliseconds: mostly a tool that runs, sometimes a user who thinks.
const THINK_MS: Lognormal = Lognormal { median: 10_000.0, sigma: 2.31, min: 1, max: 77_589_000 };
/// A pause from this on is a user's, below it a tool's. The corpus does not say; tools run out of time after two minutes.
const USER: Nanos = Nanos::from_secs(120);
/// Requests of a sub-agent: 676 of 63 in the corpus.
const SUB_TURNS: Lognormal = Lognormal { median: 8.5, sigma: 0.65, min: 1, max: 100 };
/// Task of a sub-agent, behind the shared parts.
const TASK: Lognormal = Lognormal { median: 1_500.0, sigma: 0.7, min: 64, max: 20_000 };

impl Generator for Agentic {
    fn name(&self) -> &'static str {
        "agentic"
    }

    fn about(&self) -> &'static str {
        "coding agents: long prompts that grow turn by turn, tools, sub-agents and compaction, fitted to the Weka corpus"
    }

    fn options(&self) -> &'static [OptionDef] {
        const OPTIONS: &[OptionDef] = &[
            option("sessions", "sessions", "60", "how many agents"),
            option("context", "tokens", "900000", "longest prompt and answer; what would be longer is compacted before"),
            option("global", "tokens", "12800", "tools and system prompt that all share"),
            option("groups", "projects", "8", "how many projects there are"),
            option("group", "tokens", "3200", "what the sessions of one project share besides"),
            option("compaction", "share", "0.021", "turns that keep nothing of the prompt before but what is shared"),
            option("sub-agents", "share", "0.0013", "turns that start a sub-agent and wait for it"),
            option("turn-scale", "factor", "1", "multiplies the number of turns, for shorter runs"),
            option("gap-scale", "factor", "1", "multiplies pauses: below 1 a cache forgets less"),
            option("rate", "sessions/s", "", "Poisson arrivals of sessions; without it there are none"),
        ];
        OPTIONS
    }

    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError> {
        let sessions = settings.whole("sessions", 1..=1_000_000)? as u32;
        let shared = [settings.tokens("global", 0)?, settings.tokens("group", 0)?];
        // Shared parts are whole blocks: another length after them would share none of the last one.
        let [global, group] = shared.map(|tokens| tokens.div_ceil(BLOCK));
        let context = settings.tokens("context", 1)?;
        let least = (global + group) * BLOCK + MIN_ROOM;
        if context < least {
            return Err(settings.wrong("context", &format!("at least {least}: what is shared, and {MIN_ROOM} tokens")));
        }
        let groups = settings.whole("groups", 1..=1_000_000)?;
        let stream = |what: &str| Stream::new(seed, &format!("gen/agentic/{what}"));
        let mut maker = Maker {
            shared: [global, group],
            own: u64::from(global) + groups * u64::from(group),
            context,
            compaction: settings.number("compaction", 0.0..=1.0)?,
            sub_agents: settings.number("sub-agents", 0.0..=1.0)?,
            gap_scale: settings.number("gap-scale", 0.0..=1e3)?,
            lengths: stream("lengths"),
            answers: stream("answers"),
            pauses: stream("pauses"),
            events: stream("events"),
            requests: vec![],
            sessions: 0,
        };
        let turn_scale = settings.number("turn-scale", 1e-3..=1e3)?;
        let (mut turns, mut projects) = (stream("turns"), stream("projects"));
        let mut at = arrivals(settings.number_if_given("rate", RATES)?, stream("arrivals"));
        for _ in 0..sessions {
            let turns = libm::round(f64::from(TURNS.draw(&mut turns)) * turn_scale).clamp(1.0, f64::from(u16::MAX)) as u16;
            let project = projects.below(groups);
            let first = FIRST.draw(&mut maker.lengths);
            maker.agent(at.next().flatten(), project, turns, first, None);
            if maker.requests.len() as u64 > MOST_REQUESTS || maker.sessions > MOST_SESSIONS {
                let most = format!("so few that there are at most {MOST_SESSIONS}, sub-agents included, of {MOST_REQUESTS} requests");
                return Err(settings.wrong("sessions", &most));
            }
        }
        let mut trace = Trace { requests: maker.requests, ..made(settings, 1, seed) };
        trace.classes = vec!["agent".into(), "sub-agent".into()];
        trace.losses.push("made from laws fitted to recorded sessions: lengths and pauses do not depend on each other".into());
        Ok(trace)
    }
}

/// Tokens that a session must have for itself: the shortest prompt and answer that make sense.
const MIN_ROOM: u32 = 4_096;

/// The requests so far, and what they are made by.
struct Maker {
    /// Blocks of the shared parts: of all, of a project.
    shared: [u32; 2],
    /// The first id behind all shared parts.
    own: u64,
    context: u32,
    compaction: f64,
    sub_agents: f64,
    gap_scale: f64,
    lengths: Stream,
    answers: Stream,
    pauses: Stream,
    events: Stream,
    requests: Vec<TraceRequest>,
    sessions: u32,
}

impl Maker {
    /// All requests of one agent. A sub-agent begins when `parent` has ended, and its last request is what its parent waits for.
    fn agent(&mut self, at: Option<Nanos>, project: u64, turns: u16, first: u32, parent: Option<RequestId>) -> RequestId {
        let session = self.sessions;
        self.sessions += 1;
        let begin = (self.shared[0] + self.shared[1]) * BLOCK;
        // The history: how many tokens, and where its ids begin since the last compaction.
        let mut history = Blocks { first: self.own + u64::from(session) * SESSION_BLOCKS, tokens: 0 };
        let mut new = first.saturating_sub(begin).max(BLOCK);
        let mut before = parent;
        let mut last = RequestId(0);
        for turn in 0..turns {
            let answer = ANSWER.draw(&mut self.answers).min((self.context - begin) / 2);
            let room = self.context - answer - begin;
            if turn > 0 {
                let is_rewritten = self.events.uniform() <= self.compaction;
                new = NEW.draw(&mut self.lengths);
                let is_full = u64::from(history.tokens) + u64::from(new) > u64::from(room);
                if is_rewritten || is_full {
                    // Nothing but the shared parts stays. Where the context is full, what follows is half as long, so that there is room.
                    let most = if is_full { history.tokens / 2 } else { history.tokens };
                    history = history.fresh();
                    new = SUMMARY.draw(&mut self.lengths).min(most.max(BLOCK));
                }
            }
            history.tokens += new.min(room - history.tokens);
            let pause = self.pause();
            let mut after = vec![];
            if let Some(before) = before {
                let (gap, cause) = match turn {
                    0 => (Nanos::ZERO, Cause::Tool),
                    _ if pause >= USER => (pause, Cause::Think),
                    _ => (pause, Cause::Tool),
                };
                after.push(Edge::after_end(before, gap, cause));
                let delegates = turn > 0 && parent.is_none() && self.events.uniform() <= self.sub_agents;
                if delegates {
                    let turns = SUB_TURNS.draw(&mut self.lengths) as u16;
                    let task = begin + TASK.draw(&mut self.lengths);
                    let ended = self.agent(None, project, turns, task, Some(before));
                    // Instead of a tool of its own it waits for the other's.
                    after = vec![Edge::after_end(before, Nanos::ZERO, Cause::Tool), Edge::after_end(ended, Nanos::ZERO, Cause::Tool)];
                }
            }
            let tokens = begin + history.tokens;
            last = RequestId(self.requests.len() as u32);
            self.requests.push(TraceRequest {
                at: at.filter(|_| turn == 0),
                after,
                session: Some(SessionId(session)),
                turn,
                class: u16::from(parent.is_some()),
                ..TraceRequest::new(self.prompt(project, history, tokens, last), tokens, answer)
            });
            before = Some(last);
        }
        last
    }

    fn pause(&mut self) -> Nanos {
        micros(Nanos::from_millis(THINK_MS.draw(&mut self.pauses).into()).scale(self.gap_scale))
    }

    fn prompt(&self, project: u64, history: Blocks, tokens: u32, id: RequestId) -> Prompt {
        let [global, group] = self.shared;
        let project = u64::from(global) + project * u64::from(group);
        let ranges = [
            BlockRange { first: 0, count: global },
            BlockRange { first: project, count: group },
            // The last block is cut to the prompt, and is the same block when the next prompt fills it.
            BlockRange { first: history.first, count: history.tokens.div_ceil(BLOCK) },
        ];
        let blocks: Vec<BlockRange> = ranges.into_iter().filter(|range| range.count > 0).collect();
        Prompt::Blocks(BlockPrompt { namespace: 0, block_tokens: BLOCK, blocks: blocks.into(), tokens, unshared: id.0.into() })
    }
}

/// A stretch of a session's own blocks.
#[derive(Clone, Copy)]
struct Blocks {
    first: u64,
    tokens: u32,
}

impl Blocks {
    /// An empty stretch behind this one.
    fn fresh(self) -> Self {
        Self { first: self.first + u64::from(self.tokens.div_ceil(BLOCK)), tokens: 0 }
    }
}

#[cfg(test)]
mod tests;
