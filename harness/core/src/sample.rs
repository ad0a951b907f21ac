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
    /// What draws power, by a meter's word.
    Power,
}

impl SampleSource {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        ["host", "harness", "engine", "power"][self as usize]
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
    /// Tokens of KV cache in use.
    pub const KV_USED_TOKENS: &str = "engine.kv_used_tokens";
    /// Blocks of KV cache in use.
    pub const KV_USED_BLOCKS: &str = "engine.kv_used_blocks";
    /// Share of the KV cache in use, 0–1.
    pub const KV_USED_FRACTION: &str = "engine.kv_used_fraction";
    /// Bytes of KV cache allocated.
    pub const KV_CAPACITY_BYTES: &str = "engine.kv_capacity_bytes";
    /// Tokens the KV cache can hold.
    pub const KV_CAPACITY_TOKENS: &str = "engine.kv_capacity_tokens";
    /// Blocks of the KV cache.
    pub const KV_CAPACITY_BLOCKS: &str = "engine.kv_capacity_blocks";
    /// Bytes of KV kept outside the engine's own cache: in host memory, by a cache beside it.
    pub const EXTERNAL_KV_BYTES: &str = "engine.external_kv_bytes";
    /// Prompt tokens the engine has processed, cached ones included.
    pub const PROMPT_TOKENS: &str = "engine.prompt_tokens_total";
    /// Tokens the engine has generated.
    pub const GENERATION_TOKENS: &str = "engine.generation_tokens_total";
    /// Requests the engine is done with.
    pub const REQUESTS_DONE: &str = "engine.requests_done_total";
    /// Requests preempted.
    pub const PREEMPTIONS: &str = "engine.preemptions_total";
    /// Prompt tokens found in the prefix cache.
    pub const PREFIX_HITS: &str = "engine.prefix_hit_tokens_total";
    /// Prompt tokens looked up in the prefix cache.
    pub const PREFIX_QUERIES: &str = "engine.prefix_query_tokens_total";
    /// Prompt tokens found in a cache outside the engine.
    pub const EXTERNAL_HITS: &str = "engine.external_hit_tokens_total";
    /// Prompt tokens looked up in a cache outside the engine.
    pub const EXTERNAL_QUERIES: &str = "engine.external_query_tokens_total";
    /// Bytes of KV moved between instances or tiers of memory.
    pub const KV_TRANSFER_BYTES: &str = "engine.kv_transfer_bytes_total";
    /// Time spent moving KV, added up over the transfers, in seconds.
    pub const KV_TRANSFER_SECONDS: &str = "engine.kv_transfer_seconds_total";
    /// Time to first token as the engine sees it, a histogram.
    pub const TTFT: &str = "engine.ttft_seconds";
    /// Time between tokens as the engine sees it, a histogram.
    pub const ITL: &str = "engine.itl_seconds";
    /// Time requests waited in the engine, a histogram.
    pub const QUEUE: &str = "engine.queue_seconds";
    /// Time requests were prefilled, a histogram.
    pub const PREFILL: &str = "engine.prefill_seconds";

    /// Power of one device in watts, labelled with [`POWER_SCOPE`], [`POWER_METER`] and [`POWER_DEVICE`], and with
    /// [`POWER_STEP`] where its moment is known to that only.
    pub const POWER_WATTS: &str = "power.watts";
    /// Energy counter of one device in joules, labelled alike; a [`POWER_RANGE`] says after how many joules it starts again at zero.
    pub const POWER_ENERGY: &str = "power.energy_joules_total";

    /// What follows a histogram's name: the count of one bucket, labelled `le=BOUND` with its upper bound. Counts include those of
    /// the buckets before it.
    pub const BUCKET: &str = "_bucket";
    /// What follows a histogram's name: how many values.
    pub const COUNT: &str = "_count";
    /// What follows a histogram's name: their sum.
    pub const SUM: &str = "_sum";
    /// The label of a bucket.
    pub const BOUND: &str = "le";
    /// The label of one of several endpoints, with its index.
    pub const ENDPOINT: &str = "endpoint";
    /// The label of one of several pages of metrics, with its index.
    pub const PAGE: &str = "page";
    /// The label of a power reading: what is behind the meter, an [`energy::Scope`](crate::energy::Scope).
    pub const POWER_SCOPE: &str = "scope";
    /// The label of a power reading: who read it, an [`energy::Meter`](crate::energy::Meter).
    pub const POWER_METER: &str = "meter";
    /// The label of a power reading: of which device.
    pub const POWER_DEVICE: &str = "device";
    /// The label of an energy counter: the joules after which it starts again at zero.
    pub const POWER_RANGE: &str = "range";
    /// The label of a power reading: the step in seconds of the clock that it was stamped by, where that is coarse and known.
    pub const POWER_STEP: &str = "step";
    /// The label of readings that are not the engine's own word: [`Layer::name`](super::Layer::name).
    pub const LAYER: &str = "layer";
}

