//! What only an HTTP endpoint can get wrong: names it does not know, bodies that are none, lengths beyond its context.

use crate::backend::HttpBackend;
use crate::control::{CONTROL_TIMEOUT, ControlError, exchange};
use crate::protocol::Input;
use crate::said::said;
use nomoat_core::conform::{Finding, Outcome};
use serde_json::Value;
use std::time::Duration;

/// Most bytes of an answer that is looked at.
const LIMIT: usize = 4 << 20;
/// Tokens beyond the context that are asked for.
const BEYOND: u32 = 64;
/// The longest context that is asked beyond: an endpoint that answers instead of refusing would write all of it.
const LONGEST: u32 = 16_384;

/// An answer's status, and what it says where it is an error.
struct Reply {
    status: u16,
    said: String,
    body: Vec<u8>,
}

impl HttpBackend {
    /// Runs the checks of requests that an endpoint must refuse. To be called after the probe.
    pub async fn conform(&self, context_tokens: Option<u32>) -> Vec<Finding> {
        vec![self.unknown_model().await, self.bad_body().await, self.beyond_context(context_tokens).await]
    }

    /// The mean log-probability per token of `text`, where the endpoint returns those of a prompt (`echo` with `logprobs`).
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn text_logprob(&self, text: &str) -> Result<f64, String> {
        let encoder = self.settled();
        let path = format!("{}/completions", self.route().endpoint.api);
        let body = serde_json::json!({
            "model": encoder.model, "prompt": text, "max_tokens": 1, "echo": true, "logprobs": 1, "temperature": 0, "stream": false,
        });
        let reply = self.post(&path, &serde_json::to_vec(&body).map_err(|e| e.to_string())?, CONTROL_TIMEOUT).await?;
        if reply.status != 200 {
            return Err(format!("HTTP {}{}", reply.status, reply.said));
        }
        let answer: Value = serde_json::from_slice(&reply.body).map_err(|e| format!("the answer is not JSON: {e}"))?;
        let all =
            answer.pointer("/choices/0/logprobs/token_logprobs").and_then(Value::as_array).ok_or("the answer has no log-probabilities")?;
        // The first token has no probability, the last one was generated.
        let of_prompt: Vec<f64> = all.iter().take(all.len().saturating_sub(1)).filter_map(Value::as_f64).collect();
        if of_prompt.len() < 2 {
            return Err("the answer has no log-probabilities of the prompt".into());
        }
        Ok(of_prompt.iter().sum::<f64>() / of_prompt.len() as f64)
    }

    async fn post(&self, path: &str, body: &[u8], patience: Duration) -> Result<Reply, String> {
        let (request, _) = self.settled().wire("POST", path, "nomoat-conform", body);
        match exchange(self.route(), &request, LIMIT, patience).await {
            Ok(answer) => Ok(Reply { status: answer.status, said: said(&answer.body), body: answer.body }),
            Err(ControlError::Unreachable(why) | ControlError::Tls(why) | ControlError::Garbled(why)) => Err(why),
        }
    }

    /// A model that nobody has is refused; else one cannot know which model answered.
    async fn unknown_model(&self) -> Finding {
        const CHECK: &str = "an unknown model is refused";
        let mut encoder = self.settled();
        // In some dialects it stands in the path.
        let known = crate::protocol::route(encoder.protocol.path(), &encoder.model);
        encoder.model = "nomoat-no-such-model".into();
        if let Some(root) = encoder.path.strip_suffix(&known).map(str::to_owned) {
            encoder.path = root + &crate::protocol::route(encoder.protocol.path(), &encoder.model);
        }
        let body = match encoder.body(Input::Text(" hello"), 1, false) {
            Ok(body) => body,
            Err(why) => return Finding::new(CHECK, Outcome::Skipped, why),
        };
        match self.post(&encoder.path, &body, CONTROL_TIMEOUT).await {
            Ok(Reply { status: 200, .. }) => Finding::new(CHECK, Outcome::Odd, "it answers: the model's name says nothing about the model"),
            Ok(Reply { status: status @ 400..=499, said, .. }) => Finding::new(CHECK, Outcome::Good, format!("HTTP {status}{said}")),
            Ok(Reply { status, said, .. }) => Finding::new(CHECK, Outcome::Odd, format!("HTTP {status}{said}")),
            Err(why) => Finding::new(CHECK, Outcome::Odd, why),
        }
    }

    /// A body that is no JSON is the client's fault and told so.
    async fn bad_body(&self) -> Finding {
        const CHECK: &str = "a body that is no JSON is refused";
        match self.post(&self.settled().path, b"{\"model\": ", CONTROL_TIMEOUT).await {
            Ok(Reply { status: 200, .. }) => Finding::new(CHECK, Outcome::Wrong, "it answers: what is sent is not what is read"),
            Ok(Reply { status: status @ 400..=499, said, .. }) => Finding::new(CHECK, Outcome::Good, format!("HTTP {status}{said}")),
            Ok(Reply { status, said, .. }) => {
                Finding::new(CHECK, Outcome::Odd, format!("HTTP {status}{said}: its errors blame the server"))
            }
            Err(why) => Finding::new(CHECK, Outcome::Odd, why),
        }
    }

    /// An answer that does not fit into the context is refused, not cut.
    async fn beyond_context(&self, context: Option<u32>) -> Finding {
        const CHECK: &str = "more than the context is refused";
        let Some(context) = context.filter(|n| *n <= LONGEST) else {
            return Finding::new(CHECK, Outcome::Skipped, "its context is not known, or too long to be asked for");
        };
        let encoder = self.settled();
        let body = match encoder.body(Input::Text(" hello"), context + BEYOND, false) {
            Ok(body) => body,
            Err(why) => return Finding::new(CHECK, Outcome::Skipped, why),
        };
        match self.post(&encoder.path, &body, CONTROL_TIMEOUT).await {
            Ok(Reply { status: status @ 400..=499, said, .. }) => Finding::new(CHECK, Outcome::Good, format!("HTTP {status}{said}")),
            Ok(Reply { status: 200, .. }) => {
                Finding::new(CHECK, Outcome::Odd, "it answers and cuts: give --context, so that requests that do not fit are left out")
            }
            Ok(Reply { status, said, .. }) => Finding::new(CHECK, Outcome::Odd, format!("HTTP {status}{said}")),
            // It may be slow to refuse, or have begun an answer that goes on for long.
            Err(why) => Finding::new(CHECK, Outcome::Skipped, format!("not known: {why}")),
        }
    }
}
