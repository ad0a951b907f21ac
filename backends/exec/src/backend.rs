//! An adapter's engine as a backend, like any other.

use crate::channel::ExecChannel;
use crate::echo::Script;
use crate::encoder::{ExecEncoder, generate};
use crate::link::Link;
use crate::message::{Hello, Said, Takes};
use crate::telemetry::ExecTelemetry;
use nomoat_core::backend::{
    Backend, BackendError, BackendInfo, BoxFuture, Capabilities, Channel, Encoder, EngineVersion, Offer, Telemetry,
};
use nomoat_core::clock::Clock;
use nomoat_core::request::ShardId;
use nomoat_core::units::Nanos;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where an adapter is and how patient to be with it.
#[derive(Clone, PartialEq, Debug)]
pub struct ExecConfig {
    /// The socket it listens on.
    pub socket: PathBuf,
    /// Sent with every request, where given.
    pub temperature: Option<f64>,
    /// Longest wait for a connection with its hello, and for a reading of metrics.
    pub hello_within: Duration,
    /// Longest wait for each message of the probe's answer.
    pub answer_within: Duration,
    /// What it shall play instead of asking its engine: this measures the adapter.
    pub script: Option<Script>,
}

impl ExecConfig {
    /// The usual patience: 10 s for a hello, 10 minutes for a first answer.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, temperature: Some(0.0), hello_within: Duration::from_secs(10), answer_within: Duration::from_mins(10), script: None }
    }
}

/// The way to an engine behind an adapter.
pub struct ExecBackend {
    config: ExecConfig,
    clock: Arc<dyn Clock>,
    /// What the probe was told.
    hello: Mutex<Option<Hello>>,
    /// When the probe's hello and its first token were read.
    probed: Mutex<Probed>,
}

/// When what of a probe was read, on the clock that the backend was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Probed {
    /// Its hello.
    pub hello: Option<Nanos>,
    /// The first message with a token.
    pub first_token: Option<Nanos>,
}

impl ExecBackend {
    /// Does not connect yet.
    pub fn new(config: ExecConfig, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { config, clock, hello: Mutex::default(), probed: Mutex::default() })
    }

    /// When the parts of the last probe were read.
    pub fn probed(&self) -> Probed {
        *self.probed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, probed: impl FnOnce(&mut Probed, Nanos)) {
        let at = self.clock.now();
        probed(&mut self.probed.lock().unwrap_or_else(PoisonError::into_inner), at);
    }

    fn hello(&self) -> Option<Hello> {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn unreachable(&self, doing: &str, why: impl std::fmt::Display) -> BackendError {
        BackendError::Unreachable(format!("{doing} of the adapter at {}: {why}", self.config.socket.display()))
    }

    /// Connects and keeps what was said.
    async fn greeted(&self) -> Result<Link, BackendError> {
        let link = Link::open(&self.config.socket, self.config.hello_within).await;
        let link = link.map_err(|e| self.unreachable("hello", e))?;
        *self.hello.lock().unwrap_or_else(PoisonError::into_inner) = Some(link.hello.clone());
        Ok(link)
    }

    /// Two tokens, to see that it answers. Whether counts came back.
    async fn answers(&self, link: &mut Link) -> Result<bool, BackendError> {
        let (temperature, script) = (self.config.temperature, self.config.script);
        let (frame, _) = generate("probe", &short_prompt(&link.hello), 2, link.hello.exact_length, temperature, script);
        let mut said = link.ask(&frame, self.config.answer_within).await;
        let (mut tokens, mut messages) = (0_u64, 0);
        loop {
            match said {
                Ok(Said::Tokens(t)) => {
                    if tokens == 0 && t.n > 0 {
                        self.note(|probed, at| probed.first_token = Some(at));
                    }
                    tokens += u64::from(t.n);
                    messages += 1;
                }
                Ok(Said::Done(_)) if tokens == 0 => return Err(self.unreachable("probe", "an answer without a token")),
                Ok(Said::Done(done)) if script.is_some() && done.sent_ns.as_ref().map(Vec::len) != Some(messages) => {
                    let told = done.sent_ns.map_or("none".into(), |moments| moments.len().to_string());
                    let why = format!("{messages} `tokens` in answer to a `script` and {told} of their moments in `sent_ns` of its `done`");
                    return Err(self.unreachable("echo", why));
                }
                Ok(Said::Done(done)) => return Ok(done.usage.output.is_some()),
                Ok(Said::Error(e)) => return Err(self.unreachable("probe", format!("{}: {}", e.code, e.message))),
                Ok(Said::Hello(_) | Said::Samples { .. }) => return Err(self.unreachable("probe", "a message that is not due")),
                Err(broken) => return Err(self.unreachable("probe", broken)),
            }
            // An adapter that never stops would be heard for ever.
            if tokens > 1 << 16 {
                return Err(self.unreachable("probe", "it was asked for 2 tokens and does not stop"));
            }
            said = link.hear(self.config.answer_within).await;
        }
    }
}

