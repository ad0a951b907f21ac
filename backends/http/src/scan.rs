//! Parts of a JSON text, read by scanning.
//!
//! Everything here accepts a subset of JSON and gives what it accepts its JSON meaning; nothing is a whole parser. Whoever calls
//! turns to one where these say no. So the only duty is never to accept what the full parser would refuse or read in another way:
//! no white space, no nesting without end, no half surrogates, nothing that is not UTF-8.

/// The deepest nesting that [`value`] follows.
const MAX_DEPTH: u32 = 32;

/// A text that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Text<'a> {
    /// It stands there as it is.
    Plain(&'a [u8]),
    /// It had escapes, and was written into the buffer.
    Unescaped,
}

/// The inside of a JSON string up to its closing quote, which stays; and what follows. A text with escapes goes into `buffer`.
#[inline]
pub(crate) fn text<'a>(bytes: &'a [u8], buffer: &mut Vec<u8>) -> Option<(Text<'a>, &'a [u8])> {
    let run = run(bytes)?;
    if bytes[run.end] != b'"' {
        return Some((Text::Unescaped, unescape(bytes, buffer)?));
    }
    let (text, rest) = bytes.split_at(run.end);
    if !run.ascii && std::str::from_utf8(text).is_err() {
        return None;
    }
    Some((Text::Plain(text), rest))
}

/// Bytes of a string that mean themselves.
struct Run {
    /// Where the quote or backslash behind them lies.
    end: usize,
    /// None of them is above 0x7f.
    ascii: bool,
}

/// The bytes up to a quote or a backslash; nothing if a control character, or the end, comes first.
///
/// Eight bytes at a time, because most texts are shorter than that: one load and one test find their end.
#[inline]
fn run(bytes: &[u8]) -> Option<Run> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (mut at, mut high) = (0, 0);
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let stops = special(word);
        if stops != 0 {
            let before = stops.trailing_zeros() / 8;
            at += before as usize;
            high |= word & HIGH & !(u64::MAX << (8 * before));
            return (bytes[at] >= 0x20).then_some(Run { end: at, ascii: high == 0 });
        }
        high |= word & HIGH;
        at += 8;
    }
    for (i, byte) in bytes[at..].iter().enumerate() {
        match byte {
            b'"' | b'\\' => return Some(Run { end: at + i, ascii: high == 0 }),
            0..0x20 => return None,
            _ => high |= u64::from(byte & 0x80),
        }
    }
    None
}

/// The high bit of every byte that is a quote, a backslash or a control character. Only the lowest bit set is to be trusted: the
/// subtractions borrow from the bytes above a hit, never from those below (Mycroft's test for a zero byte).
#[inline]
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let control = word.wrapping_sub(0x20 * ONES) & !word & HIGH;
    control | zero(word ^ (b'"' as u64 * ONES)) | zero(word ^ (b'\\' as u64 * ONES))
}

/// Writes the inside of a JSON string into `buffer`; gives what follows it, from its closing quote on.
#[cold]
fn unescape<'a>(bytes: &'a [u8], buffer: &mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    let mut rest = bytes;
    loop {
        let end = run(rest)?.end;
        buffer.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
        if rest[0] == b'"' {
            // An escape is a whole character, so the runs around it are valid if the whole is.
            return std::str::from_utf8(buffer).is_ok().then_some(rest);
        }
        let plain = match rest.get(1)? {
            escaped @ (b'"' | b'\\' | b'/') => *escaped,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, after) = unicode(rest)?;
                buffer.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
            _ => return None,
        };
        buffer.push(plain);
        rest = &rest[2..];
    }
}

/// A character written as one `\u` escape, or as two where it needs a pair of surrogates. A surrogate without its other half is none.
fn unicode(bytes: &[u8]) -> Option<(char, &[u8])> {
    let (first, rest) = unit(bytes)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, rest));
    }
    let (second, rest) = unit(rest)?;
    let pair = (0xD800..0xDC00).contains(&first) && (0xDC00..0xE000).contains(&second);
    let code = 0x1_0000 + ((first & 0x3FF) << 10 | second & 0x3FF);
    if pair { Some((char::from_u32(code)?, rest)) } else { None }
}

/// `\u` and four hexadecimal digits.
fn unit(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = bytes.strip_prefix(b"\\u")?.split_at_checked(4)?;
    let digit = |code: u32, byte: &u8| Some(code << 4 | char::from(*byte).to_digit(16)?);
    Some((digits.iter().try_fold(0, digit)?, rest))
}

