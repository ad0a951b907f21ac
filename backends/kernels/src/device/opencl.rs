//! Any OpenCL device: the portable variants of kernel text, through whatever driver the host has.
//!
//! The library is loaded when the command runs; nothing is needed to build. Time is the host's monotonic clock around a finished queue, because
//! event times of drivers differ in what they mean; batches are long enough for that.

use super::{Api, Buffer, Built, Device, DeviceError, DeviceInfo, Free, Mark, Ready, library, signature, source};
use crate::dims::Dtype;
use crate::kernel::{Arg, Launch, Step};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

type Handle = *mut c_void;

macro_rules! table {
    ($($field:ident = $symbol:literal: fn($($type:ty),*) -> $result:ty;)*) => {
        /// Entry points of the loader's library.
        struct Table {
            $($field: unsafe extern "C" fn($($type),*) -> $result,)*
        }

        impl Table {
            /// Loads the library and finds every entry point.
            fn load(path: &str) -> Result<Self, String> {
                let library = library::load(Path::new(path))?;
                // SAFETY: the types are those of the OpenCL 1.2 specification.
                unsafe {
                    $(let $field = *library
                        .get::<unsafe extern "C" fn($($type),*) -> $result>($symbol.as_bytes())
                        .map_err(|_| format!("{path} has no {}: OpenCL 1.2 is needed", $symbol))?;)*
                    Ok(Self { $($field,)* })
                }
            }
        }
    };
}

table! {
    platforms = "clGetPlatformIDs": fn(u32, *mut Handle, *mut u32) -> i32;
    devices = "clGetDeviceIDs": fn(Handle, u64, u32, *mut Handle, *mut u32) -> i32;
    device_info = "clGetDeviceInfo": fn(Handle, u32, usize, *mut c_void, *mut usize) -> i32;
    context = "clCreateContext": fn(*const isize, u32, *const Handle, *const c_void, *mut c_void, *mut i32) -> Handle;
    release_context = "clReleaseContext": fn(Handle) -> i32;
    queue = "clCreateCommandQueue": fn(Handle, Handle, u64, *mut i32) -> Handle;
    release_queue = "clReleaseCommandQueue": fn(Handle) -> i32;
    buffer = "clCreateBuffer": fn(Handle, u64, usize, *mut c_void, *mut i32) -> Handle;
    release_buffer = "clReleaseMemObject": fn(Handle) -> i32;
    read = "clEnqueueReadBuffer": fn(Handle, Handle, u32, usize, usize, *mut c_void, u32, *const Handle, *mut Handle) -> i32;
    write = "clEnqueueWriteBuffer": fn(Handle, Handle, u32, usize, usize, *const c_void, u32, *const Handle, *mut Handle) -> i32;
    fill = "clEnqueueFillBuffer": fn(Handle, Handle, *const c_void, usize, usize, usize, u32, *const Handle, *mut Handle) -> i32;
    copy = "clEnqueueCopyBuffer": fn(Handle, Handle, Handle, usize, usize, usize, u32, *const Handle, *mut Handle) -> i32;
    program = "clCreateProgramWithSource": fn(Handle, u32, *const *const c_char, *const usize, *mut i32) -> Handle;
    build = "clBuildProgram": fn(Handle, u32, *const Handle, *const c_char, *const c_void, *mut c_void) -> i32;
    build_info = "clGetProgramBuildInfo": fn(Handle, Handle, u32, usize, *mut c_void, *mut usize) -> i32;
    release_program = "clReleaseProgram": fn(Handle) -> i32;
    kernel = "clCreateKernel": fn(Handle, *const c_char, *mut i32) -> Handle;
    release_kernel = "clReleaseKernel": fn(Handle) -> i32;
    argument = "clSetKernelArg": fn(Handle, u32, usize, *const c_void) -> i32;
    start = "clEnqueueNDRangeKernel": fn(Handle, Handle, u32, *const usize, *const usize, *const usize, u32, *const Handle, *mut Handle) -> i32;
    flush = "clFlush": fn(Handle) -> i32;
    finish = "clFinish": fn(Handle) -> i32;
}

