//! Requests beside a run: control calls of the user's, and single generations whose first token's moment is wanted.

use super::HttpBackend;
use crate::control::{CONTROL_LIMIT, ControlError, exchange};
use crate::encoder::HttpEncoder;
use crate::preflight::{Answered, Attempt, preflight};
use crate::said::said;
use nomoat_core::units::Nanos;
use std::sync::PoisonError;
use std::time::Duration;

/// An answer to a control call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// `retry-after`, as sent.
    pub retry_after: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// What an error says, bounded, as `: text`; empty where it says nothing.
    pub fn said(&self) -> String {
        said(&self.body)
    }
}

/// How a single generation went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OneToken {
    /// A token came.
    Came {
        /// When the read that brought it arrived, on the clock of the backend.
        first_token: Nanos,
    },
    /// The endpoint answered, and not with a token.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it says, as `: text`.
        said: String,
        /// `retry-after`, as sent.
        retry_after: Option<String>,
    },
    /// No answer came.
    Lost(String),
}

impl HttpBackend {
    /// One exchange with a route of the server's root, outside the records. `body` is JSON; a GET has none.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    pub async fn call(&self, method: &str, path: &str, body: &[u8], timeout: Duration) -> Result<Reply, String> {
        let path = format!("{}{path}", self.route.endpoint.root);
        let (request, _) = self.settled().wire(method, &path, "", body);
        match exchange(&self.route, &request, CONTROL_LIMIT, timeout).await {
            Ok(answer) => Ok(Reply { status: answer.status, retry_after: answer.head.retry_after, body: answer.body }),
            Err(ControlError::Unreachable(why) | ControlError::Tls(why) | ControlError::Garbled(why)) => Err(why),
        }
    }

    /// Asks for one token as the probe settled it, of another `model` if one is named.
    pub async fn one_token(&self, model: Option<&str>, timeout: Duration) -> OneToken {
        let settled = self.settled();
        let encoder = HttpEncoder { model: model.map_or_else(|| settled.model.clone(), str::to_owned), ..settled };
        match preflight(&self.route, &encoder, timeout).await {
            // Over HTTP/1.1 an answer that has tokens has the moment of the first; an engine that counts tokens without text has its end.
            Ok(Attempt::Accepted(answered)) => OneToken::Came { first_token: moment(&answered).unwrap_or_else(|| self.route.clock.now()) },
            Ok(Attempt::Refused { status, said, retry_after }) => OneToken::Refused { status, said, retry_after },
            Err(ControlError::Unreachable(why) | ControlError::Tls(why) | ControlError::Garbled(why)) => OneToken::Lost(why),
        }
    }

    /// When the first token of the probe's first answer arrived: of a server that was just started, its first of all. `None` before a
    /// probe.
    pub fn first_token(&self) -> Option<Nanos> {
        *self.first_token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the moment of the first answer.
    pub(super) fn came(&self, answered: &Answered) {
        self.first_token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(moment(answered).unwrap_or_else(|| self.route.clock.now()));
    }
}

/// When the first token arrived, or the last byte of an answer whose tokens have no text.
fn moment(answered: &Answered) -> Option<Nanos> {
    let at = &answered.record.at;
    at.first_token.or(at.last_event)
}
