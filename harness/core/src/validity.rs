//! Whether to believe a run. Each rule states a value, a limit and what to try.
//!
//! The codes are stable: V01 to V20 are the rules of a run, of a publication and of a history. Here are those that one run can be judged by
//! from its records alone; files, hosts and repeats are judged where they are known.

mod host;
mod tokens;

use crate::conform::Repeats;
use crate::fidelity::Content;
use crate::report::{Counts, RunFacts, Window};
use crate::stats::{LEVEL, binomial_cdf, min_observations};
use crate::units::{Nanos, grouped};

pub use host::MAX_STEAL;

/// How bad a broken rule is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Shown, changes nothing.
    Flag,
    /// The run may not be published.
    BlocksPublication,
    /// The run is not a measurement.
    Invalid,
}

/// What a rule found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// There was nothing to check it by.
    NotChecked,
}

/// One rule applied to one run.
#[derive(Clone, PartialEq, Debug)]
pub struct RuleResult {
    /// Stable code, V01…
    pub code: &'static str,
    /// What it asks.
    pub rule: &'static str,
    /// How bad it is when broken.
    pub severity: Severity,
    /// What was found.
    pub finding: Finding,
    /// What was measured, in words with units.
    pub value: String,
    /// What is allowed.
    pub limit: String,
    /// What to try; empty when it holds.
    pub remedy: String,
}

/// The verdict.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Validity {
    /// Every rule that was applied.
    pub rules: Vec<RuleResult>,
}

impl Validity {
    /// Whether no rule of severity [`Severity::Invalid`] is broken.
    pub fn is_valid(&self) -> bool {
        self.broken(Severity::Invalid).next().is_none()
    }

    /// The broken rules of one severity.
    pub fn broken(&self, severity: Severity) -> impl Iterator<Item = &RuleResult> {
        self.rules.iter().filter(move |r| r.finding == Finding::Fail && r.severity == severity)
    }
}

/// V03: largest share of the measured requests that may fail.
pub const MAX_ERROR_SHARE: f64 = 0.01;
/// V05: dispatch lag that is always allowed at the 99th percentile.
pub const MAX_LAG: Nanos = Nanos::from_millis(1);
/// V05: dispatch lag that is allowed at the 99th percentile, as a part of the median TTFT, where that is more.
pub const MAX_LAG_OF_TTFT: f64 = 0.01;
/// V05: share of the requests that may start later than the limit. From [`min_observations`] requests on it is judged by the 99th
/// percentile. Of fewer the percentile is the maximum or next to it, and one late request would decide; there the rule is broken
/// only by a number of late requests that chance gives in less than [`LATE_BY_CHANCE`] of such runs if this share is late.
pub const MAX_LATE_SHARE: f64 = 0.01;
/// V05: how unlikely a number of late requests must be to count against a run with few requests.
pub const LATE_BY_CHANCE: f64 = 0.05;
/// V05: share of one core from which a thread of the harness counts as saturated.
pub const MAX_THREAD: f64 = 0.80;
/// V06: smallest share of the offered rate, or of the lanes' time, that must have been kept.
pub const MIN_PACE: f64 = 0.98;
/// V07: largest difference of two counts of the same tokens, as a part of the expected one.
pub const MAX_TOKEN_ERROR: f64 = 0.01;
/// V07: largest difference of the prompts' counted length from the asked one, as a part of the asked one.
pub const MAX_INPUT_ERROR: f64 = 0.05;
/// V07: the same, from which the run is not what was asked for.
pub const FAR_INPUT_ERROR: f64 = 0.5;
/// V16: by how much the share of prompt tokens found in the prefix cache may exceed what the workload shares.
pub const MAX_FOREIGN_HITS: f64 = 0.01;
/// V15: smallest share of the answers that repeat alone which must repeat under load.
pub const MIN_REPEATS: f64 = 0.9;
/// V08: largest share of the answers whose first token may come in a read with another event.
pub const MAX_FIRST_COALESCED: f64 = 0.10;

