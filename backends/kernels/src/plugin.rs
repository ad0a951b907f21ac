//! Kernels of others: a shared library with one C entry per family, held to the same check and printed in the same table.
//!
//! The interface is `plugin/nomoat_kernels.h`. On a GPU the pointers are the device's and the entry enqueues on the given stream; on the host's
//! processor they are ordinary memory and the entry is done when it returns.

use crate::device::DeviceError;
use crate::dims::Dims;
use crate::kernel::{How, Variant};
use crate::kernels::KERNELS;
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

/// What an entry is given. The layout is that of `struct nomoat_problem`.
#[repr(C)]
#[derive(Debug)]
pub struct Problem {
    /// Name of the family.
    kernel: *const c_char,
    /// Element type of the large operands: `bf16`, `f32`.
    dtype: *const c_char,
    /// Device it is to run on, as `nomoat devices` names it.
    device: *const c_char,
    /// Number of sizes.
    sizes: c_int,
    /// Number of operands.
    operands: c_int,
    /// Names of sizes.
    names: *const *const c_char,
    /// Sizes.
    values: *const i64,
    /// Addresses of operands.
    pointers: *const *mut c_void,
    /// Bytes of operands.
    bytes: *const i64,
    /// The stream to enqueue on: a `CUstream` or `hipStream_t`; null on the host's processor.
    stream: *mut c_void,
    /// Threads it may use on the host's processor; 0 on a GPU.
    threads: c_int,
}

/// The entry of one family. Returns 0 when done or enqueued, 1 when it does not fit the shape or device, anything else when it failed.
pub type Entry = unsafe extern "C" fn(*const Problem) -> c_int;

/// An entry with the variant that stands for it. Lives as long as the program: its library is never unloaded.
#[derive(Clone, Copy, Debug)]
pub struct Plugged {
    /// Name of the family.
    pub kernel: &'static str,
    /// The variant, named by the library.
    pub variant: Variant,
}

/// Why a library could not be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PluginError {
    /// The system does not load it.
    #[error("loading the plug-in {path}: {why}")]
    Load {
        /// Which file.
        path: String,
        /// What the system said.
        why: String,
    },
    /// It has no entry that is known.
    #[error("the plug-in {path} has none of the entries {known}; see plugin/nomoat_kernels.h")]
    Empty {
        /// Which file.
        path: String,
        /// Entries that were looked for.
        known: String,
    },
}

/// What came of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done, or enqueued.
    Done,
    /// Not for this shape or device.
    Unfit,
    /// It failed, with its own code.
    Failed(i32),
}

impl Outcome {
    /// Whether it is done, as the error of a device.
    ///
    /// # Errors
    /// When the entry does not fit, or failed.
    pub fn done(self, device: &str, kernel: &str, dims: &Dims) -> Result<(), DeviceError> {
        match self {
            Self::Done => Ok(()),
            Self::Unfit => {
                Err(DeviceError::Unsupported { device: device.into(), why: format!("the plug-in does not do {kernel} {dims} here") })
            }
            Self::Failed(code) => Err(DeviceError::Driver {
                device: device.into(),
                doing: format!("the plug-in's {} on {dims}", symbol(kernel)),
                said: format!("it returned {code}"),
            }),
        }
    }
}

/// Loads a library and finds its entries.
///
/// # Errors
/// When it does not load or has no entry.
pub fn load(path: &Path) -> Result<Vec<Plugged>, PluginError> {
    let shown = path.display().to_string();
    // SAFETY: loading runs the library's initialisers; a user who names a plug-in asks for that.
    let library = unsafe { Library::new(path) }.map_err(|error| PluginError::Load { path: shown.clone(), why: error.to_string() })?;
    // Variants are compared and printed for as long as the program runs.
    let library: &'static Library = Box::leak(Box::new(library));
    let name =
        name(library).unwrap_or_else(|| path.file_stem().map_or_else(|| "plug-in".into(), |stem| stem.to_string_lossy().into_owned()));
    let name: &'static str = name.leak();
    let entry = |kernel: &str| {
        // SAFETY: the header gives every entry of these names this type.
        unsafe { library.get::<Entry>(symbol(kernel).as_bytes()) }.ok().map(|found| *found)
    };
    let found: Vec<Plugged> = KERNELS
        .iter()
        .filter_map(|kernel| {
            let entry = entry(kernel.name())?;
            Some(Plugged { kernel: kernel.name(), variant: Variant { name, about: "a plug-in", how: How::Plugin(entry) } })
        })
        .collect();
    if found.is_empty() {
        let known = KERNELS.iter().map(|kernel| symbol(kernel.name())).collect::<Vec<_>>().join(", ");
        return Err(PluginError::Empty { path: shown, known });
    }
    Ok(found)
}

/// Name of a family's entry.
fn symbol(kernel: &str) -> String {
    format!("nomoat_{}", kernel.replace('-', "_"))
}

fn name(library: &Library) -> Option<String> {
    // SAFETY: the header gives this entry this type; what it returns is a string that lives as long as the library.
    let text = unsafe {
        let name = library.get::<unsafe extern "C" fn() -> *const c_char>(b"nomoat_plugin_name").ok()?;
        let text = name();
        if text.is_null() {
            return None;
        }
        CStr::from_ptr(text)
    };
    Some(text.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
}

/// Calls an entry.
///
/// `operands` are addresses and bytes, in order; `stream` is null on the host's processor.
pub fn call(
    entry: Entry,
    kernel: &str,
    dims: &Dims,
    device: &str,
    operands: &[(*mut c_void, usize)],
    stream: *mut c_void,
    threads: usize,
) -> Outcome {
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let (kernel, dtype, device) = (text(kernel), text(dims.dtype.name()), text(device));
    let names: Vec<CString> = dims.iter().map(|(name, _)| text(name)).collect();
    let names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let values: Vec<i64> = dims.iter().map(|(_, size)| size as i64).collect();
    let pointers: Vec<*mut c_void> = operands.iter().map(|(pointer, _)| *pointer).collect();
    let bytes: Vec<i64> = operands.iter().map(|(_, bytes)| *bytes as i64).collect();
    let problem = Problem {
        kernel: kernel.as_ptr(),
        dtype: dtype.as_ptr(),
        device: device.as_ptr(),
        sizes: names.len() as c_int,
        operands: pointers.len() as c_int,
        names: names.as_ptr(),
        values: values.as_ptr(),
        pointers: pointers.as_ptr(),
        bytes: bytes.as_ptr(),
        stream,
        threads: threads as c_int,
    };
    // SAFETY: every pointer of the problem is valid for the call, and operands are unique to it. What the entry does with them is the
    // plug-in's own; its results are checked.
    match unsafe { entry(&raw const problem) } {
        0 => Outcome::Done,
        1 => Outcome::Unfit,
        code => Outcome::Failed(code),
    }
}
