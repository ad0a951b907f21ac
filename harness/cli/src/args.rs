//! The command line as data. The only place that knows the argument parser; every value is checked where it is used, so that a
//! flag and a configuration file meet the same check.

mod cost;
mod energy;
mod export;
mod kv;
mod profiles;
mod trace;

pub use cost::{BookArgs, CostArgs, PricesArgs, PricesCommand};
pub use energy::EnergyArgs;
pub use export::ExportArgs;
pub use kv::KvArgs;
pub use profiles::{CheckArgs, LinkFitArgs, ProfilesArgs, ProfilesCommand};
pub use trace::{Input, Replay, TraceArgs, TraceCommand};

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};
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
    #[command(visible_alias = "bench", after_long_help = WHY)]
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
    #[command(after_long_help = AUDIT)]
    Audit(AuditArgs),
    /// Convert, check and describe traces
    Trace(TraceArgs),
    /// What finished runs cost: hardware of one's own, APIs, where the two meet, the cheapest load at a service level
    #[command(after_long_help = COST)]
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
    #[command(after_long_help = KERNELS)]
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

/// What `nomoat cost --help` adds to `-h`.
const COST: &str = "\
How it is counted:
  Hardware: whole pools, busy or not, for the length of the window, by the tokens that arrived in
  it. A fleet is not always busy: the same at your own utilisation stands below. An API charges for
  the tokens of the measured requests, each at the price of its own moment, in classes that exclude
  each other; failed requests that were billed are in it. The band of a price and the interval over
  repeated runs are two intervals.
  Break-even is what one device must serve, prompt and output tokens per second, to cost what the
  API does. Nothing is interpolated between loads, and a load counts only if enough of its requests
  met the service level.
