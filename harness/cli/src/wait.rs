//! Waiting for what is asynchronous, on a thread that is not.

use crate::exit::{Exit, Failure};
use nomoat_drive::Stop;

/// Runs `future` on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(future)).map_err(|e| Failure::internal(format!("starting the runtime: {e}")))
}

/// Runs `future` on this thread until it ends, or until the user stops: that is a failure, and `stopped` its words.
pub fn unless_stopped<T>(mut stop: Stop, stopped: &str, future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    block_on(async {
        tokio::select! {
            () = stop.wait() => Err(Failure { exit: Exit::Interrupted, message: stopped.into() }),
            ended = future => ended,
        }
    })?
}
