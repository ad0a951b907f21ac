//! One row per number in Markdown, values for people, with the verdict, the notes and what is under a table.

use super::fidelity;
use super::notes::Notes;
use super::{TableContext, scope_words, units, verdict};
use nomoat_core::report::{MetricRow, RunReport};
use nomoat_core::validity::Severity;
use std::fmt::Write as _;

/// Renders one report.
pub(super) fn render(report: &RunReport, context: &TableContext) -> String {
    let mut notes = Notes::default();
    let [what, load] = context.titles();
    let mut text = format!("**{}**\n\n", escape(&[what, load].join(" · ")));
    let rows: Vec<Vec<String>> = report.metrics.iter().map(|row| cells(row, &mut notes)).collect();
    text.push_str(&table(&["metric", "stat", "population", "scope", "value", "interval", "n"], &rows, 4));
    text.push('\n');
    text.push_str(&ending(report, context, &notes));
    text
}

fn cells(row: &MetricRow, notes: &mut Notes) -> Vec<String> {
    let value = row.value.map_or_else(|| "–".to_owned(), |v| units::with_unit(v, row.unit));
    let interval = row.ci.map_or_else(String::new, |c| format!("{} ({})", units::interval(c.lo, c.hi, row.unit), units::percent(c.level)));
    vec![
        row.name.to_owned(),
        row.stat.name().to_owned(),
        row.population.name().to_owned(),
        scope_words(row),
        notes.cell(&value, row.reason.as_deref()),
        interval,
        units::count(row.n),
    ]
}

/// Verdict, notes, and the lines below.
fn ending(report: &RunReport, context: &TableContext, notes: &Notes) -> String {
    let mut text = format!("**{}**\n", verdict::headline(&report.validity));
    let mut items: Vec<String> = vec![];
    for (severity, word) in [(Severity::Invalid, ""), (Severity::BlocksPublication, "not to be published: "), (Severity::Flag, "flagged: ")]
    {
        items.extend(verdict::broken(&report.validity, severity).map(|b| {
            let remedy = if b.remedy.is_empty() { String::new() } else { format!("; try: {}", b.remedy) };
            format!("{word}{}{remedy}", b.what)
        }));
    }
    items.extend(verdict::not_checked(&report.validity));
    items.extend(notes.lines().map(|(mark, reason)| format!("{mark} {reason}")));
    for (line, counts) in context.endpoint_lines().zip(&report.counts.by_endpoint) {
        let [ok, measured] = [counts.ok, counts.measured].map(units::count);
        items.push(format!("{line}, {ok} of {measured} answered"));
    }
    items.extend(context.kv_rows.iter().map(|rows| format!("theoretical KV bytes: {rows}")));
    items.extend(fidelity::line(&report.fidelity, &report.counts));
    items.extend(context.below.iter().cloned());
    items.push(context.calibration_words().to_owned());
    items.extend(context.next.iter().map(|n| format!("next: {n}")));
    text.push('\n');
    for item in items {
        let _ = writeln!(text, "- {}", escape(&item));
    }
    text
}

/// A Markdown table whose columns from `right` on are numbers.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], right: usize) -> String {
    let mut text = format!("| {} |\n|", header.iter().map(|h| escape(h)).collect::<Vec<_>>().join(" | "));
    for column in 0..header.len() {
        text.push_str(if column >= right { "---:|" } else { "---|" });
    }
    text.push('\n');
    for row in rows {
        let _ = writeln!(text, "| {} |", row.iter().map(|c| escape(c)).collect::<Vec<_>>().join(" | "));
    }
    text
}

/// Keeps what others wrote (names of models, classes, flags) from becoming markup.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '<' | '`' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            _ => out.push(c),
        }
    }
    out
}
