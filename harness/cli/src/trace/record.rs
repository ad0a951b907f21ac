//! `nomoat trace record`: a proxy until somebody ends it, then a trace.

use super::target::Target;
use super::{losses, written};
use crate::ctrl_c;
use crate::exit::{Exit, Failure};
use crate::output::line;
use crate::setup::time;
use crate::wait::block_on;
use nomoat_core::units::Nanos;
use nomoat_record::{Config, Proxy, RecordError, Upstream};
use std::collections::HashSet;
use std::path::Path;

/// The flags.
pub struct Asked<'a> {
    pub to: &'a str,
    pub listen: &'a str,
    pub output: &'a Path,
    pub session_header: Option<&'a str>,
    pub block: u32,
    pub keep_text: bool,
    pub span: Option<&'a str>,
}

pub fn record(asked: &Asked<'_>) -> Result<Exit, Failure> {
    let listen = asked
        .listen
        .parse()
        .map_err(|_| Failure::usage(format!("--listen `{}` is not ADDRESS:PORT, such as 127.0.0.1:8100", asked.listen)))?;
    let upstream = Upstream::parse(asked.to).map_err(|e| Failure::usage(format!("--to: {e}")))?;
    let span = time("--for", asked.span)?;
    let config = Config {
        listen,
        session_header: asked.session_header.map(str::to_owned),
        block: asked.block,
        keep_text: asked.keep_text,
        name: asked
            .output
            .file_stem()
            .map_or_else(|| "recorded".into(), |stem| stem.to_string_lossy().trim_end_matches(".jsonl").to_owned()),
        ..Config::new(upstream.clone())
    };
    // A place to write that cannot be written is known before anything is recorded.
    let target = Target::open(Some(asked.output))?;
    let (_handle, mut stop) = ctrl_c::install()?;
    let proxy = Proxy::start(config).map_err(|error| match error {
        RecordError::Start(_) | RecordError::Salt(_) => Failure::internal(error),
        error => Failure::usage_of(error),
    })?;
    line(&format!("http://{}", proxy.addr()));
    eprintln!(
        "recording what goes to {upstream}; {}",
        span.map_or("Ctrl-C ends".into(), |span| format!("ends after {span}, or by Ctrl-C"))
    );
    if !proxy.addr().ip().is_loopback() {
        eprintln!("note: everybody who reaches {} can use the endpoint", proxy.addr());
    }
    block_on(async {
        tokio::select! {
            () = stop.wait() => {}
            () = async {
                match span {
                    Some(span) => tokio::time::sleep(span.to_std()).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    })?;
    let recording = proxy.stop();
    let trace = &recording.trace;
    losses(trace);
    eprintln!(
        "{} requests passed without a record and {} were refused; {} of those to record were lost",
        recording.passed, recording.refused, recording.lost
    );
    if trace.requests.is_empty() {
        let message = "not one request was recorded; point clients at the printed address and send chat/completions or completions".into();
        return Err(Failure { exit: Exit::NothingMeasured, message });
    }
    written(trace, target)?;
    let sessions: HashSet<_> = trace.requests.iter().filter_map(|request| request.session).collect();
    let span = trace.span().unwrap_or(Nanos::ZERO);
    eprintln!("{}: {} requests of {} sessions in {span}", asked.output.display(), trace.requests.len(), sessions.len());
    Ok(Exit::Ok)
}
