//! The measured window, and what arrived in it.
//!
//! Requests belong to the window by due; tokens and answers belong by arrival. The window may only be known when the last
//! record was seen, and the chunks of a run are too many to keep until then. So the ends of the window are kept as ranges
//! that only narrow, and an arrival waits only while it could still fall on either side.

use crate::record::{CountSource, Phase, RequestRecord, Status};
use crate::report::{RunFacts, Window};
use crate::schedule::Warmup;
use crate::units::Nanos;

/// What ended the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Its duration was over.
    Duration,
    /// The last measured request was due.
    LastDue,
}

/// What is known of the window so far.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    facts: &'a RunFacts,
    dues: Option<(Nanos, Nanos)>,
    measured: u64,
}

impl<'a> Frame<'a> {
    pub fn new(facts: &'a RunFacts) -> Self {
        Self { facts, dues: None, measured: 0 }
    }

    /// Takes note of a record; to be called before its arrivals are sorted.
    pub fn see(&mut self, record: &RequestRecord) {
        if record.phase == Phase::Measure {
            let due = record.at.due;
            self.dues = Some(self.dues.map_or((due, due), |(first, last)| (first.min(due), last.max(due))));
            self.measured += 1;
        }
    }

    /// The window `[start, end)` and what ended it.
    ///
    /// It starts when the warm-up time is over, or at the first measured due when the warm-up is a number of requests. It ends
    /// after its duration where one was given; otherwise, and when the run was stopped or had all its requests before that,
    /// at the last measured due. Without a measured request it is empty.
    pub fn window(&self) -> (Window, Ended) {
        let Some((first, last)) = self.dues else {
            let start = match self.facts.warmup {
                Warmup::Time(time) => self.facts.start + time,
                Warmup::Requests(_) => self.facts.start,
            };
            return (Window { start, end: start }, Ended::LastDue);
        };
        let start = match self.facts.warmup {
            Warmup::Time(time) => self.facts.start + time,
            Warmup::Requests(_) => first.max(self.facts.start),
        };
        let full = self.facts.limit.requests.is_some_and(|limit| self.measured >= u64::from(limit));
        let (end, ended) = match self.facts.limit.duration.map(|d| start + d) {
            Some(end) if !(full || self.facts.interrupted) || end <= last => (end, Ended::Duration),
            _ => (last, Ended::LastDue),
        };
        (Window { start, end: end.max(start) }, ended)
    }

    /// Whether the window holds `at`, as far as that cannot change any more.
    fn holds(&self, at: Nanos) -> Option<bool> {
        let (start_from, start_to) = match self.facts.warmup {
            Warmup::Time(time) => (self.facts.start + time, self.facts.start + time),
            Warmup::Requests(_) => (self.facts.start, self.dues.map_or(Nanos::MAX, |(first, _)| first.max(self.facts.start))),
        };
        let duration = self.facts.limit.duration;
        let (mut end_from, end_to) = duration.map_or((Nanos::MAX, Nanos::MAX), |d| (start_from + d, start_to + d));
        if duration.is_none() || self.facts.interrupted || self.facts.limit.requests.is_some() {
            end_from = self.dues.map_or(Nanos(i64::MIN), |(_, last)| last.min(end_from));
        }
        if at < start_from || at >= end_to {
            Some(false)
        } else if at >= start_to && at < end_from {
            Some(true)
        } else {
            None
        }
    }
}

/// What arrived in the window, of requests of every phase and status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Arrived {
    /// Output tokens, by the arrival of their chunks.
    pub output: u64,
    /// Of them, those of requests that met the service level.
    pub good_output: u64,
    /// Of them, events of complete answers whose tokens the endpoint did not count.
    pub output_as_events: u64,
    /// Of them, events of streams that broke off before their token count.
    pub output_broken_off: u64,
    /// Prompt tokens of requests whose first token arrived.
    pub input: u64,
    /// Requests whose first token arrived.
    pub first_tokens: u64,
    /// Of them, those whose prompt nobody counted.
    pub input_unknown: u64,
    /// Answers that ended.
    pub answers: u64,
}

impl Arrived {
    fn add(&mut self, item: Item) {
        match item {
            Item::Output(tokens, of) => self.add_output(u64::from(tokens), of),
            Item::Input(tokens) => {
                self.first_tokens += 1;
                self.input += u64::from(tokens.unwrap_or(0));
                self.input_unknown += u64::from(tokens.is_none());
            }
            Item::Answer => self.answers += 1,
        }
    }

