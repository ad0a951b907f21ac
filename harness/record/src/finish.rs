//! Rows to a trace. What could not be recorded as it was becomes a loss, in words.

use crate::ask::Kind;
use crate::identity::{BYTES_PER_TOKEN, Identity};
use crate::row::{Outcome, Row};
use crate::tap::{Loss, MAX_BODY, Shared};
use nomoat_core::prompt::{BlockPrompt, Part, PartPrompt, Prompt};
use nomoat_core::request::{Cancel, OutputLength, RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, EdgeKind, Moment, Recorded, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;

/// Longest prompt or answer a trace holds.
const MAX_TOKENS: u64 = 1 << 24;

/// What was recorded.
#[derive(Debug)]
pub struct Recording {
    /// The trace; its losses say what is not in it.
    pub trace: Trace,
    /// Requests of recorded kinds that are not in the trace.
    pub lost: u64,
    /// Requests that went by unrecorded, as they should: other paths, other methods.
    pub passed: u64,
    /// Requests that the proxy refused itself.
    pub refused: u64,
}

/// What was counted on the way.
pub struct Tally {
    pub lost: BTreeMap<Loss, u64>,
    pub models: usize,
    pub keep_text: bool,
}

/// How many requests have something that the trace cannot say.
#[derive(Default)]
struct Counts {
    by_bytes: u64,
    estimated: u64,
    by_events: u64,
    unknown: u64,
    left: u64,
    several: u64,
    media: u64,
}

pub fn recording(name: &str, rows: Vec<Row>, tally: Tally, identity: &Identity, shared: &Shared) -> Recording {
    let mut order: Vec<usize> = (0..rows.len()).filter(|index| !rows[*index].is_lost && rows[*index].ended.is_some()).collect();
    order.sort_by_key(|index| (rows[*index].arrived, *index));
    let position: HashMap<usize, u32> = order.iter().enumerate().map(|(position, index)| (*index, position as u32)).collect();
    let begin = order.first().map_or(Nanos::ZERO, |index| rows[*index].arrived);
    let kinds: BTreeSet<Kind> = order.iter().map(|index| rows[*index].kind).collect();
    let mut pieces = Pieces::new(order.iter().map(|index| &rows[*index]), identity);
    let mut counts = Counts::default();
    let mut requests = Vec::with_capacity(order.len());
    for (id, index) in order.iter().enumerate() {
        let row = &rows[*index];
        let outcome = row.outcome();
        let input_tokens = input_tokens(row, &mut counts);
        let prompt = row.kept.clone().unwrap_or_else(|| {
            counts.by_bytes += u64::from(!row.outline.is_exact);
            pieces.prompt(row, id as u64, input_tokens)
        });
        counts.several += u64::from(row.is_several);
        counts.media += u64::from(row.has_media);
        let (end, _) = row.ended.unwrap_or((row.sent, Outcome::Broken));
        let parent = row.parent.and_then(|index| Some((&rows[index as usize], *position.get(&(index as usize))?)));
        let at_length = row.answer.at_length && outcome == Outcome::Complete && !row.is_several;
        requests.push(TraceRequest {
            at: Some(micros(row.arrived - begin)),
            after: parent.map(|(parent, id)| edge(parent, RequestId(id), row, begin)).into_iter().collect(),
            session: row.session.map(SessionId),
            turn: row.turn,
            class: kinds.iter().position(|kind| *kind == row.kind).unwrap_or(0) as u16,
            length: if at_length { OutputLength::Exact } else { OutputLength::Cap },
            cancel: (outcome == Outcome::Left).then(|| Cancel::After(micros((end - row.sent).max(Nanos::ZERO)))),
            recorded: Some(Box::new(Recorded {
                ttft: row.answer.first.map(|first| micros(first - row.arrived)),
                e2e: (outcome == Outcome::Complete).then(|| micros(end - row.arrived)),
                cached_tokens: row.answer.cached_tokens,
                failed: (outcome != Outcome::Left).then_some(outcome == Outcome::Broken),
            })),
            ..TraceRequest::new(prompt, input_tokens, output_tokens(row, outcome, &mut counts))
        });
    }
    let mut trace = Trace { name: name.to_owned(), requests, ..Trace::default() };
    if !kinds.is_empty() {
        trace.classes = kinds.iter().map(|kind| kind.name().to_owned()).collect();
    }
    // Nobody else has this content: it is its own source.
    trace.source = trace.content_digest();
    let other_posts = shared.other_posts.load(Ordering::Relaxed);
    trace.losses = losses(&counts, &tally, other_posts, identity.block_units(false));
    Recording {
        trace,
        lost: tally.lost.values().sum(),
        passed: other_posts + shared.others.load(Ordering::Relaxed),
        refused: shared.refused.load(Ordering::Relaxed),
    }
}

/// A trace's times are whole microseconds.
fn micros(time: Nanos) -> Nanos {
    Nanos(time.0 - time.0.rem_euclid(1_000))
}

fn edge(parent: &Row, id: RequestId, child: &Row, begin: Nanos) -> Edge {
    let (end, _) = parent.ended.unwrap_or((parent.sent, Outcome::Broken));
    let gap = (micros(child.arrived - begin) - micros(end - begin)).max(Nanos::ZERO);
    // What went on although the request before it was cancelled or failed does so in a replay.
    if parent.outcome() != Outcome::Complete {
        return Edge { request: id, on: Moment::End, gap, kind: EdgeKind::Order, cause: Cause::Unsaid };
    }
    Edge::after_end(id, gap, if child.after_tool { Cause::Tool } else { Cause::Think })
}

fn tokens(n: u64) -> u32 {
    n.clamp(1, MAX_TOKENS) as u32
}

fn input_tokens(row: &Row, counts: &mut Counts) -> u32 {
    match row.answer.input_tokens {
        _ if row.outline.is_exact => tokens(row.outline.units),
        Some(n) if n > 0 => tokens(n.into()),
        _ => {
            counts.estimated += 1;
            tokens(row.outline.units.div_ceil(BYTES_PER_TOKEN))
        }
    }
}

fn output_tokens(row: &Row, outcome: Outcome, counts: &mut Counts) -> u32 {
    let answer = &row.answer;
    counts.left += u64::from(outcome == Outcome::Left);
    match (answer.output_tokens, answer.chunks) {
        (Some(n), _) if n > 0 || outcome == Outcome::Complete => tokens(n.into()),
        (_, n) if n > 0 => {
            counts.by_events += u64::from(outcome == Outcome::Complete);
            tokens(n.into())
        }
        // It had none yet.
        _ if outcome == Outcome::Left => 1,
        _ => {
            counts.unknown += 1;
            tokens(row.max_tokens.unwrap_or(1).into())
        }
    }
}

/// Prompts by pieces: runs of blocks that no other prompt begins or ends within.
struct Pieces {
    /// Numbers of blocks at which a piece begins.
    borders: Vec<u64>,
    /// By first block: tokens and bytes of the prompts that begin with it, as far as they were counted.
    families: HashMap<u64, (u128, u128)>,
    all: (u128, u128),
    names: HashMap<u64, u64>,
    block_bytes: u64,
    block_tokens: u64,
}

impl Pieces {
    fn new<'a>(rows: impl Iterator<Item = &'a Row>, identity: &Identity) -> Self {
        let mut borders = vec![];
        let (mut families, mut all) = (HashMap::<u64, (u128, u128)>::new(), (0, 0));
        for row in rows {
            borders.extend(row.outline.blocks.iter().flat_map(|range| [range.first, range.first + u64::from(range.count)]));
            if let (Some(first), Some(n), false) = (row.outline.blocks.first(), row.answer.input_tokens, row.outline.is_exact)
                && n > 0
            {
                for (tokens, bytes) in [families.entry(first.first).or_default(), &mut all] {
                    *tokens += u128::from(n);
                    *bytes += u128::from(row.outline.units);
                }
            }
        }
        borders.sort_unstable();
        borders.dedup();
        Self {
            borders,
            families,
            all,
            names: HashMap::new(),
            block_bytes: identity.block_units(false),
            block_tokens: identity.block_units(true),
        }
    }

    /// The prompt of a row that has `tokens` in all.
    ///
    /// A border after b blocks lies at token b·block where the prompt was given as ids, else at ⌊bytes up to it · r⌋, where r is tokens per
    /// byte of all counted prompts with the same first block. So it depends on the blocks before it alone, and what two prompts
    /// share has the same length in both. What the rule leaves over or lacks at the end is in the last piece.
    fn prompt(&mut self, row: &Row, id: u64, tokens: u32) -> Prompt {
        let mut parts: Vec<Part> = vec![];
        let family = row.outline.blocks.first().and_then(|range| self.families.get(&range.first));
        let known = [family.copied().unwrap_or_default(), self.all].into_iter().find(|(_, bytes)| *bytes > 0);
        let (per, bytes) = known.unwrap_or((1, u128::from(BYTES_PER_TOKEN)));
        let border = |blocks: u64| {
            if row.outline.is_exact {
                return blocks * self.block_tokens;
            }
            u64::try_from(u128::from(blocks * self.block_bytes) * per / bytes).unwrap_or(u64::MAX)
        };
        let whole: u64 = row.outline.blocks.iter().map(|range| u64::from(range.count)).sum();
        let (mut passed, mut placed) = (0, 0);
        for range in &row.outline.blocks {
            let end = range.first + u64::from(range.count);
            let mut first = range.first;
            while first < end {
                let next = self.borders.partition_point(|border| *border <= first);
                let last = self.borders.get(next).map_or(end, |border| (*border).min(end));
                passed += last - first;
                let reached = if passed == whole { u64::from(tokens) } else { border(passed).min(tokens.into()) };
                if reached > placed {
                    let name = self.names.len() as u64;
                    let id = *self.names.entry(first).or_insert(name);
                    parts.push(Part { id, tokens: (reached - placed) as u32 });
                    placed = reached;
                }
                first = last;
            }
        }
        if parts.is_empty() {
            return Prompt::Blocks(BlockPrompt::unique(0, id, tokens));
        }
        Prompt::Parts(PartPrompt { namespace: 0, parts: parts.into() })
    }
}

