//! Scripted silences: inside each answer, or of the whole server at once.

use crate::text::{pair, parse_duration, write_duration};
use nomoat_core::units::Nanos;
use std::fmt;
use std::str::FromStr;

/// A pause inside each answer, written `TOKENS:TIME`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stall {
    /// Tokens before it.
    pub after: u32,
    /// Its length; everything later in the answer moves by it.
    pub lasts: Nanos,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.after, write_duration(self.lasts))
    }
}

impl FromStr for Stall {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (after, lasts) = pair(text, "TOKENS:TIME, such as 10:2s")?;
        let after = after.parse().map_err(|_| format!("`{after}` in stall `{text}` is not a number of tokens"))?;
        Ok(Self { after, lasts: parse_duration(lasts)? })
    }
}

/// A window in which the server writes nothing of any answer, written `AT:TIME`. What fell due inside leaves at its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Freeze {
    /// Its start, from the start of the server.
    pub at: Nanos,
    /// Its length.
    pub lasts: Nanos,
}

impl Freeze {
    /// When something due at `due` may be written, in a server started at `epoch`.
    pub(crate) fn release(self, epoch: Nanos, due: Nanos) -> Nanos {
        let from = epoch + self.at;
        let to = from + self.lasts;
        if from <= due && due < to { to } else { due }
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", write_duration(self.at), write_duration(self.lasts))
    }
}

impl FromStr for Freeze {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (at, lasts) = pair(text, "AT:TIME, such as 20s:10s")?;
        Ok(Self { at: parse_duration(at)?, lasts: parse_duration(lasts)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freezes_release_at_their_end() {
        let freeze = Freeze { at: Nanos(10), lasts: Nanos(5) };
        let epoch = Nanos(100);
        for (due, expected) in [(109, 109), (110, 115), (114, 115), (115, 115), (200, 200)] {
            assert_eq!(freeze.release(epoch, Nanos(due)), Nanos(expected));
        }
    }
}
