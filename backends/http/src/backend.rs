//! An endpoint as a backend: found, asked what it can do, and driven.

mod aside;
mod models;
mod pages;
mod settle;

pub use aside::{OneToken, Reply};

use crate::channel::HttpChannel;
use crate::control::{Answer, CONTROL_LIMIT, CONTROL_TIMEOUT, ControlError, exchange};
use crate::encoder::{Counting, HttpEncoder, IDS, Secret};
use crate::engines::{Asker, Catalog, EngineSpec, Identity, Kind, Page, Pages, identify};
use crate::http2::{Http2Channel, Pool, Spread, Template};
use crate::protocol::{COMMON, PROTOCOLS, Protocol, ends_in};
use crate::retry::{Declined, Retrying};
use crate::scrape::Scrapers;
use crate::socket::{STAMPS, Stamping};
use crate::tls;
use crate::transport::Route;
use crate::url::Endpoint;
use crate::version::{HttpVersion, Spoken};
use nomoat_core::backend::{
    Backend, BackendError, BackendInfo, BoxFuture, Capabilities, Channel, Encoder, EngineVersion, Offer, Telemetry, Told,
};
use nomoat_core::clock::Clock;
use nomoat_core::request::ShardId;
use nomoat_core::units::Nanos;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const READY_EVERY: Duration = Duration::from_millis(500);

/// How to reach an endpoint and what to ask of it.
#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// Its address.
    pub url: String,
    /// The model to ask for; found out when it lists exactly one.
    pub model: Option<String>,
    /// The route to post to; its end tells the dialect.
    pub path: Option<String>,
    /// The API key.
    pub api_key: Option<Secret>,
    /// Further headers.
    pub headers: Vec<(String, Secret)>,
    /// Merged into every body, last.
    pub extra_body: Map<String, Value>,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// More roots to trust.
    pub ca_file: Option<PathBuf>,
    /// Trust anything.
    pub insecure: bool,
    /// An HTTP proxy.
    pub proxy: Option<String>,
    /// Which HTTP to speak.
    pub http: HttpVersion,
    /// Over HTTP/2, the connections of a shard over which it spreads its requests; 0 counts as 1.
    pub spread: usize,
    /// How long to wait for it to be ready.
    pub wait_ready: Option<Duration>,
    /// How long the pre-flight may take to answer.
    pub first_answer: Option<Duration>,
    /// Where its metrics are, one page or several; beside the API where there is none.
    pub metrics_urls: Vec<String>,
    /// Whether the user asked for exact answer lengths.
    pub exact: bool,
    /// Whether every request gets a connection of its own.
    pub fresh: bool,
    /// How often a request that is declined for now (429, 503) is tried again.
    pub retries: u16,
    /// What the endpoint is declared to be; found out where nothing is.
    pub engine: Option<Arc<EngineSpec>>,
    /// The engines that are known; those of this crate where there is none.
    pub catalog: Option<Arc<Catalog>>,
}

/// An OpenAI-compatible endpoint.
pub struct HttpBackend {
    config: HttpConfig,
    catalog: Arc<Catalog>,
    route: Arc<Route>,
    /// Settled by the probe.
    settled: Mutex<HttpEncoder>,
    /// Found out by the probe.
    identity: Mutex<Option<Identity>>,
    /// Its pages of metrics, found by the probe.
    pages: Mutex<Vec<(Arc<Route>, String)>>,
    /// When the first token of all arrived.
    first_token: Mutex<Option<Nanos>>,
    /// Of each shard, where HTTP/2 is spoken.
    pools: Mutex<HashMap<ShardId, Arc<Pool>>>,
}

