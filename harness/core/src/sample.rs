//! Readings over time: the host, the harness, the engine. Absent is not zero: what was not read has no sample.

use crate::units::Nanos;

/// Who a reading is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SampleSource {
    /// The machine the harness runs on.
    Host,
    /// The harness itself.
    Harness,
    /// The engine under test.
    Engine,
}

impl SampleSource {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        ["host", "harness", "engine"][self as usize]
    }
}

/// One reading.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// When, on the run's clock.
    pub at: Nanos,
    /// About whom.
    pub source: SampleSource,
    /// Canonical name, one of [`names`], or the engine's own name for raw series.
    pub metric: String,
    /// What part of the source it is about, as `k=v` joined by commas: the labels of a raw series, or one core or interface. Empty for the
    /// whole.
    pub labels: String,
    /// The value, in the unit of the name.
    pub value: f64,
}

/// Canonical metric names. Shares and cores of host and harness are of the time since the reading before; a `_total` only grows.
pub mod names {
    /// Share of all cores' time at work, 0–1; stolen time is not in it.
    pub const HOST_CPU: &str = "host.cpu_share";
    /// The same of one core, labelled `core=N`.
    pub const HOST_CORE_CPU: &str = "host.core_cpu_share";
    /// Share of all cores' time that the hypervisor gave to others while there was work here, 0–1.
    pub const HOST_STEAL: &str = "host.steal_share";
    /// Share of the time in which at least one task of this host waited for a core, 0–1.
    pub const HOST_CPU_PRESSURE: &str = "host.cpu_pressure_share";
    /// The same for memory.
    pub const HOST_MEMORY_PRESSURE: &str = "host.memory_pressure_share";
    /// The same for storage.
    pub const HOST_IO_PRESSURE: &str = "host.io_pressure_share";
    /// Times that a core was slowed down because it was hot, over all cores.
    pub const HOST_THERMAL: &str = "host.thermal_throttles_total";
    /// Memory in use.
    pub const HOST_MEMORY: &str = "host.memory_used_bytes";
    /// One-minute load average.
    pub const HOST_LOAD: &str = "host.load1";
    /// Bytes received by one network interface, labelled `interface=NAME`.
    pub const HOST_RECEIVED: &str = "host.net_received_bytes_total";
    /// Bytes sent by one network interface, labelled `interface=NAME`.
    pub const HOST_SENT: &str = "host.net_sent_bytes_total";
    /// TCP segments sent again, over all connections of this host.
    pub const HOST_RETRANSMITS: &str = "host.tcp_retransmits_total";
    /// Resident memory of this process.
    pub const HARNESS_RSS: &str = "harness.resident_bytes";
    /// Cores used by this process, all threads.
    pub const HARNESS_CPU: &str = "harness.cpu_cores";
    /// Cores used by the busiest of the harness's own threads (engine threads in this process do not count), 0–1.
    pub const HARNESS_THREAD: &str = "harness.busiest_thread_cores";
    /// Times a thread of this process gave its core away because it had to wait.
    pub const HARNESS_VOLUNTARY: &str = "harness.voluntary_switches_total";
    /// Times a thread of this process was taken off its core while it had work.
    pub const HARNESS_INVOLUNTARY: &str = "harness.involuntary_switches_total";
    /// Periods in which the CPU quota of a control group around this process was used up; absent where there is no quota.
    pub const HARNESS_THROTTLED: &str = "harness.throttled_periods_total";
    /// Resident memory of an engine that nomoat started, all its processes; pages that several share count in each.
    pub const ENGINE_RESIDENT: &str = "engine.resident_bytes";
    /// Processes of an engine that nomoat started.
    pub const ENGINE_PROCESSES: &str = "engine.processes";
    /// Requests running in the engine.
    pub const RUNNING: &str = "engine.running";
    /// Requests waiting in the engine.
    pub const WAITING: &str = "engine.waiting";
    /// Bytes of KV cache in use.
    pub const KV_USED_BYTES: &str = "engine.kv_used_bytes";
    /// Share of the KV cache in use, 0–1.
    pub const KV_USED_FRACTION: &str = "engine.kv_used_fraction";
    /// Bytes of KV cache allocated.
    pub const KV_CAPACITY_BYTES: &str = "engine.kv_capacity_bytes";
    /// Tokens the KV cache can hold.
    pub const KV_CAPACITY_TOKENS: &str = "engine.kv_capacity_tokens";
    /// Prompt tokens the engine has processed.
    pub const PROMPT_TOKENS: &str = "engine.prompt_tokens_total";
    /// Tokens the engine has generated.
    pub const GENERATION_TOKENS: &str = "engine.generation_tokens_total";
    /// Requests preempted.
    pub const PREEMPTIONS: &str = "engine.preemptions_total";
    /// Prompt tokens found in the prefix cache.
    pub const PREFIX_HITS: &str = "engine.prefix_hit_tokens_total";
    /// Prompt tokens looked up in the prefix cache.
    pub const PREFIX_QUERIES: &str = "engine.prefix_query_tokens_total";
}

/// Something that happened to the run as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunEvent {
    /// When, on the run's clock.
    pub at: Nanos,
    /// A short code: `start`, `stop_requested`, `telemetry_failed`, `clock_step`, …
    pub code: &'static str,
    /// What a reader should know; never a secret.
    pub detail: String,
}
