//! Flags of what measures the instrument: `nomoat calibrate`, `nomoat truth`, `nomoat audit`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

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
pub(super) const AUDIT: &str = "\
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
