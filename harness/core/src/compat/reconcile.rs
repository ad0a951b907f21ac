//! Goes once over the records and keeps, for each metric of a tool, the mean after each step of its walk and the distribution of
//! the last one.

use super::steps::SHORT;
use super::values::{Mean, Values};
use super::{Metric, Rate, Stat, Tool};
use crate::record::{Phase, RequestRecord, Status};
use crate::report::{Population, RunReport, Stat as OurStat};
use crate::units::Nanos;

/// What a tool would have printed, beside ours.
#[derive(Debug)]
pub struct Reconciliation {
    /// The tool.
    pub tool: &'static Tool,
    /// Requests of the window.
    pub measured: u64,
    /// Of them, those the tool takes for answered: complete answers, short ones included.
    pub answered: u64,
    /// Its latencies.
    pub metrics: Vec<Compared>,
    /// What its throughputs are divided by, in seconds; `None` where nothing was answered.
    pub seconds: Option<f64>,
    /// The length of our window in seconds.
    pub window_seconds: f64,
    /// Its throughputs.
    pub rates: Vec<Rated>,
}

/// A tool's latency beside ours. All times are in ns.
#[derive(Debug)]
pub struct Compared {
    /// The metric.
    pub metric: &'static Metric,
    /// The statistics the tool prints; `None` without a value.
    pub stats: Vec<(Stat, Option<f64>)>,
    /// How many values it has.
    pub n: u64,
    /// Whether its percentiles are a histogram's, within 0.1 %.
    pub approximate: bool,
    /// Its mean.
    pub theirs: Option<f64>,
    /// Our mean, of the report.
    pub ours: Option<f64>,
    /// What the difference of the means consists of. Empty where there is no difference to explain.
    pub causes: Vec<Cause>,
    /// What the causes leave of the difference: rounding, or a fault of ours.
    pub rest: f64,
}

impl Compared {
    /// Their mean less ours.
    pub fn difference(&self) -> Option<f64> {
        Some(self.theirs? - self.ours?)
    }
}

/// What one change of the definition is worth.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cause {
    /// What changes.
    pub name: &'static str,
    /// By how much the mean changes, in ns.
    pub ns: f64,
}

/// A tool's throughput beside ours.
#[derive(Debug)]
pub struct Rated {
    /// The throughput.
    pub rate: &'static Rate,
    /// What its answers add up to; `None` where one of them is not known.
    pub total: Option<f64>,
    /// Per second, as the tool has it.
    pub theirs: Option<f64>,
    /// Per second, as our report has it.
    pub ours: Option<f64>,
}

/// Takes records and gives a [`Reconciliation`]. Only those of the window count.
#[derive(Debug)]
pub struct Reconciler {
    tool: &'static Tool,
    measured: u64,
    answered: u64,
    walks: Vec<Walk>,
    totals: Vec<Option<f64>>,
    first: Option<Nanos>,
    last: Option<Nanos>,
}

/// The means along one walk, and the values at its end.
#[derive(Debug)]
struct Walk {
    /// Our definition over what we take for answered.
    ours: Mean,
    /// The same over what the tool takes for answered, then after each step.
    means: Vec<Mean>,
    theirs: Values,
}

impl Reconciler {
    /// For the definitions of a tool.
    pub fn new(tool: &'static Tool) -> Self {
        let walk = |m: &Metric| Walk { ours: Mean::default(), means: vec![Mean::default(); m.walk.len() + 1], theirs: Values::default() };
        Self {
            tool,
            measured: 0,
            answered: 0,
            walks: tool.metrics.iter().map(walk).collect(),
            totals: vec![Some(0.0); tool.rates.len()],
            first: None,
            last: None,
        }
    }

    /// Takes a record.
    pub fn add(&mut self, record: &RequestRecord) {
        if record.phase != Phase::Measure {
            return;
        }
        self.measured += 1;
        let answered = matches!(record.status, Status::Ok | Status::Short);
        let span = &self.tool.span;
        if answered || span.failed {
            let from = span.from.and_then(|from| from(record));
            self.first = self.first.into_iter().chain(from).min();
            self.last = self.last.max((span.to)(record));
        }
        if !answered {
            return;
        }
        self.answered += 1;
        for (total, rate) in self.totals.iter_mut().zip(self.tool.rates) {
            *total = total.zip((rate.adds)(record)).map(|(total, more)| total + more);
        }
        for (walk, metric) in self.walks.iter_mut().zip(self.tool.metrics) {
            walk.add(metric, record);
        }
    }

    /// Holds what was taken against our report of the same records.
    pub fn finish(self, report: &RunReport) -> Reconciliation {
        let tool = self.tool;
        let window = report.window;
        let from = if tool.span.from.is_some() { self.first } else { Some(window.start) };
        let span = from.zip(self.last).map(|(from, to)| (to - from).as_secs_f64());
        let seconds = span.filter(|s| *s > 0.0 && self.answered > 0);
        let rated = |(rate, total): (&'static Rate, Option<f64>)| Rated {
            rate,
            total,
            theirs: total.zip(seconds).map(|(total, seconds)| total / seconds),
            ours: rate.ours.and_then(|name| report.single(name)).and_then(|row| row.value),
        };
        Reconciliation {
            tool,
            measured: self.measured,
            answered: self.answered,
            metrics: self.walks.into_iter().zip(tool.metrics).map(|(walk, metric)| walk.compare(tool, metric, report)).collect(),
            seconds,
            window_seconds: (window.end - window.start).as_secs_f64(),
            rates: tool.rates.iter().zip(self.totals).map(rated).collect(),
        }
    }
}

impl Walk {
    fn add(&mut self, metric: &Metric, record: &RequestRecord) {
        let Self { ours, means, theirs } = self;
        if record.is_ok() {
            (metric.from)(record, &mut |value, weight| ours.add(value, weight));
        }
        let picks = std::iter::once(metric.from).chain(metric.walk.iter().map(|step| step.pick));
        let last = means.len() - 1;
        for (index, (mean, pick)) in means.iter_mut().zip(picks).enumerate() {
            pick(record, &mut |value, weight| {
                mean.add(value, weight);
                if index == last {
                    theirs.add(value, weight);
                }
            });
        }
    }

    fn compare(mut self, tool: &'static Tool, metric: &'static Metric, report: &RunReport) -> Compared {
        let how = tool.percentiles;
        let theirs = self.means.last().and_then(|mean| mean.get());
        let ours = metric.ours.and_then(|name| report.get(name, OurStat::Mean, Population::Ok)).and_then(|row| row.value);
        let mut causes = vec![];
        // A step over nothing has no mean; what it is worth shows with the next one that has.
        if let Some(mut before) = self.ours.get().filter(|_| metric.ours.is_some() && theirs.is_some()) {
            let names = std::iter::once(SHORT).chain(metric.walk.iter().map(|step| step.cause));
            for (name, after) in names.zip(&self.means) {
                if let Some(after) = after.get() {
                    causes.push(Cause { name, ns: after - before });
                    before = after;
                }
            }
        }
        let explained: f64 = causes.iter().map(|cause| cause.ns).sum();
        Compared {
            metric,
            stats: tool.stats.iter().map(|stat| (*stat, self.theirs.get(stat.of, how))).collect(),
            n: self.theirs.count(how),
            approximate: self.theirs.approximate(),
            theirs,
            ours,
            rest: theirs.zip(ours).map_or(0.0, |(theirs, ours)| theirs - ours - explained),
            causes,
        }
    }
}
