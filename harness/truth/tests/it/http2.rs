//! The same server over HTTP/2 and over TLS: what it writes, what it logs, what its faults become.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

use crate::client::{Client, chat_body, check_times, start, start_with};
use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use nomoat_truth::{CERTIFICATE_PEM, Config, Outcome, Script, Truth};
use rustls_pki_types::pem::PemObject;
use std::future::poll_fn;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How an answer ended, and its body.
struct Heard {
    status: u16,
    id: Option<String>,
    pieces: Vec<Bytes>,
    end: Result<(), h2::Error>,
}

impl Heard {
    fn text(&self) -> String {
        String::from_utf8(self.pieces.concat()).unwrap()
    }
}

async fn greet(line: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(line).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn connect(truth: &Truth) -> SendRequest<Bytes> {
    greet(TcpStream::connect(truth.addr()).await.unwrap()).await
}

async fn ask(sender: &SendRequest<Bytes>, path: &str, body: &str) -> Heard {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let request = http::Request::builder().method(method).uri(format!("http://truth{path}")).header("x-request-id", "two-1");
    let mut sender = sender.clone().ready().await.unwrap();
    let (response, mut upload) = sender.send_request(request.body(()).unwrap(), body.is_empty()).unwrap();
    if !body.is_empty() {
        // In two frames: the request is complete with the second.
        let (first, second) = body.split_at(body.len() / 2);
        upload.send_data(Bytes::copy_from_slice(first.as_bytes()), false).unwrap();
        upload.send_data(Bytes::copy_from_slice(second.as_bytes()), true).unwrap();
    }
    let response = response.await.unwrap();
    let id = response.headers().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
    let (status, mut stream) = (response.status().as_u16(), response.into_body());
    let (mut pieces, mut end) = (vec![], Ok(()));
    while let Some(piece) = poll_fn(|cx| stream.poll_data(cx)).await {
        match piece {
            Ok(piece) => {
                let _ = stream.flow_control().release_capacity(piece.len());
                pieces.push(piece);
            }
            Err(error) => {
                end = Err(error);
                break;
            }
        }
    }
    Heard { status, id, pieces, end }
}

#[tokio::test]
async fn a_stream_is_the_one_of_http_1_1() {
    let truth = start("ttft=5ms,itl=1ms");
    let body = chat_body(4, "");
    let heard = ask(&connect(&truth).await, "/v1/chat/completions", &body).await;
    assert_eq!((heard.status, heard.id.as_deref()), (200, Some("two-1")));
    assert!(heard.end.is_ok());
    let events: Vec<String> = heard.text().split_terminator("\n\n").map(|e| e.strip_prefix("data: ").unwrap().to_owned()).collect();
    let plain = tokio::task::spawn_blocking({
        let addr = truth.addr();
        move || Client::new(addr).post("/v1/chat/completions", "x-request-id: two-1\r\n", &chat_body(4, "")).data()
    });
    let without_time = |data: &str| data.split("\"created\":").map(|s| s.split_once(',').map_or(s, |s| s.1).to_owned()).collect::<Vec<_>>();
    let plain = plain.await.unwrap();
    assert_eq!(events.iter().map(|e| without_time(e)).collect::<Vec<_>>(), plain.iter().map(|e| without_time(e)).collect::<Vec<_>>());
    let rows = truth.log();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!((row.request_id.as_deref(), row.output_tokens, row.outcome), (Some("two-1"), 4, Outcome::Complete));
        check_times(row, &Script::parse("ttft=5ms,itl=1ms").unwrap());
    }
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let truth = start("ttft=2ms,itl=1ms");
    let sender = connect(&truth).await;
    let mut tasks = tokio::task::JoinSet::new();
    for tokens in 1..=50 {
        let sender = sender.clone();
        tasks.spawn(async move { (tokens, ask(&sender, "/v1/chat/completions", &chat_body(tokens, "")).await) });
    }
    while let Some(done) = tasks.join_next().await {
        let (tokens, heard) = done.unwrap();
        assert_eq!(heard.text().matches("\"content\":\" ").count(), tokens as usize);
    }
    let rows = truth.log();
    assert_eq!((rows.len(), rows.iter().map(|r| u64::from(r.output_tokens)).sum::<u64>()), (50, 50 * 51 / 2));
    assert!(rows.iter().all(|r| r.accepted == rows[0].accepted), "one connection");
}

