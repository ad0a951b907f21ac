//! Runs that are stopped, politely and not: what was measured is kept and marked.

use crate::common::{FIVE, Place, Running, Summary, names, truth, until, url, words};
use nomoat_results::spool::{Entry, SpoolReader};
use nomoat_truth::Truth;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

/// Records that are to be on the disk before a run is disturbed.
const ENOUGH: u64 = 20;

/// A run that would go on for ten minutes.
fn start(place: &Place, server: &Truth, load: &str) -> Running {
    place.start(&words(&format!("run --url {} {load} --duration 600s --warmup 0s --input-tokens 16 --output-tokens 4", url(server))))
}

/// Whole records in the spool of the run that goes on here.
fn spooled(place: &Place) -> u64 {
    let Some(run) = place.runs().pop() else { return 0 };
    let Ok(mut spool) = SpoolReader::open(&run.join("spool.bin")) else { return 0 };
    let mut records = 0;
    // A frame that is being written right now ends what can be read.
    while let Ok(Some(entry)) = spool.read() {
        records += u64::from(matches!(entry, Entry::Record(_)));
    }
    records
}

/// Waits until enough records are on the disk; how many.
fn wait_for_records(place: &Place, running: &mut Running) -> u64 {
    until("records are in the spool", || {
        running.check_alive();
        Some(spooled(place)).filter(|n| *n >= ENOUGH)
    })
}

fn manifest(run: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(run.join("manifest.json")).unwrap()).unwrap()
}

fn summary(run: &Path) -> Summary {
    Summary(serde_json::from_str(&fs::read_to_string(run.join("summary.json")).unwrap()).unwrap())
}

/// The run is whole, marked as partial, and can be reported on.
fn assert_kept(place: &Place, run: &Path, at_least: u64) -> Summary {
    assert_eq!(names(run), FIVE);
    assert_eq!(manifest(run)["state"], "interrupted");
    let summary = summary(run);
    assert!(summary.count("recorded") >= at_least, "{} < {at_least}", summary.count("recorded"));
    assert!(summary.broken().contains(&"V19".to_owned()), "{:?}", summary.broken());
    let report = place.run(&["report", run.to_str().unwrap()]);
    assert!(report.stderr.contains("byte for byte"), "{}", report.stderr);
    assert!(report.stdout.contains("INVALID") && report.stdout.contains("V19"), "{}", report.stdout);
    summary
}

/// The stretch that is measured ends no later than what was recorded, and its rates are those of the records.
fn assert_plausible(summary: &Summary) {
    let window = &summary.0["window"];
    let seconds = (window["end_ns"].as_i64().unwrap() - window["start_ns"].as_i64().unwrap()) as f64 / 1e9;
    assert!(seconds < 590.0, "the window is what was run, not what was planned: {seconds} s");
    let rate = summary.metric("output_tput", "rate").expect("tokens came, so there is a rate");
    assert!(rate > 0.0 && rate * seconds <= 1.01 * summary.count("output_tokens") as f64, "{rate}/s for {seconds} s");
}

#[test]
fn control_c_keeps_what_was_measured() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new();
        let server = truth("ttft=2ms,itl=1ms", None, None);
        let mut running = start(&place, &server, "--rate 100");
        let flushed = wait_for_records(&place, &mut running);
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains("stopping"), "{}", ended.stderr);
        assert!(ended.stdout.contains("INVALID"), "the report is printed: {}", ended.stdout);
        let summary = assert_kept(&place, &place.only_run(), flushed);
        assert_plausible(&summary);
        assert_eq!(summary.count("output_tokens"), 4 * summary.count("ok"));
    }
}

#[test]
fn control_c_on_a_ladder_ends_it() {
    let place = Place::new();
    let server = truth("ttft=2ms,itl=1ms", None, None);
    let mut running = start(&place, &server, "--ladder 2,3,4");
    let flushed = wait_for_records(&place, &mut running);
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert_kept(&place, &place.only_run(), flushed);
}

