//! The host's processor as a device: native functions over memory of this process.

use super::{Api, Buffer, Built, Device, DeviceError, DeviceInfo, Free, Mark, Ready};
use crate::dims::Dtype;
use crate::host::Host;
use crate::kernel::Step;
use crate::plugin;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The host's processor with a pool of threads, one pinned to each core.
pub struct Cpu {
    info: DeviceInfo,
    pool: ThreadPool,
    memory: Rc<Memory>,
}

/// Operands by number: a number is what a buffer holds for an address.
#[derive(Default)]
struct Memory {
    next: Cell<u64>,
    arrays: RefCell<HashMap<u64, Host>>,
}

impl Free for Memory {
    fn free(&self, address: u64) {
        self.arrays.borrow_mut().remove(&address);
    }
}

/// A moment by the wall and by the processor time of this process.
struct Moment {
    wall: Instant,
    spent: Duration,
}

impl Cpu {
    /// With `threads` threads; zero means one per core that this process may use.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(threads: usize) -> Result<Self, DeviceError> {
        let threads = if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("kernel-{index}")).start_handler(pin).build();
        let pool = pool.map_err(|error| DeviceError::Driver {
            device: "cpu".into(),
            doing: format!("starting {threads} threads"),
            said: error.to_string(),
        })?;
        Ok(Self { info: info(threads), pool, memory: Rc::default() })
    }

    fn step(&self, step: &Step, operands: &mut [Host]) -> Result<(), DeviceError> {
        match step {
            Step::Native { run, dims } => {
                run(dims, operands, &self.pool);
                Ok(())
            }
            Step::Plugin { entry, kernel, dims } => {
                let given: Vec<_> =
                    operands.iter_mut().map(Host::bytes_mut).map(|bytes| (bytes.as_mut_ptr().cast(), bytes.len())).collect();
                plugin::call(*entry, kernel, dims, &self.info.id(), &given, std::ptr::null_mut(), self.pool.current_num_threads()).done(
                    &self.info.id(),
                    kernel,
                    dims,
                )
            }
            _ => Err(self.unsupported("only native steps and plug-ins run on the CPU")),
        }
    }

    fn unsupported(&self, why: &str) -> DeviceError {
        DeviceError::Unsupported { device: self.info.id(), why: why.into() }
    }
}

/// Keeps a thread of the pool on one core: a thread that wanders measures the scheduler. A refusal changes nothing but the spread.
fn pin(index: usize) {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the sets are plain data of this function; the calls read and write within their size.
        unsafe {
            let mut allowed: libc::cpu_set_t = std::mem::zeroed();
            if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) != 0 {
                return;
            }
            let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(|core| libc::CPU_ISSET(*core, &allowed)).collect();
            let Some(core) = cores.get(index % cores.len().max(1)) else { return };
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(*core, &mut one);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = index;
}

/// Processor time of all threads of this process.
fn spent() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec of this function.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0;
    if failed { Duration::ZERO } else { Duration::new(time.tv_sec as u64, time.tv_nsec as u32) }
}

