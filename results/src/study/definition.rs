//! A study as data: a TOML file that fixes claim, rule, thresholds and sweep before anything is measured.

use super::StudyError;
use nomoat_core::digest::Digest;
use nomoat_core::suggest::nearest;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What a study is made of.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its number in the list of studies.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// What is claimed, in our words.
    pub claim: String,
    /// Who claims it.
    pub source: String,
    /// What its verdict can rest on.
    pub modes: Vec<Mode>,
    /// Kernels that must have been measured; empty where none.
    #[serde(default)]
    pub kernels: Vec<String>,
    /// What a verdict needs that nomoat's user may not have: the arm that is named where it is missing.
    pub needs: String,
    /// How the verdict is passed, in a sentence or a few.
    pub rule: String,
    /// The limits of the rule.
    #[serde(default)]
    pub thresholds: BTreeMap<String, Threshold>,
    /// Over what it is judged.
    #[serde(default)]
    pub sweep: BTreeMap<String, Sweep>,
    /// Figures of others that the study computes with.
    #[serde(default)]
    pub given: BTreeMap<String, Given>,
}

/// What a verdict rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Measurements of endpoints.
    Endpoints,
    /// Measurements of kernels on a device.
    Kernels,
    /// Formulas, prices or a calibrated model.
    Model,
}

impl Mode {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::Kernels => "kernels",
            Self::Model => "model",
        }
    }
}

/// A limit of a rule.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// The limit.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// What it limits.
    pub about: String,
}

/// Values that are gone through.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Their unit, or what the names are names of.
    pub unit: String,
    /// The values.
    pub values: Values,
}

/// Numbers or names.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// Numbers.
    Numbers(Vec<f64>),
    /// Names.
    Names(Vec<String>),
}

/// A figure of somebody else's.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// Where it was read.
    pub source: String,
}

/// A definition with the bytes it came from.
#[derive(Clone, PartialEq, Debug)]
pub struct Fixed {
    /// What they say.
    pub definition: Definition,
    /// Which file.
    pub file: String,
    /// SHA-256 of its bytes, so that "fixed before the run" can be checked.
    pub sha256: String,
}

impl Fixed {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// It is no study: a key is missing, unknown or of another kind, or a number is none that a rule can use.
    pub fn read(file: &str, text: &str) -> Result<Self, StudyError> {
        let definition: Definition =
            toml::from_str(text).map_err(|source| StudyError::Toml { file: file.to_owned(), source: Box::new(source) })?;
        let odd = |what: &str, name: &str, least: &str| StudyError::Value {
            file: file.to_owned(),
            why: format!("{what} `{name}` must be a number that is {least}"),
        };
        for (name, threshold) in &definition.thresholds {
            if !(threshold.value >= 0.0 && threshold.value.is_finite()) {
                return Err(odd("the threshold", name, "not negative"));
            }
        }
        for (name, given) in &definition.given {
            if !(given.value > 0.0 && given.value.is_finite()) {
                return Err(odd("the given figure", name, "above zero"));
            }
        }
        for (name, sweep) in &definition.sweep {
            let fine = match &sweep.values {
                Values::Numbers(values) => !values.is_empty() && values.iter().all(|value| value.is_finite() && *value > 0.0),
                Values::Names(names) => !names.is_empty(),
            };
            if !fine {
                let why = format!("the sweep `{name}` must have values, and numbers among them must be positive");
                return Err(StudyError::Value { file: file.to_owned(), why });
            }
        }
        Ok(Self { definition, file: file.to_owned(), sha256: Digest::of(text.as_bytes()).to_string() })
    }

