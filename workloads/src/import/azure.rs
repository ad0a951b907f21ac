//! The CSV of the Azure LLM inference traces: arrival, prompt length, answer length, and nothing else.
//!
//! `TIMESTAMP` is a wall clock without a zone and with up to nine (in the published files: seven) fractional digits. Nothing
//! is known of prompts but their length, so every prompt is unique. The multimodal layout has `NumImages` besides: images are counted,
//! and not sent.

use super::csv::Columns;
use super::{ImportOptions, Importer, MAX_TIME, first_line, stem};
use crate::error::{TraceError, file_error};
use crate::lines::{Line, Rows};
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::trace::{Origin, Trace, TraceRequest};
use nomoat_core::units::Nanos;

/// The importer.
pub(crate) struct AzureCsv;

const COLUMNS: [&str; 4] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens", "NumImages"];

/// SHA-256 of the published file whose licence we know: a row of a CSV cannot tell it.
const CONVERSATION_2023: &str = "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8";

impl Importer for AzureCsv {
    fn name(&self) -> &'static str {
        "azure-csv"
    }

    fn about(&self) -> &'static str {
        "Azure LLM inference traces 2023 to 2025 (CSV): arrivals and lengths, no prefixes"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        first_line(head).starts_with(b"TIMESTAMP,")
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let file = source.name().to_owned();
        let mut rows = Rows::new(source, options);
        let Some(header) = rows.next()? else {
            return Err(file_error(&file, "the file is empty", format!("it should start with `{}`", COLUMNS[..3].join(","))));
        };
        let columns = Columns::new(COLUMNS, 3, &[], &header)?;
        let (mut index, mut first, mut previous) = (0, None, Nanos::ZERO);
        let (mut images, mut with_images) = (0_u64, 0_u64);
        while let Some(line) = rows.next()? {
            let row = row(&columns, &line, &mut first, previous);
            let Some((since, [input_tokens, output_tokens, pictures])) = rows.take(row)? else { continue };
            (images, with_images) = (images + u64::from(pictures), with_images + u64::from(pictures > 0));
            let prompt = Prompt::Blocks(BlockPrompt::unique(0, index, input_tokens));
            sink.request(TraceRequest { at: Some(since), ..TraceRequest::new(prompt, input_tokens, output_tokens) })?;
            (index, previous) = (index + 1, since);
        }
        let (digest, skipped) = rows.finish();
        let known = digest.to_string() == CONVERSATION_2023;
        let origin = Origin {
            licence: known.then(|| "CC-BY-4.0".to_owned()),
            attribution: known.then(|| "Azure LLM inference trace 2023, Patel et al., Splitwise, ISCA 2024".to_owned()),
            repository: known.then(|| "Azure/AzurePublicDataset".to_owned()),
            ..Origin::default()
        };
        let unsent = (images > 0).then(|| {
            format!("{images} images of {with_images} requests are not sent: their sizes are not recorded; the prompts keep their length")
        });
        let losses = std::iter::once("prefix reuse is not recorded: every prompt is unique".into()).chain(unsent).chain(skipped).collect();
        Ok(Trace { name: stem(&file), source: digest, origin, losses, ..Trace::default() })
    }
}

/// Arrival since the first row; prompt, answer and images.
fn row(columns: &Columns<4>, line: &Line<'_>, first: &mut Option<Nanos>, previous: Nanos) -> Result<(Nanos, [u32; 3]), TraceError> {
    let place = line.place;
    let [timestamp, input, output, images] = columns.values(line)?;
    let at = parse_timestamp(timestamp)
        .ok_or_else(|| columns.wrong(0, timestamp, "a wall clock such as 2023-11-16 18:15:46.6805900, without a zone", place))?;
    let since = at - first.unwrap_or(at);
    if since < previous {
        let problem = format!("`{timestamp}` is {} earlier than the line before", previous - since);
        return Err(place.field(COLUMNS[0], problem, "in order of time: sort the file by TIMESTAMP"));
    }
    if since > MAX_TIME {
        return Err(columns.wrong(0, timestamp, "within a century of the first row", place));
    }
    let (input, output) = (columns.tokens(1, input, 1, place)?, columns.tokens(2, output, 1, place)?);
    let images = match images.parse::<u32>() {
        _ if !columns.has(3) => 0,
        Ok(count) if images.bytes().all(|b| b.is_ascii_digit()) => count,
        _ => return Err(columns.wrong(3, images, "a whole number of images", place)),
    };
    first.get_or_insert(at);
    Ok((since, [input, output, images]))
}

