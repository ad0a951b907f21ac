//! The same as Markdown and as CSV.

use super::{CostReport, EVEN, HEADER, Line, TOKENIZERS, below, best, even_rows, lines, served_words, slo_title};
use crate::cost::Per;
use crate::table::{csv, markdown};
use std::fmt::Write as _;

pub(super) fn as_markdown(report: &CostReport) -> String {
    let mut text = String::new();
    for run in &report.runs {
        let _ = write!(
            text,
            "**{} · {}**\n\n{}\n\n",
            markdown::escape(&run.arm),
            markdown::escape(&run.load),
            markdown::escape(&served_words(run))
        );
        let rows: Vec<Vec<String>> = lines(run, &report.utilisations).iter().map(Line::cells).collect();
        text.push_str(&markdown::table(&HEADER, &rows, 2));
        let (header, rows, mut notes) = even_rows(run, report);
        if !rows.is_empty() {
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let _ = write!(text, "\n{EVEN}\n\n{}", markdown::table(&header, &rows, 2));
        }
        notes.extend(below(run, report));
        text.push('\n');
        for line in &notes {
            let _ = writeln!(text, "- {}", markdown::escape(line));
        }
        text.push('\n');
    }
    if !report.at_slo.is_empty() {
        let _ = write!(text, "{}\n\n", markdown::escape(&slo_title(report)));
        for at in &report.at_slo {
            let words = [vec![format!("{}, {}: {}", at.arm, at.price, best(at))], at.others.clone()].concat().join("; ");
            let _ = writeln!(text, "- {}", markdown::escape(&words));
        }
        text.push('\n');
    }
    for note in report.notes.iter().map(String::as_str).chain(report.runs.iter().any(|run| !run.apis.is_empty()).then_some(TOKENIZERS)) {
        let _ = writeln!(text, "- {}", markdown::escape(note));
    }
    text
}

pub(super) fn as_csv(report: &CostReport) -> String {
    const HEADER: [&str; 13] = [
        "run",
        "arm",
        "load",
        "state",
        "kind",
        "price",
        "basis",
        "usd",
        "usd_per_mtok_out",
        "usd_per_mtok_good_out",
        "usd_per_mtok_total",
        "usd_per_request",
        "usd_per_mchar_out",
    ];
    let mut text = String::new();
    csv::line(&mut text, HEADER.map(str::to_owned).into_iter().chain(["reason".to_owned()]));
    for run in &report.runs {
        let mut price = String::new();
        for line in lines(run, &report.utilisations) {
            // A row without a name is of the price above it, and an end of a band says whose.
            let name = if line.price.starts_with(' ') { format!("{price}, {}", line.price.trim()) } else { line.price.clone() };
            if !line.price.is_empty() && !line.price.starts_with(' ') {
                price.clone_from(&line.price);
            }
            let name = if name.is_empty() { price.clone() } else { name };
            let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
            let Per { output, good_output, total, request, chars } = line.per;
            let words = [&run.run_id, &run.arm, &run.load, &run.state, line.kind, &name, &line.basis].map(str::to_owned);
            let numbers = [line.usd, output, good_output, total, request, chars].map(number);
            csv::line(&mut text, words.into_iter().chain(numbers).chain([line.why.unwrap_or_default().to_owned()]));
        }
    }
    text
}
