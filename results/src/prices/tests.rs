//! The shipped book, and everything a file of prices may get wrong.

use super::*;
use nomoat_core::cost::tariff::Meter;
use nomoat_core::record::{CountSource, Tokens};

fn tokens(input: u32, cache_read: u32, cache_write: Option<u32>, output: u32) -> Tokens {
    let source = CountSource::Usage;
    Tokens {
        input: Some(input),
        cache_read: Some(cache_read),
        cache_write,
        output: Some(output),
        input_source: source,
        output_source: source,
        ..Tokens::default()
    }
}

/// The golden cases that need a price list, out of the shipped one.
#[test]
fn requests_by_the_shipped_prices() {
    let book = Book::shipped();
    let pro = tokens(10_000, 8_000, None, 1_000);
    for (api, at, tokens, expect) in [
        ("deepseek/deepseek-v4-pro", "2026-10-28T12:00:00Z", pro, 0.003_476), // a Wednesday
        ("deepseek/deepseek-v4-pro", "2026-10-28T02:00:00Z", pro, 0.006_952),
        ("deepseek/deepseek-v4-pro", "2026-10-31T02:00:00Z", pro, 0.003_476), // a Saturday
        ("deepseek/deepseek-v4-pro", "2026-10-05T02:00:00Z", pro, 0.003_476), // a Monday of the National Day holidays
        ("deepseek/deepseek-v4-pro", "2026-10-12T02:00:00Z", pro, 0.006_952), // the Monday after them
        ("deepseek/deepseek-v4-pro", "2026-08-16T15:59:00Z", pro, 0.001_769),
        ("deepseek/deepseek-v4-pro", "2026-08-16T16:00:00Z", pro, 0.003_476),
        ("anthropic/claude-opus-5", "2026-11-01", tokens(11_000, 8_000, Some(1_000), 1_000), 0.045_25),
        ("Cerebras/gpt-oss-120b", "2026-11-01", tokens(10_000, 8_000, None, 1_000), 0.004_25),
    ] {
        let mut meter = Meter::new(&book.api(api).unwrap().tariff);
        meter.add(date::unix_seconds(at).unwrap(), &tokens, true, true);
        let usd = meter.usd().unwrap();
        assert!((usd - expect).abs() < 5e-7, "{api} at {at}: {usd} for {expect}");
    }
}

#[test]
fn what_is_not_in_the_book_is_an_error() {
    let book = Book::shipped();
    let now = date::unix_seconds("2026-11-28").unwrap();
    assert_eq!(book.hour("H200", "rental-3y", now).unwrap().1.usd.median, 1.6);
    for (found, says) in [
        (book.api("cerebras/gpt-oss-12b").err(), "`cerebras/gpt-oss-120b` is the nearest"),
        (book.hour("h20", "neocloud", now).err(), "no device `h20`"),
        (book.hour("h200", "friend", now).err(), "--owner is one of hyperscaler, neocloud"),
        (book.hour("h200", "neocloud", 0).err(), "from 2025-08-01, and nothing for 1970-01-01"),
    ] {
        let error = found.unwrap();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn prices_age_while_they_hold() {
    let book = Book::shipped();
    let today = date::day("2026-11-28").unwrap();
    let rows = &book.api("deepseek/deepseek-v4-pro").unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.age_days(today)).collect::<Vec<_>>(), [None, None, Some(32)]);
    assert_eq!(rows[2].stale(today, MAX_AGE_DAYS), None);
    assert!(rows[2].stale(today, 31).unwrap().contains("32 days ago"), "history does not age, a price that holds does");
}

const API: &str = "provider = \"p\"\nmodel = \"m\"\ninput = 1.0\noutput = 2.0\n";
const SAID: &str = "from = \"2026-01-01\"\nsource = \"s\"\nretrieved = \"2026-01-02\"\n";
const HOUR: &str = "[[hour]]\nsku = \"x\"\nowner = \"me\"\n";

