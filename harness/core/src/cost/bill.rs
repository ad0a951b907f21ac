//! Tokens as bills have them: classes that exclude each other, whatever a provider includes in which number.

use crate::record::{CountSource, Tokens};

/// Tokens in classes that exclude each other.
///
/// A record's prompt count includes what was read from a cache and what was written to a billed one (dialects that exclude them are added
/// up where they are decoded), so the rest is the uncached input; its output includes reasoning, so the rest is visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Classes {
    /// Prompt tokens at the full price.
    pub uncached: u64,
    /// Prompt tokens read from a cache.
    pub cache_read: u64,
    /// Prompt tokens written to a billed cache.
    pub cache_write: u64,
    /// Generated tokens that are not reasoning.
    pub visible: u64,
    /// Reasoning.
    pub reasoning: u64,
}

impl Classes {
    /// The classes of one request; what nobody told apart is uncached and visible. Parts that are more than their whole are cut to it.
    pub fn of(tokens: &Tokens) -> Self {
        let known = |count: Option<u32>| u64::from(count.unwrap_or(0));
        let (input, output) = (known(tokens.input), known(tokens.output));
        let cache_read = known(tokens.cache_read).min(input);
        let cache_write = known(tokens.cache_write).min(input - cache_read);
        let reasoning = known(tokens.reasoning).min(output);
        Self { uncached: input - cache_read - cache_write, cache_read, cache_write, visible: output - reasoning, reasoning }
    }

    /// Prompt tokens of all classes.
    pub fn input(&self) -> u64 {
        self.uncached + self.cache_read + self.cache_write
    }

    /// Generated tokens of both classes.
    pub fn output(&self) -> u64 {
        self.visible + self.reasoning
    }

    /// All tokens.
    pub fn total(&self) -> u64 {
        self.input() + self.output()
    }

    /// The same tokens as if nothing had been found in a cache.
    #[must_use]
    pub fn without_cache_hits(&self) -> Self {
        Self { uncached: self.uncached + self.cache_read, cache_read: 0, ..*self }
    }
}

impl std::ops::AddAssign for Classes {
    fn add_assign(&mut self, other: Self) {
        self.uncached += other.uncached;
        self.cache_read += other.cache_read;
        self.cache_write += other.cache_write;
        self.visible += other.visible;
        self.reasoning += other.reasoning;
    }
}

/// Tokens that an API bills, and what is not known of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bill {
    /// Tokens of billed requests.
    pub tokens: Classes,
    /// Requests billed.
    pub requests: u64,
    /// Answered requests whose usage nobody reported.
    pub unknown: u64,
    /// Failed requests that were sent and whose usage nobody reported: what they cost, if anything, is not in the bill.
    pub failed_unknown: u64,
    /// Billed requests that do not say how much of their prompt was cached.
    pub cache_unknown: u64,
    /// Billed requests that do not say how much of their prompt was written to a billed cache.
    pub write_unknown: u64,
    /// Billed requests that do not say how much of their output was reasoning.
    pub reasoning_unknown: u64,
}

/// Whether somebody counted, rather than guessed or asked.
pub(crate) fn counted(source: CountSource) -> bool {
    matches!(source, CountSource::Usage | CountSource::PerChunk | CountSource::Engine | CountSource::Tokenizer)
}

impl Bill {
    /// Adds a measured request. A failed request counts when its usage is known, because it is billed; an answered one must
    /// have a known usage, or the bill is incomplete and says so. Gives whether the request is in the bill.
    pub fn add(&mut self, tokens: &Tokens, sent: bool, answered: bool) -> bool {
        let known = counted(tokens.input_source) && counted(tokens.output_source) && tokens.input.is_some() && tokens.output.is_some();
        if !known {
            self.unknown += u64::from(answered);
            self.failed_unknown += u64::from(sent && !answered);
            return false;
        }
        self.tokens += Classes::of(tokens);
        self.requests += 1;
        self.cache_unknown += u64::from(tokens.cache_read.is_none());
        self.write_unknown += u64::from(tokens.cache_write.is_none());
        self.reasoning_unknown += u64::from(tokens.reasoning.is_none());
        true
    }

