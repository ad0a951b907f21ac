//! Options of generators: declared with their unit and default, given as text, checked where they are read.

use super::Generator;
use crate::error::TraceError;
use nomoat_core::digest::{Digest, Digester};
use nomoat_core::suggest::nearest;
use nomoat_core::units::Nanos;
use std::ops::RangeInclusive;

/// One option of a generator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionDef {
    /// As typed before the `=`.
    pub name: &'static str,
    /// What its value is counted in, or what it may be.
    pub unit: &'static str,
    /// What it is when it is not given; empty where it is then absent.
    pub default: &'static str,
    /// One line.
    pub about: &'static str,
}

/// An option, in a table: name, unit, default, one line.
pub(crate) const fn option(name: &'static str, unit: &'static str, default: &'static str, about: &'static str) -> OptionDef {
    OptionDef { name, unit, default, about }
}

/// What a generator was told: every option of it has a value, its default where none was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    generator: &'static str,
    options: &'static [OptionDef],
    values: Vec<String>,
}

impl Settings {
    /// The defaults of `generator` with `given` over them, each `key=value`.
    ///
    /// # Errors
    /// What is not `key=value`, is given twice, or is no option of this generator, with the nearest that is.
    pub fn parse<T: AsRef<str>>(generator: &dyn Generator, given: &[T]) -> Result<Self, TraceError> {
        let (name, options) = (generator.name(), generator.options());
        let mut values: Vec<Option<String>> = vec![None; options.len()];
        for pair in given {
            let pair = pair.as_ref();
            let Some((key, value)) = pair.split_once('=') else {
                return Err(wrong(name, pair, "has no value", "key=value"));
            };
            let (key, value) = (key.trim(), value.trim());
            let Some(index) = options.iter().position(|option| option.name == key) else {
                return Err(TraceError::UnknownOption {
                    generator: name.into(),
                    option: key.into(),
                    nearest: nearest(key, options.iter().map(|option| option.name)).unwrap_or_default().into(),
                    known: options.iter().map(|option| option.name).collect::<Vec<_>>().join(", "),
                });
            };
            if values[index].replace(value.to_owned()).is_some() {
                return Err(wrong(name, key, "is given twice", "given once"));
            }
        }
        let or_default = |(option, value): (&OptionDef, Option<String>)| value.unwrap_or_else(|| option.default.to_owned());
        Ok(Self { generator: name, options, values: options.iter().zip(values).map(or_default).collect() })
    }

    /// The text of an option; `None` where it is empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        let index = self.options.iter().position(|option| option.name == name);
        debug_assert!(index.is_some(), "`{name}` is not declared");
        self.values.get(index?).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A whole number within `range`.
    ///
    /// # Errors
    /// What it is and what it should be.
    pub fn whole(&self, name: &str, range: RangeInclusive<u64>) -> Result<u64, TraceError> {
        let text = self.text(name).unwrap_or_default();
        let value = text.parse().ok().filter(|value| range.contains(value));
        value.ok_or_else(|| self.wrong(name, &format!("a whole number from {} to {}", range.start(), range.end())))
    }

    /// A number of tokens from `least` on.
    ///
    /// # Errors
    /// What it is and what it should be.
    pub fn tokens(&self, name: &str, least: u32) -> Result<u32, TraceError> {
        Ok(self.whole(name, u64::from(least)..=crate::import::MAX_TOKENS)? as u32)
    }

    /// A number within `range`; `None` where the option is empty.
    ///
    /// # Errors
    /// What it is and what it should be.
    pub fn number_if_given(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, TraceError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let value: Option<f64> = text.parse().ok().filter(|value| range.contains(value));
        value.map(Some).ok_or_else(|| self.wrong(name, &format!("a number from {} to {}", range.start(), range.end())))
    }

    /// A number within `range`.
    ///
    /// # Errors
    /// What it is and what it should be.
    pub fn number(&self, name: &str, range: RangeInclusive<f64>) -> Result<f64, TraceError> {
        let should = format!("a number from {} to {}", range.start(), range.end());
        self.number_if_given(name, range)?.ok_or_else(|| self.wrong(name, &should))
    }

