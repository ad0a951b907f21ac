//! HTTP/1.1 responses as bytes: the head, and where the body begins and ends.
//!
//! Payload is handed out as slices of what was read, never copied. The exact end of a body is found, so that a connection can
//! carry the next request. No sockets here, and no content decoding: nobody asked for a compressed stream, so one is an error
//! that its caller raises from [`Head::encoding`].

use nomoat_core::event::RequestError;
use nomoat_core::record::{ErrorCode, Status};

/// The most bytes a response head, or the trailers of a body, may have.
pub const MAX_HEAD: usize = 64 << 10;
/// The most header lines a response may have.
pub(crate) const MAX_HEADERS: usize = 128;
/// The most bytes of a chunk's size line after the size.
const MAX_EXTENSION: usize = 4 << 10;

/// Why a response is not HTTP/1.1.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BodyError {
    /// The head cannot be read.
    #[error("the response head is not HTTP/1.1 ({0}); is the port served by something else, or by TLS?")]
    Head(String),
    /// The head or the trailers are over [`MAX_HEAD`].
    #[error("the response head or its trailers are larger than {MAX_HEAD} bytes")]
    TooLarge,
    /// A chunk's framing is wrong.
    #[error("the chunked framing of the response is wrong: {0}")]
    Chunk(&'static str),
    /// The connection closed inside the body.
    #[error("the connection closed before the response was complete")]
    Cut,
}

impl From<BodyError> for RequestError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Head(_) => Self::new(Status::Protocol, ErrorCode::BadHead),
            BodyError::TooLarge => Self::new(Status::Protocol, ErrorCode::TooLarge),
            BodyError::Chunk(_) => Self::new(Status::Protocol, ErrorCode::BadChunk),
            BodyError::Cut => Self::new(Status::Truncated, ErrorCode::NoTerminator),
        }
    }
}

/// How the end of a body is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// By chunk sizes.
    Chunked,
    /// By a length in bytes; 0 where there is no body.
    Length(u64),
    /// By the end of the connection.
    UntilClose,
}

/// What a response says before its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the connection may carry another request after this body.
    pub keep_alive: bool,
    /// `content-type`, in lower case, parameters included.
    pub content_type: Option<String>,
    /// `content-encoding` where it is not `identity`, and any `transfer-encoding` beside `chunked`: what nobody asked for.
    pub encoding: Option<String>,
    /// `retry-after`, as sent.
    pub retry_after: Option<String>,
    /// `location`, as sent.
    pub location: Option<String>,
}