/// A JSON integer without sign: no leading zero, at most 18 digits.
#[inline]
pub(crate) fn integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
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
pub(crate) fn id_list(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut rest = bytes.strip_prefix(b"[")?;
    if let Some(rest) = rest.strip_prefix(b"]") {
        return Some((0, rest));
    }
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

/// A JSON array of values of any kind without white space, not an empty one; how many, and what follows it.
#[inline]
pub(crate) fn list(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut rest = bytes.strip_prefix(b"[")?;
    let mut n = 0;
    loop {
        rest = value(rest)?;
        n += 1;
        match rest.split_first()? {
            (b',', after) => rest = after,
            (b']', after) => return Some((n, after)),
            _ => return None,
        }
    }
}

/// What follows a JSON number without exponent whose integer part has at most 18 digits: a finite one, whatever its fraction.
#[inline]
pub(crate) fn decimal(bytes: &[u8]) -> Option<&[u8]> {
    let (_, rest) = integer(bytes.strip_prefix(b"-").unwrap_or(bytes))?;
    match rest.strip_prefix(b".") {
        Some(fraction) => digits(fraction),
        None => Some(rest),
    }
}

/// What follows a JSON number of any size: for places where nobody reads it.
fn number(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let mut rest = if let Some(rest) = rest.strip_prefix(b"0") { rest } else { digits(rest)? };
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        rest = digits(exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent))?;
    }
    Some(rest)
}

/// What follows one or more digits.
#[inline]
fn digits(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len()) {
        0 => None,
        n => Some(&bytes[n..]),
    }
}

/// What follows a JSON string.
fn string(bytes: &[u8]) -> Option<&[u8]> {
    let inside = bytes.strip_prefix(b"\"")?;
    let mut rest = inside;
    loop {
        rest = &rest[run(rest)?.end..];
        rest = match rest {
            [b'"', after @ ..] => {
                let text = &inside[..inside.len() - rest.len()];
                return std::str::from_utf8(text).is_ok().then_some(after);
            }
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => after,
            _ => unit(rest)?.1,
        };
    }
}

/// What follows a JSON value of any kind without white space: for places where nobody reads it.
#[inline]
pub(crate) fn value(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.first()? {
        b'"' => string(bytes),
        b'{' | b'[' => nested(bytes),
        b'n' => bytes.strip_prefix(b"null"),
        b't' => bytes.strip_prefix(b"true"),
        b'f' => bytes.strip_prefix(b"false"),
        _ => number(bytes),
    }
}

/// [`value`] for an object or an array. Not by recursion: an endpoint must not choose how deep our stack goes.
fn nested(bytes: &[u8]) -> Option<&[u8]> {
    // One bit for every open bracket, the innermost lowest: set for an object.
    let (mut objects, mut depth) = (0_u32, 0);
    let mut rest = bytes;
    loop {
        // A value begins here.
        rest = match rest {
            [b'{', b'}', after @ ..] | [b'[', b']', after @ ..] => after,
            [open @ (b'{' | b'['), after @ ..] => {
                if depth == MAX_DEPTH {
                    return None;
                }
                let object = *open == b'{';
                (objects, depth) = (objects << 1 | u32::from(object), depth + 1);
                rest = if object { key(after)? } else { after };
                continue;
            }
            _ => value(rest)?,
        };
        // A value has ended here; brackets that close end further ones.
        loop {
            if depth == 0 {
                return Some(rest);
            }
            let object = objects & 1 == 1;
            rest = match rest {
                [b',', after @ ..] => {
                    rest = if object { key(after)? } else { after };
                    break;
                }
                [b'}', after @ ..] if object => after,
                [b']', after @ ..] if !object => after,
                _ => return None,
            };
            (objects, depth) = (objects >> 1, depth - 1);
        }
    }
}

