//! Qwen-Bailian usage traces (JSON Lines): arrival in seconds, lengths, 16-token block ids, and the chat that a chat continues.
//!
//! A session is a tree of chats by their parents; how long answers took is not recorded, so a turn keeps its recorded distance from the start of
//! its parent and waits for its answer. An unfilled last block gets another id once the answer fills it: it is shared with nobody. Whether ids
//! stand for prefixes or for the blocks alone is not published; the importer tests it and says what it found. Prompts are the same either way.

use super::classes::Classes;
use super::decimal::Seconds;
use super::gaps::since_start;
use super::runs::Runs;
use super::{ImportOptions, Importer, MAX_BLOCK_ID, MAX_TOKENS, first_line, stem};
use crate::diagnose::{Field, Shape, explain_line};
use crate::error::{Place, TraceError};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::prompt::{BlockPrompt, BlockRange, Prompt};
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::trace::{Cause, Origin, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};

/// The importer.
pub(crate) struct Bailian;

/// Tokens per block of this format.
const BLOCK_TOKENS: u32 = 16;
/// Most ids that the test for chains remembers: about 100 MB.
const MAX_TESTED: usize = 1 << 22;

const FIELDS: &[Field] = &[
    Field::required("chat_id", Shape::Whole { min: 0, max: MAX_BLOCK_ID, of: "chats" }),
    Field::required("parent_chat_id", Shape::Any),
    Field::required("timestamp", Shape::Seconds),
    Field::required("input_length", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" }),
    Field::required("output_length", Shape::Whole { min: 0, max: MAX_TOKENS, of: "tokens" }),
    Field::required("type", Shape::Text),
    Field::required("turn", Shape::Whole { min: 1, max: u32::MAX as u64, of: "turns" }),
    Field::required("hash_ids", Shape::Wholes { max: MAX_BLOCK_ID, of: "block ids" }),
];

/// SHA-256 of the published files (A, B, coder, thinking), all Apache-2.0.
const PUBLISHED: [&str; 4] = [
    "07cedc9ed8aff301994ac68ed4aede8123b7603673575eeba9dd677de663db17",
    "68e3f98e2d601d60d0abf4b89bc8a3654372abab7b1cde6373a13d0054379d59",
    "3d74974cebb7bccb69b1ca6ea210a44d9a3033443c0271ed015327284dea1aff",
    "41ac36d9d1b54d084eeb6b05e9d142ba9d02f8bf79cfc9fff418d8ab7cdee906",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    chat_id: u64,
    parent_chat_id: i64,
    timestamp: Seconds,
    input_length: u64,
    output_length: u64,
    #[serde(rename = "type")]
    kind: String,
    turn: u64,
    hash_ids: Runs,
}

impl Importer for Bailian {
    fn name(&self) -> &'static str {
        "bailian"
    }

    fn about(&self) -> &'static str {
        "Qwen-Bailian usage traces (JSON Lines): arrivals, lengths, 16-token block ids, sessions by parent chat"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let line = first_line(head);
        let has = |key: &[u8]| line.windows(key.len()).any(|window| window == key);
        line.starts_with(b"{") && has(b"\"chat_id\"") && has(b"\"parent_chat_id\"")
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let name = source.name().to_owned();
        let mut rows = Rows::new(source, options);
        let mut reader = Reader::new(options);
        while let Some(line) = rows.next()? {
            let row = serde_json::from_slice(line.bytes)
                .map_err(|error| explain_line(line.bytes, FIELDS, line.place, &error))
                .and_then(|row: Row| reader.request(row, line.place));
            if let Some(request) = rows.take(row)? {
                sink.request(request)?;
            }
        }
        let (digest, skipped) = rows.finish();
        let mut losses = reader.told();
        losses.extend(skipped);
        let published = PUBLISHED.contains(&digest.to_string().as_str());
        let origin = Origin {
            licence: published.then(|| "Apache-2.0".to_owned()),
            attribution: published.then(|| "Qwen-Bailian usage traces, Wang et al., USENIX ATC 2025".to_owned()),
            repository: published.then(|| "alibaba-edu/qwen-bailian-usagetraces-anon".to_owned()),
            ..Origin::default()
        };
        Ok(Trace { name: stem(&name), source: digest, origin, classes: reader.classes.names(), losses, ..Trace::default() })
    }
}

/// A chat that another may continue.
#[derive(Clone, Copy)]
struct Chat {
    request: RequestId,
    session: SessionId,
    at: Nanos,
}

struct Reader<'a> {
    options: &'a ImportOptions,
    chats: HashMap<u64, Chat>,
    /// Turns of each session so far.
    turns: Vec<u16>,
    /// Parents that no row before had.
    missing: HashSet<u64>,
    orphans: u64,
    empty_answers: u64,
    classes: Classes,
    chains: Chains,
    zero: Option<Nanos>,
    latest: Nanos,
    count: u32,
}

impl<'a> Reader<'a> {
    fn new(options: &'a ImportOptions) -> Self {
        Self {
            options,
            chats: HashMap::new(),
            turns: vec![],
            missing: HashSet::new(),
            orphans: 0,
            empty_answers: 0,
            classes: Classes::default(),
            chains: Chains::default(),
            zero: None,
            latest: Nanos::ZERO,
            count: 0,
        }
    }

