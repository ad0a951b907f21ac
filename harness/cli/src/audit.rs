//! `nomoat audit`: another harness against the scripted server, and ours after it.
//!
//! Both are processes of their own, one after the other, against servers in this process that play the same script; this process
//! waits meanwhile. What is read, matched and subtracted is in `nomoat_truth::audit`.

mod child;
mod ours;
mod plan;
mod rows;
mod show;

use crate::args::AuditArgs;
use crate::ctrl_c;
use crate::exit::{Exit, Failure};
use crate::folder::Folder;
use crate::output::put;
use nomoat_core::units::Nanos;
use nomoat_truth::audit::{Side, find, wall_offset};
use nomoat_truth::{Config, LogRow, Truth};
use plan::Plan;
use std::path::PathBuf;

/// Runs the subcommand.
pub fn audit(args: &AuditArgs) -> Result<Exit, Failure> {
    let plan = Plan::new(args)?;
    let folder = Folder::new(args.keep.as_deref())?;
    let (_handle, stop) = ctrl_c::install()?;

    let server = start(&plan, folder.file("theirs.log.jsonl"))?;
    let out = folder.dir("theirs")?;
    let words = plan.words(args, &server.addr().to_string(), &out)?;
    let place = args.result.as_deref().map_or_else(|| Ok(out.clone()), |file| plan.path(file, &server.addr().to_string(), &out))?;
    let before = wall_offset();
    let ended = child::run(&words, plan.timeout, &stop);
    let wall = before + (wall_offset() - before) / 2;
    let rows = rows_of(&server);
    // Whether anybody came at all is said first: without it, what else went wrong is a consequence or the cause of it.
    let ended = ended?;
    if rows.is_empty() {
        let message = format!("no generation request reached the server ({ended}); is {{url}} or {{base_url}} in COMMAND?");
        return Err(Failure { exit: Exit::NothingMeasured, message });
    }
    if !ended.ok() {
        return Err(Failure::usage(format!("{ended}, after {} requests; what it printed is above", rows.len())));
    }
    let (_, reported) = find(&place, plan.tool).map_err(Failure::usage_of)?;
    let theirs = Side::new(reported, &rows, plan.load, wall);

    let server = start(&plan, folder.file("ours.log.jsonl"))?;
    let ours = ours::run(&plan, &server, &folder.dir("ours")?, &stop)?;
    let kept = args.keep.as_deref().map(|dir| format!("kept in {}", dir.display()));
    let notes = ours.notes.into_iter().chain(kept).collect();
    put(&show::show(plan.format, &plan, &theirs, &ours.side, notes)?);
    Ok(Exit::Ok)
}

fn start(plan: &Plan, log: PathBuf) -> Result<Truth, Failure> {
    let config = Config { script: plan.script.clone(), log_file: Some(log), ..Config::default() };
    Truth::start(config).map_err(Failure::internal)
}

/// The rows of a server whose clients have gone. It is stopped first, so that a stream that was cut has its row.
fn rows_of(server: &Truth) -> Vec<LogRow> {
    server.stop();
    server.log()
}

/// Times in messages.
fn seconds(time: Nanos) -> String {
    format!("{} s", time.as_secs_f64())
}
