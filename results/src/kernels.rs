//! A finished measurement of kernels as it is stored: `kernels.json` of a run directory.
//!
//! Samples are kept, not their medians: every number of a table can be computed again from here.

use crate::error::StoreError;
use crate::json::{number, optional_number, pretty, read_file, write_file};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Name of the schema.
pub const SCHEMA: &str = "kernel-run/1";
/// Name of the file.
pub const FILE: &str = "kernels.json";

/// One device under one set of kernels.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelRun {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the run's directory.
    pub id: String,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// Version of nomoat.
    pub nomoat: String,
    /// The command's words that choose what is measured.
    pub command: Vec<String>,
    /// The host.
    pub host: HostWire,
    /// The device.
    pub device: DeviceWire,
    /// `quick` or `full`.
    pub tier: String,
    /// Seed of all values.
    pub seed: u32,
    /// The ceilings that shares refer to.
    pub ceilings: CeilingsWire,
    /// One per kernel, variant, shape and state of the cache.
    pub rows: Vec<RowWire>,
    /// What is not in the rows, and why.
    pub absent: Vec<AbsentWire>,
    /// How times grow.
    pub growth: Vec<GrowthWire>,
}

/// The host of a measurement.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostWire {
    /// The processor's own name.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: u32,
    /// Operating system.
    pub os: String,
    /// Kernel.
    pub kernel: String,
    /// Load average over one minute at the beginning.
    #[serde(serialize_with = "number")]
    pub load1: f64,
}

/// A device.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceWire {
    /// Its name on the command line.
    pub id: String,
    /// Its own name.
    pub name: String,
    /// Architecture kernels are compiled for.
    pub arch: String,
    /// Multiprocessors, compute units or threads.
    pub units: u32,
    /// Threads that run in step.
    pub warp: u32,
    /// Last cache, bytes.
    pub cache_bytes: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Version of the driver.
    pub driver: String,
    /// What compiled the kernels.
    pub compiler: String,
}

/// The measured ceilings; `null` where one was not measured.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeilingsWire {
    /// Copy, bytes read and written per second.
    pub copy: Option<CeilingWire>,
    /// Reading, bytes per second.
    pub read: Option<CeilingWire>,
    /// Matrix product, operations per second.
    pub matrix: Option<CeilingWire>,
}

/// One ceiling.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeilingWire {
    /// Per second.
    #[serde(serialize_with = "number")]
    pub per_s: f64,
    /// The variant that reached it.
    pub variant: String,
}

/// The least a problem costs.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostWire {
    /// Operations a matrix unit could do.
    #[serde(serialize_with = "number")]
    pub matrix_flops: f64,
    /// Other operations.
    #[serde(serialize_with = "number")]
    pub vector_flops: f64,
    /// Bytes read.
    #[serde(serialize_with = "number")]
    pub read_bytes: f64,
    /// Bytes written.
    #[serde(serialize_with = "number")]
    pub written_bytes: f64,
}

/// One row.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowWire {
    /// Family.
    pub kernel: String,
    /// Variant.
    pub variant: String,
    /// Element type of the large operands.
    pub dtype: String,
    /// Named sizes.
    pub shape: Map<String, Value>,
    /// Cost.
    pub cost: CostWire,
    /// Relative error against the reference, its limit, units compared and units there are.
    pub check: CheckWire,
    /// Compiling.
    pub compile: CompileWire,
    /// `cold` or `hot`.
    pub cache: String,
    /// Runs of a sample.
    pub runs_per_sample: u64,
    /// Seconds of one run, per sample.
    pub samples_s: Vec<f64>,
    /// Processor seconds of one run, on the host's processor.
    #[serde(serialize_with = "optional_number")]
    pub cpu_s: Option<f64>,
}

