//! What is to be started, from the flags and the engine's description; nothing is started here.

use super::secrets::{REDACTED, Secrets};
use super::words;
use crate::args::RunArgs;
use crate::child::Stopping;
use crate::exit::Failure;
use nomoat_http::engines::{EngineSpec, Kind, LaunchSpec, Naming, Sign, StopSignal, Values};
use rustix::process::Signal;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// An engine to start.
#[derive(Clone)]
pub struct Plan {
    /// The name of its description.
    pub engine: String,
    /// Where it will listen.
    pub url: String,
    /// The name to ask it for, where it was given one.
    pub served_name: Option<String>,
    /// The model as it was given: what a repetition of the run has to load.
    pub model: Option<String>,
    /// Whether requests shall be told what engine it is: what has no description shows it by itself.
    pub is_known: bool,
    spec: LaunchSpec,
    port: u16,
    context: Option<u32>,
    more: Vec<String>,
    env: Vec<(String, String)>,
}

impl Plan {
    /// The plan that `args` ask for; `None` where nothing is to be started.
    ///
    /// # Errors
    /// A flag that cannot work, and what to give.
    pub fn new(args: &RunArgs, spec: Option<&EngineSpec>) -> Result<Option<Self>, Failure> {
        let Some(spec) = spec else {
            let given = [
                ("--launch-args", args.launch_args.is_some()),
                ("--launch-command", args.launch_command.is_some()),
                ("--launch-env", !args.launch_env.is_empty()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((flag, _)) => Err(Failure::usage(format!("{flag} is about an engine that nomoat starts; it needs --launch NAME"))),
                None => Ok(None),
            };
        };
        if !args.url.is_empty() {
            return Err(Failure::usage("--launch starts an engine on a free port of this host and measures that; it takes no --url"));
        }
        let name = &spec.name;
        let table = LaunchSpec::read(&spec.launch).map_err(|e| Failure::usage(format!("engine `{name}`: {e}")))?;
        let mut launch = match (table, &args.launch_command) {
            (None, None) => {
                return Err(Failure::usage(format!(
                    "the description of `{name}` does not say how it is started; --launch-command \"PROGRAM … --port {{port}}\" does"
                )));
            }
            (table, _) => table.unwrap_or_default(),
        };
        if let Some(text) = &args.launch_command {
            launch.command = command("--launch-command", text)?;
            // Its own words may have it already, and in another spelling.
            launch.context = vec![];
            if launch.command.is_empty() {
                return Err(Failure::usage("--launch-command is empty; give the program and its arguments"));
            }
        }
        let served_name = args.model.as_deref().and_then(|model| match launch.naming() {
            Naming::Command => Some(served(model)),
            Naming::Engine => None,
            Naming::User => Some(model.to_owned()),
        });
        let port = free_port().map_err(|e| Failure::internal(format!("looking for a free port: {e}")))?;
        let plan = Self {
            engine: name.clone(),
            url: format!("http://{}:{port}", Ipv4Addr::LOCALHOST),
            served_name,
            model: args.model.clone(),
            is_known: spec.kind != Kind::Generic,
            spec: launch,
            port,
            context: args.context,
            more: args.launch_args.as_deref().map_or(Ok(vec![]), |text| command("--launch-args", text))?,
            env: args.launch_env.iter().map(|pair| variable(pair)).collect::<Result<_, _>>()?,
        };
        // What is wrong with it is wrong before anything is made.
        plan.argv(Path::new(""))?;
        plan.env(Path::new(""))?;
        plan.ready()?;
        Ok(Some(plan))
    }

    fn values(&self, scratch: &Path) -> Values {
        Values {
            model: self.model.clone(),
            served_name: self.served_name.clone(),
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: self.port,
            context: self.context,
            scratch: scratch.to_string_lossy().into_owned(),
            nomoat: std::env::current_exe().map_or_else(|_| "nomoat".into(), |path| path.to_string_lossy().into_owned()),
        }
    }

    /// The words of the command: the description's, then the user's.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn argv(&self, scratch: &Path) -> Result<Vec<String>, Failure> {
        let argv = self.spec.argv(&self.values(scratch));
        let mut argv = argv.map_err(|e| Failure::usage(format!("starting `{}`: {e}", self.engine)))?;
        argv.extend(self.more.iter().cloned());
        Ok(argv)
    }

    /// Its variables: the description's, then the user's over them.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn env(&self, scratch: &Path) -> Result<Vec<(String, String)>, Failure> {
        let env = self.spec.environment(&self.values(scratch));
        let mut env = env.map_err(|e| Failure::usage(format!("starting `{}`: {e}", self.engine)))?;
        env.extend(self.env.iter().cloned());
        Ok(env)
    }

    /// What shows that it is ready.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn ready(&self) -> Result<Vec<Sign>, Failure> {
        if !self.spec.ready.is_empty() {
            let values = self.values(Path::new(""));
            let filled: Result<_, String> = self.spec.ready.iter().map(|sign| sign.filled(|text| values.fill(text))).collect();
            return filled.map_err(|e| Failure::usage(format!("starting `{}`: {e}", self.engine)));
        }
        Ok(vec![Sign { get: "/v1/models".into(), json: Some("/data/*".into()), is: None, lacks: None }])
    }

    /// How it is ended.
    pub fn stopping(&self) -> Stopping {
        let signal = match self.spec.stop {
            StopSignal::Term => Signal::TERM,
            StopSignal::Int => Signal::INT,
        };
        Stopping { signal, grace: Duration::from_secs(self.spec.grace_s.into()) }
    }

    /// What a user should know.
    pub fn notes(&self) -> &[String] {
        &self.spec.notes
    }

    /// What of it no file may hold.
    pub fn secrets(&self) -> Secrets {
        // Placeholders have no say in it, and that they can be filled in was seen when the plan was made.
        let argv = self.argv(Path::new("")).unwrap_or_default();
        Secrets::among(&self.env, &argv)
    }
}

