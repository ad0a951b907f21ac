//! One accepted connection: reads requests off it, writes bytes to it, notices when the peer goes away.
//!
//! HTTP/1.1 with `content-length` bodies only. What it does not do: chunked request bodies, upgrades, pipelining worth the
//! name (a second request that arrives early is answered in its turn).

use crate::arrival::{self, read_stamped};
use crate::clock::now;
use crate::timer::Timers;
use nomoat_core::units::Nanos;
use std::io;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Largest request head.
const MOST_HEAD: usize = 64 << 10;
/// Largest request body: a million token ids fit eight times.
const MOST_BODY: usize = 64 << 20;
/// Most header lines.
const MOST_HEADERS: usize = 128;
/// What a read asks for, and what an idle connection keeps.
const READ: usize = 16 << 10;
/// Longest request id that is kept.
const MOST_ID: usize = 128;

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
    stream: TcpStream,
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
    pub fn new(stream: TcpStream, accepted: Nanos) -> Self {
        arrival::ask_for_stamps(&stream);
        Self { stream, buffer: Vec::new(), accepted, read_at: accepted }
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

    /// Reads once, `room` bytes or more.
    async fn read(&mut self, room: usize) -> Result<(), Gone> {
        loop {
            self.stream.readable().await?;
            if self.read_ready(room)? {
                return Ok(());
            }
        }
    }

    /// Reads what is there; false when there is nothing yet.
    fn read_ready(&mut self, room: usize) -> Result<bool, Gone> {
        let (known, room) = (self.buffer.len(), room.max(READ));
        self.buffer.resize(known + room, 0);
        let read = self.stream.try_io(Interest::READABLE, || read_stamped(&self.stream, &mut self.buffer[known..]));
        self.buffer.truncate(known + read.as_ref().map_or(0, |(n, _)| *n));
        match read {
            Ok((0, _)) => Err(Gone),
            Ok((_, at)) => {
                self.read_at = at;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(Gone),
        }
    }

    /// Waits until `at`, and not longer than the peer stays. A peer that shut down its sending side counts as gone, as for uvicorn.
    pub async fn wait(&mut self, timers: &Arc<Timers>, at: Nanos) -> Result<(), Gone> {
        let until = timers.until(at);
        tokio::pin!(until);
        loop {
            tokio::select! {
                biased;
                () = &mut until => return Ok(()),
                ready = self.stream.readable() => {
                    ready?;
                    // Bytes of an early next request are kept, but not without bound.
                    if self.read_ready(0)? && self.buffer.len() > MOST_HEAD {
                        return Err(Gone);
                    }
                }
            }
        }
    }

    /// Writes all of `bytes`, in one write when the socket takes them, and gives the moment before it.
    pub async fn send(&self, bytes: &[u8]) -> Result<Nanos, Gone> {
        let at = now();
        let mut left = bytes;
        while !left.is_empty() {
            match self.stream.try_write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(_) => return Err(Gone),
            }
        }
        Ok(at)
    }

    /// Writes every byte alone and gives the moment before byte `mark`.
    pub async fn dribble(&self, bytes: &[u8], mark: usize) -> Result<Nanos, Gone> {
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

    /// Resets the connection instead of closing it.
    pub fn reset(self) {
        // Without linger the drop sends RST. Should the option be refused, it is a plain close, which is a fault too.
        let _ = self.stream.set_zero_linger();
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
    let path = request.path.unwrap_or_default();
    let mut incoming = Incoming {
        method: request.method.unwrap_or_default().to_owned(),
        path: path.split('?').next().unwrap_or_default().to_owned(),
        request_id: None,
        bearer: None,
        close: false,
        body: Vec::new(),
        complete: Nanos::ZERO,
    };
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
            "x-request-id" if value.len() <= MOST_ID && !value.is_empty() && value.iter().all(|b| (b' '..=b'~').contains(b)) => {
                incoming.request_id = Some(value.iter().map(|b| char::from(*b)).collect());
            }
            "authorization" => {
                incoming.bearer =
                    std::str::from_utf8(value).ok().and_then(|text| text.strip_prefix("Bearer ")).map(|key| key.trim().to_owned());
            }
            "connection" => incoming.close |= value.eq_ignore_ascii_case(b"close"),
            "expect" => expects |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
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
