//! An endpoint as a backend: found, asked what it can do, and driven.

use crate::channel::HttpChannel;
use crate::control::{Answer, CONTROL_LIMIT, CONTROL_TIMEOUT, ControlError, exchange};
use crate::encoder::{HttpEncoder, IDS, Secret};
use crate::http2::{Http2Channel, Pool, Spread, Template};
use crate::preflight::{Attempt, preflight};
use crate::prometheus;
use crate::protocol::{COMMON, PROTOCOLS, Protocol};
use crate::said::said;
use crate::scrape::{Scraper, scrape, split_path};
use crate::socket::{STAMPS, Stamping};
use crate::tls;
use crate::transport::Route;
use crate::url::Endpoint;
use crate::version::{HttpVersion, Spoken};
use nomoat_core::backend::{
    Backend, BackendError, BackendInfo, BoxFuture, Capabilities, Channel, Encoder, EngineVersion, Offer, Telemetry,
};
use nomoat_core::clock::Clock;
use nomoat_core::request::ShardId;
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
    /// Where its metrics are.
    pub metrics_url: Option<String>,
    /// Whether the user asked for exact answer lengths.
    pub exact: bool,
    /// Whether every request gets a connection of its own.
    pub fresh: bool,
}

/// An OpenAI-compatible endpoint.
pub struct HttpBackend {
    config: HttpConfig,
    route: Arc<Route>,
    /// Settled by the probe.
    settled: Mutex<HttpEncoder>,
    metrics: Mutex<Option<(Arc<Route>, String)>>,
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
        if let Some(full) = PROTOCOLS.iter().find(|p| config.url.trim_end_matches('/').ends_with(p.path())) {
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
            headers.push(("Authorization".into(), Secret::new(format!("Bearer {}", key.reveal()))));
        }
        let encoder = HttpEncoder {
            protocol,
            path: config.path.clone().unwrap_or_else(|| format!("{}{}", endpoint.root, protocol.path())),
            absolute: route.proxied && !endpoint.tls,
            http2: false,
            endpoint,
            headers,
            model: config.model.clone().unwrap_or_default(),
            token_ids: false,
            exact: config.exact,
            usage: true,
            temperature: config.temperature,
            extra: config.extra_body.clone(),
            seed: 0,
            tag: String::new(),
        };
        if config.http != HttpVersion::One {
            Template::new(&encoder, &encoder.path).map_err(BackendError::Config)?;
        }
        Ok(Arc::new(Self { config, route, settled: Mutex::new(encoder), metrics: Mutex::new(None), pools: Mutex::default() }))
    }

    /// Which HTTP is spoken. Where TLS decides, that is known after the probe.
    pub fn speaks(&self) -> HttpVersion {
        if self.route.spoken.is_two() { HttpVersion::Two } else { HttpVersion::One }
    }

    fn settled(&self) -> HttpEncoder {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn shown(&self) -> String {
        self.route.endpoint.to_string()
    }

    async fn get(&self, path: &str) -> Result<Answer, ControlError> {
        let (request, _) = self.settled().wire("GET", path, "", &[]);
        exchange(&self.route, &request, CONTROL_LIMIT, CONTROL_TIMEOUT).await
    }

    async fn get_json(&self, path: &str) -> Option<Value> {
        let answer = self.get(path).await.ok().filter(|a| a.status == 200)?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// The list of models; waits for it if asked to.
    async fn models(&self) -> Result<Answer, BackendError> {
        let path = format!("{}/models", self.route.endpoint.api);
        let deadline = self.config.wait_ready.map(|wait| Instant::now() + wait);
        loop {
            let answer = self.get(&path).await;
            let ready = match &answer {
                Ok(answer) => answer.status < 500 && !lists_nothing(answer),
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

    /// Which model to ask for, and what the list says of it.
    fn choose_model(&self, answer: &Answer) -> Result<(String, Option<u32>, Vec<String>), BackendError> {
        let shown = self.shown();
        let said = said(&answer.body);
        match answer.status {
            401 | 403 => {
                let given =
                    if self.config.api_key.is_some() { "the key was not accepted; check --api-key-env" } else { "give --api-key-env NAME" };
                return Err(BackendError::Unreachable(format!("asking {shown} for its models: HTTP {}{said}; {given}", answer.status)));
            }
            300..=399 => {
                let to = answer.head.location.as_deref().unwrap_or("somewhere else");
                return Err(BackendError::Unreachable(format!(
                    "asking {shown} for its models: it redirects to {to}; give that address as --url"
                )));
            }
            _ => {}
        }
        let list: Option<Vec<Value>> = serde_json::from_slice::<Value>(&answer.body)
            .ok()
            .filter(|_| answer.status == 200)
            .and_then(|v| v.get("data")?.as_array().cloned());
        let Some(list) = list else {
            return match &self.config.model {
                Some(model) => Ok((model.clone(), None, vec!["the endpoint does not list its models; --model was believed".into()])),
                None => Err(BackendError::Unreachable(format!(
                    "asking {shown} for its models: HTTP {}{said}, which is no list of models; is it an OpenAI-compatible endpoint? if it is, give --model NAME",
                    answer.status
                ))),
            };
        };
        let id = |m: &Value| m.get("id").and_then(Value::as_str).map(str::to_owned);
        let names: Vec<String> = list.iter().filter_map(id).collect();
        let context = |m: &Value| {
            let n = m.get("max_model_len").or_else(|| m.pointer("/meta/n_ctx")).or_else(|| m.pointer("/meta/n_ctx_train"))?.as_u64()?;
            u32::try_from(n).ok()
        };
        let shown_names = || if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        match &self.config.model {
            Some(model) => match list.iter().find(|m| id(m).as_ref() == Some(model)) {
                Some(entry) => Ok((model.clone(), context(entry), vec![])),
                None => Err(BackendError::Unreachable(format!("{shown} does not serve model `{model}`; it lists: {}", shown_names()))),
            },
            None => match (&list[..], &names[..]) {
                ([entry], [name]) => Ok((name.clone(), context(entry), vec![])),
                ([], _) => Err(BackendError::Unreachable(format!(
                    "{shown} lists no model: nothing is served there yet; --wait-ready 600s waits for it"
                ))),
                _ => Err(BackendError::Config(format!("{shown} lists {} models; choose one with --model: {}", names.len(), shown_names()))),
            },
        }
    }

    /// Tries one real one-token generation with the richest request first, and settles for what is accepted.
    async fn settle(&self, model: String, notes: &mut Vec<String>) -> Result<HttpEncoder, BackendError> {
        let mut encoder = self.settled();
        encoder.model = model;
        let root = self.route.endpoint.root.clone();
        let mut ways: Vec<(&'static dyn Protocol, bool)> = vec![];
        match &self.config.path {
            // Completions with token ids first: exact prompt lengths. Then chat.
            None => COMMON.iter().for_each(|p| ways.extend(if p.takes_ids() { vec![(*p, true)] } else { vec![(*p, false)] })),
            Some(_) if encoder.protocol.takes_ids() => ways.extend([(encoder.protocol, true), (encoder.protocol, false)]),
            Some(_) => ways.push((encoder.protocol, false)),
        }
        ways.sort_by_key(|(_, ids)| !ids);
        let mut refusals = vec![];
        for (protocol, ids) in ways {
            encoder.protocol = protocol;
            encoder.token_ids = ids;
            encoder.path = self.config.path.clone().unwrap_or_else(|| format!("{root}{}", protocol.path()));
            for (exact, usage) in [(self.config.exact, true), (false, true), (false, false)] {
                if exact && (encoder.length_refused() || !protocol.fields().can_force()) {
                    continue;
                }
                encoder.exact = exact;
                encoder.usage = usage;
                match preflight(&self.route, &encoder, self.config.first_answer.unwrap_or(CONTROL_TIMEOUT)).await {
                    Ok(Attempt::Accepted { notes: seen }) => {
                        if self.config.exact && !exact {
                            notes.push(if protocol.fields().can_force() {
                                "the endpoint refused forced answer lengths (ignore_eos, min_tokens): lengths are caps".into()
                            } else {
                                format!("requests of the dialect `{}` cannot force answer lengths: lengths are caps", protocol.name())
                            });
                        }
                        if !usage {
                            notes.push("the endpoint refused stream_options: output tokens are counted in events".into());
                        }
                        notes.extend(seen);
                        return Ok(encoder);
                    }
                    Ok(Attempt::Refused { status, said }) => {
                        refusals.push(format!(
                            "{} {}: HTTP {status}{said}",
                            protocol.name(),
                            if ids { "with token ids" } else { "with text" }
                        ));
                        // What no other body will change.
                        if matches!(status, 401 | 403 | 404 | 405 | 429) || status >= 500 {
                            break;
                        }
                    }
                    Err(ControlError::Unreachable(why)) => {
                        return Err(BackendError::Unreachable(format!("asking {} for one token: {why}", self.shown())));
                    }
                    Err(error) => return Err(self.unreachable(error)),
                }
            }
        }
        refusals.dedup();
        Err(BackendError::Unreachable(format!(
            "{} did not generate a single token for model `{}`: {}",
            self.shown(),
            encoder.model,
            refusals.join("; ")
        )))
    }

    /// Where the endpoint's own metrics are: beside the API if they are there, or where the user said, and then they must be.
    async fn find_metrics(&self) -> Result<Option<(Arc<Route>, String)>, BackendError> {
        let Some(url) = &self.config.metrics_url else {
            let path = format!("{}/metrics", self.route.endpoint.root);
            let page = scrape(&self.route, &path, &self.settled()).await;
            return Ok(page.is_ok_and(|page| !prometheus::canonical(&page).is_empty()).then(|| (self.route.clone(), path)));
        };
        if url.contains(['?', '@']) {
            // It would stand in the manifest.
            return Err(BackendError::Config(
                "--metrics-url takes no query and no credentials; give --header for what must be sent".into(),
            ));
        }
        let (address, path) = split_path(url);
        let endpoint = Endpoint::parse(&address).map_err(|e| BackendError::Config(format!("--metrics-url {e}")))?;
        let route = Arc::new(self::route(&self.config, endpoint, HttpVersion::One, self.route.clock.clone()).await?);
        let page = scrape(&route, &path, &self.settled())
            .await
            .map_err(|why| BackendError::Unreachable(format!("reading --metrics-url {url}: {why}")))?;
        if prometheus::canonical(&page).is_empty() {
            return Err(BackendError::Config(format!(
                "--metrics-url {url} has no metric of vLLM or SGLang, the engines whose names this version knows"
            )));
        }
        Ok(Some((route, path)))
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
        Box::pin(async move {
            let root = &self.route.endpoint.root;
            let text = |v: &Value, key: &str| v.pointer(key).and_then(Value::as_str).map(str::to_owned);
            let version =
                |engine: &str, version: String, source: &str| Ok(EngineVersion { engine: engine.into(), version, source: source.into() });
            if let Some(page) = self.get_json(&format!("{root}/get_server_info")).await
                && let Some(v) = text(&page, "/version")
            {
                return version("sglang", v, "/get_server_info");
            }
            if let Some(page) = self.get_json(&format!("{root}/version")).await
                && let Some(v) = text(&page, "/version")
            {
                let engine = text(&page, "/engine").unwrap_or_else(|| "vllm-compatible".into());
                return version(&engine, v, "/version");
            }
            if let Some(page) = self.get_json(&format!("{root}/props")).await
                && let Some(v) = text(&page, "/build_info")
            {
                return version("llama.cpp", v, "/props");
            }
            version("unknown engine", "(version not disclosed)".into(), "asked /get_server_info, /version, /props")
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, BackendError>> {
        Box::pin(async move {
            let answer = self.models().await?;
            let (model, context_tokens, mut notes) = self.choose_model(&answer)?;
            let settled = self.settle(model.clone(), &mut notes).await?;
            let capabilities = Capabilities {
                model,
                context_tokens,
                exact_length: settled.exact,
                token_ids: settled.token_ids,
                usage: settled.usage,
                geometry: None,
                notes,
            };
            *self.settled.lock().unwrap_or_else(PoisonError::into_inner) = settled;
            *self.metrics.lock().unwrap_or_else(PoisonError::into_inner) = self.find_metrics().await?;
            Ok(capabilities)
        })
    }

    fn encoder(&self, offer: &Offer) -> Arc<dyn Encoder> {
        let http2 = self.route.spoken.is_two();
        Arc::new(HttpEncoder { seed: offer.prompt_seed, tag: offer.id_prefix.clone(), http2, ..self.settled() })
    }

    fn open(&self, shard: ShardId) -> BoxFuture<'_, Result<Box<dyn Channel>, BackendError>> {
        Box::pin(async move {
            let settled = self.settled();
            let headers = settled.headers.clone();
            let secrets = headers.into_iter().map(|(_, secret)| secret).collect();
            if !self.route.spoken.is_two() {
                return Ok(Box::new(HttpChannel::new(self.route.clone(), settled.protocol, secrets).keeping(!self.config.fresh))
                    as Box<dyn Channel>);
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
            Ok(Box::new(Http2Channel::new(pool, template, settled.protocol, secrets)) as Box<dyn Channel>)
        })
    }

    fn telemetry(&self) -> Option<Box<dyn Telemetry>> {
        let (route, path) = self.metrics.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Box::new(Scraper { route, path, encoder: self.settled() }))
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
    PROTOCOLS.iter().copied().filter(|p| path.trim_end_matches('/').ends_with(end(*p))).max_by_key(|p| p.path().len())
}

/// Whether an answer is a list of models with none in it: a server whose workers have not come yet.
fn lists_nothing(answer: &Answer) -> bool {
    let list = serde_json::from_slice::<Value>(&answer.body).ok();
    list.and_then(|v| v.get("data")?.as_array().map(Vec::is_empty)).unwrap_or(false)
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
