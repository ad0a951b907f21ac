//! Bad input: every row stops before any load, with its own exit code, a message that names the thing, and what to try.

use crate::common::{Place, truth, url, words};
use nomoat_truth::Truth;
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpListener;

/// What the rows talk to.
struct World {
    place: Place,
    plain: Truth,
    keyed: Truth,
    narrow: Truth,
    html: String,
    closed: String,
    run: String,
    wrong: RefCell<Vec<String>>,
}

impl World {
    fn new() -> Self {
        let place = Place::new().with_env("WRONG_KEY", "wrong").with_env("EMPTY_KEY", "");
        let plain = truth("ttft=1ms,itl=1ms", None, None);
        let line =
            format!("run --url {} --concurrency 1 --requests 2 --input-tokens 8 --output-tokens 2 --quiet --format json", url(&plain));
        let ended = place.say(&line);
        assert_eq!(ended.summary().count("ok"), 2);
        let run = place.only_run().to_str().unwrap().to_owned();
        Self {
            keyed: truth("", Some("right"), None),
            narrow: truth("max_model_len=64", None, None),
            html: html(),
            closed: closed(),
            run,
            wrong: RefCell::default(),
            plain,
            place,
        }
    }

    /// The arguments of a row, with the names in braces filled in.
    fn args(&self, line: &str) -> Vec<String> {
        let https = format!("https://{}", self.plain.addr());
        let dir = self.place.path().to_str().unwrap();
        let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workloads/samples");
        let names: [(&str, &str); 9] = [
            ("{plain}", &url(&self.plain)),
            ("{https}", &https),
            ("{keyed}", &url(&self.keyed)),
            ("{narrow}", &url(&self.narrow)),
            ("{html}", &self.html),
            ("{closed}", &self.closed),
            ("{run}", &self.run),
            ("{dir}", dir),
            ("{samples}", samples),
        ];
        words(line).into_iter().map(|word| names.iter().fold(word, |w, (name, value)| w.replace(name, value))).collect()
    }

    /// Runs a row; `says` are fragments of stderr, with names in braces filled in. What is wrong is kept for [`World::finish`], so
    /// that one run of the tests shows every row that changed.
    fn check(&self, line: &str, exit: i32, says: &[&str]) {
        let before = self.place.runs();
        let ended = self.place.run(&self.args(line));
        let missing: Vec<String> = says.iter().map(|s| self.args(s).join(" ")).filter(|s| !ended.stderr.contains(s)).collect();
        let all = [
            (ended.code == Some(exit), format!("the exit code is {:?}, not {exit}", ended.code)),
            (missing.is_empty(), format!("it does not say {missing:?}")),
            (ended.stdout.is_empty(), format!("stdout is data, not {:?}", ended.stdout.chars().take(200).collect::<String>())),
            (!ended.stderr.contains("panicked"), "it panicked".to_owned()),
            (self.place.runs() == before, "a run was begun, although nothing could be measured".to_owned()),
        ];
        let wrong = all.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| format!("{line}\n  {what}\n  {}", ended.stderr.trim()));
        self.wrong.borrow_mut().extend(wrong);
    }

    /// Fails with everything that was wrong.
    fn finish(self) {
        let wrong = self.wrong.into_inner();
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
}

/// An address on which nobody listens: one that was free a moment ago.
fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A server of web pages. Its thread ends with the process.
fn html() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let page = "<!doctype html><title>It works</title>";
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", page.len());
            // A client that goes away early is its own affair.
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(format!("{head}{page}").as_bytes());
        }
    });
    url
}

/// A load that would be fine.
const SHAPE: &str = "--input-tokens 8 --output-tokens 2 --concurrency 1 --requests 2";

