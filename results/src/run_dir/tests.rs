//! Whole runs on a temporary directory: written, opened, folded again, damaged.

use super::*;
use crate::made_up;
use nomoat_core::units::Nanos;

/// A stand-in for the fold that depends on every record, sample, event and fact, and on the order of records.
pub(crate) fn fold(facts: &RunFacts, records: StoredRecords, samples: &[Sample], events: &[RunEvent]) -> RunReport {
    let mut report = made_up::valid_report();
    let mut sum = facts.offered_rate_per_s.unwrap_or(0.0);
    let mut last = None;
    report.counts.recorded = 0;
    for record in records {
        assert!(last <= Some(record.request), "records come in order of their request");
        last = Some(record.request);
        report.counts.recorded += 1;
        sum = sum / 3.0 + record.at.due.0 as f64 + record.chunk_gaps.iter().sum::<i64>() as f64;
    }
    report.counts.scheduled = facts.scheduled;
    report.metrics[0].value = Some(sum + samples.iter().map(|s| s.value).sum::<f64>() + events.len() as f64);
    report
}

/// A run whose records completed in another order than they were asked.
fn started(out: &Path, records: u32) -> (RunDir, Vec<Sample>, Vec<RunEvent>) {
    let run = RunDir::create(out, made_up::RUN_ID).unwrap();
    run.write_manifest(&made_up::early_manifest()).unwrap();
    let mut spool = run.spool().unwrap();
    let samples: Vec<Sample> = (0..5).map(made_up::sample).collect();
    let events = vec![RunEvent { at: Nanos(1), code: "start", detail: "go".into() }];
    for i in 0..records {
        spool.push(&made_up::record((i * 7) % records, 4)).unwrap();
        spool.push_sample(&samples[i as usize % 5]).unwrap();
    }
    spool.flush().unwrap();
    (run, samples, events)
}

#[test]
fn a_run_becomes_five_files_that_fold_again_to_the_same_bytes() {
    let out = tempfile::tempdir().unwrap();
    let (run, samples, events) = started(out.path(), 1000);
    let finished = run.finish(made_up::manifest(), &samples, &events, fold).unwrap();
    assert_eq!(finished.report.counts.recorded, 1000);
    let mut names: Vec<String> = fs::read_dir(run.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [EVENTS, MANIFEST, RECORDS, SAMPLES, SUMMARY], "five files and nothing else");

    for path in [run.path().to_owned(), run.file(MANIFEST)] {
        let run = RunDir::open(&path).unwrap();
        assert_eq!(run.run_id(), made_up::RUN_ID);
        let again = run.report(fold).unwrap();
        assert_eq!(again.manifest, finished.manifest);
        assert_eq!(Summary::new(run.run_id(), &again.report).to_json(), run.summary_text().unwrap());
        assert_eq!(run.summary().unwrap(), Summary::new(run.run_id(), &finished.report));
        assert_eq!(run.altered().unwrap(), Vec::<String>::new());
        assert_eq!((run.samples().unwrap(), run.events().unwrap()), (samples.clone(), events.clone()));
    }
}

#[test]
fn the_fold_of_the_core_gives_the_same_bytes_again() {
    let out = tempfile::tempdir().unwrap();
    let (run, samples, events) = started(out.path(), 1000);
    let finished = run.finish(made_up::manifest(), &samples, &events, nomoat_core::fold::fold).unwrap();
    assert_eq!(finished.report.counts.recorded, 1000);
    let again = RunDir::open(run.path()).unwrap().report(nomoat_core::fold::fold).unwrap();
    assert_eq!(Summary::new(run.run_id(), &again.report).to_json(), run.summary_text().unwrap());
}

#[test]
fn an_altered_file_is_noticed() {
    let out = tempfile::tempdir().unwrap();
    let (run, samples, events) = started(out.path(), 7);
    run.finish(made_up::manifest(), &samples, &events, fold).unwrap();
    let text = run.summary_text().unwrap().replacen('1', "2", 1);
    fs::write(run.file(SUMMARY), text).unwrap();
    fs::remove_file(run.file(EVENTS)).unwrap();
    let altered = run.altered().unwrap();
    assert_eq!(altered.len(), 2, "{altered:?}");
    assert!(altered[0].contains("summary.json has another digest"), "{altered:?}");
    assert!(altered[1].contains("events.jsonl"), "{altered:?}");
}

#[test]
fn what_is_not_a_run_says_what_is_missing() {
    let out = tempfile::tempdir().unwrap();
    let error = |path: &Path| RunDir::open(path).unwrap_err().to_string();
    assert!(error(&out.path().join("nothing")).contains("is not there"));
    assert!(error(out.path()).contains("no manifest.json"));
    let file = out.path().join("notes.txt");
    fs::write(&file, "x").unwrap();
    assert!(error(&file).contains("give its directory"));

    let (run, samples, events) = started(out.path(), 7);
    let message = error(run.path());
    assert!(message.contains("spool but no records.parquet") && message.contains("nomoat recover"), "{message}");
    fs::remove_file(run.file(SPOOL)).unwrap();
    assert!(error(run.path()).contains("it has no records.parquet"));
    drop((samples, events));
}

#[test]
fn names_of_runs_are_plain_and_taken_once() {
    let out = tempfile::tempdir().unwrap();
    for bad in ["", "..", ".hidden", "a/b", "a b", "ü", &"x".repeat(129)] {
        assert!(RunDir::create(out.path(), bad).unwrap_err().to_string().contains("run id"), "{bad}");
    }
    RunDir::create(&out.path().join("deeper"), "a-1_b.c").unwrap();
    let error = RunDir::create(&out.path().join("deeper"), "a-1_b.c").unwrap_err().to_string();
    assert!(error.contains("creating"), "{error}");
}

#[test]
fn a_report_never_leaves_records_out() {
    let out = tempfile::tempdir().unwrap();
    let (run, samples, events) = started(out.path(), 2000);
    run.finish(made_up::manifest(), &samples, &events, fold).unwrap();
    // Damage in the middle of the data pages, with the footer left whole: opening works, reading fails.
    let mut bytes = fs::read(run.file(RECORDS)).unwrap();
    bytes[40..400].fill(0xff);
    fs::write(run.file(RECORDS), bytes).unwrap();
    assert!(run.report(fold).is_err());
    assert_eq!(run.altered().unwrap().len(), 1);
}

#[test]
fn a_manifest_of_another_run_is_refused_and_the_spool_stays() {
    let out = tempfile::tempdir().unwrap();
    let (run, samples, events) = started(out.path(), 3);
    let mut manifest = made_up::manifest();
    manifest.run_id = "someone-else".into();
    assert!(run.finish(manifest, &samples, &events, fold).unwrap_err().to_string().contains("someone-else"));
    assert!(run.file(SPOOL).exists());
}
