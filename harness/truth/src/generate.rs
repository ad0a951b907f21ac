//! Answers one generation request as the script says, and logs what was really done.
//!
//! The order on the timed path: encode, wait, stamp, write. Whatever takes time is done before the wait.

use crate::answer::Answer;
use crate::ask::{Ask, Endpoint};
use crate::clock::now;
use crate::conn::{Gone, Incoming};
use crate::encode::{Encoder, streams};
use crate::fault::Fault;
use crate::gauges::Running;
use crate::log::Entry;
use crate::peer::Peer;
use crate::row::Outcome;
use crate::server::Worker;
use crate::timeline::{Step, Timeline};
use nomoat_core::units::Nanos;

/// What to do with the connection afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Keep it.
    Keep,
    /// Close it.
    Close,
    /// Reset it.
    Reset,
}

/// One request on its way to an answer.
struct Generation<'a, 'p> {
    worker: &'a Worker,
    peer: &'a mut Peer<'p>,
    entry: Entry,
    complete: Nanos,
    ordinal: u64,
    request_id: Option<String>,
    /// Writes in a row that had nothing to wait for.
    late: u32,
}

/// After so many writes without a wait a stream lets others have the thread: a script without gaps must not starve them.
const LATE_IN_A_ROW: u32 = 16;

/// Answers a request to a generation route.
pub async fn generate(worker: &Worker, peer: &mut Peer<'_>, incoming: Incoming, endpoint: Endpoint, allowed: bool) -> Next {
    let ordinal = worker.shared.next_ordinal();
    let entry = Entry::new(worker.inbox.clone(), incoming.request_id.clone(), ordinal, peer.accepted(), incoming.complete);
    let generation = Generation { worker, peer, entry, complete: incoming.complete, ordinal, request_id: incoming.request_id, late: 0 };
    let next = generation.answer(&incoming.body, endpoint, allowed).await;
    if incoming.close && next == Next::Keep { Next::Close } else { next }
}

impl Generation<'_, '_> {
    async fn answer(mut self, body: &[u8], endpoint: Endpoint, allowed: bool) -> Next {
        let script = &self.worker.shared.script;
        if !allowed {
            return self.refuse(Answer::error(401, None, "the key is missing or wrong; send authorization: Bearer KEY")).await;
        }
        if let Some(closed) = self.worker.shared.doors.closed(now()) {
            return self.refuse(closed).await;
        }
        let mut ask = match Ask::read(endpoint, body, script) {
            Ok(ask) => ask,
            Err(refusal) => return self.refuse(Answer::error(refusal.status, refusal.param, &refusal.message)).await,
        };
        let fault = script.fault_of(self.ordinal);
        if let Some(answer) = instead(fault, &ask) {
            return self.refuse(answer).await;
        }
        let mut cut = false;
        if let Some(Fault::Short(tokens)) = fault
            && tokens < ask.tokens
        {
            (ask.tokens, ask.at_limit, cut) = (tokens, false, true);
        }
        let running = Running::new(self.worker.shared.gauges.clone(), script.block_size, ask.prompt_tokens);
        let events = ask.tokens.div_ceil(script.tokens_per_chunk) as usize;
        self.entry.runs(running, ask.prompt_tokens, events);
        let done = if streams(&ask, fault) { self.stream(&ask, fault, cut).await } else { self.whole(&ask, fault, cut).await };
        done.unwrap_or_else(|Gone| {
            self.entry.close(Outcome::Disconnected, now());
            Next::Close
        })
    }

    /// Writes an error, or whatever else is no answer.
    async fn refuse(mut self, answer: Answer) -> Next {
        let answer = self.identified(answer);
        self.entry.status(answer.status());
        self.entry.close(Outcome::Refused, now());
        if self.peer.answer(&answer).await.is_ok() { Next::Keep } else { Next::Close }
    }

    fn identified(&self, answer: Answer) -> Answer {
        match &self.request_id {
            Some(id) => answer.header("x-request-id", id),
            None => answer,
        }
    }

    /// The part of the answer's id after its prefix: the client's own id where it gave one.
    fn answer_id(&self) -> String {
        self.request_id.clone().unwrap_or_else(|| self.ordinal.to_string())
    }

