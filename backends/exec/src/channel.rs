//! The measured path: one connection, one request at a time. Bytes are stamped at the return of their read, before anybody looks at
//! them. Linux keeps no receive stamps for stream sockets of this family, so the source is `read`.

use crate::echo;
use crate::link::{Broken, Link, parse};
use crate::message::{Hello, Refusal, Said, Tokens};
use nomoat_core::backend::{BoxFuture, Channel, Payload, Prepared};
use nomoat_core::event::{EventSink, Finish, RequestError, Silent, Stamp, TokenEvent};
use nomoat_core::record::{Connection, CountSource, ErrorCode, Status};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A connection that is opened when first needed and kept while the adapter allows.
#[derive(Debug)]
pub struct ExecChannel {
    socket: PathBuf,
    hello_within: Duration,
    /// What the probe was told; another engine behind the same socket is no longer what is measured.
    expected: Option<Hello>,
    /// Whether answers are scripted: then their moments are kept.
    scripted: bool,
    link: Option<Link>,
}

/// How an answer failed to come.
enum Failed {
    /// The adapter closed a kept connection before a single byte: it may be tried once more on a new one.
    Stale,
    Is(RequestError),
}

const fn failed(status: Status, code: ErrorCode) -> Failed {
    Failed::Is(RequestError::new(status, code))
}

impl ExecChannel {
    /// A channel to `socket`; the adapter has `hello_within` for its first message. `scripted` is whether requests ask for a script.
    pub fn new(socket: PathBuf, hello_within: Duration, expected: Option<Hello>, scripted: bool) -> Self {
        Self { socket, hello_within, expected, scripted, link: None }
    }

    async fn connect(&self, events: &mut EventSink) -> Result<Link, RequestError> {
        let link = match Link::open(&self.socket, self.hello_within).await {
            Ok(link) => link,
            Err(broken) => {
                events.complaint(&format!("the adapter's hello: {broken}"));
                return Err(unopened(&broken));
            }
        };
        if self.expected.as_ref().is_some_and(|expected| *expected != link.hello) {
            events.complaint("the adapter's hello is another than at the start of the run");
            return Err(RequestError::new(Status::Protocol, ErrorCode::BadEvent));
        }
        Ok(link)
    }

    async fn exchange(&mut self, bytes: &[u8], events: &mut EventSink) -> Result<Finish, RequestError> {
        events.started();
        // Taken while in use: if this future is dropped, the connection goes with it, which is how the adapter hears of it.
        let kept = self.link.take().filter(Link::is_idle);
        let mut reused = kept.is_some();
        let mut link = match kept {
            Some(link) => link,
            None => self.connect(events).await?,
        };
        loop {
            events.connected(if reused { Connection::Reused } else { Connection::New });
            let at = events.now();
            let result = match link.stream.write_all(bytes).await {
                Ok(()) => {
                    events.sent(bytes.len() as u64, Some(at));
                    receive(&mut link, events, reused, self.scripted).await
                }
                Err(_) if reused => Err(Failed::Stale),
                Err(_) => Err(failed(Status::Connect, ErrorCode::SendFailed)),
            };
            match result {
                Ok(finish) => {
                    self.link = Some(link);
                    return Ok(finish);
                }
                Err(Failed::Stale) => {
                    // Counted as a second attempt; the clock runs on from the first.
                    events.started();
                    reused = false;
                    link = self.connect(events).await?;
                }
                Err(Failed::Is(error)) => return Err(error),
            }
        }
    }
}

/// Why no request could go out.
fn unopened(broken: &Broken) -> RequestError {
    let full = |e: &std::io::Error| matches!(e.raw_os_error(), Some(23 | 24));
    match broken {
        // ENFILE and EMFILE: it is this host that has none left.
        Broken::Connect(error) if full(error) => RequestError::new(Status::Client, ErrorCode::Exhausted),
        Broken::Connect(_) => RequestError::new(Status::Connect, ErrorCode::Refused),
        Broken::Late => RequestError::new(Status::Connect, ErrorCode::ConnectTimeout),
        Broken::Closed => RequestError::new(Status::Connect, ErrorCode::Reset),
        Broken::TooLarge(_) => RequestError::new(Status::Protocol, ErrorCode::TooLarge),
        Broken::Bad(_) => RequestError::new(Status::Protocol, ErrorCode::BadEvent),
    }
}

