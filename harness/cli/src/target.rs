//! The engine to measure: made or found, asked for its version and for what it can do.

use crate::agree::{Found, agree};
use crate::exit::Failure;
use crate::launch::Watched;
use crate::setup::Setup;
use crate::wait::{block_on, unless_stopped};
use nomoat_core::backend::{Backend, BackendInfo, Capabilities, EngineVersion};
use nomoat_core::request::OutputLength;
use nomoat_core::schedule::Load;
use nomoat_core::units::Nanos;
use nomoat_drive::{MonotonicClock, Stop};
use nomoat_exec::ExecBackend;
use nomoat_http::{HttpBackend, HttpConfig, HttpVersion, Secret};
use nomoat_local::{LocalBackend, LocalConfig};
use nomoat_results::manifest::{ColdStart, Launched};
use std::sync::Arc;
use std::time::Duration;

/// How long the capacity of the built-in engine is probed.
const PROBE: Duration = Duration::from_secs(2);
/// Share of the probed capacity that the default load asks for: well below the 70 % at which queueing would show.
const SHARE: f64 = 0.6;
/// The default load asks for no more than this, so that a fast host is not the subject.
const RATE_MAX: f64 = 20.0;

/// What is said of a stop before the load.
pub const UNMEASURED: &str = "stopped before the load began; nothing was measured";

/// An engine that answered.
pub struct Engine {
    /// The way to each of its endpoints; the engine in this process has one.
    pub backends: Vec<Arc<dyn Backend>>,
    /// Where they are, in the same order.
    pub targets: Vec<String>,
    /// The same, where it is the built-in one.
    pub local: Option<Arc<LocalBackend>>,
    /// The same, where they are spoken to over HTTP.
    pub over_http: Vec<Arc<HttpBackend>>,
    /// The same, where it is behind an adapter.
    pub adapter: Option<Arc<ExecBackend>>,
    /// What it is.
    pub info: BackendInfo,
    /// The receipt.
    pub version: EngineVersion,
    /// What it can do.
    pub can: Capabilities,
    /// When the first token of its first answer to us arrived.
    pub first_token: Option<Nanos>,
    /// How it was started and how long that took, where we did.
    pub born: Option<(Launched, ColdStart)>,
}

impl Engine {
    /// Takes note that it runs as our child, process group `group`: its memory is read beside its metrics, and manifests tell of its
    /// start.
    pub fn is_child(&mut self, group: u32, launched: Launched, cold_start: ColdStart) {
        let watch = |inner: Arc<dyn Backend>| Arc::new(Watched::new(inner, group)) as Arc<dyn Backend>;
        self.backends = std::mem::take(&mut self.backends).into_iter().map(watch).collect();
        self.born = Some((launched, cold_start));
    }
}

/// Makes the backend, asks it for its version and probes it.
pub fn connect(setup: &mut Setup, stop: Stop) -> Result<Engine, Failure> {
    let mut exec = None;
    let (backends, local, over_http) = if setup.is_local() {
        let defaults = LocalConfig::default();
        let preset = setup.args.preset.get_or_insert(defaults.preset.clone()).clone();
        let local = LocalBackend::new(LocalConfig { preset, seed: setup.seed, ..defaults })?;
        (vec![local.clone() as Arc<dyn Backend>], Some(local), vec![])
    } else if let Some(adapter) = &setup.adapter {
        let backend = exec.insert(ExecBackend::new(adapter.config(setup), Arc::new(MonotonicClock)));
        (vec![backend.clone() as Arc<dyn Backend>], None, vec![])
    } else {
        let clock = Arc::new(MonotonicClock);
        let made = setup.args.url.iter().map(|url| Ok(block_on(HttpBackend::new(http_config(setup, url), clock.clone()))??));
        let over_http: Vec<Arc<HttpBackend>> = made.collect::<Result<_, Failure>>()?;
        (over_http.iter().map(|b| b.clone() as Arc<dyn Backend>).collect(), None, over_http)
    };
    let asked = unless_stopped(stop, UNMEASURED, ask(&backends))?;
    let targets = asked.iter().map(|f| f.info.target.clone()).collect();
    let Found { info, version, mut can } = agree(&asked)?;
    can.context_tokens = setup.args.context.or(can.context_tokens);
    can.geometry = setup.geometry.or(can.geometry);
    if setup.adapter.is_some()
        && let Some(asked) = setup.args.model.as_ref().filter(|asked| **asked != can.model)
    {
        // An adapter has one model, and is not told which.
        return Err(Failure::usage(format!("--model {asked}: the adapter has {}; leave --model out to measure that", can.model)));
    }
    if !setup.is_local() {
        setup.args.model = Some(can.model.clone());
    }
    if !can.exact_length && setup.length.is_none() {
        // What cannot be forced is not asked for: an answer that ends where the model ends it is no failure. Who insists says so.
        setup.length = Some(OutputLength::Cap);
        setup.args.output_length = Some("cap".into());
    }
    if setup.http == HttpVersion::Auto
        && let Some((first, others)) = over_http.split_first()
    {
        if let Some(other) = others.iter().find(|other| other.speaks() != first.speaks()) {
            let (a, b) = (first.info().target, other.info().target);
            return Err(Failure::usage(format!(
                "--http auto finds HTTP/1.1 and HTTP/2, one at {a} and the other at {b}; give --http 1 or 2"
            )));
        }
        // What was found out becomes a setting of the run: its repetition and its calibration speak the same.
        setup.http = first.speaks();
        setup.args.http = Some(if setup.http == HttpVersion::Two { "2" } else { "1" }.into());
    }
    let first_token = over_http.first().and_then(|backend| backend.first_token());
    Ok(Engine { backends, targets, local, over_http, adapter: exec, info, version, can, first_token, born: None })
}

