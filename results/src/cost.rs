//! What finished runs cost under prices of today: hardware of one's own, APIs, and the load at which the two meet.
//!
//! Everything here is computed from a run's summary (tokens of the window, answers, those that met the service level) and, for APIs, from the
//! token counts of its records, each at its own moment. Nothing is run again and nothing is guessed: what cannot be said is a reason.

use crate::date;
use crate::prices::{Api, Provenance, clock};
use crate::summary::{MetricWire, Summary};
use nomoat_core::cost::pool::{self, Band, Pool};
use nomoat_core::cost::tariff::{Meter, Tariff};
use nomoat_core::cost::{Bill, Classes, TokenPrices};
use nomoat_core::record::{Phase, RequestRecord};
use nomoat_core::stats::student_t;

/// What a run served, from its summary.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Served {
    /// Length of the window.
    pub seconds: f64,
    /// Output tokens that arrived in it.
    pub output: u64,
    /// Prompt tokens of requests whose first token arrived in it; `None` where the endpoint does not count them.
    pub input: Option<u64>,
    /// Output tokens that arrived in it, of requests that met the service level; `None` where there is none.
    pub good_output: Option<u64>,
    /// Output tokens of requests that met it, as an API bills them; `None` where there is none.
    pub good_billed: Option<u64>,
    /// Share of the intended requests that met it.
    pub attained: Option<f64>,
    /// Answered requests of the window, by due.
    pub answered: u64,
    /// Answers that ended in the window.
    pub ended: u64,
    /// Intended ones.
    pub measured: u64,
    /// Characters of output for each token of it; `None` where nobody handed over text.
    pub chars_per_token: Option<f64>,
}

impl Served {
    /// Reads it from a summary.
    ///
    /// # Errors
    /// The summary is of an older nomoat and lacks a number that this needs.
    pub fn of(summary: &Summary) -> Result<Self, String> {
        let whole = |row: &&MetricWire| row.scope.class.is_none() && row.scope.connection.is_none() && row.scope.endpoint.is_none();
        let row = |name: &str| {
            summary.metrics.iter().filter(whole).find(|row| row.name == name).ok_or_else(|| format!("its summary has no `{name}`"))
        };
        let counted = |name: &str| row(name).map(|row| row.value.map(|_| row.n));
        let good_output = counted("good_output_tput")?;
        let good_billed = summary.counts.good_tokens;
        if good_output.is_some() && good_billed.is_none() {
            return Err("its summary has no `good_tokens`".into());
        }
        Ok(Self {
            seconds: (summary.window.end_ns - summary.window.start_ns) as f64 / 1e9,
            output: row("output_tput")?.n,
            input: counted("input_tput")?,
            good_output,
            good_billed,
            attained: row("goodput_share")?.value,
            answered: summary.counts.ok,
            ended: row("request_rate")?.n,
            measured: summary.counts.measured,
            chars_per_token: row("chars_per_token")?.value,
        })
    }

    /// Prompt and output tokens of the window; `None` where prompts were not counted.
    pub fn total(&self) -> Option<u64> {
        Some(self.input? + self.output)
    }
}

/// A row of the price book as tables cite it: name, source, day, age, span.
pub fn said(id: &str, row: &Provenance, today: i64) -> String {
    let age = match row.age_days(today) {
        Some(days) => format!("read {} ({days} days ago)", date::date(row.retrieved)),
        None => format!("read {}, of the past", date::date(row.retrieved)),
    };
    let more: Vec<&str> = [row.converted.as_deref(), row.note.as_deref()].into_iter().flatten().collect();
    let more = if more.is_empty() { String::new() } else { format!("; {}", more.join("; ")) };
    format!("{id}: {}, {age}; holds {}{more}", row.source, row.span())
}

