//! The connections of one shard, and who goes on which.

use super::connection::{Connection, State};
use crate::channel::CONNECT_TIMEOUT;
use crate::transport::Route;
use nomoat_core::event::RequestError;
use nomoat_core::record::{ErrorCode, Status};
use std::sync::{Arc, Mutex, PoisonError};

/// On how many connections a shard's requests go, as long as each takes more of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spread {
    /// So many are opened before two requests share one. HTTP/2 is made to need one.
    Over(usize),
    /// A new one for each request.
    Fresh,
}

/// The connections of a shard. A request goes where the fewest are. When all connections are as full as the peer lets them be, another
/// one is opened: a request that is due does not wait for others.
pub(crate) struct Pool {
    route: Arc<Route>,
    spread: Spread,
    known: Mutex<Known>,
}

struct Known {
    connections: Vec<Arc<Connection>>,
    /// What the peer last said that one connection takes.
    limit: usize,
}

/// A place on a connection, for one request.
pub(crate) struct Place {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Whether it was opened for this request, or awaited by it.
    pub is_new: bool,
    /// Whether nobody else shall have it.
    once: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.once {
            self.connection.retire();
        }
        self.connection.count(false);
    }
}

impl Pool {
    /// A pool without a connection yet.
    pub fn new(route: Arc<Route>, spread: Spread) -> Self {
        Self { route, spread, known: Mutex::new(Known { connections: vec![], limit: usize::MAX }) }
    }

    /// A place for one request, on a connection that is open.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn place(&self) -> Result<Place, RequestError> {
        let mut waited = false;
        loop {
            let (mut place, first) = self.choose();
            // Whoever lets a connection be opened sends at once, as every client does. The others wait until the peer has said how many
            // it takes: more than that it would refuse.
            let mut state = place.connection.state();
            if state != State::Settled {
                waited = true;
                let Ok(later) = tokio::time::timeout(CONNECT_TIMEOUT, place.connection.ready(!first)).await else {
                    return Err(RequestError::new(Status::Connect, ErrorCode::ConnectTimeout));
                };
                state = later;
            }
            place.is_new = waited;
            match state {
                State::Failed(error) => return Err(error),
                State::Settled if place.connection.streams() > self.learn(&place.connection) => {}
                State::Open | State::Settled => return Ok(place),
                // It ended while it was waited for.
                State::Opening | State::Draining | State::Closed if first => {
                    return Err(RequestError::new(Status::Connect, ErrorCode::Reset));
                }
                State::Opening | State::Draining | State::Closed => {}
            }
        }
    }

    /// The connection with the fewest requests on it that takes one more, or a new one; and whether it is new.
    fn choose(&self) -> (Place, bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Spread::Over(spread) = self.spread else {
            let connection = Connection::begin(self.route.clone(), known.limit);
            connection.count(true);
            return (Place { connection, is_new: true, once: true }, true);
        };
        known.connections.retain(|c| matches!(c.state(), State::Opening | State::Open | State::Settled));
        let free = known.connections.iter().filter(|c| c.streams() < c.limit()).min_by_key(|c| c.streams()).cloned();
        let crowded = |c: &Arc<Connection>| c.streams() > 0 && known.connections.len() < spread;
        let (connection, first) = match free.filter(|c| !crowded(c)) {
            Some(connection) => (connection, false),
            None => {
                let connection = Connection::begin(self.route.clone(), known.limit);
                known.connections.push(connection.clone());
                (connection, true)
            }
        };
        connection.count(true);
        (Place { connection, is_new: first, once: false }, first)
    }

    fn learn(&self, connection: &Connection) -> usize {
        let limit = connection.limit();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).limit = limit;
        limit
    }
}
