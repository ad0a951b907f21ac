//! Kernel text through the vendors' compilers, without their devices: what compiles, and that nothing spills where the assembler tells.
//! Skipped visibly where there is no compiler. `NOMOAT_NVRTC` and `NOMOAT_HIPRTC` name folders to look in instead of everywhere.

#![allow(clippy::unwrap_used, reason = "a test")]

use nomoat_kernels::device::rtc::Compiler;
use nomoat_kernels::device::{Api, DeviceInfo, signature};
use nomoat_kernels::kernel::{How, Launch, Step, Tier};
use nomoat_kernels::kernels::KERNELS;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

const FILL: &str = include_str!("../src/text/fill.cu");

fn compiler(api: Api) -> Option<Compiler> {
    let folder = std::env::var_os(if api == Api::Hip { "NOMOAT_HIPRTC" } else { "NOMOAT_NVRTC" }).map(PathBuf::from);
    Compiler::find(api, folder.as_deref()).inspect_err(|why| eprintln!("SKIPPED: {why}")).ok()
}

/// A device as its data sheet has it: nothing here asks it anything.
fn device(api: Api, compute: u32, arch: &str, shared: usize) -> DeviceInfo {
    DeviceInfo {
        api,
        index: 0,
        name: "a data sheet".into(),
        arch: arch.into(),
        compute,
        units: 132,
        warp: if arch.starts_with("gfx9") { 64 } else { 32 },
        cache: 50 << 20,
        memory: 80 << 30,
        shared,
        driver: "none".into(),
        compiler: "none".into(),
    }
}

fn nvidia() -> [DeviceInfo; 3] {
    [(80, 166_912), (90, 232_448), (100, 232_448)].map(|(compute, shared)| device(Api::Cuda, compute, &format!("sm_{compute}"), shared))
}

/// What the variants of all families start on a device, each text and its defines once, with where it is from.
fn launches(device: &DeviceInfo) -> BTreeMap<String, Launch> {
    let fill = |entry| Launch { text: FILL, entry, defines: vec![], grid: [1; 3], block: 256, shared: 0, args: vec![] };
    let mut all: BTreeMap<_, _> = ["fill_f32", "fill_bf16"].map(|entry| (entry.to_owned(), fill(entry))).into();
    for kernel in KERNELS {
        let shapes = [Tier::Check, Tier::Quick].into_iter().flat_map(|tier| kernel.shapes(tier, device));
        for dims in shapes {
            for variant in kernel.variants() {
                let How::Text(steps) = variant.how else { continue };
                for step in steps(&dims, device).unwrap_or_default() {
                    if let Step::Launch(launch) = step {
                        all.insert(format!("{} {}", kernel.name(), signature(&launch)), launch);
                    }
                }
            }
        }
    }
    all
}

#[test]
fn every_variant_compiles_to_the_own_code_of_three_generations() {
    let Some(compiler) = compiler(Api::Cuda) else { return };
    for device in nvidia() {
        let target = compiler.target(device.compute, &device.arch);
        let Ok((target, true)) = target else {
            eprintln!("SKIPPED: {} makes no code for {}: {target:?}", compiler.name(), device.arch);
            continue;
        };
        let launches = launches(&device);
        for (name, launch) in &launches {
            let code = compiler.compile(launch, device.warp, &target, true);
            let code = code.unwrap_or_else(|log| panic!("{name} for {target}: {log}"));
            assert!(code.starts_with(b"\x7fELF") && has(&code, launch.entry), "{name} for {target} is no code with that function");
        }
        eprintln!("{}: {} texts for {target}", compiler.name(), launches.len());
    }
}

#[test]
fn a_device_newer_than_the_compiler_gets_text_that_its_driver_compiles() {
    let Some(compiler) = compiler(Api::Cuda) else { return };
    let (target, own) = compiler.target(999, "sm_999").unwrap();
    assert!(target.starts_with("compute_") && !own, "{target}");
    let launch = launches(&nvidia()[0]).remove("fill_f32").unwrap();
    let code = compiler.compile(&launch, 32, &target, own).unwrap();
    let code = String::from_utf8(code).unwrap();
    assert!(code.contains(".version") && code.contains(".entry fill_f32"), "{code}");
    let why = compiler.target(20, "sm_20").unwrap_err();
    assert!(why.contains("this is sm_20") && why.contains("--rtc"), "{why}");
}

