//! `nomoat prices`: the price book, and files that add to it.

use crate::args::{BookArgs, PricesArgs, PricesCommand};
use crate::exit::{Exit, Failure};
use crate::output::put;
use crate::setup::format;
use nomoat_drive::WallAnchor;
use nomoat_results::date;
use nomoat_results::prices::{Api, Book, DeviceHour, Provenance, clock, offers};
use nomoat_results::table::{Format, List};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Runs the subcommand.
pub fn prices(args: PricesArgs) -> Result<Exit, Failure> {
    match args.command {
        PricesCommand::List { book, all, format } => list(&book, all, &format),
        PricesCommand::Show { name, book } => show(&name, &book),
        PricesCommand::Check { book, strict } => check(&book, strict),
        PricesCommand::Import { file, date } => import(&file, date.as_deref()),
    }
}

/// Today, in days since 1970.
pub fn today() -> i64 {
    (WallAnchor::now().unix_ns / 86_400_000_000_000) as i64
}

/// The shipped book with the user's files.
pub fn book(args: &BookArgs) -> Result<Book, Failure> {
    let mut given = args.prices.clone();
    if given.is_empty() {
        given.extend(std::env::var_os("NOMOAT_PRICES").filter(|path| !path.is_empty()).map(PathBuf::from));
    }
    let mut files = vec![];
    for path in &given {
        let reading = |e| Failure::usage(format!("reading prices in {}: {e}", path.display()));
        let mut paths = vec![];
        if path.is_dir() {
            for entry in std::fs::read_dir(path).map_err(reading)? {
                let entry = entry.map_err(reading)?.path();
                if entry.extension().is_some_and(|ending| ending == "toml") {
                    paths.push(entry);
                }
            }
            paths.sort();
            if paths.is_empty() {
                return Err(Failure::usage(format!("--prices {}: no .toml file in it", path.display())));
            }
        } else {
            paths.push(path.clone());
        }
        for path in paths {
            let text = std::fs::read_to_string(&path).map_err(|e| Failure::usage(format!("reading prices in {}: {e}", path.display())))?;
            files.push((path.display().to_string(), text));
        }
    }
    Book::with(&files).map_err(Failure::usage_of)
}

fn usd(price: Option<f64>) -> String {
    price.map_or_else(|| "–".into(), |price| price.to_string())
}

fn band(hour: &DeviceHour) -> String {
    let usd = hour.usd;
    match (usd.is_wide(), hour.midpoint) {
        (false, _) => usd.median.to_string(),
        (true, true) => format!("{}…{}", usd.low, usd.high),
        (true, false) => format!("{}…{}…{}", usd.low, usd.median, usd.high),
    }
}

fn age(row: &Provenance, today: i64, max: i64) -> String {
    match row.age_days(today) {
        None => "past".into(),
        Some(days) if days > max => format!("{days} d, old"),
        Some(days) => format!("{days} d"),
    }
}

fn list(args: &BookArgs, all: bool, name: &str) -> Result<Exit, Failure> {
    let format = format(name)?;
    let (book, today) = (book(args)?, today());
    let holds = |row: &Provenance| all || row.to.is_none_or(|to| to > today * 86_400);
    let mut rows = vec![];
    for (id, hours) in book.hours() {
        for hour in hours.iter().filter(|hour| holds(&hour.row)) {
            let price = format!("{} an hour", band(hour));
            rows.push(vec![id.to_owned(), price, hour.row.span(), age(&hour.row, today, args.max_price_age), hour.row.source.clone()]);
        }
    }
    for (id, api) in book.apis() {
        for (period, row) in api.tariff.periods.iter().zip(&api.rows).filter(|(_, row)| holds(row)) {
            let prices = &period.prices;
            let peak = if period.hours.is_empty() { "" } else { ", hours" };
            let price = format!("{} / {} / {} / {}{peak}", prices.input, usd(prices.cache_read), usd(prices.cache_write), prices.output);
            rows.push(vec![id.to_owned(), price, row.span(), age(row, today, args.max_price_age), row.source.clone()]);
        }
    }
    let mut columns = vec![("name", 28), ("usd", 27), ("holds", 27), ("age", 11), ("source", 0)];
    if format == Format::Table {
        // Sources are sentences; a terminal has `show` for them.
        columns.pop();
        rows.iter_mut().for_each(|row| row.truncate(columns.len()));
    }
    put(&List { columns, rows }.render(format));
    eprintln!(
        "APIs: input / read from a cache / written to one / output, USD per million tokens; hours: other prices at some hours, see `nomoat prices show NAME`"
    );
    Ok(Exit::Ok)
}

