//! Flags of `nomoat run` about energy.

use super::run::one_or_many;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Args, Serialize, Deserialize, Default, Debug, Clone, PartialEq)]
#[serde(rename_all = "kebab-case", default)]
pub struct EnergyArgs {
    /// Power meters of this host to read: auto, off, or some of nvml,amdsmi,hwmon,rapl (default: auto, those that speak of the engine, if it runs here)
    #[arg(long, value_name = "auto|off|LIST", help_heading = "Energy")]
    pub energy: Option<String>,
    /// What --power is about, and which scope is the headline; no two are ever added (default: the first of these that was read)
    #[arg(long, value_name = "board|package|node|wall|provisioned", help_heading = "Energy")]
    pub energy_scope: Option<String>,
    /// Boards to read, by number or identity (default: all)
    #[arg(long, value_name = "LIST", help_heading = "Energy")]
    pub energy_devices: Option<String>,
    /// Your own meter's file: time,device,watts or joules_total, time as RFC 3339 with its zone or seconds since 1970; read after the run
    #[arg(long, value_name = "FILE.csv", help_heading = "Energy")]
    pub power: Option<PathBuf>,
    /// An exporter's page, DCGM's for example; repeatable. Let it read its devices once a second
    #[arg(long, value_name = "URL", help_heading = "Energy")]
    #[serde(with = "one_or_many")]
    pub power_url: Vec<String>,
    /// Recorded output of sacct for the engine's job; read after the run, and of the whole job, so rarely the window's
    #[arg(long, value_name = "FILE", help_heading = "Energy")]
    pub power_slurm: Option<PathBuf>,
    /// Watts set aside for what is behind the endpoint: energy of the provisioned scope, of which nothing is measured
    #[arg(long, allow_negative_numbers = true, value_name = "W", help_heading = "Energy")]
    pub provisioned_watts: Option<f64>,
    /// Your tariff: what the energy costs is printed beside the cost and never added to it
    #[arg(long, allow_negative_numbers = true, value_name = "USD", help_heading = "Energy")]
    pub usd_per_kwh: Option<f64>,
    /// Power usage effectiveness of the building, which multiplies that
    #[arg(long, allow_negative_numbers = true, value_name = "FACTOR", help_heading = "Energy")]
    pub pue: Option<f64>,
}
