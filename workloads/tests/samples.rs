//! The shipped samples read, and mean what they say.

use nomoat_core::trace::Trace;
use nomoat_workloads::{GENERATORS, IMPORTERS, ImportOptions, SharingOptions, bundled_chat, open, stats};
use std::path::PathBuf;

fn sample(name: &str) -> Trace {
    open(&PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/samples")).join(name), None, &ImportOptions::default())
        .expect("a shipped sample reads")
}

#[test]
fn chat() {
    let trace = sample("chat.jsonl");
    assert_eq!(trace, bundled_chat().unwrap());
    let stats = stats(&trace, &SharingOptions::default());
    assert_eq!(stats.rows, 700);
    assert!((30.0..40.0).contains(&stats.arrivals.span.unwrap().as_secs_f64()), "half a minute: {stats:?}");
    assert!((50.0..70.0).contains(&stats.input.mean) && stats.input.p99 < 256, "{stats:?}");
    assert!((21.0..27.0).contains(&stats.output.mean) && stats.output.p99 < 96, "{stats:?}");
    let shared = stats.sharing.unwrap();
    assert_eq!(shared.unique, 3);
    assert!(shared.of_refs(shared.leading).unwrap() > 0.99, "all but the first of each system prompt");
}

#[test]
fn azure() {
    let trace = sample("azure.csv");
    let at: Vec<i64> = trace.requests.iter().map(|r| r.at.unwrap().0).collect();
    assert_eq!(at, [0, 412_345_000, 500_000_100, 1_499_999_900, 2_750_000_000, 2_750_000_000, 4_641_592_600]);
    assert_eq!(trace.origin.licence, None, "an unknown file has no known licence");
}

#[test]
fn mooncake() {
    let trace = sample("mooncake.jsonl");
    assert!(trace.losses[0].contains("3000 ms (4 distinct times in 10 rows)"), "{:?}", trace.losses);
    let blocks = stats(&trace, &SharingOptions::default()).sharing.unwrap();
    assert_eq!((blocks.refs, blocks.unique, blocks.leading), (29, 11, 18));
}

#[test]
fn names_are_unique_and_described() {
    let importers = IMPORTERS.iter().map(|i| (i.name(), i.about())).collect();
    let generators = GENERATORS.iter().map(|g| (g.name(), g.about())).collect();
    let lists: [Vec<(&str, &str)>; 2] = [importers, generators];
    for mut names in lists {
        assert!(names.iter().all(|(name, about)| !name.is_empty() && !about.is_empty() && !about.contains('\n')));
        let all = names.len();
        names.sort_unstable();
        names.dedup_by_key(|(name, _)| *name);
        assert_eq!(names.len(), all);
    }
}
