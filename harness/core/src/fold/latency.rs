//! Durations of requests: one column per metric, and their distributions over the answered and over all intended requests.

use super::gaps::too_few;
use super::row::Cell;
use crate::metric::{Compute, METRICS};
use crate::record::{Connection, RequestRecord};
use crate::report::{Interval, MetricRow, Population, Stat};
use crate::stats::{NEVER, Percentile, Ranks, percentiles};
use crate::units::Nanos;
use crate::validity::Lag;

/// A moment that a request does not have.
const MISSING: i64 = i64::MIN;

/// The durations of the measured requests, column by column: about 110 bytes a request.
#[derive(Debug, Default)]
pub struct Columns {
    ids: Vec<u32>,
    classes: Vec<u16>,
    connections: Vec<Connection>,
    endpoints: Vec<u16>,
    ok: Vec<bool>,
    /// From due until it started, or until it was given up without that.
    idle: Vec<(i64, i64)>,
    started: u64,
    last_start: Option<Nanos>,
    /// One column per entry of [`METRICS`]; empty for those that are not about single requests.
    values: Vec<Vec<i64>>,
}

impl Columns {
    /// Adds a measured request.
    pub fn add(&mut self, record: &RequestRecord) {
        self.ids.push(record.request.0);
        self.classes.push(record.class);
        self.connections.push(record.connection);
        self.endpoints.push(record.endpoint);
        self.ok.push(record.is_ok());
        self.idle.push((record.at.due.0, record.at.start.or(record.at.end).unwrap_or(record.at.due).0));
        self.started += u64::from(record.at.start.is_some());
        self.last_start = self.last_start.max(record.at.start);
        self.values.resize_with(METRICS.len(), Vec::new);
        for (metric, column) in METRICS.iter().zip(&mut self.values) {
            if let Compute::Service(of) | Compute::Instrument(of) = metric.compute {
                column.push(of(record).map_or(MISSING, |v| v.0));
            }
        }
    }

    /// All rows in schedule order. Two rows of one request (which makes a run invalid) are ordered by what they hold, so that
    /// the result still does not depend on which came first.
    pub fn in_order(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.ids.len() as u32).collect();
        if !self.ids.windows(2).all(|pair| pair[0] < pair[1]) {
            rows.sort_unstable_by(|a, b| {
                let (a, b) = (*a as usize, *b as usize);
                let fixed =
                    |i: usize| (self.ids[i], self.idle[i], self.ok[i], self.classes[i], self.connections[i] as u8, self.endpoints[i]);
                let values = |i: usize| self.values.iter().filter_map(move |column| column.get(i));
                fixed(a).cmp(&fixed(b)).then_with(|| values(a).cmp(values(b)))
            });
        }
        rows
    }

    /// The rows of one class of `classes`; one that is not among them counts as the last.
    pub fn of_class(&self, rows: &[u32], class: usize, classes: usize) -> Vec<u32> {
        rows.iter().copied().filter(|row| usize::from(self.classes[*row as usize]).min(classes - 1) == class).collect()
    }

    /// The rows of one kind of connection.
    pub fn on(&self, rows: &[u32], connection: Connection) -> Vec<u32> {
        rows.iter().copied().filter(|row| self.connections[*row as usize] == connection).collect()
    }

    /// The rows of one endpoint.
    pub fn to(&self, rows: &[u32], endpoint: u16) -> Vec<u32> {
        rows.iter().copied().filter(|row| self.endpoints[*row as usize] == endpoint).collect()
    }

    /// How many measured requests started, and when the last did.
    pub fn starts(&self) -> (u64, Option<Nanos>) {
        (self.started, self.last_start)
    }

    /// Nanoseconds between `from` and `to` that requests were due and had not started, over all requests.
    pub fn late(&self, from: Nanos, to: Nanos) -> i128 {
        self.idle.iter().map(|(due, begun)| i128::from((*begun).min(to.0)) - i128::from((*due).max(from.0))).filter(|late| *late > 0).sum()
    }

    /// A percentile of the column of `name` over the requests that have it (of them, the answered ones only if `ok`), however
    /// few they are: for rules, not for print.
    pub fn rough_percentile(&self, name: &str, ok: bool, q: f64) -> Option<Nanos> {
        let column = METRICS.iter().position(|m| m.name == name).and_then(|i| self.values.get(i))?;
        let values = column.iter().zip(&self.ok).filter(|(v, answered)| **v != MISSING && (**answered || !ok)).map(|(v, _)| *v);
        Ranks::new(values.collect()).percentile(q).map(Nanos)
    }

    /// Dispatch lag of the requests that started, with the number of those later than `limit`.
    pub fn lag(&self, limit: Nanos) -> Lag {
        let begun = || METRICS.iter().zip(&self.values).filter(|(m, _)| m.name == "dispatch_lag").flat_map(|(_, column)| column);
        let values: Vec<i64> = begun().copied().filter(|v| *v != MISSING).collect();
        let late = values.iter().filter(|v| **v > limit.0).count() as u64;
        let (started, largest) = (values.len() as u64, values.iter().max().copied().map(Nanos));
        Lag { started, late, largest, p99: Ranks::new(values).percentile(0.99).map(Nanos) }
    }

    /// The cells of [`Stat::DISTRIBUTION`] of the metric at `index` over `rows`, for the answered and for all of them.
    pub fn cells(&self, index: usize, rows: &[u32]) -> [(Population, Vec<Cell>); 2] {
        let known_of_failures = matches!(METRICS[index].compute, Compute::Instrument(_));
        let column = self.values.get(index).map_or(&[][..], Vec::as_slice);
        let of_rows = || rows.iter().map(|row| (column[*row as usize], self.ok[*row as usize]));
        let ok: Vec<i64> = of_rows().filter(|(value, answered)| *answered && *value != MISSING).map(|(value, _)| value).collect();
        let answered = of_rows().filter(|(_, answered)| *answered).count();
        let undefined = (answered - ok.len()) as u64;
        let of_ok = cells(&ok, 0, undefined);
        let of_all = if answered == rows.len() {
            of_ok.clone()
        } else {
            let reached = |value, answered| (answered || known_of_failures) && value != MISSING;
            let of_all = of_rows().filter(|(value, answered)| !answered || *value != MISSING);
            let all: Vec<i64> = of_all.map(|(value, answered)| if reached(value, answered) { value } else { NEVER }).collect();
            cells(&all, all.iter().filter(|v| **v == NEVER).count() as u64, undefined)
        };
        [(Population::Ok, of_ok), (Population::All, of_all)]
    }
}

