//! Heads of requests and responses, as they come in and as they go on: the same lines, but for what concerns one connection only.

use crate::ask::Kind;
use crate::body::Framing;

/// Most bytes of a head.
pub const MAX_HEAD: usize = 64 << 10;
/// Most lines of a head.
const MAX_HEADERS: usize = 128;

/// What was read of a head.
pub enum Read<T> {
    /// Not all of it is there.
    Partial,
    /// It is, and took so many bytes.
    Whole(T, usize),
    /// It will not be forwarded.
    Refused(Refusal),
}

/// Why a request is not forwarded, as the client hears it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub status: &'static str,
    pub message: &'static str,
}

const fn refuse<T>(status: &'static str, message: &'static str) -> Read<T> {
    Read::Refused(Refusal { status, message })
}

/// A request's head.
pub struct Asked {
    /// As it goes on.
    pub bytes: Vec<u8>,
    pub framing: Framing,
    /// The client's connection may carry another request.
    pub keep_alive: bool,
    /// The response has no body.
    pub is_head: bool,
    /// What is recorded of it, if anything is.
    pub kind: Option<Kind>,
    /// A POST that is not recorded.
    pub is_other_post: bool,
    /// The value of the header that names its session.
    pub session: Option<Vec<u8>>,
}

/// A response's head.
pub struct Answered {
    /// As it goes on, without its last line end, so that a header can be added.
    pub bytes: Vec<u8>,
    pub status: u16,
    pub framing: Framing,
    /// The endpoint's connection may carry another request.
    pub keep_alive: bool,
    pub is_stream: bool,
    pub is_encoded: bool,
}

/// What the two kinds of heads have in common.
#[derive(Default)]
struct Lines {
    length: Option<u64>,
    chunked: bool,
    /// Framing that cannot be trusted.
    doubtful: bool,
    close: bool,
    asks_to_keep: bool,
    /// Names that `Connection` mentions.
    nominated: Vec<String>,
    upgrade: Option<String>,
}

impl Lines {
    fn read(headers: &[httparse::Header<'_>]) -> Self {
        let mut lines = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            let text = std::str::from_utf8(header.value).unwrap_or("").trim();
            if is("content-length") {
                let length = Some(text).filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse().ok());
                lines.doubtful |= length.is_none() || lines.length.is_some_and(|before| Some(before) != length);
                lines.length = length;
            } else if is("transfer-encoding") {
                // Anything but plain chunks is nothing that engines or their clients send.
                lines.doubtful |= lines.chunked || !text.eq_ignore_ascii_case("chunked");
                lines.chunked = true;
            } else if is("connection") {
                for token in text.split(',').map(|token| token.trim().to_ascii_lowercase()) {
                    match token.as_str() {
                        "close" => lines.close = true,
                        "keep-alive" => lines.asks_to_keep = true,
                        _ => lines.nominated.push(token),
                    }
                }
            } else if is("upgrade") {
                lines.upgrade = Some(text.to_ascii_lowercase());
            }
        }
        // Both at once is how requests are smuggled past a proxy.
        lines.doubtful |= lines.chunked && lines.length.is_some();
        lines
    }

    /// Whether a line concerns one connection only.
    fn is_dropped(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "te" | "upgrade" => true,
            // What `Connection` says must not take away what frames the body.
            "content-length" | "transfer-encoding" | "host" => false,
            _ => self.nominated.contains(&name),
        }
    }

    /// The lines of `head` as they go on, byte for byte, without the last one. `host` replaces the value of that header.
    fn forward(&self, head: &[u8], host: Option<&str>) -> Vec<u8> {
        let mut out = Vec::with_capacity(head.len() + 64);
        for (index, line) in head.split_inclusive(|b| *b == b'\n').enumerate() {
            let name = line.split(|b| *b == b':').next().unwrap_or_default();
            let name = std::str::from_utf8(name).unwrap_or("");
            match host {
                _ if line == b"\r\n" || line == b"\n" => {}
                _ if index == 0 => out.extend_from_slice(line),
                Some(host) if name.eq_ignore_ascii_case("host") => {
                    out.extend_from_slice(name.as_bytes());
                    out.extend_from_slice(b": ");
                    out.extend_from_slice(host.as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
                _ if self.is_dropped(name) => {}
                _ => out.extend_from_slice(line),
            }
        }
        out
    }
}

impl Asked {
    /// Reads the head at the start of `bytes`, which do not begin with an empty line.
    pub fn read(bytes: &[u8], host: &str, session_header: Option<&str>) -> Read<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let used = match request.parse(bytes) {
            Ok(httparse::Status::Complete(used)) if used <= MAX_HEAD => used,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Read::Partial,
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                return refuse("431 Request Header Fields Too Large", "the request's head is larger than the recording proxy reads");
            }
            Err(httparse::Error::Version) => {
                return refuse("505 HTTP Version Not Supported", "the recording proxy speaks HTTP/1.1 only");
            }
            Err(_) => return refuse("400 Bad Request", "the request's head is not HTTP/1.1"),
        };
        // httparse fills both before it says that a head is complete.
        let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
        let lines = Lines::read(request.headers);
        if method == "CONNECT" {
            return refuse("501 Not Implemented", "the recording proxy stands in front of one endpoint and opens no tunnels");
        }
        if !target.starts_with('/') && target != "*" {
            return refuse("400 Bad Request", "the recording proxy is no forward proxy: use its address as the endpoint's");
        }
        // A server may ignore the wish for h2c, which some clients add to all their requests; other protocols need a yes.
        if lines.upgrade.as_deref().is_some_and(|to| to != "h2c") {
            return refuse("501 Not Implemented", "the recording proxy does not upgrade connections to other protocols");
        }
        if lines.doubtful {
            return refuse("400 Bad Request", "the request does not say clearly where its body ends");
        }
        let is_11 = request.version == Some(1);
        if lines.chunked && !is_11 {
            return refuse("400 Bad Request", "the request is HTTP/1.0 and has chunks, which HTTP/1.0 has not");
        }
        let framing = if lines.chunked { Framing::Chunked } else { Framing::Length(lines.length.unwrap_or(0)) };
        let named = |header: &&httparse::Header<'_>| session_header.is_some_and(|name| header.name.eq_ignore_ascii_case(name));
        let session = request.headers.iter().find(named).map(|header| header.value.to_vec());
        let kind = if method == "POST" { Kind::of(target) } else { None };
        let mut forwarded = lines.forward(&bytes[..used], Some(host));
        forwarded.extend_from_slice(b"\r\n");
        let asked = Self {
            bytes: forwarded,
            framing,
            keep_alive: is_11 && !lines.close,
            is_head: method == "HEAD",
            kind,
            is_other_post: method == "POST" && kind.is_none(),
            session,
        };
        Read::Whole(asked, used)
    }
}

