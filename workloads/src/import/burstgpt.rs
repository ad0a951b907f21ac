//! BurstGPT's CSV, in all its layouts: arrivals, lengths and, on rows of conversations, sessions.
//!
//! The first two published files have six columns, the third inserts `Session ID` and `Elapsed time` among them; columns are found by
//! name. A derived form has `arrival_s`, `session8`, `input_tokens` and `output_tokens` only. Rows stream through: what is kept is one
//! small state per session. Nothing is known of prompts but their length, so all content is unique, though the later turns of a real
//! conversation repeat its history; the trace's losses say so.

use super::classes::Classes;
use super::csv::Columns;
use super::decimal::seconds;
use super::{Gaps, ImportOptions, Importer, MAX_TIME, first_line, stem};
use crate::error::{Place, TraceError, file_error};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::request::{RequestId, SessionId};
use nomoat_core::trace::{Cause, Edge, Moment, Origin, Recorded, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use std::collections::HashMap;

/// The importer.
pub(crate) struct BurstGpt;

const PUBLISHED: [&str; 8] =
    ["Timestamp", "Request tokens", "Response tokens", "Model", "Log Type", "Session ID", "Elapsed time", "Total tokens"];
const DERIVED: [&str; 8] = ["arrival_s", "input_tokens", "output_tokens", "-", "-", "session8", "-", "-"];
/// Positions in both lists.
const AT: usize = 0;
const INPUT: usize = 1;
const OUTPUT: usize = 2;
const MODEL: usize = 3;
const LOG: usize = 4;
const SESSION: usize = 5;
const ELAPSED: usize = 6;

const CONVERSATION: &str = "Conversation log";

/// SHA-256 of the published files 1 and 3, both CC-BY-4.0: a row of a CSV cannot tell it.
const PINS: [&str; 2] = [
    "4bb3783693d0a435686fbfc885615d2349bd067239079fa4b749f2e679e12122",
    "2299986a07388aa303ec2c41d1131e756db650a39ed6ef9dfe7cc3d7f9a43b8f",
];

/// A session so far.
struct Session {
    number: u32,
    turns: u16,
    last: u32,
    at: Nanos,
    elapsed: Option<Nanos>,
}

/// What was counted on the way.
#[derive(Default)]
struct Counts {
    failed: u64,
    empty: u64,
    overlapping: u64,
    /// Turns after one whose end is unknown.
    unended: u64,
}

struct Row<'a> {
    at: Nanos,
    input: u32,
    output: u32,
    class: u16,
    session: Option<&'a str>,
    elapsed: Option<Nanos>,
}

