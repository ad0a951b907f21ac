//! Findings on measured kernels: how their times grow, and the fastest of their rows.

use super::{Evidence, Finding, Fixed, StudyError, Verdict};
use crate::kernels::{GrowthWire, KernelRun, RowWire};
use nomoat_core::fit::slope_interval;

/// How a kernel's time grew, if it was followed.
pub(super) fn grown<'a>(run: Option<&'a KernelRun>, kernel: &str) -> Option<&'a GrowthWire> {
    run?.growth.iter().find(|growth| growth.kernel == kernel && growth.exponent.is_some() && growth.points.len() > 2)
}

/// Words for an exponent that may not be further from a whole number than a tolerance.
pub(super) fn rule(whole: f64, tolerance: f64) -> String {
    format!("exponent of L between {} and {}", whole - tolerance, whole + tolerance).replace('-', "−")
}

/// The finding that a kernel's time grows with the context to a power: 0, not at all, or 1, in proportion. The file's `exponent_tolerance`
/// says how far off the power may be.
pub(super) fn exponent(fixed: &Fixed, run: Option<&KernelRun>, kernel: &str, claim: &str, whole: f64) -> Result<Finding, StudyError> {
    let tolerance = fixed.threshold("exponent_tolerance")?;
    let rule = rule(whole, tolerance);
    let grown = grown(run, kernel).and_then(|growth| {
        let (exponent, error) = (growth.exponent?, growth.standard_error?);
        Some((growth, exponent, slope_interval(exponent, error, growth.points.len())?))
    });
    let Some((growth, exponent, interval)) = grown else {
        return Ok(Finding::untested(claim, rule, &format!("the sweep of {kernel}: nomoat kernels {kernel}")));
    };
    let (first, last) = (growth.points.first().map_or(0.0, |point| point.0), growth.points.last().map_or(0.0, |point| point.0));
    let seen = format!("{} {} over {} = {first:.0} … {last:.0}: exponent {exponent:.2}", growth.kernel, growth.variant, growth.over);
    let verdict = Verdict::within(interval, (whole - tolerance, whole + tolerance));
    Ok(Finding::new(claim, rule, seen, verdict, Evidence::Measured).interval(Some(interval), "exponent"))
}

/// The fastest row of each problem of a kernel, cold where there is one.
pub(super) fn best<'a>(run: &'a KernelRun, kernel: &str) -> Vec<&'a RowWire> {
    let mut best: Vec<&RowWire> = vec![];
    for row in run.rows.iter().filter(|row| row.kernel == kernel) {
        match best.iter_mut().find(|known| known.shape == row.shape && known.dtype == row.dtype) {
            Some(known) => {
                let colder = row.cache == "cold" && known.cache != "cold";
                let as_cold = row.cache == known.cache && row.median_s() < known.median_s();
                if colder || as_cold {
                    *known = row;
                }
            }
            None => best.push(row),
        }
    }
    best
}
