//! The server's end of one stream.

use super::tap::Books;
use crate::answer::Answer;
use crate::clock::now;
use crate::conn::Gone;
use crate::timer::Timers;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderValue, Response};
use nomoat_core::units::Nanos;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// One request's stream.
pub struct Stream {
    respond: SendResponse<Bytes>,
    /// The body's way out, once the head is on it.
    body: Option<SendStream<Bytes>>,
    id: u32,
    /// When the connection was accepted.
    pub accepted: Nanos,
    books: Books,
    /// Bytes of the body handed over so far.
    handed: u64,
    gone: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.books.close(self.id);
    }
}

impl Stream {
    /// The stream with this id.
    pub fn new(respond: SendResponse<Bytes>, id: u32, accepted: Nanos, books: Books) -> Self {
        books.open(id);
        Self { respond, body: None, id, accepted, books, handed: 0, gone: false }
    }

    /// When the request was complete.
    pub fn request_complete(&self) -> Nanos {
        self.books.complete(self.id).unwrap_or_else(now)
    }

    /// Whether the peer was found to have left.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Ends the stream with an error; what was not written yet is not written.
    pub fn reset(&mut self, reason: Reason) {
        match &mut self.body {
            Some(body) => body.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    /// Ready when the peer has reset the stream or is gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let polled = match &mut self.body {
            Some(body) => body.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        polled.map(|_| self.lost())
    }

    fn lost(&mut self) -> Gone {
        self.gone = true;
        Gone
    }

    /// Waits until `at`, and not longer than the peer stays.
    pub async fn wait(&mut self, timers: &Arc<Timers>, at: Nanos) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = timers.until(at) => Ok(()),
            gone = poll_fn(|cx| self.poll_gone(cx)) => Err(gone),
        }
    }

    /// Sends a head; a body follows.
    pub fn begin<'a>(&mut self, status: u16, headers: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), Gone> {
        let mut response = Response::builder().status(status).header("server", "nomoat-truth");
        for (name, value) in headers {
            // All callers pass constants, numbers and checked request ids; a value that is none would be left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                response = response.header(name, value);
            }
        }
        let sent = response.body(()).ok().and_then(|response| self.respond.send_response(response, false).ok());
        self.body = Some(sent.ok_or_else(|| self.lost())?);
        Ok(())
    }

    /// Sends a piece of the body and gives the moment before the write that carried its first frame.
    pub async fn send(&mut self, bytes: &[u8], last: bool) -> Result<Nanos, Gone> {
        let handed = self.body.as_mut().and_then(|body| body.send_data(Bytes::copy_from_slice(bytes), last).ok());
        handed.ok_or_else(|| self.lost())?;
        if bytes.is_empty() {
            return Ok(now());
        }
        let from = self.handed;
        self.handed += bytes.len() as u64;
        let (id, upto, books) = (self.id, self.handed, self.books.clone());
        poll_fn(|cx| match books.poll_left(cx, id, from, upto) {
            Poll::Ready(at) => Poll::Ready(Ok(at)),
            Poll::Pending => self.poll_gone(cx).map(Err),
        })
        .await
    }

    /// Sends a whole response.
    pub async fn answer(&mut self, answer: &Answer) -> Result<(), Gone> {
        let length = answer.body().len().to_string();
        self.begin(answer.status(), answer.headers().chain([("content-length", length.as_str())]))?;
        self.send(answer.body(), true).await.map(|_| ())
    }
}