impl Importer for BurstGpt {
    fn name(&self) -> &'static str {
        "burstgpt"
    }

    fn about(&self) -> &'static str {
        "BurstGPT traces 1 to 3 (CSV): arrivals, lengths, models, sessions of conversations"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let line = first_line(head);
        let has = |name: &str| line.split(|b| *b == b',').any(|column| column == name.as_bytes());
        (has(PUBLISHED[AT]) && has(PUBLISHED[INPUT])) || (has(DERIVED[AT]) && has(DERIVED[SESSION]))
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let file = source.name().to_owned();
        let mut rows = Rows::new(source, options);
        let Some(header) = rows.next()? else {
            return Err(file_error(&file, "the file is empty", "it should start with the names of BurstGPT's columns"));
        };
        let derived = header.bytes.split(|b| *b == b',').any(|column| column == DERIVED[AT].as_bytes());
        let (names, required) = if derived { (DERIVED, 3) } else { (PUBLISHED, 5) };
        let columns = Columns::new(names, required, &[], &header)?;
        let (mut classes, mut sessions, mut counts) = (Classes::default(), HashMap::new(), Counts::default());
        let (mut index, mut first, mut previous) = (0_u32, None, Nanos::ZERO);
        let mut label = String::new();
        while let Some(line) = rows.next()? {
            let (place, named) = (line.place, classes.len());
            let row = columns.values(&line).and_then(|values| row(&columns, &values, &mut classes, &mut label, place));
            let row = row.and_then(|row| {
                let since = row.at - first.unwrap_or(row.at);
                if since < previous {
                    let problem = format!("is {} earlier than the row before", previous - since);
                    return Err(place.field(names[AT], problem, "in order of time: sort the file by it"));
                }
                if since > MAX_TIME {
                    return Err(place.field(names[AT], "is too late", "within a century of the first row"));
                }
                let made = if row.input == 0 || row.output == 0 {
                    None
                } else {
                    Some(request(&row, since, index, &mut sessions, options, &mut counts, place)?)
                };
                Ok((row.at, since, row.input == 0 && row.output > 0, made))
            });
            let Some((at, since, empty, made)) = rows.take(row)? else {
                classes.truncate(named);
                continue;
            };
            let Some(request) = made else {
                classes.truncate(named);
                *(if empty { &mut counts.empty } else { &mut counts.failed }) += 1;
                continue;
            };
            first.get_or_insert(at);
            (index, previous) = (index + 1, since);
            sink.request(request)?;
        }
        let (digest, skipped) = rows.finish();
        let known = PINS.contains(&digest.to_string().as_str());
        let origin = Origin {
            licence: known.then(|| "CC-BY-4.0".to_owned()),
            attribution: known.then(|| "BurstGPT, Wang et al., KDD 2025".to_owned()),
            repository: known.then(|| "HPMLL/BurstGPT".to_owned()),
            ..Origin::default()
        };
        let losses = losses(&counts, !sessions.is_empty()).into_iter().chain(skipped).collect();
        // The recording clock has whole seconds.
        let tick = Some(Nanos::from_secs(1));
        Ok(Trace { name: stem(&file), source: digest, origin, tick, classes: classes.names(), losses, ..Trace::default() })
    }
}

fn row<'a>(
    columns: &Columns<8>,
    values: &[&'a str; 8],
    classes: &mut Classes,
    label: &mut String,
    place: Place<'_>,
) -> Result<Row<'a>, TraceError> {
    let time = |index: usize| {
        seconds(values[index]).ok_or_else(|| columns.wrong(index, values[index], "a number of seconds from 0 to a century", place))
    };
    let at = time(AT)?;
    let elapsed = if values[ELAPSED].is_empty() { None } else { Some(time(ELAPSED)?) };
    if elapsed.is_some_and(|elapsed| elapsed > MAX_TIME) {
        return Err(columns.wrong(ELAPSED, values[ELAPSED], "less than a century", place));
    }
    let (input, output) = (columns.tokens(INPUT, values[INPUT], 0, place)?, columns.tokens(OUTPUT, values[OUTPUT], 0, place)?);
    label.clear();
    label.push_str(if columns.has(MODEL) { values[MODEL] } else { "default" });
    let talks = match (columns.has(LOG), values[LOG]) {
        (false, _) => true,
        (true, log @ (CONVERSATION | "API log")) => {
            label.push_str(", ");
            label.push_str(log);
            log == CONVERSATION
        }
        (true, other) => return Err(columns.wrong(LOG, other, format!("`{CONVERSATION}` or `API log`"), place)),
    };
    let class = classes.of(label).ok_or_else(|| columns.wrong(MODEL, values[MODEL], "one of at most 65535 models", place))?;
    let session = Some(values[SESSION]).filter(|session| talks && !session.is_empty());
    Ok(Row { at, input, output, class, session, elapsed })
}