impl HttpBackend {
    /// Resolves the address and checks the settings; does not connect.
    ///
    /// # Errors
    /// What is wrong with the settings, or that the name does not resolve.
    pub async fn new(config: HttpConfig, clock: Arc<dyn Clock>) -> Result<Arc<Self>, BackendError> {
        let endpoint = Endpoint::parse(&config.url).map_err(|e| BackendError::Config(format!("--url {e}")))?;
        if let Some(full) = PROTOCOLS.iter().rfind(|p| ends_in(config.url.trim_end_matches('/'), p.path())) {
            return Err(BackendError::Config(format!(
                "--url {} is a whole route; give the server as --url and --endpoint {}",
                config.url,
                full.path()
            )));
        }
        if !endpoint.tls {
            // Checked also where it is not used: a setting that is wrong must not wait for the day it is needed.
            tls::client(config.ca_file.as_deref(), config.insecure).map_err(BackendError::Config)?;
        }
        if config.proxy.is_some() && config.http == HttpVersion::Two && !endpoint.tls {
            return Err(BackendError::Config(
                "--http 2 over http:// does not pass a proxy; give an https:// address or leave one out".into(),
            ));
        }
        let catalog = match &config.catalog {
            Some(catalog) => catalog.clone(),
            None => Arc::new(Catalog::load(None).map_err(|e| BackendError::Config(e.to_string()))?),
        };
        let route = Arc::new(route(&config, endpoint.clone(), config.http, clock).await?);
        for (name, value) in config.headers.iter().map(|(n, v)| (n.as_str(), v)).chain(config.api_key.iter().map(|k| ("Authorization", k)))
        {
            let bad_name = name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            if bad_name || value.reveal().bytes().any(|b| b < 0x20 || b == 0x7f) {
                // The value is not shown: it may be a key with a newline at its end.
                return Err(BackendError::Config(format!(
                    "the header `{name}` has a line break or another character that no header may have; check how it was made"
                )));
            }
        }
        let protocol = match &config.path {
            None => COMMON[0],
            Some(path) => by_path(path).ok_or_else(|| {
                let known: Vec<_> = PROTOCOLS.iter().map(|p| p.path().trim_start_matches("/v1")).collect();
                BackendError::Config(format!("--endpoint {path} is no route this version speaks; it must end in {}", known.join(", ")))
            })?,
        };
        let mut headers = config.headers.clone();
        if let Some(key) = &config.api_key {
            // Before anything is asked: what takes its key in a way of its own is hosted, and known by its host's name.
            let auth = config.engine.clone().or_else(|| catalog.by_address(&Pages::of(&endpoint))).map(|spec| spec.auth.clone());
            let auth = auth.unwrap_or_default();
            let value = if auth.scheme.is_empty() { key.reveal().to_owned() } else { format!("{} {}", auth.scheme, key.reveal()) };
            headers.push((auth.header, Secret::new(value)));
        }
        let encoder = HttpEncoder {
            protocol,
            // As long as it is not settled; a model's name is put in then.
            path: config.path.clone().unwrap_or_else(|| format!("{}{}", endpoint.root, protocol.path())),
            absolute: route.proxied && !endpoint.tls,
            http2: false,
            endpoint,
            headers,
            model: config.model.clone().unwrap_or_default(),
            token_ids: false,
            exact: config.exact,
            fields: None,
            usage: true,
            temperature: config.temperature,
            extra: config.extra_body.clone(),
            seed: 0,
            adapters: Arc::new([]),
            words: Arc::new([]),
            counting: Counting::PLAIN,
            tag: String::new(),
        };
        if config.http != HttpVersion::One {
            Template::new(&encoder, &encoder.path).map_err(BackendError::Config)?;
        }
        Ok(Arc::new(Self {
            config,
            catalog,
            route,
            settled: Mutex::new(encoder),
            identity: Mutex::default(),
            pages: Mutex::default(),
            first_token: Mutex::new(None),
            pools: Mutex::default(),
        }))
    }

    /// Which HTTP is spoken. Where TLS decides, that is known after the probe.
    pub fn speaks(&self) -> HttpVersion {
        if self.route.spoken.is_two() { HttpVersion::Two } else { HttpVersion::One }
    }

