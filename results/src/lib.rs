//! Run directories, wire schemas, the record spool and tables.
//!
//! Stored bytes have their own types here, and every one of them converts to and from the in-memory nouns of `nomoat-core`, which
//! are not serializable. A run is a directory ([`run_dir`]): while it runs, records go to a [`spool`]; when it ends, they become
//! [`records`] beside [`samples`], [`events`], a [`summary`] and a [`manifest`] that holds the digests of the others. [`table`]
//! renders a report for people and for spreadsheets.
//!
//! This crate reads no clock, knows no engine and prints nothing.

pub mod cold_start;
pub mod collectives;
mod columnar;
pub mod cost;
pub mod date;
mod error;
pub mod events;
pub mod facts;
mod json;
pub mod kernels;
pub mod manifest;
pub mod models;
pub mod placement;
pub mod power;
pub mod prices;
pub mod profiles;
pub mod records;
pub mod recover;
pub mod run_dir;
pub mod samples;
pub mod spool;
pub mod study;
pub mod summary;
pub mod table;
mod whole;
mod wire;
mod words;

#[cfg(test)]
mod made_up;

pub use error::StoreError;
pub use json::rfc3339_utc;
pub use manifest::Manifest;
pub use run_dir::RunDir;
pub use summary::Summary;
pub use table::{Format, TableContext, render};
