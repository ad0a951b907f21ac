//! A GPU through its vendor's driver: one host path for both dialects.

use super::blaslt::BlasLt;
use super::cache::{Cache, Kept};
use super::driver::{Address, Driver, Handle};
use super::rtc::Compiler;
use super::{Api, Buffer, Built, Device, DeviceError, DeviceInfo, Free, Mark, Ready, signature, source};
use crate::dims::Dtype;
use crate::kernel::{Arg, Launch, Step};
use crate::plugin;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::ffi::{CString, c_int, c_void};
use std::ptr::null_mut;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const MAX_DYNAMIC_SHARED: c_int = 8;
/// What a function may have of shared memory without asking: what its text declares and what it gets at its start, together.
const SHARED_WITHOUT_ASKING: u32 = 48 << 10;
/// Blocks along the second and third axis at most, on both vendors' devices.
const BLOCKS: u32 = 65535;

/// A device's context and queue. Memory keeps it: nothing outlives what it lives in.
struct Context {
    driver: Rc<Driver>,
    number: c_int,
    handle: Handle,
    stream: Handle,
}

impl Context {
    /// Makes this context the thread's: another device's may have been in between.
    fn enter(&self) -> c_int {
        // SAFETY: the context is held until drop.
        unsafe { (self.driver.enter)(self.handle) }
    }
}

impl Free for Context {
    fn free(&self, address: u64) {
        self.enter();
        // SAFETY: allocated in this context, freed once, by the buffer that owned it. The driver waits for steps that use it.
        unsafe { (self.driver.free)(address) };
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.enter();
        // SAFETY: made by `open`; every buffer is gone, because buffers keep the context.
        unsafe {
            (self.driver.end_stream)(self.stream);
            (self.driver.release)(self.number);
        }
    }
}

/// A mark in the queue.
struct Event {
    context: Rc<Context>,
    handle: Handle,
}

impl Drop for Event {
    fn drop(&mut self) {
        self.context.enter();
        // SAFETY: made by `mark`, ended once.
        unsafe { (self.context.driver.end_event)(self.handle) };
    }
}

/// Host memory for copies to and from the device.
struct HostMemory {
    at: Handle,
    pinned: Option<Rc<Context>>,
    /// Ordinary memory lives here.
    _ordinary: Vec<u8>,
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        if let Some(context) = &self.pinned {
            context.enter();
            // SAFETY: allocated page-locked in this context, freed once.
            unsafe { (context.driver.free_host)(self.at) };
        }
    }
}

/// A loaded function with the module it is in.
#[derive(Clone)]
struct Loaded {
    module: Handle,
    function: Handle,
    /// Threads of a block at most, by its registers and bounds.
    block: Option<u32>,
    /// Shared memory that its text declares, bytes.
    declared: u32,
    built: Built,
}

/// One GPU.
pub struct Gpu {
    info: DeviceInfo,
    compiler: Result<Rc<Compiler>, String>,
    cache: Cache,
    loaded: RefCell<HashMap<String, Loaded>>,
    /// Dynamic shared memory that functions were given leave for: one text may be started with several sizes.
    raised: RefCell<HashMap<u64, u32>>,
    /// Threads of a block at most.
    threads: u32,
    /// Version of the API that the driver speaks, as it counts.
    speaks: c_int,
    host: RefCell<HashMap<(usize, bool), HostMemory>>,
    blas: OnceCell<Result<BlasLt, String>>,
    /// What was started last: a fault shows only when somebody waits.
    last: RefCell<String>,
    context: Rc<Context>,
}