/// The words of `text`, the value of `flag`.
///
/// # Errors
/// It cannot be split, or a secret was taken out of it.
pub fn command(flag: &str, text: &str) -> Result<Vec<String>, Failure> {
    if text.contains(REDACTED) {
        return Err(Failure::usage(format!("{flag}: a secret in it was not kept with the run; give {flag} again")));
    }
    // The text is not shown: there may be a key in it.
    words::split(text).map_err(|e| Failure::usage(format!("{flag}: {e}; it is split into words as a shell does")))
}

fn variable(pair: &str) -> Result<(String, String), Failure> {
    match pair.split_once('=') {
        Some((name, REDACTED)) => Err(Failure::usage(format!("--launch-env {name}: its value was not kept with the run; give it again"))),
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        // Not shown: it may be a key.
        _ => Err(Failure::usage("a --launch-env is not NAME=VALUE")),
    }
}

/// The name that a model goes by: the end of its path, without what the name of a file ends in.
fn served(model: &str) -> String {
    let path = Path::new(model.trim_end_matches('/'));
    let name = path.file_name().map_or_else(|| model.to_owned(), |n| n.to_string_lossy().into_owned());
    [".gguf", ".safetensors"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name).to_owned()
}

/// A port of the loopback interface that nobody listens on now. Until the engine takes it somebody else may, and then the engine says so.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(launch: &str) -> EngineSpec {
        let head = "name = \"x\"\ntitle = \"X\"\nkind = \"engine\"\nprotocols = [\"chat\"]\n";
        toml::from_str(&format!("{head}[launch]\n{launch}")).unwrap()
    }

    const ENGINE: &str = "command = [\"engine\", \"-m\", \"{model}\", \"--alias\", \"{served_name}\", \"--port\", \"{port}\"]
        context = [\"-c\", \"{context}\"]\nenv = { A = \"1\", B = \"{scratch}/b\" }\nstop = \"INT\"\ngrace_s = 3";

    #[test]
    fn flags_and_description_meet() {
        let args = RunArgs {
            model: Some("/models/tiny.gguf".into()),
            context: Some(64),
            launch_args: Some("--verbose --json '{\"a\": 1}'".into()),
            launch_env: vec!["A=2".into(), "C=x=y".into()],
            ..RunArgs::default()
        };
        let plan = Plan::new(&args, Some(&spec(ENGINE))).unwrap().unwrap();
        let port = plan.url.rsplit(':').next().unwrap();
        let argv = plan.argv(Path::new("/s")).unwrap();
        let expect = format!("engine -m /models/tiny.gguf --alias tiny --port {port} -c 64 --verbose --json '{{\"a\": 1}}'");
        assert_eq!(words::join(&argv), expect);
        let env: Vec<String> = plan.env(Path::new("/s")).unwrap().into_iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(env, ["A=1", "B=/s/b", "A=2", "C=x=y"], "the last one counts");
        assert_eq!((plan.stopping().signal, plan.stopping().grace), (Signal::INT, Duration::from_secs(3)));
        assert_eq!((plan.served_name.as_deref(), plan.ready().unwrap()[0].get.as_str()), (Some("tiny"), "/v1/models"));
    }

    #[test]
    fn a_command_of_ones_own() {
        let args = RunArgs { launch_command: Some("mine --at {port}".into()), context: Some(9), ..RunArgs::default() };
        let plan = Plan::new(&args, Some(&spec(ENGINE))).unwrap().unwrap();
        assert_eq!(plan.argv(Path::new("")).unwrap()[..2], ["mine", "--at"]);
        assert_eq!((plan.argv(Path::new("")).unwrap().len(), plan.served_name), (3, None));
    }

    #[test]
    fn what_cannot_work_is_told() {
        let check = |args: RunArgs, launch: Option<&str>, needle: &str| {
            let Err(failure) = Plan::new(&args, launch.map(spec).as_ref()) else { panic!("{needle}") };
            assert!(failure.message.contains(needle), "{}", failure.message);
        };
        let args = RunArgs::default;
        check(RunArgs { launch_args: Some("x".into()), ..args() }, None, "--launch-args is about");
        check(RunArgs { launch_env: vec!["A=1".into()], ..args() }, None, "needs --launch NAME");
        check(RunArgs { url: vec!["http://a".into()], ..args() }, Some(ENGINE), "takes no --url");
        check(args(), Some(ENGINE), "give --model");
        check(args(), Some(""), "does not say how it is started");
        check(RunArgs { launch_command: Some("a 'b".into()), ..args() }, Some(""), "not closed");
        check(RunArgs { launch_command: Some(" ".into()), ..args() }, Some(""), "is empty");
        check(RunArgs { launch_args: Some("--key <redacted>".into()), launch_command: Some("a".into()), ..args() }, Some(""), "again");
        let env = |pair: &str| RunArgs { launch_env: vec![pair.into()], launch_command: Some("a".into()), ..args() };
        check(env("secret"), Some(""), "not NAME=VALUE");
        check(env("A_KEY=<redacted>"), Some(""), "A_KEY: its value was not kept");
        assert!(Plan::new(&args(), None).unwrap().is_none());
    }

    #[test]
    fn names_that_models_go_by() {
        for (model, name) in [("/m/tiny.gguf", "tiny"), ("org/Name-7B", "Name-7B"), ("/m/dir/", "dir"), ("a", "a"), ("/", "/")] {
            assert_eq!(served(model), name, "{model}");
        }
    }
}
