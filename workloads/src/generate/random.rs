//! Random lengths, nothing shared: what InferenceX sends. Lengths are uniform between a share of their maximum and the maximum, or normal
//! inside limits as in the profiles of llm-d-benchmark.

use super::law::{Normal, RATES, arrivals};
use super::settings::option;
use super::{Generator, MOST_REQUESTS, OptionDef, Settings, made};
use crate::error::TraceError;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Trace, TraceRequest};

/// The generator.
pub(crate) struct Random;

impl Generator for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn about(&self) -> &'static str {
        "unique prompts of random length, as InferenceX and llm-d-benchmark send them"
    }

    fn options(&self) -> &'static [OptionDef] {
        const OPTIONS: &[OptionDef] = &[
            option("requests", "requests", "1000", "how many"),
            option("input", "tokens", "1024", "longest prompt, or the mean with input-sd"),
            option("output", "tokens", "1024", "longest answer, or the mean with output-sd"),
            option("range-ratio", "share", "0.8", "shortest length as a share of the longest; 1: all the same"),
            option("input-sd", "tokens", "", "normal prompts with this standard deviation instead"),
            option("output-sd", "tokens", "", "normal answers with this standard deviation instead"),
            option("input-min", "tokens", "1", "shortest prompt of the normal law"),
            option("input-max", "tokens", "1048576", "longest prompt of the normal law"),
            option("output-min", "tokens", "1", "shortest answer of the normal law"),
            option("output-max", "tokens", "1048576", "longest answer of the normal law"),
            option("rate", "requests/s", "", "Poisson arrivals; without it there are none, for a closed loop"),
        ];
        OPTIONS
    }

    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError> {
        let requests = settings.whole("requests", 1..=MOST_REQUESTS)?;
        let ratio = settings.number("range-ratio", 0.0..=1.0)?;
        let (input, output) = (Law::read(settings, "input", ratio)?, Law::read(settings, "output", ratio)?);
        let rate = settings.number_if_given("rate", RATES)?;
        let mut at = arrivals(rate, Stream::new(seed, "gen/random/arrivals"));
        let (mut inputs, mut outputs) = (Stream::new(seed, "gen/random/input"), Stream::new(seed, "gen/random/output"));
        let requests = (0..requests).map(|index| {
            let tokens = input.draw(&mut inputs);
            let prompt = Prompt::Blocks(BlockPrompt::unique(0, index, tokens));
            TraceRequest { at: at.next().flatten(), ..TraceRequest::new(prompt, tokens, output.draw(&mut outputs)) }
        });
        Ok(Trace { requests: requests.collect(), ..made(settings, 1, seed) })
    }
}

/// One of the two laws.
enum Law {
    /// From, to.
    Uniform(u32, u32),
    Normal(Normal),
}

impl Law {
    fn read(settings: &Settings, name: &str, ratio: f64) -> Result<Self, TraceError> {
        let longest = settings.tokens(name, 1)?;
        let Some(sd) = settings.number_if_given(&format!("{name}-sd"), 0.0..=1e7)? else {
            let shortest = libm::ceil(ratio * f64::from(longest)) as u32;
            return Ok(Self::Uniform(shortest.max(1), longest));
        };
        let (min, max) = (settings.tokens(&format!("{name}-min"), 1)?, settings.tokens(&format!("{name}-max"), 1)?);
        if min > max {
            return Err(settings.wrong(&format!("{name}-max"), &format!("at least {name}-min, {min}")));
        }
        Ok(Self::Normal(Normal { mean: longest.into(), sd, min, max }))
    }

    fn draw(&self, stream: &mut Stream) -> u32 {
        match self {
            Self::Uniform(from, to) => from + stream.below(u64::from(to - from) + 1) as u32,
            Self::Normal(normal) => normal.draw(stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::generate::generate;
    use crate::{SharingOptions, stats};

    #[test]
    fn lengths_are_uniform_in_the_upper_fifth() {
        let trace = generate("random", 7, &["requests=20000", "input=8192"]).unwrap();
        let s = stats(&trace, &SharingOptions::default());
        let shortest = trace.requests.iter().map(|r| r.input_tokens).min();
        assert_eq!((shortest, s.input.max, s.output.max), (Some(6_554), 8_192, 1_024));
        assert!((s.input.mean - 7_373.0).abs() < 10.0 && (s.output.mean - 922.0).abs() < 2.0, "{s:?}");
        assert!(trace.requests.iter().all(|r| r.at.is_none()) && s.sharing.is_none());
        let same = generate("random", 7, &["range-ratio=1"]).unwrap();
        assert!(same.requests.iter().all(|r| (r.input_tokens, r.output_tokens) == (1_024, 1_024)));
    }

    #[test]
    fn normal_lengths_stay_inside_their_limits() {
        let set = ["requests=20000", "input=8000", "input-sd=8500", "input-min=50", "input-max=30000", "output-sd=0", "rate=10"];
        let trace = generate("random", 7, &set).unwrap();
        let s = stats(&trace, &SharingOptions::default());
        assert!(trace.requests.iter().all(|r| (50..=30_000).contains(&r.input_tokens) && r.output_tokens == 1_024));
        // Between −0.935 and 2.588 standard deviations: 8000 + 8500 × (φ(−0.935) − φ(2.588)) / (Φ(2.588) − Φ(−0.935)).
        assert!((s.input.mean - 10_524.0).abs() < 150.0, "{}", s.input.mean);
        assert!((s.arrivals.rate_per_s.unwrap() - 10.0).abs() < 0.3);
        assert!(trace.requests.iter().all(|r| r.at.unwrap().0 % 1_000 == 0));
    }
}
