//! Ctrl-C: once stops the run and keeps what was measured; twice ends the process.

use crate::child;
use crate::exit::{Exit, Failure};
use nomoat_drive::{Stop, StopHandle};
use std::sync::atomic::{AtomicBool, Ordering};

static TERMINATED: AtomicBool = AtomicBool::new(false);

/// The exit code that says which signal stopped the run.
pub fn by_signal(exit: Exit) -> Exit {
    if exit == Exit::Interrupted && TERMINATED.load(Ordering::Relaxed) { Exit::Terminated } else { exit }
}

/// Listens on a thread of its own.
pub fn install() -> Result<(StopHandle, Stop), Failure> {
    let (handle, stop) = StopHandle::new();
    let stopper = handle.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::internal(format!("listening for Ctrl-C: {e}")))?;
    let listen = move || {
        runtime.block_on(async move {
            let mut asked = false;
            loop {
                if interrupt().await.is_err() {
                    return;
                }
                if asked {
                    eprintln!("stopped at once; if a run had begun, `nomoat recover RUN` finishes what it left behind");
                    child::kill_all();
                    std::process::exit(by_signal(Exit::Interrupted) as i32);
                }
                asked = true;
                eprintln!("stopping; again to abort");
                stopper.stop();
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(listen)
        .map_err(|e| Failure::internal(format!("listening for Ctrl-C: {e}")))?;
    Ok((handle, stop))
}

/// Ctrl-C, or the polite end that a service manager asks for.
async fn interrupt() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => {
                TERMINATED.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
