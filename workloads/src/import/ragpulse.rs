//! RAGPulse: a week of a question service over documents, as pieces of content.
//!
//! `0_trace.jsonl` has a request a line with the ids of its pieces: system prompt, passages, history, web pages, question. How long each piece
//! is stands in five files beside it. Ids name content, not prefixes: a passage seen before at another place shares nothing with a prefix
//! cache, which [`Prompt::Parts`] says as it is. A prompt is the pieces in the order above, which the publication used, and then the few
//! tokens by which the recorded length exceeds their sum: the template, which is the same text for every request.

use super::ticks::spread;
use super::{ImportOptions, Importer, MAX_BLOCK_ID, MAX_TOKENS, decimal, first_line, stem};
use crate::diagnose::{Field, Shape, explain_line};
use crate::error::{Place, TraceError, file_error};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::prompt::{Part, PartPrompt, Prompt};
use nomoat_core::request::SessionId;
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Origin, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::Deserialize;
use std::collections::HashMap;

/// The importer.
pub(crate) struct RagPulse;

/// The recording clock's tick.
const TICK: Nanos = Nanos::from_secs(1);
const TRACE: &str = "0_trace.jsonl";
/// The template's id, above those of pieces.
const TEMPLATE: u64 = MAX_BLOCK_ID;
const MAX_ID: u64 = MAX_BLOCK_ID - 1;
/// SHA-256 of the published `0_trace.jsonl`.
const PUBLISHED: &str = "cd371571bef3320907147f8901729e37f412aafb067ec8eb153e2828e1801e65";

