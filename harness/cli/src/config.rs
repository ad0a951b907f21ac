//! Flags and files meet here: a file's keys are the flag names, flags win, unknown keys are errors.

use crate::args::RunArgs;
use crate::exit::Failure;
use nomoat_core::suggest::distance;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::path::Path;

/// Keys that say the same in other words: the one given as a flag takes the place of those in the file.
const RIVALS: [&[&str]; 11] = [
    &["suite", "trace"],
    &["suite", "input-tokens"],
    &["suite", "output-tokens"],
    &["launch", "url", "exec", "exec-socket"],
    &["slo", "goodput"],
    &["cv", "burstiness"],
    &["usd-per-hour", "price"],
    &["concurrency", "rate"],
    &["concurrency", "arrivals"],
    &["concurrency", "ladder"],
    &["rate", "ladder"],
];
/// Keys whose value is a time or a count in words.
const TIMES: [&str; 9] =
    ["duration", "warmup", "timeout", "first-token-timeout", "wait-ready", "think", "trace-from", "trace-span", "gap-cap"];

/// The flags with the keys of their `-f` file underneath.
pub fn resolve(flags: RunArgs, file: Option<&Path>) -> Result<RunArgs, Failure> {
    let Some(path) = file else { return Ok(flags) };
    let mut keys = read(path)?;
    // Flags that are not written to a manifest still win over a file.
    let (header, out, format, dry_run) = (flags.header.clone(), flags.out.clone(), flags.format.clone(), flags.dry_run);
    let launch_env = flags.launch_env.clone();
    let flags = to_map(&flags);
    // All of them first: flags do not take each other's place, and what contradicts itself is told as on a command line without a file.
    for key in flags.keys() {
        for rival in RIVALS.iter().filter(|rivals| rivals.contains(&key.as_str())).flat_map(|rivals| rivals.iter()) {
            keys.shift_remove(*rival);
        }
    }
    keys.extend(flags);
    for key in TIMES {
        // A bare number is what the flag takes too.
        if let Some(Value::Number(number)) = keys.get(key) {
            let text = number.to_string();
            keys.insert(key.into(), Value::String(text));
        }
    }
    let mut merged = from_map(keys).map_err(|e| Failure::usage(format!("reading {}: {e}", path.display())))?;
    if !header.is_empty() {
        merged.header = header;
    }
    if !launch_env.is_empty() {
        merged.launch_env = launch_env;
    }
    merged.out = out.or(merged.out);
    merged.format = format.or(merged.format);
    merged.dry_run = dry_run;
    Ok(merged)
}

/// The command line of any subcommand but `run`, with the keys of its `-f` file as flags behind it; flags that are there win. Keys that
/// are no flags are errors when the result is parsed. What follows `--` is somebody else's command line and stays as it is.
pub fn expand(mut argv: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let end = argv.iter().position(|word| word == "--").unwrap_or(argv.len());
    let theirs = argv.split_off(end);
    let mut expanded = expand_own(argv)?;
    expanded.extend(theirs);
    Ok(expanded)
}

fn expand_own(argv: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let words: Vec<String> = argv.iter().map(|w| w.to_string_lossy().into_owned()).collect();
    let runs = words.iter().skip(1).find(|w| !w.starts_with('-')).is_some_and(|w| ["run", "bench"].contains(&w.as_str()));
    let named = words.iter().position(|w| w == "-f" || w == "--file").and_then(|at| words.get(at + 1).cloned());
    let Some(path) = named.or_else(|| words.iter().find_map(|w| w.strip_prefix("--file=").map(str::to_owned))).filter(|_| !runs) else {
        return Ok(argv);
    };
    let mut expanded = argv;
    for (key, value) in read(Path::new(&path))? {
        let flag = format!("--{key}");
        if words.iter().any(|w| *w == flag || w.starts_with(&format!("{flag}="))) {
            continue;
        }
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            match value {
                Value::Bool(true) => expanded.push(flag.clone().into()),
                Value::Bool(false) => {}
                Value::String(text) => expanded.push(format!("{flag}={text}").into()),
                Value::Number(number) => expanded.push(format!("{flag}={number}").into()),
                _ => {
                    return Err(Failure::usage(format!(
                        "reading {path}: `{key}` is neither a text, a number, true, false nor a list of them"
                    )));
                }
            }
        }
    }
    Ok(expanded)
}

/// The keys of a configuration, without those that are not set.
pub fn to_map(args: &RunArgs) -> Map<String, Value> {
    let Ok(Value::Object(map)) = serde_json::to_value(args) else { return Map::new() };
    map.into_iter().filter(|(_, v)| !v.is_null() && v.as_array().is_none_or(|a| !a.is_empty())).collect()
}

/// Every key that a file may hold. What is left out of a manifest where it is not given is given here.
fn names() -> Vec<String> {
    let all = RunArgs {
        repeat: true,
        quiet: true,
        insecure: true,
        same_prompts: true,
        quality: true,
        calibrate: true,
        lenient: true,
        metrics_url: vec![String::new()],
        ..RunArgs::default()
    };
    match serde_json::to_value(all) {
        Ok(Value::Object(all)) => all.keys().cloned().chain(["header", "out", "format"].map(String::from)).collect(),
        _ => vec![],
    }
}

fn from_map(keys: Map<String, Value>) -> Result<RunArgs, String> {
    let names = names();
    for key in keys.keys() {
        if !names.iter().any(|name| name == key) {
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            return Err(format!("unknown key `{key}`{}", nearest(key, &known)));
        }
    }
    serde_json::from_value(Value::Object(keys)).map_err(|e| e.to_string())
}

fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("reading {shown}: {e}")))?;
    let value: Value = if path.extension().is_some_and(|e| e == "json") {
        serde_json::from_str(&text).map_err(|e| Failure::usage(format!("reading {shown}: {e}")))?
    } else {
        toml::from_str(&text).map_err(|e| Failure::usage(format!("reading {shown}: {e}")))?
    };
    // A manifest holds the resolved configuration of its run.
    let value = if value.get("schema").is_some() {
        let config = value.pointer("/command/config").cloned();
        config.ok_or_else(|| Failure::usage(format!("{shown} is a manifest without command.config; it cannot repeat its run")))?
    } else {
        value
    };
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Failure::usage(format!("{shown} is not a table of keys"))),
    }
}

/// One of a few words, or an error that suggests the nearest.
pub fn choose<'a>(flag: &str, value: &str, words: &[&'a str]) -> Result<&'a str, Failure> {
    words
        .iter()
        .find(|w| **w == value)
        .copied()
        .ok_or_else(|| Failure::usage(format!("{flag} `{value}` is not one of {}{}", words.join(", "), nearest(value, words))))
}

/// "; did you mean `x`?" for the nearest of some words, if one is near.
pub fn nearest(value: &str, words: &[&str]) -> String {
    let best = words.iter().map(|w| (distance(value, w), w)).min();
    match best {
        Some((distance, word)) if distance <= value.len().max(word.len()) / 2 => format!("; did you mean `{word}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_of_a_run_is_a_key() {
        let names = names();
        // Who asks for a dry run wants one now, and a file that named another would have no end.
        let no_keys = ["dry-run", "file", "help"];
        for flag in crate::args::run_flags().iter().filter(|flag| !no_keys.contains(&flag.as_str())) {
            assert!(names.contains(flag), "`{flag}` in a file would be unknown");
        }
    }

    fn with_file(name: &str, text: &str, flags: RunArgs) -> Result<RunArgs, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        resolve(flags, Some(&path))
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = RunArgs { rate: Some(5.0), ..RunArgs::default() };
        let args = with_file("bench.toml", "rate = 2.0\nduration = \"10s\"\nloop = true\nlabel = [\"a=b\"]", flags).unwrap();
        assert_eq!((args.rate, args.duration.as_deref(), args.repeat, args.label.len()), (Some(5.0), Some("10s"), true, 1));
    }

    #[test]
    fn other_subcommands_take_a_file_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("truth.toml");
        std::fs::write(&path, "script = \"ttft=1ms\"\nthreads = 2\nlisten = \"127.0.0.1:0\"").unwrap();
        let path = path.to_str().unwrap();
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let expanded = expand(words(&format!("nomoat truth -f {path} --threads 3"))).unwrap();
        let expect = format!("nomoat truth -f {path} --threads 3 --listen=127.0.0.1:0 --script=ttft=1ms");
        assert_eq!(expanded, words(&expect), "flags win");
        let expanded = expand(words(&format!("nomoat audit -f {path} -- other -f x"))).unwrap();
        let expect = format!("nomoat audit -f {path} --listen=127.0.0.1:0 --script=ttft=1ms --threads=2 -- other -f x");
        assert_eq!(expanded, words(&expect), "behind -- nothing is ours");
        for untouched in [format!("nomoat run -f {path}"), "nomoat metrics".into(), "nomoat audit -- other -f /nowhere.toml".into()] {
            assert_eq!(expand(words(&untouched)).unwrap(), words(&untouched));
        }
        assert!(expand(words("nomoat truth --file=/nowhere.toml")).unwrap_err().message.contains("/nowhere.toml"));
    }

    #[test]
    fn a_manifest_repeats_its_run() {
        let args =
            with_file("manifest.json", r#"{"schema":"run-manifest/1","command":{"config":{"seed":7,"rate":3.5}}}"#, RunArgs::default())
                .unwrap();
        assert_eq!((args.seed, args.rate), (Some(7), Some(3.5)));
    }

    #[test]
    fn unknown_keys_are_errors() {
        let error = with_file("bench.toml", "duraton = \"10s\"", RunArgs::default()).unwrap_err();
        assert!(error.message.contains("unknown key `duraton`; did you mean `duration`?"), "{error}");
        let error = with_file("bench.toml", "rate = \"fast\"", RunArgs::default()).unwrap_err();
        assert!(error.message.contains("fast"), "{error}");
    }

    #[test]
    fn every_key_goes_round() {
        let args = RunArgs { rate: Some(1.0), quiet: true, repeat: true, label: vec!["a=b".into()], ..RunArgs::default() };
        assert_eq!(from_map(to_map(&args)).unwrap(), args);
    }

    #[test]
    fn one_address_or_several() {
        for (text, expect) in [
            (r#"url = "http://a""#, &["http://a"][..]),
            (r#"url = "http://a,http://b""#, &["http://a", "http://b"]),
            (r#"url = ["http://a", "http://b"]"#, &["http://a", "http://b"]),
        ] {
            let args = with_file("bench.toml", text, RunArgs::default()).unwrap();
            assert_eq!(args.url, expect, "{text}");
            assert_eq!(from_map(to_map(&args)).unwrap(), args, "{text}");
        }
        let one = RunArgs { url: vec!["http://a".into()], ..RunArgs::default() };
        assert_eq!(to_map(&one)["url"], "http://a", "as every manifest has it");
        let args = with_file("bench.toml", "url = [\"http://a\", \"http://b\"]", RunArgs { url: vec!["http://c".into()], ..one }).unwrap();
        assert_eq!(args.url, ["http://c"], "flags win");
    }

    #[test]
    fn near_words() {
        let error = choose("--arrivals", "poison", &["constant", "poisson", "gamma"]).unwrap_err();
        assert_eq!(error.message, "--arrivals `poison` is not one of constant, poisson, gamma; did you mean `poisson`?");
    }
}
