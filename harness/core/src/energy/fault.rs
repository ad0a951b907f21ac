//! Why there is no number: a closed list of reasons, each with what to try.

use super::{MAX_DISAGREEMENT, MAX_EDGES, MAX_GAP, MAX_WRAP_W, Meter, Scope};
use crate::units::Nanos;
use std::fmt;

/// An edge of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    /// Its start.
    Start,
    /// Its end.
    End,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Start { "start" } else { "end" })
    }
}

/// A rule that the readings of a scope break: there is then no number of that scope.
#[derive(Clone, PartialEq, Debug)]
pub enum Fault {
    /// The window has no length.
    NoWindow,
    /// The readings of a device do not reach over an edge of the window.
    NotBracketed {
        /// Which device.
        device: String,
        /// Over which edge.
        edge: Edge,
        /// How far from that edge, inside the window, its nearest reading is; `None` where it has none in the window.
        by: Option<Nanos>,
    },
    /// Two neighbouring readings of a device are too far apart.
    Gap {
        /// Which device.
        device: String,
        /// How far.
        gap: Nanos,
    },
    /// There are readings of more or fewer devices than there are.
    Devices {
        /// Of how many.
        found: u32,
        /// How many there are.
        expected: u32,
        /// The scope, which decides what to try.
        scope: Scope,
    },
    /// The power of a device and its energy counter tell different energies.
    Disagree {
        /// Which device.
        device: String,
        /// By its counter, in joules.
        counter: f64,
        /// By its power, in joules.
        power: f64,
    },
    /// The clock of a device ticks too rarely for the window's edges: most of its readings share their moment with another, or their times
    /// were written without a fraction of a second.
    Coarse {
        /// Which device.
        device: String,
        /// The clock's step.
        tick: Nanos,
        /// The window's length.
        window: Nanos,
    },
    /// A counter fell, and it is not known at which value it starts again, or it cannot have drawn so much.
    Fell {
        /// Which device.
        device: String,
        /// Joules before.
        from: f64,
        /// Joules after.
        to: f64,
        /// Watts that it would have drawn had it started again after its range; `None` where that is not known.
        wrapped_w: Option<f64>,
    },
    /// No device drew anything by its readings: its meter does not count.
    Still {
        /// Whose word it is.
        meter: Meter,
        /// How many devices.
        devices: u32,
    },
    /// A reading is no power: it is negative.
    NotPower {
        /// Which device.
        device: String,
        /// Watts.
        watts: f64,
    },
    /// A batch system tells the energy of a job that is not this window.
    WholeJob {
        /// Which job.
        job: String,
        /// Its length.
        lasted: Nanos,
        /// Its mean power in watts.
        watts: f64,
        /// Whether the window lies in it.
        holds: bool,
    },
}

impl Fault {
    /// Its name in messages.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoWindow => "no_window",
            Self::NotBracketed { .. } => "not_bracketed",
            Self::Gap { .. } => "gap",
            Self::Devices { .. } => "devices",
            Self::Disagree { .. } => "disagree",
            Self::Coarse { .. } => "coarse",
            Self::Fell { .. } => "fell",
            Self::Still { .. } => "still",
            Self::NotPower { .. } => "not_power",
            Self::WholeJob { .. } => "whole_job",
        }
    }

    /// What to try.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoWindow => "give --duration or more --requests",
            Self::NotBracketed { .. } => "keep the meter running from before the run to after its window, an exporter once a second",
            Self::Gap { .. } => "read the meter, or let its exporter read it, once a second or more often",
            Self::Devices { scope: Scope::Board, .. } => {
                "read every board the engine uses and no other: --accelerators NAME:COUNT says how many, --energy-devices which"
            }
            Self::Devices { .. } => "read every package of the host: see `nomoat devices`",
            Self::Disagree { .. } => {
                "power that is averaged lags behind: give a longer --duration and a --warmup, or check the meter's clock"
            }
            Self::Coarse { .. } => "give a longer --duration, or let the meter log its time with fractions of a second",
            Self::Fell { .. } => "keep the driver loaded and the machine awake during the run",
            Self::Still { .. } => "name another meter of it with --energy, or give --power FILE.csv or --power-url URL",
            Self::NotPower { .. } => "check the column and the unit of the meter",
            Self::WholeJob { .. } => "read the nodes themselves once a second: --power FILE.csv with --energy-scope node, or --power-url",
        }
    }
}

/// The whole reason: its code, what was found, what is allowed and what to try.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code())?;
        match self {
            Self::NoWindow => write!(f, "the window has no length")?,
            Self::NotBracketed { device, edge, by: None } => {
                write!(f, "no power reading of {device} is on the outer side of the window's {edge}, and none is in it")?;
            }
            Self::NotBracketed { device, edge, by: Some(by) } => {
                let (verb, side) = if *edge == Edge::Start { ("begin", "after") } else { ("end", "before") };
                write!(f, "the power readings of {device} {verb} {by} {side} the window's {edge}")?;
            }
            Self::Gap { device, gap } => {
                write!(
                    f,
                    "two readings of {device} are {:.1} s apart, at most {:.0} s are allowed",
                    gap.as_secs_f64(),
                    MAX_GAP.as_secs_f64()
                )?;
            }
            Self::Devices { found, expected, scope } => {
                let what = if *scope == Scope::Package { "packages" } else { "accelerators" };
                write!(f, "there are readings of {found} of {expected} {what}")?;
            }
            Self::Disagree { device, counter, power } => write!(
                f,
                "{device} drew {counter:.1} J by its counter and {power:.1} J by its power, and at most {:.0} % apart are allowed",
                MAX_DISAGREEMENT * 100.0
            )?,
            Self::Coarse { device, tick, window } => write!(
                f,
                "the clock of {device} has steps of {:.1} s, so both edges of the window of {:.1} s are unknown by that, and at most {:.0} % \
                 of it together are allowed",
                tick.as_secs_f64(),
                window.as_secs_f64(),
                MAX_EDGES * 100.0
            )?,
            Self::Fell { device, from, to, wrapped_w } => {
                write!(f, "the energy counter of {device} fell from {from:.1} J to {to:.1} J, and ")?;
                match wrapped_w {
                    None => write!(f, "it is not known where it starts again")?,
                    Some(watts) => {
                        write!(f, "had it started again after its range it would have drawn {watts:.0} W, more than {MAX_WRAP_W:.0} W")?;
                    }
                }
            }
            Self::Still { meter, devices } => {
                let what = if *devices == 1 { "the device draws".to_owned() } else { format!("all {devices} devices draw") };
                write!(f, "by {} {what} nothing in the window, and what is on draws something", meter.words())?;
            }
            Self::NotPower { device, watts } => write!(f, "a reading of {device} is {watts} W")?,
            Self::WholeJob { job, lasted, watts, holds } => {
                let relation = if *holds { "the window is a part of it" } else { "the window does not lie in it" };
                write!(f, "the batch system tells {watts:.0} W, the mean of job {job} over {:.0} s, and {relation}", lasted.as_secs_f64())?;
            }
        }
        write!(f, "; {}", self.remedy())
    }
}
