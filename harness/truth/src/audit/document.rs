//! A result file as JSON values, and fields of it that know where they stand, so that an error names file and field.

use super::error::AuditError;
use nomoat_core::units::Nanos;
use serde_json::Value;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The largest result file that is read: a hundred thousand requests with their gaps stay below.
const LARGEST: u64 = 256 << 20;

/// A file: one JSON value, or one for each line.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    /// Where it is.
    pub path: PathBuf,
    /// Its values.
    pub values: Vec<Value>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is too large, or is neither JSON nor lines of JSON.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = |source| AuditError::File { path: path.to_owned(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(LARGEST + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > LARGEST {
            let reason = format!("it has more than {LARGEST} bytes; ask the harness for fewer requests");
            return Err(AuditError::Json { path: path.to_owned(), reason });
        }
        Self::parse(path, &text)
    }

    /// The values of a text that stands in the file `path`.
    ///
    /// # Errors
    /// It is neither JSON nor lines of JSON.
    pub fn parse(path: &Path, text: &str) -> Result<Self, AuditError> {
        let whole = match serde_json::from_str(text) {
            Ok(value) => return Ok(Self { path: path.to_owned(), values: vec![value] }),
            Err(error) => error,
        };
        let lines: Result<Vec<Value>, _> = text.lines().filter(|l| !l.trim().is_empty()).map(serde_json::from_str).collect();
        match lines {
            Ok(values) if !values.is_empty() => Ok(Self { path: path.to_owned(), values }),
            _ => Err(AuditError::Json { path: path.to_owned(), reason: format!("it is neither JSON nor lines of JSON: {whole}") }),
        }
    }

    /// The last value: harnesses that append write the newest result last.
    pub fn last(&self) -> Field<'_> {
        // A document has at least one value; without any, every field would be missing, which is what null says too.
        Field { path: &self.path, name: String::new(), value: self.values.last().unwrap_or(&Value::Null) }
    }

    /// Every value, named by its line.
    pub fn lines(&self) -> impl Iterator<Item = Field<'_>> {
        self.values.iter().enumerate().map(|(index, value)| Field { path: &self.path, name: format!("line {}: ", index + 1), value })
    }

    /// Whether the last value is an object that has all of these keys.
    pub fn has(&self, keys: &[&str]) -> bool {
        self.values.last().is_some_and(|value| keys.iter().all(|key| value.get(key).is_some()))
    }
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    path: &'a Path,
    name: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// An error about this field.
    pub fn wrong(&self, reason: impl Into<String>) -> AuditError {
        AuditError::Field { path: self.path.to_owned(), field: self.name.clone(), reason: reason.into() }
    }

    fn below(&self, key: &str, value: &'a Value) -> Self {
        let dot = if self.name.is_empty() || self.name.ends_with(' ') { "" } else { "." };
        Field { path: self.path, name: format!("{}{dot}{key}", self.name), value }
    }

    /// The field `key` of this object; `None` where it is missing or null.
    pub fn maybe(&self, key: &str) -> Option<Self> {
        self.value.get(key).filter(|value| !value.is_null()).map(|value| self.below(key, value))
    }

    /// The field `key` of this object.
    ///
    /// # Errors
    /// It is missing or null.
    pub fn get(&self, key: &str) -> Result<Self, AuditError> {
        self.maybe(key).ok_or_else(|| self.below(key, &Value::Null).wrong("is missing"))
    }

    /// The field at the end of a way through objects.
    ///
    /// # Errors
    /// A step of it is missing or null.
    pub fn at(&self, keys: &[&str]) -> Result<Self, AuditError> {
        keys.iter().try_fold(self.clone(), |field, key| field.get(key))
    }

    /// The items of a list.
    ///
    /// # Errors
    /// It is no list.
    pub fn items(&self) -> Result<Vec<Self>, AuditError> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("is not a list"))?;
        Ok(items.iter().enumerate().map(|(at, value)| Field { path: self.path, name: format!("{}[{at}]", self.name), value }).collect())
    }

    /// A text.
    ///
    /// # Errors
    /// It is none.
    pub fn text(&self) -> Result<&'a str, AuditError> {
        self.value.as_str().ok_or_else(|| self.wrong("is not a text"))
    }

    /// A count.
    ///
    /// # Errors
    /// It is no whole number from 0. (A float that is one is taken: several harnesses write counts so.)
    pub fn count(&self) -> Result<u64, AuditError> {
        let float = || self.value.as_f64().filter(|v| v.fract() == 0.0 && (0.0..9e15).contains(v)).map(|v| v as u64);
        self.value.as_u64().or_else(float).ok_or_else(|| self.wrong("is not a count"))
    }

    /// A number.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self) -> Result<f64, AuditError> {
        self.value.as_f64().filter(|v| v.is_finite()).ok_or_else(|| self.wrong("is not a number"))
    }

    /// Nanoseconds, where the file counts in units of so many.
    ///
    /// # Errors
    /// It is no number, or not one of a time.
    pub fn time(&self, unit: f64) -> Result<f64, AuditError> {
        let ns = self.number()? * unit;
        if ns.abs() < 9e18 { Ok(ns) } else { Err(self.wrong("is longer than any time")) }
    }

    /// [`Self::time`] rounded to the nanosecond.
    ///
    /// # Errors
    /// As there.
    pub fn nanos(&self, unit: f64) -> Result<Nanos, AuditError> {
        // A moment in whole nanoseconds since 1970 has more digits than a float: those stay as they are.
        match self.value.as_i64() {
            Some(whole) if unit == NANOSECOND => Ok(Nanos(whole)),
            _ => self.time(unit).map(|ns| Nanos(ns.round() as i64)),
        }
    }

    /// Whether this is `true`.
    pub fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }
}

