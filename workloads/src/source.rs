//! A trace's file or folder as an importer sees it: bytes without compression, the files beside it, a name for messages.

use crate::error::TraceError;
use crate::lines::Lines;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 18;

/// A file or folder that is being imported.
pub struct Source<'a> {
    path: Option<PathBuf>,
    name: String,
    /// Names of the files in it, sorted, if it is a folder.
    names: Option<Vec<String>>,
    input: Box<dyn BufRead + 'a>,
}

impl Source<'static> {
    /// Opens a file, decompressing it where it is compressed by gzip or zstd, or a folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let name = path.display().to_string();
        let wrong = |source| TraceError::Read { file: name.clone(), source };
        if path.is_dir() {
            let mut names = vec![];
            for entry in std::fs::read_dir(path).map_err(wrong)? {
                let entry = entry.map_err(wrong)?;
                if entry.path().is_file() {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            names.sort();
            return Ok(Self { path: Some(path.into()), name, names: Some(names), input: Box::new(std::io::empty()) });
        }
        let mut input = BufReader::with_capacity(BUFFER, File::open(path).map_err(wrong)?);
        let head = input.fill_buf().map_err(wrong)?;
        let input: Box<dyn BufRead> = if head.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(input)))
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Box::new(BufReader::with_capacity(BUFFER, zstd::Decoder::with_buffer(input).map_err(wrong)?))
        } else {
            Box::new(input)
        };
        Ok(Self { path: Some(path.into()), name, names: None, input })
    }
}

impl<'a> Source<'a> {
    /// Bytes in memory, under a name for messages.
    pub fn bytes(name: &str, bytes: &'a [u8]) -> Self {
        Self { path: None, name: name.into(), names: None, input: Box::new(bytes) }
    }

    /// The path as given, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names of the files in it, sorted, if it is a folder.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// The first bytes, at least one unless it is empty; they stay unread.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn head(&mut self) -> Result<&[u8], TraceError> {
        self.input.fill_buf().map_err(|source| TraceError::Read { file: self.name.clone(), source })
    }

    /// Its lines, from where it stands.
    pub(crate) fn lines(&mut self) -> Lines<'_> {
        Lines::new(&mut *self.input, &self.name)
    }

    /// Its bytes as they come, from where it stands, and its name.
    pub(crate) fn reader(&mut self) -> (&mut dyn BufRead, &str) {
        (&mut *self.input, &self.name)
    }

    /// The file `name` in this folder, or beside this file. `None` where there is none, or where this is no file.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(crate) fn beside(&self, name: &str) -> Result<Option<Source<'static>>, TraceError> {
        let Some(path) = &self.path else { return Ok(None) };
        let folder = if self.names.is_some() { path.clone() } else { path.parent().map(Path::to_path_buf).unwrap_or_default() };
        let file = folder.join(name);
        if file.is_file() { Source::open(&file).map(Some) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn decompresses_and_finds_neighbours() {
        let folder = std::env::temp_dir().join(format!("nomoat-source-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        gz.write_all(b"one\n").unwrap();
        std::fs::write(folder.join("a.gz"), gz.finish().unwrap()).unwrap();
        // Two frames, one after the other, are one file.
        let frames = [zstd::encode_all(&b"two\n"[..], 1).unwrap(), zstd::encode_all(&b"three\n"[..], 1).unwrap()].concat();
        std::fs::write(folder.join("b.zst"), frames).unwrap();
        let read = |name: &str| {
            let mut bytes = vec![];
            Source::open(&folder.join(name)).unwrap().input.read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!((read("a.gz"), read("b.zst")), (b"one\n".to_vec(), b"two\nthree\n".to_vec()));
        let all = Source::open(&folder).unwrap();
        assert_eq!(all.names().unwrap(), ["a.gz", "b.zst"]);
        assert_eq!(all.beside("b.zst").unwrap().unwrap().head().unwrap(), b"two\n");
        assert!(Source::open(&folder.join("a.gz")).unwrap().beside("c").unwrap().is_none());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
