//! One slot of the engine: hands a request over, reports its tokens as they come.

use crate::scheduler::{Ask, Limits};
use crate::text::token_text;
use crate::thread::{Command, Piece};
use nomoat_core::backend::{BoxFuture, Channel, Payload, Prepared};
use nomoat_core::event::{EventSink, Finish, RequestError, TokenEvent, TokenKind, Usage};
use nomoat_core::record::{Connection, CountSource, ErrorCode, Status};
use nomoat_core::request::OutputLength;
use tokio::sync::mpsc;

/// A channel into the engine of this process.
#[derive(Debug)]
pub struct LocalChannel {
    commands: mpsc::Sender<Command>,
    limits: Limits,
}

impl LocalChannel {
    /// A channel that sends commands there.
    pub fn new(commands: mpsc::Sender<Command>, limits: Limits) -> Self {
        Self { commands, limits }
    }

    /// What is asked of the engine, or why it can never run there.
    fn ask(&self, prepared: &Prepared) -> Result<Ask, RequestError> {
        // Bytes for a socket were made by another backend's encoder.
        let Payload::Ids(ids) = &prepared.payload else { return Err(RequestError::new(Status::Client, ErrorCode::Prepare)) };
        let request = &prepared.request;
        let fits = self.limits.check_size(ids.len(), request.output_tokens).is_ok();
        if !fits || ids.iter().any(|id| *id as usize >= self.limits.vocab) {
            return Err(RequestError::new(Status::Client, ErrorCode::Engine));
        }
        Ok(Ask { prompt: ids.clone(), max_tokens: request.output_tokens, exact: request.length == OutputLength::Exact })
    }
}

