//! Files that appear whole or not at all.

use crate::error::StoreError;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Lets `write` make a file beside `path`, then puts it there in one step.
///
/// # Errors
/// What `write` says, or that the file cannot be put there.
pub(crate) fn write_with(path: &Path, write: impl FnOnce(&Path) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = Path::new(&beside);
    write(beside).inspect_err(|_| {
        // What is half written is of no use; that it may stay behind if even this fails harms nobody.
        let _ = fs::remove_file(beside);
    })?;
    fs::rename(beside, path).map_err(StoreError::io("renaming to", path))
}

/// The same of a text, which is on the disk before it is put in its place.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), StoreError> {
    write_with(path, |beside| {
        let write = || {
            let mut file = File::create(beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(StoreError::io("writing", beside))
    })
}