/// A prompt of four tokens or words.
pub(crate) fn short_prompt(hello: &Hello) -> Value {
    match (hello.takes, hello.vocab) {
        (Takes::Ids, Some(vocab)) => json!((0..4).map(|i| vocab.first + i % vocab.size.max(1)).collect::<Vec<u32>>()),
        _ => json!(" one two three four"),
    }
}

impl Backend for ExecBackend {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            kind: "exec",
            dialect: self.hello().map_or_else(|| "exec".into(), |h| h.engine),
            target: self.config.socket.display().to_string(),
            shares_host: true,
            stamps: "return of the read from a Unix socket",
        }
    }

    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, BackendError>> {
        Box::pin(async {
            let hello = match self.hello() {
                Some(hello) => hello,
                None => self.greeted().await?.hello,
            };
            Ok(EngineVersion { engine: hello.engine, version: hello.version, source: "the adapter's hello".into() })
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<Capabilities, BackendError>> {
        Box::pin(async {
            let mut link = self.greeted().await?;
            self.note(|probed, at| *probed = Probed { hello: Some(at), first_token: None });
            if self.config.script.is_some() && !link.hello.echo {
                let why = "it has no `echo`; an adapter whose hello says `\"echo\": true` plays the `script` of a `generate` and adds \
                           `sent_ns` to its `done` (backends/exec/PROTOCOL.md)";
                return Err(self.unreachable("hello", why));
            }
            let usage = self.answers(&mut link).await?;
            let hello = link.hello;
            let mut notes = vec!["what the engine is and can do is the adapter's word".into()];
            if self.config.script.is_some() {
                notes.push("the adapter plays scripted times: this measures the adapter, no engine".into());
            }
            Ok(Capabilities {
                model: hello.model,
                context_tokens: hello.context_tokens,
                exact_length: hello.exact_length,
                token_ids: hello.takes == Takes::Ids,
                usage,
                geometry: hello.kv.map(Into::into),
                notes,
                ..Capabilities::default()
            })
        })
    }

    fn encoder(&self, offer: &Offer) -> Arc<dyn Encoder> {
        match self.hello() {
            Some(hello) => Arc::new(ExecEncoder::new(offer, &hello, self.config.temperature, self.config.script)),
            None => Arc::new(Unprobed),
        }
    }

    fn open(&self, _shard: ShardId) -> BoxFuture<'_, Result<Box<dyn Channel>, BackendError>> {
        let channel = ExecChannel::new(self.config.socket.clone(), self.config.hello_within, self.hello(), self.config.script.is_some());
        Box::pin(async { Ok(Box::new(channel) as Box<dyn Channel>) })
    }

    fn telemetry(&self) -> Option<Box<dyn Telemetry>> {
        let tells = self.hello().is_some_and(|h| h.samples);
        tells.then(|| Box::new(ExecTelemetry::new(self.config.socket.clone(), self.config.hello_within)) as Box<dyn Telemetry>)
    }
}

/// What stands in for an encoder before a probe, when nobody knows what a prompt is.
struct Unprobed;

impl Encoder for Unprobed {
    fn encode(
        &self,
        _: &nomoat_core::request::Request,
        _: &[nomoat_core::backend::LiveTurn],
    ) -> Result<nomoat_core::backend::Payload, String> {
        Err("the adapter was not asked yet what its prompts are; probe it first".into())
    }
}
