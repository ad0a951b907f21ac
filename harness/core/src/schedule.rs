//! What we will do: a trace or a fixed shape, under a load mode and a seed, as entries that are due *at* a time or *after*
//! other requests. Everything is decided before the run; the digest says what was decided and knows no engine.
//!
//! A schedule is lazy: streams of entries in order, one per shard for an open loop, one per lane for a closed one, so that
//! memory does not grow with its length.

use crate::arrival::ArrivalProcess;
use crate::digest::{Digest, Digester};
use crate::prompt::{BlockPrompt, Prompt};
use crate::request::{LaneId, OutputLength, Request, RequestId, ShardId};
use crate::rng::{Stream, mix};
use crate::trace::{Edge, EdgeKind, Join, Moment, Trace, TraceRequest};
use crate::units::Nanos;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// When a request is due.
#[derive(Clone, PartialEq, Debug)]
pub enum Due {
    /// At a moment counted from the start of the run.
    At(Nanos),
    /// After other requests. Closed loops, conversations and agents are schedules too.
    After {
        /// How the edges join.
        join: Join,
        /// What it waits for; never empty.
        edges: Vec<Edge>,
    },
}

/// One request of a schedule.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// What to ask.
    pub request: Request,
    /// When.
    pub due: Due,
    /// Its lane, in a closed loop.
    pub lane: Option<LaneId>,
    /// How many later entries wait for this one: its moments are kept until that many have asked.
    pub dependents: u32,
}

/// Where requests come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A recorded workload.
    Trace(Arc<Trace>),
    /// Unique prompts of one shape, without end.
    Fixed {
        /// Prompt tokens.
        input_tokens: u32,
        /// Answer tokens.
        output_tokens: u32,
    },
}

/// What decides the arrivals.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Load {
    /// Recorded arrivals, divided by the schedule's speed.
    Replay,
    /// Recorded arrivals scaled so that their mean over the part that is replayed is this rate. Order, lengths and prefixes stay.
    Rescaled {
        /// Requests (roots) per second.
        rate_per_s: f64,
    },
    /// A law of arrivals instead of the recorded ones.
    Arrivals {
        /// The law.
        process: ArrivalProcess,
        /// Requests (roots) per second.
        rate_per_s: f64,
    },
    /// A fixed number of lanes; each takes its next unit when the last one ended and the user has thought.
    Closed {
        /// Lanes.
        concurrency: u32,
        /// From an end to the next due.
        think: Nanos,
    },
}

impl Load {
    /// Whether latency counts from the end of an earlier answer (true) or from a clock (false).
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

/// What comes before the measured window; not part of its duration or its count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warmup {
    /// A time from the start of the run.
    Time(Nanos),
    /// The first requests of the schedule.
    Requests(u32),
}

/// How long the measured window is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limit {
    /// At most this long.
    pub duration: Option<Nanos>,
    /// At most this many measured requests.
    pub requests: Option<u32>,
}

/// The rule of a schedule: everything that decides it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where requests come from.
    pub source: Source,
    /// What decides the arrivals.
    pub load: Load,
    /// Divides recorded arrivals (under [`Load::Replay`]) and the gaps inside conversations.
    pub speed: f64,
    /// What comes before the window.
    pub warmup: Warmup,
    /// How long the window is.
    pub limit: Limit,
    /// Start the trace again when it ends, each pass in a namespace of its own.
    pub repeat: bool,
    /// Overrides the trace's word on how answer lengths are decided.
    pub length: Option<OutputLength>,
    /// The run's seed.
    pub seed: u64,
}

/// A decided schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    /// For traces: how many children wait for each request.
    children: Arc<[u32]>,
    /// For open loops over traces with sessions or edges: for each request, the first of all that hang together with it.
    homes: Arc<[u32]>,
    /// For closed loops over traces.
    units: Arc<Units>,
}

/// A trace as a closed loop takes it: sessions in order of their first request, requests without one alone. Requests are
/// numbered in this order, so that the first n of a schedule are the first n units' and not what the trace interleaved.
#[derive(Clone, Debug, Default)]
struct Units {
    /// Positions in the trace, unit by unit.
    members: Vec<Vec<u32>>,
    /// By position in the trace: position in the order of units.
    ordinals: Vec<u32>,
}

