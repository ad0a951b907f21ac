//! One HTTP/2 connection: opened and driven by a task of its own, used by many requests.

use super::ledger::{Ledger, Said};
use super::watched::Watched;
use crate::channel::CONNECT_TIMEOUT;
use crate::transport::{Route, Transport};
use bytes::Bytes;
use h2::client::SendRequest;
use nomoat_core::event::RequestError;
use nomoat_core::record::{ErrorCode, Status};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// What may be under way to us on one stream before we have said that we took it, and on all streams of a connection. Large, and given
/// back at once: the peer is never held up by us.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 256 << 20;
/// The most bytes of an answer's headers.
const MOST_HEADERS: u32 = 64 << 10;

/// How a connection fares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It is being opened.
    Opening,
    /// Requests may go out. What the peer wants to be kept to is not known yet.
    Open,
    /// The same, and it is known.
    Settled,
    /// The peer takes no new requests on it.
    Draining,
    /// It is over.
    Closed,
    /// There never was one.
    Failed(RequestError),
}

/// A connection, from the wish for it to its end.
pub(crate) struct Connection {
    state: watch::Sender<State>,
    sender: OnceLock<SendRequest<Bytes>>,
    /// The books of its streams.
    pub ledger: Ledger,
    /// Requests on it or waiting for it.
    streams: AtomicUsize,
    /// How many it is thought to take, until the peer has said so.
    expected: usize,
}

impl Connection {
    /// Begins to open one. The task that opens it goes on to drive it to its end.
    pub fn begin(route: Arc<Route>, expected: usize) -> Arc<Self> {
        let connection = Arc::new(Self {
            state: watch::Sender::new(State::Opening),
            sender: OnceLock::new(),
            ledger: Ledger::default(),
            streams: AtomicUsize::new(0),
            expected,
        });
        tokio::spawn(connection.clone().live(route));
        connection
    }

    async fn live(self: Arc<Self>, route: Arc<Route>) {
        // However this ends, also by the end of its runtime, the connection is no longer there.
        let _end = End(self.clone());
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, self.open(&route)).await;
        let driver = match opened {
            Ok(Ok(driver)) => driver,
            Ok(Err(error)) => return self.advance(State::Failed(error)),
            Err(_) => return self.advance(State::Failed(RequestError::new(Status::Connect, ErrorCode::ConnectTimeout))),
        };
        self.advance(State::Open);
        let mut states = self.state.subscribe();
        tokio::select! {
            // How it ended is told to every stream that was on it.
            _ = driver => {}
            _ = states.wait_for(|state| *state == State::Closed) => {}
        }
    }

    async fn open(self: &Arc<Self>, route: &Route) -> Result<impl Future<Output = Result<(), h2::Error>> + use<>, RequestError> {
        let transport = route.connect().await?;
        let told = self.clone();
        let said = move |said| told.advance(if said == Said::GoAway { State::Draining } else { State::Settled });
        let greeted = greet(transport, self.ledger.clone(), said).await;
        let (sender, driver) = greeted.map_err(|_| RequestError::new(Status::Connect, ErrorCode::SendFailed))?;
        // Only this task sets it, once.
        let _ = self.sender.set(sender);
        Ok(driver)
    }

    /// Goes on to a later state; never back.
    fn advance(&self, to: State) {
        let rank = |state| match state {
            State::Opening => 0,
            State::Open => 1,
            State::Settled => 2,
            State::Draining => 3,
            State::Closed | State::Failed(_) => 4,
        };
        self.state.send_if_modified(|state| {
            let later = rank(to) > rank(*state);
            if later {
                *state = to;
            }
            later
        });
    }

    /// How it fares.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits until it is past opening and, if asked, until the peer has said what it wants to be kept to.
    pub async fn ready(&self, settled: bool) -> State {
        let waits = |state: &State| matches!(state, State::Opening) || (settled && matches!(state, State::Open));
        let mut states = self.state.subscribe();
        // Fails only without a sender, which `self` is.
        states.wait_for(|state| !waits(state)).await.map_or(State::Closed, |state| *state)
    }

    /// Takes no further request: what its requests met says so before its state does.
    pub fn retire(&self) {
        self.advance(State::Draining);
    }

    /// How many requests it takes at one time.
    pub fn limit(&self) -> usize {
        match (self.state(), self.sender.get()) {
            // None at all for now, some peers say. One is sent all the same: it waits in the protocol until there is room.
            (State::Settled, Some(sender)) => sender.current_max_send_streams().max(1),
            _ => self.expected,
        }
    }

    /// Requests on it or waiting for it.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Counts a request in or out. The last one to leave a connection that takes no more ends it.
    pub fn count(&self, comes: bool) {
        if comes {
            self.streams.fetch_add(1, Ordering::Relaxed);
        } else if self.streams.fetch_sub(1, Ordering::Relaxed) == 1 && self.state() == State::Draining {
            self.advance(State::Closed);
        }
    }

    /// Something to send a request with; none before it is open.
    pub fn sender(&self) -> Option<SendRequest<Bytes>> {
        self.sender.get().cloned()
    }
}

/// Says that a connection is over, when dropped.
struct End(Arc<Connection>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.advance(State::Closed);
    }
}

/// Greets the peer in HTTP/2; gives what sends requests and what drives the connection.
pub(crate) async fn greet<F: FnMut(Said) + Unpin + Send + 'static>(
    transport: Transport,
    ledger: Ledger,
    said: F,
) -> Result<(SendRequest<Bytes>, impl Future<Output = Result<(), h2::Error>> + use<F>), h2::Error> {
    let watched = Watched::new(transport, ledger, said);
    h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MOST_HEADERS)
        // Streams of tokens are small frames: the guard against floods of them would close the connection under load.
        .data_frame_budget(usize::MAX)
        .max_local_error_reset_streams(None)
        .handshake(watched)
        .await
}
