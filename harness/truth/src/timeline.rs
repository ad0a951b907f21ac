//! The plan of one streamed answer: every event with its time, faults worked in. Pure: no bytes, no clock.

use crate::ask::{Ask, Endpoint};
use crate::fault::Fault;
use crate::script::Script;
use nomoat_core::units::Nanos;

/// One thing to write or do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A comment line.
    Comment,
    /// The chunk that has a role and no text.
    Role,
    /// Generated text.
    Tokens {
        /// How many.
        count: u32,
        /// Carries the finish reason.
        last: bool,
    },
    /// A chunk with empty text.
    Empty,
    /// An error object; flat is the older form.
    Error {
        /// Without the `error` field around it.
        flat: bool,
    },
    /// An event that is no JSON.
    BadJson,
    /// An HTTP chunk whose size is no number.
    BadChunkSize,
    /// The usage chunk without choices.
    Usage,
    /// `[DONE]`.
    Done,
    /// Text after `[DONE]`.
    AfterDone,
    /// The last HTTP chunk.
    End,
    /// Close the connection.
    Close,
    /// Reset the connection.
    Reset,
}

/// A step with its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timed {
    /// From the request's completion.
    pub at: Nanos,
    /// What to do.
    pub step: Step,
    /// Goes out in the same write as the step after it.
    pub joined: bool,
}

/// The plan of a streamed answer.
pub struct Timeline {
    /// In order of time; the last one ends the answer.
    pub steps: Vec<Timed>,
    /// Whether a fault cuts the answer short or breaks it.
    pub broken: bool,
}

impl Timeline {
    /// The plan of the answer to `ask`, the server's request `ordinal`.
    pub fn new(script: &Script, fault: Option<Fault>, ask: &Ask, ordinal: u64) -> Self {
        let events = ask.tokens.div_ceil(script.tokens_per_chunk) as usize;
        let mut plan = Self { steps: Vec::with_capacity(events + 5), broken: false };
        plan.opening(script, fault, ask, ordinal);
        let end = plan.tokens(script, fault, ask, ordinal);
        if plan.broken && !matches!(plan.steps.last(), Some(Timed { step: Step::Tokens { last: true, .. }, .. })) {
            return plan;
        }
        if ask.usage && fault != Some(Fault::NoUsage) {
            plan.push(end, Step::Usage);
        }
        if fault != Some(Fault::NoDone) {
            plan.push(end, Step::Done);
        }
        if fault == Some(Fault::AfterDone) {
            plan.push(end, Step::AfterDone);
        }
        plan.push(end, Step::End);
        plan
    }

    fn push(&mut self, at: Nanos, step: Step) {
        self.steps.push(Timed { at, step, joined: false });
    }

    /// What comes before the first token.
    fn opening(&mut self, script: &Script, fault: Option<Fault>, ask: &Ask, ordinal: u64) {
        let first = script.chunks(ordinal, ask.tokens).next().map_or(Nanos::ZERO, |(at, _)| at);
        if let Some(Fault::Comments(count)) = fault {
            let parts = i64::from(count) + 1;
            for part in 1..parts {
                self.push(Nanos(first.0 / parts * part), Step::Comment);
            }
        }
        if script.role_chunk && ask.endpoint == Endpoint::Chat {
            self.push(script.role_delay.min(first), Step::Role);
        }
        self.steps.sort_by_key(|timed| timed.at);
    }

    /// The tokens, up to a fault that ends them; gives the time of the last.
    fn tokens(&mut self, script: &Script, fault: Option<Fault>, ask: &Ask, ordinal: u64) -> Nanos {
        let (mut sent, mut previous) = (0, Nanos::ZERO);
        let mut inserted = false;
        for (at, count) in script.chunks(ordinal, ask.tokens) {
            if self.break_off(fault, sent, at) {
                return at;
            }
            match fault {
                Some(Fault::EmptyChunk(k)) if sent >= k && !inserted => {
                    self.push(Nanos(i64::midpoint(previous.0, at.0)), Step::Empty);
                    inserted = true;
                }
                Some(Fault::BadJson(k)) if sent >= k && !inserted => {
                    self.push(at, Step::BadJson);
                    (inserted, self.broken) = (true, true);
                }
                _ => {}
            }
            sent += count;
            self.push(at, Step::Tokens { count, last: sent == ask.tokens });
            previous = at;
        }
        if let Some(Fault::Coalesce(group)) = fault {
            let from = self.steps.iter().position(|t| matches!(t.step, Step::Tokens { .. })).unwrap_or(self.steps.len());
            for events in self.steps[from..].chunks_mut(group as usize) {
                let at = events.last().map_or(previous, |last| last.at);
                let last = events.len() - 1;
                for (index, event) in events.iter_mut().enumerate() {
                    (event.at, event.joined) = (at, index < last);
                }
            }
        }
        previous
    }

