//! The measured path over HTTP/2: one stream at a time on a connection that the shard shares.

use super::connection::Connection;
use super::head::{Template, answer};
use super::ledger::{Entry, Mark};
use super::pool::Pool;
use crate::channel::AFTER_DONE;
use crate::encoder::Secret;
use crate::protocol::Protocol;
use crate::retry::Declined;
use crate::said::{complain, said};
use crate::stream::{Flow, StreamDecoder};
use bytes::Bytes;
use h2::{Reason, RecvStream};
use nomoat_core::backend::{BoxFuture, Channel, Payload, Prepared};
use nomoat_core::event::{EventSink, Finish, RequestError, Silent, Stamp};
use nomoat_core::record::{Connection as Kind, ErrorCode, Status};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// A stream slot.
pub(crate) struct Http2Channel {
    pool: Arc<Pool>,
    template: Template,
    decoder: StreamDecoder,
    /// What must not appear in what is told of failures.
    secrets: Vec<Secret>,
    /// Memory for the marks of the stream at hand.
    marks: VecDeque<Mark>,
    /// The status of the last answer that was refused, and its `retry-after`.
    declined: Option<(u16, Option<String>)>,
}

impl Declined for Http2Channel {
    fn declined(&self) -> Option<(u16, Option<&str>)> {
        self.declined.as_ref().map(|(status, after)| (*status, after.as_deref()))
    }
}

/// How an answer failed to come.
enum Broken {
    /// The peer had taken nothing of the request: it may be tried once more.
    Untaken(RequestError),
    Failed(RequestError),
}

impl From<RequestError> for Broken {
    fn from(error: RequestError) -> Self {
        Self::Failed(error)
    }
}

const fn error(status: Status, code: ErrorCode) -> RequestError {
    RequestError::new(status, code)
}

impl Http2Channel {
    pub fn new(pool: Arc<Pool>, template: Template, protocol: &'static dyn Protocol, secrets: Vec<Secret>) -> Self {
        Self { pool, template, decoder: StreamDecoder::new(protocol), secrets, marks: VecDeque::new(), declined: None }
    }

    async fn exchange(&mut self, id: &[u8], body: &[u8], events: &mut EventSink) -> Result<Finish, RequestError> {
        events.started();
        let Some(request) = self.template.post(id) else { return Err(error(Status::Client, ErrorCode::Prepare)) };
        let body = Bytes::copy_from_slice(body);
        let mut again = false;
        loop {
            let place = self.pool.place().await?;
            events.connected(if place.is_new { Kind::New } else { Kind::H2 });
            match self.attempt(&place.connection, place.is_new, request.clone(), body.clone(), events).await {
                Ok(finish) => return Ok(finish),
                Err(Broken::Untaken(_)) if !again => {
                    // Counted as a second attempt; the clock runs on from the first.
                    again = true;
                    events.started();
                }
                Err(Broken::Untaken(error) | Broken::Failed(error)) => return Err(error),
            }
        }
    }

    /// One try on one connection. Dropped, it resets its stream, which is how the peer hears of it.
    async fn attempt(
        &mut self,
        connection: &Connection,
        is_new: bool,
        request: http::Request<()>,
        body: Bytes,
        events: &mut EventSink,
    ) -> Result<Finish, Broken> {
        let unsent = Broken::Untaken(error(Status::Connect, ErrorCode::SendFailed));
        let Some(mut sender) = connection.sender() else { return Err(unsent) };
        let Ok((response, mut upload)) = sender.send_request(request, false) else {
            connection.retire();
            return Err(unsent);
        };
        // Before anything is awaited: the connection's task has not run, so no frame of this stream has passed yet.
        let entry = connection.ledger.open(response.stream_id().as_u32(), std::mem::take(&mut self.marks));
        if upload.send_data(body, true).is_err() {
            connection.retire();
            return Err(unsent);
        }
        let mut response = pin!(response);
        let mut sent = false;
        let answered = poll_fn(|cx| {
            if !sent && let Poll::Ready((at, bytes)) = entry.poll_sent(cx) {
                events.sent(bytes, Some(at));
                sent = true;
            }
            response.as_mut().poll(cx)
        });
        let result = match answered.await {
            Ok(response) => self.receive(response, &entry, events).await.map_err(Broken::Failed),
            Err(why) => Err(unanswered(&why, is_new, &entry, connection)),
        };
        self.marks = entry.close();
        result
    }