/// Errors that have a name worth reading.
fn named(code: i32) -> String {
    let name = match code {
        -1 => "CL_DEVICE_NOT_FOUND",
        -4 => "CL_MEM_OBJECT_ALLOCATION_FAILURE",
        -5 => "CL_OUT_OF_RESOURCES",
        -6 => "CL_OUT_OF_HOST_MEMORY",
        -11 => "CL_BUILD_PROGRAM_FAILURE",
        -30 => "CL_INVALID_VALUE",
        -46 => "CL_INVALID_KERNEL_NAME",
        -52 => "CL_INVALID_KERNEL_ARGS",
        -54 => "CL_INVALID_WORK_GROUP_SIZE",
        -61 => "CL_INVALID_BUFFER_SIZE",
        -1001 => "CL_PLATFORM_NOT_FOUND_KHR",
        _ => return format!("error {code}"),
    };
    format!("{name} ({code})")
}

/// Names of the loader's library.
const LIBRARIES: &[&str] = &["libOpenCL.so.1", "libOpenCL.so", "OpenCL.dll", "/System/Library/Frameworks/OpenCL.framework/OpenCL"];

/// Devices are listed by one thread at a time: of two that were first at once, PoCL 3.1 showed one no device, or crashed.
static LISTED: Mutex<()> = Mutex::new(());

struct Driver {
    table: Table,
    context: Handle,
    queue: Handle,
}

impl Free for Driver {
    fn free(&self, address: u64) {
        // SAFETY: the handle came from `clCreateBuffer` and is released once, by the buffer that owned it.
        unsafe { (self.table.release_buffer)(address as Handle) };
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: both were created by `open`, and every buffer that used them is gone: buffers keep the driver.
        unsafe {
            (self.table.release_queue)(self.queue);
            (self.table.release_context)(self.context);
        }
    }
}

/// One OpenCL device.
pub struct OpenCl {
    info: DeviceInfo,
    device: Handle,
    /// Compiled functions by what was compiled; programs are kept for them.
    built: RefCell<HashMap<String, (Handle, Handle)>>,
    driver: Rc<Driver>,
}

/// Every device of every platform.
///
/// # Errors
/// Why there is none: no library, no platform, no device.
pub fn list(library: Option<&PathBuf>) -> Result<Vec<DeviceInfo>, String> {
    let table = load(library)?;
    Ok(handles(&table)?.into_iter().enumerate().map(|(index, device)| describe(&table, device, index)).collect())
}

fn load(library: Option<&PathBuf>) -> Result<Table, String> {
    if let Some(path) = library {
        return Table::load(&path.to_string_lossy());
    }
    let mut why = String::new();
    for name in LIBRARIES {
        match Table::load(name) {
            Ok(table) => return Ok(table),
            Err(error) if why.is_empty() => why = error,
            Err(_) => (),
        }
    }
    Err(why)
}

fn handles(table: &Table) -> Result<Vec<Handle>, String> {
    // A thread that panicked in here left nothing half done that another could see.
    let _alone = LISTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut count = 0;
    // SAFETY: asks for the number alone.
    let code = unsafe { (table.platforms)(0, null_mut(), &raw mut count) };
    if code != 0 || count == 0 {
        return Err(format!("no platform: {}", if code == 0 { "none is installed".into() } else { named(code) }));
    }
    let mut platforms = vec![null_mut(); count as usize];
    // SAFETY: the array has `count` places.
    let code = unsafe { (table.platforms)(count, platforms.as_mut_ptr(), null_mut()) };
    if code != 0 {
        return Err(format!("listing platforms failed: {}", named(code)));
    }
    let mut all = vec![];
    for platform in platforms {
        /// `CL_DEVICE_TYPE_ALL`.
        const ALL: u64 = 0xFFFF_FFFF;
        let mut count = 0;
        // SAFETY: asks for the number alone; a platform without devices answers with an error and leaves zero.
        unsafe { (table.devices)(platform, ALL, 0, null_mut(), &raw mut count) };
        let mut devices = vec![null_mut(); count as usize];
        // SAFETY: the array has `count` places.
        if count > 0 && unsafe { (table.devices)(platform, ALL, count, devices.as_mut_ptr(), null_mut()) } == 0 {
            all.extend(devices);
        }
    }
    if all.is_empty() { Err("platforms are installed, and none has a device".into()) } else { Ok(all) }
}