/// Answers that the server is writing.
fn streams(server: &Truth) -> f64 {
    let mut socket = TcpStream::connect(server.addr()).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: truth\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    socket.read_to_string(&mut page).unwrap();
    let line = page.lines().find(|line| line.starts_with("vllm:num_requests_running")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn what_was_in_flight_has_rows() {
    let place = Place::new();
    // The one token asked for before the load comes at once; the answers under load stop for an hour after two tokens.
    let server = truth("ttft=1ms,itl=1ms,stall=2:1h", None, None);
    // Caps, so that no few tokens are asked for before the load.
    let mut running = start(&place, &server, "--concurrency 3 --output-length cap");
    until("all lanes wait for their answer", || {
        running.check_alive();
        (streams(&server) >= 3.0).then_some(())
    });
    running.signal(Signal::INT);
    let ended = running.end();
    // Interrupted goes before nothing measured.
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let summary = assert_kept(&place, &place.only_run(), 3);
    assert_eq!(summary.by_status().into_iter().collect::<Vec<_>>(), [("cancelled".to_owned(), 3)]);
    assert_eq!(summary.by_error().into_iter().collect::<Vec<_>>(), [("stopped".to_owned(), 3)]);
}

#[test]
fn a_killed_run_is_recovered() {
    for load in ["--rate 100", "--concurrency 2"] {
        let place = Place::new();
        let server = truth("ttft=2ms,itl=1ms", None, None);
        let mut running = start(&place, &server, load);
        let flushed = wait_for_records(&place, &mut running);
        running.signal(Signal::KILL);
        assert_eq!(running.end().code, None);
        let run = place.only_run();
        let shown = run.to_str().unwrap();
        assert_eq!(names(&run), ["manifest.json", "spool.bin"]);

        let report = place.run(&["report", shown]);
        assert_eq!(report.code, Some(2), "{report:?}");
        assert!(report.stderr.contains("nomoat recover"), "{}", report.stderr);

        let recovered = place.run(&["recover", shown, "--format", "json"]);
        assert_eq!(recovered.code, Some(6), "{recovered:?}");
        assert!(recovered.stderr.contains("recovered"), "{}", recovered.stderr);
        let summary = assert_kept(&place, &run, flushed);
        assert_eq!(recovered.summary(), summary);
        assert!(manifest(&run)["recovered"]["records"].as_u64().unwrap() >= flushed);
        assert_eq!(summary.count("failed"), 0, "{load}");
        assert_eq!(summary.count("output_tokens"), 4 * summary.count("ok"));
        assert_plausible(&summary);

        let again = place.run(&["recover", shown]);
        assert_eq!(again.code, Some(2), "{again:?}");
        assert!(again.stderr.contains("has ended"), "{}", again.stderr);
    }
}

#[test]
fn a_torn_spool_gives_what_is_whole() {
    let place = Place::new();
    let server = truth("ttft=2ms,itl=1ms", None, None);
    let mut running = start(&place, &server, "--rate 100");
    wait_for_records(&place, &mut running);
    running.signal(Signal::KILL);
    running.end();
    let run = place.only_run();
    let spool = run.join("spool.bin");
    let whole = spooled(&place);
    // The last frame loses its last byte, as a disk that filled up would leave it.
    let bytes = fs::read(&spool).unwrap();
    fs::write(&spool, &bytes[..bytes.len() - 1]).unwrap();
    let recovered = place.run(&["recover", run.to_str().unwrap()]);
    assert_eq!(recovered.code, Some(6), "{recovered:?}");
    assert!(!recovered.stderr.contains(" 0 bytes could not be read"), "{}", recovered.stderr);
    let kept = manifest(&run)["recovered"]["records"].as_u64().unwrap();
    assert!(kept + 1 >= whole && kept <= whole, "{kept} of {whole}");
}

/// A stop during a calibrated run lost it: the second calibration failed, and the run with it.
#[test]
fn a_calibrated_run_that_is_stopped_is_kept_without_a_certificate() {
    let place = Place::new();
    let server = truth("ttft=1ms,itl=1ms", None, None);
    let mut running = start(&place, &server, "--rate 50 --calibrate");
    let n = wait_for_records(&place, &mut running);
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stdout.contains("not calibrated"), "{}", ended.stdout);
    let run = place.only_run();
    assert_kept(&place, &run, n);
    assert_eq!(manifest(&run)["calibration"], Value::Null);
}
