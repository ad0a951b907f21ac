//! Another trace like one that was recorded: its sessions, and its requests without one, drawn again with replacement (Efron's bootstrap),
//! so that what hangs together stays together. What several sessions share they share still; what is one session's alone is new in every
//! further draw of it, so that a cache does not find a second draw whole.

use super::law::{RATES, micros};
use super::settings::option;
use super::{Generator, MOST_REQUESTS, OptionDef, Settings, made};
use crate::error::TraceError;
use crate::import::{ImportOptions, MAX_BLOCK_ID, open};
use crate::policy::{groups, order};
use crate::sample::bundled_chat;
use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::prompt::{BlockRange, Part, Prompt};
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::rng::Stream;
use nomoat_core::trace::Trace;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The generator.
pub(crate) struct Resample;

impl Generator for Resample {
    fn name(&self) -> &'static str {
        "resample"
    }

    fn about(&self) -> &'static str {
        "the sessions of any trace drawn again with replacement, at its rate or another"
    }

    fn options(&self) -> &'static [OptionDef] {
        const OPTIONS: &[OptionDef] = &[
            option("trace", "file", "", "what to draw from, in any format that is read; the bundled chat trace if none is given"),
            option("sessions", "sessions", "500", "how many sessions (and requests without one) to draw"),
            option("rate", "sessions/s", "", "Poisson arrivals of them; without it at the mean rate of the trace, if it has one"),
        ];
        OPTIONS
    }

    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError> {
        let draws = settings.whole("sessions", 1..=MOST_REQUESTS)?;
        let rate = settings.number_if_given("rate", RATES)?;
        let source = match settings.text("trace") {
            Some(path) => open(Path::new(path), None, &ImportOptions { seed, ..ImportOptions::default() })?,
            None => bundled_chat()?,
        };
        let members = members(&source);
        let mut contents = Contents::of(&source, &members);
        let (mut picks, arrivals) = (Stream::new(seed, "gen/resample/picks"), Stream::new(seed, "gen/resample/arrivals"));
        let rate = rate.or_else(|| source.rate_per_s());
        let mut times = rate.map(|rate| ArrivalProcess::Poisson.times(rate, arrivals));
        let (mut requests, mut sessions, mut drawn) = (vec![], 0_u32, HashSet::new());
        for _ in 0..draws {
            let pick = picks.below(members.len() as u64) as usize;
            let is_again = !drawn.insert(pick);
            let begin = times.as_mut().and_then(Iterator::next).map(micros);
            let first = members[pick].first().and_then(|index| source.requests[*index as usize].at);
            let (mut moved, mut named, mut fresh) = (HashMap::new(), HashMap::new(), HashMap::new());
            for index in &members[pick] {
                let id = requests.len() as u32;
                let mut request = source.requests[*index as usize].clone();
                request.session = request.session.map(|session| {
                    *named.entry(session).or_insert_with(|| {
                        sessions += 1;
                        SessionId(sessions - 1)
                    })
                });
                // Parents are of the same group and before their children.
                request.after.iter_mut().for_each(|edge| edge.request = RequestId(moved[&edge.request.0]));
                contents.rename(&mut request.prompt, id, is_again.then_some(&mut fresh), &moved);
                let later = request.at.zip(first).map(|(at, first)| at - first);
                request.at = match (begin, request.after.is_empty()) {
                    (Some(begin), true) => Some(begin + later.unwrap_or_default()),
                    (Some(begin), false) => later.map(|later| begin + later),
                    (None, _) => None,
                };
                moved.insert(*index, id);
                requests.push(request);
            }
            if requests.len() as u64 > MOST_REQUESTS || contents.next > MAX_BLOCK_ID {
                return Err(settings.wrong("sessions", &format!("so few that they have at most {MOST_REQUESTS} requests and 2^53 blocks")));
            }
        }
        let mut d = settings.digester(1, seed);
        d.text(&source.source.to_string());
        let mut trace = Trace { requests, source: d.finish(), ..made(settings, 1, seed) };
        // Where a file lies is nobody's business, and the digest says which it was.
        trace.name = format!("resample({})", source.name);
        (trace.origin, trace.tokenizer) = (source.origin, source.tokenizer);
        (trace.classes, trace.adapters) = (source.classes, source.adapters);
        trace.losses = source.losses;
        trace.losses.push(format!("{draws} draws with replacement from {} sessions of `{}`", members.len(), source.name));
        order(&mut trace);
        Ok(trace)
    }
}

