//! Flags of `nomoat kernels` and `nomoat devices`.

use clap::Args;
use std::path::PathBuf;

/// What `kernels --help` adds.
pub(super) const KERNELS: &str = "\
Every variant is held against a reference in f64 before it is timed; one that is wrong is not timed.
The ceilings (copy, read, matrix product) are measured first, on the same device in the same run;
shares refer to them. Nothing is needed at build time: drivers and compilers are looked for when
the command runs (`nomoat devices` says what was found).

Examples:
  nomoat kernels --device cpu --quick
  nomoat kernels gemm decode-mla --device cuda:0 --format markdown";

#[derive(Args, Debug)]
pub struct KernelsArgs {
    /// Families to measure (default: all)
    #[arg(value_name = "KERNEL")]
    pub kernels: Vec<String>,
    /// Device by name, as `nomoat devices` prints it; may be given again (default: every device found)
    #[arg(long, value_name = "NAME")]
    pub device: Vec<String>,
    /// Only variants of this name; may be given again
    #[arg(long = "variant", value_name = "NAME")]
    pub variants: Vec<String>,
    /// Shared library with kernels of others, measured beside ours; may be given again
    #[arg(long = "plugin", value_name = "FILE")]
    pub plugins: Vec<PathBuf>,
    /// One or two shapes of each family, less time for each
    #[arg(long)]
    pub quick: bool,
    /// Do not follow times over growing sizes
    #[arg(long)]
    pub no_sweep: bool,
    /// Folder in which runtime compilers are looked for first (libnvrtc.so, libhiprtc.so)
    #[arg(long, value_name = "DIR")]
    pub rtc: Option<PathBuf>,
    /// Folder of run directories (default: NOMOAT_OUT, else runs)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// No progress on stderr
    #[arg(short, long)]
    pub quiet: bool,
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

#[derive(Args, Debug)]
pub struct DevicesArgs {
    /// Check every kernel variant on every device against f64, and print a report to send
    #[arg(long)]
    pub selftest: bool,
    /// Read the power meters of this host for so long, and tell how finely each tells and whether its rules hold; exits with 5 where one breaks
    #[arg(long, value_name = "TIME", conflicts_with = "selftest")]
    pub power: Option<String>,
    /// Folder in which runtime compilers are looked for first (libnvrtc.so, libhiprtc.so)
    #[arg(long, value_name = "DIR")]
    pub rtc: Option<PathBuf>,
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}
