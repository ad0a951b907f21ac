//! An audit for a terminal, a document, a spreadsheet or a program.

use super::plan::Plan;
use super::rows::{Section, Value, sections};
use crate::exit::Failure;
use nomoat_results::Format;
use nomoat_truth::audit::{AskedLoad, Quantity, Side, Stat, Stated};
use serde_json::{Map, Value as Json, json};
use std::fmt::Write as _;

/// A coefficient of variation above which late sends alone do not explain the gaps of a constant rate.
const UNLIKE_CONSTANT: f64 = 0.5;

/// All of it in one of the formats.
pub fn show(format: Format, plan: &Plan, theirs: &Side, ours: &Side, notes: Vec<String>) -> Result<String, Failure> {
    let sections = sections(plan, theirs, ours);
    let names = [name(theirs), name(ours)];
    Ok(match format {
        Format::Table => table(plan, theirs, ours, &sections, &names, notes),
        Format::Markdown => markdown(plan, theirs, ours, &sections, &names, notes),
        Format::Csv => csv(&sections, &names),
        Format::Json => {
            serde_json::to_string_pretty(&json(plan, theirs, ours, &sections, &names, notes)).map_err(Failure::internal)? + "\n"
        }
    })
}

fn name(side: &Side) -> String {
    let version = side.reported.version.as_deref().map_or(String::new(), |v| format!(" {v}"));
    format!("{}{version}", side.reported.tool)
}

fn titles(plan: &Plan) -> [String; 2] {
    let script = &plan.script;
    let chunk = if script.tokens_per_chunk > 1 { format!(", {} tokens per chunk", script.tokens_per_chunk) } else { String::new() };
    [plan.words_of_load(), format!("server: TTFT {}, ITL {}{chunk}, jitter {}", script.ttft, script.itl, script.jitter)]
}

/// The answer in one sentence for each harness.
fn headline(side: &Side, name: &str, plan: &Plan) -> String {
    let error = |quantity, stat| {
        let found =
            side.stats.iter().find(|row| row.quantity == quantity && row.stat == stat).and_then(nomoat_truth::audit::StatRow::error);
        found.map_or_else(|| "unknown".to_owned(), |error| Value::Error(error).shown())
    };
    let rate = side.arrivals.rate_per_s.map_or_else(|| "an unknown rate".to_owned(), |rate| format!("{rate:.2}/s"));
    let asked = plan.load.rate().map_or(String::new(), |rate| format!(" of {rate} asked"));
    format!(
        "{name}: TTFT is off by {} (p99 {}), E2E by {} (p99 {}); {} of {} requests reached the server and the result, at {rate}{asked}",
        error(Quantity::Ttft, Stat::Mean),
        error(Quantity::Ttft, Stat::P99),
        error(Quantity::E2e, Stat::Mean),
        error(Quantity::E2e, Stat::P99),
        side.seen.reported,
        plan.requests,
    )
}

