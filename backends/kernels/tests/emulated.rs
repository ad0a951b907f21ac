//! Every kernel text on every shape of the check, thread by thread in three orders, through the host path of both dialects.
//!
//! `NOMOAT_ASAN=1` builds the texts with AddressSanitizer. `NOMOAT_FAMILIES=gemm,copy` runs some families only. The ignored test deletes
//! every barrier of every text in turn.

#![allow(clippy::unwrap_used, reason = "a test")]

mod standin;

use nomoat_kernels::check::{check, compare};
use nomoat_kernels::device::{Device, DeviceError, DeviceInfo, Ready};
use nomoat_kernels::dims::{Dims, Dtype};
use nomoat_kernels::kernel::{Arg, How, Kernel, Launch, Role, Step, Tier, Variant};
use nomoat_kernels::kernels::{KERNELS, find};
use nomoat_kernels::problem::Problem;
use sha2::{Digest, Sha256};
use standin::{Standin, sanitized, sanitized_run, standin};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SEED: u32 = 3;
/// Orders in which threads and blocks run: forward, backward, and one at random.
const SCHEDULES: [i64; 3] = [0, 1, 7];

/// A device that the stand-in pretends to be.
#[derive(Clone, Copy, Debug)]
struct Pretended {
    id: &'static str,
    knobs: &'static [(&'static str, i64)],
}

/// Warps of 32 and of 64, both dialects.
const DEVICES: [Pretended; 3] = [
    Pretended { id: "cuda:0", knobs: &[("compute", 90), ("warp", 32)] },
    Pretended { id: "hip:0", knobs: &[("gfx", 0x942), ("warp", 64)] },
    Pretended { id: "hip:0", knobs: &[("gfx", 0x1100), ("warp", 32)] },
];

fn opened(standin: &Standin, pretended: Pretended, cache: &std::path::Path) -> Box<dyn Device> {
    standin.reset();
    pretended.knobs.iter().for_each(|(knob, value)| standin.set(knob, *value));
    let device = standin.open(pretended.id, cache).unwrap();
    assert!(device.info().name.contains("test double"), "{}", device.info().name);
    device
}

/// The steps of a variant of kernel text on a device; none where it does not fit or is not kernel text.
fn steps(variant: &Variant, dims: &Dims, info: &DeviceInfo) -> Option<Vec<Step>> {
    let How::Text(steps) = variant.how else { return None };
    let steps = steps(dims, info).ok()?;
    // The vendor's library knows nothing of a stand-in.
    (!steps.iter().any(|step| matches!(step, Step::VendorGemm { .. }))).then_some(steps)
}

/// Makes steps ready; none where the text has no such kernel here: what is written in the hardware's own instructions is not emulated.
fn ready(device: &dyn Device, steps: &[Step], missing: &mut BTreeSet<String>) -> Option<Vec<Ready>> {
    let mut all = vec![];
    for step in steps {
        match device.prepare(step) {
            Ok(ready) => all.push(ready),
            Err(DeviceError::Driver { doing, said, .. }) if doing.starts_with("finding ") && said.contains("NOT_FOUND") => {
                let Step::Launch(launch) = step else { unreachable!("only launches are found") };
                missing.insert(launch.entry.to_owned());
                return None;
            }
            Err(error) => panic!("{error}"),
        }
    }
    Some(all)
}

/// What stands in the outputs.
fn digest(kernel: &dyn Kernel, dims: &Dims, problem: &Problem<'_>) -> [u8; 32] {
    let mut sha = Sha256::new();
    for (index, operand) in kernel.operands(dims).iter().enumerate() {
        if matches!(operand.role, Role::Out | Role::InOut) {
            problem.row(index, 0, operand.len).unwrap().iter().for_each(|value| sha.update(value.to_le_bytes()));
        }
    }
    sha.finalize().into()
}

#[derive(Default)]
struct Tally {
    runs: usize,
    took: Duration,
    variants: BTreeSet<String>,
}

