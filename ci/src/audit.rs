//! `cargo xtask audit [TOOL]`: a public harness, installed by pip into a folder of its own, under `nomoat audit`.
//!
//! It needs the network and minutes, so it is no step of `check`. Versions are pinned here; what a harness would fetch from a model
//! hub is made on the spot (`ci/audit/`). Everything is below `target/audit/TOOL`, and is used again the next time.

use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The load: requests per second, and for how long.
const RATE: u32 = 20;
const SECONDS: u32 = 10;
const INPUT_TOKENS: u32 = 32;
const OUTPUT_TOKENS: u32 = 64;

/// One harness.
struct Tool {
    /// Its name on the command line, and its reader's.
    name: &'static str,
    /// What pip is asked for.
    package: &'static str,
    /// The lowest minor version of Python 3 that it runs on.
    python: u32,
    /// What is set around it: a harness that may not look for a hub does not wait for one.
    env: &'static [(&'static str, &'static str)],
    /// Its program, and its words. `{tokenizer}` and `{config}` are filled in here, the other names by `nomoat audit`.
    program: &'static str,
    args: &'static [&'static str],
}

const OFFLINE: &[(&str, &str)] = &[("HF_HUB_OFFLINE", "1"), ("HF_DATASETS_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1")];

/// The first one runs where none is named: it is small and takes any Python of today.
const TOOLS: &[Tool] = &[
    Tool {
        name: "aiperf",
        package: "aiperf==0.13.0",
        python: 10,
        // Told to stay offline, it takes a folder for the name of something that it fetched earlier.
        env: &[],
        program: "aiperf",
        args: &[
            "profile",
            "--model",
            "{model}",
            "--url",
            "{url}",
            "--endpoint-type",
            "chat",
            "--streaming",
            "--tokenizer",
            "{tokenizer}",
            "--isl",
            "{input_tokens}",
            "--osl",
            "{output_tokens}",
            "--request-rate",
            "{rate}",
            "--arrival-pattern",
            "constant",
            "--request-count",
            "{requests}",
            "--extra-inputs",
            "ignore_eos:true",
            "--artifact-dir",
            "{out}",
            "--ui",
            "none",
        ],
    },
    Tool {
        name: "inference-perf",
        package: "inference-perf==0.7.0",
        python: 12,
        env: OFFLINE,
        program: "inference-perf",
        args: &[
            "-c",
            "{config}",
            "--server.base_url",
            "{url}",
            "--tokenizer.pretrained_model_name_or_path",
            "{tokenizer}",
            "--storage.local_storage.path",
            "{out}",
        ],
    },
    Tool {
        name: "guidellm",
        package: "guidellm==0.8.1",
        python: 10,
        env: OFFLINE,
        program: "guidellm",
        args: &[
            "run",
            "--backend",
            "kind=openai_http,target={url},model={model}",
            "--profile",
            "kind=constant,rate={rate}",
            "--constraint",
            "kind=max_requests,count={requests}",
            "--tokenizer",
            "kind=huggingface_auto,model={tokenizer}",
            "--data",
            "kind=synthetic_text,prompt_tokens={input_tokens},output_tokens={output_tokens}",
            "--output",
            "kind=json,path={out}/benchmarks.json",
            "--disable-console",
        ],
    },
];

/// Runs the subcommand.
pub fn run(words: &[String]) -> Result<()> {
    let tool = chosen(words)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("finding the workspace above ci/")?;
    let folder = root.join("target/audit").join(tool.name);
    let nomoat = nomoat(root)?;
    install(tool, &folder)?;
    let python = folder.join("venv/bin/python");
    let tokenizer = folder.join("tokenizer");
    call(Command::new(&python).arg(root.join("ci/audit/make_tokenizer.py")).arg(&tokenizer))?;
    let config = folder.join("config.yaml");
    let template = std::fs::read_to_string(root.join("ci/audit/inference-perf.yaml")).context("reading ci/audit/inference-perf.yaml")?;
    std::fs::write(&config, filled(&template, &load())).with_context(|| format!("writing {}", config.display()))?;

    let mut command = Command::new(nomoat);
    command.args(["audit", "--tool", tool.name, "--rate", &RATE.to_string(), "--requests", &(RATE * SECONDS).to_string()]);
    command.args(["--input-tokens", &INPUT_TOKENS.to_string(), "--output-tokens", &OUTPUT_TOKENS.to_string(), "--"]);
    command.arg(folder.join("venv/bin").join(tool.program));
    let paths = [("{tokenizer}", tokenizer.display().to_string()), ("{config}", config.display().to_string())];
    command.args(tool.args.iter().map(|word| filled(word, &paths)));
    call(command.envs(tool.env.iter().copied()))
}

