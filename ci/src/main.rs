//! What CI does, runnable on a laptop: `cargo xtask check`, or one of its steps by name.
//!
//! It starts the toolchain and nothing else: no network of its own, no files written but cargo's. What a step checks is written in
//! the workspace's manifest and in the tests, not here. Apart from that stand [`audit`], which installs
//! somebody else's harness, [`accuracy`], which measures this host, and [`engines`], which runs real engines.

mod accuracy;
mod audit;
mod engines;

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// One call of cargo.
struct Step {
    /// What it is called on the command line.
    name: &'static str,
    /// What cargo is told.
    args: &'static [&'static str],
    /// What is set around it.
    env: &'static [(&'static str, &'static str)],
}

/// The steps of `check`, the quick ones first.
const STEPS: &[Step] = &[
    Step { name: "fmt", args: &["fmt", "--all", "--check"], env: &[] },
    Step { name: "clippy", args: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], env: &[] },
    // A snapshot that is not there yet is a failure, and nothing is written beside it.
    Step { name: "test", args: &["test", "--workspace"], env: &[("INSTA_UPDATE", "no")] },
    Step { name: "doc", args: &["doc", "--workspace", "--no-deps"], env: &[("RUSTDOCFLAGS", "-D warnings")] },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((first, rest)) if first == "audit" => audit::run(rest),
        Some((first, rest)) if first == "accuracy" => accuracy::run(rest),
        Some((first, rest)) if first == "engines" => engines::run(rest),
        _ => chosen(&words).and_then(|steps| steps.into_iter().try_for_each(Step::run)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, whatever RUST_BACKTRACE says: the step has said the rest.
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The steps a command line asks for.
fn chosen(words: &[String]) -> Result<Vec<&'static Step>> {
    let [word] = words else { bail!("one subcommand is needed, not {}; {}", words.len(), known()) };
    if word == "check" {
        return Ok(STEPS.iter().collect());
    }
    let step = STEPS.iter().find(|step| step.name == word).with_context(|| format!("there is no subcommand `{word}`; {}", known()))?;
    Ok(vec![step])
}

fn known() -> String {
    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    format!("there are check (all steps in order) and its steps {}, audit [HARNESS], accuracy, and engines [NAME…]", names.join(", "))
}

impl Step {
    fn run(&self) -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("finding the workspace above ci/")?;
        let shown: Vec<String> = self.env.iter().map(|(k, v)| format!("{k}='{v}'")).chain(["cargo".into(), self.args.join(" ")]).collect();
        let shown = shown.join(" ");
        eprintln!("== {}: {shown}", self.name);
        let begun = Instant::now();
        // The cargo that runs this program, so that a toolchain chosen by `+name` stays chosen.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(self.args)
            .envs(self.env.iter().copied())
            .current_dir(root)
            .status()
            .with_context(|| format!("starting `{shown}`"))?;
        let seconds = begun.elapsed().as_secs_f64();
        if !status.success() {
            bail!("step {} failed after {seconds:.1} s ({status}); to run it alone: cargo xtask {}", self.name, self.name);
        }
        eprintln!("== {} passed in {seconds:.1} s", self.name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::chosen;

    #[test]
    fn subcommands() {
        let check = |line: &str, expect: Result<&[&str], &str>| {
            let words: Vec<String> = line.split_whitespace().map(String::from).collect();
            match (chosen(&words), expect) {
                (Ok(steps), Ok(names)) => assert_eq!(steps.iter().map(|s| s.name).collect::<Vec<_>>(), names, "{line}"),
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{line}: {error}"),
                (got, _) => panic!("{line}: {:?}", got.map(|steps| steps.len())),
            }
        };
        check("check", Ok(&["fmt", "clippy", "test", "doc"]));
        check("doc", Ok(&["doc"]));
        check("chek", Err("no subcommand `chek`; there are check"));
        check("chek", Err("fmt, clippy, test, doc"));
        check("", Err("one subcommand is needed, not 0"));
        check("check test", Err("not 2; there are check"));
    }
}
