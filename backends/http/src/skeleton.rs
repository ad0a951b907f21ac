//! The learnt skeleton of a stream: what stays the same from event to event.
//!
//! Successive events of an answer differ in the text, in running counts and token ids, and in nothing else. From an event that
//! the full parser found plain (one text, nothing to act upon) the literal bytes around those parts are learnt; a later event
//! with the same literals, and parts of the same JSON kind between them, has the same structure by the JSON grammar, and so the
//! same meaning with other values. It is read by comparing bytes. Anything else goes to the full parser: an escape, a control
//! character, an empty text, a number with a sign or a fraction, one byte that differs.
//!
//! Nothing here knows a dialect: the dialect says where the parts lie ([`Pieces`]' holes).

use crate::protocol::{HoleKind, Pieces};
use nomoat_core::event::{TokenKind, Usage};

/// The most parts an event may have; an event with more is left to the full parser.
const MAX_HOLES: usize = 8;

/// What stays the same.
#[derive(Default)]
pub(crate) struct Skeleton {
    /// The literals, one after the other.
    literals: Vec<u8>,
    /// Where each literal ends in `literals`, and the part that follows it. The last literal has no part after it.
    parts: Vec<(usize, HoleKind)>,
    kind: Option<TokenKind>,
    /// The usage of the learnt event: its fields without a part are the same in every event that matches.
    usage: Option<Usage>,
}

/// What an event that matches holds.
pub(crate) struct Match<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    pub ids: Option<u32>,
    pub usage: Option<Usage>,
}

impl Skeleton {
    /// Matches nothing until it learns.
    pub fn forget(&mut self) {
        self.kind = None;
    }

    /// Learns from an event that was parsed into `pieces`, if it is plain. An event that is not teaches nothing and spoils nothing:
    /// what matches, matches whatever came between.
    pub fn learn(&mut self, data: &[u8], pieces: &mut Pieces) {
        let holes = &mut pieces.holes;
        holes.sort_unstable_by_key(|h| h.at.start);
        let ordered = holes.windows(2).all(|w| w[0].at.end < w[1].at.start);
        let one_text = holes.iter().filter(|h| h.kind == HoleKind::Text).count() == 1;
        if !ordered || !one_text || holes.len() > MAX_HOLES || !pieces.is_plain() {
            return;
        }
        let pieces = &*pieces;
        self.literals.clear();
        self.parts.clear();
        let mut from = 0;
        for hole in &pieces.holes {
            self.literals.extend_from_slice(&data[from..hole.at.start]);
            self.parts.push((self.literals.len(), hole.kind));
            from = hole.at.end;
        }
        self.literals.extend_from_slice(&data[from..]);
        self.kind = pieces.kind();
        self.usage = pieces.usage;
    }

    /// Reads an event that differs from the learnt one only in its parts.
    #[inline]
    pub fn read<'a>(&self, data: &'a [u8]) -> Option<Match<'a>> {
        let kind = self.kind?;
        let (mut rest, mut from) = (data, 0);
        let mut found = Match { kind, text: "", ids: None, usage: self.usage };
        for &(end, part) in &self.parts {
            rest = rest.strip_prefix(&self.literals[from..end])?;
            from = end;
            match part {
                HoleKind::Text => {
                    let (text, after) = plain_text(rest)?;
                    (found.text, rest) = (text, after);
                }
                HoleKind::Ids => {
                    let (ids, after) = id_list(rest)?;
                    (found.ids, rest) = (Some(ids), after);
                }
                HoleKind::Input | HoleKind::Output => {
                    let (number, after) = integer(rest)?;
                    let number = u32::try_from(number).ok()?;
                    let usage = found.usage.as_mut()?;
                    *(if part == HoleKind::Input { &mut usage.input } else { &mut usage.output }) = Some(number);
                    rest = after;
                }
                HoleKind::Unread => rest = integer(rest)?.1,
            }
        }
        (rest == &self.literals[from..]).then_some(found)
    }
}

/// The inside of a JSON string up to its closing quote, which stays: not empty, no escapes, no control characters, UTF-8.
#[inline]
fn plain_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|b| *b == b'"' || *b == b'\\' || *b < 0x20)?;
    if end == 0 || bytes[end] != b'"' {
        return None;
    }
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end..]))
}

