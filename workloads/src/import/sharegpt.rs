//! ShareGPT's conversations: a JSON list of `{id, conversations: [{from, value}]}`, hundreds of megabytes of it, or one such object a line.
//!
//! Objects are read one at a time. Every answer is a request with the recorded history before it (`conversation.rs`).

use super::classes::Classes;
use super::conversation::{MAX_MESSAGES, Said, TOKENIZER, Told};
use super::records::{Records, has, keys};
use super::{ImportOptions, Importer, stem};
use crate::diagnose::{Complaint, Field, Shape, explain, parse};
use crate::error::{Place, TraceError};
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::trace::Trace;
use serde_json::{Map, Value};

/// The importer.
pub(crate) struct ShareGpt;

const FIELDS: &[Field] = &[
    Field::optional("id", Shape::Any),
    Field::required(
        "conversations",
        Shape::Objects(&[
            Field::required("from", Shape::Text),
            Field::required("value", Shape::Text),
            Field::optional("text", Shape::Any),
            Field::optional("markdown", Shape::Any),
            Field::optional("weight", Shape::Any),
        ]),
    ),
    Field::optional("system", Shape::Text),
    Field::optional("model", Shape::Text),
    Field::optional("source", Shape::Any),
    Field::optional("lang", Shape::Any),
];

/// Who speaks, in ShareGPT's words and in those of the chat interface.
const ROLES: &[(&str, &str)] = &[
    ("human", "user"),
    ("gpt", "assistant"),
    ("system", "system"),
    ("user", "user"),
    ("assistant", "assistant"),
    ("chatgpt", "assistant"),
    ("bing", "assistant"),
    ("bard", "assistant"),
];

impl Importer for ShareGpt {
    fn name(&self) -> &'static str {
        "sharegpt"
    }

    fn about(&self) -> &'static str {
        "ShareGPT conversations (JSON): texts by turn, no arrivals; lengths are estimated"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        has(&keys(head), "conversations")
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let file = source.name().to_owned();
        let mut records = Records::new(source, options)?;
        let (mut told, mut classes) = (Told::default(), Classes::default());
        while let Some(record) = records.next()? {
            let named = classes.len();
            let said = parse(record.bytes, record.place).and_then(|object| conversation(&object, &mut classes, record.place));
            let said = records.take(said)?;
            let requests = said.map_or_else(Vec::new, |(said, class)| told.requests(&said, None, class));
            if requests.is_empty() {
                classes.truncate(named);
            }
            requests.into_iter().try_for_each(|request| sink.request(request))?;
        }
        let (digest, skipped) = records.finish();
        let losses = told.losses().into_iter().chain(skipped).collect();
        let tokenizer = Some(TOKENIZER.to_owned());
        Ok(Trace { name: stem(&file), source: digest, tokenizer, classes: classes.names(), losses, ..Trace::default() })
    }
}

fn conversation(object: &Map<String, Value>, classes: &mut Classes, place: Place<'_>) -> Result<(Vec<Said>, u16), TraceError> {
    if let Some(complaint) = explain(object, FIELDS) {
        return Err(complaint.at(place));
    }
    let turns = object["conversations"].as_array().map_or(&[][..], Vec::as_slice);
    if turns.len() > MAX_MESSAGES {
        let should = format!("a list of at most {MAX_MESSAGES}");
        return Err(place.field("conversations", format!("has {} messages", turns.len()), should));
    }
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned).unwrap_or_default();
    let system = object.get("system").and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut said: Vec<Said> = system.map(|text| Said::text("system", text)).into_iter().collect();
    for (index, turn) in turns.iter().enumerate() {
        let from = text(turn, "from");
        let Some((_, role)) = ROLES.iter().find(|(name, _)| *name == from) else {
            let names = ROLES.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            let problem = format!("is `{}`", from.chars().take(40).collect::<String>());
            let complaint = Complaint { field: format!("conversations[{index}].from"), problem, should: format!("one of {names}") };
            return Err(complaint.at(place));
        };
        said.push(Said::text(role, &text(turn, "value")));
    }
    let model = object.get("model").and_then(Value::as_str).unwrap_or("default");
    match classes.of(model) {
        Some(class) => Ok((said, class)),
        None => Err(place.field("model", "is one too many", "one of at most 65535 models")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;
    use nomoat_core::prompt::Prompt;
    use nomoat_core::request::OutputLength;

    fn read(text: &str) -> Result<Trace, TraceError> {
        from_bytes("dir/share.json", text.as_bytes(), None, &ImportOptions::default())
    }

    const TWO: &str = "[\n {\"id\": \"a\", \"conversations\": [{\"from\": \"human\", \"value\": \"12345\"}, {\"from\": \"gpt\", \"value\": \"12345678\"},\n\
        {\"from\": \"human\", \"value\": \"\"}, {\"from\": \"gpt\", \"value\": \"x\"}]},\n\
        {\"id\": \"b\", \"conversations\": []}, {\"id\": \"c\", \"conversations\": [{\"from\": \"gpt\", \"value\": \"y\"}]}]";

    #[test]
    fn answers_are_requests_with_their_history() {
        let trace = read(TWO).unwrap();
        let seen: Vec<_> = trace.requests.iter().map(|r| (r.at, r.session.unwrap().0, r.turn, r.input_tokens, r.output_tokens)).collect();
        assert_eq!(seen, [(None, 0, 0, 2, 2), (None, 0, 1, 4, 1)]);
        assert!(trace.requests.iter().all(|r| r.length == OutputLength::Cap));
        let Prompt::Messages(messages) = &trace.requests[1].prompt else { panic!("messages") };
        assert_eq!(messages.messages.len(), 3);
        assert_eq!(&*messages.messages[1], "{\"role\":\"assistant\",\"content\":\"12345678\"}");
        assert_eq!(trace.tokenizer.as_deref(), Some("estimated: 4 bytes a token"));
        assert!(trace.losses[0].contains("estimated at four bytes a token"));
        assert!(trace.losses[2].starts_with("2 conversations without an answer"), "{:?}", trace.losses);
        // One a line is the same.
        let line = "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}]}\n";
        assert_eq!(read(line).unwrap().requests.len(), 1);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let error = read(text).unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        check("[{\"conversations\": []}]", &["no request"]);
        check(
            &TWO.replace("\"from\": \"gpt\", \"value\": \"y\"", "\"from\": \"cat\", \"value\": \"y\""),
            &[":4:", "`conversations[0].from`", "`cat`", "\"gpt\""],
        );
        check(&TWO.replace("\"value\": \"\"", "\"value\": null"), &[":2:", "`conversations[2].value`", "null", "a text"]);
        check(&TWO.replace("\"id\": \"b\"", "\"idd\": \"b\""), &[":4:", "`idd`", "unknown", "`id`"]);
        check(&TWO[..TWO.len() - 1], &[":4:", "ends inside its list", "truncated"]);
        check(&TWO.replace("[]}", "[}}"), &[":4:"]);
    }
}
