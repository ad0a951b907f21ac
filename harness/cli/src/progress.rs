//! What a run shows while it runs, on stderr: one live line on a terminal, a plain line every five seconds elsewhere.

use nomoat_core::event::Live;
use nomoat_core::units::Nanos;
use nomoat_drive::Progress;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LIVE_EVERY: Duration = Duration::from_millis(200);
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// A line that follows a run.
pub struct Shown(Option<(Sender<()>, JoinHandle<()>)>);

/// Starts following, unless quiet.
pub fn start(enabled: bool, words: &str, live: Arc<Live>, distributions: Arc<Mutex<Progress>>) -> std::io::Result<Shown> {
    if !enabled {
        return Ok(Shown(None));
    }
    let terminal = std::io::stderr().is_terminal() && std::env::var_os("CI").is_none() && std::env::var("TERM").as_deref() != Ok("dumb");
    eprintln!("running: {words}");
    let (done, ended) = channel::<()>();
    let follow = move || {
        let begun = Instant::now();
        let (mut seen, mut at) = (0, begun);
        let every = if terminal { LIVE_EVERY } else { PLAIN_EVERY };
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(every) {
            let tokens = live.tokens.load(Relaxed);
            let rate = (tokens - seen) as f64 / at.elapsed().as_secs_f64().max(1e-9);
            (seen, at) = (tokens, Instant::now());
            let text = line(&live, &distributions, begun.elapsed(), rate);
            let mut err = std::io::stderr().lock();
            // A terminal that went away is no reason to stop measuring.
            let _ = if terminal { write!(err, "\r\x1b[2K{text}") } else { writeln!(err, "{text}") };
            let _ = err.flush();
        }
        if terminal {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    };
    let thread = std::thread::Builder::new().name("progress".into()).spawn(follow)?;
    Ok(Shown(Some((done, thread))))
}

impl Shown {
    /// Stops following and clears the line.
    pub fn finish(self) {
        if let Some((done, thread)) = self.0 {
            drop(done);
            // A progress line that panicked has nothing to say about the measurement.
            let _ = thread.join();
        }
    }
}

fn line(live: &Live, distributions: &Mutex<Progress>, elapsed: Duration, rate: f64) -> String {
    let mut text = format!(
        "{:>4.0} s  sent {}  ok {}  failed {}  in flight {}  {rate:.0} tokens/s",
        elapsed.as_secs_f64(),
        live.sent.load(Relaxed),
        live.ok.load(Relaxed),
        live.failed.load(Relaxed),
        live.in_flight.load(Relaxed)
    );
    let distributions = distributions.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = |q: Option<i64>| q.map_or("–".to_owned(), |ns| Nanos(ns).to_string());
    let _ = write!(
        text,
        "  TTFT p50 {} p99 {}  lag p99 {}",
        shown(distributions.ttft.quantile(0.5)),
        shown(distributions.ttft.quantile(0.99)),
        shown(distributions.lag.quantile(0.99))
    );
    text
}
