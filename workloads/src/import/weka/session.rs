//! One session: its requests, and what waits for what among them.

use super::{Entry, Kind};
use crate::error::{Place, TraceError};
use crate::import::classes::Classes;
use crate::import::gaps::{after_start, since_start};
use crate::import::{Gaps, MAX_TIME, MAX_TOKENS};
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, Recorded, TraceRequest};
use nomoat_core::units::Nanos;

/// What sessions had that a trace has not, counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Notes {
    unknown_gaps: u64,
    empty_answers: u64,
    ended_at_t: u64,
    late: u64,
    unawaited: u64,
}

impl Notes {
    /// What to tell of `sessions` sessions.
    pub fn told(self, sessions: usize) -> Vec<String> {
        let mut told = vec![
            "models, kinds of content, stop reasons and whether an answer was streamed are not kept; lengths are those of the recorder's tokenizer"
                .to_owned(),
        ];
        if sessions > 1 {
            told.push(format!(
                "the {sessions} sessions were recorded apart and have no arrivals: give a rate of arrivals, or lanes that take one session after the other"
            ));
        }
        let counted = [
            (
                self.unknown_gaps,
                "requests follow one whose duration and think time are unknown: they keep the recorded distance from its start, and wait for its end",
            ),
            (self.empty_answers, "answers of no token became answers of one token"),
            (
                self.ended_at_t,
                "sub-agents began their duration before their `t`, which is when the request that spawned them ended: `t` is taken as when their result came",
            ),
            (self.late, "sub-agents ended after the next request of their parent began: the first one after their end waits for them"),
            (self.unawaited, "sub-agents are waited for by nobody: their parent has no request after their end"),
        ];
        told.extend(counted.iter().filter(|(n, _)| *n > 0).map(|(n, text)| format!("{n} {text}")));
        told
    }
}

/// A request that others may wait for, with its recorded times.
#[derive(Clone, Copy)]
pub(super) struct Done {
    id: RequestId,
    start: Nanos,
    end: Option<Nanos>,
}

impl Done {
    fn until(self) -> Nanos {
        self.end.unwrap_or(self.start)
    }
}

/// A sub-agent that has begun.
struct Agent {
    last: Done,
    start: Nanos,
    spawner: Option<RequestId>,
    is_late: bool,
}

/// The requests of one agent so far.
struct Stream<'a> {
    class: &'a str,
    /// What the agent began after, unless it is the main one.
    spawner: Option<Done>,
    previous: Option<Done>,
    /// Sub-agents that it has not waited for yet.
    agents: Vec<Agent>,
}

/// Makes the requests of one session.
pub(super) struct Builder<'a> {
    pub place: Place<'a>,
    pub session: SessionId,
    pub namespace: u64,
    pub block_tokens: u32,
    pub gaps: Gaps,
    pub base: usize,
    pub classes: &'a mut Classes,
    pub notes: Notes,
    pub requests: Vec<TraceRequest>,
    pub latest_root: Nanos,
}

