//! Settings checked and made into nouns, before anything connects.

mod load;
mod worth;

pub use worth::name_and_count;

use crate::args::RunArgs;
use crate::config::choose;
use crate::energy::EnergyPlan;
use crate::exec;
use crate::exit::{Exit, Failure};
use crate::geometry;
use crate::launch::plan::Plan;
use crate::suites;
use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::cost::Pricing;
use nomoat_core::digest::Digest;
use nomoat_core::kv::KvGeometry;
use nomoat_core::request::OutputLength;
use nomoat_core::schedule::{Limit, Load, Rule, Schedule, Source, Warmup};
use nomoat_core::slo::Slo;
use nomoat_core::trace::{Fitted, Overlong, Trace};
use nomoat_core::units::Nanos;
use nomoat_drive::Timeouts;
use nomoat_http::HttpVersion;
use nomoat_http::engines::{Catalog, EngineSpec};
use nomoat_results::Format;
use nomoat_results::placement::Placement;
use nomoat_workloads::Suite;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Seed when none is given: runs are comparable unless the user asks otherwise.
pub const DEFAULT_SEED: u64 = 20_261_123;
const DEFAULT_TIMEOUT: Nanos = Nanos::from_secs(600);
const DEFAULT_MAX_IN_FLIGHT: u32 = 10_000;
/// Most endpoints of a run; each has connections of its own on every shard.
const MOST_ENDPOINTS: usize = 1024;

/// What decides the load.
#[derive(Clone, PartialEq, Debug)]
pub enum Mode {
    /// One run.
    Single(Load),
    /// One closed loop after the other.
    Ladder(Vec<u32>),
    /// The embedded default: the rate is found by a probe.
    Probed,
}

/// Checked settings of a run.
pub struct Setup {
    pub args: RunArgs,
    pub trace: Option<Arc<Trace>>,
    /// The suite it is of.
    pub suite: Option<Suite>,
    /// Words of generated texts, and the digest of the tokenizer they are from; no words for the bundled ones.
    pub words: Arc<[String]>,
    pub tokenizer: Option<Digest>,
    pub shape: Option<(u32, u32)>,
    pub mode: Mode,
    pub speed: f64,
    pub warmup: Warmup,
    pub limit: Limit,
    pub repeat: bool,
    pub length: Option<OutputLength>,
    pub overlong: Overlong,
    pub seed: u64,
    pub timeouts: Timeouts,
    pub wait_ready: Option<Nanos>,
    pub max_in_flight: u32,
    /// Which HTTP an endpoint is spoken to in.
    pub http: HttpVersion,
    /// Over HTTP/2, the connections of each shard.
    pub spread: usize,
    /// Whether connections are kept from request to request.
    pub reuse: bool,
    /// Requests in flight above which a due request waits.
    pub max_concurrency: Option<u32>,
    pub shards: u16,
    pub slo: Slo,
    pub pricing: Option<Pricing>,
    pub accelerators: Option<(String, u32)>,
    pub declared: Map<String, Value>,
    /// Where a scheduler put what is behind the endpoint.
    pub placement: Vec<Placement>,
    pub geometry: Option<KvGeometry>,
    /// How energy is read.
    pub energy: EnergyPlan,
    pub extra_body: Map<String, Value>,
    pub headers: Vec<(String, String)>,
    pub api_key: Option<String>,
    /// The engines that are known.
    pub catalog: Arc<Catalog>,
    /// What the endpoint is declared to be.
    pub engine: Option<Arc<EngineSpec>>,
    /// The engine to start for the run.
    pub launch: Option<Plan>,
    /// The adapter to speak to.
    pub adapter: Option<exec::Plan>,
    pub labels: BTreeMap<String, String>,
    pub out: PathBuf,
    pub format: Format,
    pub zero_on: Vec<Exit>,
}

impl Setup {
    /// Whether the engine in this process is measured.
    pub fn is_local(&self) -> bool {
        self.args.backend.as_deref() == Some("local")
    }

