//! How an engine is started, as data: the `[launch]` table of its description. No process is started here.

use super::sign::Sign;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How one engine is started, when it counts as ready, and how it is stopped.
///
/// Words of [`Self::command`] and [`Self::context`] and values of [`Self::env`] may hold `{model}`, `{served_name}`, `{host}`, `{port}`,
/// `{context}`, `{scratch}` (a folder that is removed afterwards) and `{nomoat}` (this program, which has a scripted server in it). Any other braces stay as they are: engines take JSON as arguments.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchSpec {
    /// The program and its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// Further arguments where a context length was asked for.
    #[serde(default)]
    pub context: Vec<String>,
    /// Environment variables, added to the harness's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// It is ready when all of these pages show it; without any, when it lists a model.
    #[serde(default)]
    pub ready: Vec<Sign>,
    /// What asks it to end.
    #[serde(default)]
    pub stop: StopSignal,
    /// Seconds that it gets to end before it is killed.
    #[serde(default = "grace")]
    pub grace_s: u32,
    /// What a user should know before starting it.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The signal that asks an engine to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT, as Ctrl-C sends it.
    Int,
}

/// Longer than any engine took to end in our tests, and short enough to wait for.
fn grace() -> u32 {
    30
}

impl Default for LaunchSpec {
    /// No command: one has to be given.
    fn default() -> Self {
        Self {
            command: vec![],
            context: vec![],
            env: BTreeMap::new(),
            ready: vec![],
            stop: StopSignal::default(),
            grace_s: grace(),
            notes: vec![],
        }
    }
}

/// What decides the model's name in requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    /// The command gives it one.
    Command,
    /// The engine makes one of what it loads; it lists it.
    Engine,
    /// The user: the command names no model at all.
    User,
}

/// What the placeholders of a command stand for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Values {
    /// What to load: a path or a name.
    pub model: Option<String>,
    /// The name requests shall ask for.
    pub served_name: Option<String>,
    /// Address to listen on.
    pub host: String,
    /// Port to listen on.
    pub port: u16,
    /// Longest prompt plus answer in tokens.
    pub context: Option<u32>,
    /// A folder for what the engine wants to keep while it runs.
    pub scratch: String,
    /// Where this program is.
    pub nomoat: String,
}

impl LaunchSpec {
    /// Reads a `[launch]` table; an empty one is no way to start anything.
    ///
    /// # Errors
    /// Which key is wrong.
    pub fn read(table: &toml::Table) -> Result<Option<Self>, String> {
        if table.is_empty() {
            return Ok(None);
        }
        let spec: Self = table.clone().try_into().map_err(|e: toml::de::Error| format!("[launch]: {}", e.message()))?;
        if spec.command.is_empty() {
            return Err("[launch]: `command` is missing; it is a list of words, the program first".into());
        }
        Ok(Some(spec))
    }

    /// The command's words with the placeholders filled in.
    ///
    /// # Errors
    /// A placeholder that has no value, and the flag that gives it one.
    pub fn argv(&self, values: &Values) -> Result<Vec<String>, String> {
        let context = self.context.iter().filter(|_| values.context.is_some());
        self.command.iter().chain(context).map(|word| values.fill(word)).collect()
    }

    /// Its environment variables with the placeholders filled in.
    ///
    /// # Errors
    /// As [`Self::argv`].
    pub fn environment(&self, values: &Values) -> Result<Vec<(String, String)>, String> {
        self.env.iter().map(|(name, value)| Ok((name.clone(), values.fill(value)?))).collect()
    }

    /// What the model's name in requests is decided by.
    pub fn naming(&self) -> Naming {
        let has = |placeholder| self.command.iter().any(|word| word.contains(placeholder));
        match (has("{served_name}"), has("{model}")) {
            (true, _) => Naming::Command,
            (false, true) => Naming::Engine,
            (false, false) => Naming::User,
        }
    }
}

