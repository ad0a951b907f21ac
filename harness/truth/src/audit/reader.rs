//! Result files of other harnesses: who reads which, and where one lies.

use super::document::Document;
use super::error::AuditError;
use super::reported::Reported;
use super::{aiperf, guidellm, inference_perf, sglang, vllm};
use nomoat_core::suggest::nearest;
use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How deep below a folder a result is looked for, and among how many files.
const DEEPEST: usize = 6;
const MOST_FILES: usize = 4_096;

/// What reads the results of one harness.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Its name, as `--tool` takes it.
    pub name: &'static str,
    /// Names its result has where nobody chose another, the best first; others are read too.
    pub files: &'static [&'static str],
    /// Whether a document is one.
    pub knows: fn(&Document) -> bool,
    /// Reads it, and files beside it that have more of the same run.
    pub read: fn(&Document) -> Result<Reported, AuditError>,
}

/// Every reader. A new harness is one file and one line here; sniffing, `--tool` and the tests over made-up samples follow.
pub const READERS: &[Reader] = &[vllm::READER, sglang::READER, aiperf::READER, guidellm::READER, inference_perf::READER];

fn names() -> String {
    READERS.iter().map(|reader| reader.name).collect::<Vec<_>>().join(", ")
}

/// The reader with a name.
///
/// # Errors
/// Which there are, and which is meant.
pub fn named(name: &str) -> Result<&'static Reader, String> {
    READERS.iter().find(|reader| reader.name == name).ok_or_else(|| {
        let near = nearest(name, READERS.iter().map(|reader| reader.name)).unwrap_or_default();
        format!("no reader is called `{name}`; there are {}; did you mean `{near}`?", names())
    })
}

