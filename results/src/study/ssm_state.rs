//! `ssm-state`: whether a state-space layer's memory and time are independent of the context.

use super::{Finding, Study, Verdict, exponent};
use crate::kernels::KernelRun;

pub(super) const STUDY: Study = Study {
    name: "ssm-state",
    about: "a state-space layer has constant memory and time per token, whatever the context: nothing to cache, route or transfer",
    needs: &["mamba2-step", "decode-attention"],
    judge,
};

/// Mamba2-2.7B: 64 layers of 80 heads × 64 × 128 in f32. Llama-3.1-8B: 32 layers of 8 KV heads × (128 + 128) in bf16.
const STATE_BYTES: f64 = 64.0 * 80.0 * 64.0 * 128.0 * 4.0;
const GQA_BYTES_PER_TOKEN: f64 = 32.0 * 8.0 * 256.0 * 2.0;

fn judge(run: &KernelRun) -> Vec<Finding> {
    let even = STATE_BYTES / GQA_BYTES_PER_TOKEN;
    vec![
        exponent(
            run,
            "mamba2-step",
            "the time of a token does not grow with the context",
            "exponent of L between −0.1 and 0.1",
            (-0.1, 0.1),
        ),
        exponent(run, "decode-attention", "the time of a token of grouped attention does", "exponent of L between 0.9 and 1.1", (0.9, 1.1)),
        Finding::new(
            "its memory is smaller than a cache of keys and values",
            "state of Mamba2-2.7B < cache of Llama-3.1-8B at every context of at least 1,024 tokens",
            format!(
                "formula: {:.0} MiB of state are the cache of {even:.0} tokens; below that the state is larger",
                STATE_BYTES / 1048576.0
            ),
            if even <= 1024.0 { Verdict::Supported } else { Verdict::Contradicted },
        ),
        Finding::untested(
            "there is nothing to cache",
            "prefix reuse needs no snapshots of states",
            "an engine that reuses prefixes of a state-space model",
        ),
    ]
}
