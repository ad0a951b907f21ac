//! An engine that is started for a run, waited for, watched, and stopped whatever happens.

mod holder;
pub mod log;
pub mod plan;
pub mod secrets;
mod watched;
pub mod words;

pub use watched::Watched;

use crate::child::{Group, Stopped};
use crate::exit::{Exit, Failure};
use crate::folder::Folder;
use crate::live_line::LiveLine;
use crate::processes;
use crate::setup::Setup;
use crate::target;
use crate::wait::block_on;
use holder::Holder;
use log::Log;
use nomoat_core::clock::Clock as _;
use nomoat_core::units::Nanos;
use nomoat_drive::{MonotonicClock, Stop};
use nomoat_http::HttpBackend;
use nomoat_http::engines::Sign;
use nomoat_results::manifest::{ColdStart, Launched};
use plan::Plan;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long an engine may take to be ready: large models and first compilations take many minutes.
const READY_WITHIN: Nanos = Nanos::from_secs(1800);
/// Between two looks for an engine that was just started.
const LOOK_LEAST: Duration = Duration::from_millis(2);
/// The same for one that takes long.
const LOOK_MOST: Duration = Duration::from_millis(250);
/// What has passed over the time to the next look: a moment is known to this part of it, and looking takes no core from the engine.
const LOOK_PART: u32 = 500;
/// How long a page may take that shows the state.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before the next look, `waited` after the first.
pub fn pause(waited: Duration) -> Duration {
    (waited / LOOK_PART).clamp(LOOK_LEAST, LOOK_MOST)
}

/// A moment that was looked for: not before `after`, and at `at` it had come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    pub at: Nanos,
    pub after: Nanos,
}

/// From the start of the process to a server that is ready, on the run's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Born {
    pub spawned: Nanos,
    pub port_open: Seen,
    pub ready: Seen,
    /// Resident memory of all its processes when it was ready.
    pub resident_bytes: Option<u64>,
}

/// The moments of a start, and why it could not be told who holds the port, where it could not.
type Ready = (Born, Option<String>);

/// A started engine. Dropping it stops it.
pub struct Running {
    // First, so that it is stopped before its log and its folder are let go.
    group: Group,
    log: Log,
    _scratch: Folder,
    pub born: Born,
    argv: Vec<String>,
    env: Vec<(String, String)>,
    engine: String,
    ready: Vec<Sign>,
    /// Why it could not be told who holds its port, where it could not.
    port_doubt: Option<String>,
}

impl Running {
    /// Starts the engine of `plan` and waits until it is ready. What it prints goes to `log`, which is made. To be called on the main
    /// thread.
    ///
    /// # Errors
    /// It cannot be started, ends by itself or is not ready in time (exit code 3, with the end of its log), or the user stops it.
    pub fn start(setup: &Setup, plan: &Plan, log: &Path, stop: &Stop) -> Result<Self, Failure> {
        let name = &plan.engine;
        let scratch = Folder::new(None)?;
        let (argv, env, ready) = (plan.argv(scratch.path())?, plan.env(scratch.path())?, plan.ready()?);
        let secrets = plan.secrets().with_requests(setup);
        let failed = |what: &str, e: std::io::Error| Failure { exit: Exit::Unreachable, message: format!("{what} engine `{name}`: {e}") };
        let (reader, writer) = std::io::pipe().map_err(|e| failed("making a pipe for", e))?;
        let [program, args @ ..] = &argv[..] else { return Err(Failure::usage(format!("the command that starts `{name}` is empty"))) };
        let mut command = Command::new(program);
        command.args(args).envs(env.iter().map(|(k, v)| (k, v))).stdin(Stdio::null());
        command.stdout(writer.try_clone().map_err(|e| failed("making a pipe for", e))?).stderr(writer);
        let log = Log::start(log, reader, secrets.clone()).map_err(|e| failed(&format!("opening the log {} of", log.display()), e))?;
        if !setup.args.quiet {
            eprintln!("starting {name}: {}", secrets.scrub(&without_ourselves(&words::join(&argv))));
            plan.notes().iter().for_each(|note| eprintln!("{name}: {note}"));
        }
        let spawned = MonotonicClock.now();
        let mut group = Group::spawn(command, plan.stopping()).map_err(|e| Failure {
            exit: Exit::Unreachable,
            message: format!("starting engine `{name}`: `{program}`: {e}; is it installed and on the path? --launch-command gives another"),
        })?;
        match block_on(wait(setup, plan, &mut group, &log, spawned, stop.clone()))? {
            Ok((born, port_doubt)) => Ok(Self {
                group,
                log,
                _scratch: scratch,
                born,
                argv: argv.iter().map(|word| secrets.scrub(&without_ourselves(word))).collect(),
                env: env.iter().map(|(n, v)| (n.clone(), secrets.scrub(v))).collect(),
                engine: name.clone(),
                ready,
                port_doubt,
            }),
            Err(mut failure) => {
                // First it is gone, then its last words are all there.
                group.stop();
                if failure.exit == Exit::Unreachable {
                    failure.message = format!("{}\n{}", failure.message, log.end());
                }
                Err(failure)
            }
        }
    }

