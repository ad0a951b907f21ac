//! Loading of vendors' libraries.

use libloading::Library;
use std::error::Error;
use std::path::Path;

/// Loads a library for the rest of the process.
///
/// It is never unloaded: drivers and compilers start threads and register functions that run at exit, and neither may find its code gone.
/// Loading it again costs nothing and gives the same library.
///
/// # Errors
/// The path, and what the loader said: that a file is not there reads differently from one that is there and needs another.
pub(super) fn load(path: &Path) -> Result<&'static Library, String> {
    // SAFETY: loading runs the initialisers of the vendor's own library.
    match unsafe { Library::new(path) } {
        Ok(library) => Ok(Box::leak(Box::new(library))),
        // The error says only that loading failed; its source says why.
        Err(error) => {
            let said = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            let shown = path.display().to_string();
            // The loader mostly begins with the name itself.
            let said = said.strip_prefix(&shown).map_or(said.as_str(), |rest| rest.trim_start_matches([':', ' ']));
            Err(format!("{shown} does not load: {said}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_library_does_not_load_is_what_the_loader_said() {
        let why = load(Path::new("/nonexistent/libcuda.so.1")).unwrap_err();
        assert!(why.starts_with("/nonexistent/libcuda.so.1 does not load: "), "{why}");
        assert!(why.contains("No such file") && !why.contains("dlopen failed"), "{why}");
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "not a library, though it is a file").unwrap();
        let why = load(text.path()).unwrap_err();
        assert!(!why.contains("No such file"), "{why}");
    }
}
