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
pub use track::{COUNTER_FELL, KIND_CHANGED, THINNED, Tracker};

/// The maps of the engines that this version knows.
const MAPS: &[&str] = &[
    include_str!("metrics/maps/vllm.toml"),
    include_str!("metrics/maps/sglang.toml"),
    include_str!("metrics/maps/max.toml"),
    include_str!("metrics/maps/llama-cpp.toml"),
    include_str!("metrics/maps/tensorrt-llm.toml"),
    include_str!("metrics/maps/tgi.toml"),
    include_str!("metrics/maps/dynamo.toml"),
    include_str!("metrics/maps/llm-d.toml"),
    include_str!("metrics/maps/lmcache.toml"),
];

/// A reader of every engine that this version knows.
pub fn known() -> Reader {
    #[derive(serde::Deserialize)]
    struct Spec {
        metrics: MetricMap,
    }
    let maps: Vec<MetricMap> = MAPS.iter().map(|text| toml::from_str::<Spec>(text).expect("a test reads each of them").metrics).collect();
    Reader::new(&maps)
}
