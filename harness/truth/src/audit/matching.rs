//! Which rows of the log are the requests that a harness reports.
//!
//! A server sees more than a result tells: a look whether it is there, warm-up, what was cancelled at the end. Where the file names
//! its requests or says when each began, they are found one by one; where it only counts, the last so many complete answers are
//! taken, and that is said.

use super::reported::{Each, Reported, StartClock};
use crate::row::{LogRow, Outcome};
use nomoat_core::units::Nanos;
use std::collections::HashMap;

/// How far before its reported start a request may arrive: two clocks are compared, one of them perhaps through the other.
const SLACK: Nanos = Nanos::from_millis(1);
/// How long after its start a request without a reported end may arrive.
const PATIENCE: Nanos = Nanos::from_secs(60);

/// How requests were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// By the `x-request-id` they were sent with.
    Ids,
    /// By when each began. Requests that began within a moment of each other may be taken for one another.
    Times,
    /// By their order; the first rows that are too many were left out.
    Order,
    /// Only counted: the last so many complete answers.
    Count,
    /// The file does not even count: every complete answer.
    All,
}

impl How {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ids => "each request was found in the server's log by its x-request-id",
            Self::Times => {
                "each request was found in the server's log by when it began; two that began at nearly one time may be exchanged, \
                 which moves errors of single requests but no distribution"
            }
            Self::Order => "requests were found in the server's log by their order alone, the last so many",
            Self::Count => "the result names no single request: the last so many complete answers of the server are taken for them",
            Self::All => "the result does not count its requests: every complete answer of the server is taken",
        }
    }

    /// Whether single requests are known.
    pub fn each(self) -> bool {
        matches!(self, Self::Ids | Self::Times | Self::Order)
    }
}

/// What was found. Rows are positions in the log, ascending.
#[derive(Clone, PartialEq, Debug)]
pub struct Matching {
    /// How.
    pub how: How,
    /// Positions of a request and its row.
    pub pairs: Vec<(usize, usize)>,
    /// The rows that the harness reports.
    pub rows: Vec<usize>,
}

/// Finds the reported requests among rows that ascend by arrival. `wall` is the wall clock minus the log's clock.
pub fn matching(reported: &Reported, rows: &[LogRow], wall: Nanos) -> Matching {
    let requests = &reported.requests;
    let enough = |pairs: &Vec<(usize, usize)>| pairs.len() * 2 > requests.len();
    let by_id = by_id(requests, rows);
    if enough(&by_id) {
        return of_pairs(How::Ids, by_id);
    }
    let shift = match reported.clock {
        StartClock::Wall => Some(wall),
        StartClock::Monotonic => Some(Nanos::ZERO),
        StartClock::None => None,
    };
    if let Some(by_time) = shift.map(|shift| by_time(requests, rows, shift)).filter(enough) {
        return of_pairs(How::Times, by_time);
    }
    let complete: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].outcome == Outcome::Complete).collect();
    if !requests.is_empty() && complete.len() >= requests.len() {
        let rows = complete[complete.len() - requests.len()..].to_vec();
        return Matching { how: How::Order, pairs: rows.iter().copied().enumerate().collect(), rows };
    }
    let (how, count) = reported.completed.map_or((How::All, complete.len()), |n| (How::Count, usize::try_from(n).unwrap_or(usize::MAX)));
    Matching { how, pairs: vec![], rows: complete[complete.len().saturating_sub(count)..].to_vec() }
}

fn of_pairs(how: How, pairs: Vec<(usize, usize)>) -> Matching {
    let mut rows: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
    rows.sort_unstable();
    Matching { how, pairs, rows }
}

/// By the whole id, or by what follows its last hyphen. An id that two rows have names neither.
fn by_id(requests: &[Each], rows: &[LogRow]) -> Vec<(usize, usize)> {
    let mut known: HashMap<&str, Option<usize>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        let Some(id) = row.request_id.as_deref() else { continue };
        let tail = id.rsplit_once('-').map(|(_, tail)| tail);
        for name in std::iter::once(id).chain(tail) {
            known.entry(name).and_modify(|other| *other = None).or_insert(Some(at));
        }
    }
    let find = |(index, each): (usize, &Each)| Some((index, known.get(each.id.as_deref()?).copied().flatten()?));
    requests.iter().enumerate().filter_map(find).collect()
}

