//! A check must be able to fail: functions that are wrong in every way a kernel can be wrong.

#![allow(clippy::unwrap_used, reason = "a test")]

use nomoat_kernels::check::{Checked, check};
use nomoat_kernels::device::Device;
use nomoat_kernels::device::cpu::Cpu;
use nomoat_kernels::dims::{Dims, Dtype};
use nomoat_kernels::host::Host;
use nomoat_kernels::kernel::{How, Native, Tier, Variant};
use nomoat_kernels::kernels::{KERNELS, find};
use nomoat_kernels::problem::{NotRun, Problem, prepare};
use nomoat_kernels::suite::{Ask, run};
use nomoat_kernels::timing::{Cache, Effort, problems, sets, time};
use std::time::Duration;

fn checked(run: Native, elements: usize) -> Checked {
    let device = Cpu::new(2).unwrap();
    let kernel = find("copy").unwrap();
    let dims = Dims::new(Dtype::F32, &[("N", elements)]);
    let steps = prepare(&device, kernel, &Variant { name: "made up", about: "", how: How::Native(run) }, &dims).unwrap();
    let problem = Problem::new(&device, kernel, &dims, 7).unwrap();
    check(&device, kernel, &dims, &problem, &steps).unwrap()
}

#[test]
fn what_is_right_passes_and_what_is_wrong_does_not() {
    let right: Native = |_, operands, _| {
        let values = operands[0].f32().to_vec();
        operands[1].f32_mut().copy_from_slice(&values);
    };
    let last_missing: Native = |_, operands, _| {
        let values = operands[0].f32().to_vec();
        let end = values.len() - 1;
        operands[1].f32_mut()[..end].copy_from_slice(&values[..end]);
    };
    let one_off: Native = |_, operands, _| {
        let values = operands[0].f32().to_vec();
        operands[1].f32_mut().copy_from_slice(&values);
        operands[1].f32_mut()[3] += 1.0 / 256.0;
    };
    let shifted: Native = |_, operands, _| {
        let mut values = operands[0].f32().to_vec();
        values.rotate_left(1);
        operands[1].f32_mut().copy_from_slice(&values);
    };
    let idle: Native = |_, _: &mut [Host], _| ();
    let elements = 10_001;
    assert!(checked(right, elements).passed());
    for (name, wrong) in [("last missing", last_missing), ("one off", one_off), ("shifted", shifted), ("idle", idle)] {
        let checked = checked(wrong, elements);
        assert!(!checked.passed(), "{name}: {checked}");
    }
    assert_eq!(checked(last_missing, elements).unwritten, 1);
    assert_eq!(checked(idle, elements).broken, elements as u64);
}

#[test]
fn every_native_variant_is_right_on_every_shape_of_the_check() {
    let device = Cpu::new(2).unwrap();
    let mut run = 0;
    for kernel in KERNELS {
        for dims in kernel.shapes(Tier::Check, device.info()) {
            let problem = Problem::new(&device, *kernel, &dims, 3).unwrap();
            for variant in kernel.variants() {
                let steps = match prepare(&device, *kernel, variant, &dims) {
                    Ok(steps) => steps,
                    Err(NotRun::Unfit(_)) => continue,
                    Err(error) => panic!("{} {} {dims}: {error}", kernel.name(), variant.name),
                };
                let checked = check(&device, *kernel, &dims, &problem, &steps).unwrap();
                assert!(checked.passed(), "{} {} {dims}: {checked}", kernel.name(), variant.name);
                run += 1;
            }
        }
    }
    assert!(run > 0);
}

#[test]
fn a_measurement_goes_round_its_sets_of_operands() {
    let device = Cpu::new(1).unwrap();
    let kernel = find("copy").unwrap();
    let dims = Dims::new(Dtype::F32, &[("N", 4096)]);
    let variant = kernel.variants().iter().find(|variant| variant.name == "native").unwrap();
    let steps = prepare(&device, kernel, variant, &dims).unwrap();
    let count = sets(dims.get("N") * 8, 40_000).unwrap();
    assert_eq!(count, 8);
    // As many samples as sets: on a busy host a sample may be a single run.
    let effort = Effort { limit: Duration::ZERO, spread: 1.0, samples: count };
    let sets = problems(&device, kernel, &dims, 1, count).unwrap();
    sets.iter().for_each(|set| set.reset().unwrap());
    let timing = time(&device, &sets, &steps, Cache::Cold, effort).unwrap();
    assert!(timing.samples.len() >= count && timing.samples.iter().all(|sample| *sample > 0.0), "{timing:?}");
    assert!(timing.cpu.is_some());
    // Every set was run: its output is its own input.
    for set in &sets {
        assert_eq!(set.row(1, 0, 8).unwrap(), set.row(0, 0, 8).unwrap());
    }
}

#[test]
fn a_family_that_no_variant_of_the_host_computes_says_why() {
    let device = Cpu::new(1).unwrap();
    let kernels = vec![find("host-copy").unwrap()];
    let effort = Effort { limit: Duration::from_millis(1), spread: 1.0, samples: 1 };
    let ask = Ask { kernels, variants: vec![], plugins: vec![], tier: Tier::Check, effort, sweep: false, seed: 1 };
    // Ceilings are measured whatever is asked for; only what was asked for is told.
    let found = run(&device, &ask, &mut |_| ());
    assert!(found.rows.is_empty());
    assert_eq!(found.absent.len(), 4);
    assert!(
        found.absent.iter().all(|absent| absent.kernel == "host-copy" && absent.why.contains("memory is the host's")),
        "{:?}",
        found.absent
    );
}
