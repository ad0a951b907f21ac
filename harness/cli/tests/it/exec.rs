//! Engines behind adapters: the Python example of the protocol, and commands that are no adapters.

use crate::common::{Place, is_gone, words};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A load that is over soon.
const LOAD: &str = "--concurrency 2 --requests 6 --warmup 0s --input-tokens 16 --output-tokens 4 --format json";

/// The example, where it can run.
fn example() -> Option<PathBuf> {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no python3");
        return None;
    }
    Some(fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../backends/exec/examples/adapter.py")).unwrap())
}

/// A command that tells its number and becomes the example.
fn telling(example: &Path, more: &str) -> String {
    format!("sh -c 'echo $$; exec python3 \"$0\"' '{}' {more}", example.display())
}

/// The arguments of a run behind `exec`, under a short load.
fn run(exec: &str) -> Vec<String> {
    let mut args = words(&format!("run {LOAD} --exec"));
    args.push(exec.to_owned());
    args
}

/// What started adapters printed, the last one last.
fn logs(place: &Place) -> Vec<String> {
    place.runs().iter().filter_map(|path| fs::read_to_string(path.join("adapter.log")).ok()).collect()
}

/// The manifests, the newest last.
fn manifests(place: &Place) -> Vec<PathBuf> {
    place.runs().into_iter().map(|path| path.join("manifest.json")).filter(|path| path.exists()).collect()
}

fn read(manifest: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(manifest).unwrap()).unwrap()
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It is there until now in every test that passes.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_is_started_measured_and_stopped() {
    let Some(example) = example() else { return };
    let place = Place::new();
    let ended = place.run(&run(&telling(&example, "")));
    let summary = ended.summary();
    ended.assert_exit(0, &summary);
    assert_eq!(summary.count("ok"), 6);
    let path = manifests(&place).pop().unwrap();
    let manifest = read(&path);
    let backend = &manifest["backend"];
    assert_eq!((&backend["kind"], &backend["engine"], &backend["model"]), (&"exec".into(), &"echo-python".into(), &"echo".into()));
    let socket = Path::new(backend["target"].as_str().unwrap());
    assert!(socket.ends_with("socket") && !socket.parent().unwrap().exists(), "{socket:?} went with the adapter");
    let launched = &backend["launched"];
    assert_eq!((&launched["engine"], &launched["argv"][0]), (&"adapter".into(), &"sh".into()), "{launched}");
    assert!(place.path().join("runs").join(launched["log"].as_str().unwrap()).exists(), "{launched}");
    assert_eq!(launched["env"]["NOMOAT_SOCKET"], backend["target"]);
    let start = &backend["cold_start"];
    let ns = |key: &str| start[key].as_i64().unwrap_or_else(|| panic!("{key}: {start}"));
    assert!(0 < ns("port_open_ns") && ns("port_open_ns") <= ns("ready_ns") && ns("ready_ns") <= ns("first_token_ns"), "{start}");
    assert_eq!(start["ready_by"][0], "the adapter's hello");
    assert!(ns("resident_bytes") > 0, "{start}");
    let report = place.say(&format!("report {}", path.parent().unwrap().display())).stdout;
    assert!(report.contains("cold start of adapter: socket open after"), "{report}");
    let samples = nomoat_results::samples::read(&path.with_file_name("samples.parquet")).unwrap();
    assert!(samples.iter().any(|s| s.metric == "engine.resident_bytes" && s.value > 0.0), "its memory is there");
    assert!(samples.iter().any(|s| s.metric == "engine.generation_tokens_total" && s.value >= 2.0), "the adapter's readings are there");

    // The manifest does it again, with another adapter.
    let again = place.run(&["run", "-f", path.to_str().unwrap(), "--format", "json"]);
    assert_eq!(again.summary().count("ok"), 6, "{}", again.stderr);
    let logs = logs(&place);
    assert_eq!(logs.len(), 2);
    assert!(logs.iter().all(|pid| pid.trim().parse::<u32>().is_ok() && is_gone(pid)), "{logs:?}");
}

