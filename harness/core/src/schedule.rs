//! What we will do: a trace or a fixed shape, under a load mode and a seed, as entries that are due *at* a time or *after*
//! other requests. Everything is decided before the run; the digest says what was decided and knows no engine.
//!
//! A schedule is lazy: streams of entries in order, one per shard for an open loop, one per lane for a closed one, so that
//! memory does not grow with its length.

mod lane;
mod links;
mod open;
mod reuse;
mod rule;
mod spread;

pub use rule::{Limit, Load, Rule, Source, Warmup};
pub use spread::Spread;

use crate::arrival::ArrivalProcess;
use crate::digest::{Digest, Digester};
use crate::prompt::Prompt;
use crate::request::{LaneId, Request, ShardId};
use crate::trace::{Edge, Join};
use crate::units::Nanos;
use lane::Units;
use links::{count_children, homes, points_forward, shard_of};
use std::sync::Arc;

/// When a request is due.
#[derive(Clone, PartialEq, Debug)]
pub enum Due {
    /// At a moment counted from the start of the run.
    At(Nanos),
    /// After other requests. Closed loops, conversations and agents are schedules too.
    After {
        /// How the edges join.
        join: Join,
        /// What it waits for; never empty.
        edges: Vec<Edge>,
    },
}

/// One request of a schedule.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// What to ask.
    pub request: Request,
    /// When.
    pub due: Due,
    /// Its lane, in a closed loop.
    pub lane: Option<LaneId>,
    /// How many later entries wait for this one: its moments are kept until that many have asked.
    pub dependents: u32,
    /// In a closed loop: the lane's next entry does not wait for this one, not even through others, so it is wanted at once.
    pub apart: bool,
}

/// Coefficients of variation for which gamma gaps are drawn in reasonable time and have moments.
const CV_RANGE: (f64, f64) = (0.01, 100.0);
/// Most lanes of a closed loop.
const MAX_LANES: u32 = 1_000_000;
/// Most requests of an open loop: request numbers are 32 bits wide, and nobody's endpoint serves more in one run.
const MAX_REQUESTS: f64 = 1e8;

/// A decided schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    /// For traces: how many children wait for each request.
    children: Arc<[u32]>,
    /// For open loops over traces with sessions or edges: for each request, the first of all that hang together with it.
    homes: Arc<[u32]>,
    /// For closed loops over traces.
    units: Arc<Units>,
}

/// What a schedule offers in all, before it runs.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Totals {
    /// Requests, warm-up included.
    pub requests: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Answer tokens asked for.
    pub output_tokens: u64,
    /// Due time of the last request with a due of its own.
    pub last_due: Nanos,
    /// Largest number of requests in flight if each took `ttft + output × tpot`.
    pub peak_concurrency: u32,
}

/// Entries in order.
pub type EntryStream = Box<dyn Iterator<Item = Entry> + Send>;

impl Schedule {
    /// Decides a schedule.
    ///
    /// # Errors
    /// What cannot be scheduled and which flag would help.
    pub fn new(rule: Rule) -> Result<Self, String> {
        let positive = |value: f64, name: &str| {
            if value > 0.0 && value.is_finite() { Ok(()) } else { Err(format!("{name} must be a positive number, not {value}")) }
        };
        positive(rule.speed, "--speed")?;
        match rule.load {
            Load::Replay | Load::Rescaled { .. } => {
                let Source::Trace(trace) = &rule.source else {
                    return Err("without a trace there are no recorded arrivals; give --rate, --arrivals or --concurrency".into());
                };
                if trace.requests.iter().any(|r| r.at.is_none() && r.after.is_empty()) {
                    return Err(format!(
                        "trace `{}` has requests without arrival times; give --arrivals poisson --rate R, or --concurrency",
                        trace.name
                    ));
                }
                if let Load::Rescaled { rate_per_s } = rule.load {
                    positive(rate_per_s, "--rate")?;
                    if trace.rate_per_s().is_none() {
                        return Err(format!("trace `{}` has no recorded rate to scale; give --arrivals poisson --rate R", trace.name));
                    }
                }
            }
            Load::Arrivals { process, rate_per_s } => {
                positive(rate_per_s, "--rate")?;
                if let ArrivalProcess::Gamma { cv } = process {
                    positive(cv, "--cv")?;
                    if !(CV_RANGE.0..=CV_RANGE.1).contains(&cv) {
                        return Err(format!("--cv must lie between {} and {}, not {cv}", CV_RANGE.0, CV_RANGE.1));
                    }
                }
            }
            Load::Closed { concurrency, .. } => {
                if concurrency == 0 {
                    return Err("--concurrency must be at least 1".into());
                }
                if concurrency > MAX_LANES {
                    return Err(format!("--concurrency must be at most {MAX_LANES}, not {concurrency}"));
                }
            }
        }
        if let Load::Arrivals { rate_per_s, .. } | Load::Rescaled { rate_per_s } = rule.load
            && rate_per_s * rule.limit.duration.map_or(1.0, Nanos::as_secs_f64) > MAX_REQUESTS
        {
            return Err(format!("--rate {rate_per_s} asks for more than {MAX_REQUESTS:.0} requests; lower it or --duration"));
        }
        let endless = matches!(rule.source, Source::Fixed { .. }) || rule.repeat;
        if endless && rule.limit.duration.is_none() && rule.limit.requests.is_none() {
            return Err("this schedule has no end; give --duration or --requests".into());
        }
        let (mut children, mut homes_of, mut units) = (vec![], vec![], Units::default());
        if let Source::Trace(trace) = &rule.source {
            if trace.requests.is_empty() {
                return Err(format!("trace `{}` has no requests", trace.name));
            }
            if let Some(index) = points_forward(trace) {
                return Err(format!("request {index} of trace `{}` waits for one that is not before it; import it again", trace.name));
            }
            children = count_children(trace);
            if rule.load.is_closed() {
                units = Units::new(trace);
            } else {
                homes_of = homes(trace);
            }
        }
        Ok(Self { rule, children: children.into(), homes: homes_of.into(), units: Arc::new(units) })
    }