/// Code of the event that a counter of the engine fell: it was restarted, or another one answered. What it counted in between is not known.
pub const COUNTER_FELL: &str = "counter_fell";

/// Something that happened to the run as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunEvent {
    /// When, on the run's clock.
    pub at: Nanos,
    /// A short code: `start`, `stop_requested`, `telemetry_failed`, [`COUNTER_FELL`], `clock_step`, …
    pub code: &'static str,
    /// What a reader should know; never a secret.
    pub detail: String,
}

/// What kind of reading a canonical name of the engine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadingKind {
    /// A value that goes up and down. Processes are added up.
    Gauge,
    /// A share of what a process has. Of several processes it is their mean, weighted by capacity where that is known.
    Share,
    /// A size of the KV cache: zero says that it is not known.
    Capacity,
    /// It only grows; where it falls, the engine was restarted.
    Counter,
    /// Counts of values by their size, and their sum. All of them only grow.
    Histogram,
}

/// Every canonical name that an engine's metrics may be read as, with its kind, in the order of readings.
pub const ENGINE_READINGS: &[(&str, ReadingKind)] = {
    use ReadingKind::{Capacity, Counter, Gauge, Histogram, Share};
    &[
        (names::RUNNING, Gauge),
        (names::WAITING, Gauge),
        (names::PROMPT_TOKENS, Counter),
        (names::GENERATION_TOKENS, Counter),
        (names::REQUESTS_DONE, Counter),
        (names::PREEMPTIONS, Counter),
        (names::PREFIX_HITS, Counter),
        (names::PREFIX_QUERIES, Counter),
        (names::EXTERNAL_HITS, Counter),
        (names::EXTERNAL_QUERIES, Counter),
        (names::KV_TRANSFER_BYTES, Counter),
        (names::KV_TRANSFER_SECONDS, Counter),
        (names::KV_CAPACITY_TOKENS, Capacity),
        (names::KV_CAPACITY_BLOCKS, Capacity),
        (names::KV_CAPACITY_BYTES, Capacity),
        (names::KV_USED_FRACTION, Share),
        (names::KV_USED_TOKENS, Gauge),
        (names::KV_USED_BLOCKS, Gauge),
        (names::KV_USED_BYTES, Gauge),
        (names::EXTERNAL_KV_BYTES, Gauge),
        (names::TTFT, Histogram),
        (names::ITL, Histogram),
        (names::QUEUE, Histogram),
        (names::PREFILL, Histogram),
    ]
};

/// Whose word a reading is. What one layer tells is never added to what another tells of the same requests: of several the
/// innermost is believed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Layer {
    /// The engine that computes.
    #[default]
    Engine,
    /// What stands before one or more engines: a router, a frontend.
    Gateway,
    /// What stands beside them: a cache.
    Sidecar,
}

impl Layer {
    /// Every layer, the innermost first.
    pub const ALL: [Self; 3] = [Self::Engine, Self::Gateway, Self::Sidecar];

    /// Its name in labels and descriptions.
    pub fn name(self) -> &'static str {
        ["engine", "gateway", "sidecar"][self as usize]
    }
}

impl Sample {
    /// The value of one label. What would end a value early stands in it as `%XX`.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.split(',').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// A value as it may stand among [`Sample::labels`]: what has a meaning there is written as `%XX`.
pub fn label_value(value: &str) -> std::borrow::Cow<'_, str> {
    let special = |c: char| matches!(c, '%' | ',' | '=') || c.is_ascii_control();
    if !value.contains(special) {
        return value.into();
    }
    let escaped = value.chars().map(|c| if special(c) { format!("%{:02X}", c as u32) } else { c.to_string() });
    escaped.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_whatever_is_in_them() {
        let value = label_value("a=1,b%\n");
        assert_eq!(value, "a%3D1%2Cb%25%0A");
        let sample = Sample {
            at: Nanos::ZERO,
            source: SampleSource::Engine,
            metric: "m".into(),
            labels: format!("x={value},le=+Inf,endpoint=3"),
            value: 0.0,
        };
        assert_eq!(["x", "le", "endpoint", "b", "page"].map(|l| sample.label(l)), [Some(&*value), Some("+Inf"), Some("3"), None, None]);
    }

    #[test]
    fn readings_are_named_once() {
        for (i, (name, _)) in ENGINE_READINGS.iter().enumerate() {
            assert!(name.starts_with("engine.") && ENGINE_READINGS[i + 1..].iter().all(|(n, _)| n != name), "{name}");
        }
    }
}
