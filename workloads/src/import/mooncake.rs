//! Mooncake's JSON Lines: arrival in milliseconds, lengths, and the prefix-chained ids of the prompt's 512-token blocks.
//!
//! The published conversation trace was recorded through a clock of three-second ticks: sent as it stands, ten requests would
//! arrive in one millisecond, every three seconds. Arrivals are therefore spread uniformly at random inside their tick, in
//! their order, from a stream of the seed; the trace's losses say so. Supersets of the format (sessions, delays, text) are not
//! read: their keys are errors.

use super::records::keys;
use super::runs::Runs;
use super::{ImportOptions, Importer, MAX_BLOCK_ID, MAX_TIME, MAX_TOKENS, stem, ticks};
use crate::diagnose::{Field, Shape, explain_line};
use crate::error::{Place, TraceError};
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Origin, Trace, TraceRequest};
use nomoat_core::units::Nanos;
use serde::Deserialize;

/// The importer.
pub(crate) struct MooncakeJsonl;

/// Tokens per block of this format.
const BLOCK_TOKENS: u32 = 512;
const MAX_MS: u64 = (MAX_TIME.0 / 1_000_000) as u64;

const FIELDS: &[Field] = &[
    Field::required("timestamp", Shape::Whole { min: 0, max: MAX_MS, of: "milliseconds" }),
    Field::required("input_length", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" }),
    Field::required("output_length", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" }),
    Field::required("hash_ids", Shape::Wholes { max: MAX_BLOCK_ID, of: "block ids" }),
];

/// SHA-256 of the published files (conversation, synthetic, toolagent, arXiv), all Apache-2.0: a row cannot tell its licence.
const APACHE: [&str; 4] = [
    "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df",
    "bd070915a98fc0ed264d7cfef2ce746002eb3076a695ec31ba2674c0111ec131",
    "48a2db1a13d3bc05e6330140c64f604ba366df20d3c9e128b5c35a01c1fa5f71",
    "b434f1816a707f4bac697235588184ebc374c9907cb981bb65fb0643471fe711",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    timestamp: u64,
    input_length: u64,
    output_length: u64,
    hash_ids: Runs,
}

impl Importer for MooncakeJsonl {
    fn name(&self) -> &'static str {
        "mooncake-jsonl"
    }

    fn about(&self) -> &'static str {
        "Mooncake traces (JSON Lines): arrivals, lengths and chained 512-token block ids"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        is_plain(&keys(head))
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let file = source.name().to_owned();
        let mut rows = Rows::new(source, options);
        let mut requests: Vec<TraceRequest> = vec![];
        while let Some(line) = rows.next()? {
            let previous = requests.last().and_then(|r| r.at).unwrap_or_default();
            let row = serde_json::from_slice(line.bytes)
                .map_err(|error| explain_line(line.bytes, FIELDS, line.place, &error))
                .and_then(|row: Row| request(row, requests.len() as u64, previous, line.place));
            requests.extend(rows.take(row)?);
        }
        let (digest, skipped) = rows.finish();
        // Whether the recording clock ticked shows when all of it is there.
        let (tick, told) = spread(&mut requests, options).unzip();
        requests.into_iter().try_for_each(|request| sink.request(request))?;
        let published = APACHE.contains(&digest.to_string().as_str());
        let origin = Origin {
            licence: published.then(|| "Apache-2.0".to_owned()),
            attribution: published.then(|| "Mooncake traces, Qin et al., FAST 2025".to_owned()),
            repository: published.then(|| "kvcache-ai/Mooncake".to_owned()),
            ..Origin::default()
        };
        let losses = told.into_iter().chain(skipped).collect();
        Ok(Trace { name: stem(&file), source: digest, origin, tick, losses, ..Trace::default() })
    }
}

/// Whether a row with these keys is one of this format: its four and no other, as supersets of it mean other things by them.
pub(super) fn is_plain(keys: &[&[u8]]) -> bool {
    keys.len() == FIELDS.len() && FIELDS.iter().all(|field| keys.iter().any(|key| field.is(key)))
}