/// Runs one family on one device; adds what is wrong to `wrong`.
fn family(
    device: &dyn Device,
    standin: &Standin,
    kernel: &dyn Kernel,
    right: &Mutex<HashSet<(String, [u8; 32])>>,
    missing: &mut BTreeSet<String>,
    wrong: &mut Vec<String>,
) -> Tally {
    let begun = Instant::now();
    let mut tally = Tally::default();
    let info = device.info();
    for dims in kernel.shapes(Tier::Check, info) {
        standin.set("schedule", SCHEDULES[0]);
        let problem = Problem::new(device, kernel, &dims, SEED).unwrap();
        for variant in kernel.variants() {
            let Some(steps) = steps(variant, &dims, info) else { continue };
            let Some(steps) = ready(device, &steps, missing) else { continue };
            tally.variants.insert(format!("{} on {}/{}", variant.name, info.id(), info.warp));
            for schedule in SCHEDULES {
                standin.set("schedule", schedule);
                problem.reset().unwrap();
                let name =
                    format!("{} {} {dims} on {} with warps of {}, schedule {schedule}", kernel.name(), variant.name, info.arch, info.warp);
                if let Err(error) = problem.run(&steps).and_then(|()| device.sync()) {
                    wrong.push(format!("{name}: {error}"));
                    // The context is of no use after a fault.
                    return tally;
                }
                tally.runs += 1;
                // What was found right once, bit for bit, is right: the reference costs more than the run.
                let key = (format!("{} {dims}", kernel.name()), digest(kernel, &dims, &problem));
                if right.lock().unwrap().contains(&key) {
                    continue;
                }
                let checked = compare(kernel, &dims, &problem).unwrap();
                if checked.passed() {
                    right.lock().unwrap().insert(key);
                } else {
                    wrong.push(format!("{name}: {checked}"));
                }
            }
        }
    }
    tally.took = begun.elapsed();
    tally
}

#[test]
fn every_kernel_text_is_right_in_every_order_on_every_device() {
    if let Some(mut run) = sanitized_run("every_kernel_text_is_right_in_every_order_on_every_device") {
        let ended = run.status().unwrap();
        assert!(ended.success(), "under AddressSanitizer it ended with {ended}");
        return;
    }
    let Some(standin) = standin() else { return };
    let cache = tempfile::tempdir().unwrap();
    let chosen = std::env::var("NOMOAT_FAMILIES").ok();
    let chosen = |kernel: &&&dyn Kernel| chosen.as_ref().is_none_or(|names| names.split(',').any(|name| name == kernel.name()));
    let work: Vec<(Pretended, &dyn Kernel)> =
        DEVICES.iter().flat_map(|device| KERNELS.iter().filter(chosen).map(|kernel| (*device, *kernel))).collect();
    let (next, right) = (AtomicUsize::new(0), Mutex::new(HashSet::new()));
    let results = Mutex::new((BTreeMap::<&str, Tally>::new(), BTreeSet::<String>::new(), Vec::<String>::new()));
    // A device belongs to a thread, and so do the stand-in's knobs.
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(8) {
            scope.spawn(|| {
                while let Some((pretended, kernel)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let device = opened(standin, *pretended, cache.path());
                    let (mut missing, mut wrong) = (BTreeSet::new(), vec![]);
                    let tally = family(device.as_ref(), standin, *kernel, &right, &mut missing, &mut wrong);
                    drop(device);
                    for alive in ["contexts", "streams", "events", "memory"] {
                        assert_eq!(standin.get(&format!("live_{alive}")), 0, "{alive} after {}", kernel.name());
                    }
                    let mut results = results.lock().unwrap();
                    let all = results.0.entry(kernel.name()).or_default();
                    all.runs += tally.runs;
                    all.took += tally.took;
                    all.variants.extend(tally.variants);
                    results.1.extend(missing);
                    results.2.extend(wrong);
                }
            });
        }
    });
    let (tallies, missing, wrong) = results.into_inner().unwrap();
    for (name, tally) in &tallies {
        eprintln!(
            "{name}: {} runs in {:.1} s: {}",
            tally.runs,
            tally.took.as_secs_f64(),
            tally.variants.iter().cloned().collect::<Vec<_>>().join(", ")
        );
    }
    eprintln!("not emulated: {missing:?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    // Only what is written in instructions of one machine may be left out.
    for entry in &missing {
        assert!(["wgmma", "tma", "mfma"].iter().any(|unit| entry.contains(unit)), "{entry} is not in its text under emulation");
    }
    assert!(tallies.values().all(|tally| tally.runs > 0) || !missing.is_empty());
}

