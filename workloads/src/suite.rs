//! Suites: a workload, a load, service levels and what an engine must be able to do, under one name. Each is a file in `suites/` and one line
//! in [`SUITES`].
//!
//! A suite says what is needed, never which engine has it. Its trace has a seed of its own, so that everybody's is the same; the run's seed
//! still decides arrivals and the words of prompts.

use crate::error::{TraceError, file_error};
use crate::generate::generate;
use nomoat_core::slo::Slo;
use nomoat_core::suggest::nearest;
use nomoat_core::trace::Trace;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Every suite: its name and its file.
pub const SUITES: &[(&str, &str)] = &[
    ("chat", include_str!("../suites/chat.toml")),
    ("code-completion", include_str!("../suites/code-completion.toml")),
    ("rag", include_str!("../suites/rag.toml")),
    ("summarisation", include_str!("../suites/summarisation.toml")),
    ("reasoning", include_str!("../suites/reasoning.toml")),
    ("agentic-coding", include_str!("../suites/agentic-coding.toml")),
    ("long-context", include_str!("../suites/long-context.toml")),
    ("bursty-edge", include_str!("../suites/bursty-edge.toml")),
    ("mlperf-like", include_str!("../suites/mlperf-like.toml")),
    ("inferencex-like", include_str!("../suites/inferencex-like.toml")),
    ("project-text", include_str!("../suites/project-text.toml")),
];

/// Seed of every suite's trace.
const SEED: u64 = 42;

/// A suite.
#[derive(Clone, PartialEq, Debug)]
pub struct Suite {
    /// As typed after `--suite`.
    pub name: String,
    /// One line for lists.
    pub about: String,
    /// Which generator makes its trace.
    pub generator: String,
    /// What that is told, each `key=value`.
    pub set: Vec<String>,
    /// What an engine must be able to do, or should.
    pub requires: Requires,
    /// Service levels, in the words of [`Slo::parse`]; `None` where it has none.
    pub slo: Option<String>,
    /// The load.
    pub load: SuiteLoad,
}

/// What a suite needs of an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Requires {
    /// Prompt and answer of at least this many tokens in all.
    pub context: u32,
    /// Answers have the length that is asked for, or the run is no measurement.
    pub exact_length: bool,
    /// Reusing prefixes is most of what makes an engine fast here.
    pub prefix_caching: bool,
    /// Prompts are recorded conversations: a route that takes messages.
    pub recorded_messages: bool,
}

/// How much of it: the flags of a run by their names.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SuiteLoad {
    /// Requests, or sessions where there are some, per second: an open loop.
    pub rate: Option<f64>,
    /// Law of arrivals.
    pub arrivals: Option<String>,
    /// Coefficient of variation of gamma gaps.
    pub cv: Option<f64>,
    /// Requests, or sessions, at any time: a closed loop.
    pub concurrency: Option<u32>,
    /// Length of the measured window.
    pub duration: Option<String>,
    /// Number of measured requests.
    pub requests: Option<u32>,
    /// What comes before the window.
    pub warmup: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    about: String,
    generator: String,
    #[serde(default)]
    set: BTreeMap<String, toml::Value>,
    #[serde(default)]
    requires: Requires,
    #[serde(default)]
    slo: BTreeMap<String, String>,
    load: SuiteLoad,
}

impl Suite {
    /// Reads the text of a suite's file.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn parse(name: &str, text: &str) -> Result<Self, TraceError> {
        let place = format!("suite `{name}`");
        let refuse = |problem: String| file_error(&place, problem, "see the suites that are shipped for what one holds");
        let file: File = toml::from_str(text).map_err(|e| refuse(e.message().to_owned()))?;
        let set = file.set.into_iter().map(|(key, value)| match value {
            toml::Value::String(text) => Ok(format!("{key}={text}")),
            toml::Value::Integer(value) => Ok(format!("{key}={value}")),
            toml::Value::Float(value) => Ok(format!("{key}={value}")),
            _ => Err(refuse(format!("`{key}` under [set] is neither a text nor a number"))),
        });
        let slo: Vec<String> = file.slo.iter().map(|(what, limit)| format!("{what}={limit}")).collect();
        let slo = (!slo.is_empty()).then(|| slo.join(","));
        if let Some(slo) = &slo {
            Slo::parse(slo).map_err(|e| refuse(format!("under [slo], {e}")))?;
        }
        let open = file.load.rate.is_some();
        if open == file.load.concurrency.is_some() {
            return Err(refuse("[load] has to have a rate or a concurrency, and not both".into()));
        }
        if !open && (file.load.arrivals.is_some() || file.load.cv.is_some()) {
            return Err(refuse("[load] has a law of arrivals without a rate".into()));
        }
        Ok(Self {
            name: name.into(),
            about: file.about,
            generator: file.generator,
            set: set.collect::<Result<_, _>>()?,
            requires: file.requires,
            slo,
            load: file.load,
        })
    }

    /// Its trace; the same everywhere.
    ///
    /// # Errors
    /// What its generator says of its options.
    pub fn trace(&self) -> Result<Trace, TraceError> {
        let trace = generate(&self.generator, SEED, &self.set)?;
        Ok(Trace { name: format!("suite {} ({})", self.name, self.generator), ..trace })
    }
}

