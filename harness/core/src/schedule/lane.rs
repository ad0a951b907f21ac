//! Closed loops: lanes that take one unit after the other.

use super::{Due, Entry, Schedule, Source, Warmup};
use crate::prompt::Prompt;
use crate::request::{LaneId, Request, RequestId};
use crate::trace::{Cause, Edge, EdgeKind, Join, Moment, Trace};
use crate::units::Nanos;
use std::collections::HashMap;

/// A trace as a closed loop takes it: sessions in order of their first request, requests without one alone. Requests are
/// numbered in this order, so that the first n of a schedule are the first n units' and not what the trace interleaved.
#[derive(Clone, Debug, Default)]
pub(super) struct Units {
    /// Positions in the trace, unit by unit.
    members: Vec<Vec<u32>>,
    /// By position in the trace: position in the order of units.
    ordinals: Vec<u32>,
}

impl Schedule {
    /// Requests of a closed loop with a number of requests, warm-up included. After a timed warm-up nobody knows it beforehand: then
    /// the run counts what is due in the window.
    pub(super) fn requests_in_all(&self) -> Option<u32> {
        match (self.rule.limit.requests?, self.rule.warmup) {
            (n, Warmup::Requests(w)) => Some(n.saturating_add(w)),
            (n, Warmup::Time(Nanos::ZERO)) => Some(n),
            (_, Warmup::Time(_)) => None,
        }
    }

    /// The entries of one lane: units `lane`, `lane + C`, `lane + 2C`, …
    pub(super) fn lane(self, lane: LaneId, concurrency: u32, think: Nanos) -> impl Iterator<Item = Entry> + Send {
        let total = self.requests_in_all();
        let mut unit = u64::from(lane.0);
        let mut inside = 0_usize;
        let mut previous: Option<(RequestId, u32)> = None;
        std::iter::from_fn(move || {
            let (request, position, more) = match &self.rule.source {
                Source::Fixed { .. } => (self.fixed(RequestId(u32::try_from(unit).ok()?)), 0, false),
                Source::Trace(trace) => {
                    let n = self.units.members.len() as u64;
                    let pass = unit / n;
                    if pass > 0 && !self.rule.repeat {
                        return None;
                    }
                    let members = &self.units.members[(unit % n) as usize];
                    (self.taken(trace, members[inside], pass)?, members[inside], inside + 1 < members.len())
                }
            };
            let id = request.id;
            if total.is_some_and(|total| id.0 >= total) {
                return None;
            }
            let due = match previous {
                None => Due::At(Nanos::ZERO),
                Some(previous) if inside > 0 => self.turn_edge(previous, position, think),
                Some((previous, _)) => Due::After {
                    join: Join::All,
                    edges: vec![Edge { request: previous, on: Moment::End, gap: think, kind: EdgeKind::Order, cause: Cause::Think }],
                },
            };
            previous = Some((id, position));
            if more {
                inside += 1;
            } else {
                inside = 0;
                unit += u64::from(concurrency);
            }
            Some(Entry { request, due, lane: Some(lane), dependents: 1 })
        })
    }

    /// The request at `position` of the trace as a closed loop takes it: numbered in the order of units.
    fn taken(&self, trace: &Trace, position: u32, pass: u64) -> Option<Request> {
        let base = u32::try_from(pass * trace.requests.len() as u64).ok()?;
        let id = |position: u32| base.checked_add(self.units.ordinals[position as usize]);
        let mut request = self.traced(trace, position as usize, RequestId(base.checked_add(position)?), pass as u32);
        request.id = RequestId(id(position)?);
        let mut prompt = &mut request.prompt;
        while let Prompt::Live { of, add } = prompt {
            of.0 = id(of.0 - base)?;
            prompt = add;
        }
        Some(request)
    }

    /// The edge from one turn of a session to the next inside a lane: the recorded gap, else the think time.
    fn turn_edge(&self, (previous, before): (RequestId, u32), position: u32, think: Nanos) -> Due {
        let Source::Trace(trace) = &self.rule.source else { unreachable!("only traces have sessions") };
        let recorded = trace.requests[position as usize].after.iter().find(|e| e.request.0 == before);
        let edge = match recorded {
            Some(e) => Edge { request: previous, gap: e.gap.scale(1.0 / self.rule.speed), ..*e },
            None => Edge::after_end(previous, think, Cause::Think),
        };
        Due::After { join: Join::All, edges: vec![edge] }
    }
}

impl Units {
    pub(super) fn new(trace: &Trace) -> Self {
        let mut members: Vec<Vec<u32>> = vec![];
        let mut of_session = HashMap::new();
        for (index, request) in trace.requests.iter().enumerate() {
            match request.session {
                None => members.push(vec![index as u32]),
                Some(session) => {
                    let unit = *of_session.entry(session).or_insert_with(|| {
                        members.push(vec![]);
                        members.len() - 1
                    });
                    members[unit].push(index as u32);
                }
            }
        }
        let mut ordinals = vec![0; trace.requests.len()];
        for (ordinal, position) in members.iter().flatten().enumerate() {
            ordinals[*position as usize] = ordinal as u32;
        }
        Self { members, ordinals }
    }
}
