//! The connection as the protocol sees it: every byte passes, and the ledger hears of every frame.

use super::frames::{Frames, PREFACE};
use super::ledger::{Ledger, Said};
use crate::transport::Transport;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are joined for one write: a frame of the usual largest size and its neighbours.
const JOINED: usize = 64 << 10;

/// A transport that is watched.
pub(crate) struct Watched<F> {
    transport: Transport,
    ledger: Ledger,
    received: Frames,
    written: Frames,
    joined: Vec<u8>,
    said: F,
}

impl<F: FnMut(Said) + Unpin> Watched<F> {
    /// Watches `transport`; `said` hears what the peer says about the connection itself.
    pub fn new(transport: Transport, ledger: Ledger, said: F) -> Self {
        Self { transport, ledger, received: Frames::default(), written: Frames::after(PREFACE), joined: vec![], said }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.written.feed(bytes, |frame| self.ledger.wrote(frame));
        self.flushed();
    }

    fn flushed(&self) {
        if !self.transport.holds_back() {
            self.ledger.flushed(|| self.transport.written());
        }
    }
}

impl<F: FnMut(Said) + Unpin> AsyncRead for Watched<F> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(this.transport.poll_read(cx, buffer))?;
        let (arrival, read) = this.transport.arrival();
        this.received.feed(&buffer.filled()[before..], |frame| {
            if let Some(said) = this.ledger.received(frame, arrival, read) {
                (this.said)(said);
            }
        });
        Poll::Ready(Ok(()))
    }
}

impl<F: FnMut(Said) + Unpin> AsyncWrite for Watched<F> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let n = ready!(this.transport.poll_write(cx, bytes))?;
        this.wrote(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    /// Joins the parts, so that a frame's head and its payload leave in one segment and, under TLS, in one record.
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut joined = std::mem::take(&mut this.joined);
        joined.clear();
        for part in parts {
            let room = JOINED - joined.len();
            joined.extend_from_slice(&part[..part.len().min(room)]);
        }
        let polled = Pin::new(&mut *this).poll_write(cx, &joined);
        this.joined = joined;
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.transport.poll_flush(cx))?;
        this.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().transport.poll_shutdown(cx)
    }
}
