//! Running the other harness: one process and whatever it starts, to its end, its timeout or a Ctrl-C.

use super::plan::Plan;
use crate::exit::{Exit, Failure};
use nomoat_core::units::Nanos;
use nomoat_drive::Stop;
use std::fmt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often it is looked whether the process has ended. Nothing is measured by it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A process that ended by itself.
pub struct Ended {
    program: String,
    status: ExitStatus,
}

impl Ended {
    /// Whether it says that all went well.
    pub fn ok(&self) -> bool {
        self.status.success()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with {}", self.program, self.status)
    }
}

/// Starts the command and waits. What it prints goes to our stderr: stdout is for the table.
pub fn run(words: &[String], timeout: Nanos, stop: &Stop) -> Result<Ended, Failure> {
    let [program, args @ ..] = words else { return Err(Failure::usage("COMMAND is empty; give the other harness's command after --")) };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr())).stderr(Stdio::inherit());
    // A group of its own: a harness starts workers, and all of them must end with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().map_err(|e| Failure::usage(format!("starting `{program}`: {e}; is it installed and on the path?")))?;
    let mut group = Group(child);
    let begun = Instant::now();
    loop {
        match group.0.try_wait() {
            Ok(Some(status)) => return Ok(Ended { program: program.clone(), status }),
            Ok(None) if stop.asked() => {
                return Err(Failure { exit: Exit::Interrupted, message: format!("stopped while `{program}` ran") });
            }
            Ok(None) if begun.elapsed() >= timeout.to_std() => {
                return Err(Failure::usage(format!("`{program}` has {}", Plan::too_long(timeout))));
            }
            Ok(None) => std::thread::sleep(LOOK_EVERY),
            Err(e) => return Err(Failure::internal(format!("waiting for `{program}`: {e}"))),
        }
    }
}

/// A process with its group; what is left of it when we go is killed.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            // Workers that outlive the first process would go on loading the machine on which we measure next. A group that is
            // gone already is no error.
            let group = rustix::process::Pid::from_child(&self.0);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
