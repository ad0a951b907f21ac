//! The instrument's errors: what the harness recorded, held against what this server logged for the same requests.
//!
//! It judges no limits; it only subtracts. Both sides must have run on one host, because both clocks are its `CLOCK_MONOTONIC`.

use crate::row::{LogRow, Outcome};
use nomoat_core::record::RequestRecord;
use nomoat_core::units::Nanos;
use std::collections::HashMap;

/// A distribution of signed errors: ours minus the truth.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Errors {
    /// How many.
    pub n: u64,
    /// Arithmetic mean in ns.
    pub mean_ns: f64,
    /// Median of the signed errors, nearest rank.
    pub p50: Nanos,
    /// 99th percentile of the signed errors, nearest rank.
    pub p99: Nanos,
    /// Largest magnitude.
    pub max_abs: Nanos,
}

impl Errors {
    /// Of these errors; `None` when there are none.
    pub fn of(mut errors: Vec<Nanos>) -> Option<Self> {
        errors.sort_unstable();
        let n = errors.len();
        // Nearest rank: the smallest value with at least `percent` of the values at or below it.
        let rank = |percent: usize| errors.get((n * percent).div_ceil(100).saturating_sub(1)).copied();
        let sum: i128 = errors.iter().map(|error| i128::from(error.0)).sum();
        Some(Self {
            n: n as u64,
            p50: rank(50)?,
            p99: rank(99)?,
            mean_ns: sum as f64 / n as f64,
            max_abs: errors.iter().map(|error| Nanos(error.0.saturating_abs())).max()?,
        })
    }
}

/// Errors in all, and by whether the first token shared its read with another event: then its stamp is an upper bound.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Split {
    /// Both classes.
    pub all: Option<Errors>,
    /// First tokens that came in a read of their own.
    pub separate: Option<Errors>,
    /// First tokens that shared a read.
    pub coalesced: Option<Errors>,
}

impl Split {
    fn of(errors: Vec<(bool, Nanos)>) -> Self {
        let class = |coalesced| errors.iter().filter(|(c, _)| *c == coalesced).map(|(_, error)| *error).collect();
        Self {
            separate: Errors::of(class(false)),
            coalesced: Errors::of(class(true)),
            all: Errors::of(errors.iter().map(|e| e.1).collect()),
        }
    }
}

/// What [`compare`] found. A value is `None` where no pair of record and row had both of its moments.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ErrorReport {
    /// TTFT: (first_token − sent) − (first_write − request_complete).
    pub ttft: Split,
    /// The moment of the first token: first_token − first_write.
    pub first_token: Split,
    /// The moment of the last token: last_token − last_token_write.
    pub last_token: Option<Errors>,
    /// TPOT: the record's − the row's.
    pub tpot: Option<Errors>,
    /// ITL: each gap of the record − the gap of the matching writes, of answers whose events match one by one.
    pub itl: Option<Errors>,
    /// E2E: (last_token − sent) − (last_token_write − request_complete).
    pub e2e: Option<Errors>,
    /// Pairs of record and row.
    pub matched: u64,
    /// Records that were sent and have no row, or whose id another record has too.
    pub unmatched_records: u64,
    /// Rows without a record, without an id, or with an id that several rows share (retries): they cannot be told apart.
    pub unmatched_rows: u64,
    /// Pairs whose record is ok but has another count of output tokens than the row, or none.
    pub token_mismatches: u64,
    /// Pairs whose record is ok although the row is no complete answer, or the reverse.
    pub outcome_mismatches: u64,
}

/// Gaps of which errors are kept: enough for every percentile, bounded in memory.
const MOST_GAPS: usize = 4_000_000;

