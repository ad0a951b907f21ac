//! What a check of an engine found: whether numbers taken there would be true.

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    /// As it should be.
    Good,
    /// It could not be seen; why is told.
    Skipped,
    /// Numbers are true, and a reader must know this.
    Odd,
    /// Numbers taken here would be wrong.
    Wrong,
}

impl Outcome {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        ["good", "skipped", "odd", "WRONG"][self as usize]
    }
}

/// One check of an engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was seen, in numbers where there are any.
    pub saw: String,
}

impl Finding {
    /// A finding.
    pub fn new(check: &'static str, outcome: Outcome, saw: impl Into<String>) -> Self {
        Self { check, outcome, saw: saw.into() }
    }
}

/// Whether numbers taken from an engine with these findings would be wrong.
pub fn is_wrong(findings: &[Finding]) -> bool {
    findings.iter().any(|f| f.outcome == Outcome::Wrong)
}

/// How answers repeated before a run: the same prompts alone, alone again, and under load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Repeats {
    /// Prompts that were asked.
    pub prompts: u32,
    /// Answers that were the same the second time, alone.
    pub same_alone: u32,
    /// Answers that were the same under load as the first time.
    pub same_under_load: u32,
    /// Answers of the first pass that repeat themselves.
    pub degenerate: u32,
    /// Empty answers of the first pass.
    pub empty: u32,
}
