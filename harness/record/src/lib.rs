//! A reverse proxy for OpenAI-compatible endpoints that streams through untouched and writes down what went by as a trace.
//!
//! Two threads. One forwards: bytes go on as they arrive, stamped when their read returns, and a copy goes into a queue afterwards. The
//! other reads that queue: it decodes, hashes and counts, and nobody waits for it. Where it falls too far behind, requests are lost
//! to the record and counted, never held up.
//!
//! Recorded without being asked for the text: when requests came, how long prompts and answers were, which prompts begin alike, which
//! request continues which conversation, who went away, what failed. Identity is a hash under a salt that is made at the start and
//! written nowhere, and of the hash only the order of first appearance is kept. Headers are never recorded.
//!
//! Not here: TLS, HTTP/2, other dialects than chat and text completions (they pass through, unrecorded), and any change of what is asked.

mod answer;
mod ask;
mod body;
mod config;
mod exchange;
mod finish;
mod head;
mod identity;
mod pool;
mod proxy;
mod recorder;
mod row;
mod sessions;
mod sse;
mod tap;

pub use config::{Config, RecordError, Upstream};
pub use finish::Recording;
pub use proxy::Proxy;
