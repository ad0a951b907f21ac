//! `--budget-usd`: a paid run ends when its answers have cost what it may cost.
//!
//! Counted answer by answer as they end, in every phase of every run of the command. What is in flight when the budget is spent is given
//! up and may be billed still: the bound is the budget and one answer per request in flight.

use crate::exit::Failure;
use nomoat_core::cost::{Classes, Pricing, TokenPrices};
use nomoat_core::record::{RequestRecord, Tokens};
use nomoat_drive::StopHandle;

/// What a command may still spend.
pub struct Budget {
    usd: f64,
    prices: TokenPrices,
    spent: f64,
    stop: StopHandle,
}

impl Budget {
    /// The budget of `--budget-usd`, if there is one.
    ///
    /// # Errors
    /// It is no amount, or there is no price per token to count by.
    pub fn new(usd: Option<f64>, pricing: Option<Pricing>, stop: StopHandle) -> Result<Option<Self>, Failure> {
        let Some(usd) = usd else { return Ok(None) };
        if !(usd.is_finite() && usd > 0.0) {
            return Err(Failure::usage(format!("--budget-usd must be a positive amount in USD, not {usd}")));
        }
        let Some(Pricing::PerToken(prices)) = pricing else {
            return Err(Failure::usage("--budget-usd counts what answers cost: give --price in=…,out=… beside it"));
        };
        Ok(Some(Self { usd, prices, spent: 0.0, stop }))
    }

    /// Counts an answer, and stops the run once the budget is spent. What nobody counted counts as it was asked for.
    pub fn count(&mut self, record: &RequestRecord) {
        if record.at.sent.is_none() {
            return;
        }
        let tokens = &record.tokens;
        let answered = record.at.first_token.is_some();
        let asked = |wanted: u32| Some(if answered { wanted } else { 0 });
        let counts =
            Tokens { input: tokens.input.or(asked(tokens.wanted_input)), output: tokens.output.or(asked(tokens.wanted)), ..*tokens };
        let was_spent = self.is_spent();
        self.spent += self.most(&Classes::of(&counts));
        if self.is_spent() && !was_spent {
            eprintln!(
                "nomoat: answers have cost {:.6} of --budget-usd {}: the run ends here, what was measured is kept",
                self.spent, self.usd
            );
            self.stop.stop();
        }
    }

    /// USD of tokens; a class without a price counts as the whole it is a part of, because a budget must not be passed by what is not known.
    fn most(&self, tokens: &Classes) -> f64 {
        let TokenPrices { input, cache_read, cache_write, output, reasoning } = self.prices;
        let parts = [
            (tokens.uncached, input),
            (tokens.cache_read, cache_read.unwrap_or(input)),
            (tokens.cache_write, cache_write.unwrap_or(input)),
            (tokens.visible, output),
            (tokens.reasoning, reasoning.unwrap_or(output)),
        ];
        parts.into_iter().map(|(tokens, price)| tokens as f64 * price).sum::<f64>() / 1e6
    }

    /// Whether it is spent.
    pub fn is_spent(&self) -> bool {
        self.spent >= self.usd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::record::Moments;
    use nomoat_core::units::Nanos;
    use nomoat_drive::StopHandle;

    const PRICE: Option<Pricing> =
        Some(Pricing::PerToken(TokenPrices { input: 1.0, cache_read: Some(0.5), cache_write: None, output: 4.0, reasoning: None }));

    fn record(input: Option<u32>, cached: Option<u32>, output: Option<u32>, answered: bool) -> RequestRecord {
        let moment = |there: bool| there.then_some(Nanos(1));
        RequestRecord {
            at: Moments { sent: moment(true), first_token: moment(answered), ..Moments::default() },
            tokens: Tokens { input, cache_read: cached, output, wanted: 10, wanted_input: 100, ..Tokens::default() },
            ..RequestRecord::default()
        }
    }

    #[test]
    fn answers_are_counted_until_it_is_spent() {
        let check = |record: RequestRecord, usd: f64| {
            let (handle, _stop) = StopHandle::new();
            let mut budget = Budget::new(Some(1.0), PRICE, handle).unwrap().unwrap();
            budget.count(&record);
            assert!((budget.spent - usd).abs() < 1e-12, "{} is not {usd}", budget.spent);
        };
        check(record(Some(1000), Some(400), Some(50), true), (600.0 + 200.0 + 200.0) / 1e6);
        check(record(None, None, None, true), (100.0 + 40.0) / 1e6);
        check(record(None, None, None, false), 0.0);
        let unsent = RequestRecord { at: Moments::default(), ..record(Some(1), None, Some(1), true) };
        check(unsent, 0.0);

        let (handle, stop) = StopHandle::new();
        let mut budget = Budget::new(Some(0.002), PRICE, handle).unwrap().unwrap();
        budget.count(&record(Some(1000), None, Some(0), true));
        assert!(!stop.asked() && !budget.is_spent());
        budget.count(&record(Some(1000), None, Some(0), true));
        assert!(stop.asked() && budget.is_spent());
    }

    #[test]
    fn a_budget_needs_an_amount_and_a_price_per_token() {
        let make = |usd, pricing| Budget::new(usd, pricing, StopHandle::new().0);
        assert!(make(None, None).unwrap().is_none());
        for (usd, pricing, says) in [
            (0.0, PRICE, "positive"),
            (f64::NAN, PRICE, "positive"),
            (1.0, None, "--price"),
            (1.0, Some(Pricing::Pool { usd_per_hour: 1.0 }), "--price"),
        ] {
            let Err(failure) = make(Some(usd), pricing) else { panic!("{usd} was taken") };
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }
}
