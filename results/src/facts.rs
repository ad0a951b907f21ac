//! The facts of a run as they stand in the manifest: every field of [`RunFacts`], so that a stored run can be folded again.
//!
//! A run that has not ended does not know when it stopped nor how many requests its schedule handed out; those two are `null`
//! until then, and [`FactsWire::facts`] refuses to guess them.

mod energy;

use crate::error::StoreError;
use crate::json::{number, optional_number};
use crate::words::Word;
use nomoat_core::conform::Repeats;
use nomoat_core::cost::{Pricing, TokenPrices};
use nomoat_core::fidelity::PredictedCache;
use nomoat_core::kv::{KvGeometry, Mixer};
use nomoat_core::report::RunFacts;
use nomoat_core::schedule::{Limit, Warmup};
use nomoat_core::slo::Slo;
use nomoat_core::units::Nanos;
use serde::{Deserialize, Serialize};

pub use energy::EnergyWire;

/// Stored form of [`RunFacts`]. Times are ns on the run's clock.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactsWire {
    /// Start of the schedule.
    pub start_ns: i64,
    /// When the last record was in; `null` while the run goes on.
    pub stop_ns: Option<i64>,
    /// What came before the window.
    pub warmup: WarmupWire,
    /// How long the window was to be.
    pub limit: LimitWire,
    /// Lanes of a closed loop; `null` for an open one.
    pub concurrency: Option<u32>,
    /// Requests the schedule handed out; `null` while the run goes on.
    pub scheduled: Option<u64>,
    /// Requests per second that the schedule offers in the window, for an open loop.
    #[serde(serialize_with = "optional_number")]
    pub offered_rate_per_s: Option<f64>,
    /// Whether answer lengths were asked for exactly.
    pub exact_length: bool,
    /// Names of request classes.
    pub classes: Vec<String>,
    /// The service level.
    pub slo: SloWire,
    /// What a token costs, where the user told.
    pub pricing: Option<PricingWire>,
    /// Accelerators behind the endpoint, where the user told.
    pub accelerators: Option<u32>,
    /// Shape of the KV cache, where known.
    pub geometry: Option<GeometryWire>,
    /// Requests cut to fit the context.
    pub clipped: u32,
    /// Requests left out because they did not fit.
    pub skipped: u32,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
    /// Whether the engine shares this host's cores.
    pub shares_host: bool,
    /// Whether TLS verification was off.
    pub insecure: bool,
    /// Endpoints of the engine that the requests were spread over.
    #[serde(default = "one")]
    pub endpoints: u16,
    /// Error of TTFT by calibration, 99th percentile; `null` where the run was not calibrated.
    pub instrument_error_ns: Option<i64>,
    /// Share of the prompt tokens that begin an earlier prompt; left out where that is not known, and in runs from before it was.
    #[serde(default, serialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub shared_prefix: Option<f64>,
    /// How answers repeated before the run; left out where that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<RepeatsWire>,
    /// What prompts consisted of; left out in runs from before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Why the words matter to this engine's speed; left out where nothing tells that they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<String>,
    /// What a prefix cache without bounds finds of the run's prompts; left out where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_cache: Option<PredictedCacheWire>,
    /// What is known of energy beside the readings; left out where that is nothing.
    #[serde(default, skip_serializing_if = "EnergyWire::is_nothing")]
    pub energy: EnergyWire,
}

/// Stored form of [`PredictedCache`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictedCacheWire {
    /// Tokens per block.
    pub block_tokens: u32,
    /// Prompt tokens that it finds.
    pub cached: u64,
    /// Prompt tokens in all.
    pub tokens: u64,
}

/// How answers repeated: of so many prompts, so many answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepeatsWire {
    /// Prompts that were asked.
    pub prompts: u32,
    /// The same the second time, alone.
    pub same_alone: u32,
    /// The same under load as the first time.
    pub same_under_load: u32,
    /// Of the first pass, those that repeat themselves.
    pub degenerate: u32,
    /// Of the first pass, those that are empty.
    pub empty: u32,
}

/// What runs had before there could be more.
fn one() -> u16 {
    1
}

/// Stored form of [`Warmup`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmupWire {
    /// A time from the start of the run.
    TimeNs(i64),
    /// The first requests of the schedule.
    Requests(u32),
}

/// Stored form of [`Limit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitWire {
    /// At most this long.
    pub duration_ns: Option<i64>,
    /// At most this many measured requests.
    pub requests: Option<u32>,
}

/// Stored form of [`Slo`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SloWire {
    /// Largest time to first token.
    pub ttft_ns: Option<i64>,
    /// Largest time per output token.
    pub tpot_ns: Option<i64>,
    /// Largest end-to-end time.
    pub e2e_ns: Option<i64>,
}

