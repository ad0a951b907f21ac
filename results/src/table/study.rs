//! Studies as tables: the list of them, the findings of one with the numbers behind, and the verdicts of many.

use super::grid::{Col, Side, grid, wrap};
use super::{Format, List, csv, markdown, units};
use crate::json::pretty;
use crate::study::{Cell, Column, Evidence, Finding, Numbers, Report, Study, context};
use nomoat_core::report::Interval;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The schema of the JSON form of a report.
const SCHEMA: &str = "study-report/1";

/// The list of studies: what is claimed, what a verdict can rest on, and what it takes here.
pub fn study_list(studies: &[Study], format: Format) -> String {
    let row = |study: &Study| {
        let definition = &study.fixed.definition;
        let modes: Vec<&str> = definition.modes.iter().map(|mode| mode.word()).collect();
        vec![study.name().to_owned(), definition.claim.clone(), modes.join(", "), study.judged()]
    };
    let columns = vec![("study", 20), ("claim", 38), ("mode", 10), ("judged", 26)];
    List { columns, rows: studies.iter().map(row).collect() }.render(format)
}

/// The verdicts of many studies, one row each finding.
pub fn study_verdicts(reports: &[Report], format: Format) -> String {
    let row = |report: &Report, finding: &Finding| {
        let name = report.fixed.definition.name.clone();
        vec![name, finding.claim.clone(), verdict(finding), evidence(finding), report.on.clone().unwrap_or_default()]
    };
    let mut rows: Vec<Vec<String>> =
        reports.iter().flat_map(|report| report.findings.iter().map(move |finding| row(report, finding))).collect();
    let mut columns = vec![("study", 20), ("claim", 40), ("verdict", 25), ("evidence", 9), ("on", 40)];
    if format == Format::Table || reports.iter().all(|report| report.on.is_none()) {
        columns.pop();
        rows.iter_mut().for_each(|row| drop(row.pop()));
    }
    List { columns, rows }.render(format)
}

/// The findings of one study.
pub fn study_report(report: &Report, format: Format) -> String {
    match format {
        Format::Table => terminal(report),
        Format::Markdown => document(report),
        Format::Csv => rows(report),
        Format::Json => pretty(&as_json(report)),
    }
}

fn terminal(report: &Report) -> String {
    let definition = &report.fixed.definition;
    let mut text = wrap(&format!("{}: {}", definition.name, definition.claim), 4);
    text.push_str(&wrap(&format!("claimed by: {}", definition.source), 4));
    text.push_str(&wrap(&format!("how: {}", definition.rule), 4));
    report.on.iter().for_each(|on| text.push_str(&wrap(on, 4)));
    for finding in &report.findings {
        let rests = finding.evidence.map_or(String::new(), |_| format!(", {}", evidence(finding)));
        text.push('\n');
        text.push_str(&wrap(&format!("{}{rests}: {}", finding.verdict.word().to_uppercase(), finding.claim), 4));
        text.push_str(&wrap(&format!("    rule: {}", finding.rule), 6));
        for line in said(finding) {
            text.push_str(&wrap(&format!("    {line}"), 6));
        }
        if let Some(numbers) = finding.numbers.as_ref().filter(|numbers| !numbers.rows.is_empty()) {
            for line in laid_out(numbers).lines() {
                let _ = writeln!(text, "{}", format!("  {line}").trim_end());
            }
        }
    }
    text.push('\n');
    below(report).iter().for_each(|line| text.push_str(&wrap(line, 4)));
    text
}

fn document(report: &Report) -> String {
    let definition = &report.fixed.definition;
    let row = |f: &Finding| vec![f.claim.clone(), verdict(f), evidence(f), seen(f).join("; "), f.rule.clone()];
    let rows: Vec<Vec<String>> = report.findings.iter().map(row).collect();
    let mut text = format!(
        "**{}** {} (claimed by: {})\n\n",
        definition.name,
        markdown::escape(&definition.claim),
        markdown::escape(&definition.source)
    );
    text.push_str(&markdown::table(&["claim", "verdict", "evidence", "seen", "rule"], &rows, 5));
    for finding in &report.findings {
        if let Some(numbers) = finding.numbers.as_ref().filter(|numbers| !numbers.rows.is_empty()) {
            let header: Vec<String> = numbers.columns.iter().map(titled).collect();
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let right = numbers.columns.iter().position(|column| !column.unit.is_empty()).unwrap_or(numbers.columns.len());
            let _ = write!(text, "\n{}\n\n{}", markdown::escape(&finding.claim), markdown::table(&header, &words(numbers), right));
        }
    }
    text.push('\n');
    for line in report.on.iter().chain([&definition.rule]).chain(&below(report)) {
        let _ = writeln!(text, "- {}", markdown::escape(line));
    }
    text
}

