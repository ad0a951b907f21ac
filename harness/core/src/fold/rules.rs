//! What the validity rules need to know of the records, gathered during the fold. The rules themselves are in
//! [`crate::validity`].

use super::latency::Columns;
use super::row::Run;
use crate::cost::counted;
use crate::record::{CountSource, ErrorCode, Phase, RequestRecord, StampSource, Status};
use crate::report::{RunFacts, Window};
use crate::sample::RunEvent;
use crate::units::Nanos;
use crate::validity::{self, Counter, Evidence, Lengths, Pace, Prompts};
use std::collections::HashMap;

/// Sums over the records of all phases.
#[derive(Debug, Default)]
pub struct Account {
    ids: Vec<u32>,
    lengths: Lengths,
    prompts: Prompts,
    /// Output tokens of every record whose count comes from the endpoint.
    counted: u64,
    /// Records that the engine may have generated for without telling how much.
    uncountable: u64,
    /// The same of prompts.
    prompts_counted: u64,
    prompts_uncountable: u64,
    /// Of every request, the first and the last moment the engine could have worked on it.
    engine: Option<(Nanos, Nanos)>,
    /// Measured requests that this host had no descriptor or port for.
    exhausted: u64,
    /// Measured requests that took more than one attempt.
    retried: u64,
    /// Answered measured requests without a first token.
    silent: u64,
    /// Measured requests by the kernel's stamps alone, and with one read without.
    stamped: (u64, u64),
    /// First due and last end of each lane of a closed loop.
    lanes: HashMap<u32, (Nanos, Nanos)>,
}

impl Account {
    /// Adds a record.
    pub fn add(&mut self, facts: &RunFacts, record: &RequestRecord) {
        self.ids.push(record.request.0);
        let (tokens, at) = (&record.tokens, &record.at);
        let told = matches!(tokens.output_source, CountSource::Usage | CountSource::PerChunk | CountSource::Engine);
        let complete = matches!(record.status, Status::Ok | Status::Short);
        if let (true, true, Phase::Measure, Some(output)) = (complete, told, record.phase, tokens.output) {
            self.lengths.requests += 1;
            self.lengths.output += u64::from(output);
            self.lengths.wanted += u64::from(tokens.wanted);
        }
        if let (true, Phase::Measure, true, Some(input)) = (record.is_ok(), record.phase, counted(tokens.input_source), tokens.input) {
            self.prompts.counted += u64::from(input);
            self.prompts.wanted += u64::from(tokens.wanted_input);
        }
        if record.phase == Phase::Measure {
            self.exhausted += u64::from(record.error == Some(ErrorCode::Exhausted));
            self.retried += u64::from(record.attempts > 1);
            self.silent += u64::from(record.is_ok() && at.first_token.is_none());
            if at.first_byte.is_some() {
                self.stamped.0 += u64::from(record.stamp == StampSource::Kernel);
                self.stamped.1 += u64::from(record.stamp == StampSource::Read);
            }
        }
        if told {
            self.counted += u64::from(tokens.output.unwrap_or(0));
        }
        // A refusal generates nothing; whatever else was sent and not completed may have.
        let refused = matches!(record.status, Status::Http | Status::Rejected);
        self.uncountable += u64::from(at.sent.is_some() && !refused && !(complete && told));
        let prompt = tokens.input.filter(|_| counted(tokens.input_source));
        self.prompts_counted += u64::from(prompt.unwrap_or(0));
        self.prompts_uncountable += u64::from(at.sent.is_some() && !refused && !(complete && prompt.is_some()));
        if let (Some(from), Some(to)) = (at.start, at.end) {
            self.engine = Some(self.engine.map_or((from, to), |(first, last)| (first.min(from), last.max(to))));
        }
        if let (Some(_), Some(lane)) = (facts.concurrency, record.lane) {
            let end = at.end.unwrap_or(at.due);
            let held = self.lanes.entry(lane.0).or_insert((at.due, end));
            *held = (held.0.min(at.due), held.1.max(end));
        }
    }

    fn duplicates(&mut self) -> u64 {
        self.ids.sort_unstable();
        self.ids.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
    }

    /// Time that lanes had work, within the window, over all lanes.
    fn held(&self, window: Window) -> i128 {
        self.lanes
            .values()
            .map(|(from, to)| i128::from((*to).min(window.end).0) - i128::from((*from).max(window.start).0))
            .filter(|t| *t > 0)
            .sum()
    }
}

/// Everything the rules judge by.
pub fn evidence<'a>(run: &'a Run<'_>, columns: &Columns, mut account: Account, events: &[RunEvent]) -> Evidence<'a> {
    let (started, last_start) = columns.starts();
    let lanes = f64::from(run.facts.concurrency.unwrap_or(0)) * (run.window.end - run.window.start).0 as f64;
    let of_lanes = |time: i128| (lanes > 0.0).then(|| time as f64 / lanes);
    let (exhausted, stamped, retried, silent) = (account.exhausted, account.stamped, account.retried, account.silent);
    let ttft_p50 = columns.rough_percentile("ttft", true, 0.50);
    Evidence {
        facts: run.facts,
        counts: &run.counts,
        window: run.window,
        duplicates: account.duplicates(),
        lag: columns.lag(validity::lag_limit(ttft_p50)),
        ttft_p50,
        busiest_thread: run.gauges.busiest_thread,
        pace: Pace {
            started,
            last_start,
            late_share: of_lanes(columns.late(run.window.start, run.window.end)),
            held_share: of_lanes(account.held(run.window)),
        },
        lengths: account.lengths,
        prompts: account.prompts,
        first_coalesced: run.tally.first_coalesced,
        counter: Counter {
            readings: run.gauges.generated,
            engine: account.engine,
            counted: account.counted,
            uncountable: account.uncountable,
        },
        prompt_counter: Counter {
            readings: run.server.prompts,
            engine: account.engine,
            counted: account.prompts_counted,
            uncountable: account.prompts_uncountable,
        },
        cached: run.server.cached,
        fell: &run.server.fell,
        held_up: events.iter().any(|e| e.code == "collector_full"),
        exhausted,
        stamped,
        retried,
        silent,
        steal: run.host.steal.value(),
        throttled: run.host.throttled.value().map(|grown| grown.by),
        heated: run.host.heated.value().map(|grown| grown.by),
        clock_steps: events.iter().filter(|e| e.code == "clock_step").count() as u64,
    }
}
