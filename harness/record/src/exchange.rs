//! One request and its answer, forwarded as they arrive, in both directions at the same time.

use crate::body::Body;
use crate::head::{Answered, Asked, MAX_HEAD, Read};
use crate::row::Outcome;
use crate::tap::Tap;
use nomoat_core::units::Nanos;
use std::pin::pin;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// Bytes of one read.
pub const READ: usize = 32 << 10;
/// Most bytes of following requests that are read ahead. A client that sends more is not watched for going away.
const MOST_AHEAD: usize = 64 << 10;

/// The proxy's clock: time since it began.
#[derive(Clone, Copy)]
pub struct Clock(pub Instant);

impl Clock {
    pub fn now(self) -> Nanos {
        Nanos(self.0.elapsed().as_nanos() as i64)
    }
}

/// What a client sent and nobody has read yet.
#[derive(Default)]
pub struct Ahead {
    pub bytes: Vec<u8>,
    /// When the first of them came.
    pub since: Nanos,
}

/// How an exchange ended, for both connections.
#[derive(Debug)]
pub struct Ended {
    pub outcome: Outcome,
    /// When: of a whole answer, when its last byte came.
    pub at: Nanos,
    /// The client's connection may carry another request.
    pub keep_client: bool,
    /// The endpoint's may.
    pub keep_upstream: bool,
    /// The client got nothing yet, and this is what to tell it.
    pub untold: Option<&'static str>,
    /// The client may still be talking, although its answer is over.
    pub is_cut_short: bool,
}

/// How the answer ended.
enum Down {
    /// Whole.
    Whole { at: Nanos, keep_client: bool, keep_upstream: bool },
    /// The endpoint failed, before or while it answered.
    Broken { untold: Option<&'static str> },
    /// The client does not take it any more.
    Left,
}

/// Forwards what `asked` begins, and its answer.
pub async fn exchange(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    asked: &Asked,
    ahead: &mut Ahead,
    tap: Option<&Tap>,
    clock: Clock,
) -> Ended {
    let (mut client_read, mut client_write) = client.split();
    let (mut up_read, mut up_write) = upstream.split();
    let mut body = Body::new(asked.framing);
    let down = {
        let up = pin!(upload(&mut client_read, &mut up_write, asked, &mut body, ahead, tap, clock));
        let down = pin!(download(&mut up_read, &mut client_write, asked, tap, clock));
        tokio::select! {
            // An answer that is there goes on before anything else.
            biased;
            down = down => down,
            () = up => Down::Left,
        }
    };
    let asked_all = body.is_done();
    let broken =
        Ended { outcome: Outcome::Broken, at: clock.now(), keep_client: false, keep_upstream: false, untold: None, is_cut_short: false };
    match down {
        Down::Whole { at, keep_client, keep_upstream } => Ended {
            outcome: Outcome::Complete,
            at,
            keep_client: keep_client && asked_all,
            keep_upstream: keep_upstream && asked_all,
            is_cut_short: !asked_all,
            ..broken
        },
        Down::Broken { untold } => Ended { untold, is_cut_short: untold.is_some(), ..broken },
        Down::Left => Ended { outcome: Outcome::Left, ..broken },
    }
}

/// Forwards the request, then reads ahead. Ends when the client went away.
async fn upload(
    client: &mut ReadHalf<'_>,
    upstream: &mut WriteHalf<'_>,
    asked: &Asked,
    body: &mut Body,
    ahead: &mut Ahead,
    tap: Option<&Tap>,
    clock: Clock,
) {
    let mut copy = vec![];
    let mut keep = |bytes: &[u8]| {
        if tap.is_some() {
            copy.extend_from_slice(bytes);
        }
    };
    // The head and what came of the body with it are one write, as they were one read.
    let mut out = asked.bytes.clone();
    let fed = body.feed(&ahead.bytes, &mut keep);
    let mut is_open = match fed {
        Ok(used) => {
            out.extend_from_slice(&ahead.bytes[..used]);
            ahead.bytes.drain(..used);
            upstream.write_all(&out).await.is_ok()
        }
        // What follows cannot be told from the body: it goes nowhere.
        Err(_) => false,
    };
    let mut buffer = Vec::with_capacity(READ);
    while is_open && !body.is_done() {
        if let Some(tap) = tap {
            tap.asks(std::mem::take(&mut copy));
        }
        buffer.clear();
        match client.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut keep = |bytes: &[u8]| {
            if tap.is_some() {
                copy.extend_from_slice(bytes);
            }
        };
        is_open = match body.feed(&buffer, &mut keep) {
            Ok(used) => {
                ahead.bytes.extend_from_slice(&buffer[used..]);
                upstream.write_all(&buffer[..used]).await.is_ok()
            }
            Err(_) => false,
        };
        ahead.since = clock.now();
    }
    if let (Some(tap), true) = (tap, body.is_done()) {
        tap.asks(copy);
        tap.sent(clock.now());
    }
    if fed.is_err() || (!is_open && !body.is_done()) {
        // The endpoint takes no more of it. It may have said why: that is the other direction's to find out.
        let _ = upstream.shutdown().await;
    }
    loop {
        if ahead.bytes.len() >= MOST_AHEAD {
            return std::future::pending().await;
        }
        let is_first = ahead.bytes.is_empty();
        match client.read_buf(&mut ahead.bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) if is_first => ahead.since = clock.now(),
            Ok(_) => {}
        }
    }
}

