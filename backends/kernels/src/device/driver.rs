//! The entry points of a GPU driver: one table, filled from NVIDIA's or AMD's library.
//!
//! The functions that are used have the same C signature on both sides, but for names of errors (AMD returns the string) and for raising a
//! function's dynamic shared memory (AMD needs no such call for modules). Numbers of attributes differ: one list per dialect. Signatures: CUDA
//! driver API 12 and HIP 5.2 headers.

use super::{Api, library};
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;

/// An opaque handle of the driver.
pub type Handle = *mut c_void;
/// An address in the device's memory.
pub type Address = u64;

/// Numbers that differ between the dialects.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Multiprocessors or compute units.
    pub units: c_int,
    /// Threads that run in step.
    pub warp: c_int,
    /// Bytes of the last cache.
    pub cache: c_int,
    /// Dynamic shared memory that a block can have at most.
    pub shared: c_int,
    /// Major compute capability.
    pub major: c_int,
    /// Minor compute capability.
    pub minor: c_int,
    /// Threads of a block at most.
    pub threads: c_int,
    /// Of a function: bytes of a thread in memory.
    pub local: c_int,
    /// Of a function: registers.
    pub registers: c_int,
    /// Of a function: threads of a block at most.
    pub block: c_int,
    /// Of a function: shared memory that its text declares.
    pub static_shared: c_int,
    /// The code for too little memory.
    pub out_of_memory: c_int,
}

const CUDA: Numbers = Numbers {
    units: 16,
    warp: 10,
    cache: 38,
    shared: 97,
    major: 75,
    minor: 76,
    threads: 1,
    local: 3,
    registers: 4,
    block: 0,
    static_shared: 1,
    out_of_memory: 2,
};
const HIP: Numbers = Numbers {
    units: 63,
    warp: 87,
    cache: 19,
    shared: 74,
    major: 23,
    minor: 61,
    threads: 56,
    local: 3,
    registers: 4,
    block: 0,
    static_shared: 1,
    out_of_memory: 2,
};