/// What the rules judge by.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence<'a> {
    /// The facts of the run.
    pub facts: &'a RunFacts,
    /// How many of what.
    pub counts: &'a Counts,
    /// The measured window.
    pub window: Window,
    /// Records whose request has another record.
    pub duplicates: u64,
    /// Dispatch lag of every measured request that started, failed or not.
    pub lag: Lag,
    /// Median TTFT of the answered measured requests.
    pub ttft_p50: Option<Nanos>,
    /// Cores used by the busiest thread of the harness, mean over the window.
    pub busiest_thread: Option<f64>,
    /// Whether the load was offered as decided.
    pub pace: Pace,
    /// Lengths of the answers.
    pub lengths: Lengths,
    /// Lengths of the prompts.
    pub prompts: Prompts,
    /// Answered measured requests whose first token came in a read with another event.
    pub first_coalesced: u64,
    /// The engine's own count of generated tokens.
    pub counter: Counter,
    /// Its own count of prompt tokens.
    pub prompt_counter: Counter,
    /// First and last reading of the prompt tokens that the engine found in its prefix cache, and of those it looked up.
    pub cached: Option<[[(Nanos, f64); 2]; 2]>,
    /// When a counter of the engine fell.
    pub fell: &'a [Nanos],
    /// Share of the cores' time that the hypervisor gave to others, mean over the window.
    pub steal: Option<f64>,
    /// Periods around the window in which a CPU quota was used up; `None` where there is no quota.
    pub throttled: Option<f64>,
    /// Times around the window that a core was slowed down by heat.
    pub heated: Option<f64>,
    /// Clock events during the run.
    pub clock_steps: u64,
    /// Times a shard waited for the collector.
    pub held_up: bool,
    /// Measured requests that this host had no descriptor or port for.
    pub exhausted: u64,
    /// Measured requests that took more than one attempt.
    pub retried: u64,
    /// Answered measured requests whose tokens showed no text: they have no first token.
    pub silent: u64,
    /// Measured requests whose arrivals the kernel stamped, and those with at least one read it did not.
    pub stamped: (u64, u64),
}

/// Dispatch lag of the measured requests that started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lag {
    /// How many started.
    pub started: u64,
    /// Of them, those later than [`lag_limit`].
    pub late: u64,
    /// The nearest-rank 99th percentile, however few they are.
    pub p99: Option<Nanos>,
    /// The largest.
    pub largest: Option<Nanos>,
}

/// Whether the load was offered as decided.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Pace {
    /// Measured requests that started.
    pub started: u64,
    /// When the last of them did.
    pub last_start: Option<Nanos>,
    /// In a closed loop: time that requests were due and had not started, as a part of the lanes' time in the window.
    pub late_share: Option<f64>,
    /// In a closed loop: time between a lane's first due and its last end, think time included, as a part of the lanes' time
    /// in the window.
    pub held_share: Option<f64>,
}

/// Lengths of the complete measured answers whose tokens the endpoint counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lengths {
    /// How many answers.
    pub requests: u64,
    /// Their output tokens.
    pub output: u64,
    /// Tokens that were asked for.
    pub wanted: u64,
}

/// Lengths of the prompts of answered measured requests that somebody counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Prompts {
    /// Their tokens, as counted.
    pub counted: u64,
    /// Tokens that were asked for.
    pub wanted: u64,
}

/// What the engine says it generated, or read, against what its answers say.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Counter {
    /// First and last reading of the engine's counter.
    pub readings: Option<[(Nanos, f64); 2]>,
    /// First start and last end of the run's requests, where any started.
    pub engine: Option<(Nanos, Nanos)>,
    /// Tokens of the records of all phases, by the endpoint's word.
    pub counted: u64,
    /// Requests the engine may have worked on without saying how much: broken off, timed out, or without usage.
    pub uncountable: u64,
}