/// Forwards the answer.
async fn download(upstream: &mut ReadHalf<'_>, client: &mut WriteHalf<'_>, asked: &Asked, tap: Option<&Tap>, clock: Clock) -> Down {
    let mut buffer = Vec::with_capacity(READ);
    let mut held: Vec<u8> = vec![];
    let (head, mut at) = loop {
        buffer.clear();
        let read = upstream.read_buf(&mut buffer).await;
        let at = clock.now();
        match read {
            Ok(0) if held.is_empty() => return Down::Broken { untold: Some("it closed the connection without an answer") },
            Ok(0) => return Down::Broken { untold: Some("it closed the connection inside the head of its answer") },
            Err(_) => return Down::Broken { untold: Some("it broke the connection off") },
            Ok(_) => held.extend_from_slice(&buffer),
        }
        match interim(&mut held, client, asked.is_head).await {
            Ok(Some(head)) => break (head, at),
            Ok(None) => {}
            Err(down) => return down,
        }
    };
    if let Some(tap) = tap {
        tap.answered(head.status, head.is_stream, head.is_encoded);
    }
    let mut body = Body::new(head.framing);
    let mut copy = vec![];
    let mut keep = |bytes: &[u8]| {
        if tap.is_some() {
            copy.extend_from_slice(bytes);
        }
    };
    let keep_client = asked.keep_alive && head.framing != crate::body::Framing::UntilClose;
    let mut out = head.bytes;
    if !keep_client {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    // The head and what came of the body with it are one write, as they were one read.
    let mut fed = body.feed(&held, &mut keep);
    let mut surplus = 0;
    if let Ok(used) = fed {
        surplus = held.len() - used;
        held.truncate(used);
    }
    out.append(&mut held);
    if client.write_all(&out).await.is_err() {
        return Down::Left;
    }
    loop {
        if let Some(tap) = tap {
            tap.answers(at, std::mem::take(&mut copy));
        }
        // What is no HTTP went on as it came; where it ends nobody knows.
        if fed.is_err() {
            return Down::Broken { untold: None };
        }
        if body.is_done() {
            return Down::Whole { at, keep_client, keep_upstream: head.keep_alive && surplus == 0 };
        }
        buffer.clear();
        let read = upstream.read_buf(&mut buffer).await;
        at = clock.now();
        match read {
            Ok(0) if body.close() => continue,
            Ok(0) | Err(_) => return Down::Broken { untold: None },
            Ok(_) => {}
        }
        let mut keep = |bytes: &[u8]| {
            if tap.is_some() {
                copy.extend_from_slice(bytes);
            }
        };
        fed = body.feed(&buffer, &mut keep);
        let used = fed.unwrap_or(buffer.len());
        surplus = buffer.len() - used;
        if client.write_all(&buffer[..used]).await.is_err() {
            return Down::Left;
        }
    }
}

/// The answer's head, once it is whole; what follows it stays in `held`. Heads of status 1xx before it go on.
async fn interim(held: &mut Vec<u8>, client: &mut WriteHalf<'_>, asked_head: bool) -> Result<Option<Answered>, Down> {
    loop {
        match Answered::read(held, asked_head) {
            None => return Err(Down::Broken { untold: Some("its answer is not HTTP/1.1") }),
            Some(Read::Partial) if held.len() < MAX_HEAD => return Ok(None),
            Some(Read::Whole(head, used)) if (100..200).contains(&head.status) && head.status != 101 => {
                if client.write_all(&held[..used]).await.is_err() {
                    return Err(Down::Left);
                }
                held.drain(..used);
            }
            Some(Read::Whole(head, used)) if head.status >= 200 => {
                held.drain(..used);
                return Ok(Some(head));
            }
            _ => return Err(Down::Broken { untold: Some("its answer is not HTTP/1.1") }),
        }
    }
}
