//! The server seen from a plain socket: what it writes, when at the earliest, and what it logs of it.
//!
//! The client here is written for these tests alone and knows nothing of the harness. No upper bound of a time is asserted.

#[cfg(test)]
mod client;
mod faults;
mod http2;
mod log;
mod play;
mod routes;
mod streams;
