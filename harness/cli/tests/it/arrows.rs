//! Who may know whom, as ARCHITECTURE.md says it, held against what cargo says.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Every crate of the workspace with the crates it knows. Tests may know more.
const ARROWS: &[(&str, &[&str])] = &[
    ("nomoat-core", &[]),
    ("nomoat-drive", &["nomoat-core"]),
    ("nomoat-http", &["nomoat-core"]),
    ("nomoat-local", &["nomoat-core"]),
    ("nomoat-kernels", &[]),
    ("nomoat-exec", &["nomoat-core"]),
    ("nomoat-workloads", &["nomoat-core"]),
    ("nomoat-results", &["nomoat-core"]),
    ("nomoat-tokens", &["nomoat-core"]),
    ("nomoat-truth", &["nomoat-core"]),
    ("nomoat-record", &["nomoat-core", "nomoat-workloads"]),
    (
        "nomoat",
        &[
            "nomoat-core",
            "nomoat-drive",
            "nomoat-exec",
            "nomoat-http",
            "nomoat-kernels",
            "nomoat-local",
            "nomoat-record",
            "nomoat-results",
            "nomoat-tokens",
            "nomoat-truth",
            "nomoat-workloads",
        ],
    ),
    ("xtask", &[]),
];

#[test]
fn crates_know_whom_they_may() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |package: &Value| package["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    let found: BTreeMap<String, BTreeSet<String>> = packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            // Build dependencies count: what builds a crate is known to it. A renamed one keeps its true name here.
            let known = dependencies.filter(|d| d["kind"] != "dev").map(name).filter(|d| ours.contains(d)).collect();
            (name(package), known)
        })
        .collect();
    let expected: BTreeMap<String, BTreeSet<String>> =
        ARROWS.iter().map(|(name, known)| ((*name).to_owned(), known.iter().map(|k| (*k).to_owned()).collect())).collect();
    assert_eq!(found, expected, "a new arrow is a decision: change the table here together with ARCHITECTURE.md");
}
