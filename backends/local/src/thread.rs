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

/// Lowers the priority of the calling thread only: on Linux to `SCHED_IDLE`, which every thread of a normal policy preempts at once.
///
/// A nice value is not enough: the scheduler lets a running thread of lower weight finish its slice of about 3 ms before a waking
/// one of the same policy, and a shard that wakes on the engine's core is late by that much.
fn give_way() -> Result<(), String> {
    #[cfg(target_os = "linux")]
    {
        let parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: 0 means the calling thread; the pointer is valid for the call, which only reads it.
        let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
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

    /// The scheduling policy of the calling thread.
    fn policy() -> i32 {
        // SAFETY: 0 means the calling thread; nothing is written.
        unsafe { libc::sched_getscheduler(0) }
    }

    #[test]
    fn only_the_engines_thread_gives_way() {
        let before = policy();
        let lowered = std::thread::spawn(|| {
            give_way().unwrap();
            policy()
        });
        assert_eq!(lowered.join().unwrap(), libc::SCHED_IDLE);
        assert_eq!(policy(), before);
    }
}
