//! The fold: records, samples and events of a run become its report.
//!
//! Pure and order-free: sums are of integers, and whatever depends on order is first put into schedule order, so the same
//! records give the same bits however they arrive. One pass over the records; of each request a row of durations is kept, of
//! its chunks only what may still matter. It reads no clock and no file, and compares no runs.

pub(crate) mod energy;
pub(crate) mod engine;
pub(crate) mod gaps;
pub(crate) mod gauges;
pub(crate) mod host;
pub(crate) mod latency;
pub(crate) mod money;
pub(crate) mod rates;
pub(crate) mod row;
mod rules;
pub(crate) mod server;
mod window;

use crate::fidelity::Gathered;
use crate::metric::{Compute, METRICS, MetricDef};
use crate::record::{Connection, CountSource, ErrorCode, Phase, RequestRecord, Status};
use crate::report::{Counts, EndpointCounts, MetricRow, Population, RunFacts, RunReport, Scope, Stat};
use crate::sample::{RunEvent, Sample};
use crate::units::Nanos;
use crate::validity;
use engine::Readings;
use gaps::{EXACT_LIMIT, Gaps};
use gauges::Gauges;
use host::HostUse;
use latency::Columns;
use row::{Cell, Run, Tally};
use rules::Account;
use server::Server;
use std::borrow::Borrow;
use window::{Arrivals, Frame};

/// Folds a run. The records may come in any order, owned or borrowed.
pub fn fold<R: Borrow<RequestRecord>>(
    facts: &RunFacts,
    records: impl IntoIterator<Item = R>,
    samples: &[Sample],
    events: &[RunEvent],
) -> RunReport {
    let mut pass = Pass::new(facts);
    for record in records {
        pass.add(record.borrow());
    }
    pass.finish(samples, events)
}

/// What is kept while records come in.
struct Pass<'a> {
    facts: &'a RunFacts,
    frame: Frame<'a>,
    arrivals: Arrivals,
    counts: Counts,
    by_status: [u64; Status::ALL.len()],
    by_error: [u64; ErrorCode::ALL.len()],
    columns: Columns,
    itl: Gaps,
    icl: Gaps,
    /// One per class; a single one when there are no classes.
    tallies: Vec<Tally>,
    /// One per endpoint where there are several.
    by_endpoint: Vec<EndpointCounts>,
    bill: crate::cost::Bill,
    last_end: Option<Nanos>,
    account: Account,
    fidelity: Gathered,
}

impl<'a> Pass<'a> {
    fn new(facts: &'a RunFacts) -> Self {
        let classes = facts.classes.len().max(1);
        let good_tokens = (!facts.slo.is_empty()).then_some(0);
        let counts =
            Counts { scheduled: facts.scheduled, clipped: facts.clipped, skipped: facts.skipped, good_tokens, ..Counts::default() };
        Self {
            facts,
            frame: Frame::new(facts),
            arrivals: Arrivals::default(),
            counts,
            by_status: [0; _],
            by_error: [0; _],
            columns: Columns::default(),
            itl: Gaps::new(classes, EXACT_LIMIT),
            icl: Gaps::new(classes, EXACT_LIMIT),
            tallies: vec![Tally::default(); classes],
            by_endpoint: vec![EndpointCounts::default(); if facts.endpoints > 1 { facts.endpoints.into() } else { 0 }],
            bill: crate::cost::Bill::default(),
            last_end: None,
            account: Account::default(),
            fidelity: Gathered::default(),
        }
    }

    fn add(&mut self, record: &RequestRecord) {
        self.frame.see(record);
        let good = !self.facts.slo.is_empty() && self.facts.slo.met(record);
        self.arrivals.add(&self.frame, record, good);
        self.account.add(self.facts, record);
        self.last_end = self.last_end.max(record.at.end);
        self.counts.recorded += 1;
        match record.phase {
            Phase::Warmup => self.counts.warmup += 1,
            Phase::Drain => self.counts.drain += 1,
            Phase::Measure => self.measure(record, good),
        }
    }

