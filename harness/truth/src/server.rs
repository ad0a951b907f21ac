//! The server as a whole: threads, runtimes, the listener, starting and stopping.
//!
//! Each thread has its own single-threaded runtime with its own timers; thread 0 also accepts and deals connections out in
//! turn. Streams on one thread wait for each other's encoding, so load that keeps a core busy wants more threads.

use crate::clock::now;
use crate::conn::Conn;
use crate::error::TruthError;
use crate::gauges::Gauges;
use crate::line::{Line, Socket};
use crate::log::{Inbox, Log, LogState};
use crate::play::Play;
use crate::routes::serve;
use crate::row::LogRow;
use crate::script::Script;
use crate::sleep::Doors;
use crate::timer::Timers;
use crate::tls;
use nomoat_core::units::Nanos;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// Connections at one time; more are closed as they come.
const MOST_CONNECTIONS: usize = 1 << 16;
/// Connections that may wait for `accept`: a load generator opens thousands at once. The system may cap it.
const BACKLOG: i32 = 8_192;
/// Streams of one HTTP/2 connection, unless told otherwise: no limit worth the name.
const MOST_STREAMS: u32 = 1 << 16;
/// Accepted connections on their way to another thread.
const HANDOVER: usize = 1_024;
/// Tasks a runtime runs between two looks at its sockets and timers. Fewer than the usual 61: a timer should not wait for so many.
const TASKS_PER_LOOK: u32 = 8;

/// How to run the server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; the default is a free port of the loopback interface.
    pub listen: SocketAddr,
    /// What to play.
    pub script: Script,
    /// Recorded responses to play instead of scripted ones.
    pub play: Option<Play>,
    /// Threads that serve connections; 0 counts as 1.
    pub threads: usize,
    /// File to which rows are appended as JSON lines.
    pub log_file: Option<PathBuf>,
    /// Key that routes below `/v1` ask for.
    pub api_key: Option<String>,
    /// Whether TLS is spoken, with [`crate::CERTIFICATE_PEM`].
    pub tls: bool,
    /// Streams that one HTTP/2 connection may have at a time.
    pub streams: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            script: Script::default(),
            play: None,
            threads: 1,
            log_file: None,
            api_key: None,
            tls: false,
            streams: MOST_STREAMS,
        }
    }
}

/// What all threads share.
pub struct Shared {
    /// Whether anything is served.
    pub doors: Doors,
    pub script: Script,
    pub play: Option<Play>,
    pub api_key: Option<String>,
    pub gauges: Arc<Gauges>,
    pub log: Arc<Log>,
    /// Streams of one HTTP/2 connection.
    pub streams: u32,
    tls: Option<TlsAcceptor>,
    /// The moment at which the server started, from which freezes count.
    pub epoch: Nanos,
    ordinals: AtomicU64,
    connections: AtomicUsize,
}

impl Shared {
    /// The next request's position.
    pub fn next_ordinal(&self) -> u64 {
        self.ordinals.fetch_add(1, Ordering::Relaxed)
    }
}

/// What the connections of one thread share.
pub struct Worker {
    pub shared: Arc<Shared>,
    pub timers: Arc<Timers>,
    pub inbox: Arc<Inbox>,
}

/// A connection on its way to its thread, with the moment at which it was accepted.
type Accepted = (std::net::TcpStream, Nanos);

/// A running server. Dropping it stops it.
pub struct Truth {
    addr: SocketAddr,
    log: Arc<Log>,
    stop: watch::Sender<bool>,
    threads: Mutex<Threads>,
    stopped: (Mutex<bool>, Condvar),
}

#[derive(Default)]
struct Threads {
    workers: Vec<JoinHandle<()>>,
    log: Option<JoinHandle<()>>,
}

impl Truth {
    /// Binds, starts the threads and returns when connections are accepted. The process's soft limit of open files is raised to
    /// its hard limit, because thousands of connections are the point.
    ///
    /// # Errors
    /// The script cannot be played, the address cannot be listened on, the log file cannot be opened, or the system has no
    /// thread or timer left.
    pub fn start(config: Config) -> Result<Self, TruthError> {
        config.script.check()?;
        let count = config.threads.max(1);
        let (log, file) = Log::new(count, config.log_file.as_deref())?;
        let tls = config.tls.then(tls::acceptor).transpose().map_err(TruthError::Tls)?;
        raise_file_limit();
        let (listener, addr) = listen(config.listen).map_err(|source| TruthError::Listen { addr: config.listen, source })?;
        let epoch = now();
        let shared = Arc::new(Shared {
            doors: Doors::new(epoch + config.script.loading),
            script: config.script,
            play: config.play,
            api_key: config.api_key,
            gauges: Arc::default(),
            log: log.clone(),
            streams: config.streams,
            tls,
            epoch,
            ordinals: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
        });
        let (stop, stopping) = watch::channel(false);
        let truth = Self { addr, log: log.clone(), stop, threads: Mutex::default(), stopped: (Mutex::new(false), Condvar::new()) };
        let mut threads = Threads::default();
        let started = start_workers(&shared, listener, count, &stopping, &mut threads.workers)
            .and_then(|()| spawn("truth-log", move || log.run(file)).map(|handle| threads.log = Some(handle)));
        // Threads that did start end with `truth`, also when a later one could not.
        *lock(&truth.threads) = threads;
        started.map(|()| truth)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The rows in memory by ordinal. A request whose answer a client has read to its end is there.
    pub fn log(&self) -> Vec<LogRow> {
        self.log.rows()
    }

    /// How the log fares: what was dropped, lost or could not be written.
    pub fn log_state(&self) -> LogState {
        self.log.state()
    }

    /// Stops: cuts what is in flight (logged as stopped), writes the rest of the log file, joins the threads. The log stays readable.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        let threads = std::mem::take(&mut *lock(&self.threads));
        // A thread that panicked has said so; stopping goes on.
        threads.workers.into_iter().for_each(|handle| drop(handle.join()));
        self.log.stop();
        if let Some(handle) = threads.log {
            drop(handle.join());
        }
        *lock(&self.stopped.0) = true;
        self.stopped.1.notify_all();
    }

