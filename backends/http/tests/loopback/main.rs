//! The measured connection against a server whose truth is known, over real sockets on loopback: plain, TLS, through a proxy, IPv6;
//! kept and stale connections; every way an endpoint can be none. Nothing here judges how long anything took.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

mod aside;
mod http2;
mod power;
mod raw;
mod relay;
mod suite;

use nomoat_core::backend::{Backend, BackendError, Capabilities, Channel, Offer, Prepared};
use nomoat_core::clock::Clock;
use nomoat_core::event::EventSink;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::record::{Connection, ErrorCode, RequestRecord, Status, Tokens};
use nomoat_core::request::{Request, RequestId, ShardId};
use nomoat_core::units::Nanos;
use nomoat_http::engines::Catalog;
use nomoat_http::{HttpBackend, HttpConfig, Secret};
use nomoat_truth::{Config, Script, Truth};
use relay::{Relay, Tls};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A clock that runs; only its order matters here.
struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> Nanos {
        Nanos(self.0.elapsed().as_nanos() as i64)
    }
}

/// One clock for the transport and the sink, as in a run.
fn clock() -> Arc<dyn Clock> {
    static START: OnceLock<Instant> = OnceLock::new();
    Arc::new(Running(*START.get_or_init(Instant::now)))
}

fn truth(script: &str) -> Truth {
    Truth::start(Config { script: Script::parse(script).unwrap(), ..Config::default() }).unwrap()
}

fn config(url: String) -> HttpConfig {
    HttpConfig { url, exact: true, ..HttpConfig::default() }
}

fn at(truth: &Truth) -> String {
    format!("http://{}", truth.addr())
}

async fn probe(config: HttpConfig) -> Result<(Arc<HttpBackend>, Capabilities), BackendError> {
    let backend = HttpBackend::new(config, clock()).await?;
    let can = backend.probe().await?;
    Ok((backend, can))
}

/// A request of `input` prompt and 4 answer tokens, ready to be sent.
fn prepared(backend: &HttpBackend, id: u32, input: u32) -> Prepared {
    let request = Request::new(RequestId(id), Prompt::Blocks(BlockPrompt::unique(0, u64::from(id), input)), input, 4);
    let payload = backend.encoder(&Offer { prompt_seed: 1, id_prefix: "t".into(), ..Offer::default() }).encode(&request, &[]).unwrap();
    Prepared { request, payload }
}

/// A sink for it.
fn sink(input: u32) -> EventSink {
    let mut sink = EventSink::new(clock(), Arc::default());
    sink.begin(RequestRecord { tokens: Tokens { wanted: 4, wanted_input: input, ..Tokens::default() }, ..RequestRecord::default() }, false);
    sink
}

/// Sends one request of 20 prompt and 4 answer tokens.
async fn ask(backend: &HttpBackend, channel: &mut dyn Channel, id: u32) -> RequestRecord {
    let (prepared, mut sink) = (prepared(backend, id, 20), sink(20));
    let outcome = channel.generate(&prepared, &mut sink).await;
    sink.finish(outcome, true).0
}

fn good(record: &RequestRecord, connection: Connection) {
    assert_eq!((record.status, record.error), (Status::Ok, None));
    assert_eq!((record.tokens.input, record.tokens.output), (Some(20), Some(4)));
    assert_eq!(record.connection, connection);
    let at = &record.at;
    let order = [at.start, at.conn_ready, at.sent, at.first_byte, at.first_token, at.last_token, at.end];
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}");
}

#[tokio::test]
async fn a_connection_is_opened_once_and_kept() {
    let truth = truth("ttft=1ms,itl=1ms");
    let (backend, can) = probe(config(at(&truth))).await.unwrap();
    assert_eq!((can.model.as_str(), can.token_ids, can.exact_length, can.usage), ("truth", true, true, true));
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    good(&ask(&backend, &mut *channel, 1).await, Connection::New);
    good(&ask(&backend, &mut *channel, 2).await, Connection::Reused);
    let rows = truth.log();
    assert!(rows.iter().any(|r| r.request_id.as_deref() == Some("t-2")), "the request's id reaches the server");
}

#[tokio::test]
async fn text_goes_to_the_chat_route() {
    let truth = truth("ttft=1ms,itl=1ms");
    let (backend, can) = probe(HttpConfig { path: Some("/v1/chat/completions".into()), ..config(at(&truth)) }).await.unwrap();
    assert!(!can.token_ids);
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    good(&ask(&backend, &mut *channel, 1).await, Connection::New);
}

