//! Prices over time, and scores of what was priced.

use super::StudyError;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::Path;

/// A list price that was in force on a day.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PricePoint {
    /// The day, counted from 1970-01-01.
    #[serde(rename = "date", deserialize_with = "day")]
    pub date_days: i64,
    /// The model, with the provider before a slash where others serve it too.
    pub model: String,
    /// US dollars per million output tokens, the lowest of that day.
    pub usd_per_mtok: f64,
    /// Where it was read.
    pub source: String,
}

/// What somebody says a model can do.
#[derive(Clone, PartialEq, Debug)]
pub struct Score {
    /// The score, on the scale of its source.
    pub score: f64,
    /// Where it was read; never empty.
    pub source: String,
}

/// Scores by model, as a user gave them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scores {
    /// Of each model.
    pub of: BTreeMap<String, Score>,
    /// Which file.
    pub file: String,
}

impl Scores {
    /// Reads a file with the columns `model`, `score` and `source`.
    ///
    /// # Errors
    /// It cannot be read, or a line is not what it should be.
    pub fn read(path: &Path) -> Result<Self, StudyError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| StudyError::Read { file: file.clone(), source })?;
        Self::parse(&file, &text)
    }

    /// Reads its text. A source with a comma stands in double quotes or not: it is the last column and has the rest of the line.
    ///
    /// # Errors
    /// A line is not what it should be.
    pub fn parse(file: &str, text: &str) -> Result<Self, StudyError> {
        let wrong = |line: usize, why: &str| StudyError::Value { file: file.to_owned(), why: format!("line {line}: {why}") };
        let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        match lines.next() {
            Some((_, head)) if head.split(',').map(str::trim).eq(["model", "score", "source"]) => {}
            _ => return Err(wrong(1, "the first line must be `model,score,source`")),
        }
        let mut of = BTreeMap::new();
        for (index, line) in lines {
            let number = index + 1;
            let mut cells = line.splitn(3, ',').map(|cell| cell.trim().trim_matches('"').trim());
            let (Some(model), Some(score)) = (cells.next().filter(|model| !model.is_empty()), cells.next()) else {
                return Err(wrong(number, "it needs a model, a score and a source"));
            };
            let Some(source) = cells.next().filter(|source| !source.is_empty()) else {
                return Err(wrong(number, "a score without a source says nothing; name where it was read in the third column"));
            };
            let Some(score) = score.parse::<f64>().ok().filter(|score| score.is_finite()) else {
                return Err(wrong(number, &format!("the score `{score}` is not a number")));
            };
            if of.insert(model.to_owned(), Score { score, source: source.to_owned() }).is_some() {
                return Err(wrong(number, &format!("`{model}` has a second score; give one of one source")));
            }
        }
        if of.is_empty() {
            return Err(wrong(1, "there is no score in it"));
        }
        Ok(Self { of, file: file.to_owned() })
    }
}

fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    days(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no date; write it as 2026-04-24")))
}

/// The day of a date `YYYY-MM-DD`, counted from 1970-01-01 in the proleptic Gregorian calendar; `None` where it is no date.
pub fn days(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() });
    if !shaped {
        return None;
    }
    let (year, month, day): (i64, i64, i64) = (text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    // Years are counted from March, so that the day that leap years have more is the last of a year.
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The date of a day.
pub fn date(days: i64) -> String {
    crate::rfc3339_utc(days.saturating_mul(86_400_000_000_000))[..10].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, expect) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(11_016)),
            ("2026-04-24", Some(20_567)),
            ("2026-12-31", Some(20_818)),
            ("1900-02-29", None),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-4-24", None),
            ("2026-04", None),
            ("2026-04-24T", None),
            ("２026-04-2", None),
        ] {
            assert_eq!(days(text), expect, "{text}");
            assert!(expect.is_none_or(|days| date(days) == text), "{text}");
        }
    }

    #[test]
    fn scores() {
        let read = |text: &str| Scores::parse("s.csv", text).map_err(|error| error.to_string());
        let scores = read("model,score,source\r\na, 12.5 ,\"Some index, v2\"\n\nb/c,3,x\n").unwrap();
        assert_eq!(scores.of["a"], Score { score: 12.5, source: "Some index, v2".into() });
        assert_eq!(scores.of.len(), 2);
        for (text, says) in [
            ("", "first line"),
            ("model,score\na,1", "first line"),
            ("model,score,source\n", "no score in it"),
            ("model,score,source\na,1,", "line 2: a score without a source"),
            ("model,score,source\na,1", "line 2: a score without a source"),
            ("model,score,source\na,high,x", "`high` is not a number"),
            ("model,score,source\na,NaN,x", "`NaN` is not a number"),
            ("model,score,source\na,1,x\na,2,y", "line 3: `a` has a second score"),
            ("model,score,source\n,1,x", "line 2: it needs a model"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
