//! `run --quality`: whether answers repeat, asked before the load. A fast answer that is another one under load is no result.

use crate::exit::{Exit, Failure};
use crate::setup::Setup;
use crate::target::Engine;
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
pub fn ask(setup: &Setup, engine: &Engine, mut stop: Stop) -> Result<Option<Repeats>, Failure> {
    let Some(backend) = engine.backends.first().filter(|_| setup.args.quality) else { return Ok(None) };
    if setup.is_local() {
        return Err(Failure::usage("--quality is about an endpoint's answers; the built-in engine has random weights"));
    }
    if !setup.args.quiet {
        eprintln!("asking twenty prompts twice alone and once {LOAD} at a time");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::internal(format!("starting the runtime: {e}")))?;
    let options = QualityOptions { load: LOAD, patience: PATIENCE, seed: setup.seed };
    let found = runtime.block_on(async {
        tokio::select! {
            () = stop.wait() => Err(Failure { exit: Exit::Interrupted, message: "stopped before the load began; nothing was measured".into() }),
            found = quality(&**backend, &engine.can, Arc::new(MonotonicClock), options) => found.map_err(Failure::from),
        }
    })?;
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
