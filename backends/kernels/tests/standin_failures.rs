//! What goes wrong with a driver, a compiler or a kernel is an error that names the device, the thing and what to try; it never panics.

#![allow(clippy::unwrap_used, reason = "a test")]

mod standin;

use nomoat_kernels::check::check;
use nomoat_kernels::device::find::{FindOptions, find as devices, open};
use nomoat_kernels::device::{Device, DeviceError};
use nomoat_kernels::dims::{Dims, Dtype};
use nomoat_kernels::kernel::{Arg, Launch, Step};
use nomoat_kernels::kernels::find;
use nomoat_kernels::problem::{NotRun, Problem, prepare};
use standin::{Standin, standin};

/// Both dialects, with the beginning of names in each.
const DIALECTS: [(&str, &str); 2] = [("cuda", "cu"), ("hip", "hip")];

/// The words of an error, all of which must be there.
fn says(error: &impl std::fmt::Display, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

/// The stand-in with its knobs at the beginning, and a folder for compiled kernels.
fn begin() -> Option<(&'static Standin, tempfile::TempDir)> {
    let standin = standin()?;
    standin.reset();
    Some((standin, tempfile::tempdir().unwrap()))
}

fn launch(text: &'static str, entry: &'static str, block: u32, shared: u32) -> Step {
    Step::Launch(Launch { text, entry, defines: vec![], grid: [2, 1, 1], block, shared, args: vec![Arg::Operand(0)] })
}

/// Runs a copy and checks it.
fn copies(device: &dyn Device, elements: usize) -> Result<(), NotRun> {
    let kernel = find("copy").unwrap();
    let dims = Dims::new(Dtype::F32, &[("N", elements)]);
    let problem = Problem::new(device, kernel, &dims, 1)?;
    let steps = prepare(device, kernel, &kernel.variants()[0], &dims)?;
    let checked = check(device, kernel, &dims, &problem, &steps)?;
    assert!(checked.passed(), "{checked}");
    Ok(())
}

/// Runs one launch on a buffer of `bytes` bytes and waits.
fn runs(device: &dyn Device, step: &Step, bytes: usize) -> Result<(), DeviceError> {
    let buffer = device.alloc(bytes, "a buffer")?;
    let ready = device.prepare(step)?;
    device.enqueue(&ready, &[(Dtype::F32, &buffer)])?;
    device.sync()
}

#[test]
fn a_stand_in_that_works_works() {
    let Some((standin, cache)) = begin() else { return };
    for (dialect, _) in DIALECTS {
        let device = standin.open(&format!("{dialect}:0"), cache.path()).unwrap();
        copies(device.as_ref(), 1000).unwrap();
        drop(device);
        for alive in ["contexts", "modules", "streams", "events", "memory"] {
            assert_eq!(standin.get(&format!("live_{alive}")), 0, "{dialect}: {alive}");
        }
    }
    let found = devices(&standin.options(cache.path()));
    let ids: Vec<String> = found.devices.iter().map(|device| format!("{} {}", device.id(), device.arch)).collect();
    assert_eq!(ids[1..], ["cuda:0 sm_90".to_owned(), "hip:0 gfx942".into()]);
    assert!(found.devices[1..].iter().all(|device| device.name.contains("not a device")), "{found:?}");
    assert!(standin.get("launches") > 0);
}

#[test]
fn a_driver_that_is_absent_incomplete_or_without_devices_is_a_reason() {
    let Some((standin, cache)) = begin() else { return };
    for (dialect, prefix) in DIALECTS {
        let id = format!("{dialect}:0");
        let with = |path: std::path::PathBuf| {
            let options = FindOptions { cuda: Some(path.clone()), hip: Some(path), ..standin.options(cache.path()) };
            let found = devices(&options);
            // The rest goes on: the processor is there, and each dialect has its reason.
            assert_eq!(found.devices.iter().filter(|device| device.id() == "cpu").count(), 1);
            (open(&id, &options).err(), found.missing.into_iter().find(|missing| missing.what == dialect))
        };
        let (error, missing) = with("/nonexistent/libdriver.so".into());
        says(&error.unwrap(), &[&id, "/nonexistent/libdriver.so does not load", "install"]);
        says(&missing.unwrap().why, &["does not load"]);

        let (error, missing) = with(standin.incomplete());
        let absent = if prefix == "cu" { "cuLaunchKernel" } else { "hipModuleLaunchKernel" };
        says(&error.unwrap(), &[&id, "libincomplete.so has no", absent, "too old"]);
        says(&missing.unwrap().why, &[absent]);

        standin.set("count", 0);
        let (error, missing) = with(standin.driver());
        says(&error.unwrap(), &[&id, "finds no device", "visible to this process"]);
        assert!(!missing.unwrap().remedy.is_empty());

        standin.reset();
        standin.set("init_error", 999);
        says(&with(standin.driver()).0.unwrap(), &[&id, "does not start", "(999)", "kernel module"]);
        standin.set("init_error", 100);
        says(&with(standin.driver()).0.unwrap(), &[&id, "does not start", "ERROR_NO_DEVICE (100)"]);

        standin.reset();
        says(&open(&format!("{dialect}:7"), &standin.options(cache.path())).err().unwrap(), &[&format!("{dialect}:7"), "there are 1"]);
        standin.set("context_error", 2);
        says(&open(&id, &standin.options(cache.path())).err().unwrap(), &[&id, "taking its context", "ERROR_OUT_OF_MEMORY (2)"]);
        standin.reset();
    }
    assert_eq!(standin.get("live_contexts"), 0);
}

#[test]
fn a_device_without_room_names_what_there_was_no_room_for() {
    let Some((standin, cache)) = begin() else { return };
    for (dialect, _) in DIALECTS {
        standin.reset();
        standin.set("memory", 100_000);
        let device = standin.open(&format!("{dialect}:0"), cache.path()).unwrap();
        copies(device.as_ref(), 10_000).unwrap();
        let error = copies(device.as_ref(), 20_000).unwrap_err();
        assert!(matches!(&error, NotRun::Device(DeviceError::OutOfMemory { bytes: 80_000, .. })), "{error:?}");
        says(&error, &[&format!("{dialect}:0"), "80000 bytes", "b of copy", "--quick"]);
        // What was taken before is given back, and the device goes on.
        copies(device.as_ref(), 10_000).unwrap();
    }
}

#[test]
fn a_compiler_that_is_absent_refuses_or_says_nothing_is_told() {
    let Some((standin, cache)) = begin() else { return };
    let broken = launch("KERNEL void broken(GLOBAL float* out) { out[0] = no_such_name; }", "broken", 1, 0);
    let absent = launch("KERNEL void present(GLOBAL float* out) { out[0] = 1.0f; }", "absent", 1, 0);
    for (dialect, _) in DIALECTS {
        standin.reset();
        let id = format!("{dialect}:0");
        let device = standin.open(&id, cache.path()).unwrap();
        let error = device.prepare(&broken).unwrap_err();
        assert!(matches!(&error, DeviceError::Compile { log, .. } if log.contains("no_such_name")), "{error}");
        says(&error, &[&id, "broken", if dialect == "cuda" { "sm_90a" } else { "gfx942" }]);
        says(&device.prepare(&absent).unwrap_err(), &[&id, "finding absent", "ERROR_NOT_FOUND (500)"]);
        standin.set("mute_compiler", 1);
        let error = device.prepare(&launch("KERNEL void mute(GLOBAL float* out) { out[0] = 2.0f; }", "mute", 1, 0)).unwrap_err();
        says(&error, &[&id, "mute", "without a log"]);

        // Without a compiler the device is there; kernel text has its reason.
        standin.reset();
        let empty = tempfile::tempdir().unwrap();
        let options = FindOptions { rtc: Some(empty.path().to_owned()), ..standin.options(cache.path()) };
        let device = open(&id, &options).unwrap();
        says(&device.prepare(&absent).unwrap_err(), &[&id, "cannot be compiled", &empty.path().to_string_lossy()]);
        assert!(devices(&options).missing.iter().any(|missing| missing.what.contains(dialect) && missing.remedy.contains("--rtc")));
    }
}

#[test]
fn code_that_the_device_cannot_run_is_told_with_both_versions() {
    let Some((standin, cache)) = begin() else { return };
    for (dialect, knob, other, target) in [("cuda", "compute", 80, "sm_90a"), ("hip", "gfx", 0x90a, "gfx942")] {
        standin.reset();
        let device = standin.open(&format!("{dialect}:0"), cache.path()).unwrap();
        // Another device behind the same name: what was compiled does not fit it.
        standin.set(knob, other);
        let error = copies(device.as_ref(), 100).unwrap_err();
        says(&error, &[&format!("{dialect}:0"), "loading", target, "ERROR_NO_BINARY_FOR_GPU (209)", "driver of", "RTC"]);
    }
    // A device that is newer than the compiler gets what the driver translates.
    standin.reset();
    standin.set("compute", 130);
    let device = standin.open("cuda:0", cache.path()).unwrap();
    copies(device.as_ref(), 100).unwrap();
}

#[test]
fn what_a_kernel_does_wrong_is_told_with_its_name() {
    let Some((standin, cache)) = begin() else { return };
    let diverging = launch("KERNEL void diverging(GLOBAL float* out) { if (TID < 5) SYNC(); out[TID] = 1.0f; }", "diverging", 64, 0);
    let outside = launch("KERNEL void outside(GLOBAL float* out) { out[BX * NTID + TID + 1] = 1.0f; }", "outside", 64, 0);
    let bounded = launch("KERNEL void BOUNDS(32 * 2, 1) bounded(GLOBAL float* out) { out[TID] = 1.0f; }", "bounded", 128, 0);
    for (dialect, _) in DIALECTS {
        let id = format!("{dialect}:0");
        for schedule in [0, 1, 9] {
            standin.reset();
            standin.set("schedule", schedule);
            let device = standin.open(&id, cache.path()).unwrap();
            says(&runs(device.as_ref(), &diverging, 512).unwrap_err(), &[&id, "diverging", "ERROR_LAUNCH_FAILED", "line"]);
        }
        if !standin::sanitized() {
            standin.reset();
            let device = standin.open(&id, cache.path()).unwrap();
            says(&runs(device.as_ref(), &outside, 512).unwrap_err(), &[&id, "outside", "after the end"]);
            standin.reset();
            runs(device.as_ref(), &outside, 516).unwrap();
        }
        standin.reset();
        let device = standin.open(&id, cache.path()).unwrap();
        says(&runs(device.as_ref(), &bounded, 512).unwrap_err(), &[&id, "bounded", "asks for 128 threads", "can have 64"]);
    }
}

#[test]
fn what_a_device_does_not_have_is_refused_before_it_is_asked() {
    let Some((standin, cache)) = begin() else { return };
    let text = "KERNEL void shared(GLOBAL float* out) { DYNAMIC_SHARED(room); room[TID] = 1; SYNC(); if (TID == 0) out[0] = room[1]; }";
    for (dialect, most) in [("cuda", 232_448), ("hip", 65_536)] {
        standin.reset();
        let id = format!("{dialect}:0");
        let device = standin.open(&id, cache.path()).unwrap();
        runs(device.as_ref(), &launch(text, "shared", 64, most), 16).unwrap();
        says(
            &device.prepare(&launch(text, "shared", 64, most + 16)).unwrap_err(),
            &[&id, "shared", &(most + 16).to_string(), &most.to_string()],
        );
        says(&device.prepare(&launch(text, "shared", 2048, 0)).unwrap_err(), &[&id, "2048 threads"]);
    }
}

#[test]
fn calls_that_fail_say_what_was_being_done() {
    let Some((standin, cache)) = begin() else { return };
    for (dialect, _) in DIALECTS {
        let id = format!("{dialect}:0");
        for (knob, code, doing) in [
            ("launch_error", 701, "starting fill_f32"),
            ("wait_error", 700, "last step was"),
            ("copy_error", 1, "copying"),
            ("module_error", 218, "loading"),
        ] {
            standin.reset();
            let device = standin.open(&id, cache.path()).unwrap();
            standin.set(knob, code);
            says(&copies(device.as_ref(), 500).unwrap_err(), &[&id, doing, &format!("({code})")]);
            // It was the call, not the device.
            standin.set(knob, 0);
            copies(device.as_ref(), 500).unwrap();
        }
    }
}

#[test]
fn compiled_code_is_kept_and_what_is_damaged_is_compiled_anew() {
    let Some((standin, cache)) = begin() else { return };
    let step = launch("KERNEL void kept(GLOBAL float* out) { if (TID == 0 && BX == 0) out[0] = 3.0f; }", "kept", 32, 0);
    for (dialect, _) in DIALECTS {
        let folder = cache.path().join(dialect);
        let built = || standin.open(&format!("{dialect}:0"), &folder).unwrap().prepare(&step).unwrap().built;
        assert!(!built().cached);
        assert!(built().cached);
        for entry in std::fs::read_dir(&folder).unwrap() {
            std::fs::write(entry.unwrap().path(), b"nothing of use").unwrap();
        }
        assert!(!built().cached);
        assert!(built().cached);
    }
}