/// What must be known to read the numbers.
fn notes(plan: &Plan, theirs: &Side, ours: &Side, more: Vec<String>) -> Vec<String> {
    let mut notes = vec![];
    let tool = &theirs.reported.tool;
    for stated in &theirs.reported.stated {
        notes.push(format!(
            "{} of {tool} (`{}`): {}; its truth: {}",
            stated.quantity.name(),
            stated.name,
            stated.definition,
            stated.law.words()
        ));
    }
    notes.push(format!("{tool}: {}", theirs.how.words()));
    if !theirs.how.each() {
        notes.push(format!("{tool}: no single request is known, so its errors are differences of distributions only"));
    }
    notes.extend(theirs.reported.notes.iter().map(|note| format!("{tool}: {note}")));
    let seen = theirs.seen;
    if seen.before + seen.between + seen.after > 0 {
        let (all, reported) = (seen.all, seen.reported);
        notes.push(format!(
            "{tool}: the server saw {all} requests and the result has {reported}: what came before is a pre-flight or warm-up, what \
             came after was cut off; none of it is in any statistic here"
        ));
    }
    if seen.unseen > 0 {
        notes.push(format!("{tool} reports {} requests that the server did not see, or not under their id or time", seen.unseen));
    }
    if seen.other_tokens > 0 {
        notes.push(format!(
            "{tool} counts other tokens than the server wrote in {} answers; its TPOT is divided by them",
            seen.other_tokens
        ));
    }
    notes.push(match (&theirs.lateness, &ours.lateness) {
        (Err(reason), _) => format!("lateness is not known: {reason}"),
        (Ok(_), Err(reason)) => format!("lateness of nomoat is not known: {reason}"),
        (Ok(_), Ok(_)) => "lateness: arrival − (first arrival + i / rate); a first request that is late makes the others early".into(),
    });
    if let (AskedLoad::Constant(_), Some(cv)) = (plan.load, theirs.arrivals.cv.filter(|cv| *cv > UNLIKE_CONSTANT)) {
        notes.push(format!(
            "{tool}: gaps with a CV of {cv:.2} are no constant rate, whose CV is 0; a Poisson process has 1. If it drew them at random \
             although COMMAND asks for a constant rate, its lateness is that of its draw"
        ));
    }
    if let AskedLoad::Closed(_) = plan.load {
        notes.push("a closed loop has no asked rate or law of arrivals".into());
    }
    notes.extend(more);
    notes
}

fn table(plan: &Plan, theirs: &Side, ours: &Side, sections: &[Section], names: &[String; 2], more: Vec<String>) -> String {
    let [load, server] = titles(plan);
    let mut text = format!("how wrong is your benchmark: {} and {}\n{load}\n{server}\n", names[0], names[1]);
    for section in sections.iter().filter(|section| !section.rows.is_empty()) {
        let _ = writeln!(text, "\n{}\n", section.title);
        let several = section.columns.len() > 1;
        let first = if several { columns(section) } else { header(section, names) };
        let mut lines = vec![first];
        let mut last = "";
        for row in &section.rows {
            // A name is said once.
            let what = if row.what == last { "" } else { row.what };
            last = row.what;
            let cells = row.theirs.iter().chain(&row.ours).map(Value::shown);
            lines.push([what.to_owned(), row.stat.to_owned()].into_iter().chain(cells).collect());
        }
        aligned(&mut text, &lines, several.then_some(names));
    }
    text.push('\n');
    for (side, name) in [(theirs, &names[0]), (ours, &names[1])] {
        wrapped(&mut text, &headline(side, name, plan));
    }
    text.push('\n');
    for note in notes(plan, theirs, ours, more) {
        wrapped(&mut text, &note);
    }
    text
}

/// The columns' names with that of the harness: that alone where each has one column.
fn header(section: &Section, names: &[String; 2]) -> Vec<String> {
    let columns = names.iter().flat_map(|name| {
        let short = name.split(' ').next().unwrap_or_default();
        section.columns.iter().map(move |column| if section.columns.len() == 1 { name.clone() } else { format!("{short} {column}") })
    });
    [String::new(), String::new()].into_iter().chain(columns).collect()
}

/// The columns' names alone, under a line with those of the harnesses.
fn columns(section: &Section) -> Vec<String> {
    let twice = section.columns.iter().chain(section.columns).map(|column| (*column).to_owned());
    [String::new(), String::new()].into_iter().chain(twice).collect()
}

