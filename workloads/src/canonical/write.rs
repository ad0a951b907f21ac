//! Writes the canonical format, request by request. What is written reads back as the same trace, or is refused before a reader would
//! refuse it.

use super::VERSION;
use super::outputs::Outputs;
use super::survey::Survey;
use super::wire::{
    After, Cancel as CancelKey, Counts, End, Head, HowWord, JoinWord, Obs, OnWord, Output, Req, Source, Time, Tokens, Unit, WhyWord,
};
use crate::error::TraceError;
use crate::sink::{Sink, replay};
use nomoat_core::digest::Digest;
use nomoat_core::request::{Cancel, OutputLength, SessionId};
use nomoat_core::trace::{Cause, EdgeKind, Join, Moment, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::HashSet;
use std::io::Write;

/// Writes `trace` to `out` in the canonical format. `out` gets many small writes: buffer it.
///
/// # Errors
/// When `out` fails, and before anything was written for a trace that the format cannot say: live histories, a prompt whose recipe and
/// length disagree, references forwards, roots out of order, numbers beyond the format's bounds.
pub fn write_canonical(trace: &Trace, out: &mut dyn Write) -> Result<(), TraceError> {
    let mut survey = Survey::default();
    replay(trace, &mut survey)?;
    let mut writer = CanonicalWriter::new(trace, survey, out)?;
    replay(trace, &mut writer)?;
    writer.finish()
}

/// Writes requests as they come, after a [`Survey`] saw the same ones.
pub struct CanonicalWriter<'a> {
    name: String,
    classes: Vec<String>,
    adapters: Vec<String>,
    unit: Unit,
    file: Hashed<'a>,
    sessions: HashSet<SessionId>,
    outputs: Outputs,
    index: u32,
    end: End,
}

#[derive(Serialize)]
struct Sess {
    k: &'static str,
    id: u32,
}

/// A target that hashes what it is given.
struct Hashed<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    line: Vec<u8>,
}

impl Hashed<'_> {
    fn record(&mut self, record: &impl Serialize) -> std::io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.out.write_all(&self.line)
    }
}

impl<'a> CanonicalWriter<'a> {
    /// Begins a file: `head` is everything about the trace but its requests, which `survey` saw.
    ///
    /// # Errors
    /// What the format cannot say, or why `out` failed.
    pub fn new(head: &Trace, survey: Survey, out: &'a mut dyn Write) -> Result<Self, TraceError> {
        let (unit, blocks) = survey.plan(head)?;
        let mut file = Hashed { out, hash: Sha256::new(), line: vec![] };
        let record = Head {
            k: "head".into(),
            v: VERSION,
            name: head.name.clone(),
            source: Some(Source {
                sha256: Some(head.source.to_string()),
                license: head.origin.licence.clone(),
                attribution: head.origin.attribution.clone(),
                repo: head.origin.repository.clone(),
                commit: head.origin.commit.clone(),
                path: head.origin.path.clone(),
            }),
            time: Time { unit, tick_us: head.tick.map(|tick| (tick.0 / 1_000) as u64) },
            tokens: head.tokenizer.clone().map(|tokenizer| Tokens { tokenizer: Some(tokenizer) }),
            blocks,
            classes: (head.classes != ["default"]).then(|| head.classes.clone()),
            adapters: head.adapters.clone(),
            losses: head.losses.clone(),
            order: Some("arrival".into()),
        };
        file.record(&record).map_err(|source| TraceError::Write { trace: head.name.clone(), source })?;
        Ok(Self {
            name: head.name.clone(),
            classes: head.classes.clone(),
            adapters: head.adapters.clone(),
            unit,
            file,
            sessions: HashSet::new(),
            outputs: Outputs::new(blocks),
            index: 0,
            end: End { k: "end".into(), n: Counts::default(), input: 0, out: 0, at: None, sha256: String::new() },
        })
    }

