//! `cargo xtask engines [NAME…]`: nomoat against real engines that run on a CPU, with a tiny real model.
//!
//! It needs the network, gigabytes and minutes, so it is no step of `check`. What an engine is stands in `ci/engines/NAME.toml`; this
//! interprets it. One engine runs at a time. What cannot be installed or started is skipped with its reason, which is no success: the
//! end is a failure when a check failed, and when nothing ran.

mod cache;
mod checks;
mod fill;
mod http;
mod inside;
mod isolation;
mod page;
mod pages;
mod process;
mod relay;
mod spec;
mod wire;

use anyhow::{Context, Result, bail, ensure};
use cache::Cache;
use checks::{Checked, Seen, Verdict};
use spec::{Isolation, Spec};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs the subcommand.
pub fn run(words: &[String]) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("finding the workspace above ci/")?;
    let folder = root.join("ci/engines");
    let specs = spec::read_all(&folder)?;
    let cache = Cache::find(folder)?;
    if let [flag, name, nomoat, result] = words
        && flag == "--inside"
    {
        return inside(find(&specs, name)?, &cache, Path::new(nomoat), Path::new(result));
    }
    if let [flag] = words
        && flag == "--list"
    {
        specs.iter().for_each(|spec| println!("{:<16} {} {}", spec.name, spec.title, spec.version));
        return Ok(());
    }
    let chosen: Vec<&Spec> =
        if words.is_empty() { specs.iter().collect() } else { words.iter().map(|name| find(&specs, name)).collect::<Result<_>>()? };
    let nomoat = nomoat(root)?;
    let seen: Vec<(&Spec, Seen)> = chosen.into_iter().map(|spec| (spec, one(spec, &cache, &nomoat))).collect();
    println!("{}", table(&seen));
    let date = page::today();
    let rows: Vec<(String, String)> = seen
        .iter()
        .filter_map(|(spec, seen)| match seen {
            Seen::Skipped(_) => None,
            Seen::Checked { nomoat, checks } => Some((spec.title.clone(), page::row(spec, &date, nomoat, checks))),
        })
        .collect();
    let order: Vec<String> = specs.iter().map(|spec| spec.title.clone()).collect();
    page::write(&root.join("docs/ENGINES.md"), &rows, &order)?;
    judge(&seen)
}

/// The end: what failed, and whether anything ran.
fn judge(seen: &[(&Spec, Seen)]) -> Result<()> {
    let (mut ran, mut failed) = (0, vec![]);
    for (spec, seen) in seen {
        if let Seen::Checked { checks, .. } = seen {
            ran += 1;
            failed.extend(checks.iter().filter(|c| c.verdict == Verdict::Fail).map(|c| format!("{} of {}", c.name, spec.name)));
        }
    }
    ensure!(ran > 0, "no engine ran");
    ensure!(failed.is_empty(), "these failed: {}", failed.join(", "));
    Ok(())
}

fn find<'a>(specs: &'a [Spec], name: &str) -> Result<&'a Spec> {
    let names = || specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
    specs.iter().find(|spec| spec.name == name).with_context(|| format!("no engine is called `{name}`; there are {}", names()))
}

/// Installs one engine and has it seen by a program of its own.
fn one(spec: &Spec, cache: &Cache, nomoat: &Path) -> Seen {
    eprintln!("== {} {}", spec.title, spec.version);
    let seen = cache.prepare(spec).and_then(|()| apart(spec, cache, nomoat)).unwrap_or_else(|error| Seen::Skipped(format!("{error:#}")));
    match &seen {
        Seen::Skipped(reason) => eprintln!("   SKIPPED: {reason}"),
        Seen::Checked { checks, .. } => checks.iter().for_each(|c| eprintln!("   {:<9} {:<6} {}", c.name, c.verdict.word(), c.said)),
    }
    seen
}