    /// The number of its process group.
    pub fn id(&self) -> u32 {
        self.group.id()
    }

    /// What its processes hold now.
    pub fn held(&self) -> Option<processes::Held> {
        processes::held(self.id())
    }

    /// A failure to talk to it, with the place of what it printed meanwhile.
    pub fn blamed(&self, failure: Failure) -> Failure {
        if failure.exit != Exit::Unreachable {
            return failure;
        }
        Failure { message: format!("{}\nwhat engine `{}` printed: {}", failure.message, self.engine, self.log.path().display()), ..failure }
    }

    /// Ends it. How it had ended before, if it had, in words with the end of its log: it shall not.
    pub fn stop(mut self) -> Option<String> {
        let before: Option<ExitStatus> = self.group.ended();
        let (name, log) = (self.engine, self.log);
        let stopped = self.group.stop();
        if let Some(status) = before {
            return Some(format!("engine `{name}` ended by itself with {status}; {}", log.end()));
        }
        if let Stopped::Killed(_) = stopped {
            eprintln!("engine `{name}` did not end when it was asked to, and was killed");
        }
        None
    }

    /// What manifests say of it; its log is named from `out`.
    pub fn launched(&self, out: &Path) -> Launched {
        let log = self.log.path();
        Launched {
            engine: self.engine.clone(),
            argv: self.argv.clone(),
            env: self
                .env
                .iter()
                .map(|(n, v)| if secrets::is_secret(n) { (n.clone(), secrets::REDACTED.into()) } else { (n.clone(), v.clone()) })
                .collect(),
            log: log.strip_prefix(out).unwrap_or(log).display().to_string(),
            port_doubt: self.port_doubt.clone(),
        }
    }

    /// How long it took, with the moment of its first token where there was one.
    pub fn cold_start(&self, first_token: Option<Nanos>) -> ColdStart {
        let Born { spawned, port_open, ready, resident_bytes } = self.born;
        ColdStart {
            port_open_ns: (port_open.at - spawned).0,
            ready_ns: (ready.at - spawned).0,
            first_token_ns: first_token.map(|at| (at - spawned).0),
            looks_ns: [(port_open.at - port_open.after).0, (ready.at - ready.after).0],
            ready_by: self.ready.iter().map(Sign::words).collect(),
            resident_bytes,
        }
    }
}

/// Where our binary lies is nobody's business.
pub fn without_ourselves(word: &str) -> String {
    let own = std::env::current_exe().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    if own.is_empty() { word.to_owned() } else { word.replace(&own, "nomoat") }
}

/// A folder for what a launch leaves: beside those of the runs, because a launch may serve several of them.
pub fn folder(setup: &Setup, what: &str) -> Result<PathBuf, Failure> {
    let folder = setup.out.join(format!("{}-{what}", uuid::Uuid::now_v7()));
    std::fs::create_dir_all(&folder).map_err(|e| Failure::usage(format!("making the folder {}: {e}", folder.display())))?;
    Ok(folder)
}

