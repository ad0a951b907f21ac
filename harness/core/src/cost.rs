//! Money only. What a run cost under a price the user gave; no price is built in and none is assumed.
//!
//! A pool is paid for by the hour whether it is busy or not; an API is paid for by the token. Sums are of whole tokens, so that
//! the result does not depend on the order of requests. Energy, utilisation and break-even are not here.

use crate::record::{CountSource, Tokens};

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

/// What to give when there is no price.
pub const NO_PRICE: &str = "no price: give --usd-per-hour (whole pool) or --price in=…,out=…";

/// Tokens that an API bills, in disjoint classes. Prompt counts include cached tokens, as OpenAI's do, so uncached input is
/// the difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bill {
    /// Prompt tokens read at full price.
    pub uncached: u64,
    /// Prompt tokens read from a cache.
    pub cached: u64,
    /// Generated tokens, reasoning included.
    pub output: u64,
    /// Requests billed.
    pub requests: u64,
    /// Answered requests whose usage nobody reported.
    pub unknown: u64,
    /// Failed requests that were sent and whose usage nobody reported: what they cost, if anything, is not in the bill.
    pub failed_unknown: u64,
    /// Billed requests that do not say how much of their prompt was cached.
    pub cache_unknown: u64,
    /// Prompt tokens written to a billed cache.
    pub cache_written: u64,
}

/// Whether somebody counted, rather than guessed or asked.
pub(crate) fn counted(source: CountSource) -> bool {
    matches!(source, CountSource::Usage | CountSource::PerChunk | CountSource::Engine | CountSource::Tokenizer)
}

impl Bill {
    /// Adds a measured request. A failed request counts when its usage is known, because it is billed; an answered one must
    /// have a known usage, or the bill is incomplete and says so.
    pub fn add(&mut self, tokens: &Tokens, sent: bool, answered: bool) {
        let (true, true, Some(input), Some(output)) =
            (counted(tokens.input_source), counted(tokens.output_source), tokens.input, tokens.output)
        else {
            self.unknown += u64::from(answered);
            self.failed_unknown += u64::from(sent && !answered);
            return;
        };
        let cached = tokens.cache_read.unwrap_or(0).min(input);
        self.requests += 1;
        self.uncached += u64::from(input - cached);
        self.cached += u64::from(cached);
        self.output += u64::from(output);
        self.cache_unknown += u64::from(tokens.cache_read.is_none());
        self.cache_written += u64::from(tokens.cache_write.unwrap_or(0));
    }

    /// All tokens of all classes.
    pub fn total(&self) -> u64 {
        self.uncached + self.cached + self.output
    }
}

impl Pricing {
    /// USD of a run: a pool costs its hourly price for the length of the window; an API costs the billed tokens of each class.
    ///
    /// # Errors
    /// Why it is unknown and which flag would tell.
    pub fn usd(&self, window_seconds: f64, bill: &Bill) -> Result<f64, String> {
        match *self {
            Self::Pool { usd_per_hour } => Ok(usd_per_hour * window_seconds / 3600.0),
            Self::PerToken { input, cached, output } => {
                let cached = match cached {
                    _ if bill.unknown > 0 => return Err(format!("{} answered requests report no usage to bill", bill.unknown)),
                    _ if bill.cache_written > 0 => {
                        return Err(format!(
                            "{} prompt tokens were written to a billed cache, which --price does not cover",
                            bill.cache_written
                        ));
                    }
                    None if bill.cached > 0 => {
                        return Err(format!(
                            "{} prompt tokens came from a cache: give their price, --price in=…,cached=…,out=…",
                            bill.cached
                        ));
                    }
                    Some(cached) if cached != input && bill.cache_unknown > 0 => {
                        return Err(format!(
                            "{} requests do not report cached tokens; without cached= in --price the whole prompt counts as input",
                            bill.cache_unknown
                        ));
                    }
                    cached => cached.unwrap_or(input),
                };
                Ok((bill.uncached as f64 * input + bill.cached as f64 * cached + bill.output as f64 * output) / 1e6)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u32, cache_read: Option<u32>, output: u32) -> Tokens {
        let source = CountSource::Usage;
        Tokens { input: Some(input), cache_read, output: Some(output), input_source: source, output_source: source, ..Tokens::default() }
    }

    #[test]
    fn a_pool_is_paid_for_by_time() {
        // 8 accelerators at 1.60 USD per hour for 600 s.
        let usd = Pricing::Pool { usd_per_hour: 12.8 }.usd(600.0, &Bill::default()).expect("a pool needs no usage");
        assert!((usd - 2.133_333_333).abs() < 1e-8);
    }

    #[test]
    fn an_api_is_paid_for_by_the_token() {
        let check = |cached_price, tokens: &[(Tokens, bool)], expect: Result<f64, &str>| {
            let mut bill = Bill::default();
            tokens.iter().for_each(|(t, ok)| bill.add(t, true, *ok));
            match (Pricing::PerToken { input: 0.66, cached: cached_price, output: 1.98 }.usd(0.0, &bill), expect) {
                (Ok(usd), Ok(expect)) => assert!((usd - expect).abs() < 1e-12, "{usd} for {expect}"),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (found, expect) => panic!("{found:?} for {expect:?}"),
            }
        };
        let cached = tokens(10_000, Some(8_000), 1_000);
        check(Some(0.022), &[(cached, true)], Ok(0.003_476));
        check(Some(0.022), &[(cached, true), (cached, false)], Ok(0.006_952)); // failed, but billed
        check(None, &[(cached, true)], Err("cached=…"));
        check(None, &[(tokens(10_000, Some(0), 1_000), true)], Ok(0.008_58));
        check(None, &[(tokens(10_000, None, 1_000), true)], Ok(0.008_58));
        check(Some(0.022), &[(tokens(10_000, None, 1_000), true)], Err("do not report cached tokens"));
        check(Some(0.66), &[(tokens(10_000, None, 1_000), true)], Ok(0.008_58)); // the same price: nothing to know
        check(None, &[(Tokens { cache_write: Some(5), ..tokens(10, None, 1) }, true)], Err("written to a billed cache"));
        check(None, &[(Tokens::default(), true)], Err("1 answered requests report no usage"));
        check(None, &[(Tokens::default(), false)], Ok(0.0));
        check(None, &[(Tokens { output_source: CountSource::Chunks, ..tokens(10, None, 1) }, true)], Err("no usage"));
    }
}
