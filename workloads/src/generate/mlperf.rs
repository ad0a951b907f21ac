//! Loads of MLPerf Inference: arrivals and limits of its scenarios, prompts of its data sets' lengths.
//!
//! What its data sets say cannot be shipped: prompts are made up. The rules publish mean and largest answers; lengths between them are drawn
//! from a lognormal law, which the trace says. Seeds are the project's own, so that a trace follows from its seed: those of LoadGen, which
//! order its samples, are here for those who want them.

use super::law::{Lognormal, RATES, arrivals};
use super::settings::option;
use super::{Generator, MOST_REQUESTS, OptionDef, Settings, made};
use crate::error::TraceError;
use nomoat_core::prompt::{BlockPrompt, Prompt};
use nomoat_core::rng::Stream;
use nomoat_core::trace::{Trace, TraceRequest};
use nomoat_core::units::Nanos;

/// The generator.
pub(crate) struct MlPerf;

/// Seeds of LoadGen for closed submissions: query samples, order of samples, schedule. From `loadgen/mlperf.conf` of mlcommons/inference at
/// commit b66003e1 (August 2026).
pub const LOADGEN_SEEDS: [u64; 3] = [2_085_463_073_848_966_840, 2_747_215_439_041_700_203, 16_159_082_839_903_944_936];

/// A model of the rules.
struct Model {
    name: &'static str,
    /// Samples of its data set.
    samples: u64,
    /// Milliseconds to the first token and per token that 99 of 100 must meet: Server, Interactive.
    server: (u32, u32),
    interactive: Option<(u32, u32)>,
    input: Law,
    output: Law,
}

/// Mean and longest, in tokens, and whether the rules say so; where they do not, it is our guess from the data set's description.
struct Law {
    mean: f64,
    max: u32,
    /// Of the mean, and of the longest.
    published: (bool, bool),
}

const fn published(mean: f64, max: u32) -> Law {
    Law { mean, max, published: (true, true) }
}

/// The rules give the mean alone.
const fn published_mean(mean: f64, max: u32) -> Law {
    Law { mean, max, published: (true, false) }
}

const fn guessed(mean: f64, max: u32) -> Law {
    Law { mean, max, published: (false, false) }
}

/// From `loadgen/mlperf.conf` and the reference implementations' READMEs of mlcommons/inference at commit b66003e1 (August 2026). Models that
/// are served pictures or are judged end to end are not here.
const MODELS: [Model; 6] = [
    Model {
        name: "llama2-70b",
        samples: 24_576,
        server: (2_000, 200),
        interactive: Some((450, 40)),
        input: guessed(295.0, 1_024),
        output: published(294.45, 1_024),
    },
    Model {
        name: "llama3.1-405b",
        samples: 8_313,
        server: (6_000, 175),
        interactive: Some((4_500, 80)),
        input: guessed(9_400.0, 20_000),
        output: published_mean(684.68, 2_000),
    },
    Model {
        name: "llama3.1-8b",
        samples: 13_368,
        server: (2_000, 100),
        interactive: Some((500, 30)),
        input: guessed(870.0, 2_540),
        output: guessed(73.0, 128),
    },
    Model {
        name: "mixtral-8x7b",
        samples: 15_000,
        server: (2_000, 200),
        interactive: None,
        input: guessed(300.0, 2_048),
        output: published_mean(144.84, 1_024),
    },
    Model {
        name: "deepseek-r1",
        samples: 4_388,
        server: (2_000, 80),
        interactive: Some((1_500, 15)),
        input: guessed(800.0, 3_140),
        output: published(3_886.0, 20_000),
    },
    Model {
        name: "gpt-oss-120b",
        samples: 6_396,
        server: (3_000, 80),
        interactive: Some((2_000, 15)),
        input: guessed(800.0, 3_140),
        output: published(1_278.0, 10_240),
    },
];