/// Reads the result in a file, or the newest that a reader knows below a folder, of those with the best name and nearest to it. `only` is the one reader to ask, if it is known.
///
/// # Errors
/// Nothing can be read, or nothing is known; what was tried is said.
pub fn find(place: &Path, only: Option<&'static Reader>) -> Result<(&'static Reader, Reported), AuditError> {
    let asked: Vec<&'static Reader> = only.map_or_else(|| READERS.iter().collect(), |reader| vec![reader]);
    let tried = asked.iter().map(|reader| reader.name).collect::<Vec<_>>().join(", ");
    if !place.is_dir() {
        let document = Document::open(place)?;
        // A file that was named with its tool is read as that, so that the error says what is missing.
        let known = only.or_else(|| asked.iter().copied().find(|reader| (reader.knows)(&document)));
        let reader = known.ok_or(AuditError::Unknown { path: place.to_owned(), tried })?;
        return (reader.read)(&document).map(|reported| (reader, reported));
    }
    let mut files = vec![];
    walk(place, DEEPEST, &mut files)?;
    files.sort_by_key(|(written, path)| (Reverse(*written), path.clone()));
    let mut found: Option<((usize, usize), &'static Reader, Document)> = None;
    for (_, path) in &files {
        // What is no JSON is somebody's log; the message at the end names it.
        let Ok(document) = Document::open(path) else { continue };
        let Some(reader) = asked.iter().copied().find(|reader| (reader.knows)(&document)) else { continue };
        let name = path.file_name().unwrap_or_default();
        let rank = reader.files.iter().position(|file| name == *file).unwrap_or(usize::MAX);
        // Files are looked at from the newest on; an older one wins by a better name, or by lying higher: what is deeper down is a
        // part of the run, such as its warm-up.
        let rank = (rank, path.components().count());
        if found.as_ref().is_none_or(|(best, _, _)| rank < *best) {
            found = Some((rank, reader, document));
        }
    }
    let Some((_, reader, document)) = found else {
        let shown: Vec<String> = files.iter().take(8).map(|(_, p)| p.strip_prefix(place).unwrap_or(p).display().to_string()).collect();
        let more = if files.len() > shown.len() { format!(" and {} more", files.len() - shown.len()) } else { String::new() };
        let looked = if shown.is_empty() { "it has no .json or .jsonl file".to_owned() } else { shown.join(", ") + &more };
        return Err(AuditError::Nothing { path: place.to_owned(), looked, tried });
    };
    (reader.read)(&document).map(|reported| (reader, reported))
}

fn walk(folder: &Path, deeper: usize, files: &mut Vec<(SystemTime, PathBuf)>) -> Result<(), AuditError> {
    let failed = |source| AuditError::File { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // Links are not followed: they may lead in a circle.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && deeper > 0 {
            walk(&path, deeper - 1, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|e| e == "json" || e == "jsonl") && files.len() < MOST_FILES {
            let written = entry.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            files.push((written, path));
        }
    }
    Ok(())
}

#[cfg(test)]
pub mod samples {
    use super::*;

    /// The made-up sample of a reader.
    pub fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audit").join(name)
    }

    /// What a reader makes of it.
    pub fn read(name: &str) -> Reported {
        find(&path(name), None).unwrap().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_knows_its_sample_alone() {
        for reader in READERS {
            let folder = samples::path(reader.name);
            let mut files = vec![];
            walk(&folder, 0, &mut files).unwrap();
            assert!(!files.is_empty(), "{} has a sample", reader.name);
            for (_, path) in &files {
                let document = Document::open(path).unwrap();
                let known: Vec<&str> = READERS.iter().filter(|r| (r.knows)(&document)).map(|r| r.name).collect();
                assert_eq!(known, [reader.name], "{}", path.display());
            }
            let (found, reported) = find(&folder, None).unwrap();
            assert_eq!(found.name, reader.name);
            assert!(reported.completed.is_some_and(|n| n > 0) && !reported.stated.is_empty(), "{}", reader.name);
        }
    }

    #[test]
    fn errors_name_what_was_tried() {
        let folder = tempfile::tempdir().unwrap();
        let check = |place: &Path, only, says: &[&str]| {
            let error = find(place, only).unwrap_err().to_string();
            assert!(says.iter().all(|s| error.contains(s)), "{error}");
        };
        check(folder.path(), None, &["no .json or .jsonl file", "tried vllm, sglang, aiperf, guidellm, inference-perf", "--result FILE"]);
        let file = folder.path().join("other.json");
        std::fs::write(&file, "{\"mine\": 1}").unwrap();
        check(folder.path(), None, &["no result under", "other.json"]);
        check(&file, None, &["other.json: no reader knows this format", "--tool NAME"]);
        check(&file, Some(named("guidellm").unwrap()), &["other.json: field `benchmarks` is missing"]);
        check(&folder.path().join("nowhere.json"), None, &["nowhere.json"]);
        std::fs::write(&file, "plain").unwrap();
        check(&file, None, &["neither JSON nor lines of JSON"]);
        assert!(named("guidelm").unwrap_err().ends_with("did you mean `guidellm`?"));
    }

    #[test]
    fn the_best_name_then_the_highest_then_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let copy = |from: &str, to: &str| std::fs::copy(samples::path(from), folder.path().join(to)).unwrap();
        copy("inference-perf/summary_lifecycle_metrics.json", "summary_lifecycle_metrics.json");
        copy("inference-perf/summary_lifecycle_metrics.json", "stage_0_lifecycle_metrics.json");
        let reported = find(folder.path(), None).unwrap().1;
        assert!(reported.files[0].ends_with("summary_lifecycle_metrics.json"), "{:?}", reported.files);
        // AIPerf 0.13 writes one for each phase as well; only the one on top is of the run, and has the requests beside it.
        let folder = tempfile::tempdir().unwrap();
        let copy = |to: &str, name: &str| {
            std::fs::create_dir_all(folder.path().join(to)).unwrap();
            std::fs::copy(samples::path("aiperf").join(name), folder.path().join(to).join(name)).unwrap()
        };
        copy("", "profile_export_aiperf.json");
        copy("", "profile_export.jsonl");
        copy("phases/warmup", "profile_export_aiperf.json");
        assert_eq!(find(folder.path(), None).unwrap().1.requests.len(), 2);
    }
}