fn text(table: &Table, device: Handle, what: u32) -> String {
    let mut bytes = vec![0_u8; 512];
    let mut size = 0;
    // SAFETY: the buffer has the size that is given.
    let code = unsafe { (table.device_info)(device, what, bytes.len(), bytes.as_mut_ptr().cast(), &raw mut size) };
    bytes.truncate(if code == 0 { size.min(bytes.len()) } else { 0 });
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned()
}

/// A number of at most eight bytes; zero where the device does not tell.
fn number(table: &Table, device: Handle, what: u32) -> u64 {
    let mut value = 0_u64;
    // SAFETY: eight bytes are given; shorter numbers fill the lower ones on the little-endian hosts that this runs on.
    unsafe { (table.device_info)(device, what, 8, (&raw mut value).cast(), null_mut()) };
    value
}

/// The last cache, bytes. Of a GPU some drivers tell a cache of the first level: no less than any GPU's last one is assumed, so that what is
/// called cold is cold.
fn cache(table: &Table, device: Handle) -> usize {
    const KNOWN_LARGEST: usize = 256 << 20;
    /// `CL_DEVICE_TYPE_CPU`.
    const CPU: u64 = 2;
    let told = number(table, device, 0x101E) as usize;
    if number(table, device, 0x1000) & CPU != 0 { told } else { told.max(KNOWN_LARGEST) }
}

fn describe(table: &Table, device: Handle, index: usize) -> DeviceInfo {
    DeviceInfo {
        api: Api::OpenCl,
        index,
        name: text(table, device, 0x102B),
        arch: "opencl".into(),
        compute: 0,
        units: number(table, device, 0x1002) as u32,
        warp: 1,
        cache: cache(table, device),
        memory: number(table, device, 0x101F) as usize,
        shared: number(table, device, 0x1023) as usize,
        driver: format!("driver {}", text(table, device, 0x102D)),
        compiler: text(table, device, 0x102F),
    }
}

impl OpenCl {
    /// Opens device `index` of [`list`].
    ///
    /// # Errors
    /// When there is none, or the driver makes no context.
    pub fn open(index: usize, library: Option<&PathBuf>) -> Result<Self, DeviceError> {
        let id = format!("opencl:{index}");
        let missing = |why: String| DeviceError::Unsupported { device: id.clone(), why };
        let table = load(library).map_err(missing)?;
        let found = handles(&table).map_err(missing)?;
        let device = *found.get(index).ok_or_else(|| missing(format!("there are {} OpenCL devices", found.len())))?;
        let info = describe(&table, device, index);
        let failed = |doing: &str, code| DeviceError::Driver { device: id.clone(), doing: doing.into(), said: named(code) };
        let mut code = 0;
        // SAFETY: one device, no properties, no callback.
        let context = unsafe { (table.context)(null(), 1, &raw const device, null(), null_mut(), &raw mut code) };
        if code != 0 {
            return Err(failed("making a context", code));
        }
        // SAFETY: the context and the device belong together.
        let queue = unsafe { (table.queue)(context, device, 0, &raw mut code) };
        if code != 0 {
            // SAFETY: the context was made above and is used by nobody.
            unsafe { (table.release_context)(context) };
            return Err(failed("making a queue", code));
        }
        Ok(Self { info, device, built: RefCell::default(), driver: Rc::new(Driver { table, context, queue }) })
    }

    fn check(&self, code: i32, doing: impl FnOnce() -> String) -> Result<(), DeviceError> {
        if code == 0 { Ok(()) } else { Err(DeviceError::Driver { device: self.info.id(), doing: doing(), said: named(code) }) }
    }