impl Channel for LocalChannel {
    /// Stamps are taken when this side receives a token from the engine's thread: the hand-over, the waking and the scheduling of
    /// this thread are inside, as the socket is for an engine behind one. Tokens that wait together share a stamp.
    fn generate<'a>(&'a mut self, prepared: &'a Prepared, events: &'a mut EventSink) -> BoxFuture<'a, Result<Finish, RequestError>> {
        Box::pin(async move {
            events.started();
            events.connected(Connection::None);
            let ask = self.ask(prepared)?;
            let input = ask.prompt.len() as u32;
            // Room for the whole answer, at most the context: the engine never waits for this side.
            let (owner, mut pieces) = mpsc::channel(ask.max_tokens as usize);
            let gone = |_| RequestError::new(Status::Connect, ErrorCode::Engine);
            self.commands.send(Command::Generate(ask, owner)).await.map_err(gone)?;
            events.sent(u64::from(input) * 4, None);
            // Dropping this future drops `pieces`, and the engine cancels what nobody receives.
            let mut output = 0;
            while let Some(first) = pieces.recv().await {
                let stamp = events.handed_over(events.now());
                let mut next = Some(first);
                while let Some(Piece { token, finish }) = next {
                    output += 1;
                    events.ids_only();
                    events.token(stamp, TokenEvent { kind: TokenKind::Visible, text: &token_text(token), tokens: Some(1) });
                    if finish.is_some() {
                        // It has no prefix cache and does not reason: both are known to be none.
                        let usage =
                            Usage { input: Some(input), cache_read: Some(0), output: Some(output), reasoning: Some(0), ..Usage::default() };
                        events.usage(usage, CountSource::Engine);
                        return Ok(Finish { reason: finish });
                    }
                    next = pieces.try_recv().ok();
                }
            }
            Err(RequestError::new(Status::Truncated, ErrorCode::Engine))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::clock::ManualClock;
    use nomoat_core::prompt::Prompt;
    use nomoat_core::record::{FinishReason, RequestRecord, StampSource, Tokens};
    use nomoat_core::request::{Request, RequestId};
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    const LIMITS: Limits = Limits { batch_tokens: 8, running: 8, context: 64, pool_blocks: 4, vocab: 144 };

    fn prepared(ids: &[u32], output_tokens: u32) -> Prepared {
        let request = Request::new(RequestId(0), Prompt::Ids(ids.into()), ids.len() as u32, output_tokens);
        Prepared { request, payload: Payload::Ids(ids.to_vec()) }
    }

    /// Generates against an engine played by `engine` between two polls, and gives the record. No thread and no runtime, so
    /// that what waits together is the test's choice.
    fn record(prepared: &Prepared, engine: impl FnOnce(mpsc::Receiver<Command>)) -> RequestRecord {
        let (commands, inbox) = mpsc::channel(1);
        let mut events = EventSink::new(Arc::new(ManualClock::default()), Arc::default());
        let wanted = prepared.request.output_tokens;
        events.begin(RequestRecord { tokens: Tokens { wanted, ..Tokens::default() }, ..RequestRecord::default() }, false);
        let mut channel = LocalChannel::new(commands, LIMITS);
        let mut generating = channel.generate(prepared, &mut events);
        let mut context = Context::from_waker(Waker::noop());
        let mut outcome = generating.as_mut().poll(&mut context);
        engine(inbox);
        if outcome.is_pending() {
            outcome = generating.as_mut().poll(&mut context);
        }
        drop(generating);
        let Poll::Ready(outcome) = outcome else { panic!("the request goes on after its engine's part") };
        events.finish(outcome, true).0
    }

    fn accept(inbox: &mut mpsc::Receiver<Command>) -> (Ask, mpsc::Sender<Piece>) {
        match inbox.try_recv() {
            Ok(Command::Generate(ask, owner)) => (ask, owner),
            other => panic!("a request was due, not {other:?}"),
        }
    }

    #[test]
    fn tokens_that_wait_together_share_a_stamp_and_are_marked() {
        let record = record(&prepared(&[20, 30], 3), |mut inbox| {
            let (ask, owner) = accept(&mut inbox);
            assert_eq!(ask, Ask { prompt: vec![20, 30], max_tokens: 3, exact: true });
            for token in 1..=3 {
                owner.try_send(Piece { token, finish: (token == 3).then_some(FinishReason::Length) }).unwrap();
            }
        });
        assert_eq!((record.status, record.finish, record.stamp), (Status::Ok, Some(FinishReason::Length), StampSource::Local));
        assert_eq!((record.tokens.input, record.tokens.output, record.bytes_up), (Some(2), Some(3), 8));
        assert_eq!((record.tokens.input_source, record.tokens.output_source), (CountSource::Engine, CountSource::Engine));
        assert_eq!((record.chunk_tokens.as_slice(), record.coalesced, record.first_coalesced), (&[1, 1, 1][..], 3, true));
        assert_eq!((record.connection, record.attempts), (Connection::None, 1));
    }

    #[test]
    fn an_engine_that_ends_is_a_failure() {
        let cut = record(&prepared(&[20], 3), |mut inbox| {
            let (_, owner) = accept(&mut inbox);
            owner.try_send(Piece { token: 1, finish: None }).unwrap();
        });
        assert_eq!((cut.status, cut.error, cut.tokens.output), (Status::Truncated, Some(ErrorCode::Engine), Some(1)));
        // The engine's thread has ended before: nobody takes the request.
        let (commands, inbox) = mpsc::channel(1);
        drop(inbox);
        let mut events = EventSink::new(Arc::new(ManualClock::default()), Arc::default());
        let (mut channel, request) = (LocalChannel::new(commands, LIMITS), prepared(&[20], 3));
        let outcome = channel.generate(&request, &mut events).as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(outcome, Poll::Ready(Err(RequestError::new(Status::Connect, ErrorCode::Engine))));
    }

    #[test]
    fn what_can_never_run_is_refused_at_once() {
        let wire = Prepared { payload: Payload::Wire { bytes: vec![1], body_at: 0 }, ..prepared(&[1], 1) };
        for (request, code) in [
            (prepared(&[], 1), ErrorCode::Engine),
            (prepared(&[1], 0), ErrorCode::Engine),
            (prepared(&[144], 1), ErrorCode::Engine),
            (prepared(&[1; 60], 5), ErrorCode::Engine),
            (prepared(&[1], u32::MAX), ErrorCode::Engine),
            (wire, ErrorCode::Prepare),
        ] {
            let record = record(&request, |mut inbox| assert!(inbox.try_recv().is_err(), "nothing is sent"));
            assert_eq!((record.status, record.error), (Status::Client, Some(code)), "{request:?}");
            assert_eq!((record.at.start.is_some(), record.at.sent), (true, None));
        }
    }
}
