//! The `nomoat` binary: parse, wire together, print.

mod advice;
mod agree;
mod args;
mod audit;
mod budget;
mod calibrate;
mod certify;
mod child;
mod cold_start;
mod config;
mod cost;
mod ctrl_c;
mod devices;
mod energy;
mod engine;
mod exec;
mod exit;
mod export;
mod folder;
mod geometry;
mod joined;
mod kernels;
mod kv;
mod launch;
mod live_line;
mod manifest;
mod measure;
mod metrics;
mod output;
mod preview;
mod prices;
mod processes;
mod profiles;
mod progress;
mod quality;
mod reconcile;
mod replay;
mod run;
mod setup;
mod stored;
mod study;
mod suites;
mod target;
mod trace;
mod truth;
mod wait;

use args::{Cli, Command};
use clap::Parser;
use exit::{Exit, Failure};

fn main() {
    // A panic on any thread is our own failure: a run that went on without the thread would wait for it for ever.
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        show(panic);
        eprintln!("nomoat: this is a fault of nomoat; `nomoat recover RUN` finishes what a run left behind");
        child::kill_all();
        std::process::exit(Exit::Internal as i32);
    }));
    raise_file_limit();
    let exit = match config::expand(std::env::args_os().collect()).and_then(|argv| dispatch(Cli::parse_from(argv))) {
        Ok(exit) => exit,
        Err(Failure { exit, message }) => {
            eprintln!("nomoat: {message}");
            exit
        }
    };
    std::process::exit(ctrl_c::by_signal(exit) as i32);
}

fn dispatch(Cli { command, file }: Cli) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(*args, file.as_deref()),
        Command::Report(args) => stored::report(&args),
        Command::Recover(args) => stored::recovered(&args),
        Command::Calibrate(args) => calibrate::calibrate(&args),
        Command::Truth(args) => truth::truth(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Trace(args) => trace::trace(&args),
        Command::Cost(args) => cost::cost(&args),
        Command::Export(args) => export::export(&args),
        Command::Prices(args) => prices::prices(args),
        Command::Kv(args) => kv::kv(&args),
        Command::Profiles(args) => profiles::profiles(&args),
        Command::Kernels(args) => kernels::kernels(&args),
        Command::Engine(command) => engine::engine(command),
        Command::Devices(args) => devices::devices(&args),
        Command::Study(args) => study::study(&args),
        Command::Suites(args) => suites::suites(&args),
        Command::Metrics(args) => metrics::metrics(&args),
    }
}

/// A stream is a descriptor: as many as the host allows.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // If the host declines, the limit stays, and requests beyond it fail as `exhausted`.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}