/// What follows the key of a member and its colon.
fn key(bytes: &[u8]) -> Option<&[u8]> {
    string(bytes)?.strip_prefix(b":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut buffer = vec![];
        let (text, rest) = text(bytes, &mut buffer)?;
        Some((if let Text::Plain(text) = text { text.to_vec() } else { buffer }, rest.len()))
    }

    #[test]
    fn texts() {
        for (json, expect) in [
            (&b"ab\","[..], "ab"),
            (b"\"", ""),
            ("é\u{7f}\"".as_bytes(), "é\u{7f}"),
            (b"a longer text than eight bytes\"}", "a longer text than eight bytes"),
            (b"12345678\"", "12345678"),
            (b"a\\n\"", "a\n"),
            (br#"\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00""#, "\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{1F600}"),
        ] {
            let text = read(json).map(|(t, _)| String::from_utf8(t).unwrap());
            assert_eq!(text.as_deref(), Some(expect), "{json:?}");
        }
        for bad in [
            &b"a\nb\""[..],
            b"ab",
            b"",
            b"\xff\"",
            b"\xe9\"",
            b"a\0\"",
            b"12345678\x1f\"",
            b"a\\",
            b"a\\x\"",
            b"\\u12\"",
            b"\\u12g4\"",
            b"\\ud83d\"",
            b"\\ud83d\\n\"",
            b"\\ud83d\\u0041\"",
            b"\\ude00\\ud83d\"",
            b"\xff\\n\"",
            b"\xc3\\n\xa9\"",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn numbers_and_lists() {
        assert_eq!(integer(b"0}"), Some((0, &b"}"[..])));
        assert_eq!(integer(b"120"), Some((120, &b""[..])));
        for bad in [&b""[..], b"-1", b"01", b"x", b"1234567890123456789"] {
            assert_eq!(integer(bad), None, "{bad:?}");
        }
        assert_eq!(id_list(b"[1]}"), Some((1, &b"}"[..])));
        assert_eq!(id_list(b"[1,20,300]"), Some((3, &b""[..])));
        assert_eq!(id_list(b"[],"), Some((0, &b","[..])));
        for bad in [&b"[1,]"[..], b"[,]", b"[1, 2]", b"[-1]", b"[01]", b"[1", b"[", b"null", b"[1.5]"] {
            assert_eq!(id_list(bad), None, "{bad:?}");
        }
        assert_eq!(list(b"[1]}"), Some((1, &b"}"[..])));
        assert_eq!(list(b"[{\"a\":[1,2]},null,\"]\"]"), Some((3, &b""[..])));
        for bad in [&b"[]"[..], b"[1,]", b"[,]", b"[1, 2]", b"[1", b"[", b"null", b"{}"] {
            assert_eq!(list(bad), None, "{bad:?}");
        }
        for good in [&b"0,"[..], b"-1,", b"1.5,", b"-0.25,", b"0.00000000000000000000000000000000000000001,"] {
            assert_eq!(decimal(good), Some(&b","[..]), "{good:?}");
        }
        for bad in [&b"-"[..], b".5", b"1.", b"1.,", b"00.1", b"1234567890123456789.0", b"x"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn values() {
        for good in [
            "0",
            "-0.5e+7",
            "12E3",
            "99999999999999999999999",
            "true",
            "false",
            "null",
            "\"\"",
            "\"a\\u12aB\\\"é\"",
            "[]",
            "{}",
            "[[],{}]",
            "{\"a\":[1,{\"b\":null}],\"\":-1}",
            "[1,2]",
        ] {
            assert_eq!(value(format!("{good},x").as_bytes()), Some(&b",x"[..]), "{good}");
        }
        for bad in [
            "",
            "-",
            "tru",
            "nul",
            "\"a",
            "\"\\u12\"",
            "\"\\x\"",
            "[",
            "{",
            "[1",
            "[1,]",
            "[,1]",
            "{1:2}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "[1}",
            "{\"a\":1]",
            "[ 1]",
            "1e",
            "1.e3",
            "+1",
        ] {
            assert_eq!(value(bad.as_bytes()), None, "{bad}");
        }
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(value(deep(33).as_bytes()).is_some() && value(deep(40).as_bytes()).is_none());
    }

    /// JSON and what is nearly JSON.
    fn near_json() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\"",
            "\"\\n\"",
            "\"é\"",
            "\"\\ud83d\"",
            "\"",
            "\\",
            "0",
            "1",
            "-",
            ".",
            "5e3",
            "null",
            "true",
            " ",
        ]);
        prop_oneof![
            prop::collection::vec(word, 0..12).prop_map(|words| words.concat()),
            prop::collection::vec(any::<(u8, String)>(), 0..4).prop_map(|v| serde_json::to_string(&v).expect("JSON")),
        ]
    }

    proptest! {
        /// What is accepted, the parser accepts and reads as the same.
        #[test]
        fn never_more_than_the_parser(json in near_json()) {
            let bytes = json.as_bytes();
            if let Some(rest) = value(bytes) {
                let taken = &bytes[..bytes.len() - rest.len()];
                prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(taken).is_ok(), "{json}");
            }
            if let Some((n, rest)) = list(bytes) {
                let taken = &bytes[..bytes.len() - rest.len()];
                let parsed = serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(taken);
                prop_assert_eq!(parsed.ok().map(|p| p.len()), Some(n as usize), "{}", json);
            }
            if let Some(rest) = decimal(bytes) {
                let taken = &bytes[..bytes.len() - rest.len()];
                prop_assert!(serde_json::from_slice::<f64>(taken).is_ok(), "{json}");
            }
        }

        #[test]
        fn texts_as_the_parser_reads_them(inside in prop::collection::vec(prop_oneof![
            4 => any::<String>(),
            2 => prop::sample::select(vec!["\\n", "\\\"", "\\\\", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\x", "\\", "\"", "\u{1}"]).prop_map(str::to_owned),
        ], 0..6)) {
            let json = format!("\"{}\"", inside.concat());
            let parsed: Option<String> = serde_json::from_str(&json).ok();
            // Everything up to the first quote is a text for `text`; the parser wants the whole.
            match read(&json.as_bytes()[1..]) {
                Some((text, 1)) => prop_assert_eq!(Some(text), parsed.map(String::into_bytes)),
                Some(_) => prop_assert_eq!(parsed, None),
                None => prop_assert_eq!(parsed, None),
            }
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\"\\u\x1f\x20\x80".to_vec())], 0..40)) {
            let mut json = vec![b'"'];
            json.extend(&bytes);
            let mut expect = None;
            // The shortest beginning that is a string.
            for end in 2..=json.len() {
                if let Ok(text) = serde_json::from_slice::<String>(&json[..end]) {
                    expect = Some((text.into_bytes(), json.len() - end + 1));
                    break;
                }
            }
            prop_assert_eq!(read(&bytes), expect);
        }
    }
}
