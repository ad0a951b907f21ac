//! Tables of prompt and answer lengths (etalon's, Vidur's): no text, and arrivals only where the table has them.

use super::csv::Columns;
use super::decimal::seconds;
use super::{ImportOptions, Importer, MAX_TIME, first_line, stem};
use crate::error::{TraceError, file_error};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::trace::{Origin, Trace, TraceRequest};
use nomoat_core::units::Nanos;

/// The importer.
pub(crate) struct LengthsCsv;

const COLUMNS: [&str; 3] = ["num_prefill_tokens", "num_decode_tokens", "arrived_at"];
/// What follows from the lengths.
const IGNORED: &[&str] = &["num_total_tokens", "pd_ratio"];

/// SHA-256 of the published tables (arXiv, BWB, ShareGPT), all Apache-2.0 and counted by one tokenizer: a row cannot tell it.
const PUBLISHED: [&str; 3] = [
    "9d3580538d915ca75e4aaaa54590b42dbb17abc6d74c8913310cf07c232adcdc",
    "389419d2f2e55149b5d6ccfedb881572798d39650436ab86fd61f3c40337a990",
    "6d6c296302a853e2669a674a96f269283e60c57e60363bd450588a1066919f9f",
];

impl Importer for LengthsCsv {
    fn name(&self) -> &'static str {
        "lengths-csv"
    }

    fn about(&self) -> &'static str {
        "tables of lengths by etalon and Vidur (CSV): prompt and answer tokens, perhaps arrivals"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        first_line(head).split(|b| *b == b',').any(|column| column == COLUMNS[0].as_bytes())
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let file = source.name().to_owned();
        let mut rows = Rows::new(source, options);
        let Some(header) = rows.next()? else {
            return Err(file_error(&file, "the file is empty", format!("it should start with `{},{}`", COLUMNS[0], COLUMNS[1])));
        };
        let columns = Columns::new(COLUMNS, 2, IGNORED, &header)?;
        let (mut index, mut first, mut previous) = (0, None, Nanos::ZERO);
        while let Some(line) = rows.next()? {
            let place = line.place;
            let row = columns.values(&line).and_then(|[input, output, arrived]| {
                let lengths = (columns.tokens(0, input, 1, place)?, columns.tokens(1, output, 1, place)?);
                if !columns.has(2) {
                    return Ok((None, lengths));
                }
                let at = seconds(arrived).ok_or_else(|| columns.wrong(2, arrived, "a number of seconds from 0 to a century", place))?;
                let since = at - first.unwrap_or(at);
                if since < previous {
                    let problem = format!("is {} earlier than the row before", previous - since);
                    return Err(place.field(COLUMNS[2], problem, "in order of time: sort the file by it"));
                }
                if since > MAX_TIME {
                    return Err(columns.wrong(2, arrived, "within a century of the first row", place));
                }
                first.get_or_insert(at);
                previous = since;
                Ok((Some(since), lengths))
            });
            let Some((at, (input, output))) = rows.take(row)? else { continue };
            let prompt = Prompt::Blocks(BlockPrompt::unique(0, index, input));
            sink.request(TraceRequest { at, ..TraceRequest::new(prompt, input, output) })?;
            index += 1;
        }
        let (digest, skipped) = rows.finish();
        let known = PUBLISHED.contains(&digest.to_string().as_str());
        let origin = Origin {
            licence: known.then(|| "Apache-2.0".to_owned()),
            repository: known.then(|| "project-etalon/etalon".to_owned()),
            commit: known.then(|| "d5f18de15a2227a2d469365afc4fa9e2df0c631d".to_owned()),
            ..Origin::default()
        };
        let untimed = (!columns.has(2)).then(|| "arrivals are not recorded: choose an arrival law".to_owned());
        let losses = std::iter::once("prefix reuse is not recorded: every prompt is unique".into()).chain(untimed).chain(skipped).collect();
        let tokenizer = known.then(|| "Llama-2".to_owned());
        Ok(Trace { name: stem(&file), source: digest, origin, tokenizer, losses, ..Trace::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;

    fn read(text: &str) -> Result<Trace, TraceError> {
        from_bytes("dir/lengths.csv", text.as_bytes(), Some("lengths-csv"), &ImportOptions::default())
    }

    #[test]
    fn with_and_without_arrivals() {
        let plain = read("num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n74,918,992,0.08\n290,905,1195,0.32\n").unwrap();
        let seen: Vec<_> = plain.requests.iter().map(|r| (r.at, r.input_tokens, r.output_tokens)).collect();
        assert_eq!(seen, [(None, 74, 918), (None, 290, 905)]);
        assert!(plain.losses[1].contains("arrival law"));
        let timed = read("arrived_at,num_decode_tokens,num_prefill_tokens\n10.5,1,2\n10.500000001,3,4\n").unwrap();
        let seen: Vec<_> = timed.requests.iter().map(|r| (r.at, r.input_tokens, r.output_tokens)).collect();
        assert_eq!(seen, [(Some(Nanos(0)), 2, 1), (Some(Nanos(1)), 4, 3)]);
        assert_ne!(timed.requests[0].prompt, timed.requests[1].prompt);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let error = read(text).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        let header = "num_prefill_tokens,num_decode_tokens,arrived_at\n";
        check("", &["lengths.csv", "empty", "num_prefill_tokens"]);
        check(header, &["no request"]);
        check("num_prefill_tokens,num_decode\n", &[":1:", "column 2", "`num_decode_tokens`"]);
        check(&format!("{header}0,1,2\n"), &[":2:", "`num_prefill_tokens`", "`0`", "from 1"]);
        check(&format!("{header}1,x,2\n"), &["`num_decode_tokens`", "`x`"]);
        check(&format!("{header}1,1,2\n1,1,1.5\n"), &[":3:", "`arrived_at`", "500 ms earlier", "sort"]);
        check(&format!("{header}1,1,later\n"), &["`arrived_at`", "`later`"]);
        check(&format!("{header}1,1,0\n1,1,9000000000\n"), &["`arrived_at`", "century"]);
    }
}
