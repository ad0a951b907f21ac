//! Engines that nomoat starts: the scripted server of the binary itself, and shell scripts that misbehave.

use crate::common::{Ended, FIVE, Place, Running, is_gone, names, until, words};
use nomoat_truth::{Config, Truth};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

/// A load that is over soon.
const LOAD: &str = "--concurrency 2 --requests 8 --warmup 0s --input-tokens 16 --output-tokens 4";

/// The folders of launches, in the order in which they were made.
fn launches(place: &Place) -> Vec<PathBuf> {
    place.runs().into_iter().filter(|path| path.to_str().unwrap().contains("-launch-")).collect()
}

/// The run directories beside them.
fn runs(place: &Place) -> Vec<PathBuf> {
    place.runs().into_iter().filter(|path| path.join("manifest.json").exists()).collect()
}

fn log(place: &Place) -> String {
    launches(place).pop().and_then(|folder| fs::read_to_string(folder.join("engine.log")).ok()).unwrap_or_default()
}

/// Nobody listens any more where an engine said that it listens.
fn assert_gone(log: &str) {
    let address = log.lines().find_map(|line| line.strip_prefix("http://")).unwrap_or_else(|| panic!("{log}"));
    assert!(TcpStream::connect(address.trim()).is_err(), "{address} still answers");
}

