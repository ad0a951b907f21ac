//! What a recording is told, and why it cannot begin.

use std::net::SocketAddr;
use std::time::Duration;

/// Why a recording cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The address of the endpoint.
    #[error("the endpoint to record {problem}; give it as http://HOST:PORT")]
    Upstream {
        /// What is wrong with it. The address itself is not repeated: it may hold a password.
        problem: &'static str,
    },
    /// Nothing can listen there.
    #[error("listen on {addr}: {source}; choose another address, or port 0 for a free one")]
    Listen {
        /// As asked for.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something of the machine.
    #[error("start the recording proxy: {0}")]
    Start(#[from] std::io::Error),
    /// No salt, no recording: identities that can be guessed are not written.
    #[error("the system gave no random bytes for the salt of prompt identities: {0}")]
    Salt(String),
    /// A number that cannot work.
    #[error("a block of {0} tokens cannot be; give 1 to 65536")]
    Block(u32),
    /// It cannot be a header.
    #[error("the name of the session header has to be one of an HTTP header, such as x-session-id")]
    SessionHeader,
}

/// The endpoint that is recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    host: String,
    port: u16,
}

impl Upstream {
    /// Reads `http://HOST:PORT`; the port is 80 where there is none, IPv6 addresses stand in brackets.
    ///
    /// # Errors
    /// [`RecordError::Upstream`].
    pub fn parse(url: &str) -> Result<Self, RecordError> {
        let wrong = |problem| Err(RecordError::Upstream { problem });
        let Some(rest) = url.strip_prefix("http://") else {
            return wrong(if url.starts_with("https://") {
                "speaks TLS, which the recorder does not; put it in front of the engine itself, or a proxy that ends TLS between them"
            } else {
                "has no http:// in front"
            });
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return wrong("has a user or a password in it, which belongs into the clients' requests");
        }
        if authority.contains(['/', '?', '#']) {
            return wrong("has a path, which belongs into the clients' requests");
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("-"))),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(80), |port| port.parse().ok());
        match port {
            Some(port) if !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic()) => Ok(Self { host: host.to_owned(), port }),
            _ => wrong("has no host, or no port from 0 to 65535"),
        }
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// As it stands in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

/// What a recording is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect to.
    pub listen: SocketAddr,
    /// Where their requests go.
    pub to: Upstream,
    /// Requests of equal value of this header are one session.
    pub session_header: Option<String>,
    /// How finely common beginnings are seen: a border every so many tokens (token ids), or every four times as many bytes (text).
    pub block: u32,
    /// Keep what was asked, word for word, instead of its identity.
    pub keep_text: bool,
    /// The trace's name.
    pub name: String,
    /// How long requests that are on their way at the end may go on.
    pub grace: Duration,
}

impl Config {
    /// A recording of `to` on a free port of the loopback interface.
    pub fn new(to: Upstream) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            to,
            session_header: None,
            block: 16,
            keep_text: false,
            name: "recorded".into(),
            grace: Duration::from_secs(5),
        }
    }

    pub(crate) fn check(&self) -> Result<(), RecordError> {
        if !(1..=65_536).contains(&self.block) {
            return Err(RecordError::Block(self.block));
        }
        let is_token =
            |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !self.session_header.as_ref().is_none_or(is_token) {
            return Err(RecordError::SessionHeader);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (url, expect) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://engine/", "http://engine"),
            ("http://[::1]:9", "http://[::1]:9"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(Upstream::parse(url).unwrap().to_string(), expect);
        }
        for (url, expect) in [
            ("https://a", "TLS"),
            ("a:1", "http://"),
            ("http://", "no host"),
            ("http://a:70000", "no port"),
            ("http://[::1]9", "no port"),
            ("http://me:hush@a", "password"),
            ("http://a/v1", "path"),
            ("http://a b:1", "no host"),
        ] {
            let error = Upstream::parse(url).unwrap_err().to_string();
            assert!(error.contains(expect) && !error.contains("hush"), "{url}: {error}");
        }
    }

    #[test]
    fn settings() {
        let config = Config::new(Upstream::parse("http://a").unwrap());
        config.check().unwrap();
        for bad in [
            Config { block: 0, ..config.clone() },
            Config { session_header: Some("a b".into()), ..config.clone() },
            Config { session_header: Some(String::new()), ..config },
        ] {
            bad.check().unwrap_err();
        }
    }
}
