//! `nomoat study`: a claim, what there is to judge it by, a verdict.

use crate::args::StudyArgs;
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use crate::setup::format;
use nomoat_core::collective::{Collective, Weighting};
use nomoat_results::collectives::{Asked, LinkFit};
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
    // An all-reduce where a page does not tell, as pages before nccl-tests 2.17; of another collective the study says so itself.
    let asked = Asked {
        collective: None,
        otherwise: Some(Collective::AllReduce),
        ranks: args.ranks,
        in_place: false,
        weighting: Weighting::Relative,
    };
    if args.ranks.is_some() && args.collectives.is_empty() {
        return Err(Failure::usage("--ranks is about the pages of --collectives; give those too"));
    }
    let pages = args.collectives.iter().map(|path| LinkFit::open(path, asked).map_err(Failure::usage));
    let collectives: Vec<LinkFit> = pages.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    let inputs = Inputs { scores: scores.as_ref(), collectives: &collectives, ..Inputs::default() };
    let Some(name) = name else {
        if args.thresholds.is_some() || ((args.scores.is_some() || !collectives.is_empty()) && !args.all) {
            return Err(Failure::usage(
                "--thresholds, --scores and --collectives are of one study: give its name (--scores and --collectives also with --all)",
            ));
        }
        put(&if args.all { study_verdicts(&every(&runs, &inputs)?, format) } else { study_list(&all(), format) });
        return Ok(Exit::Ok);
    };
    for (flag, given, of) in
        [("--scores", scores.is_some(), "cost-decline"), ("--collectives", !collectives.is_empty(), "collective-crossover")]
    {
        if given && name != of {
            return Err(Failure::usage(format!("{flag} is for the study {of}; {name} does not look at it")));
        }
    }
    let mut study = find(name).map_err(Failure::usage_of)?;
    if let Some(path) = &args.thresholds {
        study = study.by(path).map_err(Failure::usage_of)?;
    }
    for (index, report) in reports(&study, &runs, &inputs).map_err(Failure::usage_of)?.iter().enumerate() {
        if index > 0 {
            line("");
        }
        put(&study_report(report, format));
    }
    Ok(Exit::Ok)
}

/// One report for each measurement, or one on none.
fn reports(study: &Study, runs: &[KernelRun], inputs: &Inputs) -> Result<Vec<Report>, StudyError> {
    match runs {
        [] => Ok(vec![study.report(inputs)?]),
        runs => runs.iter().map(|run| study.report(&Inputs { kernels: Some(run), ..*inputs })).collect(),
    }
}

/// All studies; measurements go to those that judge some.
fn every(runs: &[KernelRun], inputs: &Inputs) -> Result<Vec<Report>, Failure> {
    let of = |study: &Study| reports(study, if study.takes_runs() { runs } else { &[] }, inputs).map_err(Failure::usage_of);
    Ok(all().iter().map(of).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
