//! Decimal numbers of seconds as whole nanoseconds, without a float in between.

use nomoat_core::units::Nanos;

/// A number of seconds that is not negative, such as `19440110.0`, `0.25` or `3`: exact up to nine fractional digits, further ones are cut
/// off. `None` where `text` is no such number, or is beyond the nanosecond clock.
pub(crate) fn seconds(text: &str) -> Option<Nanos> {
    scaled(text, 9)
}

/// As [`seconds`], of a number of milliseconds.
pub(crate) fn millis(text: &str) -> Option<Nanos> {
    scaled(text, 6)
}

/// `text` times ten to the `power`. Exponents are read because JSON writers use them for small and large numbers.
fn scaled(text: &str, power: i32) -> Option<Nanos> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() < 1_000)?),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || (mantissa.contains('.') && fraction.is_empty()) {
        return None;
    }
    // How many digits stay before the point once it has moved.
    let keep = whole.len() as i32 + power + exponent;
    let mut value = 0_i64;
    for (index, digit) in whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat(b'0')).enumerate() {
        if index as i32 >= keep || (value == 0 && index >= mantissa.len()) {
            break;
        }
        value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(Nanos(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, expect) in [
            ("0", Some(0)),
            ("3", Some(3_000_000_000)),
            ("19440110.0", Some(19_440_110_000_000_000)),
            ("0.1", Some(100_000_000)),
            ("0.123456789", Some(123_456_789)),
            ("0.1234567899", Some(123_456_789)),
            ("1e-3", Some(1_000_000)),
            ("1.5E2", Some(150_000_000_000)),
            ("9e-30", Some(0)),
            ("0e900", Some(0)),
            ("9e30", None),
            ("9223372036", Some(9_223_372_036_000_000_000)),
            ("9223372037", None),
            ("", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("+1", None),
            ("1 ", None),
            ("nan", None),
            ("1e", None),
            ("1.2.3", None),
        ] {
            assert_eq!(seconds(text), expect.map(Nanos), "{text}");
        }
        assert_eq!(millis("12.5"), Some(Nanos(12_500_000)));
    }
}
