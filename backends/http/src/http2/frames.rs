//! Where frames begin and end in a stream of bytes, and nothing of what is in them (RFC 9113 §4.1).

/// Bytes of a frame before its payload.
pub(crate) const HEAD: usize = 9;
/// What a client says before its first frame.
pub(crate) const PREFACE: usize = 24;

/// Carries pieces of a body.
pub(crate) const DATA: u8 = 0;
/// Opens a stream, answers on it, or ends it with trailers.
pub(crate) const HEADERS: u8 = 1;
/// What a peer wants to be kept to.
pub(crate) const SETTINGS: u8 = 4;
/// No new streams.
pub(crate) const GOAWAY: u8 = 7;
/// More of a HEADERS frame.
pub(crate) const CONTINUATION: u8 = 9;

/// The stream ends here, in one direction.
pub(crate) const END_STREAM: u8 = 1;
/// SETTINGS that only acknowledge.
pub(crate) const ACK: u8 = 1;
/// The headers end here.
pub(crate) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// A frame of which the last byte was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags; what they mean depends on the type.
    pub flags: u8,
    /// Its stream; 0 is the connection itself.
    pub stream: u32,
    /// Its size, head and padding included.
    pub bytes: u32,
    /// Of a DATA frame, the bytes of the body in it.
    pub data: u32,
}

impl Frame {
    /// Whether a flag is set.
    pub fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Finds the ends of frames in bytes that come in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes before the first frame.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    left: u32,
    /// Padding of the frame at hand, its length byte included.
    padding: u32,
}

impl Frames {
    /// For bytes that begin with `skip` others.
    pub fn after(skip: usize) -> Self {
        Self { skip, ..Self::default() }
    }

    /// Reads `bytes` and tells of every frame that ends in them.
    pub fn feed(&mut self, mut bytes: &[u8], mut ended: impl FnMut(Frame)) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = &bytes[skipped..];
        while !bytes.is_empty() {
            if self.have < HEAD {
                let n = (HEAD - self.have).min(bytes.len());
                self.head[self.have..self.have + n].copy_from_slice(&bytes[..n]);
                (self.have, bytes) = (self.have + n, &bytes[n..]);
                if self.have < HEAD {
                    return;
                }
                (self.left, self.padding) = (self.length(), 0);
            }
            let padded = self.head[3] == DATA && self.head[4] & PADDED != 0;
            if padded && self.left == self.length() && !bytes.is_empty() && self.left > 0 {
                self.padding = 1 + u32::from(bytes[0]);
            }
            let n = bytes.len().min(self.left as usize);
            bytes = &bytes[n..];
            self.left -= n as u32;
            if self.left == 0 {
                self.have = 0;
                let length = self.length();
                ended(Frame {
                    kind: self.head[3],
                    flags: self.head[4],
                    // The first bit is reserved.
                    stream: u32::from_be_bytes([self.head[5] & 0x7f, self.head[6], self.head[7], self.head[8]]),
                    bytes: HEAD as u32 + length,
                    data: if self.head[3] == DATA { length.saturating_sub(self.padding) } else { 0 },
                });
            }
        }
    }

    fn length(&self) -> u32 {
        u32::from_be_bytes([0, self.head[0], self.head[1], self.head[2]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    fn read(pieces: &[&[u8]], skip: usize) -> Vec<Frame> {
        let mut frames = Frames::after(skip);
        let mut found = vec![];
        pieces.iter().for_each(|piece| frames.feed(piece, |frame| found.push(frame)));
        found
    }

    #[test]
    fn frames_of_every_shape() {
        let check = |kind, flags, stream, payload: &[u8], data| {
            let bytes = encode(kind, flags, stream, payload);
            let frame = Frame { kind, flags, stream: stream & 0x7fff_ffff, bytes: bytes.len() as u32, data };
            assert_eq!(read(&[&bytes], 0), [frame]);
        };
        check(SETTINGS, ACK, 0, b"", 0);
        check(HEADERS, END_HEADERS, 1, b"abc", 0);
        check(DATA, 0, 3, b"hello", 5);
        check(DATA, END_STREAM, 3, b"", 0);
        check(DATA, PADDED, 5, b"\x02hello\0\0", 5);
        check(DATA, PADDED | END_STREAM, 5, b"\x00hello", 5);
        // Padding that is longer than its frame is the peer's mistake, for the protocol to find.
        check(DATA, PADDED, 5, b"\xffhi", 0);
        check(DATA, PADDED, 5, b"", 0);
        check(DATA, 0, 0x8000_0007, b"x", 1);
    }

    proptest! {
        /// However the bytes are cut, the same frames end in them.
        #[test]
        fn any_split_finds_the_same(
            made in prop::collection::vec((0_u8..10, any::<u8>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut bytes = vec![b'P'; PREFACE];
            made.iter().for_each(|(kind, flags, stream, payload)| bytes.extend(encode(*kind, *flags, *stream, payload)));
            let whole = read(&[&bytes], PREFACE);
            prop_assert_eq!(whole.len(), made.len());
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(read(&pieces, PREFACE), whole);
        }
    }
}
