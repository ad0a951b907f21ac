//! A run is a directory: five files when it has ended, an early manifest and a spool while it goes on.
//!
//! Files appear whole or not at all (written beside, then renamed), the manifest last, the spool goes after it. So at every moment
//! either the five files are there or the spool is, and [`crate::recover`] can finish what a killed process began.
//!
//! This module does not fold: the fold is a closure of the caller, so that definitions of metrics stay in one place.

use crate::error::StoreError;
use crate::manifest::{FileEntry, Manifest, State};
use crate::records::{RecordsReader, RecordsWriter};
use crate::spool::{Entry, SpoolReader, SpoolWriter, Torn};
use crate::summary::Summary;
use crate::{events, samples, whole};
use nomoat_core::record::RequestRecord;
use nomoat_core::report::{RunFacts, RunReport};
use nomoat_core::sample::{RunEvent, Sample};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Name of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// Name of the records.
pub const RECORDS: &str = "records.parquet";
/// Name of the readings over time.
pub const SAMPLES: &str = "samples.parquet";
/// Name of the report.
pub const SUMMARY: &str = "summary.json";
/// Name of the events.
pub const EVENTS: &str = "events.jsonl";
/// Name of the spool.
pub const SPOOL: &str = "spool.bin";

/// Largest JSON file that is read into memory.
const TEXT_MAX: u64 = 256 << 20;
/// Longest name of a run.
const RUN_ID_MAX: usize = 128;

/// The directory of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunDir {
    path: PathBuf,
    run_id: String,
}

/// A run that was folded.
#[derive(Clone, PartialEq, Debug)]
pub struct Finished {
    /// Its manifest, as stored.
    pub manifest: Manifest,
    /// Its report.
    pub report: RunReport,
}

/// The records of a run in file order, for the fold. An error ends the iteration and is raised by whoever handed this out, after the
/// fold: a report over fewer records than there are never leaves this crate.
pub struct StoredRecords {
    reader: RecordsReader,
    failure: Arc<Mutex<Option<StoreError>>>,
}

impl Iterator for StoredRecords {
    type Item = RequestRecord;

    fn next(&mut self) -> Option<RequestRecord> {
        match self.reader.next()? {
            Ok(record) => Some(record),
            Err(error) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        }
    }
}

impl RunDir {
    /// Makes the directory `<out>/<run_id>/`, and `<out>` if need be.
    ///
    /// # Errors
    /// The name is not one plain file name, the directory is there already, or it cannot be made.
    pub fn create(out: &Path, run_id: &str) -> Result<Self, StoreError> {
        let plain = !run_id.is_empty()
            && run_id.len() <= RUN_ID_MAX
            && !run_id.starts_with('.')
            && run_id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !plain {
            return Err(StoreError::value("run id", format!("`{run_id}` may have letters, digits, `-`, `_` and `.` only")));
        }
        fs::create_dir_all(out).map_err(StoreError::io("creating", out))?;
        let path = out.join(run_id);
        fs::create_dir(&path).map_err(StoreError::io("creating", &path))?;
        Ok(Self { path, run_id: run_id.to_owned() })
    }

