//! Many users asking a few small assistants one question each: short prompts, short answers, some of them behind a shared
//! system prompt. Small enough for an engine on two cores; made, not recorded, so that it can be shipped.

use super::law::{RATES, micros};
use super::settings::option;
use super::{Generator, MOST_REQUESTS, OptionDef, Settings};
use crate::error::TraceError;
use crate::import::MAX_REQUESTS;
use nomoat_core::arrival::ArrivalProcess;
use nomoat_core::digest::{Digest, Digester};
use nomoat_core::prompt::{BlockPrompt, BlockRange, Prompt};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Origin, Trace, TraceRequest};

/// The generator.
pub(crate) struct Chat;

/// What a chat trace is made from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ChatOptions {
    /// Seed of all its streams.
    pub seed: u64,
    /// How many requests.
    pub requests: u32,
    /// Poisson arrivals per second.
    pub rate_per_s: f64,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self { seed: 42, requests: 700, rate_per_s: 20.0 }
    }
}

/// Tokens per block: the block size of most engines, so that what is shared here can be shared there.
const BLOCK_TOKENS: u32 = 16;

/// The system prompts: first block and blocks of each, and the share of requests behind it. The rest has none.
const SYSTEMS: [(BlockRange, f64); 2] = [(BlockRange { first: 0, count: 2 }, 0.5), (BlockRange { first: 2, count: 1 }, 0.25)];

/// A lognormal length: its median, the standard deviation of its logarithm, and where it is cut.
struct Lengths {
    median: f64,
    sigma: f64,
    max: u32,
}

/// What a user says: mean 38 tokens, 99 of 100 below 153.
const QUESTION: Lengths = Lengths { median: 30.0, sigma: 0.7, max: 200 };
/// What the assistant says: mean 23 tokens, 99 of 100 below 86.
const ANSWER: Lengths = Lengths { median: 19.0, sigma: 0.65, max: 128 };

impl Lengths {
    fn draw(&self, stream: &mut Stream) -> u32 {
        let length = libm::round(self.median * libm::exp(self.sigma * stream.normal()));
        (length as u32).clamp(1, self.max)
    }
}

impl Generator for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn about(&self) -> &'static str {
        "single questions of many users: about 60 tokens in, 24 out, some behind a shared system prompt, Poisson 20/s"
    }

    fn options(&self) -> &'static [OptionDef] {
        const OPTIONS: &[OptionDef] =
            &[option("requests", "requests", "700", "how many"), option("rate", "requests/s", "20", "Poisson arrivals")];
        OPTIONS
    }

    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError> {
        let requests = settings.whole("requests", 1..=MOST_REQUESTS)? as u32;
        let trace = chat(&ChatOptions { seed, requests, rate_per_s: settings.number("rate", RATES)? })?;
        Ok(Trace { name: settings.name(), ..trace })
    }
}

/// Makes a chat trace.
///
/// # Errors
/// A number of requests or a rate that no trace can have.
pub fn chat(options: &ChatOptions) -> Result<Trace, TraceError> {
    let refuse = |problem: String, remedy: &str| TraceError::File { file: "chat (generated)".into(), problem, remedy: remedy.into() };
    if options.requests == 0 || options.requests as usize > MAX_REQUESTS {
        return Err(refuse(format!("{} requests were asked for", options.requests), "ask for at least one"));
    }
    if !RATES.contains(&options.rate_per_s) {
        return Err(refuse(format!("a rate of {} per second was asked for", options.rate_per_s), "ask for one between 0.001 and 1000000"));
    }
    let stream = |name: &str| Stream::new(options.seed, name);
    let arrivals = ArrivalProcess::Poisson.times(options.rate_per_s, stream("chat/arrivals"));
    let (mut systems, mut questions, mut answers) = (stream("chat/systems"), stream("chat/questions"), stream("chat/answers"));
    let requests = arrivals.take(options.requests as usize).enumerate().map(|(index, at)| {
        let system = system(systems.uniform());
        let shared = system.map_or(0, |range| range.count * BLOCK_TOKENS);
        let input_tokens = shared + QUESTION.draw(&mut questions);
        let prompt = match system {
            None => BlockPrompt::unique(0, index as u64, input_tokens),
            Some(range) => BlockPrompt {
                namespace: 0,
                block_tokens: BLOCK_TOKENS,
                blocks: [range].into(),
                tokens: input_tokens,
                unshared: index as u64,
            },
        };
        let output_tokens = ANSWER.draw(&mut answers);
        TraceRequest { at: Some(micros(at)), ..TraceRequest::new(Prompt::Blocks(prompt), input_tokens, output_tokens) }
    });
    Ok(Trace {
        name: "chat".into(),
        source: digest(options),
        origin: Origin { licence: Some("Apache-2.0".into()), ..Origin::default() },
        requests: requests.collect(),
        ..Trace::default()
    })
}

/// The system prompt that a uniform draw falls on.
fn system(mut draw: f64) -> Option<BlockRange> {
    for (range, share) in SYSTEMS {
        if draw <= share {
            return Some(range);
        }
        draw -= share;
    }
    None
}

fn digest(options: &ChatOptions) -> Digest {
    let mut d = Digester::new("generator/chat/1");
    d.int(options.seed as i64).int(options.requests.into()).float(options.rate_per_s);
    d.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SharingOptions;
    use crate::stats::stats;

    #[test]
    fn lengths_and_arrivals_follow_their_laws() {
        let trace = chat(&ChatOptions { requests: 50_000, ..ChatOptions::default() }).unwrap();
        let stats = stats(&trace, &SharingOptions::default());
        let near = |value: f64, expect: f64, tolerance: f64| assert!((value - expect).abs() < tolerance, "{value}, not {expect}");
        near(stats.input.mean, 58.5, 1.0);
        near(stats.output.mean, 23.5, 0.4);
        assert!(stats.input.p99 < 256 && stats.output.p99 < 96, "{stats:?}");
        near(stats.arrivals.rate_per_s.unwrap(), 20.0, 0.4);
        near(stats.arrivals.gap_cv.unwrap(), 1.0, 0.02);
        let behind = |first| {
            let is =
                |r: &&TraceRequest| matches!(&r.prompt, Prompt::Blocks(b) if b.blocks.first().is_some_and(|range| range.first == first));
            trace.requests.iter().filter(is).count() as f64 / 50_000.0
        };
        near(behind(0), 0.5, 0.01);
        near(behind(2), 0.25, 0.01);
    }

    #[test]
    fn same_seed_same_trace() {
        let make = |seed| chat(&ChatOptions { seed, ..ChatOptions::default() }).unwrap();
        assert_eq!(make(1), make(1));
        assert_ne!(make(1).content_digest(), make(2).content_digest());
        assert_ne!(make(1).source, make(2).source);
    }

    #[test]
    fn refuses_what_no_trace_can_be() {
        for options in
            [ChatOptions { requests: 0, ..ChatOptions::default() }, ChatOptions { rate_per_s: f64::NAN, ..ChatOptions::default() }]
        {
            let error = chat(&options).unwrap_err().to_string();
            assert!(error.contains("asked for"), "{error}");
        }
    }
}
