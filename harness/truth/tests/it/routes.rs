//! Everything that is not a stream: discovery, errors, keys, connections.

use crate::client::{Client, start, start_with};
use nomoat_truth::{Config, Outcome, Truth, TruthError};
use std::io::Write;

#[test]
fn discovery() {
    let truth = start("model=tiny,max_model_len=77");
    let mut client = Client::new(truth.addr());
    let models = client.get("/v1/models").json();
    assert_eq!(models["data"].as_array().unwrap().len(), 1);
    assert_eq!((models["data"][0]["id"].as_str(), models["data"][0]["max_model_len"].as_u64()), (Some("tiny"), Some(77)));
    assert!(client.get("/version").json()["version"].is_string());
    assert_eq!((client.get("/health").status, client.get("/health?x=1").status), (200, 200));
    assert!(truth.log().is_empty(), "only generation is logged");
    assert!(truth.addr().ip().is_loopback());
}

#[test]
fn counters_are_true() {
    let truth = start("ttft=1ms,itl=0ms,kv_blocks=100");
    let mut client = Client::new(truth.addr());
    client.chat(5, "");
    client.complete(7, "");
    client.post("/v1/completions", "", "{");
    let page = client.get("/metrics").text();
    for row in [
        "vllm:prompt_tokens_total{engine=\"0\",model_name=\"truth\"} 5.0",
        "vllm:generation_tokens_total{engine=\"0\",model_name=\"truth\"} 12.0",
        "vllm:num_requests_running{engine=\"0\",model_name=\"truth\"} 0.0",
        "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"truth\"} 0.0",
    ] {
        assert!(page.lines().any(|line| line == row), "{row}\n{page}");
    }
}

#[test]
fn running_requests_show() {
    let truth = start("ttft=1ms,itl=1h,kv_blocks=10,block_size=2");
    let mut client = Client::new(truth.addr());
    client.send("POST", "/v1/chat/completions", "", &crate::client::chat_body(3, ""));
    client.head().unwrap();
    (0..2).for_each(|_| drop(client.chunk().unwrap().unwrap()));
    let mut other = Client::new(truth.addr());
    let shows = |page: &str, row: &str| page.lines().any(|line| line == row);
    crate::client::eventually("the first token counts", || {
        shows(&other.get("/metrics").text(), "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"truth\"} 0.2")
    });
    assert!(shows(&other.get("/metrics").text(), "vllm:num_requests_running{engine=\"0\",model_name=\"truth\"} 1.0"));
}

