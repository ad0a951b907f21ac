//! What both TraceLab formats have in common: sessions of rounds, each of which keeps the first tokens of the context before it and adds new
//! ones. Contents are not recorded, only these counts.

use super::gaps::after_start;
use super::{Gaps, MAX_TIME, MAX_TOKENS};
use crate::error::{Place, TraceError, file_error};
use crate::sink::Sink;
use nomoat_core::prompt::{Part, PartPrompt, Prompt};
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, Recorded, TraceRequest};
use nomoat_core::units::Nanos;
use std::collections::HashMap;

/// One round as recorded.
pub(super) struct Round {
    /// Its number in its session.
    pub index: u64,
    /// Tokens kept from the context before it.
    pub prefix: u32,
    /// New tokens.
    pub append: u32,
    /// Tokens of the answer, 0 if it had none.
    pub output: u32,
    /// When it began, where that is known.
    pub start: Option<Nanos>,
    /// When its answer was complete, where that is known.
    pub end: Option<Nanos>,
    /// What the client took between its answer and the next round, where that is what was recorded.
    pub wait: Option<Nanos>,
    /// What brought it about.
    pub cause: Cause,
    pub class: u16,
    pub recorded: Recorded,
}

/// Sessions by name, in the order in which they were first seen.
#[derive(Default)]
pub(super) struct Sessions {
    index: HashMap<String, usize>,
    all: Vec<Vec<Round>>,
}

impl Sessions {
    /// Appends a round to a session; their numbers must increase.
    pub fn push(&mut self, name: &str, round: Round, field: &str, place: Place<'_>) -> Result<(), TraceError> {
        let session = match self.index.get(name) {
            Some(index) => &mut self.all[*index],
            None => {
                self.index.insert(name.to_owned(), self.all.len());
                self.all.push(vec![]);
                // It was pushed the line before.
                self.all.last_mut().expect("a session")
            }
        };
        if let Some(last) = session.last().filter(|last| last.index >= round.index) {
            let should = "larger: rounds of a session in order, each once";
            return Err(place.field(field, format!("is {}, after round {} of the same session", round.index, last.index), should));
        }
        session.push(round);
        Ok(())
    }

    /// When the session began, if it is known already.
    pub fn start(&self, name: &str) -> Option<Nanos> {
        self.all[*self.index.get(name)?].first()?.start
    }

    /// Sends all rounds, sessions in the order in which they began; what is to be told.
    pub fn send(mut self, file: &str, gaps: Gaps, sink: &mut dyn Sink) -> Result<Vec<String>, TraceError> {
        self.all.retain(|rounds| !rounds.is_empty());
        self.all.sort_by_key(|rounds| rounds[0].start);
        let zero = self.all.iter().find_map(|rounds| rounds[0].start).unwrap_or_default();
        let mut notes = Notes::default();
        let mut position = 0;
        for (session, rounds) in self.all.into_iter().enumerate() {
            let session = u32::try_from(session).map_err(|_| file_error(file, "there are too many sessions", "split it"))?;
            let mut context = Context { parts: vec![] };
            let mut before: Option<(RequestId, Round)> = None;
            for (turn, round) in rounds.into_iter().enumerate() {
                let too_many = || file_error(file, "there are too many rounds in it or in one session", "split it");
                let turn = u16::try_from(turn).map_err(|_| too_many())?;
                let id = RequestId(u32::try_from(position).map_err(|_| too_many())?);
                let parts = context.prompt(&round, position, turn == 0, &mut notes);
                let input = round.prefix + round.append;
                let at = round.start.map(|start| (start - zero).max(Nanos::ZERO));
                if at.is_some_and(|at| at > MAX_TIME) {
                    return Err(file_error(file, "it spans more than a century", "check its times"));
                }
                notes.empty_answers += u64::from(round.output == 0);
                let prompt = Prompt::Parts(PartPrompt { namespace: u64::from(session) + 1, parts: parts.into() });
                sink.request(TraceRequest {
                    at,
                    after: before.iter().map(|(id, before)| edge(*id, before, &round, gaps, &mut notes)).collect(),
                    session: Some(SessionId(session)),
                    turn,
                    class: round.class,
                    recorded: (round.recorded != Recorded::default()).then(|| Box::new(round.recorded)),
                    ..TraceRequest::new(prompt, input, round.output.max(1))
                })?;
                context.answer(position, round.output);
                before = Some((id, round));
                position += 1;
            }
        }
        Ok(notes.told())
    }
}

