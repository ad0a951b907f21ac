//! Several reports side by side: one column per rung of a concurrency ladder, one row per key metric.

use super::grid::{Col, Side, grid, wrap};
use super::notes::Notes;
use super::{Format, TableContext, csv, energy, markdown, units, verdict};
use crate::json::pretty;
use crate::summary::Summary;
use nomoat_core::report::{MetricRow, Population, RunReport, Stat};
use nomoat_core::validity::Severity;

/// One report of several.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rung<'a> {
    /// What tells it from the others, such as the concurrency.
    pub label: &'a str,
    /// Whose report it is.
    pub run_id: &'a str,
    /// The report.
    pub report: &'a RunReport,
}

/// Metric, statistic and what the row is called.
const ROWS: [(&str, Stat, &str); 18] = [
    ("ttft", Stat::P50, "TTFT p50, from due"),
    ("ttft", Stat::P99, "TTFT p99, from due"),
    ("tpot", Stat::P50, "TPOT p50"),
    ("tpot", Stat::P99, "TPOT p99"),
    ("itl", Stat::P99, "ITL p99"),
    ("e2e", Stat::P50, "E2E p50, from due"),
    ("e2e", Stat::P99, "E2E p99, from due"),
    ("output_tput", Stat::Rate, "Output tokens/s"),
    ("output_tput_per_accel", Stat::Rate, "  per accelerator"),
    ("interactivity", Stat::P50, "  per user, p50"),
    ("total_tput", Stat::Rate, "Total tokens/s"),
    ("request_rate", Stat::Rate, "Requests/s"),
    ("goodput_rate", Stat::Rate, "Goodput, requests/s"),
    ("usd_per_mtok_out", Stat::Value, "USD per M output tokens"),
    ("usd_per_mtok_good_out", Stat::Value, "USD per M good output"),
    (PER_TOKEN, Stat::Value, "J per output token"),
    ("kv_occupied_peak_bytes", Stat::Value, "KV occupied, peak"),
    ("dispatch_lag", Stat::P99, "Dispatch lag p99 (ours)"),
];
/// The row about energy, which is shown where there is any; its scope is told in its note.
const PER_TOKEN: &str = "j_per_output_token";
/// Rungs beside each other on a terminal; more go into further tables.
const ACROSS: usize = 5;
const LABEL: Col = Col(24, Side::Left);
const VALUE: Col = Col(13, Side::Right);

/// Prints several reports side by side. JSON is the array of their summaries; CSV has the label as first column.
pub fn render_ladder(rungs: &[Rung<'_>], context: &TableContext, format: Format) -> String {
    match format {
        Format::Json => pretty(&rungs.iter().map(|r| Summary::new(r.run_id, r.report)).collect::<Vec<_>>()),
        Format::Csv => csv::render(rungs.iter().map(|r| (Some(r.label), r.report))),
        Format::Table => {
            let mut notes = Notes::default();
            let mut text: String = titles(context).iter().map(|t| wrap(t, 2)).collect();
            for part in rungs.chunks(ACROSS) {
                let columns: Vec<Col> = std::iter::once(LABEL).chain(part.iter().map(|_| VALUE)).collect();
                let (header, rows) = cells(part, context, &mut notes);
                let header: Vec<&str> = header.iter().map(String::as_str).collect();
                text.push('\n');
                text.push_str(&grid(&columns, &header, &rows));
            }
            text.push('\n');
            for line in ending(rungs, context, &notes) {
                text.push_str(&wrap(&line, 4));
            }
            if let Some(next) = &context.next {
                text.extend(["\n", &wrap(&format!("next: {next}"), 6)]);
            }
            text
        }
        Format::Markdown => {
            let mut notes = Notes::default();
            let (header, rows) = cells(rungs, context, &mut notes);
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let mut text = format!("**{}**\n\n{}\n", markdown::escape(&titles(context).join(" · ")), markdown::table(&header, &rows, 1));
            let next = context.next.iter().map(|n| format!("next: {n}"));
            for line in ending(rungs, context, &notes).into_iter().chain(next) {
                text.extend(["- ", &markdown::escape(&line), "\n"]);
            }
            text
        }
    }
}

fn titles(context: &TableContext) -> Vec<String> {
    context.titles().into_iter().filter(|t| !t.is_empty()).collect()
}

/// Header and rows: the metrics that any rung has, then counts and the verdict.
fn cells(rungs: &[Rung<'_>], context: &TableContext, notes: &mut Notes) -> (Vec<String>, Vec<Vec<String>>) {
    let labelled = |label: &str, cells: Vec<String>| std::iter::once(label.to_owned()).chain(cells).collect::<Vec<_>>();
    let header = labelled("", rungs.iter().map(|r| r.label.to_owned()).collect());
    let mut rows = vec![];
    for (name, stat, label) in ROWS {
        let found: Vec<Option<&MetricRow>> = rungs.iter().map(|r| row(r.report, name, stat)).collect();
        let is_quiet = name == PER_TOKEN && !shows_energy(rungs, context);
        if is_quiet || found.iter().all(Option::is_none) {
            continue;
        }
        let mut cell = |row: Option<&MetricRow>| match row {
            None => "–".to_owned(),
            Some(row) => {
                let text = row.value.map_or_else(|| "–".to_owned(), |v| units::human(v, row.unit));
                notes.cell(&text, row.reason.as_deref())
            }
        };
        rows.push(labelled(label, found.iter().map(|row| cell(*row)).collect()));
    }
    let of = |part: u64, all: u64| format!("{} of {}", units::count(part), units::count(all));
    rows.push(labelled("Answered", rungs.iter().map(|r| of(r.report.counts.ok, r.report.counts.measured)).collect()));
    for index in 0..rungs.iter().map(|r| r.report.counts.by_endpoint.len()).max().unwrap_or(0) {
        let counts = |r: &Rung<'_>| r.report.counts.by_endpoint.get(index).map_or_else(|| "–".to_owned(), |c| of(c.ok, c.measured));
        rows.push(labelled(&format!("  endpoint {index}"), rungs.iter().map(counts).collect()));
    }
    rows.push(labelled("Verdict", rungs.iter().map(|r| verdict::headline(&r.report.validity)).collect()));
    (header, rows)
}

/// The number of one rung: of energy the headline's, of everything else that of answered requests, or of all.
fn row<'a>(report: &'a RunReport, name: &str, stat: Stat) -> Option<&'a MetricRow> {
    if name == PER_TOKEN {
        return report.energy(name);
    }
    [Population::Ok, Population::All].into_iter().find_map(|p| report.get(name, stat, p))
}