fn losses(counts: &Counts, tally: &Tally, other_posts: u64, block_bytes: u64) -> Vec<String> {
    let mut losses = vec!["models, sampling parameters, headers and answers were not recorded".to_owned()];
    let mut say = |n: u64, words: &str| {
        if n > 0 {
            losses.push(format!("{n} {words}"));
        }
    };
    let method = format!(
        "prompts are known by the identity of their beginnings, seen at every {block_bytes} bytes of their JSON or text; the tokens before such a border follow from the bytes, and what is left over is in the last piece"
    );
    say(counts.by_bytes, &method);
    say(counts.estimated, "prompts were not counted by the endpoint; a token is taken to be 4 bytes");
    say(counts.by_events, "answers were not counted by the endpoint; the events of their streams are counted instead");
    say(counts.unknown, "answers have no known length, because they failed or cannot be read; it is what was asked for at most, or 1");
    say(counts.left, "clients went away; their answers' length is what had come until then");
    say(counts.several, "requests asked for several answers; they count as one, of all their tokens");
    say(counts.media, "requests hold something that is no text; it counts by its bytes");
    if tally.models > 1 {
        say(tally.models as u64, "models were asked for, and which request asked for which is not recorded");
    }
    if tally.keep_text {
        losses.push("what was asked is kept word for word: this file holds the text of prompts".to_owned());
    }
    let mut say = |n: u64, words: &str| {
        if n > 0 {
            losses.push(format!("{n} {words}"));
        }
    };
    let large = format!("requests are left out: they or their answers are larger than {} MiB", MAX_BODY >> 20);
    for (loss, n) in &tally.lost {
        let words = match loss {
            Loss::Large => &large,
            Loss::Behind => "requests are left out: the recorder was too far behind",
            Loss::Unfinished => "requests are left out: they went on when the recording ended",
            Loss::Unasked => "requests are left out: their body did not come to its end",
            Loss::Unknown => "requests are left out: their body is not what their path takes",
            Loss::Batch => "requests are left out: each has several prompts",
        };
        say(*n, words);
    }
    say(other_posts, "POST requests of other paths went by unrecorded");
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{Ask, Content};
    use crate::identity::Outline;

    fn recorded(block: u32, prompts: &[(&str, Option<u32>)]) -> Vec<(u32, Vec<Part>)> {
        let mut identity = Identity::new([9; 32], block);
        let row = |identity: &mut Identity, text: &str, counted: Option<u32>| {
            let content = Content::Text(text.into());
            let outline: Outline = identity.outline(&content);
            let ask = Ask { content, max_tokens: None, is_several: false, has_media: false, model: None };
            let mut row = Row::new(Kind::Completions, Nanos(0), Nanos(0), outline, &ask);
            row.answer.input_tokens = counted;
            row.ended = Some((Nanos(1), Outcome::Complete));
            row
        };
        let rows: Vec<Row> = prompts.iter().map(|(text, counted)| row(&mut identity, text, *counted)).collect();
        let tally = Tally { lost: BTreeMap::new(), models: 0, keep_text: false };
        let made = recording("t", rows, tally, &identity, &Shared::default());
        let parts = |request: TraceRequest| {
            let Prompt::Parts(prompt) = request.prompt else { panic!() };
            (request.input_tokens, prompt.parts.to_vec())
        };
        made.trace.requests.into_iter().map(parts).collect()
    }

    /// Prompts with their counted tokens, and what pieces they become, as `id:tokens`.
    fn check(block: u32, prompts: &[(&str, Option<u32>)], expect: &[&str]) {
        let spell = |parts: &[Part]| parts.iter().map(|part| format!("{}:{}", part.id, part.tokens)).collect::<Vec<_>>().join(" ");
        let found: Vec<String> = recorded(block, prompts).iter().map(|(_, parts)| spell(parts)).collect();
        assert_eq!(found, expect);
    }

    /// Tokens that two prompts share from the start, as an engine with a perfect cache would see it.
    fn shared(a: &[Part], b: &[Part]) -> u32 {
        let mut tokens = 0;
        for (a, b) in a.iter().zip(b) {
            if a.id != b.id {
                break;
            }
            tokens += a.tokens.min(b.tokens);
            if a.tokens != b.tokens {
                break;
            }
        }
        tokens
    }

    proptest::proptest! {
        /// The rule of the documentation, said in another way.
        #[test]
        fn prompts_share_the_tokens_of_their_common_blocks(
            texts in proptest::collection::vec("[ab]{1,24}", 2..12),
            counts in proptest::collection::vec(proptest::option::of(1_u32..40), 12),
            block in 1_u32..3,
        ) {
            let prompts: Vec<(&str, Option<u32>)> = texts.iter().map(String::as_str).zip(counts).collect();
            let made = recorded(block, &prompts);
            let size = block as usize * BYTES_PER_TOKEN as usize;
            let first = |text: &str| text[..size.min(text.len())].to_owned();
            let sums = |family: Option<&str>| {
                let of = prompts.iter().filter(|(text, _)| family.is_none_or(|family| first(text) == first(family)));
                of.filter_map(|(text, n)| Some((n.as_ref()?, text.len()))).fold((0, 0), |(t, b), (n, length)| (t + *n as usize, b + length))
            };
            for (i, (tokens, parts)) in made.iter().enumerate() {
                assert_eq!(parts.iter().map(|part| part.tokens).sum::<u32>(), *tokens);
                for (j, (others, other)) in made.iter().enumerate() {
                    let (a, b) = (&texts[i], &texts[j]);
                    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count() / size * size;
                    let (per, bytes) = [sums(Some(a)), sums(None), (1, 4)].into_iter().find(|(_, bytes)| *bytes > 0).unwrap();
                    let border = if a == b { u32::MAX } else { (common * per / bytes) as u32 };
                    assert_eq!(shared(parts, other), border.min(*tokens).min(*others), "{a} {b}: {parts:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn pieces_are_what_prompts_share() {
        let (a, b, c) = ("a".repeat(8), "b".repeat(8), "c".repeat(8));
        let all = |parts: &[&str]| parts.concat();
        // Alone: one piece, whatever its length.
        check(2, &[(&all(&[&a, &b, &c, "d"]), Some(7))], &["0:7"]);
        // Two that share two blocks, and one that shares one of them: 25 + 17 + 9 bytes are 25 + 17 + 9 tokens.
        check(
            2,
            &[(&all(&[&a, &b, &c, "d"]), Some(25)), (&all(&[&a, &b, "e"]), Some(17)), (&all(&[&a, "f"]), Some(9))],
            &["0:8 1:8 2:9", "0:8 1:8 3:1", "0:8 4:1"],
        );
        // The same twice is the same; a border follows from the bytes where nobody counted.
        check(2, &[(&a, None), (&a, None), (&all(&[&a, &b]), None)], &["0:2", "0:2", "0:2 1:2"]);
        // Fewer tokens than the others of the family: the beginning is cut, not moved.
        check(
            2,
            &[(&all(&[&a, &b]), Some(16)), (&all(&[&a, &c]), Some(16)), (&all(&[&a, "d"]), Some(1))],
            &["0:6 1:10", "0:6 2:10", "0:1"],
        );
    }
}
