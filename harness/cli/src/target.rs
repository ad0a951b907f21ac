//! The engine to measure: made or found, asked for its version and for what it can do.

use crate::exit::{Exit, Failure};
use crate::setup::Setup;
use nomoat_core::backend::{Backend, BackendInfo, Capabilities, EngineVersion};
use nomoat_core::schedule::Load;
use nomoat_drive::{MonotonicClock, Stop};
use nomoat_http::{HttpBackend, HttpConfig, HttpVersion, Secret};
use nomoat_local::{LocalBackend, LocalConfig};
use std::sync::Arc;
use std::time::Duration;

/// How long the capacity of the built-in engine is probed.
const PROBE: Duration = Duration::from_secs(2);
/// Share of the probed capacity that the default load asks for: well below the 70 % at which queueing would show.
const SHARE: f64 = 0.6;
/// The default load asks for no more than this, so that a fast host is not the subject.
const RATE_MAX: f64 = 20.0;

/// An engine that answered.
pub struct Engine {
    /// The way to it.
    pub backend: Arc<dyn Backend>,
    /// The same, where it is the built-in one.
    pub local: Option<Arc<LocalBackend>>,
    /// What it is.
    pub info: BackendInfo,
    /// The receipt.
    pub version: EngineVersion,
    /// What it can do.
    pub can: Capabilities,
}

/// Makes the backend, asks it for its version and probes it.
pub fn connect(setup: &mut Setup, mut stop: Stop) -> Result<Engine, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::internal(format!("starting the runtime: {e}")))?;
    let (backend, local, endpoint): (Arc<dyn Backend>, _, Option<Arc<HttpBackend>>) = if setup.is_local() {
        let defaults = LocalConfig::default();
        let preset = setup.args.preset.get_or_insert(defaults.preset.clone()).clone();
        let local = LocalBackend::new(LocalConfig { preset, seed: setup.seed, ..defaults })?;
        (local.clone(), Some(local), None)
    } else {
        let config = http_config(setup);
        let endpoint = runtime.block_on(HttpBackend::new(config, Arc::new(MonotonicClock)))?;
        (endpoint.clone(), None, Some(endpoint))
    };
    let asked = runtime.block_on(async {
        tokio::select! {
            () = stop.wait() => Err(Failure { exit: Exit::Interrupted, message: "stopped before the load began; nothing was measured".into() }),
            asked = async { Ok((backend.probe().await?, backend.version().await?)) } => asked,
        }
    });
    let (mut can, version) = asked?;
    can.context_tokens = setup.args.context.or(can.context_tokens);
    can.geometry = setup.geometry.or(can.geometry);
    if !setup.is_local() {
        setup.args.model = Some(can.model.clone());
    }
    if setup.http == HttpVersion::Auto
        && let Some(endpoint) = endpoint
    {
        // What was found out becomes a setting of the run: its repetition and its calibration speak the same.
        setup.http = endpoint.speaks();
        setup.args.http = Some(if setup.http == HttpVersion::Two { "2" } else { "1" }.into());
    }
    Ok(Engine { info: backend.info(), backend, local, version, can })
}

fn http_config(setup: &Setup) -> HttpConfig {
    let args = &setup.args;
    HttpConfig {
        url: args.url.clone().unwrap_or_default(),
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
        metrics_url: args.metrics_url.clone(),
        fresh: !setup.reuse,
        http: setup.http,
        spread: setup.spread,
        exact: setup.length != Some(nomoat_core::request::OutputLength::Cap),
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
