//! Tokens against the engine's own counters, over the whole run: from a reading before the first request to one after the last, so that
//! nothing in flight at either end is missing. What the endpoint was asked before the run is in the first reading.

use super::{Counter, Evidence, MAX_FOREIGN_HITS, MAX_TOKEN_ERROR, Rule, RuleResult, percent};
use crate::units::Nanos;

const GENERATED: Rule = Rule::invalid("V07", "usage agrees with the engine's counter");
const PROMPTS: Rule = Rule::invalid("V07", "usage of prompts agrees with the engine's counter");
const CACHED: Rule = Rule::blocks("V16", "the prefix cache found no more than the workload shares");

/// Output tokens.
pub(super) fn generated(e: &Evidence<'_>) -> RuleResult {
    counted(&GENERATED, &e.counter, e.fell, "the engine's counter of generated tokens was not read")
}

/// Prompt tokens, where the engine counts them.
pub(super) fn prompts(e: &Evidence<'_>) -> Option<RuleResult> {
    e.prompt_counter.readings?;
    Some(counted(&PROMPTS, &e.prompt_counter, e.fell, "the engine's counter of prompt tokens was not read"))
}

fn counted(rule: &Rule, counter: &Counter, fell: &[Nanos], unread: &str) -> RuleResult {
    let limit = format!("within {} of the engine's counter", percent(MAX_TOKEN_ERROR));
    let Counter { readings, engine, counted, uncountable } = *counter;
    let not_checked = |why: &str, remedy| rule.not_checked(why, limit.clone(), remedy);
    let (Some([(first, from), (last, to)]), Some(work)) = (readings, engine) else {
        return not_checked(unread, "expose the engine's /metrics");
    };
    if uncountable > 0 {
        return not_checked(&format!("{uncountable} requests were broken off or have no usage"), "repair what made them fail");
    }
    if let Some((why, remedy)) = unusable((first, from), (last, to), work, fell) {
        return not_checked(why, remedy);
    }
    let engine = to - from;
    let share = (counted as f64 - engine).abs() / engine.max(1.0);
    let value = format!("usage {counted} tokens, counter {engine:.0} ({} apart)", percent(share));
    let remedy = "make sure that nobody else uses the engine during a run, and that each of its replicas is scraped once: of split prefill \
                  and decode, those that decode";
    rule.check(share <= MAX_TOKEN_ERROR, value, limit, remedy)
}

/// Why two readings of a counter say nothing of a run.
fn unusable(
    (first, from): (Nanos, f64),
    (last, to): (Nanos, f64),
    (start, end): (Nanos, Nanos),
    fell: &[Nanos],
) -> Option<(&'static str, &'static str)> {
    if first > start || last < end {
        return Some(("the counter was not read before the first and after the last request", "keep the engine's /metrics reachable"));
    }
    let restarted = to < from || fell.iter().any(|at| first < *at && *at <= last);
    restarted.then_some(("the counter went backwards", "the engine was restarted during the run: run again"))
}

/// What was found in the prefix cache against what a perfect one could find in this workload. Prompt tokens that nobody asked for
/// (a chat template, words in several tokens) may be found as well, and are allowed for.
pub(super) fn cached(e: &Evidence<'_>) -> Option<RuleResult> {
    let [[(first, hits_before), (last, hits)], [(_, queries_before), (_, queries)]] = e.cached?;
    let work = e.counter.engine?;
    let limit = |of: f64| format!("at most {}", percent(of));
    let unknown = "no more than the workload shares";
    if let Some((why, remedy)) = unusable((first, hits_before), (last, hits), work, e.fell) {
        return Some(CACHED.not_checked(why, unknown, remedy));
    }
    let looked_up = queries - queries_before;
    if looked_up <= 0.0 {
        return Some(CACHED.not_checked("the engine looked nothing up", unknown, "switch its prefix cache on, if it has one"));
    }
    let found = (hits - hits_before) / looked_up;
    let value = format!("{} of the prompt tokens that were looked up were found", percent(found));
    let Some(shared) = e.facts.shared_prefix else {
        let why = format!("{value}; how much this workload shares is not known");
        return Some(CACHED.not_checked(why, unknown, "use a trace with block identities or token ids"));
    };
    let (counted, wanted) = (e.prompts.counted, e.prompts.wanted);
    let own = if counted > wanted && counted > 0 { (counted - wanted) as f64 / counted as f64 } else { 0.0 };
    let allowed = shared + own + MAX_FOREIGN_HITS;
    let limit = format!("{}: the workload shares {}", limit(allowed), percent(shared));
    let remedy = "prompts of before this run were still in the cache (--same-prompts, another harness), or somebody else used the engine: \
                  restart it or clear its cache, and run again";
    Some(CACHED.check(found <= allowed, value, limit, remedy))
}
