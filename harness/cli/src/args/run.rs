//! Flags of `nomoat run`. Every key may stand in a file given with `-f`, and in a manifest, under the same name.

use super::EnergyArgs;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What `--help` adds to `-h`: why the choices are what they are.
pub(super) const WHY: &str = "\
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
pub(super) mod one_or_many {
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
