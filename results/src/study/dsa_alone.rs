//! `dsa-alone`: whether sparse attention with an indexer, by itself, shrinks the cache and makes attention independent of the context.

use super::growth::{exponent, grown};
use super::{Evidence, Finding, Fixed, Inputs, Numbers, StudyError, Verdict};
use crate::kernels::{GrowthWire, KernelRun};

const PARTS: [&str; 4] = ["decode-mla", "indexer", "top-k", "sparse-attention"];

pub(super) fn judge(fixed: &Fixed, inputs: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let run = inputs.kernels;
    Ok(vec![
        smaller(fixed)?,
        exponent(fixed, run, "decode-mla", "dense attention of one token grows with the context", 1.0)?,
        exponent(fixed, run, "sparse-attention", "attention over the chosen tokens does not grow with the context", 0.0)?,
        exponent(fixed, run, "indexer", "choosing them does not grow with the context either, so that a sequence costs O(L·k)", 0.0)?,
        faster(fixed, run)?,
    ])
}

/// Bytes of a cached token and layer as deployed: with the indexer's key over without.
fn smaller(fixed: &Fixed) -> Result<Finding, StudyError> {
    let (limit, row, key) = (fixed.threshold("bytes_ratio")?, fixed.given("latent_row_bytes")?, fixed.given("indexer_key_bytes")?);
    let ratio = (row + key) / row;
    Ok(Finding::new(
        "it makes the cache smaller",
        format!("bytes per cached token with the indexer ÷ without < {limit}"),
        format!("({row} + {key}) ÷ {row} = {ratio:.2}"),
        Verdict::exact(ratio < limit),
        Evidence::Exact,
    ))
}

/// Dense time over the sum of the three sparse ones, at every length that all have.
fn faster(fixed: &Fixed, run: Option<&KernelRun>) -> Result<Finding, StudyError> {
    let (least, from) = (fixed.threshold("speedup")?, fixed.threshold("context_tokens_min")?);
    let claim = "it is faster than dense attention";
    let rule = format!("dense ÷ (indexer + top-k + sparse) > {least} at every measured length of at least {from} tokens");
    let [Some(dense), Some(indexer), Some(top), Some(sparse)] = PARTS.map(|kernel| grown(run, kernel)) else {
        return Ok(Finding::untested(claim, rule, &format!("the sweeps of all four: nomoat kernels {}", PARTS.join(" "))));
    };
    let at = |growth: &GrowthWire, size: f64| growth.points.iter().find(|point| point.0 == size).map(|point| point.1);
    let ratios: Vec<(f64, f64)> = dense
        .points
        .iter()
        .filter_map(|(size, dense)| Some((*size, dense / (at(indexer, *size)? + at(top, *size)? + at(sparse, *size)?))))
        .collect();
    let mut numbers = Numbers::new(1, [("context", "tokens"), ("dense ÷ sparse", "ratio")]);
    ratios.iter().for_each(|(size, ratio)| numbers.push(vec![(*size).into(), (*ratio).into()]));
    let long: Vec<f64> = ratios.iter().filter(|(size, _)| *size >= from).map(|(_, ratio)| *ratio).collect();
    let verdict = match &long[..] {
        [] => return Ok(Finding::untested(claim, rule, "a sweep that reaches this length").numbers(numbers)),
        long if long.iter().all(|ratio| *ratio > least) => Verdict::Supported,
        long if long.iter().all(|ratio| *ratio <= least) => Verdict::Contradicted,
        _ => Verdict::Inconclusive,
    };
    Ok(Finding::new(claim, rule, "one layer", verdict, Evidence::Measured).numbers(numbers))
}