/// Applies every rule that the evidence can speak to.
pub fn judge(e: &Evidence<'_>) -> Validity {
    let mut rules = vec![measured(e), errors(e), accounted(e), lag(e)];
    rules.extend(thread(e));
    rules.extend(accuracy(e));
    rules.extend(held_up(e));
    rules.extend(exhausted(e));
    rules.extend(shared_host(e));
    rules.extend(if e.facts.concurrency.is_some() { closed_loop(e) } else { vec![open_loop(e)] });
    rules.extend([lengths(e), prompts(e), tokens::generated(e)]);
    rules.extend(tokens::prompts(e));
    rules.extend(made_up(e));
    rules.push(TOKENIZER.not_checked("not checked", "within 1 % of a tokenizer's count", "a tokenizer cross-check was not asked for"));
    rules.extend(uncounted(e));
    rules.push(first_reads(e));
    rules.extend(clock(e));
    rules.extend(stamped(e));
    rules.extend(repeats(e));
    rules.extend(silent(e));
    rules.extend(retried(e));
    rules.extend(insecure(e));
    rules.extend(tokens::cached(e));
    rules.extend(host::rules(e));
    rules.push(complete(e));
    Validity { rules }
}

/// What a rule is.
struct Rule {
    code: &'static str,
    asks: &'static str,
    severity: Severity,
}

impl Rule {
    const fn invalid(code: &'static str, asks: &'static str) -> Self {
        Self { code, asks, severity: Severity::Invalid }
    }

    const fn blocks(code: &'static str, asks: &'static str) -> Self {
        Self { code, asks, severity: Severity::BlocksPublication }
    }

    const fn flag(code: &'static str, asks: &'static str) -> Self {
        Self { code, asks, severity: Severity::Flag }
    }

    fn result(&self, finding: Finding, value: impl Into<String>, limit: impl Into<String>, remedy: &str) -> RuleResult {
        let Self { code, asks: rule, severity } = *self;
        RuleResult { code, rule, severity, finding, value: value.into(), limit: limit.into(), remedy: remedy.to_owned() }
    }

    fn check(&self, holds: bool, value: impl Into<String>, limit: impl Into<String>, remedy: &str) -> RuleResult {
        let (finding, remedy) = if holds { (Finding::Pass, "") } else { (Finding::Fail, remedy) };
        self.result(finding, value, limit, remedy)
    }

    fn not_checked(&self, why: impl Into<String>, limit: impl Into<String>, remedy: &str) -> RuleResult {
        self.result(Finding::NotChecked, why, limit, remedy)
    }
}

