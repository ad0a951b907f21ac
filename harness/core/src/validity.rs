//! Whether to believe a run. Each rule states a value, a limit and what to try.

/// How bad a broken rule is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Shown, changes nothing.
    Flag,
    /// The run may not be published.
    BlocksPublication,
    /// The run is not a measurement.
    Invalid,
}

/// What a rule found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// There was nothing to check it by.
    NotChecked,
}

/// One rule applied to one run.
#[derive(Clone, PartialEq, Debug)]
pub struct RuleResult {
    /// Stable code, V01…
    pub code: &'static str,
    /// What it asks.
    pub rule: &'static str,
    /// How bad it is when broken.
    pub severity: Severity,
    /// What was found.
    pub finding: Finding,
    /// What was measured, in words with units.
    pub value: String,
    /// What is allowed.
    pub limit: String,
    /// What to try; empty when it holds.
    pub remedy: String,
}

/// The verdict.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Validity {
    /// Every rule that was applied.
    pub rules: Vec<RuleResult>,
}

impl Validity {
    /// Whether no rule of severity [`Severity::Invalid`] is broken.
    pub fn is_valid(&self) -> bool {
        self.broken(Severity::Invalid).next().is_none()
    }

    /// The broken rules of one severity.
    pub fn broken(&self, severity: Severity) -> impl Iterator<Item = &RuleResult> {
        self.rules.iter().filter(move |r| r.finding == Finding::Fail && r.severity == severity)
    }
}
