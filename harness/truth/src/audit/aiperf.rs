//! AIPerf: `profile_export_aiperf.json` with statistics in their named units, and `profile_export.jsonl` with one line per request.
//!
//! Read from files of AIPerf 0.13. Percentiles are numpy's. A request is sent with the `x-request-id` of its line.

use super::document::{Document, Field, MILLISECOND, NANOSECOND, SECOND};
use super::error::AuditError;
use super::law::{Law, Rank};
use super::reader::Reader;
use super::reported::{Each, Quantity, Reported, StartClock, Stated};
use nomoat_core::units::Nanos;
use std::path::Path;

pub const READER: Reader = Reader { name: "aiperf", files: &["profile_export_aiperf.json", "profile_export.jsonl"], knows, read };

const QUANTITIES: [(Quantity, &str, Law, &str); 4] = [
    (
        Quantity::Ttft,
        "time_to_first_token",
        Law::FirstToken,
        "from after the request was prepared, before it has a connection, to the first response with data, reasoning included",
    ),
    (Quantity::Itl, "inter_chunk_latency", Law::Gaps, "gaps between chunks, of all requests together"),
    (
        Quantity::Tpot,
        "inter_token_latency",
        Law::MeanGap,
        "(request latency − TTFT) / (tokens − 1), per request; AIPerf calls it inter token latency",
    ),
    (Quantity::E2e, "request_latency", Law::LastToken, "from after the request was prepared to the last response with content"),
];

fn knows(document: &Document) -> bool {
    let line = document.values.first().is_some_and(|v| v.pointer("/metadata/benchmark_phase").is_some() && v.get("metrics").is_some());
    line || document.has(&["aiperf_version", "request_latency"])
}

/// From either file the other one is looked for beside it: statistics are in the one, requests in the other.
fn read(document: &Document) -> Result<Reported, AuditError> {
    let is_lines = document.values.first().is_some_and(|v| v.get("metadata").is_some());
    let beside = |name: &str| {
        let path = document.path.parent().unwrap_or(Path::new("")).join(name);
        path.is_file().then(|| Document::open(&path)).transpose()
    };
    let (summary, lines) =
        if is_lines { (beside(READER.files[0])?, Some(document.clone())) } else { (Some(document.clone()), beside(READER.files[1])?) };
    let Some(summary) = summary else {
        return Err(document
            .last()
            .wrong(format!("comes without the statistics; they are in {}, which is expected beside it", READER.files[0])));
    };
    let root = summary.last();
    let mut stated = vec![];
    for (quantity, name, law, definition) in QUANTITIES {
        let Some(field) = root.maybe(name) else { continue };
        let unit = unit(&field)?;
        let value = |stat: &str| field.maybe(stat).map(|value| value.time(unit)).transpose();
        let (mean, p50, p99) = (value("avg")?, value("p50")?, value("p99")?);
        stated.push(Stated { quantity, name, law, rank: Rank::Linear, mean, p50, p99, definition });
    }
    let count = |name: &str| root.maybe(name).map(|field| field.get("avg")?.count()).transpose();
    let mut requests = vec![];
    let mut notes = vec![];
    let mut elsewhere = 0_u64;
    for line in lines.iter().flat_map(Document::lines) {
        match request(&line)? {
            Some(each) => requests.push(each),
            None => elsewhere += 1,
        }
    }
    if elsewhere > 0 {
        notes.push(format!("{elsewhere} lines of {} are warm-up, cancelled or failed", READER.files[1]));
    }
    if root.maybe("was_cancelled").is_some_and(|field| field.is_true()) {
        notes.push("AIPerf says that the run was cancelled".to_owned());
    }
    Ok(Reported {
        tool: READER.name.to_owned(),
        version: root.maybe("aiperf_version").and_then(|v| v.text().ok().map(str::to_owned)),
        files: std::iter::once(&summary).chain(lines.as_ref()).map(|d| d.path.clone()).collect(),
        completed: count("request_count")?,
        failed: count("error_request_count")?,
        stated,
        requests,
        clock: StartClock::Wall,
        notes,
    })
}

