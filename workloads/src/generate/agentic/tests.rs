//! What is made is like what was recorded, within stated tolerances.

use super::*;
use crate::generate::generate;
use crate::{SharingOptions, stats};
use std::collections::HashMap;

/// The value at a share of the sorted list.
fn at(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share) as usize).min(values.len() - 1)]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// As many sessions as the corpus has, so that percentiles are as steady as there.
fn many() -> Trace {
    generate("agentic", 42, &["sessions=710"]).unwrap()
}

#[test]
fn statistics_are_those_of_the_corpus() {
    let trace = many();
    let (mut turns, mut first, mut new, mut kept_less) = (HashMap::<u32, f64>::new(), vec![], vec![], 0);
    let (mut inputs, mut outputs, mut pauses) = (vec![], vec![], vec![]);
    let mut before: HashMap<u32, (u64, u32)> = HashMap::new();
    for r in &trace.requests {
        inputs.push(f64::from(r.input_tokens));
        outputs.push(f64::from(r.output_tokens));
        if r.class != 0 {
            continue;
        }
        let session = r.session.unwrap().0;
        *turns.entry(session).or_default() += 1.0;
        let Prompt::Blocks(p) = &r.prompt else { panic!("blocks") };
        let own = p.blocks.last().unwrap().first;
        match before.insert(session, (own, r.input_tokens)) {
            None => first.push(f64::from(r.input_tokens)),
            Some((same, tokens)) => {
                let kept = if same == own { tokens } else { 16_000 };
                kept_less += usize::from(2 * kept < tokens);
                new.push(f64::from(r.input_tokens - kept));
                pauses.extend(r.after.iter().take(1).map(|edge| edge.gap.as_secs_f64()));
            }
        }
    }
    let compacted = kept_less as f64 / new.len() as f64;
    let mut turns: Vec<f64> = turns.into_values().collect();
    // What, what was made, what was recorded, by how much the two may differ.
    let rows = [
        ("turns, mean", mean(&turns), 69.5, 0.10),
        ("turns, p50", at(&mut turns, 0.5), 45.5, 0.10),
        ("turns, p95", at(&mut turns, 0.95), 233.0, 0.15),
        ("first prompt, p50", at(&mut first, 0.5), 24_259.0, 0.10),
        ("new tokens, mean", mean(&new), 3_084.0, 0.15),
        ("new tokens, p50", at(&mut new, 0.5), 712.0, 0.05),
        ("new tokens, p95", at(&mut new, 0.95), 8_080.0, 0.15),
        ("answers, mean", mean(&outputs), 440.1, 0.05),
        ("answers, p50", at(&mut outputs, 0.5), 216.0, 0.05),
        ("answers, p95", at(&mut outputs, 0.95), 1_554.0, 0.05),
        ("answers, p99", at(&mut outputs, 0.99), 3_686.0, 0.10),
        ("pauses, p50", at(&mut pauses, 0.5), 10.0, 0.05),
        ("pauses, p95", at(&mut pauses, 0.95), 449.0, 0.10),
        ("prompts, mean", mean(&inputs), 122_379.0, 0.10),
        ("prompts, p50", at(&mut inputs, 0.5), 103_659.0, 0.10),
        ("prompts, p95", at(&mut inputs, 0.95), 300_666.0, 0.15),
        ("compacted", compacted, 0.019, 0.20),
    ];
    let told: Vec<String> = rows.iter().map(|(what, made, recorded, _)| format!("{what}: {made:.4}, recorded {recorded}")).collect();
    for (what, made, recorded, tolerance) in rows {
        assert!((made / recorded - 1.0).abs() <= tolerance, "{what} is more than {tolerance} off\n{}", told.join("\n"));
    }
    let sub = trace.requests.iter().filter(|r| r.class == 1 && r.turn == 0).count();
    let of_sub = trace.requests.iter().filter(|r| r.class == 1).count();
    assert!((40..=90).contains(&sub) && (400..=1_000).contains(&of_sub), "{sub} sub-agents, {of_sub} requests: recorded 63, 676");
}

#[test]
fn a_cache_finds_what_it_found_in_the_corpus() {
    let trace = generate("agentic", 42, &[] as &[&str]).unwrap();
    let options = SharingOptions { engine_blocks: vec![64], caches: vec![], ..SharingOptions::default() };
    let sharing = stats(&trace, &options).sharing.unwrap();
    let share = sharing.of_tokens(sharing.engine[0].1).unwrap();
    assert!((share - 0.963).abs() < 0.012, "{share}, recorded 0.963");
    assert_eq!(sharing.block_tokens, Some(64));
}

#[test]
fn prompts_fit_the_context_by_compaction() {
    let trace = generate("agentic", 42, &["sessions=40", "context=65536", "sub-agents=0.05"]).unwrap();
    assert!(trace.requests.iter().all(|r| r.input_tokens + r.output_tokens <= 65_536));
    assert!(trace.requests.iter().any(|r| r.input_tokens > 60_000));
    for (index, r) in trace.requests.iter().enumerate() {
        assert!(r.after.iter().all(|edge| (edge.request.0 as usize) < index));
        assert_eq!(r.after.is_empty(), r.turn == 0 && r.class == 0);
        let Prompt::Blocks(p) = &r.prompt else { panic!("blocks") };
        let blocks: u32 = p.blocks.iter().map(|range| range.count).sum();
        assert_eq!(blocks, r.input_tokens.div_ceil(BLOCK), "the prompt has no token beyond its blocks");
    }
    let tight = generate("agentic", 42, &["sessions=3", "context=100000", "global=90000"]).unwrap();
    assert!(tight.requests.iter().all(|r| r.input_tokens + r.output_tokens <= 100_000));
    let joins = trace.requests.iter().filter(|r| r.after.len() == 2).count();
    assert!(joins > 20, "{joins} turns wait for a sub-agent");
}