/// `YYYY-MM-DD HH:MM:SS[.f…]` as nanoseconds since 1970 on the wall clock's own zone; up to nine fractional digits.
pub(super) fn parse_timestamp(text: &str) -> Option<Nanos> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || !text.is_ascii() {
        return None;
    }
    let separators = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, separator)| bytes[at] != separator) {
        return None;
    }
    let number = |from: usize, to: usize| digits(&bytes[from..to]);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1970..=2200).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = match &bytes[19..] {
        [] => 0,
        [b'.', rest @ ..] if (1..=9).contains(&rest.len()) => digits(rest)? * 10_i64.pow(9 - rest.len() as u32),
        _ => return None,
    };
    let days = days_before_year(year) + (1..month).map(|m| days_in_month(year, m)).sum::<i64>() + day - 1;
    Some(Nanos(((days * 24 + hour) * 60 + minute) * 60_000_000_000 + second * 1_000_000_000 + fraction))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |value, b| b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0')))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of `year`.
fn days_before_year(year: i64) -> i64 {
    let leaps = |y: i64| y / 4 - y / 100 + y / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;

    fn read(text: &str) -> Result<Trace, TraceError> {
        from_bytes("dir/azure.csv", text.as_bytes(), Some("azure-csv"), &ImportOptions::default())
    }

    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

    #[test]
    fn reads_rows_to_the_hundredth_of_a_microsecond() {
        let trace = read(&format!("{HEADER}2023-11-16 23:59:59.9999999,374,44\r\n2023-11-17 00:00:00.0000001,396,109")).unwrap();
        assert_eq!(trace.name, "azure");
        let seen: Vec<_> = trace.requests.iter().map(|r| (r.at.unwrap().0, r.input_tokens, r.output_tokens)).collect();
        assert_eq!(seen, [(0, 374, 44), (200, 396, 109)]);
        let prompts: Vec<_> = trace.requests.iter().map(|r| &r.prompt).collect();
        assert_ne!(prompts[0], prompts[1]);
        assert!(read(&format!("{HEADER}2023-11-16 23:59:59,1,1\n")).is_ok());
    }

    #[test]
    fn images_are_counted_and_not_sent() {
        let trace =
            read("TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5,2,374,44\n2023-11-16 18:15:46.6,0,396,109\n");
        let trace = trace.unwrap();
        let seen: Vec<_> = trace.requests.iter().map(|r| (r.at.unwrap().0, r.input_tokens, r.output_tokens)).collect();
        assert_eq!(seen, [(0, 374, 44), (100_000_000, 396, 109)]);
        assert!(trace.losses[1].starts_with("2 images of 1 requests are not sent"), "{:?}", trace.losses);
    }

    #[test]
    fn timestamps() {
        for (text, expect) in [
            ("1970-01-01 00:00:00.0000000", Some(0)),
            ("1970-03-01 00:00:00", Some(59 * 86_400_000_000_000)),
            ("2000-03-01 00:00:00", Some(951_868_800_000_000_000)),
            ("2023-11-16 18:15:46.6805900", Some(1_700_158_546_680_590_000)),
            ("2023-02-29 00:00:00", None),
            ("2023-11-16 24:00:00", None),
            ("2023-11-16T18:15:46", None),
            ("2023-11-16 18:15:46.", None),
            ("2023-11-16 18:15:46.1234567890", None),
            ("2023-11-16 18:15:46.12+00:00", None),
            ("", None),
        ] {
            assert_eq!(parse_timestamp(text), expect.map(Nanos), "{text}");
        }
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let error = read(text).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        let row = "2023-11-16 18:15:46.6805900,1,1\n";
        check("", &["dir/azure.csv", "empty", "TIMESTAMP,ContextTokens"]);
        check(HEADER, &["no request"]);
        check("TIMESTAMP,Context,GeneratedTokens\n", &["azure.csv:1:", "column 2", "`Context`", "should be `ContextTokens`"]);
        check("TIMESTAMP,ContextTokens\n", &[":1:", "no column `GeneratedTokens`"]);
        check("TIMESTAMP,ContextTokens,GeneratedTokens,X\n", &[":1:", "column 4", "`X`", "one of"]);
        check("TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,+1,1,1\n", &[":2:", "`NumImages`", "`+1`"]);
        check(&format!("{HEADER}{row}2023-11-16 18:15:46.6805900,-1,1\n"), &[":3:", "`ContextTokens`", "`-1`", "1 to"]);
        check(&format!("{HEADER}2023-11-16 18:15:46,1,0\n"), &[":2:", "`GeneratedTokens`", "`0`"]);
        check(&format!("{HEADER}2023-11-16 18:15:46,1,1.5\n"), &["`1.5`"]);
        check(&format!("{HEADER}2023-11-16 18:15:46,99999999999999999999999,1\n"), &["`ContextTokens`"]);
        check(&format!("{HEADER}yesterday,1,1\n"), &[":2:", "`TIMESTAMP`", "`yesterday`", "2023-11-16 18:15:46"]);
        check(&format!("{HEADER}{row}2023-11-16 18:15:45.6805900,1,1\n"), &[":3:", "`TIMESTAMP`", "1.00 s earlier", "sort"]);
        check(&format!("{HEADER}{row}\n{row}"), &[":3:", "empty", "delete"]);
        check(&format!("{HEADER}1,2\n"), &[":2:", "2 values", "3 values"]);
    }
}