/// A JSON integer without sign: no leading zero, at most 18 digits.
#[inline]
fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    let mut digits = 0;
    while let Some(digit @ b'0'..=b'9') = bytes.get(digits) {
        value = value * 10 + u64::from(digit - b'0');
        digits += 1;
        if digits > 18 {
            return None;
        }
    }
    if digits == 0 || (bytes[0] == b'0' && digits > 1) {
        return None;
    }
    Some((value, &bytes[digits..]))
}

/// A JSON array of integers without signs and white space; how many, and what follows it.
#[inline]
fn id_list(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut rest = bytes.strip_prefix(b"[")?;
    let mut n = 0;
    loop {
        rest = integer(rest)?.1;
        n += 1;
        match rest.split_first()? {
            (b',', after) => rest = after,
            (b']', after) => return Some((n, after)),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        assert_eq!(plain_text(b"ab\",").map(|(t, r)| (t, r.len())), Some(("ab", 2)));
        assert_eq!(plain_text("é\u{7f}\"".as_bytes()).map(|p| p.0), Some("é\u{7f}"));
        for bad in [&b"\""[..], b"a\\n\"", b"a\nb\"", b"ab", b"", b"\xff\"", b"\xe9\"", b"a\0\""] {
            assert_eq!(plain_text(bad), None, "{bad:?}");
        }
        assert_eq!(integer(b"0}"), Some((0, &b"}"[..])));
        assert_eq!(integer(b"120"), Some((120, &b""[..])));
        for bad in [&b""[..], b"-1", b"01", b"x", b"1234567890123456789"] {
            assert_eq!(integer(bad), None, "{bad:?}");
        }
        assert_eq!(id_list(b"[1]}"), Some((1, &b"}"[..])));
        assert_eq!(id_list(b"[1,20,300]"), Some((3, &b""[..])));
        for bad in [&b"[]"[..], b"[1,]", b"[1, 2]", b"[-1]", b"[01]", b"[1", b"null", b"[1.5]"] {
            assert_eq!(id_list(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn learns_only_from_plain_events() {
        use crate::protocol::{Chat, Protocol};
        use crate::sse::Frame;
        let learn = |data: &str| {
            let (mut pieces, mut skeleton) = (Pieces::default(), Skeleton::default());
            Chat.decode(Frame { event: b"", data: data.as_bytes() }, &mut pieces).unwrap();
            skeleton.learn(data.as_bytes(), &mut pieces);
            skeleton
        };
        let chunk = |delta: &str, tail: &str| format!("{{\"created\":7,\"choices\":[{{\"index\":0,\"delta\":{{{delta}}}{tail}}}]}}");
        let skeleton = learn(&chunk("\"content\":\"a\"", ""));
        let text = |data: &str| skeleton.read(data.as_bytes()).map(|m| m.text.to_owned());
        assert_eq!(text(&chunk("\"content\":\"bcd\"", "")).as_deref(), Some("bcd"));
        assert_eq!(text(&chunk("\"content\":\"bcd\"", "").replace(":7", ":123")).as_deref(), Some("bcd"));
        for other in [
            chunk("\"content\":\"\"", ""),
            chunk("\"content\":\"a\\\"b\"", ""),
            chunk("\"content\":null", ""),
            chunk("\"content\":\"a\"", ",\"finish_reason\":\"stop\""),
            chunk("\"reasoning\":\"a\"", ""),
            chunk("\"content\":\"a\"", "").replace(":7", ":7.5"),
            chunk("\"content\":\"a\"", "").replace(":7", ":-7"),
            chunk("\"content\":\"a\"", "") + " ",
            String::new(),
        ] {
            assert_eq!(text(&other), None, "{other}");
        }
        for unplain in [
            chunk("\"content\":\"\"", ""),
            chunk("\"content\":\"a\\n\"", ""),
            chunk("\"content\":\"a\"", ",\"finish_reason\":\"stop\""),
            chunk("\"content\":\"a\",\"reasoning\":\"b\"", ""),
            chunk("\"content\":\"a\"", "").replace("\"index\":0", "\"index\":1"),
            chunk("\"content\":\"a\"", "").replace("{\"created\"", "{\"timings\":{\"a\":1},\"created\""),
        ] {
            assert!(learn(&unplain).read(unplain.as_bytes()).is_none(), "{unplain}");
        }
    }
}
