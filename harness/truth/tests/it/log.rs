//! The log: in memory, over HTTP, in a file; and what it says of requests that did not end well.

use crate::client::{Client, chat_body, check_row, eventually, start, start_with};
use nomoat_truth::{Config, LogState, Outcome, Script, read_log};
use std::io::Write;
use std::sync::Arc;

#[test]
fn the_file_and_the_route_hold_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth.jsonl");
    let script = Script::parse("ttft=1ms,itl=0ms").unwrap();
    let truth = start_with(Config { script, log_file: Some(path.clone()), ..Config::default() });
    let mut client = Client::new(truth.addr());
    for tokens in 1..=20 {
        client.chat(tokens, "");
    }
    client.post("/v1/completions", "", "{");
    let over_http = client.get("/truth/log");
    assert_eq!(over_http.header("content-type"), Some("application/jsonl"));
    let copy = folder.path().join("copy.jsonl");
    std::fs::write(&copy, over_http.body()).unwrap();
    eventually("the file is flushed while the server runs", || read_log(&path).unwrap().len() == 21);
    truth.stop();
    let rows = truth.log();
    assert_eq!(rows.iter().map(|r| r.output_tokens).collect::<Vec<_>>(), (1..=20).chain([0]).collect::<Vec<_>>());
    assert_eq!(read_log(&path).unwrap(), rows);
    assert_eq!(read_log(&copy).unwrap(), rows);
    assert_eq!(truth.log_state(), LogState { kept: 21, ..LogState::default() });
}

#[test]
fn a_client_that_leaves_is_logged_and_frees_its_place() {
    let truth = start("ttft=1ms,itl=1h");
    let mut client = Client::new(truth.addr());
    client.send("POST", "/v1/chat/completions", "x-request-id: left\r\n", &chat_body(5, ""));
    client.head().unwrap();
    (0..2).for_each(|_| drop(client.chunk().unwrap().unwrap()));
    drop(client);
    eventually("the row", || !truth.log().is_empty());
    let row = truth.log().remove(0);
    assert_eq!((row.request_id.as_deref(), row.outcome, row.output_tokens), (Some("left"), Outcome::Disconnected, 1));
    check_row(&row);
    let page = Client::new(truth.addr()).get("/metrics").text();
    assert!(page.contains("vllm:num_requests_running{engine=\"0\",model_name=\"truth\"} 0.0"), "{page}");
}

#[test]
fn stopping_cuts_what_is_in_flight() {
    let truth = Arc::new(start("ttft=1h"));
    let waiting = std::thread::spawn({
        let truth = truth.clone();
        move || truth.wait()
    });
    let mut client = Client::new(truth.addr());
    client.send("POST", "/v1/chat/completions", "", &chat_body(5, ""));
    assert_eq!(client.head().unwrap().status, 200);
    truth.stop();
    waiting.join().unwrap();
    assert!(client.receive_rest_is_cut());
    let row = truth.log().remove(0);
    assert_eq!((row.outcome, row.output_tokens, row.first_write, row.status), (Outcome::Stopped, 0, None, 200));
    truth.stop();
}

#[test]
fn an_early_second_request_is_answered_in_its_turn() {
    let truth = start("ttft=10ms,itl=1ms");
    let mut client = Client::new(truth.addr());
    client.send("POST", "/v1/chat/completions", "x-request-id: a\r\n", &chat_body(3, ""));
    client.head().unwrap();
    client.send("POST", "/v1/chat/completions", "x-request-id: b\r\n", &chat_body(2, ""));
    client.stream.flush().unwrap();
    let mut first = 0;
    while client.chunk().unwrap().is_some() {
        first += 1;
    }
    assert_eq!(first, 5, "role, three tokens, end");
    assert_eq!(client.receive().events().len(), 3);
    let rows = truth.log();
    assert_eq!(
        rows.iter().map(|r| (r.request_id.as_deref(), r.outcome)).collect::<Vec<_>>(),
        [(Some("a"), Outcome::Complete), (Some("b"), Outcome::Complete)]
    );
    rows.iter().for_each(check_row);
}
