//! One harness under audit: what it said, what was true, and the difference.

use super::arrivals::{Arrivals, AskedLoad, Lateness};
use super::law::{Law, Values};
use super::matching::{How, matching};
use super::reported::{Each, Quantity, Reported};
use crate::compare::Errors;
use crate::row::{LogRow, Outcome};
use nomoat_core::units::Nanos;
use std::time::{SystemTime, UNIX_EPOCH};

/// A statistic that harnesses report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stat {
    /// Arithmetic mean.
    Mean,
    /// Median.
    P50,
    /// 99th percentile.
    P99,
}

impl Stat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mean, Self::P50, Self::P99];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }
}

/// A statistic as reported and as it was, in ns.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StatRow {
    /// Of what.
    pub quantity: Quantity,
    /// Which.
    pub stat: Stat,
    /// As the harness says.
    pub reported: Option<f64>,
    /// As the log says, of the same requests by the same definition.
    pub truth: Option<f64>,
}

impl StatRow {
    /// The harness's error = reported − truth.
    pub fn error(&self) -> Option<f64> {
        Some(self.reported? - self.truth?)
    }
}

/// Generation requests as the server saw them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// All.
    pub all: u64,
    /// Those that were answered completely.
    pub complete: u64,
    /// Those that the harness reports as answered.
    pub reported: u64,
    /// Others before the first of these: a look whether the server is there, warm-up.
    pub before: u64,
    /// Others between the first and the last of these.
    pub between: u64,
    /// Others after the last of these: cut off at the end, most likely.
    pub after: u64,
    /// Requests that the harness reports and the server did not see, or not under that name or time.
    pub unseen: u64,
    /// Requests for which the harness counts another number of answer tokens than the server wrote.
    pub other_tokens: u64,
}

/// One harness under audit.
#[derive(Clone, PartialEq, Debug)]
pub struct Side {
    /// What it said.
    pub reported: Reported,
    /// How its requests were found.
    pub how: How,
    /// What the server saw.
    pub seen: Seen,
    /// Statistics, in the order of tables.
    pub stats: Vec<StatRow>,
    /// Errors of single requests (of single gaps for ITL), where they are known.
    pub each: Vec<(Quantity, Errors)>,
    /// The arrivals between the first and the last reported request.
    pub arrivals: Arrivals,
    /// How late they were, or why that is not known.
    pub lateness: Result<Lateness, &'static str>,
}

impl Side {
    /// Holds a result against the log. `wall` is the wall clock minus the log's clock ([`wall_offset`]).
    pub fn new(reported: Reported, rows: &[LogRow], asked: AskedLoad, wall: Nanos) -> Self {
        let mut rows: Vec<LogRow> = rows.to_vec();
        rows.sort_by_key(|row| row.request_complete);
        let found = matching(&reported, &rows, wall);
        let measured: Vec<&LogRow> = found.rows.iter().map(|at| &rows[*at]).collect();
        let mut stats = vec![];
        for stated in Quantity::ALL.into_iter().filter_map(|quantity| reported.stated(quantity)) {
            let values = Values::of(stated.law, measured.iter().copied());
            for stat in Stat::ALL {
                let (said, truth) = match stat {
                    Stat::Mean => (stated.mean, values.mean()),
                    Stat::P50 => (stated.p50, values.percentile(50, stated.rank)),
                    Stat::P99 => (stated.p99, values.percentile(99, stated.rank)),
                };
                stats.push(StatRow { quantity: stated.quantity, stat, reported: said, truth });
            }
        }
        let pairs: Vec<(&Each, &LogRow)> = found.pairs.iter().map(|(request, row)| (&reported.requests[*request], &rows[*row])).collect();
        let each = Quantity::ALL.into_iter().filter_map(|q| Some((q, Errors::of(errors(q, &reported, &pairs))?))).collect();
        let span = found.rows.first().zip(found.rows.last()).map_or(0..0, |(first, last)| *first..*last + 1);
        let at: Vec<Nanos> = rows[span.clone()].iter().map(|row| row.request_complete).collect();
        let said = if found.how.each() { Some(reported.requests.len() as u64) } else { reported.completed };
        let seen = Seen {
            all: rows.len() as u64,
            complete: rows.iter().filter(|row| row.outcome == Outcome::Complete).count() as u64,
            reported: measured.len() as u64,
            before: span.start as u64,
            between: (span.len() - measured.len()) as u64,
            after: (rows.len() - span.end) as u64,
            unseen: said.unwrap_or(0).saturating_sub(measured.len() as u64),
            other_tokens: pairs.iter().filter(|(e, row)| e.tokens.is_some_and(|n| n != u64::from(row.output_tokens))).count() as u64,
        };
        let (arrivals, lateness) = (Arrivals::of(&at, asked), Lateness::of(&at, asked));
        Self { how: found.how, seen, stats, each, arrivals, lateness, reported }
    }
}

/// Errors of one quantity, request by request; of ITL gap by gap, of requests with as many gaps as the log.
fn errors(quantity: Quantity, reported: &Reported, pairs: &[(&Each, &LogRow)]) -> Vec<Nanos> {
    let mut errors = vec![];
    for (each, row) in pairs {
        let said = match quantity {
            Quantity::Ttft => each.ttft,
            Quantity::Tpot => each.tpot,
            Quantity::E2e => each.e2e,
            Quantity::Itl if each.gaps.is_empty() => each.itl,
            Quantity::Itl => {
                let mut gaps = vec![];
                Law::Gaps.values(row, |gap, _| gaps.push(gap));
                if gaps.len() == each.gaps.len() {
                    errors.extend(each.gaps.iter().zip(gaps).map(|(said, truth)| *said - truth));
                }
                continue;
            }
        };
        let truth = reported.stated(quantity).and_then(|stated| stated.law.value(row));
        errors.extend(said.zip(truth).map(|(said, truth)| said - truth));
    }
    errors
}