fn request(
    row: &Row<'_>,
    since: Nanos,
    index: u32,
    sessions: &mut HashMap<Box<str>, Session>,
    options: &ImportOptions,
    counts: &mut Counts,
    place: Place<'_>,
) -> Result<TraceRequest, TraceError> {
    let prompt = Prompt::Blocks(BlockPrompt::unique(0, index.into(), row.input));
    let recorded = row.elapsed.map(|e2e| Box::new(Recorded { e2e: Some(e2e), ..Recorded::default() }));
    let mut request = TraceRequest { at: Some(since), class: row.class, recorded, ..TraceRequest::new(prompt, row.input, row.output) };
    let Some(name) = row.session else { return Ok(request) };
    let next = sessions.len() as u32;
    match sessions.get_mut(name) {
        None => {
            request.session = Some(SessionId(next));
            sessions.insert(name.into(), Session { number: next, turns: 1, last: index, at: since, elapsed: row.elapsed });
        }
        Some(before) => {
            if before.turns == u16::MAX {
                return Err(place.line("its session has more than 65535 turns", "split the session"));
            }
            (request.session, request.turn) = (Some(SessionId(before.number)), before.turns);
            request.after = edges(before, since, options, counts);
            *before = Session { number: before.number, turns: before.turns + 1, last: index, at: since, elapsed: row.elapsed };
        }
    }
    Ok(request)
}

/// What a turn waits for, after the turn `before` it.
fn edges(before: &Session, since: Nanos, options: &ImportOptions, counts: &mut Counts) -> Vec<Edge> {
    let passed = since - before.at;
    let after_end = |gap| Edge::after_end(RequestId(before.last), gap, Cause::Think);
    let after_start = Edge { on: Moment::Start, ..after_end(passed) };
    match (options.gaps, before.elapsed) {
        (Gaps::Recorded, _) => vec![after_start],
        (Gaps::Think, Some(elapsed)) => {
            counts.overlapping += u64::from(elapsed > passed);
            vec![after_end((passed - elapsed).max(Nanos::ZERO))]
        }
        // How much of the time was the engine's was not recorded: not before the recorded time, and not before the answer is there.
        (Gaps::Think, None) => {
            counts.unended += 1;
            vec![after_start, after_end(Nanos::ZERO)]
        }
    }
}