/// What a driver says of one of its devices.
///
/// # Errors
/// What was being asked, and what the driver said.
pub fn describe(driver: &Driver, number: usize, compiler: &str) -> Result<DeviceInfo, String> {
    let check = |code: c_int, doing: &str| if code == 0 { Ok(()) } else { Err(format!("{doing} failed: {}", driver.said(code))) };
    let (mut device, mut memory, mut version) = (0, 0_usize, 0);
    let mut name = [0_u8; 256];
    // SAFETY: places for one number each; the name's array has the size that is given.
    unsafe {
        check((driver.device)(&raw mut device, number as c_int), "finding the device")?;
        check((driver.name)(name.as_mut_ptr().cast(), name.len() as c_int, device), "asking for its name")?;
        check((driver.memory)(&raw mut memory, device), "asking for its memory")?;
        check((driver.version)(&raw mut version), "asking for the driver's version")?;
    }
    let attribute = |which: c_int| {
        let mut value = 0;
        // SAFETY: a place for one number. What the driver does not know stays zero.
        unsafe { (driver.attribute)(&raw mut value, which, device) };
        value
    };
    let n = &driver.numbers;
    let compute = if driver.api == Api::Cuda { attribute(n.major) * 10 + attribute(n.minor) } else { 0 } as u32;
    let arch = if driver.api == Api::Cuda { format!("sm_{compute}") } else { driver.gfx(device).unwrap_or_else(|| "gfx unknown".into()) };
    let spoken =
        if driver.api == Api::Cuda { format!("CUDA {}.{}", version / 1000, version % 1000 / 10) } else { format!("HIP {version}") };
    Ok(DeviceInfo {
        api: driver.api,
        index: number,
        name: String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned(),
        arch,
        compute,
        units: attribute(n.units) as u32,
        warp: attribute(n.warp).max(1) as u32,
        cache: attribute(n.cache) as usize,
        memory,
        shared: attribute(n.shared) as usize,
        driver: format!("driver of {spoken}"),
        compiler: compiler.into(),
    })
}

impl Gpu {
    /// Opens a device of a driver that was initialised.
    ///
    /// # Errors
    /// When the driver gives no context.
    pub fn open(driver: Rc<Driver>, number: usize, compiler: Result<Rc<Compiler>, String>, cache: Cache) -> Result<Self, DeviceError> {
        let name = compiler.as_ref().map_or_else(|_| "none".to_owned(), |compiler| compiler.name());
        let id = format!("{}:{number}", driver.api.name());
        let info = describe(&driver, number, &name).map_err(|why| DeviceError::Unsupported { device: id.clone(), why })?;
        let failed = |doing: &str, code| DeviceError::Driver { device: id.clone(), doing: doing.into(), said: driver.said(code) };
        let (mut device, mut handle, mut stream) = (0, null_mut(), null_mut());
        let (mut threads, mut speaks) = (0, 0);
        // SAFETY: places for one handle each; the driver was initialised before it counted its devices.
        unsafe {
            let code = (driver.device)(&raw mut device, number as c_int);
            if code != 0 {
                return Err(failed("finding the device", code));
            }
            let code = (driver.retain)(&raw mut handle, device);
            if code != 0 {
                return Err(failed("taking its context", code));
            }
            let code = (driver.enter)(handle);
            // 1: a stream that does not wait for the default one.
            let code = if code == 0 { (driver.stream)(&raw mut stream, 1) } else { code };
            if code != 0 {
                (driver.release)(device);
                return Err(failed("making a queue", code));
            }
            // A driver that does not tell leaves zero.
            (driver.attribute)(&raw mut threads, driver.numbers.threads, device);
            (driver.version)(&raw mut speaks);
        }
        let context = Rc::new(Context { driver, number: device, handle, stream });
        Ok(Self {
            info,
            compiler,
            cache,
            loaded: RefCell::default(),
            raised: RefCell::default(),
            threads: if threads > 0 { threads as u32 } else { 1024 },
            speaks,
            host: RefCell::default(),
            blas: OnceCell::new(),
            last: RefCell::default(),
            context,
        })
    }

    fn driver(&self) -> &Driver {
        &self.context.driver
    }

    fn check(&self, code: c_int, doing: impl FnOnce() -> String) -> Result<(), DeviceError> {
        if code == 0 {
            return Ok(());
        }
        Err(DeviceError::Driver { device: self.info.id(), doing: doing(), said: self.driver().said(code) })
    }

