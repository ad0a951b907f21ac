//! vLLM's `custom` data set: JSON Lines of `{"prompt": text}`, perhaps with `output_tokens`. Its `timed_trace` has Mooncake's fields and is
//! read as such.

use super::conversation::{ESTIMATED, TOKENIZER, tokens};
use super::records::{has, keys};
use super::thread::UNSAID_OUTPUT;
use super::{ImportOptions, Importer, MAX_TOKENS, stem};
use crate::diagnose::{Field, Shape, explain_line};
use crate::error::TraceError;
use crate::lines::Rows;
use crate::sink::Sink;
use crate::source::Source;
use nomoat_core::prompt::Prompt;
use nomoat_core::request::OutputLength;
use nomoat_core::trace::{Trace, TraceRequest};
use serde::Deserialize;

/// The importer.
pub(crate) struct VllmCustom;

const FIELDS: &[Field] =
    &[Field::required("prompt", Shape::Text), Field::optional("output_tokens", Shape::Whole { min: 1, max: MAX_TOKENS, of: "tokens" })];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    prompt: String,
    output_tokens: Option<u64>,
}

impl Importer for VllmCustom {
    fn name(&self) -> &'static str {
        "vllm-custom"
    }

    fn about(&self) -> &'static str {
        "vLLM's custom data set (JSON Lines): prompts as text, perhaps answer lengths; prompts' lengths are estimated"
    }

    fn sniff(&self, head: &[u8]) -> bool {
        let keys = keys(head);
        has(&keys, "prompt") && keys.iter().all(|key| FIELDS.iter().any(|field| field.is(key)))
    }

    fn import(&self, source: &mut Source<'_>, options: &ImportOptions, sink: &mut dyn Sink) -> Result<Trace, TraceError> {
        let name = stem(source.name());
        let (mut rows, mut unsaid) = (Rows::new(source, options), 0_u64);
        while let Some(line) = rows.next()? {
            let place = line.place;
            let row = serde_json::from_slice(line.bytes).map_err(|error| explain_line(line.bytes, FIELDS, place, &error));
            let row = row.and_then(|row: Row| match row.output_tokens {
                Some(tokens) if !(1..=MAX_TOKENS).contains(&tokens) => {
                    Err(place.field("output_tokens", "is out of range", format!("a whole number of tokens from 1 to {MAX_TOKENS}")))
                }
                output => Ok((row.prompt, output.map(|tokens| tokens as u32))),
            });
            let Some((text, output)) = rows.take(row)? else { continue };
            unsaid += u64::from(output.is_none());
            let input = tokens(text.len() as u64);
            let length = if output.is_some() { OutputLength::Exact } else { OutputLength::Cap };
            let request = TraceRequest::new(Prompt::Text(text.into()), input, output.unwrap_or(UNSAID_OUTPUT));
            sink.request(TraceRequest { length, ..request })?;
        }
        let (source, skipped) = rows.finish();
        let said = format!("{unsaid} rows do not say how long their answer is; it is capped at {UNSAID_OUTPUT} tokens");
        let losses = [ESTIMATED.to_owned(), "arrivals are not recorded: choose an arrival law".to_owned()].into_iter();
        let losses = losses.chain((unsaid > 0).then_some(said)).chain(skipped).collect();
        Ok(Trace { name, source, tokenizer: Some(TOKENIZER.to_owned()), losses, ..Trace::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;

    fn read(text: &str) -> Result<Trace, TraceError> {
        from_bytes("dir/custom.jsonl", text.as_bytes(), None, &ImportOptions::default())
    }

    #[test]
    fn texts_with_and_without_lengths() {
        let trace = read("{\"prompt\": \"What is the capital of India?\"}\n{\"prompt\": \"12345\", \"output_tokens\": 9}\n").unwrap();
        let seen: Vec<_> = trace.requests.iter().map(|r| (r.input_tokens, r.output_tokens, r.length, r.at)).collect();
        assert_eq!(seen, [(8, 256, OutputLength::Cap, None), (2, 9, OutputLength::Exact, None)]);
        assert_eq!(trace.requests[1].prompt, Prompt::Text("12345".into()));
        assert!(trace.losses[2].starts_with("1 rows do not say"), "{:?}", trace.losses);
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let check = |text: &str, expect: &[&str]| {
            let error = from_bytes("dir/custom.jsonl", text.as_bytes(), Some("vllm-custom"), &ImportOptions::default());
            let error = error.unwrap_err().to_string();
            assert!(expect.iter().all(|part| error.contains(part)), "{error}");
        };
        check("", &["no request"]);
        check("{\"prompt\": 5}\n", &[":1:", "`prompt`", "a text"]);
        check("{\"promt\": \"a\"}\n", &["`promt`", "unknown", "`prompt`"]);
        check("{\"prompt\": \"a\", \"output_tokens\": 0}\n", &["`output_tokens`", "from 1"]);
        check("{\"prompt\": \"a\", \"output_tokens\": \"9\"}\n", &["`output_tokens`", "\"9\""]);
    }
}
