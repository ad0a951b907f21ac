//! Files of prices → the book, with everything that is wrong in them named.

use super::{Api, Book, DeviceHour, Provenance};
use crate::date;
use nomoat_core::cost::pool::Band;
use nomoat_core::cost::tariff::{DAY, Hours, Period, Tariff};
use nomoat_core::cost::{AMOUNTS, TokenPrices};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is wrong with a file of prices.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("prices in {file}: {why}")]
pub struct BookError {
    /// Which file.
    pub file: String,
    /// What is wrong, and what to do.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    api: Vec<ApiRow>,
    #[serde(default)]
    hour: Vec<HourRow>,
    #[serde(default)]
    holidays: Vec<Holidays>,
}

#[derive(Deserialize, Clone, Copy)]
struct Classes {
    input: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    output: f64,
    reasoning: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiRow {
    provider: String,
    model: String,
    tier: Option<String>,
    input: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    output: f64,
    reasoning: Option<f64>,
    #[serde(default)]
    hours: Vec<HoursRow>,
    currency: Option<String>,
    rate: Option<RateRow>,
    from: String,
    to: Option<String>,
    source: Option<String>,
    retrieved: Option<String>,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoursRow {
    days: Vec<String>,
    utc: Vec<String>,
    except: Option<String>,
    input: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    output: f64,
    reasoning: Option<f64>,
}

/// What one unit of a currency is in USD.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RateRow {
    usd: f64,
    source: String,
    date: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HourRow {
    sku: String,
    owner: String,
    usd: Option<f64>,
    low: Option<f64>,
    median: Option<f64>,
    high: Option<f64>,
    all_in_kw: Option<f64>,
    currency: Option<String>,
    rate: Option<RateRow>,
    from: String,
    to: Option<String>,
    source: Option<String>,
    retrieved: Option<String>,
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Holidays {
    name: String,
    days: Vec<String>,
    until: String,
    source: Option<String>,
    retrieved: Option<String>,
}

/// Days off, and the last one that is known.
type Calendar = (Vec<i64>, i64);

/// The book of shipped files and the user's, `(name, text)`; an id that is in one of the user's has none of its shipped rows.
pub(super) fn book(shipped: &[(String, String)], own: &[(String, String)]) -> Result<Book, BookError> {
    let parsed = |files: &[(String, String)]| -> Result<Vec<(String, File)>, BookError> {
        files.iter().map(|(name, text)| Ok((name.clone(), parse(name, text)?))).collect()
    };
    let (shipped, own) = (parsed(shipped)?, parsed(own)?);
    let mut calendars = BTreeMap::new();
    for (name, file) in shipped.iter().chain(&own) {
        for holidays in &file.holidays {
            calendars.insert(holidays.name.clone(), calendar(holidays).map_err(in_file(name))?);
        }
    }
    let mut book = rows(&shipped, &calendars)?;
    let theirs = rows(&own, &calendars)?;
    let ids = |book: &Book| book.apis.keys().chain(book.hours.keys()).cloned().collect::<Vec<_>>();
    let before = ids(&book);
    book.replaced = ids(&theirs).into_iter().filter(|id| before.contains(id)).collect();
    book.apis.extend(theirs.apis);
    book.hours.extend(theirs.hours);
    Ok(book)
}

fn in_file(file: &str) -> impl Fn(String) -> BookError {
    let file = file.to_owned();
    move |why| BookError { file: file.clone(), why }
}

fn parse(name: &str, text: &str) -> Result<File, BookError> {
    toml::from_str(text).map_err(|e| in_file(name)(e.to_string().trim_end().replace('\n', "\n    ")))
}

fn rows(files: &[(String, File)], calendars: &BTreeMap<String, Calendar>) -> Result<Book, BookError> {
    let mut apis: BTreeMap<String, Vec<(Period, Provenance)>> = BTreeMap::new();
    let mut hours: BTreeMap<String, Vec<DeviceHour>> = BTreeMap::new();
    for (name, file) in files {
        for row in &file.api {
            let id = api_id(row);
            let made = api(row, name, calendars).map_err(|why| in_file(name)(format!("`{id}` {why}")))?;
            apis.entry(id).or_default().push(made);
        }
        for row in &file.hour {
            let id = format!("{}@{}", row.sku.to_lowercase(), row.owner.to_lowercase());
            let made = hour(row, name).map_err(|why| in_file(name)(format!("`{id}` {why}")))?;
            hours.entry(id).or_default().push(made);
        }
    }
    for (id, rows) in &mut hours {
        rows.sort_by_key(|hour| hour.row.from);
        apart(id, rows.iter().map(|hour| &hour.row))?;
    }
    let mut made = BTreeMap::new();
    for (id, mut rows) in apis {
        rows.sort_by_key(|(period, _)| period.from);
        apart(&id, rows.iter().map(|(_, row)| row))?;
        let (periods, rows) = rows.into_iter().unzip();
        made.insert(id.clone(), Api { tariff: Tariff { id, periods }, rows });
    }
    Ok(Book { apis: made, hours, replaced: vec![] })
}

/// Refuses two rows of one name that hold at the same moment; they are in order.
fn apart<'a>(id: &str, rows: impl Iterator<Item = &'a Provenance>) -> Result<(), BookError> {
    let rows: Vec<&Provenance> = rows.collect();
    for pair in rows.windows(2) {
        if pair[0].to.is_none_or(|to| to > pair[1].from) {
            let why = format!(
                "`{id}` has two prices at {}: one {}, one {}; end the first with `to`",
                date::moment(pair[1].from),
                pair[0].span(),
                pair[1].span()
            );
            return Err(in_file(&pair[1].file)(why));
        }
    }
    Ok(())
}

fn api_id(row: &ApiRow) -> String {
    let tier = row.tier.as_deref().filter(|tier| *tier != "standard").map_or(String::new(), |tier| format!("@{tier}"));
    format!("{}/{}{tier}", row.provider, row.model).to_lowercase()
}

/// Source and day of a row, its span, and what its prices are multiplied by.
#[expect(clippy::too_many_arguments, reason = "the same keys of three kinds of rows, taken apart")]
fn provenance(
    file: &str,
    source: Option<&String>,
    retrieved: Option<&String>,
    from: &str,
    to: Option<&String>,
    currency: Option<&String>,
    rate: Option<&RateRow>,
    note: Option<&String>,
) -> Result<(Provenance, f64), String> {
    let source = source.filter(|source| !source.trim().is_empty()).ok_or("has no `source`: write where the price was read")?;
    let retrieved = retrieved.ok_or("has no `retrieved`: write the day it was read, as 2026-11-28")?;
    let retrieved = date::day(retrieved).ok_or_else(|| format!("has `retrieved = \"{retrieved}\"`, which is no day such as 2026-11-28"))?;
    let moment = |key: &str, text: &str| {
        date::unix_seconds(text).ok_or_else(|| format!("has `{key} = \"{text}\"`; write 2026-11-28 or 2026-08-16T16:00:00Z"))
    };
    let from = moment("from", from)?;
    let to = to.map(|to| moment("to", to)).transpose()?;
    if to.is_some_and(|to| to <= from) {
        return Err("ends before it begins: look at `from` and `to`".into());
    }
    let (converted, factor) = match (currency.map(String::as_str), rate) {
        (None | Some("USD"), None) => (None, 1.0),
        (None | Some("USD"), Some(_)) => return Err("has a `rate` and no `currency`: name the currency, or leave the rate out".into()),
        (Some(currency), None) => {
            return Err(format!(
                "is in {currency} and has no rate: add rate = {{ usd = …, source = \"…\", date = \"…\" }}, USD for one {currency}"
            ));
        }
        (Some(currency), Some(rate)) => {
            date::day(&rate.date).ok_or_else(|| format!("has a rate of `{}`, which is no day such as 2026-11-28", rate.date))?;
            if !(rate.usd.is_finite() && rate.usd > 0.0) {
                return Err(format!("has a rate of {} USD for one {currency}, which is no amount", rate.usd));
            }
            (Some(format!("{currency} at {} USD ({}, {})", rate.usd, rate.source, rate.date)), rate.usd)
        }
    };
    Ok((Provenance { source: source.clone(), retrieved, from, to, note: note.cloned(), converted, file: file.to_owned() }, factor))
}

fn api(row: &ApiRow, file: &str, calendars: &BTreeMap<String, Calendar>) -> Result<(Period, Provenance), String> {
    let (currency, rate) = (row.currency.as_ref(), row.rate.as_ref());
    let (from, to) = (row.from.as_str(), row.to.as_ref());
    let (provenance, factor) = provenance(file, row.source.as_ref(), row.retrieved.as_ref(), from, to, currency, rate, row.note.as_ref())?;
    let base = Classes {
        input: row.input,
        cache_read: row.cache_read,
        cache_write: row.cache_write,
        output: row.output,
        reasoning: row.reasoning,
    };
    let prices = prices(base, factor)?;
    let mut hours = vec![];
    for window in &row.hours {
        hours.extend(windows(window, factor, calendars)?);
    }
    for (index, a) in hours.iter().enumerate() {
        for b in &hours[index + 1..] {
            let same_day = a.days.iter().zip(&b.days).any(|(a, b)| *a && *b);
            if same_day && a.from < b.to && b.from < a.to {
                return Err(format!("has two prices for the same hours: {} and {} on the same weekday", clock(a), clock(b)));
            }
        }
    }
    Ok((Period { from: provenance.from, to: provenance.to, prices, hours }, provenance))
}

/// From and to of hours, as they are written.
pub fn clock(hours: &Hours) -> String {
    let of = |second: u32| format!("{:02}:{:02}", second / 3_600, second / 60 % 60);
    format!("{}–{} UTC", of(hours.from), of(hours.to))
}

fn prices(row: Classes, factor: f64) -> Result<TokenPrices, String> {
    let check = |key: &str, price: f64| {
        // After the rate: a price that it makes endless or nothing is none.
        if AMOUNTS.contains(&(price * factor)) {
            Ok(price * factor)
        } else {
            Err(format!("has `{key} = {price}`, which is no price; a class whose price is not known is left out, never 0"))
        }
    };
    let maybe = |key: &str, price: Option<f64>| price.map(|price| check(key, price)).transpose();
    Ok(TokenPrices {
        input: check("input", row.input)?,
        cache_read: maybe("cache_read", row.cache_read)?,
        cache_write: maybe("cache_write", row.cache_write)?,
        output: check("output", row.output)?,
        reasoning: maybe("reasoning", row.reasoning)?,
    })
}

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn windows(row: &HoursRow, factor: f64, calendars: &BTreeMap<String, Calendar>) -> Result<Vec<Hours>, String> {
    if row.days.is_empty() || row.utc.is_empty() {
        return Err("has hours without `days` or without `utc`, which never hold; name both, or leave the hours out".into());
    }
    let mut days = [false; 7];
    for day in &row.days {
        let index = WEEKDAYS.iter().position(|known| known == day);
        days[index.ok_or_else(|| format!("has hours on `{day}`; weekdays are {}", WEEKDAYS.join(", ")))?] = true;
    }
    let (except, known_until) = match &row.except {
        None => (vec![], None),
        Some(name) => {
            let (days, until) = calendars
                .get(name)
                .ok_or_else(|| format!("excepts the holidays `{name}`, which no file has; add [[holidays]] with name = \"{name}\""))?;
            (days.clone(), Some(*until))
        }
    };
    let base = Classes {
        input: row.input,
        cache_read: row.cache_read,
        cache_write: row.cache_write,
        output: row.output,
        reasoning: row.reasoning,
    };
    let prices = prices(base, factor)?;
    let second = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour <= 24 && minute < 60 && hour * 60 + minute <= 1_440).then(|| hour * 3_600 + minute * 60)
    };
    let of = |text: &String| {
        let span = text.split_once('-').and_then(|(from, to)| Some((second(from)?, second(to)?))).filter(|(from, to)| from < to);
        let (from, to) = span.ok_or_else(|| format!("has hours `{text}`; write 01:00-04:00, and hours over midnight as two"))?;
        Ok(Hours { days, from, to, except: except.clone(), known_until, prices })
    };
    row.utc.iter().map(of).collect()
}

