//! What a run says: the input of the fold beside the records, and its result. The fold itself is [`crate::fold`].

use crate::conform::Repeats;
use crate::cost::Pricing;
use crate::energy::{self, EnergyFacts};
use crate::fidelity::{Content, Fidelity, PredictedCache, Routes};
use crate::kv::KvGeometry;
use crate::record::{Connection, ErrorCode, Phase, Status};
use crate::schedule::{Limit, Warmup};
use crate::slo::Slo;
use crate::units::Nanos;
use crate::validity::Validity;

/// What the fold must know of a run beside its records: all of it is in the manifest.
#[derive(Clone, PartialEq, Debug)]
pub struct RunFacts {
    /// Start of the schedule on the run's clock.
    pub start: Nanos,
    /// When the last record was in.
    pub stop: Nanos,
    /// What came before the window.
    pub warmup: Warmup,
    /// How long the window was to be.
    pub limit: Limit,
    /// Lanes of a closed loop; `None` for an open one.
    pub concurrency: Option<u32>,
    /// Requests the schedule handed out until it ended or the window closed, warm-up included. V04 holds the records against it.
    pub scheduled: u64,
    /// Requests per second that the schedule offers in the window, for an open loop.
    pub offered_rate_per_s: Option<f64>,
    /// Whether answer lengths were asked for exactly.
    pub exact_length: bool,
    /// Names of request classes.
    pub classes: Vec<String>,
    /// The service level.
    pub slo: Slo,
    /// What a token costs, where the user told.
    pub pricing: Option<Pricing>,
    /// Accelerators behind the endpoint, where the user told.
    pub accelerators: Option<u32>,
    /// Shape of the KV cache, where known.
    pub geometry: Option<KvGeometry>,
    /// Requests cut to fit the context.
    pub clipped: u32,
    /// Requests left out because they did not fit.
    pub skipped: u32,
    /// Whether the user stopped the run.
    pub interrupted: bool,
    /// Whether the engine shares this host's cores.
    pub shares_host: bool,
    /// Whether TLS verification was off.
    pub insecure: bool,
    /// Endpoints of the engine that the requests were spread over.
    pub endpoints: u16,
    /// The 99th percentile of the instrument's own error of TTFT at this load, the worse of before and after the run; `None` where it was
    /// not calibrated.
    pub instrument_error: Option<Nanos>,
    /// Share of the prompt tokens that begin an earlier prompt of the run ([`crate::schedule::Schedule::shared_prefix`]); `None` where that
    /// is not known.
    pub shared_prefix: Option<f64>,
    /// How answers repeated before the run; `None` where that was not asked for.
    pub repeats: Option<Repeats>,
    /// What prompts consisted of; `None` in runs from before it was told.
    pub content: Option<Content>,
    /// Why the words matter to this engine's speed; `None` where nothing tells that they do.
    pub routes: Option<Routes>,
    /// What a prefix cache without bounds finds of the run's prompts; `None` where that is not known.
    pub predicted_cache: Option<PredictedCache>,
    /// What is known of energy beside the readings.
    pub energy: EnergyFacts,
}

impl Default for RunFacts {
    /// A run without a warm-up of which nothing else is known.
    fn default() -> Self {
        Self {
            start: Nanos::ZERO,
            stop: Nanos::ZERO,
            warmup: Warmup::Time(Nanos::ZERO),
            limit: Limit::default(),
            concurrency: None,
            scheduled: 0,
            offered_rate_per_s: None,
            exact_length: false,
            classes: vec![],
            slo: Slo::default(),
            pricing: None,
            accelerators: None,
            geometry: None,
            clipped: 0,
            skipped: 0,
            interrupted: false,
            shares_host: false,
            insecure: false,
            endpoints: 1,
            instrument_error: None,
            shared_prefix: None,
            repeats: None,
            content: None,
            routes: None,
            predicted_cache: None,
            energy: EnergyFacts::default(),
        }
    }
}

/// Which number of a distribution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stat {
    /// Median.
    P50,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
    /// Arithmetic mean.
    Mean,
    /// Largest value.
    Max,
    /// A sum or a count.
    Total,
    /// Per second, or a share.
    Rate,
    /// A single value.
    Value,
}

impl Stat {
    /// The numbers of a distribution, in the order of reports.
    pub const DISTRIBUTION: [Self; 6] = [Self::P50, Self::P90, Self::P95, Self::P99, Self::Mean, Self::Max];

    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        ["p50", "p90", "p95", "p99", "mean", "max", "total", "rate", "value"][self as usize]
    }

    /// The quantile, for percentiles.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.50),
            Self::P90 => Some(0.90),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
            _ => None,
        }
    }
}

/// Which requests a number is about. The two are never mixed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Population {
    /// Requests that were answered.
    Ok,
    /// All intended requests; a failure counts as +∞.
    All,
}

impl Population {
    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        ["ok", "all"][self as usize]
    }
}

