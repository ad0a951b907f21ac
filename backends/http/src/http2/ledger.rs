//! What was seen of each stream on the wire: which read completed which piece of its answer, and when its request was out.
//!
//! Filled below the protocol, by [`super::watched::Watched`]; read by the stream's own task when the protocol hands it the piece. Both
//! run on one thread, so the lock around it is never waited for.

use super::frames::{ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, SETTINGS};
use nomoat_core::event::Arrival;
use nomoat_core::units::Nanos;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A frame of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// Bytes of the body up to its end.
    pub upto: u64,
    /// Its size on the wire.
    pub bytes: u32,
    /// When the read that completed it arrived.
    pub arrival: Arrival,
    /// The number of that read on its socket.
    pub read: u64,
    /// Whether that read completed other frames of answers too: then the stamp, which is that of the read's last segment, is only an
    /// upper bound.
    pub merged: bool,
}

/// What the peer said about the connection itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// What it wants to be kept to.
    Settings,
    /// That it takes no new streams.
    GoAway,
}

#[derive(Default)]
struct Stream {
    head: Option<Mark>,
    pieces: VecDeque<Mark>,
    /// Bytes of the body so far.
    body: u64,
    /// Bytes of the request on the wire so far.
    up: u64,
    sent: Option<Nanos>,
    waiting: Option<Waker>,
}

#[derive(Default)]
struct Seen {
    streams: HashMap<u32, Stream>,
    /// Streams whose requests were written but may still lie in a buffer of the TLS layer.
    unflushed: Vec<u32>,
    /// The last read that completed a frame of an answer, and whose frame was the first in it.
    last: Option<(u64, u32)>,
}

/// The ledger of one connection.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Seen>>);

impl Ledger {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing inside can be left half-done by a panic that would matter to a stream other than its own.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to keep book of a stream. `pieces` is memory to use.
    pub fn open(&self, stream: u32, mut pieces: VecDeque<Mark>) -> Entry {
        pieces.clear();
        self.seen().streams.insert(stream, Stream { pieces, ..Stream::default() });
        Entry { ledger: self.clone(), stream }
    }

    /// A frame ended in read `read`, which arrived at `arrival`.
    pub fn received(&self, frame: Frame, arrival: Arrival, read: u64) -> Option<Said> {
        match frame.kind {
            SETTINGS if !frame.has(ACK) => return Some(Said::Settings),
            GOAWAY => return Some(Said::GoAway),
            HEADERS | CONTINUATION | DATA => {}
            _ => return None,
        }
        let mut seen = self.seen();
        let stream = seen.streams.get_mut(&frame.stream)?;
        let mut mark = Mark { upto: stream.body + u64::from(frame.data), bytes: frame.bytes, arrival, read, merged: false };
        if frame.kind != DATA {
            // Interim heads come before the head, trailers after the body.
            if frame.has(END_HEADERS) && stream.body == 0 {
                stream.head = Some(mark);
            }
            return None;
        }
        if frame.data == 0 {
            // No piece will be handed over for it.
            return None;
        }
        let first = match seen.last {
            Some((last, first)) if last == read => Some(first),
            _ => {
                seen.last = Some((read, frame.stream));
                None
            }
        };
        if let Some(first) = first {
            mark.merged = true;
            if let Some(other) = seen.streams.get_mut(&first).and_then(|s| s.pieces.back_mut()).filter(|other| other.read == read) {
                other.merged = true;
            }
        }
        if let Some(stream) = seen.streams.get_mut(&frame.stream) {
            stream.body = mark.upto;
            stream.pieces.push_back(mark);
        }
        None
    }

    /// A frame went out to the last byte.
    pub fn wrote(&self, frame: Frame) {
        let mut seen = self.seen();
        let Some(stream) = seen.streams.get_mut(&frame.stream) else { return };
        if matches!(frame.kind, DATA | HEADERS | CONTINUATION) {
            stream.up += u64::from(frame.bytes);
            if frame.kind != CONTINUATION && frame.has(END_STREAM) {
                seen.unflushed.push(frame.stream);
            }
        }
    }

    /// Everything that was written is with the socket, the last of it by a write at `at`.
    pub fn flushed(&self, at: impl FnOnce() -> Nanos) {
        let mut seen = self.seen();
        if seen.unflushed.is_empty() {
            return;
        }
        let at = at();
        let Seen { streams, unflushed, .. } = &mut *seen;
        for id in unflushed.drain(..) {
            if let Some(stream) = streams.get_mut(&id) {
                stream.sent = Some(at);
                stream.waiting.take().into_iter().for_each(Waker::wake);
            }
        }
    }
}

/// A stream's page of the ledger, for as long as it is held.
pub(crate) struct Entry {
    ledger: Ledger,
    stream: u32,
}

