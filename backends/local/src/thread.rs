//! The engine's thread: takes commands, steps, hands tokens over. It sleeps when there is nothing to do.
//!
//! Requests come through a bounded channel; each has a channel of its own back, bounded by its answer's length, so that handing
//! over never waits. A request whose receiver is gone is cancelled before the next step. The thread runs at lower
//! priority than the harness, because they share the host and the harness must not be late.

use crate::capacity::{self, Capacity, CapacityError, Load};
use crate::config::LocalConfig;
use crate::engine::Engine;
use crate::gauges::Gauges;
use crate::kernels::Kernel;
use crate::pool::PoolUsage;
use crate::scheduler::{Ask, Limits, SequenceId};
use nomoat_core::backend::BackendError;
use nomoat_core::record::FinishReason;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Requests that the engine holds, running and waiting together. More wait in the channel, and beyond that their senders wait.
const MOST_HELD: usize = 4096;

/// Commands in the channel.
const MOST_QUEUED: usize = 1024;

/// How much the engine gives way to the thread that starts it: with 10 steps between them the other has about nine tenths of
/// a contended core.
const NICENESS: i32 = 10;

/// A token as it is handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The token.
    pub token: u32,
    /// Why it is the last, if it is.
    pub finish: Option<FinishReason>,
}

/// What the engine's thread is told.
#[derive(Debug)]
pub enum Command {
    /// Generate, and hand the tokens over here. Closing the receiver cancels.
    Generate(Ask, mpsc::Sender<Piece>),
    /// Find out what the engine sustains.
    Measure(Load, std::sync::mpsc::Sender<Result<Capacity, CapacityError>>),
}

/// What the outside knows of a running engine.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Where commands go. The thread ends when all of these are gone and its work is done.
    pub commands: mpsc::Sender<Command>,
    /// Its numbers.
    pub gauges: Arc<Gauges>,
    /// What bounds its requests.
    pub limits: Limits,
    /// The pool as it was at the start: nothing used, capacity and block size.
    pub pool: PoolUsage,
    /// Why the thread could not lower its priority, if so.
    pub priority: Result<(), String>,
}

/// Builds the engine and starts its thread, called `engine-0`.
///
/// # Errors
/// [`BackendError::Config`] for a setting that cannot work, [`BackendError::Unreachable`] when the system gives no thread.
pub fn start(config: &LocalConfig, kernel: Kernel) -> Result<Handle, BackendError> {
    let prepare = || {
        // Helpers do as the first thread does, and it reports.
        let _ = give_way();
    };
    let engine = Engine::new(config, kernel, prepare)?;
    let (commands, inbox) = mpsc::channel(MOST_QUEUED);
    let gauges = Arc::new(Gauges::default());
    let (limits, pool) = (*engine.limits(), engine.pool());
    let (report, reported) = std::sync::mpsc::channel();
    let shown = gauges.clone();
    let work = move || {
        // The receiver waits below; if it is gone the engine is too.
        let _ = report.send(give_way());
        Loop { engine, owners: HashMap::new(), gauges: shown }.run(inbox);
    };
    let no_thread = |error: String| BackendError::Unreachable(format!("starting the thread of the built-in engine: {error}"));
    std::thread::Builder::new().name("engine-0".into()).spawn(work).map_err(|error| no_thread(error.to_string()))?;
    let priority = reported.recv().map_err(|_| no_thread("it ended at once".into()))?;
    Ok(Handle { commands, gauges, limits, pool, priority })
}

/// Lowers the priority of the calling thread only: on Linux `PRIO_PROCESS` with a thread id means that thread.
fn give_way() -> Result<(), String> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        let thread = Some(rustix::thread::gettid());
        let lower = getpriority_process(thread).map(|now| (now + NICENESS).min(19));
        lower.and_then(|lower| setpriority_process(thread, lower)).map_err(|error| error.to_string())
    }
    #[cfg(not(target_os = "linux"))]
    Err("not known how on this system".into())
}

struct Loop {
    engine: Engine,
    owners: HashMap<SequenceId, mpsc::Sender<Piece>>,
    gauges: Arc<Gauges>,
}

impl Loop {
    fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            if self.engine.is_idle() {
                match inbox.blocking_recv() {
                    Some(command) => self.obey(command),
                    None => return,
                }
            }
            while self.owners.len() < MOST_HELD
                && let Ok(command) = inbox.try_recv()
            {
                self.obey(command);
            }
            self.drop_abandoned();
            let step = self.engine.step();
            self.gauges.count(step);
            self.gauges.show(&self.engine);
            self.hand_over();
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            // A request that can never run loses its sender here; the channel has checked before and reports it as it does.
            Command::Generate(ask, owner) => {
                if let Ok(id) = self.engine.submit(ask) {
                    self.owners.insert(id, owner);
                }
            }
            Command::Measure(load, reply) => {
                // Nobody waiting for the figure is no harm.
                let _ = reply.send(capacity::measure(&mut self.engine, load));
            }
        }
    }

    /// Cancels every request whose receiver is gone.
    fn drop_abandoned(&mut self) {
        let engine = &mut self.engine;
        self.owners.retain(|id, owner| {
            let abandoned = owner.is_closed();
            if abandoned {
                engine.cancel(*id);
            }
            !abandoned
        });
    }

    fn hand_over(&mut self) {
        for produced in self.engine.produced() {
            let Some(owner) = self.owners.get(&produced.id) else { continue };
            // Closed by now: `drop_abandoned` sees it before the next step. Full it cannot be: it has room for the whole answer.
            if let Ok(permit) = owner.try_reserve() {
                self.gauges.handing_over();
                permit.send(Piece { token: produced.token, finish: produced.finish });
            }
            if produced.finish.is_some() {
                self.owners.remove(&produced.id);
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[test]
    fn only_the_engines_thread_gives_way() {
        let mine = || getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let before = mine();
        let lowered = std::thread::spawn(move || {
            give_way().unwrap();
            mine()
        });
        assert_eq!(lowered.join().unwrap(), (before + NICENESS).min(19));
        assert_eq!(mine(), before);
    }
}
