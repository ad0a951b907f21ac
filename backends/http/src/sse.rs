//! Server-sent events, scanned in place.
//!
//! An event that lies whole in the bytes just read is handed out as a slice of them; only what a read cuts in two is copied.
//! The full grammar is understood (LF, CRLF and CR ends, comments, a byte order mark, several `data` lines). `id` and `retry`
//! are read over: a measurement never reconnects to a stream. Nothing here knows what the data means.

use memchr::{memchr, memchr2};

/// The most bytes an event or a line may have.
pub const MAX_EVENT: usize = 16 << 20;

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// The value of its `event` field; empty where it has none.
    pub event: &'a [u8],
    /// Its `data` lines, joined by line feeds.
    pub data: &'a [u8],
}

/// What a stream consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// An event with data. Also one with a name and no data, with empty `data`: browsers drop those, but engines name things
    /// that way (Dynamo's annotations carry their payload in a comment), and whoever reads a stream's timing wants to know.
    Frame(Frame<'a>),
    /// A comment line: keep-alives, mostly.
    Comment,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SseError {
    /// Over [`MAX_EVENT`].
    #[error("an event of the stream is larger than {limit} bytes; the endpoint does not stream in pieces")]
    TooLarge {
        /// The bound it broke.
        limit: usize,
    },
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// After a whole event.
    Clean,
    /// Inside an event, which is dropped: without its blank line nobody can know that it is whole.
    Cut,
}

/// Reads a stream in pieces of any size.
pub struct SseDecoder {
    limit: usize,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// Data of the current event that is not in the bytes of this feed, or that spans lines.
    data: Vec<u8>,
    event: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Bytes of the byte order mark seen; 3 once that question is settled.
    bom: usize,
}

impl Default for SseDecoder {
    fn default() -> Self {
        Self::with_limit(MAX_EVENT)
    }
}

impl SseDecoder {
    /// A decoder that refuses lines and events over `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, line: vec![], data: vec![], event: vec![], has_data: false, after_cr: false, bom: 0 }
    }

    /// Forgets the stream; keeps the memory, unless a large event left much of it.
    pub fn reset(&mut self) {
        for buffer in [&mut self.line, &mut self.data, &mut self.event] {
            buffer.clear();
            buffer.shrink_to(1 << 16);
        }
        (self.has_data, self.after_cr, self.bom) = (false, false, 0);
    }

    /// Reads the next bytes and hands every item that is complete to `out`, in order.
    ///
    /// # Errors
    /// [`SseError::TooLarge`], or what `out` returns. After an error the decoder must be reset.
    #[inline]
    pub fn feed<E: From<SseError>>(&mut self, bytes: &[u8], out: &mut impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut rest = self.settle_start(bytes);
        // Data of the current event, as long as it is one line of `bytes`.
        let mut here: Option<&[u8]> = None;
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let part = &rest[..end];
            let next = match (rest[end], rest.get(end + 1)) {
                (b'\r', Some(b'\n')) => end + 2,
                (b'\r', None) => {
                    self.after_cr = true;
                    end + 1
                }
                _ => end + 1,
            };
            rest = &rest[next..];
            if self.line.is_empty() {
                self.bound(part.len())?;
                if let Some(value) = part.strip_prefix(b"data:") {
                    let value = value.strip_prefix(b" ").unwrap_or(value);
                    if self.has_data {
                        self.append(here.take(), value)?;
                    } else {
                        self.has_data = true;
                        here = Some(value);
                    }
                } else if part.is_empty() {
                    self.dispatch(here.take(), out)?;
                } else {
                    self.other_line(part, &mut here, out)?;
                }
            } else {
                self.bound(self.line.len() + part.len())?;
                self.line.extend_from_slice(part);
                let line = std::mem::take(&mut self.line);
                self.keep(here.take());
                let result = self.carried_line(&line, out);
                self.line = line;
                self.line.clear();
                result?;
            }
        }
        self.bound(self.line.len() + rest.len())?;
        self.line.extend_from_slice(rest);
        self.keep(here);
        Ok(())
    }

    /// Whether the next byte begins an event, and nothing before it matters.
    #[inline]
    pub fn is_between_events(&self) -> bool {
        self.bom == BOM.len() && self.line.is_empty() && self.event.is_empty() && !self.has_data && !self.after_cr
    }

    /// The stream is over.
    pub fn finish(&mut self) -> Tail {
        let cut = self.has_data || !self.line.is_empty() || !self.event.is_empty();
        self.reset();
        if cut { Tail::Cut } else { Tail::Clean }
    }

    /// Skips a byte order mark at the very start, and the LF of a CRLF that a read cut in two.
    fn settle_start<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while self.bom < BOM.len() {
            match rest.first() {
                None => return rest,
                Some(byte) if *byte == BOM[self.bom] => {
                    self.bom += 1;
                    rest = &rest[1..];
                }
                Some(_) => {
                    self.line.extend_from_slice(&BOM[..self.bom]);
                    self.bom = BOM.len();
                }
            }
        }
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        rest
    }

    fn bound(&self, bytes: usize) -> Result<(), SseError> {
        if bytes > self.limit { Err(SseError::TooLarge { limit: self.limit }) } else { Ok(()) }
    }

    /// Copies data that the next feed will not have any more.
    fn keep(&mut self, here: Option<&[u8]>) {
        if let Some(value) = here {
            self.data.extend_from_slice(value);
        }
    }

    /// Adds a further `data` line.
    fn append(&mut self, here: Option<&[u8]>, value: &[u8]) -> Result<(), SseError> {
        self.keep(here);
        self.bound(self.data.len() + 1 + value.len())?;
        self.data.push(b'\n');
        self.data.extend_from_slice(value);
        Ok(())
    }

    #[inline]
    fn dispatch<E>(&mut self, here: Option<&[u8]>, out: &mut impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        if !self.has_data && self.event.is_empty() {
            return Ok(());
        }
        let result = out(Item::Frame(Frame { event: &self.event, data: here.unwrap_or(&self.data) }));
        self.has_data = false;
        self.data.clear();
        self.event.clear();
        result
    }

    /// A line that lies whole in this feed and is neither `data:` nor empty.
    fn other_line<'a, E: From<SseError>>(
        &mut self,
        line: &'a [u8],
        here: &mut Option<&'a [u8]>,
        out: &mut impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match field(line) {
            None => out(Item::Comment),
            // `data` without a colon: an empty value.
            Some((b"data", value)) if self.has_data => Ok(self.append(here.take(), value)?),
            Some((b"data", value)) => {
                self.has_data = true;
                *here = Some(value);
                Ok(())
            }
            Some((name, value)) => {
                self.set(name, value);
                Ok(())
            }
        }
    }

    /// A line that was put together from several feeds.
    fn carried_line<E: From<SseError>>(&mut self, line: &[u8], out: &mut impl FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        match field(line) {
            None => out(Item::Comment),
            Some((b"data", value)) if self.has_data => Ok(self.append(None, value)?),
            Some((b"data", value)) => {
                self.has_data = true;
                self.data.extend_from_slice(value);
                Ok(())
            }
            Some((name, value)) => {
                self.set(name, value);
                Ok(())
            }
        }
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        if name == b"event" {
            self.event.clear();
            self.event.extend_from_slice(value);
        }
    }
}

