//! Scripted answers: what is asked of an adapter in echo, and how its moments divide a delay into its part and the way from it to us.
//!
//! Nothing here reads a clock: the adapter's moments come with its `done`, ours stand in the record, and both are `CLOCK_MONOTONIC` of
//! one host.

use nomoat_core::record::RequestRecord;
use nomoat_core::units::Nanos;
use serde::Deserialize;
use serde_json::json;

/// The times an adapter is asked to play.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Script {
    /// From a whole request to the first token.
    pub ttft: Nanos,
    /// From token to token.
    pub itl: Nanos,
}

/// A record's numbers of the vendor, where the adapter was asked to play a script.
#[derive(Deserialize)]
struct Vendor {
    sent_ns: Vec<i64>,
}

/// The moments of a `done` as numbers of the vendor, which is how a record keeps them.
pub(crate) fn vendor(sent_ns: &[i64]) -> String {
    json!({"sent_ns": sent_ns}).to_string()
}

/// Where the time of scripted answers went, one value per token or per request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delays {
    /// Per token: arrived − handed over by the adapter. Its own encoding and write, the socket, and our wake-up.
    pub token: Vec<Nanos>,
    /// Per token but the first: the gap between two hand-overs − the scripted one.
    pub pace: Vec<Nanos>,
    /// Per request: first token arrived − request sent − scripted TTFT.
    pub ttft: Vec<Nanos>,
    /// Of that, until the adapter handed it over: our write, its read and parse, its timer.
    pub ttft_adapter: Vec<Nanos>,
    /// Of that, the rest: as `token`, of first tokens alone.
    pub ttft_way: Vec<Nanos>,
    /// Answers that are in here.
    pub matched: u64,
    /// Complete answers whose moments are missing, or not one for each message that came.
    pub unmatched: u64,
    /// Answers with a moment before the request was sent, after the token arrived, or before the one before it: no times of one clock.
    pub impossible: u64,
}

/// Divides the delays of `records`, which were asked to play `script`. Answers that are not complete tell nothing and are passed over.
pub fn delays<'a>(records: impl Iterator<Item = &'a RequestRecord>, script: Script) -> Delays {
    let mut out = Delays::default();
    for record in records.filter(|record| record.is_ok()) {
        let told = record.vendor.as_deref().and_then(|text| serde_json::from_str::<Vendor>(text).ok());
        let (Some(Vendor { sent_ns }), Some(asked), Some(first)) = (told, record.at.sent, record.at.first_token) else {
            out.unmatched += 1;
            continue;
        };
        let came: Vec<Nanos> = (record.chunk_gaps.iter())
            .scan(first, |at, gap| {
                *at += Nanos(*gap);
                Some(*at)
            })
            .collect();
        let sent: Vec<Nanos> = sent_ns.into_iter().map(Nanos).collect();
        let (Some(handed), true) = (sent.first().copied(), sent.len() == came.len()) else {
            out.unmatched += 1;
            continue;
        };
        let ordered = sent.windows(2).all(|pair| pair[0] <= pair[1]) && asked <= handed;
        if !ordered || sent.iter().zip(&came).any(|(sent, came)| sent > came) {
            out.impossible += 1;
            continue;
        }
        out.matched += 1;
        out.token.extend(sent.iter().zip(&came).map(|(sent, came)| *came - *sent));
        out.pace.extend(sent.windows(2).map(|pair| pair[1] - pair[0] - script.itl));
        out.ttft.push(first - asked - script.ttft);
        out.ttft_adapter.push(handed - asked - script.ttft);
        out.ttft_way.push(first - handed);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::record::{Moments, Status};

    const SCRIPT: Script = Script { ttft: Nanos(1_000), itl: Nanos(100) };

    /// Sent at 10, tokens at 1,015, 1,120 and 1,230, handed over at `sent_ns`.
    fn record(sent_ns: &[i64]) -> RequestRecord {
        RequestRecord {
            at: Moments { sent: Some(Nanos(10)), first_token: Some(Nanos(1_015)), ..Moments::default() },
            chunk_gaps: vec![0, 105, 110],
            vendor: Some(vendor(sent_ns)),
            ..RequestRecord::default()
        }
    }

    #[test]
    fn a_delay_is_divided() {
        let found = delays([record(&[1_012, 1_115, 1_210])].iter(), SCRIPT);
        let ns = |list: &[i64]| list.iter().copied().map(Nanos).collect::<Vec<_>>();
        assert_eq!(found.token, ns(&[3, 5, 20]));
        assert_eq!(found.pace, ns(&[3, -5]));
        assert_eq!((found.ttft, found.ttft_adapter, found.ttft_way), (ns(&[5]), ns(&[2]), ns(&[3])), "the parts are the whole");
        assert_eq!((found.matched, found.unmatched, found.impossible), (1, 0, 0));
    }

    #[test]
    fn what_tells_nothing_is_counted_and_left_out() {
        let check = |record: RequestRecord, expect: (u64, u64, u64)| {
            let found = delays([record.clone()].iter(), SCRIPT);
            assert_eq!((found.matched, found.unmatched, found.impossible), expect, "{record:?}");
            assert_eq!(found.token.is_empty(), expect.0 == 0, "{record:?}");
        };
        let good = [1_012, 1_115, 1_210];
        check(record(&good), (1, 0, 0));
        check(RequestRecord { status: Status::Truncated, ..record(&good) }, (0, 0, 0));
        check(RequestRecord { vendor: None, ..record(&good) }, (0, 1, 0));
        check(RequestRecord { vendor: Some("{\"other\":1}".into()), ..record(&good) }, (0, 1, 0));
        check(record(&good[..2]), (0, 1, 0));
        check(record(&[]), (0, 1, 0));
        check(record(&[1_012, 1_115, 1_231]), (0, 0, 1));
        check(record(&[1_012, 1_011, 1_210]), (0, 0, 1));
        check(record(&[9, 1_115, 1_210]), (0, 0, 1));
        // The wall clock's.
        check(record(&[1_800_000_000_000_000_000, 1_800_000_000_000_000_100, 1_800_000_000_000_000_200]), (0, 0, 1));
    }
}
