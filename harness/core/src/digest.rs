//! Identities of what was offered and what came back.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first 12 hexadecimal digits, for tables.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// Builds a digest from typed fields. Every field is written with a tag and a length, so that two different sequences of
/// fields never give the same bytes.
#[derive(Clone, Default)]
pub struct Digester(Sha256);

impl Digester {
    /// Starts a digest of the kind `kind`.
    pub fn new(kind: &str) -> Self {
        let mut digester = Self::default();
        digester.text(kind);
        digester
    }

    /// Adds an integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        self.0.update([1]);
        self.0.update(value.to_le_bytes());
        self
    }

    /// Adds a number by its bits. Only for settings a user typed, never for computed values.
    pub fn float(&mut self, value: f64) -> &mut Self {
        self.0.update([2]);
        self.0.update(value.to_bits().to_le_bytes());
        self
    }

    /// Adds a text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.0.update([3]);
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value.as_bytes());
        self
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// 64-bit FNV-1a over an output text. Only for "is it the same answer", never for security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputHash(pub u64);

impl Default for OutputHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl OutputHash {
    /// Adds a piece of output.
    #[inline]
    pub fn update(&mut self, piece: &[u8]) {
        for byte in piece {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_together() {
        let digest = |parts: &[&str]| {
            let mut d = Digester::new("t");
            for part in parts {
                d.text(part);
            }
            d.finish()
        };
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(Digest::of(b"abc").short(), "ba7816bf8f01");
        let mut hash = OutputHash::default();
        hash.update(b"a");
        assert_eq!(hash.0, 0xaf63_dc4c_8601_ec8c);
    }
}
