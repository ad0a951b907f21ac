//! Where a body ends, and what in it is payload. Its bytes are forwarded as they are, framing and all.

/// How a body's end is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// The connection closes.
    UntilClose,
}

/// A chunk's size, its extensions or its trailers are not HTTP/1.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Most bytes of a size line or of all trailers.
const MAX_LINE: usize = 16 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
        seen: usize,
    },
    SizeLf {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// `empty`: nothing of the current line was seen.
    Trailer {
        seen: usize,
        empty: bool,
    },
    TrailerLf {
        seen: usize,
        empty: bool,
    },
    Plain {
        left: u64,
    },
    UntilClose,
    Done,
}

/// Follows a body that arrives in pieces of any size.
#[derive(Clone, Debug)]
pub struct Body(At);

impl Body {
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Chunked => At::Size { value: 0, digits: 0 },
            Framing::Length(0) => At::Done,
            Framing::Length(left) => At::Plain { left },
            Framing::UntilClose => At::UntilClose,
        })
    }

    pub fn is_done(&self) -> bool {
        self.0 == At::Done
    }

    /// The peer closed the connection: whether that is how this body ends.
    pub fn close(&mut self) -> bool {
        if self.0 == At::UntilClose {
            self.0 = At::Done;
        }
        self.is_done()
    }

    /// Reads on, hands payload to `out`, and gives how many of `bytes` belong to this body.
    pub fn feed(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut used = 0;
        while used < bytes.len() && !self.is_done() {
            let rest = &bytes[used..];
            match self.0 {
                At::Data { left } | At::Plain { left } => {
                    let take = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = left - take as u64;
                    self.0 = match (self.0, left) {
                        (At::Data { .. }, 0) => At::DataCr,
                        (At::Data { .. }, _) => At::Data { left },
                        (_, 0) => At::Done,
                        _ => At::Plain { left },
                    };
                    used += take;
                    out(&rest[..take]);
                }
                At::UntilClose => {
                    used = bytes.len();
                    out(rest);
                }
                at => {
                    self.0 = at.after(rest[0])?;
                    used += 1;
                }
            }
        }
        Ok(used)
    }
}

impl At {
    /// Where the byte after `byte` lies, among those that are framing.
    fn after(self, byte: u8) -> Result<Self, Malformed> {
        Ok(match (self, byte) {
            (Self::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => {
                let digit = if byte.is_ascii_digit() { byte - b'0' } else { (byte | 0x20) - b'a' + 10 };
                Self::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { value, digits: 1.. }, b';' | b' ' | b'\t') => Self::Extension { value, seen: 0 },
            (Self::Size { value, digits: 1.. } | Self::Extension { value, .. }, b'\r') => Self::SizeLf { value },
            (Self::Extension { value, seen }, _) if byte != b'\n' && seen < MAX_LINE => Self::Extension { value, seen: seen + 1 },
            (Self::SizeLf { value: 0 }, b'\n') => Self::Trailer { seen: 0, empty: true },
            (Self::SizeLf { value }, b'\n') => Self::Data { left: value },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { value: 0, digits: 0 },
            (Self::Trailer { seen, empty }, b'\r') => Self::TrailerLf { seen, empty },
            (Self::Trailer { seen, .. }, _) if byte != b'\n' && seen < MAX_LINE => Self::Trailer { seen: seen + 1, empty: false },
            (Self::TrailerLf { empty: true, .. }, b'\n') => Self::Done,
            (Self::TrailerLf { seen, .. }, b'\n') => Self::Trailer { seen, empty: true },
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The payload, how many bytes the body took, and whether it is over: the same for the whole and byte by byte.
    fn check(framing: Framing, bytes: &[u8], expect: Result<(&str, usize, bool), Malformed>) {
        for size in [bytes.len().max(1), 1] {
            let (mut body, mut payload, mut used) = (Body::new(framing), vec![], 0);
            let fed = bytes.chunks(size).try_for_each(|piece| {
                used += body.feed(piece, &mut |bytes| payload.extend_from_slice(bytes))?;
                Ok(())
            });
            let text = String::from_utf8(payload).unwrap();
            assert_eq!(fed.map(|()| (text.as_str(), used, body.is_done())), expect, "{framing:?} {size}");
        }
    }

    #[test]
    fn ends() {
        check(Framing::Length(3), b"abcd", Ok(("abc", 3, true)));
        check(Framing::Length(5), b"abc", Ok(("abc", 3, false)));
        check(Framing::Length(0), b"GET", Ok(("", 0, true)));
        check(Framing::UntilClose, b"abc", Ok(("abc", 3, false)));
        check(Framing::Chunked, b"3\r\nabc\r\n00a;x=1\r\n0123456789\r\n0\r\n\r\nGET", Ok(("abc0123456789", 34, true)));
        check(Framing::Chunked, b"1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\n", Ok(("a", 23, true)));
        check(Framing::Chunked, b"1\r\na\r\n0\r\n", Ok(("a", 9, false)));
        for wrong in ["\r\n", "x\r\n", "1\nab", "1\r\nab", "1\r\na\r0", "0123456789abcdef0\r\n", "0\r\n\n", ";\r\n"] {
            check(Framing::Chunked, wrong.as_bytes(), Err(Malformed));
        }
        let mut until = Body::new(Framing::UntilClose);
        assert!(until.close() && !Body::new(Framing::Length(1)).close());
    }
}
