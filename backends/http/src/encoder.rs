//! Requests as bytes: head and body, made ahead of due.

use crate::protocol::{Ask, Fields, Input, Message, Protocol, Role};
use crate::url::Endpoint;
use nomoat_core::backend::{Encoder, LiveTurn, Payload};
use nomoat_core::prompt::{Alphabet, BlockPrompt, Messages, Prompt, alphabet_of, words_of};
use nomoat_core::request::{OutputLength, Request};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// A text that never reaches a file, a log or a message.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// `text` without the secret, or the part of it after a scheme word such as `Bearer`.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let bare = self.0.rsplit(' ').next().unwrap_or_default();
        // What is shorter than four characters is no secret, and taking it out would garble every text.
        let long = |part: &&str| part.len() >= 4;
        [self.0.as_str(), bare].into_iter().filter(long).fold(text.to_owned(), |text, part| text.replace(part, "<redacted>"))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// The token ids that a generated prompt may use: above the control tokens and bytes of every common vocabulary, and below the end
/// of the smallest one.
pub(crate) const IDS: Alphabet = Alphabet { first: 300, size: 1024 };

/// How an endpoint counts the tokens of a generated text: so many for each word, and so many beside them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Counting {
    pub per_word: f64,
    /// Its chat template, a token of the beginning. Generated texts are shorter by as many, at their end, where nothing is shared.
    pub beside: u32,
}

impl Counting {
    /// A token for each word and none beside: what is taken until it is known.
    pub const PLAIN: Self = Self { per_word: 1.0, beside: 0 };
}

/// Everything a request's bytes depend on besides the request.
#[derive(Clone)]
pub(crate) struct HttpEncoder {
    pub protocol: &'static dyn Protocol,
    pub endpoint: Endpoint,
    pub path: String,
    pub absolute: bool,
    /// Whether requests go out over HTTP/2, where all of a head but the id is the connection's.
    pub http2: bool,
    pub headers: Vec<(String, Secret)>,
    pub model: String,
    pub token_ids: bool,
    pub exact: bool,
    /// Names of the fields that ask for lengths and counts, where the engine's differ from the dialect's.
    pub fields: Option<Fields>,
    pub usage: bool,
    pub temperature: Option<f64>,
    pub extra: Map<String, Value>,
    pub seed: u64,
    /// Names of adapters, which take the model's place.
    pub adapters: Arc<[String]>,
    /// Words of generated texts; empty for the bundled ones.
    pub words: Arc<[String]>,
    /// How the endpoint counts generated texts.
    pub counting: Counting,
    pub tag: String,
}