    fn enter(&self) -> Result<(), DeviceError> {
        self.check(self.context.enter(), || "entering its context".into())
    }

    fn unsupported(&self, why: impl Into<String>) -> DeviceError {
        DeviceError::Unsupported { device: self.info.id(), why: why.into() }
    }

    /// Compiled, loaded, and its limits raised; from memory or from disk where it was before.
    fn load(&self, launch: &Launch) -> Result<Loaded, DeviceError> {
        let warp = self.info.warp;
        let text = source(launch, warp);
        let compiler = self.compiler.as_ref().map_err(|why| self.unsupported(format!("kernel text cannot be compiled: {why}")))?;
        let (target, own) = compiler.target(self.info.compute, &self.info.arch).map_err(|why| self.unsupported(why))?;
        let key = Cache::key(&[&text, launch.entry, &target, &compiler.name(), &compiler.options(&target).join(" ")]);
        if let Some(loaded) = self.loaded.borrow().get(&key) {
            return Ok(Loaded { built: Built { took: Duration::ZERO, note: None, ..loaded.built.clone() }, ..loaded.clone() });
        }
        let begun = Instant::now();
        let kept = self.cache.get(&key);
        let note = match &kept {
            Kept::Damaged(file) => Some(format!("{} was not what had been kept there; it is compiled anew", file.display())),
            Kept::Code(_) | Kept::Nothing => None,
        };
        let (code, cached) = match kept {
            Kept::Code(code) => (code, true),
            Kept::Nothing | Kept::Damaged(_) => {
                let code = compiler.compile(launch, warp, &target, own).map_err(|log| DeviceError::Compile {
                    device: self.info.id(),
                    entry: signature(launch),
                    arch: target.clone(),
                    log,
                })?;
                self.cache.put(&key, &code);
                (code, false)
            }
        };
        let took = if cached { Duration::ZERO } else { begun.elapsed() };
        let mut loaded = self.module(launch, &code, &target, compiler)?;
        loaded.built = Built { took, cached, note, ..loaded.built };
        self.loaded.borrow_mut().insert(key, loaded.clone());
        Ok(loaded)
    }

    fn module(&self, launch: &Launch, code: &[u8], target: &str, compiler: &Compiler) -> Result<Loaded, DeviceError> {
        self.enter()?;
        let driver = self.driver();
        let mut module = null_mut();
        // Texts end with a zero; code of the device says its own length, and one more byte harms neither.
        let code = [code, &[0]].concat();
        // SAFETY: the code is whole and lives through the call.
        let result = unsafe { (driver.module)(&raw mut module, code.as_ptr().cast()) };
        self.check(result, || {
            let made = format!("loading {} compiled for {target} by {} under {}", signature(launch), compiler.name(), self.info.driver);
            if self.is_older_than(compiler) {
                made + " (older than the compiler: update the driver, or give an older compiler with --rtc)"
            } else {
                made
            }
        })?;
        self.function(launch, module).inspect_err(|_| {
            // SAFETY: loaded above, and of no use without its function.
            unsafe { (driver.unload)(module) };
        })
    }

    /// A launch's function in a loaded module, its limits raised.
    fn function(&self, launch: &Launch, module: Handle) -> Result<Loaded, DeviceError> {
        let driver = self.driver();
        let mut function = null_mut();
        let name = CString::new(launch.entry).unwrap_or_default();
        // SAFETY: the module is loaded; the name ends.
        let result = unsafe { (driver.function)(&raw mut function, module, name.as_ptr()) };
        self.check(result, || format!("finding {} in what was compiled", launch.entry))?;
        let attribute = |which: c_int| {
            let mut value = 0;
            // SAFETY: a place for one number; the function lives as long as its module.
            (unsafe { (driver.function_attribute)(&raw mut value, which, function) } == 0).then_some(value as u32)
        };
        let built = Built { registers: attribute(driver.numbers.registers), spilled: attribute(driver.numbers.local), ..Built::default() };
        let (block, declared) = (attribute(driver.numbers.block), attribute(driver.numbers.static_shared).unwrap_or_default());
        Ok(Loaded { module, function, block: block.filter(|block| *block > 0), declared, built })
    }

