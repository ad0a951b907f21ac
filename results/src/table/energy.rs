//! Energy on a terminal: the headline's scope in the title, every number of it, and in a line each what else was read.
//!
//! Where nothing was read it is a section of reasons if the user asked, and else a line below the tables.

use super::terminal::{Fact, Page};
use super::{TableContext, units};
use crate::words::Word;
use nomoat_core::report::{MetricRow, RunReport};

/// Whether energy has a section of its own.
pub(super) fn is_shown(report: &RunReport, context: &TableContext) -> bool {
    context.energy_asked || report.energy("energy_joules").is_some_and(|r| r.value.is_some())
}

/// The title of the section, with the scope that all its numbers are of.
pub(super) fn title(report: &RunReport) -> String {
    let scope = report.energy("energy_joules").and_then(|r| r.scope.energy);
    scope.map_or_else(|| "Energy".to_owned(), |scope| format!("Energy, {}", scope.word()))
}

/// Its rows.
pub(super) fn facts(page: &mut Page<'_>) -> Vec<Option<Fact>> {
    let report = page.report;
    if !is_shown(report, page.context) {
        return vec![];
    }
    let mut facts: Vec<Option<Fact>> = vec![
        fact(page, "Per output token", "j_per_output_token", String::new()),
        fact(page, "Per total token", "j_per_total_token", "prompts included".into()),
        fact(page, "Per request", "j_per_request", "answered ones".into()),
        fact(page, "For the window", "energy_joules", power(report.energy("avg_power_w"))),
    ];
    if let Some(row) = report.energy("energy_usd").filter(|r| r.value.is_some()) {
        let per = report.energy("energy_usd_per_mtok_out").and_then(|r| r.value);
        let per = per.map_or_else(String::new, |v| format!(", {} per M output tokens", units::money(v)));
        // The mark stands in the remark: small amounts fill their column.
        let mark = row.reason.as_deref().map_or_else(String::new, |reason| format!(" {}", page.notes.mark(reason)));
        let remark = format!("beside the cost and no part of it{per}{mark}");
        facts.push(row.value.map(|usd| ["By its tariff".into(), units::money(usd), remark]));
    }
    // Another scope is another quantity: it stands alone and is added to nothing.
    let headline = report.energy("energy_joules").map(|r| r.scope.clone());
    for row in report.metrics.iter().filter(|r| r.name == "energy_joules" && Some(&r.scope) != headline.as_ref()) {
        let scope = row.scope.energy.map_or("no", Word::word);
        let per = report.metrics.iter().find(|r| r.name == "j_per_output_token" && r.scope == row.scope).and_then(|r| r.value);
        let per = per.map_or_else(String::new, |v| format!("{} per output token; ", units::human(v, "J")));
        facts.push(Some([format!("  {scope} scope"), page.cell(Some(row)), format!("{per}another quantity, not to be added")]));
    }
    facts
}

/// Why there is none, in a line, where it has no section.
pub(super) fn line(report: &RunReport, context: &TableContext) -> Option<String> {
    let reason = report.energy("energy_joules").filter(|_| !is_shown(report, context))?.reason.as_ref()?;
    Some(format!("energy: {reason}"))
}

fn fact(page: &mut Page<'_>, label: &str, name: &str, remark: String) -> Option<Fact> {
    let row = page.report.energy(name)?;
    Some([label.to_owned(), page.cell(Some(row)), remark])
}

fn power(row: Option<&MetricRow>) -> String {
    row.and_then(|r| r.value).map_or_else(String::new, |v| format!("{} on average", units::human(v, "W")))
}
