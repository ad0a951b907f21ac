//! `collective-crossover`: from how many requests per device on a collective is bound by bandwidth and no longer by latency.

use super::{Cell, Evidence, Finding, Fixed, Inputs, Numbers, StudyError, Verdict};
use nomoat_core::collective::crossover;

/// Bytes of an element of what is reduced.
const BF16: f64 = 2.0;

pub(super) fn judge(fixed: &Fixed, _: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let (claimed, tolerance) = (fixed.threshold("claimed_requests")?, fixed.threshold("tolerance")?);
    let mut points = vec![];
    for beta in fixed.numbers("beta")? {
        for d_model in fixed.numbers("d_model")? {
            for alpha in fixed.numbers("alpha")? {
                points.push(([*d_model, *alpha, *beta], crossover(alpha * 1e-6, beta * 1e9, *d_model as u32, BF16)));
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
