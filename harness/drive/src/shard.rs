//! One shard: takes prepared requests, waits for their due, sends them off, hears of their end.

use crate::collect::{Kept, keep};
use crate::endpoints::Endpoints;
use crate::flight::{Leash, Slot, Timeouts, fly};
use crate::pacer::Pacer;
use crate::stop::Stop;
use crate::supply::{ASKS_AHEAD, BYTES_AHEAD, Item, REQUESTS_AHEAD, Ready, Supply};
use crate::waiting::{Progressed, Ready as Release, Waiting, count_unsent};
use crate::window::WindowState;
use nomoat_core::backend::{LiveTurn, Payload, Prepared};
use nomoat_core::clock::Clock;
use nomoat_core::event::{EventSink, Live, RequestError, unsent};
use nomoat_core::prompt::Prompt;
use nomoat_core::record::{ErrorCode, Moments, Phase, RequestRecord, Status, Tokens};
use nomoat_core::request::{Cancel, RequestId, ShardId};
use nomoat_core::schedule::{Due, Schedule};
use nomoat_core::trace::Moment;
use nomoat_core::units::Nanos;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long requests in flight may go on after a stop.
const GRACE: Nanos = Nanos::from_secs(1);

/// What a shard is given.
pub(crate) struct ShardConfig {
    pub shard: ShardId,
    pub endpoints: Arc<Endpoints>,
    pub clock: Arc<dyn Clock>,
    pub records: SyncSender<Kept>,
    /// Kept records, for their memory.
    pub spare: Receiver<Box<RequestRecord>>,
    pub live: Arc<Live>,
    pub timeouts: Timeouts,
    /// Requests in flight above which a due request is dropped.
    pub max_in_flight: usize,
    /// Requests in flight above which a due request waits for a free slot, its clock running.
    pub max_concurrency: usize,
    pub stop: Stop,
    pub uses_live: bool,
    /// Whether some request waits for another's first token.
    pub uses_first_token: bool,
    /// Lanes of this shard; 0 for an open loop.
    pub lanes: usize,
}

/// When the run begins, known once every shard is there.
#[derive(Clone)]
pub(crate) struct Opening {
    /// Start of the schedule.
    pub start: Nanos,
    /// The window, shared by all shards.
    pub window: Arc<WindowState>,
}

/// What a shard did.
#[derive(Clone, Copy, Default)]
pub(crate) struct ShardEnd {
    /// Requests whose due came.
    pub scheduled: u64,
    /// Sum of digests of the bytes offered, wrapping: order does not matter.
    pub offered: u64,
    /// A stop took something away: requests that were yet to come, or one in flight. One in the drain that lets all end did not.
    pub cut: bool,
}