/// The cells of a series in schedule order of which `never` values are [`NEVER`].
fn cells(series: &[i64], never: u64, undefined: u64) -> Vec<Cell> {
    const QS: [f64; 4] = [0.50, 0.90, 0.95, 0.99];
    let n = series.len() as u64;
    let left_out = (undefined > 0).then(|| format!("{undefined} answered requests have none and are left out"));
    if n == 0 {
        return vec![Cell::none("exact", 0, "no answered request").note(left_out); Stat::DISTRIBUTION.len()];
    }
    let not_reached = || Cell::none("exact", n, format!("not reached: {never} of {n} requests failed"));
    let percentiles = percentiles(series, QS);
    let sum: i128 = if never == 0 { series.iter().map(|v| i128::from(*v)).sum() } else { 0 };
    let cell = |stat: Stat| match stat.quantile() {
        Some(q) => match QS.iter().position(|known| *known == q).and_then(|i| percentiles[i]) {
            None => too_few("exact", n, q),
            Some(Percentile { value: NEVER, n_eff, .. }) => Cell { n_eff, ..not_reached() },
            Some(Percentile { value, n_eff, ci }) => {
                let trend = n_eff.is_none().then(|| "it drifts over the run, so it has no interval".to_owned());
                Cell { n_eff, ci, ..Cell::of(value as f64, n, "exact").note(trend) }
            }
        },
        None if never > 0 => not_reached(),
        None if stat == Stat::Max => Cell::of(series.iter().max().map_or(f64::NAN, |v| *v as f64), n, "exact"),
        None => Cell::of(sum as f64 / n as f64, n, "exact"),
    };
    Stat::DISTRIBUTION.map(|stat| cell(stat).note(left_out.clone())).to_vec()
}

/// What one user sees: the reciprocal of the same percentile of TPOT, so its p99 is the slow tail.
pub fn interactivity(tpot: &MetricRow) -> Cell {
    let MetricRow { value, n, n_eff, ci, method, reason, .. } = tpot.clone();
    let per_second = |ns: f64| 1e9 / ns;
    match value {
        None => Cell { value, n, n_eff, ci: None, method, reason },
        Some(ns) => {
            let ends =
                |ci: Interval| Interval { lo: ci.hi.map_or(0.0, per_second), hi: Some(per_second(ci.lo)).filter(|v| v.is_finite()), ..ci };
            Cell { n_eff, ci: ci.map(ends), ..Cell::of(per_second(ns), n, method).note(reason) }
        }
    }
}
