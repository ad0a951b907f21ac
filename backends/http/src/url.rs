//! Where an endpoint is: scheme, host, port, path. No redirects, no guessing beyond the `/v1` that everybody leaves off.

use std::fmt;

/// The address of an OpenAI-compatible API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or address; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path of the server's root, without a trailing slash: where `/metrics`, `/version` and `/health` are.
    pub root: String,
    /// Path of the API: the root and `/v1`.
    pub api: String,
}

impl Endpoint {
    /// Reads `http://host:8000`, `https://host/prefix/v1`, `[::1]:8000`, `host:8000`.
    ///
    /// # Errors
    /// What is wrong with it and what it should look like.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.contains('@') {
            // A credential in a URL would reach files and messages; this one is not shown either.
            return Err("credentials do not belong into a URL; give --api-key-env NAME or --header".into());
        }
        let shown = url.split(['?', '#']).next().unwrap_or_default();
        let wrong = |what: &str| format!("`{shown}` is not an endpoint: {what}; write http://HOST:PORT or https://HOST/PATH");
        let trimmed = url.trim();
        if trimmed.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong("it has a space or a control character in it"));
        }
        let (tls, rest) = match trimmed.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(wrong(&format!("scheme `{scheme}` is not http or https"))),
            None => (false, trimmed),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if path.contains(['?', '#']) {
            return Err(wrong("it has a query"));
        }
        let (host, port) = if let Some(v6) = authority.strip_prefix('[') {
            let (host, after) = v6.split_once(']').ok_or_else(|| wrong("`[` without `]`"))?;
            match after.strip_prefix(':') {
                None if !after.is_empty() => return Err(wrong("there is no `:` between `]` and the port")),
                port => (host, port),
            }
        } else {
            match authority.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => return Err(wrong("an IPv6 address needs brackets")),
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            }
        };
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| wrong(&format!("`{port}` is not a port")))?,
            None if tls => 443,
            None => 80,
        };
        let path = path.trim_end_matches('/');
        let root = path.strip_suffix("/v1").unwrap_or(path).to_owned();
        Ok(Self { tls, host: host.to_owned(), port, api: format!("{root}/v1"), root })
    }

    /// Host and port as the `Host` header wants them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, shown, host, port, api) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000", "127.0.0.1", 8000, "/v1"),
            ("localhost:8000/", "http://localhost:8000", "localhost", 8000, "/v1"),
            ("https://api.example.com/v1", "https://api.example.com", "api.example.com", 443, "/v1"),
            ("http://[::1]:9/proxy/svc/v1/", "http://[::1]:9/proxy/svc", "::1", 9, "/proxy/svc/v1"),
        ] {
            let e = Endpoint::parse(url).expect(url);
            assert_eq!((e.to_string().as_str(), e.host.as_str(), e.port, e.api.as_str()), (shown, host, port, api));
        }
        for url in [
            "",
            "ftp://x",
            "http://",
            "http://x:y",
            "http://::1:80",
            "http://a b",
            "http://me:secret@x",
            "ftp://me:secret@x",
            "http://x/v1?key=secret",
            "http://[::1]8000",
        ] {
            let error = Endpoint::parse(url).expect_err(url);
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