/// A request whose due is known.
struct Timed {
    due: Nanos,
    stream: usize,
    ready: Box<Ready>,
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Timed {}
impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
impl Timed {
    fn key(&self) -> (Nanos, RequestId) {
        (self.due, self.ready.entry.request.id)
    }
}

/// The exchanges up to and with a request, for those that continue it.
struct History {
    turns: Vec<LiveTurn>,
    /// How many requests have yet to continue it.
    left: u32,
}

/// A request in flight has ended.
struct Ended {
    id: RequestId,
    endpoint: u16,
    slot: Box<Slot>,
    end: Nanos,
    first_token: Option<Nanos>,
    failed: bool,
    stopped: bool,
    exchange: Option<LiveTurn>,
}

/// A shard at work.
pub(crate) struct Shard {
    config: ShardConfig,
    opening: Opening,
    supply: Supply,
    streams_open: usize,
    due: BinaryHeap<Reverse<Timed>>,
    waiting: Waiting<(usize, Box<Ready>)>,
    backlog: VecDeque<(Nanos, Box<Ready>, RequestRecord)>,
    /// Those that are free, by endpoint: a channel leads to one.
    #[expect(clippy::vec_box, reason = "every request takes one into its flight and brings it back, and a slot is not small")]
    slots: Vec<Vec<Box<Slot>>>,
    /// Of all slots, free or in flight.
    leashes: Vec<Rc<Leash>>,
    /// No deadline of a request in flight passes before this moment. The runtime's millisecond timer is enough for it: nothing is
    /// measured by it.
    check_at: Option<Nanos>,
    /// When what is still in flight is given up, once the run was stopped.
    cut_at: Option<Nanos>,
    in_flight: usize,
    histories: HashMap<RequestId, History>,
    /// Requests asked of an open loop's stream and not yet delivered.
    asked: usize,
    ended: mpsc::UnboundedSender<Ended>,
    first_tokens: mpsc::UnboundedSender<(RequestId, Nanos)>,
    end: ShardEnd,
}

impl Shard {
    /// Runs the shard to its end. Must run inside a `LocalSet`.
    pub async fn run(config: ShardConfig, opening: Opening, supply: Supply, mut pacer: Pacer) -> ShardEnd {
        let (ended, mut ends) = mpsc::unbounded_channel();
        let (first_tokens, mut firsts) = mpsc::unbounded_channel();
        let streams = config.lanes.max(1);
        let slots = std::iter::repeat_with(Vec::new).take(config.endpoints.len()).collect();
        let mut shard = Self {
            config,
            opening,
            supply,
            streams_open: streams,
            due: BinaryHeap::new(),
            waiting: Waiting::new(),
            backlog: VecDeque::new(),
            slots,
            leashes: vec![],
            check_at: None,
            cut_at: None,
            in_flight: 0,
            histories: HashMap::new(),
            asked: 0,
            ended,
            first_tokens,
            end: ShardEnd::default(),
        };
        (0..shard.config.lanes).for_each(|lane| shard.supply.ask(lane));
        shard.top_up();
        let mut stop = shard.config.stop.clone();
        let clock = shard.config.clock.clone();
        let (mut stopped, mut armed) = (pin!(stop.wait()), None);
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        while !shard.is_done() {
            let next_due = shard.due.peek().map(|Reverse(t)| t.due);
            if shard.check_at != armed {
                armed = shard.check_at;
                let left = armed.map_or(Nanos::ZERO, |at| at - clock.now());
                timer.as_mut().reset(Instant::now() + left.max(Nanos::ZERO).to_std());
            }
            tokio::select! {
                biased;
                () = pacer.until(next_due.unwrap_or_default(), &*clock), if next_due.is_some() => shard.dispatch_due(),
                Some((id, at)) = firsts.recv(), if shard.config.uses_first_token => shard.note(id, |p| p.first_token = Some(at)),
                Some(ended) = ends.recv() => shard.landed(ended),
                item = shard.supply.next(), if shard.streams_open > 0 => shard.accept(item),
                () = &mut timer, if armed.is_some() => shard.check_deadlines(),
                () = &mut stopped, if shard.cut_at.is_none() => shard.stop(),
            }
        }
        shard.end
    }

    fn is_done(&self) -> bool {
        self.in_flight == 0 && self.backlog.is_empty() && self.due.is_empty() && self.streams_open == 0 && self.waiting.len() == 0
    }

    /// The run stops: what was not sent never will be, and is no record: it was not due yet, or its due is after the stop. What is in
    /// flight gets a moment to end.
    fn stop(&mut self) {
        let now = self.config.clock.now();
        self.cut_at = Some(now + GRACE);
        self.check_no_later_than(now + GRACE);
        let has_unsent = self.streams_open > 0 || !self.due.is_empty() || !self.backlog.is_empty() || self.waiting.len() > 0;
        if !has_unsent {
            return;
        }
        self.streams_open = 0;
        self.due.clear();
        self.waiting.clear();
        self.end.cut |= !self.opening.window.is_over(now) || !self.backlog.is_empty();
        for (_, _, record) in std::mem::take(&mut self.backlog) {
            self.record_unsent(record, Status::Cancelled, ErrorCode::Stopped, now);
        }
    }