const MEASURED: Rule = Rule::invalid("V02", "something was measured");
const ERRORS: Rule = Rule::invalid("V03", "few requests failed");
const ACCOUNTED: Rule = Rule::invalid("V04", "every scheduled request has one record");
const LAG: Rule = Rule::invalid("V05", "the harness was on time");
const THREAD: Rule = Rule::invalid("V05", "no thread of the harness was saturated");
const ACCURACY: Rule = Rule::invalid("V05", "the instrument's own error is small");
const SHARED_HOST: Rule = Rule::flag("V05", "the engine has cores of its own");
const OPEN_LOOP: Rule = Rule::invalid("V06", "requests started at the offered rate");
const CLOSED_LOOP: Rule = Rule::invalid("V06", "lanes sent when they were due");
const LANES_HELD: Rule = Rule::flag("V06", "lanes had work for the whole window");
const LENGTHS: Rule = Rule::invalid("V07", "answers have the length that was asked for");
const PROMPTS: Rule = Rule::flag("V07", "prompts have the length that was asked for");
const FAR_PROMPTS: Rule = Rule::invalid("V07", "prompts have the length that was asked for");
const MADE_UP: Rule = Rule::flag("V07", "what is said is real where speed depends on it");
const TOKENIZER: Rule = Rule::invalid("V07", "usage agrees with a tokenizer");
const UNCOUNTED: Rule = Rule::flag("V07", "output tokens are counted, not events");
const FIRST_READS: Rule = Rule::flag("V08", "first tokens came in reads of their own");
const HELD_UP: Rule = Rule::invalid("V05", "records were taken as fast as they came");
const EXHAUSTED: Rule = Rule::invalid("V06", "this host had descriptors and ports for every request");
const STAMPED: Rule = Rule::flag("V08", "all moments of arrival are of one kind");
const CLOCK: Rule = Rule::flag("V08", "the clocks did not step");
const INSECURE: Rule = Rule::flag("V13", "the endpoint's certificate was verified");
const REPEATS: Rule = Rule::blocks("V15", "answers are the same under load as alone");
const SILENT: Rule = Rule::flag("V07", "every answer shows text");
const FIRST_TRY: Rule = Rule::flag("V16", "every request was sent once");
const COMPLETE: Rule = Rule::invalid("V19", "the run is complete");

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn measured(e: &Evidence<'_>) -> RuleResult {
    let counts = e.counts;
    let value = format!("{} of {} measured requests were answered", counts.ok, counts.measured);
    let remedy = if counts.measured == 0 {
        "no request was due in the window: shorten --warmup or lengthen --duration"
    } else {
        "look at the errors by kind, and try the endpoint with one request by hand"
    };
    MEASURED.check(counts.ok >= 1, value, "at least 1", remedy)
}

fn errors(e: &Evidence<'_>) -> RuleResult {
    let limit = format!("at most {}, dropped, unrun and short ones included", percent(MAX_ERROR_SHARE));
    if e.counts.measured == 0 {
        return ERRORS.not_checked("no request was measured", limit, "shorten --warmup or lengthen --duration");
    }
    let share = e.counts.failed as f64 / e.counts.measured as f64;
    let value = format!("{} of {} requests failed ({})", e.counts.failed, e.counts.measured, percent(share));
    let remedy = "look at the errors by kind; lower the load, raise --timeout or --max-in-flight, or repair what the endpoint refuses";
    ERRORS.check(share <= MAX_ERROR_SHARE, value, limit, remedy)
}

fn accounted(e: &Evidence<'_>) -> RuleResult {
    let Counts { recorded, scheduled, .. } = *e.counts;
    let value = format!("{recorded} records, {} of them for a request that has another", e.duplicates);
    let remedy = "records were lost or doubled: keep the run's files and report it, with `nomoat recover` if the run was killed";
    ACCOUNTED.check(recorded == scheduled && e.duplicates == 0, value, format!("{scheduled} records, none twice"), remedy)
}

/// V05: the dispatch lag from which a request is late, by the median TTFT of the run.
pub fn lag_limit(ttft_p50: Option<Nanos>) -> Nanos {
    ttft_p50.map_or(MAX_LAG, |ttft| MAX_LAG.max(ttft.scale(MAX_LAG_OF_TTFT)))
}

/// The percentile where there are enough requests for one; otherwise whether there are more late ones than chance explains.
fn lag(e: &Evidence<'_>) -> RuleResult {
    let limit = lag_limit(e.ttft_p50);
    let of = format!("{limit} (the larger of {MAX_LAG} and {} of the median TTFT)", percent(MAX_LAG_OF_TTFT));
    let Lag { started, late, p99, largest } = e.lag;
    let (Some(p99), Some(largest)) = (p99, largest) else {
        return LAG.not_checked("no measured request started", format!("p99 at most {of}"), "look at the errors by kind");
    };
    let remedy = "lower --rate or --concurrency, use more --shards, or run the harness on a host of its own";
    let value = format!("{late} of {started} requests started later than {limit}, the largest dispatch lag is {largest}");
    if started >= min_observations(1.0 - MAX_LATE_SHARE, LEVEL) {
        return LAG.check(p99 <= limit, format!("dispatch lag p99 {p99}; {value}"), format!("p99 at most {of}"), remedy);
    }
    // P(at least k of n are late) = 1 − P(at most k − 1 are).
    let by_chance = |k: u64| k == 0 || 1.0 - binomial_cdf(k - 1, started, MAX_LATE_SHARE) >= LATE_BY_CHANCE;
    let allowed = (0..=started).take_while(|k| by_chance(*k)).last().unwrap_or(0);
    let text = format!("at most {allowed} later than {of}: as many as chance gives if {} are", percent(MAX_LATE_SHARE));
    LAG.check(late <= allowed, value, text, remedy)
}

