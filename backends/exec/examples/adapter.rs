//! An adapter that plays scripted times. Put your engine where `step` is. Protocol: backends/exec/PROTOCOL.md
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BOUND: usize = 1 << 20;
static GENERATED: AtomicU64 = AtomicU64::new(0);

fn send(conn: &mut UnixStream, message: &Value) -> io::Result<()> {
    let body = message.to_string();
    let mut frame = (body.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(body.as_bytes());
    conn.write_all(&frame)
}

fn invalid(conn: &mut UnixStream, why: &str) -> io::Result<()> {
    send(conn, &json!({"type": "error", "code": "invalid", "message": why}))
}

fn receive(conn: &mut UnixStream) -> io::Result<Value> {
    let mut head = [0; 4];
    conn.read_exact(&mut head)?;
    let length = u32::from_le_bytes(head) as usize;
    if length > BOUND {
        invalid(conn, &format!("a frame of {length} bytes"))?;
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    conn.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Now by `CLOCK_MONOTONIC`, which std does not tell.
fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// One token of the answer, at its scripted moment.
fn step(i: u64, due: Instant) -> u64 {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    i % 32_000
}

fn answer(conn: &mut UnixStream, ask: &Value) -> io::Result<()> {
    let (Some(prompt), Some(wanted @ 1..)) = (ask["prompt"].as_array(), ask["max_tokens"].as_u64()) else {
        return invalid(conn, "prompt must be ids and max_tokens at least 1");
    };
    let after = |name: &str| Duration::from_nanos(ask["script"][name].as_u64().unwrap_or(0));
    let (mut due, mut sent) = (Instant::now() + after("ttft_ns"), vec![]);
    for i in 0..wanted {
        let id = step(i, due);
        due += after("itl_ns");
        sent.push(now_ns());
        // Fails once nomoat has gone: that is how a request is cancelled.
        send(conn, &json!({"type": "tokens", "n": 1, "ids": [id], "kind": "visible"}))?;
        GENERATED.fetch_add(1, Ordering::Relaxed);
    }
    let mut done = json!({"type": "done", "finish": "length", "usage": {"input": prompt.len(), "output": wanted}});
    if ask["script"].is_object() {
        done["sent_ns"] = json!(sent);
    }
    send(conn, &done)
}

fn serve(mut conn: UnixStream) -> io::Result<()> {
    let hello = json!({"type": "hello", "protocol": 1, "engine": "echo-rust", "version": "1", "model": "echo", "exact_length": true,
        "takes": "ids", "vocab": {"first": 0, "size": 32000}, "samples": true, "echo": true});
    send(&mut conn, &hello)?;
    loop {
        let message = receive(&mut conn)?;
        match message["type"].as_str() {
            Some("generate") => answer(&mut conn, &message)?,
            Some("sample") => {
                let values = json!({"engine.generation_tokens_total": GENERATED.load(Ordering::Relaxed)});
                send(&mut conn, &json!({"type": "samples", "values": values}))?;
            }
            _ => invalid(&mut conn, "unknown type")?,
        }
    }
}

fn main() -> io::Result<()> {
    let path = std::env::var_os("NOMOAT_SOCKET").ok_or_else(|| io::Error::other("NOMOAT_SOCKET is not set"))?;
    for conn in UnixListener::bind(path)?.incoming() {
        let conn = conn?;
        // An error is the end of the connection, and nothing more.
        std::thread::spawn(move || serve(conn));
    }
    Ok(())
}
