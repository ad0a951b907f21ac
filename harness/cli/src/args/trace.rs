//! Flags of `nomoat trace`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct TraceArgs {
    #[command(subcommand)]
    pub command: TraceCommand,
}

/// Which trace, and how it is read.
#[derive(Args, Debug)]
pub struct Input {
    /// The trace: a file, perhaps compressed by gzip or zstd, or a folder
    #[arg(value_name = "INPUT")]
    pub path: PathBuf,
    /// Its format, instead of looking at it
    #[arg(long, value_name = "NAME")]
    pub from: Option<String>,
    /// Seed for what the format leaves open
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Leave out wrong rows, and say how many, instead of refusing the file
    #[arg(long)]
    pub lenient: bool,
    /// Leave arrivals that a coarse clock rounded where they are, instead of spreading them inside their tick
    #[arg(long)]
    pub no_spread: bool,
    /// Gaps inside sessions: think: after the turn before has ended; recorded: after it began
    #[arg(long, value_name = "think|recorded")]
    pub gaps: Option<String>,
}

#[derive(Subcommand, Debug)]
pub enum TraceCommand {
    /// Convert a trace to the canonical format
    Import {
        #[command(flatten)]
        input: Input,
        /// Where to write; .zst compresses (default: stdout)
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Read a trace and say what is wrong with it
    Check {
        #[command(flatten)]
        input: Input,
    },
    /// Counts, arrivals, lengths, sessions and prefix reuse of a trace
    Stats {
        #[command(flatten)]
        input: Input,
        /// Sizes of an engine's blocks, in tokens
        #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [16])]
        block: Vec<u32>,
        /// Sizes of a cache under least recently used, in the trace's own blocks
        #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [1_000, 5_000, 10_000, 20_000, 50_000, 100_000])]
        cache: Vec<u32>,
        /// table or json
        #[arg(long, value_name = "FORMAT", default_value = "table")]
        format: String,
    },
    /// The requests of a trace, one a line
    Show {
        #[command(flatten)]
        input: Input,
        /// From this request on
        #[arg(long, value_name = "N", default_value_t = 0)]
        first: usize,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Make another trace of a part of one, or of all of it at another pace
    Slice {
        #[command(flatten)]
        input: Input,
        #[command(flatten)]
        replay: Replay,
        /// Where to write; .zst compresses (default: stdout)
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Write a trace for another tool; what its format cannot say is listed
    Export {
        #[command(flatten)]
        input: Input,
        /// The format
        #[arg(long, value_name = "mooncake|aiperf")]
        to: String,
        /// Where to write (default: stdout)
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Record a trace: a proxy in front of an endpoint, which streams through untouched
    ///
    /// Clients use the printed address in the endpoint's place. The trace has arrivals, lengths, conversations, which prompts begin
    /// alike, who went away and what failed, of chat/completions and completions; not what was said, unless --keep-text, and never a
    /// header or a key. Ctrl-C ends it and writes the trace. A client that wants exact lengths of streams asks for them
    /// (stream_options.include_usage): nothing is added to what it sends.
    Record {
        /// The endpoint
        #[arg(long, value_name = "http://HOST:PORT")]
        to: String,
        /// Where to listen; beyond the loopback interface everybody who reaches it can use the endpoint
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
        listen: String,
        /// Where to write; .zst compresses
        #[arg(short, long)]
        output: PathBuf,
        /// Requests with the same value of this header are one session (default: those that repeat an earlier one's messages)
        #[arg(long, value_name = "NAME")]
        session_header: Option<String>,
        /// How finely common beginnings of prompts are seen, in tokens; a token is taken to be 4 bytes
        #[arg(long, value_name = "N", default_value_t = 16)]
        block: u32,
        /// Keep what was asked, word for word
        #[arg(long)]
        keep_text: bool,
        /// End by itself after this time
        #[arg(long = "for", value_name = "TIME")]
        span: Option<String>,
    },
    /// The formats that are read and written
    Formats,
    /// Put classes, adapters and users who go away over a trace
    Overlay {
        #[command(flatten)]
        input: Input,
        /// Classes of sessions: name, share, priority
        #[arg(long, value_name = "NAME:SHARE:PRIORITY,…", value_delimiter = ',', allow_hyphen_values = true)]
        classes: Vec<String>,
        /// Names of adapters (LoRA) to ask for
        #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
        adapters: Vec<String>,
        /// How unequally: the k-th adapter with weight k to the power of minus this
        #[arg(long, value_name = "EXPONENT", default_value_t = 0.0, requires = "adapters")]
        zipf: f64,
        /// Users go away at random while they wait, this often: 0.01/s
        #[arg(long, value_name = "RATE/s", allow_hyphen_values = true)]
        cancel_hazard: Option<String>,
        /// Only this share of users would; the others stay
        #[arg(long, value_name = "SHARE", requires = "cancel_hazard")]
        cancel_share: Option<f64>,
        /// Where to write; .zst compresses (default: stdout)
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// The generators and their options
    Generators,
    /// Generate a trace: the chat trace that is bundled, or one of `nomoat trace generators`
    Make {
        /// The generator
        #[arg(default_value = "chat")]
        name: String,
        /// An option of it; repeatable
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Seed of everything random in it
        #[arg(long, default_value_t = 42)]
        seed: u64,
        /// Number of requests: the same as --set requests=N
        #[arg(long, value_name = "N")]
        requests: Option<u32>,
        /// Where to write; .zst compresses (default: stdout)
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
}

/// What to do to a trace before it is used.
#[derive(Args, Debug, Default)]
pub struct Replay {
    /// What begins from this moment of the trace on
    #[arg(id = "start", long = "start", value_name = "TIME")]
    pub from: Option<String>,
    /// What begins within this time
    #[arg(long, value_name = "TIME")]
    pub span: Option<String>,
    /// So many sessions (and requests without one)
    #[arg(long, value_name = "N")]
    pub sessions: Option<u32>,
    /// Each session from somewhere between these shares of its turns on
    #[arg(long, value_name = "LOW,HIGH")]
    pub enter: Option<String>,
    /// This share of the sessions
    #[arg(long, allow_negative_numbers = true, value_name = "SHARE")]
    pub thin: Option<f64>,
    /// This many copies at once, which share no prompt
    #[arg(long, value_name = "N")]
    pub superpose: Option<u32>,
    /// Multiply the times between arrivals, not the gaps inside sessions
    #[arg(long, allow_negative_numbers = true, value_name = "FACTOR")]
    pub arrival_scale: Option<f64>,
    /// Multiply the gaps inside sessions
    #[arg(long, allow_negative_numbers = true, value_name = "FACTOR")]
    pub gap_scale: Option<f64>,
    /// Cut longer gaps inside sessions to this
    #[arg(long, value_name = "TIME")]
    pub gap_cap: Option<String>,
    /// recorded, or live: continue the answers of the run
    #[arg(skip)]
    pub history: Option<String>,
}
