//! A network of an engine's own: loopback and nothing else, so that no port it opens is seen from outside and nothing it sends gets out.
//! Its processes are numbered apart as well, so that all of them end with the first.

use std::process::{Command, Stdio};

/// What puts a program there: util-linux's `unshare`, for which a user needs no rights where the kernel gives user namespaces.
const UNSHARE: &[&str] = &["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"];
/// Loopback is down in a new network.
const UP: &str = "ip link set lo up && exec \"$0\" \"$@\"";

/// A command that runs `program` in a network of its own.
pub fn isolated(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(UNSHARE[0]);
    command.args(&UNSHARE[1..]).args(["sh", "-c", UP]).arg(program);
    command
}

/// Whether this system gives one, else why not.
pub fn available() -> Result<(), String> {
    let output = isolated("true").stdin(Stdio::null()).output().map_err(|e| format!("`unshare` does not start: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("no network of its own can be made: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
