//! The list of metrics.