    /// The rule it was decided from.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Whether any prompt continues a live conversation, so that answers must be kept.
    pub fn uses_live(&self) -> bool {
        matches!(&self.rule.source, Source::Trace(trace) if trace.requests.iter().any(|r| matches!(r.prompt, Prompt::Live { .. })))
    }

    /// The streams of one shard. Together the shards' streams are exactly the schedule: what hangs together (a session, a
    /// request and those that wait for it) hashes to one shard with its absolute times kept, and lanes move whole, so splitting
    /// changes no arrival and no shard waits for another.
    pub fn streams(&self, shard: ShardId, shards: u16) -> Vec<EntryStream> {
        let shards = shards.max(1);
        if let Load::Closed { concurrency, think } = self.rule.load {
            return (0..concurrency)
                .filter(|lane| lane % u32::from(shards) == u32::from(shard.0))
                .map(|lane| Box::new(self.clone().lane(LaneId(lane), concurrency, think)) as EntryStream)
                .collect();
        }
        let homes = self.homes.clone();
        vec![Box::new(self.clone().open().filter(move |e| shard_of(e.request.id, &homes, shards) == shard))]
    }

    /// Identity of the schedule: rule, seed, trace content, and for an open loop every due in integer nanoseconds. The same on
    /// every platform, and knows no engine; tables require it equal.
    pub fn digest(&self) -> Digest {
        let mut d = Digester::new("schedule/1");
        let rule = &self.rule;
        match &rule.source {
            Source::Trace(trace) => d.text("trace").text(&trace.content_digest().to_string()),
            Source::Fixed { input_tokens, output_tokens } => d.text("fixed").int((*input_tokens).into()).int((*output_tokens).into()),
        };
        match rule.load {
            Load::Replay => d.text("replay"),
            Load::Rescaled { rate_per_s } => d.text("rescaled").float(rate_per_s),
            Load::Arrivals { process, rate_per_s } => {
                if let ArrivalProcess::Gamma { cv } = process {
                    d.float(cv);
                }
                d.text(process.name()).float(rate_per_s)
            }
            Load::Closed { concurrency, think } => d.text("closed").int(concurrency.into()).int(think.0),
        };
        d.float(rule.speed).int(rule.repeat.into()).int(rule.length.map_or(-1, |l| l as i64)).int(rule.seed as i64);
        match rule.warmup {
            Warmup::Time(t) => d.text("time").int(t.0),
            Warmup::Requests(n) => d.text("requests").int(n.into()),
        };
        d.int(rule.limit.duration.map_or(-1, |t| t.0)).int(rule.limit.requests.map_or(-1, i64::from));
        if !rule.load.is_closed() {
            for entry in self.clone().open() {
                if let Due::At(at) = entry.due {
                    d.int(entry.request.id.0.into()).int(at.0);
                }
            }
        }
        d.finish()
    }

    /// Sums over an open loop, or over a closed one with a number of requests. `None` where only time ends it.
    pub fn totals(&self, ttft: Nanos, tpot: Nanos) -> Option<Totals> {
        let mut totals = Totals::default();
        let mut lanes = 0;
        let mut moments: Vec<(Nanos, i32)> = vec![];
        let mut add = |entry: &Entry| {
            totals.requests += 1;
            totals.input_tokens += u64::from(entry.request.input_tokens);
            totals.output_tokens += u64::from(entry.request.output_tokens);
            if let Due::At(at) = entry.due {
                totals.last_due = totals.last_due.max(at);
                moments.push((at, 1));
                moments.push((at + ttft + tpot * i64::from(entry.request.output_tokens), -1));
            }
        };
        if let Load::Closed { concurrency, think } = self.rule.load {
            if self.requests_in_all().is_none() && (self.rule.repeat || matches!(self.rule.source, Source::Fixed { .. })) {
                return None;
            }
            for lane in 0..concurrency {
                let mut busy = false;
                for entry in self.clone().lane(LaneId(lane), concurrency, think) {
                    busy = true;
                    add(&entry);
                }
                lanes += u32::from(busy);
            }
            totals.peak_concurrency = lanes;
        } else {
            self.clone().open().for_each(|e| add(&e));
            moments.sort_unstable();
            let mut now = 0;
            for (_, step) in moments {
                now += step;
                totals.peak_concurrency = totals.peak_concurrency.max(now as u32);
            }
        }
        Some(totals)
    }
}