/// What a schedule offers in all, before it runs.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Totals {
    /// Requests, warm-up included.
    pub requests: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Answer tokens asked for.
    pub output_tokens: u64,
    /// Due time of the last request with a due of its own.
    pub last_due: Nanos,
    /// Largest number of requests in flight if each took `ttft + output × tpot`.
    pub peak_concurrency: u32,
}

/// Entries in order.
pub type EntryStream = Box<dyn Iterator<Item = Entry> + Send>;

impl Schedule {
    /// Decides a schedule.
    ///
    /// # Errors
    /// What cannot be scheduled and which flag would help.
    pub fn new(rule: Rule) -> Result<Self, String> {
        let positive = |value: f64, name: &str| {
            if value > 0.0 && value.is_finite() { Ok(()) } else { Err(format!("{name} must be a positive number, not {value}")) }
        };
        positive(rule.speed, "--speed")?;
        match rule.load {
            Load::Replay | Load::Rescaled { .. } => {
                let Source::Trace(trace) = &rule.source else {
                    return Err("without a trace there are no recorded arrivals; give --rate, --arrivals or --concurrency".into());
                };
                if trace.requests.iter().any(|r| r.at.is_none() && r.after.is_empty()) {
                    return Err(format!(
                        "trace `{}` has requests without arrival times; give --arrivals poisson --rate R, or --concurrency",
                        trace.name
                    ));
                }
                if let Load::Rescaled { rate_per_s } = rule.load {
                    positive(rate_per_s, "--rate")?;
                    if trace.rate_per_s().is_none() {
                        return Err(format!("trace `{}` has no recorded rate to scale; give --arrivals poisson --rate R", trace.name));
                    }
                }
            }
            Load::Arrivals { process, rate_per_s } => {
                positive(rate_per_s, "--rate")?;
                if let ArrivalProcess::Gamma { cv } = process {
                    positive(cv, "--cv")?;
                }
            }
            Load::Closed { concurrency, .. } => {
                if concurrency == 0 {
                    return Err("--concurrency must be at least 1".into());
                }
            }
        }
        let endless = matches!(rule.source, Source::Fixed { .. }) || rule.repeat;
        if endless && rule.limit.duration.is_none() && rule.limit.requests.is_none() {
            return Err("this schedule has no end; give --duration or --requests".into());
        }
        let (mut children, mut homes_of, mut units) = (vec![], vec![], Units::default());
        if let Source::Trace(trace) = &rule.source {
            if trace.requests.is_empty() {
                return Err(format!("trace `{}` has no requests", trace.name));
            }
            if let Some(index) = points_forward(trace) {
                return Err(format!("request {index} of trace `{}` waits for one that is not before it; import it again", trace.name));
            }
            children = count_children(trace);
            if rule.load.is_closed() {
                units = Units::new(trace);
            } else {
                homes_of = homes(trace);
            }
        }
        Ok(Self { rule, children: children.into(), homes: homes_of.into(), units: Arc::new(units) })
    }

    /// The rule it was decided from.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Whether any prompt continues a live conversation, so that answers must be kept.
    pub fn uses_live(&self) -> bool {
        matches!(&self.rule.source, Source::Trace(trace) if trace.requests.iter().any(|r| matches!(r.prompt, Prompt::Live { .. })))
    }

    /// The streams of one shard. Together the shards' streams are exactly the schedule: what hangs together (a session, a
    /// request and those that wait for it) hashes to one shard with its absolute times kept, and lanes move whole, so splitting
    /// changes no arrival and no shard waits for another.
    pub fn streams(&self, shard: ShardId, shards: u16) -> Vec<EntryStream> {
        let shards = shards.max(1);
        if let Load::Closed { concurrency, think } = self.rule.load {
            return (0..concurrency)
                .filter(|lane| lane % u32::from(shards) == u32::from(shard.0))
                .map(|lane| Box::new(self.clone().lane(LaneId(lane), concurrency, think)) as EntryStream)
                .collect();
        }
        let homes = self.homes.clone();
        vec![Box::new(self.clone().open().filter(move |e| shard_of(e.request.id, &homes, shards) == shard))]
    }