impl Entry {
    /// The moment before the write that brought the request's last byte out, and its bytes on the wire.
    pub fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<(Nanos, u64)> {
        let mut seen = self.ledger.seen();
        let Some(stream) = seen.streams.get_mut(&self.stream) else { return Poll::Pending };
        match stream.sent {
            Some(at) => Poll::Ready((at, stream.up)),
            None => {
                stream.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The frame that completed the head.
    pub fn head(&self) -> Option<Mark> {
        self.ledger.seen().streams.get(&self.stream)?.head
    }

    /// The frame that completed the body's first `upto` bytes.
    pub fn piece(&self, upto: u64) -> Option<Mark> {
        let mut seen = self.ledger.seen();
        let pieces = &mut seen.streams.get_mut(&self.stream)?.pieces;
        while pieces.len() > 1 && pieces[0].upto < upto {
            pieces.pop_front();
        }
        match pieces.front() {
            Some(mark) if mark.upto <= upto => pieces.pop_front(),
            front => front.copied(),
        }
    }

    /// Whether anything of the answer was seen.
    pub fn is_answered(&self) -> bool {
        self.ledger.seen().streams.get(&self.stream).is_some_and(|s| s.head.is_some())
    }

    /// Closes the page and gives its memory back.
    pub fn close(self) -> VecDeque<Mark> {
        self.ledger.seen().streams.get_mut(&self.stream).map(|s| std::mem::take(&mut s.pieces)).unwrap_or_default()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.ledger.seen().streams.remove(&self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(stream: u32, data: u32) -> Frame {
        Frame { kind: DATA, flags: 0, stream, bytes: 9 + data, data }
    }

    fn at(ns: i64) -> Arrival {
        Arrival::kernel(Nanos(ns))
    }

    #[test]
    fn each_piece_has_the_read_that_completed_it() {
        let ledger = Ledger::default();
        let (a, b) = (ledger.open(1, VecDeque::new()), ledger.open(3, VecDeque::new()));
        // Read 1: the first piece of both. Read 2: the second of `a`. Read 3: the second of `b`, twice over. Stream 5 is nobody's.
        for (stream, size, ns, read) in [(1, 10, 100, 1), (3, 7, 100, 1), (5, 9, 100, 1), (1, 4, 200, 2), (3, 1, 300, 3), (3, 2, 300, 3)] {
            assert_eq!(ledger.received(data(stream, size), at(ns), read), None);
        }
        // Handed over only now, all at once: what the protocol's task does when it was late.
        let got = |entry: &Entry, upto| entry.piece(upto).map(|m| (m.arrival.at().0, m.read, m.bytes, m.merged));
        assert_eq!([got(&a, 10), got(&a, 14), got(&a, 20)], [Some((100, 1, 19, true)), Some((200, 2, 13, false)), None]);
        assert_eq!([got(&b, 7), got(&b, 8), got(&b, 10)], [Some((100, 1, 16, true)), Some((300, 3, 10, true)), Some((300, 3, 11, true))]);
    }

    #[test]
    fn a_piece_of_another_size_takes_the_read_of_its_last_byte() {
        let ledger = Ledger::default();
        let entry = ledger.open(1, VecDeque::new());
        for (ns, read) in [(1, 1), (2, 2), (3, 3)] {
            ledger.received(data(1, 10), at(ns), read);
        }
        let read = |upto| entry.piece(upto).map(|m| m.read);
        assert_eq!([read(5), read(10), read(25), read(30)], [Some(1), Some(1), Some(3), Some(3)]);
    }

    #[test]
    fn heads_interim_heads_and_trailers() {
        let ledger = Ledger::default();
        let entry = ledger.open(1, VecDeque::new());
        let frame = |kind, flags| Frame { kind, flags, stream: 1, bytes: 20, data: 0 };
        assert!(!entry.is_answered());
        for (kind, flags, ns) in [(HEADERS, END_HEADERS, 1), (HEADERS, 0, 2), (CONTINUATION, END_HEADERS, 3)] {
            ledger.received(frame(kind, flags), at(ns), ns as u64);
        }
        assert_eq!(entry.head().map(|m| m.read), Some(3), "the last frame of the last head before the body");
        ledger.received(data(1, 5), at(4), 4);
        ledger.received(frame(HEADERS, END_HEADERS | END_STREAM), at(5), 5);
        assert_eq!(entry.head().map(|m| m.read), Some(3), "trailers are no head");
        assert_eq!(ledger.received(Frame { kind: GOAWAY, stream: 0, ..frame(0, 0) }, at(6), 6), Some(Said::GoAway));
        assert_eq!(ledger.received(Frame { kind: SETTINGS, stream: 0, ..frame(0, 0) }, at(6), 6), Some(Said::Settings));
        assert_eq!(ledger.received(Frame { kind: SETTINGS, stream: 0, ..frame(0, ACK) }, at(6), 6), None);
    }

    #[test]
    fn a_request_is_sent_when_its_last_frame_was_flushed() {
        let ledger = Ledger::default();
        let entry = ledger.open(1, VecDeque::new());
        let sent = || entry.poll_sent(&mut Context::from_waker(Waker::noop()));
        let frame = |kind, flags, bytes| Frame { kind, flags, stream: 1, bytes, data: 0 };
        ledger.wrote(frame(HEADERS, END_HEADERS, 50));
        ledger.flushed(|| unreachable!("no request has ended yet"));
        ledger.wrote(frame(DATA, END_STREAM, 109));
        assert_eq!(sent(), Poll::Pending);
        ledger.flushed(|| Nanos(7));
        assert_eq!(sent(), Poll::Ready((Nanos(7), 159)));
        drop(entry);
        assert!(ledger.seen().streams.is_empty());
    }
}
