//! Trace format, importers and generators.
