//! Answers as scripted: their chunks, their counts, their times.

use crate::client::{Client, End, chat_body, check_row, check_times, start, start_with, text_of, words};
use nomoat_core::units::Nanos;
use nomoat_truth::{Config, Outcome, Script};
use serde_json::Value;

#[test]
fn a_chat_stream() {
    let truth = start("ttft=5ms,itl=1ms");
    let mut client = Client::new(truth.addr());
    let response =
        client.post("/v1/chat/completions", "x-request-id: run 1/7\r\n", &chat_body(4, r#","stream_options":{"include_usage":true}"#));
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(response.header("x-request-id"), Some("run 1/7"));
    assert_eq!(response.chunks.len(), 7, "role, four tokens, usage, end: one HTTP chunk each");
    let events = response.events();
    assert_eq!(events[0]["choices"][0]["delta"], serde_json::json!({ "role": "assistant", "content": "" }));
    assert!(events.iter().all(|e| e["id"] == "chatcmpl-run 1/7" && e["object"] == "chat.completion.chunk" && e["model"] == "truth"));
    assert!(events[1..5].iter().all(|e| words(std::slice::from_ref(e)) == 1));
    let finishes: Vec<_> = events[..5].iter().map(|e| e["choices"][0]["finish_reason"].as_str()).collect();
    assert_eq!(finishes, [None, None, None, None, Some("length")]);
    assert!(events[..5].iter().all(|e| e.get("usage").is_none()));
    assert_eq!(events[5]["choices"], serde_json::json!([]));
    assert_eq!(events[5]["usage"], serde_json::json!({ "prompt_tokens": 2, "total_tokens": 6, "completion_tokens": 4 }));
    let rows = truth.log();
    let row = &rows[0];
    assert_eq!((rows.len(), row.request_id.as_deref(), row.status, row.outcome), (1, Some("run 1/7"), 200, Outcome::Complete));
    assert_eq!((row.prompt_tokens, row.output_tokens), (Some(2), 4));
    check_times(row, &Script::parse("ttft=5ms,itl=1ms").unwrap());
}

#[test]
fn variants_of_a_stream() {
    let check = |script: &str, chat: bool, more: &str, shape: &[(&str, usize)]| {
        let truth = start(&format!("ttft=2ms,itl=1ms,{script}"));
        let mut client = Client::new(truth.addr());
        let response = if chat { client.chat(5, more) } else { client.complete(5, more) };
        let kind = |event: &Value| {
            let delta = &event["choices"][0]["delta"];
            let has = |field: &str| delta.get(field).is_some();
            let thinks = has("reasoning_content") || has("reasoning");
            match (has("role"), thinks, has("content")) {
                (true, ..) => "role",
                (_, true, true) => "both",
                (_, true, false) => "reasoning",
                (_, false, true) => "content",
                _ if event["choices"][0]["text"].is_string() => "text",
                _ => "usage",
            }
        };
        let events = response.events();
        let got: Vec<_> = events.iter().map(|e| (kind(e), text_of(e).split_whitespace().count())).collect();
        assert_eq!(got, shape, "{script} {more}");
        let row = truth.log().remove(0);
        assert_eq!(row.output_tokens, 5);
        check_times(&row, &Script::parse(&format!("ttft=2ms,itl=1ms,{script}")).unwrap());
    };
    check("", false, "", &[("text", 1); 5]);
    check("tokens_per_chunk=2", false, "", &[("text", 2), ("text", 2), ("text", 1)]);
    check("tokens_per_chunk=9,role_chunk=false", true, "", &[("content", 5)]);
    check("role_delay=2ms,tokens_per_chunk=4", true, "", &[("role", 0), ("content", 4), ("content", 1)]);
    let thinking = [("role", 0), ("reasoning", 2), ("both", 2), ("content", 1)];
    check("reasoning_tokens=3,tokens_per_chunk=2", true, "", &thinking);
    check("reasoning_tokens=3,tokens_per_chunk=2,reasoning_field=reasoning", true, "", &thinking);
    check("stall=2:20ms,tokens_per_chunk=2", false, "", &[("text", 2), ("text", 2), ("text", 1)]);
    check("jitter=exponential,seed=3", false, "", &[("text", 1); 5]);
}

#[test]
fn continuous_usage_counts_up() {
    let truth = start("ttft=1ms,itl=0ms,tokens_per_chunk=2,reasoning_tokens=1");
    let options = r#","stream_options":{"include_usage":true,"continuous_usage_stats":true}"#;
    let events = Client::new(truth.addr()).chat(5, options).events();
    let counts: Vec<_> = events.iter().map(|e| e["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    assert_eq!(counts, [0, 2, 4, 5, 5], "role, three chunks, the usage chunk");
    assert_eq!(events[4]["usage"]["completion_tokens_details"]["reasoning_tokens"], 1);
    assert!(events.iter().all(|e| e["usage"]["prompt_tokens"] == 2));
}

#[test]
fn whole_answers() {
    let truth = start("ttft=5ms,itl=1ms,output_tokens=9");
    let mut client = Client::new(truth.addr());
    let check = |response: &crate::client::Response, tokens: u64, finish: &str| {
        let json = response.json();
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
        assert_eq!(
            (json["usage"]["completion_tokens"].as_u64(), json["choices"][0]["finish_reason"].as_str()),
            (Some(tokens), Some(finish))
        );
        let text = json.pointer("/choices/0/message/content").or(json.pointer("/choices/0/text")).unwrap().as_str().unwrap().to_owned();
        assert_eq!(text.split_whitespace().count() as u64, tokens);
    };
    check(&client.post("/v1/completions", "", r#"{"prompt":"x"}"#), 9, "stop");
    check(&client.post("/v1/completions", "", r#"{"prompt":"x","max_tokens":4,"stream":false}"#), 4, "length");
    check(
        &client.post("/v1/chat/completions", "", r#"{"messages":[{"role":"user","content":"x"}],"max_completion_tokens":9}"#),
        9,
        "length",
    );
    check(&client.post("/v1/completions", "", r#"{"prompt":"x","max_tokens":40,"min_tokens":12}"#), 12, "stop");
    for (row, tokens) in truth.log().iter().zip([9, 4, 9, 12]) {
        check_row(row);
        assert_eq!((row.writes.len(), row.output_tokens), (1, tokens));
        assert!(row.ttft().unwrap() >= Nanos::from_millis(5 + i64::from(tokens) - 1), "one body, when the last token is there");
    }
}

#[test]
fn jitter_is_the_same_every_time() {
    let script = "ttft=2ms,itl=1ms,jitter=uniform:0.9,seed=11";
    let planned = |ordinal| Script::parse(script).unwrap().chunks(ordinal, 6).collect::<Vec<_>>();
    assert_ne!(planned(0), planned(1));
    let truth = start(script);
    let mut client = Client::new(truth.addr());
    (0..3).for_each(|_| assert_eq!(words(&client.complete(6, "").events()), 6));
    for row in truth.log() {
        check_times(&row, &Script::parse(script).unwrap());
    }
}

#[test]
fn nothing_is_written_in_a_freeze() {
    let before = clock();
    let truth = start("ttft=1ms,itl=1ms,freeze=0s:150ms");
    let mut client = Client::new(truth.addr());
    assert_eq!(words(&client.complete(3, "").events()), 3);
    let row = truth.log().remove(0);
    check_row(&row);
    assert!(row.first_write.unwrap() - before >= Nanos::from_millis(150), "{row:?}");
}

fn clock() -> Nanos {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Nanos(t.tv_sec * 1_000_000_000 + t.tv_nsec)
}

#[test]
fn many_connections_at_once() {
    let script = "ttft=20ms,itl=2ms,jitter=uniform:0.5";
    let truth = start_with(Config { script: Script::parse(script).unwrap(), threads: 3, ..Config::default() });
    let mut clients: Vec<_> = (0..200).map(|_| Client::new(truth.addr())).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send("POST", "/v1/chat/completions", &format!("x-request-id: {index}\r\n"), &chat_body(10 + index as u32 % 7, ""));
    }
    for (index, client) in clients.iter_mut().enumerate() {
        let response = client.receive();
        assert_eq!((response.end, words(&response.events())), (End::Whole, 10 + index % 7));
    }
    let rows = truth.log();
    assert_eq!(rows.iter().map(|r| r.ordinal).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    let mut ids: Vec<usize> = rows.iter().map(|r| r.request_id.as_ref().unwrap().parse().unwrap()).collect();
    for row in &rows {
        assert_eq!(row.outcome, Outcome::Complete);
        check_times(row, &Script::parse(script).unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_stream_without_gaps_leaves_room_for_others() {
    let truth = start("ttft=0ms,itl=0ms,tokens_per_chunk=1");
    let mut clients: Vec<_> = (0..4).map(|_| Client::new(truth.addr())).collect();
    clients.iter_mut().for_each(|client| client.send("POST", "/v1/chat/completions", "", &chat_body(5_000, "")));
    for client in &mut clients {
        assert_eq!(words(&client.receive().events()), 5_000);
    }
}
