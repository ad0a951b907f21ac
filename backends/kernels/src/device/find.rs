//! Which devices there are, and why others are not.

use super::cache::Cache;
use super::cpu::{Cpu, info};
use super::driver::{Driver, load};
use super::gpu::{Gpu, describe};
use super::opencl::{self, OpenCl};
use super::rtc::Compiler;
use super::{Api, Device, DeviceError, DeviceInfo};
use std::path::PathBuf;
use std::rc::Rc;

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct FindOptions {
    /// Folder in which runtime compilers are looked for, instead of everywhere.
    pub rtc: Option<PathBuf>,
    /// NVIDIA's driver, instead of the loader's.
    pub cuda: Option<PathBuf>,
    /// AMD's runtime, instead of the loader's.
    pub hip: Option<PathBuf>,
    /// OpenCL's loader, instead of the system's.
    pub opencl: Option<PathBuf>,
    /// Folder of compiled kernels, instead of the user's cache.
    pub cache: Option<PathBuf>,
    /// Threads of the CPU; zero means one per core.
    pub threads: usize,
}

/// A device that is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to try; empty where there is nothing to.
    pub remedy: String,
}

/// What was found and what was not.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Found {
    /// Devices, the CPU first.
    pub devices: Vec<DeviceInfo>,
    /// What is missing.
    pub missing: Vec<Missing>,
}

/// Looks for devices. Nothing is opened that stays open.
pub fn find(options: &FindOptions) -> Found {
    let mut found = Found { devices: vec![info(threads(options))], missing: vec![] };
    for api in [Api::Cuda, Api::Hip] {
        if let Err(missing) = gpus(api, options, &mut found) {
            found.missing.push(missing);
        }
    }
    match opencl::list(options.opencl.as_ref()) {
        Ok(devices) => found.devices.extend(devices),
        Err(why) => found.missing.push(missing("opencl", why, "install an OpenCL driver with its loader (libOpenCL.so.1), PoCL for a CPU")),
    }
    found
}

fn threads(options: &FindOptions) -> usize {
    if options.threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { options.threads }
}

fn missing(what: &str, why: String, remedy: &str) -> Missing {
    Missing { what: what.into(), why, remedy: remedy.into() }
}

/// The devices of a driver, and its compiler if that is missing.
fn gpus(api: Api, options: &FindOptions, found: &mut Found) -> Result<(), Missing> {
    let (driver, count) = started(api, options)?;
    let compiler = Compiler::find(api, options.rtc.as_deref());
    let name = compiler.as_ref().map_or_else(|_| "none".to_owned(), Compiler::name);
    for number in 0..count {
        match describe(&driver, number, &name) {
            Ok(info) => found.devices.push(info),
            Err(why) => found.missing.push(missing(&format!("{}:{number}", api.name()), why, "")),
        }
    }
    if let Err(why) = compiler {
        let remedy = match api {
            Api::Cuda => "install the CUDA toolkit or the Python package nvidia-cuda-nvrtc, or give its folder with --rtc",
            _ => "install ROCm's hipRTC, or give its folder with --rtc",
        };
        found.missing.push(missing(&format!("{} compiler", api.name()), why, remedy));
    }
    Ok(())
}

/// A driver that is initialised, and how many devices it has: at least one.
fn started(api: Api, options: &FindOptions) -> Result<(Driver, usize), Missing> {
    let (path, whose) = match api {
        Api::Cuda => (&options.cuda, "NVIDIA's driver"),
        _ => (&options.hip, "AMD's ROCm runtime"),
    };
    let absent = |why: String, remedy: String| Missing { what: api.name().into(), why, remedy };
    let driver = load(api, path.as_deref()).map_err(|why| absent(why, format!("install {whose}, if this host has such a device")))?;
    // SAFETY: the first call that this driver gets.
    let code = unsafe { (driver.init)(0) };
    if code != 0 {
        let why = format!("{} is there, and does not start: {}", driver.path, driver.said(code));
        return Err(absent(why, "see that the device is visible to this process and its kernel module is loaded".into()));
    }
    let mut count = 0;
    // SAFETY: a place for one number.
    let code = unsafe { (driver.count)(&raw mut count) };
    if code != 0 || count < 1 {
        let said = if code == 0 { "it counts none".to_owned() } else { driver.said(code) };
        return Err(absent(
            format!("{} is there, and finds no device: {said}", driver.path),
            "see that the device is visible to this process".into(),
        ));
    }
    Ok((driver, count as usize))
}

/// Opens a device by name.
///
/// # Errors
/// When there is none of this name, or it does not open.
pub fn open(id: &str, options: &FindOptions) -> Result<Box<dyn Device>, DeviceError> {
    let refused = |why: String| DeviceError::Unsupported { device: id.into(), why };
    let (api, number) = id.split_once(':').unwrap_or((id, "0"));
    let number: Option<usize> = number.parse().ok();
    match (api, number) {
        ("cpu", Some(0)) => Ok(Box::new(Cpu::new(options.threads)?)),
        ("opencl", Some(number)) => Ok(Box::new(OpenCl::open(number, options.opencl.as_ref())?)),
        ("cuda" | "hip", Some(number)) => {
            let api = if api == "cuda" { Api::Cuda } else { Api::Hip };
            let (driver, count) = started(api, options)
                .map_err(|missing| refused(format!("{}; {}; `nomoat devices` lists what there is", missing.why, missing.remedy)))?;
            if number >= count {
                return Err(refused(format!("there are {count} such devices, counted from 0")));
            }
            let compiler = Compiler::find(api, options.rtc.as_deref()).map(Rc::new);
            let cache = options.cache.clone().map_or_else(Cache::of_user, Cache::at);
            Ok(Box::new(Gpu::open(Rc::new(driver), number, compiler, cache)?))
        }
        _ => {
            let known: Vec<String> = find(options).devices.iter().map(DeviceInfo::id).collect();
            Err(refused(format!("there is no such device; found are {}; `nomoat devices` says what is missing", known.join(", "))))
        }
    }
}
