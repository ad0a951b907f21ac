//! Whom a request came from and how to answer: a connection of HTTP/1.1 or a stream of HTTP/2.

use crate::answer::Answer;
use crate::conn::{Conn, Gone};
use crate::http2::Stream;
use crate::timer::Timers;
use nomoat_core::units::Nanos;
use std::sync::Arc;

/// The way back to a client.
pub enum Peer<'a> {
    /// A connection.
    One(&'a mut Conn),
    /// A stream.
    Two(Stream),
}

impl Peer<'_> {
    /// When the connection was accepted.
    pub fn accepted(&self) -> Nanos {
        match self {
            Self::One(conn) => conn.accepted,
            Self::Two(stream) => stream.accepted,
        }
    }

    /// Waits until `at`, and not longer than the peer stays.
    pub async fn wait(&mut self, timers: &Arc<Timers>, at: Nanos) -> Result<(), Gone> {
        match self {
            Self::One(conn) => conn.wait(timers, at).await,
            Self::Two(stream) => stream.wait(timers, at).await,
        }
    }

    /// Writes a whole response.
    pub async fn answer(&mut self, answer: &Answer) -> Result<(), Gone> {
        match self {
            Self::One(conn) => conn.send(&answer.bytes()).await.map(|_| ()),
            Self::Two(stream) => stream.answer(answer).await,
        }
    }

    /// Writes the head of a streamed response with status 200.
    pub async fn begin(&mut self, headers: &[(&str, &str)]) -> Result<(), Gone> {
        match self {
            Self::One(conn) => {
                let lines: String = headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
                let head = format!("HTTP/1.1 200 OK\r\nserver: nomoat-truth\r\n{lines}transfer-encoding: chunked\r\n\r\n");
                conn.send(head.as_bytes()).await.map(|_| ())
            }
            Self::Two(stream) => stream.begin(200, headers.iter().copied()),
        }
    }

    /// Writes bytes of a streamed response that are framed already, and gives the moment before the write.
    pub async fn send(&mut self, bytes: &[u8], last: bool) -> Result<Nanos, Gone> {
        match self {
            Self::One(conn) => conn.send(bytes).await,
            Self::Two(stream) => stream.send(bytes, last).await,
        }
    }

    /// Writes every byte alone and gives the moment before the byte that completes the event. Over HTTP/1.1 `framing` bytes follow it.
    pub async fn dribble(&mut self, bytes: &[u8], framing: usize) -> Result<Nanos, Gone> {
        match self {
            Self::One(conn) => conn.dribble(bytes, bytes.len().saturating_sub(1 + framing)).await,
            Self::Two(stream) => {
                let mut at = stream.accepted;
                for byte in bytes {
                    at = stream.send(std::slice::from_ref(byte), false).await?;
                }
                Ok(at)
            }
        }
    }

    /// Whether HTTP/1.1 is spoken, whose bodies come in chunks.
    pub fn is_chunked(&self) -> bool {
        matches!(self, Self::One(_))
    }
}
