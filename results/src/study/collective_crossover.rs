//! `collective-crossover`: from how many requests per device on a collective is bound by bandwidth and no longer by latency.

use super::{Cell, Evidence, Finding, Fixed, Inputs, Numbers, StudyError, Verdict};

/// Tokens of one step at which the bytes of an all-reduce of activations in bf16 take as long as its latency: α·β / (2·d). Fewer are bound
/// by latency, more by bandwidth. `alpha_s` in s, `beta_bytes_per_s` in bytes/s; every request decodes one token a step.
fn crossover(alpha_s: f64, beta_bytes_per_s: f64, d_model: f64) -> f64 {
    alpha_s * beta_bytes_per_s / (2.0 * d_model)
}

pub(super) fn judge(fixed: &Fixed, _: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let (claimed, tolerance) = (fixed.threshold("claimed_requests")?, fixed.threshold("tolerance")?);
    let mut points = vec![];
    for beta in fixed.numbers("beta")? {
        for d_model in fixed.numbers("d_model")? {
            for alpha in fixed.numbers("alpha")? {
                points.push(([*d_model, *alpha, *beta], crossover(alpha * 1e-6, beta * 1e9, *d_model)));
            }
        }
    }
    let table = |keep: &dyn Fn(f64) -> bool| {
        let mut numbers = Numbers::new(3, [("d_model", "plain"), ("α", "µs"), ("β", "GB/s"), ("B*", "requests")]);
        for (at, requests) in points.iter().filter(|(_, requests)| keep(*requests)) {
            numbers.push(at.iter().map(|value| Cell::from(*value)).chain([Cell::from(*requests)]).collect());
        }
        numbers
    };
    let (least, most) =
        points.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), (_, requests)| (least.min(*requests), most.max(*requests)));
    let mut findings = vec![Finding::new(
        format!("{claimed} requests per GPU are a constant"),
        format!("largest ÷ smallest B* of the sweep ≤ 1 + {tolerance}"),
        format!("{least:.0} … {most:.0}: a factor of {:.1}", most / least),
        Verdict::exact(most <= least * (1.0 + tolerance)),
        Evidence::Exact,
    )];
    // Where B* is lower than claimed, bandwidth binds before the claim says it does.
    let limit = claimed * (1.0 - tolerance);
    let rule = format!("B* = α·β / (2·d_model) ≥ {claimed} × (1 − {tolerance})");
    for (holds, words) in [(true, "holds here"), (false, "and here it does not: it binds with fewer")] {
        let numbers = table(&|requests| (requests >= limit) == holds);
        if !numbers.rows.is_empty() {
            let claim = format!("bandwidth binds above {claimed} requests per GPU only: {words}");
            findings.push(Finding::new(claim, &rule, "", Verdict::exact(holds), Evidence::Exact).numbers(numbers));
        }
    }
    findings.push(Finding::untested(
        "the crossover that a measurement shows is the same",
        "B* of fitted α and β, with interval",
        &fixed.definition.needs,
    ));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_crossovers() {
        for (d_model, alpha_us, expect) in
            [(7_168.0, 10.0, 255.0), (7_168.0, 20.0, 511.0), (16_384.0, 10.0, 112.0), (16_384.0, 20.0, 223.0)]
        {
            let found = crossover(alpha_us * 1e-6, 366e9, d_model);
            assert!((found - expect).abs() < 0.5, "{d_model} {alpha_us}: {found}");
        }
    }
}
