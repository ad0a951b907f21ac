//! `ssm-state`: whether a state-space layer's memory and time are independent of the context.

use super::growth::exponent;
use super::{Evidence, Finding, Fixed, Inputs, StudyError, Verdict};

pub(super) fn judge(fixed: &Fixed, inputs: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let run = inputs.kernels;
    let (from, state, row) = (fixed.threshold("context_tokens_min")?, fixed.given("state_bytes")?, fixed.given("gqa_bytes_per_token")?);
    let even = state / row;
    Ok(vec![
        exponent(fixed, run, "mamba2-step", "the time of a token does not grow with the context", 0.0)?,
        exponent(fixed, run, "decode-attention", "the time of a token of grouped attention does", 1.0)?,
        Finding::new(
            "its memory is smaller than a cache of keys and values",
            format!("state of Mamba2-2.7B < cache of Llama-3.1-8B at every context of at least {from} tokens"),
            format!("{:.0} MiB of state are the cache of {even:.0} tokens; below that the state is larger", state / 1_048_576.0),
            Verdict::exact(even <= from),
            Evidence::Exact,
        ),
        Finding::untested(
            "there is nothing to cache",
            "prefix reuse needs no snapshots of states",
            "an engine that reuses prefixes of a state-space model",
        ),
    ])
}
