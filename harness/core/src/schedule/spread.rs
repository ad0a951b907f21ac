//! Which of several endpoints a request goes to. Decided by the schedule alone: neither the endpoints' pace nor the number of shards
//! has a say, so the same schedule spreads in the same way every time. Not here: health, weights, stickiness by prefix.

use super::{Load, Schedule, Source};
use crate::request::{Request, SessionId};
use std::collections::HashMap;
use std::sync::Arc;

/// Round robin over the sessions in the order of the trace, and over the requests without one. In a closed loop each lane goes round too:
/// otherwise, wherever the lanes are a multiple of the endpoints, every lane would stay with one of them, and a quick endpoint would get more.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    endpoints: u16,
    /// Lanes of a closed loop, which take what there is in turns.
    lanes: Option<u32>,
    /// Position of each session among the sessions; empty where there is one endpoint.
    ordinals: Arc<HashMap<SessionId, u32>>,
}

impl Spread {
    /// Over `endpoints` of them; 0 counts as 1.
    pub fn new(schedule: &Schedule, endpoints: u16) -> Self {
        let mut ordinals = HashMap::new();
        if let (Source::Trace(trace), true) = (&schedule.rule().source, endpoints > 1) {
            for session in trace.requests.iter().filter_map(|r| r.session) {
                let next = ordinals.len() as u32;
                ordinals.entry(session).or_insert(next);
            }
        }
        let lanes = if let Load::Closed { concurrency, .. } = schedule.rule().load { Some(concurrency.max(1)) } else { None };
        Self { endpoints: endpoints.max(1), lanes, ordinals: Arc::new(ordinals) }
    }

    /// The index of the endpoint. All of a session go to the same one, which may have its turns so far in a cache.
    pub fn of(&self, request: &Request) -> u16 {
        let turn = match request.session {
            Some(session) => self.ordinals.get(&session).copied().unwrap_or(session.0),
            None => request.id.0,
        };
        let turn = u64::from(turn);
        // The lane that has it, and how many that lane had before.
        let turn = self.lanes.map(u64::from).map_or(turn, |lanes| turn % lanes + turn / lanes);
        (turn % u64::from(self.endpoints.max(1))) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::{BlockPrompt, Prompt};
    use crate::request::{RequestId, ShardId};
    use crate::schedule::{Limit, Rule, Warmup};
    use crate::trace::{Trace, TraceRequest};
    use crate::units::Nanos;

    #[test]
    fn every_lane_goes_round() {
        let check = |concurrency: u32, endpoints: u16, expect: &[u16]| {
            let rule = Rule {
                source: Source::Fixed { input_tokens: 1, output_tokens: 1 },
                load: Load::Closed { concurrency, think: Nanos::ZERO },
                speed: 1.0,
                warmup: Warmup::Requests(0),
                limit: Limit { duration: None, requests: Some(expect.len() as u32) },
                repeat: false,
                length: None,
                seed: 0,
            };
            let schedule = Schedule::new(rule).expect("it ends");
            let spread = Spread::new(&schedule, endpoints);
            let mut got = vec![None; expect.len()];
            for entry in schedule.streams(ShardId(0), 1).into_iter().flatten() {
                got[entry.request.id.0 as usize] = Some(spread.of(&entry.request));
            }
            assert_eq!(got, expect.iter().copied().map(Some).collect::<Vec<_>>(), "{concurrency} lanes, {endpoints} endpoints");
        };
        check(1, 2, &[0, 1, 0, 1, 0, 1]);
        check(2, 2, &[0, 1, 1, 0, 0, 1]); // lanes: 0 1 0, 1 0 1
        check(3, 2, &[0, 1, 0, 1, 0, 1]);
        check(2, 3, &[0, 1, 1, 2, 2, 0]);
    }

    #[test]
    fn sessions_stick_and_take_turns() {
        // Sessions as a file may number them: all of them even, and not in order.
        let sessions = [Some(8), None, Some(2), Some(8), Some(4), None, Some(2), Some(6), None];
        let prompt = || Prompt::Blocks(BlockPrompt::unique(0, 0, 1));
        let request = |session: &Option<u32>| TraceRequest {
            at: Some(Nanos::ZERO),
            session: session.map(SessionId),
            ..TraceRequest::new(prompt(), 1, 1)
        };
        let trace = Trace { name: "made up".into(), requests: sessions.iter().map(request).collect(), ..Trace::default() };
        let rule = Rule {
            source: Source::Trace(Arc::new(trace)),
            load: Load::Replay,
            speed: 1.0,
            warmup: Warmup::Requests(0),
            limit: Limit::default(),
            repeat: false,
            length: None,
            seed: 0,
        };
        let schedule = Schedule::new(rule).expect("it has arrivals");
        let check = |endpoints: u16, expect: [u16; 9]| {
            let spread = Spread::new(&schedule, endpoints);
            let asked = sessions
                .iter()
                .zip(0..)
                .map(|(session, id)| Request { session: session.map(SessionId), ..Request::new(RequestId(id), prompt(), 1, 1) });
            assert_eq!(asked.map(|r| spread.of(&r)).collect::<Vec<_>>(), expect, "{endpoints}");
        };
        check(0, [0; 9]);
        check(1, [0; 9]);
        check(2, [0, 1, 1, 0, 0, 1, 1, 1, 0]);
        check(3, [0, 1, 1, 0, 2, 2, 1, 0, 2]);
    }
}