impl Answered {
    /// Reads the head at the start of `bytes`: `None` where it is not HTTP/1.1, and where nobody could say where its body ends.
    pub fn read(bytes: &[u8], asked_head: bool) -> Option<Read<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let used = match response.parse(bytes) {
            Ok(httparse::Status::Complete(used)) if used <= MAX_HEAD => used,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Some(Read::Partial),
            _ => return None,
        };
        let status = response.code?;
        let lines = Lines::read(response.headers);
        if lines.doubtful && !(lines.chunked && lines.length.is_some()) {
            return None;
        }
        let value = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase())
        };
        let framing = match (status, lines.chunked, lines.length) {
            _ if asked_head => Framing::Length(0),
            (100..=199 | 204 | 304, _, _) => Framing::Length(0),
            (_, true, _) => Framing::Chunked,
            (_, _, Some(length)) => Framing::Length(length),
            _ => Framing::UntilClose,
        };
        let is_11 = response.version == Some(1);
        let answered = Self {
            bytes: lines.forward(&bytes[..used], None),
            status,
            framing,
            keep_alive: framing != Framing::UntilClose && !lines.doubtful && !lines.close && (is_11 || lines.asks_to_keep),
            is_stream: value("content-type").is_some_and(|kind| kind.trim_start().starts_with("text/event-stream")),
            is_encoded: value("content-encoding").is_some_and(|coding| !matches!(coding.trim(), "" | "identity")),
        };
        Some(Read::Whole(answered, used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Read<Asked> {
        Asked::read(text.as_bytes(), "engine:8000", Some("X-Session"))
    }

    #[test]
    fn requests_go_on_as_they_are() {
        let text = "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: me\r\nAUTHORIZATION:  Bearer k \r\nConnection: close, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\nx-session: s7\r\nContent-Length: 12\r\n\r\nrest";
        let Read::Whole(head, used) = asked(text) else { panic!() };
        assert_eq!(&text[used..], "rest");
        assert_eq!(
            String::from_utf8(head.bytes).unwrap(),
            "POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: engine:8000\r\nAUTHORIZATION:  Bearer k \r\nx-session: s7\r\nContent-Length: 12\r\n\r\n"
        );
        assert_eq!((head.framing, head.keep_alive, head.kind), (Framing::Length(12), false, Some(Kind::Chat)));
        assert_eq!(head.session.as_deref(), Some(&b"s7"[..]));
        for cut in 0..used {
            assert!(matches!(asked(&text[..cut]), Read::Partial), "{cut}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, status) in [
            ("CONNECT a:1 HTTP/1.1\r\n\r\n", "501"),
            ("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "501"),
            ("GET http://a/ HTTP/1.1\r\n\r\n", "400"),
            ("PRI * HTTP/2.0\r\n\r\n", "505"),
            ("\u{1}\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "400"),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        ] {
            let Read::Refused(refusal) = asked(text) else { panic!("{text}") };
            assert!(refusal.status.starts_with(status), "{text}: {refusal:?}");
        }
        let long = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(MAX_HEAD));
        assert!(matches!(asked(&long), Read::Refused(Refusal { status, .. }) if status.starts_with("431")));
        let Read::Whole(head, _) = asked("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n") else { panic!() };
        assert_eq!(head.bytes, b"GET / HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn responses() {
        let check = |text: &str, head: bool, expect: Option<(u16, Framing, bool, bool)>| {
            let found = match Answered::read(text.as_bytes(), head) {
                Some(Read::Whole(a, _)) => Some((a.status, a.framing, a.keep_alive, a.is_stream)),
                _ => None,
            };
            assert_eq!(found, expect, "{text}");
        };
        let sse = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(sse, false, Some((200, Framing::Chunked, true, true)));
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, Some((200, Framing::Length(5), true, false)));
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, Some((200, Framing::Length(0), true, false)));
        check("HTTP/1.1 204 No\r\nConnection: close\r\n\r\n", false, Some((204, Framing::Length(0), false, false)));
        check("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, Some((200, Framing::Length(5), false, false)));
        check("HTTP/1.1 200 OK\r\n\r\n", false, Some((200, Framing::UntilClose, false, false)));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
            Some((200, Framing::Chunked, false, false)),
        );
        check("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false, None);
        check("SSH-2.0\r\n\r\n", false, None);
    }
}
