//! The measured path: one HTTP/1.1 connection, one request at a time. Bytes are stamped by the transport, framed and decoded in
//! place, and told to the sink.

use crate::body::{BodyDecoder, BodyError, Head, MAX_HEAD};
use crate::encoder::Secret;
use crate::lent::Lent;
use crate::protocol::Protocol;
use crate::retry::Declined;
use crate::said::{complain, said};
use crate::stream::{Flow, StreamDecoder};
use crate::transport::{Route, Transport};
use nomoat_core::backend::{BoxFuture, Channel, Payload, Prepared};
use nomoat_core::event::{EventSink, Finish, RequestError, Stamp};
use nomoat_core::record::{Connection, ErrorCode, Status};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;

/// Longer than this for TCP and TLS together is a failure of its own kind.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the framing may take to end after the stream has said that it is done. Costs the connection, not the answer.
pub(crate) const AFTER_DONE: Duration = Duration::from_millis(100);

/// A connection that is opened when first needed and kept while the peer allows.
pub(crate) struct HttpChannel {
    route: Arc<Route>,
    connection: Option<Transport>,
    /// Whether a connection is kept for the next request.
    keeps: bool,
    decoder: StreamDecoder,
    /// What must not appear in what is told of failures.
    secrets: Vec<Secret>,
    /// The status of the last answer that was refused, and its `retry-after`.
    declined: Option<(u16, Option<String>)>,
}

impl Declined for HttpChannel {
    fn declined(&self) -> Option<(u16, Option<&str>)> {
        self.declined.as_ref().map(|(status, after)| (*status, after.as_deref()))
    }
}

/// How a response failed to come.
enum Broken {
    /// The peer closed a kept connection before a single byte: it may be tried once more on a new one.
    Stale,
    Failed(RequestError),
}

impl From<RequestError> for Broken {
    fn from(error: RequestError) -> Self {
        Self::Failed(error)
    }
}

const fn broken(status: Status, code: ErrorCode) -> Broken {
    Broken::Failed(RequestError::new(status, code))
}

impl HttpChannel {
    pub fn new(route: Arc<Route>, protocol: &'static dyn Protocol, secrets: Vec<Secret>) -> Self {
        Self { route, connection: None, keeps: true, decoder: StreamDecoder::new(protocol), secrets, declined: None }
    }

    /// Keeps connections from request to request, or opens one for each.
    pub fn keeping(self, keeps: bool) -> Self {
        Self { keeps, ..self }
    }

