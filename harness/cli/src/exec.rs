//! An engine behind an adapter: a command that is started for the run and listens on a socket in a folder of its own, or one that
//! listens already.

use crate::args::RunArgs;
use crate::child::{Group, Stopped, Stopping};
use crate::exit::{Exit, Failure};
use crate::launch::Seen;
use crate::launch::log::Log;
use crate::launch::plan::command;
use crate::launch::secrets::Secrets;
use crate::launch::{self, words};
use crate::live_line::LiveLine;
use crate::processes;
use crate::setup::Setup;
use crate::wait::block_on;
use nomoat_core::clock::Clock as _;
use nomoat_core::units::Nanos;
use nomoat_drive::{MonotonicClock, Stop};
use nomoat_exec::{ExecConfig, Probed, Script};
use nomoat_results::manifest::{ColdStart, Launched};
use rustix::process::Signal;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// The variable that tells an adapter where to listen.
const SOCKET: &str = "NOMOAT_SOCKET";
/// How long an adapter may take to listen.
const LISTENS_WITHIN: Nanos = Nanos::from_secs(60);
/// How it is asked to end, and how long it may take.
const STOPPING: Stopping = Stopping { signal: Signal::TERM, grace: Duration::from_secs(30) };

/// Where the adapter is.
#[derive(Clone)]
pub struct Plan {
    /// The socket it listens on.
    pub socket: PathBuf,
    /// The words of the command that is to be started; none where somebody listens already.
    argv: Vec<String>,
    /// What it shall play instead of asking its engine, where it is the adapter that is measured.
    pub script: Option<Script>,
}

impl Plan {
    /// The adapter that `args` ask for; `None` where they ask for none.
    ///
    /// # Errors
    /// Flags that do not go together, and what to give.
    pub fn new(args: &RunArgs) -> Result<Option<Self>, Failure> {
        let plan = match (&args.exec, &args.exec_socket) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Failure::usage("--exec starts an adapter and --exec-socket is where one listens already; give one"));
            }
            (None, Some(socket)) => Self { socket: socket.clone(), argv: vec![], script: None },
            (Some(text), None) => {
                let argv = command("--exec", text)?;
                if argv.is_empty() {
                    return Err(Failure::usage("--exec is empty; give the program and its arguments"));
                }
                // Short: a socket's path has little more than a hundred bytes.
                let folder = std::env::temp_dir().join(format!("nomoat-{}", uuid::Uuid::now_v7().simple()));
                let folder = std::path::absolute(&folder).unwrap_or(folder);
                Self { socket: folder.join("socket"), argv, script: None }
            }
        };
        let given = [
            ("--url", !args.url.is_empty()),
            ("--launch", args.launch.is_some()),
            ("--engine", args.engine.is_some()),
            ("--endpoint", args.endpoint.is_some()),
            ("--api-key-env", args.api_key_env.is_some()),
            ("--header", !args.header.is_empty()),
            ("--extra-body", args.extra_body.is_some()),
            ("--ca-file", args.ca_file.is_some()),
            ("--insecure", args.insecure),
            ("--proxy", args.proxy.is_some()),
            ("--metrics-url", !args.metrics_url.is_empty()),
            ("--retries", args.retries.is_some()),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
            let message = format!(
                "{flag} is about an endpoint over HTTP; --exec and --exec-socket measure an engine behind an adapter; leave one of them out"
            );
            return Err(Failure::usage(message));
        }
        Ok(Some(plan))
    }

    /// How the adapter is reached.
    pub fn config(&self, setup: &Setup) -> ExecConfig {
        ExecConfig {
            temperature: Some(setup.args.temperature.unwrap_or(0.0)),
            script: self.script,
            answer_within: setup.timeouts.first_token.unwrap_or(setup.timeouts.total).to_std(),
            ..ExecConfig::new(self.socket.clone())
        }
    }

    /// What of its command no file may hold.
    pub fn secrets(&self) -> Secrets {
        Secrets::among(&[], &self.argv)
    }

    /// The command without secrets, where one is to be started.
    pub fn command_words(&self) -> Option<String> {
        (!self.argv.is_empty()).then(|| self.secrets().scrub(&words::join(&self.argv)))
    }

    /// The flag that asks for this adapter again, without the command.
    pub fn flag(&self) -> String {
        if self.argv.is_empty() { format!("--exec-socket {}", self.socket.display()) } else { "--exec COMMAND".into() }
    }
}

/// A started adapter. Dropping it stops it.
pub struct Adapter {
    // First, so that it is stopped before its log and its folder are let go.
    group: Group,
    log: Log,
    _folder: Private,
    /// The words of its command, without secrets.
    argv: Vec<String>,
    socket: PathBuf,
    spawned: Nanos,
    /// When it listened.
    listens: Seen,
}

impl Adapter {
    /// The number of its process group.
    pub fn id(&self) -> u32 {
        self.group.id()
    }