    fn add_output(&mut self, tokens: u64, of: Output) {
        self.output += tokens;
        match of {
            Output::Good => self.good_output += tokens,
            Output::GoodEvents => {
                self.good_output += tokens;
                self.output_as_events += tokens;
            }
            Output::Events => self.output_as_events += tokens,
            Output::BrokenOff => self.output_broken_off += tokens,
            Output::Other => {}
        }
    }
}

/// Whose output it is and how it was counted.
#[derive(Clone, Copy, Debug)]
enum Output {
    /// Counted, of a request that met the service level.
    Good,
    /// Events of one that met it.
    GoodEvents,
    /// Events of another complete answer.
    Events,
    /// Events of a stream that broke off.
    BrokenOff,
    /// Counted, of any other request.
    Other,
}

impl Output {
    fn of(record: &RequestRecord, good: bool) -> Self {
        let events = record.tokens.chunk_source == CountSource::Chunks;
        match (events, good, record.status) {
            (true, true, _) => Self::GoodEvents,
            (true, false, Status::Ok | Status::Short) => Self::Events,
            (true, false, _) => Self::BrokenOff,
            (false, true, _) => Self::Good,
            (false, false, _) => Self::Other,
        }
    }
}

/// Something that arrives.
#[derive(Clone, Copy, Debug)]
enum Item {
    Output(u32, Output),
    Input(Option<u32>),
    Answer,
}

/// Sorts arrivals into the window.
#[derive(Debug, Default)]
pub struct Arrivals {
    inside: Arrived,
    /// Arrivals of which it is not decided yet.
    waiting: Vec<(Nanos, Item)>,
    /// Length of `waiting` at which it is gone through again.
    review_at: usize,
}

impl Arrivals {
    /// Adds what arrived of one record; `good` says whether it met the service level.
    pub fn add(&mut self, frame: &Frame<'_>, record: &RequestRecord, good: bool) {
        let output = Output::of(record, good);
        if let Some(first) = record.at.first_token {
            self.sort(frame, first, Item::Input(record.tokens.input));
            let span: i64 = record.chunk_gaps.iter().fold(0, |sum, gap| sum.saturating_add(*gap));
            let forward = record.chunk_gaps.iter().fold(0, |signs, gap| signs | gap) >= 0;
            // Most answers lie wholly inside, and the first and the last chunk decide it. (A kernel stamp may step backwards.)
            let inside = |at| frame.holds(at) == Some(true);
            if forward && inside(first) && inside(first + Nanos(span)) {
                let tokens: u64 = record.chunk_tokens.iter().map(|t| u64::from(*t)).sum();
                self.inside.add_output(tokens, output);
            } else {
                let mut at = first;
                for (gap, tokens) in record.chunk_gaps.iter().zip(&record.chunk_tokens) {
                    at += Nanos(*gap);
                    self.sort(frame, at, Item::Output(*tokens, output));
                }
            }
        }
        if let (true, Some(end)) = (record.is_ok(), record.at.end) {
            self.sort(frame, end, Item::Answer);
        }
        if self.waiting.len() > self.review_at {
            self.review(frame);
        }
    }

    fn sort(&mut self, frame: &Frame<'_>, at: Nanos, item: Item) {
        match frame.holds(at) {
            Some(true) => self.inside.add(item),
            Some(false) => {}
            None => self.waiting.push((at, item)),
        }
    }

    /// Lets go of what is decided by now. Twice as many may wait before the next time, so that the cost stays linear.
    fn review(&mut self, frame: &Frame<'_>) {
        let inside = &mut self.inside;
        self.waiting.retain(|(at, item)| match frame.holds(*at) {
            Some(true) => {
                inside.add(*item);
                false
            }
            Some(false) => false,
            None => true,
        });
        self.review_at = 2 * self.waiting.len() + (1 << 16);
    }

