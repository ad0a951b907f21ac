//! How much of a workload's prompts is a prefix of earlier ones: what a perfect prefix cache could find.

use super::Schedule;
use super::rule::Source;
use crate::fidelity::PredictedCache;
use crate::prompt::Prompt;
use crate::reuse::{Unbounded, pieces};
use crate::rng::mix;
use crate::trace::Trace;
use std::collections::HashMap;

/// Most different blocks, or recorded token ids, that are looked at: about 200 MB of memory for a moment.
const MOST_BLOCKS: usize = 8_000_000;

impl Schedule {
    /// Share of the prompt tokens of its first `requests` requests that begin an earlier prompt, in the order of the trace: what a
    /// cache without bounds would find that keeps every prompt, and of a live conversation its answers, to the token. No engine finds
    /// more without help from outside this workload. `None` where prompts are recorded texts, whose tokens are not known, or are
    /// too many blocks to look at.
    pub fn shared_prefix(&self, requests: u64) -> Option<f64> {
        match &self.rule.source {
            Source::Fixed { .. } => Some(0.0),
            // A pass over a trace shares nothing with another, so each has the same share.
            Source::Trace(trace) if self.rule.repeat => of_trace(trace, trace.requests.len()),
            Source::Trace(trace) => of_trace(trace, usize::try_from(requests).unwrap_or(usize::MAX)),
        }
    }

    /// What a cache without bounds finds of the prompts of its first `requests` requests, in blocks of `block_tokens`. `None` where
    /// prompts are recorded texts, or are too many blocks to look at.
    pub fn predicted_cache(&self, requests: u64, block_tokens: u32) -> Option<PredictedCache> {
        let Source::Trace(trace) = &self.rule.source else { return None };
        let n = trace.requests.len() as u64;
        let take = if self.rule.repeat { n } else { n.min(requests) } as usize;
        let blocks: u64 = trace.requests[..take].iter().map(|r| u64::from(r.input_tokens / block_tokens.max(1))).sum();
        if blocks > MOST_BLOCKS as u64 {
            return None;
        }
        let mut cache = Unbounded::new(block_tokens);
        let mut found = PredictedCache { block_tokens, cached: 0, tokens: 0 };
        for request in &trace.requests[..take] {
            found.cached += cache.look_up(&pieces(trace, &request.prompt)?);
            found.tokens += u64::from(request.input_tokens);
        }
        Some(found)
    }
}

fn of_trace(trace: &Trace, requests: usize) -> Option<f64> {
    let mut known = Known::default();
    let (mut shared, mut all) = (0_u64, 0_u64);
    for request in trace.requests.iter().take(requests) {
        let tokens = u64::from(request.input_tokens);
        shared += known.shared(trace, &request.prompt, tokens)?.min(tokens);
        all += tokens;
    }
    Some(if all == 0 { 0.0 } else { shared as f64 / all as f64 })
}

/// Chains of blocks that occurred, by a hash of all from the start, and how many tokens of the last one are known.
#[derive(Default)]
struct Known {
    chains: HashMap<u64, u32>,
}

impl Known {
    /// Tokens at the start of a prompt that are known; afterwards all of it is.
    fn shared(&mut self, trace: &Trace, prompt: &Prompt, tokens: u64) -> Option<u64> {
        match prompt {
            Prompt::Text(_) | Prompt::Messages(_) => None,
            Prompt::Parts(prompt) => self.walk(mix(prompt.namespace ^ mix(3)), prompt.parts.iter().map(|part| (part.id, part.tokens))),
            Prompt::Ids(ids) => self.walk(mix(1), ids.iter().map(|id| (u64::from(*id), 1))),
            Prompt::Blocks(prompt) => {
                let mut left = prompt.tokens;
                let ids = prompt.blocks.iter().flat_map(|range| range.first..range.first + u64::from(range.count));
                let blocks = ids.map_while(move |id| {
                    let take = left.min(prompt.block_tokens);
                    left -= take;
                    (take > 0).then_some((id, take))
                });
                self.walk(mix(prompt.namespace ^ mix(2)), blocks)
            }
            // Its earlier prompt and answer, as they were asked for.
            Prompt::Live { of, .. } => {
                let before = trace.requests.get(of.0 as usize)?;
                Some(tokens.min(u64::from(before.input_tokens) + u64::from(before.output_tokens)))
            }
        }
    }

