//! Request bodies, byte for byte.

use nomoat_http::protocol::{Ask, Chat, Completions, EncodeError, Input, Message, PROTOCOLS, Protocol, Role};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const ASK: Ask<'_> = Ask {
    model: "m",
    prompt: Input::Text("hi"),
    max_tokens: 16,
    exact: false,
    stream: true,
    include_usage: false,
    continuous_usage: false,
    temperature: None,
    extra: None,
};

fn encode(protocol: &dyn Protocol, ask: &Ask<'_>) -> String {
    let mut out = b"head|".to_vec();
    protocol.encode(ask, &mut out).expect("this ask can be said");
    String::from_utf8(out).expect("text").strip_prefix("head|").expect("encoding appends").to_owned()
}

#[test]
fn bodies() {
    let extra = |json: Value| json.as_object().expect("an object").clone();
    let conversation = [
        Message { role: Role::System, text: "Be brief." },
        Message { role: Role::User, text: "a" },
        Message { role: Role::Assistant, text: "b" },
        Message { role: Role::User, text: "c" },
    ];
    let check = |protocol: &dyn Protocol, ask: Ask<'_>, expect: &str| assert_eq!(encode(protocol, &ask), expect);
    check(&Chat, ASK, r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":16,"stream":true}"#);
    check(&Completions, ASK, r#"{"model":"m","prompt":"hi","max_tokens":16,"stream":true}"#);
    check(
        &Completions,
        Ask { prompt: Input::Ids(&[5, 70_000]), ..ASK },
        r#"{"model":"m","prompt":[5,70000],"max_tokens":16,"stream":true}"#,
    );
    check(
        &Completions,
        Ask { prompt: Input::Messages(&conversation), ..ASK },
        r#"{"model":"m","prompt":"Be brief.abc","max_tokens":16,"stream":true}"#,
    );
    check(
        &Chat,
        Ask { prompt: Input::Messages(&conversation), stream: false, include_usage: true, ..ASK },
        r#"{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}],"max_tokens":16,"stream":false}"#,
    );
    check(&Chat, Ask { prompt: Input::Messages(&[]), ..ASK }, r#"{"model":"m","messages":[],"max_tokens":16,"stream":true}"#);
    check(
        &Completions,
        Ask { exact: true, include_usage: true, temperature: Some(0.0), ..ASK },
        r#"{"model":"m","prompt":"hi","max_tokens":16,"min_tokens":16,"ignore_eos":true,"temperature":0.0,"stream":true,"stream_options":{"include_usage":true}}"#,
    );
    check(
        &Completions,
        Ask { include_usage: true, continuous_usage: true, ..ASK },
        r#"{"model":"m","prompt":"hi","max_tokens":16,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#,
    );
    let more = extra(json!({"seed": 1, "max_tokens": 3, "stream_options": null, "top": {"k": [1, "é"]}}));
    check(
        &Completions,
        Ask { include_usage: true, extra: Some(&more), ..ASK },
        r#"{"model":"m","prompt":"hi","stream":true,"seed":1,"max_tokens":3,"stream_options":null,"top":{"k":[1,"é"]}}"#,
    );
    check(
        &Chat,
        Ask { prompt: Input::Text("\"\\/\n\t\u{1}é漢\u{1F600}\u{2028}"), ..ASK },
        concat!(
            r#"{"model":"m","messages":[{"role":"user","content":"\"\\/\n\t\u0001é漢"#,
            "\u{1F600}\u{2028}",
            r#""}],"max_tokens":16,"stream":true}"#
        ),
    );
}

#[test]
fn chat_takes_no_ids() {
    let ask = Ask { prompt: Input::Ids(&[1]), ..ASK };
    let mut out = vec![];
    assert_eq!(Chat.encode(&ask, &mut out), Err(EncodeError::Ids { protocol: "chat" }));
    assert_eq!(out, b"", "nothing half written");
    for protocol in PROTOCOLS {
        assert_eq!(protocol.encode(&ask, &mut vec![]).is_ok(), protocol.takes_ids(), "{}", protocol.name());
    }
}

proptest! {
    /// Any text survives, the same ask gives the same bytes, and extra fields are what a shallow merge makes of them.
    #[test]
    fn bodies_are_json(text: String, model in ".{0,20}", ids in prop::collection::vec(any::<u32>(), 0..9), tokens: u32, flags in 0_u8..16, keys in prop::collection::vec("[a-z_]{1,12}|max_tokens|stream|model|prompt|messages", 0..4)) {
        let extra: Map<String, Value> = keys.into_iter().enumerate().map(|(i, k)| (k, json!(i))).collect();
        let on = |bit: u8| flags & bit != 0;
        for protocol in PROTOCOLS {
            let prompt = if protocol.takes_ids() && on(8) { Input::Ids(&ids) } else { Input::Text(&text) };
            let ask = Ask { model: &model, prompt, max_tokens: tokens, exact: on(1), stream: on(2), include_usage: on(4), extra: Some(&extra), ..ASK };
            let body = encode(*protocol, &ask);
            prop_assert_eq!(&body, &encode(*protocol, &ask));
            let read: Value = serde_json::from_str(&body).expect("JSON");
            let mut expect = json!({"model": model, "max_tokens": tokens, "stream": on(2)});
            match prompt {
                _ if protocol.name() == "chat" => expect["messages"] = json!([{"role": "user", "content": text}]),
                Input::Ids(ids) => expect["prompt"] = json!(ids),
                _ => expect["prompt"] = json!(text),
            }
            if on(1) {
                expect["min_tokens"] = json!(tokens);
                expect["ignore_eos"] = json!(true);
            }
            if on(2) && on(4) {
                expect["stream_options"] = json!({"include_usage": true});
            }
            for (key, value) in &extra {
                expect[key] = value.clone();
            }
            prop_assert_eq!(&read, &expect);
            prop_assert_eq!(body.matches("\"max_tokens\":").count() - text.matches("\"max_tokens\":").count(), 1);
        }
    }
}
