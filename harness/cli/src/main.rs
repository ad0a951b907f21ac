//! The `nomoat` binary: parse, wire together, print.

mod advice;
mod args;
mod config;
mod ctrl_c;
mod exit;
mod geometry;
mod manifest;
mod measure;
mod metrics;
mod output;
mod preview;
mod progress;
mod run;
mod setup;
mod stored;
mod target;
mod trace;
mod truth;

use args::{Cli, Command};
use clap::Parser;
use exit::{Exit, Failure};

fn main() {
    let exit = match dispatch(Cli::parse().command) {
        Ok(exit) => exit,
        Err(Failure { exit, message }) => {
            eprintln!("nomoat: {message}");
            exit
        }
    };
    std::process::exit(exit as i32);
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(*args),
        Command::Report(args) => stored::report(&args),
        Command::Recover(args) => stored::recovered(&args),
        Command::Truth(args) => truth::truth(&args),
        Command::Trace(args) => trace::trace(&args),
        Command::Metrics(args) => metrics::metrics(&args),
    }
}