#[test]
fn meters_of_this_host_are_read_beside_an_adapter_only_where_they_are_named() {
    let Some(example) = example() else { return };
    let reason = |flags: &[&str]| {
        let place = Place::new();
        let mut args = run(&telling(&example, ""));
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let ended = place.run(&args);
        let summary = ended.summary();
        ended.assert_exit(0, &summary);
        let row = summary.0["metrics"].as_array().unwrap().iter().find(|row| row["name"] == "energy_joules").unwrap();
        let absent = read(&manifests(&place).pop().unwrap())["facts"]["energy"]["absent"].to_string();
        (row["value"].is_null(), row["reason"].as_str().unwrap().to_owned(), absent, ended.stderr)
    };
    let unknown = "this host's meters: where the engine behind an adapter runs is not known; name them with --energy if it is this host";
    for asked in [&[][..], &["--energy", "auto"]] {
        let (none, reason, absent, said) = reason(asked);
        assert!(none && reason.contains(unknown) && absent.contains("behind an adapter"), "{asked:?}: {reason}");
        assert_eq!(said.contains(unknown), !asked.is_empty(), "it is told to who asked for energy: {said}");
    }
    // Named they are looked for: whether this host has one is not the question.
    let (_, reason, absent, _) = reason(&["--energy", "rapl"]);
    assert!(reason.to_lowercase().contains("rapl") && !absent.contains("behind an adapter"), "{reason}");
}

#[test]
fn a_secret_of_the_command_is_not_kept() {
    let Some(example) = example() else { return };
    let place = Place::new();
    let ended = place.run(&run(&telling(&example, "--api-key planted-secret")));
    assert_eq!(ended.summary().count("ok"), 6, "{}", ended.stderr);
    let path = manifests(&place).pop().unwrap();
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept.contains("--api-key") && read(&path)["backend"]["launched"]["argv"].to_string().contains("<redacted>"), "{kept}");
    assert!(!kept.contains("planted-secret") && !ended.stderr.contains("planted-secret"), "{kept}\n{}", ended.stderr);
    let again = place.run(&["run", "-f", path.to_str().unwrap()]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("give --exec again"), "{}", again.stderr);
}

#[test]
fn one_that_listens_already() {
    let Some(example) = example() else { return };
    let place = Place::new();
    let mut command = Command::new("python3");
    command.arg(example).env("NOMOAT_SOCKET", place.path().join("a.sock")).stdin(Stdio::null());
    let mut adapter = Killed(command.spawn().unwrap());
    let ended = place.say(&format!("run --exec-socket a.sock --wait-ready 60s {LOAD}"));
    assert_eq!(ended.summary().count("ok"), 6, "{}", ended.stderr);
    let manifest = read(&place.only_run().join("manifest.json"));
    assert_eq!((&manifest["backend"]["kind"], &manifest["backend"]["target"]), (&"exec".into(), &"a.sock".into()));
    assert!(manifest["backend"].get("launched").is_none(), "nobody started it here: {manifest}");
    assert!(adapter.0.try_wait().unwrap().is_none(), "it is not ours to stop");

    let other = place.say(&format!("run --exec-socket a.sock --model other {LOAD}"));
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.stderr.contains("--model other: the adapter has echo"), "{}", other.stderr);
}

/// The words of a calibration of `exec` under a short load.
fn calibration(exec: &str, load: &str) -> Vec<String> {
    let mut args = words(&format!("calibrate --quiet --format json --duration 1s --script ttft=5ms,itl=1ms {load} --exec"));
    args.push(exec.to_owned());
    args
}

#[test]
fn an_adapter_that_plays_is_calibrated() {
    let Some(example) = example() else { return };
    let place = Place::new();
    let ended = place.run(&calibration(&telling(&example, "--api-key planted-secret"), "--rate 20 --output-tokens 8"));
    // How punctual the host is, is not the question here.
    assert!(matches!(ended.code, Some(0 | 5)), "{ended:?}");
    assert!(!ended.stderr.contains("planted-secret") && !ended.stdout.contains("planted-secret"), "{ended:?}");
    let page: Value = serde_json::from_str(&ended.stdout).unwrap();
    let [one] = &page["adapter"].as_array().unwrap()[..] else { panic!("one load: {page}") };
    let count = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} in {one}"));
    let matched = count(&one["matched"]);
    assert!(matched > 0 && matched == count(&one["requests"]) && count(&one["failed"]) == 0, "{one}");
    let latency = &one["latency"];
    for (part, per_answer) in [("token", 8), ("pace", 7), ("ttft", 1), ("ttft_adapter", 1), ("ttft_way", 1), ("dispatch_lag", 1)] {
        assert_eq!(count(&latency[part]["n"]), matched * per_answer, "{part}");
    }
    // Nothing arrives before it was handed over, and no timer fires early.
    for part in ["token", "ttft", "ttft_adapter", "ttft_way"] {
        assert!(latency[part]["p50_ns"].as_i64().unwrap() >= 0, "{part}: {latency}");
    }
    let mean = |part: &str| latency[part]["mean_ns"].as_f64().unwrap();
    assert!((mean("ttft") - mean("ttft_adapter") - mean("ttft_way")).abs() < 1.0, "the parts are the whole: {latency}");
    let logs = logs(&place);
    assert!(manifests(&place).is_empty() && logs.len() == 1 && is_gone(&logs[0]), "no run is left, and no adapter: {logs:?}");
}