    /// Checks `args`.
    pub fn new(mut args: RunArgs) -> Result<Self, Failure> {
        let catalog = catalog(args.engines.as_deref())?;
        let known = |flag: &str, name: Option<&String>| {
            name.map(|name| catalog.get(name)).transpose().map_err(|e| Failure::usage(format!("{flag}: {e}")))
        };
        let adapter = exec::Plan::new(&args)?;
        let started = known("--launch", args.launch.as_ref())?;
        let launch = Plan::new(&args, started.as_deref())?;
        if let Some(plan) = &launch {
            // From here on it is an endpoint like any other; manifests get the settings back as they were given.
            args.url = vec![plan.url.clone()];
            args.model.clone_from(&plan.served_name);
        }
        let inferred = match &adapter {
            Some(_) => "exec",
            None if args.url.is_empty() => "local",
            None => "http",
        };
        let backend = choose("--backend", args.backend.as_deref().unwrap_or(inferred), &["local", "http", "exec"])?.to_owned();
        if adapter.is_some() && backend != "exec" {
            return Err(Failure::usage(format!("--exec and --exec-socket go with --backend exec, not with --backend {backend}")));
        }
        if backend == "exec" && adapter.is_none() {
            return Err(Failure::usage("--backend exec needs --exec COMMAND or --exec-socket PATH"));
        }
        if backend == "http" && args.url.is_empty() {
            return Err(Failure::usage("--backend http needs --url http://HOST:PORT"));
        }
        if backend == "local" && !args.url.is_empty() {
            return Err(Failure::usage("--backend local measures the engine in this process; it takes no --url"));
        }
        if args.url.len() > MOST_ENDPOINTS {
            return Err(Failure::usage(format!("--url is given {} times; at most {MOST_ENDPOINTS} endpoints share a run", args.url.len())));
        }
        if args.url.len() > 1 && !args.metrics_url.is_empty() {
            return Err(Failure::usage("--metrics-url is about one endpoint; of several, each one's /metrics is read where it has one"));
        }
        if args.calibrate && backend == "local" {
            return Err(Failure::usage(
                "--calibrate measures the way from a socket to a record, which the engine in this process does not take; it needs --url",
            ));
        }
        if args.calibrate && backend == "exec" {
            return Err(Failure::usage(
                "--calibrate measures the way from a TCP socket through HTTP to a record, which an adapter's answers do not take; it needs --url",
            ));
        }
        if args.engine.is_some() && backend == "local" {
            return Err(Failure::usage("--engine says what an endpoint is; it needs --url"));
        }
        args.backend = Some(backend);
        let engine = known("--engine", args.engine.as_ref())?.or(started.filter(|_| launch.as_ref().is_some_and(|plan| plan.is_known)));
        let seed = *args.seed.get_or_insert(DEFAULT_SEED);
        let suite = suites::apply(&mut args)?;
        let shape = load::shape(&args)?;
        let trace = load::trace(&args, suite.as_ref(), shape, seed)?;
        let (words, tokenizer) = load::words(&args)?;
        let mode = load::mode(&args, trace.as_deref())?;
        let bundled = args.trace.is_none() && suite.is_none() && shape.is_none();
        let (warmup, limit, repeat) = load::window(&args, &mode, bundled)?;
        let price = worth::pricing(&args)?;
        let (accelerators, declared) = worth::system(&args)?;
        let placement = worth::placement(&args)?;
        let (kv_dtype, config) = (args.kv_dtype.as_deref(), args.model_config.as_deref());
        if kv_dtype.is_some() && config.is_none() {
            return Err(Failure::usage("--kv-dtype says how the cache of --model-config FILE is kept; give that too"));
        }
        let (http, most) = load::connections(&args)?;
        let shards = match args.shards {
            Some(0) => return Err(Failure::usage("--shards must be at least 1")),
            Some(n) => n,
            None => default_shards(),
        };
        Ok(Self {
            trace,
            suite,
            words,
            tokenizer,
            shape,
            catalog,
            engine,
            launch,
            adapter,
            speed: args.speed.unwrap_or(1.0),
            warmup,
            limit,
            repeat,
            mode,
            length: args
                .output_length
                .as_deref()
                .map(|w| choose("--output-length", w, &["exact", "cap"]))
                .transpose()?
                .map(|w| if w == "cap" { OutputLength::Cap } else { OutputLength::Exact }),
            overlong: match choose("--overlong", args.overlong.as_deref().unwrap_or("refuse"), &["refuse", "skip", "clip"])? {
                "skip" => Overlong::Skip,
                "clip" => Overlong::Clip,
                _ => Overlong::Refuse,
            },
            seed,
            timeouts: Timeouts {
                total: time("--timeout", args.timeout.as_deref())?.unwrap_or(DEFAULT_TIMEOUT),
                first_token: time("--first-token-timeout", args.first_token_timeout.as_deref())?,
            },
            wait_ready: time("--wait-ready", args.wait_ready.as_deref())?,
            reuse: args.connections.as_deref() != Some("per-request"),
            max_concurrency: [most.filter(|_| http == HttpVersion::One), args.max_concurrency].into_iter().flatten().min(),
            spread: most
                .filter(|_| http == HttpVersion::Two)
                .map_or(1, |n| (n as usize).div_ceil(usize::from(shards) * args.url.len().max(1))),
            http,
            max_in_flight: args.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT),
            shards,
            slo: worth::slo(&args)?,
            pricing: price,
            accelerators,
            declared,
            placement,
            geometry: config.map(|path| geometry::read(path, kv_dtype)).transpose()?,
            energy: EnergyPlan::new(&args.energy)?,
            extra_body: extra_body(&args)?,
            headers: headers(&args)?,
            api_key: api_key(&args)?,
            labels: labels(&args)?,
            out: args.out.clone().or_else(|| std::env::var_os("NOMOAT_OUT").map(PathBuf::from)).unwrap_or_else(|| PathBuf::from("runs")),
            format: format(args.format.as_deref().unwrap_or("table"))?,
            zero_on: zero_on(&args)?,
            args,
        })
    }

    /// The schedule under `load`, fitted to what the engine can hold.
    pub fn schedule(&self, load: Load, context: Option<u32>) -> Result<(Schedule, Option<Fitted>), Failure> {
        if let (Some(suite), Some(context), None) = (&self.suite, context, &self.args.overlong) {
            suites::check(suite, context)?;
        }
        let fitted = match (&self.trace, context) {
            (Some(trace), Some(context)) => Some(trace.fit(context, self.overlong).map_err(Failure::usage)?),
            (Some(trace), None) => Some(Fitted { trace: trace.clone(), clipped: 0, skipped: 0 }),
            (None, Some(context)) => {
                let (input, output) = self.shape.unwrap_or_default();
                if u64::from(input) + u64::from(output) > u64::from(context) {
                    return Err(Failure::usage(format!(
                        "prompts of {input} and answers of {output} tokens do not fit the engine's context of {context} tokens; lower --input-tokens or --output-tokens"
                    )));
                }
                None
            }
            (None, None) => None,
        };
        if let Some(none) = fitted.as_ref().filter(|f| f.trace.requests.is_empty()) {
            return Err(Failure::usage(format!(
                "all {} requests of trace `{}` are longer than the context; see --overlong clip",
                none.skipped, none.trace.name
            )));
        }
        let source = match (&fitted, self.shape) {
            (Some(fitted), _) => Source::Trace(fitted.trace.clone()),
            (None, shape) => {
                let (input_tokens, output_tokens) = shape.unwrap_or_default();
                Source::Fixed { input_tokens, output_tokens }
            }
        };
        let rule = Rule {
            source,
            load,
            speed: self.speed,
            warmup: self.warmup,
            limit: self.limit,
            repeat: self.repeat,
            length: self.length,
            seed: self.seed,
        };
        Ok((Schedule::new(rule).map_err(Failure::usage)?, fitted))
    }

    /// The load in words, with the original rate where it was changed.
    pub fn load_words(&self, load: Load, trace: Option<&Trace>) -> String {
        let recorded = trace.and_then(Trace::rate_per_s).map_or(String::new(), |r| format!(" (recorded {r:.2}/s)"));
        match load {
            Load::Replay if (self.speed - 1.0).abs() < f64::EPSILON => format!("recorded arrivals{recorded}"),
            Load::Replay => format!("recorded arrivals at speed {}{recorded}", self.speed),
            Load::Rescaled { rate_per_s } => format!("recorded arrivals scaled to {rate_per_s:.3}/s{recorded}"),
            Load::Arrivals { process: ArrivalProcess::Gamma { cv }, rate_per_s } => {
                format!("gamma arrivals at {rate_per_s:.3}/s, cv {cv:.3} (burstiness {:.3}){recorded}", 1.0 / (cv * cv))
            }
            Load::Arrivals { process, rate_per_s } => format!("{} arrivals at {rate_per_s:.3}/s{recorded}", process.name()),
            Load::Closed { concurrency, think } if think.0 > 0 => format!("closed loop of {concurrency}, think time {think}"),
            Load::Closed { concurrency, .. } => format!("closed loop of {concurrency}"),
        }
    }
}

