//! Files of turns: `single_turn`, `multi_turn` and `dag_jsonl`, whose conversations may branch.
//!
//! A conversation that no other names is the root of a tree, and a tree is one session here. A turn is written before the conversations it
//! starts, and those before the turn that waits for them, so that everything refers backwards. A `fork` inherits the conversation so far, a
//! `spawn` starts afresh and, unless it says otherwise, is waited for by its parent's next turn. An orchestrator sends nothing itself: its
//! rounds follow each other, with its think time in between.

use super::Counts;
use super::talk::{Talk, Turn, talk};
use crate::diagnose::parse;
use crate::error::{Place, TraceError, file_error};
use crate::import::conversation::{prompt, tokens};
use crate::import::thread::{Thread, UNSAID_OUTPUT};
use crate::import::{ImportOptions, MAX_TOKENS};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::request::{OutputLength, RequestId, SessionId};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Cause, Edge, Moment, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use std::collections::{HashMap, HashSet};

/// Most requests that a file may unfold into: conversations that several others spawn are made each time.
const MAX_MADE: u32 = 1 << 20;
/// How deep conversations may start each other.
const MAX_DEPTH: usize = 64;

const CLASSES: [&str; 3] = ["root", "fork", "spawn"];
const ROOT: u16 = 0;
const FORK: u16 = 1;
const SPAWN: u16 = 2;

pub(super) fn import(source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
    let file = source.name().to_owned();
    let mut rows = Rows::new(source, options);
    let (mut talks, mut names) = (vec![], HashMap::new());
    while let Some(line) = rows.next()? {
        let place = line.place;
        let talk = parse(line.bytes, place).and_then(|object| talk(&object, place)).and_then(|talk| match &talk.name {
            Some(name) if names.contains_key(name) => {
                Err(place.field("session_id", format!("is `{name}`, which an earlier line has"), "another name"))
            }
            _ => Ok(talk),
        });
        let Some(talk) = rows.take(talk)? else { continue };
        if let Some(name) = &talk.name {
            names.insert(name.clone(), talks.len());
        }
        talks.push(talk);
    }
    let (source, skipped) = rows.finish();
    let mut counts = Counts::default();
    let roots = roots(&file, &talks, &names)?;
    let first = roots.iter().find_map(|root| arrival(&talks[*root])).unwrap_or_default();
    let mut made = 0;
    for (session, root) in roots.iter().enumerate() {
        let think = Stream::new(options.seed, &format!("import/aiperf/think/{session}"));
        let counts = &mut counts;
        let mut tree = Tree {
            file: &file,
            talks: &talks,
            names: &names,
            session: session as u32,
            turns: 0,
            first,
            think,
            stack: vec![],
            made,
            counts,
            sink,
        };
        tree.grow(*root, ROOT, &Start::default(), Thread::default())?;
        made = tree.made;
    }
    let timed = roots.iter().any(|root| arrival(&talks[*root]).is_some());
    let untimed = (!timed).then(|| "arrivals are not recorded: choose an arrival law or lanes".to_owned());
    let losses = counts.losses().into_iter().chain(untimed).chain(skipped).collect();
    let classes = CLASSES.map(str::to_owned).to_vec();
    Ok(Trace { source, tokenizer: counts.tokenizer(), classes, losses, ..Trace::default() })
}

fn arrival(talk: &Talk) -> Option<Nanos> {
    talk.turns.first().and_then(|turn| turn.at)
}

/// Conversations that no other starts, in order of arrival.
fn roots(file: &str, talks: &[Talk], names: &HashMap<String, usize>) -> Result<Vec<usize>, TraceError> {
    let (mut started, mut forked) = (HashSet::new(), HashSet::new());
    for talk in talks {
        let place = Place { file, line: talk.line };
        let spawns = talk.turns.iter().flat_map(|turn| turn.spawns.iter().map(|(name, _)| name));
        let spawned = talk.early.iter().chain(talk.rounds.iter().flat_map(|(names, _)| names)).chain(spawns);
        for name in spawned {
            started.insert(*names.get(name).ok_or_else(|| nobody(name, place))?);
        }
        for name in talk.turns.iter().flat_map(|turn| &turn.forks) {
            let target = *names.get(name).ok_or_else(|| nobody(name, place))?;
            started.insert(target);
            if !forked.insert(target) {
                return Err(place.line(format!("`{name}` is forked a second time"), "fork it once: it inherits one history"));
            }
        }
    }
    let mut roots: Vec<usize> = (0..talks.len()).filter(|index| !started.contains(index)).collect();
    if roots.is_empty() && !talks.is_empty() {
        return Err(file_error(file, "every conversation is started by another", "leave at least one to start with"));
    }
    let timed = roots.iter().filter(|root| arrival(&talks[**root]).is_some()).count();
    if let Some(root) = roots.iter().find(|root| timed > 0 && arrival(&talks[**root]).is_none()) {
        let place = Place { file, line: talks[*root].line };
        return Err(place.field("timestamp", "is missing, while other conversations have one", "there for all of them or for none"));
    }
    roots.sort_by_key(|root| arrival(&talks[*root]));
    Ok(roots)
}

fn nobody(name: &str, place: Place<'_>) -> TraceError {
    place.line(format!("it starts `{name}`, which is no `session_id` of this file"), "name a conversation of this file")
}

/// Requests that a conversation starts after, and how long after.
#[derive(Default)]
struct Start {
    after: Vec<u32>,
    gap: Nanos,
}

/// A root and all it starts.
struct Tree<'a> {
    file: &'a str,
    talks: &'a [Talk],
    names: &'a HashMap<String, usize>,
    session: u32,
    turns: u32,
    first: Nanos,
    think: Stream,
    stack: Vec<usize>,
    made: u32,
    counts: &'a mut Counts,
    sink: &'a mut dyn Sink,
}