#[test]
fn one_that_does_not_play_is_no_subject_of_a_calibration() {
    let Some(example) = example() else { return };
    let place = Place::new();
    let text = fs::read_to_string(example).unwrap();
    let changed = |name: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        format!("python3 '{}'", place.file(name, &text.replace(from, to)))
    };
    let mute = place.run(&calibration(&changed("mute.py", ", \"echo\": True", ""), "--concurrency 1"));
    assert_eq!((mute.code, mute.stdout.as_str()), (Some(3), ""), "{mute:?}");
    assert!(mute.stderr.contains("it has no `echo`") && mute.stderr.contains("\"echo\": true"), "{}", mute.stderr);

    let wall =
        place.run(&calibration(&changed("wall.py", "sent.append(time.monotonic_ns())", "sent.append(time.time_ns())"), "--concurrency 1"));
    assert_eq!(wall.code, Some(5), "{wall:?}");
    let page: Value = serde_json::from_str(&wall.stdout).unwrap();
    let one = &page["adapter"][0];
    assert_eq!((&one["matched"], &one["latency"]["token"]), (&0.into(), &Value::Null), "{one}");
    assert!(one["broken"].to_string().contains("CLOCK_MONOTONIC"), "{one}");
}

/// The findings of `engine conform` with these words, as `outcome check`.
fn conformance(place: &Place, more: &[String]) -> (Option<i32>, Vec<String>) {
    let ended = place.run(&[&words("engine conform --format json --timeout 20s"), more].concat());
    let page: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    assert_eq!(page["schema"], "conform/1");
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let findings = page["findings"].as_array().unwrap();
    assert_eq!(page["wrong"].as_bool(), Some(findings.iter().any(|f| f["outcome"] == "wrong")), "{page}");
    (ended.code, findings.iter().map(|f| format!("{} {}", text(&f["outcome"]), text(&f["check"]))).collect())
}

#[test]
fn adapters_are_held_against_the_rules() {
    let Some(example) = example() else { return };
    let place = Place::new();
    let (code, found) = conformance(&place, &["--exec".into(), telling(&example, "")]);
    assert_eq!(code, Some(0), "{found:?}");
    for rule in ["hello", "answer", "exact_length", "counts", "reuse", "echo", "cancel", "errors", "oversized", "a connection is kept"] {
        assert!(found.contains(&format!("good {rule}")), "{rule}: {found:?}");
    }
    // One that counts wrong, one that plays nothing, and one that says no hello.
    let text = fs::read_to_string(example).unwrap();
    for (from, to, expect) in [
        ("\"output\": wanted}", "\"output\": wanted + 1}", "wrong counts"),
        ("if \"script\" in ask", "if False", "wrong echo"),
        ("\"protocol\": 1", "\"protocol\": 7", "wrong hello"),
    ] {
        assert!(text.contains(from), "{from}");
        let path = place.file("changed.py", &text.replace(from, to));
        let (code, found) = conformance(&place, &["--exec".into(), format!("python3 '{path}'")]);
        assert_eq!(code, Some(5), "{expect}: {found:?}");
        assert!(found.contains(&expect.to_owned()), "{expect}: {found:?}");
    }
    let logs = logs(&place);
    assert!(manifests(&place).is_empty() && is_gone(&logs[0]), "{logs:?}");
    for (line, code, needle) in [
        ("engine conform", 2, "<URL>"),
        ("engine probe", 2, "<URL>"),
        ("engine conform http://127.0.0.1:1 --exec true", 2, "--url is about an endpoint"),
        ("engine conform --exec true --quality", 2, "--quality asks an endpoint over HTTP"),
        ("engine conform --exec-socket nobody.sock", 3, "nobody listened at nobody.sock"),
        ("engine probe --exec-socket nobody.sock", 3, "nobody.sock"),
    ] {
        let ended = place.say(line);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(needle), "{line}: {}", ended.stderr);
    }
}

