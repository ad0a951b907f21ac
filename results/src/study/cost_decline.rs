//! `cost-decline`: by which factor a year the price of the same capability falls. Of list prices, which are no costs.

use super::{Cell, Evidence, Finding, Fixed, Inputs, Numbers, PricePoint, Scores, StudyError, Verdict};
use crate::date::date;
use crate::prices::Book;
use nomoat_core::fit::line;
use nomoat_core::report::Interval;
use std::collections::BTreeMap;

/// Days of a year, of the Julian kind.
const YEAR: f64 = 365.25;

/// Prices by day.
type Series = BTreeMap<i64, f64>;

/// The prices of one model, by the day from which each holds.
type Priced<'a> = BTreeMap<i64, &'a PricePoint>;

pub(super) fn judge(fixed: &Fixed, inputs: &Inputs) -> Result<Vec<Finding>, StudyError> {
    let rule = Rule {
        from: fixed.threshold("factor_min")?,
        to: fixed.threshold("factor_max")?,
        dates: fixed.whole("dates_min")?,
        span_days: fixed.whole("span_days_min")?,
    };
    if rule.from > rule.to {
        return Err(fixed.value("the threshold `factor_min` must not be above `factor_max`".to_owned()));
    }
    let shipped = inputs.prices.map_or_else(|| PricePoint::of(&Book::shipped()), <[PricePoint]>::to_vec);
    let mut by_model = by_model(fixed, &shipped)?;
    // A name behind which a model was replaced by another is no fixed capability.
    let aliases = fixed.names("alias")?;
    by_model.retain(|model, _| !aliases.iter().any(|alias| alias == model));
    let mut findings = vec![];
    for (model, priced) in &by_model {
        if priced.len() > 1 {
            let series = priced.iter().map(|(day, point)| (*day, point.usd_per_mtok)).collect();
            findings.push(rule.trend(&format!("the list price of {model}"), "", &series));
        }
    }
    findings.push(rises(fixed, &by_model)?);
    match inputs.scores {
        None => findings.push(Finding::untested(
            format!("the cheapest list price at a fixed capability, whichever the model, falls {} to {} times a year", rule.from, rule.to),
            rule.words(),
            "scores of what models can do: --scores FILE with model,score,source",
        )),
        Some(scores) => findings.extend(across(&rule, &by_model, scores)),
    }
    Ok(findings)
}

/// The lowest price of each model and day.
fn by_model<'a>(fixed: &Fixed, history: &'a [PricePoint]) -> Result<BTreeMap<&'a str, Priced<'a>>, StudyError> {
    let mut found: BTreeMap<&str, Priced<'_>> = BTreeMap::new();
    for point in history {
        if !(point.usd_per_mtok > 0.0 && point.usd_per_mtok.is_finite()) {
            let why = format!("the price of {} on {} must be a positive number", point.model, date(point.date_days));
            return Err(fixed.value(why));
        }
        let lowest = found.entry(&point.model).or_default().entry(point.date_days).or_insert(point);
        if point.usd_per_mtok < lowest.usd_per_mtok {
            *lowest = point;
        }
    }
    Ok(found)
}

struct Rule {
    from: f64,
    to: f64,
    dates: u64,
    span_days: u64,
}

impl Rule {
    fn words(&self) -> String {
        format!(
            "95 % interval of the factor a year, from a line through ln(price) over time, within {} … {}; at least {} dates over {} days",
            self.from, self.to, self.dates, self.span_days
        )
    }

    fn trend(&self, subject: &str, seen: &str, series: &Series) -> Finding {
        let claim = format!("{subject} falls {} to {} times a year", self.from, self.to);
        let mut numbers = Numbers::new(1, [("date", ""), ("per million output tokens", "USD")]);
        series.iter().for_each(|(day, usd)| numbers.push(vec![date(*day).into(), (*usd).into()]));
        let first = series.keys().next().copied().unwrap_or(0);
        let span = series.keys().next_back().map_or(0, |last| last - first);
        let unclear = |why: String| {
            Finding::new(&claim, self.words(), seen, Verdict::Inconclusive, Evidence::Exact).because(why).numbers(numbers.clone())
        };
        if (series.len() as u64) < self.dates || span < self.span_days as i64 {
            return unclear(format!("{} dates over {span} days are too few", series.len()));
        }
        let points: Vec<(f64, f64)> = series.iter().map(|(day, usd)| ((day - first) as f64 / YEAR, usd.ln())).collect();
        let Some((fitted, slope)) = line(&points).and_then(|line| Some((line, line.interval()?))) else {
            return unclear(format!("{} dates give no interval", series.len()));
        };
        // A price that falls has a negative slope and a factor above 1; a far end that no number holds is open.
        let factor = |slope: f64| (-slope).exp();
        let hi = Some(factor(slope.lo)).filter(|hi| hi.is_finite());
        let interval = Interval { lo: slope.hi.map_or(0.0, factor), hi, level: slope.level };
        let words = format!(
            "{}falls by a factor of {:.2} a year",
            if seen.is_empty() { String::new() } else { format!("{seen}; ") },
            factor(fitted.slope)
        );
        Finding::new(&claim, self.words(), words, Verdict::within(interval, (self.from, self.to)), Evidence::Exact)
            .interval(Some(interval), "factor a year")
            .numbers(numbers)
    }
}

