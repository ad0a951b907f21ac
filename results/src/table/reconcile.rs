//! What another harness would have printed of a run, beside ours, and what the difference of each mean consists of.

use super::grid::{Col, Side, grid, wrap};
use super::{Format, TableContext, csv, markdown, units, verdict};
use crate::json::pretty;
use nomoat_core::compat::{Cause, Compared, Rated, Reconciliation};
use nomoat_core::validity::Validity;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The schema of the JSON form.
const SCHEMA: &str = "run-reconciliation/1";
/// Finest step of what is printed in ms. Causes that round to nothing are left out; JSON and CSV keep them.
const STEP_NS: f64 = 100.0;
const LABEL: Col = Col(27, Side::Left);

/// Prints a reconciliation.
pub fn render_reconciliation(found: &Reconciliation, validity: &Validity, context: &TableContext, format: Format) -> String {
    match format {
        Format::Table => terminal(found, validity, context),
        Format::Markdown => document(found, validity, context),
        Format::Csv => rows(found),
        Format::Json => pretty(&json(found, context)),
    }
}

fn terminal(found: &Reconciliation, validity: &Validity, context: &TableContext) -> String {
    let mut text = String::new();
    for line in opening(found, validity, context) {
        text.push_str(&wrap(&line, 2));
    }
    let number = Col(9, Side::Right);
    let stats = found.tool.stats.iter().map(|s| s.name);
    let header: Vec<&str> = std::iter::once("As it would print it").chain(stats).chain(["n"]).collect();
    let columns: Vec<Col> = std::iter::once(LABEL).chain(vec![number; header.len() - 2]).chain([Col(8, Side::Right)]).collect();
    let _ = write!(text, "\n{}", grid(&columns, &header, &statistics(found)));

    let columns = [LABEL, Col(5, Side::Left), Col(9, Side::Right), Col(10, Side::Right), Col(43, Side::Left)];
    let header = ["Why its mean is different", "ours", "mean", "by, in ms", "because of, in ms"];
    let _ = write!(text, "\n{}", grid(&columns, &header, &reasons(found)));

    let columns = [LABEL, Col(12, Side::Right), Col(12, Side::Right), Col(44, Side::Left)];
    let _ = write!(text, "\n{}", grid(&columns, &["Throughput", "theirs", "ours", ""], &throughputs(found)));
    text.push_str(&wrap(&span(found), 2));

    text.push_str("\nIts definitions\n");
    for (name, about) in definitions(found) {
        text.push_str(&wrap(&format!("  {name}: {about}"), 6));
    }
    text.push_str("Not in these records\n");
    for line in found.tool.cannot {
        text.push_str(&wrap(&format!("  {line}"), 6));
    }
    text.push('\n');
    for line in below(found, context) {
        text.push_str(&wrap(&line, 2));
    }
    text
}

fn document(found: &Reconciliation, validity: &Validity, context: &TableContext) -> String {
    let mut lines = opening(found, validity, context);
    let title = lines.remove(0);
    let mut text = format!("**{}**\n\n{}\n\n", markdown::escape(&title), markdown::escape(&lines.join(" · ")));
    let stats = found.tool.stats.iter().map(|s| s.name);
    let header: Vec<&str> = std::iter::once("as it would print it").chain(stats).chain(["n"]).collect();
    let _ = writeln!(text, "{}", markdown::table(&header, &statistics(found), 1));
    let mut why = reasons(found);
    // Numbers stand on the right in a run of columns, so the name of ours goes to the front.
    why.iter_mut().for_each(|row| {
        let causes = row.remove(4);
        row.insert(2, causes);
    });
    let _ = writeln!(
        text,
        "{}",
        markdown::table(&["why its mean is different", "ours", "because of, in ms", "our mean", "by, in ms"], &why, 3)
    );
    let mut rates = throughputs(found);
    rates.iter_mut().for_each(|row| {
        let remark = row.remove(3);
        row.insert(1, remark);
    });
    let _ = writeln!(text, "{}", markdown::table(&["throughput", "", "theirs", "ours"], &rates, 2));
    let definitions = definitions(found).into_iter().map(|(name, about)| format!("{name}: {about}"));
    let cannot = found.tool.cannot.iter().map(|line| format!("not in these records: {line}"));
    for line in std::iter::once(span(found)).chain(definitions).chain(cannot).chain(below(found, context)) {
        let _ = writeln!(text, "- {}", markdown::escape(&line));
    }
    text
}

/// What is printed, of what, and whether to believe it.
fn opening(found: &Reconciliation, validity: &Validity, context: &TableContext) -> Vec<String> {
    let mut lines = vec![format!("{}: its definitions on the records of this run", found.tool.title)];
    lines.extend(context.titles().into_iter().filter(|t| !t.is_empty()));
    lines.push(format!(
        "{} of {} requests due in the window answered, as it counts answers",
        units::count(found.answered),
        units::count(found.measured)
    ));
    if !validity.is_valid() {
        lines.push(format!("{}: these numbers are no measurement, see nomoat report without --as", verdict::headline(validity)));
    }
    lines
}