/// What a check found.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckWire {
    /// L2 norm of the difference over that of the right values.
    #[serde(serialize_with = "number")]
    pub relative_error: f64,
    /// The largest that passes.
    #[serde(serialize_with = "number")]
    pub limit: f64,
    /// Units compared.
    pub units: u64,
    /// Units there are.
    pub of: u64,
}

/// What compiling a row's functions told.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileWire {
    /// Seconds of the compiler.
    #[serde(serialize_with = "number")]
    pub seconds: f64,
    /// Functions that came from the cache on disk.
    pub cached: u32,
    /// Most registers of a thread.
    pub registers: Option<u32>,
    /// Most bytes of a thread that did not fit into registers.
    pub spilled_bytes: Option<u32>,
}

/// Something not measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbsentWire {
    /// Family.
    pub kernel: String,
    /// Variant.
    pub variant: String,
    /// Shape in words, where it is about one.
    pub shape: Option<String>,
    /// `unfit`, `wrong` or `failed`.
    pub kind: String,
    /// Why.
    pub why: String,
}

/// How a family's time grows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrowthWire {
    /// Family.
    pub kernel: String,
    /// The variant followed.
    pub variant: String,
    /// The size that grows.
    pub over: String,
    /// The claim.
    pub claim: String,
    /// The shape of the first point, in words.
    pub shape: String,
    /// The exponent of theory.
    #[serde(serialize_with = "number")]
    pub expected: f64,
    /// Size and seconds.
    pub points: Vec<(f64, f64)>,
    /// The fitted exponent.
    #[serde(serialize_with = "optional_number")]
    pub exponent: Option<f64>,
    /// Its standard error.
    #[serde(serialize_with = "optional_number")]
    pub standard_error: Option<f64>,
}

impl RowWire {
    /// The middle sample by nearest rank, seconds.
    pub fn median_s(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The distance between the quartiles as a share of the median.
    pub fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median_s()
    }

    fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.samples_s.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len().max(1));
        sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The shape in words.
    pub fn words(&self) -> String {
        let sizes = self.shape.iter().map(|(name, size)| format!(" {name}={size}"));
        [self.dtype.clone()].into_iter().chain(sizes).collect()
    }
}

impl CostWire {
    /// Bytes both ways.
    pub fn bytes(&self) -> f64 {
        self.read_bytes + self.written_bytes
    }

    /// Operations of both kinds.
    pub fn flops(&self) -> f64 {
        self.matrix_flops + self.vector_flops
    }
}

impl CeilingsWire {
    /// What limits a cost (`memory` or `compute`) and the least seconds that the ceilings allow: bytes over the rate of reading, or of the copy if that is higher, where
    /// less than a tenth is written, else over the copy's; matrix operations over the matrix product's. `None` without ceilings, or where
    /// nothing is moved.
    pub fn limit(&self, cost: &CostWire) -> Option<(&'static str, f64)> {
        let (copy, read) = (self.copy.as_ref().map(|ceiling| ceiling.per_s), self.read.as_ref().map(|ceiling| ceiling.per_s));
        let reads = cost.written_bytes < 0.1 * cost.read_bytes;
        let bandwidth = if reads { read.into_iter().chain(copy).reduce(f64::max) } else { copy.or(read) }?;
        let memory = cost.bytes() / bandwidth;
        let compute = self.matrix.as_ref().map_or(0.0, |ceiling| cost.matrix_flops / ceiling.per_s);
        match (memory, compute) {
            (0.0, 0.0) => None,
            _ if compute > memory => Some(("compute", compute)),
            _ => Some(("memory", memory)),
        }
    }
}

impl KernelRun {
    /// As stored.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// From a directory.
    ///
    /// # Errors
    /// When the file is absent, is no JSON, or is of another schema.
    pub fn read(directory: &Path) -> Result<Self, StoreError> {
        read_file(directory, FILE, SCHEMA)
    }

    /// Into a directory, which is made. The file appears whole or not at all.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, directory: &Path) -> Result<(), StoreError> {
        write_file(directory, FILE, self)
    }
}