fn show(name: &str, args: &BookArgs) -> Result<Exit, Failure> {
    let (book, today) = (book(args)?, today());
    let id = name.to_lowercase();
    let mut text = String::new();
    if let Some((id, hours)) = book.hours().find(|(known, _)| *known == id) {
        for hour in hours {
            let kw = hour.all_in_kw.map_or_else(String::new, |kw| format!(", {kw} kW with everything"));
            let middle = if hour.midpoint { " (the middle is the mean of the ends)" } else { "" };
            let _ = writeln!(text, "{id}, {}: {} USD an hour{middle}{kw}", hour.row.span(), band(hour));
            provenance(&mut text, &hour.row, today, args.max_price_age);
        }
    } else {
        let Api { tariff, rows } = book.api(name).map_err(Failure::usage)?;
        for (period, row) in tariff.periods.iter().zip(rows) {
            let _ = writeln!(text, "{id}, {}, USD per million tokens", row.span());
            let mut line = |when: &str, p: &nomoat_core::cost::TokenPrices| {
                let reasoning = p.reasoning.map_or_else(|| "as output".to_owned(), |price| price.to_string());
                let _ = writeln!(
                    text,
                    "    {when}: input {}, read from a cache {}, written to one {}, output {}, reasoning {reasoning}",
                    p.input,
                    usd(p.cache_read),
                    usd(p.cache_write),
                    p.output
                );
            };
            line(if period.hours.is_empty() { "always" } else { "else" }, &period.prices);
            for hours in &period.hours {
                let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
                let days: Vec<&str> = names.into_iter().zip(hours.days).filter_map(|(name, on)| on.then_some(name)).collect();
                let except = match hours.known_until {
                    Some(last) => format!(", not on {} holidays (known until {})", hours.except.len(), date::date(last)),
                    None => String::new(),
                };
                line(&format!("{} {}{except}", days.join(" "), clock(hours)), &hours.prices);
            }
            provenance(&mut text, row, today, args.max_price_age);
        }
    }
    put(&text);
    Ok(Exit::Ok)
}

fn provenance(text: &mut String, row: &Provenance, today: i64, max: i64) {
    let _ = writeln!(text, "    {}; read {} ({}); in {}", row.source, date::date(row.retrieved), age(row, today, max), row.file);
    for more in [&row.converted, &row.note].into_iter().flatten() {
        let _ = writeln!(text, "    {more}");
    }
}

fn check(args: &BookArgs, strict: bool) -> Result<Exit, Failure> {
    let (book, today) = (book(args)?, today());
    let rows = book.hours().flat_map(|(id, hours)| hours.iter().map(move |hour| (id, &hour.row)));
    let rows: Vec<(&str, &Provenance)> = rows.chain(book.apis().flat_map(|(id, api)| api.rows.iter().map(move |row| (id, row)))).collect();
    let stale: Vec<String> =
        rows.iter().filter_map(|(id, row)| Some(format!("{id} {} (in {})", row.stale(today, args.max_price_age)?, row.file))).collect();
    let mut text = format!("{} prices, no two at the same moment, each with source and day\n", rows.len());
    for id in book.replaced() {
        let _ = writeln!(text, "{id} is yours, what ships is not used");
    }
    for line in &stale {
        let _ = writeln!(text, "old: {line}");
    }
    put(&text);
    if strict && !stale.is_empty() {
        return Err(Failure::usage(format!(
            "{} prices are old: read them again and change `retrieved`, or allow more days by --max-price-age",
            stale.len()
        )));
    }
    Ok(Exit::Ok)
}

fn import(file: &Path, day: Option<&str>) -> Result<Exit, Failure> {
    let day = match day {
        None => today(),
        Some(text) => date::day(text).ok_or_else(|| Failure::usage(format!("--date `{text}` is no day such as 2026-11-28")))?,
    };
    let text = if file == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|e| Failure::usage(format!("reading {}: {e}", file.display())))?;
    let offers = offers(&text, day).map_err(Failure::usage)?;
    put(&offers.toml);
    offers.left_out.iter().for_each(|why| eprintln!("left out: {why}"));
    Ok(Exit::Ok)
}
