//! HTTP/2: against the truth server, which shares the framing crate but none of the stamps, and against frames written by hand.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

use crate::raw::{DATA, END_STREAM, GOAWAY, Listener, RST_STREAM, done, frame, head, token};
use crate::relay::{Relay, Tls};
use crate::{ask, at, clock, config, good, prepared, probe, sink, truth};
use nomoat_core::backend::{Backend, BackendError, Channel};
use nomoat_core::event::RequestError;
use nomoat_core::record::{Connection, ErrorCode, RequestRecord, Status};
use nomoat_core::request::ShardId;
use nomoat_core::units::Nanos;
use nomoat_http::{HttpBackend, HttpConfig, HttpVersion, Secret};
use nomoat_truth::{CERTIFICATE_PEM, Config, Outcome, Script, Truth};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

fn two(url: String) -> HttpConfig {
    HttpConfig { http: HttpVersion::Two, ..config(url) }
}

fn start(config: Config) -> Truth {
    Truth::start(Config { script: Script::parse("ttft=1ms,itl=1ms").unwrap(), ..config }).unwrap()
}

fn with_tls() -> (Truth, String) {
    let truth = start(Config { tls: true, ..Config::default() });
    let url = format!("https://localhost:{}", truth.addr().port());
    (truth, url)
}

/// Asks all at once, each on a channel of its own; their records by id.
async fn crowd(backend: &Arc<HttpBackend>, ids: std::ops::Range<u32>) -> Vec<RequestRecord> {
    let mut tasks = tokio::task::JoinSet::new();
    for id in ids {
        let backend = backend.clone();
        tasks.spawn(async move {
            let mut channel = backend.open(ShardId(0)).await.unwrap();
            ask(&backend, &mut *channel, id).await
        });
    }
    tasks.join_all().await
}

/// The connections that the requests of these ids came by, told apart by when they were accepted.
fn connections(truth: &Truth) -> BTreeSet<Nanos> {
    truth.log().iter().filter(|r| r.request_id.as_deref().is_some_and(|id| id.starts_with("t-"))).map(|r| r.accepted).collect()
}