#[test]
fn one_that_listens_already_is_probed_and_checked() {
    let Some(example) = example() else { return };
    let place = Place::new();
    let mut command = Command::new("python3");
    command.arg(example).env("NOMOAT_SOCKET", place.path().join("b.sock")).stdin(Stdio::null());
    let mut adapter = Killed(command.spawn().unwrap());
    let (code, found) = conformance(&place, &words("--exec-socket b.sock --wait-ready 60s"));
    assert_eq!(code, Some(0), "{found:?}");
    let probed = place.say("engine probe --exec-socket b.sock");
    assert_eq!(probed.code, Some(0), "{probed:?}");
    assert!(
        probed.stdout.contains("echo-python 1") && probed.stdout.contains("next: nomoat run --exec-socket b.sock"),
        "{}",
        probed.stdout
    );
    assert!(adapter.0.try_wait().unwrap().is_none(), "it is not ours to stop");
}

#[test]
fn one_that_dies_is_told_with_its_last_words() {
    let place = Place::new();
    let ended = place.run(&run("sh -c 'echo one; echo two >&2; exit 7'"));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for words in ["the adapter ended with exit status: 7", "  | one", "  | two", "adapter.log"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    assert_eq!((logs(&place), manifests(&place), ended.stdout.as_str()), (vec!["one\ntwo\n".to_owned()], vec![], ""));
}

#[test]
fn one_that_never_listens_is_given_up() {
    let place = Place::new();
    let mut args = run("sh -c 'echo $$; exec sleep 1000'");
    args.extend(words("--wait-ready 300ms"));
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for words in ["nobody listened at", "after 300 ms", "NOMOAT_SOCKET", "--wait-ready", "the end of what it printed"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    let logs = logs(&place);
    assert!(logs.len() == 1 && is_gone(&logs[0]), "{logs:?}");
}

#[test]
fn one_that_is_no_adapter() {
    let Some(_) = example() else { return };
    let place = Place::new();
    // It listens and hangs up, so that there is no hello.
    let script = "import os, socket; s = socket.socket(socket.AF_UNIX); s.bind(os.environ[\"NOMOAT_SOCKET\"]); s.listen(9); print(\"here\", flush=True)\nwhile True: s.accept()[0].close()";
    let ended = place.run(&run(&format!("python3 -c '{script}'")));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for words in ["the adapter closed the connection", "  | here"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}

#[test]
fn what_cannot_work_is_told_before_anything_starts() {
    let place = Place::new();
    let check = |line: &str, code: i32, needle: &str| {
        let ended = place.say(&format!("run {line} {LOAD}"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(needle), "{line}: {}", ended.stderr);
    };
    check("--exec true --exec-socket a.sock", 2, "give one");
    check("--exec true --url http://127.0.0.1:1", 2, "--url is about an endpoint over HTTP");
    check("--exec true --backend http", 2, "not with --backend http");
    check("--backend exec", 2, "needs --exec COMMAND or --exec-socket PATH");
    check("--exec true --calibrate", 2, "an adapter's answers do not take");
    check("--exec true --cold-start load", 2, "it needs --url or --launch NAME");
    for (line, needle) in [
        ("--exec true --exec-socket a.sock", "give one"),
        ("--exec true --tls", "--tls is about the way over HTTP"),
        ("--exec true --concurrency 1 --script jitter=uniform:0.2", "ttft and itl alone"),
        ("--wait-ready 1s", "goes with --exec"),
    ] {
        let ended = place.say(&format!("calibrate {line}"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(needle), "{line}: {}", ended.stderr);
    }
    assert_eq!(place.runs(), Vec::<PathBuf>::new());
    check("--exec-socket nobody.sock", 3, "nobody.sock");
    check("--exec-socket nobody.sock --wait-ready 10ms", 3, "nobody listened at nobody.sock after 10");
    check("--exec /nonexistent/adapter", 3, "/nonexistent/adapter");
}
