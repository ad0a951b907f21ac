//! `cost-decline` on made-up prices.

use super::*;
use crate::date::day;

pub(super) fn prices(rows: &[(&str, &str, f64)]) -> Vec<PricePoint> {
    let point = |(date, model, usd): &(&str, &str, f64)| PricePoint {
        date_days: day(date).unwrap(),
        until_days: None,
        model: (*model).to_owned(),
        usd_per_mtok: *usd,
        source: "made up".into(),
    };
    rows.iter().map(point).collect()
}

/// V4-Pro as it was, and a price that falls by exactly `factor` a year of 365.25 days.
pub(super) fn falling(factor: f64) -> Vec<PricePoint> {
    let mut points = prices(&[("2026-01-01", "a/steady", 8.0), ("2026-05-01", "a/steady", 8.0), ("2026-10-01", "a/steady", 8.0)]);
    let first = points[0].date_days;
    for point in &mut points {
        point.usd_per_mtok = 8.0 * factor.powf(-((point.date_days - first) as f64) / 365.25);
    }
    points
}

fn priced(points: &[PricePoint], scores: Option<&Scores>, limits: &[(&str, f64)]) -> Vec<Verdict> {
    verdicts(&changed("cost-decline", limits), &Inputs { prices: Some(points), scores, ..Inputs::default() })
}

#[test]
fn declines_are_judged_by_their_interval() {
    // Exact lines have no width; the last bit of a sum may lie on either side of a bound, so the bounds are tried beside it.
    for (factor, expect) in
        [(4.99, Contradicted), (5.01, Supported), (7.0, Supported), (9.99, Supported), (10.01, Contradicted), (0.5, Contradicted)]
    {
        assert_eq!(priced(&falling(factor), None, &[])[0], expect, "{factor}");
    }
    let falls = falling(7.0);
    assert_eq!(priced(&falls, None, &[("factor_min", 7.01)])[0], Contradicted);
    assert_eq!(priced(&falls, None, &[("factor_max", 6.99)])[0], Contradicted);
    // Three dates over 273 days: enough, just enough, and not.
    assert_eq!(priced(&falls, None, &[("span_days_min", 273.0)])[0], Supported);
    assert_eq!(priced(&falls, None, &[("span_days_min", 274.0)])[0], Inconclusive);
    assert_eq!(priced(&falls, None, &[("dates_min", 4.0)])[0], Inconclusive);
    assert_eq!(priced(&falls[..2], None, &[("dates_min", 2.0), ("span_days_min", 1.0)])[0], Inconclusive, "two dates have no interval");
    let error = changed("cost-decline", &[("factor_min", 11.0)]).report(&Inputs::default()).unwrap_err().to_string();
    assert!(error.contains("`factor_min`"), "{error}");
    let free = prices(&[("2026-01-01", "a/free", 0.0)]);
    let error = find("cost-decline").unwrap().report(&Inputs { prices: Some(&free), ..Inputs::default() }).unwrap_err().to_string();
    assert!(error.contains("a/free on 2026-01-01"), "{error}");
}

#[test]
fn a_price_that_rose_is_the_counter_example() {
    let moved = prices(&[
        ("2026-04-24", "deepseek/deepseek-v4-pro", 3.48),
        ("2026-05-31", "deepseek/deepseek-v4-pro", 0.87),
        ("2026-08-16", "deepseek/deepseek-v4-pro", 1.98),
    ]);
    assert_eq!(priced(&moved, None, &[]), [Inconclusive, Contradicted, Untested], "115 days, a rise, no scores");
    assert_eq!(priced(&moved, None, &[("rise_max", 2.27)])[1], Contradicted);
    assert_eq!(priced(&moved, None, &[("rise_max", 2.28)])[1], Supported);
    assert_eq!(priced(&falling(7.0), None, &[])[1], Supported);
    assert_eq!(priced(&moved[..1], None, &[]), [Untested, Untested], "one date");
    // A name that stands for one model after another is no fixed capability.
    let alias = prices(&[("2026-01-01", "deepseek/deepseek-flash", 0.28), ("2026-09-09", "deepseek/deepseek-flash", 0.6)]);
    assert_eq!(priced(&alias, None, &[]), [Untested, Untested]);
    // The book that ships: V4-Pro became dearer.
    let shipped = judged(&find("cost-decline").unwrap(), &Inputs::default());
    assert_eq!(about(&shipped, "does not rise")[0].1, Contradicted);
}

#[test]
fn the_cheapest_at_a_score_is_followed_across_models() {
    let points = prices(&[
        ("2025-01-01", "a/old", 10.0),
        ("2025-07-01", "b/new", 4.0),
        ("2025-12-31", "b/new", 1.6),
        ("2026-01-01", "c/weak", 0.01),
        ("2026-02-01", "a/old", 12.0),
    ]);
    let read = |text: &str| Scores::parse("s.csv", text).unwrap();
    let scores =
        read("model,score,source\na/old,50,index of 2026\nb/new,60,index of 2026\nc/weak,10,index of 2026\nd/none,70,index of 2026\n");
    let study = find("cost-decline").unwrap();
    let found = judged(&study, &Inputs { prices: Some(&points), scores: Some(&scores), ..Inputs::default() });
    let levels = about(&found, "a score of at least");
    assert_eq!(levels.len(), 3, "{levels:?}");
    let fifty = found.iter().find(|finding| finding.claim.contains("at least 50")).unwrap();
    let usd: Vec<f64> = (0..4).map(|row| number(fifty, row, "per million output tokens")).collect();
    assert_eq!(usd, [10.0, 4.0, 1.6, 1.6], "what was cheaper stays so until its next price");
    assert!(fifty.seen.contains("s.csv") && fifty.seen.contains("no price of d/none") && fifty.interval.is_some(), "{}", fifty.seen);
    let sixty = found.iter().find(|finding| finding.claim.contains("at least 60")).unwrap();
    assert_eq!(sixty.verdict, Inconclusive, "two dates");
    // A price that ended is in force no more, though no other of that model came after it.
    let mut withdrawn = points.clone();
    withdrawn[2].until_days = day("2026-01-15");
    let found = judged(&study, &Inputs { prices: Some(&withdrawn), scores: Some(&scores), ..Inputs::default() });
    let fifty = found.iter().find(|finding| finding.claim.contains("at least 50")).unwrap();
    let usd: Vec<f64> = (0..5).map(|row| number(fifty, row, "per million output tokens")).collect();
    assert_eq!(usd, [10.0, 4.0, 1.6, 10.0, 12.0]);
    let none = read("model,score,source\nd/none,70,index\n");
    let found = judged(&study, &Inputs { prices: Some(&points), scores: Some(&none), ..Inputs::default() });
    assert!(about(&found, "at a fixed capability").iter().all(|(_, verdict)| *verdict == Untested), "{found:?}");
}