    /// Closes the file.
    ///
    /// # Errors
    /// Why the target failed.
    pub fn finish(mut self) -> Result<(), TraceError> {
        self.end.n = Counts {
            sess: self.sessions.len() as u64,
            req: u64::from(self.index),
            text: self.outputs.texts(),
            chunk: self.outputs.chunks(),
            tool: 0,
        };
        self.end.sha256 = Digest(self.file.hash.clone().finalize().into()).to_string();
        let done = self.file.record(&self.end).and_then(|()| self.file.out.flush());
        done.map_err(|source| TraceError::Write { trace: self.name, source })
    }

    fn write(&mut self, request: &TraceRequest) -> std::io::Result<()> {
        if let Some(session) = request.session.filter(|session| self.sessions.insert(*session)) {
            self.file.record(&Sess { k: "sess", id: session.0 })?;
        }
        let input = self.outputs.input(self.index, request);
        for text in self.outputs.new_texts.drain(..) {
            self.file.record(&text)?;
        }
        for chunk in self.outputs.new_chunks.drain(..) {
            self.file.record(&chunk)?;
        }
        let units = |t: Nanos| (t.0 / self.unit.nanos()) as u64;
        let after = request.after.iter().map(|edge| After {
            r: edge.request.0.into(),
            on: match edge.on {
                Moment::Start => OnWord::Start,
                Moment::FirstToken => OnWord::First,
                Moment::End => OnWord::End,
            },
            gap: units(edge.gap),
            why: match (edge.kind, edge.cause) {
                (EdgeKind::Order, _) => Some(WhyWord::Order),
                (EdgeKind::Needs, Cause::Unsaid) => None,
                (EdgeKind::Needs, Cause::Think) => Some(WhyWord::Think),
                (EdgeKind::Needs, Cause::Tool) => Some(WhyWord::Tool),
                (EdgeKind::Needs, Cause::Queue) => Some(WhyWord::Queue),
            },
        });
        let how = if request.length == OutputLength::Exact { HowWord::Exact } else { HowWord::Cap };
        let adapter = usize::from(request.adapter).checked_sub(1).map(|index| Cow::Borrowed(self.adapters[index].as_str()));
        let record = Req {
            k: Cow::Borrowed("req"),
            id: u64::from(self.index),
            s: request.session.map(|s| s.0),
            turn: request.session.map(|_| request.turn),
            at: request.at.map(units),
            after: after.collect(),
            join: (request.join == Join::Any).then_some(JoinWord::Any),
            input,
            out: Output { n: request.output_tokens, how, reason: None, t: None },
            class: (request.class != 0).then(|| Cow::Borrowed(self.classes[usize::from(request.class)].as_str())),
            prio: (request.priority != 0).then_some(request.priority),
            lora: adapter,
            cancel: request.cancel.map(|cancel| match cancel {
                Cancel::After(t) => CancelKey { after: Some(units(t)), ..CancelKey::default() },
                Cancel::Tokens(n) => CancelKey { tok: Some(n), ..CancelKey::default() },
                Cancel::FirstToken => CancelKey { first: Some(true), ..CancelKey::default() },
            }),
            obs: request.recorded.as_deref().map(|recorded| Obs {
                ttft: recorded.ttft.map(units),
                e2e: recorded.e2e.map(units),
                cached: recorded.cached_tokens,
                failed: recorded.failed,
                ..Obs::default()
            }),
            hist: None,
            samp: None,
            model: None,
            tenant: None,
            slo: None,
            media: None,
        };
        self.end.input += u64::from(request.input_tokens);
        self.end.out += u64::from(request.output_tokens);
        self.end.at = record.at.or(self.end.at);
        self.file.record(&record)?;
        self.index += 1;
        Ok(())
    }
}

impl Sink for CanonicalWriter<'_> {
    fn request(&mut self, request: TraceRequest) -> Result<(), TraceError> {
        self.write(&request).map_err(|source| TraceError::Write { trace: self.name.clone(), source })
    }
}
