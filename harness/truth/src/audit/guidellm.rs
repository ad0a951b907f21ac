//! GuideLLM: the JSON output (`benchmarks.json`). Latencies of whole requests in s, all others in ms, moments in s since 1970.
//!
//! Read from files of GuideLLM 0.8 and from its `schemas/benchmark`: ITL and TPOT are one value per request that counts as often as
//! the request has tokens, and a percentile is the first value beyond the share.

use super::document::{Document, Field, MILLISECOND, SECOND};
use super::error::AuditError;
use super::law::{Law, Rank};
use super::reader::Reader;
use super::reported::{Each, Quantity, Reported, StartClock, Stated};

pub const READER: Reader = Reader { name: "guidellm", files: &["benchmarks.json"], knows, read };

const QUANTITIES: [(Quantity, &str, f64, Law, &str); 4] = [
    (
        Quantity::Ttft,
        "time_to_first_token_ms",
        MILLISECOND,
        Law::FirstToken,
        "from before the stream is opened to the first line with content, reasoning or a tool call, both on the wall clock",
    ),
    (
        Quantity::Itl,
        "inter_token_latency_ms",
        MILLISECOND,
        Law::MeanGapByTokens,
        "(last − first) / (tokens − 1), one value per request, weighted by its tokens",
    ),
    (
        Quantity::Tpot,
        "time_per_output_token_ms",
        MILLISECOND,
        Law::TokenShare,
        "(last − start) / tokens, so TTFT is in it; one value per request, weighted by its tokens",
    ),
    (Quantity::E2e, "request_latency", SECOND, Law::LastToken, "from before the stream is opened to its end, both on the wall clock"),
];

fn knows(document: &Document) -> bool {
    let first = document.values.last().and_then(|value| value.pointer("/benchmarks/0/metrics"));
    first.is_some_and(|metrics| metrics.get("time_to_first_token_ms").is_some())
}

fn read(document: &Document) -> Result<Reported, AuditError> {
    let root = document.last();
    let benchmarks = root.get("benchmarks")?;
    let items = benchmarks.items()?;
    let [benchmark] = items.as_slice() else {
        return Err(benchmarks.wrong(format!("holds {} loads, and an audit compares one; ask for a profile with one rate", items.len())));
    };
    let metrics = benchmark.get("metrics")?;
    let mut stated = vec![];
    for (quantity, name, unit, law, definition) in QUANTITIES {
        let field = metrics.at(&[name, "successful"])?;
        let mean = field.maybe("mean").map(|value| value.time(unit)).transpose()?;
        let percentile = |at: &str| field.maybe("percentiles").and_then(|p| p.maybe(at)).map(|value| value.time(unit)).transpose();
        let (p50, p99) = (percentile("p50")?, percentile("p99")?);
        stated.push(Stated { quantity, name, law, rank: Rank::Above, mean, p50, p99, definition });
    }
    let totals = metrics.get("request_totals")?;
    let completed = totals.get("successful")?.count()?;
    let left = ["errored", "incomplete"].iter().map(|key| totals.get(key)?.count()).sum::<Result<u64, _>>()?;
    let requests: Vec<Each> = match benchmark.maybe("requests").and_then(|r| r.maybe("successful")) {
        Some(list) => list.items()?.iter().map(request).collect::<Result<_, _>>()?,
        None => vec![],
    };
    let mut notes = vec![];
    if (requests.len() as u64) < completed {
        notes.push(format!("the file has {} of {completed} requests; statistics are of all, the truth is of these", requests.len()));
    }
    let version = root.maybe("metadata").and_then(|m| m.maybe("guidellm_version"));
    Ok(Reported {
        tool: READER.name.to_owned(),
        version: version.and_then(|v| v.text().ok().map(str::to_owned)),
        files: vec![document.path.clone()],
        completed: Some(completed),
        failed: Some(left),
        stated,
        requests,
        clock: StartClock::Wall,
        notes,
    })
}

fn request(field: &Field<'_>) -> Result<Each, AuditError> {
    let value = |name: &str, unit: f64| field.maybe(name).map(|value| value.nanos(unit)).transpose();
    Ok(Each {
        // Its own ids are not sent.
        id: None,
        start: value("request_start_time", SECOND)?,
        ttft: value("time_to_first_token_ms", MILLISECOND)?,
        itl: value("inter_token_latency_ms", MILLISECOND)?,
        tpot: value("time_per_output_token_ms", MILLISECOND)?,
        e2e: value("request_latency", SECOND)?,
        gaps: vec![],
        tokens: field.maybe("output_tokens").map(|field| field.count()).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reader::samples;
    use nomoat_core::units::Nanos;

    #[test]
    fn the_sample_by_hand() {
        let reported = samples::read("guidellm/benchmarks.json");
        assert_eq!((reported.version.as_deref(), reported.completed, reported.failed), (Some("0.8.1"), Some(2), Some(3)));
        let e2e = reported.stated(Quantity::E2e).unwrap();
        assert_eq!([e2e.mean, e2e.p50, e2e.p99].map(Option::unwrap), [72_500_000.0, 75_000_000.0, 75_000_000.0]);
        assert_eq!(reported.stated(Quantity::Tpot).unwrap().mean, Some(24_000_000.0));
        let first = &reported.requests[0];
        assert_eq!((first.ttft, first.itl, first.e2e), (Some(Nanos(50_000_000)), Some(Nanos(10_000_000)), Some(Nanos(70_000_000))));
        // A float of seconds since 1970 is good to a quarter of a microsecond.
        assert!((first.start.unwrap().0 - 1_795_767_636_193_437_800).abs() < 500, "{:?}", first.start);
        assert_eq!((first.tokens, reported.clock), (Some(3), StartClock::Wall));
    }

    #[test]
    fn one_load_at_a_time() {
        let text = std::fs::read_to_string(samples::path("guidellm/benchmarks.json")).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let twice = value["benchmarks"][0].clone();
        value["benchmarks"].as_array_mut().unwrap().push(twice);
        let error = read(&Document::parse("x.json".as_ref(), &value.to_string()).unwrap()).unwrap_err().to_string();
        assert!(error.contains("`benchmarks` holds 2 loads"), "{error}");
    }
}
