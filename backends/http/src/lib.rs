//! OpenAI-compatible endpoints over a measured HTTP/1.1 connection.
