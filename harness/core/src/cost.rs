//! Money only. What a run cost under a price the user gave; no price is built in and none is assumed.

/// What the user told about money.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pricing {
    /// USD per hour of the whole pool behind the endpoint, idle parts included.
    Pool {
        /// USD per hour.
        usd_per_hour: f64,
    },
    /// USD per million tokens of each class.
    PerToken {
        /// Uncached input.
        input: f64,
        /// Cached input; `None` when not told, which makes the cost unknown if there is any and `input` does not apply.
        cached: Option<f64>,
        /// Output, reasoning included.
        output: f64,
    },
}
