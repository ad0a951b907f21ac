//! What hardware costs by the hour, and from which load on it is cheaper than an API.
//!
//! Whole pools are paid for, prefill and decode alike, busy or idle. A price is a band, because one device costs different buyers different
//! sums; the band and the interval of a throughput are two intervals and are never made one.

/// A price as a band, USD.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Band {
    /// The least that it costs anybody asked.
    pub low: f64,
    /// In the middle.
    pub median: f64,
    /// The most.
    pub high: f64,
}

impl Band {
    /// A single price.
    pub const fn of(usd: f64) -> Self {
        Self { low: usd, median: usd, high: usd }
    }

    /// Each of its prices, changed.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { low: f(self.low), median: f(self.median), high: f(self.high) }
    }

    /// Whether it has a width.
    pub fn is_wide(&self) -> bool {
        self.low < self.high
    }
}

impl std::ops::Add for Band {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { low: self.low + other.low, median: self.median + other.median, high: self.high + other.high }
    }
}

/// The role of what stands beside the devices and is paid for all the same: routers, frontends. It is no device that tokens are counted by.
pub const BESIDE: &str = "beside";

/// Devices of one kind that do one thing.
#[derive(Clone, PartialEq, Debug)]
pub struct Pool {
    /// What it does: `prefill`, `decode`, `router`; empty where one pool does everything.
    pub role: String,
    /// Devices in it.
    pub devices: u32,
    /// USD for an hour of one of them.
    pub usd_per_device_hour: Band,
}

impl Pool {
    /// USD for an hour of the whole pool.
    pub fn usd_per_hour(&self) -> Band {
        self.usd_per_device_hour.map(|usd| usd * f64::from(self.devices))
    }
}

/// USD for an hour of all pools.
pub fn usd_per_hour(pools: &[Pool]) -> Band {
    pools.iter().map(Pool::usd_per_hour).fold(Band::of(0.0), |a, b| a + b)
}

/// USD of all pools for a window: Σ devices × USD per device-hour × seconds ÷ 3600.
pub fn usd(pools: &[Pool], seconds: f64) -> Band {
    usd_per_hour(pools).map(|usd| usd * seconds / 3600.0)
}

/// USD per million of something of which `count` came out of the bill; `None` where none did.
pub fn per_million(usd: f64, count: f64) -> Option<f64> {
    (count > 0.0).then(|| usd / count * 1e6)
}

/// Cost at a fleet's utilisation: C ÷ U. A benchmark keeps hardware busy, a fleet does not, and an API charges for tokens alone.
pub fn at_utilisation(usd: f64, utilisation: f64) -> f64 {
    usd / utilisation
}

/// Break-even: all tokens per second and device at which hardware costs what an API takes for the same workload,
/// θ* = (USD per device-hour ÷ USD per million tokens of the API) × 10⁶ ÷ 3600 ÷ U.
pub fn break_even(usd_per_device_hour: f64, api_usd_per_mtok: f64, utilisation: f64) -> f64 {
    usd_per_device_hour / api_usd_per_mtok * 1e6 / 3600.0 / utilisation
}

/// What starting cold adds to each token: seconds of a switch × USD per hour ÷ 3600 ÷ tokens served between two switches.
pub fn cold_start(switch_seconds: f64, usd_per_hour: f64, tokens_between: f64) -> f64 {
    switch_seconds * usd_per_hour / 3600.0 / tokens_between
}

/// A bill split over the phases that pools of their own serve. The parts sum to the bill.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Attributed {
    /// USD of prefill.
    pub prefill: f64,
    /// USD of decoding.
    pub decode: f64,
}

/// Splits a bill by what its pools do: prefill pools are charged to the prompt, decode pools to the output, and what serves both (routers)
/// in proportion to these.
///
/// # Errors
/// Why it cannot be told apart: one pool serves both.
pub fn attribute(pools: &[Pool], seconds: f64) -> Result<Attributed, &'static str> {
    let of = |role: &str| pools.iter().filter(|pool| pool.role == role).map(|pool| pool.usd_per_hour().median).sum::<f64>();
    let (prefill, decode) = (of("prefill"), of("decode"));
    if prefill <= 0.0 || decode <= 0.0 {
        return Err("not attributed: no pools of their own for prefill and decode, so the split would be a guess");
    }
    let total = usd(pools, seconds).median;
    let share = prefill / (prefill + decode);
    let prefill = total * share;
    Ok(Attributed { prefill, decode: total - prefill })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(role: &str, devices: u32, usd: f64) -> Pool {
        Pool { role: role.into(), devices, usd_per_device_hour: Band::of(usd) }
    }

    fn near(value: f64, expect: f64, what: &str) {
        assert!((value - expect).abs() <= 5e-6 * expect.abs().max(1.0), "{what}: {value} for {expect}");
    }

    /// Golden: 8 H200 at 1.60 USD for 600 s; 2.4 million tokens out, 19.2 million in.
    #[test]
    fn a_pool_is_paid_for_by_time() {
        let usd = usd(&[pool("", 8, 1.6)], 600.0).median;
        near(usd, 2.133_33, "total");
        near(per_million(usd, 2.4e6).unwrap(), 0.888_89, "output");
        near(per_million(usd, 21.6e6).unwrap(), 0.098_77, "all tokens");
        near(per_million(usd, 19.2e6).unwrap(), 0.111_11, "full bill by input");
        assert_eq!(per_million(usd, 0.0), None);
    }

    #[test]
    fn break_even_with_an_api() {
        // Blended at three to one: gpt-oss-120b at Groq 0.2625 and at Cerebras 0.45 USD per million.
        for (api, utilisation, expect) in [(0.2625, 1.0, 1_693.0), (0.2625, 0.3, 5_644.0), (0.45, 1.0, 988.0), (0.45, 0.3, 3_292.0)] {
            let found = break_even(1.6, api, utilisation);
            assert!((found - expect).abs() < 1.0, "{found} for {expect}");
        }
        // At break-even the two cost the same, by definition.
        let per_mtok = at_utilisation(1.6 / 3600.0 / break_even(1.6, 0.45, 0.3) * 1e6, 0.3);
        near(per_mtok, 0.45, "the cost at break-even");
    }

    #[test]
    fn bands_and_switches() {
        let band = usd_per_hour(&[
            Pool { usd_per_device_hour: Band { low: 2.0, median: 2.95, high: 5.0 }, ..pool("decode", 4, 0.0) },
            pool("router", 1, 0.5),
        ]);
        assert_eq!((band.low, band.median, band.high, band.is_wide()), (8.5, 12.3, 20.5, true));
        near(cold_start(30.0, 12.8, 1e6) * 1e6, 0.106_667, "thirty seconds of eight devices for each million tokens");
    }

    #[test]
    fn a_split_sums_to_the_bill() {
        let pools = [pool("prefill", 4, 1.6), pool("decode", 8, 2.9), pool("router", 2, 0.4)];
        let split = attribute(&pools, 600.0).unwrap();
        near(split.prefill + split.decode, usd(&pools, 600.0).median, "sum");
        near(split.prefill / split.decode, 6.4 / 23.2, "share");
        assert!(attribute(&[pool("", 8, 1.6)], 600.0).unwrap_err().contains("not attributed"));
    }
}
