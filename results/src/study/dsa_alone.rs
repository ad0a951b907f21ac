//! `dsa-alone`: whether sparse attention with an indexer, by itself, shrinks the cache and makes attention independent of the context.

use super::{Finding, Study, Verdict, exponent, grown};
use crate::kernels::{GrowthWire, KernelRun};

pub(super) const STUDY: Study = Study {
    name: "dsa-alone",
    about: "DeepSeek sparse attention (indexer, top-k, attention over the chosen tokens) shrinks the cache and turns O(L²) into O(L·k)",
    needs: &["decode-mla", "indexer", "top-k", "sparse-attention"],
    judge,
};

/// Bytes of a cached token and layer as deployed: 512 fp8 values, 16 of scales and 128 of bf16 rotary key for MLA; 128 fp8 values and a
/// scale of 4 for the indexer's key (FlashMLA's and DeepGEMM's layouts).
const MLA_BYTES: f64 = 656.0;
const INDEXER_BYTES: f64 = 132.0;

fn judge(run: &KernelRun) -> Vec<Finding> {
    let ratio = (MLA_BYTES + INDEXER_BYTES) / MLA_BYTES;
    vec![
        Finding::new(
            "it makes the cache smaller",
            "bytes per cached token with the indexer ÷ without < 1",
            format!("formula: ({MLA_BYTES} + {INDEXER_BYTES}) ÷ {MLA_BYTES} = {ratio:.2}"),
            if ratio < 1.0 { Verdict::Supported } else { Verdict::Contradicted },
        ),
        exponent(run, "decode-mla", "dense attention of one token grows with the context", "exponent of L between 0.9 and 1.1", (0.9, 1.1)),
        exponent(
            run,
            "sparse-attention",
            "attention over the chosen tokens does not grow with the context",
            "exponent of L between −0.1 and 0.1",
            (-0.1, 0.1),
        ),
        exponent(
            run,
            "indexer",
            "choosing them does not grow with the context either, so that a sequence costs O(L·k)",
            "exponent of L of the indexer between −0.1 and 0.1",
            (-0.1, 0.1),
        ),
        faster(run),
    ]
}

/// Dense time over the sum of the three sparse ones, at every length that all have.
fn faster(run: &KernelRun) -> Finding {
    const CLAIM: &str = "it is faster than dense attention";
    const RULE: &str = "dense ÷ (indexer + top-k + sparse) > 1 at every measured length of at least 32,768";
    let parts: Vec<Option<&GrowthWire>> =
        ["decode-mla", "indexer", "top-k", "sparse-attention"].into_iter().map(|kernel| grown(run, kernel)).collect();
    let [Some(dense), Some(indexer), Some(top), Some(sparse)] = parts[..] else {
        return Finding::untested(CLAIM, RULE, "the sweeps of decode-mla, indexer, top-k and sparse-attention");
    };
    let at = |growth: &GrowthWire, size: f64| growth.points.iter().find(|point| point.0 == size).map(|point| point.1);
    let ratios: Vec<(f64, f64)> = dense
        .points
        .iter()
        .filter_map(|(size, dense)| Some((*size, dense / (at(indexer, *size)? + at(top, *size)? + at(sparse, *size)?))))
        .collect();
    let said: Vec<String> = ratios.iter().map(|(size, ratio)| format!("{size:.0}: {ratio:.2}")).collect();
    let long: Vec<f64> = ratios.iter().filter(|(size, _)| *size >= 32_768.0).map(|(_, ratio)| *ratio).collect();
    let verdict = match &long[..] {
        [] => Verdict::Untested,
        long if long.iter().all(|ratio| *ratio > 1.0) => Verdict::Supported,
        long if long.iter().all(|ratio| *ratio < 1.0) => Verdict::Contradicted,
        _ => Verdict::Inconclusive,
    };
    Finding::new(CLAIM, RULE, format!("measured, one layer: {}", said.join(", ")), verdict)
}
