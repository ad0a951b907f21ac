//! Processes of an engine: started in groups of their own, with their words in files, and stopped on every way out.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a process may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(100);
/// Lines of a log that are shown on failure.
const TAIL: usize = 15;

/// The groups that run now, for the watch.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A process with all that it starts.
pub struct Group {
    name: String,
    child: Child,
    pid: Pid,
    log: PathBuf,
}

impl Group {
    /// Starts it; what it says goes to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        Self::start_apart(name, command, log, log)
    }

    /// Starts it; what it prints goes to `out`, its other words to `log`.
    pub fn start_apart(name: &str, command: &mut Command, out: &Path, log: &Path) -> Result<Self> {
        let shown = shown(command);
        let [file, other] = [out, log]
            .map(|path| OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("opening {}", path.display())));
        command.stdin(Stdio::null()).stdout(file?).stderr(other?).process_group(0);
        let child = command.spawn().with_context(|| format!("starting `{shown}`"))?;
        let pid = Pid::from_child(&child);
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
        Ok(Self { name: name.into(), child, pid, log: log.into() })
    }

    /// Fails when it has ended, with its last words.
    pub fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => bail!("{} ended with {status}; its last words:\n{}", self.name, tail(&self.log)),
            Err(error) => Err(error).with_context(|| format!("asking for {}", self.name)),
        }
    }

    /// Waits for its end, at most so long.
    pub fn wait(&mut self, within: Duration) -> Result<Option<i32>> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().with_context(|| format!("waiting for {}", self.name))? {
                return Ok(status.code());
            }
            if begun.elapsed() >= within {
                bail!("{} did not end within {} s; its last words:\n{}", self.name, within.as_secs(), tail(&self.log));
            }
            thread::sleep(STEP);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(self.pid, Signal::TERM);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < GRACE {
            thread::sleep(STEP);
        }
        // Its workers may outlive it, so the group is killed also when the first of it is gone.
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).retain(|pid| *pid != self.pid);
    }
}

/// Ends everything when the program that started this one is gone, whatever it died of: it holds the other end of this one's standard
/// input and writes nothing there. A group of its own hears no Ctrl-C, and the first process of a numbering apart ignores it.
pub fn watch_parent() {
    thread::spawn(|| {
        while !matches!(std::io::stdin().read(&mut [0]), Ok(0) | Err(_)) {}
        for pid in GROUPS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = kill_process_group(*pid, Signal::KILL);
        }
        std::process::exit(1);
    });
}

/// Runs a command to its end, its words in `log`.
pub fn call(command: &mut Command, log: &Path) -> Result<()> {
    let shown = shown(command);
    eprintln!("   {shown}");
    let file = OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("opening {}", log.display()))?;
    let other = file.try_clone().with_context(|| format!("opening {}", log.display()))?;
    let status = command.stdin(Stdio::null()).stdout(file).stderr(other).status().with_context(|| format!("starting `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}; its last words:\n{}", tail(log));
    }
    Ok(())
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    [command.get_program()].into_iter().chain(command.get_args()).map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| format!("      {line}")).collect::<Vec<_>>();
    format!("{}\n      (all of it: {})", last.join("\n"), log.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_stopped_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let (log, pipe) = (folder.path().join("log"), folder.path().join("pipe"));
        Group::start("mkfifo", Command::new("mkfifo").arg(&pipe), &log).unwrap().wait(GRACE).unwrap();
        // The child's child holds the pipe open for as long as it lives, and ignores being asked.
        let script = "(trap '' TERM; exec sleep 1000) >\"$0\" & wait";
        let group = Group::start("sh", Command::new("sh").args(["-c", script]).arg(&pipe), &log).unwrap();
        let mut held = std::fs::File::open(&pipe).unwrap();
        let pid = group.pid;
        assert!(GROUPS.lock().unwrap().contains(&pid));
        drop(group);
        // The pipe ends when nobody holds it any more; if somebody did, this would wait for it.
        assert_eq!(held.read(&mut [0]).unwrap(), 0);
        assert!(!GROUPS.lock().unwrap().contains(&pid));
    }

    #[test]
    fn an_early_end_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut group = Group::start("thing", Command::new("sh").args(["-c", "echo why; exit 3"]), &log).unwrap();
        assert_eq!(group.wait(GRACE).unwrap(), Some(3));
        let error = group.must_run().unwrap_err().to_string();
        assert!(error.contains("thing ended with exit status: 3") && error.contains("why"), "{error}");
        let error = call(Command::new("sh").args(["-c", "echo no >&2; exit 1"]), &log).unwrap_err().to_string();
        assert!(error.contains("ended with") && error.contains("no"), "{error}");
    }
}
