//! `vllm bench serve --save-result`, with or without `--save-detailed`. Statistics in ms, lists of single requests in s.
//!
//! Read from vLLM's `benchmarks/serve.py` and `benchmarks/lib/endpoint_request_func.py` (2026-01): percentiles are numpy's, a chunk
//! counts from its `choices` on, whether it has text or not, and each request of the load is sent with an `x-request-id` that ends in
//! its number. Without `--save-detailed` the lists are taken out of the file.

use super::document::{Document, Field, MILLISECOND, SECOND};
use super::error::AuditError;
use super::law::{Law, Rank};
use super::reader::Reader;
use super::reported::{Each, Quantity, Reported, StartClock, Stated};
use nomoat_core::units::Nanos;

pub const READER: Reader = Reader {
    name: "vllm",
    files: &[],
    knows: |document| document.has(&["mean_ttft_ms", "completed", "request_throughput"]) && !document.has(&["mean_e2e_latency_ms"]),
    read,
};

const QUANTITIES: &[Keys] = &[
    (
        Quantity::Ttft,
        "ttft",
        Law::FirstToken,
        "from when a task may send, before it takes a connection, to the first chunk with `choices`, a role-only chunk included",
    ),
    (Quantity::Itl, "itl", Law::Gaps, "gaps between chunks with `choices`, of all requests together"),
    (Quantity::Tpot, "tpot", Law::MeanGap, "(E2E − TTFT) / (tokens − 1), per request"),
    (Quantity::E2e, "e2el", Law::LastToken, "from when a task may send to the last chunk with `choices`"),
];

fn read(document: &Document) -> Result<Reported, AuditError> {
    let root = document.last();
    let completed = root.get("completed")?.count()?;
    let stated = statistics(&root, QUANTITIES, completed)?;
    let (requests, clock) = lists(&root)?;
    let mut notes = vec![];
    if requests.is_empty() {
        notes.push("the file has no single requests; --save-detailed writes them".to_owned());
    }
    if root.maybe("mean_e2el_ms").is_none() {
        notes.push("E2E is not in the file; --percentile-metrics ttft,tpot,itl,e2el writes it".to_owned());
    }
    Ok(Reported {
        tool: READER.name.to_owned(),
        version: None,
        files: vec![document.path.clone()],
        completed: Some(completed),
        failed: root.maybe("failed").map(|field| field.count()).transpose()?,
        stated,
        requests,
        clock,
        notes,
    })
}

/// Each quantity's word in the keys, its law and its definition.
pub type Keys = (Quantity, &'static str, Law, &'static str);

/// The keys that both `vllm bench` and the harness that grew out of it write: mean, median and p99 in ms. A quantity that is not in the
/// file is not stated.
pub fn statistics(root: &Field<'_>, quantities: &[Keys], completed: u64) -> Result<Vec<Stated>, AuditError> {
    let mut stated = vec![];
    for &(quantity, word, law, definition) in quantities {
        if root.maybe(&format!("mean_{word}_ms")).is_none() {
            continue;
        }
        // Without a single answer these harnesses write zeros.
        let value = |stat: &str| {
            let field = root.maybe(&format!("{stat}_{word}_ms")).filter(|_| completed > 0);
            field.map(|field| field.time(MILLISECOND)).transpose()
        };
        let (mean, p50, p99) = (value("mean")?, value("median")?, value("p99")?);
        stated.push(Stated { quantity, name: word, law, rank: Rank::Linear, mean, p50, p99, definition });
    }
    Ok(stated)
}

fn nth<'a>(items: Option<&Vec<Field<'a>>>, index: usize) -> Option<Field<'a>> {
    items.and_then(|items| items.get(index).cloned())
}

