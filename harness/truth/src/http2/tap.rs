//! The line below HTTP/2: sees frames pass and keeps when they arrived or when the write that carried them began.

use crate::clock::now;
use crate::line::Line;
use nomoat_core::units::Nanos;
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a frame before its payload: three of length, type, flags, four of stream (RFC 9113 §4.1).
const HEAD: usize = 9;
/// Length of the client's first words.
const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
/// Most bytes joined for one write.
const JOINED: usize = 64 << 10;
/// Most requests whose completion is kept for somebody to ask.
const MOST_COMPLETE: usize = 1 << 17;

/// Cuts a direction of the connection into frames.
#[derive(Default)]
struct Cutter {
    before: usize,
    head: Vec<u8>,
    payload: usize,
}

/// Type, flags, stream and payload length of a frame that ended.
type Ended = (u8, u8, u32, usize);

impl Cutter {
    /// The frames that end in `bytes`, which follow those given before.
    fn cut(&mut self, bytes: &[u8], ended: &mut Vec<Ended>) {
        let mut at = self.before.min(bytes.len());
        self.before -= at;
        while at < bytes.len() {
            if self.head.len() < HEAD {
                let to = bytes.len().min(at + HEAD - self.head.len());
                self.head.extend_from_slice(&bytes[at..to]);
                at = to;
                if self.head.len() < HEAD {
                    return;
                }
                self.payload = self.length();
            }
            let part = self.payload.min(bytes.len() - at);
            (at, self.payload) = (at + part, self.payload - part);
            if self.payload == 0 {
                let h = &self.head;
                ended.push((h[3], h[4], u32::from_be_bytes([h[5], h[6], h[7], h[8]]), self.length()));
                self.head.clear();
            }
        }
    }

    fn length(&self) -> usize {
        usize::from(self.head[0]) << 16 | usize::from(self.head[1]) << 8 | usize::from(self.head[2])
    }
}

#[derive(Default)]
struct Answer {
    /// Bytes of the body that have left, and for each frame of it how many had then and when its write began.
    left: u64,
    frames: VecDeque<(u64, Nanos)>,
    waiting: Option<Waker>,
}

#[derive(Default)]
struct Kept {
    cut: bool,
    complete: HashMap<u32, Nanos>,
    answers: HashMap<u32, Answer>,
}

/// What the tap saw, shared with the streams. One thread uses it.
#[derive(Clone, Default)]
pub struct Books(Arc<Mutex<Kept>>);

impl Books {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection: nothing is written any more, and what comes is not looked at.
    pub fn cut(&self) {
        self.kept().cut = true;
    }

    /// When the request on this stream was complete.
    pub fn complete(&self, stream: u32) -> Option<Nanos> {
        self.kept().complete.remove(&stream)
    }

    /// Begins to keep when the answer on this stream leaves.
    pub fn open(&self, stream: u32) {
        self.kept().answers.insert(stream, Answer::default());
    }

    /// Forgets a stream.
    pub fn close(&self, stream: u32) {
        let mut kept = self.kept();
        kept.answers.remove(&stream);
        kept.complete.remove(&stream);
    }

    /// Once the first `upto` bytes of the answer have left: when the write of the first frame began that ends behind the first `from`.
    pub fn poll_left(&self, cx: &mut Context<'_>, stream: u32, from: u64, upto: u64) -> Poll<Nanos> {
        let mut kept = self.kept();
        let Some(answer) = kept.answers.get_mut(&stream) else { return Poll::Pending };
        if answer.left < upto {
            answer.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let at = answer.frames.iter().find(|(end, _)| *end > from).map(|(_, at)| *at);
        answer.frames.retain(|(end, _)| *end > upto);
        at.map_or(Poll::Pending, Poll::Ready)
    }

    fn read(&self, (kind, flags, stream, _): Ended, at: Nanos) {
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            let mut kept = self.kept();
            if kept.complete.len() < MOST_COMPLETE {
                kept.complete.insert(stream, at);
            }
        }
    }