#[tokio::test]
async fn a_connection_the_server_gave_up_is_replaced() {
    let truth = truth("ttft=1ms,itl=1ms");
    let (backend, _) = probe(config(at(&truth))).await.unwrap();
    let relay = Relay::start(truth.addr(), None, false).await;
    let (through, _) = probe(config(relay.url("127.0.0.1"))).await.unwrap();
    let mut channel = through.open(ShardId(0)).await.unwrap();
    good(&ask(&backend, &mut *channel, 1).await, Connection::New);
    relay.drop_connections().await;
    good(&ask(&backend, &mut *channel, 2).await, Connection::New);
}

#[tokio::test]
async fn tls_is_verified_unless_told_otherwise() {
    let truth = truth("ttft=1ms,itl=1ms");
    let relay = Relay::start(truth.addr(), Some(Tls::fixture()), false).await;
    let url = relay.url("localhost").replace("http://", "https://");
    let ca = Some(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/tls/certificate.pem")));

    let Err(BackendError::Unreachable(message)) = probe(config(url.clone())).await else { panic!("an unknown certificate was trusted") };
    assert!(message.contains("TLS") && message.contains("--ca-file"), "{message}");

    for config in [HttpConfig { ca_file: ca, ..config(url.clone()) }, HttpConfig { insecure: true, ..config(url) }] {
        let (backend, _) = probe(config).await.unwrap();
        let mut channel = backend.open(ShardId(0)).await.unwrap();
        good(&ask(&backend, &mut *channel, 1).await, Connection::New);
    }
}

#[tokio::test]
async fn a_proxy_is_used_only_when_named() {
    let truth = truth("ttft=1ms,itl=1ms");
    // A tunnel for TLS, absolute addresses for plain HTTP: the relay answers CONNECT and passes everything else on.
    let tls = Relay::start(truth.addr(), Some(Tls::fixture()), false).await;
    let proxy = Relay::start(tls.addr, None, true).await;
    let url = tls.url("localhost").replace("http://", "https://");
    let (backend, _) = probe(HttpConfig { insecure: true, proxy: Some(proxy.url("127.0.0.1")), ..config(url) }).await.unwrap();
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    good(&ask(&backend, &mut *channel, 1).await, Connection::New);
    assert!(proxy.accepted() > 0);

    // A proxy that refuses the tunnel is named in the message.
    let plain = at(&truth).replace("http://", "https://");
    let Err(error) = probe(HttpConfig { proxy: Some(at(&truth)), ..config(plain) }).await else {
        panic!("there is no tunnel through an engine")
    };
    assert!(error.to_string().contains("proxy"), "{error}");
}

#[tokio::test]
async fn ipv6_has_brackets() {
    let config6 = Config { listen: "[::1]:0".parse().unwrap(), script: Script::parse("ttft=1ms,itl=1ms").unwrap(), ..Config::default() };
    let Ok(truth) = Truth::start(config6) else {
        eprintln!("skipped: this host has no IPv6 loopback");
        return;
    };
    let (backend, _) = probe(config(at(&truth))).await.unwrap();
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    good(&ask(&backend, &mut *channel, 1).await, Connection::New);
}

#[tokio::test]
async fn faults_are_failures_of_their_kind() {
    for (fault, status, code) in [
        ("error_after:2", Status::Protocol, ErrorCode::StreamError),
        ("close_after:2", Status::Truncated, ErrorCode::NoTerminator),
        ("end_after:2", Status::Truncated, ErrorCode::NoTerminator),
        ("reset_after:2", Status::Truncated, ErrorCode::Reset),
        ("short:2", Status::Short, ErrorCode::Short),
        ("bad_chunk_size:2", Status::Protocol, ErrorCode::BadChunk),
        ("bad_json:2", Status::Protocol, ErrorCode::BadEvent),
        ("gzip", Status::Protocol, ErrorCode::Encoded),
        ("status:500", Status::Http, ErrorCode::Http5xx),
        ("status:429", Status::Rejected, ErrorCode::Http4xx),
        ("redirect", Status::Http, ErrorCode::HttpOther),
    ] {
        // The probe's one token comes through: the fault begins with the second request.
        let Ok(script) = Script::parse(&format!("ttft=1ms,itl=1ms,fault={fault},fault_every=2")) else {
            panic!("`{fault}` is not a fault any more; see nomoat_truth::Fault")
        };
        let truth = Truth::start(Config { script, ..Config::default() }).unwrap();
        let (backend, _) = probe(config(at(&truth))).await.unwrap_or_else(|e| panic!("{fault}: {e}"));
        let mut channel = backend.open(ShardId(0)).await.unwrap();
        let records = [ask(&backend, &mut *channel, 1).await, ask(&backend, &mut *channel, 2).await];
        let failed: Vec<_> = records.iter().filter(|r| !r.is_ok()).map(|r| (r.status, r.error)).collect();
        assert_eq!(failed, [(status, Some(code))], "{fault}: one of two");
    }
}

#[tokio::test]
async fn what_is_no_endpoint_is_told_before_any_load() {
    let open = truth("ttft=1ms,itl=1ms");
    let keyed = Truth::start(Config { api_key: Some("the-key".into()), ..Config::default() }).unwrap();
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let page = Relay::page("<html>hello</html>").await;
    let url = at(&open);
    let key = |text: &str| Some(Secret::new(text.into()));
    let cases: Vec<(HttpConfig, &[&str])> = vec![
        (config(closed), &["connection refused", "--wait-ready"]),
        (config(at(&keyed)), &["401", "--api-key-env"]),
        (HttpConfig { api_key: key("another"), ..config(at(&keyed)) }, &["401", "not accepted"]),
        (HttpConfig { api_key: key("the-key\n"), ..config(at(&keyed)) }, &["line break"]),
        (HttpConfig { model: Some("other".into()), ..config(url.clone()) }, &["`other`", "truth"]),
        (HttpConfig { path: Some("/v1/embeddings".into()), ..config(url.clone()) }, &["--endpoint", "/completions"]),
        (config(url.replace("http://", "https://")), &["TLS"]),
        (config(page.url("127.0.0.1")), &["OpenAI-compatible"]),
        (config("ftp://x".into()), &["not http or https"]),
    ];
    for (config, says) in cases {
        let shown = format!("{config:?}");
        let Err(error) = probe(config).await else { panic!("{shown} was accepted") };
        let message = error.to_string();
        assert!(says.iter().all(|s| message.contains(s)), "{message}");
        assert!(!message.contains("the-key") && !shown.contains("the-key"), "{message} {shown}");
    }
    let (_, can) = probe(HttpConfig { api_key: key("the-key"), ..config(at(&keyed)) }).await.unwrap();
    assert_eq!(can.model, "truth");
}

#[tokio::test]
async fn an_endpoint_that_refuses_forced_lengths_is_asked_for_caps() {
    let truth = truth("ttft=1ms,itl=1ms,fault=reject_length");
    let (backend, can) = probe(config(at(&truth))).await.unwrap();
    assert!(!can.exact_length);
    assert!(can.notes.iter().any(|n| n.contains("ignore_eos")), "{:?}", can.notes);
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    assert_eq!(ask(&backend, &mut *channel, 1).await.http_status, Some(200));
}

#[tokio::test]
async fn a_forced_length_that_is_accepted_and_not_kept_is_a_cap() {
    for (script, exact, probed) in [
        ("ttft=1ms,itl=1ms", true, "8 of 8 tokens"),
        ("ttft=1ms,itl=1ms,fault=short:2", false, "of 8 tokens"),
        // One short answer is that answer's; the next one is whole.
        ("ttft=1ms,itl=1ms,fault=short:2,fault_every=2", true, "8 of 8 tokens"),
        ("ttft=1ms,itl=1ms,fault=close_after:3", true, "not seen"),
    ] {
        let truth = truth(script);
        let (_, can) = probe(config(at(&truth))).await.unwrap();
        assert_eq!(can.exact_length, exact, "{script}: {:?}", can.notes);
        let said = can.probed.get("forced_length").unwrap();
        assert!(said.contains(probed), "{script}: {said}");
    }
}

#[tokio::test]
async fn what_an_endpoint_is_comes_from_the_descriptions() {
    let truth = truth("ttft=1ms,itl=1ms");
    let (backend, can) = probe(config(at(&truth))).await.unwrap();
    let version = backend.version().await.unwrap();
    assert_eq!(version.engine, "truth");
    assert!(version.source.contains("recognised by /v1/models"), "{}", version.source);
    assert_eq!(can.probed.get("prompt").map(String::as_str), Some("token ids, counted as 4 tokens"));
    // What is declared is believed, and it is told that nothing speaks for it.
    let catalog = Catalog::load(None).unwrap();
    let (backend, can) = probe(HttpConfig { engine: Some(catalog.get("sglang").unwrap()), ..config(at(&truth)) }).await.unwrap();
    assert_eq!(backend.version().await.unwrap().engine, "sglang");
    assert!(can.notes.iter().any(|n| n.contains("shows no sign")), "{:?}", can.notes);
    let Err(error) = probe(HttpConfig { engine: Some(catalog.get("lmcache").unwrap()), ..config(at(&truth)) }).await else {
        panic!("a sidecar serves no requests")
    };
    assert!(error.to_string().contains("--metrics-url"), "{error}");
}

#[tokio::test]
async fn the_endpoints_own_metrics_are_read() {
    let truth = truth("ttft=1ms,itl=1ms");
    let (backend, _) = probe(config(at(&truth))).await.unwrap();
    let mut telemetry = backend.telemetry().expect("the server has a metrics page");
    let generated = |samples: Vec<nomoat_core::sample::Sample>| {
        samples.iter().find(|s| s.metric == nomoat_core::sample::names::GENERATION_TOKENS).map(|s| s.value)
    };
    let before = generated(telemetry.sample().await.unwrap()).unwrap();
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    good(&ask(&backend, &mut *channel, 1).await, Connection::New);
    assert_eq!(generated(telemetry.sample().await.unwrap()), Some(before + 4.0));
}

/// A server of pages that answers each connection with the next of `answers`, and the last from then on.
async fn pages(answers: Vec<(u16, &'static str, String)>) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for turn in 0.. {
            let (status, head, body) = answers[turn.min(answers.len() - 1)].clone();
            let Ok((mut socket, _)) = listener.accept().await else { return };
            let mut asked = [0; 4096];
            let _ = socket.read(&mut asked).await;
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{head}connection: close\r\n\r\n{body}", body.len());
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn pages_of_several_replicas_are_told_apart_and_one_that_fails_is_an_event() {
    use nomoat_core::sample::names;
    let truth = truth("ttft=1ms,itl=1ms");
    let page = |running: u32| (200, "", format!("vllm:num_requests_running {running}\n"));
    // Asked twice by the probe: what the endpoint is, and whether its pages are there.
    let a = pages(vec![page(3)]).await;
    let b = pages(vec![page(4), page(4), page(4), (503, "", String::new()), page(5)]).await;
    let urls = vec![a.clone() + "/metrics", b.clone() + "/metrics"];
    let (backend, _) = probe(HttpConfig { metrics_urls: urls.clone(), ..config(at(&truth)) }).await.unwrap();
    let mut telemetry = backend.telemetry().expect("two pages");
    let running = |samples: Vec<nomoat_core::sample::Sample>| {
        let of = |s: &nomoat_core::sample::Sample| (s.label(names::PAGE).map(str::to_owned), s.value);
        samples.iter().filter(|s| s.metric == names::RUNNING).map(of).collect::<Vec<_>>()
    };
    let label = |index: &str| Some(index.to_owned());
    assert_eq!(running(telemetry.sample().await.unwrap()), [(label("0"), 3.0), (label("1"), 4.0)]);
    assert_eq!(telemetry.noticed(), []);
    assert_eq!(running(telemetry.sample().await.unwrap()), [(label("0"), 3.0)]);
    let noticed = telemetry.noticed();
    assert!(matches!(&noticed[..], [("telemetry_failed", words)] if words.contains(&b) && words.contains("503")), "{noticed:?}");
    assert_eq!(running(telemetry.sample().await.unwrap()), [(label("0"), 3.0), (label("1"), 5.0)]);
    let Err(error) = probe(HttpConfig { metrics_urls: vec![urls[0].clone(); 2], ..config(at(&truth)) }).await else {
        panic!("one page twice would be counted twice")
    };
    assert!(error.to_string().contains("given twice"), "{error}");
}

#[tokio::test]
async fn a_page_may_lie_behind_a_slash_and_must_not_be_too_large() {
    let truth = truth("ttft=1ms,itl=1ms");
    let with = |url: String| HttpConfig { metrics_urls: vec![url + "/metrics"], ..config(at(&truth)) };
    let there = pages(vec![(307, "location: /metrics/\r\n", String::new()), (200, "", "vllm:num_requests_running 1\n".into())]).await;
    assert!(probe(with(there)).await.is_ok());
    let large = pages(vec![(200, "", "#".repeat(nomoat_http::metrics::MAX_PAGE + 1))]).await;
    let Err(error) = probe(with(large.clone())).await else { panic!("it is not read") };
    assert!(error.to_string().contains("longer than 33554432 bytes") && error.to_string().contains(&large), "{error}");
    let other = pages(vec![(200, "", "node_cpu_seconds_total 1\n".into())]).await;
    let Err(error) = probe(with(other)).await else { panic!("it says nothing of an engine") };
    assert!(error.to_string().contains("no metric of") && error.to_string().contains("vLLM"), "{error}");
}
