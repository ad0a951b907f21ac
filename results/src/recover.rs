//! Finishes the run of a process that died: spool and early manifest become the five files, marked as interrupted.
//!
//! Two facts only the end of a run knows are bounded from below here: it stopped at the last moment of any record, and its
//! schedule had handed out at least the requests that were recorded. Requests in flight when the process died left no record; an
//! interrupted run says that there may be some, never how many.

use crate::error::StoreError;
use crate::manifest::{Recovery, State};
use crate::run_dir::{EVENTS, Finished, RECORDS, RunDir, SAMPLES, SPOOL, StoredRecords};
use nomoat_core::report::{RunFacts, RunReport};
use nomoat_core::sample::{RunEvent, Sample};
use std::path::Path;

/// Finishes the run at `path` (its directory or its manifest) with what its spool holds. What the caller prints of the loss is in
/// the manifest's `recovered`.
///
/// # Errors
/// It is not a run, it has ended already, its spool's head is damaged, or a file cannot be written; nothing is removed then.
pub fn recover<F>(path: &Path, fold: F) -> Result<(RunDir, Finished), StoreError>
where
    F: FnOnce(&RunFacts, StoredRecords, &[Sample], &[RunEvent]) -> RunReport,
{
    let run = RunDir::locate(path)?;
    let mut manifest = run.manifest()?;
    if manifest.state != State::Running {
        let why = if run.file(RECORDS).exists() {
            "has ended, there is nothing to recover; `nomoat report` shows it"
        } else {
            "has ended, but its records.parquet is gone and so is what it was made from"
        };
        return Err(StoreError::run(run.path(), why));
    }
    if !run.file(SPOOL).exists() {
        return Err(StoreError::run(run.path(), format!("cannot be recovered: it has no {SPOOL}")));
    }
    let unspooled = run.unspool()?;
    let (samples, events) =
        (stored_or(&run, SAMPLES, unspooled.samples, RunDir::samples), stored_or(&run, EVENTS, unspooled.events, RunDir::events));
    let facts = &mut manifest.facts;
    facts.interrupted = true;
    facts.stop_ns = facts.stop_ns.or(Some(unspooled.last_moment.unwrap_or(facts.start_ns)));
    // The entries of an open loop are numbered in order of their due, so all below the highest were handed out too; those of a
    // closed one are spread over lanes and only what was recorded is known.
    let handed_out = match (facts.concurrency, unspooled.last_request) {
        (None, Some(last)) => unspooled.records.max(u64::from(last) + 1),
        _ => unspooled.records,
    };
    facts.scheduled = facts.scheduled.or(Some(handed_out));
    manifest.state = State::Interrupted;
    manifest.recovered = Some(Recovery {
        records: unspooled.records,
        dropped_bytes: unspooled.torn.as_ref().map_or(0, |t| t.dropped_bytes),
        stopped_because: unspooled.torn.map(|t| t.why.to_owned()),
    });
    let finished = run.complete(manifest, &samples, &events, fold)?;
    Ok((run, finished))
}

