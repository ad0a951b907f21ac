//! How faithfully a run offered its workload, in words: for people who compare it with the trace.

use super::units;
use nomoat_core::fidelity::Fidelity;
use nomoat_core::report::Counts;

/// What is told, its value, and a remark; what is not known is left out.
pub(super) fn facts(fidelity: &Fidelity, counts: &Counts) -> Vec<[String; 3]> {
    let mut facts = vec![];
    let mut put = |name: &str, value: String, remark: String| facts.push([name.to_owned(), value, remark]);
    let content = fidelity.content.map_or_else(String::new, |content| format!("; prompts are {}", content.name()));
    if let Some(s) = fidelity.prompts {
        let value = format!("{} / {} / {}", s.p50, s.p99, s.max);
        put("Prompt error, tokens", value, format!("p50 / p99 / max of {} against the length asked for{content}", units::count(s.n)));
    } else if let Some(content) = fidelity.content {
        put("Prompts", content.name().to_owned(), "their lengths are as counted: nothing to hold them against".into());
    }
    if let Some((exact, all)) = fidelity.exact_answers {
        let share = if all == 0 { 0.0 } else { exact as f64 / all as f64 };
        put("Answer lengths", units::percent(share), format!("{} of {} exactly as asked", units::count(exact), units::count(all)));
    }
    if let Some(s) = fidelity.lag {
        let [p50, p99, max] = [s.p50, s.p99, s.max].map(|t| units::duration(t.0 as f64));
        put("Start after due, p99", p99, format!("median {p50}, largest {max}"));
    }
    if let Some(c) = fidelity.cache {
        let predicted = format!("a cache without bounds finds {} in blocks of {}", units::percent(c.predicted), c.block_tokens);
        let (value, remark) = match c.observed {
            Some(observed) => (units::percent(observed), format!("of prompt tokens; {predicted}")),
            None => ("–".to_owned(), format!("the endpoint does not say; {predicted}")),
        };
        put("Prompt from cache", value, remark);
    }
    if counts.left > 0 {
        put("Left by users", units::count(counts.left), "streams closed as the trace says; in no latency".into());
    }
    facts
}

/// The same in one line.
pub(super) fn line(fidelity: &Fidelity, counts: &Counts) -> Option<String> {
    let facts: Vec<String> =
        facts(fidelity, counts).into_iter().map(|[name, value, remark]| format!("{} {value} ({remark})", name.to_lowercase())).collect();
    (!facts.is_empty()).then(|| format!("replay fidelity: {}", facts.join("; ")))
}