    fn check_no_later_than(&mut self, at: Nanos) {
        self.check_at = Some(self.check_at.map_or(at, |check| check.min(at)));
    }

    /// Gives up the requests in flight whose time is over, and finds the next deadline. All requests have the same, so while they end
    /// in time this happens once in that time, however many there are.
    fn check_deadlines(&mut self) {
        let now = self.config.clock.now();
        self.check_at = self.leashes.iter().filter_map(|leash| leash.check(now, self.config.timeouts)).min();
        if let Some(cut_at) = self.cut_at {
            if cut_at <= now {
                self.leashes.iter().for_each(|leash| leash.cut(RequestError::new(Status::Cancelled, ErrorCode::Stopped)));
            }
            // Again after the cut: a request whose channel was still being opened has no leash on yet.
            self.check_no_later_than(if cut_at <= now { now + GRACE } else { cut_at });
        }
    }

    fn accept(&mut self, item: Option<Item>) {
        match item {
            // The preparer died; its panic surfaces when the supply is dropped.
            None => self.streams_open = 0,
            Some(Item::End) => self.streams_open -= 1,
            Some(Item::Ready { stream, ready }) => {
                self.asked = self.asked.saturating_sub(1);
                self.waiting.announce(ready.entry.request.id, ready.entry.dependents);
                if ready.entry.apart {
                    self.supply.ask(stream);
                }
                match &ready.entry.due {
                    Due::At(at) => self.due.push(Reverse(Timed { due: self.opening.start + *at, stream, ready })),
                    Due::After { join, edges } => {
                        let (join, edges) = (*join, edges.clone());
                        let released = self.waiting.add((stream, ready), join, edges);
                        self.release(released.into_iter().collect());
                    }
                }
                self.top_up();
            }
        }
    }

    fn release(&mut self, mut released: Vec<((usize, Box<Ready>), Release)>) {
        while let Some(((stream, ready), release)) = released.pop() {
            match release {
                Release::At(due) => self.due.push(Reverse(Timed { due, stream, ready })),
                Release::NotRun => {
                    let now = self.config.clock.now();
                    let id = ready.entry.request.id;
                    let phase = self.opening.window.phase(id, now);
                    self.supply.took(ready.bytes());
                    if let Some(phase) = phase {
                        let record = RequestRecord { phase, ..self.blank(&ready, now) };
                        self.end.scheduled += 1;
                        self.record_unsent(record, Status::NotRun, ErrorCode::Parent, now);
                    }
                    match (self.config.lanes, phase) {
                        (0, _) => self.top_up(),
                        // The next of its lane was asked for when it came.
                        _ if ready.entry.apart => {}
                        (_, Some(_)) => self.supply.ask(stream),
                        (_, None) => self.streams_open -= 1,
                    }
                    released.extend(self.waiting.note(id, |p| {
                        p.end = Some(now);
                        p.failed = true;
                    }));
                }
            }
        }
    }

    /// Asks an open loop's stream for more, as far as the bounds allow: at least one ahead, whatever its size.
    fn top_up(&mut self) {
        if self.config.lanes > 0 || self.streams_open == 0 {
            return;
        }
        while self.asked < ASKS_AHEAD
            && self.asked + self.due.len() < REQUESTS_AHEAD
            && (self.supply.held() <= BYTES_AHEAD || self.asked + self.due.len() == 0)
        {
            self.supply.ask(0);
            self.asked += 1;
        }
    }

    fn dispatch_due(&mut self) {
        // One look at the clock per wake: everything that is due by now goes, in order.
        let now = self.config.clock.now();
        while self.due.peek().is_some_and(|Reverse(t)| t.due <= now) {
            if let Some(Reverse(timed)) = self.due.pop() {
                self.dispatch(timed);
            }
        }
    }

