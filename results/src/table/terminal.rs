//! One report on a terminal: what was measured, five small tables with the same edges, the verdict, and what to do next.

use super::grid::{Col, Side, grid, wrap};
use super::notes::Notes;
use super::{TableContext, units, verdict};
use super::{energy, fidelity};
use crate::words::Word;
use nomoat_core::record::{ErrorCode, Status};
use nomoat_core::report::{MetricRow, Population, RunReport, Stat};
use nomoat_core::validity::Severity;

/// The latency rows: metric, and what it is called.
const LATENCIES: [(&str, &str); 8] = [
    ("ttft", "TTFT, from due"),
    ("ttft_service", "TTFT, from sent"),
    ("ttfo", "First visible token"),
    ("tpot", "TPOT"),
    ("itl", "ITL"),
    ("icl", "ICL (between chunks)"),
    ("e2e", "E2E, from due"),
    ("dispatch_lag", "Dispatch lag (ours)"),
];
/// Rows that say nothing where they equal another: without reasoning the first visible token is the first one, and with one token
/// a chunk the gaps between chunks are those between tokens.
const TWINS: [(&str, &str); 2] = [("ttfo", "ttft"), ("icl", "itl")];
/// Where intervals are shown: one metric of each kind, or they would fill the page. All of them are in the other formats.
const INTERVALS: [&str; 3] = ["ttft", "tpot", "e2e"];
/// Where a second row counts failures, for the same reason.
const WITH_FAILURES: [&str; 2] = ["ttft", "e2e"];
const LATENCY_STATS: [Stat; 5] = [Stat::P50, Stat::P90, Stat::P99, Stat::Mean, Stat::Max];
const LATENCY_COLUMNS: [Col; 7] = [
    Col(21, Side::Left),
    Col(12, Side::Right),
    Col(12, Side::Right),
    Col(12, Side::Right),
    Col(12, Side::Right),
    Col(12, Side::Right),
    Col(12, Side::Right),
];
const ENDPOINT_COLUMNS: [Col; 6] =
    [Col(38, Side::Left), Col(10, Side::Right), Col(10, Side::Right), Col(10, Side::Right), Col(12, Side::Right), Col(12, Side::Right)];
/// Label, value, remark: the same left edges as the latencies, so that values stand under each other.
const FACT_COLUMNS: [Col; 3] = [Col(21, Side::Left), Col(12, Side::Right), Col(63, Side::Left)];

/// Renders one report.
pub(super) fn render(report: &RunReport, context: &TableContext) -> String {
    let mut notes = Notes::default();
    let mut page = Page { report, context, notes: &mut notes };
    let sections = [
        page.title(),
        page.latency(),
        page.facts("Throughput", Page::throughput),
        page.facts("Requests", Page::requests),
        page.facts("Replay fidelity", |page| fidelity::facts(&page.report.fidelity, &page.report.counts).into_iter().map(Some).collect()),
        page.endpoints(),
        page.facts("Cost, USD", Page::cost),
        page.facts(&energy::title(report), energy::facts),
        page.facts("KV memory", Page::kv),
        page.facts("Engine's own word", Page::server),
        page.verdict(),
        page.below(),
    ];
    let mut text = sections.iter().filter(|s| !s.is_empty()).cloned().collect::<Vec<_>>().join("\n");
    if let Some(next) = &context.next {
        text.push('\n');
        text.push_str(&wrap(&format!("next: {next}"), 6));
    }
    text
}

fn latency_row(label: &str, cells: Vec<String>, n: String) -> Vec<String> {
    std::iter::once(label.to_owned()).chain(cells).chain([n]).collect()
}

/// A label, a value and a remark.
pub(super) type Fact = [String; 3];

pub(super) struct Page<'a> {
    pub report: &'a RunReport,
    pub context: &'a TableContext,
    pub notes: &'a mut Notes,
}

