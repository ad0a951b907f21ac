//! A frame: four bytes of length, little-endian, then that many bytes of JSON.

use std::ops::Range;

/// Longest body of a frame in bytes, unless an adapter's hello allows more towards it.
pub const MAX_FRAME: usize = 1 << 20;
/// Bytes of the length.
pub const HEAD: usize = 4;
/// What a buffer begins with: enough for a slow stream.
const SMALL: usize = 4 << 10;

/// A body is longer than [`MAX_FRAME`]: its length, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLarge(pub usize);

/// `body` as a frame. `None` when its length does not fit four bytes.
pub fn framed(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = u32::try_from(body.len()).ok()?.to_le_bytes().to_vec();
    out.extend_from_slice(body);
    Some(out)
}

/// Bytes that arrived and are not yet taken as frames. Grows to one frame of the largest size and no further.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { bytes: vec![0; SMALL], from: 0, to: 0 }
    }
}

impl Frames {
    /// Whether every byte was taken.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Where the next read goes; never empty once [`Self::take`] has said that there is no whole frame.
    pub fn room(&mut self) -> &mut [u8] {
        if self.from > 0 {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.to == self.bytes.len() {
            self.bytes.resize((self.bytes.len() * 4).min(HEAD + MAX_FRAME), 0);
        }
        &mut self.bytes[self.to..]
    }

    /// `n` bytes were read into the room.
    pub fn filled(&mut self, n: usize) {
        self.to = (self.to + n).min(self.bytes.len());
    }

    /// Takes the next whole frame: where its body lies, for [`Self::body`].
    ///
    /// # Errors
    /// The length is over the bound; nothing behind it can be read.
    pub fn take(&mut self) -> Result<Option<Range<usize>>, TooLarge> {
        let Some((head, rest)) = self.bytes[self.from..self.to].split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > MAX_FRAME {
            return Err(TooLarge(length));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.from + HEAD;
        self.from = start + length;
        Ok(Some(start..self.from))
    }

    /// The body at a place that [`Self::take`] gave, until the next [`Self::room`].
    pub fn body(&self, at: Range<usize>) -> &[u8] {
        self.bytes.get(at).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bodies in `bytes` when they arrive in pieces of `size`.
    fn split(bytes: &[u8], size: usize) -> Result<Vec<Vec<u8>>, TooLarge> {
        let (mut frames, mut out) = (Frames::default(), vec![]);
        for piece in bytes.chunks(size) {
            let mut left = piece;
            while !left.is_empty() {
                let room = frames.room();
                let n = room.len().min(left.len());
                room[..n].copy_from_slice(&left[..n]);
                frames.filled(n);
                left = &left[n..];
                while let Some(at) = frames.take()? {
                    out.push(frames.body(at).to_vec());
                }
            }
        }
        Ok(out)
    }

    #[test]
    fn any_split_gives_the_same_frames() {
        let bodies = [vec![], b"{}".to_vec(), vec![7; 10_000], vec![1; 3], vec![9; MAX_FRAME]];
        let bytes: Vec<u8> = bodies.iter().flat_map(|b| framed(b).unwrap()).collect();
        for size in [1, 2, 3, 5, 4096, 5000, bytes.len()] {
            assert_eq!(split(&bytes, size).unwrap(), bodies, "pieces of {size}");
        }
    }

    #[test]
    fn the_bound_is_exact_and_is_known_from_the_length_alone() {
        assert_eq!(split(&((MAX_FRAME + 1) as u32).to_le_bytes(), 4), Err(TooLarge(MAX_FRAME + 1)));
        assert_eq!(split(&[0xff; 5], 1), Err(TooLarge(u32::MAX as usize)));
        assert_eq!(split(&(MAX_FRAME as u32).to_le_bytes(), 4), Ok(vec![]));
    }
}