    fn dispatch(&mut self, timed: Timed) {
        let Timed { due, stream, ready } = timed;
        let id = ready.entry.request.id;
        self.supply.took(ready.bytes());
        let Some(phase) = self.opening.window.phase(id, due) else {
            // The window closed before it: its lane or its conversation ends here.
            if self.config.lanes > 0 && !ready.entry.apart {
                self.streams_open -= 1;
            }
            self.note(id, |p| {
                p.end = Some(due);
                p.failed = false;
            });
            return;
        };
        self.end.scheduled += 1;
        if let Some(digest) = ready.digest {
            self.end.offered = self.end.offered.wrapping_add(u64::from_le_bytes(digest.0[..8].try_into().expect("8 of 32 bytes")));
        }
        let apart = ready.entry.apart;
        self.start(due, ready, phase);
        // After it: what is due goes before anything is made.
        if self.config.lanes == 0 {
            self.top_up();
        } else if !apart {
            self.supply.ask(stream);
        }
    }

    fn start(&mut self, due: Nanos, ready: Box<Ready>, phase: Phase) {
        let id = ready.entry.request.id;
        let start = self.config.clock.now();
        let mut record = RequestRecord { phase, ..self.blank(&ready, due) };
        if self.in_flight >= self.config.max_in_flight {
            self.record_unsent(record, Status::Dropped, ErrorCode::InFlightBound, start);
            self.note(id, |p| {
                p.end = Some(start);
                p.failed = true;
            });
            return;
        }
        record.at.start = Some(start);
        self.note(id, |p| p.start = Some(start));
        if self.in_flight >= self.config.max_concurrency {
            self.backlog.push_back((due, ready, record));
        } else {
            self.send(*ready, record);
        }
    }

    fn send(&mut self, ready: Ready, record: RequestRecord) {
        let Ready { entry, endpoint, payload, .. } = ready;
        let history = self.history(&entry.request.prompt);
        let payload = payload.unwrap_or_else(|| self.config.endpoints.encode(endpoint, &entry.request, &history));
        let id = entry.request.id;
        let keep_text = self.config.uses_live && entry.dependents > 0;
        if keep_text {
            self.histories.insert(id, History { turns: history, left: entry.dependents });
        }
        let payload: Payload = match payload {
            Ok(payload) => payload,
            Err(_) => {
                let now = self.config.clock.now();
                self.record_unsent(record, Status::Client, ErrorCode::Prepare, now);
                self.note(id, |p| {
                    p.end = Some(now);
                    p.failed = true;
                });
                return;
            }
        };
        self.in_flight += 1;
        self.config.live.in_flight.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut slot = self.slots[usize::from(endpoint)].pop().unwrap_or_else(|| {
            let slot = Slot::new(EventSink::new(self.config.clock.clone(), self.config.live.clone()));
            self.leashes.push(slot.leash.clone());
            Box::new(slot)
        });
        let (landed, records, backend) = (self.ended.clone(), self.config.records.clone(), self.config.endpoints.backend(endpoint).clone());
        let (live, clock, shard) = (self.config.live.clone(), self.config.clock.clone(), self.config.shard);
        let Timeouts { total, first_token } = self.config.timeouts;
        // Its time begins with the flight, which is no earlier than its start.
        let soonest = first_token.map_or(total, |first| first.min(total));
        self.check_no_later_than(Nanos(record.at.start.unwrap_or(record.at.due).0.saturating_add(soonest.0)));
        slot.sink.begin(record, keep_text);
        slot.leash.leaves_after(None);
        match entry.request.cancel {
            None => {}
            Some(Cancel::FirstToken) => slot.sink.leave_after(1),
            Some(Cancel::Tokens(n)) => slot.sink.leave_after(n),
            Some(Cancel::After(after)) => {
                slot.leash.leaves_after(Some(after));
                self.check_no_later_than(self.config.clock.now() + after);
            }
        }
        if self.config.uses_first_token && entry.dependents > 0 {
            let told = self.first_tokens.clone();
            // A shard that is gone waits for nothing.
            slot.sink.on_first_token(Box::new(move |at| told.send((id, at)).unwrap_or_default()));
        }
        let said = keep_text.then(|| self.config.endpoints.spoken(endpoint, &entry.request.prompt));
        let prepared = Prepared { request: entry.request, payload };
        tokio::task::spawn_local(async move {
            let (record, answer) = fly(&mut slot, &prepared, &backend, shard, &*clock).await;
            let exchange = said.zip(answer).map(|(prompt, answer)| LiveTurn { prompt, answer });
            let ended = Ended {
                id,
                endpoint,
                slot,
                end: record.at.end.unwrap_or(record.at.due),
                first_token: record.at.first_token,
                failed: !record.is_ok(),
                stopped: record.error == Some(ErrorCode::Stopped),
                exchange,
            };
            keep(&records, &live, record);
            let _ = landed.send(ended);
        });
    }

