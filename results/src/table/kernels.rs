//! A measurement of kernels as tables: ceilings, rows grouped by problem, how times grow, and what is absent.

use super::grid::{Col, Side, grid, wrap};
use super::{Format, csv as comma, markdown, units};
use crate::kernels::{AbsentWire, CeilingWire, KernelRun, RowWire};

/// Prints a measurement. JSON is exactly what is stored.
pub fn render_kernels(run: &KernelRun, format: Format) -> String {
    match format {
        Format::Json => run.to_json(),
        Format::Csv => csv(run),
        Format::Table => terminal(run),
        Format::Markdown => document(run),
    }
}

const HEADER: [&str; 8] = ["", "cache", "median", "spread", "GB/s", "TFLOP/s", "of limit", "error"];
const COLUMNS: [Col; 8] = [
    Col(14, Side::Left),
    Col(5, Side::Left),
    Col(9, Side::Right),
    Col(7, Side::Right),
    Col(8, Side::Right),
    Col(9, Side::Right),
    Col(8, Side::Right),
    Col(8, Side::Right),
];
/// Spread between quartiles beyond which a median says little.
const UNSTEADY: f64 = 0.05;
const GROWTH: [&str; 6] = ["", "over", "exponent", "± SE", "theory", "points"];

fn terminal(run: &KernelRun) -> String {
    let mut text = title(run).iter().map(|line| wrap(line, 2)).collect::<String>();
    for (kernel, shape, rows) in groups(&run.rows) {
        text.push('\n');
        text.push_str(&wrap(&format!("{kernel}  {}", about(run, rows[0], &shape)), 4));
        let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(run, row)).collect();
        text.push_str(&grid(&COLUMNS, &HEADER, &cells));
    }
    let grown = growth(run);
    if !grown.is_empty() {
        text.push_str("\nHow times grow: exponent of the size, from a line through logarithms\n");
        let columns =
            [Col(26, Side::Left), Col(5, Side::Left), Col(9, Side::Right), Col(7, Side::Right), Col(7, Side::Right), Col(7, Side::Right)];
        text.push_str(&grid(&columns, &GROWTH, &grown));
        run.growth.iter().for_each(|growth| text.push_str(&wrap(&format!("  {}: {} ({})", growth.kernel, growth.claim, growth.shape), 4)));
    }
    text.push('\n');
    ending(run).iter().for_each(|line| text.push_str(&wrap(line, 4)));
    text
}

fn document(run: &KernelRun) -> String {
    let mut text = format!("**{}**\n", markdown::escape(&title(run).join(" · ")));
    for (kernel, shape, rows) in groups(&run.rows) {
        let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(run, row)).collect();
        let about = about(run, rows[0], &shape);
        text.extend(["\n**", kernel, "** ", &markdown::escape(&about), "\n\n", &markdown::table(&HEADER, &cells, 2)]);
    }
    let grown = growth(run);
    if !grown.is_empty() {
        text.extend(["\n**How times grow**: exponent of the size\n\n", &markdown::table(&GROWTH, &grown, 2)]);
    }
    text.push('\n');
    ending(run).iter().for_each(|line| text.extend(["- ", &markdown::escape(line), "\n"]));
    text
}

/// One line per row, raw values.
fn csv(run: &KernelRun) -> String {
    let mut text = String::from(
        "device,kernel,variant,shape,cache,median_s,spread,bytes,flops,bytes_per_s,flops_per_s,limit,share_of_limit,relative_error,cpu_s\n",
    );
    for row in &run.rows {
        let (median, limit) = (row.median_s(), run.ceilings.limit(&row.cost));
        let words = [
            run.device.id.clone(),
            row.kernel.clone(),
            row.variant.clone(),
            row.words(),
            row.cache.clone(),
            median.to_string(),
            row.spread().to_string(),
            row.cost.bytes().to_string(),
            row.cost.flops().to_string(),
            (row.cost.bytes() / median).to_string(),
            (row.cost.flops() / median).to_string(),
            limit.map_or(String::new(), |(side, _)| side.to_owned()),
            limit.map_or(String::new(), |(_, least)| (least / median).to_string()),
            row.check.relative_error.to_string(),
            row.cpu_s.map_or(String::new(), |seconds| seconds.to_string()),
        ];
        comma::line(&mut text, words.into_iter());
    }
    text
}

fn title(run: &KernelRun) -> Vec<String> {
    let device = &run.device;
    let rate = |ceiling: &Option<CeilingWire>, unit: f64, word: &str| {
        ceiling.as_ref().map_or_else(|| "not measured".into(), |c| format!("{} {word} ({})", units::digits(c.per_s / unit), c.variant))
    };
    let c = &run.ceilings;
    vec![
        format!(
            "{} · {}, {}, {} units, last cache {}",
            device.id,
            device.name,
            device.arch,
            device.units,
            units::bytes(device.cache_bytes as f64)
        ),
        format!(
            "measured ceilings: copy {}, read {}, matrix product {}",
            rate(&c.copy, 1e9, "GB/s"),
            rate(&c.read, 1e9, "GB/s"),
            rate(&c.matrix, 1e12, "TFLOP/s")
        ),
    ]
}