#[test]
fn the_sanitizer_sees_a_read_past_an_operand() {
    if !sanitized() {
        return;
    }
    if let Some(mut run) = sanitized_run("the_sanitizer_sees_a_read_past_an_operand") {
        let ended = run.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(
            !ended.status.success()
                && said.contains("heap-buffer-overflow")
                && said.contains("in reaching ")
                && said.contains("kernel.cu:"),
            "{said}"
        );
        return;
    }
    let Some(standin) = standin() else { return };
    let cache = tempfile::tempdir().unwrap();
    let device = opened(standin, DEVICES[0], cache.path());
    let text = "KERNEL void reaching(GLOBAL float* out) { out[TID] = out[TID + 1]; }";
    let launch = Launch { text, entry: "reaching", defines: vec![], grid: [1; 3], block: 64, shared: 0, args: vec![Arg::Operand(0)] };
    let buffer = device.alloc(256, "an operand").unwrap();
    let ready = device.prepare(&Step::Launch(launch)).unwrap();
    device.enqueue(&ready, &[(Dtype::F32, &buffer)]).unwrap();
}

/// What came of deleting one place where threads wait.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Deleted {
    /// The variant has no such place, or does not run here.
    Nothing,
    /// Every order gives the right result still.
    Unnoticed,
    /// Some order gives a wrong result, or an error, or ends the process.
    Noticed,
}

/// Deletes the `which`th occurrence of a word from the text of a variant, here.
fn delete(kernel: &dyn Kernel, variant: &Variant, pretended: Pretended, word: &str, which: usize) -> Deleted {
    let Some(standin) = standin() else { return Deleted::Nothing };
    let cache = tempfile::tempdir().unwrap();
    let shapes = kernel.shapes(Tier::Check, opened(standin, pretended, cache.path()).info());
    let on = |dims: &Dims| {
        let device = opened(standin, pretended, cache.path());
        let mut steps = steps(variant, dims, device.info())?;
        let mut found = None;
        for step in &mut steps {
            let Step::Launch(launch) = step else { continue };
            let Some((at, _)) = launch.text.match_indices(word).nth(which) else { continue };
            let end = at + launch.text[at..].find(';')?;
            // A few kilobytes of a test that ends soon.
            launch.text = Box::leak(format!("{}{}", &launch.text[..at], &launch.text[end..]).into_boxed_str());
            found = Some(());
        }
        found?;
        let steps = ready(device.as_ref(), &steps, &mut BTreeSet::new())?;
        let problem = Problem::new(device.as_ref(), kernel, dims, SEED).unwrap();
        let noticed = SCHEDULES.iter().any(|schedule| {
            standin.set("schedule", *schedule);
            check(device.as_ref(), kernel, dims, &problem, &steps).map_or(true, |checked| !checked.passed())
        });
        Some(if noticed { Deleted::Noticed } else { Deleted::Unnoticed })
    };
    // The largest shapes stand last and show most.
    let mut worst = Deleted::Nothing;
    for dims in shapes.iter().rev() {
        worst = worst.max(on(dims).unwrap_or(Deleted::Nothing));
        if worst == Deleted::Noticed {
            break;
        }
    }
    worst
}

