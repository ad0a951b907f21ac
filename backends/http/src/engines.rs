//! Engines as data: what each is recognised by, speaks, can be made to do, and hides where.
//!
//! A description is one TOML file: those of this crate lie in `engines/`, a user's folder adds to them or replaces some by name. All of
//! this is pure but `identify`, which asks an endpoint for the pages that the descriptions name. No engine's name stands in code.

mod catalog;
mod cold;
mod identify;
mod launch;
mod look;
mod sign;
mod spec;

pub use catalog::{Catalog, CatalogError};
pub use cold::{ActionSpec, CallSpec, ColdStartSpec, NoAction};
pub(crate) use identify::{Asker, Identity, identify};
pub use launch::{LaunchSpec, Naming, StopSignal, Values};
pub use look::{Look, Page, Pages};
pub use sign::Sign;
pub use spec::{Auth, Counted, EngineSpec, Fact, Kind, QuotaHeader, Usage};
