//! Where a trace is written: stdout, a file, or a file of zstd frames. A file appears whole or not at all.

use crate::exit::Failure;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Bytes of text in one frame: a reader can begin at any, and a torn file loses its last one only.
const FRAME: usize = 1 << 20;

/// Bytes on their way.
pub struct Target {
    out: Box<dyn Write>,
    /// Text that waits for its frame, where the target is compressed.
    frame: Option<Vec<u8>>,
    /// The file while it is written, and its name afterwards.
    named: Option<(PathBuf, PathBuf)>,
}

impl Target {
    /// `None` is stdout.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self { out: Box::new(BufWriter::new(std::io::stdout())), frame: None, named: None });
        };
        let part = path.with_file_name(format!("{}.part", path.file_name().unwrap_or_default().to_string_lossy()));
        let file = File::create(&part).map_err(|e| wrong(path, &e))?;
        Ok(Self {
            out: Box::new(BufWriter::with_capacity(1 << 18, file)),
            frame: path.extension().is_some_and(|ending| ending == "zst").then(Vec::new),
            named: Some((part, path.to_owned())),
        })
    }

    /// Writes what waits and gives the file its name.
    pub fn close(mut self) -> Result<(), Failure> {
        let name = self.named.as_ref().map_or_else(|| Path::new("stdout").to_owned(), |(_, path)| path.clone());
        self.end_frame().and_then(|()| self.out.flush()).map_err(|e| wrong(&name, &e))?;
        if let Some((part, path)) = self.named.take() {
            std::fs::rename(&part, &path).map_err(|e| wrong(&path, &e))?;
        }
        Ok(())
    }

    fn end_frame(&mut self) -> std::io::Result<()> {
        let Some(text) = self.frame.as_mut().filter(|text| !text.is_empty()) else { return Ok(()) };
        let frame = zstd::encode_all(&text[..], 3)?;
        text.clear();
        self.out.write_all(&frame)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // What was not closed is not whole.
        if let Some((part, _)) = &self.named {
            let _ = std::fs::remove_file(part);
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let Some(text) = &mut self.frame else { return self.out.write(bytes) };
        text.extend_from_slice(bytes);
        if text.len() >= FRAME {
            self.end_frame()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn wrong(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("writing {}: {error}", path.display()))
}