/// One line per number, or per finding that has none: what names its row, its column, its unit, its value as it is.
fn rows(report: &Report) -> String {
    let mut text =
        String::from("study,on,finding,claim,rule,verdict,reason,evidence,holdout_error,ci_lo,ci_hi,ci_level,seen,row,column,unit,value\n");
    for (index, f) in report.findings.iter().enumerate() {
        let ends = |end: &dyn Fn(&Interval) -> Option<f64>| f.interval.and_then(|(i, _)| end(&i)).map_or(String::new(), |v| v.to_string());
        let head = [
            report.fixed.definition.name.clone(),
            report.on.clone().unwrap_or_default(),
            (index + 1).to_string(),
            f.claim.clone(),
            f.rule.clone(),
            f.verdict.word().to_owned(),
            f.reason.clone().unwrap_or_default(),
            f.evidence.map_or(String::new(), |evidence| evidence.word().to_owned()),
            holdout(f).map_or(String::new(), |error| error.to_string()),
            ends(&|i| Some(i.lo)),
            ends(&|i| i.hi),
            ends(&|i| Some(i.level)),
            f.seen.clone(),
        ];
        let mut put = |cells: [String; 4]| csv::line(&mut text, head.iter().cloned().chain(cells));
        let mut any = false;
        for row in f.numbers.iter().flat_map(|numbers| numbers.rows.iter().map(move |row| (numbers, row))) {
            let (numbers, cells) = row;
            let named = numbers.columns.iter().zip(cells).take(numbers.keys).map(|(column, cell)| match column.unit {
                "" => raw(cell),
                "plain" => format!("{} {}", column.name, raw(cell)),
                unit => format!("{} {} {unit}", column.name, raw(cell)),
            });
            let name = named.collect::<Vec<_>>().join(", ");
            for (column, cell) in numbers.columns.iter().zip(cells).skip(numbers.keys) {
                any = true;
                put([name.clone(), column.name.clone(), column.unit.to_owned(), raw(cell)]);
            }
        }
        if !any {
            put(Default::default());
        }
    }
    text
}

fn as_json(report: &Report) -> Value {
    let definition = &report.fixed.definition;
    let modes: Vec<&str> = definition.modes.iter().map(|mode| mode.word()).collect();
    let thresholds: Map<String, Value> =
        report.fixed.limits().map(|(name, value, unit)| (name.to_owned(), json!({"value": value, "unit": unit}))).collect();
    let given: Map<String, Value> = definition
        .given
        .iter()
        .map(|(name, given)| (name.clone(), json!({"value": given.value, "unit": given.unit, "source": given.source})))
        .collect();
    let findings: Vec<Value> = report.findings.iter().map(finding_json).collect();
    json!({
        "schema": SCHEMA, "study": definition.name, "number": definition.number, "claim": definition.claim, "source": definition.source,
        "modes": modes, "rule": definition.rule, "file": report.fixed.file, "sha256": report.fixed.sha256, "thresholds": thresholds,
        "given": given, "on": report.on, "findings": findings,
    })
}

fn finding_json(finding: &Finding) -> Value {
    let interval = finding.interval.map(|(i, unit)| json!({"lo": i.lo, "hi": i.hi, "level": i.level, "unit": unit}));
    let numbers = finding.numbers.as_ref().map(|numbers| {
        let columns: Vec<Value> = numbers.columns.iter().map(|column| json!({"name": column.name, "unit": column.unit})).collect();
        let value = |cell: &Cell| match cell {
            Cell::Text(text) => json!(text),
            Cell::Number(number) => json!(number),
            Cell::Absent => Value::Null,
        };
        let rows: Vec<Vec<Value>> = numbers.rows.iter().map(|row| row.iter().map(value).collect()).collect();
        json!({"columns": columns, "rows": rows})
    });
    json!({
        "claim": finding.claim, "rule": finding.rule, "verdict": finding.verdict.word(), "reason": finding.reason,
        "evidence": finding.evidence.map(Evidence::word), "holdout_error": holdout(finding), "seen": finding.seen, "interval": interval,
        "numbers": numbers,
    })
}