/// Rows of one problem, in the order of the run.
fn groups(rows: &[RowWire]) -> Vec<(&str, String, Vec<&RowWire>)> {
    let mut groups: Vec<(&str, String, Vec<&RowWire>)> = vec![];
    for row in rows {
        let shape = row.words();
        match groups.iter_mut().find(|(kernel, known, _)| *kernel == row.kernel && *known == shape) {
            Some((_, _, group)) => group.push(row),
            None => groups.push((&row.kernel, shape, vec![row])),
        }
    }
    groups
}

/// The shape, its intensity and what limits it.
fn about(run: &KernelRun, row: &RowWire, shape: &str) -> String {
    let cost = &row.cost;
    let Some((side, _)) = run.ceilings.limit(cost) else { return shape.to_owned() };
    format!("{shape} · {} FLOP/byte, {}, bound by {side}", units::digits(cost.flops() / cost.bytes()), units::bytes(cost.bytes()))
}

fn cells(run: &KernelRun, row: &RowWire) -> Vec<String> {
    let median = row.median_s();
    let rate = |amount: f64, unit: f64| if amount > 0.0 { units::digits(amount / median / unit) } else { "–".into() };
    vec![
        row.variant.clone(),
        row.cache.clone(),
        units::duration(median * 1e9),
        share(row.spread()),
        rate(row.cost.bytes(), 1e9),
        rate(row.cost.flops(), 1e12),
        run.ceilings.limit(&row.cost).map_or_else(|| "–".into(), |(_, least)| share(least / median)),
        if row.check.relative_error == 0.0 { "exact".into() } else { format!("{:.1e}", row.check.relative_error) },
    ]
}

/// A share to a tenth of a per cent: finer than any of these is repeatable.
fn share(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn growth(run: &KernelRun) -> Vec<Vec<String>> {
    let exact = |value: f64| format!("{value:.2}");
    run.growth
        .iter()
        .map(|growth| {
            vec![
                format!("{} {}", growth.kernel, growth.variant),
                growth.over.clone(),
                growth.exponent.map_or_else(|| "–".into(), exact),
                growth.standard_error.map_or_else(|| "–".into(), exact),
                exact(growth.expected),
                growth.points.len().to_string(),
            ]
        })
        .collect()
}

fn ending(run: &KernelRun) -> Vec<String> {
    let mut lines = vec![];
    for (kind, words) in [("wrong", "WRONG, not timed"), ("failed", "FAILED"), ("unfit", "not for this device or shape")] {
        for (why, whose) in alike(run.absent.iter().filter(|absent| absent.kind == kind)) {
            lines.push(format!("{words}: {}: {why}", whose.join(", ")));
        }
    }
    let unsteady = run.rows.iter().filter(|row| row.spread() > UNSTEADY).count();
    if unsteady > 0 {
        lines.push(format!(
            "UNSTEADY: {unsteady} of {} rows spread by more than {:.0} % (load average {} at the beginning): repeat on a quiet host before believing them",
            run.rows.len(),
            UNSTEADY * 100.0,
            units::digits(run.host.load1)
        ));
    }
    let compiled: f64 = run.rows.iter().map(|row| row.compile.seconds).sum();
    let cached: u32 = run.rows.iter().map(|row| row.compile.cached).sum();
    if compiled > 0.0 || cached > 0 {
        lines.push(format!("compiling the timed shapes took {}, {cached} functions came from the cache", units::duration(compiled * 1e9)));
    }
    let spilled = run.rows.iter().filter(|row| row.compile.spilled_bytes.is_some_and(|bytes| bytes > 0));
    for (shape, row) in spilled.map(|row| (row.words(), row)) {
        lines.push(format!(
            "registers did not suffice: {} {} {shape}: {} bytes of a thread",
            row.kernel,
            row.variant,
            row.compile.spilled_bytes.unwrap_or(0)
        ));
    }
    lines.push(
        "GB/s and TFLOP/s count the least bytes and operations of the problem; of limit: least time by the measured ceilings ÷ median"
            .into(),
    );
    lines.push("cold: operands cannot be in the last cache; hot: they can; spread: between quartiles, of the median; error: relative L2 against f64".into());
    let driver = if run.device.driver == "none" { String::new() } else { format!("{}, ", run.device.driver) };
    lines.push(format!(
        "{driver}{}; host: {} cores, {}, {}, kernel {}, load average {}",
        run.device.compiler,
        run.host.cores,
        run.host.cpu,
        run.host.os,
        run.host.kernel,
        units::digits(run.host.load1)
    ));
    lines
}

/// Absences with the same reason, together.
fn alike<'a>(absent: impl Iterator<Item = &'a AbsentWire>) -> Vec<(&'a str, Vec<String>)> {
    let mut groups: Vec<(&str, Vec<String>)> = vec![];
    for one in absent {
        let whose =
            [Some(format!("{} {}", one.kernel, one.variant)), one.shape.clone()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        match groups.iter_mut().find(|(why, _)| *why == one.why) {
            Some((_, group)) => group.push(whose),
            None => groups.push((&one.why, vec![whose])),
        }
    }
    groups
}
