//! OpenAI-compatible endpoints over a measured HTTP/1.1 connection.

pub mod body;
pub mod prometheus;
pub mod protocol;
mod scan;
mod skeleton;
pub mod sse;
pub mod stream;

mod backend;
mod channel;
mod control;
mod encoder;
mod preflight;
mod said;
mod scrape;
mod socket;
mod tls;
mod transport;
pub mod url;

pub use backend::{HttpBackend, HttpConfig};
pub use encoder::Secret;