/// In the order in which they began, each takes the first row that arrived no earlier and no later than it lasted. Rows in between
/// belong to nobody.
fn by_time(requests: &[Each], rows: &[LogRow], shift: Nanos) -> Vec<(usize, usize)> {
    let mut started: Vec<(Nanos, usize)> =
        requests.iter().enumerate().filter_map(|(index, each)| each.start.map(|start| (start - shift, index))).collect();
    started.sort_unstable();
    let mut pairs = vec![];
    let mut next = 0;
    for (start, index) in started {
        while rows.get(next).is_some_and(|row| row.request_complete < start - SLACK) {
            next += 1;
        }
        let latest = start + requests[index].e2e.unwrap_or(PATIENCE) + SLACK;
        if rows.get(next).is_some_and(|row| row.request_complete <= latest) {
            pairs.push((index, next));
            next += 1;
        }
    }
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use super::super::side::made_up::row;
    use super::*;

    const MS: i64 = 1_000_000;

    fn rows(ids: &[Option<&str>]) -> Vec<LogRow> {
        ids.iter().enumerate().map(|(at, id)| row(*id, (at as i64 + 1) * 10 * MS, &[(5 * MS, 1), (6 * MS, 1)])).collect()
    }

    fn each(id: Option<&str>, start_ms: Option<i64>) -> Each {
        Each { id: id.map(str::to_owned), start: start_ms.map(|ms| Nanos(ms * MS)), e2e: Some(Nanos(7 * MS)), ..Each::default() }
    }

    fn check(reported: &Reported, rows: &[LogRow], how: How, pairs: &[(usize, usize)], measured: &[usize]) {
        let got = matching(reported, rows, Nanos(1_000_000 * MS));
        assert_eq!((got.how, got.pairs.as_slice(), got.rows.as_slice()), (how, pairs, measured));
    }

    #[test]
    fn ids_whole_and_by_their_end() {
        let requests = vec![each(Some("a"), None), each(Some("b"), None)];
        let reported = Reported { requests, ..Reported::default() };
        check(&reported, &rows(&[None, Some("b"), Some("a")]), How::Ids, &[(0, 2), (1, 1)], &[1, 2]);
        check(&reported, &rows(&[Some("x-1-b"), Some("x-1-a"), None]), How::Ids, &[(0, 1), (1, 0)], &[0, 1]);
        // Two rows of one id name neither; then order decides.
        check(&reported, &rows(&[Some("a"), Some("a"), Some("c")]), How::Order, &[(0, 1), (1, 2)], &[1, 2]);
    }

    #[test]
    fn times_leave_out_what_came_before_and_between() {
        // Rows arrive at 10, 20, 30, 40 and 50 ms; the reported ones began at 39 and 19 ms.
        let requests = vec![each(None, Some(39)), each(None, Some(19))];
        let monotonic = Reported { requests: requests.clone(), clock: StartClock::Monotonic, ..Reported::default() };
        check(&monotonic, &rows(&[None; 5]), How::Times, &[(0, 3), (1, 1)], &[1, 3]);
        let on_the_wall: Vec<Each> =
            requests.into_iter().map(|e| Each { start: e.start.map(|s| s + Nanos(1_000_000 * MS)), ..e }).collect();
        let wall = Reported { requests: on_the_wall, clock: StartClock::Wall, ..Reported::default() };
        check(&wall, &rows(&[None; 5]), How::Times, &[(0, 3), (1, 1)], &[1, 3]);
    }

    #[test]
    fn counts_take_the_last() {
        let counted = |completed| Reported { completed, ..Reported::default() };
        let mut rows = rows(&[None; 4]);
        check(&counted(Some(3)), &rows, How::Count, &[], &[1, 2, 3]);
        check(&counted(Some(9)), &rows, How::Count, &[], &[0, 1, 2, 3]);
        check(&counted(None), &rows, How::All, &[], &[0, 1, 2, 3]);
        rows[3].outcome = Outcome::Disconnected;
        check(&counted(Some(2)), &rows, How::Count, &[], &[1, 2]);
        check(&counted(Some(2)), &[], How::Count, &[], &[]);
    }
}
