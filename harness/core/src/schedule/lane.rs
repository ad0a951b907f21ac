//! Closed loops: lanes that take one unit after the other.

use super::links::{count_children, homes};
use super::{Due, Entry, Schedule, Source, Warmup};
use crate::prompt::Prompt;
use crate::request::{LaneId, Request, RequestId};
use crate::trace::{Cause, Edge, EdgeKind, Join, Trace};
use crate::units::Nanos;
use std::collections::{HashMap, HashSet};

/// A trace as a closed loop takes it: what hangs together (a session, its sub-agents) in order of its first request, requests that stand
/// alone each by itself. Requests are numbered in this order, so that the first n of a schedule are the first n units' and not what the
/// trace interleaved.
#[derive(Clone, Debug, Default)]
pub(super) struct Units {
    /// Positions in the trace, unit by unit.
    members: Vec<Vec<u32>>,
    /// By position in the trace: position in the order of units.
    ordinals: Vec<u32>,
    /// By position: how many others of its unit wait for it.
    waiting: Vec<u32>,
    /// By position: whether the next member of its unit does not wait for it, not even through others.
    apart: Vec<bool>,
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
        // What the next unit waits for, and the request before.
        let mut leaves: Vec<RequestId> = vec![];
        let mut previous = RequestId(0);
        std::iter::from_fn(move || {
            let is_first = inside == 0;
            let (request, due, waiting, apart, more) = match &self.rule.source {
                Source::Fixed { .. } => (self.fixed(RequestId(u32::try_from(unit).ok()?)), None, 0, false, false),
                Source::Trace(trace) => {
                    let n = self.units.members.len() as u64;
                    let pass = unit / n;
                    if pass > 0 && !self.rule.repeat {
                        return None;
                    }
                    let members = &self.units.members[(unit % n) as usize];
                    let position = members[inside];
                    let request = self.taken(trace, position, pass)?;
                    let due = self.recorded_due(trace, position, pass, (!is_first).then_some((previous, think)))?;
                    let at = position as usize;
                    (request, due, self.units.waiting[at], self.units.apart[at], inside + 1 < members.len())
                }
            };
            let id = request.id;
            if total.is_some_and(|total| id.0 >= total) {
                return None;
            }
            let due = match due {
                Some(due) => due,
                None if leaves.is_empty() => Due::At(Nanos::ZERO),
                None => Due::After {
                    join: Join::All,
                    edges: leaves
                        .iter()
                        .map(|leaf| Edge { kind: EdgeKind::Order, ..Edge::after_end(*leaf, think, Cause::Think) })
                        .collect(),
                },
            };
            if is_first {
                leaves.clear();
            }
            if waiting == 0 {
                leaves.push(id);
            }
            previous = id;
            if more {
                inside += 1;
            } else {
                inside = 0;
                unit += u64::from(concurrency);
            }
            Some(Entry { request, due, lane: Some(lane), dependents: waiting.max(1), apart })
        })
    }

    /// When a member of a unit is due by the trace: after those of its unit that it waits for, else after the member `before`. `None` inside
    /// for the first of a unit, which comes when the lane is free; none at all when there are no more request ids.
    #[expect(clippy::option_option, reason = "the outer one ends the lane")]
    fn recorded_due(&self, trace: &Trace, position: u32, pass: u64, before: Option<(RequestId, Nanos)>) -> Option<Option<Due>> {
        let recorded = &trace.requests[position as usize];
        if recorded.after.is_empty() {
            let chained = before.map(|(before, think)| Edge::after_end(before, think, Cause::Think));
            return Some(chained.map(|edge| Due::After { join: Join::All, edges: vec![edge] }));
        }
        let base = u32::try_from(pass * trace.requests.len() as u64).ok()?;
        let edges = recorded.after.iter().map(|edge| {
            let request = RequestId(base.checked_add(self.units.ordinals[edge.request.0 as usize])?);
            Some(Edge { request, gap: edge.gap.scale(1.0 / self.rule.speed), ..*edge })
        });
        Some(Some(Due::After { join: recorded.join, edges: edges.collect::<Option<_>>()? }))
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
}

impl Units {
    pub(super) fn new(trace: &Trace) -> Self {
        let homes = homes(trace);
        let mut members: Vec<Vec<u32>> = vec![];
        let mut of_home: HashMap<u32, usize> = HashMap::new();
        for index in 0..trace.requests.len() as u32 {
            let home = homes.get(index as usize).copied().unwrap_or(index);
            let unit = *of_home.entry(home).or_insert_with(|| {
                members.push(vec![]);
                members.len() - 1
            });
            members[unit].push(index);
        }
        let mut units = Self {
            ordinals: vec![0; trace.requests.len()],
            waiting: count_children(trace),
            apart: vec![false; trace.requests.len()],
            members,
        };
        for (ordinal, position) in units.members.iter().flatten().enumerate() {
            units.ordinals[*position as usize] = ordinal as u32;
        }
        for members in &units.members {
            for pair in members.windows(2) {
                if trace.requests[pair[1] as usize].after.is_empty() {
                    units.waiting[pair[0] as usize] += 1;
                } else {
                    units.apart[pair[0] as usize] = !follows(trace, pair[1], pair[0]);
                }
            }
        }
        units
    }
}

/// Whether `later` waits for `earlier`, perhaps through others.
fn follows(trace: &Trace, later: u32, earlier: u32) -> bool {
    let mut open = vec![later];
    let mut seen = HashSet::new();
    while let Some(position) = open.pop() {
        for parent in trace.requests[position as usize].after.iter().map(|edge| edge.request.0) {
            if parent == earlier {
                return true;
            }
            // Parents come first: what is before `earlier` does not wait for it.
            if parent > earlier && seen.insert(parent) {
                open.push(parent);
            }
        }
    }
    false
}