    /// Whether the compiler speaks a newer CUDA than the driver. AMD's versions are not comparable.
    fn is_older_than(&self, compiler: &Compiler) -> bool {
        let (major, minor) = compiler.version();
        self.info.api == Api::Cuda && major * 1000 + minor * 10 > self.speaks
    }

    /// Checks what only the compiled function knows, and gives it leave for its dynamic shared memory.
    fn allow(&self, launch: &Launch, loaded: &Loaded) -> Result<(), DeviceError> {
        if let Some(block) = loaded.block.filter(|block| launch.block > *block) {
            let registers =
                loaded.built.registers.map_or_else(String::new, |registers| format!(" with its {registers} registers a thread"));
            return Err(self.unsupported(format!(
                "{} asks for {} threads, and can have {block}{registers}",
                signature(launch),
                launch.block
            )));
        }
        self.limits(launch, loaded.declared)?;
        let Some(raise) = self.driver().raise_shared.filter(|_| launch.shared + loaded.declared > SHARED_WITHOUT_ASKING) else {
            return Ok(());
        };
        let function = loaded.function as u64;
        if self.raised.borrow().get(&function).is_some_and(|raised| *raised >= launch.shared) {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: the function lives as long as its module, which goes with the device.
        let code = unsafe { raise(loaded.function, MAX_DYNAMIC_SHARED, launch.shared as c_int) };
        self.check(code, || format!("giving {} {} bytes of shared memory", signature(launch), launch.shared))?;
        self.raised.borrow_mut().insert(function, launch.shared);
        Ok(())
    }

    fn start(&self, launch: &Launch, function: Handle, operands: &[(Dtype, &Buffer)]) -> Result<(), DeviceError> {
        /// One argument where the driver reads it.
        union Slot {
            address: Address,
            int: i32,
            float: f32,
        }
        let mut slots: Vec<Slot> = launch
            .args
            .iter()
            .map(|arg| match arg {
                Arg::Operand(index) => Slot { address: operands[*index].1.address },
                Arg::I32(value) => Slot { int: *value },
                Arg::F32(value) => Slot { float: *value },
            })
            .collect();
        let mut pointers: Vec<*mut c_void> = slots.iter_mut().map(|slot| (&raw mut *slot).cast()).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: the function's arguments are as many and of the types that its family gives; the driver copies them in the call.
        let code = unsafe {
            (self.driver().launch)(
                function,
                x,
                y,
                z,
                launch.block,
                1,
                1,
                launch.shared,
                self.context.stream,
                pointers.as_mut_ptr(),
                null_mut(),
            )
        };
        self.check(code, || format!("starting {}", signature(launch)))
    }

    /// Host memory of a size; the same for all steps, so that what is copied out can be copied in again.
    fn host(&self, bytes: usize, pinned: bool) -> Result<Handle, DeviceError> {
        if let Some(memory) = self.host.borrow().get(&(bytes, pinned)) {
            return Ok(memory.at);
        }
        let memory = if pinned {
            let mut at = null_mut();
            // SAFETY: a place for one address.
            let code = unsafe { (self.driver().alloc_host)(&raw mut at, bytes) };
            self.check(code, || format!("page-locking {bytes} bytes of the host's memory"))?;
            // SAFETY: the memory was given with this size.
            unsafe { at.cast::<u8>().write_bytes(0, bytes) };
            HostMemory { at, pinned: Some(self.context.clone()), _ordinary: vec![] }
        } else {
            let mut ordinary = vec![1_u8; bytes];
            HostMemory { at: ordinary.as_mut_ptr().cast(), pinned: None, _ordinary: ordinary }
        };
        let at = memory.at;
        self.host.borrow_mut().insert((bytes, pinned), memory);
        Ok(at)
    }

    fn blas(&self) -> Result<&BlasLt, DeviceError> {
        let blas = self.blas.get_or_init(|| BlasLt::open(self.info.api));
        blas.as_ref().map_err(|why| self.unsupported(why.clone()))
    }

    /// Checks what the device has against what a start asks for and its text declares.
    fn limits(&self, launch: &Launch, declared: u32) -> Result<(), DeviceError> {
        let shared = launch.shared as usize + declared as usize;
        if shared > self.info.shared {
            let why = format!("{} needs {shared} bytes of shared memory, a block has {}", signature(launch), self.info.shared);
            return Err(self.unsupported(why));
        }
        let [x, y, z] = launch.grid;
        if launch.block == 0 || launch.block > self.threads {
            let why = format!("{} asks for {} threads of a block, which has 1 to {}", signature(launch), launch.block, self.threads);
            return Err(self.unsupported(why));
        }
        if x == 0 || y == 0 || z == 0 || y > BLOCKS || z > BLOCKS {
            let why = format!("{} asks for {x}, {y} and {z} blocks; none may be 0, the last two at most {BLOCKS}", signature(launch));
            return Err(self.unsupported(why));
        }
        Ok(())
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.context.enter();
        // SAFETY: steps may still run in the functions that go now.
        unsafe { (self.driver().wait)(self.context.stream) };
        for loaded in self.loaded.borrow_mut().drain().map(|(_, loaded)| loaded) {
            // SAFETY: loaded by `module`, unloaded once.
            unsafe { (self.context.driver.unload)(loaded.module) };
        }
    }
}

impl Device for Gpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn alloc(&self, bytes: usize, what: &str) -> Result<Buffer, DeviceError> {
        self.enter()?;
        let mut address = 0;
        // SAFETY: a place for one address.
        let code = unsafe { (self.driver().alloc)(&raw mut address, bytes.max(1)) };
        if code == self.driver().numbers.out_of_memory {
            return Err(DeviceError::OutOfMemory { device: self.info.id(), what: what.into(), bytes });
        }
        self.check(code, || format!("allocating {bytes} bytes of {what}"))?;
        Ok(Buffer::new(address, bytes, self.context.clone()))
    }