#[test]
fn errors_are_openai_shaped() {
    let truth = start("");
    let mut client = Client::new(truth.addr());
    let mut check = |method: &str, path: &str, body: &str, status: u16, kind: &str, needle: &str| {
        client.send(method, path, "x-request-id: e1\r\n", body);
        let response = client.receive();
        let json = response.json();
        assert_eq!(
            (response.status, json["error"]["type"].as_str(), json["error"]["code"].as_u64()),
            (status, Some(kind), Some(status.into()))
        );
        assert!(json["error"]["message"].as_str().unwrap().contains(needle), "{json}");
    };
    check("POST", "/v1/completions", r#"{"model":"gpt","prompt":"x"}"#, 404, "NotFoundError", "gpt");
    check("POST", "/v1/completions", "{", 400, "BadRequestError", "cannot be read");
    check("POST", "/v1/chat/completions", r#"{"prompt":"x"}"#, 400, "BadRequestError", "messages");
    check("POST", "/v1/completions", r#"{"prompt":"x","max_tokens":1000000}"#, 400, "BadRequestError", "longest context");
    check("GET", "/v1/embeddings", "", 404, "NotFoundError", "/v1/embeddings");
    check("POST", "/nowhere", "", 404, "NotFoundError", "/nowhere");
    check("GET", "/v1/completions", "", 405, "BadRequestError", "POST");
    check("POST", "/metrics", "", 405, "BadRequestError", "GET");
    let rows = truth.log();
    assert_eq!(rows.iter().map(|r| r.status).collect::<Vec<_>>(), [404, 400, 400, 400], "refused generations are rows");
    for row in rows {
        assert_eq!((row.outcome, row.request_id.as_deref(), row.prompt_tokens), (Outcome::Refused, Some("e1"), None));
        crate::client::check_row(&row);
    }
}

#[test]
fn keys() {
    let truth = start_with(Config { api_key: Some("secret".to_owned()), ..Config::default() });
    let mut client = Client::new(truth.addr());
    let mut check = |method: &str, path: &str, headers: &str, status: u16| {
        client.send(method, path, headers, r#"{"prompt":"x","max_tokens":1}"#);
        assert_eq!(client.receive().status, status, "{path} {headers}");
    };
    let right = "Authorization: Bearer secret\r\n";
    for wrong in ["", "authorization: Bearer other\r\n", "authorization: secret\r\n"] {
        check("POST", "/v1/completions", wrong, 401);
        check("GET", "/v1/models", wrong, 401);
    }
    check("POST", "/v1/completions", right, 200);
    check("GET", "/v1/models", right, 200);
    check("GET", "/health", "", 200);
}

#[test]
fn connections_are_kept() {
    let truth = start("ttft=1ms,itl=0ms");
    let mut client = Client::new(truth.addr());
    for _ in 0..3 {
        assert_eq!(client.chat(2, "").events().len(), 3);
        assert_eq!(client.post("/v1/completions", "", "{").status, 400);
        assert_eq!(client.get("/health").status, 200);
    }
    client.send("POST", "/v1/chat/completions", "connection: close\r\n", &crate::client::chat_body(2, ""));
    assert_eq!(client.receive().events().len(), 3);
    assert!(client.is_closed());
    let rows = truth.log();
    assert_eq!(rows.len(), 7);
    assert!(rows.iter().all(|row| row.accepted == rows[0].accepted), "one connection");
    assert!(rows.is_sorted_by_key(|row| row.request_complete));
}

#[test]
fn requests_may_come_in_pieces() {
    let truth = start("ttft=1ms,itl=0ms");
    let mut client = Client::new(truth.addr());
    let body = crate::client::chat_body(2, "");
    let text = format!("POST /v1/chat/completions HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len());
    for piece in text.as_bytes().chunks(7) {
        client.stream.write_all(piece).unwrap();
    }
    assert_eq!(client.head().unwrap().status, 100);
    for piece in body.as_bytes().chunks(5) {
        client.stream.write_all(piece).unwrap();
    }
    assert_eq!(client.receive().events().len(), 3);
}

#[test]
fn unreadable_requests_end_the_connection() {
    let truth = start("");
    for (text, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET /health HTTP/1.0\r\n\r\n", 505),
        ("POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411),
        ("POST /v1/completions HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", 413),
    ] {
        let mut client = Client::new(truth.addr());
        client.stream.write_all(text.as_bytes()).unwrap();
        let response = client.receive();
        assert_eq!((response.status, response.header("connection")), (status, Some("close")), "{text}");
        assert!(client.is_closed());
    }
}

#[test]
fn a_taken_address_is_named() {
    let truth = start("");
    let again = Truth::start(Config { listen: truth.addr(), ..Config::default() });
    let Err(error) = again else { panic!("two servers on one address") };
    assert!(error.to_string().contains(&truth.addr().to_string()), "{error}");
    assert!(matches!(error, TruthError::Listen { .. }));
}

#[test]
fn it_sleeps_and_wakes() {
    let truth = start("ttft=1ms,itl=0ms,waking=1h");
    let mut client = Client::new(truth.addr());
    let sleeps = |client: &mut Client| client.get("/is_sleeping").json()["is_sleeping"].as_bool().unwrap();
    assert_eq!(client.chat(1, "").events().len(), 2);
    assert_eq!((client.post("/sleep?level=1", "", "").status, sleeps(&mut client)), (200, true));
    assert_eq!((client.chat(1, "").status, client.get("/health").status), (503, 200));
    assert_eq!((client.post("/wake_up", "", "").status, sleeps(&mut client)), (200, false));
    let loading = client.chat(1, "");
    assert_eq!((loading.status, client.get("/health").status), (503, 503));
    let seconds: u32 = loading.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds <= 3_600, "{seconds}");
    let rows = truth.log();
    assert_eq!(rows.iter().map(|row| row.status).collect::<Vec<_>>(), [200, 503, 503], "refusals are rows");
}

#[test]
fn some_servers_do_not_sleep() {
    let truth = start("sleep=ignored,ttft=1ms");
    let mut client = Client::new(truth.addr());
    assert_eq!(client.post("/sleep", "", "").status, 200);
    assert_eq!((client.get("/is_sleeping").json()["is_sleeping"].as_bool(), client.chat(1, "").status), (Some(false), 200));
    let truth = start("sleep=absent");
    let mut client = Client::new(truth.addr());
    assert_eq!((client.post("/sleep", "", "").status, client.get("/is_sleeping").status), (404, 404));
}