/// The requests that hang together, by position.
fn members(trace: &Trace) -> Vec<Vec<u32>> {
    let mut members: Vec<Vec<u32>> = vec![];
    let mut position: HashMap<u32, usize> = HashMap::new();
    for (index, group) in groups(trace).into_iter().enumerate() {
        let at = *position.entry(group).or_insert_with(|| {
            members.push(vec![]);
            members.len() - 1
        });
        members[at].push(index as u32);
    }
    members
}

/// A block or piece: its name space and its id.
type Content = (u64, u64);

/// Who uses which content.
struct Contents {
    /// Used by more than one session.
    shared: HashSet<Content>,
    /// An id that nothing has yet.
    next: u64,
}

impl Contents {
    fn of(trace: &Trace, members: &[Vec<u32>]) -> Self {
        let (mut owner, mut shared, mut next): (HashMap<Content, usize>, _, _) = (HashMap::new(), HashSet::new(), 0);
        for (session, members) in members.iter().enumerate() {
            // Prompts of a conversation repeat their beginning: a run is looked at as far as it is new.
            let mut looked: HashMap<Content, u32> = HashMap::new();
            for index in members {
                for (space, range) in runs(&trace.requests[*index as usize].prompt) {
                    let known = looked.entry((space, range.first)).or_default();
                    for id in range.first + u64::from(*known)..range.first + u64::from(range.count) {
                        if *owner.entry((space, id)).or_insert(session) != session {
                            shared.insert((space, id));
                        }
                        next = next.max(id + 1);
                    }
                    *known = range.count.max(*known);
                }
            }
        }
        Self { shared, next }
    }

    /// Gives a prompt of request `id` an end of its own, and of a further draw everything that is one session's alone.
    fn rename(&mut self, prompt: &mut Prompt, id: u32, mut fresh: Option<&mut HashMap<Content, u64>>, moved: &HashMap<u32, u32>) {
        let mut renamed = |content: Content, fresh: &mut HashMap<Content, u64>| {
            if self.shared.contains(&content) {
                return content.1;
            }
            *fresh.entry(content).or_insert_with(|| {
                self.next += 1;
                self.next - 1
            })
        };
        match prompt {
            Prompt::Blocks(p) => {
                p.unshared = id.into();
                let Some(fresh) = fresh else { return };
                let mut blocks: Vec<BlockRange> = vec![];
                for block in p.blocks.iter().flat_map(|range| range.first..range.first + u64::from(range.count)) {
                    let block = renamed((p.namespace, block), fresh);
                    match blocks.last_mut() {
                        Some(last) if last.first + u64::from(last.count) == block => last.count += 1,
                        _ => blocks.push(BlockRange { first: block, count: 1 }),
                    }
                }
                p.blocks = blocks.into();
            }
            Prompt::Parts(p) => {
                let Some(fresh) = fresh else { return };
                p.parts = p.parts.iter().map(|part| Part { id: renamed((p.namespace, part.id), fresh), ..*part }).collect();
            }
            Prompt::Live { of, add } => {
                of.0 = moved.get(&of.0).copied().unwrap_or(of.0);
                self.rename(add, id, fresh.take(), moved);
            }
            // Recorded content is what was recorded, in every draw.
            Prompt::Text(_) | Prompt::Messages(_) | Prompt::Ids(_) => {}
        }
    }
}