/// Stored form of [`Pricing`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum PricingWire {
    /// The whole pool behind the endpoint.
    Pool {
        /// USD per hour.
        #[serde(serialize_with = "number")]
        usd_per_hour: f64,
    },
    /// Per million tokens of each class.
    PerToken {
        /// Uncached input.
        #[serde(serialize_with = "number")]
        usd_per_mtok_in: f64,
        /// Cached input; `null` when not told.
        #[serde(serialize_with = "optional_number")]
        usd_per_mtok_cached: Option<f64>,
        /// Output, reasoning included unless it has a price of its own.
        #[serde(serialize_with = "number")]
        usd_per_mtok_out: f64,
        /// Input written to a billed cache; left out when not told.
        #[serde(default, serialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
        usd_per_mtok_cache_write: Option<f64>,
        /// Reasoning; left out where it costs what output does.
        #[serde(default, serialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
        usd_per_mtok_reasoning: Option<f64>,
    },
}

/// Stored form of [`KvGeometry`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeometryWire {
    /// Layers that keep a cache.
    pub layers: u32,
    /// How a layer keeps it.
    pub mixer: MixerWire,
    /// Bytes per element of the cache.
    #[serde(serialize_with = "number")]
    pub bytes_per_element: f64,
}

/// Stored form of [`Mixer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MixerWire {
    /// Keys and values per KV head.
    Grouped {
        /// KV heads.
        kv_heads: u32,
        /// Dimensions of a key.
        key_dim: u32,
        /// Dimensions of a value.
        value_dim: u32,
    },
    /// One latent and one rotary key for all heads.
    Latent {
        /// Rank of the latent.
        rank: u32,
        /// Rotary dimensions.
        rope_dim: u32,
    },
}

impl From<&RunFacts> for FactsWire {
    fn from(facts: &RunFacts) -> Self {
        // Taken apart field by field: a new fact that is not stored does not compile.
        let RunFacts {
            start,
            stop,
            warmup,
            limit,
            concurrency,
            scheduled,
            offered_rate_per_s,
            exact_length,
            classes,
            slo,
            pricing,
            accelerators,
            geometry,
            clipped,
            skipped,
            interrupted,
            shares_host,
            insecure,
            endpoints,
            instrument_error,
            shared_prefix,
            repeats,
            content,
            routes,
            predicted_cache,
            energy,
        } = facts;
        Self {
            start_ns: start.0,
            stop_ns: Some(stop.0),
            warmup: match warmup {
                Warmup::Time(t) => WarmupWire::TimeNs(t.0),
                Warmup::Requests(n) => WarmupWire::Requests(*n),
            },
            limit: LimitWire { duration_ns: limit.duration.map(|d| d.0), requests: limit.requests },
            concurrency: *concurrency,
            scheduled: Some(*scheduled),
            offered_rate_per_s: *offered_rate_per_s,
            exact_length: *exact_length,
            classes: classes.clone(),
            slo: SloWire { ttft_ns: slo.ttft.map(|t| t.0), tpot_ns: slo.tpot.map(|t| t.0), e2e_ns: slo.e2e.map(|t| t.0) },
            pricing: pricing.map(|p| match p {
                Pricing::Pool { usd_per_hour } => PricingWire::Pool { usd_per_hour },
                Pricing::PerToken(TokenPrices { input, cache_read, cache_write, output, reasoning }) => PricingWire::PerToken {
                    usd_per_mtok_in: input,
                    usd_per_mtok_cached: cache_read,
                    usd_per_mtok_out: output,
                    usd_per_mtok_cache_write: cache_write,
                    usd_per_mtok_reasoning: reasoning,
                },
            }),
            accelerators: *accelerators,
            geometry: geometry.map(|g| GeometryWire {
                layers: g.layers,
                mixer: match g.mixer {
                    Mixer::Grouped { kv_heads, key_dim, value_dim } => MixerWire::Grouped { kv_heads, key_dim, value_dim },
                    Mixer::Latent { rank, rope_dim } => MixerWire::Latent { rank, rope_dim },
                },
                bytes_per_element: g.bytes_per_element,
            }),
            clipped: *clipped,
            skipped: *skipped,
            interrupted: *interrupted,
            shares_host: *shares_host,
            insecure: *insecure,
            endpoints: *endpoints,
            instrument_error_ns: instrument_error.map(|e| e.0),
            shared_prefix: *shared_prefix,
            repeats: repeats.map(|Repeats { prompts, same_alone, same_under_load, degenerate, empty }| RepeatsWire {
                prompts,
                same_alone,
                same_under_load,
                degenerate,
                empty,
            }),
            content: content.map(|content| content.word().to_owned()),
            routes: routes.map(|routes| routes.word().to_owned()),
            predicted_cache: predicted_cache.map(|PredictedCache { block_tokens, cached, tokens }| PredictedCacheWire {
                block_tokens,
                cached,
                tokens,
            }),
            energy: energy.into(),
        }
    }
}