macro_rules! table {
    ($($(#[$doc:meta])* $field:ident = $cuda:literal | $hip:literal: fn($($type:ty),*);)*) => {
        /// A loaded driver.
        pub struct Driver {
            /// Whose it is.
            pub api: Api,
            /// Where it was found.
            pub path: String,
            /// Its numbers.
            pub numbers: Numbers,
            $($(#[$doc])* pub $field: unsafe extern "C" fn($($type),*) -> c_int,)*
            named: Named,
            /// Raises a function's dynamic shared memory; AMD needs no such call.
            pub raise_shared: Option<unsafe extern "C" fn(Handle, c_int, c_int) -> c_int>,
            library: &'static Library,
        }

        /// Names of the entry points, for the tests' stand-in.
        pub fn symbols(api: Api) -> Vec<&'static str> {
            vec![$(if api == Api::Hip { $hip } else { $cuda }),*]
        }

        impl Driver {
            /// Loads a driver.
            ///
            /// # Errors
            /// What is missing: the library, or which of its entry points.
            pub fn load(api: Api, path: &str) -> Result<Self, String> {
                Self::of(api, path, library::load(Path::new(path))?)
            }

            fn of(api: Api, path: &str, library: &'static Library) -> Result<Self, String> {
                let hip = api == Api::Hip;
                // SAFETY: the types are those of the vendors' headers for these names.
                unsafe {
                    $(let name = if hip { $hip } else { $cuda };
                    let $field = *library
                        .get::<unsafe extern "C" fn($($type),*) -> c_int>(name.as_bytes())
                        .map_err(|_| format!("{path} has no {name}; the driver is too old"))?;)*
                    let named = Named::load(library, hip).ok_or_else(|| format!("{path} has no names of errors; the driver is too old"))?;
                    let raise_shared = if hip { None } else { library.get(b"cuFuncSetAttribute").ok().map(|found| *found) };
                    let numbers = if hip { HIP } else { CUDA };
                    Ok(Self { api, path: path.into(), numbers, $($field,)* named, raise_shared, library })
                }
            }
        }
    };
}

table! {
    /// Once, before anything else.
    init = "cuInit" | "hipInit": fn(c_uint);
    /// Version of the API that the driver speaks.
    version = "cuDriverGetVersion" | "hipDriverGetVersion": fn(*mut c_int);
    /// Number of devices.
    count = "cuDeviceGetCount" | "hipGetDeviceCount": fn(*mut c_int);
    /// A device by number.
    device = "cuDeviceGet" | "hipDeviceGet": fn(*mut c_int, c_int);
    /// Its name.
    name = "cuDeviceGetName" | "hipDeviceGetName": fn(*mut c_char, c_int, c_int);
    /// One of its numbers.
    attribute = "cuDeviceGetAttribute" | "hipDeviceGetAttribute": fn(*mut c_int, c_int, c_int);
    /// Its memory, bytes.
    memory = "cuDeviceTotalMem_v2" | "hipDeviceTotalMem": fn(*mut usize, c_int);
    /// Its primary context, held.
    retain = "cuDevicePrimaryCtxRetain" | "hipDevicePrimaryCtxRetain": fn(*mut Handle, c_int);
    /// Its primary context, let go.
    release = "cuDevicePrimaryCtxRelease_v2" | "hipDevicePrimaryCtxRelease": fn(c_int);
    /// Makes a context this thread's.
    enter = "cuCtxSetCurrent" | "hipCtxSetCurrent": fn(Handle);
    /// Memory on the device.
    alloc = "cuMemAlloc_v2" | "hipMalloc": fn(*mut Address, usize);
    /// Gives it back.
    free = "cuMemFree_v2" | "hipFree": fn(Address);
    /// Page-locked memory of the host.
    alloc_host = "cuMemAllocHost_v2" | "hipMemAllocHost": fn(*mut Handle, usize);
    /// Gives it back.
    free_host = "cuMemFreeHost" | "hipHostFree": fn(Handle);
    /// Sets bytes.
    set = "cuMemsetD8Async" | "hipMemsetD8Async": fn(Address, u8, usize, Handle);
    /// Host to device.
    upload = "cuMemcpyHtoDAsync_v2" | "hipMemcpyHtoDAsync": fn(Address, *const c_void, usize, Handle);
    /// Device to host.
    download = "cuMemcpyDtoHAsync_v2" | "hipMemcpyDtoHAsync": fn(*mut c_void, Address, usize, Handle);
    /// Device to device.
    copy = "cuMemcpyDtoDAsync_v2" | "hipMemcpyDtoDAsync": fn(Address, Address, usize, Handle);
    /// Loads compiled code.
    module = "cuModuleLoadData" | "hipModuleLoadData": fn(*mut Handle, *const c_void);
    /// Unloads it.
    unload = "cuModuleUnload" | "hipModuleUnload": fn(Handle);
    /// A function by name.
    function = "cuModuleGetFunction" | "hipModuleGetFunction": fn(*mut Handle, Handle, *const c_char);
    /// One of a function's numbers.
    function_attribute = "cuFuncGetAttribute" | "hipFuncGetAttribute": fn(*mut c_int, c_int, Handle);
    /// Starts a function.
    launch = "cuLaunchKernel" | "hipModuleLaunchKernel": fn(Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut Handle, *mut Handle);
    /// A queue.
    stream = "cuStreamCreate" | "hipStreamCreateWithFlags": fn(*mut Handle, c_uint);
    /// Waits for it.
    wait = "cuStreamSynchronize" | "hipStreamSynchronize": fn(Handle);
    /// Ends it.
    end_stream = "cuStreamDestroy_v2" | "hipStreamDestroy": fn(Handle);
    /// A mark.
    event = "cuEventCreate" | "hipEventCreateWithFlags": fn(*mut Handle, c_uint);
    /// Puts it into a queue.
    record = "cuEventRecord" | "hipEventRecord": fn(Handle, Handle);
    /// Waits for it.
    wait_event = "cuEventSynchronize" | "hipEventSynchronize": fn(Handle);
    /// Milliseconds between two.
    elapsed = "cuEventElapsedTime" | "hipEventElapsedTime": fn(*mut f32, Handle, Handle);
    /// Ends it.
    end_event = "cuEventDestroy_v2" | "hipEventDestroy": fn(Handle);
}

/// How a driver names an error.
enum Named {
    /// By filling a pointer.
    Filled(unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int),
    /// By returning it.
    Returned(unsafe extern "C" fn(c_int) -> *const c_char),
}

impl Named {
    /// # Safety
    /// The library is a driver of the given dialect.
    unsafe fn load(library: &Library, hip: bool) -> Option<Self> {
        // SAFETY: as the vendors' headers give them.
        unsafe {
            if hip {
                library.get(b"hipGetErrorName").ok().map(|found| Self::Returned(*found))
            } else {
                library.get(b"cuGetErrorName").ok().map(|found| Self::Filled(*found))
            }
        }
    }
}

impl Driver {
    /// An error's name and number.
    pub fn said(&self, code: c_int) -> String {
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: the driver gives a string that lives as long as it, or leaves the pointer null.
        let name = unsafe {
            match self.named {
                Named::Filled(name) => {
                    name(code, &raw mut text);
                }
                Named::Returned(name) => text = name(code),
            }
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        };
        format!("{} ({code})", name.unwrap_or_else(|| "an error without a name".into()))
    }

    /// AMD's name of a device's architecture, such as `gfx942`: a text in a structure whose layout changes between versions.
    pub fn gfx(&self, device: c_int) -> Option<String> {
        let mut bytes = [0_u8; 8192];
        // Since ROCm 6 the name in the header stands for another function, and the old one may go.
        // SAFETY: of the structures that any version fills, the largest is below 2 KiB.
        let filled = unsafe {
            [&b"hipGetDevicePropertiesR0600"[..], b"hipGetDeviceProperties"].into_iter().any(|name| {
                let properties = self.library.get::<unsafe extern "C" fn(*mut c_void, c_int) -> c_int>(name);
                properties.is_ok_and(|properties| properties(bytes.as_mut_ptr().cast(), device) == 0)
            })
        };
        if !filled {
            return None;
        }
        // The structure begins with the device's own name, in which the word may stand, too.
        let at = 256 + bytes[256..].windows(3).position(|three| three == b"gfx")?;
        let name = bytes[at..].split(|byte| !byte.is_ascii_alphanumeric()).next()?;
        Some(String::from_utf8_lossy(name).into_owned())
    }
}

/// Names under which the loader may know a driver, best first.
pub fn names(api: Api) -> Vec<String> {
    match api {
        Api::Cuda => vec!["libcuda.so.1".into(), "nvcuda.dll".into()],
        Api::Hip => {
            let versions = (5..=12).rev().map(|major| format!("libamdhip64.so.{major}"));
            let mut names: Vec<String> = ["libamdhip64.so".to_owned()].into_iter().chain(versions).collect();
            if let Some(root) = std::env::var_os("ROCM_PATH") {
                names.insert(0, Path::new(&root).join("lib/libamdhip64.so").to_string_lossy().into_owned());
            }
            names.push("/opt/rocm/lib/libamdhip64.so".into());
            names
        }
        Api::Cpu | Api::OpenCl => vec![],
    }
}

/// The first driver that loads and has every entry point.
///
/// # Errors
/// What the first that is there lacks; where none is there, why the first of all does not load.
pub fn load(api: Api, path: Option<&Path>) -> Result<Driver, String> {
    if let Some(path) = path {
        return Driver::load(api, &path.to_string_lossy());
    }
    first(api, &names(api))
}

fn first(api: Api, names: &[String]) -> Result<Driver, String> {
    let (mut absent, mut lacking) = (None, None);
    for name in names {
        match library::load(Path::new(name)) {
            Ok(library) => match Driver::of(api, name, library) {
                Ok(driver) => return Ok(driver),
                Err(why) => lacking = lacking.or(Some(why)),
            },
            Err(why) => absent = absent.or(Some(why)),
        }
    }
    Err(lacking.or(absent).unwrap_or_else(|| "there is no driver of this kind".into()))
}
