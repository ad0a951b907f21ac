//! Requests as frames.

use crate::echo::Script;
use crate::frame::{HEAD, MAX_FRAME};
use crate::message::{Hello, Takes};
use nomoat_core::backend::{Encoder, LiveTurn, Offer, Payload};
use nomoat_core::prompt::{Alphabet, Prompt, words};
use nomoat_core::request::{OutputLength, Request};
use serde_json::{Value, json};

/// Makes frames for one adapter.
#[derive(Clone, Debug)]
pub struct ExecEncoder {
    offer: Offer,
    takes: Takes,
    alphabet: Alphabet,
    /// Longest body it reads.
    bound: usize,
    temperature: Option<f64>,
    script: Option<Script>,
}

impl ExecEncoder {
    /// An encoder for whoever said `hello`. With a `script`, that is asked for with every request.
    pub fn new(offer: &Offer, hello: &Hello, temperature: Option<f64>, script: Option<Script>) -> Self {
        let bound = hello.max_frame.map_or(MAX_FRAME, |n| n as usize);
        Self { offer: offer.clone(), takes: hello.takes, alphabet: hello.alphabet(), bound, temperature, script }
    }

    fn ids(&self, prompt: &Prompt) -> Result<Vec<u32>, String> {
        let mut out = vec![];
        match prompt {
            Prompt::Blocks(_) | Prompt::Parts(_) => _ = prompt.expand(self.offer.prompt_seed, self.alphabet, &mut out),
            Prompt::Messages(_) => return Err("a recorded conversation has no token ids; send it to a chat endpoint".into()),
            Prompt::Ids(ids) => out.extend_from_slice(ids),
            Prompt::Text(_) => return Err("a recorded text has no token ids; the adapter must take text".into()),
            Prompt::Live { .. } => return Err("a live conversation is text; the adapter must take text".into()),
        }
        Ok(out)
    }

    fn text(&self, prompt: &Prompt, history: &[LiveTurn], out: &mut String) -> Result<(), String> {
        match prompt {
            Prompt::Messages(_) => return Err("an adapter takes no recorded conversation; send it to a chat endpoint".into()),
            Prompt::Blocks(_) | Prompt::Parts(_) => {
                let mut indices = vec![];
                prompt.expand(self.offer.prompt_seed, self.alphabet, &mut indices);
                words(&indices, out);
            }
            Prompt::Text(text) => out.push_str(text),
            Prompt::Ids(_) => return Err("recorded token ids have no text; the adapter must take ids".into()),
            Prompt::Live { add, .. } => {
                for turn in history {
                    out.push_str(&turn.prompt);
                    out.push_str(&turn.answer);
                }
                // One level only: the history already holds everything before.
                self.text(add, &[], out)?;
            }
        }
        Ok(())
    }
}

/// A request's frame, and where in it the part starts that does not depend on the run's ids.
pub(crate) fn generate(
    id: &str,
    prompt: &Value,
    max_tokens: u32,
    exact: bool,
    temperature: Option<f64>,
    script: Option<Script>,
) -> (Vec<u8>, usize) {
    let mut bytes = vec![0; HEAD];
    bytes.extend_from_slice(format!(r#"{{"type":"generate","id":{},"#, json!(id)).as_bytes());
    let body_at = bytes.len();
    let temperature = temperature.map_or(String::new(), |t| format!(r#","temperature":{}"#, json!(t)));
    let script = script.map_or(String::new(), |s| format!(r#","script":{{"ttft_ns":{},"itl_ns":{}}}"#, s.ttft.0, s.itl.0));
    let rest = format!(r#""max_tokens":{max_tokens},"exact":{exact}{temperature}{script},"prompt":{prompt}}}"#);
    bytes.extend_from_slice(rest.as_bytes());
    let length = u32::try_from(bytes.len() - HEAD).unwrap_or(u32::MAX);
    bytes[..HEAD].copy_from_slice(&length.to_le_bytes());
    (bytes, body_at)
}

impl Encoder for ExecEncoder {
    fn spoken(&self, prompt: &Prompt) -> String {
        let mut text = String::new();
        match self.text(prompt, &[], &mut text) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }

    fn encode(&self, request: &Request, history: &[LiveTurn]) -> Result<Payload, String> {
        let prompt = match self.takes {
            Takes::Ids => json!(self.ids(&request.prompt)?),
            Takes::Text => {
                let mut text = String::new();
                self.text(&request.prompt, history, &mut text)?;
                json!(text)
            }
        };
        let id = format!("{}{}", self.offer.id_prefix, request.id.0);
        let exact = request.length == OutputLength::Exact;
        let (bytes, body_at) = generate(&id, &prompt, request.output_tokens, exact, self.temperature, self.script);
        let length = bytes.len() - HEAD;
        if length > self.bound || u32::try_from(length).is_err() {
            return Err(format!(
                "the request is {length} bytes and the adapter reads frames of at most {}; its hello can allow more by `max_frame`",
                self.bound
            ));
        }
        Ok(Payload::Wire { bytes, body_at })
    }
}
