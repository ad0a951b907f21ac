//! Flags of `nomoat export`.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Finished runs: their directories
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// As whom: mlperf-endpoints or inferencex
    #[arg(long, value_name = "NAME")]
    pub to: String,
    /// json, or table with the definition of every field
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub format: String,
}
