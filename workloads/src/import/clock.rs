//! Moments as ISO 8601 writes them.

use super::azure::parse_timestamp;
use nomoat_core::units::Nanos;

/// `2026-06-01T05:40:20.151Z` as nanoseconds since 1970: up to nine fractional digits, `T` or a space before the time, then `Z`, an offset
/// such as `+02:00`, or nothing, which means UTC as well. `None` for anything else.
pub(crate) fn moment(text: &str) -> Option<Nanos> {
    if !text.is_ascii() || text.len() < 19 {
        return None;
    }
    let (clock, minutes) = match text.strip_suffix('Z') {
        Some(clock) => (clock, 0),
        None => match text[19..].find(['+', '-']) {
            None => (text, 0),
            Some(at) => (&text[..19 + at], offset(&text[19 + at..])?),
        },
    };
    let (day, time) = clock.split_at(10);
    let time = time.strip_prefix('T').or_else(|| time.strip_prefix(' '))?;
    Some(parse_timestamp(&format!("{day} {time}"))? - Nanos::from_secs(minutes * 60))
}

/// `+HH:MM` or `-HH:MM` in minutes.
fn offset(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text[1..].split_once(':')?;
    let number = |part: &str, most: i64| {
        let fine = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        fine.then(|| part.parse::<i64>().ok()).flatten().filter(|n| *n <= most)
    };
    Some(sign * (number(hours, 23)? * 60 + number(minutes, 59)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let zero = moment("2026-02-25T10:00:00").unwrap();
        for (text, expect) in [
            ("2026-02-25T10:00:00Z", Some(0)),
            ("2026-02-25 10:00:00.000001", Some(1_000)),
            ("2026-02-25T10:00:00.151Z", Some(151_000_000)),
            ("2026-02-25T10:00:01.000000+00:00", Some(1_000_000_000)),
            ("2026-02-25T12:00:00+02:00", Some(0)),
            ("2026-02-25T09:30:00.5-00:30", Some(500_000_000)),
            ("2026-02-25T10:00:00+2:00", None),
            ("2026-02-25T10:00:00+02:60", None),
            ("2026-02-25T10:00:00.Z", None),
            ("2026-02-30T10:00:00Z", None),
            ("2026-02-25T10:00", None),
            ("2026-02-25_10:00:00", None),
            ("ä026-02-25T10:00:00", None),
            ("", None),
        ] {
            assert_eq!(moment(text).map(|t| t - zero), expect.map(Nanos), "{text}");
        }
    }
}