fn hour(row: &HourRow, file: &str) -> Result<DeviceHour, String> {
    let (currency, rate) = (row.currency.as_ref(), row.rate.as_ref());
    let (from, to) = (row.from.as_str(), row.to.as_ref());
    let (provenance, factor) = provenance(file, row.source.as_ref(), row.retrieved.as_ref(), from, to, currency, rate, row.note.as_ref())?;
    let (band, midpoint) = match (row.usd, row.low, row.median, row.high) {
        (Some(usd), None, None, None) => (Band::of(usd), false),
        (None, Some(low), Some(median), Some(high)) => (Band { low, median, high }, false),
        (None, Some(low), None, Some(high)) => (Band { low, median: f64::midpoint(low, high), high }, true),
        _ => return Err("has neither `usd` nor `low` and `high` (and `median`): write one price or a band".into()),
    };
    let (band, named) = (band.map(|usd| usd * factor), band);
    let sound =
        |band: Band| AMOUNTS.contains(&band.low) && band.low <= band.median && band.median <= band.high && AMOUNTS.contains(&band.high);
    if !sound(band) {
        return Err(format!("costs {} / {} / {}, which is no band of prices from low to high", named.low, named.median, named.high));
    }
    if row.all_in_kw.is_some_and(|kw| !(kw.is_finite() && kw > 0.0)) {
        return Err("has an `all_in_kw` that is no power in kW".into());
    }
    Ok(DeviceHour { usd: band, midpoint, all_in_kw: row.all_in_kw, row: provenance })
}

fn calendar(row: &Holidays) -> Result<Calendar, String> {
    let name = &row.name;
    if row.source.as_ref().is_none_or(|source| source.trim().is_empty()) || row.retrieved.as_deref().and_then(date::day).is_none() {
        return Err(format!("the holidays `{name}` have no source or no day on which they were read: add `source` and `retrieved`"));
    }
    let wrong = |text: &str| format!("the holidays `{name}` have `{text}`; write 2026-10-01 or 2026-10-01..2026-10-07");
    let until = date::day(&row.until).ok_or_else(|| wrong(&row.until))?;
    let mut days = vec![];
    for text in &row.days {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = date::day(first).zip(date::day(last)).ok_or_else(|| wrong(text))?;
        if last < first || last - first > 366 {
            return Err(wrong(text));
        }
        days.extend(first..=last);
    }
    days.sort_unstable();
    days.dedup();
    debug_assert!(days.iter().all(|day| day.checked_mul(DAY).is_some()), "days are of dates with four digits");
    Ok((days, until))
}