/// What a process wrote before it died while ending its run is whole, because files appear whole; else what it had spooled.
fn stored_or<T>(run: &RunDir, name: &str, spooled: Vec<T>, read: impl Fn(&RunDir) -> Result<Vec<T>, StoreError>) -> Vec<T> {
    if run.file(name).exists() { read(run).unwrap_or(spooled) } else { spooled }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Summary;
    use crate::made_up;
    use crate::run_dir::{MANIFEST, SUMMARY};
    use std::fs;

    fn fold(facts: &RunFacts, records: StoredRecords, samples: &[Sample], events: &[RunEvent]) -> RunReport {
        let mut report = made_up::valid_report();
        report.counts.recorded = records.count() as u64;
        report.counts.scheduled = facts.scheduled;
        report.counts.ok = samples.len() as u64;
        report.counts.failed = events.len() as u64;
        report.window.end = facts.stop;
        report
    }

    /// A run that died after `records` records, with `torn` further bytes.
    fn died(out: &Path, records: u32, torn: usize) -> RunDir {
        let run = RunDir::create(out, made_up::RUN_ID).unwrap();
        run.write_manifest(&made_up::early_manifest()).unwrap();
        let mut spool = run.spool().unwrap();
        for i in 0..records {
            spool.push(&made_up::record(i, 4)).unwrap();
        }
        spool.push_sample(&made_up::sample(1)).unwrap();
        spool.push_event(&RunEvent { at: nomoat_core::units::Nanos(1), code: "start", detail: String::new() }).unwrap();
        spool.flush().unwrap();
        if torn > 0 {
            let mut bytes = fs::read(run.file(SPOOL)).unwrap();
            bytes.extend(vec![0xab; torn]);
            fs::write(run.file(SPOOL), bytes).unwrap();
        }
        run
    }

    #[test]
    fn a_dead_run_becomes_a_complete_directory() {
        for torn in [0, 1, 20] {
            let out = tempfile::tempdir().unwrap();
            let run = died(out.path(), 50, torn);
            let (run, finished) = recover(&run.file(MANIFEST), fold).unwrap();
            let recovery = finished.manifest.recovered.clone().unwrap();
            assert_eq!((recovery.records, recovery.dropped_bytes), (50, torn as u64));
            assert_eq!(recovery.stopped_because.is_some(), torn > 0);
            assert_eq!(finished.manifest.state, State::Interrupted);
            assert!(finished.manifest.facts().unwrap().interrupted);
            let counts = &finished.report.counts;
            assert_eq!((counts.recorded, counts.scheduled, counts.ok, counts.failed), (50, 50, 1, 1));
            assert_eq!(finished.report.window.end, made_up::record(49, 4).at.end.unwrap());

            assert!(!run.file(SPOOL).exists());
            let again = RunDir::open(run.path()).unwrap().report(fold).unwrap();
            assert_eq!(Summary::new(run.run_id(), &again.report).to_json(), run.summary_text().unwrap());
            assert!(recover(run.path(), fold).unwrap_err().to_string().contains("nothing to recover"));
        }
    }

    #[test]
    fn a_run_without_a_record_is_recovered_too() {
        let out = tempfile::tempdir().unwrap();
        let (_, finished) = recover(died(out.path(), 0, 0).path(), fold).unwrap();
        assert_eq!(finished.report.counts.recorded, 0);
        assert_eq!(finished.manifest.facts().unwrap().stop, made_up::facts().start);
    }

    #[test]
    fn a_process_that_died_while_ending_its_run_left_nothing_half() {
        let out = tempfile::tempdir().unwrap();
        let run = died(out.path(), 9, 0);
        // It had come as far as writing readings, a part of the records, and a summary that nobody will trust.
        crate::samples::write(&run.file(SAMPLES), run.run_id(), &[made_up::sample(1), made_up::sample(2)]).unwrap();
        fs::write(run.file("records.parquet.tmp"), b"half").unwrap();
        fs::write(run.file(SUMMARY), "{}").unwrap();
        let (run, finished) = recover(run.path(), fold).unwrap();
        assert_eq!((finished.report.counts.recorded, finished.report.counts.ok), (9, 2));
        assert!(run.altered().unwrap().is_empty());
        assert!(!run.file("records.parquet.tmp").exists());
    }

    #[test]
    fn what_cannot_be_recovered_says_why() {
        let out = tempfile::tempdir().unwrap();
        let run = died(out.path(), 3, 0);
        fs::write(run.file(SPOOL), b"nmspool\ngarbage").unwrap();
        assert!(recover(run.path(), fold).unwrap_err().to_string().contains("head of this spool is damaged"));
        assert!(run.file(SPOOL).exists(), "nothing is removed");
        fs::remove_file(run.file(SPOOL)).unwrap();
        assert!(recover(run.path(), fold).unwrap_err().to_string().contains("no spool.bin"));
        assert!(recover(out.path(), fold).unwrap_err().to_string().contains("no manifest.json"));
    }
}