/// The engines that are known: those of this program, and over them those of `folder`, or of the folder that the environment names.
pub fn catalog(folder: Option<&Path>) -> Result<Arc<Catalog>, Failure> {
    let named = std::env::var_os("NOMOAT_ENGINES").filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = folder.map(Path::to_path_buf).or(named);
    Catalog::load(folder.as_deref()).map(Arc::new).map_err(Failure::usage_of)
}

/// Cores less one, at least one.
fn default_shards() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.saturating_sub(1).clamp(1, 64) as u16
}

pub fn time(flag: &str, text: Option<&str>) -> Result<Option<Nanos>, Failure> {
    text.map(|t| Nanos::parse(t).map_err(|e| Failure::usage(format!("{flag} {e}")))).transpose()
}

fn extra_body(args: &RunArgs) -> Result<Map<String, Value>, Failure> {
    match args.extra_body.as_deref().map(serde_json::from_str) {
        None => Ok(Map::new()),
        Some(Ok(Value::Object(map))) => Ok(map),
        Some(Ok(_)) => Err(Failure::usage("--extra-body must be a JSON object, such as '{\"top_k\":1}'")),
        Some(Err(e)) => Err(Failure::usage(format!("--extra-body is not JSON: {e}"))),
    }
}

fn headers(args: &RunArgs) -> Result<Vec<(String, String)>, Failure> {
    args.header
        .iter()
        .map(|h| match h.split_once(':') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            // Not shown: it may be a key.
            None => Err(Failure::usage("a --header has no colon; write --header 'Name: value'")),
        })
        .collect()
}

