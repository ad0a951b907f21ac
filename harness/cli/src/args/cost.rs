//! Flags of `nomoat cost` and `nomoat prices`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What `nomoat cost --help` adds to `-h`.
pub(super) const COST: &str = "\
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

#[derive(Args, Debug)]
pub struct CostArgs {
    /// Finished runs: their directories
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// Devices that served them, as h200:8 or prefill=h200:4 (again for every pool; default: the run's --accelerators)
    #[arg(long, value_name = "[ROLE=]NAME:COUNT")]
    pub sku: Vec<String>,
    /// Whose price of an hour, as the price book names them (again for several; default: every owner there is)
    #[arg(long, value_name = "OWNER")]
    pub owner: Vec<String>,
    /// USD per hour of the whole pool, instead of devices from the price book
    #[arg(long, value_name = "USD")]
    pub usd_per_hour: Option<f64>,
    /// USD per hour of what no device's price has: routers, frontends
    #[arg(long, value_name = "USD")]
    pub beside_usd_per_hour: Option<f64>,
    /// The same tokens at an API's prices (again for several)
    #[arg(long, value_name = "PROVIDER/MODEL[@TIER]")]
    pub against: Vec<String>,
    /// Service level of good output, instead of the run's own: ttft=500ms,tpot=50ms,e2e=10s (folds the records again)
    #[arg(long, value_name = "LIMITS")]
    pub slo: Option<String>,
    /// Per cent of the requests that must meet it for a load to count
    #[arg(long, value_name = "PERCENT", default_value_t = nomoat_results::cost::ATTAINMENT * 100.0)]
    pub attainment: f64,
    /// Per cent of the time that your hardware is used
    #[arg(long, value_name = "PERCENT,…", value_delimiter = ',', default_values_t = [70.0, 30.0])]
    pub utilisation: Vec<f64>,
    /// What a cold start adds: how long a switch takes
    #[arg(long, value_name = "TIME", requires = "tokens_between")]
    pub switch: Option<String>,
    /// Tokens served between two of them, as 5M
    #[arg(long, value_name = "TOKENS", requires = "switch")]
    pub tokens_between: Option<String>,
    /// As if the first request had been due then, in UTC: 2026-10-28T02:00:00Z
    #[arg(long, value_name = "MOMENT")]
    pub at: Option<String>,
    #[command(flatten)]
    pub book: BookArgs,
    /// Refuse what may not be published: old prices, invalid runs
    #[arg(long)]
    pub publish: bool,
    /// table, markdown, csv or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
}

/// Which prices.
#[derive(Args, Debug)]
pub struct BookArgs {
    /// Prices of your own: a TOML file or a folder of them; what they name replaces what ships (default: NOMOAT_PRICES)
    #[arg(long, value_name = "FILE")]
    pub prices: Vec<PathBuf>,
    /// Days after which a price is old
    #[arg(long, value_name = "DAYS", default_value_t = nomoat_results::prices::MAX_AGE_DAYS)]
    pub max_price_age: i64,
}

#[derive(Args, Debug)]
pub struct PricesArgs {
    #[command(subcommand)]
    pub command: PricesCommand,
}

#[derive(Subcommand, Debug)]
pub enum PricesCommand {
    /// Every price that holds, with its age
    List {
        #[command(flatten)]
        book: BookArgs,
        /// Those of the past too
        #[arg(long)]
        all: bool,
        /// table, markdown, csv or json
        #[arg(long, value_name = "FORMAT", default_value = "table")]
        format: String,
    },
    /// All that is known of one: spans, hours, sources
    Show {
        /// As `list` names it: provider/model or device@owner
        name: String,
        #[command(flatten)]
        book: BookArgs,
    },
    /// Check files of your own, and the age of every price
    Check {
        #[command(flatten)]
        book: BookArgs,
        /// An old price is an error
        #[arg(long)]
        strict: bool,
    },
    /// Turn offers into a file of prices: what `dstack offer --gpu … --json` printed
    Import {
        /// The page of offers; - is stdin
        file: PathBuf,
        /// The day it was printed, as 2026-11-28 (default: today)
        #[arg(long, value_name = "DATE")]
        date: Option<String>,
    },
}
