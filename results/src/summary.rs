//! `summary.json`: the report of a run as stored bytes. Everything in it can be derived again from the records.
//!
//! Times are integer ns on the run's clock; a number that does not exist is `null` with its reason, never zero.

use crate::error::StoreError;
use crate::json::{number, optional_number, parse, pretty};
use crate::words::Word;
use nomoat_core::fidelity::{Fidelity, Spread};
use nomoat_core::report::{Counts, EndpointCounts, Interval, MetricRow, RunReport, Window};
use nomoat_core::validity::{RuleResult, Validity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema this crate writes and reads.
pub const SCHEMA: &str = "run-summary/1";

/// Stored form of a [`RunReport`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: String,
    /// Whose report it is.
    pub run_id: String,
    /// The measured window.
    pub window: WindowWire,
    /// How many of what.
    pub counts: CountsWire,
    /// Every number; the key of a row is all but the numbers.
    pub metrics: Vec<MetricWire>,
    /// How faithfully it offered its workload.
    #[serde(default)]
    pub fidelity: FidelityWire,
    /// Whether to believe it.
    pub validity: ValidityWire,
}

/// Stored form of [`Fidelity`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FidelityWire {
    /// What prompts consisted of.
    pub content: Option<String>,
    /// Tokens between counted and asked prompt lengths.
    pub prompt_error_tokens: Option<SpreadWire>,
    /// Answers with exactly the tokens asked for, and those whose tokens were counted.
    pub exact_answers: Option<(u64, u64)>,
    /// From due to start.
    pub lag_ns: Option<SpreadWire>,
    /// Tokens per block of the prediction.
    pub cache_block_tokens: Option<u32>,
    /// Share of the prompt tokens that a prefix cache without bounds would find.
    #[serde(serialize_with = "optional_number")]
    pub cache_predicted: Option<f64>,
    /// Share that the endpoint reports.
    #[serde(serialize_with = "optional_number")]
    pub cache_observed: Option<f64>,
}

/// Stored form of a [`Spread`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpreadWire {
    /// Requests.
    pub n: u64,
    /// Half are at most this large.
    pub p50: i64,
    /// 99 of 100 are at most this large.
    pub p99: i64,
    /// The largest.
    pub max: i64,
}

impl From<&Fidelity> for FidelityWire {
    fn from(fidelity: &Fidelity) -> Self {
        let Fidelity { content, prompts, exact_answers, lag, cache } = fidelity;
        let spread = |Spread { n, p50, p99, max }: Spread<i64>| SpreadWire { n, p50, p99, max };
        Self {
            content: content.map(|content| content.word().to_owned()),
            prompt_error_tokens: prompts.map(|s| spread(Spread { n: s.n, p50: s.p50.into(), p99: s.p99.into(), max: s.max.into() })),
            exact_answers: *exact_answers,
            lag_ns: lag.map(|s| spread(Spread { n: s.n, p50: s.p50.0, p99: s.p99.0, max: s.max.0 })),
            cache_block_tokens: cache.map(|c| c.block_tokens),
            cache_predicted: cache.map(|c| c.predicted),
            cache_observed: cache.and_then(|c| c.observed),
        }
    }
}

/// Stored form of [`Window`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowWire {
    /// First moment.
    pub start_ns: i64,
    /// Last moment.
    pub end_ns: i64,
}

/// Stored form of [`Counts`]; its fields are described there.
#[expect(missing_docs, reason = "each field is the one of the same name in core, and is described there")]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountsWire {
    pub scheduled: u64,
    pub recorded: u64,
    pub warmup: u64,
    pub drain: u64,
    pub measured: u64,
    pub sent: u64,
    pub ok: u64,
    pub failed: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left: u64,
    pub by_status: BTreeMap<String, u64>,
    pub by_error: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_endpoint: Vec<EndpointWire>,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub input_wanted: u64,
    pub output_tokens: u64,
    pub output_wanted: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_tokens: Option<u64>,
    pub uncounted: u64,
    pub clipped: u32,
    pub skipped: u32,
}

/// Stored form of [`EndpointCounts`]; its fields are described there. Their order is that of the endpoints.
#[expect(missing_docs, reason = "each field is the one of the same name in core, and is described there")]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointWire {
    pub measured: u64,
    pub ok: u64,
    pub failed: u64,
    pub output_tokens: u64,
}

