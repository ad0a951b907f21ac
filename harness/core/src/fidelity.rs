//! How faithfully a run offered what its workload says: lengths of prompts and answers, arrivals, sharing, and what was left out.
//!
//! Every difference is measured, not assumed: counted tokens against those asked for, request by request; tokens read from a prefix cache
//! against what the workload's own sharing lets one find.

use crate::cost::counted;
use crate::record::{CountSource, RequestRecord};
use crate::stats::nearest_rank;
use crate::units::Nanos;

/// What prompts consisted of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Token ids made up with the workload's lengths and sharing.
    SyntheticIds,
    /// Words made up with the workload's lengths and sharing.
    SyntheticText,
    /// Recorded token ids.
    RecordedIds,
    /// Recorded texts or conversations.
    RecordedText,
    /// More than one of these.
    Mixed,
}

impl Content {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::SyntheticIds, Self::SyntheticText, Self::RecordedIds, Self::RecordedText, Self::Mixed];

    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::SyntheticIds => "synthetic-ids",
            Self::SyntheticText => "synthetic-text",
            Self::RecordedIds => "recorded-ids",
            Self::RecordedText => "recorded-text",
            Self::Mixed => "mixed",
        }
    }

    /// Whether which experts are chosen, and which guesses are accepted, is not what real text would make of it.
    pub fn is_made_up(self) -> bool {
        matches!(self, Self::SyntheticIds | Self::SyntheticText)
    }
}

/// Why the words matter to an engine's speed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routes {
    /// Which experts of a mixture work depends on the tokens.
    Experts,
    /// How many guessed tokens are accepted depends on them.
    Speculation,
}

impl Routes {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Experts, Self::Speculation];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Experts => "experts",
            Self::Speculation => "speculation",
        }
    }

    /// It in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Experts => "the model is a mixture of experts",
            Self::Speculation => "the engine speculates",
        }
    }

    /// Whether a model of this name is a mixture of experts, as far as the names of published ones tell.
    pub fn of_model(name: &str) -> Option<Self> {
        /// Parts of names, in lower case. A letter, digits and `b` is what Qwen, GLM and others call active parameters.
        const EXPERTS: [&str; 15] = [
            "moe",
            "mixtral",
            "deepseek-v2",
            "deepseek-v3",
            "deepseek-v4",
            "deepseek-r1",
            "gpt-oss",
            "kimi-k2",
            "glm-4.5",
            "glm-4.6",
            "llama-4",
            "minimax-m",
            "qwen3-next",
            "grok-",
            "dbrx",
        ];
        let name = name.to_lowercase();
        let active = name.match_indices("-a").any(|(at, _)| {
            let rest = &name[at + 2..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            digits > 0 && rest[digits..].starts_with('b')
        });
        (active || EXPERTS.iter().any(|part| name.contains(part))).then_some(Self::Experts)
    }
}

/// What a prefix cache without bounds finds of a run's prompts, in blocks of an engine's size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PredictedCache {
    /// Tokens per block.
    pub block_tokens: u32,
    /// Prompt tokens that it finds.
    pub cached: u64,
    /// Prompt tokens in all.
    pub tokens: u64,
}

/// Sizes of a difference over requests; nearest-rank percentiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spread<T> {
    /// Requests.
    pub n: u64,
    /// Half are at most this large.
    pub p50: T,
    /// 99 of 100 are at most this large.
    pub p99: T,
    /// The largest.
    pub max: T,
}

/// Tokens found in a prefix cache, as shares of the prompt tokens.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CacheShares {
    /// Tokens per block of the prediction.
    pub block_tokens: u32,
    /// What a cache without bounds would find.
    pub predicted: f64,
    /// What the endpoint reports it found; `None` where it reports nothing.
    pub observed: Option<f64>,
}

/// How faithfully a run offered its workload.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Fidelity {
    /// What prompts consisted of, where the run tells.
    pub content: Option<Content>,
    /// Tokens between a prompt's counted length and the one asked for, over answered requests whose prompt was counted.
    pub prompts: Option<Spread<u32>>,
    /// Answered requests whose answer has exactly the tokens asked for, of those whose answer was counted.
    pub exact_answers: Option<(u64, u64)>,
    /// From due to start, over the measured requests that started.
    pub lag: Option<Spread<Nanos>>,
    /// Sharing.
    pub cache: Option<CacheShares>,
}

