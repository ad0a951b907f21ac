//! Portable kernel text on whatever OpenCL device this host has; skipped visibly where it has none.

#![allow(clippy::unwrap_used, reason = "a test")]

use nomoat_kernels::check::check;
use nomoat_kernels::device::opencl::{OpenCl, list};
use nomoat_kernels::device::{Device, DeviceError};
use nomoat_kernels::kernel::{Arg, Launch, Step, Tier};
use nomoat_kernels::kernels::KERNELS;
use nomoat_kernels::problem::{NotRun, Problem, prepare};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: PoCL 3.1 crashes when two threads of a process compile at once.
static ONE: Mutex<()> = Mutex::new(());

fn device() -> Option<(MutexGuard<'static, ()>, OpenCl)> {
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    match list(None) {
        Ok(_) => Some((guard, OpenCl::open(0, None).unwrap())),
        Err(why) => {
            eprintln!("SKIPPED: no OpenCL device: {why}");
            None
        }
    }
}

#[test]
fn a_library_that_is_not_there_is_a_reason() {
    let nowhere = PathBuf::from("/nonexistent/libOpenCL.so.1");
    assert!(list(Some(&nowhere)).unwrap_err().contains("/nonexistent/libOpenCL.so.1 does not load"));
    assert!(OpenCl::open(0, Some(&nowhere)).err().unwrap().to_string().starts_with("opencl:0: "));
}

#[test]
fn every_portable_variant_is_right_on_every_shape_of_the_check() {
    let Some((_guard, device)) = device() else { return };
    let mut run = vec![];
    for kernel in KERNELS {
        for dims in kernel.shapes(Tier::Check, device.info()) {
            let problem = Problem::new(&device, *kernel, &dims, 3).unwrap();
            for variant in kernel.variants() {
                let steps = match prepare(&device, *kernel, variant, &dims) {
                    Ok(steps) => steps,
                    Err(NotRun::Unfit(_) | NotRun::Device(DeviceError::Unsupported { .. })) => continue,
                    Err(error) => panic!("{} {} {dims}: {error}", kernel.name(), variant.name),
                };
                let checked = check(&device, *kernel, &dims, &problem, &steps).unwrap();
                assert!(checked.passed(), "{} {} {dims}: {checked}", kernel.name(), variant.name);
                run.push(kernel.name());
            }
        }
    }
    assert!(run.contains(&"copy") && run.contains(&"gemm"), "{run:?}");
}

#[test]
fn text_that_does_not_compile_says_what_the_compiler_said() {
    let Some((_guard, device)) = device() else { return };
    let text = "KERNEL void broken(GLOBAL float* out) { out[0] = no_such_name; }";
    let launch = Launch { text, entry: "broken", defines: vec![], grid: [1; 3], block: 1, shared: 0, args: vec![Arg::Operand(0)] };
    let error = device.prepare(&Step::Launch(launch)).unwrap_err();
    assert!(matches!(&error, DeviceError::Compile { log, .. } if log.contains("no_such_name")), "{error}");
}

#[test]
fn threads_that_look_at_once_see_the_same_devices() {
    let seen: Vec<_> = std::thread::scope(|scope| {
        let looking: Vec<_> = (0..8).map(|_| scope.spawn(|| list(None).map(|devices| devices.len()))).collect();
        looking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(seen.iter().all(|count| *count == seen[0]), "{seen:?}");
}
