//! Engines as data: what each is recognised by, speaks, can be made to do, and hides where.
//!
//! A description is one TOML file: those of this crate lie in `engines/`, a user's folder adds to them or replaces some by name. All of
//! this is pure but [`identify`], which asks an endpoint for the pages that the descriptions name. No engine's name stands in code.

mod catalog;
mod identify;
mod look;
mod spec;

pub use catalog::{Catalog, CatalogError};
pub(crate) use identify::{Asker, Identity, identify};
pub use look::{Look, Page, Pages};
pub use spec::{Auth, Counted, EngineSpec, Fact, Kind, QuotaHeader, Usage};
