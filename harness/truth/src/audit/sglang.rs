//! `sglang.bench_serving --output-file`: lines of JSON, appended; the last one counts. Statistics in ms, with `--output-details` lists
//! of single requests in s.
//!
//! Read from SGLang's `python/sglang/bench_serving.py` (2025): it grew out of vLLM's and writes the same keys but for E2E.

use super::document::Document;
use super::error::AuditError;
use super::law::Law;
use super::reader::Reader;
use super::reported::{Quantity, Reported, StartClock};
use super::vllm::{Keys, lists, statistics};

pub const READER: Reader =
    Reader { name: "sglang", files: &[], knows: |document| document.has(&["mean_e2e_latency_ms", "mean_ttft_ms", "completed"]), read };

const QUANTITIES: &[Keys] = &[
    (Quantity::Ttft, "ttft", Law::FirstToken, "from just before the request is posted to the first non-empty text"),
    (Quantity::Itl, "itl", Law::Gaps, "gaps between chunks with text, of all requests together"),
    (Quantity::Tpot, "tpot", Law::MeanGap, "(E2E − TTFT) / (tokens − 1), per request"),
    (
        Quantity::E2e,
        "e2e_latency",
        Law::LastToken,
        "from just before the request is posted to the last event before [DONE], one with the usage included",
    ),
];

fn read(document: &Document) -> Result<Reported, AuditError> {
    let root = document.last();
    let completed = root.get("completed")?.count()?;
    let stated = statistics(&root, QUANTITIES, completed)?;
    let mut requests = lists(&root)?.0;
    // It sends no ids; requests are listed in the order in which they were sent.
    requests.iter_mut().for_each(|each| each.id = None);
    let mut notes = vec![];
    if requests.is_empty() {
        notes.push("the file has no single requests; --output-details writes them".to_owned());
    }
    if document.values.len() > 1 {
        notes.push(format!("the file has {} results; the last is taken", document.values.len()));
    }
    Ok(Reported {
        tool: READER.name.to_owned(),
        version: None,
        files: vec![document.path.clone()],
        completed: Some(completed),
        failed: None,
        stated,
        requests,
        clock: StartClock::None,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::reader::samples;
    use nomoat_core::units::Nanos;

    #[test]
    fn the_sample_by_hand() {
        let reported = samples::read("sglang/result.jsonl");
        // The last of two lines.
        assert_eq!((reported.completed, reported.requests.len()), (Some(2), 2));
        assert_eq!(reported.notes, ["the file has 2 results; the last is taken"]);
        let e2e = reported.stated(Quantity::E2e).unwrap();
        assert_eq!([e2e.mean, e2e.p50, e2e.p99].map(Option::unwrap), [72_500_000.0, 72_500_000.0, 74_950_000.0]);
        assert_eq!(reported.stated(Quantity::Itl).unwrap().p99, Some(10_970_000.0));
        let last = &reported.requests[1];
        assert_eq!((last.id.clone(), last.ttft, last.tokens), (None, Some(Nanos(54_000_000)), Some(3)));
        assert_eq!(last.gaps, [Nanos(10_000_000), Nanos(11_000_000)]);
    }
}
