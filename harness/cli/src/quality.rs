//! `run --quality`: whether answers repeat, asked before the load. A fast answer that is another one under load is no result.

use crate::exit::Failure;
use crate::setup::Setup;
use crate::target::{Engine, UNMEASURED};
use crate::wait::unless_stopped;
use nomoat_core::conform::Repeats;
use nomoat_drive::conform::{Quality, QualityOptions, quality};
use nomoat_drive::{MonotonicClock, Stop};
use std::sync::Arc;
use std::time::Duration;

/// Requests at the same time, in the pass under load.
const LOAD: usize = 8;
/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks the first endpoint, if the user wants that.
///
/// # Errors
/// An answer did not come, or the run was stopped meanwhile.
pub fn ask(setup: &Setup, engine: &Engine, stop: Stop) -> Result<Option<Repeats>, Failure> {
    let Some(backend) = engine.backends.first().filter(|_| setup.args.quality) else { return Ok(None) };
    if setup.is_local() {
        return Err(Failure::usage("--quality is about an endpoint's answers; the built-in engine has random weights"));
    }
    if !setup.args.quiet {
        eprintln!("asking twenty prompts twice alone and once {LOAD} at a time");
    }
    let options = QualityOptions { load: LOAD, patience: PATIENCE, seed: setup.seed };
    let asked = async { Ok(quality(&**backend, &engine.can, Arc::new(MonotonicClock), options).await?) };
    let found = unless_stopped(stop, UNMEASURED, asked)?;
    Ok(Some(repeats(&found)))
}

fn repeats(quality: &Quality) -> Repeats {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Repeats {
        prompts: count(quality.prompts),
        same_alone: count(quality.same_alone),
        same_under_load: count(quality.same_under_load),
        degenerate: count(quality.degenerate),
        empty: count(quality.empty),
    }
}