impl FactsWire {
    /// What is known of a run at its start: the facts without the two that only its end knows.
    pub fn unfinished(facts: &RunFacts) -> Self {
        Self { stop_ns: None, scheduled: None, ..Self::from(facts) }
    }

    /// The facts for the fold.
    ///
    /// # Errors
    /// The run has not ended.
    pub fn facts(&self) -> Result<RunFacts, StoreError> {
        let unknown = |what: &str| {
            StoreError::value(format!("facts.{what}"), "is not known, because the run did not end; run `nomoat recover` on it first")
        };
        Ok(RunFacts {
            start: Nanos(self.start_ns),
            stop: Nanos(self.stop_ns.ok_or_else(|| unknown("stop_ns"))?),
            warmup: match self.warmup {
                WarmupWire::TimeNs(t) => Warmup::Time(Nanos(t)),
                WarmupWire::Requests(n) => Warmup::Requests(n),
            },
            limit: Limit { duration: self.limit.duration_ns.map(Nanos), requests: self.limit.requests },
            concurrency: self.concurrency,
            scheduled: self.scheduled.ok_or_else(|| unknown("scheduled"))?,
            offered_rate_per_s: self.offered_rate_per_s,
            exact_length: self.exact_length,
            classes: self.classes.clone(),
            slo: Slo { ttft: self.slo.ttft_ns.map(Nanos), tpot: self.slo.tpot_ns.map(Nanos), e2e: self.slo.e2e_ns.map(Nanos) },
            pricing: self.pricing.map(|p| match p {
                PricingWire::Pool { usd_per_hour } => Pricing::Pool { usd_per_hour },
                PricingWire::PerToken {
                    usd_per_mtok_in,
                    usd_per_mtok_cached,
                    usd_per_mtok_out,
                    usd_per_mtok_cache_write,
                    usd_per_mtok_reasoning,
                } => Pricing::PerToken(TokenPrices {
                    input: usd_per_mtok_in,
                    cache_read: usd_per_mtok_cached,
                    cache_write: usd_per_mtok_cache_write,
                    output: usd_per_mtok_out,
                    reasoning: usd_per_mtok_reasoning,
                }),
            }),
            accelerators: self.accelerators,
            geometry: self.geometry.map(|g| KvGeometry {
                layers: g.layers,
                mixer: match g.mixer {
                    MixerWire::Grouped { kv_heads, key_dim, value_dim } => Mixer::Grouped { kv_heads, key_dim, value_dim },
                    MixerWire::Latent { rank, rope_dim } => Mixer::Latent { rank, rope_dim },
                },
                bytes_per_element: g.bytes_per_element,
            }),
            clipped: self.clipped,
            skipped: self.skipped,
            interrupted: self.interrupted,
            shares_host: self.shares_host,
            insecure: self.insecure,
            endpoints: self.endpoints,
            instrument_error: self.instrument_error_ns.map(Nanos),
            shared_prefix: self.shared_prefix,
            repeats: self.repeats.map(|RepeatsWire { prompts, same_alone, same_under_load, degenerate, empty }| Repeats {
                prompts,
                same_alone,
                same_under_load,
                degenerate,
                empty,
            }),
            content: self.content.as_deref().map(|word| known("content", word)).transpose()?,
            routes: self.routes.as_deref().map(|word| known("routes", word)).transpose()?,
            predicted_cache: self.predicted_cache.map(|PredictedCacheWire { block_tokens, cached, tokens }| PredictedCache {
                block_tokens,
                cached,
                tokens,
            }),
            energy: self.energy.facts()?,
        })
    }
}

/// A member of a closed list by its stored name.
fn known<W: Word>(field: &str, word: &str) -> Result<W, StoreError> {
    W::of_word(word).ok_or_else(|| StoreError::value(format!("facts.{field}"), format!("is `{word}`, which is no {}", W::WHAT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::arbitrary_facts;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn facts_come_back_to_the_last_bit(facts in arbitrary_facts()) {
            let text = serde_json::to_string(&FactsWire::from(&facts)).unwrap();
            let wire: FactsWire = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(wire.facts().unwrap(), facts);
        }
    }

    #[test]
    fn a_run_that_goes_on_is_not_folded() {
        let facts = crate::made_up::facts();
        let error = FactsWire::unfinished(&facts).facts().unwrap_err().to_string();
        assert!(error.contains("stop_ns") && error.contains("nomoat recover"), "{error}");
    }
}
