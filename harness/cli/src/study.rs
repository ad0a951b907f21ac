//! `nomoat study`: a claim, a measurement, a verdict.

use crate::args::StudyArgs;
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use crate::setup::format;
use nomoat_core::suggest::nearest;
use nomoat_results::kernels::KernelRun;
use nomoat_results::study::{STUDIES, render_study};

/// Runs the subcommand.
pub fn study(args: &StudyArgs) -> Result<Exit, Failure> {
    let format = format(&args.format)?;
    let Some(name) = &args.name else {
        STUDIES
            .iter()
            .for_each(|study| line(&format!("{}\n    {}\n    needs nomoat kernels {}", study.name, study.about, study.needs.join(" "))));
        return Ok(Exit::Ok);
    };
    let Some(study) = STUDIES.iter().find(|study| study.name == name) else {
        let near = nearest(name, STUDIES.iter().map(|study| study.name)).map_or(String::new(), |near| format!("; did you mean {near}?"));
        let known: Vec<&str> = STUDIES.iter().map(|study| study.name).collect();
        return Err(Failure::usage(format!("there is no study `{name}`{near} Known are {}", known.join(", "))));
    };
    if args.runs.is_empty() {
        return Err(Failure::usage(format!(
            "the study {name} judges a measurement: run `nomoat kernels {}` and give the directory that it prints",
            study.needs.join(" ")
        )));
    }
    let runs: Vec<KernelRun> = args.runs.iter().map(|run| KernelRun::read(run).map_err(Failure::usage_of)).collect::<Result<_, _>>()?;
    for (index, run) in runs.iter().enumerate() {
        if index > 0 {
            line("");
        }
        put(&render_study(study, run, format));
    }
    Ok(Exit::Ok)
}
