//! Leaving requests out: what stays keeps its edges to what stays.

use nomoat_core::prompt::Prompt;
use nomoat_core::request::RequestId;
use nomoat_core::trace::{Edge, Join, Trace};

/// Keeps the requests that `keep` names, by position. An edge to a request that is left out goes with it; a request all of whose edges went
/// is a root, at its recorded arrival. One that would continue a live conversation that is left out is left out too.
pub(super) fn keep(trace: &mut Trace, mut keep: impl FnMut(usize) -> bool) {
    let mut moved: Vec<Option<u32>> = Vec::with_capacity(trace.requests.len());
    let mut kept = vec![];
    for (index, mut request) in std::mem::take(&mut trace.requests).into_iter().enumerate() {
        if !keep(index) || !follow(&mut request.prompt, &moved) {
            moved.push(None);
            continue;
        }
        request.after = request
            .after
            .iter()
            .filter_map(|edge| moved[edge.request.0 as usize].map(|id| Edge { request: RequestId(id), ..*edge }))
            .collect();
        if request.after.is_empty() {
            request.join = Join::All;
        }
        moved.push(Some(kept.len() as u32));
        kept.push(request);
    }
    trace.requests = kept;
    order(trace);
}

fn follow(prompt: &mut Prompt, moved: &[Option<u32>]) -> bool {
    let Prompt::Live { of, add } = prompt else { return true };
    match moved[of.0 as usize] {
        None => false,
        Some(id) => {
            *of = RequestId(id);
            follow(add, moved)
        }
    }
}

/// Brings requests into the order of their recorded arrivals again, children behind their parents: after edges went, or traces were
/// merged. Those without an arrival stay behind what they follow.
pub(crate) fn order(trace: &mut Trace) {
    let mut latest = nomoat_core::units::Nanos::ZERO;
    let mut sorted = true;
    for request in trace.requests.iter().filter(|r| r.after.is_empty()) {
        let at = request.at.unwrap_or(latest);
        sorted &= at >= latest;
        latest = latest.max(at);
    }
    if sorted {
        return;
    }
    // A request's key is the latest of its own arrival and its parents' keys, so that sorting keeps parents before children.
    let mut keys = Vec::with_capacity(trace.requests.len());
    for request in &trace.requests {
        let parents = request.after.iter().map(|edge| keys[edge.request.0 as usize]);
        let own = request.at.unwrap_or_default();
        keys.push(parents.fold(own, nomoat_core::units::Nanos::max));
    }
    let mut by_key: Vec<u32> = (0..trace.requests.len() as u32).collect();
    by_key.sort_by_key(|index| keys[*index as usize]);
    let mut position = vec![0; by_key.len()];
    for (new, old) in by_key.iter().enumerate() {
        position[*old as usize] = new as u32;
    }
    let mut old: Vec<Option<_>> = std::mem::take(&mut trace.requests).into_iter().map(Some).collect();
    let moved: Vec<Option<u32>> = position.iter().copied().map(Some).collect();
    trace.requests = by_key
        .iter()
        .filter_map(|index| old[*index as usize].take())
        .map(|mut request| {
            request.after.iter_mut().for_each(|edge| edge.request = RequestId(position[edge.request.0 as usize]));
            follow(&mut request.prompt, &moved);
            request
        })
        .collect();
}
