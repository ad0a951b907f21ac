//! What can go wrong with stored bytes. Nothing here is about the measurement itself.

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be stored or read back.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done, such as "writing".
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A Parquet file that cannot be written or read.
    #[error("{doing} {}: {source}", path.display())]
    Parquet {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the format's library said.
        source: parquet::errors::ParquetError,
    },
    /// A file of another kind, or of a newer version than this program knows.
    #[error("{what} has schema `{found}`, this nomoat reads `{known}`; {remedy}")]
    Schema {
        /// Which file.
        what: String,
        /// The schema it states.
        found: String,
        /// The schema this reader knows.
        known: &'static str,
        /// What to try.
        remedy: &'static str,
    },
    /// JSON that does not say what it should.
    #[error("reading {what}: {source}")]
    Json {
        /// Which file.
        what: String,
        /// Line, column and what was expected there.
        source: serde_json::Error,
    },
    /// A value that the format allows and this program does not.
    #[error("{what}: {why}")]
    Value {
        /// Where it stands.
        what: String,
        /// What is wrong with it and what it may be.
        why: String,
    },
    /// A path that is not a run, or a run that is not in the state that is needed.
    #[error("{} {why}", path.display())]
    Run {
        /// The path that was given.
        path: PathBuf,
        /// What is missing or wrong, and what to try.
        why: String,
    },
}

impl StoreError {
    /// For `map_err`: the file system said no while `doing` something to `path`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// For `map_err`: the Parquet library said no while `doing` something to `path`.
    pub(crate) fn parquet(doing: &'static str, path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.to_owned();
        move |source| Self::Parquet { doing, path, source }
    }

    /// A value that is not allowed at a place.
    pub(crate) fn value(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Value { what: what.into(), why: why.into() }
    }

    /// A path that is not the run it should be.
    pub(crate) fn run(path: &Path, why: impl Into<String>) -> Self {
        Self::Run { path: path.to_owned(), why: why.into() }
    }
}

/// Checks the schema a file states against the one this reader knows: `name/major`, the same major.
pub(crate) fn check_schema(what: &str, found: Option<&str>, known: &'static str) -> Result<(), StoreError> {
    let found = found.unwrap_or("none");
    if found == known {
        return Ok(());
    }
    let (name, major) = known.split_once('/').expect("every schema constant of this crate is written name/major");
    let newer = found
        .split_once('/')
        .filter(|(n, _)| *n == name)
        .and_then(|(_, m)| m.parse::<u32>().ok())
        .is_some_and(|m| major.parse().is_ok_and(|ours: u32| m > ours));
    let remedy = if newer { "it was written by a newer nomoat, update this one" } else { "check that it is the right file" };
    Err(StoreError::Schema { what: what.to_owned(), found: found.chars().take(80).collect(), known, remedy })
}

#[cfg(test)]
mod tests {
    use super::check_schema;

    #[test]
    fn schemas_are_told_apart() {
        assert!(check_schema("f", Some("run-summary/1"), "run-summary/1").is_ok());
        for (found, says) in [
            (Some("run-summary/2"), "update this one"),
            (Some("run-manifest/2"), "right file"),
            (Some("run-summary/x"), "right file"),
            (None, "schema `none`"),
        ] {
            let error = check_schema("f", found, "run-summary/1").unwrap_err().to_string();
            assert!(error.contains(says), "{found:?}: {error}");
        }
    }
}