/// The load's names in a template.
fn load() -> [(&'static str, String); 5] {
    [
        ("{rate}", RATE.to_string()),
        ("{seconds}", SECONDS.to_string()),
        ("{requests}", (RATE * SECONDS).to_string()),
        ("{input_tokens}", INPUT_TOKENS.to_string()),
        ("{output_tokens}", OUTPUT_TOKENS.to_string()),
    ]
}

fn filled(text: &str, names: &[(&str, String)]) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn chosen(words: &[String]) -> Result<&'static Tool> {
    let names = || TOOLS.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", ");
    match words {
        [] => Ok(&TOOLS[0]),
        [word] => {
            TOOLS.iter().find(|tool| tool.name == word).with_context(|| format!("no harness is called `{word}`; there are {}", names()))
        }
        _ => bail!("one harness at a time, not {}; there are {}", words.len(), names()),
    }
}

/// The program under `NOMOAT`, else a release build of this tree: a debug build measures its own slowness.
fn nomoat(root: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("NOMOAT") {
        return std::fs::canonicalize(&path).with_context(|| format!("finding the program that NOMOAT names, {}", path.display()));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    call(Command::new(cargo).args(["build", "--release", "-p", "nomoat"]).current_dir(root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/nomoat"))
}

/// Installs the harness, unless the folder says that this version is there.
fn install(tool: &Tool, folder: &Path) -> Result<()> {
    let (venv, done) = (folder.join("venv"), folder.join("installed"));
    if std::fs::read_to_string(&done).is_ok_and(|text| text == tool.package) {
        return Ok(());
    }
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    call(Command::new(python(tool)?).args(["-m", "venv", "--clear"]).arg(&venv))?;
    call(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", tool.package]))?;
    std::fs::write(&done, tool.package).with_context(|| format!("writing {}", done.display()))
}

/// A Python that is new enough.
fn python(tool: &Tool) -> Result<OsString> {
    let asked = format!("import sys; sys.exit(sys.version_info < (3, {}))", tool.python);
    let named = ["python3", "python3.13", "python3.12"].map(OsString::from);
    let enough = |python: &OsString| Command::new(python).args(["-c", &asked]).output().is_ok_and(|output| output.status.success());
    let found = std::env::var_os("PYTHON").into_iter().chain(named).find(enough);
    found.with_context(|| format!("{} needs Python 3.{} or newer; PYTHON names one", tool.package, tool.python))
}

fn call(command: &mut Command) -> Result<()> {
    let shown = [command.get_program()].into_iter().chain(command.get_args()).map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
    eprintln!("== {shown}");
    let status = command.status().with_context(|| format!("starting `{shown}`"))?;
    ensure!(status.success(), "`{shown}` ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harnesses_by_name() {
        let check = |line: &str, expect: Result<&str, &str>| {
            let words: Vec<String> = line.split_whitespace().map(String::from).collect();
            match (chosen(&words), expect) {
                (Ok(tool), Ok(name)) => assert_eq!(tool.name, name, "{line}"),
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{line}: {error}"),
                (got, _) => panic!("{line}: {:?}", got.map(|tool| tool.name)),
            }
        };
        check("", Ok("aiperf"));
        check("guidellm", Ok("guidellm"));
        check("guidelm", Err("no harness is called `guidelm`; there are aiperf, inference-perf, guidellm"));
        check("aiperf guidellm", Err("not 2"));
    }

    #[test]
    fn versions_are_pinned_and_names_are_filled_in() {
        for tool in TOOLS {
            assert!(tool.package.contains("=="), "{}", tool.package);
            assert!(tool.args.iter().any(|word| word.contains("{url}")) && tool.args.iter().any(|word| word.contains("{out}")));
        }
        let template = include_str!("../audit/inference-perf.yaml");
        let text = filled(template, &load());
        assert!(text.contains("stages: [{rate: 20, duration: 10}]") && text.contains("total_count: 200"), "{text}");
        assert!(!text.contains("{rate}") && !text.contains("_tokens}"), "{text}");
    }
}