#[test]
fn wrong_rows_are_named() {
    let hours = |utc: &str, days: &str, more: &str| {
        format!("[[api]]\n{API}{SAID}hours = [{{ days = [{days}], utc = [{utc}], input = 2.0, output = 3.0{more} }}]\n")
    };
    for (text, says) in [
        (format!("[[api]]\n{API}from = \"2026-01-01\"\nretrieved = \"2026-01-02\"\n"), "`p/m` has no `source`"),
        (format!("[[api]]\n{API}from = \"2026-01-01\"\nsource = \"s\"\n"), "has no `retrieved`"),
        (format!("[[api]]\n{API}{SAID}to = \"2025-12-31\"\n"), "ends before it begins"),
        (format!("[[api]]\n{API}{SAID}currency = \"EUR\"\n"), "is in EUR and has no rate"),
        (format!("[[api]]\n{API}{SAID}rate = {{ usd = 1.1, source = \"x\", date = \"2026-01-01\" }}\n"), "no `currency`"),
        (format!("[[api]]\n{API}{SAID}[[api]]\n{API}{SAID}"), "two prices at 2026-01-01"),
        (format!("[[api]]\n{API}{SAID}cache_read = 0\n"), "which is no price"),
        (format!("[[api]]\n{API}{SAID}colour = 3\n"), "colour"),
        (hours("\"01:00-04:00\", \"03:00-05:00\"", "\"mon\"", ""), "two prices for the same hours"),
        (hours("\"22:00-02:00\"", "\"mon\"", ""), "over midnight as two"),
        (hours("\"71582789:00-02:00\"", "\"mon\"", ""), "over midnight as two"),
        (hours("", "\"mon\"", ""), "which never hold"),
        (hours("\"01:00-04:00\"", "", ""), "which never hold"),
        (
            format!("{HOUR}{SAID}usd = 1e300\ncurrency = \"EUR\"\nrate = {{ usd = 1e300, source = \"x\", date = \"2026-01-01\" }}\n"),
            "no band",
        ),
        (hours("\"01:00-04:00\"", "\"monday\"", ""), "weekdays are mon"),
        (hours("\"01:00-04:00\"", "\"mon\"", ", except = \"mars\""), "no file has"),
        (format!("{HOUR}{SAID}"), "neither `usd` nor"),
        (format!("{HOUR}{SAID}low = 3\nhigh = 2\n"), "no band of prices"),
        (format!("{HOUR}{SAID}usd = 0\n"), "no band of prices"),
        (format!("{HOUR}{SAID}usd = 1\nretrieved = \"2026-01-03\"\n"), "duplicate"),
    ] {
        let error = Book::with(&[("own.toml".into(), text.clone())]).err().unwrap_or_else(|| panic!("{text} was taken")).to_string();
        assert!(error.contains("own.toml") && error.contains(says), "{error}");
    }
}

#[test]
fn a_file_of_the_users_replaces_a_name() {
    let own = "[[api]]\nprovider = \"groq\"\nmodel = \"gpt-oss-120b\"\ninput = 1\noutput = 1\ncurrency = \"EUR\"\n\
               rate = { usd = 1.25, source = \"a bank\", date = \"2026-01-01\" }\nfrom = \"2020-01-01\"\nsource = \"a contract\"\nretrieved = \"2026-01-02\"\n";
    let book = Book::with(&[("own.toml".into(), own.into())]).unwrap();
    let api = book.api("groq/gpt-oss-120b").unwrap();
    assert_eq!(
        (book.replaced(), api.tariff.periods.len(), api.tariff.periods[0].prices.input),
        (&["groq/gpt-oss-120b".to_owned()][..], 1, 1.25)
    );
    assert_eq!(api.rows[0].converted.as_deref(), Some("EUR at 1.25 USD (a bank, 2026-01-01)"));
    assert!(book.api("cerebras/gpt-oss-120b").is_ok());
}

#[test]
fn offers_become_rows_that_the_book_reads() {
    let offer_of = |name: &str, mib: u64, n: usize, price: f64, spot: bool| {
        serde_json::json!({"backend": "runpod", "region": "r", "price": price, "availability": "available",
            "instance": {"name": "i", "resources": {"cpus": 8, "memory_mib": 1, "spot": spot,
            "gpus": vec![serde_json::json!({"name": name, "memory_mib": mib, "vendor": "nvidia"}); n]}}})
    };
    let offer = |name: &str, n: usize, price: f64, spot: bool| offer_of(name, 81_920, n, price, spot);
    let page = serde_json::json!({"project": "p", "user": "u", "requirements": {}, "total_offers": 5, "offers":
        [offer("H100", 8, 23.6, false), offer("H100", 1, 2.0, false), offer("H100", 1, 5.0, false), offer("H100", 2, 2.4, true), offer("A", 0, 0.1, false)]});
    let day = date::day("2026-11-28").unwrap();
    let made = offers(&page.to_string(), day).unwrap();
    assert_eq!(made.left_out, ["1 offers without a device"]);
    let book = Book::with(&[("offers.toml".into(), made.toml)]).unwrap();
    let usd = |owner| book.hour("h100", owner, day * 86_400).unwrap().1.usd;
    assert_eq!((usd("on-demand"), usd("spot")), (Band { low: 2.0, median: 2.95, high: 5.0 }, Band::of(1.2)));
    // The middle of an even number is between two; memories of one name are kinds of their own.
    let page = serde_json::json!({"offers": [offer("A100", 1, 2.0, false), offer("A100", 1, 3.0, false), offer_of("A100", 40_960, 1, 1.0, false)]});
    let book = Book::with(&[("offers.toml".into(), offers(&page.to_string(), day).unwrap().toml)]).unwrap();
    let usd = |sku| book.hour(sku, "on-demand", day * 86_400).map(|(_, hour)| hour.usd);
    assert_eq!(usd("a100-80gb").unwrap(), Band { low: 2.0, median: 2.5, high: 3.0 });
    assert_eq!(usd("a100-40gb").unwrap(), Band::of(1.0));
    assert!(usd("a100").is_err());
    assert!(offers("[]", day).unwrap_err().contains("dstack offer"));
    assert!(offers("{\"offers\": []}", day).unwrap_err().contains("no offer has devices"));
}
