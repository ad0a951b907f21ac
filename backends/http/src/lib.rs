//! OpenAI-compatible endpoints over a measured connection: HTTP/1.1, or streams of HTTP/2.

pub mod body;
pub mod engines;
pub mod prometheus;
pub mod protocol;
mod scan;
mod skeleton;
pub mod sse;
pub mod stream;

mod backend;
mod channel;
mod conform;
mod control;
mod encoder;
mod http2;
mod lent;
mod preflight;
mod said;
mod scrape;
mod socket;
mod tls;
mod transport;
pub mod url;
mod version;

pub use backend::{HttpBackend, HttpConfig};
pub use encoder::Secret;
pub use version::HttpVersion;