    /// What manifests say of it; its log is named from `out`.
    pub fn launched(&self, out: &Path) -> Launched {
        let log = self.log.path();
        Launched {
            engine: "adapter".into(),
            argv: self.argv.clone(),
            env: [(SOCKET.to_owned(), self.socket.display().to_string())].into(),
            log: log.strip_prefix(out).unwrap_or(log).display().to_string(),
            // Its socket is in a folder that nobody else may enter.
            port_doubt: None,
        }
    }

    /// How long it took until its hello and first token, which a probe saw; ready is who says hello. To be asked after that probe: its
    /// memory is what it holds now.
    pub fn cold_start(&self, probed: Probed) -> ColdStart {
        let Seen { at, after } = self.listens;
        let ready = probed.hello.unwrap_or(at);
        ColdStart {
            port_open_ns: (at - self.spawned).0,
            ready_ns: (ready - self.spawned).0,
            first_token_ns: probed.first_token.map(|at| (at - self.spawned).0),
            looks_ns: [(at - after).0, (ready - after).0],
            ready_by: vec!["the adapter's hello".into()],
            resident_bytes: processes::held(self.id()).map(|held| held.resident_bytes),
        }
    }

    /// A failure to talk to it, with the end of what it printed. Ends it.
    pub fn blamed(self, failure: Failure) -> Failure {
        // First it is gone, then its last words are all there.
        self.group.stop();
        if failure.exit != Exit::Unreachable {
            return failure;
        }
        Failure { message: format!("{}\n{}", failure.message, self.log.end()), ..failure }
    }

    /// Ends it. How it had ended before, if it had, in words with the end of its log: it shall not.
    pub fn stop(mut self) -> Option<String> {
        let before = self.group.ended();
        let stopped = self.group.stop();
        if let Some(status) = before {
            return Some(format!("the adapter ended by itself with {status}; {}", self.log.end()));
        }
        if let Stopped::Killed(_) = stopped {
            eprintln!("the adapter did not end when it was asked to, and was killed");
        }
        None
    }
}

/// Takes care that somebody listens where an adapter is said to listen already, so that a wrong path is no finding about an adapter.
pub fn must_listen(setup: &mut Setup) {
    setup.wait_ready.get_or_insert(if setup.args.exec.is_some() { LISTENS_WITHIN } else { Nanos::ZERO });
}

/// A failure to talk to an adapter; where we started it, with the end of what it printed.
pub fn blamed(adapter: Option<Adapter>, failure: Failure) -> Failure {
    match adapter {
        Some(adapter) => adapter.blamed(failure),
        None => failure,
    }
}

/// Starts the adapter of `setup`, where it is to be started, and waits until it listens. One that listens already is waited for only if
/// the user says how long. To be called on the main thread.
///
/// # Errors
/// It cannot be started, ends by itself or does not listen in time (exit code 3, with the end of its log), or the user stops it.
pub fn start(setup: &Setup, stop: &Stop) -> Result<Option<Adapter>, Failure> {
    let Some(plan) = &setup.adapter else { return Ok(None) };
    let [program, args @ ..] = &plan.argv[..] else {
        if let Some(within) = setup.wait_ready {
            block_on(wait(setup, plan, (MonotonicClock.now(), within), stop.clone(), || None))??;
        }
        return Ok(None);
    };
    let failed = |what: &str, e: std::io::Error| Failure { exit: Exit::Unreachable, message: format!("{what} the adapter: {e}") };
    let folder = Private::new(plan.socket.parent().unwrap_or(Path::new(".")))?;
    let path = launch::folder(setup, "exec")?.join("adapter.log");
    let (reader, writer) = std::io::pipe().map_err(|e| failed("making a pipe for", e))?;
    let mut command = Command::new(program);
    command.args(args).env(SOCKET, &plan.socket).stdin(Stdio::null());
    command.stdout(writer.try_clone().map_err(|e| failed("making a pipe for", e))?).stderr(writer);
    let secrets = plan.secrets().with_requests(setup);
    let log = Log::start(&path, reader, secrets).map_err(|e| failed(&format!("opening the log {} of", path.display()), e))?;
    if !setup.args.quiet {
        eprintln!("starting the adapter: {}", plan.command_words().unwrap_or_default());
    }
    let spawned = MonotonicClock.now();
    let mut group = Group::spawn(command, STOPPING).map_err(|e| Failure {
        exit: Exit::Unreachable,
        message: format!("starting the adapter: `{program}`: {e}; --exec \"PROGRAM ARGUMENTS\" starts one that is on the path"),
    })?;
    let within = setup.wait_ready.unwrap_or(LISTENS_WITHIN);
    let waited = block_on(wait(setup, plan, (spawned, within), stop.clone(), || group.ended()))?;
    let secrets = plan.secrets();
    let argv = plan.argv.iter().map(|word| secrets.scrub(&launch::without_ourselves(word))).collect();
    // Nobody asks one that never listened when it did.
    let listens = *waited.as_ref().unwrap_or(&Seen { at: spawned, after: spawned });
    let adapter = Adapter { group, log, _folder: folder, argv, socket: plan.socket.clone(), spawned, listens };
    match waited {
        Ok(_) => Ok(Some(adapter)),
        Err(failure) => Err(adapter.blamed(failure)),
    }
}