#[test]
fn endpoints() {
    let world = World::new();
    let check = |target: &str, exit, says: &[&str]| world.check(&format!("run {target} {SHAPE}"), exit, says);
    check("--url {closed}", 3, &["nomoat: connecting to {closed}: connection refused", "--wait-ready"]);
    check("--url {closed} --wait-ready 1ms", 3, &["{closed}", "not ready in the time of --wait-ready"]);
    check("--url http://no-such-host.invalid:1", 3, &["no-such-host.invalid"]);
    check("--url {https}", 3, &["TLS with {https}", "--insecure"]);
    check("--url {keyed}", 3, &["asking {keyed} for its models: HTTP 401", "give --api-key-env NAME"]);
    check("--url {keyed} --api-key-env WRONG_KEY", 3, &["HTTP 401", "the key was not accepted; check --api-key-env"]);
    check("--url {plain} --api-key-env NO_SUCH_KEY", 2, &["`NO_SUCH_KEY` is not set or is empty"]);
    check("--url {plain} --api-key-env EMPTY_KEY", 2, &["`EMPTY_KEY` is not set or is empty"]);
    check("--url {plain} --model other", 3, &["does not serve model `other`; it lists: truth"]);
    check("--url {html}", 3, &["asking {html} for its models: HTTP 200", "is it an OpenAI-compatible endpoint?"]);
    check("--url {html} --model any", 3, &["{html} did not generate a single token for model `any`"]);
    check("--url {plain} --endpoint /v1/embeddings", 2, &["--endpoint /v1/embeddings", "/chat/completions", "/completions"]);
    check("--url {plain} --endpoint /wrong/v1/completions", 3, &["did not generate a single token", "HTTP 404"]);
    check("--url ftp://127.0.0.1", 2, &["`ftp` is not http or https"]);
    check("--url http://me:word@127.0.0.1", 2, &["credentials do not belong into a URL", "--api-key-env"]);
    check("--url {https} --ca-file {dir}/none.pem", 2, &["{dir}/none.pem"]);
    check("--url {plain} --proxy {closed}", 3, &["refused"]);
    check("--backend http", 2, &["--backend http needs --url"]);
    check("--backend local --url {plain}", 2, &["takes no --url"]);
    check("--http 2", 2, &["--http", "needs --url"]);
    check("--url {plain} --http 3", 2, &["--http `3`", "1, 2, auto"]);
    check("--url {plain} --http auto --connections 4", 2, &["--connections", "--http 1 or 2"]);
    check("--preset no-such-preset", 2, &["no-such-preset", "tiny"]);
    world.finish();
}

#[test]
fn words_that_are_near_others() {
    let world = World::new();
    let check = |line: &str, says: &[&str]| world.check(line, 2, says);
    check("run --rate 1 --arrivals poison", &["--arrivals `poison` is not one of constant, poisson, gamma; did you mean `poisson`?"]);
    check("run --backend htpp", &["did you mean `http`?"]);
    check("run --overlong refuze", &["did you mean `refuse`?"]);
    check("run --output-length exakt", &["did you mean `exact`?"]);
    check("run --format jsn", &["did you mean `json`?"]);
    check("run --exit-zero-on invald", &["did you mean `invalid`?"]);
    check("run --rate 1 --price in=1,ouut=2", &["did you mean `out`?"]);
    check("run --slo tftt=5ms", &["`tftt`", "ttft"]);
    check("run --trace {samples}/azure.csv --trace-format azur", &["`azur`", "azure"]);
    check("metrics --format jsn", &["did you mean `json`?"]);
    check("truth --script ttfd=1ms", &["unknown key `ttfd`", "ttft"]);
    check("truth --script fault=shrt:3", &["shrt", "short"]);
    // These two are found by the argument parser, before anything of ours runs.
    check("run --rat 5", &["--rat", "--rate"]);
    check("runn", &["runn", "run"]);
    world.finish();
}