    fn measure(&mut self, record: &RequestRecord, good: bool) {
        let counts = &mut self.counts;
        counts.measured += 1;
        counts.sent += u64::from(record.at.sent.is_some());
        counts.failed += u64::from(!record.is_ok() && !record.is_left());
        self.by_status[record.status as usize] += 1;
        if let Some(error) = record.error {
            self.by_error[error as usize] += 1;
        }
        if record.is_left() {
            // It waited for as long as its user would, not for as long as the engine took.
            counts.left += 1;
            self.bill.add(&record.tokens, record.at.sent.is_some(), false);
            return;
        }
        self.columns.add(record);
        self.fidelity.add(record);
        if let Some(counts) = self.by_endpoint.get_mut(usize::from(record.endpoint)) {
            counts.measured += 1;
            counts.ok += u64::from(record.is_ok());
            counts.failed += u64::from(!record.is_ok());
            counts.output_tokens += if record.is_ok() { u64::from(record.tokens.output.unwrap_or(0)) } else { 0 };
        }
        let billed = self.bill.add(&record.tokens, record.at.sent.is_some(), record.is_ok());

        // A class the trace does not name is counted with the last one rather than lost.
        let class = usize::from(record.class).min(self.tallies.len() - 1);
        let tally = &mut self.tallies[class];
        tally.measured += 1;
        if good {
            tally.good += 1;
            let output = record.tokens.output.filter(|_| billed).unwrap_or(0);
            counts.good_tokens = counts.good_tokens.map(|good| good + u64::from(output));
        }
        if record.is_ok() {
            let tokens = &record.tokens;
            let known = |count: Option<u32>| u64::from(count.unwrap_or(0));
            counts.ok += 1;
            counts.input_tokens += known(tokens.input);
            counts.cached_tokens += known(tokens.cache_read);
            counts.input_wanted += u64::from(tokens.wanted_input);
            counts.output_tokens += known(tokens.output);
            counts.output_wanted += u64::from(tokens.wanted);
            counts.uncounted += u64::from(tokens.output_source == CountSource::Chunks);
            tally.ok += 1;
            tally.chunks += record.chunk_tokens.len() as u64;
            tally.coalesced += u64::from(record.coalesced);
            tally.first_coalesced += u64::from(record.first_coalesced);
            if let (Some(chars), Some(output), true) = (record.output_chars, tokens.output, crate::cost::counted(tokens.output_source)) {
                tally.chars += u64::from(chars);
                tally.chars_tokens += u64::from(output);
            }
            if let Some(held) = record.kv_token_time() {
                tally.kv_requests += 1;
                tally.kv_token_ns += held;
            }
            gaps::itl(record, |value, count| self.itl.add(class, value, count));
            gaps::icl(record, |value| self.icl.add(class, value, 1));
        }
    }

    fn finish(mut self, samples: &[Sample], events: &[RunEvent]) -> RunReport {
        let (window, ended) = self.frame.window();
        self.counts.by_status = occurred(Status::ALL, self.by_status);
        self.counts.by_error = occurred(ErrorCode::ALL, self.by_error);
        self.counts.by_endpoint = self.by_endpoint;
        let readings = Readings::new(self.facts.endpoints, samples, events);
        let run = Run {
            facts: self.facts,
            window,
            ended,
            counts: self.counts,
            tally: Tally::sum(&self.tallies),
            arrived: self.arrivals.finish(window),
            bill: self.bill,
            last_end: self.last_end,
            gauges: Gauges::new(self.facts, window, samples, &readings, events),
            server: Server::new(window, &readings),
            host: HostUse::new(window, samples),
            energy: energy::Told::all(self.facts, window, samples),
        };
        let validity = validity::judge(&rules::evidence(&run, &self.columns, self.account, events));
        let metrics = rows(&run, &self.columns, [&self.itl, &self.icl], &self.tallies);
        let fidelity = self.fidelity.finish(self.facts.content, self.facts.predicted_cache);
        RunReport { window, counts: run.counts, metrics, fidelity, validity }
    }
}

/// The counts that are not zero.
fn occurred<T, const N: usize>(all: [T; N], counts: [u64; N]) -> Vec<(T, u64)> {
    all.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
}

/// Metrics that each of several endpoints has rows of.
const OF_ENDPOINTS: [&str; 3] = ["ttft", "tpot", "e2e"];

