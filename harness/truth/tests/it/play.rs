//! Recorded responses: byte for byte, however they are cut.

use crate::client::{Client, End, start_with};
use nomoat_truth::{Config, Cut, Play, Script, Truth};
use std::io::Read as _;

const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: é\n\r\n3\r\n\n\n\n\r\n0\r\n\r\n";
const CUT_OFF: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: é\n\r\n";
const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}";

fn playing(cut: Cut) -> Truth {
    let mut play = Play::new(cut);
    for (name, text) in [("stream", STREAM), ("cut.off", CUT_OFF), ("busy", BUSY)] {
        play.add(name, text.as_bytes().to_vec()).expect("a response");
    }
    start_with(Config { script: Script::parse("ttft=0ms,itl=0ms").expect("a script"), play: Some(play), ..Config::default() })
}

#[test]
fn the_bytes_are_the_same_however_they_are_cut() {
    for cut in [Cut::Whole, Cut::Each(1), Cut::Each(7), Cut::Random(3)] {
        let truth = playing(cut);
        for text in [STREAM, BUSY] {
            let name = if text == BUSY { "busy" } else { "stream" };
            let mut client = Client::new(truth.addr());
            // Twice on one connection: it is kept.
            for _ in 0..2 {
                client.send("POST", &format!("/{name}/v1/whatever"), "", "{}");
                let mut bytes = vec![0; text.len()];
                client.stream.read_exact(&mut bytes).unwrap();
                assert_eq!(String::from_utf8(bytes).unwrap(), text, "{cut}");
            }
        }
        let mut client = Client::new(truth.addr());
        let response = client.post("/cut.off", "", "");
        assert_eq!((response.end, response.text().as_str()), (End::Closed, "data: é\n"), "{cut}");
    }
}

#[test]
fn by_path_or_by_model() {
    let truth = playing(Cut::Whole);
    let mut client = Client::new(truth.addr());
    assert_eq!(client.post("/v1/chat/completions", "x-request-id: 1\r\n", r#"{"model":"busy"}"#).status, 429);
    assert_eq!(client.post("/stream/generate", "", r#"{"model":"busy"}"#).status, 200);
    let unknown = client.post("/nope/v1/completions", "", r#"{"model":"nope"}"#);
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("/v1/models"), "{}", unknown.text());
    assert_eq!(client.post("/v1/completions", "", "not JSON").status, 404);
    let names = |client: &mut Client, path: &str| -> Vec<String> {
        let list = client.get(path).json();
        list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&mut client, "/v1/models"), ["busy", "cut.off", "stream"]);
    assert_eq!(names(&mut client, "/stream/v1/models"), ["stream"]);
    let rows = truth.log();
    assert_eq!(rows.iter().map(|r| r.status).collect::<Vec<_>>(), [429, 200, 404, 404]);
    assert_eq!(rows[0].request_id.as_deref(), Some("1"));
}

#[test]
fn a_folder_of_responses() {
    let folder = tempfile::tempdir().unwrap();
    let says = |words: &str| {
        let error = Play::read(folder.path(), Cut::Whole).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    says("NAME.http");
    std::fs::write(folder.path().join("a.expect"), "not looked at").unwrap();
    std::fs::write(folder.path().join("b-1.http"), STREAM).unwrap();
    assert_eq!(Play::read(folder.path(), Cut::Whole).unwrap().names().collect::<Vec<_>>(), ["b-1"]);
    std::fs::write(folder.path().join("c.http"), "data: [DONE]").unwrap();
    says("c.http");
}
