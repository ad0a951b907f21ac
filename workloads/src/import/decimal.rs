//! Seconds written as decimal numbers, without a detour through binary fractions.

use super::MAX_TIME;
use nomoat_core::units::Nanos;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use std::fmt;

/// Seconds as `123` or `123.456`, up to a century: exact up to nine fractional digits, what is finer is cut off. `None` for anything else,
/// signs and exponents too.
pub(crate) fn seconds(text: &str) -> Option<Nanos> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |value, b| value * 10 + i64::from(b - b'0'));
    let time = Nanos(whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)?);
    (time <= MAX_TIME).then_some(time)
}

/// As [`seconds`], of milliseconds: exact up to six fractional digits.
pub(crate) fn millis(text: &str) -> Option<Nanos> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let padded = format!("{whole:0>4}");
    // Three places to the left, in digits.
    let (seconds_part, rest) = padded.split_at_checked(padded.len() - 3)?;
    seconds(&format!("{seconds_part}.{rest}{fraction}")).filter(|_| !whole.is_empty() && !fraction.is_empty())
}

/// A JSON number as a decimal without an exponent.
pub(crate) fn plain(number: &serde_json::Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(value) => value.to_string(),
        None => number.to_string(),
    }
}

/// A JSON number of seconds, from 0 to a century.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Seconds(pub Nanos);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Seconds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds from 0 to a century")
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Seconds, E> {
                seconds(&value.to_string()).map(Seconds).ok_or_else(|| E::custom("beyond a century"))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Seconds, E> {
                // The shortest decimal that means this double is the number as it was written, unless it had more than 15 digits.
                seconds(&value.to_string()).map(Seconds).ok_or_else(|| E::custom("negative or beyond a century"))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, expect) in [
            ("0", Some(0)),
            ("82", Some(82_000_000_000)),
            ("0.1", Some(100_000_000)),
            ("31223.013", Some(31_223_013_000_000)),
            ("1.000000001", Some(1_000_000_001)),
            ("1.0000000019", Some(1_000_000_001)),
            ("007.50", Some(7_500_000_000)),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("1.2.3", None),
            (" 1", None),
            ("99999999999", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(seconds(text), expect.map(Nanos), "{text}");
        }
        for (text, expect) in [
            ("0", Some(0)),
            ("7", Some(7_000_000)),
            ("12.5", Some(12_500_000)),
            ("123456.0000019", Some(123_456_000_001)),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("-1.5", None),
            ("1.2.3", None),
            ("99999999999999", None),
            ("ä", None),
        ] {
            assert_eq!(millis(text), expect.map(Nanos), "{text}");
        }
        for (json, expect) in [("1e-5", "0.00001"), ("1.5e3", "1500"), ("7", "7"), ("0.25", "0.25")] {
            assert_eq!(plain(&serde_json::from_str(json).unwrap()), expect);
        }
        for (json, expect) in [("1148.013", Some(1_148_013_000_000)), ("10.02", Some(10_020_000_000)), ("7", Some(7_000_000_000))] {
            assert_eq!(serde_json::from_str::<Seconds>(json).ok(), expect.map(|n| Seconds(Nanos(n))), "{json}");
        }
        for json in ["-1", "-0.5", "1e300", "\"1\"", "null", "99999999999"] {
            assert!(serde_json::from_str::<Seconds>(json).is_err(), "{json}");
        }
    }
}
