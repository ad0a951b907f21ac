//! The command line as data. The only place that knows the argument parser; every value is checked where it is used, so that a
//! flag and a configuration file meet the same check.

mod cost;
mod energy;
mod engine;
mod export;
mod instrument;
mod kernels;
mod kv;
mod profiles;
mod run;
mod trace;

pub use cost::{BookArgs, CostArgs, PricesArgs, PricesCommand};
pub use energy::EnergyArgs;
pub use engine::{ConformArgs, EngineCommand, EngineListArgs, EngineShowArgs, EngineSuiteArgs};
pub use export::ExportArgs;
pub use instrument::{AuditArgs, CalibrateArgs, TruthArgs, TruthCommand, TruthCompareArgs, TruthServeArgs};
pub use kernels::{DevicesArgs, KernelsArgs};
pub use kv::KvArgs;
pub use profiles::{CheckArgs, LinkFitArgs, ProfilesArgs, ProfilesCommand};
pub use run::RunArgs;
pub use trace::{Input, Replay, TraceArgs, TraceCommand};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Honest measurement of LLM inference.
#[derive(Parser, Debug)]
#[command(name = "nomoat", version, term_width = 100, disable_help_subcommand = true)]
#[command(
    about = "Measures LLM inference: TTFT, TPOT, cost per token and KV memory, under a replayed trace, with the instrument's own error beside them"
)]
#[command(
    after_help = "Start with `nomoat run`: the built-in engine under a bundled trace, half a minute. Then `nomoat run --url http://HOST:PORT`."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Read flags from a TOML file whose keys are their names (run: also from a run's manifest.json, which repeats it)
    #[arg(short = 'f', long = "file", value_name = "FILE", global = true)]
    pub file: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Measure an engine under a workload
    #[command(visible_alias = "bench", after_long_help = run::WHY)]
    Run(Box<RunArgs>),
    /// Fold a finished run's records again and print its report
    Report(ReportArgs),
    /// Turn what a killed run left behind into a finished, partial run
    Recover(RecoverArgs),
    /// Measure the instrument: its error and its ceiling on this host
    Calibrate(CalibrateArgs),
    /// A scripted server whose true timings are known, and the comparison with what was measured
    Truth(TruthArgs),
    /// Run another harness against the scripted server and print how wrong it is, beside us
    #[command(after_long_help = instrument::AUDIT)]
    Audit(AuditArgs),
    /// Convert, check and describe traces
    Trace(TraceArgs),
    /// What finished runs cost: hardware of one's own, APIs, where the two meet, the cheapest load at a service level
    #[command(after_long_help = cost::COST)]
    Cost(CostArgs),
    /// Finished runs in the fields that others publish: MLPerf Endpoints, InferenceX
    Export(ExportArgs),
    /// The price book: hours of devices and tokens of APIs, with sources and ages
    Prices(PricesArgs),
    /// What models hold in their KV caches and states, from their shapes: bytes, users on a device, hand-over
    Kv(KvArgs),
    /// What is known of devices, links and nodes, by whose word; check a file of your own; fit a link to measured collectives
    Profiles(ProfilesArgs),
    /// Measure single operations of a model on the devices of this host: time, GB/s, TFLOP/s, how times grow
    #[command(after_long_help = kernels::KERNELS)]
    Kernels(KernelsArgs),
    /// The engines that are known, and what an endpoint is and can do
    #[command(subcommand)]
    Engine(EngineCommand),
    /// List the devices that kernels can run on and the power meters that can be read, and why not the others
    Devices(DevicesArgs),
    /// The suites: a workload, a load, service levels and what an engine needs, under one name
    Suites(SuitesArgs),
    /// Hold a claim about inference against measurements, formulas and prices: its verdict, by rules fixed before
    Study(StudyArgs),
    /// Print the definition of every metric
    Metrics(MetricsArgs),
}

#[derive(Args, Debug)]
pub struct SuitesArgs {
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}

#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The run's directory
    pub run: PathBuf,
    /// By the definitions of another harness, and why its numbers differ: vllm, sglang, aiperf, guidellm or inference-perf
    #[arg(long = "as", value_name = "TOOL")]
    pub tool: Option<String>,
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

#[derive(Args, Debug)]
pub struct RecoverArgs {
    /// The run's directory
    pub run: PathBuf,
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

#[derive(Args, Debug)]
pub struct MetricsArgs {
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

#[derive(Args, Debug)]
pub struct StudyArgs {
    /// Which study (default: list them)
    pub name: Option<String>,
    /// Measurements by `nomoat kernels`: their directories
    #[arg(value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Judge every study and print the verdicts; RUNs go to those that judge measurements
    #[arg(long)]
    pub all: bool,
    /// Judge by the thresholds and sweeps of this file, which has the form of results/studies/NAME.toml
    #[arg(long, value_name = "FILE")]
    pub thresholds: Option<PathBuf>,
    /// What models can do, for cost-decline: a CSV file with model,score,source
    #[arg(long, value_name = "FILE")]
    pub scores: Option<PathBuf>,
    /// What all_reduce_perf of nccl-tests or rccl-tests printed, for collective-crossover (again for several)
    #[arg(long, value_name = "FILE")]
    pub collectives: Vec<PathBuf>,
    /// How many ranks took part in them, where a page does not list them
    #[arg(long, value_name = "N")]
    pub ranks: Option<u32>,
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

/// The long names of the flags of `run`.
#[cfg(test)]
pub fn run_flags() -> Vec<String> {
    use clap::CommandFactory as _;
    let cli = Cli::command();
    let run = cli.find_subcommand("run");
    run.into_iter().flat_map(clap::Command::get_arguments).filter_map(|flag| flag.get_long().map(str::to_owned)).collect()
}
