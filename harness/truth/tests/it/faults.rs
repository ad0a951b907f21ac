//! Every fault: the bytes it puts on the wire, and what the log says of it.

use crate::client::{Client, End, Response, check_row, start, words};
use nomoat_truth::{Fault, LogRow, Outcome};
use serde_json::Value;

/// A streamed completion of five tokens with usage from a server with this fault, and its row.
fn play(fault: &str) -> (Response, LogRow) {
    let truth = start(&format!("ttft=6ms,itl=1ms,fault={fault}"));
    let response = Client::new(truth.addr()).complete(5, r#","stream_options":{"include_usage":true}"#);
    let row = truth.log().remove(0);
    check_row(&row);
    (response, row)
}

fn parsed(data: &[String]) -> Vec<Value> {
    data.iter().filter_map(|json| serde_json::from_str(json).ok()).collect()
}

#[test]
fn faults_that_break_the_stream() {
    let check = |fault: &str, end: End, tokens: usize| {
        let (response, row) = play(fault);
        assert_eq!((response.status, response.end), (200, end), "{fault}");
        let events = parsed(&response.data());
        assert_eq!(words(&events), tokens, "{fault}");
        assert_eq!((row.outcome, row.output_tokens as usize, row.status), (Outcome::Fault, tokens, 200), "{fault}");
        assert!(events.iter().all(|e| e["choices"][0]["finish_reason"].is_null()), "{fault}");
        response.data()
    };
    let last = |data: Vec<String>| data.last().cloned().unwrap_or_default();
    assert!(last(check("close_after:3", End::Closed, 3)).contains("choices"));
    assert_eq!(last(check("close_after:0", End::Closed, 0)), "");
    assert!(last(check("end_after:2", End::Whole, 2)).contains("choices"));
    assert!(last(check("reset_after:3", End::Reset, 3)).contains("choices"));
    assert!(last(check("bad_chunk_size:2", End::Malformed, 2)).contains("choices"));
    for (fault, path) in [("error_after:3", "/error/message"), ("flat_error_after:3", "/message")] {
        let data = check(fault, End::Whole, 3);
        assert_eq!((data.len(), data[4].as_str()), (5, "[DONE]"));
        let error: Value = serde_json::from_str(&data[3]).unwrap();
        assert_eq!(error.pointer(path).and_then(Value::as_str), Some("the scripted error"), "{error}");
    }
}

#[test]
fn bad_json_is_one_event() {
    let (response, row) = play("bad_json:2");
    let data = response.data();
    let broken: Vec<_> = data.iter().enumerate().filter(|(_, d)| serde_json::from_str::<Value>(d).is_err()).collect();
    assert_eq!((broken.len(), broken[0].0, broken[1].1.as_str()), (2, 2, "[DONE]"));
    assert_eq!((row.outcome, row.output_tokens), (Outcome::Fault, 5));
}

#[test]
fn statuses_in_place_of_answers() {
    let check = |fault: &str, status: u16, header: Option<(&str, &str)>| {
        let (response, row) = play(fault);
        assert_eq!((response.status, response.end), (status, End::Whole), "{fault}");
        if let Some((name, value)) = header {
            assert_eq!(response.header(name), Some(value), "{fault}");
        }
        assert_eq!((row.status, row.outcome, row.output_tokens, row.first_write), (status, Outcome::Refused, 0, None), "{fault}");
    };
    check("status:429", 429, Some(("retry-after", "1")));
    check("status:503", 503, Some(("retry-after", "1")));
    check("status:500", 500, None);
    check("redirect", 307, Some(("location", "/elsewhere")));
    check("reject_length", 400, None);
    let truth = start("ttft=1ms,itl=0ms,fault=reject_length");
    let mut client = Client::new(truth.addr());
    assert_eq!(client.post("/v1/completions", "", r#"{"prompt":"x","max_tokens":5}"#).status, 200);
    assert_eq!(client.post("/v1/completions", "", r#"{"prompt":"x","max_tokens":5,"min_tokens":2}"#).status, 400);
}

#[test]
fn faults_that_a_good_client_sees_through() {
    let whole = |fault: &str| {
        let (response, row) = play(fault);
        assert_eq!((response.status, response.end), (200, End::Whole), "{fault}");
        assert_eq!((row.outcome, row.output_tokens), (Outcome::Complete, 5), "{fault}");
        response
    };
    let plain = |fault: &str| whole(fault).events();
    let usage = |event: &Value| event["usage"]["completion_tokens"].as_u64();

    let events = plain("no_usage");
    assert_eq!((events.len(), events.iter().filter_map(usage).count()), (5, 0));
    assert_eq!(plain("usage_every_chunk").iter().filter_map(usage).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 5]);
    assert_eq!(plain("wrong_usage:2").last().and_then(usage), Some(7));
    let events = plain("empty_chunk:2");
    assert_eq!((events.len(), events[2]["choices"][0]["text"].as_str(), words(&events)), (7, Some(""), 5));

    let data = whole("no_done").data();
    assert_eq!((data.len(), data.iter().any(|d| d == "[DONE]")), (6, false));
    let data = whole("after_done").data();
    assert_eq!((data[6].as_str(), data.len()), ("[DONE]", 8));
    assert!(data[7].contains("late"));

    let text = whole("comments:3").text();
    assert!(text.starts_with(&": keep-alive\n\n".repeat(3)) && text.matches(": keep-alive").count() == 3, "{text}");
    let text = whole("crlf").text();
    assert!(text.matches('\n').count() == text.matches("\r\n").count() && text.ends_with("data: [DONE]\r\n\r\n"), "{text}");
    let text = whole("no_space").text();
    assert!(text.split_terminator("\n\n").all(|e| e.starts_with("data:") && !e.starts_with("data: ")), "{text}");
    let text = whole("multi_line").text();
    let joined = |event: &str| event.lines().map(|l| l.strip_prefix("data: ").unwrap()).collect::<Vec<_>>().join("\n");
    let events: Vec<_> = text.split_terminator("\n\n").map(joined).collect();
    assert_eq!((events.iter().filter(|e| e.contains('\n')).count(), words(&parsed(&events))), (6, 5), "all but the end have two lines");
    let body = whole("bom").body();
    assert!(body.starts_with("\u{feff}data: ".as_bytes()));
    assert_eq!(String::from_utf8(body).unwrap().matches('\u{feff}').count(), 1);
    let text = whole("event_lines").text();
    assert_eq!((text.matches("event: message\n").count(), text.matches("id: 6\ndata: [DONE]").count()), (7, 1));
    assert_eq!(whole("gzip").header("content-encoding"), Some("gzip"));
    let events = plain("huge_event:3000000");
    assert_eq!(events[0]["choices"][0]["text"].as_str().map(str::len), Some(3_000_000));
}

#[test]
fn dribbled_bytes_arrive_whole() {
    let (response, row) = play("dribble");
    assert_eq!(words(&response.events()), 5);
    assert_eq!((row.writes.len(), row.outcome), (5, Outcome::Complete));
}

#[test]
fn coalesced_events_share_a_moment() {
    let (response, row) = play("coalesce:2");
    assert_eq!((response.chunks.len(), words(&response.events())), (7, 5));
    let moments: Vec<_> = row.writes.iter().map(|w| w.0).collect();
    assert_eq!(row.writes.len(), 5, "one entry per event");
    assert!(moments[0] == moments[1] && moments[2] == moments[3] && moments[1] < moments[2] && moments[3] < moments[4], "{moments:?}");
}

#[test]
fn one_body_to_a_streaming_request() {
    for (fault, lead) in [("not_streaming", "{"), ("blank_lines", "\n\n\r\n{")] {
        let (response, row) = play(fault);
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert!(response.text().starts_with(lead), "{fault}");
        assert_eq!((response.json()["usage"]["completion_tokens"].as_u64(), row.output_tokens, row.writes.len()), (Some(5), 5, 1));
    }
}

#[test]
fn answers_stop_early() {
    let (response, row) = play("short:3");
    let events = response.events();
    assert_eq!((words(&events), events[2]["choices"][0]["finish_reason"].as_str()), (3, Some("stop")));
    assert_eq!(events[3]["usage"]["completion_tokens"], 3);
    assert_eq!((row.output_tokens, row.outcome), (3, Outcome::Fault));
}

#[test]
fn faults_befall_every_nth_and_only_longer_answers() {
    let truth = start("ttft=1ms,itl=0ms,fault=close_after:2,fault_every=3");
    let ends: Vec<_> = (0..6).map(|_| Client::new(truth.addr()).complete(3, "").end).collect();
    use End::{Closed, Whole};
    assert_eq!(ends, [Whole, Whole, Closed, Whole, Whole, Closed]);
    let truth = start("ttft=1ms,itl=0ms,fault=close_after:2");
    assert_eq!(Client::new(truth.addr()).complete(2, "").events().len(), 2, "the fault is never reached");
}

#[test]
fn every_fault_leaves_the_server_alive() {
    for fault in Fault::EXAMPLES {
        let truth = start(&format!("ttft=1ms,itl=0ms,fault={fault},fault_every=2"));
        for chat in [true, false] {
            for stream in [true, false] {
                let mut client = Client::new(truth.addr());
                let fields = format!(r#""stream":{stream},"max_tokens":6,"ignore_eos":true"#);
                for _ in 0..2 {
                    if chat {
                        let body = format!(r#"{{"messages":[{{"role":"user","content":"x"}}],{fields}}}"#);
                        client.send("POST", "/v1/chat/completions", "", &body);
                    } else {
                        client.send("POST", "/v1/completions", "", &format!(r#"{{"prompt":"x",{fields}}}"#));
                    }
                    client.receive();
                }
            }
        }
        let rows = truth.log();
        assert_eq!(rows.len(), 8, "{fault}");
        rows.iter().for_each(check_row);
        assert!(rows.iter().step_by(2).all(|row| row.outcome == Outcome::Complete), "{fault}");
    }
}
