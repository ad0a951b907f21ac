//! Damaged files of every format: no importer panics on them, and what one accepts is a trace that keeps the promises of a trace.

use nomoat_core::prompt::Prompt;
use nomoat_core::trace::Trace;
use nomoat_core::units::Nanos;
use nomoat_workloads::{IMPORTERS, ImportOptions, SharingOptions, from_bytes, stats, write_canonical};
use proptest::prelude::*;
use std::sync::OnceLock;

/// The shipped samples but the long one, which is written and not foreign.
fn samples() -> &'static [Vec<u8>] {
    static SAMPLES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/samples")).expect("samples are shipped");
        let mut files: Vec<_> = folder.map(|entry| entry.expect("samples are read").path()).filter(|path| path.is_file()).collect();
        files.sort();
        files.iter().map(|path| std::fs::read(path).expect("a sample is read")).filter(|bytes| bytes.len() < 50_000).collect()
    })
}

fn holds(trace: &Trace) {
    assert!(!trace.requests.is_empty() && !trace.classes.is_empty());
    let mut arrived = Nanos::ZERO;
    for (index, r) in trace.requests.iter().enumerate() {
        assert!(r.input_tokens > 0 && r.output_tokens > 0, "{r:?}");
        assert!(r.after.iter().all(|e| (e.request.0 as usize) < index && e.gap >= Nanos::ZERO), "{r:?}");
        assert!(usize::from(r.class) < trace.classes.len(), "{r:?}");
        assert!(r.at.is_none_or(|at| at >= Nanos::ZERO), "{r:?}");
        if let (true, Some(at)) = (r.after.is_empty(), r.at) {
            assert!(at >= arrived, "{r:?}");
            arrived = at;
        }
        match &r.prompt {
            Prompt::Blocks(b) => assert_eq!(b.tokens, r.input_tokens),
            Prompt::Parts(p) => assert_eq!(p.tokens(), u64::from(r.input_tokens)),
            Prompt::Messages(m) => {
                let roles =
                    |text: &std::sync::Arc<str>| serde_json::from_str::<serde_json::Value>(text).is_ok_and(|m| m["role"].is_string());
                assert!(!m.messages.is_empty() && m.messages.iter().all(roles), "{r:?}");
            }
            Prompt::Live { of, .. } => assert!((of.0 as usize) < index, "{r:?}"),
            Prompt::Text(_) | Prompt::Ids(_) => {}
        }
    }
    stats(trace, &SharingOptions::default());
    // A live conversation is played and not stored.
    if trace.requests.iter().any(|r| matches!(r.prompt, Prompt::Live { .. })) {
        return;
    }
    let mut written = vec![];
    write_canonical(trace, &mut written).expect("it can be written");
    let again = from_bytes("f", &written, Some("canonical"), &ImportOptions::default()).expect("it can be read again");
    assert!(again == *trace, "it comes back the same");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn damaged_files_do_not_panic(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), edit()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        lenient in any::<bool>(),
    ) {
        let mut bytes = samples()[which.index(samples().len())].clone();
        for (at, edit) in edits {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + edit.0).min(bytes.len()), edit.1);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        for importer in IMPORTERS {
            let options = ImportOptions { lenient, ..ImportOptions::default() };
            if let Ok(trace) = from_bytes("f", &bytes, Some(importer.name()), &options) {
                holds(&trace);
            }
        }
    }
}

/// How many bytes go, and what stands there instead.
fn edit() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let tokens = ["-", "0", "9", "99999999999999999999", "null", "[]", "{}", "\"", ",", "\n", "1e9", "1e999", ".5", "\\", "\u{0}", "true"];
    let new =
        prop_oneof![prop::sample::select(tokens.to_vec()).prop_map(|t| t.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..4)];
    (0_usize..6, new)
}

#[test]
fn every_sample_keeps_the_promises() {
    for bytes in samples() {
        if let Ok(trace) = from_bytes("f", bytes, None, &ImportOptions::default()) {
            holds(&trace);
        }
    }
}