/// A part of the run a number is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// One class of requests.
    pub class: Option<String>,
    /// Requests on one kind of connection.
    pub connection: Option<Connection>,
    /// Requests to one of several endpoints, by its index.
    pub endpoint: Option<u16>,
    /// Of an energy: what drew it; `None` where nothing was read.
    pub energy: Option<energy::Scope>,
    /// The phase; the measured window unless said otherwise.
    pub phase: Phase,
}

/// A confidence interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end; `None` when open.
    pub hi: Option<f64>,
    /// Level, such as 0.95.
    pub level: f64,
}

/// One number of a report.
#[derive(Clone, PartialEq, Debug)]
pub struct MetricRow {
    /// Which metric; one of [`crate::metric::METRICS`].
    pub name: &'static str,
    /// Its unit: `ns`, `tokens/s`, `bytes`, `USD`, …
    pub unit: &'static str,
    /// Which number.
    pub stat: Stat,
    /// About which requests.
    pub population: Population,
    /// About which part.
    pub scope: Scope,
    /// The number; `None` when it does not exist, with the reason.
    pub value: Option<f64>,
    /// How many observations.
    pub n: u64,
    /// How many independent ones they are worth, where it was estimated.
    pub n_eff: Option<f64>,
    /// The interval, where there is one.
    pub ci: Option<Interval>,
    /// How it was computed: `exact`, `hist`, `sum`, `formula`, `gauge`; of energies `counter`, `trapezoid`, `job`.
    pub method: &'static str,
    /// Why there is no number, or what to know about it; names the flag or the n it needs.
    pub reason: Option<String>,
}

/// The measured window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Window {
    /// First moment.
    pub start: Nanos,
    /// Last moment.
    pub end: Nanos,
}

impl Window {
    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.end - self.start).as_secs_f64()
    }
}

/// How many of what. Counts are of the measured phase unless they say otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Handed out by the schedule, all phases.
    pub scheduled: u64,
    /// Records of all phases.
    pub recorded: u64,
    /// Records of the warm-up.
    pub warmup: u64,
    /// Records of the drain.
    pub drain: u64,
    /// Intended requests of the window.
    pub measured: u64,
    /// Whose bytes were sent.
    pub sent: u64,
    /// Answered.
    pub ok: u64,
    /// Failed, dropped ones included.
    pub failed: u64,
    /// Whose user went away, by the trace: neither answered nor failed, and in no latency.
    pub left: u64,
    /// By status, those that occurred.
    pub by_status: Vec<(Status, u64)>,
    /// By error, those that occurred.
    pub by_error: Vec<(ErrorCode, u64)>,
    /// By endpoint, in the order of their indices; empty where there is one.
    pub by_endpoint: Vec<EndpointCounts>,
    /// Prompt tokens of answered requests, as counted.
    pub input_tokens: u64,
    /// Of them cached.
    pub cached_tokens: u64,
    /// Prompt tokens the trace asked for in those requests.
    pub input_wanted: u64,
    /// Output tokens of answered requests, as counted.
    pub output_tokens: u64,
    /// Output tokens the trace asked for in those requests.
    pub output_wanted: u64,
    /// Output tokens of requests that met the service level, as an API bills them; `None` where there is no service level.
    pub good_tokens: Option<u64>,
    /// Requests whose output was counted in events, because the endpoint reports nothing.
    pub uncounted: u64,
    /// Requests cut to fit the context.
    pub clipped: u32,
    /// Requests left out because they did not fit.
    pub skipped: u32,
}

/// How many requests of the window one of several endpoints got, and what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EndpointCounts {
    /// Intended.
    pub measured: u64,
    /// Answered.
    pub ok: u64,
    /// Failed, dropped ones included.
    pub failed: u64,
    /// Output tokens of answered requests, as counted.
    pub output_tokens: u64,
}

/// What a run says.
#[derive(Clone, PartialEq, Debug)]
pub struct RunReport {
    /// The measured window.
    pub window: Window,
    /// How many of what.
    pub counts: Counts,
    /// Every number; the key is all fields but the numbers.
    pub metrics: Vec<MetricRow>,
    /// How faithfully it offered its workload.
    pub fidelity: Fidelity,
    /// Whether to believe it.
    pub validity: Validity,
}

impl RunReport {
    /// A number over the whole run, by its name, statistic and population.
    pub fn get(&self, name: &str, stat: Stat, population: Population) -> Option<&MetricRow> {
        self.metrics.iter().find(|r| r.name == name && r.stat == stat && r.population == population && r.scope == Scope::default())
    }

    /// A number about energy over the whole run, of the scope that is the headline: the one the user named, else the first that was read.
    pub fn energy(&self, name: &str) -> Option<&MetricRow> {
        let whole = |r: &&MetricRow| Scope { energy: None, ..r.scope.clone() } == Scope::default();
        self.metrics.iter().filter(whole).find(|r| r.name == name)
    }

    /// The number over the whole run of a metric that has only one: rates, shares, sums and gauges.
    pub fn single(&self, name: &str) -> Option<&MetricRow> {
        let mut rows = self.metrics.iter().filter(|r| r.name == name && r.scope == Scope::default());
        rows.next().filter(|_| rows.next().is_none())
    }
}
