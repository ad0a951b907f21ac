//! `phase-roofline`: whether prefill is bound by computing and decode by memory.

use super::{Finding, Study, Verdict, best};
use crate::kernels::{KernelRun, RowWire};

pub(super) const STUDY: Study = Study {
    name: "phase-roofline",
    about: "prefill is bound by computing, decode by memory bandwidth",
    needs: &["gemm", "gemv", "prefill-attention", "decode-attention", "decode-mla", "mamba2-step"],
    judge,
};

/// Whether a problem belongs to a phase.
type Of = fn(&RowWire) -> bool;

/// A phase: its claim and the kernels that make it, each with which of its shapes.
struct Phase {
    claim: &'static str,
    side: &'static str,
    kernels: &'static [(&'static str, Of)],
}

const PHASES: [Phase; 2] = [
    Phase {
        claim: "prefill is bound by computing",
        side: "compute",
        kernels: &[("gemm", |row| size(row, "M") >= 512), ("prefill-attention", |_| true)],
    },
    Phase {
        claim: "decode is bound by memory",
        side: "memory",
        kernels: &[
            ("gemm", |row| size(row, "M") <= 16),
            ("gemv", |_| true),
            ("decode-attention", |_| true),
            ("decode-mla", |_| true),
            ("mamba2-step", |_| true),
        ],
    },
];
const RULE: &str = "per problem: the claimed resource is used to at least 70 % of its measured ceiling and the other to at most 40 %";

fn size(row: &RowWire, name: &str) -> u64 {
    row.shape.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0)
}

fn judge(run: &KernelRun) -> Vec<Finding> {
    let (Some(copy), Some(matrix)) = (run.ceilings.copy.as_ref(), run.ceilings.matrix.as_ref()) else {
        return PHASES.iter().map(|phase| Finding::untested(phase.claim, RULE, "the ceilings of copy and gemm")).collect();
    };
    let reading = run.ceilings.read.as_ref().unwrap_or(copy);
    let mut findings = vec![];
    for phase in &PHASES {
        let mut any = false;
        for (kernel, of) in phase.kernels {
            for row in best(run, kernel).into_iter().filter(|row| of(row)) {
                any = true;
                let cost = &row.cost;
                let bandwidth = if cost.written_bytes < 0.1 * cost.read_bytes { reading } else { copy };
                let (memory, compute) =
                    (cost.bytes() / row.median_s() / bandwidth.per_s, cost.matrix_flops / row.median_s() / matrix.per_s);
                let (claimed, other) = if phase.side == "memory" { (memory, compute) } else { (compute, memory) };
                let verdict = if claimed >= 0.7 && other <= 0.4 {
                    Verdict::Supported
                } else if other >= 0.7 && claimed <= 0.4 || other > claimed && other >= 0.4 {
                    Verdict::Contradicted
                } else {
                    Verdict::Inconclusive
                };
                let seen = format!(
                    "measured: {} {} {}: memory {:.0} %, matrix unit {:.0} %",
                    row.kernel,
                    row.variant,
                    row.words(),
                    memory * 100.0,
                    compute * 100.0
                );
                findings.push(Finding::new(phase.claim, RULE, seen, verdict));
            }
        }
        if !any {
            findings.push(Finding::untested(phase.claim, RULE, "rows of its kernels"));
        }
    }
    findings
}