    /// What arrived in the window, now that it is known.
    pub fn finish(self, window: Window) -> Arrived {
        if window.start == window.end {
            return Arrived::default();
        }
        let mut inside = self.inside;
        self.waiting.iter().filter(|(at, _)| (window.start..window.end).contains(at)).for_each(|(_, item)| inside.add(*item));
        inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::record::Moments;
    use crate::schedule::Limit;
    use proptest::prelude::*;

    #[test]
    fn windows() {
        let s = Nanos::from_secs;
        let check = |warmup, duration: Option<i64>, requests, interrupted, dues: &[i64], expect: (i64, i64, Ended)| {
            let limit = Limit { duration: duration.map(s), requests };
            let facts = RunFacts { start: s(100), warmup, limit, interrupted, ..RunFacts::default() };
            let mut frame = Frame::new(&facts);
            for due in dues {
                frame.see(&RequestRecord { at: Moments { due: s(*due), ..Moments::default() }, ..RequestRecord::default() });
            }
            let (window, ended) = frame.window();
            assert_eq!((window.start, window.end, ended), (s(expect.0), s(expect.1), expect.2), "{warmup:?} {limit:?} {dues:?}");
        };
        let none = Warmup::Time(Nanos::ZERO);
        check(none, Some(60), None, false, &[101, 130], (100, 160, Ended::Duration));
        check(none, None, Some(2), false, &[130, 101], (100, 130, Ended::LastDue));
        check(Warmup::Time(s(5)), Some(60), None, false, &[106, 130], (105, 165, Ended::Duration));
        check(Warmup::Requests(3), Some(60), None, false, &[107, 130], (107, 167, Ended::Duration));
        check(Warmup::Requests(3), None, None, false, &[130, 107], (107, 130, Ended::LastDue));
        check(none, Some(60), Some(2), false, &[101, 130], (100, 130, Ended::LastDue));
        check(none, Some(60), Some(3), false, &[101, 130], (100, 160, Ended::Duration));
        check(none, Some(60), None, true, &[101, 130], (100, 130, Ended::LastDue));
        check(none, Some(60), None, false, &[], (100, 100, Ended::LastDue));
        check(Warmup::Requests(3), Some(60), None, false, &[], (100, 100, Ended::LastDue));
        check(none, None, Some(1), false, &[140], (100, 140, Ended::LastDue));
        check(Warmup::Requests(0), None, Some(1), false, &[140], (140, 140, Ended::LastDue));
    }

    fn record() -> impl Strategy<Value = RequestRecord> {
        (0_i64..200, 0_i64..40, prop::collection::vec((-2_i64..20, 0_u32..4), 1..6), any::<bool>(), any::<bool>(), 0_u32..3).prop_map(
            |(due, wait, chunks, measured, ok, input)| RequestRecord {
                phase: if measured { Phase::Measure } else { Phase::Warmup },
                at: Moments {
                    due: Nanos(due),
                    first_token: Some(Nanos(due + wait)),
                    end: Some(Nanos(due + wait + 30)),
                    ..Moments::default()
                },
                chunk_gaps: chunks.iter().enumerate().map(|(i, c)| if i == 0 { 0 } else { c.0 }).collect(),
                chunk_tokens: chunks.iter().map(|c| c.1).collect(),
                tokens: crate::record::Tokens {
                    input: input.checked_sub(1),
                    chunk_source: if input == 0 { CountSource::Chunks } else { CountSource::Usage },
                    ..Default::default()
                },
                status: if ok { Status::Ok } else { Status::Truncated },
                ..RequestRecord::default()
            },
        )
    }

    proptest! {
        /// Sorting early must give what sorting at the end would.
        #[test]
        fn early_decisions_are_never_wrong(
            records in prop::collection::vec(record(), 0..20),
            warmup in prop_oneof![(0_i64..60).prop_map(|t| Warmup::Time(Nanos(t))), (0_u32..3).prop_map(Warmup::Requests)],
            duration in prop::option::of(1_i64..150),
            requests in prop::option::of(1_u32..20),
            interrupted in any::<bool>(),
            start in 0_i64..40,
        ) {
            let limit = Limit { duration: duration.map(Nanos), requests };
            let facts = RunFacts { start: Nanos(start), warmup, limit, interrupted, ..RunFacts::default() };
            let (mut frame, mut arrivals) = (Frame::new(&facts), Arrivals::default());
            for record in &records {
                frame.see(record);
                arrivals.review_at = 0;
                arrivals.add(&frame, record, record.is_ok());
                arrivals.review(&frame);
            }
            let (window, _) = frame.window();
            let mut expect = Arrived::default();
            let inside = |at: Nanos| at >= window.start && at < window.end;
            for r in &records {
                let first = r.at.first_token.expect("every record has one");
                if inside(first) {
                    expect.add(Item::Input(r.tokens.input));
                }
                let mut at = first;
                for (gap, tokens) in r.chunk_gaps.iter().zip(&r.chunk_tokens) {
                    at += Nanos(*gap);
                    if inside(at) {
                        expect.add(Item::Output(*tokens, Output::of(r, r.is_ok())));
                    }
                }
                if r.is_ok() && inside(r.at.end.expect("every record has one")) {
                    expect.add(Item::Answer);
                }
            }
            prop_assert_eq!(arrivals.finish(window), expect);
        }
    }
}