    /// Reads one answer.
    async fn receive(
        &mut self,
        response: http::Response<RecvStream>,
        entry: &Entry,
        events: &mut EventSink,
    ) -> Result<Finish, RequestError> {
        let (parts, mut body) = response.into_parts();
        let mut reads = Reads::default();
        let stamp = match entry.head() {
            Some(mark) => reads.next(mark, events),
            None => events.arrived(0, None),
        };
        let head = answer(&parts);
        events.headers(stamp, Some(head.status));
        if let Err(refused) = head.refusal() {
            // What came along with the head, as over HTTP/1.1; nobody waits for more.
            let words = poll_fn(|cx| Poll::Ready(body.poll_data(cx))).await;
            let words = if let Poll::Ready(Some(Ok(words))) = words { words } else { Bytes::new() };
            complain(&self.secrets, &format!("HTTP {}{}", head.status, said(&words)), events);
            self.declined = Some((head.status, head.retry_after));
            return Err(refused);
        }
        self.decoder.reset();
        let (mut done, mut seen) = (false, 0);
        loop {
            let next = body.data();
            let next = if done {
                match tokio::time::timeout(AFTER_DONE, next).await {
                    Ok(next) => next,
                    Err(_) => break,
                }
            } else {
                next.await
            };
            let piece = match next {
                Some(Ok(piece)) => piece,
                None => break,
                Some(Err(_)) if done => break,
                Some(Err(why)) => return Err(cut(&why)),
            };
            // Given back before it is read: the peer shall never wait for us.
            let _ = body.flow_control().release_capacity(piece.len());
            seen += piece.len() as u64;
            let stamp = match entry.piece(seen) {
                Some(mark) => reads.next(mark, events),
                None => events.arrived(piece.len(), None),
            };
            match self.decoder.feed(&piece, stamp, events) {
                Ok(flow) => done |= flow == Flow::Done,
                Err(failed) => {
                    if let Some(words) = self.decoder.message().map(str::to_owned) {
                        complain(&self.secrets, &words, events);
                    }
                    return Err(failed);
                }
            }
        }
        self.decoder.end(events)
    }
}

impl Channel for Http2Channel {
    fn generate<'a>(&'a mut self, request: &'a Prepared, events: &'a mut EventSink) -> BoxFuture<'a, Result<Finish, RequestError>> {
        Box::pin(async move {
            match &request.payload {
                // The head of HTTP/2 is all template but for the id, which is what the encoder wrote for it.
                Payload::Wire { bytes, body_at } => self.exchange(&bytes[..*body_at], &bytes[*body_at..], events).await,
                Payload::Ids(_) => {
                    events.started();
                    Err(error(Status::Client, ErrorCode::Prepare))
                }
            }
        })
    }
}

/// What it means that no head came.
fn unanswered(why: &h2::Error, is_new: bool, entry: &Entry, connection: &Connection) -> Broken {
    if why.is_io() || why.is_go_away() {
        connection.retire();
    }
    let failed = if why.is_library() { error(Status::Protocol, ErrorCode::BadHead) } else { error(Status::Connect, ErrorCode::Reset) };
    // Refused streams were not begun, nor those above the last one that a peer says it took before it goes (RFC 9113 §8.7). A connection
    // that was kept and is gone before a single frame is what over HTTP/1.1 is a stale one.
    let untaken = why.reason() == Some(Reason::REFUSED_STREAM)
        || (why.is_go_away() && why.is_remote() && why.reason() == Some(Reason::NO_ERROR))
        || (why.is_io() && !is_new);
    if untaken && !entry.is_answered() { Broken::Untaken(failed) } else { Broken::Failed(failed) }
}

/// What it means that an answer broke off.
fn cut(why: &h2::Error) -> RequestError {
    if why.is_library() {
        return error(Status::Protocol, ErrorCode::BadChunk);
    }
    match why.get_io() {
        // The connection was closed, which is how an answer over HTTP/1.1 ends without its last chunk.
        Some(e) if e.kind() != std::io::ErrorKind::ConnectionReset => error(Status::Truncated, ErrorCode::NoTerminator),
        _ => error(Status::Truncated, ErrorCode::Reset),
    }
}

/// Frames of one read keep one stamp.
#[derive(Default)]
struct Reads {
    last: Option<(u64, Stamp)>,
}

impl Reads {
    fn next(&mut self, mark: Mark, events: &mut EventSink) -> Stamp {
        let stamp = match self.last {
            Some((read, stamp)) if read == mark.read => {
                events.continued(mark.bytes as usize);
                stamp
            }
            _ => events.arrived(mark.bytes as usize, Some(mark.arrival)),
        };
        self.last = Some((mark.read, stamp));
        if mark.merged {
            // The read held more than this frame, of this stream or of others: what it brings counts as coalesced.
            events.silent(stamp, Silent::Nothing);
        }
        stamp
    }
}
