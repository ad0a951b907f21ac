//! `nomoat trace record` from start to Ctrl-C, and what it leaves.

use crate::common::{Place, Running, truth, until, url, words};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const ASKED: &str =
    r#"{"messages":[{"role":"user","content":"what a quokka eats"}],"max_tokens":5,"stream":true,"stream_options":{"include_usage":true}}"#;

/// The address that it prints.
fn address(recording: &mut Running) -> String {
    let printed = until("it says where it listens", || {
        recording.check_alive();
        Some(recording.printed()).filter(|text| text.ends_with('\n'))
    });
    printed.trim().strip_prefix("http://").unwrap().to_owned()
}

fn ask(address: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer hush-hush\r\nConnection: close\r\n";
    client.write_all(format!("{head}Content-Length: {}\r\n\r\n{ASKED}", ASKED.len()).as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn until_ctrl_c() {
    let truth = truth("ttft=1ms", None, None);
    for (flag, keeps) in [("", false), ("--keep-text", true)] {
        let place = Place::new();
        let line = format!("trace record --to {} -o mine.jsonl --listen 127.0.0.1:0 {flag}", url(&truth));
        let mut recording = place.start(&words(&line));
        let address = address(&mut recording);
        assert!(ask(&address).contains("[DONE]"));
        recording.signal(Signal::INT);
        let ended = recording.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("mine.jsonl: 1 requests of 1 sessions"), "{ended:?}");
        let file = std::fs::read_to_string(place.path().join("mine.jsonl")).unwrap();
        assert_eq!(file.contains("quokka"), keeps, "{file}");
        assert!(![&file, &ended.stderr].iter().any(|text| text.contains("hush")), "{ended:?}");
        assert!(file.contains(r#""out":{"n":5,"how":"exact"}"#), "{file}");
        let checked = place.say("trace check mine.jsonl");
        assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), "mine.jsonl: 1 requests, no fault found\n"));
    }
}

#[test]
fn nothing_recorded_is_no_file() {
    let place = Place::new();
    let ended = place.say("trace record --to http://127.0.0.1:9 -o mine.jsonl --for 10ms");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("not one request was recorded"), "{ended:?}");
    assert_eq!(
        std::fs::read_dir(place.path()).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("mine")).count(),
        0
    );
}

#[test]
fn what_cannot_work_is_said_before() {
    let place = Place::new();
    for (flags, expect) in [
        ("--to https://a -o x.jsonl", "--to: the endpoint to record speaks TLS"),
        ("--to http://me:hush@a -o x.jsonl", "a user or a password"),
        ("--to http://a -o x.jsonl --listen here", "ADDRESS:PORT"),
        ("--to http://a -o x.jsonl --block 0", "a block of 0 tokens"),
        ("--to http://a -o missing/x.jsonl", "writing missing/x.jsonl"),
    ] {
        let ended = place.say(&format!("trace record {flags}"));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(expect) && !ended.stderr.contains("hush"), "{ended:?}");
    }
}