#[test]
fn values() {
    let world = World::new();
    let check = |line: &str, says: &[&str]| world.check(&format!("run {line}"), 2, says);
    check("--rate 5 --concurrency 2", &["--concurrency is a closed loop", "--max-concurrency"]);
    check("--rate 0", &["rate"]);
    check("--rate=-1", &["rate"]);
    check("--rate nan", &["rate"]);
    check("--rate fast", &["--rate", "fast"]);
    check("--concurrency 0", &["concurrency"]);
    check("--think 1s --rate 5", &["--think", "--concurrency"]);
    check("--rate 5 --cv 1 --burstiness 1", &["give one"]);
    check("--rate 5 --burstiness 0", &["--burstiness must be positive"]);
    check("--rate 5 --cv=-1", &["cv"]);
    check("--rate 5 --arrivals gamma", &["--arrivals gamma needs --cv"]);
    check("--rate 5 --arrivals constant --cv 2", &["--arrivals constant"]);
    check("--speed 0", &["speed"]);
    check("--duration soon --rate 1", &["--duration", "soon"]);
    check("--requests 0 --rate 1", &["--requests must be at least 1"]);
    check("--warmup soon --rate 1", &["--warmup", "a bare number is a number of requests"]);
    check("--ladder 1,two", &["--ladder `1,two`", "1,8,64"]);
    check("--input-tokens 8", &["--input-tokens needs --output-tokens"]);
    check("--output-tokens 8", &["--output-tokens needs --input-tokens"]);
    check("--input-tokens 0 --output-tokens 1 --rate 1", &["at least 1"]);
    check("--input-tokens 8 --output-tokens 1", &["give --rate R or --concurrency C"]);
    check("--input-tokens 8 --output-tokens 1 --rate 1 --trace {samples}/azure.csv", &["a trace has lengths of its own"]);
    check("--shards 0 --rate 1", &["--shards must be at least 1"]);
    check("--slo ttft=fast --rate 1", &["--slo", "fast"]);
    check("--slo ttft=1s --goodput ttft:5 --rate 1", &["give one"]);
    check("--goodput ttft=5 --rate 1", &["write ttft:500 tpot:50"]);
    check("--usd-per-hour 1 --price in=1,out=1 --rate 1", &["give one"]);
    check("--usd-per-hour=-1 --rate 1", &["--usd-per-hour"]);
    check("--price in=1 --rate 1", &["--price needs in= and out="]);
    check("--accelerators h200 --rate 1", &["`h200` is not NAME:COUNT; write h200:8"]);
    check("--accelerators h200:0 --rate 1", &["h200:8"]);
    check("--system {dir}/none.toml --rate 1", &["reading --system {dir}/none.toml"]);
    check("--model-config {dir}/none.json --rate 1", &["{dir}/none.json"]);
    check("--kv-dtype fp8 --rate 1", &["--model-config"]);
    check("--extra-body [1] --rate 1", &["--extra-body must be a JSON object"]);
    check("--extra-body {oops --rate 1", &["--extra-body is not JSON"]);
    check("--header nocolon --rate 1", &["a --header has no colon"]);
    check("--label nothing --rate 1", &["--label `nothing` is not K=V"]);
    world.finish();
}

#[test]
fn files_of_keys() {
    let world = World::new();
    let check = |text: &str, says: &[&str]| {
        world.place.file("bench.toml", text);
        world.check("run -f {dir}/bench.toml", 2, says);
    };
    check("duraton = \"10s\"", &["reading {dir}/bench.toml: unknown key `duraton`; did you mean `duration`?"]);
    check("rate = \"fast\"", &["{dir}/bench.toml", "fast"]);
    check("rate = 1\n[load]\ncv = 1", &["unknown key `load`"]);
    check("rate = = 1", &["{dir}/bench.toml", "line 1"]);
    world.check("run -f {dir}/none.toml", 2, &["reading {dir}/none.toml"]);
    world.place.file("other.json", "{\"schema\": \"run-manifest/1\"}");
    world.check("run -f {dir}/other.json", 2, &["{dir}/other.json", "cannot repeat its run"]);
    world.check("run -f {run}/summary.json", 2, &["{run}/summary.json"]);
    world.finish();
}