/// Reads one answer. Whether it comes in time is watched by whoever holds the future.
async fn receive(link: &mut Link, events: &mut EventSink, reused: bool, scripted: bool) -> Result<Finish, Failed> {
    let mut begun = false;
    loop {
        let n = match link.stream.read(link.frames.room()).await {
            Ok(n) if n > 0 => n,
            _ if begun => return Err(failed(Status::Truncated, ErrorCode::NoTerminator)),
            _ if reused => return Err(Failed::Stale),
            _ => return Err(failed(Status::Connect, ErrorCode::Reset)),
        };
        let stamp = events.arrived(n, None);
        begun = true;
        link.frames.filled(n);
        while let Some(at) = link.frames.take().map_err(|_| failed(Status::Protocol, ErrorCode::TooLarge))? {
            match parse(link.frames.body(at)) {
                Ok(Said::Tokens(tokens)) => told(&tokens, stamp, events)?,
                Ok(Said::Done(done)) => {
                    events.silent(stamp, Silent::Terminator);
                    events.usage(done.usage.into(), CountSource::Usage);
                    if let Some(sent_ns) = done.sent_ns.as_ref().filter(|_| scripted) {
                        events.vendor(echo::vendor(sent_ns));
                    }
                    return Ok(Finish { reason: Some(done.reason()) });
                }
                Ok(Said::Error(refusal)) => {
                    events.complaint(&format!("{}: {}", refusal.code, refusal.message));
                    return Err(Failed::Is(refused(&refusal)));
                }
                Ok(Said::Hello(_) | Said::Samples { .. }) => {
                    events.complaint("the adapter says hello or samples inside an answer");
                    return Err(failed(Status::Protocol, ErrorCode::BadEvent));
                }
                Err(broken) => {
                    events.complaint(&broken.to_string());
                    return Err(failed(Status::Protocol, ErrorCode::BadEvent));
                }
            }
        }
    }
}

fn told(tokens: &Tokens, stamp: Stamp, events: &mut EventSink) -> Result<(), Failed> {
    if tokens.ids.as_ref().is_some_and(|ids| ids.len() != tokens.n as usize) {
        events.complaint("a tokens message whose `n` is not the number of its `ids`");
        return Err(failed(Status::Protocol, ErrorCode::BadEvent));
    }
    if tokens.n == 0 {
        // A part of the answer without a token: no clock starts at it.
        events.silent(stamp, Silent::Choice);
        return Ok(());
    }
    let of_ids: Vec<u8>;
    let text = match (&tokens.text, &tokens.ids) {
        (Some(text), _) => text.as_bytes(),
        (None, Some(ids)) => {
            events.ids_only();
            of_ids = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            &of_ids
        }
        (None, None) => &[],
    };
    events.token(stamp, TokenEvent { kind: tokens.kind.into(), text, tokens: Some(tokens.n) });
    Ok(())
}

fn refused(refusal: &Refusal) -> RequestError {
    match refusal.code.as_str() {
        "overloaded" => RequestError::new(Status::Rejected, ErrorCode::Engine),
        "invalid" => RequestError::new(Status::Client, ErrorCode::Engine),
        _ => RequestError::new(Status::Protocol, ErrorCode::StreamError),
    }
}

impl Channel for ExecChannel {
    fn generate<'a>(&'a mut self, request: &'a Prepared, events: &'a mut EventSink) -> BoxFuture<'a, Result<Finish, RequestError>> {
        Box::pin(async move {
            match &request.payload {
                Payload::Wire { bytes, .. } => self.exchange(bytes, events).await,
                Payload::Ids(_) => {
                    events.started();
                    Err(RequestError::new(Status::Client, ErrorCode::Prepare))
                }
            }
        })
    }
}