    /// A time from zero to a hundred years, such as `45s`.
    ///
    /// # Errors
    /// What it is and what it should be.
    pub fn time(&self, name: &str) -> Result<Nanos, TraceError> {
        let value = Nanos::parse(self.text(name).unwrap_or_default()).ok();
        let fits = |time: &Nanos| (Nanos::ZERO..=crate::import::MAX_TIME).contains(time);
        value.filter(fits).ok_or_else(|| self.wrong(name, "a time from 0 on, such as 45s"))
    }

    /// One of some words.
    ///
    /// # Errors
    /// The word, the nearest one that is known, and all of them.
    pub fn word<'a>(&self, name: &str, known: &[&'a str]) -> Result<&'a str, TraceError> {
        let text = self.text(name).unwrap_or_default();
        known.iter().copied().find(|word| *word == text).ok_or_else(|| {
            let nearest = nearest(text, known.iter().copied()).unwrap_or_default();
            self.wrong(name, &format!("one of {}; did you mean `{nearest}`?", known.join(", ")))
        })
    }

    /// What is wrong with the value of an option.
    pub(crate) fn wrong(&self, name: &str, should: &str) -> TraceError {
        match self.text(name) {
            Some(text) => wrong(self.generator, name, &format!("is `{text}`"), should),
            None => wrong(self.generator, name, "is not given", should),
        }
    }

    /// Name of the trace: the generator's, and what was given besides its defaults.
    pub fn name(&self) -> String {
        let given: Vec<String> = self
            .options
            .iter()
            .zip(&self.values)
            .filter(|(option, value)| option.default != value.as_str())
            .map(|(option, value)| format!("{}={value}", option.name))
            .collect();
        if given.is_empty() { self.generator.to_owned() } else { format!("{}({})", self.generator, given.join(",")) }
    }

    /// Identity of what is made: generator, version of its law, seed and every option.
    pub fn digest(&self, version: u32, seed: u64) -> Digest {
        self.digester(version, seed).finish()
    }

    /// The same, to be added to.
    pub(crate) fn digester(&self, version: u32, seed: u64) -> Digester {
        let mut d = Digester::new(&format!("generator/{}/{version}", self.generator));
        d.int(seed as i64);
        for (option, value) in self.options.iter().zip(&self.values) {
            d.text(option.name).text(value);
        }
        d
    }
}

fn wrong(generator: &str, option: &str, problem: &str, should: &str) -> TraceError {
    TraceError::Setting { generator: generator.into(), option: option.into(), problem: problem.into(), should: should.into() }
}

#[cfg(test)]
mod tests {
    use crate::generate::{generate, generator};

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (name, set, expect) in [
            ("random", "inputt=5", "did you mean `input`?"),
            ("random", "input", "has no value"),
            ("random", "input=0", "a whole number from 1 to"),
            ("random", "input=1e9", "is `1e9`"),
            ("random", "range-ratio=1.5", "a number from 0 to 1"),
            ("random", "range-ratio=nan", "a number from 0 to 1"),
            ("random", "requests=", "is not given"),
            ("mlperf", "model=llama2-70", "did you mean `llama2-70b`?"),
            ("mlperf", "scenario=serve", "did you mean `server`?"),
            ("multi-turn", "gap=fast", "a time from 0 on"),
            ("multi-turn", "gap-min=10s", "option `gap-max`"),
            ("agentic", "context=100", "option `context`"),
            ("shared-prefix", "zipf=-1", "a number from 0 to"),
            ("resample", "trace=/nowhere/at/all", "/nowhere/at/all"),
            ("servegen", "span=1h", "`folder` is not given"),
            ("chat", "rate=fast", "a number from 0.001"),
        ] {
            let set: &[&str] = if set == "gap-min=10s" { &["gap-min=10s", "gap-max=5s"] } else { &[set] };
            let error = generate(name, 1, set).unwrap_err().to_string();
            assert!(error.contains(expect), "{name} {set:?}: {error}");
        }
        let twice = generate("random", 1, &["input=5", "input=6"]).unwrap_err().to_string();
        assert!(twice.contains("given twice"), "{twice}");
        let unknown = generator("agentik").err().unwrap().to_string();
        assert!(unknown.contains("did you mean `agentic`?"), "{unknown}");
    }

    #[test]
    fn the_name_says_what_was_given() {
        let trace = generate("random", 1, &["input=64", "requests=2"]).unwrap();
        assert_eq!(trace.name, "random(requests=2,input=64)");
        assert_eq!(generate("random", 1, &["requests=1000"]).unwrap().name, "random");
    }
}
