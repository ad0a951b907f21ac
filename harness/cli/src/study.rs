//! `nomoat study`: a claim, what there is to judge it by, a verdict.

use crate::args::StudyArgs;
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use crate::setup::format;
use nomoat_results::kernels::KernelRun;
use nomoat_results::study::{Inputs, Report, Scores, Study, StudyError, all, find, study_list, study_report, study_verdicts};

/// Runs the subcommand.
pub fn study(args: &StudyArgs) -> Result<Exit, Failure> {
    let format = format(&args.format)?;
    let scores = args.scores.as_deref().map(Scores::read).transpose().map_err(Failure::usage_of)?;
    // With --all the first word is no study's name but a directory.
    let (name, first) = if args.all { (None, args.name.as_ref()) } else { (args.name.as_ref(), None) };
    let runs = first.map(std::path::PathBuf::from).into_iter().chain(args.runs.iter().cloned());
    let runs: Vec<KernelRun> = runs.map(|run| KernelRun::read(&run).map_err(Failure::usage_of)).collect::<Result<_, _>>()?;
    let Some(name) = name else {
        if args.thresholds.is_some() || (args.scores.is_some() && !args.all) {
            return Err(Failure::usage("--thresholds and --scores are of one study: give its name (--scores also with --all)"));
        }
        put(&if args.all { study_verdicts(&every(&runs, scores.as_ref())?, format) } else { study_list(&all(), format) });
        return Ok(Exit::Ok);
    };
    let mut study = find(name).map_err(Failure::usage_of)?;
    if let Some(path) = &args.thresholds {
        study = study.by(path).map_err(Failure::usage_of)?;
    }
    for (index, report) in reports(&study, &runs, scores.as_ref()).map_err(Failure::usage_of)?.iter().enumerate() {
        if index > 0 {
            line("");
        }
        put(&study_report(report, format));
    }
    Ok(Exit::Ok)
}

/// One report for each measurement, or one on none.
fn reports(study: &Study, runs: &[KernelRun], scores: Option<&Scores>) -> Result<Vec<Report>, StudyError> {
    let inputs = Inputs { scores, ..Inputs::default() };
    match runs {
        [] => Ok(vec![study.report(&inputs)?]),
        runs => runs.iter().map(|run| study.report(&Inputs { kernels: Some(run), ..inputs })).collect(),
    }
}

/// All studies; measurements go to those that judge some.
fn every(runs: &[KernelRun], scores: Option<&Scores>) -> Result<Vec<Report>, Failure> {
    let of = |study: &Study| reports(study, if study.takes_runs() { runs } else { &[] }, scores).map_err(Failure::usage_of);
    Ok(all().iter().map(of).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
