//! One accepted connection: reads requests off it, writes bytes to it, notices when the peer goes away.
//!
//! HTTP/1.1 with `content-length` bodies only; of HTTP/2 only the first words are known here. What it does not do: chunked request bodies, upgrades, pipelining worth the
//! name (a second request that arrives early is answered in its turn).

use crate::clock::now;
use crate::line::Line;
use crate::timer::Timers;
use nomoat_core::units::Nanos;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// Largest request head.
const MOST_HEAD: usize = 64 << 10;
/// Largest request body: a million token ids fit eight times.
pub const MOST_BODY: usize = 64 << 20;
/// Most header lines.
const MOST_HEADERS: usize = 128;
/// What a read asks for, and what an idle connection keeps.
const READ: usize = 16 << 10;
/// Longest request id that is kept.
const MOST_ID: usize = 128;
/// What a client of HTTP/2 says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A request as it came.
pub struct Incoming {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// The `x-request-id` header, where it was printable and short enough.
    pub request_id: Option<String>,
    /// The key of an `authorization: Bearer` header.
    pub bearer: Option<String>,
    /// The client will not send another request.
    pub close: bool,
    /// The body.
    pub body: Vec<u8>,
    /// Arrival of its last byte: the kernel's stamp, else the return of the read.
    pub complete: Nanos,
}

impl Incoming {
    /// A request of which the first line is known.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.split('?').next().unwrap_or_default().to_owned(),
            request_id: None,
            bearer: None,
            close: false,
            body: Vec::new(),
            complete: Nanos::ZERO,
        }
    }

    /// Keeps a header that matters. `name` is in lower case.
    pub fn note(&mut self, name: &str, value: &[u8]) {
        match name {
            "x-request-id" if value.len() <= MOST_ID && !value.is_empty() && value.iter().all(|b| (b' '..=b'~').contains(b)) => {
                self.request_id = Some(value.iter().map(|b| char::from(*b)).collect());
            }
            "authorization" => {
                let key = std::str::from_utf8(value).ok().and_then(|text| text.strip_prefix("Bearer "));
                self.bearer = key.map(|key| key.trim().to_owned());
            }
            _ => {}
        }
    }
}

/// Why a request cannot be read. The connection is of no further use.
pub struct Unreadable {
    /// The status to answer with.
    pub status: u16,
    /// What is wrong.
    pub message: &'static str,
}

/// The peer is gone.
pub struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// One accepted connection.
pub struct Conn {
    line: Line,
    buffer: Vec<u8>,
    /// When it was accepted.
    pub accepted: Nanos,
    read_at: Nanos,
}

/// A request head without its body.
struct Head {
    incoming: Incoming,
    bytes: usize,
    body: usize,
    expects: bool,
}

impl Conn {
    /// A connection accepted at `accepted`.
    pub fn new(line: Line, accepted: Nanos) -> Self {
        Self { line, buffer: Vec::new(), accepted, read_at: accepted }
    }

    /// The next request; `None` when the peer is done or gone.
    pub async fn request(&mut self) -> Result<Option<Incoming>, Unreadable> {
        self.buffer.shrink_to(READ);
        let head = loop {
            if let Some(head) = parse_head(&self.buffer)? {
                break head;
            }
            if self.buffer.len() > MOST_HEAD {
                return Err(Unreadable { status: 431, message: "the request head is larger than 64 KiB" });
            }
            if self.read(READ).await.is_err() {
                return Ok(None);
            }
        };
        let Head { mut incoming, bytes, body, expects } = head;
        let whole = bytes + body;
        if expects && self.buffer.len() < whole && self.send(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err() {
            return Ok(None);
        }
        while self.buffer.len() < whole {
            if self.read(whole - self.buffer.len()).await.is_err() {
                return Ok(None);
            }
        }
        incoming.complete = self.read_at;
        let rest = self.buffer.split_off(whole);
        incoming.body = self.buffer.split_off(bytes);
        self.buffer = rest;
        Ok(Some(incoming))
    }

    /// Reads once; `room` bytes are expected.
    async fn read(&mut self, room: usize) -> Result<(), Gone> {
        poll_fn(|cx| self.poll_read(cx, room)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Result<(), Gone>> {
        // Most polls of a waiting stream find nothing: room that needs no clearing costs them nothing.
        let mut small = [MaybeUninit::uninit(); READ];
        let mut large = vec![];
        let mut part = if room > READ {
            large.resize(room, 0);
            ReadBuf::new(&mut large)
        } else {
            ReadBuf::uninit(&mut small)
        };
        ready!(Pin::new(&mut self.line).poll_read(cx, &mut part))?;
        if part.filled().is_empty() {
            return Poll::Ready(Err(Gone));
        }
        self.buffer.extend_from_slice(part.filled());
        self.read_at = self.line.read_at();
        Poll::Ready(Ok(()))
    }

    /// Whether the peer speaks HTTP/2: it begins with words that no request of HTTP/1.1 begins with (RFC 9113 §3.4).
    pub async fn speaks_http2(&mut self) -> bool {
        while self.buffer.len() < PREFACE.len() && PREFACE.starts_with(&self.buffer) {
            if self.read(READ).await.is_err() {
                return false;
            }
        }
        self.buffer.starts_with(PREFACE)
    }

    /// What the connection consists of: the line, what was read off it already, and when that arrived.
    pub fn into_parts(self) -> (Line, Vec<u8>, Nanos) {
        (self.line, self.buffer, self.read_at)
    }

    /// Waits until `at`, and not longer than the peer stays. A peer that shut down its sending side counts as gone, as for uvicorn.
    pub async fn wait(&mut self, timers: &Arc<Timers>, at: Nanos) -> Result<(), Gone> {
        let until = timers.until(at);
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                () = &mut until => return Ok(()),
                read = self.read(0) => {
                    read?;
                    // Bytes of an early next request are kept, but not without bound.
                    if self.buffer.len() > MOST_HEAD {
                        return Err(Gone);
                    }
                }
            }
        }
    }

    /// Writes all of `bytes`, in one write when the socket takes them, and gives the moment before it.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<Nanos, Gone> {
        self.line.wrote_at();
        self.line.write_all(bytes).await?;
        self.line.flush().await?;
        Ok(self.line.wrote_at().unwrap_or_else(now))
    }

