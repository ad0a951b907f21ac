//! Compiled kernels on disk: by text, defines, architecture, compiler and options.
//!
//! A file is a header, a checksum of key and code, and the code. Files appear whole (written beside, then renamed); one that is damaged, or
//! was put there under another key, is removed and compiled anew. That nothing can be written costs time, not a measurement.

use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const MAGIC: &[u8; 8] = b"nomoatk2";
/// Length of magic and checksum.
const HEADER: usize = 40;

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
    /// Something in this file that is not what was put there under the key; it has been removed, if that was possible.
    Damaged(PathBuf),
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
        if bytes.len() > HEADER && bytes[..8] == *MAGIC && checksum(key, &bytes[HEADER..])[..] == bytes[8..HEADER] {
            return Kept::Code(bytes[HEADER..].to_vec());
        }
        // If it cannot be removed it is found damaged again, and compiled anew again.
        let _ = std::fs::remove_file(&path);
        Kept::Damaged(path)
    }

    /// Keeps code under a key, if the folder can be written.
    pub fn put(&self, key: &str, code: &[u8]) {
        let (Some(path), Some(folder)) = (self.path(key), &self.folder) else { return };
        // Two threads of a process may keep the same code at once.
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
        let bytes = [&MAGIC[..], &checksum(key, code), code].concat();
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

fn checksum(key: &str, code: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(key).chain_update([0]).chain_update(code).finalize().into()
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
        let whole = std::fs::read(&file).unwrap();
        let flipped = [&whole[..whole.len() - 1], b"!"].concat();
        let short = &whole[..whole.len() - 1];
        let other = b"something else entirely, long enough to have a header of its own";
        for damage in [&flipped[..], short, &MAGIC[..], other, b""] {
            std::fs::write(&file, damage).unwrap();
            assert_eq!(cache.get(&key), Kept::Damaged(file.clone()));
            assert!(!file.exists());
            assert_eq!(cache.get(&key), Kept::Nothing);
        }
    }

    #[test]
    fn whole_code_of_another_key_is_not_taken_for_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_owned());
        cache.put("one", b"code of one");
        std::fs::rename(folder.path().join("one.bin"), folder.path().join("two.bin")).unwrap();
        assert_eq!(cache.get("two"), Kept::Damaged(folder.path().join("two.bin")));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn threads_that_keep_the_same_code_leave_one_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().to_owned());
        let code = vec![7; 1 << 16];
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| cache.put("key", &code));
            }
        });
        assert_eq!(cache.get("key"), Kept::Code(code));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
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
