//! A report for people (terminal, Markdown) and for spreadsheets (CSV). Every cell can be derived again from the stored run.
//!
//! Nothing is decided here: no number is computed beyond its unit and digits, no verdict is passed. A value that does not exist is
//! "–" with a numbered note that says why; absolute numbers always, intervals where there are any, no winner.

mod cold_start;
mod cost;
mod csv;
mod energy;
mod fidelity;
mod figures;
mod grid;
mod kernels;
mod ladder;
mod list;
mod markdown;
mod notes;
mod reconcile;
mod study;
mod terminal;
mod units;
mod verdict;

use crate::summary::Summary;
use nomoat_core::report::{MetricRow, RunReport};
use nomoat_core::slo::Slo;

pub use cold_start::render_cold_start;
pub use cost::{CostReport, render_cost};
pub use figures::{Cell, Figure, Figures, note};
pub use kernels::render_kernels;
pub use ladder::{Rung, render_ladder};
pub use list::List;
pub use reconcile::render_reconciliation;
pub use study::{study_list, study_report, study_verdicts};

/// How a report is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// For a terminal, at most 100 columns wide.
    #[default]
    Table,
    /// For a document: one row per number.
    Markdown,
    /// For a spreadsheet: one row per number, raw values in their unit.
    Csv,
    /// Exactly `summary.json`.
    Json,
}

impl Format {
    /// Every format, with its name.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Table, "table"), (Self::Markdown, "markdown"), (Self::Csv, "csv"), (Self::Json, "json")];

    /// The format with a name.
    ///
    /// # Errors
    /// What it may be.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, n)| *n == name).map(|(format, _)| *format);
        found.ok_or_else(|| format!("`{name}` is not a format; it may be table, markdown, csv or json"))
    }
}

/// What a table says around its numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableContext {
    /// The run, for JSON.
    pub run_id: String,
    /// The engine.
    pub engine: String,
    /// Its version.
    pub version: String,
    /// The model.
    pub model: String,
    /// The trace, or the fixed lengths.
    pub trace: String,
    /// The load in words.
    pub load: String,
    /// The accelerators as declared, such as `8 × h200`; `None` when not told.
    pub accelerators: Option<String>,
    /// The service level.
    pub slo: Slo,
    /// Whether the user asked for energy: then its absence has a place in the tables.
    pub energy_asked: bool,
    /// How the rows of the cache lie, where theoretical bytes leave that open.
    pub kv_rows: Option<String>,
    /// Addresses of the endpoints, where there are several, in the order of their indices.
    pub endpoints: Vec<String>,
    /// Lines under the table: host, digests, where the files are.
    pub below: Vec<String>,
    /// The instrument's error in words; `None` prints "not calibrated".
    pub calibration: Option<String>,
    /// What to do next; the last line.
    pub next: Option<String>,
}

impl TableContext {
    /// What was measured, and under which load.
    fn titles(&self) -> [String; 2] {
        let join = |parts: &[&str]| parts.iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(" · ");
        let engine = [self.engine.as_str(), self.version.as_str()].join(" ");
        [join(&[engine.trim(), &self.model, self.accelerators.as_deref().unwrap_or_default()]), join(&[&self.trace, &self.load])]
    }

    /// The service level in words; `None` when there is none.
    fn slo_words(&self) -> Option<String> {
        self.slo.words()
    }

    /// Which endpoint an index means, a line each; none where there is one.
    fn endpoint_lines(&self) -> impl Iterator<Item = String> {
        self.endpoints.iter().enumerate().map(|(index, url)| format!("endpoint {index}: {url}"))
    }

    fn calibration_words(&self) -> &str {
        self.calibration.as_deref().unwrap_or("not calibrated")
    }
}

/// Prints a report.
pub fn render(report: &RunReport, context: &TableContext, format: Format) -> String {
    match format {
        Format::Table => terminal::render(report, context),
        Format::Markdown => markdown::render(report, context),
        Format::Csv => csv::render([(None, report)]),
        Format::Json => Summary::new(&context.run_id, report).to_json(),
    }
}

/// The part of the run a row is about, in words; empty for all of the measured window.
fn scope_words(row: &MetricRow) -> String {
    use crate::words::Word;
    use nomoat_core::record::Phase;
    let class = row.scope.class.as_ref().map(|c| format!("class {c}"));
    let connection = row.scope.connection.map(|c| format!("connection {}", c.word()));
    let endpoint = row.scope.endpoint.map(|e| format!("endpoint {e}"));
    let energy = row.scope.energy.map(|e| format!("{} scope", e.word()));
    let phase = (row.scope.phase != Phase::default()).then(|| row.scope.phase.word().to_owned());
    [class, connection, endpoint, energy, phase].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod kernels_tests;
#[cfg(test)]
mod tests;
