//! Writing data to stdout. A reader that goes away (`| head`) ends the output, not the process.

use std::io::Write as _;

/// Writes `text`.
pub fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    // The only error worth telling would go to a terminal that is gone.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes `text` and ends the line.
pub fn line(text: &str) {
    put(&format!("{text}\n"));
}
