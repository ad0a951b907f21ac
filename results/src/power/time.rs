//! Wall times as people and meters write them: RFC 3339 with its zone, or seconds since 1970.

use crate::date::day;
use nomoat_core::units::Nanos;

/// Seconds since 1970 from which a bare number must be in another unit, and which nanoseconds still hold: the year 2255.
const MOST_SECONDS: i64 = 9_000_000_000;

/// A wall time as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    /// Nanoseconds since 1970, UTC.
    pub unix_ns: i64,
    /// The step of a clock that writes so; none where it is finer than a tenth of a second, which is less than a meter is late by.
    pub step: Option<Nanos>,
}

/// A wall time. One without a zone is refused: whose it is would be a guess.
///
/// # Errors
/// What is wrong with it and what it may be.
pub(super) fn parse(text: &str) -> Result<Stamp, String> {
    let text = text.trim();
    let wrong = |why: &str| format!("`{}` is no time: {why}; write 2026-11-28T01:02:03.5Z or seconds since 1970", cut(text));
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return seconds(text).ok_or_else(|| wrong("it is no number of seconds"));
    }
    rfc3339(text).map_err(wrong)
}

/// A text of others for a message: not all of it.
pub(super) fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

fn seconds(text: &str) -> Option<Stamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok().filter(|seconds| *seconds < MOST_SECONDS)?;
    Some(Stamp { unix_ns: whole * 1_000_000_000 + nanos(fraction)?, step: step(fraction) })
}

/// The step of a clock that writes so many digits behind the point. Zeros count: who writes them has a finer clock.
fn step(fraction: &str) -> Option<Nanos> {
    match fraction.len() {
        0 => Some(Nanos::from_secs(1)),
        1 => Some(Nanos::from_millis(100)),
        _ => None,
    }
}

/// Nanoseconds of the digits behind the point.
fn nanos(fraction: &str) -> Option<i64> {
    let digits = fraction.bytes().take(9);
    fraction.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    let n = digits.len() as u32;
    Some(digits.fold(0, |sum, b| sum * 10 + i64::from(b - b'0')) * 10_i64.pow(9 - n))
}

fn rfc3339(text: &str) -> Result<Stamp, &'static str> {
    let shape = "it has not the shape of one";
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 19 {
        return Err(shape);
    }
    let part = |from: usize, to: usize| -> Result<i64, &str> {
        let digits = &text[from..to];
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().map_err(|_| shape) } else { Err(shape) }
    };
    let marks = [(13, b":"), (16, b":")];
    if marks.iter().any(|(at, mark)| bytes[*at] != mark[0]) || !matches!(bytes[10], b'T' | b't' | b' ') {
        return Err(shape);
    }
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    // A leap second is the first of the next minute here, as on clocks that do not know them.
    let day = day(&text[..10]).filter(|_| hour < 24 && minute < 60 && second <= 60).ok_or("there is no such day or hour")?;
    let mut rest = &text[19..];
    let (mut fraction, mut written) = (0, "");
    if let Some(digits) = rest.strip_prefix('.') {
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        written = &digits[..end];
        fraction = nanos(written).filter(|_| end > 0).ok_or(shape)?;
        rest = &digits[end..];
    }
    let zone = match rest.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) => {
            let of = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let offset = of(h1, h2) * 3600 + of(m1, m2) * 60;
            if *sign == b'-' { -offset } else { offset }
        }
        [] => return Err("it has no zone"),
        _ => return Err(shape),
    };
    let seconds = day * 86_400 + hour * 3600 + minute * 60 + second - zone;
    if seconds.abs() >= MOST_SECONDS {
        return Err("it is not of this age");
    }
    Ok(Stamp { unix_ns: seconds * 1_000_000_000 + fraction, step: step(written) })
}