    fn compile(&self, launch: &Launch) -> Result<(Handle, Built), DeviceError> {
        let source = source(launch, self.info.warp);
        let key = format!("{}\n{source}", launch.entry);
        if let Some((_, kernel)) = self.built.borrow().get(&key) {
            return Ok((*kernel, Built { cached: true, ..Built::default() }));
        }
        let begun = Instant::now();
        let table = &self.driver.table;
        let (text, length) = (source.as_ptr().cast::<c_char>(), source.len());
        let mut code = 0;
        // SAFETY: one string with its length.
        let program = unsafe { (table.program)(self.driver.context, 1, &raw const text, &raw const length, &raw mut code) };
        self.check(code, || format!("giving the text of {} to the compiler", signature(launch)))?;
        // SAFETY: the program was made above; options are a string that ends.
        let code = unsafe { (table.build)(program, 1, &raw const self.device, c"-cl-std=CL1.2".as_ptr(), null(), null_mut()) };
        if code != 0 {
            let log = self.log(program);
            // SAFETY: the program was made above and is used by nobody.
            unsafe { (table.release_program)(program) };
            return Err(DeviceError::Compile { device: self.info.id(), entry: signature(launch), arch: self.info.arch.clone(), log });
        }
        let name = CString::new(launch.entry).unwrap_or_default();
        let mut code = 0;
        // SAFETY: the program is built; the name ends.
        let kernel = unsafe { (table.kernel)(program, name.as_ptr(), &raw mut code) };
        self.check(code, || format!("finding {} in what was compiled", launch.entry))?;
        self.built.borrow_mut().insert(key, (program, kernel));
        Ok((kernel, Built { took: begun.elapsed(), ..Built::default() }))
    }

    fn log(&self, program: Handle) -> String {
        let mut size = 0;
        /// `CL_PROGRAM_BUILD_LOG`.
        const LOG: u32 = 0x1183;
        // SAFETY: asks for the length alone.
        unsafe { (self.driver.table.build_info)(program, self.device, LOG, 0, null_mut(), &raw mut size) };
        let mut bytes = vec![0_u8; size];
        // SAFETY: the buffer has the size that is given.
        unsafe { (self.driver.table.build_info)(program, self.device, LOG, size, bytes.as_mut_ptr().cast(), null_mut()) };
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').trim().to_owned()
    }

    fn start(&self, launch: &Launch, kernel: Handle, operands: &[(Dtype, &Buffer)]) -> Result<(), DeviceError> {
        let table = &self.driver.table;
        for (index, arg) in launch.args.iter().enumerate() {
            let index = index as u32;
            // SAFETY: each argument is given with its own size, and copied by the call.
            let code = unsafe {
                match arg {
                    Arg::Operand(operand) => {
                        let handle = operands[*operand].1.address as Handle;
                        (table.argument)(kernel, index, size_of::<Handle>(), (&raw const handle).cast())
                    }
                    Arg::I32(value) => (table.argument)(kernel, index, 4, (&raw const *value).cast()),
                    Arg::F32(value) => (table.argument)(kernel, index, 4, (&raw const *value).cast()),
                }
            };
            self.check(code, || format!("giving argument {index} to {}", signature(launch)))?;
        }
        let block = launch.block as usize;
        let (all, one) = ([launch.grid[0] as usize * block, launch.grid[1] as usize, launch.grid[2] as usize], [block, 1, 1]);
        let queue = self.driver.queue;
        // SAFETY: three sizes each; no events.
        let code = unsafe { (table.start)(queue, kernel, 3, null(), all.as_ptr(), one.as_ptr(), 0, null(), null_mut()) };
        self.check(code, || format!("starting {}", signature(launch)))
    }
}

impl Drop for OpenCl {
    fn drop(&mut self) {
        let table = &self.driver.table;
        for (program, kernel) in self.built.borrow_mut().drain().map(|(_, built)| built) {
            // SAFETY: both were made by `compile` and are released once.
            unsafe {
                (table.finish)(self.driver.queue);
                (table.release_kernel)(kernel);
                (table.release_program)(program);
            }
        }
    }
}

