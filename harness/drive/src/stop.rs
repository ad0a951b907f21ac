//! Stopping a run: once gracefully. (A second Ctrl-C ends the process; that is the command line's business.)

use tokio::sync::watch;

/// Asks a run to stop.
#[derive(Clone, Debug)]
pub struct StopHandle(watch::Sender<bool>);

/// Hears that a run shall stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl StopHandle {
    /// A handle and its listener.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stop(receiver))
    }

    /// Stops: nothing new is sent, what is in flight gets a moment to end and is then cancelled.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether it was asked.
    pub fn asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when it is asked; never if nobody can ask any more.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