/// Stored form of a [`MetricRow`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricWire {
    /// Which metric.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Which number of it.
    pub stat: String,
    /// `ok` or `all`.
    pub population: String,
    /// About which part of the run.
    pub scope: ScopeWire,
    /// The number; `null` when it does not exist.
    #[serde(serialize_with = "optional_number")]
    pub value: Option<f64>,
    /// Observations.
    pub n: u64,
    /// How many independent ones they are worth.
    #[serde(serialize_with = "optional_number")]
    pub n_eff: Option<f64>,
    /// The interval.
    pub ci: Option<IntervalWire>,
    /// How it was computed.
    pub method: String,
    /// Why there is no number, or what to know about it.
    pub reason: Option<String>,
}

/// Stored form of a scope.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeWire {
    /// One class of requests; `null` for all.
    pub class: Option<String>,
    /// One kind of connection; `null` for all.
    pub connection: Option<String>,
    /// One of several endpoints by its index; left out for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<u16>,
    /// Of an energy: what drew it; left out for everything else and where nothing was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<String>,
    /// The phase.
    pub phase: String,
}

/// Stored form of an [`Interval`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntervalWire {
    /// Lower end.
    #[serde(serialize_with = "number")]
    pub lo: f64,
    /// Upper end; `null` when open.
    #[serde(serialize_with = "optional_number")]
    pub hi: Option<f64>,
    /// Level.
    #[serde(serialize_with = "number")]
    pub level: f64,
}

/// Stored form of a [`Validity`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidityWire {
    /// `VALID` or `INVALID`.
    pub state: String,
    /// Every rule that was applied.
    pub rules: Vec<RuleWire>,
}

/// Stored form of a [`RuleResult`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleWire {
    /// Stable code.
    pub code: String,
    /// What it asks.
    pub rule: String,
    /// `flag`, `blocks_publication` or `invalid`.
    pub severity: String,
    /// `pass`, `fail` or `not_checked`.
    pub finding: String,
    /// What was measured.
    pub value: String,
    /// What is allowed.
    pub limit: String,
    /// What to try.
    pub remedy: String,
}

impl Summary {
    /// The stored form of a report.
    pub fn new(run_id: &str, report: &RunReport) -> Self {
        let RunReport { window: Window { start, end }, counts, metrics, fidelity, validity } = report;
        Self {
            schema: SCHEMA.to_owned(),
            run_id: run_id.to_owned(),
            window: WindowWire { start_ns: start.0, end_ns: end.0 },
            counts: counts.into(),
            metrics: metrics.iter().map(MetricWire::from).collect(),
            fidelity: fidelity.into(),
            validity: validity.into(),
        }
    }