fn api_key(args: &RunArgs) -> Result<Option<String>, Failure> {
    let Some(name) = &args.api_key_env else {
        return Ok(std::env::var("NOMOAT_API_KEY").ok().filter(|key| !args.url.is_empty() && !key.trim().is_empty()));
    };
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        // Not shown: it is probably the key itself.
        return Err(Failure::usage("--api-key-env takes the name of an environment variable, not a key"));
    }
    match std::env::var(name) {
        Ok(key) if !key.trim().is_empty() => Ok(Some(key)),
        _ => Err(Failure::usage(format!("--api-key-env: the environment variable `{name}` is not set or is empty"))),
    }
}

fn labels(args: &RunArgs) -> Result<BTreeMap<String, String>, Failure> {
    args.label
        .iter()
        .map(|l| {
            l.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).ok_or_else(|| Failure::usage(format!("--label `{l}` is not K=V")))
        })
        .collect()
}

/// The output format by its name.
pub fn format(word: &str) -> Result<Format, Failure> {
    let name = choose("--format", word, &Format::ALL.map(|(_, name)| name))?;
    Ok(Format::ALL.iter().find(|(_, known)| *known == name).map_or(Format::Table, |(format, _)| *format))
}

fn zero_on(args: &RunArgs) -> Result<Vec<Exit>, Failure> {
    let known = [Exit::Invalid, Exit::SloMissed, Exit::Partial, Exit::NothingMeasured, Exit::Interrupted];
    let names: Vec<&str> = known.iter().map(|e| e.name()).collect();
    let words = args.exit_zero_on.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|w| !w.is_empty());
    words
        .map(|word| {
            let name = choose("--exit-zero-on", word, &names)?;
            Ok(known[names.iter().position(|n| *n == name).unwrap_or_default()])
        })
        .collect()
}
