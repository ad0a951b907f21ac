//! Days and moments in UTC, as files write them: `2026-11-28`, `2026-08-16T16:00:00Z`.

use nomoat_core::cost::tariff::DAY;

/// The day of a date since 1970; `None` if the text is none.
///
/// The calendar is the proleptic Gregorian one; a date is turned into days by counting 400-year eras from 1 March of year 0.
pub fn day(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let plain = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-';
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, date) = if plain { (number(0, 4)?, number(5, 7)?, number(8, 10)?) } else { return None };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&date) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + date - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Seconds since 1970 of a date (its first second) or of a moment in UTC that ends in `Z`; fractions of a second are cut off.
pub fn unix_seconds(text: &str) -> Option<i64> {
    let Some((date, time)) = text.split_once('T') else { return Some(day(text)? * DAY) };
    let time = time.strip_suffix('Z')?;
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let mut parts = time.split(':').map(|part| part.parse::<i64>().ok().filter(|_| part.len() == 2));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    let sound = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second) && parts.next().is_none();
    sound.then_some(day(date)? * DAY + hour * 3_600 + minute * 60 + second)
}

/// The date of a day since 1970.
pub fn date(day: i64) -> String {
    crate::rfc3339_utc(day.saturating_mul(DAY * 1_000_000_000))[..10].to_owned()
}

/// A moment without its milliseconds, and without the time where that is midnight.
pub fn moment(unix_s: i64) -> String {
    let text = crate::rfc3339_utc(unix_s.saturating_mul(1_000_000_000));
    if unix_s.rem_euclid(DAY) == 0 { text[..10].to_owned() } else { format!("{} {} UTC", &text[..10], &text[11..16]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_there_and_back() {
        for (text, expect) in
            [("1970-01-01", 0), ("2026-11-28", 20_785), ("2000-02-29", 11_016), ("1969-12-31", -1), ("2100-03-01", 47_541)]
        {
            assert_eq!(day(text), Some(expect), "{text}");
            assert_eq!(date(expect), text);
        }
        for text in ["2026-2-03", "2026-02-30", "2025-02-29", "2026-13-01", "2026-00-10", "26-01-01", "2026-01-0x", "", "2026-01-01 "] {
            assert_eq!(day(text), None, "{text}");
        }
        assert!((0..60_000).all(|n| day(&date(n)) == Some(n)));
    }

    #[test]
    fn moments() {
        for (text, expect) in [
            ("2026-08-16T16:00:00Z", Some(1_786_896_000)),
            ("2026-08-16T16:00Z", Some(1_786_896_000)),
            ("2026-08-16T16:00:00.999Z", Some(1_786_896_000)),
            ("2026-08-16", Some(1_786_838_400)),
            ("2026-08-16T16:00:00", None),
            ("2026-08-16T24:00:00Z", None),
            ("2026-08-16T1:00Z", None),
            ("2026-08-16T16:00:00+02:00", None),
        ] {
            assert_eq!(unix_seconds(text), expect, "{text}");
        }
        assert_eq!((moment(1_786_896_000).as_str(), moment(1_786_838_400).as_str()), ("2026-08-16 16:00 UTC", "2026-08-16"));
    }
}