impl Head {
    /// Reads a head from the start of `bytes`. Gives it and its length, or nothing while it is incomplete. Interim responses
    /// (1xx) are heads of their own with an empty body; the final head follows them.
    ///
    /// # Errors
    /// [`BodyError::Head`] or [`BodyError::TooLarge`].
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, BodyError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let window = &bytes[..bytes.len().min(MAX_HEAD)];
        match response.parse(window).map_err(|e| BodyError::Head(e.to_string()))? {
            httparse::Status::Complete(length) => Ok(Some((Self::of(&response)?, length))),
            httparse::Status::Partial if bytes.len() >= MAX_HEAD => Err(BodyError::TooLarge),
            httparse::Status::Partial => Ok(None),
        }
    }

    fn of(response: &httparse::Response<'_, '_>) -> Result<Self, BodyError> {
        // httparse sets both on `Complete`; a missing one would be its bug, reported as a bad head.
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return Err(BodyError::Head("no status line".into()));
        };
        let mut head = Self {
            status,
            framing: Framing::UntilClose,
            keep_alive: version == 1,
            content_type: None,
            encoding: None,
            retry_after: None,
            location: None,
        };
        let (mut chunked, mut coded, mut length) = (false, false, None);
        for header in response.headers.iter() {
            let text = String::from_utf8_lossy(header.value);
            let value = text.trim();
            let named = |name: &str| header.name.eq_ignore_ascii_case(name);
            if named("content-type") {
                head.content_type = Some(value.to_ascii_lowercase());
            } else if named("content-encoding") {
                if !value.is_empty() && !value.eq_ignore_ascii_case("identity") {
                    head.encoding = Some(value.to_ascii_lowercase());
                }
            } else if named("transfer-encoding") {
                for coding in value.split(',').map(str::trim).filter(|c| !c.is_empty()) {
                    coded = true;
                    // Only as the last coding does `chunked` frame the body.
                    chunked = coding.eq_ignore_ascii_case("chunked");
                    if !chunked && !coding.eq_ignore_ascii_case("identity") {
                        head.encoding = Some(coding.to_ascii_lowercase());
                    }
                }
            } else if named("content-length") {
                for part in value.split(',').map(str::trim) {
                    let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                    let parsed: Option<u64> = if digits { part.parse().ok() } else { None };
                    match (parsed, length) {
                        (None, _) => return Err(BodyError::Head(format!("content-length `{value}` is not a number"))),
                        (Some(new), Some(old)) if new != old => {
                            return Err(BodyError::Head(format!("two content-lengths, {old} and {new}")));
                        }
                        (Some(new), _) => length = Some(new),
                    }
                }
            } else if named("connection") {
                for option in value.split(',').map(str::trim) {
                    if option.eq_ignore_ascii_case("close") {
                        head.keep_alive = false;
                    } else if option.eq_ignore_ascii_case("keep-alive") && version == 0 {
                        head.keep_alive = true;
                    }
                }
            } else if named("retry-after") {
                head.retry_after = Some(value.to_owned());
            } else if named("location") {
                head.location = Some(value.to_owned());
            }
        }
        // RFC 9112 §6.3, for responses to a POST or a GET.
        head.framing = match (status, chunked, length) {
            (100..=199 | 204 | 304, _, _) => Framing::Length(0),
            (_, true, _) => Framing::Chunked,
            (_, false, Some(length)) if !coded => Framing::Length(length),
            _ => Framing::UntilClose,
        };
        // Both headers at once is how requests are smuggled: read it as chunked, then do not trust the connection.
        head.keep_alive &= head.framing != Framing::UntilClose && !(chunked && length.is_some());
        Ok(head)
    }

    /// A status or an encoding that nothing can be measured on.
    ///
    /// # Errors
    /// What the request's record says of it.
    pub fn refusal(&self) -> Result<(), RequestError> {
        let refused = |status, code| Err(RequestError::new(status, code));
        match self.status {
            200..=299 => {}
            429 => return refused(Status::Rejected, ErrorCode::Http4xx),
            400..=499 => return refused(Status::Http, ErrorCode::Http4xx),
            500..=599 => return refused(Status::Http, ErrorCode::Http5xx),
            _ => return refused(Status::Http, ErrorCode::HttpOther),
        }
        match self.encoding.as_deref() {
            None | Some("identity" | "") => Ok(()),
            // Compressed streams are held back by whoever compresses: their times are not the engine's.
            Some(_) => refused(Status::Protocol, ErrorCode::Encoded),
        }
    }

    /// Whether the body says it is of this type (`text/event-stream`, `application/json`), parameters aside.
    pub fn is_type(&self, mime: &str) -> bool {
        self.content_type.as_deref().and_then(|t| t.split(';').next()).is_some_and(|t| t.trim() == mime)
    }
}

/// Where in a body the next byte lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Size { value: u64, digits: u8 },
    Extension { value: u64, seen: usize },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart { seen: usize },
    Trailer { seen: usize },
    TrailerLf { seen: usize },
    LastLf,
    Plain { left: u64 },
    UntilClose,
    Done,
}

/// Takes the framing off a body that arrives in pieces of any size.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    at: At,
}