/// The unit that stands beside a value.
fn unit(field: &Field<'_>) -> Result<f64, AuditError> {
    let unit = field.get("unit")?;
    match unit.text()? {
        "ns" => Ok(NANOSECOND),
        "us" => Ok(1e3),
        "ms" => Ok(MILLISECOND),
        "s" | "sec" => Ok(SECOND),
        other => Err(unit.wrong(format!("is `{other}`, which is no unit of time that is known"))),
    }
}

/// An answered request of the measured phase.
fn request(line: &Field<'_>) -> Result<Option<Each>, AuditError> {
    let (metadata, metrics) = (line.get("metadata")?, line.get("metrics")?);
    let measured = metadata.get("benchmark_phase")?.text()? == "profiling";
    let cancelled = metadata.maybe("was_cancelled").is_some_and(|field| field.is_true());
    if !measured || cancelled || line.maybe("error").is_some() {
        return Ok(None);
    }
    let value = |name: &str| {
        let Some(metric) = metrics.maybe(name) else { return Ok(None) };
        metric.get("value")?.nanos(unit(&metric)?).map(Some)
    };
    let gaps: Result<Vec<Nanos>, AuditError> = match metrics.maybe("inter_chunk_latency") {
        Some(metric) => {
            let unit = unit(&metric)?;
            metric.get("value")?.items()?.iter().map(|gap| gap.nanos(unit)).collect()
        }
        None => Ok(vec![]),
    };
    Ok(Some(Each {
        id: metadata.maybe("x_request_id").map(|id| id.text().map(str::to_owned)).transpose()?,
        start: metadata.maybe("request_start_ns").map(|field| field.nanos(NANOSECOND)).transpose()?,
        ttft: value("time_to_first_token")?,
        itl: None,
        tpot: value("inter_token_latency")?,
        e2e: value("request_latency")?,
        gaps: gaps?,
        tokens: metrics.maybe("output_sequence_length").map(|metric| metric.get("value")?.count()).transpose()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reader::samples;

    #[test]
    fn the_sample_by_hand() {
        for file in ["aiperf/profile_export_aiperf.json", "aiperf/profile_export.jsonl"] {
            let reported = samples::read(file);
            assert_eq!((reported.version.as_deref(), reported.completed, reported.failed), (Some("0.13.0"), Some(2), Some(1)));
            let ttft = reported.stated(Quantity::Ttft).unwrap();
            assert_eq!([ttft.mean, ttft.p50, ttft.p99].map(Option::unwrap), [52_000_000.0, 52_000_000.0, 53_960_000.0]);
            // One value is in seconds: its unit counts, not its name.
            assert_eq!(reported.stated(Quantity::E2e).unwrap().mean, Some(72_500_000.0));
            assert_eq!(reported.requests.len(), 2, "warm-up and the failed one are left out");
            let first = &reported.requests[0];
            assert_eq!((first.id.as_deref(), first.start), (Some("a-1"), Some(Nanos(1_795_768_033_265_627_123))));
            assert_eq!((first.ttft, first.tpot, first.tokens), (Some(Nanos(50_000_000)), Some(Nanos(10_000_000)), Some(3)));
            assert_eq!(first.gaps, [Nanos(9_500_000), Nanos(10_500_000)]);
            assert_eq!(reported.notes, ["2 lines of profile_export.jsonl are warm-up, cancelled or failed"]);
        }
    }

    #[test]
    fn requests_without_statistics() {
        let folder = tempfile::tempdir().unwrap();
        let alone = folder.path().join("profile_export.jsonl");
        std::fs::copy(samples::path("aiperf/profile_export.jsonl"), &alone).unwrap();
        let error = read(&Document::open(&alone).unwrap()).unwrap_err().to_string();
        assert!(error.contains("profile_export_aiperf.json, which is expected beside it"), "{error}");
    }

    #[test]
    fn a_unit_that_is_none() {
        let text = r#"{"aiperf_version": "1", "request_latency": {"unit": "furlongs", "avg": 1.0}}"#;
        let error = read(&Document::parse("x.json".as_ref(), text).unwrap()).unwrap_err().to_string();
        assert!(error.contains("field `request_latency.unit` is `furlongs`"), "{error}");
    }
}
