//! `nomoat run`: settings, engine, schedule, load, report.

use crate::args::RunArgs;
use crate::config;
use crate::exec::{self, Adapter};
use crate::exit::{Exit, Failure};
use crate::launch::{self, Running};
use crate::measure::{Bench, Measured};
use crate::output::put;
use crate::setup::{Mode, Setup};
use crate::{advice, cold_start, ctrl_c, preview, quality, target};
use nomoat_core::report::RunReport;
use nomoat_core::schedule::Load;
use nomoat_core::slo::Slo;
use nomoat_core::units::Nanos;
use nomoat_results::table::{Rung, render_ladder};
use std::path::Path;

/// Runs the subcommand.
pub fn run(flags: RunArgs, file: Option<&Path>) -> Result<Exit, Failure> {
    let args = config::resolve(flags, file)?;
    let dry_run = args.dry_run;
    let mut setup = Setup::new(args)?;
    cold_start::check(&setup)?;
    if dry_run {
        put(&preview::preview(&setup)?);
        return Ok(Exit::Ok);
    }
    let (stop_handle, stop) = ctrl_c::install()?;
    if let Some(action) = setup.args.cold_start.clone() {
        return cold_start::cold_start(setup, &action, &stop);
    }
    // Kept to the end: dropping it stops the engine, whatever happens in between.
    let mut running = None;
    if let Some(plan) = setup.launch.clone() {
        let folder = launch::folder(&setup, &format!("launch-{}", plan.engine))?;
        running = Some(Running::start(&setup, &plan, &folder.join("engine.log"), &stop)?);
    }
    let adapter = exec::start(&setup, &stop)?;
    let mut engine = match target::connect(&mut setup, stop.clone()) {
        Ok(engine) => engine,
        Err(failure) => {
            return Err(match &running {
                Some(running) => running.blamed(failure),
                None => exec::blamed(adapter, failure),
            });
        }
    };
    if let Some(suite) = setup.suite.as_ref().filter(|suite| suite.requires.exact_length && !engine.can.exact_length) {
        eprintln!(
            "nomoat: suite `{}` requires forced answer lengths, and this engine forces none; read its speed with that in mind",
            suite.name
        );
    }
    if let Some(running) = &running {
        let cold_start = running.cold_start(engine.first_token);
        engine.is_child(running.id(), running.launched(&setup.out), cold_start);
    }
    if let Some(adapter) = &adapter {
        let probed = engine.adapter.as_ref().map(|backend| backend.probed()).unwrap_or_default();
        engine.is_child(adapter.id(), adapter.launched(&setup.out), adapter.cold_start(probed));
    }
    let loads = match setup.mode.clone() {
        Mode::Single(load) => vec![load],
        Mode::Ladder(rungs) => rungs.into_iter().map(|concurrency| Load::Closed { concurrency, think: Nanos::ZERO }).collect(),
        Mode::Probed => vec![target::probed_load(&mut setup, &engine)?],
    };
    let repeats = quality::ask(&setup, &engine, stop.clone())?;
    let bench = Bench::new(&setup, &engine, stop_handle, stop.clone())?.with_repeats(repeats);
    let mut measured: Vec<(Load, Measured)> = vec![];
    let mut left_out = Exit::Ok;
    for load in loads {
        if stop.asked() {
            left_out = Exit::Interrupted;
            break;
        }
        let one = bench.measure(load)?;
        measured.push((load, one));
    }
    let text = render(&setup, &engine, &measured)?;
    put(&text);
    for ended in [running.and_then(Running::stop), adapter.and_then(Adapter::stop)].into_iter().flatten() {
        eprintln!("nomoat: {ended}");
        left_out = left_out.worst(Exit::Unreachable);
    }
    let exit = measured.iter().fold(left_out, |exit, (_, m)| exit.worst(outcome(&m.report, setup.slo)));
    // A budget that is spent ends a run as it was meant to: a part of it is missing, and nobody interrupted it.
    let exit = if exit == Exit::Interrupted && bench.is_spent() { Exit::Partial } else { exit };
    Ok(if setup.zero_on.contains(&exit) { Exit::Ok } else { exit })
}

fn render(setup: &Setup, engine: &target::Engine, measured: &[(Load, Measured)]) -> Result<String, Failure> {
    let next = advice::next(setup, engine, measured);
    if let [(_, one)] = measured {
        return one.render(setup.format, &next);
    }
    let labels: Vec<String> = measured.iter().map(|(load, _)| label(*load)).collect();
    let rungs: Vec<Rung<'_>> =
        labels.iter().zip(measured).map(|(label, (_, m))| Rung { label, run_id: m.dir.run_id(), report: &m.report }).collect();
    let Some((_, last)) = measured.last() else { return Ok(String::new()) };
    let mut context = last.context(&next);
    context.load = "closed loops, one after the other".into();
    context.below.retain(|line| !line.starts_with("files: "));
    context.below.extend(measured.iter().map(|(load, m)| format!("files, {}: {}", label(*load), m.dir.path().display())));
    Ok(render_ladder(&rungs, &context, setup.format))
}

fn label(load: Load) -> String {
    match load {
        Load::Closed { concurrency, .. } => format!("C = {concurrency}"),
        Load::Rescaled { rate_per_s } | Load::Arrivals { rate_per_s, .. } => format!("{rate_per_s:.2}/s"),
        Load::Replay => "replay".into(),
    }
}

/// The exit code that a report alone decides.
pub fn outcome(report: &RunReport, slo: Slo) -> Exit {
    let mut exit = verdict(report);
    let missed = report
        .get("goodput_share", nomoat_core::report::Stat::Rate, nomoat_core::report::Population::All)
        .and_then(|r| r.value)
        .is_some_and(|share| share < SLO_SHARE);
    if !slo.is_empty() && missed {
        exit = exit.worst(Exit::SloMissed);
    }
    exit
}

/// The share of intended requests that must meet the service level for it to count as met.
pub const SLO_SHARE: f64 = 0.99;

/// The exit code of the verdict.
fn verdict(report: &RunReport) -> Exit {
    let interrupted = report.validity.rules.iter().any(|r| r.code == "V19" && r.finding == nomoat_core::validity::Finding::Fail);
    let mut exit = Exit::Ok;
    if interrupted {
        exit = exit.worst(Exit::Interrupted);
    }
    if report.counts.ok == 0 {
        exit = exit.worst(Exit::NothingMeasured);
    }
    if !report.validity.is_valid() {
        exit = exit.worst(Exit::Invalid);
    }
    exit
}
