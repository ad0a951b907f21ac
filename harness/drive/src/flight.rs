//! One request in flight: a slot generates under the deadlines, and whatever comes of it becomes a record.

use crate::stop::Stop;
use nomoat_core::backend::{Backend, Channel, Prepared};
use nomoat_core::event::{EventSink, RequestError};
use nomoat_core::record::{ErrorCode, RequestRecord, Status};
use nomoat_core::request::{OutputLength, ShardId};
use nomoat_core::units::Nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long requests in flight may go on after a stop.
const GRACE: Nanos = Nanos::from_secs(1);

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
}

/// What a flight needs besides its slot.
pub(crate) struct Flight {
    pub prepared: Prepared,
    pub record: RequestRecord,
    pub keep_text: bool,
    pub notify_first: Option<Box<dyn FnOnce(Nanos) + Send>>,
}

/// Runs one request to its end. Dropping the generating future cancels it at the peer; the sink keeps what was stamped.
pub(crate) async fn fly(
    slot: &mut Slot,
    flight: Flight,
    backend: &Arc<dyn Backend>,
    shard: ShardId,
    timeouts: Timeouts,
    stop: &mut Stop,
) -> (RequestRecord, Option<String>) {
    let Flight { prepared, record, keep_text, notify_first } = flight;
    let exact = prepared.request.length == OutputLength::Exact;
    slot.sink.begin(record, keep_text);
    if let Some(notify) = notify_first {
        slot.sink.on_first_token(notify);
    }
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
    let first_token = slot.sink.first_token_flag();
    let outcome = tokio::select! {
        biased;
        outcome = channel.generate(&prepared, &mut slot.sink) => outcome,
        code = deadline(timeouts, first_token) => Err(RequestError::new(Status::Timeout, code)),
        () = stopped(stop) => Err(RequestError::new(Status::Cancelled, ErrorCode::Stopped)),
    };
    slot.sink.finish(outcome, exact)
}

/// Completes when a deadline passes. The runtime's millisecond timer is enough here: nothing is measured by it.
async fn deadline(timeouts: Timeouts, first_token: Arc<AtomicBool>) -> ErrorCode {
    if let Some(first) = timeouts.first_token
        && first < timeouts.total
    {
        tokio::time::sleep(first.to_std()).await;
        if !first_token.load(Ordering::Relaxed) {
            return ErrorCode::FirstTokenTimeout;
        }
        tokio::time::sleep((timeouts.total - first).to_std()).await;
    } else {
        tokio::time::sleep(timeouts.total.to_std()).await;
    }
    ErrorCode::TotalTimeout
}

async fn stopped(stop: &mut Stop) {
    stop.wait().await;
    tokio::time::sleep(GRACE.to_std()).await;
}
