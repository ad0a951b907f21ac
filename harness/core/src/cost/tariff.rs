//! A price list over time: periods from a moment to a moment, and in each of them hours of some weekdays at another price.
//!
//! Moments are seconds since 1970 in UTC, as prices name their hours. Every request is priced at its own moment; a moment for which there is
//! no price is an error that names the periods that are known.

use super::{Bill, TokenPrices};
use crate::record::Tokens;
use std::collections::BTreeMap;

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// Hours at another price.
#[derive(Clone, PartialEq, Debug)]
pub struct Hours {
    /// Weekdays on which they hold, Monday first.
    pub days: [bool; 7],
    /// First second of the day, and the first one after them.
    pub from: u32,
    /// See `from`.
    pub to: u32,
    /// Days (since 1970) on which they do not hold although the weekday is right, in order.
    pub except: Vec<i64>,
    /// Last day whose exceptions are known; `None` where there are none by rule.
    pub known_until: Option<i64>,
    /// The price in them.
    pub prices: TokenPrices,
}

/// A price list from a moment to a moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Period {
    /// First second.
    pub from: i64,
    /// First second after it; `None` while it goes on.
    pub to: Option<i64>,
    /// The price outside all hours.
    pub prices: TokenPrices,
    /// Hours at another price; none of them overlap.
    pub hours: Vec<Hours>,
}

/// The prices of one model at one provider and tier, over time.
#[derive(Clone, PartialEq, Debug)]
pub struct Tariff {
    /// `provider/model`, with `@tier` where it is not the usual one.
    pub id: String,
    /// In order, none of them overlap.
    pub periods: Vec<Period>,
}

/// Which price of a tariff: index of its period, and of its hours, if any.
pub type Rate = (usize, Option<usize>);

/// The weekday of a day since 1970, Monday = 0. The first of January 1970 was a Thursday.
pub fn weekday(day: i64) -> usize {
    (day + 3).rem_euclid(7) as usize
}

impl Hours {
    /// Whether they hold at a moment.
    ///
    /// # Errors
    /// The day is after those whose exceptions are known.
    pub fn hold(&self, unix_s: i64) -> Result<bool, String> {
        let (day, second) = (unix_s.div_euclid(DAY), unix_s.rem_euclid(DAY) as u32);
        if !(self.days[weekday(day)] && (self.from..self.to).contains(&second)) {
            return Ok(false);
        }
        match self.known_until {
            Some(last) if day > last => Err("falls on a day after those whose holidays are known".into()),
            _ => Ok(self.except.binary_search(&day).is_err()),
        }
    }
}

impl Tariff {
    /// Which price holds at a moment.
    ///
    /// # Errors
    /// None is known, with the span that is.
    pub fn rate(&self, unix_s: i64) -> Result<Rate, String> {
        let index = self.periods.partition_point(|period| period.from <= unix_s);
        let at = index.checked_sub(1).filter(|index| self.periods[*index].to.is_none_or(|to| unix_s < to));
        let Some(period) = at else {
            return Err(format!("{} has no price at {} s since 1970; `nomoat prices show {}` lists when it has", self.id, unix_s, self.id));
        };
        for (index, hours) in self.periods[period].hours.iter().enumerate() {
            if hours.hold(unix_s).map_err(|why| format!("{}: a request at {unix_s} s since 1970 {why}", self.id))? {
                return Ok((period, Some(index)));
            }
        }
        Ok((period, None))
    }

    /// The prices of a rate.
    pub fn prices(&self, (period, hours): Rate) -> &TokenPrices {
        let period = &self.periods[period];
        hours.map_or(&period.prices, |index| &period.hours[index].prices)
    }
}

/// Bills requests under a tariff, each at its own moment.
#[derive(Clone, Debug)]
pub struct Meter<'a> {
    tariff: &'a Tariff,
    bills: BTreeMap<Rate, Bill>,
    /// The last rate, and the second for which it was found: under load many requests share one.
    last: Option<(i64, Rate)>,
    failure: Option<String>,
}

impl<'a> Meter<'a> {
    /// A meter that has billed nothing.
    pub fn new(tariff: &'a Tariff) -> Self {
        Self { tariff, bills: BTreeMap::new(), last: None, failure: None }
    }

    /// Bills a measured request.
    pub fn add(&mut self, unix_s: i64, tokens: &Tokens, sent: bool, answered: bool) {
        let rate = match self.last {
            Some((second, rate)) if second == unix_s => rate,
            _ => match self.tariff.rate(unix_s) {
                Ok(rate) => {
                    self.last = Some((unix_s, rate));
                    rate
                }
                Err(why) => {
                    self.failure.get_or_insert(why);
                    return;
                }
            },
        };
        self.bills.entry(rate).or_default().add(tokens, sent, answered);
    }

    /// What was billed at each rate.
    pub fn bills(&self) -> &BTreeMap<Rate, Bill> {
        &self.bills
    }

    /// All that was billed.
    pub fn bill(&self) -> Bill {
        self.bills.values().fold(Bill::default(), |mut all, bill| {
            all.merge(bill);
            all
        })
    }

