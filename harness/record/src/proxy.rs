//! The thread that forwards: a listener, and a task for each client.

use crate::body::Body;
use crate::config::{Config, RecordError, Upstream};
use crate::exchange::{Ahead, Clock, READ, exchange};
use crate::finish::Recording;
use crate::head::{Asked, Read};
use crate::pool::Pool;
use crate::recorder::Recorder;
use crate::row::Outcome;
use crate::tap::{Shared, Tap, Taps};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a client that was refused may go on talking before its connection is closed, so that it can read why.
const LINGER: Duration = Duration::from_secs(2);

/// A recording that goes on. Dropping it ends it and forgets what was recorded.
pub struct Proxy {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    forwarder: Option<JoinHandle<()>>,
    recorder: Option<JoinHandle<Recording>>,
}

/// What all clients' tasks share.
struct Forwarder {
    to: Upstream,
    host: String,
    session_header: Option<String>,
    pool: Pool,
    taps: Taps,
    clock: Clock,
    stop: watch::Receiver<bool>,
}

impl Proxy {
    /// Listens and forwards from now on.
    ///
    /// # Errors
    /// What of `config` cannot work, no address to listen on, no thread, no random bytes.
    pub fn start(config: Config) -> Result<Self, RecordError> {
        config.check()?;
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|e| RecordError::Salt(e.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listen = |source| RecordError::Listen { addr: config.listen, source };
        let listener = runtime.block_on(TcpListener::bind(config.listen)).map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let (stop, stopped) = watch::channel(false);
        let (to, events) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let recorder = Recorder::new(salt, config.block, config.keep_text, shared.clone());
        let (name, grace) = (config.name, config.grace);
        let recorder = Builder::new().name("record".into()).spawn(move || recorder.run(&events, &name))?;
        let forwarder = Arc::new(Forwarder {
            host: config.to.authority(),
            to: config.to,
            session_header: config.session_header,
            pool: Pool::default(),
            taps: Taps::new(to, shared),
            clock: Clock(Instant::now()),
            stop: stopped,
        });
        let forwarder = Builder::new().name("forward".into()).spawn(move || runtime.block_on(accept(listener, forwarder, grace)))?;
        Ok(Self { addr, stop, forwarder: Some(forwarder), recorder: Some(recorder) })
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts nobody any more, lets requests on their way end within the grace they were given, and makes the trace.
    ///
    /// # Panics
    /// If one of its threads did, which is a bug.
    pub fn stop(mut self) -> Recording {
        self.end().expect("the threads of a recording run until it is stopped")
    }

    fn end(&mut self) -> Option<Recording> {
        let _ = self.stop.send(true);
        let forwarded = self.forwarder.take()?.join();
        let recorded = self.recorder.take()?.join().ok();
        forwarded.ok().and(recorded)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end();
    }
}

async fn accept(listener: TcpListener, forwarder: Arc<Forwarder>, grace: Duration) {
    let mut clients = JoinSet::new();
    let mut stop = forwarder.stop.clone();
    loop {
        tokio::select! {
            // The sender lives as long as the proxy; its end is an end too.
            _ = stop.wait_for(|stopped| *stopped) => break,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => _ = clients.spawn(serve(client, forwarder.clone())),
                // Out of descriptors, mostly: those who are here go on, and some will leave.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = clients.join_next() => {}
        }
    }
    drop(listener);
    let all = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(grace, all).await;
    clients.shutdown().await;
}

/// One client's connection.
async fn serve(mut client: TcpStream, forwarder: Arc<Forwarder>) {
    if client.set_nodelay(true).is_err() {
        return;
    }
    let mut stop = forwarder.stop.clone();
    let mut ahead = Ahead { bytes: Vec::with_capacity(READ), ..Ahead::default() };
    loop {
        // Empty lines between requests are nobody's.
        let empty = ahead.bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        ahead.bytes.drain(..empty);
        match Asked::read(&ahead.bytes, &forwarder.host, forwarder.session_header.as_deref()) {
            Read::Partial => {
                let is_first = ahead.bytes.is_empty();
                let read = tokio::select! {
                    read = client.read_buf(&mut ahead.bytes) => read,
                    _ = stop.wait_for(|stopped| *stopped), if is_first => return,
                };
                match read {
                    Ok(0) | Err(_) => return,
                    Ok(_) if is_first => ahead.since = forwarder.clock.now(),
                    Ok(_) => {}
                }
            }
            Read::Refused(refusal) => {
                forwarder.taps.shared().refused.fetch_add(1, Ordering::Relaxed);
                answer(&mut client, refusal.status, refusal.message).await;
                return linger(&mut client, |_| true).await;
            }
            Read::Whole(asked, used) => {
                ahead.bytes.drain(..used);
                if !forwarder.forward(&mut client, &asked, &mut ahead).await {
                    return;
                }
                if *stop.borrow() {
                    return;
                }
            }
        }
    }
}

impl Forwarder {
    /// Forwards one request; whether the client's connection may carry another.
    async fn forward(&self, client: &mut TcpStream, asked: &Asked, ahead: &mut Ahead) -> bool {
        let shared = self.taps.shared();
        let tap = asked.kind.map(|kind| self.taps.begin(kind, ahead.since, asked.session.clone()));
        if tap.is_none() {
            let count = if asked.is_other_post { &shared.other_posts } else { &shared.others };
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut upstream = match self.pool.take(&self.to).await {
            Ok(upstream) => upstream,
            Err(error) => {
                let why = format!("it cannot be reached: {error}");
                self.fail(client, asked, ahead, tap, &why).await;
                return false;
            }
        };
        let ended = exchange(client, &mut upstream, asked, ahead, tap.as_ref(), self.clock).await;
        if ended.keep_upstream {
            self.pool.give(upstream);
        } else {
            // Before anything else: this is how the endpoint hears that nobody waits for its answer.
            drop(upstream);
        }
        if let Some(tap) = tap {
            tap.ended(ended.at, ended.outcome);
        }
        if let Some(why) = ended.untold {
            let body = self.words(why);
            answer(client, "502 Bad Gateway", &body).await;
        }
        if ended.is_cut_short {
            linger(client, |_| true).await;
        }
        ended.keep_client
    }

    /// Says that the endpoint cannot be reached, and records what was asked of it.
    async fn fail(&self, client: &mut TcpStream, asked: &Asked, ahead: &mut Ahead, tap: Option<Tap>, why: &str) {
        answer(client, "502 Bad Gateway", &self.words(why)).await;
        let (mut body, mut asked_all) = (Body::new(asked.framing), false);
        let mut take = |bytes: &[u8]| {
            let mut copy = vec![];
            let fed = body.feed(bytes, &mut |bytes| copy.extend_from_slice(bytes));
            if let Some(tap) = &tap {
                tap.asks(copy);
            }
            asked_all = body.is_done();
            fed.is_ok() && !asked_all
        };
        if take(&ahead.bytes) {
            linger(client, take).await;
        } else {
            linger(client, |_| true).await;
        }
        if let Some(tap) = tap {
            let now = self.clock.now();
            if asked_all {
                tap.sent(now);
            }
            tap.ended(now, Outcome::Broken);
        }
    }

    fn words(&self, why: &str) -> String {
        format!("the recording proxy got no answer from {}: {why}", self.to)
    }
}

/// Answers in the place of the endpoint, in its form of an error.
async fn answer(client: &mut TcpStream, status: &str, message: &str) {
    let body = json!({"error": {"message": message, "type": "recording_proxy"}}).to_string();
    let text =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    // Who does not want to hear it has gone.
    let _ = client.write_all(text.as_bytes()).await;
}

/// Says that nothing more will come, and reads on for a while as long as `more` wants it: closing over unread bytes would reset the connection and take
/// away what the client has not read yet.
async fn linger(client: &mut TcpStream, mut more: impl FnMut(&[u8]) -> bool) {
    let _ = client.shutdown().await;
    let mut buffer = Vec::with_capacity(READ);
    let drained = async {
        loop {
            buffer.clear();
            match client.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) if !more(&buffer) => return,
                Ok(_) => {}
            }
        }
    };
    // Either way it is over.
    let _ = tokio::time::timeout(LINGER, drained).await;
}
