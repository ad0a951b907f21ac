//! What runs cost: hardware of one's own and APIs beside each other, break-even, the cheapest load that meets the service level.

mod json;
mod plain;

use super::grid::{Col, Side, grid, wrap};
use super::{Format, units};
use crate::cost::{ApiCost, AtSlo, BreakEven, Hosted, Per, RunCost, Served, break_even};
use crate::date;
use crate::json::pretty;
use json::as_json;
use nomoat_core::cost::pool;
use plain::{as_csv, as_markdown};

/// Runs and how to look at what they cost.
#[derive(Clone, PartialEq, Debug)]
pub struct CostReport {
    /// The runs, in the order they were given.
    pub runs: Vec<RunCost>,
    /// Shares of the time that hardware is used: 1 first.
    pub utilisations: Vec<f64>,
    /// Seconds of a switch, and tokens served between two of them.
    pub cold_start: Option<(f64, f64)>,
    /// The cheapest load that meets the service level; empty for a single run.
    pub at_slo: Vec<AtSlo>,
    /// The service level in words; `None` where there is none.
    pub slo: Option<String>,
    /// Share of requests that must meet it.
    pub attainment: f64,
    /// What a reader should know: prices that are old, rows that a file of the user's replaced.
    pub notes: Vec<String>,
}

/// One row of prices: by which price, on which assumption, what comes out.
struct Line<'a> {
    kind: &'static str,
    price: String,
    basis: String,
    usd: Option<f64>,
    per: Per,
    why: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn hosted(price: String, basis: String, usd: f64, served: &Served) -> Self {
        Self { kind: "hosted", price, basis, usd: Some(usd), per: Hosted::per(usd, served), why: None }
    }

    fn api(api: &'a ApiCost, price: String, basis: String, usd: &'a Result<f64, String>, served: &Served) -> Self {
        let per = usd.as_ref().map_or_else(|_| Per::default(), |usd| api.per(*usd, served));
        Self { kind: "api", price, basis, usd: usd.as_ref().ok().copied(), per, why: usd.as_ref().err().map(String::as_str) }
    }

    fn cells(&self) -> Vec<String> {
        let money = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), units::money);
        let Per { output, good_output, total, request, chars } = self.per;
        let mut cells = vec![self.price.clone(), self.basis.clone()];
        cells.extend([output, good_output, total, request.map(|usd| usd * 1e3), chars].map(money));
        cells
    }
}

/// Every row of a run: of each hardware its price, the ends of its band, and what it is at each utilisation; of each API as measured, and had
/// nothing been cached.
fn lines<'a>(run: &'a RunCost, utilisations: &[f64]) -> Vec<Line<'a>> {
    let mut lines = vec![];
    for hosted in &run.hosted {
        let hour = hosted.usd_per_device_hour();
        let full = |usd: f64, name: String| Line::hosted(name, "used 100 %".into(), usd, &run.served);
        lines.push(full(hosted.usd.median, format!("{}, {}/h", hosted.name, units::money(hour.median))));
        for utilisation in utilisations.iter().filter(|u| **u < 1.0) {
            let usd = pool::at_utilisation(hosted.usd.median, *utilisation);
            lines.push(Line::hosted(String::new(), format!("used {}", whole(*utilisation)), usd, &run.served));
        }
        // After what belongs to the middle of the band, so that no row without a name stands under an end of it.
        if hosted.usd.is_wide() {
            lines.push(full(hosted.usd.low, format!("  low, {}/h", units::money(hour.low))));
            lines.push(full(hosted.usd.high, format!("  high, {}/h", units::money(hour.high))));
        }
    }
    for api in &run.apis {
        let cached = api.cached_share();
        let share = cached.map_or_else(|| "cached ?".to_owned(), |share| format!("cached {}", whole(share)));
        lines.push(Line::api(api, api.id.clone(), share, &api.usd, &run.served));
        if cached.is_none_or(|share| share > 0.0) {
            lines.push(Line::api(api, String::new(), "cached 0 %".into(), &api.usd_uncached, &run.served));
        }
    }
    lines
}

const HEADER: [&str; 7] = ["USD per", "", "M output", "M good output", "M tokens", "1k requests", "M characters"];

/// A share in whole per cent; below one, as precise as it takes.
fn percent(share: f64) -> String {
    if share >= 0.01 { format!("{:.0} %", share * 100.0) } else { units::percent(share) }
}

/// A share that somebody named: 70 %, 33.3 %.
fn whole(share: f64) -> String {
    let hundredths = share * 100.0;
    if (hundredths - hundredths.round()).abs() < 1e-9 { format!("{hundredths:.0} %") } else { units::percent(share) }
}