fn holdout(finding: &Finding) -> Option<f64> {
    match finding.evidence {
        Some(Evidence::Simulated { holdout_error }) => Some(holdout_error),
        _ => None,
    }
}

/// The verdict with its reason, where it has one.
fn verdict(finding: &Finding) -> String {
    let word = finding.verdict.word();
    finding.reason.as_ref().map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"))
}

fn evidence(finding: &Finding) -> String {
    match finding.evidence {
        None => String::new(),
        Some(Evidence::Simulated { holdout_error }) => format!("simulated, {} off on held-out points", units::percent(holdout_error.abs())),
        Some(evidence) => evidence.word().to_owned(),
    }
}

/// What stands under a rule: the reason, what was seen, the interval.
fn said(finding: &Finding) -> Vec<String> {
    finding.reason.iter().cloned().chain(seen(finding)).collect()
}

fn seen(finding: &Finding) -> Vec<String> {
    let mut lines: Vec<String> = Some(&finding.seen).filter(|seen| !seen.is_empty()).cloned().into_iter().collect();
    lines.extend(finding.interval.map(|(interval, unit)| {
        let level = format!("{:.0} % interval of the {unit}", interval.level * 100.0);
        match interval.hi {
            Some(hi) => format!("{level}: {} … {}", units::digits(interval.lo), units::digits(hi)),
            None => format!("{level}: ≥ {}", units::digits(interval.lo)),
        }
    }));
    lines
}

/// By which limits it was judged, where they stand, and what was put in.
fn below(report: &Report) -> Vec<String> {
    let definition = &report.fixed.definition;
    let mut lines = vec![];
    let limits: Vec<String> = report.fixed.limits().map(|(name, value, unit)| format!("{name} {value} ({unit})")).collect();
    if !limits.is_empty() {
        lines.push(format!("thresholds: {}", limits.join(", ")));
    }
    for (name, given) in &definition.given {
        lines.push(format!("given: {name} {} ({}): {}", given.value, given.unit, given.source));
    }
    lines.push(format!("fixed in {}, sha256 {}", report.fixed.file, report.fixed.sha256));
    lines
}

fn laid_out(numbers: &Numbers) -> String {
    let header: Vec<String> = numbers.columns.iter().map(titled).collect();
    let rows = words(numbers);
    let width =
        |index: usize| rows.iter().map(|row| &row[index]).chain([&header[index]]).map(|text| text.chars().count()).max().unwrap_or(1);
    // Numbers that stand on the right need a second space before them; the grid gives it to texts alone.
    let column = |(index, column): (usize, &Column)| {
        let (side, more) = if column.unit.is_empty() { (Side::Left, 0) } else { (Side::Right, usize::from(index > 0)) };
        Col(u16::try_from(width(index) + more).unwrap_or(40), side)
    };
    let columns: Vec<Col> = numbers.columns.iter().enumerate().map(column).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    grid(&columns, &header, &rows)
}

/// A column's name, with its unit where its cells do not say it.
fn titled(column: &Column) -> String {
    match column.unit {
        "" | "bytes" | "s" | "share" | "USD" | "tokens" | "ratio" | "plain" => column.name.clone(),
        unit => format!("{}, {unit}", column.name),
    }
}

fn words(numbers: &Numbers) -> Vec<Vec<String>> {
    numbers.rows.iter().map(|row| numbers.columns.iter().zip(row).map(shown).collect()).collect()
}

fn shown((column, cell): (&Column, &Cell)) -> String {
    match (cell, column.unit) {
        (Cell::Text(text), _) => text.clone(),
        (Cell::Absent, _) => "–".to_owned(),
        (Cell::Number(number), "tokens") => context(*number as u64),
        (Cell::Number(number), unit) => units::human(*number, unit),
    }
}

fn raw(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Number(number) => number.to_string(),
        Cell::Absent => String::new(),
    }
}
