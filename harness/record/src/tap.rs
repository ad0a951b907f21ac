//! From the thread that forwards to the one that records. Nothing here waits.

use crate::ask::Kind;
use crate::row::Outcome;
use nomoat_core::units::Nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

/// Most bytes that wait to be recorded. Beyond that requests are lost to the record, so that traffic is not held up.
const MOST_WAITING: usize = 256 << 20;
/// Most bytes of a question or of an answer that are recorded.
pub const MAX_BODY: usize = 64 << 20;

/// What happened to request number `0`.
pub struct Event(pub u64, pub What);

pub enum What {
    /// Its head is complete.
    Begins { kind: Kind, arrived: Nanos, session: Option<Vec<u8>> },
    /// Bytes of its body.
    Asks(Vec<u8>),
    /// Its last byte went on.
    Sent(Nanos),
    /// The head of its answer came.
    Answered { status: u16, is_stream: bool, is_encoded: bool },
    /// Bytes of its answer.
    Answers(Nanos, Vec<u8>),
    /// It is over.
    Ended(Nanos, Outcome),
    /// It is over for the record.
    Lost(Loss),
}

/// Why a request is not in the trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Loss {
    /// Its body or its answer is larger than what is recorded.
    Large,
    /// The recorder was too far behind.
    Behind,
    /// It went on at the end.
    Unfinished,
    /// Its body never came to its end.
    Unasked,
    /// Its body was not what its path takes.
    Unknown,
    /// It had several prompts.
    Batch,
}

/// What all exchanges share.
#[derive(Clone)]
pub struct Taps {
    to: Sender<Event>,
    shared: Arc<Shared>,
}

/// Counts that both threads see.
#[derive(Default)]
pub struct Shared {
    next: AtomicU64,
    waiting: AtomicUsize,
    /// POST requests of other paths.
    pub other_posts: AtomicU64,
    /// All other requests that went by unrecorded.
    pub others: AtomicU64,
    /// Requests that were refused by the proxy itself.
    pub refused: AtomicU64,
}

impl Shared {
    /// So many bytes wait no longer.
    pub fn release(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Taps {
    pub fn new(to: Sender<Event>, shared: Arc<Shared>) -> Self {
        Self { to, shared }
    }

    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Begins to record a request.
    pub fn begin(&self, kind: Kind, arrived: Nanos, session: Option<Vec<u8>>) -> Tap {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let tap = Tap { id, taps: self.clone(), open: AtomicBool::new(true), asked: AtomicUsize::new(0), answered: AtomicUsize::new(0) };
        tap.send(What::Begins { kind, arrived, session });
        tap
    }
}

/// One request's way into the record.
pub struct Tap {
    id: u64,
    taps: Taps,
    open: AtomicBool,
    asked: AtomicUsize,
    answered: AtomicUsize,
}

impl Tap {
    /// Bytes of the request's body went on.
    pub fn asks(&self, bytes: Vec<u8>) {
        self.bytes(&self.asked, bytes.len(), || What::Asks(bytes));
    }

    /// All of it went on.
    pub fn sent(&self, at: Nanos) {
        self.send(What::Sent(at));
    }

    pub fn answered(&self, status: u16, is_stream: bool, is_encoded: bool) {
        self.send(What::Answered { status, is_stream, is_encoded });
    }

    /// Bytes of the answer's body came at `at`.
    pub fn answers(&self, at: Nanos, bytes: Vec<u8>) {
        self.bytes(&self.answered, bytes.len(), || What::Answers(at, bytes));
    }

    pub fn ended(self, at: Nanos, outcome: Outcome) {
        self.send(What::Ended(at, outcome));
        self.open.store(false, Ordering::Relaxed);
    }

    fn bytes(&self, count: &AtomicUsize, length: usize, what: impl FnOnce() -> What) {
        if length == 0 || !self.open.load(Ordering::Relaxed) {
            return;
        }
        if count.fetch_add(length, Ordering::Relaxed) + length > MAX_BODY {
            return self.lose(Loss::Large);
        }
        if self.taps.shared.waiting.fetch_add(length, Ordering::Relaxed) + length > MOST_WAITING {
            self.taps.shared.release(length);
            return self.lose(Loss::Behind);
        }
        self.send(what());
    }

    fn lose(&self, loss: Loss) {
        self.send(What::Lost(loss));
        self.open.store(false, Ordering::Relaxed);
    }

    fn send(&self, what: What) {
        if self.open.load(Ordering::Relaxed) {
            // The recorder ends after all taps are gone; if it died, its end says so.
            let _ = self.taps.to.send(Event(self.id, what));
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.lose(Loss::Unfinished);
    }
}