/// `patience`: from when, and how long.
async fn wait(
    setup: &Setup,
    plan: &Plan,
    patience: (Nanos, Nanos),
    mut stop: Stop,
    ended: impl FnMut() -> Option<ExitStatus>,
) -> Result<Seen, Failure> {
    tokio::select! {
        () = stop.wait() => {
            let message = "stopped while the adapter was waited for; nothing was measured".into();
            Err(Failure { exit: Exit::Interrupted, message })
        }
        listens = look(setup, plan, patience, ended) => listens.map_err(|message| Failure { exit: Exit::Unreachable, message }),
    }
}

/// Looks until somebody listens, and since when that may be so; why nobody does, in words.
async fn look(
    setup: &Setup,
    plan: &Plan,
    (begun, within): (Nanos, Nanos),
    mut ended: impl FnMut() -> Option<ExitStatus>,
) -> Result<Seen, String> {
    let at = plan.socket.display();
    let mut after = begun;
    let mut line = LiveLine::new(!setup.args.quiet);
    loop {
        let looked = MonotonicClock.now();
        let connected = tokio::net::UnixStream::connect(&plan.socket).await;
        let now = MonotonicClock.now();
        let waited = now - begun;
        if let Some(status) = ended() {
            line.clear();
            return Err(format!("the adapter ended with {status} before the run, {waited} after its start"));
        }
        let Err(why) = connected else {
            line.clear();
            return Ok(Seen { at: now, after });
        };
        after = looked;
        // No time makes such a path a shorter one.
        if why.kind() == std::io::ErrorKind::InvalidInput {
            return Err(format!("the adapter's socket {at}: {why}; TMPDIR or --exec-socket can name a shorter path"));
        }
        if waited >= within {
            line.clear();
            let hint = if plan.argv.is_empty() { "" } else { "; does it listen where NOMOAT_SOCKET says" };
            return Err(format!("nobody listened at {at} after {within}: {why}{hint}; --wait-ready TIME waits longer"));
        }
        line.show(|| format!("{:>4.0} s  waiting for the adapter: {why}", waited.as_secs_f64()));
        tokio::time::sleep(launch::pause(waited.to_std())).await;
    }
}

/// A folder that nobody else may look into, gone when dropped.
struct Private(PathBuf);

impl Private {
    fn new(path: &Path) -> Result<Self, Failure> {
        let made = DirBuilder::new().mode(0o700).create(path);
        made.map_err(|e| Failure::usage(format!("making the folder {} for the adapter's socket: {e}", path.display())))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // What cannot be removed is left to the system that cleans its temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_asked_for() {
        let check = |args: RunArgs, expect: Result<Option<&str>, &str>| match (Plan::new(&args), expect) {
            (Ok(plan), Ok(expect)) => assert_eq!(plan.map(|p| p.flag()).as_deref(), expect),
            (Err(failure), Err(needle)) => assert!(failure.message.contains(needle), "{needle}: {failure}"),
            (plan, expect) => panic!("{expect:?}: {:?}", plan.map(|p| p.map(|p| p.flag()))),
        };
        let exec = |text: &str| RunArgs { exec: Some(text.into()), ..RunArgs::default() };
        let socket = RunArgs { exec_socket: Some("a/s".into()), ..RunArgs::default() };
        check(RunArgs::default(), Ok(None));
        check(exec("python3 a.py"), Ok(Some("--exec COMMAND")));
        check(socket.clone(), Ok(Some("--exec-socket a/s")));
        check(RunArgs { exec: Some("a".into()), ..socket.clone() }, Err("give one"));
        check(exec(" "), Err("is empty"));
        check(exec("a 'b"), Err("not closed"));
        check(exec("a --key <redacted>"), Err("again"));
        check(RunArgs { url: vec!["http://a".into()], ..exec("a") }, Err("--url is about an endpoint"));
        check(RunArgs { launch: Some("vllm".into()), ..exec("a") }, Err("--launch is about an endpoint"));
        check(RunArgs { retries: Some(1), ..socket }, Err("--retries is about an endpoint"));
    }

    #[test]
    fn a_secret_of_the_command_is_not_shown() {
        let args = RunArgs { exec: Some("adapter --api-key planted-secret 'a b'".into()), ..RunArgs::default() };
        let plan = Plan::new(&args).unwrap().unwrap();
        assert_eq!(plan.command_words().as_deref(), Some("adapter --api-key <redacted> 'a b'"));
    }

    #[test]
    fn the_folder_is_ours_alone_and_goes() {
        let plan = Plan::new(&RunArgs { exec: Some("a".into()), ..RunArgs::default() }).unwrap().unwrap();
        let path = plan.socket.parent().unwrap();
        let folder = Private::new(path).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(Private::new(path).is_err(), "one that is there is not taken");
        drop(folder);
        assert!(!path.exists());
    }
}
