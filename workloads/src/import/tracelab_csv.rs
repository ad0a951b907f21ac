//! TraceLab's session files (CSV): rounds of closed-loop sessions with prefix and new lengths, and the tool's time after each.

use super::tracelab::{Round, Sessions, lengths};
use super::{ImportOptions, Importer, MAX_TIME, first_line, stem};
use crate::error::{Place, TraceError, file_error};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::trace::{Cause, Origin, Recorded, Trace};
use nomoat_core::units::Nanos;

/// The importer.
pub(crate) struct TraceLabCsv;

const COLUMNS: [&str; 7] = ["session_id", "round_idx", "prefix_len", "input_len", "output_len", "tool_wait_after_ms", "arrival_time"];
/// The last column of [`COLUMNS`] may be missing.
const NEEDED: usize = 6;
const MAX_MS: u64 = (MAX_TIME.0 / 1_000_000) as u64;

/// SHA-256 of the published example files.
const PUBLISHED: [&str; 3] = [
    "cc1517d38aa314ed0182bc4fb4bcd34e7a9070b3fae2b9865bd8cd0fdd1c015e",
    "8afdf8d3ae742aa73a17ab93a4f11edafa6076fdfb47d0fb96d2c3defc6de8ab",
    "66ce858afdba777608398bd1c8e073feedcb26a6b4f1dfb7b40a10166efa917a",
];

impl Importer for TraceLabCsv {
    fn name(&self) -> &'static str {
        "tracelab-csv"
    }

    fn about(&self) -> &'static str {
        "TraceLab session files (CSV): closed-loop sessions with prefix lengths and tool times"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let line = first_line(head);
        let has = |column: &str| line.split(|b| *b == b',').any(|name| name.trim_ascii() == column.as_bytes());
        has("session_id") && has("round_idx") && has("prefix_len")
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let name = source.name().to_owned();
        let mut rows = Rows::new(source, options);
        let Some(header) = rows.next()? else {
            return Err(file_error(&name, "the file is empty", format!("it should start with `{}`", COLUMNS.join(","))));
        };
        let columns = columns(header.bytes, header.place)?;
        let has_arrivals = columns.contains(&NEEDED);
        let mut sessions = Sessions::default();
        while let Some(line) = rows.next()? {
            let row = row(line.bytes, &columns, line.place).and_then(|(session, mut round)| {
                if let Some(start) = sessions.start(&session) {
                    if let Some(given) = round.start.filter(|given| *given != start) {
                        let problem = format!("is {given} after the start, but {start} in the session's first row");
                        return Err(line.place.field(COLUMNS[NEEDED], problem, "the session's arrival, the same in all of its rows"));
                    }
                    // When later rounds came is not recorded.
                    round.start = None;
                }
                sessions.push(&session, round, COLUMNS[1], line.place)
            });
            rows.take(row)?;
        }
        let (digest, skipped) = rows.finish();
        let mut losses = sessions.send(&name, options.gaps, sink)?;
        if !has_arrivals {
            losses.push("sessions have no arrivals: give a rate of arrivals, or lanes that take one session after the other".into());
        }
        losses.extend(skipped);
        let origin = origin(PUBLISHED.contains(&digest.to_string().as_str()));
        Ok(Trace { name: stem(&name), source: digest, origin, losses, ..Trace::default() })
    }
}

/// What is known of an example file of the repository.
pub(super) fn origin(is_published: bool) -> Origin {
    Origin {
        licence: is_published.then(|| "Apache-2.0".to_owned()),
        attribution: is_published.then(|| "TraceLab (SyFI Lab, University of Washington)".to_owned()),
        repository: is_published.then(|| "uw-syfi/TraceLab".to_owned()),
        commit: is_published.then(|| "0b8a262ba69602869133b65972d51a388bde45e1".to_owned()),
        ..Origin::default()
    }
}

/// Which of [`COLUMNS`] each column of the file is.
fn columns(header: &[u8], place: Place<'_>) -> Result<Vec<usize>, TraceError> {
    let text = std::str::from_utf8(header).map_err(|_| place.line("the header is not UTF-8", "export the file again"))?;
    let mut columns = vec![];
    for name in text.trim_start_matches('\u{feff}').split(',').map(str::trim) {
        let should = || format!("one of {}", COLUMNS.join(", "));
        let known = COLUMNS.iter().position(|column| *column == name);
        let column = known.ok_or_else(|| place.field(name.chars().take(40).collect::<String>(), "is an unknown column", should()))?;
        if columns.contains(&column) {
            return Err(place.field(name, "stands twice", "one column"));
        }
        columns.push(column);
    }
    match (0..NEEDED).find(|column| !columns.contains(column)) {
        Some(missing) => Err(place.field(COLUMNS[missing], "is missing", "a column of the file")),
        None => Ok(columns),
    }
}

