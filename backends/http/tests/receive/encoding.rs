//! Request bodies, byte for byte.

use nomoat_http::protocol::{
    Ask, Chat, Completion, Completions, EncodeError, Fields, Generate, GenerateStream, Input, Message, Messages, PROTOCOLS, Protocol,
    Responses, Role, Triton,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const ASK: Ask<'_> = Ask {
    model: "m",
    prompt: Input::Text("hi"),
    recorded: None,
    max_tokens: 16,
    exact: false,
    fields: None,
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

/// Each dialect as it is when nobody says otherwise: an exact length, a temperature, counts at the end.
#[test]
fn native_bodies() {
    let conversation = [
        Message { role: Role::System, text: "Be brief." },
        Message { role: Role::User, text: "a" },
        Message { role: Role::Assistant, text: "b" },
        Message { role: Role::User, text: "c" },
    ];
    let ask = Ask { exact: true, include_usage: true, continuous_usage: true, temperature: Some(0.0), ..ASK };
    let check = |protocol: &dyn Protocol, ask: Ask<'_>, expect: &str| assert_eq!(encode(protocol, &ask), expect);
    check(&Responses, ask, r#"{"model":"m","input":"hi","max_output_tokens":16,"temperature":0.0,"stream":true}"#);
    check(
        &Responses,
        Ask { prompt: Input::Messages(&conversation[..2]), ..ASK },
        r#"{"model":"m","input":[{"role":"system","content":"Be brief."},{"role":"user","content":"a"}],"max_output_tokens":16,"stream":true}"#,
    );
    check(&Messages, ask, r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":16,"temperature":0.0,"stream":true}"#);
    check(
        &Messages,
        Ask { prompt: Input::Messages(&conversation), stream: false, ..ASK },
        r#"{"model":"m","system":"Be brief.","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}],"max_tokens":16,"stream":false}"#,
    );
    check(
        &Generate,
        ask,
        r#"{"text":"hi","sampling_params":{"max_new_tokens":16,"min_new_tokens":16,"ignore_eos":true,"temperature":0.0},"stream":true}"#,
    );
    check(
        &Generate,
        Ask { prompt: Input::Ids(&[7, 8]), ..ASK },
        r#"{"input_ids":[7,8],"sampling_params":{"max_new_tokens":16},"stream":true}"#,
    );
    check(&Completion, ask, r#"{"model":"m","prompt":"hi","n_predict":16,"ignore_eos":true,"temperature":0.0,"stream":true}"#);
    check(&Completion, Ask { prompt: Input::Ids(&[7, 8]), ..ASK }, r#"{"model":"m","prompt":[7,8],"n_predict":16,"stream":true}"#);
    check(&GenerateStream, ask, r#"{"inputs":"hi","parameters":{"max_new_tokens":16,"do_sample":false,"details":true}}"#);
    check(
        &Triton,
        ask,
        r#"{"text_input":"hi","parameters":{"max_tokens":16,"min_tokens":16,"ignore_eos":true,"temperature":0.0,"stream":true,"return_finish_reason":true,"return_num_input_tokens":true,"return_num_output_tokens":true}}"#,
    );
    check(
        &Triton,
        Ask { prompt: Input::Messages(&conversation), ..ASK },
        r#"{"text_input":"Be brief.abc","parameters":{"max_tokens":16,"stream":true}}"#,
    );
    check(
        &GenerateStream,
        Ask { prompt: Input::Messages(&conversation), temperature: Some(0.5), ..ASK },
        r#"{"inputs":"Be brief.abc","parameters":{"max_new_tokens":16,"temperature":0.5,"details":true}}"#,
    );
}

/// A user's parameters are put with the dialect's: the length stays where it is not replaced.
#[test]
fn parameters_inside() {
    let with = |protocol: &dyn Protocol, extra: Value| {
        let extra = extra.as_object().expect("an object").clone();
        encode(protocol, &Ask { exact: true, extra: Some(&extra), ..ASK })
    };
    assert_eq!(
        with(&Generate, json!({"return_logprob": true, "sampling_params": {"top_k": 1, "ignore_eos": false}})),
        r#"{"text":"hi","sampling_params":{"max_new_tokens":16,"min_new_tokens":16,"top_k":1,"ignore_eos":false},"stream":true,"return_logprob":true}"#
    );
    assert_eq!(
        with(&Generate, json!({"sampling_params": null, "stream": false})),
        r#"{"text":"hi","sampling_params":null,"stream":false}"#
    );
    assert_eq!(
        with(&GenerateStream, json!({"inputs": "x", "parameters": {"max_new_tokens": 3}})),
        r#"{"parameters":{"details":true,"max_new_tokens":3},"inputs":"x"}"#
    );
}

/// Names of fields as the description of an engine gives them.
#[test]
fn named_fields() {
    let fields = |json: Value| -> Fields { serde_json::from_value(json).expect("fields") };
    let ask = Ask { exact: true, include_usage: true, ..ASK };
    let check = |protocol: &dyn Protocol, json: Value, ask: Ask<'_>, expect: &str| {
        let given = fields(json);
        assert_eq!(encode(protocol, &Ask { fields: Some(&given), ..ask }), expect);
        // Told ahead of time or while it is encoded: the same.
        let whole = given.or(protocol.fields());
        assert_eq!(encode(protocol, &Ask { fields: Some(&whole), ..ask }), expect);
    };
    let plain = r#"{"model":"m","prompt":"hi","max_tokens":16,"min_tokens":16,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true}}"#;
    check(&Completions, json!({}), ask, plain);
    check(
        &Completions,
        json!({"length": {"most": ["max_completion_tokens", "max_tokens"], "least": ["min_completion_tokens"], "force": {}}}),
        ask,
        r#"{"model":"m","prompt":"hi","max_completion_tokens":16,"max_tokens":16,"min_completion_tokens":16,"stream":true,"stream_options":{"include_usage":true}}"#,
    );
    check(
        &Completions,
        json!({"length": {"force": {"ignore_eos": true, "stop_token_ids": [], "max_tokens": 7}}, "stream": {"usage": {}}}),
        ask,
        r#"{"model":"m","prompt":"hi","max_tokens":16,"min_tokens":16,"ignore_eos":true,"stop_token_ids":[],"stream":true}"#,
    );
    let obfuscation = json!({"stream": {"always": {"stream_options": {"include_obfuscation": false}, "keep": 1}}});
    check(
        &Completions,
        obfuscation.clone(),
        Ask { continuous_usage: true, ..ASK },
        r#"{"model":"m","prompt":"hi","max_tokens":16,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true,"include_obfuscation":false},"keep":1}"#,
    );
    check(
        &Responses,
        obfuscation.clone(),
        ASK,
        r#"{"model":"m","input":"hi","max_output_tokens":16,"stream":true,"stream_options":{"include_obfuscation":false},"keep":1}"#,
    );
    check(&Completions, obfuscation, Ask { stream: false, ..ASK }, r#"{"model":"m","prompt":"hi","max_tokens":16,"stream":false}"#);
    check(
        &Messages,
        json!({"length": {"least": ["min_tokens"]}}),
        ask,
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":16,"min_tokens":16,"stream":true}"#,
    );
    for wrong in [json!({"lenght": {}}), json!({"length": {"most": "max_tokens"}}), json!({"stream": {"usage": true}})] {
        assert!(serde_json::from_value::<Fields>(wrong.clone()).is_err(), "{wrong}");
    }
    let can = |protocol: &dyn Protocol, json: Value| fields(json).or(protocol.fields()).can_force();
    let forcing: Vec<&str> = PROTOCOLS.iter().filter(|p| can(**p, json!({}))).map(|p| p.name()).collect();
    assert_eq!(forcing, ["chat", "completions", "generate", "completion", "triton"]);
    assert!(!can(&Chat, json!({"length": {"least": [], "force": {}}})) && can(&Messages, json!({"length": {"force": {"x": 1}}})));
}

#[test]
fn headers() {
    for protocol in PROTOCOLS {
        let names: Vec<&str> = protocol.headers().iter().map(|(name, _)| *name).collect();
        let expect: &[&str] = if protocol.name() == "messages" { &["anthropic-version"] } else { &[] };
        assert_eq!(names, expect, "{}", protocol.name());
    }
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
            let ask = Ask { model: &model, prompt, recorded: None, max_tokens: tokens, exact: on(1), stream: on(2), include_usage: on(4), extra: Some(&extra), ..ASK };
            let body = encode(*protocol, &ask);
            prop_assert_eq!(&body, &encode(*protocol, &ask));
            let read: Value = serde_json::from_str(&body).expect("JSON");
            let prompt = match prompt {
                Input::Ids(ids) => json!(ids),
                _ => json!(text),
            };
            let exact = |least: &str, most: &str| {
                let mut fields = json!({most: tokens});
                if on(1) && !least.is_empty() {
                    fields[least] = json!(tokens);
                }
                if on(1) && (!least.is_empty() || most == "n_predict") {
                    fields["ignore_eos"] = json!(true);
                }
                fields
            };
            let conversation = json!([{"role": "user", "content": text}]);
            let (mut expect, length, inside) = match protocol.name() {
                "chat" => (json!({"messages": conversation}), exact("min_tokens", "max_tokens"), ""),
                "completions" => (json!({"prompt": prompt}), exact("min_tokens", "max_tokens"), ""),
                "responses" => (json!({"input": prompt}), exact("", "max_output_tokens"), ""),
                "messages" => (json!({"messages": conversation}), exact("", "max_tokens"), ""),
                "completion" => (json!({"prompt": prompt}), exact("", "n_predict"), ""),
                "generate" => {
                    let key = if on(8) { "input_ids" } else { "text" };
                    (json!({key: prompt}), exact("min_new_tokens", "max_new_tokens"), "sampling_params")
                }
                "generate_stream" => {
                    let mut length = exact("", "max_new_tokens");
                    length["details"] = json!(true);
                    (json!({"inputs": prompt}), length, "parameters")
                }
                "triton" => {
                    let mut length = exact("min_tokens", "max_tokens");
                    length["stream"] = json!(on(2));
                    if on(2) && on(4) {
                        length["return_finish_reason"] = json!(true);
                        length["return_num_input_tokens"] = json!(true);
                        length["return_num_output_tokens"] = json!(true);
                    }
                    (json!({"text_input": prompt}), length, "parameters")
                }
                other => panic!("what does a body of `{other}` look like?"),
            };
            if !["generate_stream", "triton"].contains(&protocol.name()) {
                expect["stream"] = json!(on(2));
            }
            if !["generate", "generate_stream", "triton"].contains(&protocol.name()) {
                expect["model"] = json!(model);
            }
            if on(2) && on(4) && ["chat", "completions"].contains(&protocol.name()) {
                expect["stream_options"] = json!({"include_usage": true});
            }
            if inside.is_empty() {
                for (key, value) in length.as_object().expect("an object") {
                    expect[key] = value.clone();
                }
            } else {
                expect[inside] = length;
            }
            for (key, value) in &extra {
                expect[key] = value.clone();
            }
            prop_assert_eq!(&read, &expect);
            // No name stands twice, which a parser would forgive.
            let again = serde_json::to_string(&read).expect("JSON");
            prop_assert_eq!(again.len(), body.len());
        }
    }
}