    /// Identity of the schedule: rule, seed, trace content, and for an open loop every due in integer nanoseconds. The same on
    /// every platform, and knows no engine; tables require it equal.
    pub fn digest(&self) -> Digest {
        let mut d = Digester::new("schedule/1");
        let rule = &self.rule;
        match &rule.source {
            Source::Trace(trace) => d.text("trace").text(&trace.content_digest().to_string()),
            Source::Fixed { input_tokens, output_tokens } => d.text("fixed").int((*input_tokens).into()).int((*output_tokens).into()),
        };
        match rule.load {
            Load::Replay => d.text("replay"),
            Load::Rescaled { rate_per_s } => d.text("rescaled").float(rate_per_s),
            Load::Arrivals { process, rate_per_s } => {
                if let ArrivalProcess::Gamma { cv } = process {
                    d.float(cv);
                }
                d.text(process.name()).float(rate_per_s)
            }
            Load::Closed { concurrency, think } => d.text("closed").int(concurrency.into()).int(think.0),
        };
        d.float(rule.speed).int(rule.repeat.into()).int(rule.length.map_or(-1, |l| l as i64)).int(rule.seed as i64);
        match rule.warmup {
            Warmup::Time(t) => d.text("time").int(t.0),
            Warmup::Requests(n) => d.text("requests").int(n.into()),
        };
        d.int(rule.limit.duration.map_or(-1, |t| t.0)).int(rule.limit.requests.map_or(-1, i64::from));
        if !rule.load.is_closed() {
            for entry in self.clone().open() {
                if let Due::At(at) = entry.due {
                    d.int(entry.request.id.0.into()).int(at.0);
                }
            }
        }
        d.finish()
    }

    /// Sums over an open loop, or over a closed one with a number of requests. `None` where only time ends it.
    pub fn totals(&self, ttft: Nanos, tpot: Nanos) -> Option<Totals> {
        let mut totals = Totals::default();
        let mut lanes = 0;
        let mut moments: Vec<(Nanos, i32)> = vec![];
        let mut add = |entry: &Entry| {
            totals.requests += 1;
            totals.input_tokens += u64::from(entry.request.input_tokens);
            totals.output_tokens += u64::from(entry.request.output_tokens);
            if let Due::At(at) = entry.due {
                totals.last_due = totals.last_due.max(at);
                moments.push((at, 1));
                moments.push((at + ttft + tpot * i64::from(entry.request.output_tokens), -1));
            }
        };
        if let Load::Closed { concurrency, think } = self.rule.load {
            if self.requests_in_all().is_none() && (self.rule.repeat || matches!(self.rule.source, Source::Fixed { .. })) {
                return None;
            }
            for lane in 0..concurrency {
                let mut busy = false;
                for entry in self.clone().lane(LaneId(lane), concurrency, think) {
                    busy = true;
                    add(&entry);
                }
                lanes += u32::from(busy);
            }
            totals.peak_concurrency = lanes;
        } else {
            self.clone().open().for_each(|e| add(&e));
            moments.sort_unstable();
            let mut now = 0;
            for (_, step) in moments {
                now += step;
                totals.peak_concurrency = totals.peak_concurrency.max(now as u32);
            }
        }
        Some(totals)
    }