impl Values {
    /// `word` with the placeholders filled in; other braces stay.
    ///
    /// # Errors
    /// A placeholder that has no value, and the flag that gives it one.
    pub fn fill(&self, word: &str) -> Result<String, String> {
        let context = self.context.map(|n| n.to_string());
        let port = self.port.to_string();
        let known = [
            ("{model}", self.model.as_deref(), "--model PATH"),
            ("{served_name}", self.served_name.as_deref(), "--model PATH"),
            ("{host}", Some(self.host.as_str()), ""),
            ("{port}", Some(port.as_str()), ""),
            ("{context}", context.as_deref(), "--context TOKENS"),
            ("{scratch}", Some(self.scratch.as_str()), ""),
            ("{nomoat}", Some(self.nomoat.as_str()), ""),
        ];
        // In one pass, so that a value that looks like a placeholder stays as it is.
        let mut filled = String::with_capacity(word.len());
        let mut rest = word;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            match known.iter().find(|(name, ..)| rest.starts_with(name)) {
                Some((name, Some(value), _)) => {
                    filled.push_str(value);
                    rest = &rest[name.len()..];
                }
                Some((name, None, flag)) => return Err(format!("`{word}` needs a value for {name}; give {flag}")),
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values {
            model: Some("/models/a b".into()),
            served_name: Some("a".into()),
            host: "127.0.0.1".into(),
            port: 4711,
            context: None,
            scratch: "/tmp/x".into(),
            nomoat: "/bin/nomoat".into(),
        }
    }

    fn spec(text: &str) -> Result<Option<LaunchSpec>, String> {
        LaunchSpec::read(&text.parse().unwrap())
    }

    #[test]
    fn words_are_filled_in() {
        let check = |word: &str, expect: Result<&str, &str>| match (values().fill(word), expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got, expect),
            (Err(got), Err(part)) => assert!(got.contains(part), "{got}"),
            (got, _) => panic!("{word}: {got:?}"),
        };
        check("{model}", Ok("/models/a b"));
        check("http://{host}:{port}/", Ok("http://127.0.0.1:4711/"));
        check(r#"{"kv": {"a": 1}}"#, Ok(r#"{"kv": {"a": 1}}"#));
        check("{{port}}", Ok("{4711}"));
        check("{", Ok("{"));
        check("{unknown}", Ok("{unknown}"));
        check("{context}", Err("--context"));
        let circular = Values { model: Some("{port}".into()), ..values() };
        assert_eq!(circular.fill("{model}").unwrap(), "{port}", "values are not filled in again");
        assert!(Values { model: None, ..values() }.fill("-m {model}").unwrap_err().contains("--model"));
    }

    #[test]
    fn a_context_has_arguments_of_its_own() {
        let spec = spec("command = [\"engine\", \"{served_name}\"]\ncontext = [\"--max\", \"{context}\"]\nenv = { A = \"{port}\" }")
            .unwrap()
            .unwrap();
        assert_eq!(spec.argv(&values()).unwrap(), ["engine", "a"]);
        assert_eq!(spec.argv(&Values { context: Some(64), ..values() }).unwrap(), ["engine", "a", "--max", "64"]);
        assert_eq!(spec.environment(&values()).unwrap(), [("A".to_owned(), "4711".to_owned())]);
        assert_eq!((spec.stop, spec.grace_s, spec.naming()), (StopSignal::Term, 30, Naming::Command));
    }

    #[test]
    fn who_names_the_model() {
        for (command, naming) in [("{model} {served_name}", Naming::Command), ("-m {model}", Naming::Engine), ("serve", Naming::User)] {
            let spec = LaunchSpec { command: command.split(' ').map(str::to_owned).collect(), ..LaunchSpec::default() };
            assert_eq!(spec.naming(), naming, "{command}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert_eq!(spec(""), Ok(None));
        for (text, needle) in [
            ("env = { A = \"b\" }", "`command` is missing"),
            ("command = \"vllm serve\"", "[launch]"),
            ("command = [\"x\"]\nstop = \"HUP\"", "HUP"),
            ("command = [\"x\"]\nsignal = \"TERM\"", "signal"),
            ("command = [\"x\"]\nready = [{ path = \"/health\" }]", "path"),
        ] {
            let error = spec(text).unwrap_err();
            assert!(error.contains(needle), "{text}: {error}");
        }
    }
}
