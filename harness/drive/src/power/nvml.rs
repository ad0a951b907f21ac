//! NVIDIA's management library: total energy since the driver was loaded (Volta and later), and power.
//!
//! Power is averaged over a second on most boards, so it lags; the counter does not. Neither is told of a slice of a board (MIG).

use super::library::Loaded;
use super::{Device, Found, NoMeter, Reading};
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};

const NAMES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
const SUCCESS: c_int = 0;
const NOT_SUPPORTED: c_int = 3;
/// Longest identity, its end included, by the header.
const UUID_BYTES: usize = 96;

type Handle = *mut c_void;

/// The functions that are used, as `nvml.h` declares them.
#[derive(Clone, Copy)]
struct Nvml {
    error: unsafe extern "C" fn(c_int) -> *const c_char,
    energy: unsafe extern "C" fn(Handle, *mut c_ulonglong) -> c_int,
    power: unsafe extern "C" fn(Handle, *mut c_uint) -> c_int,
}

/// One board.
struct Board {
    nvml: Nvml,
    /// A device of the library, which is initialised once and never shut down.
    handle: Handle,
    name: String,
    has_energy: bool,
    has_power: bool,
}

// SAFETY: handles of NVML name devices and belong to no thread; the library is safe to call from any, one after the other or at once.
unsafe impl Send for Board {}

/// The boards that NVML sees.
pub(super) fn find() -> Result<Found, NoMeter> {
    let library = Loaded::first(&NAMES, "install NVIDIA's driver, or give the container its libraries")?;
    // SAFETY: each type is that of the function in nvml.h; the ABI of these has not changed since their `_v2`.
    let (init, count, by_index, uuid, nvml) = unsafe {
        (
            library.function::<unsafe extern "C" fn() -> c_int>("nvmlInit_v2")?,
            library.function::<unsafe extern "C" fn(*mut c_uint) -> c_int>("nvmlDeviceGetCount_v2")?,
            library.function::<unsafe extern "C" fn(c_uint, *mut Handle) -> c_int>("nvmlDeviceGetHandleByIndex_v2")?,
            library.function::<unsafe extern "C" fn(Handle, *mut c_char, c_uint) -> c_int>("nvmlDeviceGetUUID")?,
            Nvml {
                error: library.function("nvmlErrorString")?,
                energy: library.function("nvmlDeviceGetTotalEnergyConsumption")?,
                power: library.function("nvmlDeviceGetPowerUsage")?,
            },
        )
    };
    let says = |doing: &str, code| NoMeter::new(format!("{doing}: {}", nvml.says(code)), "see whether `nvidia-smi` works here");
    // SAFETY: it takes nothing, and is called before everything else.
    match unsafe { init() } {
        SUCCESS => {}
        code => return Err(says("starting NVML", code)),
    }
    let mut boards: c_uint = 0;
    // SAFETY: the pointer is to a number of the type it writes.
    match unsafe { count(&raw mut boards) } {
        SUCCESS if boards > 0 => {}
        SUCCESS => return Err(NoMeter::new("NVML sees no board", "see whether `nvidia-smi` lists one here")),
        code => return Err(says("counting boards", code)),
    }
    let (mut found, mut silent): (Found, _) = (vec![], None);
    for index in 0..boards {
        let mut handle: Handle = std::ptr::null_mut();
        // SAFETY: the index is below the count, and the pointer is to a handle.
        match unsafe { by_index(index, &raw mut handle) } {
            SUCCESS => {}
            code => return Err(says(&format!("opening board {index}"), code)),
        }
        let mut buffer = [0 as c_char; UUID_BYTES];
        // SAFETY: the buffer has as many bytes as are told, and the last stays zero: at most one less is written, with its end.
        let named = unsafe { uuid(handle, buffer.as_mut_ptr(), UUID_BYTES as c_uint - 1) } == SUCCESS;
        // SAFETY: the buffer ends with a zero.
        let id = unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned();
        let name = if named && !id.is_empty() { format!("{index}/{id}") } else { index.to_string() };
        let mut board = Board { nvml, handle, name, has_energy: true, has_power: true };
        let (energy, power) = (board.energy(), board.power());
        (board.has_energy, board.has_power) = (energy.is_ok(), power.is_ok());
        match (energy, power) {
            (Err(_), Err(why)) => silent = Some(format!("board {}: {why}", board.name)),
            _ => found.push(Box::new(board)),
        }
    }
    match silent {
        Some(why) => {
            Err(NoMeter::new(why, "a slice of a board tells no power: read the host that owns it, or --power-url of its exporter"))
        }
        None => Ok(found),
    }
}

impl Nvml {
    /// What a code means, in the library's words.
    fn says(self, code: c_int) -> String {
        if code == NOT_SUPPORTED {
            return "not supported".into();
        }
        // SAFETY: the library answers every code with a text of its own that lives as long as it does, or with nothing.
        let text = unsafe { (self.error)(code) };
        if text.is_null() {
            return format!("error {code}");
        }
        // SAFETY: it is not null, so it is such a text.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

impl Board {
    /// Joules since the driver was loaded.
    fn energy(&self) -> Result<f64, String> {
        let mut millijoules: c_ulonglong = 0;
        // SAFETY: the handle is of this library, and the pointer is to a number of the type it writes.
        match unsafe { (self.nvml.energy)(self.handle, &raw mut millijoules) } {
            SUCCESS => Ok(millijoules as f64 / 1e3),
            code => Err(format!("total energy: {}", self.nvml.says(code))),
        }
    }

    /// Watts.
    fn power(&self) -> Result<f64, String> {
        let mut milliwatts: c_uint = 0;
        // SAFETY: as above.
        match unsafe { (self.nvml.power)(self.handle, &raw mut milliwatts) } {
            SUCCESS => Ok(f64::from(milliwatts) / 1e3),
            code => Err(format!("power: {}", self.nvml.says(code))),
        }
    }
}

impl Device for Board {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<Reading, String> {
        Ok(Reading {
            joules: self.has_energy.then(|| self.energy()).transpose()?,
            watts: self.has_power.then(|| self.power()).transpose()?,
            range: None,
        })
    }
}
