//! One request in flight: a slot generates until the answer is there or the shard cuts it, and whatever comes of it becomes a record.
//!
//! Deadlines are the shard's business, not the flight's: a timer and a listener of its own for every request would be set up and taken
//! down for each, and asked at every read of every stream.

use nomoat_core::backend::{Backend, Channel, Prepared};
use nomoat_core::clock::Clock;
use nomoat_core::event::{EventSink, RequestError};
use nomoat_core::record::{ErrorCode, RequestRecord, Status};
use nomoat_core::request::{OutputLength, ShardId};
use nomoat_core::units::Nanos;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};

/// How long a request may take, from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// To its end.
    pub total: Nanos,
    /// To its first token.
    pub first_token: Option<Nanos>,
}

/// A channel and its sink, reused from request to request.
pub(crate) struct Slot {
    pub channel: Option<Box<dyn Channel>>,
    pub sink: EventSink,
    pub leash: Rc<Leash>,
}

impl Slot {
    /// A slot whose channel is yet to be opened.
    pub fn new(sink: EventSink) -> Self {
        let leash = Leash {
            first_token: sink.first_token_flag(),
            enough: sink.enough_flag(),
            since: Cell::new(None),
            leaves: Cell::new(None),
            cut: Cell::new(None),
            waker: RefCell::default(),
        };
        Self { channel: None, sink, leash: Rc::new(leash) }
    }
}

/// What the shard holds of a slot while it is in flight.
pub(crate) struct Leash {
    /// When its request began, while there is one.
    since: Cell<Option<Nanos>>,
    first_token: Arc<AtomicBool>,
    /// Its user has had as many tokens as it stays for.
    enough: Arc<AtomicBool>,
    /// When its user goes away, after it began.
    leaves: Cell<Option<Nanos>>,
    cut: Cell<Option<RequestError>>,
    waker: RefCell<Option<Waker>>,
}

impl Leash {
    /// Gives the request up if a deadline of its has passed; tells when the next one will.
    pub fn check(&self, now: Nanos, timeouts: Timeouts) -> Option<Nanos> {
        let since = self.since.get()?;
        let first = timeouts.first_token.filter(|first| *first < timeouts.total && !self.first_token.load(Ordering::Relaxed));
        let deadline = Nanos(since.0.saturating_add(first.unwrap_or(timeouts.total).0));
        let leaves = self.leaves.get().map(|after| Nanos(since.0.saturating_add(after.0)));
        let at = leaves.map_or(deadline, |leaves| leaves.min(deadline));
        if at > now {
            return Some(at);
        }
        if leaves.is_some_and(|leaves| leaves <= deadline) {
            self.cut(LEFT);
            return None;
        }
        let code = if first.is_some() { ErrorCode::FirstTokenTimeout } else { ErrorCode::TotalTimeout };
        self.cut(RequestError::new(Status::Timeout, code));
        None
    }

    /// How long the user of the next request stays.
    pub fn leaves_after(&self, after: Option<Nanos>) {
        self.leaves.set(after);
    }

    /// Gives the request up, if there is one.
    pub fn cut(&self, why: RequestError) {
        if self.since.get().is_some() {
            self.cut.set(Some(why));
            self.waker.borrow().iter().for_each(Waker::wake_by_ref);
        }
    }
}

/// The user went away.
const LEFT: RequestError = RequestError::new(Status::Cancelled, ErrorCode::ByTrace);

/// Runs one request, which the slot's sink has begun, to its end. Dropping the generating future cancels it at the peer; the sink keeps
/// what was stamped.
pub(crate) async fn fly(
    slot: &mut Slot,
    prepared: &Prepared,
    backend: &Arc<dyn Backend>,
    shard: ShardId,
    clock: &dyn Clock,
) -> (RequestRecord, Option<String>) {
    let exact = prepared.request.length == OutputLength::Exact;
    if slot.channel.is_none() {
        match backend.open(shard).await {
            Ok(channel) => slot.channel = Some(channel),
            Err(_) => {
                slot.sink.started();
                return slot.sink.finish(Err(RequestError::new(Status::Client, ErrorCode::Engine)), exact);
            }
        }
    }
    let channel = slot.channel.as_mut().expect("opened just above");
    let leash = &slot.leash;
    leash.cut.set(None);
    leash.since.set(Some(clock.now()));
    let mut generating = channel.generate(prepared, &mut slot.sink);
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(outcome) = generating.as_mut().poll(cx) {
            return Poll::Ready(outcome);
        }
        if let Some(why) = leash.cut.get() {
            return Poll::Ready(Err(why));
        }
        if leash.enough.load(Ordering::Relaxed) {
            return Poll::Ready(Err(LEFT));
        }
        // A task has one waker all its life; this is for whoever moves a flight from one to another.
        let mut waker = leash.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
    leash.since.set(None);
    drop(generating);
    slot.sink.finish(outcome, exact)
}