    fn walk(&mut self, start: u64, blocks: impl Iterator<Item = (u64, u32)>) -> Option<u64> {
        let (mut chain, mut shared, mut hit) = (start, 0, true);
        for (identity, tokens) in blocks {
            let key = mix(chain ^ mix(identity));
            // What follows a piece that was cut follows something else than what follows all of it.
            chain = mix(key ^ mix(u64::from(tokens)));
            let known = self.chains.entry(key).or_insert(0);
            let found = (*known).min(tokens);
            shared += if hit { u64::from(found) } else { 0 };
            hit &= found == tokens;
            *known = (*known).max(tokens);
            if self.chains.len() > MOST_BLOCKS {
                return None;
            }
        }
        Some(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::{BlockPrompt, BlockRange, Part, PartPrompt};
    use crate::request::RequestId;
    use crate::trace::TraceRequest;

    fn blocks(namespace: u64, ids: &[(u64, u32)], tokens: u32) -> Prompt {
        let blocks = ids.iter().map(|&(first, count)| BlockRange { first, count }).collect();
        Prompt::Blocks(BlockPrompt { namespace, block_tokens: 64, blocks, tokens, unshared: u64::from(tokens) })
    }

    fn check(prompts: &[(Prompt, u32)], take: usize, expect: Option<f64>) {
        let request = |(prompt, input): &(Prompt, u32)| TraceRequest::new(prompt.clone(), *input, 20);
        let trace = Trace { requests: prompts.iter().map(request).collect(), ..Trace::default() };
        assert_eq!(of_trace(&trace, take), expect, "{prompts:?}");
    }

    #[test]
    fn shares_by_hand() {
        let a = (blocks(1, &[(0, 3)], 192), 192);
        check(&[], 9, Some(0.0));
        check(std::slice::from_ref(&a), 9, Some(0.0));
        check(&[a.clone(), a.clone()], 9, Some(0.5));
        check(&[a.clone(), a.clone()], 1, Some(0.0));
        check(&[a.clone(), (blocks(2, &[(0, 3)], 192), 192)], 9, Some(0.0)); // another namespace
        check(&[a.clone(), (blocks(1, &[(0, 2), (9, 1)], 192), 192)], 9, Some(128.0 / 384.0));
        check(&[a.clone(), (blocks(1, &[(9, 1), (1, 2)], 192), 192)], 9, Some(0.0)); // the same blocks after another first one
        check(&[a.clone(), (blocks(1, &[(0, 2)], 100), 100)], 9, Some(100.0 / 292.0)); // a cut block begins as the whole one
        check(&[(blocks(1, &[(0, 2)], 100), 100), a.clone()], 9, Some(100.0 / 292.0)); // and the other way round
        check(&[a.clone(), (blocks(1, &[(0, 1)], 200), 200)], 9, Some(64.0 / 392.0)); // what is beyond the blocks is its own
        let parts = |parts: &[(u64, u32)]| {
            let parts: Vec<_> = parts.iter().map(|&(id, tokens)| Part { id, tokens }).collect();
            let tokens = parts.iter().map(|part| part.tokens).sum();
            (Prompt::Parts(PartPrompt { namespace: 1, parts: parts.into() }), tokens)
        };
        check(&[parts(&[(1, 30), (2, 10)]), parts(&[(1, 30), (3, 20)])], 9, Some(30.0 / 90.0));
        check(&[parts(&[(1, 30), (2, 10)]), parts(&[(1, 25), (2, 10)])], 9, Some(25.0 / 75.0)); // a cut piece is no whole one
        let ids = |n: u32| (Prompt::Ids((0..n).collect::<Vec<_>>().into()), n);
        check(&[ids(40), ids(48)], 9, Some(40.0 / 88.0));
        let live = Prompt::Live { of: RequestId(0), add: Box::new(blocks(3, &[], 10)) };
        check(&[a.clone(), (live, 222)], 9, Some(212.0 / 414.0));
        check(&[a, (Prompt::Text("words".into()), 5)], 9, None);
    }
}