/// The suite called `name`.
///
/// # Errors
/// That there is none, with the nearest.
pub fn suite(name: &str) -> Result<Suite, TraceError> {
    let names = || SUITES.iter().map(|(name, _)| *name);
    let Some((name, text)) = SUITES.iter().find(|(known, _)| *known == name) else {
        return Err(TraceError::UnknownSuite {
            name: name.into(),
            nearest: nearest(name, names()).unwrap_or_default().into(),
            known: names().collect::<Vec<_>>().join(", "),
        });
    };
    Suite::parse(name, text)
}

/// All of them, in the order of [`SUITES`].
///
/// # Errors
/// Only if a shipped file was damaged before the program was built.
pub fn suites() -> Result<Vec<Suite>, TraceError> {
    SUITES.iter().map(|(name, text)| Suite::parse(name, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nomoat_core::prompt::Prompt;
    use nomoat_core::units::Nanos;

    #[test]
    fn every_suite_fits_what_it_says() {
        for suite in suites().unwrap() {
            let trace = suite.trace().unwrap();
            let longest = trace.requests.iter().map(|r| r.input_tokens + r.output_tokens).max().unwrap();
            assert!(longest <= suite.requires.context, "{}: a request of {longest} tokens", suite.name);
            assert!(longest * 4 > suite.requires.context, "{}: asks for four times what it needs, {longest}", suite.name);
            let recorded = trace.requests.iter().any(|r| matches!(r.prompt, Prompt::Messages(_)));
            assert_eq!(recorded, suite.requires.recorded_messages, "{}", suite.name);
            assert!(!suite.about.contains('\n') && suite.about.len() < 130, "{}", suite.name);
            // Enough for the window and what comes before it.
            let load = &suite.load;
            let roots = trace.requests.iter().filter(|r| r.after.is_empty()).count() as f64;
            let time = |text: &Option<String>| text.as_deref().map_or(0.0, |t| Nanos::parse(t).map_or(0.0, Nanos::as_secs_f64));
            if let Some(rate) = load.rate {
                assert!(rate * (time(&load.duration) + time(&load.warmup)) * 1.1 < roots, "{} runs out of {roots}", suite.name);
            }
            if let (Some(_), Some(requests)) = (load.concurrency, load.requests) {
                let warm: u32 = load.warmup.as_deref().map_or(0, |n| n.parse().unwrap());
                assert!(f64::from(requests + warm) <= trace.requests.len() as f64, "{}", suite.name);
            }
        }
    }

    #[test]
    fn every_file_is_registered() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/suites");
        let mut files: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut names: Vec<String> = SUITES.iter().map(|(name, _)| format!("{name}.toml")).collect();
        files.sort_unstable();
        names.sort_unstable();
        assert_eq!(files, names);
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        let good = "about = \"x\"\ngenerator = \"chat\"\n[load]\nrate = 1.0\n";
        assert!(Suite::parse("x", good).is_ok());
        for (text, expect) in [
            (good.replace("rate = 1.0", ""), "a rate or a concurrency"),
            (format!("{good}concurrency = 2\n"), "not both"),
            (good.replace("rate = 1.0", "concurrency = 2\ncv = 2.0"), "without a rate"),
            (format!("{good}[slo]\nttfft = \"1s\"\n"), "`ttfft`"),
            (format!("{good}[set]\nrequests = []\n"), "neither a text nor a number"),
            (format!("{good}[requires]\ncontexts = 5\n"), "contexts"),
        ] {
            let error = Suite::parse("x", &text).unwrap_err().to_string();
            assert!(error.contains(expect) && error.contains("suite `x`"), "{error}");
        }
        assert!(suite("caht").unwrap_err().to_string().contains("did you mean `chat`?"));
    }
}
