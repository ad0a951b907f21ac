//! The verdict in words: which rules are broken, by how much, what to try; which were not checked, and why.

use nomoat_core::validity::{Finding, RuleResult, Severity, Validity};

/// The line everything hangs on: `VALID`, or `INVALID` with the codes of the broken rules.
pub(super) fn headline(validity: &Validity) -> String {
    if validity.is_valid() {
        return "VALID".to_owned();
    }
    let codes: Vec<&str> = validity.broken(Severity::Invalid).map(|r| r.code).collect();
    format!("INVALID {}", codes.join(" "))
}

/// What is said of one broken rule.
pub(super) struct Broken {
    /// What it is: the code, the rule, what was measured and what is allowed.
    pub what: String,
    /// What to try; empty when nothing is known.
    pub remedy: String,
}

/// The broken rules of a severity.
pub(super) fn broken(validity: &Validity, severity: Severity) -> impl Iterator<Item = Broken> {
    validity.broken(severity).map(|rule| {
        let RuleResult { code, rule: asks, value, limit, remedy, .. } = rule;
        Broken { what: format!("{code} {asks}: {value}; allowed: {limit}"), remedy: remedy.clone() }
    })
}

/// The rules there was nothing to check by, in one line; `None` when there are none.
pub(super) fn not_checked(validity: &Validity) -> Option<String> {
    let rules: Vec<String> = validity
        .rules
        .iter()
        .filter(|r| r.finding == Finding::NotChecked)
        .map(|r| format!("{} {} ({})", r.code, r.rule, r.value))
        .collect();
    (!rules.is_empty()).then(|| format!("not checked: {}", rules.join("; ")))
}