    /// Waits for `offset` after the request's completion, and past a freeze. A write that is late may fall into a freeze too.
    async fn wait(&mut self, offset: Nanos) -> Result<(), Gone> {
        let now = now();
        let mut due = self.complete + offset;
        if due > now {
            self.late = 0;
        } else {
            due = now;
            self.late += 1;
            if self.late.is_multiple_of(LATE_IN_A_ROW) {
                tokio::task::yield_now().await;
            }
        }
        if let Some(freeze) = self.worker.shared.script.freeze {
            due = freeze.release(self.worker.shared.epoch, due);
        }
        self.peer.wait(&self.worker.timers, due).await
    }

    async fn stream(&mut self, ask: &Ask, fault: Option<Fault>, cut: bool) -> Result<Next, Gone> {
        let script = &self.worker.shared.script;
        let mut encoder = Encoder::new(script, ask, fault, &self.answer_id());
        if !self.peer.is_chunked() {
            encoder = encoder.unframed();
        }
        let plan = Timeline::new(script, fault, ask, self.ordinal);
        let outcome = if plan.broken || cut { Outcome::Fault } else { Outcome::Complete };
        self.wait(Nanos::ZERO).await?;
        self.begin(fault).await?;
        self.entry.status(200);
        let mut out = Vec::new();
        let mut events: Vec<u32> = Vec::new();
        for timed in plan.steps {
            encoder.step(timed.step, &mut out);
            if let Step::Tokens { count, .. } = timed.step {
                events.push(count);
            }
            if timed.joined {
                continue;
            }
            self.wait(timed.at).await?;
            // A client may go, and ask for the log, as soon as it has seen one of these; what follows changes nothing in the row.
            if matches!(timed.step, Step::Done | Step::Error { .. } | Step::BadChunkSize | Step::End | Step::Close | Step::Reset) {
                self.entry.close(outcome, now());
            }
            let last = timed.step == Step::End;
            // The event is whole at its last line feed, which stands before the line end of its HTTP chunk.
            let at = if fault == Some(Fault::Dribble) && !(last && out.is_empty()) {
                self.peer.dribble(&out, 2).await?
            } else if last || !out.is_empty() {
                self.peer.send(&out, last).await?
            } else {
                now()
            };
            events.drain(..).for_each(|tokens| self.entry.tokens(at, tokens));
            out.clear();
            match timed.step {
                Step::Close => return Ok(Next::Close),
                Step::Reset => return Ok(Next::Reset),
                // HTTP/2 has no chunk sizes; its nearest is a stream that breaks.
                Step::BadChunkSize if !self.peer.is_chunked() => return Ok(Next::Reset),
                _ => {}
            }
        }
        Ok(Next::Keep)
    }

    async fn begin(&mut self, fault: Option<Fault>) -> Result<(), Gone> {
        let mut headers = vec![("content-type", "text/event-stream; charset=utf-8")];
        if fault == Some(Fault::Gzip) {
            headers.push(("content-encoding", "gzip"));
        }
        if let Some(id) = &self.request_id {
            headers.push(("x-request-id", id));
        }
        self.peer.begin(&headers).await
    }

    /// One body, at the time at which a stream would have its last token.
    async fn whole(&mut self, ask: &Ask, fault: Option<Fault>, cut: bool) -> Result<Next, Gone> {
        let script = &self.worker.shared.script;
        let at = script.chunks(self.ordinal, ask.tokens).last().map_or(Nanos::ZERO, |(at, _)| at);
        let mut answer = self.identified(Answer::json(200, Encoder::new(script, ask, fault, &self.answer_id()).whole()));
        if fault == Some(Fault::Gzip) {
            answer = answer.header("content-encoding", "gzip");
        }
        self.wait(at).await?;
        // The row must be there before the client can have the end, and here the first write is the end.
        let at = now();
        self.entry.status(200);
        self.entry.tokens(at, ask.tokens);
        self.entry.close(if cut { Outcome::Fault } else { Outcome::Complete }, at);
        self.peer.answer(&answer).await?;
        Ok(Next::Keep)
    }
}

/// What a fault puts in the place of an answer.
fn instead(fault: Option<Fault>, ask: &Ask) -> Option<Answer> {
    match fault? {
        Fault::Status(code) => {
            let answer = Answer::error(code, None, "the scripted status");
            Some(if matches!(code, 429 | 503) { answer.header("retry-after", "1") } else { answer })
        }
        Fault::Redirect => Some(Answer::json(307, String::new()).header("location", "/elsewhere")),
        Fault::RejectLength if ask.forced => {
            Some(Answer::error(400, Some("ignore_eos"), "ignore_eos and min_tokens are not supported by this endpoint"))
        }
        _ => None,
    }
}
