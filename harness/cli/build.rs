//! What the binary is built from, for the manifest of every run: commit, whether the tree was clean, compiler, target.

use std::process::Command;

fn main() {
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let sha = run("git", &["rev-parse", "HEAD"]).unwrap_or_default();
    let dirty = run("git", &["status", "--porcelain", "--untracked-files=no"]).map_or(String::new(), |s| (!s.is_empty()).to_string());
    let rustc = run(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into()), &["--version"]).unwrap_or_default();
    println!("cargo:rustc-env=NOMOAT_GIT_SHA={sha}");
    println!("cargo:rustc-env=NOMOAT_GIT_DIRTY={dirty}");
    println!("cargo:rustc-env=NOMOAT_RUSTC={rustc}");
    println!("cargo:rustc-env=NOMOAT_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    println!("cargo:rustc-env=NOMOAT_PROFILE={}", std::env::var("PROFILE").unwrap_or_default());
    // The commit moves with HEAD and the index; a file of the tree that changes rebuilds its crate anyway.
    for path in ["../../.git/HEAD", "../../.git/index"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
