//! `kv-footprint`: by how much the caches and the arithmetic of DeepSeek-V4 are smaller than those of V3.2, and from which context on.

use super::{Cell, Evidence, Finding, Fixed, Inputs, Numbers, StudyError, Verdict};
use crate::models;
use nomoat_core::footprint::{Packing, Shape};
use nomoat_core::units::grouped;

/// Longest context of a sweep, because every context up to it is tried.
const CONTEXT_MAX: u64 = 1 << 24;

/// One figure of a model as a share of the older one's, over the context.
struct Share<'a> {
    model: &'a str,
    /// What is cut, with its verb.
    what: &'a str,
    /// How it is measured.
    measure: &'a str,
    from: Limit,
    of: &'a dyn Fn(u64) -> f64,
}

/// A published share, and how far above it still counts.
#[derive(Clone, Copy)]
struct Limit {
    share: f64,
    tolerance: f64,
}

pub(super) fn judge(fixed: &Fixed, _: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let contexts = fixed.wholes("context")?;
    if contexts.iter().any(|tokens| *tokens > CONTEXT_MAX) {
        return Err(fixed.value(format!("the sweep `context` goes up to {} tokens here, all of which are tried", grouped(CONTEXT_MAX))));
    }
    let tolerance = fixed.threshold("tolerance")?;
    let old = shape(fixed, "deepseek-v3.2")?;
    let mut findings = vec![];
    for model in fixed.names("model")? {
        let new = shape(fixed, model)?;
        let cache = |tokens: u64| new.held(tokens, Packing::Fp8) as f64 / old.held(tokens, Packing::Fp8) as f64;
        let flops = |tokens: u64| Some(equivalent(&new, tokens)? / equivalent(&old, tokens)?);
        let key = model.trim_start_matches("deepseek-").replace('-', "_");
        let share = fixed.threshold(&format!("{key}_cache_share"))?;
        findings.extend(from_where(
            &Share {
                model,
                what: "the cache is",
                measure: "bytes of a context in the rows that engines deploy",
                from: Limit { share, tolerance },
                of: &cache,
            },
            &contexts,
        ));
        let share = fixed.threshold(&format!("{key}_operations_share"))?;
        let flops = |tokens: u64| flops(tokens).unwrap_or(f64::NAN);
        findings.extend(from_where(
            &Share {
                model,
                what: "operations are",
                measure: "operations of one token in units of fp8",
                from: Limit { share, tolerance },
                of: &flops,
            },
            &contexts,
        ));
    }
    findings.push(mechanism(fixed, &old)?);
    findings.push(Finding::untested(
        "the engine's own gauges show it too",
        "occupied bytes of both models at the same contexts, by the engine's gauges, have the same ratio",
        &fixed.definition.needs,
    ));
    Ok(findings)
}

fn shape(fixed: &Fixed, name: &str) -> Result<Shape, StudyError> {
    models::find(name).map(|model| model.shape).map_err(|why| fixed.value(format!("the sweep `model`: {why}")))
}

/// Operations of one decoded token as if all were in fp8 ([`nomoat_core::footprint::Work::fp8_equivalent`]), the model's matrices once. This weighting is inferred
/// from the figures that DeepSeek publishes, which it gives back within 3 %; plain operations do not.
fn equivalent(shape: &Shape, tokens: u64) -> Option<f64> {
    Some(shape.matrices()? + shape.work(tokens).fp8_equivalent())
}

/// What is claimed of a share is one finding where it holds and another where it does not.
fn from_where(share: &Share, contexts: &[u64]) -> Vec<Finding> {
    let Limit { share: published, tolerance } = share.from;
    let limit = published + tolerance;
    let (first, last) = (contexts.first().copied().unwrap_or(1), contexts.last().copied().unwrap_or(1));
    // From the longest context down, token by token, because compressed layers grow in steps: the claim holds from here on.
    let holds = |tokens: u64| (share.of)(tokens) <= limit;
    let from = if holds(last) { Some((first..=last).rev().take_while(|tokens| holds(*tokens)).last().unwrap_or(last)) } else { None };
    let rule = format!("{}: {} ÷ deepseek-v3.2 ≤ {published} + {tolerance}", share.measure, share.model);
    let finding = |context: String, holds: bool, some: &dyn Fn(u64) -> bool| {
        let mut numbers = Numbers::new(1, [("context", "tokens"), ("share of deepseek-v3.2", "share")]);
        for tokens in contexts.iter().filter(|tokens| some(**tokens)) {
            numbers.push(vec![Cell::from(*tokens as f64), (share.of)(*tokens).into()]);
        }
        let claim = format!("{}: {} cut to {:.0} % {context}", share.model, share.what, published * 100.0);
        Finding::new(claim, &rule, "", Verdict::exact(holds), Evidence::Exact).numbers(numbers)
    };
    match from {
        None => vec![finding(format!("at {} … {} tokens", grouped(first), grouped(last)), false, &|_| true)],
        Some(from) if from <= first => vec![finding(format!("from {} tokens on", grouped(first)), true, &|_| true)],
        Some(from) => vec![
            finding(format!("from {} tokens on", grouped(from)), true, &move |tokens| tokens >= from),
            finding(format!("at {} … {} tokens", grouped(first), grouped(from - 1)), false, &move |tokens| tokens < from),
        ],
    }
}

/// The indexer that V4 inherits was in V3.2 already: what it did to the cache there.
fn mechanism(fixed: &Fixed, with: &Shape) -> Result<Finding, StudyError> {
    let limit = fixed.threshold("indexer_bytes_ratio")?;
    let without = shape(fixed, "deepseek-v3")?;
    let ratio = with.per_token(1 << 20, Packing::Fp8) / without.per_token(1 << 20, Packing::Fp8);
    Ok(Finding::new(
        "the cut is the work of sparse attention with an indexer (DSA)",
        format!("bytes per token of deepseek-v3.2 ÷ deepseek-v3, which differ in the indexer alone, < {limit}"),
        format!(
            "{ratio:.2}: the indexer's own keys make the cache larger; what V4 adds are entries for 4 and for 128 tokens. See dsa-alone"
        ),
        Verdict::exact(ratio < limit),
        Evidence::Exact,
    ))
}
