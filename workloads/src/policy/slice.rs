//! A part of a trace: by time, by sessions, or from somewhere inside each session.

use super::kept::keep;
use nomoat_core::request::SessionId;
use nomoat_core::rng::{keyed, stream_key};
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;
use std::collections::{HashMap, HashSet};

/// A part of a trace. What begins inside stays whole: a session is in if it begins there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slice {
    /// From this moment of the trace; it becomes the start.
    pub from: Nanos,
    /// For this long.
    pub span: Option<Nanos>,
    /// At most this many sessions (and requests without one).
    pub sessions: Option<u32>,
}

impl Slice {
    pub(super) fn apply(&self, trace: &mut Trace) -> Result<(), String> {
        let by_time = self.from > Nanos::ZERO || self.span.is_some();
        if self.from < Nanos::ZERO || self.span.is_some_and(|span| span <= Nanos::ZERO) || self.sessions == Some(0) {
            return Err("a slice has a start that is not negative, and a positive length".into());
        }
        if by_time && trace.requests.iter().any(|r| r.after.is_empty() && r.at.is_none()) {
            return Err(format!("trace `{}` has no arrival times to cut it by; take --trace-sessions N", trace.name));
        }
        let end = self.span.map_or(Nanos::MAX, |span| Nanos(self.from.0.saturating_add(span.0)));
        let groups = groups(trace);
        let mut inside: HashSet<u32> = HashSet::new();
        for (index, request) in trace.requests.iter().enumerate() {
            let is_first = groups[index] as usize == index;
            let at = request.at.unwrap_or_default();
            let is_inside = is_first && (!by_time || (at >= self.from && at < end));
            if is_inside && self.sessions.is_none_or(|most| inside.len() < most as usize) {
                inside.insert(groups[index]);
            }
        }
        let all = trace.requests.len();
        keep(trace, |index| inside.contains(&groups[index]));
        let first = trace.requests.iter().filter_map(|r| r.at).min().unwrap_or_default();
        let start = if by_time { self.from } else { first };
        for at in trace.requests.iter_mut().filter_map(|r| r.at.as_mut()) {
            *at = (*at - start).max(Nanos::ZERO);
        }
        trace.losses.push(format!("a slice: {} of {all} requests", trace.requests.len()));
        Ok(())
    }
}

/// For each request the first one that it hangs together with: through its session or through edges.
pub(crate) fn groups(trace: &Trace) -> Vec<u32> {
    let mut sessions: HashMap<SessionId, u32> = HashMap::new();
    let mut groups: Vec<u32> = Vec::with_capacity(trace.requests.len());
    for (index, request) in trace.requests.iter().enumerate() {
        let own = request.session.and_then(|session| sessions.get(&session).copied());
        let parent = request.after.first().map(|edge| groups[edge.request.0 as usize]);
        let group = own.or(parent).unwrap_or(index as u32);
        if let Some(session) = request.session {
            sessions.entry(session).or_insert(group);
        }
        groups.push(group);
    }
    groups
}

/// Leaves out the first turns of each session, a share of them drawn uniformly from `between`.
pub(super) fn enter(trace: &mut Trace, between: (f64, f64), seed: u64) -> Result<(), String> {
    let (low, high) = between;
    if !(0.0..1.0).contains(&low) || !(low..=1.0).contains(&high) {
        return Err(format!("sessions are entered between two shares from 0 to 1, the smaller first, not {low} and {high}"));
    }
    let mut turns: HashMap<SessionId, u32> = HashMap::new();
    for session in trace.requests.iter().filter_map(|r| r.session) {
        *turns.entry(session).or_default() += 1;
    }
    if turns.is_empty() {
        return Err(format!("trace `{}` has no sessions to enter", trace.name));
    }
    let key = stream_key(seed, "policy/enter");
    let skip: HashMap<SessionId, u32> = turns
        .iter()
        .map(|(session, turns)| {
            let uniform = (keyed(key, u64::from(session.0)) >> 11) as f64 / (1_u64 << 53) as f64;
            // At least one turn stays.
            (*session, ((low + uniform * (high - low)) * f64::from(*turns)).floor().min(f64::from(*turns - 1)) as u32)
        })
        .collect();
    let mut seen: HashMap<SessionId, u32> = HashMap::new();
    let stays: Vec<bool> = trace
        .requests
        .iter()
        .map(|request| {
            request.session.is_none_or(|session| {
                let seen = seen.entry(session).or_default();
                *seen += 1;
                *seen > skip[&session]
            })
        })
        .collect();
    let all = trace.requests.len();
    // A session begins when it began, wherever it is entered.
    let mut begins: HashMap<SessionId, Option<Nanos>> = HashMap::new();
    for request in &trace.requests {
        if let Some(session) = request.session {
            begins.entry(session).or_insert(request.at);
        }
    }
    for (request, stays) in trace.requests.iter_mut().zip(&stays) {
        if let (Some(session), true) = (request.session, *stays)
            && let Some(begin) = begins.remove(&session)
        {
            request.at = begin;
            request.after.clear();
        }
    }
    keep(trace, |index| stays[index]);
    trace.losses.push(format!(
        "sessions are entered between {low} and {high} of their turns: {} of {all} requests; what was said before is part of the first prompt",
        trace.requests.len()
    ));
    Ok(())
}
