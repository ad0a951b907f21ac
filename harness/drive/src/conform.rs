//! Whether numbers taken from an engine would be true: the checks that hold for every backend, over its own channels.
//!
//! Nothing here is a measurement of speed. Prompts are drawn anew for each check, so that no prefix cache knows them.

mod checks;
mod quality;

pub use quality::{Quality, QualityOptions, quality};

use nomoat_core::backend::{Backend, BackendError, Capabilities, Channel, Encoder, Offer, Prepared};
use nomoat_core::clock::Clock;
use nomoat_core::conform::{Finding, Outcome};
use nomoat_core::event::{EventSink, RequestError};
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::record::{ErrorCode, Moments, RequestRecord, Status, Tokens};
use nomoat_core::request::{OutputLength, Request, RequestId, ShardId};
use std::sync::Arc;
use std::time::Duration;

/// Runs every check against an engine that was probed. `patience` is the longest time for one answer.
///
/// # Errors
/// No channel can be had.
pub async fn conform(
    backend: &dyn Backend,
    can: &Capabilities,
    clock: Arc<dyn Clock>,
    seed: u64,
    patience: Duration,
) -> Result<Vec<Finding>, BackendError> {
    let mut session = Session::open(backend, can, clock, seed, patience).await?;
    let mut findings = vec![];
    for check in checks::CHECKS {
        let (outcome, saw) = (check.run)(&mut session).await;
        findings.push(Finding::new(check.name, outcome, saw));
    }
    Ok(findings)
}

/// An answer and its text.
struct Heard {
    record: RequestRecord,
    text: String,
}

impl Heard {
    /// Why there is no complete answer; `None` if there is one.
    fn failure(&self) -> Option<String> {
        let code = self.record.error.map_or("", ErrorCode::name);
        let http = self.record.http_status.map_or(String::new(), |s| format!(", HTTP {s}"));
        (!self.record.is_ok() && self.record.status != Status::Short)
            .then(|| format!("an answer that is {} ({code}{http})", self.record.status.name()))
    }
}

/// The way to one engine.
struct Session<'a> {
    backend: &'a dyn Backend,
    can: &'a Capabilities,
    encoder: Arc<dyn Encoder>,
    channel: Box<dyn Channel>,
    clock: Arc<dyn Clock>,
    patience: Duration,
    next: u32,
}

impl<'a> Session<'a> {
    async fn open(
        backend: &'a dyn Backend,
        can: &'a Capabilities,
        clock: Arc<dyn Clock>,
        seed: u64,
        patience: Duration,
    ) -> Result<Self, BackendError> {
        let encoder = backend.encoder(&Offer { prompt_seed: seed, id_prefix: format!("conform-{seed:x}"), ..Offer::default() });
        let channel = backend.open(ShardId(0)).await?;
        Ok(Self { backend, can, encoder, channel, clock, patience, next: 0 })
    }

    /// A prompt that nobody has seen.
    fn fresh(&mut self, tokens: u32) -> Prompt {
        self.next += 1;
        Prompt::Blocks(BlockPrompt::unique(0, u64::from(self.next), tokens))
    }

    /// A request ready to be sent.
    fn prepare(&mut self, prompt: Prompt, input: u32, output: u32, length: OutputLength) -> Result<Prepared, String> {
        self.next += 1;
        let request = Request { length, ..Request::new(RequestId(self.next), prompt, input, output) };
        let payload = self.encoder.encode(&request, &[])?;
        Ok(Prepared { request, payload })
    }

    fn sink(&self, prepared: &Prepared) -> EventSink {
        begin(&self.clock, prepared)
    }

    /// Asks and waits for the whole answer.
    async fn ask(&mut self, prompt: Prompt, input: u32, output: u32) -> Result<Heard, String> {
        let length = if self.can.exact_length { OutputLength::Exact } else { OutputLength::Cap };
        let prepared = self.prepare(prompt, input, output, length)?;
        let sink = self.sink(&prepared);
        Ok(hear(&mut *self.channel, &prepared, sink, self.patience).await)
    }

    /// Asks several at the same time, each over a channel of its own.
    async fn ask_together(&mut self, prompts: Vec<(Prompt, u32)>, output: u32) -> Result<Vec<Heard>, String> {
        let length = if self.can.exact_length { OutputLength::Exact } else { OutputLength::Cap };
        let mut tasks = vec![];
        for (prompt, input) in prompts {
            let prepared = self.prepare(prompt, input, output, length)?;
            let mut channel = self.backend.open(ShardId(0)).await.map_err(|e| e.to_string())?;
            let (sink, patience) = (self.sink(&prepared), self.patience);
            tasks.push(tokio::spawn(async move { hear(&mut *channel, &prepared, sink, patience).await }));
        }
        let mut heard = vec![];
        for task in tasks {
            heard.push(task.await.map_err(|e| e.to_string())?);
        }
        Ok(heard)
    }
}

/// A sink for one request that keeps its text.
fn begin(clock: &Arc<dyn Clock>, prepared: &Prepared) -> EventSink {
    let mut sink = EventSink::new(clock.clone(), Arc::default());
    let request = &prepared.request;
    let record = RequestRecord {
        request: request.id,
        at: Moments { due: clock.now(), ..Moments::default() },
        tokens: Tokens { wanted: request.output_tokens, wanted_input: request.input_tokens, ..Tokens::default() },
        ..RequestRecord::default()
    };
    sink.begin(record, true);
    sink
}

async fn hear(channel: &mut dyn Channel, prepared: &Prepared, mut sink: EventSink, patience: Duration) -> Heard {
    let outcome = tokio::time::timeout(patience, channel.generate(prepared, &mut sink)).await;
    let outcome = outcome.unwrap_or(Err(RequestError::new(Status::Timeout, ErrorCode::TotalTimeout)));
    let (record, text) = sink.finish(outcome, prepared.request.length == OutputLength::Exact);
    Heard { record, text: text.unwrap_or_default() }
}

/// A variant's name in words: `PerChunk` is "per chunk".
fn word(variant: impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for c in format!("{variant:?}").chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// What a check tells.
type Saw = (Outcome, String);
