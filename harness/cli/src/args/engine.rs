//! Flags of `nomoat engine`.

use super::RunArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

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