impl Tree<'_> {
    /// Makes the requests of a conversation and of all it starts. Returns those it ends with.
    fn grow(&mut self, index: usize, class: u16, start: &Start, mut thread: Thread) -> Result<Vec<u32>, TraceError> {
        let talk = &self.talks[index];
        let place = Place { file: self.file, line: talk.line };
        if self.stack.contains(&index) {
            return Err(place.line("it is started by what it starts itself", "break the cycle"));
        }
        if self.stack.len() == MAX_DEPTH {
            return Err(place.line(format!("conversations start each other more than {MAX_DEPTH} deep"), "nest them less"));
        }
        self.stack.push(index);
        for name in &talk.early {
            self.grow(self.names[name], SPAWN, start, Thread::default())?;
        }
        let ends = if talk.rounds.is_empty() { self.turns(talk, class, start, &mut thread)? } else { self.rounds(talk, start)? };
        self.stack.pop();
        Ok(ends)
    }

    fn turns(&mut self, talk: &Talk, class: u16, start: &Start, thread: &mut Thread) -> Result<Vec<u32>, TraceError> {
        let place = Place { file: self.file, line: talk.line };
        let mut joins: HashMap<usize, Vec<u32>> = HashMap::new();
        let mut previous: Option<(u32, Option<Nanos>)> = None;
        for (number, turn) in talk.turns.iter().enumerate() {
            let (mut after, mut gap) = match previous {
                None => (start.after.clone(), start.gap),
                Some((id, _)) => (vec![id], Nanos::ZERO),
            };
            after.extend(joins.remove(&number).unwrap_or_default());
            gap += turn.delay;
            self.counts.early += u64::from(after.is_empty() && turn.delayed);
            let mut edges: Vec<Edge> = after.iter().map(|id| Edge::after_end(RequestId(*id), gap, Cause::Think)).collect();
            if let (false, Some((id, Some(before))), Some(at)) = (turn.delayed, previous, turn.at) {
                // Not before its recorded time since the turn before either.
                let gap = (at - before).max(Nanos::ZERO);
                edges.insert(0, Edge { on: Moment::Start, ..Edge::after_end(RequestId(id), gap, Cause::Think) });
            }
            let id = self.send(talk, turn, class, edges, thread, place)?;
            for (name, join) in &turn.spawns {
                let ends = self.grow(self.names[name], SPAWN, &Start { after: vec![id], gap: Nanos::ZERO }, Thread::default())?;
                if let Some(join) = join {
                    joins.entry(*join).or_default().extend(ends);
                }
            }
            for name in &turn.forks {
                self.grow(self.names[name], FORK, &Start { after: vec![id], gap: Nanos::ZERO }, thread.clone())?;
            }
            previous = Some((id, turn.at));
        }
        Ok(previous.map(|(id, _)| id).into_iter().collect())
    }

    /// Each round waits for all of the one before and for the think time of that.
    fn rounds(&mut self, talk: &Talk, start: &Start) -> Result<Vec<u32>, TraceError> {
        let mut start = Start { after: start.after.clone(), gap: start.gap };
        for (names, median) in &talk.rounds {
            let mut ends = vec![];
            for name in names {
                ends.extend(self.grow(self.names[name], SPAWN, &start, Thread::default())?);
            }
            let drawn = if talk.think.sigma > 0.0 { median.scale(libm::exp(talk.think.sigma * self.think.normal())) } else { *median };
            start = Start { after: ends, gap: drawn.clamp(talk.think.min, talk.think.max) };
        }
        Ok(start.after)
    }

    fn send(
        &mut self,
        talk: &Talk,
        turn: &Turn,
        class: u16,
        after: Vec<Edge>,
        thread: &mut Thread,
        place: Place<'_>,
    ) -> Result<u32, TraceError> {
        if self.made == MAX_MADE || self.turns > u32::from(u16::MAX) {
            return Err(place.line("the file unfolds into too many requests", "start fewer conversations from one, or from each other"));
        }
        let output = turn.output.unwrap_or(UNSAID_OUTPUT);
        let (prompt, input, gappy) = if talk.whole {
            let bytes: u64 = turn.said.iter().map(|said| said.bytes).sum();
            (prompt(&turn.said, turn.tools.as_ref()), tokens(bytes).into(), false)
        } else {
            let next = thread.say(turn.said.clone(), turn.plain.clone(), turn.tools.as_ref());
            let next = next.ok_or_else(|| place.line("its conversation has too many messages", "split it"))?;
            (next.prompt, next.input, next.gappy)
        };
        if input > MAX_TOKENS {
            return Err(place.line(format!("a prompt has {input} tokens with its history"), "split the conversation"));
        }
        let (id, input) = (self.made, input as u32);
        thread.sent(id, input, output);
        self.counts.estimated += 1;
        self.counts.unsaid += u64::from(turn.output.is_none());
        self.counts.gappy += u64::from(gappy);
        self.counts.extra += u64::from(turn.extra);
        self.counts.media += turn.media;
        let request = TraceRequest {
            at: turn.at.map(|at| at - self.first).filter(|at| *at >= Nanos::ZERO),
            after,
            session: Some(SessionId(self.session)),
            turn: self.turns as u16,
            class,
            length: if turn.exact { OutputLength::Exact } else { OutputLength::Cap },
            ..TraceRequest::new(prompt, input, output)
        };
        self.sink.request(request)?;
        (self.made, self.turns) = (self.made + 1, self.turns + 1);
        Ok(id)
    }
}

#[cfg(test)]
mod tests;