/// The way to the engine of `plan` for what is not measured.
pub async fn backend(setup: &Setup, url: &str) -> Result<Arc<HttpBackend>, Failure> {
    Ok(HttpBackend::new(target::http_config(setup, url), Arc::new(MonotonicClock)).await?)
}

/// Whether all of `signs` are shown; else what was answered instead.
pub async fn shown(backend: &HttpBackend, signs: &[Sign]) -> Result<(), String> {
    for sign in signs {
        let reply = backend.call("GET", &sign.get, &[], PAGE_TIMEOUT).await.map_err(|why| format!("{}: {why}", sign.get))?;
        if !sign.shows(reply.status, &reply.body) {
            let said = if reply.status == 200 { format!(", and not yet: {}", sign.words()) } else { reply.said() };
            return Err(format!("{}: HTTP {}{said}", sign.get, reply.status));
        }
    }
    Ok(())
}

async fn wait(setup: &Setup, plan: &Plan, group: &mut Group, log: &Log, spawned: Nanos, mut stop: Stop) -> Result<Ready, Failure> {
    tokio::select! {
        () = stop.wait() => {
            let message = format!("stopped while engine `{}` was starting; nothing was measured", plan.engine);
            Err(Failure { exit: Exit::Interrupted, message })
        }
        born = look(setup, plan, group, log, spawned) => born,
    }
}

async fn look(setup: &Setup, plan: &Plan, group: &mut Group, log: &Log, spawned: Nanos) -> Result<Ready, Failure> {
    let failed = |message: String| Err(Failure { exit: Exit::Unreachable, message });
    let (name, clock, signs) = (&plan.engine, MonotonicClock, plan.ready()?);
    let backend = backend(setup, &plan.url).await?;
    let address = plan.url.trim_start_matches("http://").to_owned();
    let within = setup.wait_ready.unwrap_or(READY_WITHIN);
    let mut line = LiveLine::new(!setup.args.quiet);
    let mut port: Option<Seen> = None;
    let (mut after, mut status) = (spawned, format!("{address} is closed"));
    loop {
        let at = clock.now();
        if port.is_none() {
            match tokio::net::TcpStream::connect(&address).await {
                Ok(_) => {
                    port = Some(Seen { at: clock.now(), after });
                    after = spawned;
                }
                Err(_) => after = at,
            }
        }
        let waited = clock.now() - spawned;
        if let Some(port_open) = port {
            match shown(&backend, &signs).await {
                // Whoever answers after our child has ended is not our child.
                Ok(()) if group.ended().is_none() => {
                    line.clear();
                    let ready = Seen { at: clock.now(), after: after.max(port_open.after) };
                    let resident_bytes = processes::held(group.id()).map(|held| held.resident_bytes);
                    let doubt = match address.parse().map(|address| holder::of(address, group.id())) {
                        Ok(Holder::Ours) => None,
                        Ok(Holder::Another(pid)) => {
                            return failed(format!(
                                "{address} is held by process {pid}, which was there before engine `{name}` was started: it took the port in \
                                 between, or the command of `{name}` hands over to it; try again, or measure it with --url http://{address}"
                            ));
                        }
                        Ok(Holder::Unknown(why)) => Some(why),
                        Err(_) => Some(format!("{address} is no address of a host")),
                    };
                    return Ok((Born { spawned, port_open, ready, resident_bytes }, doubt));
                }
                Ok(()) => status = "somebody else answers at its port".into(),
                Err(words) => (status, after) = (words, at),
            }
        }
        if let Some(ended) = group.ended() {
            line.clear();
            return failed(format!("engine `{name}` ended with {ended} before it was ready, {waited} after its start ({status})"));
        }
        if waited >= within {
            line.clear();
            let hint = if port.is_none() { "; does its command use {port}?" } else { "" };
            return failed(format!("engine `{name}` was not ready after {within}: {status}{hint}; --wait-ready TIME waits longer"));
        }
        line.show(|| {
            let last = log.last().map_or(String::new(), |last| format!("  | {last}"));
            format!("{:>4.0} s  waiting for {name}: {status}{last}", waited.as_secs_f64())
        });
        tokio::time::sleep(pause(waited.to_std())).await;
    }
}