    /// All entries of an open loop, in order of the trace.
    fn open(self) -> impl Iterator<Item = Entry> + Send {
        let mut arrivals = self.arrivals();
        let mut index = 0_u64;
        let mut measured = 0_u32;
        let warmup = self.rule.warmup;
        let end = self.rule.limit.duration.map(|d| match warmup {
            Warmup::Time(t) => t + d,
            // The window of a counted warm-up opens at the first measured due, which is known when it comes.
            Warmup::Requests(_) => Nanos::MAX,
        });
        let mut end = end.unwrap_or(Nanos::MAX);
        let mut opened = false;
        // Roots at or after the end are left out, with all that waits for them; the children of earlier ones still follow.
        let mut left_out: HashSet<RequestId> = HashSet::new();
        let has_children = self.children.iter().any(|n| *n > 0);
        let pass = self.children.len() as u64;
        std::iter::from_fn(move || {
            loop {
                if !left_out.is_empty() && index.is_multiple_of(pass) {
                    // A child waits for requests of its own pass only.
                    return None;
                }
                let mut entry = self.entry(index)?;
                index += 1;
                opened |= matches!(warmup, Warmup::Requests(n) if entry.request.id.0 >= n);
                let out = match &mut entry.due {
                    Due::At(at) => {
                        *at = arrivals.next()?;
                        opened |= matches!(warmup, Warmup::Time(t) if *at >= t);
                        if let (true, Warmup::Requests(_), Some(duration), Nanos::MAX) = (opened, warmup, self.rule.limit.duration, end) {
                            end = *at + duration;
                        }
                        *at >= end
                    }
                    Due::After { edges, .. } => edges.iter().any(|e| left_out.contains(&e.request)),
                };
                let out = out || continued(&entry.request.prompt).any(|of| left_out.contains(&of));
                if out {
                    if !has_children {
                        return None;
                    }
                    left_out.insert(entry.request.id);
                    continue;
                }
                if opened {
                    if self.rule.limit.requests.is_some_and(|limit| measured >= limit) {
                        return None;
                    }
                    measured += 1;
                }
                return Some(entry);
            }
        })
    }

    /// The entry at `index` of the endless sequence of passes, with a placeholder due for roots.
    fn entry(&self, index: u64) -> Option<Entry> {
        let id = RequestId(u32::try_from(index).ok()?);
        let Source::Trace(trace) = &self.rule.source else {
            return Some(Entry { request: self.fixed(id), due: Due::At(Nanos::ZERO), lane: None, dependents: 0 });
        };
        let n = trace.requests.len() as u64;
        let (pass, position) = (index / n, (index % n) as usize);
        if pass > 0 && !self.rule.repeat {
            return None;
        }
        let recorded = &trace.requests[position];
        let due = if recorded.after.is_empty() {
            Due::At(Nanos::ZERO)
        } else {
            let shift = (pass * n) as u32;
            Due::After {
                join: recorded.join,
                edges: recorded
                    .after
                    .iter()
                    .map(|e| Edge { request: RequestId(e.request.0 + shift), gap: e.gap.scale(1.0 / self.rule.speed), ..*e })
                    .collect(),
            }
        };
        Some(Entry { request: self.traced(trace, position, id, pass as u32), due, lane: None, dependents: self.children[position] })
    }

    fn traced(&self, trace: &Trace, position: usize, id: RequestId, pass: u32) -> Request {
        let mut request = trace.request(position, id, pass);
        request.length = self.rule.length.unwrap_or(request.length);
        request
    }

    fn fixed(&self, id: RequestId) -> Request {
        let Source::Fixed { input_tokens, output_tokens } = self.rule.source else { unreachable!("called for fixed shapes only") };
        Request {
            id,
            session: None,
            turn: 0,
            class: 0,
            priority: 0,
            prompt: Prompt::Blocks(BlockPrompt::unique(0, u64::from(id.0), input_tokens)),
            input_tokens,
            output_tokens,
            length: self.rule.length.unwrap_or_default(),
        }
    }

    /// Due times of the roots, in order.
    fn arrivals(&self) -> Box<dyn Iterator<Item = Nanos> + Send> {
        if let Load::Arrivals { process, rate_per_s } = self.rule.load {
            return Box::new(process.times(rate_per_s, Stream::new(self.rule.seed, "arrivals")));
        }
        let Source::Trace(trace) = &self.rule.source else { return Box::new(std::iter::empty()) };
        let trace = trace.clone();
        let roots: Vec<u32> = (0..trace.requests.len() as u32).filter(|i| trace.requests[*i as usize].after.is_empty()).collect();
        let first = trace.requests[roots[0] as usize].at.unwrap_or_default();
        let factor = match self.rule.load {
            Load::Rescaled { rate_per_s } => {
                // The part that is replayed is what must have this mean: a trace's first minutes seldom have the mean of the whole.
                let part = self.wanted_roots(rate_per_s);
                let next = roots.get(part).map_or(Nanos::ZERO, |i| trace.requests[*i as usize].at.unwrap_or_default() - first);
                let recorded = if next.0 > 0 { Some(part as f64 / next.as_secs_f64()) } else { trace.rate_per_s() };
                recorded.unwrap_or(1.0) / rate_per_s
            }
            _ => 1.0 / self.rule.speed,
        };
        let span = trace.span().unwrap_or_default();
        // One pass follows another after a mean gap, so that the rate goes on.
        let pass_length = span + trace.rate_per_s().map_or(Nanos::from_secs(1), |rate| Nanos::from_secs_f64(1.0 / rate));
        let passes = if self.rule.repeat { u32::MAX } else { 1 };
        Box::new((0..passes).flat_map(move |pass| {
            let (trace, roots) = (trace.clone(), roots.clone());
            (0..roots.len()).map(move |i| {
                let at = trace.requests[roots[i] as usize].at.unwrap_or_default() - first;
                (at + Nanos(pass_length.0.saturating_mul(i64::from(pass)))).scale(factor)
            })
        }))
    }

