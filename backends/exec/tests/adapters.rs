//! Adapters, good and broken, over a Unix socket: what the backend makes of each, and what conformance finds.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

use nomoat_core::backend::{Backend as _, BackendError, Offer, Prepared};
use nomoat_core::clock::ManualClock;
use nomoat_core::event::EventSink;
use nomoat_core::prompt::Prompt;
use nomoat_core::record::{Connection, ErrorCode, RequestRecord, StampSource, Status, Tokens};
use nomoat_core::request::{Request, RequestId, ShardId};
use nomoat_core::units::Nanos;
use nomoat_exec::{ExecBackend, ExecConfig, Finding, Probed, Script, conform};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

/// Patience with adapters that are sound; nothing waits for it.
const LONG: Duration = Duration::from_mins(1);
/// Patience with adapters that hang; each of them costs it.
const SHORT: Duration = Duration::from_millis(300);

fn hello() -> Value {
    json!({"type": "hello", "protocol": 1, "engine": "e", "version": "1", "model": "m", "exact_length": true,
        "takes": "ids", "vocab": {"first": 10, "size": 100}})
}

fn send(conn: &mut UnixStream, message: &Value) {
    let body = message.to_string();
    // The peer may have gone; what then becomes of it is what a test looks at.
    let _ = conn.write_all(&[&(body.len() as u32).to_le_bytes()[..], body.as_bytes()].concat());
}

fn receive(conn: &mut UnixStream) -> Option<Value> {
    let mut head = [0; 4];
    conn.read_exact(&mut head).ok()?;
    let length = u32::from_le_bytes(head) as usize;
    if length > 1 << 20 {
        return None;
    }
    let mut body = vec![0; length];
    conn.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn token() -> Value {
    json!({"type": "tokens", "n": 1, "ids": [11]})
}

fn done(n: u64) -> Value {
    json!({"type": "done", "finish": "length", "usage": {"input": 4, "output": n}})
}

/// A sound answer to one message.
fn sound(conn: &mut UnixStream, ask: &Value) {
    let Some(n) = ask["max_tokens"].as_u64() else {
        return send(conn, &json!({"type": "error", "code": "invalid", "message": "unknown"}));
    };
    (0..n).for_each(|_| send(conn, &token()));
    send(conn, &done(n));
}

/// Listens and lets `serve` have each connection on a thread of its own.
fn adapter(serve: impl Fn(UnixStream) + Send + Sync + 'static) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let (listener, serve) = (UnixListener::bind(&socket).unwrap(), Arc::new(serve));
    std::thread::spawn(move || {
        for conn in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || serve(conn));
        }
    });
    (folder, socket)
}

