//! Money only: what a run cost, and what the same tokens cost elsewhere. No price is built in here and none is assumed.
//!
//! A pool is paid for by the hour whether it is busy or not ([`pool`]); an API is paid for by the token, in classes that exclude each other
//! ([`Bill`]) and at the price of the request's own moment ([`tariff`]). Sums are of whole tokens, so that the result does not depend on the
//! order of requests.

mod bill;
pub mod pool;
pub mod tariff;

pub use bill::{Bill, Classes, TokenPrices};

pub(crate) use bill::counted;

/// What the user told about money.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pricing {
    /// USD per hour of the whole pool behind the endpoint, idle parts included.
    Pool {
        /// USD per hour.
        usd_per_hour: f64,
    },
    /// USD per million tokens of each class.
    PerToken(TokenPrices),
}

/// USD that an hour or a million tokens may cost. What is outside is a slip of a unit, and its sums would be no numbers.
pub const AMOUNTS: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// What to give when there is no price.
pub const NO_PRICE: &str = "no price: give --usd-per-hour (whole pool) or --price in=…,out=…, or price the run afterwards: nomoat cost RUN";

impl Pricing {
    /// USD of a run: a pool costs its hourly price for the length of the window; an API costs the billed tokens of each class.
    ///
    /// # Errors
    /// Why it is unknown and which flag would tell.
    pub fn usd(&self, window_seconds: f64, bill: &Bill) -> Result<f64, String> {
        match self {
            Self::Pool { usd_per_hour } => Ok(usd_per_hour * window_seconds / 3600.0),
            Self::PerToken(prices) => prices.usd(bill).map_err(|why| {
                format!("{why}: --price in=…,cached=…,write=…,out=…,reasoning=… names classes; one left out costs what its whole does where nothing tells them apart")
            }),
        }
    }
}
