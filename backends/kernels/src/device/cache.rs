//! Compiled kernels on disk: by text, defines, architecture, compiler and options.
//!
//! A file is a header, a checksum and the code. Files appear whole (written beside, then renamed); one that is damaged is removed and
//! compiled anew. That nothing can be written costs time, not a measurement.

use sha2::{Digest, Sha256};
use std::path::PathBuf;

const MAGIC: &[u8; 8] = b"nomoatk1";

/// A folder of compiled code.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
}

/// What the cache has for a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// The code.
    Code(Vec<u8>),
    /// Nothing.
    Nothing,
    /// Something that is not what was put there; it has been removed.
    Damaged,
}

impl Cache {
    /// The user's cache: `XDG_CACHE_HOME`, else `.cache` in the home folder; none without a home.
    pub fn of_user() -> Self {
        let folder = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let folder = folder.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
        Self { folder: folder.map(|folder| folder.join("nomoat/kernels")) }
    }

    /// A cache in a folder, which is made when something is kept.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// The key of what a compiler is given.
    pub fn key(parts: &[&str]) -> String {
        let mut sha = Sha256::new();
        for part in parts {
            // Lengths keep two lists apart that read alike when joined.
            sha.update((part.len() as u64).to_le_bytes());
            sha.update(part.as_bytes());
        }
        hex(&sha.finalize())
    }

    /// What is kept under a key.
    pub fn get(&self, key: &str) -> Kept {
        let Some(path) = self.path(key) else { return Kept::Nothing };
        let Ok(bytes) = std::fs::read(&path) else { return Kept::Nothing };
        if bytes.len() > 40 && bytes[..8] == *MAGIC && Sha256::digest(&bytes[40..])[..] == bytes[8..40] {
            return Kept::Code(bytes[40..].to_vec());
        }
        // If it cannot be removed it is found damaged again, and compiled anew again.
        let _ = std::fs::remove_file(&path);
        Kept::Damaged
    }

    /// Keeps code under a key, if the folder can be written.
    pub fn put(&self, key: &str, code: &[u8]) {
        let (Some(path), Some(folder)) = (self.path(key), &self.folder) else { return };
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        let bytes = [&MAGIC[..], &Sha256::digest(code)[..], code].concat();
        let kept =
            std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&beside, bytes)).and_then(|()| std::fs::rename(&beside, &path));
        if kept.is_err() {
            // What is half written is of no use to anybody.
            let _ = std::fs::remove_file(&beside);
        }
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{key}.bin")))
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_what_is_damaged_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("deep/er"));
        let key = Cache::key(&["text", "sm_90a"]);
        assert_eq!(cache.get(&key), Kept::Nothing);
        cache.put(&key, b"code of a device");
        assert_eq!(cache.get(&key), Kept::Code(b"code of a device".to_vec()));
        let file = folder.path().join("deep/er").join(format!("{key}.bin"));
        for damage in [&b"nomoatk1"[..], b"something else entirely, long enough to have a header of its own", b""] {
            std::fs::write(&file, damage).unwrap();
            assert_eq!(cache.get(&key), Kept::Damaged);
            assert!(!file.exists());
            assert_eq!(cache.get(&key), Kept::Nothing);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_keeps_nothing_and_breaks_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = Cache::at(file.path().join("below a file"));
        cache.put("key", b"code");
        assert_eq!(cache.get("key"), Kept::Nothing);
    }

    #[test]
    fn keys_tell_lists_apart() {
        assert_ne!(Cache::key(&["ab", "c"]), Cache::key(&["a", "bc"]));
        assert_eq!(Cache::key(&["a"]).len(), 64);
    }
}