fn request(row: Row, index: u64, previous: Nanos, place: Place<'_>) -> Result<TraceRequest, TraceError> {
    let tokens = |name: &'static str, value: u64| match value {
        1..=MAX_TOKENS => Ok(value as u32),
        _ => Err(place.field(name, format!("is {value}"), format!("a whole number of tokens from 1 to {MAX_TOKENS}"))),
    };
    let (input_tokens, output_tokens) = (tokens("input_length", row.input_length)?, tokens("output_length", row.output_length)?);
    if row.timestamp > MAX_MS {
        return Err(place.field("timestamp", format!("is {}", row.timestamp), format!("a whole number of milliseconds up to {MAX_MS}")));
    }
    let at = Nanos::from_millis(row.timestamp as i64);
    if at < previous {
        return Err(place.field(
            "timestamp",
            format!("is {}, which is {} earlier than the line before", row.timestamp, previous - at),
            "in order of time: sort the file by timestamp",
        ));
    }
    let blocks = u64::from(input_tokens.div_ceil(BLOCK_TOKENS));
    if row.hash_ids.count != blocks {
        return Err(place.field(
            "hash_ids",
            format!("has {} ids for {input_tokens} tokens", row.hash_ids.count),
            format!("{blocks} ids: one for each {BLOCK_TOKENS} tokens, the last block may be partial"),
        ));
    }
    let prompt = Prompt::Blocks(BlockPrompt {
        namespace: 0,
        block_tokens: BLOCK_TOKENS,
        blocks: row.hash_ids.ranges.into(),
        tokens: input_tokens,
        unshared: index,
    });
    Ok(TraceRequest { at: Some(at), ..TraceRequest::new(prompt, input_tokens, output_tokens) })
}

/// The recording clock's tick, where arrivals are seen through one of about three seconds: on average at least two rows per
/// distinct time, and nine of ten neighbouring distinct times 2.9 to 3.1 seconds apart.
fn tick(requests: &[TraceRequest]) -> Option<(Nanos, usize)> {
    let mut times: Vec<Nanos> = requests.iter().filter_map(|r| r.at).collect();
    times.dedup();
    let mut gaps: Vec<Nanos> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let near = gaps.iter().filter(|gap| (Nanos::from_millis(2_900)..=Nanos::from_millis(3_100)).contains(gap)).count();
    if gaps.is_empty() || requests.len() < 2 * times.len() || near * 10 < gaps.len() * 9 {
        return None;
    }
    gaps.sort_unstable();
    Some((gaps[gaps.len() / 2], times.len()))
}

