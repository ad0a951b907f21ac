//! What `ci/engines/NAME.toml` says: how an engine is installed, started, asked and judged. Data only; nothing is run here.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One engine.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The file's stem: its name on the command line.
    #[serde(skip)]
    pub name: String,
    /// What it is called in tables.
    pub title: String,
    /// The version that is installed.
    pub version: String,
    /// Engines are tried in this order, the cheap ones first.
    pub order: u32,
    /// Whether it must not see the host's network: it opens ports on all addresses, or talks to somebody.
    #[serde(default)]
    pub isolation: Isolation,
    /// What a reader of the table must know.
    #[serde(default)]
    pub notes: Vec<String>,
    pub model: Model,
    pub install: Install,
    /// Set around every process of it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Its processes, in the order of their start.
    pub start: Vec<Start>,
    pub endpoint: Place,
    #[serde(default)]
    pub run: Load,
    /// Its own counters, where it has them.
    pub counters: Option<Counters>,
    pub expect: Expect,
    /// What is known not to hold, with its reason. Such a check is shown and does not fail.
    #[serde(default)]
    pub known: Vec<Known>,
}

/// What an engine needs of the network around it.
#[derive(Deserialize, Debug, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// A network of its own where the system gives one.
    #[default]
    Preferred,
    /// A network of its own, or it is skipped.
    Required,
}

/// The tiny model that is served.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: String,
    /// Words for `make_tiny_model.py`.
    #[serde(default)]
    pub args: Vec<String>,
    /// Whether a GGUF file is made beside it.
    #[serde(default)]
    pub gguf: bool,
}

/// What is installed, into a place of its own.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// Its environment's name, where engines share one.
    pub env: Option<String>,
    /// Free space that is needed before anything is fetched.
    pub disk_gb: u64,
    /// Pinned requirements, for uv.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What uv is told instead of what the packages ask for.
    #[serde(default)]
    pub overrides: Vec<String>,
    /// Programs that must be there already.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Commands that are run once, in `{build}`.
    #[serde(default)]
    pub steps: Vec<Vec<String>>,
}

/// One process.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Its log's name.
    pub name: String,
    pub command: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Where it answers.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub url: String,
    /// A path of it that answers 200 when it is ready.
    pub ready: String,
    /// What that answer must contain.
    #[serde(default)]
    pub ready_contains: String,
    /// Longest time until then, in seconds.
    pub within_s: u64,
}

/// The load of the run.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Requests per second.
    pub rate: f64,
    pub duration: String,
    pub input_tokens: u32,
    pub output_tokens: u32,
    /// Further words for `nomoat run`.
    pub flags: Vec<String>,
    /// Further routes that are asked, some requests each.
    pub dialects: Vec<String>,
}

impl Default for Load {
    fn default() -> Self {
        Self { rate: 4.0, duration: "10s".into(), input_tokens: 64, output_tokens: 16, flags: vec![], dialects: vec![] }
    }
}

/// Names on its metrics page; what several names count is added up.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    pub url: String,
    /// Tokens of prompts, cached ones included.
    pub input: Vec<String>,
    /// Tokens of answers.
    pub output: Vec<String>,
}

/// What nomoat must recognise.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Part of the engine's name in a run's manifest, in any case.
    pub engine: String,
    /// Part of its version there; absent where the engine tells its version nowhere.
    pub version: Option<String>,
}

/// An exception.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The check's name.
    pub check: String,
    pub reason: String,
}

/// Every engine of a folder, in order.
pub fn read_all(folder: &Path) -> Result<Vec<Spec>> {
    let files = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut specs = vec![];
    for file in files {
        let path = file.with_context(|| format!("reading {}", folder.display()))?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            specs.push(parse(&name, &text).with_context(|| format!("reading {}", path.display()))?);
        }
    }
    specs.sort_by_key(|spec| (spec.order, spec.name.clone()));
    Ok(specs)
}

/// One engine from its text.
pub fn parse(name: &str, text: &str) -> Result<Spec> {
    let mut spec: Spec = toml::from_str(text)?;
    name.clone_into(&mut spec.name);
    ensure!(!spec.start.is_empty(), "no process is started: a [[start]] is missing");
    for start in &spec.start {
        ensure!(!start.command.is_empty(), "process {} has no command", start.name);
    }
    for package in &spec.install.packages {
        ensure!(package.contains("=="), "`{package}` is not pinned: write NAME==VERSION");
    }
    for known in &spec.known {
        if !super::checks::NAMES.contains(&known.check.as_str()) {
            bail!("no check is called `{}`; there are {}", known.check, super::checks::NAMES.join(", "));
        }
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"
        title = "An engine"
        version = "1"
        order = 1
        model = { name = "m" }
        install = { disk_gb = 1, packages = ["a==1"] }
        start = [{ name = "server", command = ["a"] }]
        endpoint = { url = "http://127.0.0.1:{port:http}", ready = "/health", within_s = 1 }
        expect = { engine = "a", version = "1" }
    "#;

    #[test]
    fn every_engine_of_the_project_reads() {
        let specs = read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("engines")).unwrap();
        assert!(!specs.is_empty());
        for spec in specs {
            let loopback = |url: &str| url.starts_with("http://127.0.0.1:{port:");
            assert!(loopback(&spec.endpoint.url), "{}: {}", spec.name, spec.endpoint.url);
            assert!(spec.counters.iter().all(|c| loopback(&c.url)), "{}", spec.name);
            assert!(spec.known.iter().all(|k| !k.reason.is_empty()), "{}", spec.name);
        }
    }

    #[test]
    fn what_a_file_may_say() {
        let check = |change: &dyn Fn(&str) -> String, expect: Result<(), &str>| match (parse("x", &change(LEAST)), expect) {
            (Ok(spec), Ok(())) => assert_eq!((spec.name.as_str(), spec.run.rate, spec.isolation), ("x", 4.0, Isolation::Preferred)),
            (Err(error), Err(says)) => assert!(format!("{error:#}").contains(says), "{error:#}"),
            (got, _) => panic!("{:?}", got.map(|spec| spec.name)),
        };
        check(&str::to_owned, Ok(()));
        check(&|text| text.replace("a==1", "a"), Err("`a` is not pinned"));
        check(&|text| text.replace("order", "ordr"), Err("ordr"));
        check(&|text| text.replace("command = [\"a\"]", "command = []"), Err("process server has no command"));
        check(&|text| format!("{text}\nknown = [{{ check = \"tokns\", reason = \"r\" }}]"), Err("no check is called `tokns`; there are"));
        check(&|text| format!("{text}\nisolation = \"some\""), Err("isolation"));
    }
}
