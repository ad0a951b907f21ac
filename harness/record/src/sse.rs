//! Server-sent events, as far as an answer's events go: their data, in order. Names, comments and ids are read over.

/// Most bytes an event may have; a longer one is skipped.
const MAX_EVENT: usize = 16 << 20;

/// Reads a stream in pieces of any size.
#[derive(Default)]
pub struct Sse {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Something of this line or event was too long.
    skip: bool,
}

impl Sse {
    /// Reads the next bytes and hands the data of each event that is complete to `out`.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            let is_second = end == 0 && bytes[0] == b'\n' && self.after_cr;
            self.after_cr = bytes[end] == b'\r';
            let part = &bytes[..end];
            bytes = &bytes[end + 1..];
            if !is_second {
                self.add(part);
                self.end_line(out);
            }
        }
        if !bytes.is_empty() {
            self.after_cr = false;
            self.add(bytes);
        }
    }

    fn add(&mut self, part: &[u8]) {
        if self.line.len() + self.data.len() + part.len() > MAX_EVENT {
            self.skip = true;
            (self.line, self.data) = (vec![], vec![]);
        }
        // Of a line that is skipped only counts whether there is anything in it.
        self.line.extend_from_slice(if self.skip { &part[..part.len().min(1)] } else { part });
    }

    fn end_line(&mut self, out: &mut impl FnMut(&[u8])) {
        if self.line.is_empty() {
            if self.has_data && !self.skip {
                out(&self.data);
            }
            (self.has_data, self.skip) = (false, false);
            self.data.clear();
            return;
        }
        if let Some(value) = self.line.strip_prefix(b"data:") {
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_cut_anywhere() {
        for (stream, expect) in [
            ("data: a\n\ndata:b\n\n", "a;b;"),
            ("data: a\r\n\r\ndata: b\r\r: note\n\n", "a;b;"),
            ("event: x\ndata: a\ndata: b\nid: 1\n\n", "a\nb;"),
            ("data: a\n", ""),
            ("\n\n\n", ""),
            ("data:\n\n", ";"),
        ] {
            for size in 1..=stream.len() {
                let (mut sse, mut said) = (Sse::default(), String::new());
                for piece in stream.as_bytes().chunks(size) {
                    sse.feed(piece, &mut |data| said.extend([std::str::from_utf8(data).unwrap(), ";"]));
                }
                assert_eq!(said, expect, "{stream:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_skipped() {
        let mut sse = Sse::default();
        let mut said = vec![];
        let mut out = |data: &[u8]| said.push(data.len());
        sse.feed(b"data: ", &mut out);
        for _ in 0..3 {
            sse.feed(&vec![b'x'; MAX_EVENT / 2], &mut out);
        }
        sse.feed(b"\n\ndata: ok\n\n", &mut out);
        assert_eq!(said, [2]);
    }
}
