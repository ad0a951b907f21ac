//! Flags of `nomoat profiles`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct ProfilesArgs {
    #[command(subcommand)]
    pub command: Option<ProfilesCommand>,
    /// table, markdown, csv or json (of all kinds only table and json)
    #[arg(long, value_name = "FORMAT", default_value = "table", global = true)]
    pub format: String,
}

#[derive(Subcommand, Debug)]
pub enum ProfilesCommand {
    /// What computes: memory, bandwidth, dense peaks, power
    Devices(NameArgs),
    /// What moves bytes, in one direction
    Links(NameArgs),
    /// Places at the edge and in radio access networks: memory that weights and caches share
    Nodes(NameArgs),
    /// Name every fault of a file of profiles: a source or date that is missing, a number that is none
    Check(CheckArgs),
    /// Fit α and β to what nccl-tests or rccl-tests printed, say where they do not fit, and at which batch bytes outweigh waiting
    LinkFit(LinkFitArgs),
}

#[derive(Args, Debug)]
pub struct NameArgs {
    /// One of them, or a file: FILE.toml or FILE.toml#NAME
    pub name: Option<String>,
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Files with tables of a device, a link or a node
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub struct LinkFitArgs {
    /// Output of all_reduce_perf and its like
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Widths of models whose tensor-parallel all-reduce in bf16 is looked at
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values = ["4096", "7168", "16384"])]
    pub d_model: Vec<u32>,
    /// Take the times in place instead of those out of place
    #[arg(long)]
    pub in_place: bool,
    /// relative: errors are shares of a time, so that small sizes count; even: the largest sizes decide
    #[arg(long, value_name = "relative|even", default_value = "relative")]
    pub weighting: String,
    /// What was run, where the file does not tell: all_reduce, all_gather, …
    #[arg(long, value_name = "NAME")]
    pub collective: Option<String>,
    /// How many ranks took part, where the file does not list them
    #[arg(long, value_name = "N")]
    pub ranks: Option<u32>,
}