impl Builder<'_> {
    /// Appends the requests of one agent that began at `base`, spawned by `spawner`; its last request.
    pub fn stream(
        &mut self,
        entries: Vec<Entry>,
        path: &str,
        base: Nanos,
        class: &str,
        spawner: Option<Done>,
    ) -> Result<Option<Done>, TraceError> {
        let mut stream = Stream { class, spawner, previous: None, agents: vec![] };
        let mut clock = Nanos::ZERO;
        for (index, entry) in entries.into_iter().enumerate() {
            let path = format!("{path}requests[{index}].");
            let start = base + entry.t.0;
            if entry.t.0 < clock {
                let problem = format!("is {} earlier than that of the entry before", clock - entry.t.0);
                return Err(self.place.field(format!("{path}t"), problem, "in order of time"));
            }
            if start > MAX_TIME {
                return Err(self.place.field(format!("{path}t"), "is beyond a century", "seconds from the session's start"));
            }
            clock = entry.t.0;
            if entry.kind == Kind::SubAgent {
                let spawner = stream.previous.or(spawner);
                stream.agents.extend(self.agent(entry, &path, start, spawner)?);
            } else {
                stream.previous = Some(self.request(entry, &path, start, &mut stream)?);
            }
        }
        self.notes.unawaited += stream.agents.len() as u64;
        Ok(stream.previous)
    }

    fn agent(&mut self, entry: Entry, path: &str, t: Nanos, spawner: Option<Done>) -> Result<Option<Agent>, TraceError> {
        let should = "a list of the sub-agent's requests";
        let Some(requests) = entry.requests else { return Err(self.place.field(format!("{path}requests"), "is missing", should)) };
        let ran = entry.duration_ms.filter(|ms| *ms > 0).and_then(|ms| i64::try_from(ms).ok()).filter(|ms| *ms <= MAX_TIME.0 / 1_000_000);
        let began =
            ran.map(|ms| t - Nanos::from_millis(ms)).filter(|began| spawner.is_some_and(|s| s.end.is_some_and(|end| *began >= end)));
        let start = began.unwrap_or(t);
        let class = entry.subagent_type.as_deref().unwrap_or("subagent");
        let last = self.stream(requests, path, start, class, spawner)?;
        self.notes.ended_at_t += u64::from(began.is_some() && last.is_some());
        Ok(last.map(|last| Agent { last, start, spawner: spawner.map(|s| s.id), is_late: false }))
    }

    fn request(&mut self, entry: Entry, path: &str, start: Nanos, stream: &mut Stream<'_>) -> Result<Done, TraceError> {
        let missing = |name: &str| self.place.field(format!("{path}{name}"), "is missing", "there: only sub-agents go without it");
        let tokens = |name: &str, value: u64, min: u64| match value {
            n if (min..=MAX_TOKENS).contains(&n) => Ok(n as u32),
            n => Err(self.place.field(
                format!("{path}{name}"),
                format!("is {n}"),
                format!("a whole number of tokens from {min} to {MAX_TOKENS}"),
            )),
        };
        let input = tokens("in", entry.input.ok_or_else(|| missing("in"))?, 1)?;
        let output = tokens("out", entry.output.ok_or_else(|| missing("out"))?, 0)?;
        let ids = entry.hash_ids.as_ref().ok_or_else(|| missing("hash_ids"))?;
        let (full, all) = (input / self.block_tokens, input.div_ceil(self.block_tokens));
        if ids.count != u64::from(full) && ids.count != u64::from(all) {
            let should = format!("{full} ids, one for each full block of {} tokens, or {all} with the partial one", self.block_tokens);
            return Err(self.place.field(format!("{path}hash_ids"), format!("has {} ids for {input} tokens", ids.count), should));
        }
        let too_many = |what: &str| self.place.line(format!("there are too many {what}"), "split it");
        let position = self.base + self.requests.len();
        let id = RequestId(u32::try_from(position).map_err(|_| too_many("requests in the file"))?);
        let turn = u16::try_from(self.requests.len()).map_err(|_| too_many("requests in the session"))?;
        let class = self.classes.of(stream.class).ok_or_else(|| too_many("kinds of sub-agents"))?;

        let after = self.edges(&entry, start, stream);
        // A root of a later stream never arrives before one of an earlier stream, which a trace's order asks for.
        let at = if after.is_empty() { start.max(self.latest_root) } else { start };
        if after.is_empty() {
            self.latest_root = at;
        }
        self.notes.empty_answers += u64::from(output == 0);
        let recorded = Recorded { ttft: entry.ttft.map(|s| s.0), e2e: entry.api_time.map(|s| s.0), ..Recorded::default() };
        let prompt = Prompt::Blocks(BlockPrompt {
            namespace: self.namespace,
            block_tokens: self.block_tokens,
            blocks: entry.hash_ids.map(|ids| ids.ranges).unwrap_or_default().into(),
            tokens: input,
            unshared: position as u64,
        });
        self.requests.push(TraceRequest {
            at: Some(at),
            after,
            session: Some(self.session),
            turn,
            class,
            recorded: (recorded != Recorded::default()).then(|| Box::new(recorded)),
            ..TraceRequest::new(prompt, input, output.max(1))
        });
        Ok(Done { id, start, end: entry.api_time.map(|api| start + api.0) })
    }

    /// What a request waits for: the one before it in its stream, or the one that spawned the stream, and sub-agents that had ended by then.
    fn edges(&mut self, entry: &Entry, start: Nanos, stream: &mut Stream<'_>) -> Vec<Edge> {
        let is_tool = entry.input_types.iter().flatten().any(|kind| kind == "tool_result");
        let cause = if is_tool { Cause::Tool } else { Cause::Think };
        let (mut joined, mut pending) = (vec![], vec![]);
        for agent in stream.agents.drain(..) {
            if agent.last.until() <= start { joined.push(agent) } else { pending.push(agent) }
        }
        for agent in &mut pending {
            self.notes.late += u64::from(!agent.is_late);
            agent.is_late = true;
        }
        stream.agents = pending;

        let mut edges = match (stream.previous, stream.spawner) {
            (Some(previous), _) => {
                // The recorded think time contains what the engine took for sub-agents: the wait for them stands in its place.
                let spawned = joined.iter().filter(|agent| agent.spawner == Some(previous.id)).map(|agent| agent.start).min();
                let think = match spawned {
                    Some(spawned) => Some((spawned - previous.until()).max(Nanos::ZERO)),
                    None => entry.think_time.map(|s| s.0),
                };
                self.wait(previous, start, think, cause)
            }
            (None, Some(spawner)) => self.wait(spawner, start, None, Cause::Tool),
            (None, None) => vec![],
        };
        // Their results were read together: what passed after the last of them is the client's.
        let tail = joined.iter().map(|agent| start - agent.last.until()).min().unwrap_or_default();
        edges.extend(joined.iter().map(|agent| match self.gaps {
            Gaps::Think => Edge::after_end(agent.last.id, tail, Cause::Tool),
            Gaps::Recorded => after_start(agent.last.id, start - agent.last.start, Cause::Tool),
        }));
        edges
    }

    fn wait(&mut self, before: Done, start: Nanos, think: Option<Nanos>, cause: Cause) -> Vec<Edge> {
        let distance = (start - before.start).max(Nanos::ZERO);
        let think = think.or_else(|| before.end.map(|end| (start - end).max(Nanos::ZERO)));
        match (self.gaps, think) {
            (Gaps::Think, Some(gap)) => vec![Edge::after_end(before.id, gap, cause)],
            (Gaps::Think, None) => {
                self.notes.unknown_gaps += 1;
                since_start(before.id, distance, cause, self.gaps)
            }
            (Gaps::Recorded, _) => since_start(before.id, distance, cause, self.gaps),
        }
    }
}