/// Prices of one model that are higher than the one before.
fn rises(fixed: &Fixed, by_model: &BTreeMap<&str, Priced<'_>>) -> Result<Finding, StudyError> {
    let most = fixed.threshold("rise_max")?;
    let claim = "the list price of one model, which is a fixed capability, falls and does not rise";
    let rule = format!("no price of a model ÷ the one before it > {most}");
    let mut numbers = Numbers::new(2, [("model", ""), ("from", ""), ("was", "USD"), ("to", ""), ("became", "USD"), ("×", "ratio")]);
    let mut followed = 0;
    for (model, priced) in by_model {
        followed += usize::from(priced.len() > 1);
        for ((from, was), (to, became)) in priced.iter().zip(priced.iter().skip(1)) {
            let (was, usd) = (was.usd_per_mtok, became.usd_per_mtok);
            if usd / was > most {
                let cells: [Cell; 6] = [(*model).into(), date(*from).into(), was.into(), date(*to).into(), usd.into(), (usd / was).into()];
                numbers.push(cells.to_vec());
            }
        }
    }
    if followed == 0 {
        return Ok(Finding::untested(claim, rule, "two dates of a model's price"));
    }
    let seen = format!("{followed} models with more than one date");
    Ok(Finding::new(claim, rule, seen, Verdict::exact(numbers.rows.is_empty()), Evidence::Exact).numbers(numbers))
}

/// What a model costs on a day: by its last price until then, unless that has ended.
fn on(priced: &Priced<'_>, day: i64) -> Option<f64> {
    let (_, point) = priced.range(..=day).next_back()?;
    point.until_days.is_none_or(|until| day < until).then_some(point.usd_per_mtok)
}

/// The cheapest of the models at or above each score that the user gave. A price holds until the model's next, or until it ends.
fn across(rule: &Rule, by_model: &BTreeMap<&str, Priced<'_>>, scores: &Scores) -> Vec<Finding> {
    let priced: Vec<(&Priced<'_>, f64)> =
        scores.of.iter().filter_map(|(model, score)| Some((by_model.get(model.as_str())?, score.score))).collect();
    let without: Vec<&str> = scores.of.keys().map(String::as_str).filter(|model| !by_model.contains_key(model)).collect();
    let note = if without.is_empty() { String::new() } else { format!("; no price of {}", without.join(", ")) };
    let mut levels: Vec<f64> = priced.iter().map(|(_, score)| *score).collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    if levels.is_empty() {
        let known: Vec<&str> = by_model.keys().copied().collect();
        let needs = format!("scores of models that have prices ({}){note}", known.join(", "));
        let claim = format!("the cheapest list price at a fixed capability falls {} to {} times a year", rule.from, rule.to);
        return vec![Finding::untested(claim, rule.words(), &needs)];
    }
    let cheapest = |level: f64| -> Series {
        let able: Vec<&Priced<'_>> = priced.iter().filter(|(_, score)| *score >= level).map(|(priced, _)| *priced).collect();
        // Where a price ends, what was the second cheapest may be the cheapest.
        let days = able.iter().flat_map(|priced| priced.values()).flat_map(|point| [Some(point.date_days), point.until_days]).flatten();
        let lowest = |day: i64| able.iter().filter_map(|priced| on(priced, day)).reduce(f64::min);
        days.filter_map(|day| Some((day, lowest(day)?))).collect()
    };
    let finding = |level: &f64| {
        let seen = format!("scores of {}{note}", scores.file);
        rule.trend(&format!("the cheapest list price of a score of at least {level}"), &seen, &cheapest(*level))
    };
    levels.iter().map(finding).collect()
}
