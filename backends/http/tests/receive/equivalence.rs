//! The learnt skeleton changes nothing: with and without it, the same bytes give the same record, the same text and the same error,
//! whatever the bytes.

use crate::common::{How, decode, split};
use nomoat_http::protocol::{PROTOCOLS, Protocol, by_name};
use proptest::prelude::*;

fn same(protocol: &'static dyn Protocol, pieces: &[&[u8]]) -> u64 {
    let (slow, all) = decode(protocol, pieces, How { skeleton: false, one_read: false });
    let (fast, parsed) = decode(protocol, pieces, How { skeleton: true, one_read: false });
    assert_eq!(fast, slow);
    assert!(parsed <= all);
    all - parsed
}

/// A generated text, as JSON (with its quotes): plain, with everything that must be escaped, escaped though it need not be, empty.
fn text() -> impl Strategy<Value = String> {
    let json = |text: String| serde_json::to_string(&text).expect("texts serialize");
    prop_oneof![
        6 => "[ a-zA-Z.,é漢\u{1F600}]{1,8}".prop_map(json),
        2 => ".{0,6}".prop_map(json),
        1 => "[\"\\\\\n\r\t\u{1}\u{7f}x]{1,4}".prop_map(json),
        1 => Just("\"\"".to_owned()),
        1 => Just("null".to_owned()),
        1 => prop::sample::select(vec!["\"\\u0041b\"", "\"\\ud83d\\ude00\"", "\"a\\/b\"", "\"\\ud83d\"", "\"a\\x\"", "\"data: [DONE]\"", "\"},{\""]).prop_map(str::to_owned),
    ]
}

/// What goes into one event.
#[derive(Clone, Debug)]
struct Event {
    text: String,
    other: u8,
    tokens: u32,
    created: u32,
}

fn event() -> impl Strategy<Value = Event> {
    (text(), any::<u8>(), prop_oneof![8 => Just(1_u32), 2 => 0_u32..5, 1 => any::<u32>()], 0_u32..3)
        .prop_map(|(text, other, tokens, created)| Event { text, other, tokens, created })
}

/// Log probabilities: mostly of some tokens, sometimes in a shape that is none.
fn logprobs(name: &str, other: u8) -> String {
    match other % 32 {
        11 => "[1]".to_owned(),
        12 => format!("{{\"{name}\":[],\"tokens\":null}}"),
        13 => format!("{{\"{name}\":null}}"),
        14 => format!("{{\"{name}\":[1],\"{name}\":[1,2]}}"),
        15..30 => format!(
            "{{\"{name}\":[{}],\"token_logprobs\":[-1.{other}]}}",
            ["1", "{\"logprob\":-1.5}", "1,2", "[1,[]],null"][usize::from(other % 4)]
        ),
        _ => "null".to_owned(),
    }
}

/// Writes an event the way one of the recorded engines does.
fn write(style: u8, event: &Event, output: u64) -> String {
    let Event { text, other, created, .. } = event;
    let created = 1_795_438_427 + u64::from(*created);
    let ids = match other % 16 {
        0 => "[]".to_owned(),
        1 => "null".to_owned(),
        2 => "[ 1, 2]".to_owned(),
        n => format!("{:?}", (0..=n % 3).collect::<Vec<_>>()).replace(' ', ""),
    };
    let (name, index) = match other % 32 {
        3 => ("reasoning", 0),
        4 => ("content", 1),
        5 => ("refusal", 0),
        _ => ("content", 0),
    };
    let finish = if other % 64 == 9 { "\"length\"" } else { "null" };
    let total = output + 44;
    match style % 12 {
        0 => format!(
            "data: {{\"id\":\"c\",\"created\":{created},\"model\":\"m\",\"choices\":[{{\"index\":{index},\"delta\":{{\"{name}\":{text}}},\"logprobs\":{},\
             \"finish_reason\":{finish},\"token_ids\":null}}],\"usage\":{{\"prompt_tokens\":44,\"total_tokens\":{total},\"completion_tokens\":{output},\
             \"completion_tokens_details\":null}}}}\n\n",
            logprobs("content", *other)
        ),
        1 => format!(
            "data: {{\"created\":{created},\"choices\":[{{\"index\":{index},\"text\":{text},\"logprobs\":{},\"finish_reason\":{finish},\"token_ids\":{}}}],\"usage\":{{\"prompt_tokens\":5,\"total_tokens\":{total},\"completion_tokens\":{output}}}}}\n\n",
            logprobs("tokens", *other),
            if style > 127 { "null" } else { &ids }
        ),
        2 => format!(
            "data: {{\"id\":\"s\",\"created\":{created},\"choices\":[{{\"index\":{index},\"delta\":{{\"reasoning_content\":null,\"{name}\":{text}}},\
             \"logprobs\":null,\"finish_reason\":{finish},\"matched_stop\":null}}]}}\n\n"
        ),
        3 => format!(
            "data: {{\"choices\":[{{\"delta\":{{\"{name}\":{text}}},\"index\":{index}}}],\"created\":{created},\"usage\":{{\"completion_tokens\":{output},\
             \"prompt_tokens\":{total},\"prompt_tokens_details\":{{\"cached_tokens\":{}}}}},\"nvext\":{{\"worker_id\":{{\"a\":1}}}}}}\r\n\r\n",
            other % 2
        ),
        4 => format!(
            "data:{{\"choices\":[{{\"finish_reason\":{finish},\"index\":{index},\"delta\":{{\"{name}\":{text}}}}}],\"created\":{created},\"timings\":{{\"n\":{output}}}}}\n\n"
        ),
        5 => format!(
            "data: {{\"choices\":[{{\"index\":{index},\"text\":{text},\"delta\":{{\"tool_calls\":[{{\"function\":{{\"arguments\":{text}}}}}]}}}}],\"usage\":null}}\n\n"
        ),
        6..11 => native(style % 12, event, output, &ids, index, finish),
        _ => format!(
            "data: {{\"choices\":[{{\"delta\":{{\"role\":\"assistant\",\"{name}\":{text}}}}}],\"created\":{created}.5,\"usage\":{{\"completion_tokens\":{output}.0}}}}\n\n"
        ),
    }
}

