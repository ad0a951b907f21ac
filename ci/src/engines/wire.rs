//! What a recorded conversation says: requests with their answers, and what the engine reported of tokens in each. It shares no line with
//! nomoat's decoders, so that a fault of theirs is not repeated here.

use super::http;
use super::relay::Talk;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A request with its answer.
#[derive(Debug)]
pub struct Exchange {
    /// The `X-Request-Id` it was sent with.
    pub id: String,
    pub path: String,
    pub status: u16,
    /// The last usage of the answer.
    pub usage: Option<Usage>,
    /// The answer's text.
    pub text: String,
}

/// What an answer says of its tokens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    /// Of the input, what a cache knew.
    pub cached: u64,
}

/// What one event, or a whole answer, says of tokens; later words replace earlier ones, part by part.
#[derive(Default, Clone, Copy)]
struct Said {
    input: Option<u64>,
    output: Option<u64>,
    cached: Option<u64>,
    /// What was put into a cache, where that is counted beside the rest.
    written: Option<u64>,
    /// Whether the input is without what is cached.
    apart: bool,
}

/// Where the dialects say it: the object's place, then the names of prompt, answer and cached tokens in it, and whether the cached ones
/// are beside the prompt's rather than among them.
const PLACES: &[(&str, &str, &str, &str, bool)] = &[
    ("/usage", "/prompt_tokens", "/completion_tokens", "/prompt_tokens_details/cached_tokens", false),
    ("/response/usage", "/input_tokens", "/output_tokens", "/input_tokens_details/cached_tokens", false),
    ("/message/usage", "/input_tokens", "/output_tokens", "/cache_read_input_tokens", true),
    ("/usage", "/input_tokens", "/output_tokens", "/cache_read_input_tokens", true),
    ("/meta_info", "/prompt_tokens", "/completion_tokens", "/cached_tokens", false),
    ("/timings", "/prompt_n", "/predicted_n", "/cache_n", true),
];

impl Said {
    fn add(&mut self, value: &Value) {
        for (place, input, output, cached, apart) in PLACES {
            let Some(object) = value.pointer(place) else { continue };
            let number = |name: &str| object.pointer(name).and_then(Value::as_u64);
            if number(input).or(number(output)).is_some() {
                self.input = number(input).or(self.input);
                self.output = number(output).or(self.output);
                self.cached = number(cached).or(self.cached);
                self.written = number("/cache_creation_input_tokens").or(self.written);
                self.apart = *apart;
                return;
            }
        }
    }

    fn whole(self) -> Option<Usage> {
        let cached = self.cached.unwrap_or(0);
        let beside = if self.apart { cached + self.written.unwrap_or(0) } else { 0 };
        Some(Usage { input: self.input? + beside, output: self.output?, cached })
    }
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { input: self.input + other.input, output: self.output + other.output, cached: self.cached + other.cached }
    }
}

/// Every POST of a connection.
pub fn posts(talk: &Talk) -> Result<Vec<Exchange>> {
    let (mut asked, mut answered) = (talk.asked.as_slice(), talk.answered.as_slice());
    let mut found = vec![];
    while !asked.is_empty() {
        let request = http::head(asked).context("reading a request")?.context("a request ends within its head")?;
        let (_, took) = http::body(&request, &asked[request.len..], true, false)?.context("a request ends within its body")?;
        asked = &asked[request.len + took..];
        let what = || format!("reading the answer to {} {}", request.first[0], request.first[1]);
        let is_post = request.first[0] == "POST";
        let answer = http::head(answered).with_context(what)?;
        let body =
            answer.as_ref().map(|answer| http::body(answer, &answered[answer.len..], true, true)).transpose().with_context(what)?.flatten();
        let (Some(answer), Some((body, took))) = (answer, body) else {
            // Whoever only looks at a page may hang up in the middle of it; an answer that is measured is heard to its end.
            ensure!(!is_post, "{}: it ends before it is whole", what());
            return Ok(found);
        };
        answered = &answered[answer.len + took..];
        if is_post {
            let is_stream = answer.get("content-type").is_some_and(|t| t.starts_with("text/event-stream"));
            let (usage, text) = said(&body, is_stream);
            found.push(Exchange {
                id: request.get("x-request-id").unwrap_or_default().into(),
                path: request.first[1].into(),
                status: answer.first[1].parse().with_context(what)?,
                usage,
                text,
            });
        }
    }
    ensure!(answered.is_empty(), "{} bytes were answered to nothing", answered.len());
    Ok(found)
}

