//! Writes the suite of traps into a folder: of each case the response as it goes over HTTP/1.1 (`NAME.http`) and what it must be read
//! as (`NAME.expect`). A server that plays recorded responses takes the folder as it is.
//!
//! ```text
//! cargo run -p nomoat-http --example suite -- FOLDER
//! ```

use nomoat_http::suite;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("which folder? give it as the one argument");
        return ExitCode::from(2);
    };
    match suite::write(&folder) {
        Ok(cases) => eprintln!("{cases} cases in {}", folder.display()),
        Err(error) => {
            eprintln!("writing the suite to {}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