fn losses(counts: &Counts, sessions: bool) -> Vec<String> {
    let history = if sessions { ", though later turns repeat their history" } else { "" };
    let mut losses = vec![format!("prefix: assumed none. Prefix reuse is not recorded, so every prompt is unique{history}")];
    let mut tell = |count: u64, what: &str| {
        if count > 0 {
            losses.push(format!("{count} {what}"));
        }
    };
    tell(counts.failed, "failed rows (no response tokens) were left out");
    tell(counts.empty, "rows without request tokens were left out");
    tell(counts.overlapping, "turns began before the recorded end of the turn before; they wait for it");
    tell(counts.unended, "turns follow one whose end is not recorded; they wait for its answer and for the recorded time since its start");
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;

    fn read(text: &str, options: &ImportOptions) -> Result<Trace, TraceError> {
        from_bytes("dir/burst.csv", text.as_bytes(), Some("burstgpt"), options)
    }

    const SHORT: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
    const LONG: &str = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n";

    #[test]
    fn both_layouts_by_name() {
        let short = format!(
            "{SHORT}5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,10,0,10,API log\n45,GPT-4,0,9,9,API log\n46,GPT-4,7,9,16,API log\n"
        );
        let trace = read(&short, &ImportOptions::default()).unwrap();
        let seen: Vec<_> = trace.requests.iter().map(|r| (r.at.unwrap().0, r.input_tokens, r.output_tokens, r.class)).collect();
        assert_eq!(seen, [(0, 472, 18, 0), (41_000_000_000, 7, 9, 1)]);
        assert_eq!(trace.classes, ["ChatGPT, Conversation log", "GPT-4, API log"].map(String::from)[..], "{:?}", trace.classes);
        assert!(trace.requests.iter().all(|r| r.session.is_none() && r.recorded.is_none()));
        assert!(trace.losses[0].contains("prefix: assumed none") && !trace.losses[0].contains("history"));
        assert!(trace.losses[1].contains("1 failed rows") && trace.losses[2].contains("1 rows without request"), "{:?}", trace.losses);
    }

    #[test]
    fn sessions_wait_for_the_turn_before() {
        let text = format!(
            "{LONG}19440110.0,a,43,GPT-4,906,446,1352,Conversation log\n19440151.0,,,GPT-4,5,5,10,API log\n\
             19440160.5,a,2,GPT-4,36,29,65,Conversation log\n19440161.0,a,1,GPT-4,36,29,65,Conversation log\n"
        );
        let trace = read(&text, &ImportOptions::default()).unwrap();
        let after = |index: usize| trace.requests[index].after.clone();
        assert_eq!(after(2), [Edge::after_end(RequestId(0), Nanos::from_millis(7_500), Cause::Think)]);
        assert_eq!(after(3), [Edge::after_end(RequestId(2), Nanos::ZERO, Cause::Think)], "it overlapped");
        let turns: Vec<_> = trace.requests.iter().map(|r| (r.session.map(|s| s.0), r.turn)).collect();
        assert_eq!(turns, [(Some(0), 0), (None, 0), (Some(0), 1), (Some(0), 2)]);
        assert_eq!(trace.requests[0].recorded.as_ref().unwrap().e2e, Some(Nanos::from_secs(43)));
        assert!(trace.losses.iter().any(|l| l.starts_with("1 turns began before")), "{:?}", trace.losses);
        let open = read(&text, &ImportOptions { gaps: Gaps::Recorded, ..ImportOptions::default() }).unwrap();
        let start = Edge { on: Moment::Start, ..Edge::after_end(RequestId(0), Nanos::from_millis(50_500), Cause::Think) };
        assert_eq!(open.requests[2].after, [start]);
    }

    #[test]
    fn the_derived_form() {
        let text = "arrival_s,session8,input_tokens,output_tokens\n0,aa,906,446\n51,bb,36,29\n191.25,aa,1631,282\n";
        let trace = read(text, &ImportOptions::default()).unwrap();
        let end = Edge::after_end(RequestId(0), Nanos::ZERO, Cause::Think);
        assert_eq!(trace.requests[2].after, [Edge { on: Moment::Start, gap: Nanos::from_millis(191_250), ..end }, end]);
        assert_eq!(trace.classes, ["default"]);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let error = read(text, &ImportOptions::default()).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        let good = "5,ChatGPT,472,18,490,Conversation log\n";
        check("", &["burst.csv", "empty"]);
        check(SHORT, &["no request"]);
        check(&format!("{SHORT}5,ChatGPT,472,0,472,API log\n"), &["no request"]);
        check(&SHORT.replace("Model", "Modell"), &[":1:", "column 2", "`Modell`", "`Model`"]);
        check(&format!("{SHORT}{good}4,ChatGPT,1,1,2,API log\n"), &[":3:", "`Timestamp`", "1.00 s earlier", "sort"]);
        check(&format!("{SHORT}-5,ChatGPT,1,1,2,API log\n"), &[":2:", "`Timestamp`", "`-5`", "seconds"]);
        check(&format!("{SHORT}5,ChatGPT,1.5,1,2,API log\n"), &["`Request tokens`", "`1.5`"]);
        check(&format!("{SHORT}5,ChatGPT,1,,2,API log\n"), &["`Response tokens`", "``"]);
        check(&format!("{SHORT}5,ChatGPT,1,1,2,Api log\n"), &["`Log Type`", "`Api log`", "`API log`"]);
        check(&format!("{SHORT}5,ChatGPT,1,1\n"), &[":2:", "4 values", "6 values"]);
        check(&format!("{LONG}5,a,1,ChatGPT,1,1,2,API log\n").replace(",1,Ch", ",soon,Ch"), &["`Elapsed time`", "`soon`"]);
        let lenient = ImportOptions { lenient: true, ..ImportOptions::default() };
        let trace = read(&format!("{SHORT}{good}4,ChatGPT,1,1,2,API log\n6,X,1,1,2,API log\n"), &lenient).unwrap();
        assert_eq!((trace.requests.len(), trace.requests[1].at), (2, Some(Nanos::from_secs(1))));
        assert_eq!(trace.classes, ["ChatGPT, Conversation log", "X, API log"], "a row that is left out names no class");
        assert!(trace.losses.last().unwrap().contains("1 wrong rows"), "{:?}", trace.losses);
    }
}
