//! The `[metrics]` table of an engine's description: which canonical reading is which formula over the engine's own series.

use super::formula::{Formula, Selector};
use nomoat_core::sample::{ENGINE_READINGS, Layer, ReadingKind};
use nomoat_core::suggest::nearest;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What canonical names start with; keys of a map leave it out.
pub(super) const PREFIX: &str = "engine.";

/// What an engine's series mean.
///
/// ```toml
/// [metrics]
/// layer = "engine"                 # or gateway, sidecar: whose word this is
/// process = ["engine"]             # labels that tell engine processes apart: each is evaluated alone, then added up
/// ranks = ["tp_rank", "pid"]       # labels that tell shards of one process apart: counted once
///
/// [metrics.read]
/// running = "vllm:num_requests_running"
/// prompt_tokens_total = "vllm:prompt_tokens"                    # a counter: `_total` may follow
/// kv_used_fraction = ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"]   # the first that a process tells
/// kv_capacity_tokens = "vllm:cache_config_info[block_size] * vllm:cache_config_info[num_gpu_blocks]"
/// ttft_seconds = "maxserve_time_to_first_token_milliseconds * ms"
/// ```
///
/// Keys are the names of [`ENGINE_READINGS`] without `engine.`; values are a [`Formula`] or several of which the first that gives a value
/// counts. `name{label="value"}` takes only the series with that label, `name[label]` is the whole number in a label.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(try_from = "Table")]
pub struct MetricMap {
    /// Whose word it is.
    pub layer: Layer,
    /// Labels that tell processes apart.
    pub process: Vec<String>,
    /// Labels that tell shards of one process apart.
    pub ranks: Vec<String>,
    /// Formulas by canonical reading, in the order of [`ENGINE_READINGS`].
    pub(super) rules: Vec<Rule>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Rule {
    pub name: &'static str,
    pub kind: ReadingKind,
    /// The first that gives a value counts.
    pub formulas: Vec<Formula>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    layer: Option<String>,
    #[serde(default)]
    process: Vec<String>,
    #[serde(default)]
    ranks: Vec<String>,
    read: BTreeMap<String, OneOrMore>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a formula or a list of formulas")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl TryFrom<Table> for MetricMap {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let layer = match &table.layer {
            None => Layer::default(),
            Some(word) => Layer::ALL.into_iter().find(|l| l.name() == word).ok_or_else(|| {
                let known = Layer::ALL.map(Layer::name).join(", ");
                format!("metrics: layer `{word}` is none of {known}")
            })?,
        };
        let mut read = table.read;
        let mut rules = vec![];
        for (name, kind) in ENGINE_READINGS {
            let key = name.strip_prefix(PREFIX).unwrap_or(name);
            let Some(texts) = read.remove(key) else { continue };
            let texts = match texts {
                OneOrMore::One(text) => vec![text],
                OneOrMore::More(texts) => texts,
            };
            let parsed: Result<Vec<_>, _> = texts.iter().map(|text| Formula::parse(text)).collect();
            let formulas = parsed.map_err(|e| format!("metrics: {key}: {e}"))?;
            if formulas.is_empty() {
                return Err(format!("metrics: {key} has no formula"));
            }
            if *kind == ReadingKind::Histogram && formulas.iter().any(|f| f.scaled().is_none()) {
                return Err(format!("metrics: {key} is a histogram: it may be one metric, or that times a number"));
            }
            rules.push(Rule { name, kind: *kind, formulas });
        }
        if let Some(unknown) = read.keys().next() {
            let keys = ENGINE_READINGS.iter().map(|(name, _)| name.strip_prefix(PREFIX).unwrap_or(name));
            let hint = nearest(unknown, keys).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("metrics: nothing is read as `{unknown}`{hint}"));
        }
        Ok(Self { layer, process: table.process, ranks: table.ranks, rules })
    }
}

impl Rule {
    /// Whether it is a part of the KV pool, whose parts are known of the same processes.
    pub fn of_pool(&self) -> bool {
        self.name.strip_prefix(PREFIX).is_some_and(|key| key.starts_with("kv_used") || key.starts_with("kv_capacity"))
    }

    pub fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.formulas.iter().flat_map(Formula::selectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told() {
        for (text, says) in [
            ("[read]\nrunning = \"a +\"", "running: `a +` is no formula"),
            ("[read]\nrunnig = \"a\"", "`runnig`; did you mean `running`?"),
            ("[read]\nrunning = []", "running has no formula"),
            ("[read]\nrunning = 3", "a formula or a list of formulas"),
            ("[read]\nttft_seconds = \"a + b\"", "ttft_seconds is a histogram"),
            ("layer = \"top\"\n[read]", "`top` is none of engine, gateway, sidecar"),
            ("colour = 1\n[read]", "colour"),
            ("process = []", "read"),
        ] {
            let error = toml::from_str::<MetricMap>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn rules_come_in_the_order_of_readings() {
        let text = "layer = \"gateway\"\nranks = [\"r\"]\n[read]\nwaiting = [\"new\", \"old\"]\nrunning = \"a\"\nttft_seconds = \"t * ms\"";
        let map: MetricMap = toml::from_str(text).unwrap();
        assert_eq!((map.layer, map.ranks.len(), map.process.len()), (Layer::Gateway, 1, 0));
        assert_eq!(
            map.rules.iter().map(|r| (r.name, r.formulas.len())).collect::<Vec<_>>(),
            [("engine.running", 1), ("engine.waiting", 2), ("engine.ttft_seconds", 1)]
        );
    }
}