#[test]
fn traces() {
    let world = World::new();
    let check = |name: &str, text: &str, says: &[&str]| {
        world.place.file(name, text);
        for line in ["run --trace {dir}/NAME --url {closed}", "trace check {dir}/NAME", "trace stats {dir}/NAME", "trace import {dir}/NAME"]
        {
            world.check(&line.replace("NAME", name), 2, says);
        }
    };
    let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n";
    check(
        "a.csv",
        &format!("{azure}2023-11-16 18:15:47.0,many,5\n"),
        &["{dir}/a.csv:3: ", "`ContextTokens` is `many`; it should be a whole number"],
    );
    check("b.csv", &format!("{azure}yesterday,5,5\n"), &["{dir}/b.csv:3: ", "`TIMESTAMP` is `yesterday`; it should be"]);
    check("c.csv", &format!("{azure}2023-11-16 18:15:47.0,5\n"), &["{dir}/c.csv:3: ", "GeneratedTokens"]);
    let mooncake = "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [1, 2]}\n";
    check(
        "a.jsonl",
        &format!("{mooncake}{{\"timestamp\": 0, \"input_length\": -6, \"output_length\": 5, \"hash_ids\": [1]}}\n"),
        &["{dir}/a.jsonl:2: ", "`input_length` is -6; it should be"],
    );
    check(
        "b.jsonl",
        &format!("{mooncake}{{\"timestamp\": 0, \"input_length\": 6}}\n"),
        &["{dir}/b.jsonl:2: ", "`output_length` is missing; it should be"],
    );
    check("c.jsonl", &format!("{mooncake}{{\"timestamp\"\n"), &["{dir}/c.jsonl:2: "]);
    let head = "{\"k\":\"head\",\"v\":1,\"name\":\"x\",\"time\":{\"unit\":\"us\"}}\n";
    check(
        "d.jsonl",
        &format!("{head}{{\"k\":\"req\",\"id\":0,\"at\":\"soon\",\"in\":{{\"n\":1}},\"out\":{{\"n\":1}}}}\n"),
        &["{dir}/d.jsonl:2: ", "`at` is \"soon\"; it should be"],
    );
    check("e.jsonl", &format!("{head}{{\"k\":\"rqe\",\"id\":0}}\n"), &["{dir}/e.jsonl:2: ", "rqe"]);
    check("empty.csv", "", &["{dir}/empty.csv", "empty"]);
    check("noise.bin", "\u{1}\u{2}nothing of the kind\n", &["{dir}/noise.bin", "format"]);
    world.check("trace check {dir}/none.csv", 2, &["{dir}/none.csv"]);
    world.check("run --trace {dir}/none.csv --url {closed}", 2, &["{dir}/none.csv"]);
    world.check("trace import {samples}/azure.csv -o {dir}/no/such/folder.jsonl", 2, &["writing {dir}/no/such/folder.jsonl"]);
    world.finish();
}

#[test]
fn contexts() {
    let world = World::new();
    world.check("run --url {narrow} --trace {samples}/chat.jsonl --rate 50", 2, &["64", "--overlong"]);
    world.check(
        "run --url {narrow} --input-tokens 60 --output-tokens 5 --rate 50 --requests 1",
        2,
        &["context of 64 tokens", "--input-tokens"],
    );
    world.check("run --dry-run --trace {samples}/chat.jsonl --context 64", 2, &["64", "--overlong"]);
    world.check("run --dry-run --trace {samples}/mooncake.jsonl --context 16 --overlong skip", 2, &["mooncake"]);
    world.finish();
}

#[test]
fn runs() {
    let world = World::new();
    world.check("recover {run}", 2, &["{run} has ended, there is nothing to recover"]);
    world.check("recover {dir}/none", 2, &["{dir}/none is not there"]);
    world.check("report {dir}/none", 2, &["{dir}/none is not there"]);
    world.check("report {dir}", 2, &["{dir} is not a run: it has no manifest.json"]);
    world.check("report {run}/summary.json", 2, &["is not a run; give its directory"]);
    world.check("report {run} --format jsn", 2, &["did you mean `json`?"]);
    world.check("truth compare {run} --log {dir}/none.jsonl", 2, &["{dir}/none.jsonl"]);
    world.check("truth compare {dir}/none --log {dir}/none.jsonl", 2, &["{dir}/none is not there"]);
    world.check("truth --listen here", 2, &["--listen `here` is not ADDRESS:PORT"]);
    world.finish();
}

#[test]
fn a_run_that_was_tampered_with_says_so() {
    let world = World::new();
    let path = format!("{}/summary.json", world.run);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"ok\": 2", "\"ok\": 3", 1)).unwrap();
    let ended = world.place.run(&["report", &world.run, "--format", "json"]);
    assert!(ended.stderr.contains("summary.json has another digest"), "{}", ended.stderr);
    assert!(ended.stderr.contains("differs from what its records say"), "{}", ended.stderr);
    assert_eq!(ended.summary().count("ok"), 2, "the records are believed");
}
