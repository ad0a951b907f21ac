//! The host: what it is, and how busy it and the harness's own threads are. The only place that asks the operating system.

mod calls;
mod facts;
mod group;
mod pages;

use group::CpuGroups;
use nomoat_core::sample::{Sample, SampleSource, names};
use nomoat_core::units::Nanos;
use pages::{CpuTimes, cpu_times, interfaces, listed, retransmits, stalled_us};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System};

pub use facts::{HostFacts, Make};

/// How a page is read: its text, or nothing where it is not there.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

fn read_file(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The largest resident memory of this process so far, in bytes, where the system tells.
pub fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Most network interfaces of which readings are kept; a host of many containers has hundreds.
const INTERFACES: usize = 16;

/// Resources whose pressure is read, and what the reading is called.
const PRESSURES: [(&str, &str); 3] =
    [("cpu", names::HOST_CPU_PRESSURE), ("memory", names::HOST_MEMORY_PRESSURE), ("io", names::HOST_IO_PRESSURE)];

/// Reads the host and the harness, reading by reading.
pub(crate) struct HostSampler {
    system: System,
    groups: CpuGroups,
    /// Files that count how often a core was slowed down because it was hot.
    heat: Vec<PathBuf>,
    threads: HashMap<u32, u64>,
    previous: Option<Before>,
}

/// What rates are taken from.
struct Before {
    at: Nanos,
    ticks: u64,
    cpu: CpuTimes,
    stalled: [Option<u64>; PRESSURES.len()],
}

/// The readings of one moment.
struct Readings {
    at: Nanos,
    all: Vec<Sample>,
}

impl Readings {
    fn put(&mut self, source: SampleSource, metric: &str, value: f64) {
        self.of(source, metric, String::new(), value);
    }

    fn of(&mut self, source: SampleSource, metric: &str, labels: String, value: f64) {
        self.all.push(Sample { at: self.at, source, metric: metric.into(), labels, value });
    }
}

impl HostSampler {
    pub fn new() -> Self {
        let cores = read_file(Path::new("/sys/devices/system/cpu/online")).and_then(|list| listed(&list)).unwrap_or_default();
        let heat = cores.into_iter().map(|core| format!("/sys/devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count").into());
        Self {
            system: System::new(),
            groups: CpuGroups::find(&read_file),
            heat: heat.filter(|path: &PathBuf| path.exists()).collect(),
            threads: HashMap::new(),
            previous: None,
        }
    }

    /// One reading. Rates come from the second one on, and are of the time since the one before.
    pub fn sample(&mut self, at: Nanos) -> Vec<Sample> {
        let mut out = Readings { at, all: vec![] };
        self.memory(&mut out);
        self.counters(&mut out);
        let threads = thread_times();
        let now = Before {
            at,
            ticks: threads.iter().map(|t| t.ticks).sum(),
            cpu: cpu_times(&page("/proc/stat").unwrap_or_default()),
            stalled: PRESSURES.map(|(resource, _)| stalled_us(&page(&format!("/proc/pressure/{resource}"))?)),
        };
        if now.cpu.all.is_none() {
            self.system.refresh_cpu_usage();
        }
        if let Some(before) = &self.previous {
            let seconds = (at - before.at).as_secs_f64();
            if seconds > 0.0 {
                self.rates(&mut out, before, &now, seconds);
                let cores = |ticks: u64| ticks as f64 / TICKS_PER_S / seconds;
                out.put(SampleSource::Harness, names::HARNESS_CPU, cores(now.ticks.saturating_sub(before.ticks)));
                let busiest =
                    threads.iter().filter(|t| t.ours).map(|t| t.ticks.saturating_sub(self.threads.get(&t.id).copied().unwrap_or(0))).max();
                if let Some(busiest) = busiest {
                    out.put(SampleSource::Harness, names::HARNESS_THREAD, cores(busiest));
                }
            }
        }
        self.previous = Some(now);
        self.threads = threads.iter().map(|t| (t.id, t.ticks)).collect();
        out.all
    }

    fn memory(&mut self, out: &mut Readings) {
        self.system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        if let Ok(pid) = sysinfo::get_current_pid() {
            self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, ProcessRefreshKind::nothing().with_memory());
            if let Some(process) = self.system.process(pid) {
                out.put(SampleSource::Harness, names::HARNESS_RSS, process.memory() as f64);
            }
        }
        out.put(SampleSource::Host, names::HOST_MEMORY, self.system.used_memory() as f64);
        out.put(SampleSource::Host, names::HOST_LOAD, HostFacts::load1());
    }

    /// What only grows.
    fn counters(&self, out: &mut Readings) {
        if let Some([voluntary, involuntary]) = calls::switches() {
            out.put(SampleSource::Harness, names::HARNESS_VOLUNTARY, voluntary as f64);
            out.put(SampleSource::Harness, names::HARNESS_INVOLUNTARY, involuntary as f64);
        }
        if let Some(periods) = self.groups.throttled_periods(&read_file) {
            out.put(SampleSource::Harness, names::HARNESS_THROTTLED, periods as f64);
        }
        let hot = self.heat.iter().filter_map(|path| read_file(path)?.trim().parse::<u64>().ok());
        if let Some(times) = hot.reduce(|a, b| a + b) {
            out.put(SampleSource::Host, names::HOST_THERMAL, times as f64);
        }
        if let Some(segments) = page("/proc/net/snmp").and_then(|page| retransmits(&page)) {
            out.put(SampleSource::Host, names::HOST_RETRANSMITS, segments as f64);
        }
        let net = page("/proc/net/dev").unwrap_or_default();
        for (name, [received, sent]) in interfaces(&net).into_iter().filter(|(_, bytes)| *bytes != [0, 0]).take(INTERFACES) {
            let labels = format!("interface={name}");
            out.of(SampleSource::Host, names::HOST_RECEIVED, labels.clone(), received as f64);
            out.of(SampleSource::Host, names::HOST_SENT, labels, sent as f64);
        }
    }

    /// What comes from two readings of the host.
    fn rates(&self, out: &mut Readings, before: &Before, now: &Before, seconds: f64) {
        match (now.cpu.all, before.cpu.all) {
            (Some(time), Some(then)) => {
                if let Some((busy, stolen)) = time.since(then) {
                    out.put(SampleSource::Host, names::HOST_CPU, busy);
                    out.put(SampleSource::Host, names::HOST_STEAL, stolen);
                }
            }
            _ => out.put(SampleSource::Host, names::HOST_CPU, f64::from(self.system.global_cpu_usage()) / 100.0),
        }
        for (core, time) in &now.cpu.cores {
            // A core that was not there before has nothing to be compared with.
            let then = before.cpu.cores.iter().find(|(other, _)| other == core);
            if let Some((busy, _)) = then.and_then(|(_, then)| time.since(*then)) {
                out.of(SampleSource::Host, names::HOST_CORE_CPU, format!("core={core}"), busy);
            }
        }
        for ((_, name), (now, before)) in PRESSURES.iter().zip(now.stalled.iter().zip(before.stalled)) {
            if let (Some(now), Some(before)) = (now, before) {
                out.put(SampleSource::Host, name, (now.saturating_sub(before) as f64 / 1e6 / seconds).min(1.0));
            }
        }
    }
}