impl Device for OpenCl {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn alloc(&self, bytes: usize, what: &str) -> Result<Buffer, DeviceError> {
        let mut code = 0;
        // SAFETY: no host memory is handed over; 1 is `CL_MEM_READ_WRITE`.
        let handle = unsafe { (self.driver.table.buffer)(self.driver.context, 1, bytes.max(1), null_mut(), &raw mut code) };
        if matches!(code, -4 | -6 | -61) {
            return Err(DeviceError::OutOfMemory { device: self.info.id(), what: what.into(), bytes });
        }
        self.check(code, || format!("allocating {bytes} bytes of {what}"))?;
        Ok(Buffer::new(handle as u64, bytes, self.driver.clone()))
    }

    fn upload(&self, to: &Buffer, at: usize, from: &[u8]) -> Result<(), DeviceError> {
        let (table, queue) = (&self.driver.table, self.driver.queue);
        // SAFETY: blocking, of the slice's own length.
        let code = unsafe { (table.write)(queue, to.address as Handle, 1, at, from.len(), from.as_ptr().cast(), 0, null(), null_mut()) };
        self.check(code, || format!("copying {} bytes to the device", from.len()))
    }

    fn download(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<(), DeviceError> {
        let (table, queue) = (&self.driver.table, self.driver.queue);
        // SAFETY: blocking, of the slice's own length.
        let code = unsafe { (table.read)(queue, from.address as Handle, 1, at, to.len(), to.as_mut_ptr().cast(), 0, null(), null_mut()) };
        self.check(code, || format!("copying {} bytes from the device", to.len()))
    }

    fn poison(&self, buffer: &Buffer) -> Result<(), DeviceError> {
        let byte = 0xFF_u8;
        let (table, queue) = (&self.driver.table, self.driver.queue);
        // SAFETY: the pattern is one byte, copied by the call.
        let code =
            unsafe { (table.fill)(queue, buffer.address as Handle, (&raw const byte).cast(), 1, 0, buffer.bytes, 0, null(), null_mut()) };
        self.check(code, || format!("poisoning {} bytes", buffer.bytes))
    }

    fn prepare(&self, step: &Step) -> Result<Ready, DeviceError> {
        match step {
            Step::Launch(launch) => {
                let (kernel, built) = self.compile(launch)?;
                Ok(Ready { step: step.clone(), handle: kernel as u64, built })
            }
            Step::Copy { .. } => Ok(Ready { step: step.clone(), handle: 0, built: Built::default() }),
            _ => Err(DeviceError::Unsupported { device: self.info.id(), why: "OpenCL runs portable kernel text and its own copy".into() }),
        }
    }

    fn enqueue(&self, ready: &Ready, operands: &[(Dtype, &Buffer)]) -> Result<(), DeviceError> {
        let (table, queue) = (&self.driver.table, self.driver.queue);
        match &ready.step {
            Step::Launch(launch) => self.start(launch, ready.handle as Handle, operands)?,
            Step::Copy { from, to } => {
                let (from, to) = (operands[*from].1, operands[*to].1);
                let bytes = from.bytes.min(to.bytes);
                // SAFETY: both buffers have at least this size.
                let code = unsafe { (table.copy)(queue, from.address as Handle, to.address as Handle, 0, 0, bytes, 0, null(), null_mut()) };
                self.check(code, || format!("copying {bytes} bytes on the device"))?;
            }
            _ => return Err(DeviceError::Unsupported { device: self.info.id(), why: "the step was prepared for another device".into() }),
        }
        // SAFETY: the queue lives as long as the device.
        let code = unsafe { (table.flush)(queue) };
        self.check(code, || "handing steps to the device".into())
    }

    fn mark(&self) -> Result<Mark, DeviceError> {
        self.sync()?;
        Ok(Mark(Box::new(Instant::now())))
    }

    fn between(&self, from: &Mark, to: &Mark) -> Result<Duration, DeviceError> {
        match (from.0.downcast_ref::<Instant>(), to.0.downcast_ref::<Instant>()) {
            (Some(from), Some(to)) => Ok(*to - *from),
            _ => Err(DeviceError::Unsupported { device: self.info.id(), why: "the marks belong to another device".into() }),
        }
    }

    fn sync(&self) -> Result<(), DeviceError> {
        // SAFETY: the queue lives as long as the device.
        let code = unsafe { (self.driver.table.finish)(self.driver.queue) };
        self.check(code, || "waiting for the device".into())
    }
}