fn thread(e: &Evidence<'_>) -> Option<RuleResult> {
    let busy = e.busiest_thread?;
    let value = format!("the busiest thread used {} of a core", percent(busy));
    Some(THREAD.check(busy < MAX_THREAD, value, format!("below {}", percent(MAX_THREAD)), "use more --shards, or lower the load"))
}

/// By calibration at the run's own load; a run that was not calibrated says so elsewhere.
fn accuracy(e: &Evidence<'_>) -> Option<RuleResult> {
    let error = e.facts.instrument_error?;
    let limit = lag_limit(e.ttft_p50);
    let text = format!("at most {limit} (the larger of {MAX_LAG} and {} of the median TTFT)", percent(MAX_LAG_OF_TTFT));
    let remedy = "run the harness on a host with cores of its own, use more --shards, or lower the load";
    Some(ACCURACY.check(error <= limit, format!("error of TTFT p99 {error}"), text, remedy))
}

fn shared_host(e: &Evidence<'_>) -> Option<RuleResult> {
    let remedy = "for numbers to publish, run the engine on another host or pin it to cores of its own";
    e.facts.shares_host.then(|| SHARED_HOST.check(false, "engine and harness share this host's cores", "separate cores", remedy))
}

/// Every request is intended; it counts as offered in time if it started, and the rate is stretched by as much as the last start came
/// after the window.
fn open_loop(e: &Evidence<'_>) -> RuleResult {
    let limit = format!("at least {} of the offered rate", percent(MIN_PACE));
    let seconds = e.window.seconds();
    let (Some(last), true) = (e.pace.last_start, seconds > 0.0 && e.counts.measured > 0) else {
        return OPEN_LOOP.not_checked("the window has no length or nothing started", limit, "give --duration or more --requests");
    };
    let took = (last - e.window.start).as_secs_f64().max(seconds);
    let achieved = e.pace.started as f64 / took;
    let due = e.counts.measured as f64 / seconds;
    // The schedule's own word on its rate holds too, as far as chance allows: a trace may have ended before the window.
    let offered = e.facts.offered_rate_per_s.unwrap_or(due);
    let expected = offered * seconds;
    let ran_dry = (e.counts.measured as f64) < MIN_PACE * expected - 4.0 * libm::sqrt(expected);
    let value = format!("{achieved:.3} requests/s started, {due:.3} requests/s due, {offered:.3} requests/s offered");
    let remedy = if ran_dry {
        "the schedule ended before the window: give --loop, or a shorter --duration"
    } else {
        "lower --rate, raise --max-in-flight, or use more --shards"
    };
    OPEN_LOOP.check(achieved >= MIN_PACE * due && !ran_dry, value, limit, remedy)
}

fn closed_loop(e: &Evidence<'_>) -> Vec<RuleResult> {
    let limit = format!("at least {} of the lanes' time in the window", percent(MIN_PACE));
    let (Some(late), Some(held)) = (e.pace.late_share, e.pace.held_share) else {
        return vec![CLOSED_LOOP.not_checked("the window has no length", limit, "give --duration or more --requests")];
    };
    let on_time = format!("{} of the time no request was overdue", percent(1.0 - late));
    let busy = format!("lanes had a request or a pause for {} of the time", percent(held));
    vec![
        CLOSED_LOOP.check(1.0 - late >= MIN_PACE, on_time, limit.clone(), "lower --concurrency or use more --shards"),
        // Lanes that run out of work make the load lighter than its name, but that is the schedule's doing, and it is visible.
        LANES_HELD.check(held >= MIN_PACE, busy, limit, "give --duration with --loop instead of a number of requests"),
    ]
}

