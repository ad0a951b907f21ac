//! Where records go: a thread behind a bounded channel that hands each to the caller's sink and keeps the live figures.

use crate::stop::StopHandle;
use nomoat_core::event::Live;
use nomoat_core::hist::Hist;
use nomoat_core::record::{Phase, RequestRecord};
use nomoat_core::sample::Sample;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Records that may wait for the collector. Beyond it a shard waits, and the lag shows.
const WAITING_RECORDS: usize = 1 << 16;
/// How often a sink is asked to make its records safe: what a kill may lose.
const FLUSH_EVERY: Duration = Duration::from_millis(400);

/// How long the collector lets records gather once it has taken all there were.
const GATHER: Duration = Duration::from_millis(1);

/// Records that wait to be used again by their shard: as many as may gather at once.
pub(crate) const SPARE_RECORDS: usize = 256;
/// The longest lists of chunks that are used again: what waits is bounded in bytes too.
const SPARE_CHUNKS: usize = 1 << 10;

/// Where kept records go back to, by shard. Memory that one thread takes and another frees costs both a lock in the allocator.
pub(crate) type Returns = Vec<SyncSender<Box<RequestRecord>>>;

/// What a run must not lose.
pub(crate) enum Kept {
    /// A request that ended.
    Record(Box<RequestRecord>),
    /// A reading.
    Sample(Sample),
}

/// Hands a record to the collector. One that is behind makes its shard wait; nothing is lost, but it is counted and the run says so.
pub(crate) fn keep(records: &SyncSender<Kept>, live: &Live, record: RequestRecord) {
    // A collector that is gone has failed and stops the run; there is nobody left to tell.
    if let Err(TrySendError::Full(kept)) = records.try_send(Kept::Record(Box::new(record))) {
        live.held_up.fetch_add(1, Ordering::Relaxed);
        let _ = records.send(kept);
    }
}

/// Takes every record as it completes.
pub trait RecordSink: Send {
    /// Takes one.
    ///
    /// # Errors
    /// Why it could not be kept; the run stops.
    fn push(&mut self, record: &RequestRecord) -> std::io::Result<()>;

    /// Takes a reading, for a run that is killed; a run that ends hands over all of them once more.
    ///
    /// # Errors
    /// Why it could not be kept; the run stops.
    fn push_sample(&mut self, sample: &Sample) -> std::io::Result<()>;

    /// Makes all records so far survive the death of this process.
    ///
    /// # Errors
    /// Why it could not.
    fn flush(&mut self) -> std::io::Result<()>;
}

/// Live distributions for the progress line.
#[derive(Debug, Default)]
pub struct Progress {
    /// TTFT of answered requests, from due.
    pub ttft: Hist,
    /// TPOT of answered requests.
    pub tpot: Hist,
    /// Dispatch lag.
    pub lag: Hist,
}

/// The collector's end of its channel.
pub(crate) struct Collector {
    thread: JoinHandle<std::io::Result<u64>>,
}

impl Collector {
    /// Starts the collector; shards send into the returned sender.
    pub fn start(
        sink: Box<dyn RecordSink>,
        progress: Arc<Mutex<Progress>>,
        stop: StopHandle,
        returns: Returns,
    ) -> std::io::Result<(Self, SyncSender<Kept>)> {
        let (sender, receiver) = sync_channel(WAITING_RECORDS);
        let thread = std::thread::Builder::new().name("collect".into()).spawn(move || {
            let result = collect(sink, &receiver, &progress, &returns);
            if result.is_err() {
                // Records that cannot be kept are not worth making.
                stop.stop();
            }
            result
        })?;
        Ok((Self { thread }, sender))
    }

    /// Waits until every sender is gone and every record is in; gives their number.
    pub fn finish(self) -> std::io::Result<u64> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn collect(
    mut sink: Box<dyn RecordSink>,
    records: &Receiver<Kept>,
    progress: &Mutex<Progress>,
    returns: &[SyncSender<Box<RequestRecord>>],
) -> std::io::Result<u64> {
    let mut count = 0;
    let mut flushed = Instant::now();
    let mut next = records.recv_timeout(FLUSH_EVERY);
    loop {
        match next {
            Ok(Kept::Sample(sample)) => sink.push_sample(&sample)?,
            Ok(Kept::Record(record)) => {
                sink.push(&record)?;
                count += 1;
                if record.phase == Phase::Measure {
                    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                    if let (true, Some(ttft)) = (record.is_ok(), record.ttft()) {
                        progress.ttft.add(ttft.0, 1);
                        record.tpot().into_iter().for_each(|tpot| progress.tpot.add(tpot.0, 1));
                    }
                    if let Some(lag) = record.dispatch_lag() {
                        progress.lag.add(lag.0, 1);
                    }
                }
                give_back(record, returns);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                sink.flush()?;
                return Ok(count);
            }
        }
        if flushed.elapsed() >= FLUSH_EVERY {
            sink.flush()?;
            flushed = Instant::now();
        }
        next = records.try_recv().map_err(|_| RecvTimeoutError::Timeout);
        if next.is_err() {
            // Not woken by every record: a waking costs the shard more than handing the record over.
            std::thread::sleep(GATHER);
            next = records.recv_timeout(FLUSH_EVERY);
        }
    }
}

/// Hands a record's memory back to its shard, if it is worth it and there is room.
fn give_back(mut record: Box<RequestRecord>, returns: &[SyncSender<Box<RequestRecord>>]) {
    if let Some(shard) = returns.get(usize::from(record.shard.0))
        && record.chunk_gaps.capacity().max(record.chunk_tokens.capacity()) <= SPARE_CHUNKS
    {
        record.chunk_gaps.clear();
        record.chunk_tokens.clear();
        // A shard that has enough of them, or is gone, takes none.
        let _ = shard.try_send(record);
    }
}
