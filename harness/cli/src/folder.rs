//! Where the files of an audit or a calibration are: a folder that goes away with it, or one that was asked for and stays.

use crate::exit::Failure;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder that was empty at the beginning.
pub struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// `keep`, which must be new or empty, or a folder among the system's temporary ones.
    pub fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let path = keep.map_or_else(|| std::env::temp_dir().join(format!("nomoat-{}", uuid::Uuid::now_v7())), Path::to_owned);
        let failed = |e| Failure::usage(format!("making the folder {}: {e}", path.display()));
        if keep.is_some() && path.is_dir() {
            if fs::read_dir(&path).map_err(failed)?.next().is_some() {
                return Err(Failure::usage(format!("--keep {}: the folder is not empty; give a new one", path.display())));
            }
        } else {
            fs::create_dir_all(&path).map_err(failed)?;
        }
        // Commands may be started elsewhere, so that a relative path would lead them astray.
        let path = fs::canonicalize(&path).map_err(failed)?;
        Ok(Self { path, keep: keep.is_some() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A new folder in it.
    pub fn dir(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(|e| Failure::usage(format!("making the folder {}: {e}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is left to the system that cleans its temporary files.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