fn edge(id: RequestId, before: &Round, round: &Round, gaps: Gaps, notes: &mut Notes) -> Edge {
    if let Some(wait) = before.wait {
        return Edge::after_end(id, wait, round.cause);
    }
    let (start, began) = (round.start.unwrap_or_default(), before.start.unwrap_or_default());
    let ended = before.end.filter(|end| *end <= start);
    notes.overlaps += u64::from(ended.is_none());
    match (gaps, ended) {
        (Gaps::Think, Some(end)) => Edge::after_end(id, start - end, round.cause),
        _ => after_start(id, (start - began).max(Nanos::ZERO), round.cause),
    }
}

/// What a session's prompt and answers have grown to.
struct Context {
    parts: Vec<Part>,
}

impl Context {
    /// Cuts the context to the round's prefix and appends what is new, under an id of the round's position.
    fn prompt(&mut self, round: &Round, position: u64, is_first: bool, notes: &mut Notes) -> Vec<Part> {
        let mut left = round.prefix;
        self.parts.retain_mut(|part| {
            part.tokens = part.tokens.min(left);
            left -= part.tokens;
            part.tokens > 0
        });
        if left > 0 && is_first {
            notes.warm += 1;
        } else if left > 0 {
            notes.beyond += 1;
        }
        self.push(4 * position, left);
        self.push(4 * position + 1, round.append);
        self.parts.clone()
    }

    fn answer(&mut self, position: u64, tokens: u32) {
        self.push(4 * position + 2, tokens);
    }

    fn push(&mut self, id: u64, tokens: u32) {
        if tokens > 0 {
            self.parts.push(Part { id, tokens });
        }
    }
}

#[derive(Default)]
struct Notes {
    warm: u64,
    beyond: u64,
    overlaps: u64,
    empty_answers: u64,
}

impl Notes {
    fn told(self) -> Vec<String> {
        let mut told = vec!["what was shared between sessions is not recorded: each has contents of its own, and a prefix is what was found in the cache then, so it lacks what had been evicted".to_owned()];
        let counted = [
            (self.warm, "sessions began with a prefix from before the record: it is new here, shared with nobody"),
            (self.beyond, "rounds had a longer prefix than the context before them: what is beyond it is new here"),
            (self.overlaps, "rounds began before the round before them had ended: they keep the recorded distance from its start"),
            (self.empty_answers, "answers of no token became answers of one token"),
        ];
        told.extend(counted.iter().filter(|(n, _)| *n > 0).map(|(n, text)| format!("{n} {text}")));
        told
    }
}

/// Checks the lengths of a round.
pub(super) fn lengths(
    prefix: (&str, u64),
    append: (&str, u64),
    output: (&str, u64),
    place: Place<'_>,
) -> Result<(u32, u32, u32), TraceError> {
    let one = |(name, value): (&str, u64)| match value {
        0..=MAX_TOKENS => Ok(value as u32),
        _ => Err(place.field(name, format!("is {value}"), format!("a whole number of tokens from 0 to {MAX_TOKENS}"))),
    };
    let lengths = (one(prefix)?, one(append)?, one(output)?);
    match u64::from(lengths.0) + u64::from(lengths.1) {
        1..=MAX_TOKENS => Ok(lengths),
        sum => {
            let problem = format!("is {}, which makes a prompt of {sum} tokens with the prefix", append.1);
            Err(place.field(append.0, problem, format!("such that the prompt has 1 to {MAX_TOKENS}")))
        }
    }
}