/// Prints what runs cost.
pub fn render_cost(report: &CostReport, format: Format) -> String {
    match format {
        Format::Table => text(report),
        Format::Markdown => as_markdown(report),
        Format::Csv => as_csv(report),
        Format::Json => pretty(&as_json(report)),
    }
}

fn requests_words(n: u64) -> String {
    if n == 1 { "1 request".into() } else { format!("{} requests", units::count(n)) }
}

fn served_words(run: &RunCost) -> String {
    let served = &run.served;
    let cached =
        run.apis.first().and_then(ApiCost::cached_share).map_or_else(String::new, |share| format!(", {} cached", units::percent(share)));
    let input = served
        .input
        .map_or_else(|| "prompt tokens not counted".to_owned(), |input| format!("{} prompt tokens{cached}", units::count(input)));
    let good =
        served.good_output.map_or_else(String::new, |good| format!(" ({} of requests that met the service level)", units::count(good)));
    let chars = served.chars_per_token.map_or_else(String::new, |chars| format!(", {} characters a token", units::digits(chars)));
    format!(
        "{} · {} to {} · {}\n{} of {} answered, {} answers in a window of {}: {} output tokens{good}{chars}, {input}",
        run.run_id,
        date::moment(run.span.0),
        date::moment(run.span.1),
        run.state,
        units::count(served.answered),
        units::count(served.measured),
        units::count(served.ended),
        units::human(served.seconds, "s"),
        units::count(served.output),
    )
}

/// What stands under the prices of a run.
fn below(run: &RunCost, report: &CostReport) -> Vec<String> {
    let mut said: Vec<String> = vec![];
    let mut add = |line: String| {
        if !said.contains(&line) {
            said.push(line);
        }
    };
    if run.served.chars_per_token.is_none() {
        add("no cost by characters: no answer has both counted tokens and text; an engine that hands over token ids has none".to_owned());
    }
    for hosted in &run.hosted {
        let pools: Vec<String> = hosted
            .pools
            .iter()
            .map(|pool| {
                let role = if pool.role.is_empty() { String::new() } else { format!("{} ", pool.role) };
                format!("{role}{} × {}/h", pool.devices, units::money(pool.usd_per_device_hour.median))
            })
            .collect();
        add(format!(
            "{}: whole pools, idle or not: {}; {} for the window",
            hosted.name,
            pools.join(" + "),
            units::money(hosted.usd.median)
        ));
        match hosted.attributed(&run.served) {
            Ok((input, output)) => add(format!(
                "{}, attributed: {} per M prompt tokens (prefill pools) and {} per M output tokens (decode pools), which sum to the bill",
                hosted.name,
                units::money(input),
                units::money(output)
            )),
            Err(why) => {
                if let Some(full) = hosted.full_bill_per_input(&run.served) {
                    add(format!(
                        "{}, full bill: {} per M prompt tokens is the whole bill again, not to be added to that of output; {why}",
                        hosted.name,
                        units::money(full)
                    ));
                }
            }
        }
        if let Some((seconds, tokens)) = report.cold_start {
            let surcharge = pool::cold_start(seconds, pool::usd_per_hour(&hosted.pools).median, tokens) * 1e6;
            add(format!(
                "{}, cold start: {} more per M tokens (a switch of {} for each {} tokens)",
                hosted.name,
                units::money(surcharge),
                units::human(seconds, "s"),
                units::count(tokens as u64)
            ));
        }
        hosted.prices.iter().cloned().for_each(&mut add);
    }
    for api in &run.apis {
        if let Err(why) = &api.usd {
            add(format!("{} has no cost: {why}; a file of your own may say more (--prices FILE.toml)", api.id));
        }
        if let Some(effective) = api.effective_input() {
            add(format!("{}: {} per M prompt tokens of all classes", api.id, units::money(effective)));
        }
        if api.bill.failed_unknown > 0 {
            add(format!("{}: a lower bound, {} failed requests do not tell what they cost", api.id, api.bill.failed_unknown));
        }
        for (when, requests, prices) in &api.rates {
            add(format!("{}: {} at {prices} ({when})", api.id, requests_words(*requests)));
        }
        api.prices.iter().cloned().for_each(&mut add);
    }
    said
}

fn meets(run: &RunCost, utilisations: &[f64]) -> Vec<Result<BreakEven, String>> {
    let pair = |hosted: &Hosted, api: &ApiCost| {
        break_even(hosted, api, &run.served, utilisations).map_err(|why| format!("{} against {}: {why}", hosted.name, api.id))
    };
    run.hosted.iter().flat_map(|hosted| run.apis.iter().map(move |api| pair(hosted, api))).collect()
}

fn cheaper(even: &BreakEven) -> String {
    match even.utilisation {
        None => "–".into(),
        Some(needed) if needed > 1.0 => format!("never ({} × too slow)", units::digits(needed)),
        Some(needed) => match even.utilisation_band {
            Some((low, high)) if high > 1.0 => format!("{} ({} to never)", percent(needed), percent(low)),
            Some((low, high)) => format!("{} ({:.0}–{})", percent(needed), low * 100.0, percent(high)),
            None => percent(needed),
        },
    }
}

