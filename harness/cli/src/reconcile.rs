//! `nomoat report --as TOOL`: another harness's definitions on the stored records, beside ours.

use crate::config::choose;
use crate::exit::Failure;
use crate::manifest;
use nomoat_core::compat::{Reconciler, TOOLS, Tool};
use nomoat_results::run_dir::Finished;
use nomoat_results::table::render_reconciliation;
use nomoat_results::{Format, RunDir};

/// The tool of a name.
pub fn tool(name: &str) -> Result<&'static Tool, Failure> {
    let names: Vec<&str> = TOOLS.iter().map(|t| t.name).collect();
    let name = choose("--as", name, &names)?;
    Tool::find(name).ok_or_else(|| Failure::internal(format!("no definitions of `{name}`")))
}

/// Reads the records a second time, by the definitions of `tool`, and prints both sides.
pub fn reconcile(tool: &'static Tool, dir: &RunDir, finished: &Finished, format: Format) -> Result<String, Failure> {
    let mut reconciler = Reconciler::new(tool);
    for record in dir.records().map_err(Failure::usage_of)? {
        reconciler.add(&record.map_err(Failure::usage_of)?);
    }
    let found = reconciler.finish(&finished.report);
    let context = manifest::context(&finished.manifest, dir.path(), "");
    Ok(render_reconciliation(&found, &finished.report.validity, &context, format))
}