impl<'a> Page<'a> {
    /// A number over the whole window: of answered requests, or of all where only those have it.
    fn row(&self, name: &str, stat: Stat) -> Option<&'a MetricRow> {
        [Population::Ok, Population::All].into_iter().find_map(|p| self.report.get(name, stat, p))
    }

    /// The first of several statistics that a metric has.
    fn single(&self, name: &str) -> Option<&'a MetricRow> {
        [Stat::Rate, Stat::Value, Stat::Total].into_iter().find_map(|s| self.row(name, s))
    }

    /// A row's number for people, or "–" and the mark of its reason.
    pub fn cell(&mut self, row: Option<&MetricRow>) -> String {
        let Some(row) = row else { return "–".to_owned() };
        let text = row.value.map_or_else(|| "–".to_owned(), |v| units::human(v, row.unit));
        self.notes.cell(&text, row.reason.as_deref())
    }

    /// A metric as a fact; `None` when the report has no such row at all.
    fn fact(&mut self, label: &str, name: &str, remark: &str) -> Option<Fact> {
        let row = self.single(name)?;
        Some([label.to_owned(), self.cell(Some(row)), remark.to_owned()])
    }

    fn title(&mut self) -> String {
        let RunReport { window, counts, validity, .. } = self.report;
        let mut lines: Vec<String> = self.context.titles().into_iter().filter(|t| !t.is_empty()).collect();
        lines.push(format!("window {} · {} requests due in it", window.end - window.start, units::count(counts.measured)));
        if !validity.is_valid() {
            lines.push(format!("{}: these numbers are no measurement, see below", verdict::headline(validity)));
        }
        lines.iter().map(|line| wrap(line, 2)).collect()
    }

    fn latency(&mut self) -> String {
        let mut rows = vec![];
        for (name, label) in LATENCIES {
            let found: Vec<Option<&MetricRow>> = LATENCY_STATS.iter().map(|stat| self.row(name, *stat)).collect();
            let Some(n) = found.iter().flatten().map(|r| r.n).max() else { continue };
            if TWINS.iter().any(|(twin, of)| name == *twin && self.same(name, of)) {
                continue;
            }
            let cells = found.iter().map(|r| self.cell(*r)).collect();
            rows.push(latency_row(label, cells, units::count(n)));
            if let Some(level) = found.iter().filter(|_| INTERVALS.contains(&name)).flatten().find_map(|r| r.ci).map(|c| c.level) {
                let interval =
                    |r: Option<&MetricRow>| r.and_then(|r| r.ci.map(|c| units::interval(c.lo, c.hi, r.unit))).unwrap_or_default();
                rows.push(latency_row(
                    &format!("  {:.0} % interval", level * 100.0),
                    found.iter().copied().map(interval).collect(),
                    String::new(),
                ));
            }
            rows.extend(self.with_failures(name));
        }
        if rows.is_empty() {
            return String::new();
        }
        grid(&LATENCY_COLUMNS, &["Latency", "p50", "p90", "p99", "mean", "max", "n"], &rows)
    }

    /// The same metric over all intended requests, each failure counted as never answered; only where requests failed.
    fn with_failures(&mut self, name: &str) -> Option<Vec<String>> {
        let all = |stat: Stat| self.report.get(name, stat, Population::All);
        let answered = |stat: &Stat| self.report.get(name, *stat, Population::Ok).is_some();
        if self.report.counts.failed == 0
            || !WITH_FAILURES.contains(&name)
            || !LATENCY_STATS.iter().any(|stat| answered(stat) && all(*stat).is_some())
        {
            return None;
        }
        let found: Vec<Option<&MetricRow>> = LATENCY_STATS.iter().map(|stat| all(*stat)).collect();
        let n = found.iter().flatten().map(|r| r.n).max().unwrap_or(0);
        let cells = found.iter().map(|r| if r.is_some() { self.cell(*r) } else { String::new() }).collect();
        Some(latency_row("  failures as +∞", cells, units::count(n)))
    }

    /// Whether two metrics have the same numbers throughout.
    fn same(&self, a: &str, b: &str) -> bool {
        LATENCY_STATS.iter().all(|stat| self.row(a, *stat).map(|r| r.value) == self.row(b, *stat).map(|r| r.value))
    }

    /// A table of facts; empty when there is none.
    fn facts(&mut self, title: &str, list: fn(&mut Self) -> Vec<Option<Fact>>) -> String {
        let facts: Vec<Vec<String>> = list(self).into_iter().flatten().map(Vec::from).collect();
        if facts.is_empty() { String::new() } else { grid(&FACT_COLUMNS, &[title, "", ""], &facts) }
    }

    fn throughput(&mut self) -> Vec<Option<Fact>> {
        let mut per_accelerator = |name: &str| {
            let row = self.single(name);
            row.map_or_else(String::new, |_| format!("{} per accelerator", self.cell(row)))
        };
        let (output, total) = (per_accelerator("output_tput_per_accel"), per_accelerator("total_tput_per_accel"));
        let user = self.row("interactivity", Stat::P50).map(|p50| {
            let (p50, p99) = (self.cell(Some(p50)), self.row("interactivity", Stat::P99));
            ["Tokens/s per user".to_owned(), p50, format!("median; {} at p99", self.cell(p99))]
        });
        vec![
            self.fact("Output tokens/s", "output_tput", &output),
            self.fact("Total tokens/s", "total_tput", &total),
            user,
            self.fact("Requests/s", "request_rate", ""),
        ]
    }

    fn requests(&mut self) -> Vec<Option<Fact>> {
        let counts = &self.report.counts;
        let fact = |label: &str, n: u64, remark: String| Some([label.to_owned(), units::count(n), remark]);
        let share = |part: u64, of: u64| if of == 0 { "–".to_owned() } else { units::percent(part as f64 / of as f64) };
        let of_status = |status: Status| counts.by_status.iter().find(|(s, _)| *s == status).map_or(0, |(_, n)| *n);
        let (dropped, not_run) = (of_status(Status::Dropped), of_status(Status::NotRun));
        let by_status: Vec<String> = counts
            .by_status
            .iter()
            .filter(|(s, _)| !matches!(s, Status::Ok | Status::Dropped))
            .map(|(s, n)| format!("{} {}", s.word(), units::count(*n)))
            .collect();
        // What was dropped has a row of its own.
        let by_error = counts.by_error.iter().filter(|(e, _)| *e != ErrorCode::InFlightBound);
        let by_error: Vec<String> = by_error.map(|(e, n)| format!("{} {}", e.word(), units::count(*n))).collect();
        let mut reasons = by_status.join(", ");
        if !by_error.is_empty() {
            reasons.extend(["; errors: ", &by_error.join(", ")]);
        }
        let asked = |wanted: u64, got: u64| format!("asked {}, achieved {}", units::count(wanted), share(got, wanted));
        let cached = if counts.cached_tokens > 0 { format!(", {} from cache", units::count(counts.cached_tokens)) } else { String::new() };
        let uncounted = if counts.uncounted > 0 {
            let why = format!(
                "{} answers have their tokens counted as chunks, because the endpoint reports none",
                units::count(counts.uncounted)
            );
            format!(" {}", self.notes.mark(&why))
        } else {
            String::new()
        };
        let slo = self.context.slo_words();
        let goodput = self.single("goodput_rate").map(|rate| {
            let value = self.cell(Some(rate));
            let share = self.single("goodput_share");
            let remark = slo.map_or_else(String::new, |slo| format!("{} of all intended met {slo}", self.cell(share)));
            ["Goodput, requests/s".to_owned(), value, remark]
        });
        let unfit = |label, n: u32, what: &str| fact(label, n.into(), what.to_owned()).filter(|_| n > 0);
        vec![
            fact("Answered", counts.ok, format!("{} of {}", share(counts.ok, counts.measured), units::count(counts.measured))),
            fact(
                "Failed",
                counts.failed - (dropped.min(counts.failed)),
                if counts.failed > dropped || not_run > 0 { reasons } else { String::new() },
            ),
            fact("Dropped", dropped, if dropped > 0 { "over the in-flight bound when due".into() } else { String::new() }),
            fact("Prompt tokens", counts.input_tokens, asked(counts.input_wanted, counts.input_tokens) + &cached),
            fact("Output tokens", counts.output_tokens, asked(counts.output_wanted, counts.output_tokens) + &uncounted),
            goodput,
            unfit("Clipped", counts.clipped, "cut to fit the context"),
            unfit("Skipped", counts.skipped, "left out, longer than the context"),
        ]
    }

    /// What each of several endpoints got and how it answered; empty where there is one.
    fn endpoints(&mut self) -> String {
        let mut rows = vec![];
        for (index, counts) in self.report.counts.by_endpoint.iter().enumerate() {
            let of = |stat: Stat| {
                let is = |r: &&MetricRow| r.name == "ttft" && r.scope.endpoint == Some(index as u16) && r.stat == stat;
                self.report.metrics.iter().filter(is).find(|r| r.population == Population::Ok)
            };
            let (p50, p99) = (of(Stat::P50), of(Stat::P99));
            let name = self.context.endpoints.get(index).map_or_else(String::new, |url| format!(" {url}"));
            let [due, ok, failed] = [counts.measured, counts.ok, counts.failed].map(units::count);
            rows.push(vec![format!("{index}{name}"), due, ok, failed, self.cell(p50), self.cell(p99)]);
        }
        let header = ["Endpoint", "due", "answered", "failed", "TTFT p50", "TTFT p99"];
        if rows.is_empty() { String::new() } else { grid(&ENDPOINT_COLUMNS, &header, &rows) }
    }

    fn cost(&mut self) -> Vec<Option<Fact>> {
        vec![
            self.fact("Per M output tokens", "usd_per_mtok_out", ""),
            self.fact("Per M good output", "usd_per_mtok_good_out", "output tokens of requests that met the service level"),
            self.fact("Per M total tokens", "usd_per_mtok_total", "prompts included"),
            self.fact("Per request", "usd_per_request", ""),
            self.fact("For the window", "usd_total", ""),
        ]
    }

    fn kv(&mut self) -> Vec<Option<Fact>> {
        let peak = self.single("kv_occupied_peak_frac").and_then(|r| r.value);
        let share = peak.map_or_else(|| "peak".to_owned(), |p| format!("peak, {} of what is allocated", units::percent(p)));
        let source = |row: Option<&MetricRow>| match row {
            Some(MetricRow { value: Some(_), method: "gauge", .. }) => "by the engine's metrics",
            Some(MetricRow { value: Some(_), .. }) => "by the engine's tokens and the model's geometry",
            _ => "",
        };
        let (allocated, occupied) = (source(self.single("kv_allocated_bytes")), source(self.single("kv_occupied_mean_bytes")));
        let occupied = if occupied.is_empty() { "mean over time".to_owned() } else { format!("mean over time, {occupied}") };
        let per_request = self.single("kv_request_byte_seconds").filter(|r| r.value.is_some());
        let per_request = per_request.map(|row| {
            let remark = "per answered request, at least: from the model's geometry and the tokens it held".to_owned();
            ["Theoretical".to_owned(), self.cell(Some(row)), remark]
        });
        let rows = self.context.kv_rows.as_ref().map_or_else(String::new, |rows| format!(": {rows}"));
        vec![
            self.fact("Theoretical", "kv_bytes_per_token", &format!("per token, from the model's geometry{rows}")),
            per_request,
            self.fact("Allocated", "kv_allocated_bytes", allocated),
            self.fact("Occupied", "kv_occupied_mean_bytes", &occupied),
            self.fact("", "kv_occupied_peak_bytes", &share),
        ]
    }

    /// What the engine's metrics say that has no other place; what they do not tell is left out here.
    fn server(&mut self) -> Vec<Option<Fact>> {
        let peak = |page: &Self, name: &str| {
            let value = page.row(name, Stat::Value).and_then(|r| r.value);
            value.map_or_else(|| "mean over time".to_owned(), |v| format!("mean over time, at most {}", units::digits(v)))
        };
        let (running, waiting) = (peak(self, "server_running_peak"), peak(self, "server_waiting_peak"));
        vec![
            self.told("Running", "server_running_mean", Stat::Value, running),
            self.told("Waiting", "server_waiting_mean", Stat::Value, waiting),
            self.told("Prefix hits", "prefix_hit_rate", Stat::Rate, "of the prompt tokens looked up".into()),
            self.told("External hits", "external_hit_rate", Stat::Rate, "of the prompt tokens looked up outside the engine".into()),
            self.told("Preempted", "preemptions", Stat::Total, "requests".into()),
            self.told("KV moved", "kv_transfer_bytes", Stat::Total, String::new()),
            self.bucketed("TTFT, its own", "server_ttft"),
            self.bucketed("ITL, its own", "server_itl"),
            self.bucketed("Queue, its own", "server_queue"),
            self.bucketed("Prefill, its own", "server_prefill"),
        ]
    }

    /// A metric as a fact, where it has a number.
    fn told(&mut self, label: &str, name: &str, stat: Stat, remark: String) -> Option<Fact> {
        let row = self.row(name, stat).filter(|r| r.value.is_some())?;
        Some([label.to_owned(), self.cell(Some(row)), remark])
    }

    /// The median of a histogram of the engine, with what is to be known of it beside it rather than in a note.
    fn bucketed(&self, label: &str, name: &str) -> Option<Fact> {
        let of =
            |stat: Stat| self.row(name, stat).and_then(|r| Some((units::human(r.value?, r.unit), r.reason.clone().unwrap_or_default())));
        let (p50, width) = of(Stat::P50)?;
        let p99 = of(Stat::P99).map_or_else(String::new, |(p99, width)| format!("; {p99} at p99, {width}"));
        Some([label.to_owned(), p50, format!("median, {width}{p99}")])
    }

    fn verdict(&mut self) -> String {
        let validity = &self.report.validity;
        let mut text = format!("{}\n", verdict::headline(validity));
        for (severity, word) in
            [(Severity::Invalid, ""), (Severity::BlocksPublication, "not to be published: "), (Severity::Flag, "flagged: ")]
        {
            for broken in verdict::broken(validity, severity) {
                text.push_str(&wrap(&format!("  {word}{}", broken.what), 6));
                if !broken.remedy.is_empty() {
                    text.push_str(&wrap(&format!("      try: {}", broken.remedy), 11));
                }
            }
        }
        if let Some(line) = verdict::not_checked(validity) {
            text.push_str(&wrap(&format!("  {line}"), 6));
        }
        text
    }

    /// The load host during the window, in a line. What it does not tell is left out; the other formats have the reason.
    fn host(&self) -> Option<String> {
        let value = |name: &str| self.single(name).and_then(|r| r.value);
        let share = |name: &str, what: &str| value(name).map(|v| format!("{} {what}", units::percent(v)));
        let host = [
            share("host_cpu_share", "busy"),
            share("host_steal_share", "stolen"),
            value("host_cpu_pressure").map(|v| format!("somebody waiting for a core {} of the time", units::percent(v))),
            value("tcp_retransmits").filter(|v| *v > 0.0).map(|v| format!("{} TCP segments sent again", units::count(v as u64))),
        ];
        let harness = [
            value("harness_cpu_cores").map(|v| format!("{v:.2} cores")),
            value("harness_resident_peak_bytes").map(units::bytes),
            value("harness_involuntary_rate").map(|v| format!("taken off a core {} times/s", units::human(v, "1/s"))),
        ];
        let join = |who: &str, words: &[Option<String>]| {
            let words: Vec<&str> = words.iter().flatten().map(String::as_str).collect();
            (!words.is_empty()).then(|| format!("{who} {}", words.join(", ")))
        };
        let parts: Vec<String> = [join("cores of the host", &host), join("this process", &harness)].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("during the window: {}", parts.join(" · ")))
    }

    fn below(&mut self) -> String {
        let mut text = String::new();
        for (mark, reason) in self.notes.lines() {
            text.push_str(&wrap(&format!("{mark} {reason}"), 4));
        }
        for line in &self.context.below {
            text.push_str(&wrap(line, 2));
        }
        if let Some(words) = energy::line(self.report, self.context) {
            text.push_str(&wrap(&words, 2));
        }
        let lag = self.row("dispatch_lag", Stat::P99).and_then(|r| r.value).map(|v| format!("dispatch lag p99 {}", units::duration(v)));
        let coalesced = self.single("coalesced_share").and_then(|r| r.value).map(|v| format!("{} of chunks coalesced", units::percent(v)));
        let drain = self.single("drain_seconds").and_then(|r| r.value).map(|v| format!("drain {}", units::duration(v * 1e9)));
        let words: Vec<String> = [lag, coalesced, drain, Some(self.context.calibration_words().to_owned())].into_iter().flatten().collect();
        text.push_str(&wrap(&format!("instrument: {}", words.join(" · ")), 2));
        if let Some(words) = self.host() {
            text.push_str(&wrap(&words, 2));
        }
        text
    }
}