/// A sum of money by what came out of it.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Per {
    /// USD per million output tokens.
    pub output: Option<f64>,
    /// USD per million output tokens of requests that met the service level.
    pub good_output: Option<f64>,
    /// USD per million tokens, prompt and output.
    pub total: Option<f64>,
    /// USD per answer: hardware's by those that ended in the window, an API's by the answered requests.
    pub request: Option<f64>,
    /// USD per million characters of output.
    pub chars: Option<f64>,
}

/// Hardware at one price.
#[derive(Clone, PartialEq, Debug)]
pub struct Hosted {
    /// What the price is: an owner of the price book, or the user's own.
    pub name: String,
    /// The pools.
    pub pools: Vec<Pool>,
    /// Which rows of the price book, with source and age; empty for a price of the user's own.
    pub prices: Vec<String>,
    /// USD of the window, all pools.
    pub usd: Band,
}

impl Hosted {
    /// Pools at a price, for a run.
    pub fn new(name: String, pools: Vec<Pool>, prices: Vec<String>, served: &Served) -> Self {
        let usd = pool::usd(&pools, served.seconds);
        Self { name, pools, prices, usd }
    }

    /// Devices of all pools; what stands beside them is none.
    pub fn devices(&self) -> u64 {
        self.pools.iter().filter(|pool| pool.role != pool::BESIDE).map(|pool| u64::from(pool.devices)).sum()
    }

    /// USD per device-hour, the mean over all pools.
    pub fn usd_per_device_hour(&self) -> Band {
        let devices = self.devices().max(1) as f64;
        pool::usd_per_hour(&self.pools).map(|usd| usd / devices)
    }

    /// What a sum for the window is by what came out of it.
    pub fn per(usd: f64, served: &Served) -> Per {
        let output = pool::per_million(usd, served.output as f64);
        Per {
            output,
            good_output: served.good_output.and_then(|good| pool::per_million(usd, good as f64)),
            total: served.total().and_then(|total| pool::per_million(usd, total as f64)),
            // As with tokens: what the window paid for is what ended in it, so that a queue makes answers dearer and not cheaper.
            request: pool::per_million(usd, served.ended as f64).map(|usd| usd / 1e6),
            chars: output.zip(served.chars_per_token).map(|(usd, chars)| usd / chars),
        }
    }

    /// The whole bill by prompt tokens alone. Not to be added to the bill by output: each of them is the whole bill.
    pub fn full_bill_per_input(&self, served: &Served) -> Option<f64> {
        pool::per_million(self.usd.median, served.input? as f64)
    }

    /// What prompts and outputs cost per million where pools of their own serve them; the two sum to the bill.
    ///
    /// # Errors
    /// Why it cannot be told apart.
    pub fn attributed(&self, served: &Served) -> Result<(f64, f64), String> {
        let split = pool::attribute(&self.pools, served.seconds)?;
        let input = served.input.ok_or("not attributed: the endpoint does not count prompt tokens")?;
        pool::per_million(split.prefill, input as f64)
            .zip(pool::per_million(split.decode, served.output as f64))
            .ok_or_else(|| "not attributed: no token to charge".into())
    }
}

/// The tokens of a run under an API's prices.
#[derive(Clone, PartialEq, Debug)]
pub struct ApiCost {
    /// `provider/model`.
    pub id: String,
    /// What was billed.
    pub bill: Bill,
    /// USD of all measured requests, or why there is none.
    pub usd: Result<f64, String>,
    /// The same had nothing been found in a cache.
    pub usd_uncached: Result<f64, String>,
    /// USD of the prompts alone.
    pub usd_input: Result<f64, String>,
    /// Which rows of the price book, with source and age.
    pub prices: Vec<String>,
    /// USD per million of each class, the prices that were charged, for each rate in order of time: what it is, how many requests, prices.
    pub rates: Vec<(String, u64, String)>,
}

