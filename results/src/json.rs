//! Small helpers of the JSON files: numbers that read back equal, reading with the schema checked first, dates.

use crate::error::{StoreError, check_schema};
use crate::whole;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use std::path::Path;

/// Parses a JSON file of schema `known`. The schema is looked at first, so that a newer file says so instead of naming one of its
/// new keys.
pub(crate) fn parse<T: DeserializeOwned>(what: &str, text: &str, known: &'static str) -> Result<T, StoreError> {
    #[derive(Deserialize)]
    struct Head {
        schema: Option<String>,
    }
    let wrong = |source| StoreError::Json { what: what.to_owned(), source };
    let head: Head = serde_json::from_str(text).map_err(wrong)?;
    check_schema(what, head.schema.as_deref(), known)?;
    serde_json::from_str(text).map_err(wrong)
}

/// Pretty JSON with a final newline: the same bytes for the same value.
pub(crate) fn pretty<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("wire types have text keys and no serializer of theirs fails");
    text.push('\n');
    text
}

/// Reads a JSON file of a directory.
pub(crate) fn read_file<T: DeserializeOwned>(directory: &Path, file: &str, known: &'static str) -> Result<T, StoreError> {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).map_err(StoreError::io("reading", &path))?;
    parse(&path.display().to_string(), &text, known)
}

/// Writes a JSON file into a directory, which is made. The file appears whole or not at all.
pub(crate) fn write_file<T: Serialize>(directory: &Path, file: &str, value: &T) -> Result<(), StoreError> {
    std::fs::create_dir_all(directory).map_err(StoreError::io("making", directory))?;
    whole::write_text(&directory.join(file), &pretty(value))
}

/// Largest magnitude below which every integer-valued `f64` is written as an integer: all of them fit an `i64`.
const INTEGER_BOUND: f64 = 9.2e18;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
/// Writes a number without an exponent where it is an integer, and `null` where it is not finite: JSON has no word for that, and
/// the reason stands beside it. Reads back equal.
pub(crate) fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if !value.is_finite() {
        serializer.serialize_none()
    } else if value.fract() == 0.0 && value.abs() < INTEGER_BOUND && !(*value == 0.0 && value.is_sign_negative()) {
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}

#[expect(clippy::ref_option, reason = "serde hands fields over by reference")]
/// [`number`] for a value that may be absent.
pub(crate) fn optional_number<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => number(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// A moment in the form of RFC 3339, in UTC with milliseconds: `2026-11-23T15:04:05.678Z`.
///
/// The calendar is the proleptic Gregorian one; days are turned into a date by counting 400-year eras from 1 March of year 0.
pub fn rfc3339_utc(unix_ns: i64) -> String {
    let (seconds, millis) = (unix_ns.div_euclid(1_000_000_000), unix_ns.rem_euclid(1_000_000_000) / 1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // 719 468 days lie between 1 March of year 0 and 1 January 1970; an era has 146 097.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months counted from March have lengths that follow one straight line: 153 days in five of them.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holder(#[serde(serialize_with = "number")] f64);

    #[test]
    fn numbers_read_back_equal() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0.0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (1e15, "1000000000000000"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1.23e17, "123000000000000000"),
            (0.1, "0.1"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            assert_eq!(serde_json::to_string(&Holder(value)).unwrap(), text);
        }
        for value in [0.1, 1.0 / 3.0, 1e300, 5e-324, f64::MAX, 1e19, 123_456_789.123_456_79, -0.0, 9.1e18, 2.5e-8] {
            let back: Holder = serde_json::from_str(&serde_json::to_string(&Holder(value)).unwrap()).unwrap();
            assert_eq!(back.0.to_bits(), value.to_bits(), "{value}");
        }
    }

    #[test]
    fn dates() {
        for (unix_s, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_164_799, "2024-02-28T23:59:59.000Z"),
            (1_709_251_200, "2024-03-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339_utc(unix_s * 1_000_000_000), text);
        }
        assert_eq!(rfc3339_utc(1_678_000_000), "1970-01-01T00:00:01.678Z");
    }
}