    /// USD of all requests.
    ///
    /// # Errors
    /// A request had no price, or a class of tokens has none.
    pub fn usd(&self) -> Result<f64, String> {
        self.sum(|bill| *bill)
    }

    /// USD of the same requests had nothing been found in a cache.
    ///
    /// # Errors
    /// As [`Self::usd`].
    pub fn usd_without_cache_hits(&self) -> Result<f64, String> {
        self.sum(Bill::without_cache_hits)
    }

    /// USD of the prompts of these requests alone.
    ///
    /// # Errors
    /// As [`Self::usd`].
    pub fn usd_of_prompts(&self) -> Result<f64, String> {
        self.sum(Bill::prompts)
    }

    fn sum(&self, of: impl Fn(&Bill) -> Bill) -> Result<f64, String> {
        match &self.failure {
            Some(why) => Err(why.clone()),
            None => self.bills.iter().map(|(rate, bill)| self.tariff.prices(*rate).usd(&of(bill))).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::CountSource;

    fn prices(input: f64, cache_read: f64, output: f64) -> TokenPrices {
        TokenPrices { input, cache_read: Some(cache_read), cache_write: None, output, reasoning: None }
    }

    /// 2026-08-16 16:00:00 UTC, when DeepSeek's V4-Pro changed its prices.
    const CHANGE: i64 = 1_786_896_000;

    fn pro() -> Tariff {
        let peak = |from, to| Hours {
            days: [true, true, true, true, true, false, false],
            from,
            to,
            except: vec![CHANGE.div_euclid(DAY) + 46],
            known_until: Some(CHANGE.div_euclid(DAY) + 137),
            prices: prices(1.32, 0.044, 3.96),
        };
        Tariff {
            id: "deepseek/deepseek-v4-pro".into(),
            periods: vec![
                Period { from: CHANGE - 30 * DAY, to: Some(CHANGE), prices: prices(0.435, 0.003_625, 0.87), hours: vec![] },
                Period {
                    from: CHANGE,
                    to: None,
                    prices: prices(0.66, 0.022, 1.98),
                    hours: vec![peak(3_600, 14_400), peak(21_600, 36_000)],
                },
            ],
        }
    }

    /// The golden cases of DeepSeek's prices: by the hour, by the weekday, and across a change.
    #[test]
    fn a_request_is_priced_at_its_own_moment() {
        let tariff = pro();
        let source = CountSource::Usage;
        let tokens = Tokens {
            input: Some(10_000),
            cache_read: Some(8_000),
            output: Some(1_000),
            input_source: source,
            output_source: source,
            ..Tokens::default()
        };
        // The change was on a Sunday; the Wednesday after it is three days on.
        let wednesday = CHANGE.div_euclid(DAY) * DAY + 3 * DAY;
        for (what, at, expect) in [
            ("Wednesday 12:00", wednesday + 12 * 3_600, 0.003_476),
            ("Wednesday 02:00", wednesday + 2 * 3_600, 0.006_952),
            ("Saturday 02:00", wednesday + 3 * DAY + 2 * 3_600, 0.003_476),
            ("15:59 before the change", CHANGE - 60, 0.001_769),
            ("16:00, the change", CHANGE, 0.003_476),
            ("the first second of a peak", wednesday + 3_600, 0.006_952),
            ("the first after it", wednesday + 14_400, 0.003_476),
            ("a holiday, Thursday 02:00", (CHANGE.div_euclid(DAY) + 46) * DAY + 7_200, 0.003_476),
        ] {
            let mut meter = Meter::new(&tariff);
            meter.add(at, &tokens, true, true);
            let usd = meter.usd().unwrap();
            assert!((usd - expect).abs() < 1e-12, "{what}: {usd} for {expect}");
        }
        let mut meter = Meter::new(&tariff);
        for at in [wednesday + 12 * 3_600, wednesday + 2 * 3_600, CHANGE - 60] {
            meter.add(at, &tokens, true, true);
        }
        assert!((meter.usd().unwrap() - (0.003_476 + 0.006_952 + 0.001_769)).abs() < 1e-12);
        assert_eq!((meter.bills().len(), meter.bill().requests), (3, 3));
    }

    #[test]
    fn a_moment_without_a_price_is_an_error() {
        let tariff = pro();
        let says = |at: i64| {
            let mut meter = Meter::new(&tariff);
            meter.add(at, &Tokens::default(), false, false);
            meter.usd().unwrap_err()
        };
        assert!(says(CHANGE - 31 * DAY).contains("nomoat prices show deepseek/deepseek-v4-pro"));
        let peak_next_year = (CHANGE.div_euclid(DAY) + 141) * DAY + 7_200;
        assert!(says(peak_next_year).contains("holidays are known"), "{}", says(peak_next_year));
    }

    #[test]
    fn weekdays() {
        // 1970-01-01 was a Thursday, 2026-11-28 a Saturday, 1969-12-28 a Sunday.
        for (day, expect) in [(0, 3), (20_785, 5), (-4, 6)] {
            assert_eq!(weekday(day), expect, "{day}");
        }
    }
}