/// Two columns of words on the left, numbers on the right; over the numbers, the name of each half where `over` has them.
fn aligned(text: &mut String, lines: &[Vec<String>], over: Option<&[String; 2]>) {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..columns).map(width).collect();
    // The halves stand apart.
    let middle = 2 + (columns.saturating_sub(2)) / 2;
    if let Some(width) = widths.get_mut(middle).filter(|_| over.is_some()) {
        *width += 3;
    }
    if let Some([left, right]) = over {
        let span = |range: std::ops::Range<usize>| widths[range].iter().map(|width| width + 2).sum::<usize>();
        let (words, first, second) = (span(0..2) - 2, span(2..middle), span(middle..columns));
        let _ = writeln!(text, "{}{left:>first$}{right:>second$}", " ".repeat(words));
    }
    for line in lines {
        let mut row = String::new();
        for (index, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            match index {
                0 => row.extend([cell.as_str(), &pad]),
                1 => row.extend(["  ", cell, &pad]),
                _ => row.extend(["  ", &pad, cell]),
            }
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
}

/// Lines of at most 100 columns; words stay whole.
fn wrapped(text: &mut String, note: &str) {
    let mut line = String::new();
    for word in note.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 100 {
            let _ = writeln!(text, "{line}");
            line = "  ".to_owned() + word;
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    let _ = writeln!(text, "{line}");
}

fn markdown(plan: &Plan, theirs: &Side, ours: &Side, sections: &[Section], names: &[String; 2], more: Vec<String>) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "\\<").replace('*', "\\*");
    let [load, server] = titles(plan);
    let mut text = format!("**How wrong is your benchmark: {} and {}** · {load} · {server}\n", escape(&names[0]), escape(&names[1]));
    for section in sections.iter().filter(|section| !section.rows.is_empty()) {
        let header = header(section, names);
        let cells: Vec<String> = header.iter().map(|h| escape(h)).collect();
        let _ = writeln!(text, "\n{}\n\n| {} |\n|---|---|{}", section.title, cells.join(" | "), "---:|".repeat(header.len() - 2));
        for row in &section.rows {
            let cells: Vec<String> = row.theirs.iter().chain(&row.ours).map(Value::shown).collect();
            let _ = writeln!(text, "| {} | {} | {} |", row.what, row.stat, cells.join(" | "));
        }
    }
    text.push('\n');
    let headlines = [headline(theirs, &names[0], plan), headline(ours, &names[1], plan)];
    for note in headlines.into_iter().chain(notes(plan, theirs, ours, more)) {
        let _ = writeln!(text, "- {}", escape(&note));
    }
    text
}

fn csv(sections: &[Section], names: &[String; 2]) -> String {
    let mut text = String::from("section,what,stat,harness,column,value,unit\n");
    let quoted = |cell: &str| if cell.contains([',', '"', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() };
    for section in sections {
        for row in &section.rows {
            for (name, cells) in names.iter().zip([&row.theirs, &row.ours]) {
                for (column, value) in section.columns.iter().zip(cells) {
                    let raw = value.raw().map_or_else(String::new, |v| v.to_string());
                    let _ = writeln!(
                        text,
                        "{},{},{},{},{column},{raw},{}",
                        section.name,
                        quoted(row.what),
                        quoted(row.stat),
                        quoted(name),
                        value.unit()
                    );
                }
            }
        }
    }
    text
}

fn json(plan: &Plan, theirs: &Side, ours: &Side, sections: &[Section], names: &[String; 2], more: Vec<String>) -> Json {
    let definition = |s: &Stated| json!({"what": s.quantity.name(), "name": s.name, "definition": s.definition, "truth": s.law.words()});
    let harness = |side: &Side, index: usize| {
        let mut values = Map::new();
        for section in sections {
            let rows = section.rows.iter().map(|row| {
                let cells = if index == 0 { &row.theirs } else { &row.ours };
                let unit = cells.iter().map(Value::unit).find(|unit| !unit.is_empty()).unwrap_or_default();
                let mut object = Map::new();
                object.insert("what".into(), row.what.into());
                object.insert("stat".into(), row.stat.into());
                object.insert("unit".into(), unit.into());
                for (column, value) in section.columns.iter().zip(cells) {
                    object.insert((*column).to_owned(), value.raw().map_or(Json::Null, Json::from));
                }
                Json::Object(object)
            });
            values.insert(section.name.to_owned(), rows.collect());
        }
        json!({
            "tool": side.reported.tool,
            "version": side.reported.version,
            "found": side.how.words(),
            "definitions": side.reported.stated.iter().map(definition).collect::<Vec<_>>(),
            "lateness_unknown": side.lateness.as_ref().err(),
            "sections": values,
            "headline": headline(side, &names[index], plan),
        })
    };
    json!({
        "schema": "audit/1",
        "load": plan.words_of_load(),
        "script": plan.script,
        "harnesses": [harness(theirs, 0), harness(ours, 1)],
        "notes": notes(plan, theirs, ours, more),
    })
}
