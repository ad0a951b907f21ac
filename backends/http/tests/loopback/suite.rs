//! The suite of traps over the wire: played by a server that knows only bytes, cut as badly as can be, read by the measured connection.

use crate::{config, prepared, sink};
use nomoat_core::backend::{Backend, Payload};
use nomoat_core::record::{Connection, RequestRecord};
use nomoat_core::request::ShardId;
use nomoat_http::protocol::by_name;
use nomoat_http::suite::{Case, Expect, cases};
use nomoat_http::{HttpBackend, HttpConfig, Secret};
use nomoat_truth::{Config, Cut, Play, Script, Truth};

fn playing(cases: &[Case], cut: Cut) -> Truth {
    let mut play = Play::new(cut);
    cases.iter().for_each(|case| play.add(&case.name(), case.response()).unwrap());
    Truth::start(Config { script: Script::parse("ttft=0ms,itl=0ms").unwrap(), play: Some(play), ..Config::default() }).unwrap()
}

/// Asks twice on one channel; the records, and whether the first connection could be kept.
async fn twice(truth: &Truth, case: &Case) -> ([RequestRecord; 2], bool) {
    let protocol = by_name(case.dialect).unwrap();
    let path = format!("/{}{}", case.name(), protocol.path());
    let settings = HttpConfig { path: Some(path), model: Some("m".into()), ..config(format!("http://{}", truth.addr())) };
    let backend = HttpBackend::new(settings, crate::clock()).await.unwrap();
    let mut channel = backend.open(ShardId(0)).await.unwrap();
    let mut records = vec![];
    let mut kept = false;
    for id in 1..3 {
        let (prepared, mut sink) = (prepared(&backend, id, 20), sink(20));
        let outcome = channel.generate(&prepared, &mut sink).await;
        kept |= id == 1 && outcome.is_ok();
        records.push(sink.finish(outcome, false).0);
    }
    (records.try_into().unwrap(), kept)
}

/// What does not depend on reads is what the suite says, at every cut; and the last trap: a connection that is used again is known
/// as such, and its answer means the same.
#[tokio::test]
async fn every_case_at_every_cut() {
    let cases = cases();
    for cut in [Cut::Whole, Cut::Each(1), Cut::Each(5), Cut::Random(1), Cut::Random(2)] {
        let truth = playing(&cases, cut);
        for case in &cases {
            let (records, kept) = twice(&truth, case).await;
            for record in &records {
                let (got, expect) = (Expect::of(record).whatever_the_reads(), case.expect.whatever_the_reads());
                assert_eq!(got.to_string(), expect.to_string(), "{}, cut {cut}", case.name());
                assert_eq!(record.http_status, Some(case.status));
            }
            let connections = records.map(|r| r.connection);
            assert_eq!(
                connections,
                [Connection::New, if kept { Connection::Reused } else { Connection::New }],
                "{}, cut {cut}",
                case.name()
            );
        }
    }
}

/// What a dialect must say in its head, once; a user's own word counts instead.
#[tokio::test]
async fn headers_of_a_dialect() {
    let truth = playing(&[], Cut::Whole);
    for (own, expect) in [(None, "anthropic-version: 2023-06-01\r\n"), (Some("2099-01-01"), "Anthropic-Version: 2099-01-01\r\n")] {
        let headers = own.map(|value| ("Anthropic-Version".to_owned(), Secret::new(value.to_owned())));
        let settings = HttpConfig {
            path: Some("/v1/messages".into()),
            headers: headers.into_iter().collect(),
            ..config(format!("http://{}", truth.addr()))
        };
        let backend = HttpBackend::new(settings, crate::clock()).await.unwrap();
        let Payload::Wire { bytes, body_at } = prepared(&backend, 1, 20).payload else { panic!("an endpoint gets bytes") };
        let head = String::from_utf8(bytes[..body_at].to_vec()).unwrap();
        assert_eq!(head.to_ascii_lowercase().matches("anthropic-version").count(), 1, "{head}");
        assert!(head.contains(expect), "{head}");
    }
}
