//! Flags of `nomoat kv`.

use clap::Args;

#[derive(Args, Debug)]
pub struct KvArgs {
    /// Names of published models, or config.json files or their folders (default: all published ones)
    pub models: Vec<String>,
    /// Lengths of a sequence in tokens
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values = ["4k", "128k", "1M"])]
    pub context: Vec<String>,
    /// How the cache is kept
    #[arg(long, value_name = "bf16|fp8,…", value_delimiter = ',', default_values = ["bf16", "fp8"])]
    pub dtype: Vec<String>,
    /// What the weights are kept and multiplied in: bf16, fp8 or fp4 (default: as the cache)
    #[arg(long, value_name = "TYPE")]
    pub weights: Option<String>,
    /// Memory of a device in GiB: how many sequences fit beside the weights
    #[arg(long, value_name = "GIB")]
    pub memory: Option<f64>,
    /// A device of `nomoat profiles devices`, or a .toml file: its memory, and the least time of a decode step on it
    #[arg(long, value_name = "NAME|FILE")]
    pub device: Option<String>,
    /// Sequences that a decode step serves: the operations and bytes of the step, weights included (default with --device: 1)
    #[arg(long, value_name = "N")]
    pub batch: Option<u64>,
    /// A link of `nomoat profiles links`, a .toml file, or a rate in GB/s: how long a sequence's cache takes over it
    #[arg(long, value_name = "NAME|FILE|GB/S")]
    pub link: Option<String>,
    /// Another model: cache and operations as shares of its own at the same context
    #[arg(long, value_name = "MODEL")]
    pub against: Option<String>,
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}