#[tokio::test]
async fn routes() {
    let truth = start("ttft=1ms");
    let sender = connect(&truth).await;
    for (path, status, needle) in
        [("/v1/models", 200, "truth"), ("/metrics", 200, "vllm"), ("/nowhere", 404, "no route"), ("/v1/completions", 405, "POST")]
    {
        let heard = ask(&sender, path, "").await;
        assert_eq!(heard.status, status, "{path}");
        assert!(heard.text().contains(needle), "{path}: {}", heard.text());
    }
    assert_eq!(ask(&sender, "/v1/chat/completions", "{").await.status, 400);
    let log = ask(&sender, "/truth/log", "").await;
    assert_eq!(log.text().lines().count(), 1);
}

#[tokio::test]
async fn faults() {
    let check = async |fault: &str, tokens: u32, reason: Option<Reason>, is_io: bool| {
        let truth = start(&format!("ttft=1ms,itl=1ms,fault={fault}"));
        let heard = ask(&connect(&truth).await, "/v1/chat/completions", &chat_body(4, "")).await;
        let error = heard.end.as_ref().err();
        assert_eq!((error.and_then(h2::Error::reason), error.is_some_and(h2::Error::is_io)), (reason, is_io), "{fault}: {error:?}");
        let row = truth.log().remove(0);
        assert_eq!((row.output_tokens, row.outcome), (tokens, Outcome::Fault), "{fault}");
        assert_eq!(heard.text().matches("\"content\":\" ").count(), tokens as usize, "{fault}");
    };
    check("reset_after:2", 2, Some(Reason::INTERNAL_ERROR), false).await;
    check("bad_chunk_size:2", 2, Some(Reason::INTERNAL_ERROR), false).await;
    check("close_after:2", 2, None, true).await;
    check("end_after:2", 2, None, false).await;
    check("error_after:2", 2, None, false).await;
}

#[tokio::test]
async fn a_stream_given_up_is_in_the_log_and_the_others_go_on() {
    let truth = start("ttft=1ms,itl=5ms");
    let sender = connect(&truth).await;
    let request = http::Request::post("http://truth/v1/chat/completions").body(()).unwrap();
    let (response, mut upload) = sender.clone().send_request(request, false).unwrap();
    upload.send_data(Bytes::from(chat_body(1_000, "")), true).unwrap();
    drop((response.await.unwrap(), upload));
    assert!(ask(&sender, "/v1/chat/completions", &chat_body(3, "")).await.end.is_ok());
    let row = loop {
        if let Some(row) = truth.log().into_iter().find(|r| r.output_tokens != 3) {
            break row;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(row.outcome, Outcome::Disconnected);
}

#[tokio::test]
async fn tls_agrees_on_either() {
    let truth = start_with(Config { script: Script::parse("ttft=1ms").unwrap(), tls: true, ..Config::default() });
    for (offer, two) in [(&[&b"h2"[..], b"http/1.1"][..], true), (&[b"http/1.1"], false), (&[], false)] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls_pki_types::CertificateDer::from_pem_slice(CERTIFICATE_PEM.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = offer.iter().map(|p| p.to_vec()).collect();
        let tcp = TcpStream::connect(truth.addr()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut line = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        assert_eq!(line.get_ref().1.alpn_protocol() == Some(b"h2"), two);
        if two {
            let heard = ask(&greet(line).await, "/v1/chat/completions", &chat_body(3, "")).await;
            assert_eq!((heard.status, heard.text().matches("\"content\":\" ").count()), (200, 3));
        } else {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            line.write_all(b"GET /v1/models HTTP/1.1\r\nhost: truth\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut text = String::new();
            line.read_to_string(&mut text).await.expect("TLS is told of the end");
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("max_model_len"), "{text}");
        }
    }
}