    fn wrote(&self, (kind, _, stream, length): Ended, at: Nanos) {
        let mut kept = self.kept();
        if let (DATA, Some(answer)) = (kind, kept.answers.get_mut(&stream)) {
            answer.left += length as u64;
            answer.frames.push_back((answer.left, at));
            answer.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// A line that is watched.
pub struct Tap {
    line: Line,
    /// What was read before it was known to be HTTP/2, and when that arrived.
    ahead: Vec<u8>,
    ahead_at: Nanos,
    books: Books,
    reads: Cutter,
    writes: Cutter,
    ended: Vec<Ended>,
    joined: Vec<u8>,
    /// Whether our direction is closed.
    closing: bool,
}

impl Tap {
    /// Watches `line`, of which `ahead` was read already.
    pub fn new(line: Line, ahead: Vec<u8>, ahead_at: Nanos, books: Books) -> Self {
        let reads = Cutter { before: PREFACE, ..Cutter::default() };
        Self { line, ahead, ahead_at, books, reads, writes: Cutter::default(), ended: vec![], joined: vec![], closing: false }
    }
}

impl Tap {
    /// Closes our direction and reads on until the peer closes its own: bytes that nobody reads would make the close a reset.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closing {
            ready!(Pin::new(&mut self.line).poll_shutdown(cx))?;
            self.closing = true;
        }
        let mut room = [0; 4_096];
        loop {
            let mut part = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.line).poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        let before = buffer.filled().len();
        if tap.books.kept().cut {
            return tap.poll_close(cx);
        }
        let at = if tap.ahead.is_empty() {
            ready!(Pin::new(&mut tap.line).poll_read(cx, buffer))?;
            tap.line.read_at()
        } else {
            let n = tap.ahead.len().min(buffer.remaining());
            buffer.put_slice(&tap.ahead[..n]);
            tap.ahead.drain(..n);
            tap.ahead_at
        };
        tap.reads.cut(&buffer.filled()[before..], &mut tap.ended);
        tap.ended.drain(..).for_each(|frame| tap.books.read(frame, at));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        if tap.books.kept().cut {
            return Poll::Ready(Ok(bytes.len()));
        }
        tap.line.wrote_at();
        let handed = now();
        let n = ready!(Pin::new(&mut tap.line).poll_write(cx, bytes))?;
        // The socket's own word, which under TLS leaves out the time of encrypting. Without one, TLS keeps the bytes because the socket is
        // full, and the moment at which they were handed to it is the best there is.
        let at = tap.line.wrote_at().unwrap_or(handed);
        tap.writes.cut(&bytes[..n], &mut tap.ended);
        tap.ended.drain(..).for_each(|frame| tap.books.wrote(frame, at));
        Poll::Ready(Ok(n))
    }

    /// Joins the parts, so that a frame's head and payload leave in one write.
    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        let mut joined = std::mem::take(&mut tap.joined);
        joined.clear();
        parts.iter().for_each(|part| joined.extend_from_slice(&part[..part.len().min(JOINED - joined.len())]));
        let polled = Pin::new(&mut *tap).poll_write(cx, &joined);
        tap.joined = joined;
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().line).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().line).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_in_any_pieces() {
        let frame =
            |kind, flags, stream: u8, payload: &[u8]| [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream][..], payload].concat();
        let bytes = [b"first words".to_vec(), frame(4, 0, 0, b""), frame(DATA, 0, 3, b"abc"), frame(HEADERS, 1, 5, b"x")].concat();
        let expected = [(4, 0, 0, 0), (DATA, 0, 3, 3), (HEADERS, 1, 5, 1)];
        for size in 1..=bytes.len() {
            let (mut cutter, mut ended) = (Cutter { before: 11, ..Cutter::default() }, vec![]);
            bytes.chunks(size).for_each(|piece| cutter.cut(piece, &mut ended));
            assert_eq!(ended, expected, "{size}");
        }
    }

    #[test]
    fn a_piece_has_the_moment_of_its_first_frame_once_all_of_it_has_left() {
        let books = Books::default();
        books.open(3);
        let left = |from, upto| books.poll_left(&mut Context::from_waker(Waker::noop()), 3, from, upto);
        books.wrote((DATA, 0, 3, 10), Nanos(1));
        assert_eq!(left(0, 10), Poll::Ready(Nanos(1)));
        assert_eq!(left(10, 40), Poll::Pending);
        for at in [2, 3, 4] {
            assert_eq!(left(10, 40), Poll::Pending);
            books.wrote((DATA, 0, 3, 10), Nanos(at));
        }
        assert_eq!(left(10, 40), Poll::Ready(Nanos(2)));
    }
}