/// The last usage and the whole text.
fn said(body: &[u8], is_stream: bool) -> (Option<Usage>, String) {
    let body = String::from_utf8_lossy(body);
    let payloads: Vec<&str> = if is_stream { body.lines().filter_map(|line| line.strip_prefix("data:")).collect() } else { vec![&body] };
    let (mut usage, mut text) = (Said::default(), String::new());
    for value in payloads.iter().filter_map(|payload| serde_json::from_str::<Value>(payload.trim()).ok()) {
        usage.add(&value);
        for place in ["/choices/0/text", "/choices/0/delta/content", "/choices/0/message/content", "/delta", "/delta/text", "/content"] {
            text.push_str(value.pointer(place).and_then(Value::as_str).unwrap_or_default());
        }
    }
    (usage.whole(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(asked: &str, answered: &str) -> Talk {
        Talk { asked: asked.into(), answered: answered.into() }
    }

    const ASKED: &str =
        "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\nPOST /v1/completions HTTP/1.1\r\nX-Request-Id: r-1\r\nContent-Length: 2\r\n\r\n{}";

    #[test]
    fn a_stream_and_its_usage() {
        let stream = "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":null}\n\ndata: {\"choices\":[{\"text\":\"b\"}]}\n\n\
                      data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n\
                      data: [DONE]\n\n";
        let answered = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{stream}",
            stream.len()
        );
        let found = posts(&talk(ASKED, &answered)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), found[0].path.as_str(), found[0].status), ("r-1", "/v1/completions", 200));
        assert_eq!((found[0].usage, found[0].text.as_str()), (Some(Usage { input: 5, output: 2, cached: 4 }), "ab"));
    }

    #[test]
    fn a_page_may_be_left_in_the_middle() {
        let asked = "GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n";
        assert!(posts(&talk(asked, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")).unwrap().is_empty());
        assert!(posts(&talk(asked, "")).unwrap().is_empty());
    }

    #[test]
    fn a_whole_answer_and_none() {
        let check = |answered: &str, expect: Result<Option<Usage>, &str>| match (posts(&talk(ASKED, answered)), expect) {
            (Ok(found), Ok(usage)) => assert_eq!(found[0].usage, usage),
            (Err(error), Err(says)) => assert!(format!("{error:#}").contains(says), "{error:#}"),
            (got, _) => panic!("{got:?}"),
        };
        let first = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let body = "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}";
        check(&format!("{first}HTTP/1.1 200 OK\r\n\r\n{body}"), Ok(Some(Usage { input: 1, output: 2, cached: 0 })));
        check(&format!("{first}HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{{}}"), Ok(None));
        check(first, Err("before it is whole"));
        check(&format!("{first}HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{{}}"), Err("before it is whole"));
        check(&format!("{first}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{{}}more"), Err("4 bytes were answered to nothing"));
    }

    #[test]
    fn every_dialect_says_how_many() {
        let check = |events: &[&str], expect: Option<(u64, u64, u64)>| {
            let body = events.iter().map(|event| format!("data: {event}\n\n")).collect::<Vec<_>>().concat();
            assert_eq!(said(body.as_bytes(), true).0, expect.map(|(input, output, cached)| Usage { input, output, cached }), "{events:?}");
        };
        check(&["{}", "[DONE]"], None);
        check(
            &[r#"{"usage":{"prompt_tokens":3,"completion_tokens":1}}"#, r#"{"usage":{"prompt_tokens":3,"completion_tokens":2}}"#],
            Some((3, 2, 0)),
        );
        let done = r#"{"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":2,"input_tokens_details":{"cached_tokens":1}}}}"#;
        check(&[r#"{"type":"response.created","response":{"usage":null}}"#, done], Some((3, 2, 1)));
        let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":0,"cache_read_input_tokens":4}}}"#;
        check(&[start, r#"{"type":"message_delta","usage":{"output_tokens":2}}"#], Some((7, 2, 4)));
        let written = r#"{"type":"message_delta","usage":{"input_tokens":3,"output_tokens":2,"cache_creation_input_tokens":5}}"#;
        check(&[start, written], Some((12, 2, 4)));
        check(&[r#"{"text":"a","meta_info":{"prompt_tokens":3,"completion_tokens":2,"cached_tokens":1}}"#], Some((3, 2, 1)));
        check(&[r#"{"content":"a"}"#, r#"{"timings":{"prompt_n":3,"predicted_n":2,"cache_n":1}}"#], Some((4, 2, 1)));
    }
}