/// Says hello, then answers each message by `answer`.
fn answering(answer: impl Fn(&mut UnixStream, &Value) + Send + Sync + 'static) -> (tempfile::TempDir, PathBuf) {
    adapter(move |mut conn| {
        send(&mut conn, &hello());
        while let Some(message) = receive(&mut conn) {
            answer(&mut conn, &message);
        }
    })
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn config(socket: &Path, within: Duration) -> ExecConfig {
    ExecConfig { hello_within: within, answer_within: within, ..ExecConfig::new(socket.to_owned()) }
}

fn made(config: ExecConfig) -> Arc<ExecBackend> {
    ExecBackend::new(config, Arc::new(ManualClock::new(Nanos(7))))
}

/// `times` requests of three tokens on one channel, without a probe of the adapter.
fn records(socket: &Path, times: usize) -> Vec<RequestRecord> {
    let request = Request::new(RequestId(7), Prompt::Ids([11, 12, 13, 14].into()), 4, 3);
    // Made for a sound adapter: a broken one may not survive a probe.
    let (_folder, good) = answering(sound);
    let payload = block_on(async {
        let backend = made(config(&good, LONG));
        backend.probe().await.unwrap();
        backend.encoder(&Offer { prompt_seed: 1, id_prefix: "run-".into(), ..Offer::default() }).encode(&request, &[]).unwrap()
    });
    let prepared = Prepared { request, payload };
    block_on(async {
        let backend = made(config(socket, SHORT));
        let mut channel = backend.open(ShardId(0)).await.unwrap();
        let mut events = EventSink::new(Arc::new(ManualClock::default()), Arc::default());
        let mut out = vec![];
        for _ in 0..times {
            let begun = RequestRecord { tokens: Tokens { wanted: 3, ..Tokens::default() }, ..RequestRecord::default() };
            events.begin(begun, false);
            let outcome = channel.generate(&prepared, &mut events).await;
            out.push(events.finish(outcome, true).0);
        }
        out
    })
}

#[test]
fn a_sound_answer_is_a_record_and_the_connection_is_kept() {
    let (_folder, socket) = answering(sound);
    let records = records(&socket, 2);
    for (record, connection) in records.iter().zip([Connection::New, Connection::Reused]) {
        assert_eq!((record.status, record.error, record.stamp), (Status::Ok, None, StampSource::Read));
        assert_eq!((record.tokens.input, record.tokens.output, record.connection), (Some(4), Some(3), connection));
        assert_eq!(record.chunk_tokens.as_slice(), [1, 1, 1]);
    }
}

#[test]
fn a_connection_that_was_closed_between_requests_is_opened_again() {
    let (_folder, socket) = adapter(|mut conn| {
        send(&mut conn, &hello());
        let ask = receive(&mut conn).unwrap_or_default();
        sound(&mut conn, &ask);
    });
    assert!(records(&socket, 3).iter().all(|r| r.status == Status::Ok));
}

#[test]
fn every_fault_ends_as_its_error() {
    type Answer = fn(&mut UnixStream, &Value);
    let cases: [(&str, Answer, Status, ErrorCode); 9] = [
        (
            "dies mid-answer",
            |c, _| {
                send(c, &token());
                let _ = c.shutdown(std::net::Shutdown::Both);
            },
            Status::Truncated,
            ErrorCode::NoTerminator,
        ),
        (
            "dies before",
            |c, _| {
                let _ = c.shutdown(std::net::Shutdown::Both);
            },
            Status::Connect,
            ErrorCode::Reset,
        ),
        (
            "garbage",
            |c, _| {
                let _ = c.write_all(b"\x05\0\0\0hello");
            },
            Status::Protocol,
            ErrorCode::BadEvent,
        ),
        (
            "over the bound",
            |c, _| {
                let _ = c.write_all(&[0xff; 4]);
            },
            Status::Protocol,
            ErrorCode::TooLarge,
        ),
        (
            "overloaded",
            |c, _| send(c, &json!({"type": "error", "code": "overloaded", "message": "full"})),
            Status::Rejected,
            ErrorCode::Engine,
        ),
        (
            "gives up",
            |c, _| send(c, &json!({"type": "error", "code": "oom", "message": "memory"})),
            Status::Protocol,
            ErrorCode::StreamError,
        ),
        ("no token", |c, _| send(c, &done(0)), Status::Protocol, ErrorCode::NoToken),
        (
            "short",
            |c, _| {
                send(c, &token());
                send(c, &done(1));
            },
            Status::Short,
            ErrorCode::Short,
        ),
        ("ids and n differ", |c, _| send(c, &json!({"type": "tokens", "n": 2, "ids": [11]})), Status::Protocol, ErrorCode::BadEvent),
    ];
    for (name, answer, status, code) in cases {
        let (_folder, socket) = answering(answer);
        let record = records(&socket, 1).remove(0);
        assert_eq!((record.status, record.error), (status, Some(code)), "{name}");
    }
}

#[test]
fn an_adapter_without_a_right_hello_is_refused_and_never_waited_for_ever() {
    type Serve = fn(UnixStream);
    let cases: [(&str, Serve, &str, ErrorCode); 5] = [
        (
            "another version",
            |mut c| {
                let mut h = hello();
                h["protocol"] = json!(2);
                send(&mut c, &h);
            },
            "speaks protocol 2",
            ErrorCode::BadEvent,
        ),
        (
            "ids without vocab",
            |mut c| {
                let mut h = hello();
                h["vocab"] = Value::Null;
                send(&mut c, &h);
            },
            "vocab",
            ErrorCode::BadEvent,
        ),
        ("another message", |mut c| send(&mut c, &token()), "no hello", ErrorCode::BadEvent),
        ("closes", drop, "closed", ErrorCode::Reset),
        (
            "says nothing",
            |mut c| {
                receive(&mut c);
            },
            "in time",
            ErrorCode::ConnectTimeout,
        ),
    ];
    for (name, serve, words, code) in cases {
        let (_folder, socket) = adapter(serve);
        let probed = block_on(made(config(&socket, SHORT)).probe());
        assert!(matches!(&probed, Err(BackendError::Unreachable(why)) if why.contains(words)), "{name}: {probed:?}");
        assert_eq!(records(&socket, 1)[0].error, Some(code), "{name}");
    }
    let nowhere = tempfile::tempdir().unwrap();
    assert_eq!(records(&nowhere.path().join("none"), 1)[0].error, Some(ErrorCode::Refused));
}

#[test]
fn a_probe_of_an_adapter_that_hangs_ends() {
    let (_folder, socket) = answering(|_, _| ());
    let probed = block_on(made(config(&socket, SHORT)).probe());
    assert!(matches!(&probed, Err(BackendError::Unreachable(why)) if why.contains("in time")), "{probed:?}");
}

#[test]
fn dropping_the_future_closes_the_connection() {
    let (told, heard) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let (_folder, socket) = answering(move |conn, _| {
        send(conn, &token());
        // Blocks until the other side has gone.
        let end = conn.read(&mut [0]).map_or(true, |n| n == 0);
        told.lock().unwrap().send(end).unwrap();
    });
    let _ = block_on(async { tokio::time::timeout(SHORT, made(config(&socket, LONG)).probe()).await });
    assert!(heard.recv_timeout(LONG).unwrap());
}

fn broken(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().filter(|f| !f.ok).map(|f| f.rule).collect()
}

#[test]
fn conformance_finds_what_is_broken() {
    type Answer = fn(&mut UnixStream, &Value);
    let (_folder, socket) = answering(sound);
    assert_eq!(broken(&block_on(conform(&socket, LONG))), Vec::<&str>::new(), "a sound adapter");
    let cases: [(&str, Answer, &str); 6] = [
        (
            "one token less",
            |c, m| {
                let mut m = m.clone();
                if let Some(n) = m["max_tokens"].as_u64() {
                    m["max_tokens"] = json!(n.max(2) - 1);
                }
                sound(c, &m);
            },
            "exact_length",
        ),
        (
            "wrong usage",
            |c, m| match m["max_tokens"].as_u64() {
                Some(n) => {
                    (0..n).for_each(|_| send(c, &token()));
                    send(c, &done(n + 1));
                }
                None => sound(c, m),
            },
            "counts",
        ),
        (
            "closes after each",
            |c, m| {
                sound(c, m);
                let _ = c.shutdown(std::net::Shutdown::Both);
            },
            "reuse",
        ),
        (
            "ignores what it does not know",
            |c, m| {
                if m["max_tokens"].is_u64() {
                    sound(c, m);
                }
            },
            "errors",
        ),
        (
            "an error without words",
            |c, m| {
                if m["max_tokens"].is_u64() {
                    sound(c, m);
                } else {
                    send(c, &json!({"type": "error", "code": "", "message": ""}));
                }
            },
            "errors",
        ),
        (
            "garbage",
            |c, _| {
                let _ = c.write_all(b"\x02\0\0\0{]");
            },
            "answer",
        ),
    ];
    for (name, answer, rule) in cases {
        let (_folder, socket) = answering(answer);
        let found = block_on(conform(&socket, SHORT));
        assert!(broken(&found).contains(&rule), "{name}: {found:?}");
    }
    let (_folder, socket) = adapter(|mut c| {
        let mut h = hello();
        h["protocol"] = json!(0);
        send(&mut c, &h);
    });
    assert_eq!(broken(&block_on(conform(&socket, SHORT))), ["hello"]);
    // Waits for the 4 GiB that it was promised.
    let (_folder, socket) = adapter(|mut c| {
        send(&mut c, &hello());
        let mut head = [0; 4];
        while c.read_exact(&mut head).is_ok() {
            let mut body = vec![];
            let _ = (&mut c).take(u32::from_le_bytes(head).into()).read_to_end(&mut body);
            sound(&mut c, &serde_json::from_slice(&body).unwrap_or_default());
        }
    });
    assert_eq!(broken(&block_on(conform(&socket, SHORT))), ["oversized"]);
    // Serves one connection at a time, and never notices that one has gone.
    let busy = std::sync::Mutex::new(());
    let (_folder, socket) = adapter(move |mut c| {
        let held = busy.lock().unwrap();
        send(&mut c, &hello());
        while let Some(m) = receive(&mut c) {
            if m["max_tokens"].as_u64().is_some_and(|n| n > 1000) {
                send(&mut c, &token());
                std::mem::forget(held);
                return;
            }
            sound(&mut c, &m);
        }
    });
    assert!(broken(&block_on(conform(&socket, SHORT))).contains(&"cancel"));
}

/// Says hello with echo, then answers each message by `answer`.
fn echoing(answer: impl Fn(&mut UnixStream, &Value) + Send + Sync + 'static) -> (tempfile::TempDir, PathBuf) {
    adapter(move |mut conn| {
        let mut h = hello();
        h["echo"] = json!(true);
        send(&mut conn, &h);
        while let Some(message) = receive(&mut conn) {
            answer(&mut conn, &message);
        }
    })
}

#[test]
fn an_adapter_that_says_echo_must_play_and_tell() {
    // Ten moments 20 ms apart, cut to as many as `n`.
    fn with_moments(c: &mut UnixStream, m: &Value, moments: impl Fn(u64) -> Vec<u64>) {
        let Some(n) = m["max_tokens"].as_u64() else { return sound(c, m) };
        (0..n).for_each(|_| send(c, &token()));
        let mut done = done(n);
        if m["script"].is_object() {
            done["sent_ns"] = json!(moments(n));
        }
        send(c, &done);
    }
    type Answer = fn(&mut UnixStream, &Value);
    let cases: [(&str, Answer, &[&str], Option<&str>); 5] = [
        ("sound", |c, m| with_moments(c, m, |n| (0..n).map(|i| i * 20_000_000).collect()), &[], None),
        ("no moments", sound, &["echo"], Some("none of their moments")),
        ("one less", |c, m| with_moments(c, m, |n| (1..n).map(|i| i * 20_000_000).collect()), &["echo"], Some("1 of their moments")),
        ("all at once", |c, m| with_moments(c, m, |n| vec![5; n as usize]), &["echo"], None),
        ("back in time", |c, m| with_moments(c, m, |n| (0..n).map(|i| 900_000_000 - i).collect()), &["echo"], None),
    ];
    let script = Some(Script { ttft: Nanos(0), itl: Nanos(0) });
    for (name, answer, rules, refusal) in cases {
        let (_folder, socket) = echoing(answer);
        assert_eq!(broken(&block_on(conform(&socket, LONG))), rules, "{name}");
        let probed = block_on(made(ExecConfig { script, ..config(&socket, LONG) }).probe());
        match (probed, refusal) {
            (Ok(can), None) => assert!(can.notes.iter().any(|n| n.contains("scripted times")), "{name}: {:?}", can.notes),
            (Err(why), Some(words)) => assert!(why.to_string().contains(words), "{name}: {why}"),
            (probed, refusal) => panic!("{name}: {probed:?}, {refusal:?}"),
        }
    }
    let (_folder, socket) = answering(sound);
    let probed = block_on(made(ExecConfig { script, ..config(&socket, LONG) }).probe());
    assert!(matches!(&probed, Err(BackendError::Unreachable(why)) if why.contains("\"echo\": true")), "{probed:?}");
}

/// A child that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A reference adapter, started as its users start it: conforms, probes, and tells its metrics.
fn reference(mut command: Command, engine: &str) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let mut child = Running(command.env("NOMOAT_SOCKET", &socket).spawn().unwrap());
    while UnixStream::connect(&socket).is_err() {
        assert!(child.0.try_wait().unwrap().is_none(), "the adapter ended");
        std::thread::yield_now();
    }
    let found = block_on(conform(&socket, LONG));
    assert_eq!(broken(&found), Vec::<&str>::new(), "{engine}");
    assert!(found.iter().any(|f| f.rule == "echo"), "{engine}: {found:?}");
    assert!(records(&socket, 2).iter().all(|r| r.status == Status::Ok));
    block_on(async {
        let backend = made(config(&socket, LONG));
        assert_eq!(backend.probed(), Probed::default());
        assert!(backend.probe().await.unwrap().usage);
        assert_eq!(backend.probed(), Probed { hello: Some(Nanos(7)), first_token: Some(Nanos(7)) });
        assert_eq!(backend.version().await.unwrap().engine, engine);
        let samples = backend.telemetry().unwrap().sample().await.unwrap();
        assert_eq!((samples.len(), samples[0].metric.as_ref()), (1, "engine.generation_tokens_total"));
        assert!(samples[0].value >= 2.0);
    });
}

#[test]
fn the_reference_adapter_in_python() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no python3");
        return;
    }
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/adapter.py"));
    reference(command, "echo-python");
}

#[test]
fn the_reference_adapter_in_rust() {
    let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/adapter");
    if !program.exists() {
        eprintln!("SKIPPED: {} was not built; run all tests of the package", program.display());
        return;
    }
    reference(Command::new(program), "echo-rust");
}

#[test]
fn reference_adapters_stay_short() {
    for text in [include_str!("../examples/adapter.py"), include_str!("../examples/adapter.rs")] {
        assert!(text.lines().count() <= 100, "{} lines", text.lines().count());
    }
}