    /// Requests of a closed loop with a number of requests, warm-up included. After a timed warm-up nobody knows it beforehand: then
    /// the run counts what is due in the window.
    fn requests_in_all(&self) -> Option<u32> {
        match (self.rule.limit.requests?, self.rule.warmup) {
            (n, Warmup::Requests(w)) => Some(n.saturating_add(w)),
            (n, Warmup::Time(Nanos::ZERO)) => Some(n),
            (_, Warmup::Time(_)) => None,
        }
    }

    /// How many roots a run at this rate asks for; more than there are when nothing limits it.
    fn wanted_roots(&self, rate_per_s: f64) -> usize {
        let in_time = |t: Nanos| libm::round(t.as_secs_f64() * rate_per_s) as usize;
        let before = match self.rule.warmup {
            Warmup::Time(t) => in_time(t),
            Warmup::Requests(n) => n as usize,
        };
        let by_time = self.rule.limit.duration.map_or(usize::MAX, in_time);
        let by_count = self.rule.limit.requests.map_or(usize::MAX, |n| n as usize);
        before.saturating_add(by_time.min(by_count))
    }

    /// The entries of one lane: units `lane`, `lane + C`, `lane + 2C`, …
    fn lane(self, lane: LaneId, concurrency: u32, think: Nanos) -> impl Iterator<Item = Entry> + Send {
        let total = self.requests_in_all();
        let mut unit = u64::from(lane.0);
        let mut inside = 0_usize;
        let mut previous: Option<(RequestId, u32)> = None;
        std::iter::from_fn(move || {
            let (request, position, more) = match &self.rule.source {
                Source::Fixed { .. } => (self.fixed(RequestId(u32::try_from(unit).ok()?)), 0, false),
                Source::Trace(trace) => {
                    let n = self.units.members.len() as u64;
                    let pass = unit / n;
                    if pass > 0 && !self.rule.repeat {
                        return None;
                    }
                    let members = &self.units.members[(unit % n) as usize];
                    (self.taken(trace, members[inside], pass)?, members[inside], inside + 1 < members.len())
                }
            };
            let id = request.id;
            if total.is_some_and(|total| id.0 >= total) {
                return None;
            }
            let due = match previous {
                None => Due::At(Nanos::ZERO),
                Some(previous) if inside > 0 => self.turn_edge(previous, position, think),
                Some((previous, _)) => Due::After {
                    join: Join::All,
                    edges: vec![Edge { request: previous, on: Moment::End, gap: think, kind: EdgeKind::Order }],
                },
            };
            previous = Some((id, position));
            if more {
                inside += 1;
            } else {
                inside = 0;
                unit += u64::from(concurrency);
            }
            Some(Entry { request, due, lane: Some(lane), dependents: 1 })
        })
    }

    /// The request at `position` of the trace as a closed loop takes it: numbered in the order of units.
    fn taken(&self, trace: &Trace, position: u32, pass: u64) -> Option<Request> {
        let base = u32::try_from(pass * trace.requests.len() as u64).ok()?;
        let id = |position: u32| base.checked_add(self.units.ordinals[position as usize]);
        let mut request = self.traced(trace, position as usize, RequestId(base.checked_add(position)?), pass as u32);
        request.id = RequestId(id(position)?);
        let mut prompt = &mut request.prompt;
        while let Prompt::Live { of, add } = prompt {
            of.0 = id(of.0 - base)?;
            prompt = add;
        }
        Some(request)
    }