impl ApiCost {
    /// What a meter counted under an API's prices; `today` is a day since 1970.
    pub fn new(api: &Api, meter: &Meter<'_>, today: i64) -> Self {
        let mut prices = vec![];
        let mut rates = vec![];
        for ((period, hours), bill) in meter.bills() {
            let row = &api.rows[*period];
            let of = said(&api.tariff.id, row, today);
            if !prices.contains(&of) {
                prices.push(of);
            }
            let when = hours.map_or_else(
                || if api.tariff.periods[*period].hours.is_empty() { row.span() } else { format!("{}, outside all hours", row.span()) },
                |index| format!("{}, {}", row.span(), clock(&api.tariff.periods[*period].hours[index])),
            );
            let TokenPrices { input, cache_read, cache_write, output, reasoning } = *api.tariff.prices((*period, *hours));
            let classes = [
                ("input", Some(input)),
                ("cached", cache_read),
                ("written to a cache", cache_write),
                ("output", Some(output)),
                ("reasoning", reasoning),
            ];
            let words: Vec<String> = classes.into_iter().filter_map(|(class, price)| Some(format!("{class} {}", price?))).collect();
            rates.push((when, bill.requests, words.join(", ")));
        }
        Self {
            id: api.tariff.id.clone(),
            bill: meter.bill(),
            usd: meter.usd(),
            usd_uncached: meter.usd_without_cache_hits(),
            usd_input: meter.usd_of_prompts(),
            prices,
            rates,
        }
    }

    /// What a sum is by what came out of it; good output is of requests that met the service level in this run.
    pub fn per(&self, usd: f64, served: &Served) -> Per {
        let tokens = &self.bill.tokens;
        let output = pool::per_million(usd, tokens.output() as f64);
        Per {
            output,
            // By what was billed, as in a run's own summary: what did not meet the service level is paid for by what did.
            good_output: served.good_billed.and_then(|good| pool::per_million(usd, good as f64)),
            total: pool::per_million(usd, tokens.total() as f64),
            request: pool::per_million(usd, served.answered as f64).map(|usd| usd / 1e6),
            chars: output.zip(served.chars_per_token).map(|(usd, chars)| usd / chars),
        }
    }

    /// Share of the prompt tokens that came from a cache; `None` where a request does not say.
    pub fn cached_share(&self) -> Option<f64> {
        let Classes { cache_read, .. } = self.bill.tokens;
        let input = self.bill.tokens.input();
        (input > 0 && self.bill.cache_unknown == 0).then(|| cache_read as f64 / input as f64)
    }

    /// USD per million prompt tokens of all classes.
    pub fn effective_input(&self) -> Option<f64> {
        let usd = *self.usd_input.as_ref().ok()?;
        pool::per_million(usd, self.bill.tokens.input() as f64)
    }
}

/// Bills a run's records under several tariffs, in one pass.
pub struct Biller<'a> {
    meters: Vec<Meter<'a>>,
    anchor: Anchor,
}

/// The same moment on the run's clock and in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// On the run's clock, ns.
    pub mono_ns: i64,
    /// Since 1970, ns.
    pub unix_ns: i64,
}

impl Anchor {
    /// Seconds since 1970 of a moment on the run's clock.
    pub fn unix_s(&self, at_ns: i64) -> i64 {
        // In 128 bits, because a moment that somebody names may be far from any clock; then the last second of 64 bits is.
        let unix_ns = i128::from(at_ns) - i128::from(self.mono_ns) + i128::from(self.unix_ns);
        i64::try_from(unix_ns.div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
    }
}

impl<'a> Biller<'a> {
    /// Nothing is billed yet.
    pub fn new(tariffs: impl IntoIterator<Item = &'a Tariff>, anchor: Anchor) -> Self {
        Self { meters: tariffs.into_iter().map(Meter::new).collect(), anchor }
    }

    /// Bills a record; those outside the window are none of it. A request that failed or whose user went away is billed where its usage is
    /// known.
    pub fn add(&mut self, record: &RequestRecord) {
        if record.phase != Phase::Measure {
            return;
        }
        let at = self.anchor.unix_s(record.at.due.0);
        let answered = record.is_ok() && !record.is_left();
        for meter in &mut self.meters {
            meter.add(at, &record.tokens, record.at.sent.is_some(), answered);
        }
    }

