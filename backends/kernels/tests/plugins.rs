//! Plug-ins in C, compiled by the host's compiler where there is one: right, wrong, unfit, failing, and no plug-in at all.

#![allow(clippy::unwrap_used, reason = "a test")]

use nomoat_kernels::device::cpu::Cpu;
use nomoat_kernels::device::{Device, DeviceError};
use nomoat_kernels::dims::{Dims, Dtype};
use nomoat_kernels::kernels::find;
use nomoat_kernels::plugin::{PluginError, load};
use nomoat_kernels::problem::{Problem, prepare};
use nomoat_kernels::{check, problem::NotRun};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a text into a library, or says visibly that it cannot.
fn compiled(directory: &Path, name: &str, text: &str) -> Option<PathBuf> {
    let (source, library) = (directory.join(format!("{name}.c")), directory.join(format!("lib{name}.so")));
    std::fs::write(&source, text).unwrap();
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/plugin");
    let ended = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-I", header, "-o"]).arg(&library).arg(&source).output();
    match ended {
        Ok(ended) if ended.status.success() => Some(library),
        Ok(ended) => panic!("{name}: {}", String::from_utf8_lossy(&ended.stderr)),
        Err(error) => {
            eprintln!("SKIPPED: no C compiler (`cc`): {error}");
            None
        }
    }
}

/// Checks the entry of a library for a matrix product.
fn checked(library: &Path) -> Result<check::Checked, NotRun> {
    let device = Cpu::new(1).unwrap();
    let kernel = find("gemm").unwrap();
    let dims = Dims::new(Dtype::F32, &[("M", 5), ("N", 7), ("K", 40)]);
    let plugged = load(library).unwrap();
    assert_eq!((plugged.len(), plugged[0].kernel), (1, "gemm"));
    let steps = prepare(&device, kernel, &plugged[0].variant, &dims)?;
    let problem = Problem::new(&device, kernel, &dims, 5)?;
    Ok(check::check(&device, kernel, &dims, &problem, &steps)?)
}

#[test]
fn the_example_of_the_documentation_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let Some(library) = compiled(directory.path(), "example", include_str!("../plugin/example.c")) else { return };
    let plugged = load(&library).unwrap();
    assert_eq!(plugged[0].variant.name, "example");
    let checked = checked(&library).unwrap();
    assert!(checked.passed(), "{checked}");
}

#[test]
fn a_wrong_one_is_found_out_and_one_that_declines_or_fails_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let of = |name: &str, body: &str| {
        compiled(
            directory.path(),
            name,
            &format!("#include \"nomoat_kernels.h\"\nint nomoat_gemm(const struct nomoat_problem *p) {{ {body} }}"),
        )
    };
    let Some(idle) = of("idle", "(void)p; return 0;") else { return };
    assert!(!checked(&idle).unwrap().passed());
    assert_eq!(load(&idle).unwrap()[0].variant.name, "libidle");
    let declines = checked(&of("declines", "(void)p; return NOMOAT_UNFIT;").unwrap()).unwrap_err();
    assert!(matches!(declines, NotRun::Device(DeviceError::Unsupported { .. })), "{declines}");
    let fails =
        checked(&of("fails", "return p->sizes == 3 && nomoat_size(p, \"K\") == 40 && p->bytes[2] == 140 ? 42 : 43;").unwrap()).unwrap_err();
    assert!(fails.to_string().contains("nomoat_gemm on f32 M=5 N=7 K=40") && fails.to_string().contains("it returned 42"), "{fails}");
}

#[test]
fn what_is_no_plug_in_is_refused_with_what_was_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let error = load(&directory.path().join("absent.so")).unwrap_err();
    assert!(matches!(&error, PluginError::Load { path, .. } if path.ends_with("absent.so")), "{error}");
    let Some(library) = compiled(directory.path(), "other", "int other(void) { return 0; }") else { return };
    let error = load(&library).unwrap_err().to_string();
    assert!(error.contains("nomoat_gemm") && error.contains("libother.so"), "{error}");
    // The devices that need no plug-in go on without one.
    assert!(Cpu::new(1).unwrap().sync().is_ok());
}