fn page(path: &str) -> Option<String> {
    read_file(Path::new(path))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_two_readings() {
        let sampler =
            HostSampler { system: System::new(), groups: CpuGroups::default(), heat: vec![], threads: HashMap::new(), previous: None };
        let before = Before {
            at: Nanos::ZERO,
            ticks: 0,
            cpu: cpu_times("cpu 100 0 0 100 0 0 0 0\ncpu0 50 0 0 50 0 0 0 0\n"),
            stalled: [Some(1_000_000), None, Some(7)],
        };
        let now = Before {
            at: Nanos::from_secs(2),
            ticks: 0,
            cpu: cpu_times("cpu 150 0 0 245 0 0 0 5\ncpu0 75 0 0 125 0 0 0 0\ncpu1 75 0 0 120 0 0 0 5\n"),
            stalled: [Some(1_500_000), Some(3), None],
        };
        let mut out = Readings { at: now.at, all: vec![] };
        sampler.rates(&mut out, &before, &now, 2.0);
        let got: Vec<_> = out.all.iter().map(|s| (s.metric.as_str(), s.labels.as_str(), s.value)).collect();
        let expect = [
            (names::HOST_CPU, "", 0.25),
            (names::HOST_STEAL, "", 0.025),
            (names::HOST_CORE_CPU, "core=0", 0.25),
            (names::HOST_CPU_PRESSURE, "", 0.25),
        ];
        assert_eq!(got, expect, "what has no reading before has no rate: a core that came, pressures read once");
    }

    #[test]
    fn what_grows_is_there_from_the_first_reading_on() {
        let mut sampler = HostSampler::new();
        let first = sampler.sample(Nanos::ZERO);
        let has = |name: &str| first.iter().any(|s| s.metric == name);
        assert!(has(names::HARNESS_RSS) && has(names::HOST_MEMORY) && has(names::HARNESS_INVOLUNTARY));
        assert!(!has(names::HOST_CPU) && !has(names::HARNESS_CPU) && !has(names::HOST_CPU_PRESSURE), "rates need two");
    }
}
