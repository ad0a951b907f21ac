//! Claims about inference held against what was measured, by rules fixed before the measurement.
//!
//! A study is one file and one line in [`STUDIES`]. Verdicts are `supported`, `contradicted`, `inconclusive` or `untested`: supported only if the
//! whole 95 % interval is on the claim's side, untested if something that it needs was not measured, never a pass by absence.

mod dsa_alone;
mod phase_roofline;
mod ssm_state;

use crate::kernels::{GrowthWire, KernelRun, RowWire};
use crate::table::study_text;

pub use crate::table::Format;

/// One study.
#[derive(Clone, Copy, Debug)]
pub struct Study {
    /// Its name.
    pub name: &'static str,
    /// What is claimed, in a sentence.
    pub about: &'static str,
    /// Kernels that must have been measured.
    pub needs: &'static [&'static str],
    /// What the measurement says.
    pub judge: fn(&KernelRun) -> Vec<Finding>,
}

/// Every study.
pub const STUDIES: &[Study] = &[dsa_alone::STUDY, ssm_state::STUDY, phase_roofline::STUDY];

/// What became of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The whole interval is on its side.
    Supported,
    /// The whole interval is on the other side.
    Contradicted,
    /// The interval is on both sides, or the measurement cannot tell.
    Inconclusive,
    /// Something that it needs was not measured.
    Untested,
}

impl Verdict {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::Contradicted => "contradicted",
            Self::Inconclusive => "inconclusive",
            Self::Untested => "untested",
        }
    }
}

/// One claim with its verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What is claimed.
    pub claim: &'static str,
    /// The rule, fixed before the run.
    pub rule: &'static str,
    /// What was measured or computed, with its evidence: measured, or formula.
    pub seen: String,
    /// The verdict.
    pub verdict: Verdict,
}

impl Finding {
    fn new(claim: &'static str, rule: &'static str, seen: impl Into<String>, verdict: Verdict) -> Self {
        Self { claim, rule, seen: seen.into(), verdict }
    }

    fn untested(claim: &'static str, rule: &'static str, needs: &str) -> Self {
        Self::new(claim, rule, format!("needs {needs}"), Verdict::Untested)
    }
}

/// Prints a study's findings on one measurement.
pub fn render_study(study: &Study, run: &KernelRun, format: Format) -> String {
    study_text(study, run, &(study.judge)(run), format)
}

/// How a kernel's time grew, if it was followed.
fn grown<'a>(run: &'a KernelRun, kernel: &str) -> Option<&'a GrowthWire> {
    run.growth.iter().find(|growth| growth.kernel == kernel && growth.exponent.is_some() && growth.points.len() > 2)
}

/// An exponent and its 95 % interval, by Student's t with n − 2 degrees of freedom.
fn interval(growth: &GrowthWire) -> Option<(f64, f64, f64)> {
    // Quantiles 0.975 of Student's t for 1, 2, … degrees of freedom; any table of it.
    const T: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    let (exponent, error) = (growth.exponent?, growth.standard_error?);
    let freedom = growth.points.len().checked_sub(2).filter(|freedom| *freedom > 0)?;
    let half = T.get(freedom - 1).copied().unwrap_or(2.228) * error;
    Some((exponent, exponent - half, exponent + half))
}

/// Whether an interval is inside, outside or across bounds.
fn within((_, low, high): (f64, f64, f64), bounds: (f64, f64)) -> Verdict {
    if low >= bounds.0 && high <= bounds.1 {
        Verdict::Supported
    } else if high < bounds.0 || low > bounds.1 {
        Verdict::Contradicted
    } else {
        Verdict::Inconclusive
    }
}

/// An exponent in words.
fn words((exponent, low, high): (f64, f64, f64), growth: &GrowthWire) -> String {
    let (first, last) = (growth.points.first().map_or(0.0, |point| point.0), growth.points.last().map_or(0.0, |point| point.0));
    format!(
        "measured: {} {} over {} = {first:.0} … {last:.0}: exponent {exponent:.2}, 95 % interval {low:.2} … {high:.2}",
        growth.kernel, growth.variant, growth.over
    )
}

/// The finding that an exponent lies within bounds.
fn exponent(run: &KernelRun, kernel: &'static str, claim: &'static str, rule: &'static str, bounds: (f64, f64)) -> Finding {
    let Some((growth, interval)) = grown(run, kernel).and_then(|growth| Some((growth, interval(growth)?))) else {
        return Finding::untested(claim, rule, &format!("the sweep of {kernel}"));
    };
    Finding::new(claim, rule, words(interval, growth), within(interval, bounds))
}

/// The fastest row of each problem of a kernel, cold where there is one.
fn best<'a>(run: &'a KernelRun, kernel: &str) -> Vec<&'a RowWire> {
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

#[cfg(test)]
mod tests;