/// Writes an event of a dialect that is not OpenAI's chat or completions.
fn native(style: u8, event: &Event, output: u64, ids: &str, index: u32, finish: &str) -> String {
    let Event { text, other, created, .. } = event;
    match style {
        6 => {
            let kind = ["output_text", "reasoning_text", "function_call_arguments", "audio"][usize::from(other % 64 / 16)];
            let logprobs = if other % 16 == 3 { "[{\"logprob\":-1.5}]" } else { "[]" };
            format!(
                "event: response.{kind}.delta\ndata: {{\"content_index\":0,\"delta\":{text},\"item_id\":\"msg_{created}\",\"logprobs\":{logprobs},\"output_index\":0,\
                 \"sequence_number\":{output},\"type\":\"response.{kind}.delta\",\"obfuscation\":\"{}\"}}\n\n",
                "0".repeat(usize::from(other % 5))
            )
        }
        7 => {
            let (kind, name) = [("text_delta", "text"), ("thinking_delta", "thinking"), ("input_json_delta", "partial_json")]
                [usize::from(other % 48 / 16)];
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"{kind}\",\"{name}\":{text}}}}}\n\n{}",
                match other % 16 {
                    2 => format!(
                        "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":{finish}}},\"usage\":{{\"output_tokens\":{output},\"cache_read_input_tokens\":7}}}}\n\n"
                    ),
                    3 => "event: ping\ndata: {\"type\": \"ping\"}\n\n".to_owned(),
                    _ => String::new(),
                }
            )
        }
        8 => format!(
            "data:{{\"index\":{output},\"token\":{{\"id\":{created},\"text\":{text},\"logprob\":-{}.25,\"special\":{}}},\"generated_text\":{},\"details\":null}}\n\n",
            other % 3,
            other % 16 == 1,
            if other % 128 == 77 { text } else { "null" }
        ),
        9 => format!(
            "data: {{\"index\":{index},\"content\":{text},\"tokens\":{ids},\"stop\":{},\"id_slot\":-1,\"tokens_predicted\":{output},\"tokens_evaluated\":5}}\n\n",
            other % 64 == 9
        ),
        _ => format!(
            "data: {{\"index\":{index},\"text\":{text},\"output_ids\":{ids},\"meta_info\":{{\"id\":\"a\",\"finish_reason\":null,\"prompt_tokens\":5,\"completion_tokens\":{},\"cached_tokens\":4}}}}\n\n",
            output % 8
        ),
    }
}

fn stream(style: u8, events: &[Event]) -> Vec<u8> {
    let mut output = 0_u64;
    let mut bytes = String::new();
    for event in events {
        output += u64::from(event.tokens);
        bytes += &write(style, event, output);
        match event.other {
            199 => bytes += "data:\n\ndata:  \n\ndata:\n\n",
            200 => bytes += ": keep-alive\n\n",
            201 => bytes += "event: note\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n",
            202 => bytes += "data: [DONE]\n\n",
            _ => {}
        }
    }
    bytes.into_bytes()
}

/// Damage: at a place, a byte is replaced, dropped or put in.
pub(crate) fn damage(bytes: &mut Vec<u8>, hits: &[(usize, u8, u8)]) {
    for (at, how, byte) in hits {
        let at = at % (bytes.len() + 1);
        match how % 3 {
            0 if at < bytes.len() => bytes[at] = *byte,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.insert(at, *byte),
        }
    }
}

pub(crate) fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(b"\"\\{}[],:0129.-eE \n\r\xC3\xA9\x00".to_vec()), any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn generated_streams(style: u8, events in prop::collection::vec(event(), 1..25), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        let bytes = stream(style, &events);
        for protocol in PROTOCOLS {
            same(*protocol, &split(&bytes, &cuts));
        }
    }

    #[test]
    fn damaged_streams(style: u8, events in prop::collection::vec(event(), 1..12), hits in prop::collection::vec((any::<usize>(), any::<u8>(), byte()), 1..6), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let mut bytes = stream(style, &events);
        damage(&mut bytes, &hits);
        for protocol in PROTOCOLS {
            same(*protocol, &split(&bytes, &cuts));
        }
    }
}

/// Events that hold nothing say only that the endpoint lives, every time.
#[test]
fn empty_events() {
    let bytes = [&b"data:\n\n"[..]; 5].concat();
    let pieces: Vec<&[u8]> = bytes.chunks(7).collect();
    for protocol in PROTOCOLS {
        assert_eq!(same(*protocol, &pieces), 0, "none of them is learnt");
    }
}

/// The comparison above would be empty if the skeleton never fitted.
#[test]
fn the_skeleton_is_used() {
    let plain = |text: &str, other| Event { text: format!("\"{text}\""), other, tokens: 1, created: 0 };
    for (style, name) in
        [(0, "chat"), (1, "completions"), (2, "chat"), (3, "chat"), (6, "responses"), (7, "messages"), (8, "generate_stream")]
    {
        let protocol = by_name(name).expect("a dialect of the list");
        let events: Vec<Event> = (0..20).map(|i| plain(["a", "bc", "déf"][i % 3], 7)).collect();
        let spared = same(protocol, &[&stream(style, &events)]);
        assert_eq!(spared, 19, "style {style}: every event behind the first");
    }
}
