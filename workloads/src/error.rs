//! What can be wrong with a trace, each with its place and what to do about it.

use std::io;

/// Why a trace could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file itself could not be opened or read.
    #[error("read trace {file}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// One field of one line is wrong.
    #[error("{file}:{line}: field `{field}` {problem}; it should be {should}")]
    Field {
        /// The file.
        file: String,
        /// Line number, from 1.
        line: u64,
        /// Path of the field inside the line, such as `in.b.keep`.
        field: String,
        /// What is wrong with it.
        problem: String,
        /// What it should be.
        should: String,
    },
    /// One line is wrong as a whole.
    #[error("{file}:{line}: {problem}; {remedy}")]
    Line {
        /// The file.
        file: String,
        /// Line number, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
        /// What to try next.
        remedy: String,
    },
    /// The file is wrong as a whole.
    #[error("read trace {file}: {problem}; {remedy}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
        /// What to try next.
        remedy: String,
    },
    /// A format that nobody here reads was asked for.
    #[error("unknown trace format `{name}`; did you mean `{nearest}`? (known: {known})")]
    UnknownFormat {
        /// As given.
        name: String,
        /// The most similar one there is.
        nearest: String,
        /// All of them.
        known: String,
    },
    /// A generator that nobody here has was asked for.
    #[error("unknown generator `{name}`; did you mean `{nearest}`? (known: {known})")]
    UnknownGenerator {
        /// As given.
        name: String,
        /// The most similar one there is.
        nearest: String,
        /// All of them.
        known: String,
    },
    /// A suite that nobody here has was asked for.
    #[error("unknown suite `{name}`; did you mean `{nearest}`? (known: {known})")]
    UnknownSuite {
        /// As given.
        name: String,
        /// The most similar one there is.
        nearest: String,
        /// All of them.
        known: String,
    },
    /// A generator has no such option.
    #[error("make `{generator}`: it has no option `{option}`; did you mean `{nearest}`? (options: {known})")]
    UnknownOption {
        /// The generator.
        generator: String,
        /// As given.
        option: String,
        /// The most similar one there is.
        nearest: String,
        /// All of them.
        known: String,
    },
    /// An option of a generator has a value that cannot be.
    #[error("make `{generator}`: option `{option}` {problem}; it should be {should}")]
    Setting {
        /// The generator.
        generator: String,
        /// The option.
        option: String,
        /// What is wrong with it.
        problem: String,
        /// What it should be.
        should: String,
    },
    /// The output could not be written.
    #[error("write trace `{trace}`: {source}; check the space and permissions of the target")]
    Write {
        /// Name of the trace.
        trace: String,
        /// What the system said.
        source: io::Error,
    },
    /// The trace in memory holds something that the file format cannot say.
    #[error("write trace `{trace}`: {problem}; {remedy}")]
    Unwritable {
        /// Name of the trace.
        trace: String,
        /// What cannot be said, and where.
        problem: String,
        /// What to try next.
        remedy: String,
    },
}

/// One line of one file: where an error is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub file: &'a str,
    pub line: u64,
}

impl Place<'_> {
    /// A field of this line is wrong.
    pub fn field(&self, field: impl Into<String>, problem: impl Into<String>, should: impl Into<String>) -> TraceError {
        TraceError::Field { file: self.file.into(), line: self.line, field: field.into(), problem: problem.into(), should: should.into() }
    }

    /// This line is wrong.
    pub fn line(&self, problem: impl Into<String>, remedy: impl Into<String>) -> TraceError {
        TraceError::Line { file: self.file.into(), line: self.line, problem: problem.into(), remedy: remedy.into() }
    }
}

/// The file is wrong as a whole.
pub(crate) fn file_error(file: &str, problem: impl Into<String>, remedy: impl Into<String>) -> TraceError {
    TraceError::File { file: file.into(), problem: problem.into(), remedy: remedy.into() }
}
