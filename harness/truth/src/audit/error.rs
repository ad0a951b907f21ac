//! Why a result file cannot be used.

use std::io;
use std::path::PathBuf;

/// What can go wrong while another harness's result is read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file or folder cannot be read.
    #[error("reading {}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is neither JSON nor lines of JSON.
    #[error("reading {}: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A field that the format has is missing or is something else.
    #[error("reading {}: field `{field}` {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, with the names and positions that lead to it.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A file has no format that is known.
    #[error("reading {}: no reader knows this format (tried {tried}); --tool NAME says which it is", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The readers that were asked.
        tried: String,
    },
    /// A folder holds no result.
    #[error("no result under {}: {looked} (tried {tried}); --result FILE says where it is", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
        /// What was looked at.
        looked: String,
        /// The readers that were asked.
        tried: String,
    },
}
