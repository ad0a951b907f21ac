//! Turns a schedule and a backend into request records.
