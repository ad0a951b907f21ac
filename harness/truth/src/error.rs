//! Why a truth server cannot start, or why its log cannot be read. What happens to one request is a status and a row, not an error.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What can go wrong outside of a request.
#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    /// A script that cannot be played.
    #[error("script: {0}")]
    Script(String),
    /// The address cannot be listened on.
    #[error("listening on {addr}: {source}; give another address, or port 0 for a free one")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread, a runtime or a timer could not be made.
    #[error("starting {what}: {source}")]
    Start {
        /// The thing.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A recorded response cannot be played.
    #[error("recorded responses {}: {why}", path.display())]
    Play {
        /// The file or the folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("setting up TLS: {0}")]
    Tls(String),
    /// The log file cannot be opened or read.
    #[error("log file {}: {source}", path.display())]
    LogFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of a log file is not a row.
    #[error("log file {} line {line}: {reason}; each line is one JSON object as the truth server writes it", path.display())]
    LogLine {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}
