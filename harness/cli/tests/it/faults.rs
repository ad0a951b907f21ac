//! What goes wrong at an endpoint becomes rows of the right kind: never a success, never a lost row.

use crate::common::{Place, Summary, truth, url};
use nomoat_truth::Fault;
use std::collections::BTreeMap;

/// Requests of a run; even, so that every second one is half of them.
const N: u64 = 6;
/// Tokens of an answer.
const OUTPUT: u64 = 8;

/// What becomes of a request that a fault befalls.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Becomes {
    /// A failed row of this status and error, which begins only under load.
    Failed(&'static str, &'static str),
    /// The same, and the one-token request before the load meets it already.
    FailedAtOnce(&'static str, &'static str),
    /// The endpoint is asked differently from then on; where it showed only under load, a failed row.
    Avoided(&'static str, &'static str),
    /// A failed row; where every answer is so, lengths are caps and it is none.
    Capped(&'static str, &'static str),
    /// An answer whose usage is so many tokens off.
    Miscounted(u64),
    /// Nothing: a good answer in an unusual form.
    Ok,
}

/// Total over the faults, so that a new one needs a line here.
fn becomes(fault: Fault) -> Becomes {
    use Becomes::{Avoided, Capped, Failed, FailedAtOnce, Miscounted, Ok};
    match fault {
        Fault::ErrorAfter(_) | Fault::FlatErrorAfter(_) => Failed("protocol", "stream_error"),
        Fault::CloseAfter(_) | Fault::EndAfter(_) => Failed("truncated", "no_terminator"),
        Fault::ResetAfter(_) => Failed("truncated", "reset"),
        Fault::Status(429) => FailedAtOnce("rejected", "http_4xx"),
        Fault::Status(400..=499) => FailedAtOnce("http", "http_4xx"),
        Fault::Status(_) => FailedAtOnce("http", "http_5xx"),
        Fault::Redirect => FailedAtOnce("http", "http_other"),
        Fault::RejectLength => Avoided("http", "http_4xx"),
        Fault::WrongUsage(k) => Miscounted(k.into()),
        Fault::Gzip => FailedAtOnce("protocol", "encoded"),
        Fault::BadJson(_) => Failed("protocol", "bad_event"),
        Fault::BadChunkSize(_) => Failed("protocol", "bad_chunk"),
        Fault::Short(_) => Capped("short", "short"),
        Fault::NoUsage
        | Fault::UsageEveryChunk
        | Fault::EmptyChunk(_)
        | Fault::Comments(_)
        | Fault::AfterDone
        | Fault::NoDone
        | Fault::Crlf
        | Fault::NoSpace
        | Fault::MultiLine
        | Fault::Bom
        | Fault::EventLines
        | Fault::Dribble
        | Fault::Coalesce(_)
        | Fault::NotStreaming
        | Fault::BlankLines
        | Fault::HugeEvent(_) => Ok,
    }
}

/// Runs against a server whose every `every`-th request has the fault; the request before the load is the first.
fn run(fault: Fault, every: u32, path: &str) -> crate::common::Ended {
    let server = truth(&format!("ttft=2ms,itl=1ms,fault={fault},fault_every={every}"), None, None);
    Place::new().say(&format!(
        "run --url {} --endpoint {path} --concurrency 1 --requests {N} --warmup 0s --input-tokens 16 --output-tokens {OUTPUT} --quiet --format json",
        url(&server)
    ))
}

