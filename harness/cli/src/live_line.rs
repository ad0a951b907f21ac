//! One line on stderr that is told again while something is waited for: redrawn on a terminal, a plain line now and then elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

const LIVE_EVERY: Duration = Duration::from_millis(200);
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Characters of a line that is redrawn: a longer one would break into two and stay.
const WIDTH: usize = 100;

/// The line.
pub struct LiveLine {
    enabled: bool,
    terminal: bool,
    told: Instant,
}

impl LiveLine {
    /// A line that says nothing unless `enabled`.
    pub fn new(enabled: bool) -> Self {
        let terminal =
            std::io::stderr().is_terminal() && std::env::var_os("CI").is_none() && std::env::var("TERM").as_deref() != Ok("dumb");
        Self { enabled, terminal, told: Instant::now() }
    }

    /// Tells `text` if it is time to.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        if !self.enabled || self.told.elapsed() < if self.terminal { LIVE_EVERY } else { PLAIN_EVERY } {
            return;
        }
        self.told = Instant::now();
        let text = text();
        let mut err = std::io::stderr().lock();
        let short: String = text.chars().take(WIDTH).collect();
        // A terminal that went away is no reason to stop.
        let _ = if self.terminal { write!(err, "\r\x1b[2K{short}") } else { writeln!(err, "{text}") };
        let _ = err.flush();
    }

    /// Takes it off the terminal.
    pub fn clear(&self) {
        if self.enabled && self.terminal {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}