fn shows_energy(rungs: &[Rung<'_>], context: &TableContext) -> bool {
    rungs.iter().any(|r| energy::is_shown(r.report, context))
}

/// What a reader should know of rungs that are valid all the same: a line per rule, with each rung's own value.
fn flags(rungs: &[Rung<'_>]) -> Vec<String> {
    let broken = |rung: &Rung<'_>| rung.report.validity.broken(Severity::Flag).map(|r| (r.code, r.rule)).collect::<Vec<_>>();
    let mut rules: Vec<(&str, &str)> = vec![];
    for rule in rungs.iter().flat_map(broken) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    let line = |(code, asks): (&str, &str)| {
        let mut values: Vec<(String, Vec<&str>)> = vec![];
        for rung in rungs {
            for rule in rung.report.validity.broken(Severity::Flag).filter(|r| (r.code, r.rule) == (code, asks)) {
                match values.iter_mut().find(|(value, _)| *value == rule.value) {
                    Some((_, labels)) => labels.push(rung.label),
                    None => values.push((rule.value.clone(), vec![rung.label])),
                }
            }
        }
        let said: Vec<String> = values.into_iter().map(|(value, labels)| format!("{}: {value}", labels.join(", "))).collect();
        format!("flagged: {code} {asks}; {}", said.join("; "))
    };
    rules.into_iter().map(line).collect()
}

/// Why rungs are invalid, flags, notes, and the lines below.
fn ending(rungs: &[Rung<'_>], context: &TableContext, notes: &Notes) -> Vec<String> {
    let mut lines = vec![];
    for rung in rungs {
        lines.extend(verdict::broken(&rung.report.validity, Severity::Invalid).map(|b| {
            let remedy = if b.remedy.is_empty() { String::new() } else { format!("; try: {}", b.remedy) };
            format!("{} is INVALID: {}{remedy}", rung.label, b.what)
        }));
    }
    lines.extend(flags(rungs));
    lines.extend(notes.lines().map(|(mark, reason)| format!("{mark} {reason}")));
    lines.extend(context.slo_words().map(|slo| format!("goodput counts requests that met {slo}")));
    if !shows_energy(rungs, context) {
        lines.extend(rungs.iter().find_map(|r| energy::line(r.report, context)));
    }
    lines.extend(context.endpoint_lines());
    lines.extend(context.below.iter().cloned());
    lines.push(format!("instrument: {}", context.calibration_words()));
    lines
}