impl BodyDecoder {
    /// A decoder for a body of this framing.
    pub fn new(framing: Framing) -> Self {
        let at = match framing {
            Framing::Chunked => At::Size { value: 0, digits: 0 },
            Framing::Length(0) => At::Done,
            Framing::Length(left) => At::Plain { left },
            Framing::UntilClose => At::UntilClose,
        };
        Self { at }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Reads the next bytes, hands their payload to `out`, and gives how many belong to this body: all of them, unless the body
    /// ended before.
    ///
    /// # Errors
    /// [`BodyError::Chunk`] or [`BodyError::TooLarge`], or what `out` returns. After an error the connection cannot be used.
    #[inline]
    pub fn feed<E: From<BodyError>>(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<usize, E> {
        let mut used = 0;
        while used < bytes.len() && self.at != At::Done {
            let rest = &bytes[used..];
            match self.at {
                At::Data { left } => {
                    let take = clamp(left, rest.len());
                    let left = left - take as u64;
                    self.at = if left == 0 { At::DataCr } else { At::Data { left } };
                    used += take;
                    out(&rest[..take])?;
                }
                At::Plain { left } => {
                    let take = clamp(left, rest.len());
                    let left = left - take as u64;
                    self.at = if left == 0 { At::Done } else { At::Plain { left } };
                    used += take;
                    out(&rest[..take])?;
                }
                At::UntilClose => {
                    used = bytes.len();
                    out(rest)?;
                }
                state => {
                    // Most chunks arrive whole, and often many in one read: no state needs to be kept between their bytes.
                    if matches!(state, At::Size { digits: 0, .. })
                        && let Some((payload, length)) = whole_chunk(rest)
                    {
                        used += length;
                        out(payload)?;
                    } else {
                        self.at = state.after(rest[0])?;
                        used += 1;
                    }
                }
            }
        }
        Ok(used)
    }

    /// The peer closed the connection.
    ///
    /// # Errors
    /// [`BodyError::Cut`] unless the body was complete, or this is how it ends.
    pub fn close(&mut self) -> Result<(), BodyError> {
        match self.at {
            At::Done => Ok(()),
            At::UntilClose => {
                self.at = At::Done;
                Ok(())
            }
            _ => Err(BodyError::Cut),
        }
    }
}

/// The payload of a chunk that lies whole at the start of `bytes`, and how long it is with its framing. Only the plainest form, and
/// not the last one, which is empty; everything else, and everything that is wrong, is read byte by byte.
#[inline]
fn whole_chunk(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (mut size, mut digits) = (0, 0);
    while let Some(byte) = bytes.get(digits)
        && let Some(digit) = hexadecimal(*byte)
    {
        size = size << 4 | usize::from(digit);
        digits += 1;
        // Seven digits fit into 32 bits, and no read holds a larger chunk.
        if digits > 7 {
            return None;
        }
    }
    let (payload, after) = bytes[digits..].strip_prefix(b"\r\n")?.split_at_checked(size)?;
    (size > 0 && after.starts_with(b"\r\n")).then_some((payload, digits + size + 4))
}

#[inline]
fn hexadecimal(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' | b'A'..=b'F' => Some((byte | 0x20) - b'a' + 10),
        _ => None,
    }
}

fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

impl At {
    /// The state after one byte of framing. Lines end in CRLF and nothing else: a lenient reader of chunk sizes is a hole.
    #[inline]
    fn after(self, byte: u8) -> Result<Self, BodyError> {
        let trailer = |seen: usize| if seen >= MAX_HEAD { Err(BodyError::TooLarge) } else { Ok(seen + 1) };
        Ok(match (self, byte) {
            (Self::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == 16 {
                    return Err(BodyError::Chunk("a size has more than 16 digits"));
                }
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    _ => (byte | 0x20) - b'a' + 10,
                };
                Self::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(BodyError::Chunk("a size does not begin with a hexadecimal digit")),
            (Self::Size { value, .. } | Self::Extension { value, .. }, b'\r') => Self::SizeLf { value },
            (Self::Size { value, .. }, b';' | b' ' | b'\t') => Self::Extension { value, seen: 0 },
            (Self::Size { .. }, _) => return Err(BodyError::Chunk("a size is not a hexadecimal number")),
            (Self::Extension { .. }, b'\n') => return Err(BodyError::Chunk("a size line ends without CRLF")),
            (Self::Extension { seen, .. }, _) if seen >= MAX_EXTENSION => return Err(BodyError::Chunk("a chunk extension is too long")),
            (Self::Extension { value, seen }, _) => Self::Extension { value, seen: seen + 1 },
            (Self::SizeLf { value: 0 }, b'\n') => Self::TrailerStart { seen: 0 },
            (Self::SizeLf { value }, b'\n') => Self::Data { left: value },
            (Self::SizeLf { .. }, _) => return Err(BodyError::Chunk("a size line ends without CRLF")),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { value: 0, digits: 0 },
            (Self::DataCr | Self::DataLf, _) => return Err(BodyError::Chunk("a chunk is longer than its size says")),
            (Self::TrailerStart { .. }, b'\r') => Self::LastLf,
            (Self::Trailer { seen }, b'\r') => Self::TrailerLf { seen },
            (Self::TrailerStart { .. } | Self::Trailer { .. }, b'\n') => return Err(BodyError::Chunk("a trailer ends without CRLF")),
            (Self::TrailerStart { seen } | Self::Trailer { seen }, _) => Self::Trailer { seen: trailer(seen)? },
            (Self::TrailerLf { seen }, b'\n') => Self::TrailerStart { seen },
            (Self::LastLf, b'\n') => Self::Done,
            (Self::TrailerLf { .. } | Self::LastLf, _) => return Err(BodyError::Chunk("a trailer ends without CRLF")),
            // `feed` handles payload itself and stops at the end.
            (Self::Data { .. } | Self::Plain { .. } | Self::UntilClose | Self::Done, _) => self,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The payload, how many bytes belonged to the body, and whether it is complete.
    fn decode(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), BodyError> {
        let (mut decoder, mut payload, mut used) = (BodyDecoder::new(framing), vec![], 0);
        for piece in pieces {
            used += decoder.feed(piece, &mut |slice| {
                assert!(!slice.is_empty(), "no empty slices");
                payload.extend_from_slice(slice);
                Ok::<(), BodyError>(())
            })?;
        }
        Ok((payload, used, decoder.is_done()))
    }

    fn check(framing: Framing, wire: &str, expect: Result<(&str, usize, bool), &str>) {
        let single: Vec<&[u8]> = wire.as_bytes().chunks(1).collect();
        for pieces in [&[wire.as_bytes()][..], &single] {
            let got = decode(framing, pieces);
            match (&got, expect) {
                (Ok((payload, used, done)), Ok(want)) => {
                    assert_eq!((String::from_utf8_lossy(payload).as_ref(), *used, *done), want, "{wire:?}");
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{wire:?}: {error}"),
                _ => panic!("{wire:?}: {got:?}, expected {expect:?}"),
            }
        }
    }

    #[test]
    fn bodies() {
        use Framing::{Chunked, Length, UntilClose};
        for (framing, wire, expect) in [
            (Chunked, "3\r\nabc\r\n0\r\n\r\n", Ok(("abc", 13, true))),
            (Chunked, "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nHTTP/1.1", Ok(("abc0123456789", 28, true))),
            (Chunked, "03;x=\"y\"\r\nabc\r\n0;last\r\n\r\n", Ok(("abc", 25, true))),
            (Chunked, "3 \r\nabc\r\n000\r\n\r\n", Ok(("abc", 16, true))),
            (Chunked, "0\r\nA: b\r\nC: d\r\n\r\nrest", Ok(("", 17, true))),
            (Chunked, "3\r\nab", Ok(("ab", 5, false))),
            (Chunked, "0\r\n", Ok(("", 3, false))),
            (Chunked, "3\nabc", Err("not a hexadecimal")),
            (Chunked, "\r\n", Err("does not begin")),
            (Chunked, "-1\r\n", Err("does not begin")),
            (Chunked, "0x3\r\nabc", Err("not a hexadecimal")),
            (Chunked, "11112222333344445\r\n", Err("16 digits")),
            (Chunked, "3\r\nabcd\r\n", Err("longer than its size")),
            (Chunked, "3\r\nabc\n", Err("longer than its size")),
            (Chunked, "3\rabc", Err("without CRLF")),
            (Chunked, "3;\nabc", Err("without CRLF")),
            (Chunked, "0\r\nA: b\n\r\n", Err("trailer")),
            (Chunked, "0\r\n\rx", Err("trailer")),
            (Length(3), "abcd", Ok(("abc", 3, true))),
            (Length(3), "ab", Ok(("ab", 2, false))),
            (Length(0), "ab", Ok(("", 0, true))),
            (UntilClose, "ab", Ok(("ab", 2, false))),
        ] {
            check(framing, wire, expect);
        }
        let long = format!("3;{}\r\n", "x".repeat(MAX_EXTENSION + 1));
        check(Chunked, &long, Err("extension"));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MAX_HEAD / 4 + 1));
        check(Chunked, &trailers, Err("larger than"));
    }

    #[test]
    fn closing() {
        for (framing, wire, expect) in [
            (Framing::UntilClose, "ab", Ok(())),
            (Framing::Length(2), "ab", Ok(())),
            (Framing::Length(3), "ab", Err(BodyError::Cut)),
            (Framing::Chunked, "1\r\na\r\n", Err(BodyError::Cut)),
            (Framing::Chunked, "1\r\na\r\n0\r\n\r\n", Ok(())),
        ] {
            let mut decoder = BodyDecoder::new(framing);
            decoder.feed(wire.as_bytes(), &mut |_| Ok::<(), BodyError>(())).unwrap();
            assert_eq!(decoder.close(), expect, "{wire:?}");
            assert_eq!(decoder.is_done(), expect.is_ok());
        }
    }

    #[test]
    fn heads() {
        use Framing::{Chunked, Length, UntilClose};
        let check = |text: &str, expect: Result<(u16, Framing, bool), &str>| {
            let wire = format!("{}\r\n\r\nBODY", text.replace('\n', "\r\n"));
            match (Head::parse(wire.as_bytes()), expect) {
                (Ok(Some((head, length))), Ok(want)) => {
                    assert_eq!((head.status, head.framing, head.keep_alive), want, "{text}");
                    assert_eq!(length, wire.len() - 4);
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        };
        check("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked", Ok((200, Chunked, true)));
        check("HTTP/1.1 200 OK\ncontent-length: 12", Ok((200, Length(12), true)));
        check("HTTP/1.1 200 OK\ncontent-length: 12, 12\ncontent-length: 12", Ok((200, Length(12), true)));
        check("HTTP/1.1 200 OK\ncontent-length: 12\nconnection: Keep-Alive, Close", Ok((200, Length(12), false)));
        check("HTTP/1.1 200 OK", Ok((200, UntilClose, false)));
        check("HTTP/1.0 200 OK\ncontent-length: 1", Ok((200, Length(1), false)));
        check("HTTP/1.0 200 OK\ncontent-length: 1\nconnection: keep-alive", Ok((200, Length(1), true)));
        check("HTTP/1.1 200 OK\ncontent-length: 1\ntransfer-encoding: chunked", Ok((200, Chunked, false)));
        check("HTTP/1.1 200 OK\ntransfer-encoding: chunked, gzip", Ok((200, UntilClose, false)));
        check("HTTP/1.1 204 No Content", Ok((204, Length(0), true)));
        check("HTTP/1.1 100 Continue", Ok((100, Length(0), true)));
        check("HTTP/1.1 304 Not Modified\ncontent-length: 9", Ok((304, Length(0), true)));
        check("HTTP/1.1 200 OK\ncontent-length: 1\ncontent-length: 2", Err("two content-lengths"));
        check("HTTP/1.1 200 OK\ncontent-length: +1", Err("not a number"));
        check("HTTP/1.1 200 OK\ncontent-length: ", Err("not a number"));
        check("HTTP/1.1 200 OK\ncontent-length: 99999999999999999999", Err("not a number"));
        check("HTTP/1.1 200 OK\nno colon", Err("not HTTP/1.1"));
        check("\u{16}\u{3}\u{1}", Err("not HTTP/1.1"));
    }

    #[test]
    fn head_fields_and_bounds() {
        let text = b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nLOCATION:  /x \r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\
            content-encoding: gzip\r\ncontent-length: 0\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(Head::parse(&text[..cut]), Ok(None), "{cut} bytes");
        }
        let (head, _) = Head::parse(text).unwrap().unwrap();
        assert_eq!(
            (head.retry_after.as_deref(), head.location.as_deref(), head.encoding.as_deref()),
            (Some("7"), Some("/x"), Some("gzip"))
        );
        assert!(head.is_type("text/event-stream") && !head.is_type("application/json"));
        let mut long = b"HTTP/1.1 200 OK\r\n".to_vec();
        long.extend(b"a: ".iter().chain(std::iter::repeat_n(&b'x', MAX_HEAD)));
        assert_eq!(Head::parse(&long[..1000]), Ok(None));
        assert_eq!(Head::parse(&long), Err(BodyError::TooLarge));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert!(matches!(Head::parse(many.as_bytes()), Err(BodyError::Head(_))));
    }

    fn chunked(parts: &[Vec<u8>], extension: &str, trailers: &str) -> Vec<u8> {
        let mut wire = vec![];
        for part in parts.iter().filter(|p| !p.is_empty()) {
            wire.extend(format!("{:x}{extension}\r\n", part.len()).into_bytes());
            wire.extend(part);
            wire.extend(b"\r\n");
        }
        wire.extend(format!("0\r\n{trailers}\r\n").into_bytes());
        wire
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_payload(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            extension in prop::sample::select(vec!["", ";a=b", " "]),
            trailers in prop::sample::select(vec!["", "x: y\r\n"]),
            cuts in prop::collection::vec(0_usize..500, 0..12),
        ) {
            let wire = chunked(&parts, extension, trailers);
            let mut next = wire.clone();
            next.extend(b"HTTP/1.1 200 OK");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(next.len())).collect();
            cuts.extend([0, next.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &next[w[0]..w[1]]).collect();
            prop_assert_eq!(decode(Framing::Chunked, &pieces), Ok((parts.concat(), wire.len(), true)));
        }

        /// Chunks that arrive whole take a shorter way; right or wrong, it leads to the same as byte by byte.
        #[test]
        fn whole_chunks_as_byte_by_byte(words in prop::collection::vec(prop::sample::select(vec![
            "3\r\nabc\r\n", "A\r\n0123456789\r\n", "0000003\r\nabc\r\n", "00000003\r\nabc\r\n", "3;x\r\nabc\r\n", "0\r\n\r\n", "000\r\n",
            "4\r\nabc\r\n", "2\r\nabc\r\n", "3\nabc\r\n", "3\r\nabc\n", "fffffff\r\nabc", "ffffffffffffffff\r\n", "3", "\r\n", "x", "-1\r\n",
        ]), 0..8), cuts in prop::collection::vec(0_usize..100, 0..4)) {
            let wire = words.concat().into_bytes();
            let payload = |pieces: &[&[u8]]| {
                let (mut decoder, mut payload) = (BodyDecoder::new(Framing::Chunked), vec![]);
                let fed = pieces.iter().try_for_each(|piece| decoder.feed(piece, &mut |slice| {
                    payload.extend_from_slice(slice);
                    Ok::<(), BodyError>(())
                }).map(|_| ()));
                (payload, fed, decoder.is_done())
            };
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(wire.len())).chain([0, wire.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &wire[w[0]..w[1]]).collect();
            let single: Vec<&[u8]> = wire.chunks(1).collect();
            let expect = payload(&single);
            prop_assert_eq!(payload(&[&wire]), expect.clone());
            prop_assert_eq!(payload(&pieces), expect);
        }

        #[test]
        fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(decode(Framing::Chunked, &[&bytes]).map_err(|e| e.to_string()), decode(Framing::Chunked, &single).map_err(|e| e.to_string()));
            let _ = Head::parse(&bytes);
        }
    }
}