    fn landed(&mut self, ended: Ended) {
        let Ended { id, endpoint, slot, end, first_token, failed, stopped, exchange } = ended;
        self.end.cut |= stopped;
        self.in_flight -= 1;
        self.config.live.in_flight.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        self.slots[usize::from(endpoint)].push(slot);
        if let (Some(exchange), Some(history)) = (exchange, self.histories.get_mut(&id)) {
            history.turns.push(exchange);
        }
        self.note(id, |p| {
            p.first_token = first_token;
            p.end = Some(end);
            p.failed = failed;
        });
        // More than one when one cannot be made ready and so takes no place.
        while self.in_flight < self.config.max_concurrency
            && let Some((_, ready, record)) = self.backlog.pop_front()
        {
            self.send(*ready, record);
        }
    }

    /// Notes what happened to a request and lets go what waited for it.
    fn note(&mut self, id: RequestId, update: impl FnOnce(&mut Progressed)) {
        let released = self.waiting.note(id, update);
        self.release(released);
    }

    /// The conversation so far, oldest first, for a prompt that continues one. Kept until the last of its continuations took it.
    fn history(&mut self, prompt: &Prompt) -> Vec<LiveTurn> {
        let Prompt::Live { of, .. } = prompt else { return vec![] };
        let Some(history) = self.histories.get_mut(of) else { return vec![] };
        history.left = history.left.saturating_sub(1);
        if history.left > 0 {
            return history.turns.clone();
        }
        self.histories.remove(of).map_or_else(Vec::new, |h| h.turns)
    }

    fn blank(&self, ready: &Ready, due: Nanos) -> RequestRecord {
        let r = &ready.entry.request;
        let RequestRecord { chunk_gaps, chunk_tokens, .. } = self.config.spare.try_recv().map_or_else(|_| RequestRecord::default(), |r| *r);
        RequestRecord {
            chunk_gaps,
            chunk_tokens,
            request: r.id,
            session: r.session,
            turn: r.turn,
            lane: ready.entry.lane,
            endpoint: ready.endpoint,
            shard: self.config.shard,
            class: r.class,
            priority: r.priority,
            at: Moments { due, ..Moments::default() },
            tokens: Tokens { wanted: r.output_tokens, wanted_input: r.input_tokens, ..Tokens::default() },
            ..RequestRecord::default()
        }
    }

    fn record_unsent(&self, record: RequestRecord, status: Status, code: ErrorCode, at: Nanos) {
        count_unsent(&self.config.live);
        keep(&self.config.records, &self.config.live, unsent(record, status, code, at));
    }
}

/// Whether a schedule has edges on first tokens.
pub(crate) fn waits_for_first_tokens(schedule: &Schedule) -> bool {
    match &schedule.rule().source {
        nomoat_core::schedule::Source::Trace(trace) => trace.requests.iter().flat_map(|r| &r.after).any(|e| e.on == Moment::FirstToken),
        nomoat_core::schedule::Source::Fixed { .. } => false,
    }
}
