//! Open loops: entries in the order of the trace, roots at their arrivals, children after their parents.

use super::links::continued;
use super::{Due, Entry, Load, Schedule, Source, Warmup};
use crate::prompt::{BlockPrompt, Prompt};
use crate::request::{Request, RequestId};
use crate::rng::Stream;
use crate::trace::{Edge, Trace};
use crate::units::Nanos;
use std::collections::HashSet;

impl Schedule {
    /// All entries of an open loop, in order of the trace.
    pub(super) fn open(self) -> impl Iterator<Item = Entry> + Send {
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
            return Some(Entry { request: self.fixed(id), due: Due::At(Nanos::ZERO), lane: None, dependents: 0, apart: false });
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
        Some(Entry {
            request: self.traced(trace, position, id, pass as u32),
            due,
            lane: None,
            dependents: self.children[position],
            apart: false,
        })
    }

    pub(super) fn traced(&self, trace: &Trace, position: usize, id: RequestId, pass: u32) -> Request {
        let mut request = trace.request(position, id, pass);
        request.length = self.rule.length.unwrap_or(request.length);
        request
    }

    pub(super) fn fixed(&self, id: RequestId) -> Request {
        let Source::Fixed { input_tokens, output_tokens } = self.rule.source else { unreachable!("called for fixed shapes only") };
        let prompt = Prompt::Blocks(BlockPrompt::unique(0, u64::from(id.0), input_tokens));
        Request { length: self.rule.length.unwrap_or_default(), ..Request::new(id, prompt, input_tokens, output_tokens) }
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

    /// How many roots a run at this rate asks for; more than there are when nothing limits it.
    pub(super) fn wanted_roots(&self, rate_per_s: f64) -> usize {
        let in_time = |t: Nanos| libm::round(t.as_secs_f64() * rate_per_s) as usize;
        let before = match self.rule.warmup {
            Warmup::Time(t) => in_time(t),
            Warmup::Requests(n) => n as usize,
        };
        let by_time = self.rule.limit.duration.map_or(usize::MAX, in_time);
        let by_count = self.rule.limit.requests.map_or(usize::MAX, |n| n as usize);
        before.saturating_add(by_time.min(by_count))
    }
}