fn lengths(e: &Evidence<'_>) -> RuleResult {
    let limit = format!("within {} of the tokens asked for", percent(MAX_TOKEN_ERROR));
    let Lengths { requests, output, wanted } = e.lengths;
    if !e.facts.exact_length {
        return LENGTHS.not_checked("lengths were not forced", limit, "force them where the engine can (ignore_eos, min_tokens)");
    }
    if requests == 0 || wanted == 0 {
        return LENGTHS.not_checked("no complete answer has a reported length", limit, "use an endpoint that reports usage");
    }
    let share = output.abs_diff(wanted) as f64 / wanted as f64;
    let value = format!("{output} tokens for {wanted} in {requests} answers ({} apart)", percent(share));
    let remedy = "the engine ends answers early or late: check that it honours ignore_eos and min_tokens, or do not force lengths";
    LENGTHS.check(share <= MAX_TOKEN_ERROR, value, limit, remedy)
}

fn prompts(e: &Evidence<'_>) -> RuleResult {
    let limit = format!("within {} of the tokens asked for", percent(MAX_INPUT_ERROR));
    let Prompts { counted, wanted } = e.prompts;
    if e.facts.content == Some(Content::RecordedText) {
        let why = "prompts are recorded texts, whose lengths were counted by another tokenizer or estimated";
        return PROMPTS.not_checked(why, limit, "read input lengths as counted");
    }
    if wanted == 0 {
        return PROMPTS.not_checked("no answer has a counted prompt of a known length", limit, "use an endpoint that reports usage");
    }
    let value = format!("asked {}, counted {} ({:.1} %)", grouped(wanted), grouped(counted), counted as f64 / wanted as f64 * 100.0);
    let remedy = "the endpoint's tokenizer splits the synthetic words differently, or its chat template adds tokens: \
                  use a completions endpoint that takes token ids, or read input lengths as counted";
    let apart = counted.abs_diff(wanted) as f64;
    if apart > FAR_INPUT_ERROR * wanted as f64 {
        return FAR_PROMPTS.check(false, value, format!("within {} of the tokens asked for", percent(FAR_INPUT_ERROR)), remedy);
    }
    PROMPTS.check(apart <= MAX_INPUT_ERROR * wanted as f64, value, limit, remedy)
}

fn made_up(e: &Evidence<'_>) -> Option<RuleResult> {
    let content = e.facts.content.filter(|content| content.is_made_up())?;
    let why = e.facts.routes?.words();
    let value = format!("prompts are {}, and {why}", content.name());
    let remedy = "which experts are chosen and which guesses are accepted depends on what is said: measure with recorded text \
                  (--suite project-text, or a trace of conversations) before speed is believed";
    Some(MADE_UP.check(false, value, "recorded text for engines whose speed depends on it", remedy))
}

fn uncounted(e: &Evidence<'_>) -> Option<RuleResult> {
    let uncounted = e.counts.uncounted;
    let value = format!("{uncounted} of {} answers have no token count; their events were counted", e.counts.ok);
    let remedy = "use an endpoint that reports usage (stream_options.include_usage); until then their tokens are events";
    (uncounted > 0).then(|| UNCOUNTED.check(false, value, "a count for every answer", remedy))
}

fn repeats(e: &Evidence<'_>) -> Option<RuleResult> {
    let Repeats { prompts, same_alone, same_under_load, degenerate, empty } = e.facts.repeats?;
    let value = format!(
        "of {prompts} greedy answers {same_alone} were the same again alone and {same_under_load} under load; {degenerate} repeat themselves, {empty} are empty"
    );
    let limit = format!("{} the same under load as are alone, and few degenerate or empty", percent(MIN_REPEATS));
    let holds = f64::from(same_under_load) >= MIN_REPEATS * f64::from(same_alone) && 2 * (degenerate + empty) <= prompts;
    let remedy = "a fast answer that is another one under load is no result: look for near ties, lossy kernels or a wrong cache";
    Some(REPEATS.check(holds, value, limit, remedy))
}

