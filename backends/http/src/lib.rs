//! Endpoints, OpenAI-compatible and others, over a measured connection: HTTP/1.1, or streams of HTTP/2.

pub mod body;
pub mod engines;
pub mod metrics;
pub mod protocol;
mod scan;
mod skeleton;
pub mod sse;
pub mod stream;
pub mod suite;

mod backend;
mod channel;
mod conform;
mod control;
mod encoder;
mod http2;
mod lent;
mod power;
mod preflight;
mod retry;
mod said;
mod scrape;
mod socket;
mod tls;
mod transport;
pub mod url;
mod version;

pub use backend::{HttpBackend, HttpConfig, OneToken, Reply};
pub use encoder::Secret;
pub use power::PowerPage;
pub use version::HttpVersion;
