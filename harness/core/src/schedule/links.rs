//! What hangs together in a trace: who waits for whom, and which shard all of them go to.

use crate::prompt::Prompt;
use crate::request::{RequestId, ShardId};
use crate::rng::mix;
use crate::trace::{Trace, TraceRequest};
use std::collections::HashMap;

/// Which shard a request of an open loop belongs to: that of what it hangs together with.
pub(super) fn shard_of(id: RequestId, homes: &[u32], shards: u16) -> ShardId {
    let n = homes.len() as u32;
    let home = if n == 0 { id.0 } else { id.0 - id.0 % n + homes[(id.0 % n) as usize] };
    ShardId((mix(u64::from(home) | 1 << 40) % u64::from(shards)) as u16)
}

/// The first request that waits for, or continues, one that is not before it.
pub(super) fn points_forward(trace: &Trace) -> Option<usize> {
    let forward = |index: usize, of: RequestId| of.0 as usize >= index;
    trace
        .requests
        .iter()
        .enumerate()
        .position(|(index, r)| r.after.iter().any(|e| forward(index, e.request)) || continued(&r.prompt).any(|of| forward(index, of)))
}

/// The earlier requests whose live conversation a prompt continues.
pub(super) fn continued(prompt: &Prompt) -> impl Iterator<Item = RequestId> {
    let mut rest = prompt;
    std::iter::from_fn(move || {
        let Prompt::Live { of, add } = rest else { return None };
        rest = add;
        Some(*of)
    })
}

/// For each request the first one that it hangs together with, through its session, its edges or a live conversation. Empty
/// when every request stands alone.
pub(super) fn homes(trace: &Trace) -> Vec<u32> {
    let alone = |r: &TraceRequest| r.session.is_none() && r.after.is_empty() && !matches!(r.prompt, Prompt::Live { .. });
    if trace.requests.iter().all(alone) {
        return vec![];
    }
    let mut homes: Vec<u32> = (0..trace.requests.len() as u32).collect();
    // Every link goes to a smaller position, so following them ends at the smallest of the group.
    fn find(homes: &mut [u32], mut at: u32) -> u32 {
        while homes[at as usize] != at {
            homes[at as usize] = homes[homes[at as usize] as usize];
            at = homes[at as usize];
        }
        at
    }
    let mut sessions = HashMap::new();
    for (index, r) in trace.requests.iter().enumerate() {
        let index = index as u32;
        let first_of_session = r.session.map(|session| *sessions.entry(session).or_insert(index));
        for other in r.after.iter().map(|e| e.request).chain(continued(&r.prompt)).map(|id| id.0).chain(first_of_session) {
            let (a, b) = (find(&mut homes, index), find(&mut homes, other));
            homes[a.max(b) as usize] = a.min(b);
        }
    }
    for index in 0..homes.len() as u32 {
        homes[index as usize] = find(&mut homes, index);
    }
    homes
}

pub(super) fn count_children(trace: &Trace) -> Vec<u32> {
    let mut children = vec![0; trace.requests.len()];
    for edge in trace.requests.iter().flat_map(|r| &r.after) {
        children[edge.request.0 as usize] += 1;
    }
    children
}