    /// The meters, in the order of the tariffs.
    pub fn finish(self) -> Vec<Meter<'a>> {
        self.meters
    }
}

/// Hardware of one's own against an API, for one workload.
#[derive(Clone, PartialEq, Debug)]
pub struct BreakEven {
    /// The price of the hardware.
    pub hosted: String,
    /// The API.
    pub api: String,
    /// Tokens per second and device at which the two cost the same, at each utilisation asked for.
    pub at: Vec<(f64, f64)>,
    /// Tokens per second and device that were measured; `None` where prompts were not counted.
    pub measured: Option<f64>,
    /// The least utilisation at which hardware is cheaper; above 1 it never is.
    pub utilisation: Option<f64>,
    /// The same at both ends of the price's band.
    pub utilisation_band: Option<(f64, f64)>,
}

/// Where hardware and an API cost the same for a run's own workload.
///
/// # Errors
/// Why the API has no cost.
pub fn break_even(hosted: &Hosted, api: &ApiCost, served: &Served, utilisations: &[f64]) -> Result<BreakEven, String> {
    let usd = api.usd.clone()?;
    let per_mtok = pool::per_million(usd, api.bill.tokens.total() as f64).ok_or("no token was billed")?;
    let price = hosted.usd_per_device_hour();
    let measured = served.total().map(|total| total as f64 / served.seconds / hosted.devices().max(1) as f64);
    let measured = measured.filter(|rate| *rate > 0.0 && rate.is_finite());
    let needed = |price: f64| measured.map(|rate| pool::break_even(price, per_mtok, 1.0) / rate);
    Ok(BreakEven {
        hosted: hosted.name.clone(),
        api: api.id.clone(),
        at: utilisations.iter().map(|u| (*u, pool::break_even(price.median, per_mtok, *u))).collect(),
        measured,
        utilisation: needed(price.median),
        utilisation_band: price.is_wide().then(|| needed(price.low).zip(needed(price.high))).flatten(),
    })
}

/// One run with all that it costs.
#[derive(Clone, PartialEq, Debug)]
pub struct RunCost {
    /// The run.
    pub run_id: String,
    /// What was measured: model, engine, workload. Runs of one arm differ in load alone.
    pub arm: String,
    /// The load in words.
    pub load: String,
    /// What makes two runs repeats of each other.
    pub repeat_of: String,
    /// `VALID` or `INVALID`.
    pub state: String,
    /// When its first request was due and its last one, UTC seconds.
    pub span: (i64, i64),
    /// What it served.
    pub served: Served,
    /// Hardware, a price each.
    pub hosted: Vec<Hosted>,
    /// APIs.
    pub apis: Vec<ApiCost>,
}

/// The cheapest load of an arm that meets the service level, at one price.
#[derive(Clone, PartialEq, Debug)]
pub struct AtSlo {
    /// The arm.
    pub arm: String,
    /// The price.
    pub price: String,
    /// The best point: load, USD per million good output at the middle price, with the price's band, and with the interval over repeats.
    pub best: Option<Point>,
    /// Why each other point is none, or how much dearer it is.
    pub others: Vec<String>,
}

/// One load of a sweep.
#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    /// The load in words.
    pub load: String,
    /// USD per million good output tokens.
    pub usd: Band,
    /// 95 % interval over repeats, at the middle price; `None` for a single run.
    pub interval: Option<(f64, f64)>,
    /// Runs of this load.
    pub runs: usize,
}

/// Share of requests that must meet the service level for a load to count, unless the user says otherwise.
pub const ATTAINMENT: f64 = 0.9;