fn statistics(found: &Reconciliation) -> Vec<Vec<String>> {
    let cell = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::duration);
    let row = |m: &Compared| {
        let stats = m.stats.iter().map(|(_, value)| cell(*value));
        std::iter::once(m.metric.name.to_owned()).chain(stats).chain([units::count(m.n)]).collect()
    };
    found.metrics.iter().map(row).collect()
}

/// Name, our metric, our mean, theirs less ours, causes.
fn reasons(found: &Reconciliation) -> Vec<Vec<String>> {
    let row = |m: &Compared| {
        let ours = m.ours.map_or_else(|| "–".to_owned(), units::duration);
        let difference = m.difference().map_or_else(|| "–".to_owned(), signed);
        vec![m.metric.name.to_owned(), m.metric.ours.unwrap_or("–").to_owned(), ours, difference, causes(m)]
    };
    found.metrics.iter().map(row).collect()
}

/// The causes of one difference, in words; they sum to it.
fn causes(m: &Compared) -> String {
    if m.metric.ours.is_none() {
        return "we have no such metric".to_owned();
    }
    if m.difference().is_none() {
        return if m.n == 0 { "it has no value" } else { "ours has no value" }.to_owned();
    }
    let rest = Cause { name: "rest", ns: m.rest };
    let shown = m.causes.iter().chain([&rest]).filter(|c| (c.ns / STEP_NS).round() != 0.0);
    let words: Vec<String> = shown.map(|c| format!("{} {}", c.name, signed(c.ns))).collect();
    if words.is_empty() { "nothing: the same".to_owned() } else { words.join(", ") }
}

/// Nanoseconds as signed milliseconds: three significant digits, but none below [`STEP_NS`].
fn signed(ns: f64) -> String {
    let ms = (ns / STEP_NS).round() / (1e6 / STEP_NS);
    let sign = if ms > 0.0 { "+" } else { "" };
    if ms == 0.0 || ms.abs() >= 0.1 { format!("{sign}{}", units::digits(ms)) } else { format!("{sign}{ms:.4}") }
}

fn throughputs(found: &Reconciliation) -> Vec<Vec<String>> {
    let cell = |value: Option<f64>, unit: &str| value.map_or_else(|| "–".to_owned(), |v| units::human(v, unit));
    let row = |r: &Rated| {
        let unit = r.rate.unit;
        let what = if unit == "1/s" { "answers" } else { "tokens of answers" };
        let remark = match (r.total, found.seconds) {
            (Some(total), Some(seconds)) => {
                format!("{} {what} in {}", units::count(total as u64), units::duration(seconds * 1e9))
            }
            (None, _) => "an answer's count is not known".to_owned(),
            (_, None) => "nothing was answered".to_owned(),
        };
        vec![r.rate.name.to_owned(), cell(r.theirs, unit), cell(r.ours, unit), remark]
    };
    found.rates.iter().map(row).collect()
}

fn span(found: &Reconciliation) -> String {
    let ours = units::duration(found.window_seconds * 1e9);
    let theirs = found.seconds.map_or_else(|| "–".to_owned(), |s| units::duration(s * 1e9));
    format!("It divides by {theirs}, {}; ours is what arrived in the window of {ours}, by its length.", found.tool.span.about)
}

fn definitions(found: &Reconciliation) -> Vec<(&'static str, String)> {
    let approximate = found.metrics.iter().any(|m| m.approximate);
    let more = if approximate { "; beyond five million values a histogram's, within 0.1 %" } else { "" };
    let percentiles = ("percentiles", format!("{}{more}", found.tool.percentiles.about()));
    found.metrics.iter().map(|m| (m.metric.name, m.metric.about.to_owned())).chain([percentiles]).collect()
}

fn below(found: &Reconciliation, context: &TableContext) -> Vec<String> {
    let definitions = format!("definitions read in {}", found.tool.source);
    [definitions].into_iter().chain(context.below.iter().cloned()).chain([context.calibration_words().to_owned()]).collect()
}

/// One row per number, raw values.
fn rows(found: &Reconciliation) -> String {
    let mut text = String::new();
    let mut line = |kind: &str, name: &str, what: &str, unit: &str, value: Option<f64>, n: Option<u64>| {
        let cells = [found.tool.name, kind, name, what, unit].map(str::to_owned);
        let value = value.map_or_else(String::new, |v| v.to_string());
        csv::line(&mut text, cells.into_iter().chain([value, n.map_or_else(String::new, |n| n.to_string())]));
    };
    for m in &found.metrics {
        let name = m.metric.name;
        m.stats.iter().for_each(|(stat, value)| line("theirs", name, stat.name, "ns", *value, Some(m.n)));
        let Some(ours) = m.metric.ours else { continue };
        line("ours", name, &format!("{ours} mean"), "ns", m.ours, None);
        line("difference", name, "", "ns", m.difference(), None);
        m.causes.iter().for_each(|c| line("cause", name, c.name, "ns", Some(c.ns), None));
        line("rest", name, "", "ns", m.difference().map(|_| m.rest), None);
    }
    for r in &found.rates {
        line("theirs", r.rate.name, "", r.rate.unit, r.theirs, None);
        line("ours", r.rate.name, r.rate.ours.unwrap_or_default(), r.rate.unit, r.ours, None);
    }
    format!("tool,kind,name,what,unit,value,n\n{text}")
}