/// The blocks or pieces of a prompt as runs of ids, with their name space.
fn runs(prompt: &Prompt) -> Vec<(u64, BlockRange)> {
    match prompt {
        Prompt::Blocks(p) => p.blocks.iter().map(|range| (p.namespace, *range)).collect(),
        Prompt::Parts(p) => p.parts.iter().map(|part| (p.namespace, BlockRange { first: part.id, count: 1 })).collect(),
        Prompt::Live { add, .. } => runs(add),
        Prompt::Text(_) | Prompt::Messages(_) | Prompt::Ids(_) => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;
    use crate::{SharingOptions, stats, write_canonical};

    fn written(trace: &Trace) -> (tempdir::Place, String) {
        let place = tempdir::Place::new();
        let path = place.0.join("source.jsonl");
        let mut bytes = vec![];
        write_canonical(trace, &mut bytes).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let text = format!("trace={}", path.display());
        (place, text)
    }

    mod tempdir {
        use std::sync::atomic::{AtomicU32, Ordering};

        /// A folder that goes away with its name.
        pub struct Place(pub std::path::PathBuf);

        impl Place {
            pub fn new() -> Self {
                static NEXT: AtomicU32 = AtomicU32::new(0);
                let name = format!("nomoat-resample-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
                let path = std::env::temp_dir().join(name);
                std::fs::create_dir_all(&path).unwrap();
                Self(path)
            }
        }

        impl Drop for Place {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }

    #[test]
    fn draws_are_like_their_source() {
        let source = stats(&bundled_chat().unwrap(), &SharingOptions::default());
        let drawn = stats(&generate("resample", 4, &["sessions=20000"]).unwrap(), &SharingOptions::default());
        let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 0.03, "{a}, not {b}");
        near(drawn.input.mean, source.input.mean);
        near(drawn.output.mean, source.output.mean);
        near(drawn.arrivals.rate_per_s.unwrap(), source.arrivals.rate_per_s.unwrap());
        near(drawn.arrivals.gap_cv.unwrap(), 1.0);
        // A system prompt is shared by all draws; a question by none. The blocks are the system prompts' three.
        let share = |s: &crate::TraceStats| s.sharing.as_ref().unwrap().of_tokens(s.sharing.as_ref().unwrap().engine[0].1).unwrap();
        assert!((share(&drawn) - share(&source)).abs() < 0.02, "{} {}", share(&drawn), share(&source));
        assert_eq!(drawn.sharing.unwrap().unique, 3);
    }

    #[test]
    fn sessions_stay_whole_and_draws_apart() {
        let source = generate("multi-turn", 1, &["sessions=3", "turns=3", "system=160", "rate=1"]).unwrap();
        let (_place, file) = written(&source);
        let trace = generate("resample", 9, &[file.as_str(), "sessions=30", "rate=2"]).unwrap();
        assert_eq!(trace.requests.len(), 90);
        assert_eq!(trace.name, "resample(multi-turn(sessions=3,turns=3,system=160,rate=1))");
        let sessions: HashSet<_> = trace.requests.iter().map(|r| r.session).collect();
        assert_eq!(sessions.len(), 30);
        for (index, r) in trace.requests.iter().enumerate() {
            assert!(r.after.iter().all(|edge| (edge.request.0 as usize) < index));
            assert!(r.after.iter().all(|edge| trace.requests[edge.request.0 as usize].session == r.session));
        }
        let roots: Vec<_> = trace.requests.iter().filter(|r| r.after.is_empty()).map(|r| r.at.unwrap()).collect();
        assert!(roots.len() == 30 && roots.is_sorted());
        // A first turn finds the system prompt and nothing of an earlier draw of the same session.
        let options = SharingOptions { engine_blocks: vec![1], ..SharingOptions::default() };
        let found = stats(&trace, &options).sharing.unwrap().engine[0].1;
        let of_turns: u64 = trace.requests.iter().filter(|r| r.turn < 2).map(|r| u64::from(r.input_tokens)).sum();
        assert_eq!(found, of_turns + 29 * 160);
    }
}