    /// A channel that asks again, where the user wants that.
    fn retrying(&self, channel: impl Declined + 'static) -> Box<dyn Channel> {
        match self.config.retries {
            0 => Box::new(channel),
            most => Box::new(Retrying::new(channel, most)),
        }
    }

    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    pub(crate) fn settled(&self) -> HttpEncoder {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shown(&self) -> String {
        self.route.endpoint.to_string()
    }

    async fn get(&self, path: &str) -> Result<Answer, ControlError> {
        let (request, _) = self.settled().wire("GET", path, "", &[]);
        exchange(&self.route, &request, CONTROL_LIMIT, CONTROL_TIMEOUT).await
    }

    /// What the endpoint is, found out once. `models` is its list of models, where that was asked for already.
    async fn identity(&self, models: Option<&Answer>) -> Identity {
        let known = self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return known;
        }
        let mut seen = Pages::of(&self.route.endpoint);
        if let Some(models) = models {
            seen.pages.insert("/v1/models".into(), Some(page(models)));
        }
        let named = self.config.engine.clone().or_else(|| self.catalog.by_address(&seen));
        // A hosted API has no such page, and asking for it counts against its quota.
        if named.as_ref().is_none_or(|spec| spec.kind != Kind::Hosted) {
            seen.metrics = self.metrics_text().await;
        }
        let found = identify(&self.catalog, named, self, &mut seen).await;
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        found
    }

    /// The list of models; waits for it if asked to.
    async fn models(&self) -> Result<Answer, BackendError> {
        let path = format!("{}/models", self.route.endpoint.api);
        let deadline = self.config.wait_ready.map(|wait| Instant::now() + wait);
        loop {
            let answer = self.get(&path).await;
            let ready = match &answer {
                Ok(answer) => answer.status < 500 && !models::lists_nothing(answer),
                Err(ControlError::Tls(_)) => true,
                Err(_) => false,
            };
            if ready || deadline.is_none_or(|d| Instant::now() >= d) {
                return answer.map_err(|e| self.unreachable(e));
            }
            tokio::time::sleep(READY_EVERY).await;
        }
    }

    fn unreachable(&self, error: ControlError) -> BackendError {
        let shown = self.shown();
        BackendError::Unreachable(match error {
            ControlError::Unreachable(why) if self.route.proxied => {
                format!("connecting to {shown} through the proxy {}: {why}", self.config.proxy.as_deref().unwrap_or_default())
            }
            ControlError::Unreachable(why) => {
                let hint = if self.config.wait_ready.is_some() {
                    "it was not ready in the time of --wait-ready"
                } else {
                    "is it running? --wait-ready 600s waits for it"
                };
                format!("connecting to {shown}: {why}; {hint}")
            }
            ControlError::Tls(why) => {
                format!("TLS with {shown}: {why}; see --ca-file, or --insecure for a certificate that cannot be verified")
            }
            ControlError::Garbled(why) => format!("talking to {shown}: {why}; is it an OpenAI-compatible endpoint?"),
        })
    }
}

impl Backend for HttpBackend {
    fn info(&self) -> BackendInfo {
        let local = ["localhost", "127.0.0.1", "::1"].contains(&self.route.endpoint.host.as_str());
        BackendInfo {
            kind: "http",
            dialect: self.settled().protocol.name().into(),
            target: self.shown(),
            shares_host: local,
            stamps: STAMPS,
        }
    }

    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, BackendError>> {
        Box::pin(async move { Ok(self.identity(None).await.version) })
    }

    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, BackendError>> {
        Box::pin(async move {
            let answer = self.models().await?;
            let chosen = models::choose(&answer, self.config.model.as_deref(), &self.shown(), self.config.api_key.is_some())?;
            let identity = self.identity(Some(&answer)).await;
            if identity.spec.kind == Kind::Sidecar {
                return Err(BackendError::Unreachable(format!(
                    "{} is {}, which serves no requests; give the engine beside it as --url and this as --metrics-url",
                    self.shown(),
                    identity.spec.title
                )));
            }
            let settled = self.settle(chosen.name.clone(), &identity.spec).await?;
            let notes = chosen.notes.into_iter().chain(settled.notes).chain(identity.notes.iter().cloned()).collect();
            let told = |(name, (value, source)): (&String, &(String, String))| {
                (name.clone(), Told { value: value.clone(), source: source.clone() })
            };
            let capabilities = Capabilities {
                model: chosen.name,
                context_tokens: chosen.context_tokens,
                exact_length: settled.encoder.exact,
                token_ids: settled.encoder.token_ids,
                usage: settled.encoder.usage,
                geometry: None,
                notes,
                quotas: settled.quotas,
                told: identity.facts.iter().map(told).collect(),
                probed: settled.probed.into_iter().map(|(name, words)| (name.to_owned(), words)).collect(),
            };
            *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = settled.encoder;
            *self.pages.lock().unwrap_or_else(PoisonError::into_inner) = self.find_pages().await?;
            Ok(capabilities)
        })
    }