    /// Opens a run that has ended, by its directory or its manifest.
    ///
    /// # Errors
    /// What is missing for it to be a run; a run with a spool instead of records is for `nomoat recover`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let run = Self::locate(path)?;
        let has_spool = run.file(SPOOL).exists();
        let missing: Vec<&str> = [RECORDS, SAMPLES, EVENTS].into_iter().filter(|name| !run.file(name).exists()).collect();
        if !missing.is_empty() {
            let why = if has_spool {
                format!("did not end: it has a spool but no {}; run `nomoat recover` on it", missing.join(", no "))
            } else {
                format!("is not a complete run: it has no {}", missing.join(", no "))
            };
            return Err(StoreError::run(&run.path, why));
        }
        if run.manifest()?.state == State::Running {
            let why = if has_spool {
                "did not end; run `nomoat recover` on it"
            } else {
                "did not end and has no spool, so it cannot be completed"
            };
            return Err(StoreError::run(&run.path, why));
        }
        Ok(run)
    }

    /// The directory behind a path that is it or its manifest, whatever state the run is in.
    pub(crate) fn locate(path: &Path) -> Result<Self, StoreError> {
        let dir = if path.is_dir() {
            path.to_owned()
        } else if path.is_file() && path.file_name().is_some_and(|name| name == MANIFEST) {
            let parent = path.parent().unwrap_or(Path::new(""));
            if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() }
        } else if path.exists() {
            return Err(StoreError::run(path, format!("is not a run; give its directory, or the {MANIFEST} in it")));
        } else {
            return Err(StoreError::run(path, "is not there; `ls runs` shows what is"));
        };
        if !dir.join(MANIFEST).is_file() {
            return Err(StoreError::run(&dir, format!("is not a run: it has no {MANIFEST}")));
        }
        let mut run = Self { path: dir, run_id: String::new() };
        run.run_id = run.manifest()?.run_id;
        Ok(run)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The path of one of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Starts the spool. The early manifest should be written first: a spool without one cannot be recovered.
    ///
    /// # Errors
    /// There is one already, or it cannot be created.
    pub fn spool(&self) -> Result<SpoolWriter, StoreError> {
        SpoolWriter::create(&self.file(SPOOL), &self.run_id)
    }

    /// Reads the manifest.
    ///
    /// # Errors
    /// It is not there or not a manifest.
    pub fn manifest(&self) -> Result<Manifest, StoreError> {
        Manifest::from_json(&self.file(MANIFEST).display().to_string(), &self.read_text(MANIFEST)?)
    }

    /// Writes the manifest: early in a run with [`State::Running`], so that a killed run can be recovered.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), StoreError> {
        whole::write_text(&self.file(MANIFEST), &manifest.to_json())
    }

    /// Reads the summary as it was stored.
    ///
    /// # Errors
    /// It is not there or not a summary.
    pub fn summary(&self) -> Result<Summary, StoreError> {
        Summary::from_json(&self.file(SUMMARY).display().to_string(), &self.summary_text()?)
    }

    /// The bytes of the stored summary, to compare with a report made again.
    ///
    /// # Errors
    /// It is not there or not text.
    pub fn summary_text(&self) -> Result<String, StoreError> {
        self.read_text(SUMMARY)
    }

    /// Reads the records one by one, in order of their request.
    ///
    /// # Errors
    /// They are not there or not records.
    pub fn records(&self) -> Result<RecordsReader, StoreError> {
        RecordsReader::open(&self.file(RECORDS))
    }

    /// Reads of the records only what a bill needs ([`RecordsReader::open_billed`]).
    ///
    /// # Errors
    /// They are not there or not records.
    pub fn billed_records(&self) -> Result<RecordsReader, StoreError> {
        RecordsReader::open_billed(&self.file(RECORDS))
    }

    /// Reads the readings over time.
    ///
    /// # Errors
    /// They are not there or not readings.
    pub fn samples(&self) -> Result<Vec<Sample>, StoreError> {
        samples::read(&self.file(SAMPLES))
    }

    /// Reads the events.
    ///
    /// # Errors
    /// They are not there or not events.
    pub fn events(&self) -> Result<Vec<RunEvent>, StoreError> {
        events::from_jsonl(&self.file(EVENTS).display().to_string(), &self.read_text(EVENTS)?)
    }

    /// Ends a run: turns the spool into records sorted by request, writes the other files, folds what was written, and stores the
    /// report and the manifest. `manifest` has been given the facts of the end ([`Manifest::ended`]); `samples` and `events` are
    /// all of the run's, whether or not they were spooled too. The spool's writer must have been flushed and dropped.
    ///
    /// Memory: 16 bytes per record for the order (the records themselves are read back from the spool one by one) and one row
    /// group.
    ///
    /// # Errors
    /// A file cannot be written, or the spool is damaged, which for a process that is still alive means a failing disk. The spool
    /// stays where it is; `nomoat recover` can try again.
    pub fn finish<F>(&self, manifest: Manifest, samples: &[Sample], events: &[RunEvent], fold: F) -> Result<Finished, StoreError>
    where
        F: FnOnce(&RunFacts, StoredRecords, &[Sample], &[RunEvent]) -> RunReport,
    {
        let unspooled = self.unspool()?;
        if let Some(Torn { dropped_bytes, why, .. }) = unspooled.torn {
            let why =
                format!("cannot be completed: {why}, {dropped_bytes} bytes of its spool cannot be read; `nomoat recover` keeps the rest");
            return Err(StoreError::run(&self.path, why));
        }
        self.complete(manifest, samples, events, fold)
    }

    /// Writes everything beside the records and removes the spool.
    pub(crate) fn complete<F>(
        &self,
        mut manifest: Manifest,
        samples: &[Sample],
        events: &[RunEvent],
        fold: F,
    ) -> Result<Finished, StoreError>
    where
        F: FnOnce(&RunFacts, StoredRecords, &[Sample], &[RunEvent]) -> RunReport,
    {
        if manifest.run_id != self.run_id {
            let why = format!("belongs to run `{}`, the manifest to `{}`", self.run_id, manifest.run_id);
            return Err(StoreError::run(&self.path, why));
        }
        let facts = manifest.facts()?;
        whole::write_with(&self.file(SAMPLES), |path| samples::write(path, &self.run_id, samples))?;
        whole::write_text(&self.file(EVENTS), &events::to_jsonl(events))?;
        let report = self.fold(&facts, samples, events, fold)?;
        whole::write_text(&self.file(SUMMARY), &Summary::new(&self.run_id, &report).to_json())?;
        manifest.files = [RECORDS, SAMPLES, SUMMARY, EVENTS].into_iter().map(|name| self.entry(name)).collect::<Result<_, _>>()?;
        self.write_manifest(&manifest)?;
        fs::remove_file(self.file(SPOOL)).map_err(StoreError::io("removing", &self.file(SPOOL)))?;
        Ok(Finished { manifest, report })
    }

    /// Folds the stored run again. On an unchanged fold `Summary::new(run_id, &report).to_json()` equals
    /// [`RunDir::summary_text`], byte for byte.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn report<F>(&self, fold: F) -> Result<Finished, StoreError>
    where
        F: FnOnce(&RunFacts, StoredRecords, &[Sample], &[RunEvent]) -> RunReport,
    {
        let manifest = self.manifest()?;
        let report = self.fold(&manifest.facts()?, &self.samples()?, &self.events()?, fold)?;
        Ok(Finished { manifest, report })
    }

    fn fold<F>(&self, facts: &RunFacts, samples: &[Sample], events: &[RunEvent], fold: F) -> Result<RunReport, StoreError>
    where
        F: FnOnce(&RunFacts, StoredRecords, &[Sample], &[RunEvent]) -> RunReport,
    {
        let failure = Arc::new(Mutex::new(None));
        let report = fold(facts, StoredRecords { reader: self.records()?, failure: failure.clone() }, samples, events);
        let failed = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(report), Err)
    }

    /// The files whose content is not what the manifest says, with what is wrong; empty for a run nobody touched.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub fn altered(&self) -> Result<Vec<String>, StoreError> {
        let stated = self.manifest()?.files;
        let check = |file: &FileEntry| match self.entry(&file.name) {
            Ok(found) if found == *file => None,
            Ok(_) => Some(format!("{} has another digest than the manifest says", file.name)),
            Err(error) => Some(error.to_string()),
        };
        // A name with a path in it would read a file outside the run; no such name was ever written.
        let outside = |file: &FileEntry| ![RECORDS, SAMPLES, SUMMARY, EVENTS].contains(&file.name.as_str());
        Ok(stated.iter().filter_map(|f| if outside(f) { Some(format!("`{}` is no file of a run", f.name)) } else { check(f) }).collect())
    }

    /// Turns the spool into `records.parquet`, sorted by request, in two passes: one that notes where each record is, one that
    /// reads them in order. Completion order is nearly request order, so the second pass is nearly sequential.
    pub(crate) fn unspool(&self) -> Result<Unspooled, StoreError> {
        let mut spool = SpoolReader::open(&self.file(SPOOL))?;
        if spool.run_id() != self.run_id {
            let why = format!("has the spool of another run, `{}`", spool.run_id());
            return Err(StoreError::run(&self.path, why));
        }
        let mut unspooled = Unspooled::default();
        let mut order: Vec<(u32, u64)> = vec![];
        loop {
            let position = spool.position();
            match spool.read()? {
                None => break,
                Some(Entry::Sample(sample)) => unspooled.samples.push(sample),
                Some(Entry::Event(event)) => unspooled.events.push(event),
                Some(Entry::Record(record)) => {
                    unspooled.meet(&record);
                    order.push((record.request.0, position));
                }
            }
        }
        unspooled.torn = spool.torn().cloned();
        order.sort_unstable();
        // A second reader, because the first one stays at the place of damage.
        let mut spool = SpoolReader::open(&self.file(SPOOL))?;
        whole::write_with(&self.file(RECORDS), |path| {
            let mut writer = RecordsWriter::create(path, &self.run_id)?;
            for (_, position) in &order {
                spool.go_to(*position)?;
                let Some(Entry::Record(record)) = spool.read()? else {
                    return Err(StoreError::run(&self.path, "changed its spool while it was read; is the run still going on?"));
                };
                writer.push(*record)?;
            }
            writer.finish().map(drop)
        })?;
        Ok(unspooled)
    }

    fn entry(&self, name: &str) -> Result<FileEntry, StoreError> {
        let path = self.file(name);
        let (sha256, bytes) = digest(&path).map_err(StoreError::io("reading", &path))?;
        Ok(FileEntry { name: name.to_owned(), sha256, bytes })
    }

    fn read_text(&self, name: &str) -> Result<String, StoreError> {
        let path = self.file(name);
        let mut text = String::new();
        let file = File::open(&path).map_err(StoreError::io("opening", &path))?;
        let read = file.take(TEXT_MAX + 1).read_to_string(&mut text).map_err(StoreError::io("reading", &path))?;
        if read as u64 > TEXT_MAX {
            return Err(StoreError::value(path.display().to_string(), format!("it is larger than {TEXT_MAX} bytes")));
        }
        Ok(text)
    }
}

/// What a spool held beside its records, and what is known about those.
#[derive(Default)]
pub(crate) struct Unspooled {
    pub records: u64,
    /// Highest request number, where there was a record.
    pub last_request: Option<u32>,
    /// Latest moment of any record, ns.
    pub last_moment: Option<i64>,
    pub samples: Vec<Sample>,
    pub events: Vec<RunEvent>,
    pub torn: Option<Torn>,
}

impl Unspooled {
    fn meet(&mut self, record: &RequestRecord) {
        self.records += 1;
        self.last_request = self.last_request.max(Some(record.request.0));
        let latest = record.at.end.into_iter().chain(record.at.last_token).chain([record.at.due]).max().map(|t| t.0);
        self.last_moment = self.last_moment.max(latest);
    }
}

/// SHA-256 in hexadecimal and length of a file, read piece by piece.
fn digest(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        sha.update(&buffer[..n]);
        bytes += n as u64;
    }
    Ok((nomoat_core::digest::Digest(sha.finalize().into()).to_string(), bytes))
}

#[cfg(test)]
mod tests;