fn row(line: &[u8], columns: &[usize], place: Place<'_>) -> Result<(String, Round), TraceError> {
    let text = std::str::from_utf8(line).map_err(|_| place.line("the line is not UTF-8", "export the file again"))?;
    let values: Vec<&str> = text.split(',').map(str::trim).collect();
    if values.len() != columns.len() {
        let remedy = format!("write one value for each of the {} columns", columns.len());
        return Err(place.line(format!("the line has {} values", values.len()), remedy));
    }
    let value = |column: usize| columns.iter().position(|c| *c == column).map(|at| values[at]);
    let whole = |column: usize, max: u64, of: &str| {
        let text = value(column).unwrap_or_default();
        let is_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = if is_digits { text.parse::<u64>().ok() } else { None };
        number.filter(|n| *n <= max).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            place.field(COLUMNS[column], format!("is `{shown}`"), format!("a whole number of {of} from 0 to {max}"))
        })
    };
    let session = value(0).filter(|name| !name.is_empty()).ok_or_else(|| place.field(COLUMNS[0], "is empty", "the session's name"))?;
    let tokens = |column: usize| whole(column, u64::from(u32::MAX), "tokens").map(|n| (COLUMNS[column], n));
    let (prefix, append, output) = lengths(tokens(2)?, tokens(3)?, tokens(4)?, place)?;
    let index = whole(1, u64::from(u32::MAX), "rounds")?;
    let arrival = value(NEEDED).map(|_| whole(NEEDED, MAX_MS, "milliseconds")).transpose()?;
    let wait = Nanos::from_millis(whole(5, MAX_MS, "milliseconds")? as i64);
    let round = Round {
        index,
        prefix,
        append,
        output,
        start: arrival.map(|ms| Nanos::from_millis(ms as i64)),
        end: None,
        wait: Some(wait),
        cause: Cause::Tool,
        class: 0,
        recorded: Recorded::default(),
    };
    Ok((session.to_owned(), round))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;
    use nomoat_core::prompt::Prompt;

    const SAMPLE: &str = include_str!("../../samples/tracelab.csv");

    fn read(text: &str) -> Result<Trace, TraceError> {
        from_bytes("dir/t.csv", text.as_bytes(), Some("tracelab-csv"), &ImportOptions::default())
    }

    #[test]
    fn prefixes_keep_what_was_there() {
        let trace = read(SAMPLE).unwrap();
        let seen: Vec<_> = trace
            .requests
            .iter()
            .map(|r| {
                let Prompt::Parts(p) = &r.prompt else { panic!("parts") };
                assert_eq!(p.tokens(), u64::from(r.input_tokens));
                let parts: Vec<_> = p.parts.iter().map(|part| (part.id, part.tokens)).collect();
                (p.namespace, r.at.map(|at| at.0 / 1_000_000), parts)
            })
            .collect();
        assert_eq!(
            seen,
            [
                // The session that arrives first comes first, whatever the order of the file.
                (1, Some(0), vec![(1, 300)]),
                (1, None, vec![(1, 300), (2, 40), (5, 100)]),
                // A smaller prefix is a cut: the old contents end there, even inside the answer.
                (1, None, vec![(1, 300), (2, 20), (9, 50)]),
                (2, Some(150), vec![(12, 64), (13, 200)]),
                (2, None, vec![(12, 64), (13, 200), (14, 16), (16, 8), (17, 10)]),
            ]
        );
        let waits: Vec<_> = trace.requests.iter().flat_map(|r| &r.after).map(|e| (e.request.0, e.gap.0 / 1_000_000)).collect();
        assert_eq!(waits, [(0, 100), (1, 250), (3, 80)]);
        for told in ["1 sessions began with a prefix", "1 rounds had a longer prefix"] {
            assert!(trace.losses.iter().any(|loss| loss.starts_with(told)), "{told}: {:?}", trace.losses);
        }
        let columns = "session_id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\n";
        let trace = read(&format!("{columns}a,0,0,5,0,3\n")).unwrap();
        assert_eq!((trace.requests[0].at, trace.requests[0].output_tokens), (None, 1));
        assert!(
            trace.losses.iter().any(|loss| loss.contains("no arrivals"))
                && trace.losses.iter().any(|loss| loss.contains("answers of no token"))
        );
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |from: &str, to: &str, expect: &[&str]| {
            assert!(SAMPLE.contains(from), "{from}");
            let error = read(&SAMPLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        check("prefix_len", "prefix", &["dir/t.csv:1:", "`prefix`", "unknown column", "prefix_len"]);
        check(",tool_wait_after_ms", "", &[":1:", "`tool_wait_after_ms`", "missing"]);
        check("round_idx", "session_id", &[":1:", "twice"]);
        check("a,100,1,", "a,100,0,", &[":4:", "`round_idx` is 0, after round 0"]);
        check("a,100,1,", "a,101,1,", &[":4:", "`arrival_time`", "the same"]);
        check("340,100,", "-340,100,", &[":4:", "`prefix_len` is `-340`", "whole number"]);
        check("340,100,", "0,0,", &[":4:", "`input_len`", "0 tokens"]);
        check("340,100,", "340,100,7,", &[":4:", "8 values"]);
        check("340,100,", "99999999999999999999,100,", &["`prefix_len`"]);
        check("b,250,0", ",250,0", &["`session_id` is empty"]);
    }
}