/// The same in a process of its own: threads that do not wait may write anywhere.
fn deleted(family: &str, variant: &str, device: usize, word: &str, which: usize) -> Deleted {
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "one_barrier_is_deleted", "--ignored", "--nocapture"])
        .env("NOMOAT_DELETE", format!("{family}/{variant}/{device}/{word}/{which}"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    [Deleted::Nothing, Deleted::Unnoticed]
        .into_iter()
        .find(|outcome| said.contains(&format!("deleted: {outcome:?}")))
        .unwrap_or(Deleted::Noticed)
}

#[test]
#[ignore = "a part of the other tests, which run it in processes of their own"]
fn one_barrier_is_deleted() {
    let Ok(what) = std::env::var("NOMOAT_DELETE") else { return };
    let [family, variant, device, word, which] = what.split('/').collect::<Vec<_>>()[..] else { panic!("{what}") };
    let kernel = find(family).unwrap();
    let variant = kernel.variants().iter().find(|found| found.name == variant).unwrap();
    let outcome = delete(kernel, variant, DEVICES[device.parse::<usize>().unwrap()], word, which.parse().unwrap());
    println!("deleted: {outcome:?}");
}

#[test]
fn a_barrier_that_is_missing_is_noticed() {
    if standin().is_none() {
        return;
    }
    for (family, variant, word) in
        [("read", "scalar", "SYNC()"), ("gemm", "tiled", "SYNC()"), ("gemm", "mma", "SYNC()"), ("gemm", "mma", "COPY_WAIT(")]
    {
        assert_eq!(deleted(family, variant, 0, word, 0), Deleted::Noticed, "{family} {variant} without its first {word}");
    }
    // That there is no such place is told apart.
    assert_eq!(deleted("read", "scalar", 0, "SYNC()", 99), Deleted::Nothing);
}

/// The beginning of the text that a variant is made of on some shape of a device: what tells texts apart.
fn text_of(kernel: &dyn Kernel, variant: &Variant, pretended: Pretended) -> Option<&'static str> {
    let standin = standin()?;
    let cache = tempfile::tempdir().unwrap();
    let device = opened(standin, pretended, cache.path());
    let found = kernel.shapes(Tier::Check, device.info()).iter().find_map(|dims| steps(variant, dims, device.info()))?;
    found.iter().find_map(|step| if let Step::Launch(launch) = step { launch.text.lines().next() } else { None })
}

/// For a person to read: a barrier that nothing misses is one too many, or is needed only by shapes that no check has.
#[test]
#[ignore = "minutes: every barrier of every text is deleted in turn"]
fn every_barrier_is_needed() {
    if standin().is_none() {
        return;
    }
    // Variants share texts: a place is needed if one of them needs it on one device.
    let mut places: BTreeMap<(&str, &str, usize), Deleted> = BTreeMap::new();
    for (kernel, device) in KERNELS.iter().flat_map(|kernel| [0, 1].map(|device| (*kernel, device))) {
        for variant in kernel.variants() {
            let Some(text) = text_of(kernel, variant, DEVICES[device]) else { continue };
            for word in ["SYNC()", "COPY_WAIT("] {
                for which in 0.. {
                    if places.get(&(text, word, which)) == Some(&Deleted::Noticed) {
                        continue;
                    }
                    let outcome = deleted(kernel.name(), variant.name, device, word, which);
                    if outcome == Deleted::Nothing {
                        break;
                    }
                    let known = places.entry((text, word, which)).or_insert(outcome);
                    *known = outcome.max(*known);
                }
            }
        }
    }
    let unnoticed: Vec<_> = places.iter().filter(|(_, outcome)| **outcome == Deleted::Unnoticed).map(|(place, _)| place).collect();
    eprintln!("{} places, {} deleted without notice:", places.len(), unnoticed.len());
    unnoticed.iter().for_each(|(text, word, which)| eprintln!("{word} number {which} of `{text}`"));
    assert!(!places.is_empty());
}