/// Spreads ticked arrivals, if there are any and the options say so; what to tell about it.
fn spread(requests: &mut [TraceRequest], options: &ImportOptions) -> Option<(Nanos, String)> {
    let (tick, distinct) = tick(requests)?;
    let seen =
        format!("arrivals were recorded in ticks of {} ms ({distinct} distinct times in {} rows)", tick.0 / 1_000_000, requests.len());
    if !options.spread_ticks {
        return Some((tick, format!("{seen} and left as they are: rows of one tick arrive together")));
    }
    let mut stream = Stream::new(options.seed, "import/mooncake/ticks");
    ticks::spread(requests, tick, false, &mut stream);
    Some((tick, format!("{seen}; they were spread uniformly at random inside their tick, in their order, with seed {}", options.seed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;

    fn read(text: &str, spread_ticks: bool) -> Result<Trace, TraceError> {
        from_bytes(
            "dir/moon.jsonl",
            text.as_bytes(),
            Some("mooncake-jsonl"),
            &ImportOptions { seed: 7, spread_ticks, ..ImportOptions::default() },
        )
    }

    fn row(ms: u64, input: u64, ids: &[u64]) -> String {
        format!("{{\"timestamp\": {ms}, \"input_length\": {input}, \"output_length\": 5, \"hash_ids\": {ids:?}}}\n")
    }

    #[test]
    fn consecutive_ids_become_runs() {
        let trace = read(&(row(0, 1_500, &[0, 1, 2]) + &row(9, 2_049, &[0, 7, 8, 9, 3])), true).unwrap();
        let ranges: Vec<Vec<(u64, u32)>> = trace
            .requests
            .iter()
            .map(|r| {
                let Prompt::Blocks(b) = &r.prompt else { panic!("blocks") };
                assert_eq!((b.block_tokens, b.tokens), (512, r.input_tokens));
                b.blocks.iter().map(|range| (range.first, range.count)).collect()
            })
            .collect();
        assert_eq!(ranges, [vec![(0, 3)], vec![(0, 1), (7, 3), (3, 1)]]);
        assert_eq!(trace.requests[1].at, Some(Nanos::from_millis(9)));
        assert!(trace.losses.is_empty(), "{:?}", trace.losses);
    }

    #[test]
    fn ticks_are_spread_inside_themselves_in_order() {
        let times = [0, 0, 0, 3_000, 3_000, 3_000, 5_999, 5_999, 5_999, 8_998];
        let text: String = times.iter().map(|ms| row(*ms, 1, &[0])).collect();
        let spread = read(&text, true).unwrap();
        assert!(spread.losses[0].contains("ticks of 2999 ms (4 distinct times in 10 rows)") && spread.losses[0].contains("seed 7"));
        let at: Vec<Nanos> = spread.requests.iter().map(|r| r.at.unwrap()).collect();
        assert!(at.is_sorted());
        assert!(at.windows(2).all(|pair| pair[0] < pair[1]), "spread apart: {at:?}");
        for (at, ms) in at.iter().zip(times) {
            let inside = *at - Nanos::from_millis(ms as i64);
            assert!((Nanos::ZERO..Nanos::from_millis(3_000)).contains(&inside), "{at:?}");
            assert_eq!(at.0 % 1_000, 0);
        }
        assert_eq!(read(&text, true).unwrap(), spread, "the same seed spreads the same");
        let raw = read(&text, false).unwrap();
        assert!(raw.losses[0].contains("left as they are"));
        assert!(raw.requests.iter().zip(times).all(|(r, ms)| r.at == Some(Nanos::from_millis(ms as i64))));
        let other: String = times.iter().map(|ms| row(ms / 3, 1, &[0])).collect();
        assert!(read(&other, true).unwrap().losses.is_empty(), "one-second clocks are taken at their word");
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let error = read(text, true).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        let good = row(5, 1, &[0]);
        check("", &["dir/moon.jsonl", "no request"]);
        check(&(good.clone() + &row(4, 1, &[0])), &[":2:", "`timestamp`", "1.00 ms earlier", "sort"]);
        check(&row(0, 513, &[0]), &[":1:", "`hash_ids`", "1 ids for 513 tokens", "2 ids"]);
        check(&row(0, 0, &[]), &["`input_length`", "0", "from 1"]);
        check(&good.replace("5,", "-5,"), &["`timestamp`", "-5", "milliseconds"]);
        check(&good.replace("\"output_length\": 5", "\"output_length\": 1.5"), &["`output_length`", "1.5", "whole number"]);
        check(&good.replace("\"output_length\": 5", "\"output_length\": \"x\""), &["`output_length`", "\"x\""]);
        check(&good.replace("\"output_length\": 5, ", ""), &["`output_length`", "missing"]);
        check(&good.replace("output_length", "output_lenght"), &["`output_lenght`", "unknown", "`output_length`"]);
        check(&good.replace("[0]", "[-1]"), &["`hash_ids`", "-1"]);
        check(&good.replace("[0]", "[99999999999999999]"), &["`hash_ids`", "block ids"]);
        check(&good.replace("\"timestamp\"", "\"timestamp\": 5, \"timestamp\""), &["timestamp", "twice"]);
        check(&good.replace('}', ""), &[":1:", "not JSON"]);
        check(&(good.clone() + "\n" + &good), &[":2:", "empty"]);
        check("[1]\n", &[":1:", "object"]);
    }
}
