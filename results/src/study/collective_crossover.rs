//! `collective-crossover`: from how many requests per device on a collective is bound by bandwidth and no longer by latency.

use super::{Cell, Evidence, Finding, Fixed, Inputs, Numbers, StudyError, Verdict};
use crate::collectives::LinkFit;
use nomoat_core::collective::{Collective, crossover};

/// Bytes of an element of what is reduced.
const BF16: f64 = 2.0;

pub(super) fn judge(fixed: &Fixed, inputs: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let (claimed, tolerance) = (fixed.threshold("claimed_requests")?, fixed.threshold("tolerance")?);
    if let Some(width) = fixed.numbers("d_model")?.iter().find(|width| !(width.fract() == 0.0 && (1.0..=1e9).contains(*width))) {
        return Err(fixed.value(format!("a `d_model` must be a whole number of dimensions up to a billion, not {width}")));
    }
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
    let measured = Measured { claimed, tolerance, misfit: fixed.threshold("misfit")?, widths: fixed.numbers("d_model")? };
    if inputs.collectives.is_empty() {
        findings.push(Finding::untested(measured.claim("as measured"), measured.rule(), &fixed.definition.needs));
    }
    findings.extend(inputs.collectives.iter().map(|page| measured.judge(page)));
    Ok(findings)
}

/// The rule for measured collectives.
struct Measured<'a> {
    claimed: f64,
    tolerance: f64,
    misfit: f64,
    widths: &'a [f64],
}

impl Measured<'_> {
    fn claim(&self, on: &str) -> String {
        format!("bandwidth binds above {} requests per GPU only: {on}", self.claimed)
    }

    fn rule(&self) -> String {
        format!(
            "95 % interval of B*, of fitted α and β, at every d_model ≥ {} × (1 − {}); every size within {:.0} % of the line",
            self.claimed,
            self.tolerance,
            self.misfit * 100.0
        )
    }

    fn judge(&self, page: &LinkFit) -> Finding {
        let claim = self.claim(&page.on());
        if page.collective != Collective::AllReduce {
            return Finding::untested(
                claim,
                self.rule(),
                &format!("times of all_reduce, and {} has {}", page.shown, page.collective.name()),
            );
        }
        let limit = self.claimed * (1.0 - self.tolerance);
        let mut numbers = Numbers::new(1, [("d_model", "plain"), ("B*", "requests"), ("from", "requests"), ("to", "requests")]);
        let (mut least, mut surely): (f64, f64) = (f64::INFINITY, f64::INFINITY);
        for width in self.widths {
            let Some((tokens, half)) = page.crossover(*width as u32) else {
                let words = "no α and β describe these times: one of them came out negative";
                return Finding::new(claim, self.rule(), "", Verdict::Inconclusive, Evidence::Measured).because(words);
            };
            least = least.min(tokens - half);
            surely = surely.min(tokens + half);
            numbers.push([*width, tokens, (tokens - half).max(0.0), tokens + half].map(Cell::from).to_vec());
        }
        let fit = &page.fit;
        let seen = format!(
            "{}: α {:.1} ± {:.1} µs, β {:.0} GB/s, {} sizes off the line by {:.0} % at most",
            page.shown,
            fit.alpha_s * 1e6,
            fit.half_width(fit.alpha_error_s) * 1e6,
            fit.bytes_per_s().unwrap_or(f64::NAN) / 1e9,
            page.points.len(),
            fit.worst() * 100.0
        );
        let finding = |verdict| Finding::new(&claim, self.rule(), &seen, verdict, Evidence::Measured).numbers(numbers.clone());
        if let Some(why) = page.misfit(self.misfit) {
            return finding(Verdict::Inconclusive).because(why);
        }
        if !page.table.ended {
            return finding(Verdict::Inconclusive).because("the page may have been cut off: larger sizes would change the line");
        }
        if least >= limit {
            finding(Verdict::Supported)
        } else if surely < limit {
            finding(Verdict::Contradicted)
        } else {
            finding(Verdict::Inconclusive).because("an interval has the limit in it")
        }
    }
}
