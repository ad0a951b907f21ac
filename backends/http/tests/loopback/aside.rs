//! Requests beside a run: control calls, and the moment of a single first token.

use super::{at, clock, config, probe, truth};
use nomoat_http::OneToken;
use std::time::Duration;

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_first_token_of_all_has_a_moment_and_so_has_any_other() {
    let truth = truth("ttft=20ms,itl=1ms");
    let before = clock().now();
    let (backend, _) = probe(config(at(&truth))).await.unwrap();
    let first = backend.first_token().unwrap();
    assert!(first - before >= nomoat_core::units::Nanos::from_millis(20), "the server takes so long: {first:?} {before:?}");
    let sent = clock().now();
    assert!(first < sent, "the probe asks for more after it");
    let OneToken::Came { first_token } = backend.one_token(None, LONG).await else { panic!("it serves") };
    assert!(first_token - sent >= nomoat_core::units::Nanos::from_millis(20) && first_token < clock().now());
    assert_eq!(backend.first_token(), Some(first), "the first stays the first");
    let rows = truth.log();
    assert_eq!(rows.first().map(|row| (row.status, row.output_tokens)), Some((200, 1)), "it was the server's first answer");
}

#[tokio::test]
async fn what_is_refused_says_when_to_come_again() {
    let truth = truth("ttft=1ms,waking=1h");
    let (backend, _) = probe(config(at(&truth))).await.unwrap();
    assert!(matches!(backend.one_token(Some("other"), LONG).await, OneToken::Refused { status: 404, .. }));
    assert_eq!(backend.call("POST", "/sleep?level=1", b"", LONG).await.map(|r| r.status), Ok(200));
    let sleeping = backend.call("GET", "/is_sleeping", b"", LONG).await.unwrap();
    assert_eq!((sleeping.status, sleeping.body), (200, br#"{"is_sleeping":true}"#.to_vec()));
    assert!(matches!(backend.one_token(None, LONG).await, OneToken::Refused { status: 503, retry_after: Some(after), .. } if after == "0"));
    assert_eq!(backend.call("POST", "/wake_up", b"{}", LONG).await.map(|r| r.status), Ok(200));
    let OneToken::Refused { status, said, retry_after } = backend.one_token(None, LONG).await else { panic!("it wakes for an hour") };
    assert_eq!((status, said.as_str()), (503, ": the model is loading"));
    assert!(retry_after.unwrap().parse::<u32>().unwrap() >= 3_500);
    let missing = backend.call("GET", "/nowhere", b"", LONG).await.unwrap();
    assert_eq!((missing.status, missing.said().as_str()), (404, ": there is no route `/nowhere`"));
    truth.stop();
    assert!(matches!(backend.one_token(None, LONG).await, OneToken::Lost(_)));
    assert!(backend.call("GET", "/health", b"", LONG).await.is_err());
}