    /// Pretty JSON, the same bytes for the same report.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// Reads a summary. `what` names the file in messages.
    ///
    /// # Errors
    /// It is not a summary, it is of a newer schema, or it has an unknown key.
    pub fn from_json(what: &str, text: &str) -> Result<Self, StoreError> {
        parse(what, text, SCHEMA)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl From<&Counts> for CountsWire {
    fn from(counts: &Counts) -> Self {
        let Counts {
            scheduled,
            recorded,
            warmup,
            drain,
            measured,
            sent,
            ok,
            failed,
            left,
            by_status,
            by_error,
            by_endpoint,
            input_tokens,
            cached_tokens,
            input_wanted,
            output_tokens,
            output_wanted,
            good_tokens,
            uncounted,
            clipped,
            skipped,
        } = counts.clone();
        Self {
            scheduled,
            recorded,
            warmup,
            drain,
            measured,
            sent,
            ok,
            failed,
            left,
            by_status: by_status.into_iter().map(|(status, n)| (status.word().to_owned(), n)).collect(),
            by_error: by_error.into_iter().map(|(error, n)| (error.word().to_owned(), n)).collect(),
            by_endpoint: by_endpoint.into_iter().map(EndpointWire::from).collect(),
            input_tokens,
            cached_tokens,
            input_wanted,
            output_tokens,
            output_wanted,
            good_tokens,
            uncounted,
            clipped,
            skipped,
        }
    }
}

impl From<EndpointCounts> for EndpointWire {
    fn from(counts: EndpointCounts) -> Self {
        let EndpointCounts { measured, ok, failed, output_tokens } = counts;
        Self { measured, ok, failed, output_tokens }
    }
}

impl From<&MetricRow> for MetricWire {
    fn from(row: &MetricRow) -> Self {
        let MetricRow { name, unit, stat, population, scope, value, n, n_eff, ci, method, reason } = row;
        // A number that is not finite is an absent number; that it came about is worth a reason of its own.
        let finite = value.filter(|v| v.is_finite());
        let reason = match (value, finite, reason) {
            (Some(v), None, None) => Some(format!("not a finite number ({v})")),
            (_, _, reason) => reason.clone(),
        };
        Self {
            name: (*name).to_owned(),
            unit: (*unit).to_owned(),
            stat: stat.word().to_owned(),
            population: population.word().to_owned(),
            scope: ScopeWire {
                class: scope.class.clone(),
                connection: scope.connection.map(|c| c.word().to_owned()),
                endpoint: scope.endpoint,
                energy: scope.energy.map(|e| e.word().to_owned()),
                phase: scope.phase.word().to_owned(),
            },
            value: finite,
            n: *n,
            n_eff: n_eff.filter(|v| v.is_finite()),
            ci: ci.and_then(IntervalWire::of),
            method: (*method).to_owned(),
            reason,
        }
    }
}

impl IntervalWire {
    /// An interval without a finite lower end says nothing; an infinite upper end is an open one.
    fn of(ci: Interval) -> Option<Self> {
        let Interval { lo, hi, level } = ci;
        (lo.is_finite() && level.is_finite()).then(|| Self { lo, hi: hi.filter(|h| h.is_finite()), level })
    }
}

impl From<&Validity> for ValidityWire {
    fn from(validity: &Validity) -> Self {
        let rules = validity.rules.iter().map(|rule| {
            let RuleResult { code, rule, severity, finding, value, limit, remedy } = rule;
            RuleWire {
                code: (*code).to_owned(),
                rule: (*rule).to_owned(),
                severity: severity.word().to_owned(),
                finding: finding.word().to_owned(),
                value: value.clone(),
                limit: limit.clone(),
                remedy: remedy.clone(),
            }
        });
        Self { state: if validity.is_valid() { "VALID" } else { "INVALID" }.to_owned(), rules: rules.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up;
    use nomoat_core::report::{Population, Scope, Stat};
    use proptest::prelude::*;

    #[test]
    fn it_reads_back_what_it_wrote() {
        for report in [made_up::valid_report(), made_up::invalid_report()] {
            let summary = Summary::new("run-1", &report);
            let text = summary.to_json();
            let back = Summary::from_json("summary.json", &text).unwrap();
            assert_eq!(back, summary);
            assert_eq!(back.to_json(), text, "byte for byte");
        }
        insta::assert_snapshot!("summary", Summary::new("run-1", &made_up::invalid_report()).to_json());
    }

    #[test]
    fn what_it_does_not_know_is_an_error() {
        let good = Summary::new("run-1", &made_up::valid_report()).to_json();
        for (from, to, says) in [
            ("run-summary/1", "run-summary/3", "update this one"),
            ("\"run_id\"", "\"runid\"", "unknown field `runid`"),
            ("\"n_eff\"", "\"neff\"", "unknown field `neff`"),
            ("\"scheduled\": ", "\"scheduled\": -", "invalid value"),
        ] {
            let error = Summary::from_json("summary.json", &good.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(says), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn numbers_that_do_not_exist_are_null_with_a_reason() {
        let row = |value, ci| MetricRow {
            name: "ttft",
            unit: "ns",
            stat: Stat::P99,
            population: Population::All,
            scope: Scope::default(),
            value,
            n: 3,
            n_eff: Some(f64::NAN),
            ci,
            method: "exact",
            reason: None,
        };
        let infinite = MetricWire::from(&row(Some(f64::INFINITY), Some(Interval { lo: 1.0, hi: Some(f64::INFINITY), level: 0.95 })));
        assert_eq!((infinite.value, infinite.n_eff), (None, None));
        assert_eq!(infinite.reason.as_deref(), Some("not a finite number (inf)"));
        assert_eq!(infinite.ci, Some(IntervalWire { lo: 1.0, hi: None, level: 0.95 }));
        let nothing = MetricWire::from(&row(None, Some(Interval { lo: f64::NAN, hi: None, level: 0.95 })));
        assert_eq!((nothing.value, nothing.ci, nothing.reason), (None, None, None));
    }

    proptest! {
        #[test]
        fn any_number_reads_back_equal(value in any::<f64>(), lo in any::<f64>(), hi in any::<Option<f64>>()) {
            let mut report = made_up::valid_report();
            report.metrics[0].value = Some(value);
            report.metrics[0].ci = Some(Interval { lo, hi, level: 0.95 });
            let summary = Summary::new("r", &report);
            let text = summary.to_json();
            prop_assert_eq!(Summary::from_json("s", &text).unwrap(), summary);
        }
    }
}