impl HttpEncoder {
    /// A complete request: `method path`, the common headers, the user's, and a body.
    pub fn wire(&self, method: &str, path: &str, id: &str, body: &[u8]) -> (Vec<u8>, usize) {
        let mut bytes = Vec::with_capacity(body.len() + 512);
        let target = if self.absolute { format!("http://{}{path}", self.endpoint.authority()) } else { path.to_owned() };
        bytes.extend_from_slice(
            format!(
                "{method} {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: nomoat/{}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n",
                self.endpoint.authority(),
                env!("CARGO_PKG_VERSION")
            )
            .as_bytes(),
        );
        if !id.is_empty() {
            bytes.extend_from_slice(format!("X-Request-Id: {id}\r\n").as_bytes());
        }
        for (name, value) in self.dialect_headers() {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.reveal().as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        if method == "POST" {
            bytes.extend_from_slice(format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        let body_at = bytes.len();
        bytes.extend_from_slice(body);
        (bytes, body_at)
    }

    /// The headers that the dialect wants and the user does not give.
    pub fn dialect_headers(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let given = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        self.protocol.headers().iter().filter(move |(name, _)| !given(name))
    }

    /// A text of this many generated words, always the same.
    pub fn some_words(&self, words: u32) -> String {
        let (mut indices, mut text) = (vec![], String::new());
        BlockPrompt::unique(0, u64::from(words), words).expand(self.seed, alphabet_of(&self.words), &mut indices);
        words_of(&self.words, &indices, &mut text);
        text
    }

    /// The body for a prompt that is already text or ids.
    pub fn body(&self, prompt: Input<'_>, output_tokens: u32, exact: bool) -> Result<Vec<u8>, String> {
        self.asked(&self.model, prompt, None, output_tokens, exact)
    }

    fn asked(
        &self,
        model: &str,
        prompt: Input<'_>,
        recorded: Option<&Messages>,
        output_tokens: u32,
        exact: bool,
    ) -> Result<Vec<u8>, String> {
        // Room for a short body, which is most of them: one that grows from nothing is moved five times.
        let mut body = Vec::with_capacity(1 << 10);
        let ask = Ask {
            model,
            prompt,
            recorded,
            max_tokens: output_tokens,
            exact: exact && self.exact,
            fields: self.fields.as_ref(),
            stream: true,
            include_usage: self.usage,
            continuous_usage: false,
            temperature: self.temperature,
            extra: Some(&self.extra),
        };
        self.protocol.encode(&ask, &mut body).map_err(|e| e.to_string())?;
        Ok(body)
    }

    fn text(&self, prompt: &Prompt, overhead: u32, out: &mut String) -> Result<(), String> {
        match prompt {
            Prompt::Text(text) => out.push_str(text),
            Prompt::Messages(_) => {
                return Err(format!("`{}` takes no recorded conversation; use --endpoint /v1/chat/completions", self.protocol.name()));
            }
            Prompt::Blocks(_) | Prompt::Parts(_) => {
                let mut indices = Vec::new();
                // A tokenizer's own words are one token each.
                let per_token = if self.words.is_empty() { 1.0 / self.counting.per_word } else { 1.0 };
                prompt.expand_words(self.seed, alphabet_of(&self.words), per_token, &mut indices);
                // At least one word: there is no empty prompt.
                let spare = (f64::from(overhead) * per_token).round() as usize;
                indices.truncate(indices.len().saturating_sub(spare).max(1));
                words_of(&self.words, &indices, out);
            }
            Prompt::Ids(_) => return Err("recorded token ids cannot go to an endpoint that takes text".into()),
            // What the template adds was taken from its beginning.
            Prompt::Live { add, .. } => self.text(add, 0, out)?,
        }
        Ok(())
    }
}

impl Encoder for HttpEncoder {
    fn spoken(&self, prompt: &Prompt) -> String {
        let mut text = String::new();
        match self.text(prompt, self.counting.beside, &mut text) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }

    fn encode(&self, request: &Request, history: &[LiveTurn]) -> Result<Payload, String> {
        let exact = request.length == OutputLength::Exact;
        let (mut ids, mut text, mut recorded) = (Vec::new(), String::new(), None);
        let prompt = match &request.prompt {
            Prompt::Ids(recorded) if self.token_ids => {
                ids.extend_from_slice(recorded);
                Input::Ids(&ids)
            }
            Prompt::Messages(messages) if self.protocol.takes_recorded() => {
                recorded = Some(messages);
                Input::Text("")
            }
            prompt if self.token_ids && prompt.expand(self.seed, IDS, &mut ids) => Input::Ids(&ids),
            prompt => {
                self.text(prompt, self.counting.beside, &mut text)?;
                Input::Text(&text)
            }
        };
        let mut messages = Vec::new();
        let prompt = if history.is_empty() {
            prompt
        } else {
            for turn in history {
                messages.push(Message { role: Role::User, text: &turn.prompt });
                messages.push(Message { role: Role::Assistant, text: &turn.answer });
            }
            messages.push(Message { role: Role::User, text: &text });
            Input::Messages(&messages)
        };
        let adapter = usize::from(request.adapter).checked_sub(1).and_then(|index| self.adapters.get(index));
        let model = adapter.map_or(self.model.as_str(), String::as_str);
        let body = self.asked(model, prompt, recorded, request.output_tokens, exact)?;
        let id = format!("{}-{}", self.tag, request.id.0);
        let (bytes, body_at) =
            if self.http2 { ([id.as_bytes(), &body].concat(), id.len()) } else { self.wire("POST", &self.path, &id, &body) };
        Ok(Payload::Wire { bytes, body_at })
    }
}