impl Generator for MlPerf {
    fn name(&self) -> &'static str {
        "mlperf"
    }

    fn about(&self) -> &'static str {
        "lengths, arrivals and limits of MLPerf Inference: server, interactive (Poisson) or offline (all at once)"
    }

    fn options(&self) -> &'static [OptionDef] {
        const OPTIONS: &[OptionDef] = &[
            option("model", "name", "llama2-70b", "llama2-70b, llama3.1-405b, llama3.1-8b, mixtral-8x7b, deepseek-r1 or gpt-oss-120b"),
            option("scenario", "name", "server", "server, interactive or offline"),
            option("requests", "requests", "2000", "how many; a whole data set is in the notes of the trace"),
            option("rate", "requests/s", "5", "Poisson arrivals of server and interactive"),
        ];
        OPTIONS
    }

    fn generate(&self, seed: u64, settings: &Settings) -> Result<Trace, TraceError> {
        let name = settings.word("model", &MODELS.map(|model| model.name))?;
        let scenario = settings.word("scenario", &["server", "interactive", "offline"])?;
        let requests = settings.whole("requests", 1..=MOST_REQUESTS)?;
        let rate = settings.number("rate", RATES)?;
        // The word was one of the names.
        let Some(model) = MODELS.iter().find(|model| model.name == name) else { return Err(settings.wrong("model", "a name")) };
        let limits = match scenario {
            "server" => Some(model.server),
            "interactive" => match model.interactive {
                Some(limits) => Some(limits),
                None => return Err(settings.wrong("scenario", &format!("server or offline: {name} has no interactive scenario"))),
            },
            _ => None,
        };
        let stream = |what: &str| Stream::new(seed, &format!("gen/mlperf/{what}"));
        let (mut inputs, mut outputs) = (stream("input"), stream("output"));
        let (input, output) = (model.input.fit(), model.output.fit());
        let mut at = arrivals(limits.map(|_| rate), stream("arrivals"));
        let requests = (0..requests).map(|index| {
            let tokens = input.draw(&mut inputs);
            let prompt = Prompt::Blocks(BlockPrompt::unique(0, index, tokens));
            let at = at.next().flatten().or(Some(Nanos::ZERO));
            TraceRequest { at, ..TraceRequest::new(prompt, tokens, output.draw(&mut outputs)) }
        });
        let requests = requests.collect();
        let mut trace = Trace { requests, ..made(settings, 1, seed) };
        trace.losses.push("prompts are made up with lengths near the data set's: this is no MLPerf result".into());
        trace.losses.push(model.lengths());
        trace.losses.push(match limits {
            Some((ttft, tpot)) => {
                format!("the rules ask for ttft={ttft}ms and tpot={tpot}ms at the 99th percentile, over at least 600 s")
            }
            None => format!("offline: everything is due at once, and the rules ask for the whole data set, {} samples", model.samples),
        });
        Ok(trace)
    }
}

/// Spread of the lognormal law: that of OpenOrca's answers, whose 99th percentile is at about four times the mean.
const SIGMA: f64 = 0.8;

impl Law {
    /// A lognormal law whose mean, after it is cut, is the one asked for: cutting takes some away, so the median is raised until it is back.
    fn fit(&self) -> Lognormal {
        let mean = |median: f64| cut_mean(median, SIGMA, self.max.into());
        let (mut low, mut high) = (1.0, f64::from(self.max));
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if mean(middle) < self.mean { low = middle } else { high = middle }
        }
        Lognormal { median: low, sigma: SIGMA, min: 1, max: self.max }
    }
}

/// Mean of a lognormal law whose values above `max` are cut to it.
fn cut_mean(median: f64, sigma: f64, max: f64) -> f64 {
    let below = |z: f64| 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
    let z = libm::log(max / median) / sigma;
    median * libm::exp(0.5 * sigma * sigma) * below(z - sigma) + max * (1.0 - below(z))
}

impl Model {
    fn lengths(&self) -> String {
        let say = |what: &str, law: &Law| {
            let by = |published| if published { "published" } else { "assumed" };
            format!("{what} mean {} ({}) and at most {} tokens ({})", law.mean, by(law.published.0), law.max, by(law.published.1))
        };
        format!("lengths are lognormal: {}, {}", say("prompts", &self.input), say("answers", &self.output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;
    use crate::{SharingOptions, stats};

    #[test]
    fn means_are_the_published_ones() {
        for model in &MODELS {
            let trace = generate("mlperf", 5, &[format!("model={}", model.name), "requests=40000".into()]).unwrap();
            let s = stats(&trace, &SharingOptions::default());
            let near = |value: f64, expect: f64| assert!((value / expect - 1.0).abs() < 0.02, "{}: {value}, not {expect}", model.name);
            near(s.output.mean, model.output.mean);
            near(s.input.mean, model.input.mean);
            assert!(s.output.max <= model.output.max && s.input.max <= model.input.max);
            let limits = format!("ttft={}ms and tpot={}ms", model.server.0, model.server.1);
            assert!(trace.losses.iter().any(|l| l.contains(&limits)), "{:?}", trace.losses);
        }
    }

    #[test]
    fn scenarios_decide_arrivals() {
        let at = |scenario: &str| {
            let trace = generate("mlperf", 5, &[format!("scenario={scenario}")]).unwrap();
            trace.requests.last().unwrap().at.unwrap()
        };
        assert_eq!(at("offline"), Nanos::ZERO);
        assert!((300..500).contains(&(at("server").0 / 1_000_000_000)));
        assert_eq!(at("server"), at("interactive"));
        let error = generate("mlperf", 5, &["scenario=interactive", "model=mixtral-8x7b"]).unwrap_err().to_string();
        assert!(error.contains("no interactive"), "{error}");
    }
}
