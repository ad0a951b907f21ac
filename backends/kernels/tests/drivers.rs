//! What is said where a driver, one of its functions, a compiler or a device is missing. Needs no GPU and no toolkit.

#![allow(clippy::unwrap_used, reason = "a test")]

use nomoat_kernels::device::driver::{Driver, symbols};
use nomoat_kernels::device::find::{FindOptions, Found, find, open};
use nomoat_kernels::device::{Api, DeviceError};
use std::path::PathBuf;

/// A host on which no driver is where it is looked for.
fn nowhere() -> FindOptions {
    let path = |name: &str| Some(PathBuf::from("/nonexistent").join(name));
    FindOptions {
        cuda: path("libcuda.so.1"),
        hip: path("libamdhip64.so"),
        opencl: path("libOpenCL.so.1"),
        rtc: path("lib"),
        cache: path("cache"),
        threads: 1,
    }
}

fn why(found: &Found, what: &str) -> String {
    let missing = found.missing.iter().find(|missing| missing.what == what);
    missing.map_or_else(|| panic!("nothing is said of {what}: {found:?}"), |missing| missing.why.clone())
}

#[test]
fn the_processor_is_always_there_and_everything_else_has_a_reason() {
    let found = find(&nowhere());
    assert_eq!(found.devices.iter().map(nomoat_kernels::device::DeviceInfo::id).collect::<Vec<_>>(), ["cpu"]);
    for (what, library) in [("cuda", "libcuda.so.1"), ("hip", "libamdhip64.so"), ("opencl", "libOpenCL.so.1")] {
        let why = why(&found, what);
        assert!(why.contains(&format!("/nonexistent/{library} does not load: ")) && why.contains("No such file"), "{what}: {why}");
    }
    assert!(found.missing.iter().all(|missing| !missing.remedy.is_empty()), "{found:?}");
}

#[test]
fn a_library_that_is_no_driver_is_told_by_what_it_lacks() {
    // Some library that every Linux has, and that is nobody's driver.
    let libc = PathBuf::from("libc.so.6");
    let found = find(&FindOptions { cuda: Some(libc.clone()), hip: Some(libc.clone()), opencl: Some(libc), ..nowhere() });
    assert!(why(&found, "cuda").contains("libc.so.6 has no cuInit"), "{found:?}");
    assert!(why(&found, "hip").contains("libc.so.6 has no hipInit"), "{found:?}");
    assert!(why(&found, "opencl").contains("libc.so.6 has no clGetPlatformIDs"), "{found:?}");
    assert!(Driver::load(Api::Cuda, "libc.so.6").err().unwrap().contains("cuInit"));
}

#[test]
fn a_device_that_is_not_there_is_an_error_with_the_reason() {
    for id in ["cuda:0", "cuda:7", "hip:0", "cuda", "opencl:0"] {
        let error = open(id, &nowhere()).err().unwrap();
        assert!(matches!(error, DeviceError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().starts_with(id.split(':').next().unwrap()) && error.to_string().contains("No such file"), "{error}");
    }
}

#[test]
fn a_name_that_means_nothing_is_an_error_that_lists_what_there_is() {
    for id in ["gpu", "cuda:", "cuda:-1", "cuda:first", "cpu:1", "", "hip:0:1", "cuda:99999999999999999999"] {
        let error = open(id, &nowhere()).err().unwrap().to_string();
        assert!(error.contains("found are cpu;"), "{id}: {error}");
    }
}

#[test]
fn both_dialects_name_each_entry_point_once_and_in_their_own_words() {
    let (cuda, hip) = (symbols(Api::Cuda), symbols(Api::Hip));
    assert_eq!(cuda.len(), hip.len());
    for (names, prefix) in [(cuda, "cu"), (hip, "hip")] {
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len());
        assert!(names.iter().all(|name| name.starts_with(prefix)), "{names:?}");
    }
}