/// The name and value of a line; nothing for a comment.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    match memchr(b':', line) {
        Some(0) => None,
        Some(colon) => {
            let value = &line[colon + 1..];
            Some((&line[..colon], value.strip_prefix(b" ").unwrap_or(value)))
        }
        None => Some((line, &[])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes pieces and writes what came out: `event|data` per frame, `:` per comment, `!` for an error, `…` for a cut end.
    fn decode(limit: usize, pieces: &[&[u8]]) -> String {
        let mut decoder = SseDecoder::with_limit(limit);
        let mut out = String::new();
        for piece in pieces {
            let fed = decoder.feed(piece, &mut |item| {
                match item {
                    Item::Comment => out.push_str(":;"),
                    Item::Frame(Frame { event, data }) => {
                        out.extend([String::from_utf8_lossy(event), "|".into(), String::from_utf8_lossy(data), ";".into()]);
                    }
                }
                Ok::<(), SseError>(())
            });
            if fed.is_err() {
                return out + "!";
            }
        }
        if decoder.finish() == Tail::Cut {
            out.push('…');
        }
        out
    }

    /// Whole, and byte by byte.
    fn check(stream: &str, expect: &str) {
        let bytes = stream.as_bytes();
        assert_eq!(decode(MAX_EVENT, &[bytes]), expect, "{stream:?}");
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(MAX_EVENT, &single), expect, "{stream:?} byte by byte");
    }

    #[test]
    fn the_grammar() {
        for (stream, expect) in [
            ("", ""),
            ("\n\n\n", ""),
            ("data: a\n\n", "|a;"),
            ("data:a\n\n", "|a;"),
            ("data:  a \n\n", "| a ;"),
            ("data: a\r\n\r\n", "|a;"),
            ("data: a\r\rdata: b\r\r", "|a;|b;"),
            ("data: a\r\n\rdata: b\n\r\n", "|a;|b;"),
            ("data: a\ndata: b\n\n", "|a\nb;"),
            ("data: a\ndata\ndata:\ndata: b\n\n", "|a\n\n\nb;"),
            ("data\n\n", "|;"),
            ("data:\n\n", "|;"),
            ("event: x\ndata: a\n\ndata: b\n\n", "x|a;|b;"),
            ("data: a\nevent: x\n\n", "x|a;"),
            ("event: x\nevent: y\ndata: a\n\n", "y|a;"),
            ("event: ping\n\n", "ping|;"),
            ("event: token_ids\n: \"[1]\"\n\ndata: a\n\n", ":;token_ids|;|a;"),
            (": hi\n\n:\ndata: a\n\n", ":;:;|a;"),
            ("id: 7\nretry: 10\nfoo: bar\nfoo\ndata: a\n\n", "|a;"),
            ("id: 7\n\n", ""),
            ("datas: a\n\n", ""),
            ("\u{feff}data: a\n\n", "|a;"),
            ("\u{feff}\u{feff}data: a\n\n", ""),
            ("\ndata: a: b\n\n", "|a: b;"),
            ("data: é漢\n\n", "|é漢;"),
            ("data: a\n\ndata: b", "|a;…"),
            ("data: a\n\ndata: b\n", "|a;…"),
            ("event: x\n", "…"),
            ("data: a", "…"),
        ] {
            check(stream, expect);
        }
    }

    #[test]
    fn a_broken_mark_is_text() {
        assert_eq!(decode(MAX_EVENT, &[b"\xEF\xBBdata: a\n\n"]), "");
        assert_eq!(decode(MAX_EVENT, &[b"\xEF", b"\xBB", b": x\n", b"data: a\n\n"]), "|a;");
    }

    #[test]
    fn bounds() {
        let rows: [(&[u8], &str); 5] = [
            (b"data: 3456789\n\n", "!"),
            (b"data: 345678\n\n", "|345678;"),
            (b"data:1234567\ndata:1234\n\n", "|1234567\n1234;"),
            (b"data:1234567\ndata:12345\n\n", "!"),
            (b"data: a\n\n:23456789012", "|a;…"),
        ];
        for (stream, expect) in rows {
            let single: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(decode(12, &[stream]), expect);
            assert_eq!(decode(12, &single), expect);
        }
    }

    fn line() -> impl Strategy<Value = String> {
        let text =
            prop::sample::select(vec!["", "data: x", "data:yé", "data", "event: e", ": c", "id: 1", "junk", "data: longer text\u{1F600}"]);
        let end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
        (text, end).prop_map(|(text, end)| format!("{text}{end}"))
    }

    proptest! {
        #[test]
        fn any_split_decodes_the_same(lines in prop::collection::vec(line(), 0..30), cuts in prop::collection::vec(0_usize..400, 0..12), limit in 10_usize..60) {
            let stream = lines.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            prop_assert_eq!(decode(limit, &[&stream]), decode(limit, &pieces));
        }
    }
}