    /// Another file for the same study.
    ///
    /// # Errors
    /// It cannot be read, is of another study, or has a threshold, sweep or figure that this study does not know. One that it lacks is
    /// an error of the rule that asks for it.
    pub fn replaced(&self, path: &Path) -> Result<Self, StudyError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| StudyError::Read { file: file.clone(), source })?;
        let other = Self::read(&file, &text)?;
        let (ours, theirs) = (&self.definition, &other.definition);
        if theirs.name != ours.name {
            let why = format!("it is the study {}, not {}; give a file with that name, made from {}", theirs.name, ours.name, self.file);
            return Err(StudyError::Value { file, why });
        }
        known(&file, "threshold", theirs.thresholds.keys(), ours.thresholds.keys())?;
        known(&file, "sweep", theirs.sweep.keys(), ours.sweep.keys())?;
        known(&file, "given figure", theirs.given.keys(), ours.given.keys())?;
        Ok(other)
    }

    /// A threshold.
    ///
    /// # Errors
    /// The file has none of that name.
    pub fn threshold(&self, name: &str) -> Result<f64, StudyError> {
        self.definition.thresholds.get(name).map(|threshold| threshold.value).ok_or_else(|| self.lacks("threshold", name))
    }

    /// A threshold that counts tokens or days: whole and at least 1.
    ///
    /// # Errors
    /// The file has none of that name, or it is no such number.
    pub fn whole(&self, name: &str) -> Result<u64, StudyError> {
        whole(self.threshold(name)?).ok_or_else(|| self.value(format!("the threshold `{name}` must be a whole number between 1 and 2³²")))
    }

    /// A figure of somebody else's.
    ///
    /// # Errors
    /// The file has none of that name.
    pub fn given(&self, name: &str) -> Result<f64, StudyError> {
        self.definition.given.get(name).map(|given| given.value).ok_or_else(|| self.lacks("given figure", name))
    }

    /// Numbers of a sweep.
    ///
    /// # Errors
    /// The file has none of that name, or names in its place.
    pub fn numbers(&self, name: &str) -> Result<&[f64], StudyError> {
        match self.definition.sweep.get(name).map(|sweep| &sweep.values) {
            Some(Values::Numbers(values)) => Ok(values),
            Some(Values::Names(_)) => Err(self.value(format!("the sweep `{name}` has names and needs numbers"))),
            None => Err(self.lacks("sweep", name)),
        }
    }

    /// Whole numbers of a sweep, in ascending order.
    ///
    /// # Errors
    /// The file has none of that name, or something else in its place.
    pub fn wholes(&self, name: &str) -> Result<Vec<u64>, StudyError> {
        let need = || self.value(format!("the sweep `{name}` needs whole numbers between 1 and 2³²"));
        let mut values = self.numbers(name)?.iter().map(|value| whole(*value).ok_or_else(need)).collect::<Result<Vec<u64>, _>>()?;
        values.sort_unstable();
        Ok(values)
    }

    /// Names of a sweep.
    ///
    /// # Errors
    /// The file has none of that name, or numbers in its place.
    pub fn names(&self, name: &str) -> Result<&[String], StudyError> {
        match self.definition.sweep.get(name).map(|sweep| &sweep.values) {
            Some(Values::Names(names)) => Ok(names),
            Some(Values::Numbers(_)) => Err(self.value(format!("the sweep `{name}` has numbers and needs names"))),
            None => Err(self.lacks("sweep", name)),
        }
    }

    /// For `map_err`: a value of this file is not what the rule needs.
    pub(super) fn value(&self, why: String) -> StudyError {
        StudyError::Value { file: self.file.clone(), why }
    }

    fn lacks(&self, what: &'static str, name: &str) -> StudyError {
        StudyError::Lacks { file: self.file.clone(), study: self.definition.name.clone(), what, name: name.to_owned() }
    }

    /// Thresholds as they stand in the file: name, value, unit.
    pub fn limits(&self) -> impl Iterator<Item = (&str, f64, &str)> {
        self.definition.thresholds.iter().map(|(name, limit)| (name.as_str(), limit.value, limit.unit.as_str()))
    }
}

/// Bounded by 2³², so that bytes of so many tokens are a number too.
fn whole(value: f64) -> Option<u64> {
    (value >= 1.0 && value.fract() == 0.0 && value <= 4_294_967_296.0).then_some(value as u64)
}

fn known<'a>(
    file: &str,
    what: &'static str,
    theirs: impl Iterator<Item = &'a String>,
    ours: impl Iterator<Item = &'a String> + Clone,
) -> Result<(), StudyError> {
    for name in theirs {
        if !ours.clone().any(|known| known == name) {
            let near = nearest(name, ours.clone().map(String::as_str)).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(StudyError::Value { file: file.to_owned(), why: format!("this study knows no {what} `{name}`{near}") });
        }
    }
    Ok(())
}
