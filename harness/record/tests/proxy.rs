//! The proxy between a client and a scripted server, both on the loopback interface.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

mod server;

use nomoat_core::prompt::Prompt;
use nomoat_core::request::{Cancel, OutputLength, SessionId};
use nomoat_core::trace::{Cause, EdgeKind, Moment, TraceRequest};
use nomoat_core::units::Nanos;
use nomoat_record::{Config, Proxy, Recording, Upstream};
use nomoat_workloads::{ImportOptions, from_bytes, open, write_canonical};
use server::{Reply, Server, Then, post, read_all, read_until};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

fn config(to: SocketAddr) -> Config {
    Config::new(Upstream::parse(&format!("http://{to}")).unwrap())
}

fn start(to: SocketAddr) -> Proxy {
    Proxy::start(config(to)).unwrap()
}

/// Longest wait for something that comes at once; only a test that hangs needs it.
const PATIENCE: Duration = Duration::from_mins(2);

fn connect(to: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(to).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// What a client reads to the end when it says `text` and waits for the close.
fn say(to: SocketAddr, text: &[u8]) -> Vec<u8> {
    let mut client = connect(to);
    client.write_all(text).unwrap();
    read_all(&mut client)
}

/// The recording as its file has it.
fn written(recording: &Recording) -> Vec<u8> {
    let mut file = vec![];
    write_canonical(&recording.trace, &mut file).unwrap();
    file
}

fn only(recording: &Recording) -> &TraceRequest {
    assert_eq!(recording.trace.requests.len(), 1, "{:?}", recording.trace.losses);
    &recording.trace.requests[0]
}

const CHAT: &str = r#"{"messages":[{"role":"user","content":"the secret word is xylophone"}],"max_tokens":9,"stream":true}"#;

fn stream(events: &[&str]) -> String {
    let body: String = events.iter().flat_map(|event| ["data: ", event, "\n\n"]).collect();
    // Chunks that have nothing to do with events.
    let chunk = |bytes: &[u8]| format!("{:x}\r\n{}\r\n", bytes.len(), std::str::from_utf8(bytes).unwrap());
    let chunks: Vec<String> = body.as_bytes().chunks(7).map(chunk).collect();
    let chunks = chunks.concat();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
}

fn answer() -> String {
    stream(&[
        r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
        r#"{"choices":[{"delta":{"content":"Pl"}}]}"#,
        r#"{"choices":[{"delta":{"content":"ink"},"finish_reason":"length"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":21,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":16}}}"#,
        "[DONE]",
    ])
}

fn whole(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nX-Any:  thing \r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A closing connection makes every answer end the same way, direct or not.
fn closing(request: &str) -> String {
    request.replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

#[test]
fn bytes_are_those_of_the_endpoint() {
    let until_close = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end";
    for (request, response) in [
        (post("/v1/chat/completions", CHAT), answer()),
        (post("/v1/completions", r#"{"prompt":"a"}"#), whole("{}")),
        (post("/v1/embeddings", "{}"), whole("[1]")),
        ("GET /metrics?a=b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), until_close.to_owned()),
        ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
        ("HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_owned()),
        (
            "POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n{\"pro\r\na\r\nmpt\":\"a\"} \r\n0\r\nTrailer: t\r\n\r\n".to_owned(),
            whole("{}"),
        ),
    ] {
        let server = Server::start(vec![Reply::say(response.clone()).then(Then::Close)]);
        let proxy = start(server.addr());
        let got = say(proxy.addr(), closing(&request).as_bytes());
        let asked = server.asked();
        proxy.stop();
        // What goes on is what was said, but for whose connection it is and whom it is addressed to.
        let expect = request.replacen("Host: x", &format!("Host: {}", server.addr()), 1);
        assert_eq!(asked, expect);
        let expect = response.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        assert_eq!(String::from_utf8(got).unwrap(), expect);
    }
}

#[test]
fn a_stream_cut_at_every_byte_is_the_same() {
    let (request, response) = (post("/v1/chat/completions", CHAT), answer());
    let expect = response.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    for cut in 1..response.len() {
        let server = Server::start(vec![Reply::say(response.clone()).cut(cut).then(Then::Close)]);
        let proxy = start(server.addr());
        assert_eq!(String::from_utf8(say(proxy.addr(), closing(&request).as_bytes())).unwrap(), expect, "cut at {cut}");
        let recording = proxy.stop();
        let request = only(&recording);
        assert_eq!((request.input_tokens, request.output_tokens, request.length), (21, 2, OutputLength::Exact), "cut at {cut}");
        let recorded = request.recorded.as_ref().unwrap();
        assert_eq!((recorded.cached_tokens, recorded.failed), (Some(16), Some(false)));
        assert!(recorded.ttft.unwrap() <= recorded.e2e.unwrap());
        assert_eq!(request.cancel, None);
    }
}

#[test]
fn a_request_cut_at_every_byte_is_the_same() {
    let body = r#"{"prompt":"aaaa"}"#;
    let request = post("/v1/completions", body);
    let server = Server::start(vec![Reply::say(whole("{\"choices\":[]}"))]);
    let proxy = start(server.addr());
    let mut client = connect(proxy.addr());
    client.set_nodelay(true).unwrap();
    for byte in request.as_bytes() {
        client.write_all(&[*byte]).unwrap();
    }
    assert!(read_until(&mut client, b"[]}").starts_with(b"HTTP/1.1 200 OK\r\nX-Any:  thing \r\n"));
    drop(client);
    assert!(server.asked().ends_with(body));
    assert_eq!(only(&proxy.stop()).input_tokens, 1);
}

#[test]
fn who_goes_away_is_followed_and_recorded() {
    let events = stream(&[r#"{"choices":[{"text":"a"}]}"#, r#"{"choices":[{"text":"b"}]}"#]);
    let begun = events.as_bytes()[..events.len() - 5].to_vec();
    let server = Server::start(vec![Reply::say(begun.clone()).then(Then::AwaitClose)]);
    let proxy = start(server.addr());
    let mut client = connect(proxy.addr());
    client.write_all(post("/v1/completions", r#"{"prompt":"abcdefgh","max_tokens":50}"#).as_bytes()).unwrap();
    let mut got = vec![0; begun.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, begun);
    drop(client);
    server.wait_closed();
    let recording = proxy.stop();
    let request = only(&recording);
    assert!(matches!(request.cancel, Some(Cancel::After(after)) if after >= Nanos::ZERO), "{request:?}");
    assert_eq!((request.input_tokens, request.output_tokens, request.length), (2, 2, OutputLength::Cap));
    let recorded = request.recorded.as_ref().unwrap();
    assert_eq!((recorded.failed, recorded.e2e), (None, None));
    assert!(recorded.ttft.is_some());
    assert!(recording.trace.losses.iter().any(|loss| loss.contains("1 clients went away")), "{:?}", recording.trace.losses);
}

#[test]
fn who_has_the_whole_answer_has_not_gone_away() {
    let stream = answer();
    let without_end = stream[..stream.len() - 5].to_owned();
    let half = whole(r#"{"choices":[],"usage":{}}"#);
    for (said, is_left) in [(without_end, false), (half[..half.len() - 5].to_owned(), true)] {
        let server = Server::start(vec![Reply::say(said.clone()).then(Then::AwaitClose)]);
        let proxy = start(server.addr());
        let mut client = connect(proxy.addr());
        client.write_all(post("/v1/chat/completions", CHAT).as_bytes()).unwrap();
        client.read_exact(&mut vec![0; said.len()]).unwrap();
        drop(client);
        server.wait_closed();
        assert_eq!(only(&proxy.stop()).cancel.is_some(), is_left, "{said}");
    }
}

#[test]
fn an_endpoint_that_is_not_there_is_named() {
    // The system gave this port a moment ago, and nobody has it any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = start(gone);
    let got = String::from_utf8(say(proxy.addr(), post("/v1/completions", r#"{"prompt":"xylophone"}"#).as_bytes())).unwrap();
    assert!(got.starts_with("HTTP/1.1 502 Bad Gateway\r\n") && got.contains(&format!("http://{gone}")), "{got}");
    assert!(!got.contains("xylophone"));
    let recording = proxy.stop();
    let request = only(&recording);
    assert_eq!(request.recorded.as_ref().unwrap().failed, Some(true));
}

#[test]
fn an_endpoint_that_breaks_off_is_said_or_shown() {
    for (said, expect) in [
        ("", "HTTP/1.1 502 Bad Gateway\r\n"),
        ("HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 502 Bad Gateway\r\n"),
        ("SSH-2.0-x\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\n"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf"),
    ] {
        let server = Server::start(vec![Reply::say(said).then(Then::Close)]);
        let proxy = start(server.addr());
        let got = String::from_utf8(say(proxy.addr(), closing(&post("/v1/completions", r#"{"prompt":"a"}"#)).as_bytes())).unwrap();
        assert!(got.starts_with(expect), "{said:?}: {got}");
        let recording = proxy.stop();
        assert_eq!(only(&recording).recorded.as_ref().unwrap().failed, Some(true), "{said:?}");
    }
}

#[test]
fn connections_are_kept_and_requests_may_be_piled_up() {
    let body = r#"{"choices":[{"text":"x","finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    let server = Server::start(vec![Reply::say(whole(body)); 3]);
    let proxy = start(server.addr());
    let mut client = connect(proxy.addr());
    let one = post("/v1/completions", r#"{"prompt":"one"}"#);
    client.write_all(format!("{one}{one}\r\n{one}").as_bytes()).unwrap();
    let mut expect = whole(body).repeat(3).into_bytes();
    let mut got = vec![0; expect.len()];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, expect);
    client.shutdown(Shutdown::Write).unwrap();
    expect.clear();
    assert_eq!(read_all(&mut client), expect);
    assert_eq!(server.connections(), 1, "three requests went over one connection");
    let recording = proxy.stop();
    let prompts: Vec<&Prompt> = recording.trace.requests.iter().map(|request| &request.prompt).collect();
    assert_eq!(prompts.len(), 3);
    assert!(prompts.iter().all(|prompt| *prompt == prompts[0]), "equal prompts are equal: {prompts:?}");
    assert_eq!(recording.trace.classes, ["completions"]);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let server = Server::start(vec![Reply::say(whole("{}")).before_body(b"HTTP/1.1 100 Continue\r\n\r\n")]);
    let proxy = start(server.addr());
    let mut client = connect(proxy.addr());
    client.write_all(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n").unwrap();
    assert_eq!(read_until(&mut client, b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(br#"{"prompt":"a"}"#).unwrap();
    assert_eq!(read_until(&mut client, b"{}"), whole("{}").as_bytes());
    drop(client);
    assert_eq!(proxy.stop().trace.requests.len(), 1);
}

#[test]
fn what_is_no_request_for_one_endpoint_is_refused() {
    let server = Server::start(vec![]);
    let proxy = start(server.addr());
    for (request, expect) in [
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "501"),
        ("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "501"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
    ] {
        let mut client = connect(proxy.addr());
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let got = String::from_utf8(read_all(&mut client)).unwrap();
        assert!(got.starts_with(&format!("HTTP/1.1 {expect} ")) && got.contains("recording proxy"), "{got}");
    }
    assert_eq!(proxy.stop().refused, 3);
}

/// Sends a request on a connection of its own and reads its answer.
fn turn(proxy: &Proxy, header: &str, messages: &str) {
    let body = format!(r#"{{"messages":[{messages}]}}"#);
    let request = post("/v1/chat/completions", &body).replacen("\r\n", &format!("\r\n{header}Connection: close\r\n"), 1);
    assert!(say(proxy.addr(), request.as_bytes()).starts_with(b"HTTP/1.1 200"));
}

#[test]
fn conversations_are_recorded_and_read_back() {
    let body = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":1}}"#;
    let message = |role: &str, word: &str| format!(r#"{{"role":"{role}","content":"{}"}}"#, word.repeat(20));
    let (system, a, b, said, tool) =
        (message("system", "sys"), message("user", "alpha"), message("user", "beta"), message("assistant", "ok"), message("tool", "9"));
    for by_header in [false, true] {
        let server = Server::start(vec![Reply::say(whole(body)); 4]);
        let session_header = by_header.then(|| "X-Session".to_owned());
        let proxy = Proxy::start(Config { session_header, ..config(server.addr()) }).unwrap();
        let named = |name: &str| if by_header { format!("x-session: {name}\r\nAuthorization: Bearer hush\r\n") } else { String::new() };
        turn(&proxy, &named("one"), &format!("{system},{a}"));
        turn(&proxy, &named("two"), &format!("{system},{b}"));
        turn(&proxy, &named("one"), &format!("{system},{a},{said},{tool}"));
        turn(&proxy, &named("two"), &format!("{system},{b},{said},{a}"));
        let recording = proxy.stop();
        let found: Vec<_> =
            recording.trace.requests.iter().map(|r| (r.session, r.turn, r.after.first().map(|e| (e.request.0, e.cause)))).collect();
        let (one, two) = (Some(SessionId(0)), Some(SessionId(1)));
        assert_eq!(
            found,
            [(one, 0, None), (two, 0, None), (one, 1, Some((0, Cause::Tool))), (two, 1, Some((1, Cause::Think)))],
            "by header: {by_header}"
        );
        for request in recording.trace.requests.iter().filter(|request| !request.after.is_empty()) {
            let edge = request.after[0];
            assert_eq!((edge.on, edge.kind), (Moment::End, EdgeKind::Needs));
            let parent = &recording.trace.requests[edge.request.0 as usize];
            let end = parent.at.unwrap() + parent.recorded.as_ref().unwrap().e2e.unwrap();
            // Three times were rounded down to microseconds.
            assert!((end + edge.gap - request.at.unwrap()).0.abs() <= 2_000, "the gap is from the end to the arrival");
        }
        let shared = |i: usize, j: usize| {
            let parts = |n: usize| match &recording.trace.requests[n].prompt {
                Prompt::Parts(prompt) => prompt.parts.clone(),
                other => panic!("{other:?}"),
            };
            parts(i).iter().zip(parts(j).iter()).take_while(|(a, b)| a == b).map(|(a, _)| a.tokens).sum::<u32>()
        };
        assert!(shared(0, 1) > 0, "both have the system prompt");
        assert!(shared(0, 2) > shared(0, 1) && shared(1, 3) > shared(0, 1), "and each its own conversation");
        let file = written(&recording);
        let again = from_bytes("recorded.jsonl", &file, None, &ImportOptions::default()).unwrap();
        assert_eq!(again, recording.trace);
        let text = String::from_utf8(file).unwrap();
        assert!(!["alpha", "beta", "sys", "hush", "two"].iter().any(|word| text.contains(word)), "{text}");
    }
}

#[test]
fn text_is_kept_only_when_asked_for() {
    for keep_text in [false, true] {
        let server = Server::start(vec![Reply::say(answer()); 3]);
        let proxy = Proxy::start(Config { keep_text, ..config(server.addr()) }).unwrap();
        let key = "Authorization: Bearer hush-hush\r\n";
        for (path, body) in [
            ("/v1/chat/completions", CHAT),
            ("/v1/completions", r#"{"prompt":"a xylophone again"}"#),
            ("/v1/completions", r#"{"prompt":[7,8,9]}"#),
        ] {
            let request = closing(&post(path, body)).replacen("\r\n", &format!("\r\n{key}"), 1);
            say(proxy.addr(), request.as_bytes());
        }
        let recording = proxy.stop();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recorded.jsonl");
        std::fs::write(&path, written(&recording)).unwrap();
        assert_eq!(open(&path, None, &ImportOptions::default()).unwrap(), recording.trace);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("xylophone").count(), if keep_text { 2 } else { 0 }, "{text}");
        assert!(!text.contains("hush") && !text.contains("Plink"));
        let is_exact = matches!(&recording.trace.requests[2].prompt, Prompt::Ids(ids) if keep_text && ids[..] == [7, 8, 9])
            || matches!(&recording.trace.requests[2].prompt, Prompt::Parts(prompt) if !keep_text && prompt.tokens() == 3);
        assert!(is_exact, "{:?}", recording.trace.requests[2]);
        assert_eq!(text.contains("word for word"), keep_text);
    }
}

#[test]
fn what_cannot_be_recorded_goes_by_and_is_counted() {
    let server = Server::start(vec![Reply::say(whole("{}")); 4]);
    let proxy = start(server.addr());
    for (path, body) in [
        ("/v1/completions", r#"{"prompt":["a","b"]}"#),
        ("/v1/chat/completions", "no JSON"),
        ("/v1/messages", "{}"),
        ("/v1/completions", r#"{"prompt":"a"}"#),
    ] {
        assert!(say(proxy.addr(), closing(&post(path, body)).as_bytes()).ends_with(b"{}"));
    }
    let recording = proxy.stop();
    assert_eq!((recording.trace.requests.len(), recording.lost, recording.passed), (1, 2, 1));
    let losses = recording.trace.losses.join("\n");
    for expect in
        ["1 requests are left out: each has several prompts", "1 requests are left out: their body", "1 POST requests of other paths"]
    {
        assert!(losses.contains(expect), "{losses}");
    }
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let server = Server::start(vec![Reply::say("").then(Then::AwaitClose)]);
    let proxy = Proxy::start(Config { grace: Duration::ZERO, ..config(server.addr()) }).unwrap();
    let mut client = connect(proxy.addr());
    client.write_all(post("/v1/completions", r#"{"prompt":"a"}"#).as_bytes()).unwrap();
    server.asked();
    let recording = proxy.stop();
    assert_eq!((recording.trace.requests.len(), recording.lost), (0, 1));
    assert_eq!(read_all(&mut client), b"");
}