/// The wall clock minus the clock of the log, now: what a moment of the one is less on the other.
pub fn wall_offset() -> Nanos {
    let before = crate::clock::now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(Nanos::ZERO, |d| Nanos(d.as_nanos() as i64));
    let after = crate::clock::now();
    wall - (before + (after - before) / 2)
}

#[cfg(test)]
pub mod made_up {
    use crate::row::{LogRow, Outcome};
    use nomoat_core::units::Nanos;

    /// A complete answer to a request that arrived at `at`, with tokens so long after it.
    pub fn row(id: Option<&str>, at: i64, writes: &[(i64, u32)]) -> LogRow {
        let writes: Vec<(Nanos, u32)> = writes.iter().map(|(offset, tokens)| (Nanos(at + offset), *tokens)).collect();
        LogRow {
            request_id: id.map(str::to_owned),
            ordinal: 0,
            accepted: Nanos(at - 10),
            request_complete: Nanos(at),
            first_write: writes.first().map(|w| w.0),
            last_token_write: writes.last().map(|w| w.0),
            end: writes.last().map_or(Nanos(at), |w| w.0 + Nanos(5)),
            output_tokens: writes.iter().map(|w| w.1).sum(),
            writes,
            prompt_tokens: Some(3),
            status: 200,
            outcome: Outcome::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::law::Rank;
    use super::super::reported::{StartClock, Stated};
    use super::made_up::row;
    use super::*;

    const MS: i64 = 1_000_000;

    fn stated(quantity: Quantity, law: Law, mean: f64) -> Stated {
        Stated {
            quantity,
            name: "made up",
            law,
            rank: Rank::Linear,
            mean: Some(mean),
            p50: None,
            p99: Some(2.0 * mean),
            definition: "made up",
        }
    }

    /// Four arrivals at 0, 100, 200 and 300 ms; each answer has tokens after 50, 60 and 80 ms.
    fn rows() -> Vec<LogRow> {
        (0..4).map(|i| row(Some(&format!("x-{i}")), i * 100 * MS, &[(50 * MS, 1), (60 * MS, 1), (80 * MS, 1)])).collect()
    }

    #[test]
    fn errors_are_reported_minus_truth() {
        let each = |id: &str, late: i64| Each {
            id: Some(id.to_owned()),
            ttft: Some(Nanos((50 + late) * MS)),
            tpot: Some(Nanos(15 * MS)),
            e2e: Some(Nanos((80 + late) * MS)),
            gaps: vec![Nanos(10 * MS), Nanos((20 + late) * MS)],
            tokens: Some(2 + late.min(2) as u64),
            ..Each::default()
        };
        let reported = Reported {
            completed: Some(2),
            requests: vec![each("1", 1), each("2", 3)],
            stated: vec![
                stated(Quantity::Ttft, Law::FirstToken, 52e6),
                stated(Quantity::Tpot, Law::MeanGap, 15e6),
                stated(Quantity::E2e, Law::LastToken, 82e6),
            ],
            clock: StartClock::None,
            ..Reported::default()
        };
        let side = Side::new(reported, &rows(), AskedLoad::Constant(10.0), Nanos::ZERO);
        let errors: Vec<Option<f64>> = side.stats.iter().map(StatRow::error).collect();
        assert_eq!(errors, [Some(2e6), None, Some(54e6), Some(0.0), None, Some(15e6), Some(2e6), None, Some(84e6)]);
        let each: Vec<(Quantity, u64, f64, i64)> = side.each.iter().map(|(q, e)| (*q, e.n, e.mean_ns, e.max_abs.0)).collect();
        let expect = [(Quantity::Ttft, 2, 2e6, 3 * MS), (Quantity::Itl, 4, 1e6, 3 * MS), (Quantity::Tpot, 2, 0.0, 0)];
        assert_eq!(each[..3], expect);
        assert_eq!(side.seen, Seen { all: 4, complete: 4, reported: 2, before: 1, between: 0, after: 1, unseen: 0, other_tokens: 1 });
        assert_eq!((side.how, side.arrivals.count), (How::Ids, 2));
        assert_eq!(side.lateness.unwrap().max, Nanos::ZERO);
    }

    #[test]
    fn a_result_that_only_counts() {
        let reported = Reported { completed: Some(9), stated: vec![stated(Quantity::Itl, Law::Gaps, 15e6)], ..Reported::default() };
        let side = Side::new(reported, &rows(), AskedLoad::Closed(2), Nanos::ZERO);
        assert_eq!(side.seen, Seen { all: 4, complete: 4, reported: 4, unseen: 5, ..Seen::default() });
        assert_eq!((side.stats[0].truth, side.each.len()), (Some(15e6), 0));
        assert!(side.lateness.is_err());
    }

    #[test]
    fn a_server_that_saw_nothing() {
        let reported = Reported { completed: Some(1), stated: vec![stated(Quantity::E2e, Law::LastToken, 1.0)], ..Reported::default() };
        let side = Side::new(reported, &[], AskedLoad::Constant(1.0), Nanos::ZERO);
        assert_eq!((side.seen.unseen, side.stats[0].truth, side.stats[0].error()), (1, None, None));
    }
}