fn even_rows(run: &RunCost, report: &CostReport) -> (Vec<String>, Vec<Vec<String>>, Vec<String>) {
    let mut header = vec!["hardware".to_owned(), "API".to_owned()];
    header.extend(report.utilisations.iter().map(|u| whole(*u)));
    header.extend(["measured".to_owned(), "cheaper from".to_owned()]);
    let (mut rows, mut reasons) = (vec![], vec![]);
    for even in meets(run, &report.utilisations) {
        match even {
            Ok(even) => {
                let mut row = vec![even.hosted.clone(), even.api.clone()];
                row.extend(even.at.iter().map(|(_, rate)| units::digits(*rate)));
                row.push(even.measured.map_or_else(|| "–".into(), units::digits));
                row.push(cheaper(&even));
                rows.push(row);
            }
            // What has no cost has no break-even, and its reason stands below.
            Err(_) if run.apis.iter().any(|api| api.usd.is_err()) => {}
            Err(why) => reasons.push(format!("no break-even of {why}")),
        }
    }
    (header, rows, reasons)
}

const EVEN: &str = "Break-even for this workload: prompt and output tokens per second and device at which hardware costs what the API does, by the share of time it is used; measured; the share from which hardware is cheaper";

fn slo_title(report: &CostReport) -> String {
    let slo = report.slo.as_deref().unwrap_or("no service level");
    format!("Cost at the service level: {slo}, met by at least {} of the requests", whole(report.attainment))
}

/// The best point of a price in words.
fn best(at: &AtSlo) -> String {
    match &at.best {
        None => "∞ (no operating point)".into(),
        Some(point) => {
            let band = if point.usd.is_wide() {
                format!(", {}–{} over the price's band", units::money(point.usd.low), units::money(point.usd.high))
            } else {
                String::new()
            };
            let runs = match point.interval {
                Some((low, high)) => format!(", {}–{} (95 %) over {} runs", units::money(low), units::money(high), point.runs),
                None => ", one run: no interval of its throughput".into(),
            };
            format!("{} per M good output at {}{band}{runs}", units::money(point.usd.median), point.load)
        }
    }
}

const TOKENIZERS: &str = "tokens are those of the tokenizer that was measured; another model's differ, its characters and requests less so";

fn text(report: &CostReport) -> String {
    const COLUMNS: [Col; 7] = [
        Col(32, Side::Left),
        Col(11, Side::Left),
        Col(9, Side::Right),
        Col(10, Side::Right),
        Col(9, Side::Right),
        Col(11, Side::Right),
        Col(9, Side::Right),
    ];
    let header = ["USD per", "", "M output", "M good out", "M tokens", "1k requests", "M chars"];
    let mut text = String::new();
    let mut arm = None;
    for run in &report.runs {
        if arm != Some(&run.arm) {
            text.push_str(&wrap(&run.arm, 2));
            arm = Some(&run.arm);
        }
        text.push('\n');
        text.push_str(&wrap(&run.load, 2));
        served_words(run).lines().for_each(|line| text.push_str(&wrap(line, 2)));
        text.push('\n');
        let rows: Vec<Vec<String>> = lines(run, &report.utilisations).iter().map(Line::cells).collect();
        text.push_str(&grid(&COLUMNS, &header, &rows));
        let (header, rows, mut notes) = even_rows(run, report);
        if !rows.is_empty() {
            text.push('\n');
            text.push_str(&wrap(EVEN, 2));
            text.push('\n');
            let mut columns = vec![Col(21, Side::Left), Col(25, Side::Left)];
            columns.extend(report.utilisations.iter().map(|_| Col(7, Side::Right)));
            columns.extend([Col(8, Side::Right), Col(16, Side::Left)]);
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            text.push_str(&grid(&columns, &header, &rows));
        }
        text.push('\n');
        notes.extend(below(run, report));
        notes.iter().for_each(|line| text.push_str(&wrap(line, 4)));
    }
    if !report.at_slo.is_empty() {
        text.push('\n');
        text.push_str(&wrap(&slo_title(report), 2));
        for at in &report.at_slo {
            text.push_str(&wrap(&format!("  {}, {}: {}", at.arm, at.price, best(at)), 6));
            at.others.iter().for_each(|why| text.push_str(&wrap(&format!("    {why}"), 6)));
        }
    }
    text.push('\n');
    for note in report.notes.iter().map(String::as_str).chain(report.runs.iter().any(|run| !run.apis.is_empty()).then_some(TOKENIZERS)) {
        text.push_str(&wrap(note, 4));
    }
    text
}
