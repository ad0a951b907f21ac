//! What a study says: a claim, its verdict, what that rests on, and the numbers behind it.

use super::StudyError;
use super::definition::Fixed;
use nomoat_core::report::Interval;
use nomoat_core::units::grouped;

/// What became of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The whole interval is on its side.
    Supported,
    /// The whole interval is on the other side.
    Contradicted,
    /// The interval is on both sides, or what there is cannot tell.
    Inconclusive,
    /// Something that it needs is not there.
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

    /// The verdict on something that has no error: a formula, or a price as listed.
    pub const fn exact(holds: bool) -> Self {
        if holds { Self::Supported } else { Self::Contradicted }
    }

    /// Whether an interval lies within bounds: supported if all of it does, contradicted if none of it.
    pub fn within(interval: Interval, (from, to): (f64, f64)) -> Self {
        let hi = interval.hi.unwrap_or(f64::INFINITY);
        if interval.lo >= from && hi <= to {
            Self::Supported
        } else if hi < from || interval.lo > to {
            Self::Contradicted
        } else {
            Self::Inconclusive
        }
    }

    /// Whether an effect is larger than a limit: supported if all of its interval is, contradicted if none of it.
    pub fn above(interval: Interval, limit: f64) -> Self {
        if interval.lo > limit {
            Self::Supported
        } else if interval.hi.is_some_and(|hi| hi <= limit) {
            Self::Contradicted
        } else {
            Self::Inconclusive
        }
    }
}

/// What a verdict rests on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Evidence {
    /// A measurement, over several runs or problems.
    Measured,
    /// A formula, or prices as listed: no error but that of the figures put in.
    Exact,
    /// A model that was calibrated on one half of a measurement.
    Simulated {
        /// Its largest error on the other half, as a share.
        holdout_error: f64,
    },
}

impl Evidence {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Exact => "exact",
            Self::Simulated { .. } => "simulated",
        }
    }
}

/// A column of numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The unit of its numbers; empty for text and plain numbers.
    pub unit: &'static str,
}

/// What stands in a cell.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number in the column's unit.
    Number(f64),
    /// There is none. Never zero.
    Absent,
}

/// The numbers behind a verdict.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Numbers {
    /// How many of the first columns name a row.
    pub keys: usize,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, as many cells as columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Numbers {
    /// No rows yet; the first `keys` columns name a row.
    pub fn new<N: Into<String>>(keys: usize, columns: impl IntoIterator<Item = (N, &'static str)>) -> Self {
        Self { keys, columns: columns.into_iter().map(|(name, unit)| Column { name: name.into(), unit }).collect(), rows: vec![] }
    }

    /// One more row.
    pub fn push(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for every column");
        self.rows.push(cells);
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Number(value) } else { Self::Absent }
    }
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Absent, Self::from)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// One claim with its verdict.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What is claimed.
    pub claim: String,
    /// The rule, with the thresholds of the file in it.
    pub rule: String,
    /// What was measured or computed, in words; empty where the numbers say it all.
    pub seen: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why there is no verdict: what is missing, or what was wrong.
    pub reason: Option<String>,
    /// What it rests on; `None` where it was not tested.
    pub evidence: Option<Evidence>,
    /// The interval of the effect, with its unit.
    pub interval: Option<(Interval, &'static str)>,
    /// The numbers behind it.
    pub numbers: Option<Numbers>,
}

impl Finding {
    /// A finding that rests on something.
    pub fn new(claim: impl Into<String>, rule: impl Into<String>, seen: impl Into<String>, verdict: Verdict, evidence: Evidence) -> Self {
        Self {
            claim: claim.into(),
            rule: rule.into(),
            seen: seen.into(),
            verdict,
            reason: None,
            evidence: Some(evidence),
            interval: None,
            numbers: None,
        }
    }

    /// A claim that nothing was there to test.
    pub fn untested(claim: impl Into<String>, rule: impl Into<String>, needs: &str) -> Self {
        let reason = Some(format!("needs {needs}"));
        Self { reason, evidence: None, ..Self::new(claim, rule, "", Verdict::Untested, Evidence::Exact) }
    }

    /// A verdict by a model. It is refused where the model missed held-out measurements by more than the file's `model_error`.
    ///
    /// # Errors
    /// The file has no such threshold.
    pub fn simulated(
        fixed: &Fixed,
        claim: impl Into<String>,
        rule: impl Into<String>,
        seen: impl Into<String>,
        verdict: Verdict,
        holdout_error: f64,
    ) -> Result<Self, StudyError> {
        let limit = fixed.threshold("model_error")?;
        let finding = Self::new(claim, rule, seen, verdict, Evidence::Simulated { holdout_error });
        // An error that is no number is no proof that the model is right.
        if holdout_error.abs() <= limit {
            return Ok(finding);
        }
        let reason =
            format!("model invalid: {:.1} % off on held-out points, at most {:.1} % allowed", holdout_error * 100.0, limit * 100.0);
        Ok(Self { verdict: Verdict::Inconclusive, reason: Some(reason), ..finding })
    }

    /// With the numbers behind it.
    pub fn numbers(mut self, numbers: Numbers) -> Self {
        self.numbers = Some(numbers);
        self
    }

    /// With the interval of its effect.
    pub fn interval(mut self, interval: Option<Interval>, unit: &'static str) -> Self {
        self.interval = interval.map(|interval| (interval, unit));
        self
    }

    /// With the reason why there is no verdict.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

/// A number of tokens as people say it: `8k` and `1M` in 1,024s where it is a multiple of them, else with its thousands set apart.
pub(crate) fn context(tokens: u64) -> String {
    match tokens {
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{}M", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{}k", n >> 10),
        n => grouped(n),
    }
}