    /// Adds another bill.
    pub fn merge(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.requests += other.requests;
        self.unknown += other.unknown;
        self.failed_unknown += other.failed_unknown;
        self.cache_unknown += other.cache_unknown;
        self.write_unknown += other.write_unknown;
        self.reasoning_unknown += other.reasoning_unknown;
    }

    /// The prompts of the same requests.
    #[must_use]
    pub fn prompts(&self) -> Self {
        Self { tokens: Classes { visible: 0, reasoning: 0, ..self.tokens }, reasoning_unknown: 0, ..*self }
    }

    /// The same bill as if there had been no cache: nothing found in one, and what nobody tells of, not written to one either.
    #[must_use]
    pub fn without_cache_hits(&self) -> Self {
        Self { tokens: self.tokens.without_cache_hits(), cache_unknown: 0, write_unknown: 0, ..*self }
    }
}

/// USD per million tokens of each class.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TokenPrices {
    /// Uncached input.
    pub input: f64,
    /// Input read from a cache; `None` where nobody says, which makes the cost unknown if there is any.
    pub cache_read: Option<f64>,
    /// Input written to a billed cache; `None` where nobody says.
    pub cache_write: Option<f64>,
    /// Output.
    pub output: f64,
    /// Reasoning; `None` where it costs what output does.
    pub reasoning: Option<f64>,
}

