//! A device that runs steps: what it is, memory on it, and time by its own clock.
//!
//! Not here: which kernels there are, what is right, what is fast.

mod blaslt;
pub mod cache;
pub mod cpu;
pub mod driver;
pub mod find;
pub mod gpu;
mod library;
pub mod opencl;
pub mod rtc;

use crate::dims::Dtype;
use crate::kernel::{Launch, Step};
use std::rc::Rc;
use std::time::Duration;

const HAL: &str = include_str!("text/hal.h");

/// Through what a device is driven.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Api {
    /// Native functions of this program.
    Cpu,
    /// NVIDIA's driver and NVRTC.
    Cuda,
    /// AMD's runtime and hipRTC.
    Hip,
    /// Anybody's OpenCL.
    OpenCl,
}

impl Api {
    /// Its name in device names (`cuda:0`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Hip => "hip",
            Self::OpenCl => "opencl",
        }
    }
}

/// What a device says of itself.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceInfo {
    /// Through what it is driven.
    pub api: Api,
    /// Which of that API's devices.
    pub index: usize,
    /// Its own name.
    pub name: String,
    /// The architecture kernels are compiled for: `sm_90`, `gfx942`, `x86-64`. Decides which variants fit.
    pub arch: String,
    /// CUDA's compute capability ×10 (90 for `sm_90`); 0 elsewhere.
    pub compute: u32,
    /// Multiprocessors, compute units, or threads used.
    pub units: u32,
    /// Threads that run in step: 32, 64, or 1 on a CPU.
    pub warp: u32,
    /// The last cache before memory, bytes.
    pub cache: usize,
    /// Memory, bytes.
    pub memory: usize,
    /// Dynamic shared memory a block can have, bytes.
    pub shared: usize,
    /// Version of the driver, as it says it.
    pub driver: String,
    /// What compiles kernels, with its version.
    pub compiler: String,
}

impl DeviceInfo {
    /// Its name on the command line.
    pub fn id(&self) -> String {
        if self.api == Api::Cpu { "cpu".into() } else { format!("{}:{}", self.api.name(), self.index) }
    }
}

/// Why a device did not do what it was told.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device has less memory left than was asked for.
    #[error("{device}: no room for {bytes} bytes of `{what}`; choose smaller shapes (--quick) or free the device's memory")]
    OutOfMemory {
        /// Which device.
        device: String,
        /// For what.
        what: String,
        /// How much.
        bytes: usize,
    },
    /// Kernel text was refused.
    #[error("{device}: compiling `{entry}` for {arch} failed: {log}")]
    Compile {
        /// Which device.
        device: String,
        /// The function.
        entry: String,
        /// For what.
        arch: String,
        /// What the compiler said, in full.
        log: String,
    },
    /// A call of the driver failed.
    #[error("{device}: {doing} failed: {said}")]
    Driver {
        /// Which device.
        device: String,
        /// What was being done to which thing.
        doing: String,
        /// What the driver said, with its number.
        said: String,
    },
    /// The device cannot do this at all.
    #[error("{device}: {why}")]
    Unsupported {
        /// Which device.
        device: String,
        /// What is missing.
        why: String,
    },
}

/// Gives memory back.
pub trait Free {
    /// Frees what was allocated at this address.
    fn free(&self, address: u64);
}

/// Memory on a device. Freed on drop.
pub struct Buffer {
    /// Where, in the device's own addresses (or the handle of an OpenCL object).
    pub address: u64,
    /// How much.
    pub bytes: usize,
    owner: Rc<dyn Free>,
}

impl Buffer {
    /// Memory at an address, to be given back to `owner`.
    pub fn new(address: u64, bytes: usize, owner: Rc<dyn Free>) -> Self {
        Self { address, bytes, owner }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.owner.free(self.address);
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("address", &self.address).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// What compiling told.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Built {
    /// How long the compiler took; zero when it came from the cache.
    pub took: Duration,
    /// Whether it came from the cache on disk.
    pub cached: bool,
    /// Registers of a thread, where the driver tells.
    pub registers: Option<u32>,
    /// Bytes of a thread that did not fit into registers, where the driver tells.
    pub spilled: Option<u32>,
    /// What a user should know of it: that a file of the cache was damaged, and is made anew.
    pub note: Option<String>,
}

/// A step made ready: compiled, loaded, checked against the device's limits.
#[derive(Clone, Debug)]
pub struct Ready {
    /// What is to be done.
    pub step: Step,
    /// The device's handle of the function, zero where there is none.
    pub handle: u64,
    /// What compiling told.
    pub built: Built,
}

/// A point in the device's queue, to be timed.
#[derive(Debug)]
pub struct Mark(pub Box<dyn std::any::Any>);

/// One device. Steps run in the order in which they were enqueued. Used from one thread.
pub trait Device {
    /// What it is.
    fn info(&self) -> &DeviceInfo;

    /// Room for `bytes` bytes, of undefined content.
    fn alloc(&self, bytes: usize, what: &str) -> Result<Buffer, DeviceError>;

    /// Copies host memory to `at` bytes into a buffer. Returns when done.
    fn upload(&self, to: &Buffer, at: usize, from: &[u8]) -> Result<(), DeviceError>;

    /// Copies from `at` bytes into a buffer to host memory, after everything enqueued before.
    fn download(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<(), DeviceError>;

    /// Sets every byte of a buffer to 0xFF, in order with steps.
    fn poison(&self, buffer: &Buffer) -> Result<(), DeviceError>;

    /// Compiles and loads what a step needs, or says why the device cannot do it.
    fn prepare(&self, step: &Step) -> Result<Ready, DeviceError>;

    /// Enqueues a step on the buffers of a problem, in the order of its operands, each with how its elements are stored.
    fn enqueue(&self, ready: &Ready, operands: &[(Dtype, &Buffer)]) -> Result<(), DeviceError>;

    /// Marks this point of the queue.
    fn mark(&self) -> Result<Mark, DeviceError>;

    /// Time between two marks by the device's clock; waits for the second.
    fn between(&self, from: &Mark, to: &Mark) -> Result<Duration, DeviceError>;

    /// Processor time that this program's threads spent between two marks, where the device is the host's processor.
    fn cpu_between(&self, _from: &Mark, _to: &Mark) -> Option<Duration> {
        None
    }

    /// Waits until everything enqueued is done, and tells what failed meanwhile.
    fn sync(&self) -> Result<(), DeviceError>;
}

/// The words of a launch that decide what is compiled: for messages and for the cache's key.
pub fn signature(launch: &Launch) -> String {
    let defines: Vec<String> = launch.defines.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}({})", launch.entry, defines.join(","))
}

/// What a compiler gets for a launch: the width of a warp, its defines, the words of `hal.h`, its text.
pub fn source(launch: &Launch, warp: u32) -> String {
    let mut source = format!("#define WARP {warp}\n");
    for (name, value) in &launch.defines {
        source.extend(["#define ", name, " ", &value.to_string(), "\n"]);
    }
    source + HAL + launch.text
}
