//! What a trace is like: size, arrivals, lengths, and how much of its prompts an unlimited prefix cache would have seen.

use nomoat_core::prompt::Prompt;
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;
use std::collections::HashSet;

/// Lengths in tokens. Percentiles are nearest-rank: each is a length that occurs.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LengthStats {
    /// Arithmetic mean.
    pub mean: f64,
    /// Half are at most this long.
    pub p50: u32,
    /// 95 of 100 are at most this long.
    pub p95: u32,
    /// 99 of 100 are at most this long.
    pub p99: u32,
    /// The longest.
    pub max: u32,
}

/// Sharing of blocks between prompts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BlockStats {
    /// Blocks of all prompts, repetitions counted.
    pub refs: u64,
    /// Different blocks.
    pub unique: u64,
    /// Blocks that an earlier request had, counted from the start of each prompt up to the first that none had: what a prefix
    /// cache without limit could use.
    pub reused_leading: u64,
}

impl BlockStats {
    /// Reused leading blocks over all blocks, 0 to 1; `None` without blocks.
    pub fn leading_share(&self) -> Option<f64> {
        (self.refs > 0).then(|| self.reused_leading as f64 / self.refs as f64)
    }
}

/// What a trace is like.
#[derive(Clone, PartialEq, Debug)]
pub struct TraceStats {
    /// Requests.
    pub rows: usize,
    /// From the first to the last recorded arrival.
    pub span: Option<Nanos>,
    /// (arrivals − 1) / span; `None` without arrivals or with all at once.
    pub rate_per_s: Option<f64>,
    /// Standard deviation (of the population) over mean of the gaps between arrivals: 1 for Poisson, 0 for constant.
    pub gap_cv: Option<f64>,
    /// Prompts.
    pub input: LengthStats,
    /// Answers.
    pub output: LengthStats,
    /// Sharing; `None` when no prompt is given by blocks that could be shared.
    pub blocks: Option<BlockStats>,
}

/// Computes the statistics of a trace.
pub fn stats(trace: &Trace) -> TraceStats {
    TraceStats {
        rows: trace.requests.len(),
        span: trace.span(),
        rate_per_s: trace.rate_per_s(),
        gap_cv: gap_cv(trace),
        input: lengths(trace.requests.iter().map(|r| r.input_tokens).collect()),
        output: lengths(trace.requests.iter().map(|r| r.output_tokens).collect()),
        blocks: blocks(trace),
    }
}

/// Over the requests that arrive by themselves: what waits for others has no arrival law.
fn gap_cv(trace: &Trace) -> Option<f64> {
    let times: Vec<Nanos> = trace.requests.iter().filter(|r| r.after.is_empty()).filter_map(|r| r.at).collect();
    let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    let n = gaps.len() as f64;
    let mean = gaps.iter().sum::<f64>() / n;
    let variance = gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / n;
    (mean > 0.0).then(|| variance.sqrt() / mean)
}

fn lengths(mut values: Vec<u32>) -> LengthStats {
    values.sort_unstable();
    let Some(max) = values.last().copied() else { return LengthStats::default() };
    let n = values.len();
    let rank = |percent: usize| values[(n * percent).div_ceil(100).max(1) - 1];
    let mean = values.iter().map(|v| u64::from(*v)).sum::<u64>() as f64 / n as f64;
    LengthStats { mean, p50: rank(50), p95: rank(95), p99: rank(99), max }
}

fn blocks(trace: &Trace) -> Option<BlockStats> {
    let mut seen = HashSet::new();
    let mut stats = BlockStats { refs: 0, unique: 0, reused_leading: 0 };
    for request in &trace.requests {
        let Prompt::Blocks(prompt) = &request.prompt else { continue };
        let ids = || prompt.blocks.iter().flat_map(|range| range.first..range.first + u64::from(range.count));
        let key = |id: u64| (prompt.namespace, prompt.block_tokens, id);
        // Looked up before any of its own blocks is noted: a prompt does not reuse itself.
        stats.reused_leading += ids().take_while(|id| seen.contains(&key(*id))).count() as u64;
        for id in ids() {
            stats.refs += 1;
            seen.insert(key(id));
        }
    }
    stats.unique = seen.len() as u64;
    (stats.refs > 0).then_some(stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let check = |values: Vec<u32>, expect: (u32, u32, u32, u32)| {
            let l = lengths(values);
            assert_eq!((l.p50, l.p95, l.p99, l.max), expect);
        };
        check((1..=100).collect(), (50, 95, 99, 100));
        check(vec![7], (7, 7, 7, 7));
        check(vec![3, 1, 2], (2, 3, 3, 3));
        check(vec![], (0, 0, 0, 0));
    }
}