fn silent(e: &Evidence<'_>) -> Option<RuleResult> {
    let value = format!("{} of {} answers have tokens and no text: no TTFT, TPOT or E2E is known of them", e.silent, e.counts.ok);
    let remedy = "ask for longer answers; a token that is part of a character shows nothing, nor does reasoning that is not streamed";
    (e.silent > 0).then(|| SILENT.check(false, value, "a first token for every answer", remedy))
}

fn retried(e: &Evidence<'_>) -> Option<RuleResult> {
    let (retried, measured) = (e.retried, e.counts.measured);
    let value = format!("{retried} of {measured} requests took more than one attempt; latency counts from when they were due");
    let remedy = "the endpoint declines or drops connections at this load: lower it, or publish without --retries";
    (retried > 0).then(|| FIRST_TRY.check(false, value, "one attempt each", remedy))
}

fn first_reads(e: &Evidence<'_>) -> RuleResult {
    let limit = format!("at most {} with another event", percent(MAX_FIRST_COALESCED));
    let (merged, ok) = (e.first_coalesced, e.counts.ok);
    if ok == 0 {
        return FIRST_READS.not_checked("no request was answered", limit, "look at the errors by kind");
    }
    let share = merged as f64 / ok as f64;
    let value = format!("{merged} of {ok} first tokens shared their read ({})", percent(share));
    let remedy = "the first stamp of a merged read is that of its last part, so TTFT is an upper bound and TPOT a lower one: \
                  the endpoint or something on the way holds small writes back (Nagle with delayed ACKs adds 40 ms), \
                  or sends several tokens at once";
    FIRST_READS.check(share <= MAX_FIRST_COALESCED, value, limit, remedy)
}

fn clock(e: &Evidence<'_>) -> Option<RuleResult> {
    let value = format!("{} clock events", e.clock_steps);
    let remedy = "see the run's events; let time synchronisation settle and run again";
    (e.clock_steps > 0).then(|| CLOCK.check(false, value, "none", remedy))
}

fn held_up(e: &Evidence<'_>) -> Option<RuleResult> {
    let remedy = "write the run to a faster disk (--out), or lower the load";
    e.held_up.then(|| HELD_UP.check(false, "shards waited for the collector", "never", remedy))
}

fn exhausted(e: &Evidence<'_>) -> Option<RuleResult> {
    let value = format!("{} requests found no descriptor or no local port", e.exhausted);
    let remedy =
        "raise the limit of open files (ulimit -n) and the range of local ports (net.ipv4.ip_local_port_range), or lower the concurrency";
    (e.exhausted > 0).then(|| EXHAUSTED.check(false, value, "none", remedy))
}

fn stamped(e: &Evidence<'_>) -> Option<RuleResult> {
    let (kernel, read) = e.stamped;
    let value = format!("{kernel} requests by the kernel's stamps alone, {read} in part by returns of reads");
    let remedy = "see the run's events for a clock that was set; without one, the network card or its driver left packets unstamped";
    (kernel > 0 && read > 0).then(|| STAMPED.check(false, value, "one kind", remedy))
}

fn insecure(e: &Evidence<'_>) -> Option<RuleResult> {
    let remedy = "give --ca-file instead of --insecure";
    e.facts.insecure.then(|| INSECURE.check(false, "verification was off", "verification on", remedy))
}

fn complete(e: &Evidence<'_>) -> RuleResult {
    let value = if e.facts.interrupted { "partial run: it was stopped" } else { "it ran to its end" };
    COMPLETE.check(!e.facts.interrupted, value, "it ran to its end", "run it again without stopping it")
}