    /// The edge from one turn of a session to the next inside a lane: the recorded gap, else the think time.
    fn turn_edge(&self, (previous, before): (RequestId, u32), position: u32, think: Nanos) -> Due {
        let Source::Trace(trace) = &self.rule.source else { unreachable!("only traces have sessions") };
        let recorded = trace.requests[position as usize].after.iter().find(|e| e.request.0 == before);
        let edge = match recorded {
            Some(e) => Edge { request: previous, gap: e.gap.scale(1.0 / self.rule.speed), ..*e },
            None => Edge { request: previous, on: Moment::End, gap: think, kind: EdgeKind::Needs },
        };
        Due::After { join: Join::All, edges: vec![edge] }
    }
}

/// Which shard a request of an open loop belongs to: that of what it hangs together with.
fn shard_of(id: RequestId, homes: &[u32], shards: u16) -> ShardId {
    let n = homes.len() as u32;
    let home = if n == 0 { id.0 } else { id.0 - id.0 % n + homes[(id.0 % n) as usize] };
    ShardId((mix(u64::from(home) | 1 << 40) % u64::from(shards)) as u16)
}

/// The first request that waits for, or continues, one that is not before it.
fn points_forward(trace: &Trace) -> Option<usize> {
    let forward = |index: usize, of: RequestId| of.0 as usize >= index;
    trace
        .requests
        .iter()
        .enumerate()
        .position(|(index, r)| r.after.iter().any(|e| forward(index, e.request)) || continued(&r.prompt).any(|of| forward(index, of)))
}

/// The earlier requests whose live conversation a prompt continues.
fn continued(prompt: &Prompt) -> impl Iterator<Item = RequestId> {
    let mut rest = prompt;
    std::iter::from_fn(move || {
        let Prompt::Live { of, add } = rest else { return None };
        rest = add;
        Some(*of)
    })
}

/// For each request the first one that it hangs together with, through its session, its edges or a live conversation. Empty
/// when every request stands alone.
fn homes(trace: &Trace) -> Vec<u32> {
    let alone = |r: &TraceRequest| r.session.is_none() && r.after.is_empty() && !matches!(r.prompt, Prompt::Live { .. });
    if trace.requests.iter().all(alone) {
        return vec![];
    }
    let mut homes: Vec<u32> = (0..trace.requests.len() as u32).collect();
    // Every link goes to a smaller position, so following them ends at the smallest of the group.
    fn find(homes: &mut [u32], mut at: u32) -> u32 {
        while homes[at as usize] != at {
            homes[at as usize] = homes[homes[at as usize] as usize];
            at = homes[at as usize];
        }
        at
    }
    let mut sessions = HashMap::new();
    for (index, r) in trace.requests.iter().enumerate() {
        let index = index as u32;
        let first_of_session = r.session.map(|session| *sessions.entry(session).or_insert(index));
        for other in r.after.iter().map(|e| e.request).chain(continued(&r.prompt)).map(|id| id.0).chain(first_of_session) {
            let (a, b) = (find(&mut homes, index), find(&mut homes, other));
            homes[a.max(b) as usize] = a.min(b);
        }
    }
    for index in 0..homes.len() as u32 {
        homes[index as usize] = find(&mut homes, index);
    }
    homes
}

fn count_children(trace: &Trace) -> Vec<u32> {
    let mut children = vec![0; trace.requests.len()];
    for edge in trace.requests.iter().flat_map(|r| &r.after) {
        children[edge.request.0 as usize] += 1;
    }
    children
}

impl Units {
    fn new(trace: &Trace) -> Self {
        let mut members: Vec<Vec<u32>> = vec![];
        let mut of_session = HashMap::new();
        for (index, request) in trace.requests.iter().enumerate() {
            match request.session {
                None => members.push(vec![index as u32]),
                Some(session) => {
                    let unit = *of_session.entry(session).or_insert_with(|| {
                        members.push(vec![]);
                        members.len() - 1
                    });
                    members[unit].push(index as u32);
                }
            }
        }
        let mut ordinals = vec![0; trace.requests.len()];
        for (ordinal, position) in members.iter().flatten().enumerate() {
            ordinals[*position as usize] = ordinal as u32;
        }
        Self { members, ordinals }
    }
}
