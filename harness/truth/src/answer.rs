//! Responses with one body, and OpenAI's form of an error. (Streams are encoded in `encode.rs`.)

use std::fmt::Write as _;

/// A response with one body.
pub struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    /// A body of JSON.
    pub fn json(status: u16, body: String) -> Self {
        Self { status, headers: "content-type: application/json\r\n".to_owned(), body: body.into_bytes() }
    }

    /// A body of text.
    pub fn text(body: String) -> Self {
        Self { status: 200, headers: "content-type: text/plain; charset=utf-8\r\n".to_owned(), body: body.into_bytes() }
    }

    /// An error as OpenAI writes it.
    pub fn error(status: u16, param: Option<&str>, message: &str) -> Self {
        Self::json(status, serde_json::json!({ "error": error_object(status, param, message) }).to_string())
    }

    /// Adds a header line. `value` must hold no line end: all callers pass constants, numbers and checked request ids.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        debug_assert!(!value.contains(['\r', '\n']), "a header value never holds a line end");
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let reason = reason(self.status);
        let head = format!(
            "HTTP/1.1 {} {reason}\r\nserver: nomoat-truth\r\n{}content-length: {}\r\n\r\n",
            self.status,
            self.headers,
            self.body.len()
        );
        [head.as_bytes(), &self.body].concat()
    }

    /// The header lines that are not the framing's.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.lines().filter_map(|line| line.split_once(": "))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }
}

/// The object inside `{"error": …}`.
pub fn error_object(status: u16, param: Option<&str>, message: &str) -> serde_json::Value {
    let kind = match status {
        401 => "AuthenticationError",
        404 => "NotFoundError",
        429 => "RateLimitError",
        500.. => "InternalServerError",
        _ => "BadRequestError",
    };
    serde_json::json!({ "message": message, "type": kind, "param": param, "code": status })
}

/// The reason phrase; clients ignore it.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Scripted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_on_the_wire() {
        let answer = Answer::error(429, Some("model"), "slow \"down\"").header("retry-after", "1");
        let text = String::from_utf8(answer.bytes()).unwrap();
        let body = r#"{"error":{"message":"slow \"down\"","type":"RateLimitError","param":"model","code":429}}"#;
        let head = "HTTP/1.1 429 Too Many Requests\r\nserver: nomoat-truth\r\ncontent-type: application/json\r\nretry-after: 1\r\n";
        assert_eq!(text, format!("{head}content-length: {}\r\n\r\n{body}", body.len()));
    }
}