#[tokio::test]
async fn streams_share_a_connection_plain_and_under_tls() {
    let (tls, url) = with_tls();
    let plain = start(Config::default());
    for (truth, config) in [(&plain, two(at(&plain))), (&tls, HttpConfig { insecure: true, ..two(url) })] {
        let (backend, can) = probe(config).await.unwrap();
        assert_eq!((can.model.as_str(), can.token_ids, can.exact_length, can.usage), ("truth", true, true, true));
        let mut channel = backend.open(ShardId(0)).await.unwrap();
        good(&ask(&backend, &mut *channel, 1).await, Connection::New);
        good(&ask(&backend, &mut *channel, 2).await, Connection::H2);
        for record in crowd(&backend, 3..53).await {
            good(&record, Connection::H2);
        }
        assert_eq!(connections(truth).len(), 1);
        let rows = truth.log();
        assert!((1..53).all(|id| rows.iter().filter(|r| r.request_id.as_ref() == Some(&format!("t-{id}"))).count() == 1));
        let mut telemetry = backend.telemetry().expect("the metrics page is there over HTTP/2 too");
        assert!(!telemetry.sample().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_cold_start_of_many_opens_what_the_peer_allows() {
    for (streams, expect) in [(1, 10), (4, 3), (100, 1)] {
        let truth = start(Config { streams, ..Config::default() });
        let (backend, _) = probe(two(at(&truth))).await.unwrap();
        for record in crowd(&backend, 0..10).await {
            good(&record, Connection::New);
            assert_eq!(record.attempts, 1, "nobody is refused");
        }
        assert_eq!(connections(&truth).len(), expect, "{streams} at a time on each");
        // They are kept: the next ten find a place on them.
        for record in crowd(&backend, 10..20).await {
            good(&record, Connection::H2);
        }
        assert_eq!(connections(&truth).len(), expect);
    }
}

#[tokio::test]
async fn requests_are_spread_when_asked() {
    let count = async |config: HttpConfig, truth: &Truth| {
        let (backend, _) = probe(config).await.unwrap();
        for _ in 0..2 {
            assert!(crowd(&backend, 0..6).await.iter().all(|r| r.status == Status::Ok));
        }
        connections(truth).len()
    };
    let truths: Vec<Truth> = (0..2).map(|_| start(Config::default())).collect();
    assert_eq!(count(HttpConfig { spread: 3, ..two(at(&truths[0])) }, &truths[0]).await, 3);
    assert_eq!(count(HttpConfig { fresh: true, ..two(at(&truths[1])) }, &truths[1]).await, 12);
}

#[tokio::test]
async fn what_tls_agrees_on_is_spoken() {
    let (_truth, url) = with_tls();
    let old = truth("ttft=1ms,itl=1ms");
    let relay = Relay::start(old.addr(), Some(Tls::fixture()), false).await;
    let old_url = relay.url("localhost").replace("http://", "https://");
    let auto = |url: &str| HttpConfig { http: HttpVersion::Auto, insecure: true, ..config(url.to_owned()) };
    for (config, kind) in [(auto(&url), Connection::H2), (auto(&old_url), Connection::New), (auto(&at(&old)), Connection::Reused)] {
        let (backend, _) = probe(config).await.unwrap();
        let mut channel = backend.open(ShardId(0)).await.unwrap();
        good(&ask(&backend, &mut *channel, 1).await, Connection::New);
        // Session tickets that lie unread make the relay's connection one that is not kept.
        let second = ask(&backend, &mut *channel, 2).await;
        assert!(second.connection == kind || (kind == Connection::New && second.connection == Connection::Reused), "{second:?}");
    }
    let ca = std::env::temp_dir().join(format!("nomoat-truth-{}.pem", std::process::id()));
    std::fs::write(&ca, CERTIFICATE_PEM).unwrap();
    let trusted = probe(HttpConfig { ca_file: Some(ca.clone()), ..two(url.clone()) }).await;
    std::fs::remove_file(ca).unwrap();
    assert!(trusted.is_ok(), "{:?}", trusted.err());
    assert!(probe(two(url)).await.is_err_and(|e| e.to_string().contains("--ca-file")), "nobody trusts it untold");
}

#[tokio::test]
async fn what_does_not_speak_it_is_told_before_any_load() {
    let truth = truth("ttft=1ms");
    let tls = Relay::start(truth.addr(), Some(Tls::fixture()), false).await;
    let page = Relay::page("<html>hello</html>").await;
    let only_two = Listener::new().await;
    let only_url = format!("http://{}", only_two.addr());
    let cases: Vec<(HttpConfig, &[&str])> = vec![
        (two(page.url("127.0.0.1")), &["HTTP/2", "without --http 2"]),
        (HttpConfig { insecure: true, ..two(tls.url("localhost").replace("http://", "https://")) }, &["TLS", "HTTP/2"]),
        (HttpConfig { proxy: Some(at(&truth)), ..two(at(&truth)) }, &["--http 2", "proxy"]),
        (HttpConfig { headers: vec![("Connection".into(), Secret::new("close".into()))], ..two(at(&truth)) }, &["`Connection`", "HTTP/2"]),
        (config(only_url), &["--http 2"]),
    ];
    let greets = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let mut stream = only_two.accept_any().await;
        stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
        stream
    });
    for (config, says) in cases {
        let shown = format!("{config:?}");
        let Err(BackendError::Unreachable(message) | BackendError::Config(message)) = probe(config).await else {
            panic!("{shown} was accepted")
        };
        assert!(says.iter().all(|s| message.contains(s)), "{message}");
    }
    drop(greets.await.unwrap());
}

#[tokio::test]
async fn faults_are_failures_of_their_kind() {
    let (_keep, tls) = with_tls();
    for (fault, status, code) in [
        ("error_after:2", Status::Protocol, ErrorCode::StreamError),
        ("close_after:2", Status::Truncated, ErrorCode::NoTerminator),
        ("end_after:2", Status::Truncated, ErrorCode::NoTerminator),
        ("reset_after:2", Status::Truncated, ErrorCode::Reset),
        ("short:2", Status::Short, ErrorCode::Short),
        ("bad_json:2", Status::Protocol, ErrorCode::BadEvent),
        ("gzip", Status::Protocol, ErrorCode::Encoded),
        ("status:500", Status::Http, ErrorCode::Http5xx),
        ("status:429", Status::Rejected, ErrorCode::Http4xx),
        ("redirect", Status::Http, ErrorCode::HttpOther),
    ] {
        for secure in [false, true] {
            let script = Script::parse(&format!("ttft=1ms,itl=1ms,fault={fault},fault_every=2")).unwrap();
            let truth = Truth::start(Config { script, tls: secure, ..Config::default() }).unwrap();
            let url = if secure { format!("https://localhost:{}", truth.addr().port()) } else { at(&truth) };
            let (backend, _) = probe(HttpConfig { insecure: true, ..two(url) }).await.unwrap_or_else(|e| panic!("{fault}: {e}"));
            let mut channel = backend.open(ShardId(0)).await.unwrap();
            let records =
                [ask(&backend, &mut *channel, 1).await, ask(&backend, &mut *channel, 2).await, ask(&backend, &mut *channel, 3).await];
            let failed: Vec<_> = records.iter().filter(|r| !r.is_ok()).map(|r| (r.status, r.error)).collect();
            assert!(!failed.is_empty() && failed.iter().all(|f| *f == (status, Some(code))), "{fault}: {failed:?}");
            assert!(records.iter().any(RequestRecord::is_ok), "{fault}: others are answered");
        }
    }
    drop(tls);
}

#[tokio::test]
async fn a_prompt_larger_than_the_windows_arrives_whole() {
    let script = Script::parse("ttft=1ms,itl=1ms,max_model_len=1000000").unwrap();
    let truth = Truth::start(Config { script, ..Config::default() }).unwrap();
    let (backend, _) = probe(two(at(&truth))).await.unwrap();
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    let (prepared, mut events) = (prepared(&backend, 1, 200_000), sink(200_000));
    assert!(prepared.payload.bytes() > 16 * 65_535 / 2);
    let outcome = channel.generate(&prepared, &mut events).await;
    let record = events.finish(outcome, true).0;
    assert_eq!((record.status, record.tokens.input, record.tokens.output), (Status::Ok, Some(200_000), Some(4)));
    let body = prepared.payload.bytes() as u64;
    assert!(record.bytes_up > body, "{} bytes of frames carry {body}", record.bytes_up);
    assert!(record.at.conn_ready <= record.at.sent && record.at.sent <= record.at.first_byte);
}

#[tokio::test]
async fn a_dropped_request_is_cancelled_at_the_peer() {
    let script = Script::parse("ttft=1ms,itl=10s").unwrap();
    let truth = Truth::start(Config { script, ..Config::default() }).unwrap();
    let config = HttpConfig { path: Some("/v1/completions".into()), model: Some("truth".into()), ..two(at(&truth)) };
    let backend = HttpBackend::new(config, clock()).await.unwrap();
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    let given_up = RequestError::new(Status::Cancelled, ErrorCode::Stopped);
    // The second finds the connection of the first still there.
    for (id, connection) in [(0, Connection::New), (1, Connection::H2)] {
        let (prepared, mut events) = (prepared(&backend, id, 20), sink(20));
        let (first, came) = oneshot::channel();
        events.on_first_token(Box::new(move |at| first.send(at).unwrap()));
        tokio::select! {
            biased;
            outcome = channel.generate(&prepared, &mut events) => panic!("ten seconds have not passed: {outcome:?}"),
            at = came => assert!(at.is_ok()),
        }
        assert_eq!(events.finish(Err(given_up), true).0.connection, connection);
        let row = loop {
            if let Some(row) = truth.log().into_iter().nth(id as usize) {
                break row;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((row.outcome, row.output_tokens), (Outcome::Disconnected, 1));
    }
}

/// A channel to a peer whose frames are written by hand; without a probe, which it would not answer.
async fn by_hand() -> (Listener, Arc<HttpBackend>) {
    let listener = Listener::new().await;
    let config = HttpConfig { path: Some("/v1/completions".into()), ..two(format!("http://{}", listener.addr())) };
    (listener, HttpBackend::new(config, clock()).await.unwrap())
}

#[tokio::test]
async fn each_token_has_the_stamp_of_the_read_that_brought_its_frame() {
    let (listener, backend) = by_hand().await;
    let mut channels: Vec<Box<dyn Channel>> = vec![];
    for _ in 0..2 {
        channels.push(backend.open(ShardId(0)).await.unwrap());
    }
    let ready: Vec<_> = (0..2).map(|id| prepared(&backend, id, 20)).collect();
    let mut sinks = [sink(20), sink(20)];
    let [a, b] = &mut sinks;
    let (left, right) = channels.split_at_mut(1);
    let mut requests = Box::pin(async { tokio::join!(left[0].generate(&ready[0], a), right[0].generate(&ready[1], b)) });
    // Polled until both requests are out, then left alone: tokens arrive while nobody looks, as on a busy shard.
    let mut peer = tokio::select! {
        biased;
        done = &mut requests => panic!("{done:?}"),
        peer = async {
            let mut peer = listener.accept().await;
            assert_eq!([peer.request().await, peer.request().await], [1, 3]);
            peer.write(&[head(1), head(3)].concat()).await;
            peer.settle().await;
            peer
        } => peer,
    };
    let clock = clock();
    let mut between = vec![clock.now()];
    for frames in [token(1, "a"), token(3, "b"), token(1, "c"), token(3, "d"), token(1, "e"), token(3, "f")] {
        peer.write(&frames).await;
        peer.settle().await;
        between.push(clock.now());
    }
    peer.write(&[token(1, "g"), token(3, "h"), done(1, 4), done(3, 4)].concat()).await;
    peer.settle().await;
    between.push(clock.now());
    let outcomes = requests.await;
    let records = [a.finish(outcomes.0, true).0, b.finish(outcomes.1, true).0];
    for (stream, record) in records.iter().enumerate() {
        assert_eq!((record.status, record.tokens.output), (Status::Ok, Some(4)));
        let mut at = record.at.first_token.unwrap();
        let stamps: Vec<Nanos> = record
            .chunk_gaps
            .iter()
            .map(|gap| {
                at += Nanos(*gap);
                at
            })
            .collect();
        for (token, stamp) in stamps.iter().enumerate() {
            let write = if token == 3 { 6 } else { 2 * token + stream };
            assert!(between[write] <= *stamp && *stamp <= between[write + 1], "stream {stream}, token {token}: {stamp:?} {between:?}");
        }
        assert!(!record.first_coalesced, "alone in its read");
        assert!(record.coalesced >= 1, "the last came with other frames");
    }
}

#[tokio::test]
async fn frames_of_several_streams_in_one_read_are_marked() {
    let (listener, backend) = by_hand().await;
    let asked = tokio::spawn({
        let backend = backend.clone();
        async move { crowd(&backend, 0..2).await }
    });
    let mut peer = listener.accept().await;
    assert_eq!([peer.request().await, peer.request().await], [1, 3]);
    peer.write(&[head(1), head(3), token(1, "a"), token(3, "b")].concat()).await;
    peer.settle().await;
    peer.write(&[done(1, 4), done(3, 4)].concat()).await;
    for record in asked.await.unwrap() {
        assert_eq!((record.status, record.tokens.output), (Status::Ok, Some(4)));
        assert!(record.first_coalesced, "the read's stamp is that of its last segment: an upper bound for the others");
    }
}

#[tokio::test]
async fn a_peer_that_goes_is_followed_by_another_connection() {
    let (listener, backend) = by_hand().await;
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    let answers = |stream| [head(stream), token(stream, "a"), done(stream, 4)].concat();
    let good_by = |last: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), 0_u32.to_be_bytes()].concat());
    let served = tokio::spawn(async move {
        // Says good-bye between two requests, while idle.
        let mut peer = listener.accept().await;
        let stream = peer.request().await;
        peer.write(&[answers(stream), good_by(stream)].concat()).await;
        // Says good-bye when the next one has come, and has not taken it.
        let mut second = listener.accept().await;
        let stream = second.request().await;
        second.write(&answers(stream)).await;
        let stream = second.request().await;
        second.write(&good_by(stream - 2)).await;
        let mut third = listener.accept().await;
        let stream = third.request().await;
        third.write(&answers(stream)).await;
        // Refuses a single stream.
        let stream = third.request().await;
        third.write(&frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes())).await;
        let stream = third.request().await;
        third.write(&answers(stream)).await;
        // Breaks off without a byte, on a connection that was kept.
        let _ = third.request().await;
        drop(third);
        let mut fourth = listener.accept().await;
        let stream = fourth.request().await;
        fourth.write(&answers(stream)).await;
        // And for good, in the middle of an answer.
        let stream = fourth.request().await;
        fourth.write(&[head(stream), token(stream, "a")].concat()).await;
        fourth.settle().await;
    });
    for (id, attempts, connection) in
        [(0, 1, Connection::New), (1, 1, Connection::New), (2, 2, Connection::New), (3, 2, Connection::H2), (4, 2, Connection::New)]
    {
        let record = ask(&backend, &mut *channel, id).await;
        assert_eq!((record.status, record.attempts, record.connection), (Status::Ok, attempts, connection), "{id}");
    }
    let cut = ask(&backend, &mut *channel, 5).await;
    assert_eq!((cut.status, cut.attempts), (Status::Truncated, 1), "an answer that has begun is not asked for again");
    served.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_lingers_after_its_end_costs_its_stream_alone() {
    let (listener, backend) = by_hand().await;
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    let served = tokio::spawn(async move {
        let mut peer = listener.accept().await;
        let stream = peer.request().await;
        let mut end = done(stream, 4);
        // Without END_STREAM.
        assert_eq!((end[3], end[4]), (DATA, END_STREAM));
        end[4] = 0;
        peer.write(&[head(stream), token(stream, "a"), end].concat()).await;
        assert_eq!(peer.reset().await, (stream, 8), "CANCEL");
        let stream = peer.request().await;
        peer.write(&[head(stream), token(stream, "a"), done(stream, 4)].concat()).await;
    });
    for (id, connection) in [(0, Connection::New), (1, Connection::H2)] {
        let record = ask(&backend, &mut *channel, id).await;
        assert_eq!((record.status, record.connection), (Status::Ok, connection));
    }
    served.await.unwrap();
}
