//! `nomoat kv`: what models hold in their caches, and what a decode step of them moves and computes, from their shapes alone.

mod ask;
mod print;
mod rows;

use crate::args::KvArgs;
use crate::exit::{Exit, Failure};
use crate::output::{line, put};
use crate::setup;
use nomoat_results::table::Format;

/// Runs the subcommand.
pub fn kv(args: &KvArgs) -> Result<Exit, Failure> {
    let format = setup::format(&args.format)?;
    let ask = ask::ask(args)?;
    let rows = rows::rows(&ask);
    match format {
        Format::Table | Format::Markdown => put(&print::tables(&ask, &rows, format)),
        Format::Csv => put(&print::data(&rows).render(Format::Csv)),
        Format::Json => line(&print::json(&ask, &rows).to_string()),
    }
    Ok(Exit::Ok)
}