impl Device for Cpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn alloc(&self, bytes: usize, what: &str) -> Result<Buffer, DeviceError> {
        if bytes > self.info.memory && self.info.memory > 0 {
            return Err(DeviceError::OutOfMemory { device: self.info.id(), what: what.into(), bytes });
        }
        let address = self.memory.next.get() + 1;
        self.memory.next.set(address);
        // The type is set when a step says how it reads the array.
        self.memory.arrays.borrow_mut().insert(address, Host::new(Dtype::F32, bytes.div_ceil(4)));
        Ok(Buffer::new(address, bytes, self.memory.clone()))
    }

    fn upload(&self, to: &Buffer, at: usize, from: &[u8]) -> Result<(), DeviceError> {
        let mut arrays = self.memory.arrays.borrow_mut();
        let array = arrays.get_mut(&to.address).ok_or_else(|| self.unsupported("the buffer belongs to another device"))?;
        array.bytes_mut()[at..at + from.len()].copy_from_slice(from);
        Ok(())
    }

    fn download(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<(), DeviceError> {
        let arrays = self.memory.arrays.borrow();
        let array = arrays.get(&from.address).ok_or_else(|| self.unsupported("the buffer belongs to another device"))?;
        to.copy_from_slice(&array.bytes()[at..at + to.len()]);
        Ok(())
    }

    fn poison(&self, buffer: &Buffer) -> Result<(), DeviceError> {
        let mut arrays = self.memory.arrays.borrow_mut();
        let array = arrays.get_mut(&buffer.address).ok_or_else(|| self.unsupported("the buffer belongs to another device"))?;
        array.bytes_mut().fill(0xFF);
        Ok(())
    }

    fn prepare(&self, step: &Step) -> Result<Ready, DeviceError> {
        match step {
            Step::Native { .. } | Step::Plugin { .. } => Ok(Ready { step: step.clone(), handle: 0, built: Built::default() }),
            _ => Err(self.unsupported("kernel text and driver copies are for GPUs; the CPU runs native variants")),
        }
    }

    fn enqueue(&self, ready: &Ready, operands: &[(Dtype, &Buffer)]) -> Result<(), DeviceError> {
        // Taken out for the call: a step has its operands for itself.
        let mut taken = Vec::with_capacity(operands.len());
        for (dtype, buffer) in operands {
            let array = self.memory.arrays.borrow_mut().remove(&buffer.address);
            let mut array = array.ok_or_else(|| self.unsupported("an operand is given twice, or belongs to another device"))?;
            array.view_as(*dtype, buffer.bytes);
            taken.push(array);
        }
        let done = self.step(&ready.step, &mut taken);
        let mut arrays = self.memory.arrays.borrow_mut();
        arrays.extend(operands.iter().zip(taken).map(|((_, buffer), array)| (buffer.address, array)));
        done
    }

    fn mark(&self) -> Result<Mark, DeviceError> {
        Ok(Mark(Box::new(Moment { wall: Instant::now(), spent: spent() })))
    }

    fn between(&self, from: &Mark, to: &Mark) -> Result<Duration, DeviceError> {
        let (from, to) = moments(from, to).ok_or_else(|| self.unsupported("the marks belong to another device"))?;
        Ok(to.wall - from.wall)
    }

    fn cpu_between(&self, from: &Mark, to: &Mark) -> Option<Duration> {
        moments(from, to).map(|(from, to)| to.spent.saturating_sub(from.spent))
    }

    fn sync(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

fn moments<'a>(from: &'a Mark, to: &'a Mark) -> Option<(&'a Moment, &'a Moment)> {
    Some((from.0.downcast_ref()?, to.0.downcast_ref()?))
}

/// What the host's processor is.
pub fn info(threads: usize) -> DeviceInfo {
    static NAME: OnceLock<(String, usize, usize)> = OnceLock::new();
    let (name, cache, memory) = NAME.get_or_init(|| (model(), last_cache(), memory())).clone();
    DeviceInfo {
        api: Api::Cpu,
        index: 0,
        name,
        arch: std::env::consts::ARCH.into(),
        compute: 0,
        units: threads as u32,
        warp: 1,
        cache,
        memory,
        shared: 0,
        driver: "none".into(),
        compiler: concat!("rustc, nomoat ", env!("CARGO_PKG_VERSION")).into(),
    }
}

fn model() -> String {
    let page = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = page.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split_once(':'));
    named.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// Bytes of the largest cache that the first core sees; 32 MiB where the system does not tell, so that working sets stay beyond it.
fn last_cache() -> usize {
    let sizes = (0..8).filter_map(|index| std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok());
    sizes.filter_map(|text| size(text.trim())).max().unwrap_or(32 << 20)
}

/// `1024K` or `32M` in bytes.
fn size(text: &str) -> Option<usize> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let scale = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok().map(|count| count * scale)
}

fn memory() -> usize {
    let page = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = page.lines().find_map(|line| line.strip_prefix("MemTotal:")).and_then(|rest| rest.trim().strip_suffix("kB"));
    total.and_then(|text| text.trim().parse::<usize>().ok()).map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_caches_are_read() {
        for (text, bytes) in [("32768K", Some(32 << 20)), ("1M", Some(1 << 20)), ("512", Some(512)), ("many", None), ("12X", None)] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }
}
