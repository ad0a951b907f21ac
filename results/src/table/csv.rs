//! One row per number, raw values in their unit, for spreadsheets and scripts. Quoting as in RFC 4180, lines end with LF.

use crate::summary::MetricWire;
use nomoat_core::report::RunReport;

const HEADER: [&str; 17] = [
    "name",
    "unit",
    "stat",
    "population",
    "class",
    "connection",
    "endpoint",
    "energy",
    "phase",
    "value",
    "n",
    "n_eff",
    "ci_lo",
    "ci_hi",
    "ci_level",
    "method",
    "reason",
];

/// Reports one after the other, each number in the same form as in `summary.json`; with labels, they are the first column.
pub(super) fn render<'a>(reports: impl IntoIterator<Item = (Option<&'a str>, &'a RunReport)>) -> String {
    let mut text = String::new();
    for (index, (label, report)) in reports.into_iter().enumerate() {
        if index == 0 {
            line(&mut text, label.map(|_| "rung").into_iter().chain(HEADER).map(str::to_owned));
        }
        for row in report.metrics.iter().map(MetricWire::from) {
            let number = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
            let cells = [
                row.name,
                row.unit,
                row.stat,
                row.population,
                row.scope.class.unwrap_or_default(),
                row.scope.connection.unwrap_or_default(),
                row.scope.endpoint.map_or_else(String::new, |e| e.to_string()),
                row.scope.energy.unwrap_or_default(),
                row.scope.phase,
                number(row.value),
                row.n.to_string(),
                number(row.n_eff),
                number(row.ci.map(|c| c.lo)),
                number(row.ci.and_then(|c| c.hi)),
                number(row.ci.map(|c| c.level)),
                row.method,
                row.reason.unwrap_or_default(),
            ];
            line(&mut text, label.map(str::to_owned).into_iter().chain(cells));
        }
    }
    text
}

/// Appends a line.
pub(super) fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push(',');
        }
        if cell.contains(['"', ',', '\n', '\r']) {
            text.extend(["\"", &cell.replace('"', "\"\""), "\""]);
        } else {
            text.push_str(&cell);
        }
    }
    text.push('\n');
}