/// Units of the files, in nanoseconds.
pub const SECOND: f64 = 1e9;
/// See [`SECOND`].
pub const MILLISECOND: f64 = 1e6;
/// See [`SECOND`].
pub const NANOSECOND: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(Path::new("made-up.json"), text).unwrap()
    }

    #[test]
    fn one_value_or_lines() {
        for (text, values) in [("{\"a\":1}", 1), ("{\"a\":1}\n{\"a\":2}\n\n", 2), ("[1,\n2]", 1), ("7", 1)] {
            assert_eq!(document(text).values.len(), values, "{text}");
        }
        for text in ["", "plain text", "{\"a\":1}\n{\"a\":", "{\"a\":NaN}"] {
            let error = Document::parse(Path::new("made-up.json"), text).unwrap_err().to_string();
            assert!(error.contains("made-up.json: it is neither JSON nor lines of JSON"), "{error}");
        }
    }

    #[test]
    fn numbers_keep_their_units() {
        let document = document(r#"{"s":0.05,"ms":50.25,"ns":1795767636192067900,"n":60.0,"big":1e30}"#);
        let root = document.last();
        let nanos = |key: &str, unit| root.get(key).unwrap().nanos(unit).unwrap().0;
        assert_eq!(nanos("s", SECOND), 50_000_000);
        assert_eq!(nanos("ms", MILLISECOND), 50_250_000);
        assert_eq!(nanos("ns", NANOSECOND), 1_795_767_636_192_067_900);
        assert_eq!(root.get("n").unwrap().count().unwrap(), 60);
        assert!(root.get("big").unwrap().time(SECOND).is_err());
    }

    #[test]
    fn errors_name_file_and_field() {
        let document = document(r#"{"a":{"b":[{"c":"x"}],"d":null}}"#);
        let root = document.last();
        let check = |error: AuditError, says: &str| assert_eq!(error.to_string(), format!("reading made-up.json: field {says}"));
        check(root.at(&["a", "e"]).unwrap_err(), "`a.e` is missing");
        check(root.at(&["a", "d"]).unwrap_err(), "`a.d` is missing");
        check(root.get("a").unwrap().items().unwrap_err(), "`a` is not a list");
        let items = root.at(&["a", "b"]).unwrap().items().unwrap();
        check(items[0].get("c").unwrap().number().unwrap_err(), "`a.b[0].c` is not a number");
        let lines = document.lines().next().unwrap();
        check(lines.get("z").unwrap_err(), "`line 1: z` is missing");
    }
}