    fn upload(&self, to: &Buffer, at: usize, from: &[u8]) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the slice lives until the wait below; the caller stays within the buffer.
        let code = unsafe { (self.driver().upload)(to.address + at as u64, from.as_ptr().cast(), from.len(), self.context.stream) };
        self.check(code, || format!("copying {} bytes to the device", from.len()))?;
        self.sync()
    }

    fn download(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the slice lives until the wait below; the caller stays within the buffer.
        let code = unsafe { (self.driver().download)(to.as_mut_ptr().cast(), from.address + at as u64, to.len(), self.context.stream) };
        self.check(code, || format!("copying {} bytes from the device", to.len()))?;
        self.sync()
    }

    fn poison(&self, buffer: &Buffer) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the buffer has this size.
        let code = unsafe { (self.driver().set)(buffer.address, 0xFF, buffer.bytes, self.context.stream) };
        self.check(code, || format!("poisoning {} bytes", buffer.bytes))
    }

    fn prepare(&self, step: &Step) -> Result<Ready, DeviceError> {
        let ready = |handle: Handle, built| Ready { step: step.clone(), handle: handle as u64, built };
        match step {
            Step::Launch(launch) => {
                self.limits(launch, 0)?;
                let loaded = self.load(launch)?;
                self.allow(launch, &loaded)?;
                Ok(ready(loaded.function, loaded.built))
            }
            Step::VendorGemm { m, n, k, .. } => {
                self.enter()?;
                let plan = self.blas()?.plan(*m, *n, *k).map_err(|why| self.unsupported(why))?;
                Ok(Ready { step: step.clone(), handle: plan as u64, built: Built::default() })
            }
            Step::HostCopy { .. } | Step::Copy { .. } | Step::Plugin { .. } => Ok(ready(null_mut(), Built::default())),
            Step::Native { .. } => Err(self.unsupported("native functions run on the CPU")),
        }
    }

    fn enqueue(&self, ready: &Ready, operands: &[(Dtype, &Buffer)]) -> Result<(), DeviceError> {
        self.enter()?;
        let (driver, stream) = (self.driver(), self.context.stream);
        match &ready.step {
            Step::Launch(launch) => {
                launch.entry.clone_into(&mut self.last.borrow_mut());
                self.start(launch, ready.handle as Handle, operands)
            }
            Step::VendorGemm { operands: [a, b, c], .. } => {
                "the vendor's matrix product".clone_into(&mut self.last.borrow_mut());
                let address = |index: usize| operands[index].1.address;
                let run = self.blas()?.run(ready.handle as usize, address(*a), address(*b), address(*c), stream, self);
                run.map_err(|why| DeviceError::Driver { device: self.info.id(), doing: "the vendor's matrix product".into(), said: why })
            }
            Step::Copy { from, to } => {
                let (from, to) = (operands[*from].1, operands[*to].1);
                let bytes = from.bytes.min(to.bytes);
                // SAFETY: both buffers have at least this size.
                let code = unsafe { (driver.copy)(to.address, from.address, bytes, stream) };
                self.check(code, || format!("copying {bytes} bytes on the device"))
            }
            Step::HostCopy { operand, towards_device, pinned } => {
                let buffer = operands[*operand].1;
                let host = self.host(buffer.bytes, *pinned)?;
                // SAFETY: host memory and buffer have this size, and both outlive the queue: the device keeps the one, the caller the other.
                let code = unsafe {
                    if *towards_device {
                        (driver.upload)(buffer.address, host, buffer.bytes, stream)
                    } else {
                        (driver.download)(host, buffer.address, buffer.bytes, stream)
                    }
                };
                self.check(code, || format!("copying {} bytes between host and device", buffer.bytes))
            }
            Step::Plugin { entry, kernel, dims } => {
                "a plug-in".clone_into(&mut self.last.borrow_mut());
                let given: Vec<_> = operands.iter().map(|(_, buffer)| (buffer.address as *mut c_void, buffer.bytes)).collect();
                plugin::call(*entry, kernel, dims, &self.info.id(), &given, stream, 0).done(&self.info.id(), kernel, dims)
            }
            Step::Native { .. } => Err(self.unsupported("native functions run on the CPU")),
        }
    }

    fn mark(&self) -> Result<Mark, DeviceError> {
        self.enter()?;
        let mut handle = null_mut();
        // SAFETY: a place for one handle.
        let code = unsafe { (self.driver().event)(&raw mut handle, 0) };
        self.check(code, || "making an event".into())?;
        let event = Event { context: self.context.clone(), handle };
        // SAFETY: the event was made above.
        let code = unsafe { (self.driver().record)(handle, self.context.stream) };
        self.check(code, || "putting an event into the queue".into())?;
        Ok(Mark(Box::new(event)))
    }

    fn between(&self, from: &Mark, to: &Mark) -> Result<Duration, DeviceError> {
        let (Some(from), Some(to)) = (from.0.downcast_ref::<Event>(), to.0.downcast_ref::<Event>()) else {
            return Err(self.unsupported("the marks belong to another device"));
        };
        self.enter()?;
        let mut milliseconds = 0.0_f32;
        // SAFETY: both events live; a place for one number.
        unsafe {
            let code = (self.driver().wait_event)(to.handle);
            self.check(code, || format!("waiting for {}", self.last.borrow()))?;
            let code = (self.driver().elapsed)(&raw mut milliseconds, from.handle, to.handle);
            self.check(code, || "taking the time between two events".into())?;
        }
        Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
    }

    fn sync(&self) -> Result<(), DeviceError> {
        self.enter()?;
        // SAFETY: the stream lives as long as the device.
        let code = unsafe { (self.driver().wait)(self.context.stream) };
        self.check(code, || format!("waiting for the device, whose last step was {}", self.last.borrow()))
    }
}