/// The rows of every metric: over the whole run, over each class where there are several, TTFT over each kind of connection where
/// more than one occurs, and [`OF_ENDPOINTS`] over each of several endpoints.
fn rows(run: &Run<'_>, columns: &Columns, gaps: [&Gaps; 2], tallies: &[Tally]) -> Vec<MetricRow> {
    let in_order = columns.in_order();
    let mut rows = vec![];
    let mut add = |metrics: fn(&MetricDef) -> bool, part: Part<'_>| {
        METRICS.iter().enumerate().filter(|(_, m)| metrics(m)).for_each(|(i, m)| part.add(i, m, run, columns, gaps, &mut rows));
    };
    add(|_| true, Part { scope: Scope::default(), class: None, requests: &in_order, tally: &run.tally });
    if tallies.len() > 1 {
        for (class, (name, tally)) in run.facts.classes.iter().zip(tallies).enumerate() {
            let requests = columns.of_class(&in_order, class, tallies.len());
            let scope = Scope { class: Some(name.clone()), ..Scope::default() };
            add(
                |m| !matches!(m.compute, Compute::Whole(..) | Compute::Energy(..) | Compute::Engine(_)),
                Part { scope, class: Some(class), requests: &requests, tally },
            );
        }
    }
    let kinds = [Connection::New, Connection::Reused, Connection::H2].map(|kind| (kind, columns.on(&in_order, kind)));
    let kinds: Vec<_> = kinds.into_iter().filter(|(_, requests)| !requests.is_empty()).collect();
    if kinds.len() > 1 {
        for (kind, requests) in &kinds {
            let scope = Scope { connection: Some(*kind), ..Scope::default() };
            add(|m| m.name == "ttft", Part { scope, class: None, requests, tally: &run.tally });
        }
    }
    for endpoint in (0..run.facts.endpoints).filter(|_| run.facts.endpoints > 1) {
        let scope = Scope { endpoint: Some(endpoint), ..Scope::default() };
        let requests = columns.to(&in_order, endpoint);
        add(|m| OF_ENDPOINTS.contains(&m.name), Part { scope, class: None, requests: &requests, tally: &run.tally });
    }
    rows
}

/// A part of a run that has rows of its own.
struct Part<'a> {
    scope: Scope,
    /// Index of its class; `None` for all of them.
    class: Option<usize>,
    /// Its rows in the columns, in schedule order.
    requests: &'a [u32],
    tally: &'a Tally,
}

impl Part<'_> {
    /// Adds the rows of the metric at `index`.
    fn add(&self, index: usize, metric: &MetricDef, run: &Run<'_>, columns: &Columns, gaps: [&Gaps; 2], rows: &mut Vec<MetricRow>) {
        let row = |cell: Cell, stat, population| cell.row(metric.name, metric.unit, stat, population, &self.scope);
        let distribution =
            |population, cells: Vec<Cell>| Stat::DISTRIBUTION.into_iter().zip(cells).map(move |(stat, cell)| row(cell, stat, population));
        match metric.compute {
            Compute::Service(_) | Compute::Instrument(_) => {
                let cells = columns.cells(index, self.requests);
                rows.extend(cells.into_iter().flat_map(|(population, cells)| distribution(population, cells)));
            }
            Compute::Itl => rows.extend(distribution(Population::Ok, gaps[0].cells(self.class))),
            Compute::Icl => rows.extend(distribution(Population::Ok, gaps[1].cells(self.class))),
            Compute::Interactivity => {
                // TPOT stands before it in the list, so the last rows of that name are those of this part.
                for (stat, population) in metric.numbers() {
                    let tpot = rows.iter().rev().find(|r| r.name == "tpot" && r.stat == stat && r.population == population);
                    let cell = tpot.map_or_else(|| Cell::none("exact", 0, "no tpot"), latency::interactivity);
                    rows.push(row(cell, stat, population));
                }
            }
            Compute::Engine(of) => {
                for (stat, population) in metric.numbers() {
                    rows.push(row(of(run, stat.quantile().unwrap_or(0.5)), stat, population));
                }
            }
            Compute::Part(stat, population, of) => rows.push(row(of(run, self.tally), stat, population)),
            Compute::Whole(stat, population, of) => rows.push(row(of(run), stat, population)),
            Compute::Energy(stat, population, of) => {
                for told in &run.energy {
                    let scope = Scope { energy: told.scope, ..self.scope.clone() };
                    rows.push(of(run, told).row(metric.name, metric.unit, stat, population, &scope));
                }
            }
        }
    }
}
