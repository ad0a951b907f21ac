//! What a hosted endpoint allows, and whether a plan fits into it.

use crate::units::Nanos;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuotaOf {
    /// Requests.
    Requests,
    /// Tokens of prompts and answers.
    Tokens,
    /// Tokens of prompts.
    InputTokens,
    /// Tokens of answers.
    OutputTokens,
}

impl QuotaOf {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        ["requests", "tokens", "prompt tokens", "answer tokens"][self as usize]
    }
}

/// So much in so long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quota {
    /// What is counted.
    pub of: QuotaOf,
    /// In how many seconds.
    pub per_s: u32,
    /// How much is allowed.
    pub limit: u64,
    /// Where the endpoint says so.
    pub source: String,
}

/// What a plan asks for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Demand {
    /// Requests in all.
    pub requests: u64,
    /// Prompt tokens in all.
    pub input_tokens: u64,
    /// Answer tokens in all.
    pub output_tokens: u64,
    /// From the first due to the last.
    pub lasts: Nanos,
}

impl Quota {
    /// How much of it `demand` takes in the time it is about, at the plan's own rate: a plan that is shorter takes all it has.
    pub fn taken(&self, demand: &Demand) -> f64 {
        let all = match self.of {
            QuotaOf::Requests => demand.requests,
            QuotaOf::Tokens => demand.input_tokens + demand.output_tokens,
            QuotaOf::InputTokens => demand.input_tokens,
            QuotaOf::OutputTokens => demand.output_tokens,
        };
        let share = f64::from(self.per_s) / demand.lasts.as_secs_f64();
        if share.is_finite() && share < 1.0 { all as f64 * share } else { all as f64 }
    }

    /// Why `demand` does not fit; `None` if it does.
    pub fn refusal(&self, demand: &Demand) -> Option<String> {
        let taken = self.taken(demand);
        (taken > self.limit as f64).then(|| {
            format!(
                "the endpoint allows {} {} in {} s ({}), and this plan asks for {taken:.0}",
                self.limit,
                self.of.name(),
                self.per_s,
                self.source
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_fits_or_is_told_by_how_much_not() {
        let demand = Demand { requests: 600, input_tokens: 60_000, output_tokens: 6_000, lasts: Nanos::from_secs(120) };
        let check = |of, per_s, limit, fits: bool, says: &str| {
            let quota = Quota { of, per_s, limit, source: "x-limit".into() };
            let refusal = quota.refusal(&demand);
            assert_eq!(refusal.is_none(), fits, "{quota:?}: {refusal:?}");
            assert!(refusal.unwrap_or_default().contains(says), "{quota:?}");
        };
        check(QuotaOf::Requests, 60, 300, true, "");
        check(QuotaOf::Requests, 60, 299, false, "299 requests in 60 s (x-limit), and this plan asks for 300");
        check(QuotaOf::Requests, 86_400, 600, true, "");
        check(QuotaOf::Requests, 86_400, 599, false, "asks for 600");
        check(QuotaOf::Tokens, 60, 33_000, true, "");
        check(QuotaOf::Tokens, 60, 32_999, false, "33000");
        check(QuotaOf::InputTokens, 60, 30_000, true, "");
        check(QuotaOf::OutputTokens, 60, 2_999, false, "answer tokens");
        // All at once.
        let burst = Demand { lasts: Nanos::ZERO, ..demand };
        assert!((Quota { of: QuotaOf::Requests, per_s: 60, limit: 1, source: String::new() }.taken(&burst) - 600.0).abs() < 1e-9);
    }
}
