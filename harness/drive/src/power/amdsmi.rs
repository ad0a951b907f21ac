//! AMD's management library: the energy counter of each accelerator.
//!
//! What the library calls a socket is a physical device, by its address on the bus. Where it is split into partitions each of them is a
//! processor, and the energy is of the device: its first is read and stands for it.
//!
//! Only functions of plain numbers are called; structures of this library have changed between its versions. Power is read from the
//! kernel's hardware monitor instead ([`super::hwmon`]). What a counter is in comes with it, about 15.3 µJ.

use super::library::Loaded;
use super::{Device, Found, NoMeter, Reading};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

const NAMES: [&str; 3] = ["libamd_smi.so", "/opt/rocm/lib/libamd_smi.so", "/opt/rocm/lib64/libamd_smi.so"];
const SUCCESS: c_int = 0;
/// Start for accelerators only.
const INIT_GPUS: u64 = 1 << 1;
/// Most sockets, and most processors of one, that are asked for.
const MOST: usize = 64;
/// Bytes of an identity, its end included, and room to spare.
const UUID_BYTES: usize = 64;

type Handle = *mut c_void;
type EnergyCount = unsafe extern "C" fn(Handle, *mut u64, *mut f32, *mut u64) -> c_int;

/// One accelerator.
struct Accelerator {
    energy: EnergyCount,
    /// A processor of the library, which is initialised once and never shut down.
    handle: Handle,
    name: String,
}

// SAFETY: handles of AMD SMI name devices and belong to no thread; its functions lock what they share.
unsafe impl Send for Accelerator {}

/// The accelerators that AMD SMI sees.
pub(super) fn find() -> Result<Found, NoMeter> {
    let library = Loaded::first(&NAMES, "install ROCm's amd-smi-lib")?;
    // SAFETY: each type is that of the function in amdsmi.h; flags are passed as 64 bits, of which older versions look at the lower half.
    let (init, sockets, processors, uuid, energy) = unsafe {
        (
            library.function::<unsafe extern "C" fn(u64) -> c_int>("amdsmi_init")?,
            library.function::<unsafe extern "C" fn(*mut u32, *mut Handle) -> c_int>("amdsmi_get_socket_handles")?,
            library.function::<unsafe extern "C" fn(Handle, *mut u32, *mut Handle) -> c_int>("amdsmi_get_processor_handles")?,
            library.function::<unsafe extern "C" fn(Handle, *mut c_uint, *mut c_char) -> c_int>("amdsmi_get_gpu_device_uuid")?,
            library.function::<EnergyCount>("amdsmi_get_energy_count")?,
        )
    };
    let failed = |doing: &str, code: c_int| NoMeter::new(format!("{doing}: error {code}"), "see whether `amd-smi list` works here");
    // SAFETY: the flags are of the header; nothing else was called before.
    match unsafe { init(INIT_GPUS) } {
        SUCCESS => {}
        code => return Err(failed("starting AMD SMI", code)),
    }
    let mut of_sockets = [std::ptr::null_mut(); MOST];
    let mut n = MOST as u32;
    // SAFETY: the array has room for as many handles as are told.
    match unsafe { sockets(&raw mut n, of_sockets.as_mut_ptr()) } {
        SUCCESS => {}
        code => return Err(failed("listing sockets", code)),
    }
    let mut found: Found = vec![];
    for socket in of_sockets.into_iter().take(n as usize) {
        let mut handles = [std::ptr::null_mut(); MOST];
        let mut n = MOST as u32;
        // SAFETY: the socket came from the library, and the array has room for as many handles as are told.
        match unsafe { processors(socket, &raw mut n, handles.as_mut_ptr()) } {
            SUCCESS => {}
            code => return Err(failed("listing accelerators", code)),
        }
        for handle in handles.into_iter().take((n as usize).min(1)) {
            let mut buffer = [0 as c_char; UUID_BYTES];
            let mut length = UUID_BYTES as c_uint - 1;
            // SAFETY: the buffer has more bytes than are told, so that it ends with a zero whatever is written.
            let named = unsafe { uuid(handle, &raw mut length, buffer.as_mut_ptr()) } == SUCCESS;
            // SAFETY: the buffer ends with a zero.
            let id = unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned();
            let index = found.len();
            let name = if named && !id.is_empty() { format!("{index}/{id}") } else { index.to_string() };
            let accelerator = Accelerator { energy, handle, name };
            if let Err(why) = accelerator.read() {
                let why = format!("accelerator {}: {why}", accelerator.name);
                return Err(NoMeter::new(why, "read its power instead: --energy hwmon"));
            }
            found.push(Box::new(accelerator));
        }
    }
    if found.is_empty() { Err(NoMeter::new("AMD SMI sees no accelerator", "see whether `amd-smi list` shows one here")) } else { Ok(found) }
}

impl Device for Accelerator {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self) -> Result<Reading, String> {
        let (mut count, mut microjoules, mut stamp) = (0_u64, 0_f32, 0_u64);
        // SAFETY: the handle is of this library, and the pointers are to numbers of the types it writes.
        match unsafe { (self.energy)(self.handle, &raw mut count, &raw mut microjoules, &raw mut stamp) } {
            SUCCESS => Ok(Reading { joules: Some(count as f64 * f64::from(microjoules) / 1e6), ..Reading::default() }),
            code => Err(format!("energy count: error {code}")),
        }
    }
}
