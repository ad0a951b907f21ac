//! Requests that wait for others: closed loops, conversations, agents.

use nomoat_core::event::Live as LiveCounters;
use nomoat_core::request::RequestId;
use nomoat_core::trace::{Edge, EdgeKind, Join, Moment};
use nomoat_core::units::Nanos;
use std::collections::HashMap;

/// A lane goes on after a failure, but not at once: an endpoint that refuses everything would otherwise be hammered.
pub(crate) const GAP_AFTER_FAILURE: Nanos = Nanos::from_millis(100);

/// What is known of an earlier request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progressed {
    pub start: Option<Nanos>,
    pub first_token: Option<Nanos>,
    pub end: Option<Nanos>,
    /// Ended without a complete answer.
    pub failed: bool,
}

/// Whether a waiting request may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ready {
    /// Due at this moment.
    At(Nanos),
    /// A request it needs failed.
    NotRun,
}

struct Waiter<T> {
    item: T,
    join: Join,
    edges: Vec<Edge>,
}

/// Waiting requests of one shard, and the moments of those they wait for. Holds what is waited for and no more.
pub(crate) struct Waiting<T> {
    known: HashMap<RequestId, (Progressed, u32)>,
    waiters: HashMap<u64, Waiter<T>>,
    by_parent: HashMap<RequestId, Vec<u64>>,
    next: u64,
}

impl<T> Waiting<T> {
    pub fn new() -> Self {
        Self { known: HashMap::new(), waiters: HashMap::new(), by_parent: HashMap::new(), next: 0 }
    }

    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Announces a request that `dependents` later ones will ask about.
    pub fn announce(&mut self, id: RequestId, dependents: u32) {
        if dependents > 0 {
            self.known.entry(id).or_default().1 = dependents;
        }
    }

    /// Adds a waiting request; gives it back at once when nothing holds it any more.
    pub fn add(&mut self, item: T, join: Join, edges: Vec<Edge>) -> Option<(T, Ready)> {
        let key = self.next;
        self.next += 1;
        for edge in &edges {
            self.by_parent.entry(edge.request).or_default().push(key);
        }
        self.waiters.insert(key, Waiter { item, join, edges });
        self.try_release(key)
    }

    /// Notes what happened to `id` and gives the requests that may go now.
    pub fn note(&mut self, id: RequestId, update: impl FnOnce(&mut Progressed)) -> Vec<(T, Ready)> {
        let Some((progressed, _)) = self.known.get_mut(&id) else { return vec![] };
        update(progressed);
        let keys = self.by_parent.get(&id).cloned().unwrap_or_default();
        keys.into_iter().filter_map(|key| self.try_release(key)).collect()
    }

    /// Takes everything that still waits: the run stops.
    pub fn clear(&mut self) -> Vec<T> {
        self.by_parent.clear();
        self.known.clear();
        self.waiters.drain().map(|(_, w)| w.item).collect()
    }

    fn try_release(&mut self, key: u64) -> Option<(T, Ready)> {
        let waiter = self.waiters.get(&key)?;
        let states = waiter.edges.iter().map(|e| state(e, self.known.get(&e.request).map(|k| k.0)));
        let ready = join(waiter.join, states)?;
        let waiter = self.waiters.remove(&key)?;
        for edge in &waiter.edges {
            if let Some(keys) = self.by_parent.get_mut(&edge.request) {
                keys.retain(|k| *k != key);
                if keys.is_empty() {
                    self.by_parent.remove(&edge.request);
                }
            }
            if let Some((_, left)) = self.known.get_mut(&edge.request) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.known.remove(&edge.request);
                }
            }
        }
        Some((waiter.item, ready))
    }
}

/// One edge: still open, satisfied at a moment, or broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum EdgeState {
    Open,
    At(Nanos),
    Broken,
}

fn state(edge: &Edge, parent: Option<Progressed>) -> EdgeState {
    let Some(parent) = parent else { return EdgeState::Open };
    if parent.failed && edge.kind == EdgeKind::Needs {
        return EdgeState::Broken;
    }
    let moment = match edge.on {
        Moment::Start => parent.start,
        Moment::FirstToken => parent.first_token,
        Moment::End => parent.end,
    };
    // After a failure the moment may never come; the end stands for it.
    let gap = if parent.failed { edge.gap.max(GAP_AFTER_FAILURE) } else { edge.gap };
    moment.or(parent.end).map_or(EdgeState::Open, |at| EdgeState::At(at + gap))
}

fn join(join: Join, states: impl Iterator<Item = EdgeState>) -> Option<Ready> {
    let states: Vec<_> = states.collect();
    let moments = || states.iter().filter_map(|s| if let EdgeState::At(at) = s { Some(*at) } else { None });
    match join {
        Join::All if states.contains(&EdgeState::Broken) => Some(Ready::NotRun),
        Join::All if states.contains(&EdgeState::Open) => None,
        Join::All => moments().max().map(Ready::At),
        Join::Any => match moments().min() {
            Some(at) => Some(Ready::At(at)),
            None if states.contains(&EdgeState::Open) => None,
            None => Some(Ready::NotRun),
        },
    }
}

/// Counts a request that never ran among the failed.
pub(crate) fn count_unsent(live: &LiveCounters) {
    live.failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::trace::Cause;

    fn edge(request: u32, kind: EdgeKind, gap_ms: i64) -> Edge {
        Edge { kind, ..Edge::after_end(RequestId(request), Nanos::from_millis(gap_ms), Cause::Unsaid) }
    }

    fn ended(at_ms: i64, failed: bool) -> impl Fn(&mut Progressed) {
        move |p| {
            p.end = Some(Nanos::from_millis(at_ms));
            p.failed = failed;
        }
    }

    #[test]
    fn edges_release_and_break() {
        let check = |kind, failed, expect: Ready| {
            let mut waiting = Waiting::new();
            waiting.announce(RequestId(1), 1);
            assert!(waiting.add("child", Join::All, vec![edge(1, kind, 5)]).is_none());
            assert_eq!(waiting.note(RequestId(1), ended(100, failed)), vec![("child", expect)]);
            assert!(waiting.known.is_empty() && waiting.by_parent.is_empty() && waiting.waiters.is_empty(), "nothing is kept");
        };
        check(EdgeKind::Needs, false, Ready::At(Nanos::from_millis(105)));
        check(EdgeKind::Needs, true, Ready::NotRun);
        check(EdgeKind::Order, false, Ready::At(Nanos::from_millis(105)));
        check(EdgeKind::Order, true, Ready::At(Nanos::from_millis(200)));
    }

    #[test]
    fn joins() {
        let run = |how: Join| {
            let mut waiting = Waiting::new();
            waiting.announce(RequestId(1), 1);
            waiting.announce(RequestId(2), 1);
            let _ = waiting.note(RequestId(1), ended(10, false));
            let first = waiting.add("child", how, vec![edge(1, EdgeKind::Needs, 0), edge(2, EdgeKind::Needs, 0)]);
            (first, waiting.note(RequestId(2), ended(30, false)))
        };
        assert_eq!(run(Join::All), (None, vec![("child", Ready::At(Nanos::from_millis(30)))]));
        assert_eq!(run(Join::Any), (Some(("child", Ready::At(Nanos::from_millis(10)))), vec![]));
    }
}