    /// Writes every byte alone and gives the moment before byte `mark`.
    pub async fn dribble(&mut self, bytes: &[u8], mark: usize) -> Result<Nanos, Gone> {
        let mut marked = None;
        for (index, byte) in bytes.iter().enumerate() {
            let at = self.send(std::slice::from_ref(byte)).await?;
            if index == mark {
                marked = Some(at);
            }
            tokio::task::yield_now().await;
        }
        Ok(marked.unwrap_or_else(now))
    }

    /// Closes the connection: under TLS its end is announced, as servers do.
    pub async fn close(mut self) {
        // A peer that is gone needs no announcement.
        let _ = self.line.shutdown().await;
    }

    /// Resets the connection instead of closing it.
    pub fn reset(mut self) {
        self.line.reset();
    }
}

fn parse_head(buffer: &[u8]) -> Result<Option<Head>, Unreadable> {
    let bad = |message| Unreadable { status: 400, message };
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let bytes = match request.parse(buffer) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Unreadable { status: 431, message: "more than 128 header lines" }),
        Err(_) => return Err(bad("the request head is not HTTP/1.1")),
    };
    if request.version != Some(1) {
        return Err(Unreadable { status: 505, message: "only HTTP/1.1 is spoken here" });
    }
    let mut incoming = Incoming::new(request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let (mut body, mut expects) = (None, false);
    for header in request.headers.iter() {
        let value = header.value;
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let length: usize = std::str::from_utf8(value)
                    .ok()
                    .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
                    .and_then(|text| text.parse().ok())
                    .ok_or(bad("content-length is not a number"))?;
                if body.replace(length).is_some_and(|other| other != length) {
                    return Err(bad("two content-length headers disagree"));
                }
            }
            "transfer-encoding" => {
                return Err(Unreadable { status: 411, message: "chunked request bodies are not read here; send content-length" });
            }
            "connection" => incoming.close |= value.eq_ignore_ascii_case(b"close"),
            "expect" => expects |= value.eq_ignore_ascii_case(b"100-continue"),
            name => incoming.note(name, value),
        }
    }
    let body = body.unwrap_or(0);
    if body > MOST_BODY {
        return Err(Unreadable { status: 413, message: "the request body is larger than 64 MiB" });
    }
    Ok(Some(Head { incoming, bytes, body, expects }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let read = |text: &str| parse_head(text.as_bytes()).map(|head| head.map(|h| (h.incoming, h.bytes, h.body))).map_err(|e| e.status);
        let text = "POST /v1/completions?x=1 HTTP/1.1\r\nContent-Length: 12\r\nX-Request-Id: a-1\r\nAuthorization: Bearer key\r\nConnection: close\r\n\r\n";
        let (incoming, bytes, body) = read(text).unwrap().unwrap();
        assert_eq!((incoming.method.as_str(), incoming.path.as_str(), bytes, body), ("POST", "/v1/completions", text.len(), 12));
        assert_eq!((incoming.request_id.as_deref(), incoming.bearer.as_deref(), incoming.close), (Some("a-1"), Some("key"), true));
        for cut in 0..text.len() {
            assert!(read(&text[..cut]).is_ok_and(|head| head.is_none()), "{cut}");
        }
        let check = |text: &str, status: u16| assert_eq!(read(text).map(|_| ()), Err(status), "{text}");
        check("POST / HTTP/1.0\r\n\r\n", 505);
        check("nonsense\r\n\r\n", 400);
        check("POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400);
        check("POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\n", 400);
        check("POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400);
        check("POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", 413);
        check("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411);
        check(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(129)), 431);
        let long = format!("GET / HTTP/1.1\r\nx-request-id: {}\r\n\r\n", "a".repeat(129));
        assert_eq!(read(&long).unwrap().unwrap().0.request_id, None);
    }
}