    fn encoder(&self, offer: &Offer) -> Arc<dyn Encoder> {
        let http2 = self.route.spoken.is_two();
        Arc::new(HttpEncoder {
            seed: offer.prompt_seed,
            tag: offer.id_prefix.clone(),
            adapters: offer.adapters.clone(),
            words: offer.words.clone(),
            http2,
            ..self.settled()
        })
    }

    fn open(&self, shard: ShardId) -> BoxFuture<'_, Result<Box<dyn Channel>, BackendError>> {
        Box::pin(async move {
            let settled = self.settled();
            let headers = settled.headers.clone();
            let secrets = headers.into_iter().map(|(_, secret)| secret).collect();
            if !self.route.spoken.is_two() {
                let channel = HttpChannel::new(self.route.clone(), settled.protocol, secrets).keeping(!self.config.fresh);
                return Ok(self.retrying(channel));
            }
            let template = Template::new(&settled, &settled.path).map_err(BackendError::Config)?;
            let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
            let pool = pools
                .entry(shard)
                .or_insert_with(|| {
                    let spread = if self.config.fresh { Spread::Fresh } else { Spread::Over(self.config.spread.max(1)) };
                    Arc::new(Pool::new(self.route.clone(), spread))
                })
                .clone();
            Ok(self.retrying(Http2Channel::new(pool, template, settled.protocol, secrets)))
        })
    }

    fn telemetry(&self) -> Option<Box<dyn Telemetry>> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (!pages.is_empty()).then(|| Box::new(Scrapers::new(pages, &self.settled(), &self.catalog.reader())) as Box<dyn Telemetry>)
    }
}

async fn route(config: &HttpConfig, endpoint: Endpoint, http: HttpVersion, clock: Arc<dyn Clock>) -> Result<Route, BackendError> {
    let tls = endpoint.tls.then(|| tls::client(config.ca_file.as_deref(), config.insecure)).transpose().map_err(BackendError::Config)?;
    let proxy = config.proxy.as_deref().map(Endpoint::parse).transpose().map_err(|e| BackendError::Config(format!("--proxy {e}")))?;
    if proxy.as_ref().is_some_and(|p| p.tls) {
        return Err(BackendError::Config("--proxy must be an http:// address; a proxy that speaks TLS itself is not supported".into()));
    }
    let (host, port) = proxy.as_ref().map_or((endpoint.host.as_str(), endpoint.port), |p| (p.host.as_str(), p.port));
    let addresses: Vec<_> =
        tokio::net::lookup_host((host, port)).await.map_err(|e| BackendError::Unreachable(format!("looking up {host}: {e}")))?.collect();
    if addresses.is_empty() {
        return Err(BackendError::Unreachable(format!("looking up {host}: it has no address")));
    }
    let spoken = Arc::new(Spoken::new(http, endpoint.tls));
    Ok(Route { proxied: proxy.is_some(), endpoint, addresses, tls, spoken, clock, _stamping: Arc::new(Stamping::begin()) })
}

/// The dialect of a route: the one whose path is the longest end of it.
fn by_path(path: &str) -> Option<&'static dyn Protocol> {
    let end = |p: &dyn Protocol| p.path().trim_start_matches("/v1");
    PROTOCOLS.iter().copied().filter(|p| ends_in(path.trim_end_matches('/'), end(*p))).max_by_key(|p| p.path().len())
}

fn page(answer: &Answer) -> Page {
    Page { status: answer.status, headers: answer.headers.clone(), body: answer.body.clone() }
}

impl Asker for HttpBackend {
    fn page<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Option<Page>> {
        Box::pin(async move { self.get(&format!("{}{path}", self.route.endpoint.root)).await.ok().map(|answer| page(&answer)) })
    }
}

impl HttpEncoder {
    /// Whether the user's own body fields already decide the length.
    fn length_refused(&self) -> bool {
        self.extra.contains_key("min_tokens")
    }

    /// The smallest prompt that shows whether ids are taken: the last of the alphabet.
    pub(crate) fn probe_ids() -> [u32; 4] {
        [IDS.first + IDS.size - 1, IDS.first, IDS.first + 1, IDS.first + 2]
    }
}