/// Cost at the service level: for each arm and price, the load with the cheapest good output among valid runs in which a share of
/// `attainment` of the requests met it. Nothing is interpolated between loads.
pub fn at_slo(runs: &[RunCost], attainment: f64) -> Vec<AtSlo> {
    let mut arms: Vec<&str> = vec![];
    runs.iter().for_each(|run| {
        if !arms.contains(&run.arm.as_str()) {
            arms.push(&run.arm);
        }
    });
    let mut found = vec![];
    for arm in arms {
        let of: Vec<&RunCost> = runs.iter().filter(|run| run.arm == arm).collect();
        let mut prices: Vec<&str> = vec![];
        for hosted in of.iter().flat_map(|run| &run.hosted) {
            if !prices.contains(&hosted.name.as_str()) {
                prices.push(&hosted.name);
            }
        }
        found.extend(prices.into_iter().map(|price| sweep(arm, &of, price, attainment)));
    }
    found
}

fn sweep(arm: &str, runs: &[&RunCost], price: &str, attainment: f64) -> AtSlo {
    let mut loads: Vec<(&str, Vec<&RunCost>)> = vec![];
    let mut others = vec![];
    for run in runs {
        // Runs on other hardware are no repeats at this price.
        if run.hosted.iter().all(|hosted| hosted.name != price) {
            others.push(format!("{}: run {} is not priced so", run.load, run.run_id));
            continue;
        }
        match loads.iter_mut().find(|(key, _)| *key == run.repeat_of) {
            Some((_, of)) => of.push(run),
            None => loads.push((&run.repeat_of, vec![run])),
        }
    }
    let mut points: Vec<Point> = vec![];
    for (_, repeats) in loads {
        let load = repeats[0].load.clone();
        match point(&load, &repeats, price, attainment) {
            Ok(point) => points.push(point),
            Err(why) => others.push(format!("{load}: {why}")),
        }
    }
    points.sort_by(|a, b| a.usd.median.total_cmp(&b.usd.median));
    let mut points = points.into_iter();
    let best = points.next();
    if let Some(best) = &best {
        others.extend(points.map(|point| format!("{}: {:.2} times as dear", point.load, point.usd.median / best.usd.median)));
    }
    AtSlo { arm: arm.to_owned(), price: price.to_owned(), best, others }
}

fn point(load: &str, repeats: &[&RunCost], price: &str, attainment: f64) -> Result<Point, String> {
    let mut bands = vec![];
    for run in repeats {
        if run.state != "VALID" {
            return Err(format!("run {} is {}", run.run_id, run.state));
        }
        let good = run.served.good_output.ok_or("no service level: give --slo ttft=…,tpot=…")?;
        let attained = run.served.attained.unwrap_or(0.0);
        if attained < attainment {
            return Err(format!("{:.1} % of the requests met it, {:.0} % are asked for", attained * 100.0, attainment * 100.0));
        }
        if good == 0 {
            return Err("no token of a request that met it arrived in the window".into());
        }
        let hosted =
            run.hosted.iter().find(|hosted| hosted.name == price).ok_or_else(|| format!("run {} has no such price", run.run_id))?;
        bands.push(hosted.usd.map(|usd| usd / good as f64 * 1e6));
    }
    // Costs are ratios: their mean is the geometric one, over runs and never over requests of one run.
    let n = bands.len() as f64;
    let mean = |of: fn(&Band) -> f64| (bands.iter().map(|band| of(band).ln()).sum::<f64>() / n).exp();
    let usd = Band { low: mean(|b| b.low), median: mean(|b| b.median), high: mean(|b| b.high) };
    let interval = (bands.len() > 1).then(|| {
        let variance = bands.iter().map(|band| (band.median / usd.median).ln().powi(2)).sum::<f64>() / (n - 1.0);
        let half = student_t(0.95, n - 1.0) * (variance / n).sqrt();
        (usd.median * (-half).exp(), usd.median * half.exp())
    });
    Ok(Point { load: load.to_owned(), usd, interval, runs: repeats.len() })
}

#[cfg(test)]
mod tests;
