//! HTTP/2: many requests over one connection, each piece of an answer stamped with the read that completed its frame.
//!
//! The crate `h2` keeps the protocol: header compression, flow control, stream states. It hands pieces over when its task has run, and
//! by then the socket may have been read again; so the bytes are watched below it ([`frames`]), and a [`ledger`] keeps, for each stream,
//! which read completed which frame and when the last byte of its request went out. No stamp depends on the order in which tasks run.

mod channel;
mod connection;
pub(crate) mod control;
mod frames;
mod head;
mod ledger;
mod pool;
mod watched;

pub(crate) use channel::Http2Channel;
pub(crate) use head::Template;
pub(crate) use pool::{Pool, Spread};