    /// Ends the answer at `at` when the fault asks for it after `sent` tokens.
    fn break_off(&mut self, fault: Option<Fault>, sent: u32, at: Nanos) -> bool {
        let steps: &[Step] = match fault {
            Some(Fault::ErrorAfter(k)) if sent >= k => &[Step::Error { flat: false }, Step::Done, Step::End],
            Some(Fault::FlatErrorAfter(k)) if sent >= k => &[Step::Error { flat: true }, Step::Done, Step::End],
            Some(Fault::CloseAfter(k)) if sent >= k => &[Step::Close],
            Some(Fault::EndAfter(k)) if sent >= k => &[Step::End],
            Some(Fault::ResetAfter(k)) if sent >= k => &[Step::Reset],
            Some(Fault::BadChunkSize(k)) if sent >= k => &[Step::BadChunkSize, Step::Close],
            _ => return false,
        };
        steps.iter().for_each(|step| self.push(at, *step));
        self.broken = true;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{AfterDone, BadChunkSize, BadJson, Close, Comment, Done, Empty, End, Error, Reset, Role, Usage};

    fn ask(endpoint: Endpoint, tokens: u32, usage: bool) -> Ask {
        Ask { endpoint, stream: true, usage, continuous: false, prompt_tokens: 1, tokens, at_limit: true, forced: true }
    }

    const fn one(last: bool) -> Step {
        Step::Tokens { count: 1, last }
    }

    #[test]
    fn plans() {
        let check = |script: &str, chat: bool, expected: &[(i64, Step)], broken: bool| {
            let script = Script::parse(&format!("ttft=20ms,itl=10ms,{script}")).unwrap();
            let endpoint = if chat { Endpoint::Chat } else { Endpoint::Completion };
            let plan = Timeline::new(&script, script.fault_of(0), &ask(endpoint, 3, true), 0);
            let got: Vec<_> = plan.steps.iter().map(|t| (t.at.0 / 1_000_000, t.step)).collect();
            assert_eq!(got, expected, "{script:?}");
            assert_eq!(plan.broken, broken, "{script:?}");
        };
        let whole = [(20, one(false)), (30, one(false)), (40, one(true)), (40, Usage), (40, Done), (40, End)];
        let with = |at: usize, steps: &[(i64, Step)]| {
            let mut plan = whole.to_vec();
            plan.splice(at..at, steps.iter().copied());
            plan
        };
        let cut = |keep: usize, steps: &[(i64, Step)]| [&whole[..keep], steps].concat();
        check("", false, &whole, false);
        check("", true, &with(0, &[(0, Role)]), false);
        check("role_delay=5ms", true, &with(0, &[(5, Role)]), false);
        check("role_delay=1s", true, &with(0, &[(20, Role)]), false);
        check("role_chunk=false", true, &whole, false);
        check(
            "tokens_per_chunk=2",
            false,
            &[(20, Step::Tokens { count: 2, last: false }), (30, one(true)), (30, Usage), (30, Done), (30, End)],
            false,
        );
        check("fault=comments:3", false, &with(0, &[(5, Comment), (10, Comment), (15, Comment)]), false);
        check("fault=comments:1,role_delay=20ms", true, &with(0, &[(10, Comment), (20, Role)]), false);
        check("fault=error_after:1", false, &cut(1, &[(30, Error { flat: false }), (30, Done), (30, End)]), true);
        check("fault=flat_error_after:2", false, &cut(2, &[(40, Error { flat: true }), (40, Done), (40, End)]), true);
        check("fault=close_after:0", true, &[(0, Role), (20, Close)], true);
        check("fault=close_after:2", false, &cut(2, &[(40, Close)]), true);
        check("fault=close_after:3", false, &whole, false);
        check("fault=end_after:1", false, &cut(1, &[(30, End)]), true);
        check("fault=reset_after:1", false, &cut(1, &[(30, Reset)]), true);
        check("fault=bad_chunk_size:1", false, &cut(1, &[(30, BadChunkSize), (30, Close)]), true);
        check("fault=bad_json:1", false, &with(1, &[(30, BadJson)]), true);
        check("fault=empty_chunk:1", false, &with(1, &[(25, Empty)]), false);
        check("fault=no_usage", false, &[&whole[..3], &whole[4..]].concat(), false);
        check("fault=no_done", false, &[&whole[..4], &whole[5..]].concat(), false);
        check("fault=after_done", false, &with(5, &[(40, AfterDone)]), false);
        check("fault=close_after:1,fault_every=2", false, &whole, false);
    }

    #[test]
    fn coalesced_events_share_the_last_time() {
        let script = Script::parse("ttft=20ms,itl=10ms,fault=coalesce:2").unwrap();
        let plan = Timeline::new(&script, script.fault, &ask(Endpoint::Chat, 3, false), 0);
        let got: Vec<_> = plan.steps.iter().map(|t| (t.at.0 / 1_000_000, t.step, t.joined)).collect();
        let expected = [
            (0, Role, false),
            (30, one(false), true),
            (30, one(false), false),
            (40, one(true), false),
            (40, Done, false),
            (40, End, false),
        ];
        assert_eq!(got, expected);
    }
}