fn json(found: &Reconciliation, context: &TableContext) -> Value {
    let metric = |m: &Compared| {
        let stats: Map<String, Value> = m.stats.iter().map(|(stat, value)| (stat.name.to_owned(), json!(value))).collect();
        let causes: Vec<Value> = m.causes.iter().map(|c| json!({"name": c.name, "ns": c.ns})).collect();
        json!({
            "name": m.metric.name,
            "definition": m.metric.about,
            "theirs_ns": stats,
            "n": m.n,
            "approximate": m.approximate,
            "ours": m.metric.ours,
            "ours_mean_ns": m.ours,
            "difference_ns": m.difference(),
            "causes": causes,
            "rest_ns": m.difference().map(|_| m.rest),
        })
    };
    let rate = |r: &Rated| json!({"name": r.rate.name, "unit": r.rate.unit, "total": r.total, "theirs": r.theirs, "ours": r.rate.ours, "ours_value": r.ours});
    json!({
        "schema": SCHEMA,
        "run_id": context.run_id,
        "tool": found.tool.name,
        "source": found.tool.source,
        "percentiles": found.tool.percentiles.about(),
        "measured": found.measured,
        "answered": found.answered,
        "span_s": found.seconds,
        "span": found.tool.span.about,
        "window_s": found.window_seconds,
        "metrics": found.metrics.iter().map(metric).collect::<Vec<_>>(),
        "throughput": found.rates.iter().map(rate).collect::<Vec<_>>(),
        "not_in_records": found.tool.cannot,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;
    use nomoat_core::compat::{Reconciler, TOOLS, Tool};
    use nomoat_core::fold::fold;
    use nomoat_core::record::{RequestRecord, Status};
    use nomoat_core::report::{RunFacts, RunReport};
    use nomoat_core::schedule::Limit;
    use nomoat_core::units::Nanos;

    /// Twenty made-up answers of four chunks, a role 1 ms before the first, usage and the end after the last; one failed.
    fn found(tool: &'static Tool) -> (Reconciliation, RunReport) {
        let mut records: Vec<RequestRecord> = (0..21).map(|i| made_up::record(i, 4)).collect();
        for record in &mut records {
            let at = &mut record.at;
            let after = |moment: Option<Nanos>, us| moment.map(|m| m + Nanos::from_micros(us));
            at.conn_ready = after(at.start, 2);
            (at.first_choice, at.last_choice) = (after(at.first_token, -1000), at.last_token);
            (at.first_visible, at.last_event, at.terminator) = (at.first_token, after(at.last_token, 20), after(at.last_token, 25));
            record.empty_choices = 1;
        }
        records[20].status = Status::Timeout;
        let limit = Limit { duration: Some(Nanos::from_millis(200)), requests: None };
        let facts = RunFacts { limit, scheduled: 21, ..RunFacts::default() };
        let report = fold(&facts, &records, &[], &[]);
        let mut reconciler = Reconciler::new(tool);
        records.iter().for_each(|r| reconciler.add(r));
        (reconciler.finish(&report), report)
    }

    fn context() -> TableContext {
        TableContext { run_id: made_up::RUN_ID.into(), engine: "vllm".into(), version: "0.32.0".into(), ..TableContext::default() }
    }

    #[test]
    fn pictures() {
        for (tool, format, name) in [
            ("vllm", Format::Table, "reconcile_vllm_table"),
            ("guidellm", Format::Table, "reconcile_guidellm_table"),
            ("vllm", Format::Markdown, "reconcile_vllm_markdown"),
            ("vllm", Format::Csv, "reconcile_vllm_csv"),
            ("vllm", Format::Json, "reconcile_vllm_json"),
        ] {
            let (found, report) = found(Tool::find(tool).unwrap());
            insta::assert_snapshot!(name, render_reconciliation(&found, &report.validity, &context(), format));
        }
    }

    #[test]
    fn every_tool_fits_a_terminal() {
        for tool in TOOLS {
            let (found, report) = found(tool);
            let text = render_reconciliation(&found, &report.validity, &context(), Format::Table);
            for line in text.lines() {
                assert!(line.chars().count() <= super::super::grid::WIDTH || !line.contains("  "), "{}: {line}", tool.name);
            }
            for metric in tool.metrics {
                assert!(text.contains(metric.name), "{} without {}", tool.name, metric.name);
            }
        }
    }

    #[test]
    fn signed_milliseconds() {
        for (ns, text) in
            [(0.0, "0"), (-45e6, "-45.0"), (212_345.0, "+0.212"), (-523.0, "-0.0005"), (1_234_567_890.0, "+1,235"), (20.0, "0")]
        {
            assert_eq!(signed(ns), text);
        }
    }
}