const IDS: Shape = Shape::Wholes { max: MAX_ID, of: "ids" };
const FIELDS: &[Field] = &[
    Field::required("timestamp", Shape::Text),
    Field::required("input_length", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" }),
    Field::required("output_length", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" }),
    Field::required(
        "hash_ids",
        Shape::Object(&[
            Field::required("sys_prompt", IDS),
            Field::required("passages_ids", IDS),
            Field::required("history", IDS),
            Field::required("web_search", IDS),
            Field::required("user_input", IDS),
        ]),
    ),
    Field::required("session_id", Shape::Text),
];

/// A file of pieces, and how it names their ids.
struct Kind {
    file: &'static str,
    fields: &'static [Field],
}

const ID: Shape = Shape::Whole { min: 0, max: MAX_ID, of: "ids" };
const LENGTH: Field = Field::required("token_length", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" });
/// In the order of a prompt.
static KINDS: [Kind; 5] = [
    Kind { file: "1_sys_prompt.jsonl", fields: &[Field::required("sys_prompt_id", ID), LENGTH] },
    Kind { file: "2_passages.jsonl", fields: &[Field::required("passage_id", ID), LENGTH] },
    Kind { file: "3_history.jsonl", fields: &[Field::required("history_id", ID), LENGTH] },
    Kind { file: "5_web_search.jsonl", fields: &[Field::required("web_search_id", ID), LENGTH] },
    Kind { file: "4_user_input.jsonl", fields: &[Field::required("user_input_id", ID), LENGTH] },
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    #[serde(alias = "sys_prompt_id", alias = "passage_id", alias = "history_id", alias = "web_search_id", alias = "user_input_id")]
    id: u64,
    token_length: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    timestamp: String,
    input_length: u64,
    output_length: u64,
    hash_ids: Pieces,
    session_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pieces {
    sys_prompt: Vec<u64>,
    passages_ids: Vec<u64>,
    history: Vec<u64>,
    web_search: Vec<u64>,
    user_input: Vec<u64>,
}

/// Length of each piece and the position of its kind.
type Lengths = HashMap<u64, (u32, usize)>;

impl Importer for RagPulse {
    fn name(&self) -> &'static str {
        "ragpulse"
    }

    fn about(&self) -> &'static str {
        "RAGPulse (0_trace.jsonl and the five files beside it, or their folder): arrivals, sessions, content ids of passages and histories"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let line = first_line(head);
        let has = |key: &[u8]| line.windows(key.len()).any(|window| window == key);
        line.starts_with(b"{") && has(b"\"passages_ids\"") && has(b"\"sys_prompt\"")
    }

    fn sniff_folder(&self, names: &[String]) -> bool {
        [TRACE, KINDS[0].file].iter().all(|file| names.iter().any(|name| name == file))
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let name = source.name().to_owned();
        let mut losses = vec![];
        let lengths = lengths(source, options, &mut losses)?;
        let mut beside = match source.names() {
            None => None,
            Some(_) => Some(neighbour(source, TRACE)?),
        };
        let source = beside.as_mut().unwrap_or(source);
        let mut rows = Rows::new(source, options);
        let mut requests: Vec<TraceRequest> = vec![];
        let mut sessions: HashMap<String, u32> = HashMap::new();
        let (mut inversions, mut last) = (0, Nanos::ZERO);
        while let Some(line) = rows.next()? {
            let row = serde_json::from_slice(line.bytes)
                .map_err(|error| explain_line(line.bytes, FIELDS, line.place, &error))
                .and_then(|row: Row| request(row, &lengths, &mut sessions, line.place));
            let Some(request) = rows.take(row)? else { continue };
            let at = request.at.unwrap_or_default();
            inversions += u64::from(at < last);
            last = at;
            requests.push(request);
        }
        let (digest, skipped) = rows.finish();
        requests.sort_by_key(|r| r.at);
        if inversions > 0 {
            losses.push(format!(
                "time ran backwards {inversions} times in the file: its rows were sorted, rows of one second stay in their order"
            ));
        }
        losses.push(arrivals(&mut requests, options));
        // Turns are counted when the order is known.
        let mut turns: HashMap<SessionId, u16> = HashMap::new();
        for mut request in requests {
            let turn = request.session.map(|session| turns.entry(session).or_default());
            if let Some(turn) = turn {
                request.turn = *turn;
                *turn = turn.checked_add(1).ok_or_else(|| file_error(&name, "a session has more than 65535 turns", "split it"))?;
            }
            sink.request(request)?;
        }
        losses.push("passages are shared only from the start of a prompt, as prefix caches do; when turns of a session ended is not recorded, so each arrives by its own time".into());
        losses.extend(skipped);
        let published = digest.to_string() == PUBLISHED;
        let origin = Origin {
            licence: published.then(|| "MIT".to_owned()),
            attribution: published.then(|| "RAGPulse, flashserve".to_owned()),
            repository: published.then(|| "flashserve/RAGPulse".to_owned()),
            commit: published.then(|| "3672232d45d749fdcf45dbc38cc77e5264af4a32".to_owned()),
            path: published.then(|| "data/0_trace.jsonl".to_owned()),
        };
        Ok(Trace { name: stem(&name), source: digest, origin, tick: Some(TICK), losses, ..Trace::default() })
    }
}

/// The file beside the trace, which must be there.
fn neighbour(source: &Source<'_>, file: &str) -> Result<Source<'static>, TraceError> {
    let remedy = format!("put {} and {TRACE} into one folder", KINDS.each_ref().map(|kind| kind.file).join(", "));
    source.beside(file)?.ok_or_else(|| file_error(source.name(), format!("{file} is not beside it"), remedy))
}

fn lengths(source: &Source<'_>, options: &ImportOptions, losses: &mut Vec<String>) -> Result<Lengths, TraceError> {
    let mut lengths = Lengths::new();
    for (position, kind) in KINDS.iter().enumerate() {
        let mut source = neighbour(source, kind.file)?;
        let mut rows = Rows::new(&mut source, options);
        while let Some(line) = rows.next()? {
            let place = line.place;
            let piece = serde_json::from_slice(line.bytes).map_err(|error| explain_line(line.bytes, kind.fields, place, &error));
            let done = piece.and_then(|piece: Piece| {
                if !(1..=MAX_TOKENS).contains(&piece.token_length) {
                    let should = format!("a whole number of tokens from 1 to {MAX_TOKENS}");
                    return Err(place.field("token_length", format!("is {}", piece.token_length), should));
                }
                if piece.id > MAX_ID || lengths.contains_key(&piece.id) {
                    let should = format!("an id of its own up to {MAX_ID}: the five files share one space");
                    return Err(place.line(format!("id {} is too large or stands twice", piece.id), format!("give it {should}")));
                }
                lengths.insert(piece.id, (piece.token_length as u32, position));
                Ok(())
            });
            rows.take(done)?;
        }
        losses.extend(rows.finish().1);
    }
    Ok(lengths)
}

fn request(row: Row, lengths: &Lengths, sessions: &mut HashMap<String, u32>, place: Place<'_>) -> Result<TraceRequest, TraceError> {
    let tokens = |name: &'static str, value: u64| match value {
        1..=MAX_TOKENS => Ok(value as u32),
        _ => Err(place.field(name, format!("is {value}"), format!("a whole number of tokens from 1 to {MAX_TOKENS}"))),
    };
    let (input, output) = (tokens("input_length", row.input_length)?, tokens("output_length", row.output_length)?);
    let at = decimal::seconds(&row.timestamp)
        .ok_or_else(|| place.field("timestamp", format!("is {:?}", row.timestamp), "a text of seconds from 0 to a century"))?;
    let ids = row.hash_ids;
    let kinds = [
        ("sys_prompt", ids.sys_prompt),
        ("passages_ids", ids.passages_ids),
        ("history", ids.history),
        ("web_search", ids.web_search),
        ("user_input", ids.user_input),
    ];
    let (mut parts, mut sum) = (vec![], 0_u64);
    for (kind, (name, ids)) in kinds.iter().enumerate() {
        for id in ids {
            let known = lengths.get(id).filter(|(_, of)| *of == kind);
            let should = || format!("an id that {} gives a length", KINDS[kind].file);
            let (tokens, _) = known.ok_or_else(|| place.field(format!("hash_ids.{name}"), format!("has {id}"), should()))?;
            parts.push(Part { id: *id, tokens: *tokens });
            sum += u64::from(*tokens);
        }
    }
    match u64::from(input).checked_sub(sum) {
        None => {
            let should = format!("at least {sum}, the sum of the lengths of its pieces");
            return Err(place.field("input_length", format!("is {input}"), should));
        }
        Some(0) => {}
        Some(rest) => parts.push(Part { id: TEMPLATE, tokens: rest as u32 }),
    }
    let next = u32::try_from(sessions.len()).map_err(|_| place.line("there are too many sessions", "split the file"))?;
    let session = *sessions.entry(row.session_id).or_insert(next);
    let prompt = Prompt::Parts(PartPrompt { namespace: 0, parts: parts.into() });
    Ok(TraceRequest { at: Some(at), session: Some(SessionId(session)), ..TraceRequest::new(prompt, input, output) })
}

/// Makes the first arrival 0 and spreads those that share a second; what to tell about it.
fn arrivals(requests: &mut [TraceRequest], options: &ImportOptions) -> String {
    let zero = requests.first().and_then(|r| r.at).unwrap_or_default();
    requests.iter_mut().for_each(|r| r.at = r.at.map(|at| at - zero));
    let shared: usize = requests.chunk_by(|a, b| a.at == b.at).filter(|same| same.len() > 1).map(<[_]>::len).sum();
    let seen = format!("arrivals were recorded in whole seconds, which {shared} of {} rows share with others", requests.len());
    if shared == 0 || !options.spread_ticks {
        return format!("{seen}; they were left as they are");
    }
    spread(requests, TICK, true, &mut Stream::new(options.seed, "import/ragpulse/ticks"));
    format!("{seen}; those were spread uniformly at random inside their second, in their order, with seed {}", options.seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open;
    use std::path::PathBuf;

    fn sample() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/ragpulse"))
    }

    fn parts(request: &TraceRequest) -> Vec<(u64, u32)> {
        let Prompt::Parts(p) = &request.prompt else { panic!("parts") };
        assert_eq!(p.tokens(), u64::from(request.input_tokens));
        p.parts.iter().map(|part| (part.id, part.tokens)).collect()
    }

    #[test]
    fn pieces_sessions_and_seconds() {
        let trace = open(&sample(), None, &ImportOptions::default()).unwrap();
        let file = open(&sample().join(TRACE), None, &ImportOptions::default()).unwrap();
        assert_eq!((&file.requests, &file.name[..]), (&trace.requests, "0_trace"));
        assert_eq!(parts(&trace.requests[0]), [(10, 512), (11, 40), (0, 80), (2, 30), (20, 11), (30, 9), (TEMPLATE, 8)]);
        assert_eq!(parts(&trace.requests[1]), [(10, 512), (11, 40), (2, 30), (0, 80), (21, 50), (25, 200), (31, 12), (TEMPLATE, 6)]);
        let sessions: Vec<_> = trace.requests.iter().map(|r| (r.session.unwrap().0, r.turn)).collect();
        assert_eq!(sessions, [(0, 0), (2, 0), (0, 1), (1, 0), (0, 2)]);
        let at: Vec<i64> = trace.requests.iter().map(|r| r.at.unwrap().0).collect();
        assert_eq!((at[0], at[1], at[4]), (0, 2_000_000_000, 60_000_000_000));
        assert!(at[2] > 3_000_000_000 && at[2] < at[3] && at[3] < 4_000_000_000, "two of one second: {at:?}");
        assert!(trace.losses.iter().any(|loss| loss.contains("backwards 1 times")), "{:?}", trace.losses);
        assert_eq!(trace.tick, Some(TICK));
        let raw = open(&sample(), None, &ImportOptions { spread_ticks: false, ..ImportOptions::default() }).unwrap();
        assert_eq!(raw.requests[2].at, raw.requests[3].at);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let folder = std::env::temp_dir().join(format!("nomoat-ragpulse-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let check = |file: &str, from: &str, to: &str, expect: &[&str]| {
            for name in std::fs::read_dir(sample()).unwrap().map(|entry| entry.unwrap().file_name()) {
                std::fs::copy(sample().join(&name), folder.join(&name)).unwrap();
            }
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            assert!(text.contains(from), "{from}");
            std::fs::write(folder.join(file), text.replacen(from, to, 1)).unwrap();
            let error = open(&folder, None, &ImportOptions::default()).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        check(TRACE, "\"100\"", "100", &["0_trace.jsonl:1:", "`timestamp`", "100", "text"]);
        check(TRACE, "\"100\"", "\"-1\"", &["`timestamp`", "-1", "seconds"]);
        check(TRACE, "690", "600", &["`input_length` is 600", "at least 682"]);
        check(TRACE, "[0, 2]", "[0, 10]", &["`hash_ids.passages_ids` has 10", "2_passages.jsonl"]);
        check(TRACE, "[0, 2]", "[0, -2]", &["`hash_ids.passages_ids`", "-2 at position 1"]);
        check(TRACE, "\"history\"", "\"histories\"", &["hash_ids.histories", "unknown", "`history`"]);
        check("2_passages.jsonl", "\"passage_id\": 1", "\"passage_id\": 0", &["2_passages.jsonl:2:", "id 0", "twice"]);
        check("2_passages.jsonl", "80", "0", &["2_passages.jsonl:1:", "`token_length`", "is 0"]);
        check("2_passages.jsonl", "80", "0.5", &["2_passages.jsonl:1:", "`token_length`", "0.5"]);
        std::fs::copy(sample().join("2_passages.jsonl"), folder.join("2_passages.jsonl")).unwrap();
        std::fs::remove_file(folder.join("5_web_search.jsonl")).unwrap();
        let error = open(&folder, None, &ImportOptions::default()).unwrap_err().to_string();
        assert!(error.contains("5_web_search.jsonl is not beside it") && error.contains("one folder"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
