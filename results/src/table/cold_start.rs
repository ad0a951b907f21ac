//! Cold starts as tables: the parts of a switch over all cycles, and what there is to know about them.

use super::grid::{Col, Side, grid, wrap};
use super::{Format, csv as comma, markdown};
use crate::cold_start::{ColdStartRun, CycleWire, PARTS};
use nomoat_core::units::Nanos;
use std::collections::BTreeMap;

/// Prints cold starts. JSON is exactly what is stored.
pub fn render_cold_start(run: &ColdStartRun, format: Format) -> String {
    match format {
        Format::Json => run.to_json(),
        Format::Csv => csv(run),
        Format::Table => terminal(run),
        Format::Markdown => document(run),
    }
}

const HEADER: [&str; 5] = ["", "mean", "least", "most", "cycles"];
const COLUMNS: [Col; 5] = [Col(20, Side::Left), Col(10, Side::Right), Col(10, Side::Right), Col(10, Side::Right), Col(7, Side::Right)];

fn terminal(run: &ColdStartRun) -> String {
    let mut text: String = title(run).iter().map(|line| wrap(line, 2)).collect();
    text.push('\n');
    text.push_str(&grid(&COLUMNS, &HEADER, &rows(run)));
    text.push('\n');
    ending(run).iter().for_each(|line| text.push_str(&wrap(line, 4)));
    text
}

fn document(run: &ColdStartRun) -> String {
    let mut text = format!("**{}**\n\n", markdown::escape(&title(run).join(" · ")));
    text.push_str(&markdown::table(&HEADER, &rows(run), 1));
    text.push('\n');
    ending(run).iter().for_each(|line| text.extend(["- ", &markdown::escape(line), "\n"]));
    text
}

/// One line per cycle, raw values.
fn csv(run: &ColdStartRun) -> String {
    let mut text = String::new();
    let header = [
        "id",
        "engine",
        "version",
        "model",
        "action",
        "cycle",
        "cool_ns",
        "api_ns",
        "port_open_ns",
        "ready_ns",
        "first_token_ns",
        "refused",
        "lost",
        "warm_token_ns",
        "resident_warm_bytes",
        "resident_cold_bytes",
    ];
    comma::line(&mut text, header.iter().map(ToString::to_string));
    let number = |value: Option<i64>| value.map_or_else(String::new, |v| v.to_string());
    let bytes = |value: Option<u64>| value.map_or_else(String::new, |v| v.to_string());
    for (index, c) in run.cycles.iter().enumerate() {
        let cells = [
            run.id.clone(),
            run.engine.name.clone(),
            run.engine.version.clone(),
            run.engine.model.clone(),
            run.action.clone(),
            (index + 1).to_string(),
            c.cool_ns.to_string(),
            number(c.api_ns),
            number(c.port_open_ns),
            number(c.ready_ns),
            c.first_token_ns.to_string(),
            c.refused.values().sum::<u32>().to_string(),
            c.lost.to_string(),
            c.warm_token_ns.to_string(),
            bytes(c.resident_warm_bytes),
            bytes(c.resident_cold_bytes),
        ];
        comma::line(&mut text, cells.into_iter());
    }
    text
}

fn title(run: &ColdStartRun) -> [String; 2] {
    let engine = format!("{} {}", run.engine.name, run.engine.version);
    [
        format!("{} · {}", engine.trim(), run.engine.model),
        format!("cold start by {} · {} of {} cycles", run.action, run.cycles.len(), run.wanted),
    ]
}

fn rows(run: &ColdStartRun) -> Vec<Vec<String>> {
    let time = |ns: i64| Nanos(ns).to_string();
    let row = |name: &str, shown: [String; 3], n: usize| {
        let [mean, min, max] = shown;
        vec![name.to_owned(), mean, min, max, n.to_string()]
    };
    let parts = PARTS.iter().map(|(name, of)| match run.spread(of) {
        // A mean of nanoseconds, shown to three digits at most: the part of one is nobody's loss.
        Some(s) => row(name, [time(s.mean.round() as i64), time(s.min), time(s.max)], s.n),
        None => row(name, ["–", "–", "–"].map(str::to_owned), 0),
    });
    let returned = |c: &CycleWire| Some(c.resident_warm_bytes? as i64 - c.resident_cold_bytes? as i64);
    let memory = run.spread(returned).map(|s| {
        let mib = |bytes: f64| format!("{:.0} MiB", bytes / f64::from(1 << 20));
        row("memory returned", [mib(s.mean), mib(s.min as f64), mib(s.max as f64)], s.n)
    });
    parts.chain(memory).collect()
}

/// What stands under the table.
fn ending(run: &ColdStartRun) -> Vec<String> {
    let list = |words: &[String]| words.join(", then ");
    let mut lines = vec![];
    lines.push(format!(
        "cold: {}; {}",
        if run.cooled_by.is_empty() { "it was stopped".to_owned() } else { list(&run.cooled_by) },
        run.cold_by.as_ref().map_or("it has no page that shows the state, so it was believed".into(), |by| format!("shown by {by}"))
    ));
    lines.push(format!(
        "back: {}; {}",
        if run.warmed_by.is_empty() { "by the first request".to_owned() } else { list(&run.warmed_by) },
        if run.ready_by.is_empty() {
            "nothing but an answer shows it".to_owned()
        } else {
            format!("ready when {}", run.ready_by.join(" and "))
        }
    ));
    lines.push(
        "API calls, port open, ready and first token count from the beginning of bringing it back; refused attempts are inside".into(),
    );
    let mut refused: BTreeMap<u16, u32> = BTreeMap::new();
    run.cycles.iter().flat_map(|c| &c.refused).for_each(|(status, n)| *refused.entry(*status).or_default() += n);
    let lost: u32 = run.cycles.iter().map(|c| c.lost).sum();
    let mut tried: Vec<String> = refused.iter().map(|(status, n)| format!("{n} × HTTP {status}")).collect();
    tried.extend((lost > 0).then(|| format!("{lost} × no answer")));
    lines.push(if tried.is_empty() {
        "no request was refused on the way".into()
    } else {
        format!("on the way, over all cycles: {}", tried.join(", "))
    });
    lines.extend(run.stopped_because.iter().map(|why| format!("not all cycles were completed: {why}")));
    lines.push(format!(
        "host: {} cores, {}, {}; load before {:.2} · nomoat {}",
        run.host.cores, run.host.cpu, run.host.os, run.host.load1, run.nomoat
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::cold_start;

    #[test]
    fn pictures() {
        insta::assert_snapshot!("cold_start_table", render_cold_start(&cold_start(), Format::Table));
        insta::assert_snapshot!("cold_start_markdown", render_cold_start(&cold_start(), Format::Markdown));
        insta::assert_snapshot!("cold_start_csv", render_cold_start(&cold_start(), Format::Csv));
        assert_eq!(render_cold_start(&cold_start(), Format::Json), cold_start().to_json());
    }
}
