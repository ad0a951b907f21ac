//! Connections to the endpoint: new ones, and those that wait for another request.

use crate::config::Upstream;
use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Most connections that wait.
const MOST_IDLE: usize = 64;
/// How long one may wait. Engines close idle connections after five seconds and more; one that is closed while a request is on its way
/// would cost that request.
const MOST_IDLE_FOR: Duration = Duration::from_secs(2);
/// How long the endpoint may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Pool(Mutex<VecDeque<(TcpStream, Instant)>>);

impl Pool {
    /// A connection: the one that waited for the shortest time, or a new one.
    pub async fn take(&self, to: &Upstream) -> io::Result<TcpStream> {
        while let Some((stream, since)) = self.pop() {
            // Nothing may have come: what an endpoint says unasked, the end included, makes a connection useless.
            let is_quiet = matches!(stream.try_read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock);
            if since.elapsed() < MOST_IDLE_FOR && is_quiet {
                return Ok(stream);
            }
        }
        let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in 10 s");
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to.address())).await.map_err(timed_out)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Lets a connection wait, on which a whole answer was read and nothing more.
    pub fn give(&self, stream: TcpStream) {
        let mut waiting = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if waiting.len() >= MOST_IDLE {
            waiting.pop_front();
        }
        waiting.push_back((stream, Instant::now()));
    }

    fn pop(&self) -> Option<(TcpStream, Instant)> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_back()
    }
}
