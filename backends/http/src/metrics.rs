//! An engine's own metrics: the page, what its series mean, and readings of it over a run.
//!
//! What a series means is data: the `[metrics]` table of an engine's description says which canonical name is which formula over
//! the engine's own series ([`MetricMap`]). A page is read with the maps of all known engines at once, because pages mix systems: what
//! more than one layer tells is taken from the innermost, and never added up.

mod formula;
mod map;
mod page;
mod read;
mod track;

pub use formula::{Formula, FormulaError};
pub use map::MetricMap;
pub use page::{MAX_PAGE, Series, series};
pub use read::{Found, Reader};
pub use track::{KIND_CHANGED, THINNED, Tracker};