/// Gathers what is printed, from records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    prompts: Vec<u32>,
    exact: (u64, u64),
    lags: Vec<i64>,
    /// Prompt tokens and, of them, cached ones, where the endpoint reports the latter.
    cached: (u64, u64),
}

impl Gathered {
    /// Adds a measured request.
    pub fn add(&mut self, record: &RequestRecord) {
        self.lags.extend(record.dispatch_lag().map(|lag| lag.0.max(0)));
        if !record.is_ok() {
            return;
        }
        let tokens = &record.tokens;
        if let (true, Some(input)) = (counted(tokens.input_source), tokens.input) {
            self.prompts.push(input.abs_diff(tokens.wanted_input));
            if let Some(cached) = tokens.cache_read {
                self.cached = (self.cached.0 + u64::from(input), self.cached.1 + u64::from(cached));
            }
        }
        if let (true, Some(output)) = (tokens.output_source != CountSource::Chunks, tokens.output) {
            self.exact = (self.exact.0 + u64::from(output == tokens.wanted), self.exact.1 + 1);
        }
    }

    pub fn finish(mut self, content: Option<Content>, predicted: Option<PredictedCache>) -> Fidelity {
        let told = content != Some(Content::RecordedText);
        self.prompts.sort_unstable();
        self.lags.sort_unstable();
        let observed = (self.cached.0 > 0).then(|| self.cached.1 as f64 / self.cached.0 as f64);
        Fidelity {
            content,
            // A recorded text's length was counted by another tokenizer, or estimated: a difference says nothing of this run.
            prompts: spread(&self.prompts, |n| n).filter(|_| told),
            exact_answers: (self.exact.1 > 0).then_some(self.exact),
            lag: spread(&self.lags, Nanos),
            cache: predicted.filter(|p| p.tokens > 0).map(|p| CacheShares {
                block_tokens: p.block_tokens,
                predicted: p.cached as f64 / p.tokens as f64,
                observed,
            }),
        }
    }
}

fn spread<T: Copy, U>(sorted: &[T], of: impl Fn(T) -> U) -> Option<Spread<U>> {
    let rank = |q: f64| sorted.get((nearest_rank(sorted.len() as u64, q) as usize).checked_sub(1)?).copied().map(&of);
    Some(Spread { n: sorted.len() as u64, p50: rank(0.5)?, p99: rank(0.99)?, max: rank(1.0)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Moments, Tokens};

    #[test]
    fn mixtures_by_name() {
        for (name, expect) in [
            ("Qwen/Qwen3-30B-A3B-Instruct", true),
            ("openai/gpt-oss-120b", true),
            ("mistralai/Mixtral-8x7B", true),
            ("meta-llama/Llama-3.1-8B", false),
            ("allenai/Llama-a-b", false),
            ("Qwen2.5-7B-Instruct-AWQ", false),
        ] {
            assert_eq!(Routes::of_model(name).is_some(), expect, "{name}");
        }
    }

    #[test]
    fn differences_request_by_request() {
        let mut gathered = Gathered::default();
        for n in 0..100_u32 {
            let input = if n < 98 { 50 } else { 50 + n };
            let tokens = Tokens {
                wanted: 10,
                wanted_input: 50,
                input: Some(input),
                input_source: CountSource::Usage,
                cache_read: Some(25),
                output: Some(if n == 0 { 9 } else { 10 }),
                output_source: CountSource::Usage,
                ..Tokens::default()
            };
            let at = Moments { due: Nanos(0), start: Some(Nanos(n.into())), ..Moments::default() };
            gathered.add(&RequestRecord { at, tokens, ..RequestRecord::default() });
        }
        let predicted = PredictedCache { block_tokens: 16, cached: 48, tokens: 100 };
        let f = gathered.clone().finish(Some(Content::SyntheticIds), Some(predicted));
        assert_eq!(f.prompts, Some(Spread { n: 100, p50: 0, p99: 98, max: 99 }));
        assert_eq!(f.exact_answers, Some((99, 100)));
        assert_eq!(f.lag, Some(Spread { n: 100, p50: Nanos(49), p99: Nanos(98), max: Nanos(99) }));
        let cache = f.cache.unwrap();
        assert_eq!(cache.predicted, 0.48);
        assert!((cache.observed.unwrap() - 2_500.0 / 5_197.0).abs() < 1e-12);
        assert_eq!(gathered.finish(Some(Content::RecordedText), None).prompts, None, "a text's length is another tokenizer's");
        assert_eq!(Gathered::default().finish(None, None), Fidelity::default());
    }
}
