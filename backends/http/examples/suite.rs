//! Writes the suite of traps into a folder: of each case the response as it goes over HTTP/1.1 (`NAME.http`) and what it must be read
//! as (`NAME.expect`). A server that plays recorded responses takes the folder as it is.
//!
//! ```text
//! cargo run -p nomoat-http --example suite -- FOLDER
//! ```

use nomoat_http::suite::{TRAPS, cases};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("which folder? give it as the one argument");
        return ExitCode::from(2);
    };
    let cases = cases();
    let written = std::fs::create_dir_all(&folder).and_then(|()| {
        cases.iter().try_for_each(|case| {
            let name = case.name();
            std::fs::write(folder.join(format!("{name}.http")), case.response())?;
            std::fs::write(folder.join(format!("{name}.expect")), format!("{}\n{}\n", case.expect, TRAPS[case.trap - 1]))
        })
    });
    if let Err(error) = written {
        eprintln!("writing the suite to {}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    eprintln!("{} cases in {}", cases.len(), folder.display());
    ExitCode::SUCCESS
}
