//! `nomoat report` and `nomoat recover`: runs that have ended.

use crate::args::{RecoverArgs, ReportArgs};
use crate::exit::{Exit, Failure};
use crate::output::put;
use crate::run::outcome;
use crate::{manifest, reconcile, setup};
use nomoat_core::fold::fold;
use nomoat_results::kernels::{self, KernelRun};
use nomoat_results::run_dir::Finished;
use nomoat_results::table::render_kernels;
use nomoat_results::{Format, RunDir, Summary, recover, render};

/// Folds a run's records again, holds the result against the stored summary, and prints it.
pub fn report(args: &ReportArgs) -> Result<Exit, Failure> {
    let format = setup::format(&args.format)?;
    let tool = args.tool.as_deref().map(reconcile::tool).transpose()?;
    if args.run.join(kernels::FILE).is_file() {
        if tool.is_some() {
            return Err(Failure::usage("--as is about requests; a measurement of kernels has none"));
        }
        put(&render_kernels(&KernelRun::read(&args.run).map_err(Failure::usage_of)?, format));
        return Ok(Exit::Ok);
    }
    let dir = RunDir::open(&args.run).map_err(Failure::usage_of)?;
    for what in dir.altered().map_err(Failure::usage_of)? {
        eprintln!("warning: {what}");
    }
    let finished = dir.report(fold).map_err(Failure::usage_of)?;
    let again = Summary::new(dir.run_id(), &finished.report).to_json();
    let stored = dir.summary_text().map_err(Failure::usage_of)?;
    if again == stored {
        eprintln!("summary.json reproduced from {} records, byte for byte", finished.report.counts.recorded);
    } else {
        eprintln!(
            "warning: summary.json differs from what its records say under this version ({}); the records are printed",
            env!("CARGO_PKG_VERSION")
        );
    }
    match tool {
        Some(tool) => put(&reconcile::reconcile(tool, &dir, &finished, format)?),
        None => print(&dir, &finished, format, ""),
    }
    let facts = finished.manifest.facts().map_err(Failure::usage_of)?;
    // A recovered run is a part of one, whatever its records say.
    let partial = if finished.manifest.recovered.is_some() { Exit::Partial } else { Exit::Ok };
    Ok(if partial == Exit::Ok { outcome(&finished.report, facts.slo) } else { partial })
}

/// Finishes what a killed run left behind.
pub fn recovered(args: &RecoverArgs) -> Result<Exit, Failure> {
    let format = setup::format(&args.format)?;
    let (dir, finished) = recover::recover(&args.run, fold).map_err(Failure::usage_of)?;
    if let Some(lost) = &finished.manifest.recovered {
        eprintln!("recovered {} records; {} bytes could not be read", lost.records, lost.dropped_bytes);
    }
    print(&dir, &finished, format, "");
    Ok(Exit::Partial)
}

fn print(dir: &RunDir, finished: &Finished, format: Format, next: &str) {
    let context = manifest::context(&finished.manifest, dir.path(), next);
    put(&render(&finished.report, &context, format));
}