/// Holds records against the log by request id (METHODOLOGY.md, the instrument's own error). `id_of` gives the id that went out with
/// a record.
pub fn compare<'a>(
    records: impl Iterator<Item = &'a RequestRecord>,
    rows: &[LogRow],
    id_of: impl Fn(&RequestRecord) -> String,
) -> ErrorReport {
    let mut by_id: HashMap<&str, Option<&LogRow>> = HashMap::with_capacity(rows.len());
    for row in rows {
        if let Some(id) = &row.request_id {
            // A second row under an id makes both useless: which answer the record tells of is unknown.
            by_id.entry(id).and_modify(|other| *other = None).or_insert(Some(row));
        }
    }
    let mut report = ErrorReport::default();
    let (mut ttft, mut first, mut last, mut tpot, mut e2e) = (vec![], vec![], vec![], vec![], vec![]);
    let mut itl = vec![];
    for record in records.filter(|record| record.at.sent.is_some()) {
        let Some(row) = by_id.get_mut(id_of(record).as_str()).and_then(Option::take) else {
            report.unmatched_records += 1;
            continue;
        };
        report.matched += 1;
        let coalesced = record.first_coalesced;
        let error = |ours: Option<Nanos>, truth: Option<Nanos>| Some(ours? - truth?);
        ttft.extend(error(record.ttft_service(), row.ttft()).map(|e| (coalesced, e)));
        first.extend(error(record.at.first_token, row.first_write).map(|e| (coalesced, e)));
        // A record that failed saw another last token than the one last written, or may have.
        if record.is_ok() {
            last.extend(error(record.at.last_token, row.last_token_write));
            tpot.extend(error(record.tpot(), row.tpot()));
            e2e.extend(error(record.e2e_service(), row.e2e()));
            if record.chunk_gaps.len() == row.writes.len() && itl.len() < MOST_GAPS {
                itl.extend(
                    record.chunk_gaps.iter().skip(1).zip(row.writes.windows(2)).map(|(ours, pair)| Nanos(*ours) - (pair[1].0 - pair[0].0)),
                );
            }
            report.token_mismatches += u64::from(record.tokens.output != Some(row.output_tokens));
        }
        report.outcome_mismatches += u64::from(record.is_ok() != (row.outcome == Outcome::Complete));
    }
    report.unmatched_rows = rows.len() as u64 - report.matched;
    report.itl = Errors::of(itl);
    report.ttft = Split::of(ttft);
    report.first_token = Split::of(first);
    (report.last_token, report.tpot, report.e2e) = (Errors::of(last), Errors::of(tpot), Errors::of(e2e));
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::record::{Moments, Status, Tokens};
    use nomoat_core::request::RequestId;

    /// A row whose request was complete at 1,000, with 2 + 1 + 1 tokens at 1,500, 1,600 and 1,700.
    fn row(id: Option<&str>) -> LogRow {
        LogRow {
            request_id: id.map(str::to_owned),
            ordinal: 0,
            accepted: Nanos(900),
            request_complete: Nanos(1_000),
            first_write: Some(Nanos(1_500)),
            last_token_write: Some(Nanos(1_700)),
            end: Nanos(1_710),
            writes: vec![(Nanos(1_500), 2), (Nanos(1_600), 1), (Nanos(1_700), 1)],
            prompt_tokens: Some(3),
            output_tokens: 4,
            status: 200,
            outcome: Outcome::Complete,
        }
    }

    /// The record of that request by an instrument that stamps `sent`, the first and the last token with these errors.
    fn record(id: u32, sent: i64, first: i64, last: i64) -> RequestRecord {
        RequestRecord {
            request: RequestId(id),
            at: Moments {
                due: Nanos(0),
                sent: Some(Nanos(1_000 + sent)),
                first_token: Some(Nanos(1_500 + first)),
                last_token: Some(Nanos(1_700 + last)),
                ..Moments::default()
            },
            chunk_tokens: vec![2, 1, 1],
            tokens: Tokens { output: Some(4), ..Tokens::default() },
            ..RequestRecord::default()
        }
    }

    fn of(records: &[RequestRecord], rows: &[LogRow]) -> ErrorReport {
        compare(records.iter(), rows, |record| record.request.0.to_string())
    }

    #[test]
    fn distributions() {
        let check = |errors: &[i64], expected: Option<(f64, i64, i64, i64)>| {
            let got = Errors::of(errors.iter().copied().map(Nanos).collect());
            assert_eq!(got.map(|e| (e.mean_ns, e.p50.0, e.p99.0, e.max_abs.0)), expected, "{errors:?}");
            assert_eq!(got.map_or(0, |e| e.n), errors.len() as u64);
        };
        check(&[], None);
        check(&[5], Some((5.0, 5, 5, 5)));
        check(&[4, -10], Some((-3.0, -10, 4, 10)));
        check(&[3, 1, 2], Some((2.0, 2, 3, 3)));
        check(&(1..=100).collect::<Vec<_>>(), Some((50.5, 50, 99, 100)));
        check(&(1..=101).collect::<Vec<_>>(), Some((51.0, 51, 100, 101)));
        check(&[i64::MIN, 0], Some((i64::MIN as f64 / 2.0, i64::MIN, 0, i64::MAX)));
    }

    #[test]
    fn errors_follow_their_definitions() {
        let check = |sent, first, last, expected: [i64; 5]| {
            let report = of(&[record(1, sent, first, last)], &[row(Some("1"))]);
            let got = [report.ttft.all, report.first_token.all, report.last_token, report.tpot, report.e2e].map(|e| e.unwrap().p50.0);
            assert_eq!(got, expected, "{sent} {first} {last}");
            assert_eq!((report.matched, report.token_mismatches, report.outcome_mismatches), (1, 0, 0));
        };
        check(0, 0, 0, [0, 0, 0, 0, 0]);
        check(0, 30, 30, [30, 30, 30, 0, 30]);
        check(-10, 30, 50, [40, 30, 50, 10, 60]);
        check(20, 5, 5, [-15, 5, 5, 0, -15]);
    }

    #[test]
    fn classes_are_kept_apart() {
        let coalesced = RequestRecord { first_coalesced: true, ..record(2, 0, 90, 0) };
        let report = of(&[record(1, 0, 10, 0), coalesced], &[row(Some("1")), row(Some("2"))]);
        for split in [report.ttft, report.first_token] {
            let n = |errors: Option<Errors>| errors.map(|e| (e.n, e.max_abs.0));
            assert_eq!([n(split.all), n(split.separate), n(split.coalesced)], [Some((2, 90)), Some((1, 10)), Some((1, 90))]);
        }
        assert_eq!(of(&[record(1, 0, 0, 0)], &[row(Some("1"))]).ttft.coalesced, None);
    }

    #[test]
    fn counts() {
        let check = |records: &[RequestRecord], rows: &[LogRow], expected: [u64; 5]| {
            let r = of(records, rows);
            let got = [r.matched, r.unmatched_records, r.unmatched_rows, r.token_mismatches, r.outcome_mismatches];
            assert_eq!(got, expected);
        };
        let ok = || record(1, 0, 0, 0);
        let with_output = |output| RequestRecord { tokens: Tokens { output, ..Tokens::default() }, ..ok() };
        let failed = || RequestRecord { status: Status::Truncated, ..with_output(Some(2)) };
        let unsent = || RequestRecord { at: Moments::default(), status: Status::Dropped, ..ok() };
        check(&[], &[], [0, 0, 0, 0, 0]);
        check(&[ok()], &[row(Some("1"))], [1, 0, 0, 0, 0]);
        check(&[ok()], &[], [0, 1, 0, 0, 0]);
        check(&[], &[row(Some("1")), row(None)], [0, 0, 2, 0, 0]);
        check(&[ok()], &[row(Some("2"))], [0, 1, 1, 0, 0]);
        check(&[ok(), ok()], &[row(Some("1"))], [1, 1, 0, 0, 0]);
        check(&[ok()], &[row(Some("1")), row(Some("1"))], [0, 1, 2, 0, 0]);
        check(&[unsent()], &[], [0, 0, 0, 0, 0]);
        check(&[with_output(Some(5))], &[row(Some("1"))], [1, 0, 0, 1, 0]);
        check(&[with_output(None)], &[row(Some("1"))], [1, 0, 0, 1, 0]);
        check(&[failed()], &[row(Some("1"))], [1, 0, 0, 0, 1]);
        check(&[ok()], &[LogRow { outcome: Outcome::Fault, ..row(Some("1")) }], [1, 0, 0, 0, 1]);
        check(&[failed()], &[LogRow { outcome: Outcome::Fault, ..row(Some("1")) }], [1, 0, 0, 0, 0]);
    }

    #[test]
    fn missing_moments_are_no_errors() {
        let tokenless = LogRow { first_write: None, last_token_write: None, writes: vec![], output_tokens: 0, ..row(Some("1")) };
        let report = of(&[record(1, 0, 0, 0)], &[tokenless]);
        assert_eq!((report.ttft, report.last_token, report.tpot, report.e2e), (Split::default(), None, None, None));
        let failed = RequestRecord { status: Status::Timeout, ..record(1, 0, 7, 0) };
        let report = of(&[failed], &[row(Some("1"))]);
        assert_eq!(report.first_token.all.map(|e| e.p50), Some(Nanos(7)), "a first token was seen, whatever came later");
        assert_eq!((report.last_token, report.tpot, report.e2e), (None, None, None));
    }
}