/// Answered requests out of parallel lists. Failed ones have a text in `errors`, and zeros elsewhere.
pub fn lists(root: &Field<'_>) -> Result<(Vec<Each>, StartClock), AuditError> {
    let Some(ttfts) = root.maybe("ttfts") else { return Ok((vec![], StartClock::None)) };
    let list = |key: &str| root.maybe(key).map(|field| field.items()).transpose();
    let (errors, itls, lens, starts) = (list("errors")?, list("itls")?, list("output_lens")?, list("start_times")?);
    let mut requests = vec![];
    for (index, ttft) in ttfts.items()?.into_iter().enumerate() {
        if nth(errors.as_ref(), index).is_some_and(|error| error.text().is_ok_and(|text| !text.is_empty())) {
            continue;
        }
        let gaps: Result<Vec<Nanos>, AuditError> = match nth(itls.as_ref(), index) {
            Some(gaps) => gaps.items()?.iter().map(|gap| gap.nanos(SECOND)).collect(),
            None => Ok(vec![]),
        };
        let (ttft, gaps) = (ttft.nanos(SECOND)?, gaps?);
        let tokens = nth(lens.as_ref(), index).map(|field| field.count()).transpose()?;
        let after_first: Nanos = gaps.iter().fold(Nanos::ZERO, |sum, gap| sum + *gap);
        // The file has no E2E of single requests. Its gaps run to the last chunk, so the sum is what the harness holds for it.
        let whole = (!gaps.is_empty()).then_some(ttft + after_first);
        let tpot = tokens.filter(|n| *n > 1 && whole.is_some()).map(|n| after_first / (n as i64 - 1));
        let start = nth(starts.as_ref(), index).map(|field| field.nanos(SECOND)).transpose()?;
        requests.push(Each { id: Some(index.to_string()), start, ttft: Some(ttft), itl: None, tpot, e2e: whole, gaps, tokens });
    }
    // Python's perf_counter is CLOCK_MONOTONIC on Linux.
    let clock = if starts.is_some() { StartClock::Monotonic } else { StartClock::None };
    Ok((requests, clock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reader::samples;

    #[test]
    fn the_sample_by_hand() {
        let reported = samples::read("vllm/result.json");
        assert_eq!((reported.completed, reported.failed, reported.requests.len()), (Some(2), Some(1), 2));
        let ttft = reported.stated(Quantity::Ttft).unwrap();
        assert_eq!([ttft.mean, ttft.p50, ttft.p99].map(Option::unwrap), [52_000_000.0, 52_000_000.0, 53_960_000.0]);
        assert_eq!(reported.stated(Quantity::E2e).unwrap().mean, Some(72e6));
        let first = &reported.requests[0];
        assert_eq!((first.id.as_deref(), first.ttft, first.e2e), (Some("0"), Some(Nanos(50_000_000)), Some(Nanos(70_000_000))));
        assert_eq!((first.tokens, first.tpot, first.gaps.len()), (Some(3), Some(Nanos(10_000_000)), 2));
        // The failed one between them is left out, and the third keeps its number.
        let last = &reported.requests[1];
        assert_eq!((last.id.as_deref(), last.ttft, last.start), (Some("2"), Some(Nanos(54_000_000)), Some(Nanos(100_200_000_000))));
        assert_eq!(reported.clock, StartClock::Monotonic);
    }

    #[test]
    fn a_result_without_details() {
        let text = r#"{"completed": 2, "request_throughput": 1.0, "mean_ttft_ms": 51.5, "median_ttft_ms": 51.0, "p99_ttft_ms": 60.0}"#;
        let document = Document::parse("plain.json".as_ref(), text).unwrap();
        assert!((READER.knows)(&document));
        let reported = read(&document).unwrap();
        assert_eq!((reported.stated.len(), reported.requests.len(), reported.notes.len()), (1, 0, 2));
        let nothing = text.replace("\"completed\": 2", "\"completed\": 0");
        let reported = read(&Document::parse("plain.json".as_ref(), &nothing).unwrap()).unwrap();
        assert_eq!(reported.stated[0].mean, None, "zero does not stand for missing");
        let wrong = text.replace("51.5", "\"fast\"");
        let error = read(&Document::parse("plain.json".as_ref(), &wrong).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "reading plain.json: field `mean_ttft_ms` is not a number");
    }
}
