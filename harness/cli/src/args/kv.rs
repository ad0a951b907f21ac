//! Flags of `nomoat kv`.

use clap::Args;

#[derive(Args, Debug)]
pub struct KvArgs {
    /// Names of published models, or config.json files (default: all published ones)
    pub models: Vec<String>,
    /// Lengths of a sequence in tokens
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values = ["4k", "128k", "1M"])]
    pub context: Vec<String>,
    /// How the cache is kept
    #[arg(long, value_name = "bf16|fp8,…", value_delimiter = ',', default_values = ["bf16", "fp8"])]
    pub dtype: Vec<String>,
    /// Memory of a device in GiB: how many sequences fit beside the weights
    #[arg(long, value_name = "GIB")]
    pub memory: Option<f64>,
    /// Bandwidth of a link in GB/s: how long a sequence's cache takes over it
    #[arg(long, value_name = "GB/S")]
    pub link: Option<f64>,
    /// table or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}