/// What each of them is and can do, asked one after the other.
async fn ask(backends: &[Arc<dyn Backend>]) -> Result<Vec<Found>, Failure> {
    let mut found = vec![];
    for backend in backends {
        let can = backend.probe().await?;
        // After the probe, which settles the dialect.
        found.push(Found { can, version: backend.version().await?, info: backend.info() });
    }
    Ok(found)
}

/// How an endpoint is reached.
pub fn http_config(setup: &Setup, url: &str) -> HttpConfig {
    let args = &setup.args;
    HttpConfig {
        url: url.to_owned(),
        model: args.model.clone(),
        path: args.endpoint.clone(),
        api_key: setup.api_key.clone().map(Secret::new),
        headers: setup.headers.iter().map(|(n, v)| (n.clone(), Secret::new(v.clone()))).collect(),
        extra_body: setup.extra_body.clone(),
        temperature: Some(args.temperature.unwrap_or(0.0)),
        ca_file: args.ca_file.clone(),
        insecure: args.insecure,
        proxy: args.proxy.clone(),
        wait_ready: setup.wait_ready.map(nomoat_core::units::Nanos::to_std),
        first_answer: Some(setup.timeouts.first_token.unwrap_or(setup.timeouts.total).to_std()),
        metrics_urls: args.metrics_url.clone(),
        fresh: !setup.reuse,
        http: setup.http,
        spread: setup.spread,
        exact: setup.length != Some(OutputLength::Cap),
        engine: setup.engine.clone(),
        retries: args.retries.unwrap_or(0),
        catalog: Some(setup.catalog.clone()),
    }
}

/// The load of the embedded default: a share of what the engine can do on this host, found by running it. The rate becomes a setting
/// of the run, so that repeating it from its manifest asks for the same.
pub fn probed_load(setup: &mut Setup, engine: &Engine) -> Result<Load, Failure> {
    let Some(local) = &engine.local else { return Err(Failure::usage("an endpoint needs --rate, --concurrency or --trace")) };
    let requests = setup.trace.as_ref().map_or(&[][..], |t| &t.requests[..]);
    let n = requests.len().max(1) as u64;
    let mean =
        |of: fn(&nomoat_core::trace::TraceRequest) -> u32| (requests.iter().map(|r| u64::from(of(r))).sum::<u64>().div_ceil(n)) as u32;
    let shape = (mean(|r| r.input_tokens), mean(|r| r.output_tokens));
    if !setup.args.quiet {
        eprintln!("probing the built-in engine for {} s; --rate R would fix the load instead", PROBE.as_secs());
    }
    let capacity = local.probe_capacity(PROBE, shape, 16)?;
    // Three digits: the manifest shall be readable, and the same text shall give the same schedule.
    let rate = ((capacity.requests_per_s * SHARE).min(RATE_MAX) * 1000.0).round() / 1000.0;
    if rate <= 0.0 {
        return Err(Failure::internal("the built-in engine answered nothing while it was probed"));
    }
    if !setup.args.quiet {
        eprintln!("capacity {:.0} requests/s of {} + {} tokens; the load is {rate} requests/s", capacity.requests_per_s, shape.0, shape.1);
    }
    setup.args.rate = Some(rate);
    Ok(Load::Rescaled { rate_per_s: rate })
}