    /// A row as a request. Nothing is remembered of a wrong one.
    fn request(&mut self, row: Row, place: Place<'_>) -> Result<TraceRequest, TraceError> {
        let tokens = |name: &'static str, value: u64, min: u64| match value {
            n if (min..=MAX_TOKENS).contains(&n) => Ok(n as u32),
            n => Err(place.field(name, format!("is {n}"), format!("a whole number of tokens from {min} to {MAX_TOKENS}"))),
        };
        let (input, output) = (tokens("input_length", row.input_length, 1)?, tokens("output_length", row.output_length, 0)?);
        let at = row.timestamp.0 - self.zero.unwrap_or(row.timestamp.0);
        if at < self.latest {
            let problem = format!("is {} earlier than the line before", self.latest - at);
            return Err(place.field("timestamp", problem, "in order of time: sort the file by timestamp"));
        }
        let blocks = u64::from(input.div_ceil(BLOCK_TOKENS));
        if row.hash_ids.count != blocks {
            let should = format!("{blocks} ids: one for each {BLOCK_TOKENS} tokens, the last block may be partial");
            return Err(place.field("hash_ids", format!("has {} ids for {input} tokens", row.hash_ids.count), should));
        }
        if self.chats.contains_key(&row.chat_id) {
            return Err(place.field("chat_id", format!("is {}, which an earlier row has", row.chat_id), "an id of its own"));
        }
        if self.missing.contains(&row.chat_id) {
            let problem = format!("is {}, which an earlier row continues", row.chat_id);
            return Err(place.field("chat_id", problem, "before the chats that continue it: sort the file by timestamp"));
        }
        let parent_id = match row.parent_chat_id {
            -1 => None,
            id => Some(
                u64::try_from(id).map_err(|_| place.field("parent_chat_id", format!("is {id}"), "a chat's id, or -1 for a first turn"))?,
            ),
        };
        if row.turn == 0 || parent_id == Some(row.chat_id) {
            return Err(place.line("the chat continues itself or has turn 0", "number turns from 1 and name the chat before as parent"));
        }
        let parent = parent_id.and_then(|id| self.chats.get(&id).copied());
        let too_many = |what: &str| place.line(format!("there are too many {what}"), "split the file");
        let session = match parent {
            Some(parent) => parent.session,
            None => SessionId(u32::try_from(self.turns.len()).map_err(|_| too_many("sessions"))?),
        };
        let turn = self.turns.get(session.0 as usize).copied().unwrap_or(0);
        let next_turn = turn.checked_add(1).ok_or_else(|| too_many("turns in a session"))?;
        let next = self.count.checked_add(1).ok_or_else(|| too_many("rows"))?;
        let class = self.classes.of(&row.kind).ok_or_else(|| too_many("types"))?;

        // From here on nothing is wrong with it.
        let mut ids = row.hash_ids;
        if input % BLOCK_TOKENS != 0 {
            ids.pop();
        }
        self.chains.see(&ids.ranges);
        match parent {
            Some(_) => self.turns[session.0 as usize] = next_turn,
            None => self.turns.push(next_turn),
        }
        if let (Some(id), None) = (parent_id, parent) {
            self.missing.insert(id);
            self.orphans += 1;
        }
        self.empty_answers += u64::from(output == 0);
        self.zero.get_or_insert(row.timestamp.0);
        let request = RequestId(self.count);
        self.chats.insert(row.chat_id, Chat { request, session, at });
        (self.count, self.latest) = (next, at);
        let prompt = Prompt::Blocks(BlockPrompt {
            namespace: 0,
            block_tokens: BLOCK_TOKENS,
            blocks: ids.ranges.into(),
            tokens: input,
            unshared: u64::from(request.0),
        });
        let after = parent.map(|parent| since_start(parent.request, at - parent.at, Cause::Unsaid, self.options.gaps));
        Ok(TraceRequest {
            at: Some(at),
            after: after.unwrap_or_default(),
            session: Some(session),
            turn,
            class,
            ..TraceRequest::new(prompt, input, output.max(1))
        })
    }

    fn told(&self) -> Vec<String> {
        let mut told = vec![
            self.chains.told(),
            "unfilled last blocks are shared with nobody; when answers ended is not recorded, so a turn keeps its distance from the start of the turn before"
                .to_owned(),
        ];
        let counted = [
            (self.orphans, "chats continue one that is not in the file: each begins a session"),
            (self.empty_answers, "answers of no token became answers of one token"),
        ];
        told.extend(counted.iter().filter(|(n, _)| *n > 0).map(|(n, text)| format!("{n} {text}")));
        told
    }
}

/// Tests whether every id always follows the same id, as ids of whole prefixes do.
#[derive(Default)]
struct Chains {
    before: HashMap<u64, u64>,
    conflicts: u64,
    is_full: bool,
}