impl TokenPrices {
    /// USD of a bill.
    ///
    /// # Errors
    /// Which class has tokens and no price, or cannot be told apart though its price differs.
    pub fn usd(&self, bill: &Bill) -> Result<f64, String> {
        let tokens = &bill.tokens;
        if bill.unknown > 0 {
            return Err(format!("{} answered requests report no usage to bill", bill.unknown));
        }
        let cache_read = match self.cache_read {
            None if tokens.cache_read > 0 => {
                return Err(format!("{} prompt tokens came from a cache, whose price is not known", tokens.cache_read));
            }
            Some(price) if price != self.input && bill.cache_unknown > 0 => {
                return Err(format!("{} requests do not report cached tokens, whose price differs", bill.cache_unknown));
            }
            price => price.unwrap_or(self.input),
        };
        let cache_write = match self.cache_write {
            None if tokens.cache_write > 0 => {
                return Err(format!("{} prompt tokens were written to a billed cache, whose price is not known", tokens.cache_write));
            }
            // Where nothing was read from a cache it is taken that nobody paid for writing to one.
            Some(price) if price != self.input && bill.write_unknown > 0 && tokens.cache_read > 0 => {
                return Err(format!("{} requests do not report tokens written to a cache, whose price differs", bill.write_unknown));
            }
            price => price.unwrap_or(self.input),
        };
        let reasoning = match self.reasoning {
            Some(price) if price != self.output && bill.reasoning_unknown > 0 => {
                return Err(format!(
                    "{} requests do not report reasoning tokens, whose price differs from that of output",
                    bill.reasoning_unknown
                ));
            }
            price => price.unwrap_or(self.output),
        };
        let parts = [
            (tokens.uncached, self.input),
            (tokens.cache_read, cache_read),
            (tokens.cache_write, cache_write),
            (tokens.visible, self.output),
            (tokens.reasoning, reasoning),
        ];
        Ok(parts.into_iter().map(|(tokens, price)| tokens as f64 * price).sum::<f64>() / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRO: TokenPrices = TokenPrices { input: 0.66, cache_read: Some(0.022), cache_write: None, output: 1.98, reasoning: None };

    fn tokens(input: u32, cache_read: Option<u32>, output: u32) -> Tokens {
        let source = CountSource::Usage;
        Tokens { input: Some(input), cache_read, output: Some(output), input_source: source, output_source: source, ..Tokens::default() }
    }

    #[test]
    fn classes_exclude_each_other() {
        let check = |of: Tokens, expect: [u64; 5]| {
            let c = Classes::of(&of);
            assert_eq!([c.uncached, c.cache_read, c.cache_write, c.visible, c.reasoning], expect);
            assert_eq!((c.input(), c.output()), (of.input.unwrap_or(0).into(), of.output.unwrap_or(0).into()), "they sum to the whole");
        };
        // The trap of counting twice: a prompt of 10,000 that includes 8,000 cached ones has 2,000 others.
        check(tokens(10_000, Some(8_000), 1_000), [2_000, 8_000, 0, 1_000, 0]);
        check(Tokens { cache_write: Some(1_000), ..tokens(11_000, Some(8_000), 1_000) }, [2_000, 8_000, 1_000, 1_000, 0]);
        check(Tokens { reasoning: Some(700), ..tokens(10, None, 1_000) }, [10, 0, 0, 300, 700]);
        check(Tokens { reasoning: Some(7), cache_write: Some(9), ..tokens(10, Some(12), 3) }, [0, 10, 0, 0, 3]);
        check(Tokens::default(), [0; 5]);
    }

    #[test]
    fn bills_are_paid_by_class_or_say_why_not() {
        let check = |prices: TokenPrices, requests: &[(Tokens, bool)], expect: Result<f64, &str>| {
            let mut bill = Bill::default();
            for (t, ok) in requests {
                let before = bill.requests;
                assert_eq!(bill.add(t, true, *ok), bill.requests > before);
            }
            match (prices.usd(&bill), expect) {
                (Ok(usd), Ok(expect)) => assert!((usd - expect).abs() < 1e-12, "{usd} for {expect}"),
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                (found, expect) => panic!("{found:?} for {expect:?}"),
            }
        };
        let no_cache = TokenPrices { cache_read: None, ..PRO };
        let cached = tokens(10_000, Some(8_000), 1_000);
        check(PRO, &[(cached, true)], Ok(0.003_476));
        check(PRO, &[(cached, true), (cached, false)], Ok(0.006_952)); // failed, but billed
        check(no_cache, &[(cached, true)], Err("came from a cache, whose price is not known"));
        check(no_cache, &[(tokens(10_000, Some(0), 1_000), true)], Ok(0.008_58));
        check(no_cache, &[(tokens(10_000, None, 1_000), true)], Ok(0.008_58));
        check(PRO, &[(tokens(10_000, None, 1_000), true)], Err("do not report cached tokens"));
        check(TokenPrices { cache_read: Some(0.66), ..PRO }, &[(tokens(10_000, None, 1_000), true)], Ok(0.008_58)); // nothing to know
        check(no_cache, &[(Tokens { cache_write: Some(5), ..tokens(10, None, 1) }, true)], Err("written to a billed cache"));
        check(no_cache, &[(Tokens::default(), true)], Err("1 answered requests report no usage"));
        check(no_cache, &[(Tokens::default(), false)], Ok(0.0));
        check(no_cache, &[(Tokens { output_source: CountSource::Chunks, ..tokens(10, None, 1) }, true)], Err("no usage"));
        // Anthropic's opus-5, whose decoder adds up the parts: input 2,000, read 8,000, written 1,000, output 1,000.
        let opus = TokenPrices { input: 5.0, cache_read: Some(0.5), cache_write: Some(6.25), output: 25.0, reasoning: None };
        check(opus, &[(Tokens { cache_write: Some(1_000), ..tokens(11_000, Some(8_000), 1_000) }, true)], Ok(0.045_25));
        check(opus, &[(Tokens { cache_write: Some(0), ..tokens(10_000, Some(8_000), 1_000) }, true)], Ok(0.039));
        check(opus, &[(cached, true)], Err("1 requests do not report tokens written to a cache, whose price differs"));
        check(opus, &[(tokens(10_000, Some(0), 1_000), true)], Ok(0.075)); // nothing read, so nothing written
        check(TokenPrices { cache_write: Some(5.0), ..opus }, &[(cached, true)], Ok(0.039)); // nothing to know
        // Reasoning costs what output does, unless it has a price of its own, and then it must be told apart.
        let apart = TokenPrices { reasoning: Some(1.0), ..no_cache };
        check(apart, &[(Tokens { reasoning: Some(600), ..tokens(0, None, 1_000) }, true)], Ok((400.0 * 1.98 + 600.0) / 1e6));
        check(apart, &[(tokens(0, None, 1_000), true)], Err("do not report reasoning"));
    }

    #[test]
    fn without_hits_the_whole_prompt_is_paid_for() {
        let mut bill = Bill::default();
        bill.add(&tokens(10_000, Some(8_000), 1_000), true, true);
        let usd = PRO.usd(&bill.without_cache_hits()).unwrap();
        assert!((usd - (10_000.0 * 0.66 + 1_000.0 * 1.98) / 1e6).abs() < 1e-12);
    }
}
