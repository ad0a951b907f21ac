//! Nouns and arithmetic of measuring LLM inference: no clock, no I/O, no async runtime.
//!
//! A [`trace`] is what once happened, a [`schedule`] is what we will do, a [`backend`] is our end of the line to an engine, an
//! [`event`] sink stamps what arrives, a [`record`] is one request after the fact, and a [`report`] is the fold of a run.

pub mod arrival;
pub mod backend;
pub mod bootstrap;
pub mod clock;
pub mod collective;
pub mod compat;
pub mod conform;
pub mod cost;
pub mod digest;
pub mod energy;
pub mod event;
pub mod fidelity;
pub mod fit;
pub mod fold;
pub mod footprint;
pub mod hist;
pub mod kv;
pub mod metric;
pub mod prompt;
pub mod quota;
pub mod record;
pub mod report;
pub mod request;
pub mod reuse;
pub mod rng;
pub mod sample;
pub mod schedule;
pub mod slo;
pub mod stats;
pub mod suggest;
pub mod trace;
pub mod units;
pub mod validity;
mod words;
pub mod yardstick;