/// Runs this program once more, in a network of the engine's own where there is one.
fn apart(spec: &Spec, cache: &Cache, nomoat: &Path) -> Result<Seen> {
    let this = std::env::current_exe().context("finding this program")?;
    let mut command = match (isolation::available(), spec.isolation) {
        (Ok(()), _) => isolation::isolated(&this),
        (Err(why), Isolation::Required) => bail!("it opens ports on all addresses, and {why}"),
        (Err(why), Isolation::Preferred) => {
            eprintln!("   on this host's network: {why}");
            Command::new(&this)
        }
    };
    let result = cache.logs(&spec.name).join("result.json");
    if result.exists() {
        std::fs::remove_file(&result).with_context(|| format!("removing {}", result.display()))?;
    }
    command.args(["engines", "--inside", &spec.name]).arg(nomoat).arg(&result).stdin(Stdio::piped());
    let mut child = command.spawn().context("starting this program once more")?;
    // Waiting closes it unless it is taken out, and its end is what tells the other to stop.
    let held = child.stdin.take();
    let status = child.wait().context("waiting for this program's other half")?;
    drop(held);
    let bytes = std::fs::read(&result).with_context(|| format!("reading what came of it (it ended with {status})"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("reading {}", result.display()))
}

fn inside(spec: &Spec, cache: &Cache, nomoat: &Path, result: &Path) -> Result<()> {
    process::watch_parent();
    let seen = inside::Place::new(spec, cache, nomoat)?.see();
    std::fs::write(result, serde_json::to_vec(&seen)?).with_context(|| format!("writing {}", result.display()))
}

/// The table of this run.
fn table(seen: &[(&Spec, Seen)]) -> String {
    let wide = seen.iter().map(|(spec, _)| spec.title.chars().count()).max().unwrap_or(0);
    let mut lines = vec![format!("{:<wide$}  {}", "engine", checks::NAMES.map(|name| format!("{name:<10}")).join(""))];
    for (spec, seen) in seen {
        let cells = match seen {
            Seen::Skipped(reason) => format!("SKIPPED: {}", reason.lines().next().unwrap_or_default()),
            Seen::Checked { checks, .. } => {
                let word = |name| checks.iter().find(|c: &&Checked| c.name == name).map_or("–", |c| c.verdict.word());
                checks::NAMES.map(|name| format!("{:<10}", word(name))).join("")
            }
        };
        lines.push(format!("{:<wide$}  {cells}", spec.title));
    }
    lines.join("\n")
}

/// The program under `NOMOAT`, else a debug build of this tree: nothing here is judged by its speed.
fn nomoat(root: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("NOMOAT") {
        return std::fs::canonicalize(&path).with_context(|| format!("finding the program that NOMOAT names, {}", path.display()));
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "-p", "nomoat"]).current_dir(root).status().context("starting cargo")?;
    ensure!(status.success(), "building nomoat ended with {status}");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("debug/nomoat"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_is_no_success() {
        let specs = spec::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("engines")).unwrap();
        let spec = &specs[0];
        let of = |verdict| Seen::Checked { nomoat: "r".into(), checks: vec![Checked { name: "run".into(), verdict, said: String::new() }] };
        let check = |seen: Vec<Seen>, expect: Result<(), &str>| {
            let seen: Vec<(&Spec, Seen)> = seen.into_iter().map(|seen| (spec, seen)).collect();
            match (judge(&seen), expect) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
                (got, _) => panic!("{got:?}"),
            }
        };
        check(vec![], Err("no engine ran"));
        check(vec![Seen::Skipped("why".into())], Err("no engine ran"));
        check(vec![Seen::Skipped("why".into()), of(Verdict::Pass), of(Verdict::Known), of(Verdict::Unavailable)], Ok(()));
        check(vec![of(Verdict::Pass), of(Verdict::Fail)], Err(&format!("run of {}", spec.name)));
    }

    #[test]
    fn engines_by_name() {
        let specs = spec::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("engines")).unwrap();
        assert_eq!(find(&specs, "vllm").unwrap().name, "vllm");
        assert!(find(&specs, "vlm").unwrap_err().to_string().contains("there are"));
    }
}