Examples:
  nomoat cost runs/ID --sku h200:8 --owner neocloud --against groq/gpt-oss-120b
  nomoat cost runs/* --sku prefill=h200:4 --sku decode=h200:8 --slo ttft=500ms,tpot=50ms
  nomoat cost runs/ID --usd-per-hour 0.40 --against deepseek/deepseek-v4-pro --at 2026-10-28T02:00:00Z";

/// What `--help` adds to `-h`: why the choices are what they are.
const WHY: &str = "\
Why it is so:
  Latency counts from when a request was due. An open loop (--rate, --arrivals, a trace) sends whether or not
  the engine keeps up, so a stall is seen by everyone who was due in it. A closed loop (--concurrency) waits
  for its answers and so for the engine; the two are never in one table.
  --max-concurrency keeps what is due waiting, its clock running; --max-in-flight drops it and counts it as a
  failure. Neither forgives.
  Answer lengths are forced where the engine allows it: an engine that stops early is not fast.
  Every run draws prompts of its own, so that no prefix cache knows them from the last one; --same-prompts
  sends the same again.
  --usd-per-hour is the whole pool: idle parts are paid for. There is no price where none was given.
  The environment holds secrets and paths only: NOMOAT_API_KEY, NOMOAT_OUT.";

/// Every key may stand in a file given with -f, under the same name; flags win.
#[derive(Args, Serialize, Deserialize, Default, Debug, Clone, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RunArgs {
    /// local: the built-in CPU engine; http: an endpoint (inferred from --url); exec: an engine behind an adapter (from --exec)
    #[arg(long, value_name = "local|http|exec", help_heading = "What to measure")]
    pub backend: Option<String>,
    /// Address of an OpenAI-compatible endpoint; several of the same engine, each with --url or with commas between, take turns
    #[arg(long, alias = "base-url", alias = "target", value_delimiter = ',', help_heading = "What to measure")]
    #[serde(with = "one_or_many")]
    pub url: Vec<String>,
    /// What the endpoint is, where it does not show it: a name of `nomoat engine list`
    #[arg(long, value_name = "NAME", help_heading = "What to measure")]
    pub engine: Option<String>,
    /// Folder of further engine descriptions; they replace those of the same name (default: NOMOAT_ENGINES)
    #[arg(long, value_name = "DIR", help_heading = "What to measure")]
    pub engines: Option<PathBuf>,
    /// Model to ask for; not needed when the endpoint lists one
    #[arg(long, help_heading = "What to measure")]
    pub model: Option<String>,
    /// Start this engine for the run, a name of `nomoat engine list`; --model is what it loads
    #[arg(long, value_name = "NAME", help_heading = "What to measure")]
    pub launch: Option<String>,
    /// Further arguments of the started engine, split as a shell does and passed on as they are
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "What to measure")]
    pub launch_args: Option<String>,
    /// Another command to start it by; {model}, {served_name}, {host}, {port}, {context} and {scratch} are filled in
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "What to measure")]
    pub launch_command: Option<String>,
    /// A variable of the started engine; one whose name tells a secret is written nowhere
    #[arg(long, value_name = "NAME=VALUE", help_heading = "What to measure")]
    #[serde(serialize_with = "without_secrets")]
    pub launch_env: Vec<String>,
    /// Start this adapter for the run, split as a shell does: it listens where NOMOAT_SOCKET says and speaks backends/exec/PROTOCOL.md
    #[arg(long, value_name = "COMMAND", help_heading = "What to measure")]
    pub exec: Option<String>,
    /// Socket that an adapter listens on already
    #[arg(long, value_name = "PATH", help_heading = "What to measure")]
    pub exec_socket: Option<PathBuf>,
    /// Instead of a load: bring the engine to a cold state and back, again and again: launch, sleep:1, sleep:2, lora:NAME or load
    #[arg(long, value_name = "ACTION", help_heading = "What to measure")]
    pub cold_start: Option<String>,
    /// How often, with --cold-start (default: 3)
    #[arg(long, value_name = "N", help_heading = "What to measure")]
    pub cycles: Option<u32>,
    /// Route to post to; its end tells the dialect (default: completions with token ids, else chat)
    #[arg(long, value_name = "PATH", help_heading = "What to measure")]
    pub endpoint: Option<String>,
    /// Name of the environment variable that holds the API key (default: NOMOAT_API_KEY)
    #[arg(long, value_name = "NAME", help_heading = "What to measure")]
    pub api_key_env: Option<String>,
    /// A further request header; its value is written nowhere
    #[arg(long, value_name = "NAME: VALUE", help_heading = "What to measure")]
    #[serde(skip_serializing)]
    pub header: Vec<String>,
    /// JSON object merged into every request body, last
    #[arg(long, value_name = "JSON", help_heading = "What to measure")]
    pub extra_body: Option<String>,
    /// Sampling temperature (default: 0, greedy)
    #[arg(long, allow_negative_numbers = true, help_heading = "What to measure")]
    pub temperature: Option<f64>,
    /// 1: HTTP/1.1; 2: HTTP/2, without TLS too; auto: HTTP/2 where TLS agrees on it (default: 1)
    #[arg(long, value_name = "1|2|auto", help_heading = "What to measure")]
    pub http: Option<String>,
    /// Trust the certificates in this PEM file as well
    #[arg(long, value_name = "FILE", help_heading = "What to measure")]
    pub ca_file: Option<PathBuf>,
    /// Do not verify TLS certificates; flags the run
    #[arg(long, help_heading = "What to measure")]
    #[serde(skip_serializing_if = "is_false")]
    pub insecure: bool,
    /// Reach the endpoint through this HTTP proxy; the environment's proxies are not used
    #[arg(long, value_name = "URL", help_heading = "What to measure")]
    pub proxy: Option<String>,
    /// Wait up to this long for the endpoint to be ready
    #[arg(long, value_name = "TIME", help_heading = "What to measure")]
    pub wait_ready: Option<String>,
    /// Where the engine's metrics are (default: /metrics beside the API, if it is there); repeatable
    #[arg(long, value_name = "URL", help_heading = "What to measure")]
    #[serde(with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub metrics_url: Vec<String>,
    /// Longest prompt plus answer in tokens, where the endpoint does not tell
    #[arg(long, value_name = "TOKENS", help_heading = "What to measure")]
    pub context: Option<u32>,
    /// Shape of the built-in engine's model
    #[arg(long, value_name = "NAME", help_heading = "What to measure")]
    pub preset: Option<String>,

    /// A named workload with its load and service levels (`nomoat suites`); flags beside it win
    #[arg(long, value_name = "NAME", help_heading = "Workload")]
    pub suite: Option<String>,
    /// Trace to replay, in any format of `nomoat trace formats` (default: the bundled chat trace)
    #[arg(long, value_name = "FILE", help_heading = "Workload")]
    pub trace: Option<PathBuf>,
    /// Format of the trace, instead of looking at it
    #[arg(long, value_name = "NAME", help_heading = "Workload")]
    pub trace_format: Option<String>,
    /// Leave out rows of the trace that are wrong, and say how many, instead of refusing it
    #[arg(long, help_heading = "Workload")]
    #[serde(skip_serializing_if = "is_false")]
    pub lenient: bool,
    /// Gaps inside recorded sessions: think: after the turn before has ended; recorded: after it began, whatever the engine does now
    #[arg(long, value_name = "think|recorded", help_heading = "Workload")]
    pub gaps: Option<String>,
    /// Take only what begins from this moment of the trace on
    #[arg(long, value_name = "TIME", help_heading = "Workload")]
    pub trace_from: Option<String>,
    /// Take only what begins within this time
    #[arg(long, value_name = "TIME", help_heading = "Workload")]
    pub trace_span: Option<String>,
    /// Take only so many sessions (and requests without one)
    #[arg(long, value_name = "N", help_heading = "Workload")]
    pub trace_sessions: Option<u32>,
    /// Enter each session between these shares of its turns; what was said before is part of the first prompt
    #[arg(long, value_name = "LOW,HIGH", help_heading = "Workload")]
    pub enter: Option<String>,
    /// Less load with the same gaps: keep this share of the sessions
    #[arg(long, allow_negative_numbers = true, value_name = "SHARE", help_heading = "Workload")]
    pub thin: Option<f64>,
    /// More load with the same gaps: run this many copies of the trace at once, which share no prompt
    #[arg(long, value_name = "N", help_heading = "Workload")]
    pub superpose: Option<u32>,
    /// Multiply the times between arrivals, not the gaps inside sessions
    #[arg(long, allow_negative_numbers = true, value_name = "FACTOR", help_heading = "Workload")]
    pub arrival_scale: Option<f64>,
    /// Multiply the gaps inside sessions
    #[arg(long, allow_negative_numbers = true, value_name = "FACTOR", help_heading = "Workload")]
    pub gap_scale: Option<f64>,
    /// Cut longer gaps inside sessions to this: a cache then forgets less than it did when recorded
    #[arg(long, value_name = "TIME", help_heading = "Workload")]
    pub gap_cap: Option<String>,
    /// Whose answers a conversation continues: recorded, or live, this run's own
    #[arg(long, value_name = "recorded|live", help_heading = "Workload")]
    pub history: Option<String>,
    /// Without a trace: prompts of this many tokens
    #[arg(long, alias = "isl", value_name = "N", help_heading = "Workload")]
    pub input_tokens: Option<u32>,
    /// Without a trace: answers of this many tokens
    #[arg(long, alias = "osl", value_name = "N", help_heading = "Workload")]
    pub output_tokens: Option<u32>,
    /// exact: force the length where the engine allows it; cap: let it stop earlier
    #[arg(long, value_name = "exact|cap", help_heading = "Workload")]
    pub output_length: Option<String>,
    /// The model's tokenizer.json: generated texts are then made of words that are one token each by it
    #[arg(long, value_name = "FILE", help_heading = "Workload")]
    pub tokenizer: Option<PathBuf>,
    /// Requests longer than the context
    #[arg(long, value_name = "refuse|skip|clip", help_heading = "Workload")]
    pub overlong: Option<String>,
    /// Start the trace again when it ends, each pass with prompts of its own
    #[arg(long = "loop", help_heading = "Workload")]
    #[serde(rename = "loop", skip_serializing_if = "is_false")]
    pub repeat: bool,
    /// Seed of everything random
    #[arg(long, help_heading = "Workload")]
    pub seed: Option<u64>,
    /// Send the same prompts in every run with this seed: a prefix cache may know them from the last one
    #[arg(long, help_heading = "Workload")]
    #[serde(skip_serializing_if = "is_false")]
    pub same_prompts: bool,

    /// Divide recorded times and gaps by this
    #[arg(long, allow_negative_numbers = true, value_name = "FACTOR", help_heading = "Load")]
    pub speed: Option<f64>,
    /// Requests per second; with a trace, its recorded arrivals are scaled to this mean
    #[arg(long, allow_negative_numbers = true, alias = "request-rate", value_name = "R", help_heading = "Load")]
    pub rate: Option<f64>,
    /// Law of arrivals; replaces a trace's recorded ones
    #[arg(long, value_name = "constant|poisson|gamma", help_heading = "Load")]
    pub arrivals: Option<String>,
    /// Coefficient of variation of gamma gaps
    #[arg(long, allow_negative_numbers = true, value_name = "CV", help_heading = "Load")]
    pub cv: Option<f64>,
    /// The same as --cv, the way vLLM writes it: 1/cv²
    #[arg(long, allow_negative_numbers = true, value_name = "B", help_heading = "Load")]
    pub burstiness: Option<f64>,
    /// Closed loop: this many requests at any time
    #[arg(long, value_name = "C", help_heading = "Load")]
    pub concurrency: Option<u32>,
    /// Closed loop: pause between an answer and the next request
    #[arg(long, value_name = "TIME", help_heading = "Load")]
    pub think: Option<String>,
    /// Concurrencies to go through when no load is given
    #[arg(long, value_name = "C,C,…", help_heading = "Load")]
    pub ladder: Option<String>,
    /// Length of the measured window
    #[arg(long, value_name = "TIME", help_heading = "Load")]
    pub duration: Option<String>,
    /// Number of measured requests
    #[arg(long, alias = "num-prompts", value_name = "N", help_heading = "Load")]
    pub requests: Option<u32>,
    /// What comes before the window: a time (2s) or a number of requests (100)
    #[arg(long, value_name = "TIME|N", help_heading = "Load")]
    pub warmup: Option<String>,
    /// Open loop: at most this many in flight; what is due waits, its clock running
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub max_concurrency: Option<u32>,
    /// Above this many in flight a due request is dropped, and counted
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub max_in_flight: Option<u32>,
    /// reuse: keep connections open; per-request: a new one each time; N: at most N, a due request waits for one (--http 2: N that all share)
    #[arg(long, value_name = "reuse|per-request|N", help_heading = "Load")]
    pub connections: Option<String>,
    /// Send a request that is declined for now (429, 503) again, at most N times, when the endpoint says; its clock runs on (default: 0)
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub retries: Option<u16>,
    /// Before the load, ask twenty prompts twice alone and once under a load of eight; the verdict tells whether answers repeat (V15)
    #[arg(long, help_heading = "Load")]
    #[serde(skip_serializing_if = "is_false")]
    pub quality: bool,
    /// End the run when its answers have cost this much by --price
    #[arg(long, value_name = "USD", help_heading = "Load")]
    pub budget_usd: Option<f64>,
    /// Longest time for one request
    #[arg(long, value_name = "TIME", help_heading = "Load")]
    pub timeout: Option<String>,
    /// Longest time to a first token
    #[arg(long, value_name = "TIME", help_heading = "Load")]
    pub first_token_timeout: Option<String>,
    /// Load-generating threads (default: cores less one)
    #[arg(long, value_name = "N", help_heading = "Load")]
    pub shards: Option<u16>,

    /// Service level for goodput, such as ttft=500ms,tpot=50ms
    #[arg(long, value_name = "LIMITS", help_heading = "What it is worth")]
    pub slo: Option<String>,
    /// The same in milliseconds, the way vLLM writes it: ttft:500 tpot:50
    #[arg(long, value_name = "METRIC:MS", num_args = 1.., help_heading = "What it is worth")]
    pub goodput: Vec<String>,
    /// Price of the whole pool behind the endpoint, idle parts included
    #[arg(long, allow_negative_numbers = true, value_name = "USD", help_heading = "What it is worth")]
    pub usd_per_hour: Option<f64>,
    /// Price per million tokens: in=0.15,out=0.60,cached=0.075 (and write=, reasoning= where they differ)
    #[arg(long, value_name = "LIST", help_heading = "What it is worth")]
    pub price: Option<String>,
    /// What is behind the endpoint: h200:8
    #[arg(long, value_name = "NAME:COUNT", help_heading = "What it is worth")]
    pub accelerators: Option<String>,
    /// A TOML file that says more of it: parallelism, precision, engine arguments, image digest, region
    #[arg(long, value_name = "FILE", help_heading = "What it is worth")]
    pub system: Option<PathBuf>,
    /// Where a scheduler put it: a recorded page of `kubectl get pods,podgroups,nodes -o json` or of Slurm's `scontrol show job`; repeatable
    #[arg(long, value_name = "FILE", help_heading = "What it is worth")]
    pub placement: Vec<PathBuf>,
    /// The model's config.json, for theoretical KV bytes per token
    #[arg(long, value_name = "FILE", help_heading = "What it is worth")]
    pub model_config: Option<PathBuf>,
    /// Type of the KV cache, where it is not the model's own: bf16, fp16, fp8, f32. Every element is counted in it: the packed fp8 rows of latent caches, with scales and a rotary part in bf16, are in `nomoat kv`
    #[arg(long, value_name = "TYPE", help_heading = "What it is worth")]
    pub kv_dtype: Option<String>,

    #[command(flatten)]
    #[serde(flatten)]
    pub energy: EnergyArgs,

    /// Note on this run, kept in its manifest
    #[arg(long, value_name = "K=V", help_heading = "Output")]
    pub label: Vec<String>,
    /// Folder of run directories (default: NOMOAT_OUT, else runs)
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    #[serde(skip_serializing)]
    pub out: Option<PathBuf>,
    /// table, markdown, csv or json (json prints summary.json)
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    #[serde(skip_serializing)]
    pub format: Option<String>,
    /// No progress, only the report
    #[arg(long, help_heading = "Output")]
    #[serde(skip_serializing_if = "is_false")]
    pub quiet: bool,
    /// Calibrate the instrument at this run's load, before and after it, and print its error under the table
    #[arg(long, help_heading = "Output")]
    #[serde(skip_serializing_if = "is_false")]
    pub calibrate: bool,
    /// Print what would be sent, without connecting
    #[arg(long, help_heading = "Output")]
    #[serde(skip)]
    pub dry_run: bool,
    /// Outcomes that shall exit with 0: invalid, slo, partial, nothing, interrupted
    #[arg(long, value_name = "LIST", help_heading = "Output")]
    pub exit_zero_on: Option<String>,
}

/// A list that is written as a text where it has one entry, and read from a text with commas too.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }

    pub fn serialize<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        match list {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match Words::deserialize(deserializer)? {
            Words::One(text) => text.split(',').map(str::to_owned).collect(),
            Words::Many(list) => list,
        })
    }
}

fn without_secrets<S: serde::Serializer>(pairs: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    pairs.iter().map(|pair| crate::launch::secrets::redacted(pair)).collect::<Vec<_>>().serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
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
#[command(args_conflicts_with_subcommands = true)]
pub struct TruthArgs {
    #[command(subcommand)]
    pub command: Option<TruthCommand>,
    #[command(flatten)]
    pub serve: TruthServeArgs,
}

#[derive(Subcommand, Debug)]
pub enum TruthCommand {
    /// Hold a run's stamps against the server's log
    Compare(TruthCompareArgs),
}

#[derive(Args, Debug)]
pub struct TruthServeArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8100")]
    pub listen: String,
    /// Speak TLS, with a certificate that protects nothing; HTTP/2 is spoken with TLS and without
    #[arg(long, conflicts_with = "instant")]
    pub tls: bool,
    /// Write that certificate to this file, for --ca-file
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub certificate: Option<PathBuf>,
    /// What it does: key=value,… (ttft=50ms,itl=10ms,jitter=uniform:0.2,tokens_per_chunk=2,fault=…)
    #[arg(long, value_name = "SCRIPT", default_value = "", hide_default_value = true)]
    pub script: String,
    /// Play recorded responses, byte for byte: files NAME.http of this folder, asked for by /NAME/… or as the model
    #[arg(long, value_name = "FOLDER", conflicts_with = "instant")]
    pub play: Option<PathBuf>,
    /// With --play: where responses are cut into writes; pieces leave one ITL of the script apart
    #[arg(long, value_name = "whole|BYTES|random:SEED", default_value = "whole", requires = "play")]
    pub cut: String,
    /// Append what it did to this file, one JSON line per request
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Serving threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Play nothing: answer at once with the same bytes, in one write or in one per token
    #[arg(long, value_name = "whole|token")]
    pub instant: Option<String>,
    /// With --instant: tokens of every answer
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub tokens: u32,
}

#[derive(Args, Debug)]
pub struct CalibrateArgs {
    /// Measure an adapter instead: start it as `run --exec` does, let it play a script (its hello must say `echo`), print its own latency
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
    /// The same with an adapter that listens on this socket already
    #[arg(long, value_name = "PATH")]
    pub exec_socket: Option<PathBuf>,
    /// Wait up to this long for the adapter to listen
    #[arg(long, value_name = "TIME")]
    pub wait_ready: Option<String>,
    /// One open loop at this rate, instead of the standard loads
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// One closed loop of this many lanes, instead of the standard loads
    #[arg(long, value_name = "C")]
    pub concurrency: Option<u32>,
    /// With --rate or --concurrency: tokens of a prompt
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub input_tokens: u32,
    /// With --rate or --concurrency: tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub output_tokens: u32,
    /// With --rate or --concurrency: what the server or the adapter plays; itl is the chunk rate
    #[arg(long, value_name = "SCRIPT", default_value = "ttft=50ms,itl=10ms")]
    pub script: String,
    /// Which HTTP the loads go over (default: 1); ceilings are taken over HTTP/1.1
    #[arg(long, value_name = "1|2")]
    pub http: Option<String>,
    /// Loads go over TLS
    #[arg(long)]
    pub tls: bool,
    /// Length of each measured window
    #[arg(long, value_name = "TIME")]
    pub duration: Option<String>,
    /// With --rate or --concurrency: the ceilings as well
    #[arg(long)]
    pub ceiling: bool,
    /// With the standard loads: 10,000 slow streams as well
    #[arg(long)]
    pub streams: bool,
    /// Load-generating threads (default: cores less one)
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// table, markdown or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
    /// No progress, only the certificate
    #[arg(long)]
    pub quiet: bool,
}

#[derive(Args, Debug)]
pub struct TruthCompareArgs {
    /// The run's directory
    pub run: PathBuf,
    /// The server's log
    #[arg(long, value_name = "FILE")]
    pub log: PathBuf,
    /// table or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

/// What `audit --help` adds to `-h`.
const AUDIT: &str = "\
COMMAND is started once, without a shell. In each of its words these names are filled in:
  {url} http://HOST:PORT      {base_url} the same with /v1      {host} {port} {model}
  {out} an empty folder for its result      {rate} {concurrency} {requests}
  {input_tokens} {output_tokens}
The server plays the script and logs when each request arrived and when each token left. The
harness's error is what its result says minus the same statistic of that log. Then nomoat runs the
same load against the same script, and stands beside it under the same questions.

Example:
  nomoat audit --rate 20 --requests 200 -- aiperf profile --model {model} --url {url} \\
    --endpoint-type chat --streaming --tokenizer ./tokenizer --isl {input_tokens} \\
    --osl {output_tokens} --extra-inputs ignore_eos:true --request-rate {rate} \\
    --arrival-pattern constant --request-count {requests} --artifact-dir {out} --ui none";

#[derive(Args, Debug)]
pub struct AuditArgs {
    /// The other harness's command line, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// What the server does: key=value,… (answers are --output-tokens long unless it says output_tokens)
    #[arg(long, value_name = "SCRIPT", default_value = "ttft=50ms,itl=10ms")]
    pub script: String,
    /// Open loop: requests per second (default: 20)
    #[arg(long, value_name = "R", allow_negative_numbers = true, conflicts_with = "concurrency")]
    pub rate: Option<f64>,
    /// Closed loop: this many requests at any time
    #[arg(long, value_name = "C")]
    pub concurrency: Option<u32>,
    /// Law of arrivals that COMMAND asks its harness for
    #[arg(long, value_name = "constant|poisson", default_value = "constant")]
    pub arrivals: String,
    /// Number of requests
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub requests: u32,
    /// Tokens of each prompt
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub input_tokens: u32,
    /// Tokens of each answer
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub output_tokens: u32,
    /// Its result file (default: the newest below {out} that a reader knows)
    #[arg(long, value_name = "FILE")]
    pub result: Option<String>,
    /// Reader of its result, instead of looking at it: vllm, sglang, aiperf, guidellm, inference-perf
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// Keep its result, our run and both logs of the server in this new folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Longest time for COMMAND
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub timeout: String,
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

/// What `kernels --help` adds.
const KERNELS: &str = "\
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
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

#[derive(Args, Debug)]
pub struct DevicesArgs {
    /// Check every kernel variant on every device against f64, and print a report to send
    #[arg(long)]
    pub selftest: bool,
    /// Folder in which runtime compilers are looked for first (libnvrtc.so, libhiprtc.so)
    #[arg(long, value_name = "DIR")]
    pub rtc: Option<PathBuf>,
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

#[derive(Subcommand, Debug)]
pub enum EngineCommand {
    /// Name every engine that is known and what it is recognised by
    List(EngineListArgs),
    /// Tell what is known of one
    Show(EngineShowArgs),
    /// Find out what an endpoint or an adapter is and what it can do: the probe that every run begins with
    Probe(Box<EndpointArgs>),
    /// Name the traps that streams set for whoever reads them, or write all of them into a folder, with what each must be read as
    Suite(EngineSuiteArgs),
    /// Check whether numbers taken from an endpoint or behind an adapter would be true; exits with 5 when they would not
    Conform(Box<ConformArgs>),
}

#[derive(Args, Debug)]
pub struct EngineSuiteArgs {
    /// Where to write NAME.http and NAME.expect of every case; `nomoat truth --play DIR` plays them
    pub folder: Option<PathBuf>,
    /// Output format of the list
    #[arg(long, value_name = "table|markdown|csv|json")]
    pub format: Option<String>,
}

#[derive(Args, Debug)]
pub struct ConformArgs {
    #[command(flatten)]
    pub endpoint: EndpointArgs,
    /// Also ask twenty prompts twice alone and once under load, and compare the answers
    #[arg(long)]
    pub quality: bool,
    /// Requests at the same time for --quality
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub quality_load: usize,
}

#[derive(Args, Debug)]
pub struct EngineListArgs {
    /// Folder of further engine descriptions (default: NOMOAT_ENGINES)
    #[arg(long, value_name = "DIR")]
    pub engines: Option<PathBuf>,
    /// Output format
    #[arg(long, value_name = "table|markdown|csv|json")]
    pub format: Option<String>,
}

#[derive(Args, Debug)]
pub struct EngineShowArgs {
    /// Its name
    pub name: String,
    /// Folder of further engine descriptions (default: NOMOAT_ENGINES)
    #[arg(long, value_name = "DIR")]
    pub engines: Option<PathBuf>,
}

/// How to reach an endpoint, as `run` has it.
#[derive(Args, Debug, Default, Clone)]
pub struct EndpointArgs {
    /// Address of the endpoint; none with --exec and --exec-socket
    #[arg(required_unless_present_any = ["exec", "exec_socket"])]
    pub url: Option<String>,
    /// Start this adapter instead, as `run --exec` does
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,
    /// Socket that an adapter listens on already
    #[arg(long, value_name = "PATH")]
    pub exec_socket: Option<PathBuf>,
    /// What it is, where it does not show it: a name of `nomoat engine list`
    #[arg(long, value_name = "NAME")]
    pub engine: Option<String>,
    /// Folder of further engine descriptions (default: NOMOAT_ENGINES)
    #[arg(long, value_name = "DIR")]
    pub engines: Option<PathBuf>,
    /// Model to ask for; not needed when the endpoint lists one
    #[arg(long)]
    pub model: Option<String>,
    /// Route to post to; its end tells the dialect
    #[arg(long, value_name = "PATH")]
    pub endpoint: Option<String>,
    /// Name of the environment variable that holds the API key (default: NOMOAT_API_KEY)
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
    /// A further request header
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// JSON object merged into every request body, last
    #[arg(long, value_name = "JSON")]
    pub extra_body: Option<String>,
    /// 1: HTTP/1.1; 2: HTTP/2; auto: HTTP/2 where TLS agrees on it (default: 1)
    #[arg(long, value_name = "1|2|auto")]
    pub http: Option<String>,
    /// Trust the certificates in this PEM file as well
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Do not verify TLS certificates
    #[arg(long)]
    pub insecure: bool,
    /// Reach the endpoint through this HTTP proxy
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// Wait up to this long for the endpoint to be ready
    #[arg(long, value_name = "TIME")]
    pub wait_ready: Option<String>,
    /// Where the engine's metrics are (default: /metrics beside the API, if it is there)
    #[arg(long, value_name = "URL")]
    pub metrics_url: Vec<String>,
    /// Longest time for one request
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Output format
    #[arg(long, value_name = "table|json")]
    pub format: Option<String>,
}

impl From<EndpointArgs> for RunArgs {
    fn from(a: EndpointArgs) -> Self {
        Self {
            url: a.url.into_iter().collect(),
            exec: a.exec,
            exec_socket: a.exec_socket,
            engine: a.engine,
            engines: a.engines,
            model: a.model,
            endpoint: a.endpoint,
            api_key_env: a.api_key_env,
            header: a.header,
            extra_body: a.extra_body,
            http: a.http,
            ca_file: a.ca_file,
            insecure: a.insecure,
            proxy: a.proxy,
            wait_ready: a.wait_ready,
            metrics_url: a.metrics_url,
            timeout: a.timeout,
            format: a.format,
            ..Self::default()
        }
    }
}

/// The long names of the flags of `run`.
#[cfg(test)]
pub fn run_flags() -> Vec<String> {
    use clap::CommandFactory as _;
    let cli = Cli::command();
    let run = cli.find_subcommand("run");
    run.into_iter().flat_map(clap::Command::get_arguments).filter_map(|flag| flag.get_long().map(str::to_owned)).collect()
}
