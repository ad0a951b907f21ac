//! Prices over time, and scores of what was priced.

use super::StudyError;
use crate::prices::Book;
use nomoat_core::cost::tariff::DAY;
use std::collections::BTreeMap;
use std::path::Path;

/// A list price that was in force on a day.
#[derive(Clone, PartialEq, Debug)]
pub struct PricePoint {
    /// The day since 1970.
    pub date_days: i64,
    /// The model, with the provider before a slash where others serve it too.
    pub model: String,
    /// The first day on which it no longer holds, whatever comes after it; `None` while it does.
    pub until_days: Option<i64>,
    /// US dollars per million output tokens, the lowest of that day.
    pub usd_per_mtok: f64,
    /// Where it was read.
    pub source: String,
}

impl PricePoint {
    /// Every output price of a book: on the first day of each of its spans, and once more on the day it was read where it still holds. At other
    /// hours it may be higher; the lowest is what is followed here.
    pub fn of(book: &Book) -> Vec<Self> {
        let mut points = vec![];
        for (id, api) in book.apis() {
            for (period, row) in api.tariff.periods.iter().zip(&api.rows) {
                let usd_per_mtok = period.hours.iter().map(|hours| hours.prices.output).fold(period.prices.output, f64::min);
                let first = row.from.div_euclid(DAY);
                // A price that ends within a day is still that day's.
                let until_days = row.to.map(|to| to.div_euclid(DAY) + i64::from(to.rem_euclid(DAY) > 0));
                let again = Some(row.retrieved).filter(|day| row.to.is_none() && *day > first);
                points.extend([first].into_iter().chain(again).map(|date_days| Self {
                    date_days,
                    until_days,
                    model: id.to_owned(),
                    usd_per_mtok,
                    source: row.source.clone(),
                }));
            }
        }
        points
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::date::date;

    #[test]
    fn the_shipped_book_as_points() {
        let points = PricePoint::of(&Book::shipped());
        let of = |model: &str| -> Vec<(String, f64)> {
            points.iter().filter(|point| point.model == model).map(|point| (date(point.date_days), point.usd_per_mtok)).collect()
        };
        let pro = of("deepseek/deepseek-v4-pro");
        let usd: Vec<f64> = pro.iter().map(|(_, usd)| *usd).collect();
        // Three periods, the last of which was seen again later, off the peak.
        assert_eq!(usd, [3.48, 0.87, 1.98, 1.98], "{pro:?}");
        assert_eq!((pro[2].0.as_str(), pro[3].0.as_str()), ("2026-08-16", "2026-10-27"));
        // One that ended within a day is still that day's.
        let ends: Vec<Option<String>> =
            points.iter().filter(|point| point.model == "deepseek/deepseek-v4-pro").map(|point| point.until_days.map(date)).collect();
        assert_eq!(ends, [Some("2026-04-26".into()), Some("2026-08-17".into()), None, None]);
        assert!(points.iter().all(|point| !point.source.is_empty() && point.usd_per_mtok > 0.0));
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