/// A description of an engine `mine` that is a shell script, in a folder of its own.
fn mine(place: &Place, script: &str, more: &str) -> String {
    let folder = place.path().join("engines");
    fs::create_dir_all(&folder).unwrap();
    let head = "name = \"mine\"\ntitle = \"Mine\"\nkind = \"engine\"\nprotocols = [\"completions\", \"chat\"]\n";
    let command = format!("command = [\"sh\", \"-c\", '''{script}''', \"{{nomoat}}\", \"{{host}}:{{port}}\"]\n");
    fs::write(folder.join("mine.toml"), format!("{head}[launch]\n{command}{more}\n")).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn manifest(run: &std::path::Path) -> Value {
    serde_json::from_str(&fs::read_to_string(run.join("manifest.json")).unwrap()).unwrap()
}

/// Waits until the log of the engine that is being started has `text`.
fn until_logged(place: &Place, running: &mut Running, text: &str) -> String {
    until("the engine says that it is there", || {
        running.check_alive();
        Some(log(place)).filter(|log| log.contains(text))
    })
}

#[test]
fn it_is_started_measured_and_stopped() {
    let place = Place::new();
    let mut args = words(&format!("run --launch truth {LOAD} --format json --launch-args"));
    args.push("--script 'ttft=2ms,itl=1ms,loading=50ms'".into());
    let ended = place.run(&args);
    let summary = ended.summary();
    ended.assert_exit(0, &summary);
    assert_eq!(summary.count("ok"), 8);
    assert!(ended.stderr.contains("starting truth: nomoat truth --listen 127.0.0.1:"), "{}", ended.stderr);
    let run = runs(&place).pop().unwrap();
    assert_eq!(names(&run), FIVE);
    let manifest = manifest(&run);
    let (launched, cold) = (&manifest["backend"]["launched"], &manifest["backend"]["cold_start"]);
    assert_eq!((&launched["engine"], &launched["argv"][0]), (&Value::from("truth"), &Value::from("nomoat")));
    assert!(place.path().join("runs").join(launched["log"].as_str().unwrap()).exists());
    let at = |name: &str| cold[name].as_i64().unwrap();
    assert!(0 < at("port_open_ns") && at("port_open_ns") <= at("ready_ns") && at("ready_ns") < at("first_token_ns"), "{cold}");
    assert!(at("ready_ns") >= 50_000_000, "it loaded for as long: {cold}");
    assert!(at("resident_bytes") > 1 << 20, "{cold}");
    assert!(launched.get("port_doubt").is_none(), "its own process holds its port: {launched}");
    let samples = nomoat_results::samples::read(&run.join("samples.parquet")).unwrap();
    let resident: Vec<f64> = samples.iter().filter(|s| s.metric == "engine.resident_bytes").map(|s| s.value).collect();
    assert!(!resident.is_empty() && resident.iter().all(|bytes| *bytes > f64::from(1 << 20)), "{resident:?}");
    assert_gone(&log(&place));

    // The table tells it, and the manifest does it again.
    let report = place.run(&["report", run.to_str().unwrap()]);
    assert!(report.stdout.contains("cold start of truth: port open after"), "{}", report.stdout);
    let again = place.run(&["run", "-f", run.join("manifest.json").to_str().unwrap(), "--format", "json"]);
    assert_eq!(again.summary().count("ok"), 8, "{}", again.stderr);
    assert_eq!(launches(&place).len(), 2);
}

#[test]
fn one_that_dies_is_told_with_its_last_words() {
    let place = Place::new();
    let folder = mine(&place, "echo one; echo two >&2; exit 7", "");
    let ended = place.run(&["run", "--engines", &folder, "--launch", "mine", "--concurrency", "1"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for words in ["engine `mine` ended with exit status: 7 before it was ready", "  | one", "  | two", "engine.log"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    assert_eq!((log(&place).as_str(), runs(&place).len(), ended.stdout.as_str()), ("one\ntwo\n", 0, ""));
}

#[test]
fn one_that_is_not_there() {
    let place = Place::new();
    let ended = place.run(&["run", "--launch", "truth", "--launch-command", "/nonexistent/engine --port {port}", "--concurrency", "1"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("/nonexistent/engine") && ended.stderr.contains("--launch-command"), "{}", ended.stderr);
}

#[test]
fn one_that_is_never_ready_is_given_up() {
    let place = Place::new();
    let mut args = words("run --launch truth --wait-ready 200ms --concurrency 1 --launch-args");
    args.push("--script loading=1h".into());
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for words in ["engine `truth` was not ready after 200 ms", "/health: HTTP 503: the model is loading", "--wait-ready", "  | http://"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    assert_gone(&log(&place));
}

#[test]
fn one_that_does_not_listen_to_signals_is_killed_with_its_workers() {
    let place = Place::new();
    let folder = mine(&place, "trap '' TERM; sleep 1000 & echo $$ $!; while :; do sleep 1000; done", "grace_s = 0");
    let ended = place.run(&["run", "--engines", &folder, "--launch", "mine", "--wait-ready", "200ms", "--concurrency", "1"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("is closed; does its command use {port}?"), "{}", ended.stderr);
    let log = log(&place);
    let pids: Vec<&str> = log.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{log}");
    assert!(pids.iter().all(|pid| is_gone(pid)), "{log}");
}

#[test]
fn a_port_that_is_taken_is_the_engines_word() {
    let place = Place::new();
    let other = crate::common::truth("", None, None);
    let command = format!("{{nomoat}} truth --listen {}", other.addr());
    let ended = place.run(&["run", "--launch", "truth", "--launch-command", &command, "--concurrency", "1"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains(&other.addr().to_string()) && ended.stderr.contains("exit status: 2"), "{}", ended.stderr);
}

#[test]
fn secrets_reach_no_file_and_no_stream() {
    const SECRET: &str = "planted-secret-9f2c";
    let place = Place::new().with_env("INHERITED_API_KEY", "planted-secret-own");
    let folder = mine(&place, "echo $MY_TOKEN $INHERITED_API_KEY $3; exec \"$0\" truth --listen \"$1\"", "");
    let mut args =
        words(&format!("run --engines {folder} --launch mine {LOAD} --launch-env MY_TOKEN={SECRET} --launch-env THREADS=2 --launch-args"));
    args.push(format!("--hf-token {SECRET}-two"));
    let ended = place.run(&args);
    assert_eq!(ended.summary_of_run(&place).count("ok"), 8, "{}", ended.stderr);
    let mut looked_at = 0;
    for folder in place.runs() {
        for name in names(&folder) {
            let bytes = fs::read(folder.join(&name)).unwrap();
            assert!(!bytes.windows(14).any(|w| w == b"planted-secret"), "{name} holds a secret");
            looked_at += 1;
        }
    }
    assert!(looked_at > FIVE.len(), "{looked_at}");
    assert!(!ended.stderr.contains("planted-secret") && !ended.stdout.contains("planted-secret"), "{ended:?}");
    assert!(log(&place).starts_with("<redacted> <redacted> <redacted>\n"), "{}", log(&place));
    let run = runs(&place).pop().unwrap();
    let env = manifest(&run)["backend"]["launched"]["env"].clone();
    assert_eq!((env["MY_TOKEN"].as_str(), env["THREADS"].as_str()), (Some("<redacted>"), Some("2")));
    let again = place.run(&["run", "-f", run.join("manifest.json").to_str().unwrap()]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("not kept") && again.stderr.contains("again"), "{}", again.stderr);
}

impl Ended {
    /// The summary in the only run directory beside a launch.
    fn summary_of_run(&self, place: &Place) -> crate::common::Summary {
        let run = runs(place).pop().unwrap_or_else(|| panic!("{self:?}"));
        crate::common::Summary(serde_json::from_str(&fs::read_to_string(run.join("summary.json")).unwrap()).unwrap())
    }
}

fn loading(place: &Place) -> Running {
    let mut args = words("run --launch truth --concurrency 1 --launch-args");
    args.push("--script loading=1h".into());
    place.start(&args)
}

#[test]
fn signals_while_waiting_stop_it_too() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let mut running = loading(&place);
        let log = until_logged(&place, &mut running, "listening");
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains("stopped while engine `truth` was starting"), "{}", ended.stderr);
        assert_gone(&log);
    }
}

#[test]
fn a_second_control_c_does_not_wait_for_it() {
    let place = Place::new();
    let folder = mine(&place, "trap '' TERM; echo $$; while :; do sleep 1000; done", "grace_s = 3600");
    let mut running = place.start(&["run", "--engines", &folder, "--launch", "mine", "--concurrency", "1"]);
    let pid = until_logged(&place, &mut running, "\n");
    running.signal(Signal::INT);
    until("it heard the first", || running.said().contains("stopping; again to abort").then_some(()));
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    until("the engine is gone", || is_gone(&pid).then_some(()));
}

#[test]
#[cfg(target_os = "linux")]
fn it_ends_when_we_are_killed() {
    let place = Place::new();
    let mut running = loading(&place);
    let log = until_logged(&place, &mut running, "listening");
    let address = log.lines().find_map(|line| line.strip_prefix("http://")).unwrap().to_owned();
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
    until("the engine is gone", || TcpStream::connect(&address).is_err().then_some(()));
}

#[test]
fn one_that_dies_under_load_is_told() {
    let place = Place::new();
    let folder = mine(&place, "\"$0\" truth --listen \"$1\" & echo $$ $!; wait $!", "");
    let mut running = place.start(&words(&format!(
        "run --engines {folder} --launch mine --concurrency 1 --duration 600s --warmup 0s --input-tokens 16 --output-tokens 4"
    )));
    until("the load has begun", || {
        running.check_alive();
        place.runs().iter().any(|run| run.join("spool.bin").exists()).then_some(())
    });
    let log = log(&place);
    let pids: Vec<&str> = log.lines().next().unwrap().split(' ').collect();
    let server = rustix::process::Pid::from_raw(pids[1].parse().unwrap()).unwrap();
    rustix::process::kill_process(server, Signal::KILL).unwrap();
    until("its shell has ended too", || is_gone(pids[0]).then_some(()));
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("engine `mine` ended by itself with exit status: 137"), "{}", ended.stderr);
    assert_eq!(names(&runs(&place).pop().unwrap()), FIVE, "what was measured is kept");
}

#[test]
fn a_dry_run_shows_the_command_and_starts_nothing() {
    let place = Place::new();
    let ended = place.say(&format!("run --launch llama-cpp --model /models/tiny.gguf --context 64 {LOAD} --dry-run"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("llama-server -m /models/tiny.gguf --alias tiny --host 127.0.0.1 --port "), "{}", ended.stdout);
    assert!(ended.stdout.contains(" --metrics -c 64\n") && place.runs().is_empty(), "{}", ended.stdout);
}

#[test]
fn what_cannot_be_started_is_told_before_anything_is() {
    let place = Place::new();
    for (line, says) in [
        ("run --launch vlm --model m", "did you mean `vllm`?"),
        ("run --launch vllm", "give --model PATH"),
        ("run --launch openai --model m", "does not say how it is started"),
        ("run --launch truth --url http://127.0.0.1:9", "takes no --url"),
        ("run --launch-args x", "--launch NAME"),
        ("run --launch truth --launch-env nothing", "not NAME=VALUE"),
        ("run --launch truth --backend local", "takes no --url"),
        ("run --launch truth --cycles 3", "--cold-start ACTION"),
    ] {
        let ended = place.say(line);
        assert_eq!(ended.code, Some(2), "{line}: {ended:?}");
        assert!(ended.stderr.contains(says), "{line}: {}", ended.stderr);
    }
    assert!(place.runs().is_empty());
}

#[test]
fn a_port_that_somebody_older_holds_is_not_the_engines() {
    let place = Place::new();
    // It says where it should listen and does not; this process, which is older, does.
    let engines = mine(&place, "echo at $1; exec sleep 1000", "ready = [{ get = \"/health\" }]");
    let mut running = place.start(&words(&format!("run --launch mine --engines {engines} {LOAD}")));
    let log = until_logged(&place, &mut running, "\n");
    let listen = log.trim().strip_prefix("at ").unwrap().parse().unwrap();
    let _truth = Truth::start(Config { listen, ..Config::default() }).unwrap();
    let ended = running.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
    for words in [&format!("is held by process {}", std::process::id()), "was there before engine `mine`", "--url http://127.0.0.1:"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    assert!(runs(&place).is_empty(), "nothing was measured");
}
