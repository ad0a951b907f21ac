//! What a started engine prints: kept in a file without secrets, its end at hand.

use super::secrets::Secrets;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Lines of the end that are at hand.
const TAIL: usize = 20;
/// Characters of such a line.
const SHOWN: usize = 300;
/// Bytes of the file; what an engine prints beyond it is told of and lost.
const MOST: u64 = 256 << 20;
/// A line longer than this is cut into several.
const LONGEST_LINE: usize = 64 << 10;
/// How long the last words of an engine that is gone may take to arrive: only a process that inherited its output holds them up.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// An engine's log.
pub struct Log {
    path: PathBuf,
    tail: Arc<Mutex<VecDeque<String>>>,
    done: Receiver<()>,
}

impl Log {
    /// Keeps what comes from `pipe` in a new file.
    ///
    /// # Errors
    /// There is no file or no thread to be had.
    pub fn start(path: &Path, pipe: PipeReader, secrets: Secrets) -> io::Result<Self> {
        let mut kept = Kept { file: File::create(path)?, bytes: 0, tail: Arc::default(), secrets };
        let tail = kept.tail.clone();
        let (ended, done) = channel();
        std::thread::Builder::new().name("engine-log".into()).spawn(move || {
            kept.follow(pipe);
            // Nobody may be waiting.
            let _ = ended.send(());
        })?;
        Ok(Self { path: path.to_owned(), tail, done })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last line, without control characters.
    pub fn last(&self) -> Option<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }

    /// The last lines once the engine is gone, each behind a mark, and where the whole is.
    pub fn end(&self) -> String {
        let _ = self.done.recv_timeout(LAST_WORDS);
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.is_empty() {
            return "it printed nothing".into();
        }
        let lines: String = tail.iter().flat_map(|line| ["\n  | ", line]).collect();
        format!("the end of what it printed:{lines}\nall of it: {}", self.path.display())
    }
}

struct Kept {
    file: File,
    bytes: u64,
    tail: Arc<Mutex<VecDeque<String>>>,
    secrets: Secrets,
}

impl Kept {
    fn follow(&mut self, mut pipe: PipeReader) {
        let mut buffer = vec![0; 16 << 10];
        let mut open: Vec<u8> = vec![];
        loop {
            let n = match pipe.read(&mut buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            if n == 0 {
                break;
            }
            open.extend_from_slice(&buffer[..n]);
            // Whole lines only: a secret is never cut in two by a read.
            if let Some(end) = open.iter().rposition(|b| *b == b'\n') {
                let rest = open.split_off(end + 1);
                self.keep(&open);
                open = rest;
            } else if open.len() > LONGEST_LINE {
                // What may be the beginning of a secret waits for what follows.
                let rest = open.split_off(open.len() - self.secrets.longest().min(open.len()));
                self.keep(&open);
                open = rest;
            }
        }
        self.keep(&open);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let text = self.secrets.scrub(&String::from_utf8_lossy(bytes));
        if self.bytes < MOST {
            // A full disk takes the log and not the run.
            let _ = self.file.write_all(text.as_bytes());
            self.bytes += text.len() as u64;
            if self.bytes >= MOST {
                let _ = self.file.write_all(b"\n(nomoat: the log ends here; it became too long)\n");
            }
        }
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        // A progress bar redraws its line: what it shows last counts.
        let lines = text.lines().map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default());
        for line in lines {
            let line: String = line.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
            if !line.trim().is_empty() {
                tail.push_back(line);
            }
            if tail.len() > TAIL {
                tail.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of `pieces`, written one by one, and the lines at hand.
    fn kept(pieces: &[&str]) -> (String, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.log");
        let secrets = Secrets::among(&[("A_KEY".into(), "planted-secret".into())], &[]);
        let (reader, mut writer) = io::pipe().unwrap();
        let log = Log::start(&path, reader, secrets).unwrap();
        pieces.iter().for_each(|piece| writer.write_all(piece.as_bytes()).unwrap());
        drop(writer);
        let end = log.end();
        let lines = end.lines().filter_map(|line| line.strip_prefix("  | ")).map(str::to_owned).collect();
        (std::fs::read_to_string(path).unwrap(), lines)
    }

    #[test]
    fn lines_are_kept_without_secrets() {
        let (text, lines) = kept(&["key: plan", "ted-secret\nnext\n\n", "no end"]);
        assert_eq!(text, "key: <redacted>\nnext\n\nno end");
        assert_eq!(lines, ["key: <redacted>", "next", "no end"]);
    }

    #[test]
    fn a_long_line_hides_nothing() {
        let long = "x".repeat(LONGEST_LINE - 3);
        let (text, _) = kept(&[&long, "planted-secret", &long, &long, "\n"]);
        assert!(!text.contains("planted"), "{}", text.len());
        assert_eq!(text.matches("<redacted>").count(), 1);
        assert_eq!(text.len(), 3 * long.len() + "<redacted>".len() + 1);
    }

    #[test]
    fn the_end_is_at_hand() {
        let many = (0..100).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
        let (_, lines) = kept(&[&many, "loading 1%\rloading 2%\r\n\u{1b}[31mred\n"]);
        assert_eq!(lines.len(), TAIL);
        assert_eq!(lines[TAIL - 3..], ["line 99", "loading 2%", "[31mred"]);
        assert_eq!(kept(&[]).1, Vec::<String>::new());
    }
}
