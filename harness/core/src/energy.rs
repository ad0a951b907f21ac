//! Energy of a window: from readings of power meters and energy counters, by rules that give a number or a reason, never both.
//!
//! What is measured is named by its [`Scope`]: joules of boards, of processor packages, of a node and of a wall socket are different
//! quantities, and no two of them are ever added or taken for each other. The rules ([`Fault`]) are those of InferenceX: readings on both
//! sides of the window, no gap above [`MAX_GAP`], as many devices as there are, and power and counter of a device within
//! [`MAX_DISAGREEMENT`]. Reading devices is not here, and neither is money beyond the user's own tariff.

mod fault;
mod measured;
mod pace;
mod readings;
mod series;

pub use fault::{Edge, Fault};
pub use measured::{Measured, Method, measured};
pub use pace::{Pace, paces};

use crate::units::Nanos;

/// Largest time between two neighbouring readings of a device, and from an edge of the window to a job's.
pub const MAX_GAP: Nanos = Nanos::from_secs(3);
/// Largest difference of a device's integrated power from its energy counter, as a part of the latter.
pub const MAX_DISAGREEMENT: f64 = 0.05;
/// Largest part of a window by which the clock of a meter may leave its two edges unknown together.
pub const MAX_EDGES: f64 = 0.05;
/// Most watts that a counter may come to where it is taken to have started again. The largest package is rated at half a kilowatt and no
/// socket can feed four times that; a counter that was reset falls from any value, and taken for one that started again it comes to
/// hundreds of kilowatts.
pub const MAX_WRAP_W: f64 = 2000.0;

/// What draws the energy that is counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// Accelerator boards, memory and regulators on them included; no host.
    Board,
    /// Processor packages, everything that runs on them included; no memory modules, no accelerators.
    Package,
    /// A whole node, as its own management counts it.
    Node,
    /// What the meter at the socket or the rack counts, losses of supplies included.
    Wall,
    /// Nothing was measured: the power that was set aside, times the time.
    Provisioned,
}

impl Scope {
    /// Every scope. The first of those that were read is the headline where the user names none.
    pub const ALL: [Self; 5] = [Self::Board, Self::Package, Self::Node, Self::Wall, Self::Provisioned];

    /// Its name in files, flags and tables.
    pub fn name(self) -> &'static str {
        ["board", "package", "node", "wall", "provisioned"][self as usize]
    }

    /// The scope of a name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// Who read it. Of several that tell the same scope the first in this order is believed, so that what the user gave goes before what was
/// found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Meter {
    /// The user's own file.
    Csv,
    /// A page in the Prometheus text format, DCGM's for example.
    Exporter,
    /// NVIDIA's management library.
    Nvml,
    /// AMD's management library.
    AmdSmi,
    /// The kernel's hardware monitor of graphics drivers.
    Hwmon,
    /// The processor's running average power limit, by the kernel's powercap folder.
    Rapl,
}

impl Meter {
    /// Every meter, the first believed first.
    pub const ALL: [Self; 6] = [Self::Csv, Self::Exporter, Self::Nvml, Self::AmdSmi, Self::Hwmon, Self::Rapl];

    /// Its name in labels and flags.
    pub fn name(self) -> &'static str {
        ["csv", "exporter", "nvml", "amdsmi", "hwmon", "rapl"][self as usize]
    }

    /// The meter of a name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|meter| meter.name() == name)
    }

    /// What it is called in tables.
    pub fn words(self) -> &'static str {
        ["the file of --power", "the page of --power-url", "NVML", "AMD SMI", "hwmon", "RAPL"][self as usize]
    }
}

/// A meter that was looked for and is not there, or failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Absent {
    /// Which, by its name or its flag.
    pub what: String,
    /// Why, and what to try.
    pub why: String,
}

/// What a batch system says of a whole job: one number for all of its time.
#[derive(Clone, PartialEq, Debug)]
pub struct Job {
    /// Its number.
    pub id: String,
    /// When it began, on the run's clock.
    pub start: Nanos,
    /// When it ended, or was asked about.
    pub end: Nanos,
    /// What its nodes drew meanwhile, whoever used them.
    pub joules: f64,
    /// How many nodes.
    pub nodes: Option<u32>,
}

/// What a run knows of its energy beside the readings.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct EnergyFacts {
    /// Whether the user asked for energy, so that its absence is shown and not only told.
    pub asked: bool,
    /// The scope the user named.
    pub scope: Option<Scope>,
    /// Processor packages of the host that was read.
    pub packages: Option<u32>,
    /// Whether meters of this host were read because the engine's address is one of it, by nobody's word.
    pub by_address: bool,
    /// Watts set aside for what is behind the endpoint, by the user's word.
    pub provisioned_w: Option<f64>,
    /// USD per kilowatt-hour, by the user's word.
    pub usd_per_kwh: Option<f64>,
    /// Power usage effectiveness of the building, by the user's word: its power by that of its machines.
    pub pue: Option<f64>,
    /// A job whose energy a batch system tells.
    pub job: Option<Job>,
    /// Meters that were looked for and are not there.
    pub absent: Vec<Absent>,
}

/// Kilowatt-hours of joules.
pub fn kwh(joules: f64) -> f64 {
    joules / 3.6e6
}

#[cfg(test)]
mod tests;