    async fn connect(&self) -> Result<Transport, RequestError> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.route.connect()).await {
            Ok(connected) => Ok(connected?),
            Err(_) => Err(RequestError::new(Status::Connect, ErrorCode::ConnectTimeout)),
        }
    }

    async fn exchange(&mut self, bytes: &[u8], events: &mut EventSink) -> Result<Finish, RequestError> {
        events.started();
        // Taken while in use: if this future is dropped, the connection goes with it, which is how the peer hears of it.
        let kept = self.connection.take().filter(Transport::is_idle);
        let mut reused = kept.is_some();
        let mut transport = match kept {
            Some(transport) => transport,
            None => self.connect().await?,
        };
        loop {
            events.connected(if reused { Connection::Reused } else { Connection::New });
            let result = match transport.write_all(bytes).await {
                Ok(at) => {
                    events.sent(bytes.len() as u64, Some(at));
                    self.receive(&mut transport, events, reused).await
                }
                Err(_) if reused => Err(Broken::Stale),
                Err(_) => Err(broken(Status::Connect, ErrorCode::SendFailed)),
            };
            match result {
                Ok((finish, keep)) => {
                    self.connection = (keep && self.keeps).then_some(transport);
                    return Ok(finish);
                }
                Err(Broken::Stale) => {
                    // Counted as a second attempt; the clock runs on from the first.
                    events.started();
                    reused = false;
                    transport = self.connect().await?;
                }
                Err(Broken::Failed(error)) => return Err(error),
            }
        }
    }

    /// Reads one response. Gives the finish and whether the connection can be kept.
    async fn receive(&mut self, transport: &mut Transport, events: &mut EventSink, reused: bool) -> Result<(Finish, bool), Broken> {
        let mut reads = Reads::default();
        // The beginning of a head that a read cut in two.
        let mut begun = vec![];
        let (head, length, mut bytes, mut stamp) = loop {
            let (mut bytes, stamp) = match reads.next(transport, events).await {
                Ok(Some(read)) => read,
                Ok(None) | Err(_) if reused && begun.is_empty() => return Err(Broken::Stale),
                Ok(None) | Err(_) => return Err(broken(Status::Connect, ErrorCode::Reset)),
            };
            if !begun.is_empty() {
                bytes.prepend(&begun);
            }
            let head = loop {
                match Head::parse(&bytes) {
                    // An interim head (100, 103): the final one follows, perhaps in the same read.
                    Ok(Some((head, length))) if (100..200).contains(&head.status) && head.status != 101 => bytes.skip(length),
                    other => break other,
                }
            };
            match head {
                Ok(Some((head, length))) => break (head, length, bytes, stamp),
                Ok(None) if bytes.len() < MAX_HEAD => begun = bytes.to_vec(),
                Ok(None) => return Err(broken(Status::Protocol, ErrorCode::TooLarge)),
                Err(_) => return Err(broken(Status::Protocol, ErrorCode::BadHead)),
            }
        };
        bytes.skip(length);
        events.headers(stamp, Some(head.status));
        if let Err(refused) = head.refusal() {
            complain(&self.secrets, &format!("HTTP {}{}", head.status, said(&bytes)), events);
            self.declined = Some((head.status, head.retry_after));
            return Err(refused.into());
        }
        self.decoder.reset();
        let mut body = BodyDecoder::new(head.framing);
        let mut done = false;
        let mut spotless;
        loop {
            let decoder = &mut self.decoder;
            let fed = body.feed(&bytes, &mut |piece: &[u8]| {
                done |= decoder.feed(piece, stamp, events).map_err(Failed::Decode)? == Flow::Done;
                Ok::<_, Failed>(())
            });
            let used = match fed {
                Ok(used) => used,
                Err(failed) => {
                    if let Some(words) = self.decoder.message().map(str::to_owned) {
                        complain(&self.secrets, &words, events);
                    }
                    return Err(Broken::Failed(failed.into()));
                }
            };
            // Bytes behind the body belong to nobody: the next response could not be told from them.
            spotless = used == bytes.len();
            if body.is_done() {
                break;
            }
            drop(bytes);
            let read = reads.next(transport, events);
            let read = if done {
                match tokio::time::timeout(AFTER_DONE, read).await {
                    Ok(read) => read,
                    Err(_) => return Ok((self.decoder.end(events)?, false)),
                }
            } else {
                read.await
            };
            match read {
                Ok(None) | Err(_) if done => return Ok((self.decoder.end(events)?, false)),
                Ok(None) => {
                    if body.close().is_err() {
                        return Err(broken(Status::Truncated, ErrorCode::NoTerminator));
                    }
                    return Ok((self.decoder.end(events)?, false));
                }
                Ok(Some((read, at))) => (bytes, stamp) = (read, at),
                Err(_) => return Err(broken(Status::Truncated, ErrorCode::Reset)),
            }
        }
        Ok((self.decoder.end(events)?, head.keep_alive && spotless))
    }
}

impl Channel for HttpChannel {
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

/// What the decoding of a piece may end in.
enum Failed {
    Body(BodyError),
    Decode(RequestError),
}

impl From<BodyError> for Failed {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<Failed> for RequestError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Body(error) => error.into(),
            Failed::Decode(error) => error,
        }
    }
}

/// Numbers the reads of the socket, so that several pieces of plaintext from one read of ciphertext keep one stamp.
#[derive(Default)]
struct Reads {
    last: Option<(u64, Stamp)>,
}

impl Reads {
    async fn next(&mut self, transport: &mut Transport, events: &mut EventSink) -> io::Result<Option<(Lent, Stamp)>> {
        let bytes = poll_fn(|cx| {
            let mut bytes = Lent::take();
            let mut room = ReadBuf::new(bytes.room());
            ready!(transport.poll_read(cx, &mut room))?;
            let n = room.filled().len();
            bytes.fill(n);
            Poll::Ready(io::Result::Ok(bytes))
        })
        .await?;
        let n = bytes.len();
        if n == 0 {
            // The end of the connection is no byte: it has no stamp.
            return Ok(None);
        }
        let (arrival, number) = transport.arrival();
        let stamp = match self.last {
            Some((seen, stamp)) if seen == number => {
                events.continued(n);
                stamp
            }
            _ => events.arrived(n, Some(arrival)),
        };
        self.last = Some((number, stamp));
        Ok(Some((bytes, stamp)))
    }
}
