//! The log: rows in memory, bounded, and optionally appended to a file by a thread of its own.
//!
//! A stream hands its finished row to an inbox of its own runtime, one uncontended lock and no system call; whoever wants rows
//! (the log thread every tick, or a caller of `log()`) empties the inboxes. No stream ever waits for a file.

use crate::clock::now;
use crate::error::TruthError;
use crate::gauges::Running;
use crate::row::{LogRow, Outcome};
use nomoat_core::units::Nanos;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Rows kept in memory.
const MOST_ROWS: usize = 1_000_000;
/// Writes kept in memory, over all rows: 16 bytes each.
const MOST_WRITES: usize = 8_000_000;
/// Rows an inbox holds between two ticks, and rows that may wait for the file.
const MOST_WAITING: usize = 1 << 17;
/// How often inboxes are emptied and the file is flushed.
const TICK: Duration = Duration::from_millis(100);

/// Rows of one runtime that nobody has fetched yet.
#[derive(Default)]
pub struct Inbox {
    rows: Mutex<Vec<LogRow>>,
    lost: AtomicU64,
}

impl Inbox {
    fn push(&self, row: LogRow) {
        let mut rows = lock(&self.rows);
        if rows.len() < MOST_WAITING {
            rows.push(row);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How the log itself fares.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogState {
    /// Rows in memory.
    pub kept: u64,
    /// Older rows that made room for newer ones. They are in the file, where there is one.
    pub dropped: u64,
    /// Rows that were lost because nobody fetched them in time, from memory or on the way to the file.
    pub lost: u64,
    /// Why the file is no longer written, once that happened.
    pub file_error: Option<String>,
}

#[derive(Default)]
struct Kept {
    rows: VecDeque<Arc<LogRow>>,
    /// Writes over `rows`.
    writes: usize,
    /// Rows that were dropped from the front: `rows[0]` is row number `dropped`.
    dropped: u64,
    /// Not yet in the file.
    unfiled: Vec<Arc<LogRow>>,
    unfiled_lost: u64,
    file_error: Option<String>,
}

/// The log of a server.
pub struct Log {
    inboxes: Vec<Arc<Inbox>>,
    kept: Mutex<Kept>,
    to_file: bool,
    stopping: (Mutex<bool>, Condvar),
}

impl Log {
    /// A log of so many runtimes and, where there is a path, the file to append to.
    pub fn new(runtimes: usize, path: Option<&Path>) -> Result<(Arc<Self>, Option<File>), TruthError> {
        let open = |path: &Path| {
            OpenOptions::new().create(true).append(true).open(path).map_err(|source| TruthError::LogFile { path: path.to_owned(), source })
        };
        let file = path.map(open).transpose()?;
        let log = Self {
            inboxes: (0..runtimes).map(|_| Arc::default()).collect(),
            kept: Mutex::default(),
            to_file: file.is_some(),
            stopping: (Mutex::new(false), Condvar::new()),
        };
        Ok((Arc::new(log), file))
    }

    /// The inbox of runtime `index`.
    pub fn inbox(&self, index: usize) -> Arc<Inbox> {
        self.inboxes[index].clone()
    }

    /// Fetches what the inboxes hold and drops the oldest rows over the bounds.
    fn collect(&self) -> MutexGuard<'_, Kept> {
        let mut kept = lock(&self.kept);
        for inbox in &self.inboxes {
            let rows = std::mem::take(&mut *lock(&inbox.rows));
            for row in rows.into_iter().map(Arc::new) {
                if self.to_file && kept.file_error.is_none() {
                    if kept.unfiled.len() < MOST_WAITING {
                        kept.unfiled.push(row.clone());
                    } else {
                        kept.unfiled_lost += 1;
                    }
                }
                kept.keep(row, MOST_ROWS, MOST_WRITES);
            }
        }
        kept
    }

    /// Every row in memory, by ordinal.
    pub fn rows(&self) -> Vec<LogRow> {
        let shared: Vec<Arc<LogRow>> = self.collect().rows.iter().cloned().collect();
        let mut rows: Vec<LogRow> = shared.iter().map(|row| LogRow::clone(row)).collect();
        rows.sort_by_key(|row| row.ordinal);
        rows
    }

    /// Up to `most` rows from row number `from` on, in order of completion, and the number to go on with.
    pub fn batch(&self, from: u64, most: usize) -> (Vec<Arc<LogRow>>, u64) {
        let kept = self.collect();
        let from = from.max(kept.dropped);
        let rows: Vec<_> = kept.rows.iter().skip((from - kept.dropped) as usize).take(most).cloned().collect();
        let next = from + rows.len() as u64;
        (rows, next)
    }

    /// How the log fares.
    pub fn state(&self) -> LogState {
        let kept = self.collect();
        let lost: u64 = self.inboxes.iter().map(|inbox| inbox.lost.load(Ordering::Relaxed)).sum();
        LogState {
            kept: kept.rows.len() as u64,
            dropped: kept.dropped,
            lost: lost + kept.unfiled_lost,
            file_error: kept.file_error.clone(),
        }
    }

    /// The log thread: empties inboxes and writes the file until [`Self::stop`], and once more after it.
    pub fn run(&self, file: Option<File>) {
        // Beside timed streams on few cores the log should be the one that waits. Refused or not, the log is the same.
        let _ = rustix::process::nice(5);
        let mut file = file.map(|file| BufWriter::with_capacity(1 << 18, file));
        loop {
            let stopping = {
                let guard = lock(&self.stopping.0);
                if *guard { true } else { *self.stopping.1.wait_timeout(guard, TICK).unwrap_or_else(PoisonError::into_inner).0 }
            };
            let unfiled = std::mem::take(&mut self.collect().unfiled);
            if let Some(writer) = &mut file
                && let Err(error) =
                    unfiled.iter().try_for_each(|row| writer.write_all(row.to_line().as_bytes())).and_then(|()| writer.flush())
            {
                let mut kept = lock(&self.kept);
                kept.file_error = Some(format!("appending to the log file: {error}"));
                kept.unfiled = Vec::new();
                file = None;
            }
            if stopping {
                return;
            }
        }
    }

    /// Ends the log thread after one more round. To be called when no stream is left.
    pub fn stop(&self) {
        *lock(&self.stopping.0) = true;
        self.stopping.1.notify_all();
    }
}

impl Kept {
    fn keep(&mut self, row: Arc<LogRow>, most_rows: usize, most_writes: usize) {
        self.writes += row.writes.len();
        self.rows.push_back(row);
        while self.rows.len() > most_rows || (self.writes > most_writes && self.rows.len() > 1) {
            if let Some(oldest) = self.rows.pop_front() {
                self.writes -= oldest.writes.len();
                self.dropped += 1;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing inside these locks panics half-way; a poisoned one is as good as any, and a lost log would be worse.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The row of a request in progress. Dropped before it is closed, it says that the server was stopped.
pub struct Entry {
    /// `None` once handed over.
    row: Option<LogRow>,
    running: Option<Running>,
    inbox: Arc<Inbox>,
}

impl Entry {
    /// Opens a row.
    pub fn new(inbox: Arc<Inbox>, request_id: Option<String>, ordinal: u64, accepted: Nanos, request_complete: Nanos) -> Self {
        let row = LogRow {
            request_id,
            ordinal,
            accepted,
            request_complete,
            first_write: None,
            last_token_write: None,
            end: request_complete,
            writes: Vec::new(),
            prompt_tokens: None,
            output_tokens: 0,
            status: 0,
            outcome: Outcome::Stopped,
        };
        Self { row: Some(row), running: None, inbox }
    }

    /// The request could be read and runs; `events` token events are expected.
    pub fn runs(&mut self, running: Running, prompt_tokens: u32, events: usize) {
        self.running = Some(running);
        if let Some(row) = &mut self.row {
            row.prompt_tokens = Some(prompt_tokens);
            row.writes.reserve_exact(events);
        }
    }

    /// The status line was written with this code.
    pub fn status(&mut self, code: u16) {
        if let Some(row) = &mut self.row {
            row.status = code;
        }
    }

    /// An event of `tokens` tokens went out in the write that began at `at`.
    pub fn tokens(&mut self, at: Nanos, tokens: u32) {
        if let Some(row) = &mut self.row {
            row.first_write.get_or_insert(at);
            row.last_token_write = Some(at);
            row.writes.push((at, tokens));
            row.output_tokens += tokens;
        }
        if let Some(running) = &mut self.running {
            running.generated(tokens);
        }
    }

    /// Hands the row over. Called just before the bytes that end the answer, so that a client that has seen them finds the row.
    /// A second call does nothing.
    pub fn close(&mut self, outcome: Outcome, at: Nanos) {
        self.running = None;
        if let Some(mut row) = self.row.take() {
            row.end = at;
            row.outcome = outcome;
            self.inbox.push(row);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(Outcome::Stopped, now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(log: &Log, ordinal: u64) -> Entry {
        Entry::new(log.inbox(0), None, ordinal, Nanos(1), Nanos(2))
    }

    #[test]
    fn rows_are_fetched_in_order_and_in_batches() {
        let (log, _) = Log::new(2, None).unwrap();
        for ordinal in [2, 0, 1] {
            let mut entry = entry(&log, ordinal);
            entry.tokens(Nanos(5), 3);
            entry.tokens(Nanos(6), 1);
            entry.close(Outcome::Complete, Nanos(7));
        }
        drop(entry(&log, 3));
        let rows = log.rows();
        assert_eq!(rows.iter().map(|r| (r.ordinal, r.outcome)).collect::<Vec<_>>(), {
            use Outcome::{Complete, Stopped};
            [(0, Complete), (1, Complete), (2, Complete), (3, Stopped)]
        });
        let row = &rows[0];
        assert_eq!((row.first_write, row.last_token_write, row.end, row.output_tokens), (Some(Nanos(5)), Some(Nanos(6)), Nanos(7), 4));
        assert_eq!(row.writes, [(Nanos(5), 3), (Nanos(6), 1)]);
        let (first, next) = log.batch(0, 3);
        let (rest, end) = log.batch(next, 3);
        assert_eq!((first.len(), next, rest.len(), end), (3, 3, 1, 4));
        assert_eq!(first[0].ordinal, 2, "batches are in order of completion");
        assert_eq!(log.state(), LogState { kept: 4, ..LogState::default() });
    }

    #[test]
    fn memory_is_bounded() {
        let row = |ordinal| {
            let (log, _) = Log::new(1, None).unwrap();
            let mut entry = entry(&log, ordinal);
            (0..3).for_each(|_| entry.tokens(Nanos(5), 1));
            drop(entry);
            Arc::new(log.rows().remove(0))
        };
        let check = |most_rows, most_writes, expected: &[u64]| {
            let mut kept = Kept::default();
            (0..5).for_each(|ordinal| kept.keep(row(ordinal), most_rows, most_writes));
            assert_eq!(kept.rows.iter().map(|r| r.ordinal).collect::<Vec<_>>(), expected);
            assert_eq!((kept.dropped as usize, kept.writes), (5 - expected.len(), 3 * expected.len()));
        };
        check(10, 100, &[0, 1, 2, 3, 4]);
        check(2, 100, &[3, 4]);
        check(10, 9, &[2, 3, 4]);
        check(10, 1, &[4]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            eprintln!("skipped: this system has no /dev/full");
            return;
        }
        let (log, file) = Log::new(1, Some(full)).unwrap();
        drop(entry(&log, 0));
        log.stop();
        log.run(file);
        let state = log.state();
        assert!(state.file_error.is_some_and(|e| e.contains("appending")), "the row is in memory still");
        assert_eq!(state.kept, 1);
    }
}