fn map(entries: &[(&str, u64)]) -> BTreeMap<String, u64> {
    entries.iter().filter(|(_, n)| *n > 0).map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

fn assert_failed(summary: &Summary, failed: u64, status: &str, error: &str, what: &str) {
    assert_eq!(summary.by_status(), map(&[("ok", N - failed), (status, failed)]), "{what}");
    assert_eq!(summary.by_error(), map(&[(error, failed)]), "{what}");
    let counts = ["recorded", "measured", "ok", "failed", "output_tokens"].map(|name| summary.count(name));
    assert_eq!(counts, [N, N, N - failed, failed, (N - failed) * OUTPUT], "{what}");
}

fn check(fault: Fault, every: u32, path: &str) {
    let what = format!("{fault}, every {every}, {path}");
    let befallen = N / u64::from(every);
    let ended = run(fault, every, path);
    match (becomes(fault), every) {
        (Becomes::FailedAtOnce(..), 1) => {
            assert_eq!(ended.code, Some(3), "{what}: {ended:?}");
            assert!(ended.stderr.contains("did not generate a single token"), "{what}: {}", ended.stderr);
            assert_eq!(ended.stdout, "", "{what}");
        }
        (Becomes::Capped(..), 1) => {
            let summary = ended.summary();
            assert_eq!(summary.by_status(), map(&[("ok", N)]), "{what}");
            let output = summary.count("output_tokens");
            assert!(output > 0 && output < N * OUTPUT, "{what}: {output}");
            ended.assert_exit(0, &summary);
        }
        (Becomes::Failed(status, error) | Becomes::FailedAtOnce(status, error), _)
        | (Becomes::Avoided(status, error) | Becomes::Capped(status, error), 2..) => {
            let summary = ended.summary();
            assert_failed(&summary, befallen, status, error, &what);
            assert!(summary.broken().contains(&"V03".to_owned()), "{what}");
            assert_eq!(summary.broken().contains(&"V02".to_owned()), befallen == N, "{what}");
            ended.assert_exit(if befallen == N { 4 } else { 5 }, &summary);
        }
        (Becomes::Miscounted(off), _) => {
            let summary = ended.summary();
            assert_eq!(summary.by_status(), map(&[("ok", N)]), "{what}");
            assert_eq!(summary.count("output_tokens"), N * OUTPUT + befallen * off, "what the endpoint says is kept as it said it: {what}");
            assert!(summary.broken().contains(&"V07".to_owned()), "{what}");
            ended.assert_exit(5, &summary);
        }
        (Becomes::Ok | Becomes::Avoided(..) | Becomes::Capped(..), _) => {
            let summary = ended.summary();
            assert_failed(&summary, 0, "none", "none", &what);
            assert_eq!(summary.broken_by_requests(), [""; 0], "{what}");
            ended.assert_exit(0, &summary);
        }
    }
}

#[test]
fn every_request_of_completions() {
    Fault::EXAMPLES.into_iter().for_each(|fault| check(fault, 1, "/v1/completions"));
}

#[test]
fn every_second_request_of_completions() {
    Fault::EXAMPLES.into_iter().for_each(|fault| check(fault, 2, "/v1/completions"));
}

#[test]
fn every_second_request_of_chat() {
    Fault::EXAMPLES.into_iter().for_each(|fault| check(fault, 2, "/v1/chat/completions"));
}

#[test]
fn statuses() {
    for status in [400, 401, 404, 500, 503, 599] {
        check(Fault::Status(status), 2, "/v1/chat/completions");
    }
}

#[test]
fn an_endpoint_that_goes_away_fails_what_is_left() {
    let place = Place::new();
    let server = truth("ttft=2ms,itl=1ms", None, None);
    let mut running = place.start(&crate::common::words(&format!(
        "run --url {} --rate 20 --requests 40 --warmup 0s --input-tokens 16 --output-tokens {OUTPUT} --quiet --format json",
        url(&server)
    )));
    crate::common::until("a few requests were answered", || {
        running.check_alive();
        (server.log().len() >= 5).then_some(())
    });
    server.stop();
    drop(server);
    let ended = running.end();
    let summary = ended.summary();
    assert_eq!([summary.count("recorded"), summary.count("measured")], [40, 40]);
    let [ok, failed] = [summary.count("ok"), summary.count("failed")];
    assert!(ok >= 3 && failed >= 1 && ok + failed == 40, "{ok} {failed}");
    let by = summary.by_status();
    assert!(by.keys().all(|status| ["ok", "connect", "truncated"].contains(&status.as_str())), "{by:?}");
    ended.assert_exit(5, &summary);
}