    /// Blocks until [`Self::stop`] has been called by somebody else.
    pub fn wait(&self) {
        let stopped = lock(&self.stopped.0);
        drop(self.stopped.1.wait_while(stopped, |stopped| !*stopped));
    }
}

impl Drop for Truth {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, TruthError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|source| TruthError::Start { what: "a thread", source })
}

fn listen(addr: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr)?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Refused, the limit stays: then connections beyond it wait to be accepted.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn start_workers(
    shared: &Arc<Shared>,
    listener: TcpListener,
    count: usize,
    stopping: &watch::Receiver<bool>,
    handles: &mut Vec<JoinHandle<()>>,
) -> Result<(), TruthError> {
    let mut workers = Vec::with_capacity(count);
    for index in 0..count {
        let failed = |what| move |source| TruthError::Start { what, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .event_interval(TASKS_PER_LOOK)
            .build()
            .map_err(failed("a runtime"))?;
        let timers = {
            let _context = runtime.enter();
            Timers::new().map_err(failed("a timer"))?
        };
        runtime.spawn(timers.clone().run());
        workers.push((runtime, Arc::new(Worker { shared: shared.clone(), timers, inbox: shared.log.inbox(index) })));
    }
    let (senders, receivers): (Vec<_>, Vec<_>) = (1..count).map(|_| mpsc::channel::<Accepted>(HANDOVER)).unzip();
    let listener = {
        let _context = workers[0].0.enter();
        tokio::net::TcpListener::from_std(listener).map_err(|source| TruthError::Start { what: "the listener", source })?
    };
    workers[0].0.spawn(accept(workers[0].1.clone(), listener, senders));
    for ((runtime, worker), receiver) in workers.iter().skip(1).zip(receivers) {
        runtime.spawn(receive(worker.clone(), receiver));
    }
    for (index, (runtime, _)) in workers.into_iter().enumerate() {
        let stopping = stopping.clone();
        handles.push(spawn(&format!("truth-{index}"), move || run(runtime, stopping))?);
    }
    Ok(())
}

/// A thread's life. The runtime is dropped here, with every task in flight: their rows say that they were stopped.
fn run(runtime: Runtime, mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = runtime.block_on(stopping.wait_for(|stop| *stop));
}

async fn accept(worker: Arc<Worker>, listener: tokio::net::TcpListener, others: Vec<mpsc::Sender<Accepted>>) {
    for turn in 0_usize.. {
        let stream = loop {
            match listener.accept().await {
                Ok((stream, _)) => break stream,
                // Out of files, most likely: those who are served must finish first.
                Err(_) => worker.timers.until(now() + Nanos::from_millis(10)).await,
            }
        };
        let at = now();
        match turn % (others.len() + 1) {
            0 => begin(&worker, stream, at),
            other => {
                if let Ok(stream) = stream.into_std() {
                    // Fails only while the server is stopping.
                    let _ = others[other - 1].send((stream, at)).await;
                }
            }
        }
    }
}

async fn receive(worker: Arc<Worker>, mut accepted: mpsc::Receiver<Accepted>) {
    while let Some((stream, at)) = accepted.recv().await {
        if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
            begin(&worker, stream, at);
        }
    }
}

/// Counts a connection for as long as it lives.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn begin(worker: &Arc<Worker>, stream: tokio::net::TcpStream, accepted: Nanos) {
    let before = worker.shared.connections.fetch_add(1, Ordering::Relaxed);
    let counted = Counted(worker.shared.clone());
    // Without this, small writes would wait for acknowledgements; a connection that refuses it is of no use here.
    if before >= MOST_CONNECTIONS || stream.set_nodelay(true).is_err() {
        return;
    }
    let worker = worker.clone();
    tokio::spawn(async move {
        let _counted = counted;
        let socket = Socket::new(stream, accepted);
        let line = match worker.shared.tls.clone() {
            None => Line::Plain(socket),
            // A client that trusts nobody hangs up; that is its answer.
            Some(tls) => match tls.accept(socket).await {
                Ok(stream) => Line::Tls(Box::new(stream)),
                Err(_) => return,
            },
        };
        serve(worker, Conn::new(line, accepted)).await;
    });
}
