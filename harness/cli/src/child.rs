//! A child process with everything it starts, which ends when we do, whatever way we go.
//!
//! It gets a process group of its own, so that a Ctrl-C on the terminal reaches us alone and all of it can be ended at once. Dropping
//! the value stops it: the polite signal, a time to go, then SIGKILL. Ways out of the process on which nothing is dropped (a second
//! Ctrl-C, a panic) call [`kill_all`]; should we be killed ourselves, the kernel sends it the polite signal.

use crate::processes;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked whether processes have ended. Nothing is measured by it.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long killed processes may take to be gone: as long as the kernel needs to take their memory back.
const LAST: Duration = Duration::from_secs(10);

/// Groups that are to be killed if we leave in a hurry.
static LIVING: Mutex<Vec<Pid>> = Mutex::new(vec![]);

/// How a child is asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopping {
    /// What asks it.
    pub signal: Signal,
    /// How long it may take.
    pub grace: Duration,
}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// By itself, before it was asked.
    Before(ExitStatus),
    /// After it was asked.
    Asked(ExitStatus),
    /// Not within the time it had: all of it was killed.
    Killed(ExitStatus),
}

/// A child with its group.
pub struct Group {
    child: Child,
    pid: Pid,
    stopping: Stopping,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Starts `command`. To be called on a thread that lives as long as the child shall: on Linux the child hears of the end of the
    /// thread that started it, not of the process.
    ///
    /// # Errors
    /// The system's words: there is no such program, or no process can be made.
    pub fn spawn(mut command: Command, stopping: Stopping) -> io::Result<Self> {
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(target_os = "linux")]
        {
            let parent = std::process::id();
            let signal = stopping.signal;
            let ask = move || {
                rustix::process::set_parent_process_death_signal(Some(signal))?;
                // We may have gone before the line above, and then nobody would ever tell it.
                if std::os::unix::process::parent_id() == parent { Ok(()) } else { Err(io::Error::from(io::ErrorKind::BrokenPipe)) }
            };
            // SAFETY: what runs between fork and exec are two system calls that take numbers; it allocates nothing and takes no lock.
            unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, ask) };
        }
        // Held over the start, so that `kill_all` misses no child that is being born.
        let mut living = LIVING.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        living.push(pid);
        Ok(Self { child, pid, stopping, ended: None })
    }

    /// The number of its group, which is that of the process that was started.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process that was started has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            // A child that cannot be asked is one that somebody else has waited for; that does not happen here.
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Ends all of it, and waits until nothing of it is left.
    pub fn stop(mut self) -> Stopped {
        self.end()
    }

    fn end(&mut self) -> Stopped {
        let before = self.ended();
        let kin = processes::of_group(&processes::all(), self.id());
        // Workers may outlive the process that was started, so the group is asked even if that is gone. A group that is gone is no error.
        let _ = kill_process_group(self.pid, self.stopping.signal);
        let asked = self.gone_within(self.stopping.grace);
        if !asked {
            let _ = kill_process_group(self.pid, Signal::KILL);
            self.gone_within(LAST);
        }
        // Descendants that made groups of their own and did not notice that the rest is gone.
        let left = processes::all().into_iter().filter(|p| !p.ended && kin.iter().any(|k| (k.pid, k.start) == (p.pid, p.start)));
        for process in left {
            if let Some(pid) = Pid::from_raw(process.pid as i32) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        LIVING.lock().unwrap_or_else(PoisonError::into_inner).retain(|pid| *pid != self.pid);
        let status = self.ended().unwrap_or_else(|| {
            // Only a process that the kernel cannot end is still there; it is not waited for.
            std::os::unix::process::ExitStatusExt::from_raw(Signal::KILL.as_raw())
        });
        match (before, asked) {
            (Some(status), true) => Stopped::Before(status),
            (None, true) => Stopped::Asked(status),
            (_, false) => Stopped::Killed(status),
        }
    }

    /// Waits until the process and its group are gone; whether they are.
    fn gone_within(&mut self, time: Duration) -> bool {
        let begun = Instant::now();
        loop {
            if self.ended().is_some() && self.is_empty() {
                return true;
            }
            if begun.elapsed() >= time {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether nobody of the group is left. Those that have ended and were not waited for by whoever inherited them do not count.
    fn is_empty(&self) -> bool {
        if rustix::process::test_kill_process_group(self.pid).is_err() {
            return true;
        }
        let all = processes::all();
        !all.is_empty() && !all.iter().any(|p| p.group == self.id() && !p.ended)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if LIVING.lock().unwrap_or_else(PoisonError::into_inner).contains(&self.pid) {
            self.end();
        }
    }
}

/// Kills whatever is still running, for ways out on which nothing is dropped.
pub fn kill_all() {
    // A lock that is held is held by a thread that starts or stops a child; waiting for it could be for ever after a panic.
    let begun = Instant::now();
    loop {
        if let Ok(living) = LIVING.try_lock() {
            // A group that is gone already is no error.
            for pid in living.iter() {
                let _ = kill_process_group(*pid, Signal::KILL);
            }
            return;
        }
        if begun.elapsed() > Duration::from_secs(1) {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    const LONG: Duration = Duration::from_mins(1);

    /// A shell that runs `script`, and the first line it prints: from then on it is set up.
    fn shell(script: &str, grace: Duration) -> (Group, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut group = Group::spawn(command, Stopping { signal: Signal::TERM, grace }).unwrap();
        let mut line = String::new();
        BufReader::new(group.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (group, line.trim().to_owned())
    }

    #[test]
    fn it_ends_when_asked() {
        let (group, _) = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", LONG);
        let Stopped::Asked(status) = group.stop() else { panic!("it was asked") };
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn what_does_not_listen_is_killed() {
        let (group, _) = shell("trap '' TERM; echo ready; while :; do sleep 1000; done", Duration::ZERO);
        let Stopped::Killed(status) = group.stop() else { panic!("it does not listen") };
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[test]
    fn workers_end_with_it() {
        let (group, worker) = shell("sleep 1000 & echo $!; exit 3", LONG);
        let id = group.id();
        // Its line came before its end.
        while processes::all().iter().any(|p| p.pid == id && !p.ended) {
            std::thread::yield_now();
        }
        let Stopped::Before(status) = group.stop() else { panic!("it ended by itself") };
        assert_eq!(status.code(), Some(3));
        let worker: u32 = worker.parse().unwrap();
        assert!(!processes::all().iter().any(|p| !p.ended && (p.pid == worker || p.group == id)), "the worker is gone");
    }

    #[test]
    fn dropping_stops() {
        let (group, _) = shell("echo ready; exec sleep 1000", LONG);
        let id = group.id();
        drop(group);
        assert!(!processes::all().iter().any(|p| !p.ended && p.group == id));
        assert!(!LIVING.lock().unwrap().iter().any(|pid| pid.as_raw_nonzero().get() == id as i32));
    }

    #[test]
    fn a_program_that_is_not_there() {
        let stopping = Stopping { signal: Signal::TERM, grace: LONG };
        assert!(Group::spawn(Command::new("/nonexistent/engine"), stopping).is_err());
    }
}
