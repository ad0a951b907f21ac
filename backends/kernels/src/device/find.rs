//! Which devices there are, and why others are not.

use super::cpu::{Cpu, info};
use super::{Device, DeviceError, DeviceInfo};
use std::path::PathBuf;

/// Where to look.
#[derive(Clone, Debug, Default)]
pub struct FindOptions {
    /// Folder in which runtime compilers are looked for first.
    pub rtc: Option<PathBuf>,
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

/// Looks for devices.
pub fn find(options: &FindOptions) -> Found {
    let threads = if options.threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { options.threads };
    Found { devices: vec![info(threads)], missing: vec![] }
}

/// Opens a device by name.
///
/// # Errors
/// When there is none of this name, or it does not open.
pub fn open(id: &str, options: &FindOptions) -> Result<Box<dyn Device>, DeviceError> {
    match id {
        "cpu" => Ok(Box::new(Cpu::new(options.threads)?)),
        _ => {
            let known: Vec<String> = find(options).devices.iter().map(DeviceInfo::id).collect();
            let why = format!("there is no such device; found are {}; `nomoat devices` says what is missing", known.join(", "));
            Err(DeviceError::Unsupported { device: id.into(), why })
        }
    }
}
