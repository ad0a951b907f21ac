//! The host: what it is, and how busy it and the harness's own threads are. The only place that asks the operating system.

use nomoat_core::sample::{Sample, SampleSource, names};
use nomoat_core::units::Nanos;
use std::collections::HashMap;
use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System};

/// What the load host is.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HostFacts {
    /// Operating system and its version.
    pub os: String,
    /// Kernel version.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// Logical cores this process may use.
    pub cores: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// One-minute load average now.
    pub load1: f64,
}

impl HostFacts {
    /// Reads them.
    pub fn read() -> Self {
        let mut system = System::new();
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        Self {
            os: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.into()),
            kernel: System::kernel_version().unwrap_or_default(),
            cpu: cpu_model(),
            cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            memory_bytes: system.total_memory(),
            load1: System::load_average().one,
        }
    }
}

/// The model's name. Read directly on Linux: the library walks every core's frequency for it, which costs milliseconds at start.
fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name").and_then(|l| l.split_once(':')).map(|(_, m)| m.trim().to_owned()));
    model.unwrap_or_else(|| {
        let mut system = System::new();
        system.refresh_cpu_all();
        system.cpus().first().map(|c| c.brand().trim().to_owned()).unwrap_or_default()
    })
}

/// The largest resident memory of this process so far, in bytes, where the system tells.
pub fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Reads the host and the harness, reading by reading.
pub(crate) struct HostSampler {
    system: System,
    threads: HashMap<u32, u64>,
    previous: Option<(Nanos, u64)>,
}

impl HostSampler {
    pub fn new() -> Self {
        Self { system: System::new(), threads: HashMap::new(), previous: None }
    }

    /// One reading. Rates come from the second one on.
    pub fn sample(&mut self, at: Nanos) -> Vec<Sample> {
        let mut out = vec![];
        let mut put =
            |source, metric: &str, value: f64| out.push(Sample { at, source, metric: metric.into(), labels: String::new(), value });
        self.system.refresh_cpu_usage();
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        if let Ok(pid) = sysinfo::get_current_pid() {
            self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, ProcessRefreshKind::nothing().with_memory());
            if let Some(process) = self.system.process(pid) {
                put(SampleSource::Harness, names::HARNESS_RSS, process.memory() as f64);
            }
        }
        put(SampleSource::Host, names::HOST_MEMORY, self.system.used_memory() as f64);
        put(SampleSource::Host, names::HOST_LOAD, System::load_average().one);
        let threads = thread_times();
        let total: u64 = threads.iter().map(|t| t.ticks).sum();
        if let Some((before, total_before)) = self.previous {
            let seconds = (at - before).as_secs_f64();
            if seconds > 0.0 {
                let cores = |ticks: u64| ticks as f64 / TICKS_PER_S / seconds;
                put(SampleSource::Host, names::HOST_CPU, f64::from(self.system.global_cpu_usage()) / 100.0);
                put(SampleSource::Harness, names::HARNESS_CPU, cores(total.saturating_sub(total_before)));
                let busiest =
                    threads.iter().filter(|t| t.ours).map(|t| t.ticks.saturating_sub(self.threads.get(&t.id).copied().unwrap_or(0))).max();
                if let Some(busiest) = busiest {
                    put(SampleSource::Harness, names::HARNESS_THREAD, cores(busiest));
                }
            }
        }
        self.previous = Some((at, total));
        self.threads = threads.iter().map(|t| (t.id, t.ticks)).collect();
        out
    }
}

/// `USER_HZ`: fixed at 100 for what /proc shows on every architecture this builds for.
const TICKS_PER_S: f64 = 100.0;

struct ThreadTime {
    id: u32,
    ours: bool,
    ticks: u64,
}

/// CPU time of every thread of this process, in ticks. The harness's own threads are told by their names; an engine's threads in
/// this process do not count as ours. Empty where there is no /proc.
fn thread_times() -> Vec<ThreadTime> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return vec![] };
    tasks
        .filter_map(|task| {
            let task = task.ok()?;
            let id = task.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
            let (name, rest) = (stat.split_once('(')?.1.rsplit_once(')')?.0, stat.rsplit_once(')')?.1);
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
            let ours = ["shard-", "prepare-", "collect"].iter().any(|prefix| name.starts_with(prefix));
            Some(ThreadTime { id, ours, ticks })
        })
        .collect()
}
