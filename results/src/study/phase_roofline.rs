//! `phase-roofline`: whether prefill is bound by computing and decode by memory.

use super::growth::best;
use super::{Evidence, Finding, Fixed, Inputs, StudyError, Verdict};
use crate::kernels::{CeilingWire, RowWire};

/// A phase: its claim, what is claimed to bind it, and the kernels that make it. Those of matrix products belong to it by their rows.
struct Phase {
    claim: &'static str,
    side: &'static str,
    kernels: &'static [&'static str],
}

const PHASES: [Phase; 2] = [
    Phase { claim: "prefill is bound by computing", side: "compute", kernels: &["gemm", "prefill-attention"] },
    Phase {
        claim: "decode is bound by memory",
        side: "memory",
        kernels: &["gemm", "gemv", "decode-attention", "decode-mla", "mamba2-step"],
    },
];

/// Limits of the rule.
struct Limits {
    claimed: f64,
    other: f64,
    prefill_rows_min: u64,
    decode_rows_max: u64,
}

impl Limits {
    fn belongs(&self, row: &RowWire, phase: &Phase) -> bool {
        let rows = row.shape.get("M").and_then(serde_json::Value::as_u64).unwrap_or(0);
        row.kernel != "gemm" || if phase.side == "compute" { rows >= self.prefill_rows_min } else { rows <= self.decode_rows_max }
    }

    fn verdict(&self, claimed: f64, other: f64) -> Verdict {
        if claimed >= self.claimed && other <= self.other {
            Verdict::Supported
        } else if other >= self.claimed && claimed <= self.other || other > claimed && other >= self.other {
            Verdict::Contradicted
        } else {
            Verdict::Inconclusive
        }
    }
}

pub(super) fn judge(fixed: &Fixed, inputs: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let limits = Limits {
        claimed: fixed.threshold("claimed_share")?,
        other: fixed.threshold("other_share")?,
        prefill_rows_min: fixed.whole("prefill_rows_min")?,
        decode_rows_max: fixed.whole("decode_rows_max")?,
    };
    let rule = format!(
        "per problem: the claimed resource is used to at least {:.0} % of its measured ceiling and the other to at most {:.0} %",
        limits.claimed * 100.0,
        limits.other * 100.0
    );
    let untested = |phase: &Phase, needs: &str| Finding::untested(phase.claim, &rule, needs);
    let Some(run) = inputs.kernels else {
        let needs = |phase: &Phase| untested(phase, &format!("nomoat kernels {}", phase.kernels.join(" ")));
        return Ok(PHASES.iter().map(needs).collect());
    };
    let (Some(copy), Some(matrix)) = (run.ceilings.copy.as_ref(), run.ceilings.matrix.as_ref()) else {
        return Ok(PHASES.iter().map(|phase| untested(phase, "the ceilings of copy and gemm: nomoat kernels copy gemm")).collect());
    };
    let reading = run.ceilings.read.as_ref().unwrap_or(copy);
    let mut findings = vec![];
    for phase in &PHASES {
        let rows = phase.kernels.iter().flat_map(|kernel| best(run, kernel)).filter(|row| limits.belongs(row, phase));
        let before = findings.len();
        findings.extend(rows.map(|row| one(row, phase, &rule, &limits, (copy, reading, matrix))));
        if findings.len() == before {
            findings.push(untested(phase, &format!("rows of its kernels: nomoat kernels {}", phase.kernels.join(" "))));
        }
    }
    Ok(findings)
}

fn one(
    row: &RowWire,
    phase: &Phase,
    rule: &str,
    limits: &Limits,
    (copy, reading, matrix): (&CeilingWire, &CeilingWire, &CeilingWire),
) -> Finding {
    let cost = &row.cost;
    let bandwidth = if cost.written_bytes < 0.1 * cost.read_bytes { reading } else { copy };
    let (memory, compute) = (cost.bytes() / row.median_s() / bandwidth.per_s, cost.matrix_flops / row.median_s() / matrix.per_s);
    let (claimed, other) = if phase.side == "memory" { (memory, compute) } else { (compute, memory) };
    let seen =
        format!("{} {} {}: memory {:.0} %, matrix unit {:.0} %", row.kernel, row.variant, row.words(), memory * 100.0, compute * 100.0);
    Finding::new(phase.claim, rule, seen, limits.verdict(claimed, other), Evidence::Measured)
}
