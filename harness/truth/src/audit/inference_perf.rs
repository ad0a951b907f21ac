//! inference-perf: `summary_lifecycle_metrics.json` (or that of a stage), and `per_request_lifecycle_metrics.json` beside it where it
//! was asked for. Everything in s; moments on Python's `perf_counter`, which is `CLOCK_MONOTONIC` on Linux.
//!
//! Read from files of inference-perf 0.7 and from its `reportgen/base.py`. Percentiles are numpy's. Tokens are counted by its own
//! tokenizer, and every token of a chunk has the chunk's time.

use super::document::{Document, Field, SECOND};
use super::error::AuditError;
use super::law::{Law, Rank};
use super::reader::Reader;
use super::reported::{Each, Quantity, Reported, StartClock, Stated};
use nomoat_core::units::Nanos;
use std::path::Path;

pub const READER: Reader = Reader { name: "inference-perf", files: &["summary_lifecycle_metrics.json", PER_REQUEST], knows, read };

const SUMMARY: &str = "summary_lifecycle_metrics.json";
const PER_REQUEST: &str = "per_request_lifecycle_metrics.json";

const QUANTITIES: [(Quantity, &str, Law, &str); 4] = [
    (Quantity::Ttft, "time_to_first_token", Law::FirstToken, "from before the request is posted to the first chunk with text"),
    (
        Quantity::Itl,
        "inter_token_latency",
        Law::Gaps,
        "gaps between tokens, of all requests together; a chunk of several tokens has gaps of 0",
    ),
    (Quantity::Tpot, "time_per_output_token", Law::MeanGap, "(last − first) / (tokens − 1), per request, tokens by its own tokenizer"),
    (Quantity::E2e, "request_latency", Law::LastToken, "from before the request is posted until its answer is read and counted"),
];

fn knows(document: &Document) -> bool {
    let first = document.values.last().and_then(|v| v.get(0));
    let requests = first.is_some_and(|v| v.pointer("/info/response_metrics").is_some() && v.get("start_time").is_some());
    requests || document.has(&["load_summary", "successes", "failures"])
}

fn read(document: &Document) -> Result<Reported, AuditError> {
    let beside = |name: &str| {
        let path = document.path.parent().unwrap_or(Path::new("")).join(name);
        path.is_file().then(|| Document::open(&path)).transpose()
    };
    let is_list = document.values.last().is_some_and(serde_json::Value::is_array);
    let (summary, list) = if is_list { (beside(SUMMARY)?, Some(document.clone())) } else { (Some(document.clone()), beside(PER_REQUEST)?) };
    let Some(summary) = summary else {
        return Err(document.last().wrong(format!("comes without the statistics; they are in {SUMMARY}, which is expected beside it")));
    };
    let root = summary.last();
    let latency = root.at(&["successes", "latency"])?;
    let mut stated = vec![];
    for (quantity, name, law, definition) in QUANTITIES {
        // Without streaming only the request's whole latency is there.
        let Some(field) = latency.maybe(name) else { continue };
        let value = |stat: &str| field.maybe(stat).map(|value| value.time(SECOND)).transpose();
        let (mean, p50, p99) = (value("mean")?, value("median")?, value("p99")?);
        stated.push(Stated { quantity, name, law, rank: Rank::Linear, mean, p50, p99, definition });
    }
    let completed = root.at(&["successes", "count"])?.count()?;
    let mut requests = vec![];
    if let Some(list) = &list {
        for field in list.last().items()? {
            requests.extend(request(&field)?);
        }
    }
    let mut notes = vec![];
    if list.is_none() {
        notes.push("the file has no single requests; `report: {request_lifecycle: {per_request: true}}` writes them".to_owned());
    } else if summary.path.file_name().is_some_and(|name| name != SUMMARY) && requests.len() as u64 != completed {
        notes.push(format!("{PER_REQUEST} has {} requests, this stage {completed}: no single request is compared", requests.len()));
        requests.clear();
    }
    Ok(Reported {
        tool: READER.name.to_owned(),
        version: None,
        files: std::iter::once(&summary).chain(list.as_ref()).map(|d| d.path.clone()).collect(),
        completed: Some(completed),
        failed: Some(root.at(&["failures", "count"])?.count()?),
        stated,
        requests,
        clock: StartClock::Monotonic,
        notes,
    })
}

/// An answered request; its values by the formulas of the summary.
fn request(field: &Field<'_>) -> Result<Option<Each>, AuditError> {
    if field.maybe("error").is_some() {
        return Ok(None);
    }
    let (start, end) = (field.get("start_time")?.nanos(SECOND)?, field.get("end_time")?.nanos(SECOND)?);
    let metrics = field.at(&["info", "response_metrics"])?;
    let times: Vec<Nanos> = match metrics.maybe("output_token_times") {
        Some(list) => list.items()?.iter().map(|time| time.nanos(SECOND)).collect::<Result<_, _>>()?,
        None => vec![],
    };
    let tokens = metrics.maybe("output_tokens").map(|field| field.count()).transpose()?;
    // It gives TTFT to answers of more than one token only.
    let span = times.first().zip(times.last()).filter(|_| times.len() > 1);
    Ok(Some(Each {
        id: None,
        start: Some(start),
        ttft: span.map(|(first, _)| *first - start),
        itl: None,
        tpot: span.zip(tokens.filter(|n| *n > 1)).map(|((first, last), n)| (*last - *first) / (n as i64 - 1)),
        e2e: Some(end - start),
        gaps: times.windows(2).map(|pair| pair[1] - pair[0]).collect(),
        tokens,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reader::samples;

    #[test]
    fn the_sample_by_hand() {
        for file in ["inference-perf/summary_lifecycle_metrics.json", "inference-perf/per_request_lifecycle_metrics.json"] {
            let reported = samples::read(file);
            assert_eq!((reported.completed, reported.failed, reported.requests.len()), (Some(2), Some(1), 2));
            let ttft = reported.stated(Quantity::Ttft).unwrap();
            assert_eq!([ttft.mean, ttft.p50, ttft.p99].map(Option::unwrap), [52_000_000.0, 52_000_000.0, 53_960_000.0]);
            let first = &reported.requests[0];
            assert_eq!((first.start, first.ttft), (Some(Nanos(100_000_000_000)), Some(Nanos(50_000_000))));
            assert_eq!((first.tpot, first.e2e, first.tokens), (Some(Nanos(10_000_000)), Some(Nanos(71_000_000)), Some(3)));
            assert_eq!(first.gaps, [Nanos(9_000_000), Nanos(11_000_000)]);
            assert_eq!(reported.clock, StartClock::Monotonic);
        }
    }
}