impl Chains {
    fn see(&mut self, ranges: &[BlockRange]) {
        // No id has this value.
        let mut before = u64::MAX;
        for range in ranges {
            for id in range.first..range.first + u64::from(range.count) {
                match self.before.get(&id) {
                    Some(known) => self.conflicts += u64::from(*known != before),
                    None if self.before.len() < MAX_TESTED => drop(self.before.insert(id, before)),
                    None => self.is_full = true,
                }
                before = id;
            }
        }
    }

    fn told(&self) -> String {
        let of =
            if self.is_full { format!("the first {MAX_TESTED} full blocks") } else { format!("all {} full blocks", self.before.len()) };
        match self.conflicts {
            0 => format!("block ids are chained: among {of} each id follows one id only, so it stands for its whole prefix"),
            n => format!(
                "block ids are not chained: among {of} an id follows another one than before {n} times, so it stands for its block alone"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;
    use crate::import::Gaps;
    use nomoat_core::trace::Moment;

    const SAMPLE: &str = include_str!("../../samples/bailian.jsonl");

    fn read(text: &str, options: &ImportOptions) -> Result<Trace, TraceError> {
        from_bytes("dir/b.jsonl", text.as_bytes(), Some("bailian"), options)
    }

    #[test]
    fn chats_become_sessions() {
        use Moment::{End, Start};
        let trace = read(SAMPLE, &ImportOptions::default()).unwrap();
        assert_eq!(trace.classes, ["text", "search"]);
        let rows: Vec<_> = trace.requests.iter().map(|r| (r.at.unwrap().0 / 1_000_000, r.session.unwrap().0, r.turn)).collect();
        // The last two continue the same chat: a tree is one session, whose turns go on.
        assert_eq!(rows, [(0, 0, 0), (1_250, 1, 0), (61_000, 0, 1), (62_500, 2, 0), (63_001, 0, 2)]);
        let edges: Vec<Vec<_>> =
            trace.requests.iter().map(|r| r.after.iter().map(|e| (e.request.0, e.on, e.gap.0 / 1_000_000)).collect()).collect();
        assert_eq!(edges[2], [(0, Start, 61_000), (0, End, 0)]);
        assert_eq!(edges[4], [(0, Start, 63_001), (0, End, 0)]);
        let blocks: Vec<Vec<_>> = trace
            .requests
            .iter()
            .map(|r| {
                let Prompt::Blocks(b) = &r.prompt else { panic!("blocks") };
                b.blocks.iter().map(|range| (range.first, range.count)).collect()
            })
            .collect();
        assert_eq!(blocks, [vec![(0, 2)], vec![(10, 2)], vec![(0, 2), (3, 2)], vec![], vec![(0, 2), (6, 1)]]);
        assert!(trace.losses[0].contains("ids are chained: among all 7 full blocks"), "{:?}", trace.losses);
        for told in ["1 chats continue one that is not", "1 answers of no token"] {
            assert!(trace.losses.iter().any(|loss| loss.starts_with(told)), "{told}: {:?}", trace.losses);
        }
        let recorded = read(SAMPLE, &ImportOptions { gaps: Gaps::Recorded, ..ImportOptions::default() }).unwrap();
        assert_eq!(recorded.requests[2].after.len(), 1);
        let content = read(&SAMPLE.replace("[10, 11]", "[1, 0]"), &ImportOptions::default()).unwrap();
        assert!(content.losses[0].contains("not chained: among all 5 full blocks"), "{:?}", content.losses);
        assert!(content.losses[0].contains(" 2 times"), "{:?}", content.losses);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |from: &str, to: &str, expect: &[&str]| {
            assert!(SAMPLE.contains(from), "{from}");
            let text = SAMPLE.replacen(from, to, 1);
            let error = read(&text, &ImportOptions::default()).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
            let rest = read(&text, &ImportOptions { lenient: true, ..ImportOptions::default() }).unwrap();
            assert!(rest.requests.len() >= 2 && rest.losses.iter().any(|loss| loss.contains("wrong rows")));
        };
        check("\"timestamp\": 101.25", "\"timestamp\": 99.5", &["dir/b.jsonl:2:", "`timestamp`", "500 ms earlier", "sort"]);
        check("\"timestamp\": 101.25", "\"timestamp\": -1", &[":2:", "`timestamp` is -1", "number of seconds"]);
        check("\"chat_id\": 1,", "\"chat_id\": 0,", &[":2:", "`chat_id` is 0", "earlier row has"]);
        check("\"chat_id\": 4,", "\"chat_id\": 99,", &[":5:", "`chat_id` is 99", "earlier row continues"]);
        check("\"parent_chat_id\": 99", "\"parent_chat_id\": -2", &[":4:", "`parent_chat_id` is -2", "-1 for a first turn"]);
        check("\"parent_chat_id\": 99", "\"parent_chat_id\": 3", &[":4:", "continues itself"]);
        check("[10, 11]", "[10]", &[":2:", "`hash_ids` has 1 ids for 32 tokens", "2 ids"]);
        check("\"input_length\": 32", "\"input_length\": 0", &[":2:", "`input_length` is 0"]);
        check("\"turn\": 2", "\"turns\": 2", &[":3:", "`turns`", "unknown", "`turn`"]);
    }
}
