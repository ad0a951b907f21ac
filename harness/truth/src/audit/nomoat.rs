//! Our own run in the same form, so that it stands in the same table under the same questions.

use super::law::{Law, Rank, Values};
use super::reported::{Each, Quantity, Reported, StartClock, Stated};
use nomoat_core::record::{Phase, RequestRecord};
use nomoat_core::units::Nanos;

/// What a run says, from its records. `id_of` gives the id that went out with a record.
pub fn of_records(records: &[RequestRecord], version: &str, id_of: impl Fn(&RequestRecord) -> String) -> Reported {
    let measured: Vec<&RequestRecord> = records.iter().filter(|r| r.phase == Phase::Measure).collect();
    let ok: Vec<&RequestRecord> = measured.iter().copied().filter(|r| r.is_ok()).collect();
    let stated = |quantity, name, law, values: Vec<(Nanos, u64)>, definition| {
        let values = Values::new(values);
        let at = |percent| values.percentile(percent, Rank::Nearest);
        Stated { quantity, name, law, rank: Rank::Nearest, mean: values.mean(), p50: at(50), p99: at(99), definition }
    };
    let each = |value: fn(&RequestRecord) -> Option<Nanos>| ok.iter().filter_map(|r| Some((value(r)?, 1))).collect();
    let gaps: Vec<(Nanos, u64)> = ok.iter().flat_map(|r| r.chunk_gaps.iter().skip(1)).map(|gap| (Nanos(*gap), 1)).collect();
    Reported {
        tool: "nomoat".to_owned(),
        version: Some(version.to_owned()),
        files: vec![],
        completed: Some(ok.len() as u64),
        failed: Some((measured.len() - ok.len()) as u64),
        stated: vec![
            stated(Quantity::Ttft, "ttft", Law::FirstToken, each(RequestRecord::ttft), "from when the request was due to its first token"),
            stated(Quantity::Itl, "icl", Law::Gaps, gaps, "gaps between chunks, of all requests together"),
            stated(Quantity::Tpot, "tpot", Law::MeanGap, each(RequestRecord::tpot), "(last − first) / (tokens − those of the first chunk)"),
            stated(Quantity::E2e, "e2e", Law::LastToken, each(RequestRecord::e2e), "from when the request was due to its last token"),
        ],
        requests: ok
            .iter()
            .map(|r| Each {
                id: Some(id_of(r)),
                start: r.at.start,
                ttft: r.ttft(),
                itl: None,
                tpot: r.tpot(),
                e2e: r.e2e(),
                gaps: r.chunk_gaps.iter().skip(1).map(|gap| Nanos(*gap)).collect(),
                tokens: r.tokens.output.map(u64::from),
            })
            .collect(),
        clock: StartClock::Monotonic,
        notes: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::record::{Moments, Status, Tokens};
    use nomoat_core::request::RequestId;

    fn record(id: u32, due: i64, status: Status) -> RequestRecord {
        let at = Moments {
            due: Nanos(due),
            start: Some(Nanos(due + 1)),
            first_token: Some(Nanos(due + 500)),
            last_token: Some(Nanos(due + 800)),
            ..Moments::default()
        };
        RequestRecord {
            request: RequestId(id),
            at,
            status,
            chunk_gaps: vec![0, 100, 200],
            chunk_tokens: vec![1, 1, 1],
            tokens: Tokens { output: Some(3), ..Tokens::default() },
            phase: Phase::Measure,
            ..RequestRecord::default()
        }
    }

    #[test]
    fn a_run_by_hand() {
        let warm = RequestRecord { phase: Phase::Warmup, ..record(0, 0, Status::Ok) };
        let records = [warm, record(1, 1_000, Status::Ok), record(2, 2_000, Status::Timeout)];
        let reported = of_records(&records, "1.0", |r| format!("x-{}", r.request.0));
        assert_eq!((reported.completed, reported.failed, reported.requests.len()), (Some(1), Some(1), 1));
        let p50: Vec<Option<f64>> = reported.stated.iter().map(|s| s.p50).collect();
        assert_eq!(p50, [Some(500.0), Some(100.0), Some(150.0), Some(800.0)]);
        assert_eq!((reported.requests[0].id.as_deref(), &*reported.requests[0].gaps), (Some("x-1"), &[Nanos(100), Nanos(200)][..]));
    }
}
