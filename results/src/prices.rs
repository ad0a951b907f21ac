//! The price book: what an hour of a device and a token of an API cost, when, and who says so.
//!
//! Rows are TOML files: those that ship with nomoat lie in `results/prices/`, a user's own replace them by name. Every row has a source and
//! the day it was read; every price holds from a moment, perhaps to a moment, perhaps at some hours of some weekdays. What is not in the
//! book is an error, never 0. `read` turns files into rows and says what is wrong with them.

mod dstack;
mod read;

use crate::date;
use nomoat_core::cost::pool::Band;
use nomoat_core::cost::tariff::Tariff;
use nomoat_core::suggest::nearest;
use std::collections::BTreeMap;

pub use dstack::{Offers, offers};
pub use read::{BookError, clock};

/// Days after which a price is old, unless the user says otherwise.
pub const MAX_AGE_DAYS: i64 = 45;

/// Files that ship with nomoat.
const SHIPPED: [(&str, &str); 3] = [
    ("gpu-hours.toml", include_str!("../prices/gpu-hours.toml")),
    ("apis.toml", include_str!("../prices/apis.toml")),
    ("holidays.toml", include_str!("../prices/holidays.toml")),
];

/// Who says so, and until when it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Provenance {
    /// Where it was read.
    pub source: String,
    /// The day it was read, since 1970; of something quoted, the day of what is quoted.
    pub retrieved: i64,
    /// First second at which it holds.
    pub from: i64,
    /// First second after it; `None` while it holds.
    pub to: Option<i64>,
    /// What else a reader should know.
    pub note: Option<String>,
    /// The currency it was named in and its rate, where that is not USD.
    pub converted: Option<String>,
    /// The file it is from.
    pub file: String,
}

impl Provenance {
    /// Days since it was read; `None` for a price that no longer holds, which does not age.
    pub fn age_days(&self, today: i64) -> Option<i64> {
        let past = self.to.is_some_and(|to| to <= today.saturating_mul(86_400));
        (!past).then(|| today - self.retrieved)
    }

    /// Why it is too old, if it is.
    pub fn stale(&self, today: i64, max_days: i64) -> Option<String> {
        let age = self.age_days(today)?;
        if age < 0 {
            return Some(format!("was read on {}, which is yet to come", date::date(self.retrieved)));
        }
        (age > max_days).then_some(())?;
        Some(format!("was read on {}, {age} days ago (more than {max_days})", date::date(self.retrieved)))
    }

    /// Its span in words.
    pub fn span(&self) -> String {
        match self.to {
            Some(to) => format!("{} to {}", date::moment(self.from), date::moment(to)),
            None => format!("from {}", date::moment(self.from)),
        }
    }
}

/// The prices of one model at one provider and tier.
#[derive(Clone, PartialEq, Debug)]
pub struct Api {
    /// Its prices over time.
    pub tariff: Tariff,
    /// Who says so, for each of its periods.
    pub rows: Vec<Provenance>,
}

/// What an hour of one device costs one kind of owner.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceHour {
    /// USD, as a band.
    pub usd: Band,
    /// Whether the middle of the band is only the mean of its ends.
    pub midpoint: bool,
    /// Power for it, everything included, kW; `None` where nobody says.
    pub all_in_kw: Option<f64>,
    /// Who says so.
    pub row: Provenance,
}

/// All prices.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Book {
    apis: BTreeMap<String, Api>,
    /// By `sku@owner`, each in order of time.
    hours: BTreeMap<String, Vec<DeviceHour>>,
    /// What of the user's files replaced something that ships.
    replaced: Vec<String>,
}

impl Book {
    /// The book that ships with nomoat.
    ///
    /// # Panics
    /// A shipped file is wrong, which a test excludes.
    pub fn shipped() -> Self {
        Self::with(&[]).expect("a test reads every shipped file")
    }

    /// The shipped book with files of the user's, `(name, text)`. What they name replaces all shipped rows of that name.
    ///
    /// # Errors
    /// What is wrong, in which file, and what to do.
    pub fn with(files: &[(String, String)]) -> Result<Self, BookError> {
        let shipped: Vec<(String, String)> = SHIPPED.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        read::book(&shipped, files)
    }

    /// Every API, by its id.
    pub fn apis(&self) -> impl Iterator<Item = (&str, &Api)> {
        self.apis.iter().map(|(id, api)| (id.as_str(), api))
    }

    /// Every device's hours, by `sku@owner`.
    pub fn hours(&self) -> impl Iterator<Item = (&str, &[DeviceHour])> {
        self.hours.iter().map(|(id, rows)| (id.as_str(), rows.as_slice()))
    }

    /// Ids whose shipped rows a file of the user's replaced.
    pub fn replaced(&self) -> &[String] {
        &self.replaced
    }

    /// The prices of `provider/model` or `provider/model@tier`.
    ///
    /// # Errors
    /// It is not in the book, with the nearest that is.
    pub fn api(&self, id: &str) -> Result<&Api, String> {
        self.apis.get(&id.to_lowercase()).ok_or_else(|| {
            let near =
                nearest(id, self.apis.keys().map(String::as_str)).map_or(String::new(), |near| format!(" (`{near}` is the nearest)"));
            format!("the price book has no API `{id}`{near}; `nomoat prices list` shows it, --prices FILE.toml adds to it")
        })
    }

    /// What an hour of a device costs an owner at a moment.
    ///
    /// # Errors
    /// The device or the owner is not in the book, or it has no price at that moment, with what is known.
    pub fn hour(&self, sku: &str, owner: &str, unix_s: i64) -> Result<(String, &DeviceHour), String> {
        let id = format!("{}@{}", sku.to_lowercase(), owner.to_lowercase());
        let Some(rows) = self.hours.get(&id) else {
            return Err(self.no_hour(sku, owner));
        };
        let at = rows.iter().find(|hour| hour.row.from <= unix_s && hour.row.to.is_none_or(|to| unix_s < to));
        match at {
            Some(hour) => Ok((id, hour)),
            None => {
                let spans: Vec<String> = rows.iter().map(|hour| hour.row.span()).collect();
                Err(format!(
                    "the price book has `{id}` {}, and nothing for {}; --prices FILE.toml adds it",
                    spans.join(" and "),
                    date::moment(unix_s)
                ))
            }
        }
    }

    fn no_hour(&self, sku: &str, owner: &str) -> String {
        let parts = |id: &String| id.split_once('@').map(|(sku, owner)| (sku.to_owned(), owner.to_owned()));
        let known: Vec<(String, String)> = self.hours.keys().filter_map(parts).collect();
        let owners: Vec<&str> = known.iter().filter(|(name, _)| name.eq_ignore_ascii_case(sku)).map(|(_, owner)| owner.as_str()).collect();
        if owners.is_empty() {
            let near =
                nearest(sku, known.iter().map(|(sku, _)| sku.as_str())).map_or(String::new(), |near| format!(" (`{near}` is the nearest)"));
            format!(
                "the price book has no device `{sku}`{near}; `nomoat prices list` shows it, --prices FILE.toml adds to it, --usd-per-hour gives the whole pool"
            )
        } else {
            format!("the price book has no owner `{owner}` for `{sku}`: --owner is one of {}", owners.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