#[test]
fn text_that_does_not_compile_is_told_in_the_compilers_words() {
    for (api, target) in [(Api::Cuda, "sm_90a"), (Api::Hip, "gfx90a")] {
        let Some(compiler) = compiler(api) else { continue };
        let text = "KERNEL void broken(GLOBAL float* out) { out[0] = no_such_name; }";
        let launch = Launch { text, entry: "broken", defines: vec![], grid: [1; 3], block: 1, shared: 0, args: vec![] };
        let log = compiler.compile(&launch, 32, target, true).unwrap_err();
        assert!(log.contains("no_such_name"), "{log}");
    }
}

/// Registers of a thread and bytes spilled, of each function, as the assembler tells. `None` where there is no assembler.
fn assembled(compiler: &Compiler, launch: &Launch, device: &DeviceInfo, target: &str) -> Option<Result<u32, String>> {
    let beside = std::env::var_os("NOMOAT_NVRTC").map(|folder| PathBuf::from(folder).join("../bin/ptxas")).filter(|path| path.is_file());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kernel.ptx");
    let text = compiler.compile(launch, device.warp, &target.replace("sm_", "compute_"), false).ok()?;
    std::fs::write(&file, String::from_utf8_lossy(&text).trim_end_matches('\0')).unwrap();
    let mut ptxas = Command::new(beside.unwrap_or_else(|| "ptxas".into()));
    ptxas.args(["-v", &format!("-arch={target}"), "-o", "/dev/null"]).arg(&file);
    let output = ptxas.output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(resources(&said, launch.entry).ok_or(said))
}

/// Bytes spilled by a function, of what the assembler says of all of a text.
fn resources(said: &str, entry: &str) -> Option<u32> {
    let mut lines = said.lines().skip_while(|line| !line.ends_with(&format!("Function properties for {entry}")));
    let properties = lines.nth(1)?;
    let spilled = |what: &str| -> Option<u32> { properties.split(what).next()?.trim().rsplit([' ', ',']).nth(1)?.parse().ok() };
    Some(spilled("spill stores")? + spilled("spill loads")?)
}

#[test]
fn nothing_spills() {
    let Some(compiler) = compiler(Api::Cuda) else { return };
    let mut wrong = vec![];
    for device in nvidia() {
        let Ok((target, true)) = compiler.target(device.compute, &device.arch) else { continue };
        for (name, launch) in launches(&device) {
            match assembled(&compiler, &launch, &device, &target) {
                None => {
                    eprintln!("SKIPPED: no ptxas on PATH or beside NOMOAT_NVRTC");
                    return;
                }
                Some(Ok(0)) => (),
                Some(Ok(bytes)) => wrong.push(format!("{name} for {target}: {bytes} bytes")),
                Some(Err(said)) => panic!("{name} for {target}: {said}"),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_assemblers_account_is_read() {
    let said = "ptxas info    : Compiling entry function 'other' for 'sm_90a'\n\
        ptxas info    : Function properties for other\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
        ptxas info    : Used 10 registers\n\
        ptxas info    : Function properties for it\n    72 bytes stack frame, 68 bytes spill stores, 12 bytes spill loads\n";
    assert_eq!((resources(said, "other"), resources(said, "it"), resources(said, "none")), (Some(0), Some(80), None));
}

#[test]
fn portable_variants_compile_for_amd() {
    let Some(compiler) = compiler(Api::Hip) else { return };
    let device = device(Api::Hip, 0, "gfx90a", 64 << 10);
    let (target, own) = compiler.target(0, &device.arch).unwrap();
    assert_eq!((target.as_str(), own), ("gfx90a", true));
    let launches = launches(&device);
    for (name, launch) in &launches {
        let code = compiler.compile(launch, device.warp, &target, true).unwrap_or_else(|log| panic!("{name} for {target}: {log}"));
        assert!(has(&code, launch.entry), "{name} for {target} is no code with that function");
    }
    assert!(launches.values().all(|launch| launch.shared <= 64 << 10), "a block of gfx90a has 64 KiB");
    eprintln!("{}: {} texts for {target}", compiler.name(), launches.len());
}

fn has(code: &[u8], entry: &str) -> bool {
    code.windows(entry.len()).any(|window| window == entry.as_bytes())
}
