//! `nomoat metrics`: every definition, from the one place it lives.

use crate::args::MetricsArgs;
use crate::exit::{Exit, Failure};
use crate::output::line;
use crate::setup::format;
use nomoat_core::metric::METRICS;
use nomoat_results::Format;

/// Runs the subcommand.
pub fn metrics(args: &MetricsArgs) -> Result<Exit, Failure> {
    let format = format(&args.format)?;
    let rows = METRICS.iter().map(|m| (m.name, m.unit, m.about));
    match format {
        Format::Json => {
            let list: Vec<_> =
                rows.map(|(name, unit, about)| serde_json::json!({"name": name, "unit": unit, "definition": about})).collect();
            line(&serde_json::to_string_pretty(&list).map_err(Failure::internal)?);
        }
        Format::Csv => {
            line("name,unit,definition");
            rows.for_each(|(name, unit, about)| line(&format!("{name},{unit},\"{}\"", about.replace('"', "\"\""))));
        }
        Format::Markdown => {
            line("| metric | unit | definition |\n|---|---|---|");
            rows.for_each(|(name, unit, about)| line(&format!("| `{name}` | {unit} | {about} |")));
        }
        Format::Table => rows.for_each(|(name, unit, about)| line(&format!("{name} ({unit})\n    {about}"))),
    }
    Ok(Exit::Ok)
}
