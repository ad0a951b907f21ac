//! The built-in CPU engine: a small real transformer with paged KV and continuous batching.
