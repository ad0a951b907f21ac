//! The list of metrics. A metric is the function that computes it and one entry here; reports, tables, `nomoat metrics` and the
//! tests go over this slice.
//!
//! The definition of each is the doc comment of its function. The entry repeats it for printing, and a test holds the two
//! against each other.

use crate::fold::energy::Told;
use crate::fold::row::{Cell, Run, Tally};
use crate::fold::{energy, gauges, host, money, rates, server};
use crate::record::RequestRecord;
use crate::report::{Population, Stat};
use crate::units::Nanos;

/// Which direction is an improvement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// It describes and does not judge.
    Neither,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct MetricDef {
    /// Its name in files and tables.
    pub name: &'static str,
    /// Its unit: `ns`, `tokens/s`, `1/s`, `tokens/s/user`, `share`, `USD`, `bytes`, `bytes·s`, `cores`, `requests`, `tokens`, `segments`, `J`, `W` or `s`.
    pub unit: &'static str,
    /// Which direction is an improvement.
    pub better: Better,
    /// Its definition.
    pub about: &'static str,
    /// The function that computes it, as a path in this crate.
    pub of: &'static str,
    pub(crate) compute: Compute,
}

impl MetricDef {
    /// The metric of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|m| m.name == name)
    }

    /// The statistics it has, and about which requests. Every pair is a row of every report, with a number or a reason.
    pub fn numbers(&self) -> Vec<(Stat, Population)> {
        let both = |population| Stat::DISTRIBUTION.map(|stat| (stat, population));
        match self.compute {
            Compute::Service(_) | Compute::Instrument(_) => [both(Population::Ok), both(Population::All)].concat(),
            Compute::Itl | Compute::Icl => both(Population::Ok).to_vec(),
            Compute::Engine(_) => vec![(Stat::P50, Population::All), (Stat::P99, Population::All)],
            Compute::Interactivity => vec![(Stat::P50, Population::Ok), (Stat::P99, Population::Ok)],
            Compute::Part(stat, population, _) | Compute::Whole(stat, population, _) | Compute::Energy(stat, population, _) => {
                vec![(stat, population)]
            }
        }
    }
}

/// How the fold gets the numbers of a metric.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Compute {
    /// A duration of each request, at the service: a request that failed never reached it.
    Service(fn(&RequestRecord) -> Option<Nanos>),
    /// A duration of each request, at the harness: it is known of a failed request as well, unless that never came so far.
    Instrument(fn(&RequestRecord) -> Option<Nanos>),
    /// Gaps per token.
    Itl,
    /// Gaps per chunk.
    Icl,
    /// The reciprocals of percentiles of TPOT.
    Interactivity,
    /// Percentiles of what the engine counted in buckets, of the whole run.
    Engine(fn(&Run<'_>, f64) -> Cell),
    /// One number of the whole run and of each class.
    Part(Stat, Population, fn(&Run<'_>, &Tally) -> Cell),
    /// One number of the whole run.
    Whole(Stat, Population, fn(&Run<'_>) -> Cell),
    /// One number of the whole run and each scope of energy.
    Energy(Stat, Population, fn(&Run<'_>, &Told) -> Cell),
}

/// An entry for a method of [`RequestRecord`].
macro_rules! request {
    ($name:ident, $compute:ident, $about:literal) => {
        MetricDef {
            name: stringify!($name),
            unit: "ns",
            better: Better::Lower,
            about: $about,
            of: concat!("record::RequestRecord::", stringify!($name)),
            compute: Compute::$compute(RequestRecord::$name),
        }
    };
}

/// An entry for a function of a module of the fold.
macro_rules! number {
    ($module:ident :: $name:ident, $kind:ident, $stat:ident, $population:ident, $unit:literal, $better:ident, $about:literal) => {
        MetricDef {
            name: stringify!($name),
            unit: $unit,
            better: Better::$better,
            about: $about,
            of: concat!("fold::", stringify!($module), "::", stringify!($name)),
            compute: Compute::$kind(Stat::$stat, Population::$population, $module::$name),
        }
    };
}

/// An entry for a latency that the engine tells.
macro_rules! told {
    ($name:ident, $about:literal) => {
        MetricDef {
            name: stringify!($name),
            unit: "ns",
            better: Better::Neither,
            about: $about,
            of: concat!("fold::server::", stringify!($name)),
            compute: Compute::Engine(server::$name),
        }
    };
}

/// Every metric, in the order of reports.
#[rustfmt::skip]
pub const METRICS: &[MetricDef] = &[
    request!(ttft, Service, "TTFT = first_token − due. In a closed loop due is the previous end plus the think time."),
    request!(ttft_service, Service, "TTFT of the service alone = first_token − sent."),
    request!(ttfo, Service, "Time to the first visible output = first_visible − due."),
    request!(ttfb, Service, "Time to the first byte = first_byte − due."),
    request!(tpot, Service, "TPOT = (last_token − first_token) / (N − n_first), n_first = tokens in the first chunk. Undefined when N − n_first < 1."),
    MetricDef { name: "itl", unit: "ns", better: Better::Lower, compute: Compute::Itl, of: "fold::gaps::itl", about: "ITL: a gap g to a chunk of k tokens is k samples of g / k, rounded to the nanosecond; a gap to a chunk without tokens is part of the next one. Answered requests of the window; the first chunk has no gap." },
    MetricDef { name: "icl", unit: "ns", better: Better::Lower, compute: Compute::Icl, of: "fold::gaps::icl", about: "ICL: the gaps between token-bearing chunks. Answered requests of the window; the first chunk has no gap." },
    request!(e2e, Service, "E2E = last_token − due. Usage and terminators never extend it."),
    request!(e2e_service, Service, "E2E of the service alone = last_token − sent."),
    request!(dispatch_lag, Instrument, "Dispatch lag = start − due: our own error."),
    request!(connect, Instrument, "Connect = conn_ready − start. Under a cap on concurrency the wait for a free place is in it."),
    request!(upload, Instrument, "Upload = sent − conn_ready."),
    number!(rates::output_tput, Whole, Rate, All, "tokens/s", Higher, "Output tokens that arrived in the window, of requests of every phase and status, by its length."),
    number!(rates::good_output_tput, Whole, Rate, All, "tokens/s", Higher, "Output tokens that arrived in the window, of requests that met every limit of the service level, by its length."),
    number!(rates::input_tput, Whole, Rate, All, "tokens/s", Higher, "Prompt tokens, cached ones included, of requests whose first token arrived in the window, by its length."),
    number!(rates::total_tput, Whole, Rate, All, "tokens/s", Higher, "Output and input throughput together."),
    number!(rates::request_rate, Whole, Rate, All, "1/s", Higher, "Answers that ended in the window, of requests of every phase, by its length."),
    number!(rates::output_tput_per_accel, Whole, Rate, All, "tokens/s", Higher, "Output throughput by the number of accelerators behind the endpoint."),
    number!(rates::total_tput_per_accel, Whole, Rate, All, "tokens/s", Higher, "Total throughput by the number of accelerators behind the endpoint."),
    MetricDef { name: "interactivity", unit: "tokens/s/user", better: Better::Higher, compute: Compute::Interactivity, of: "fold::latency::interactivity", about: "What one user sees: the reciprocal of the same percentile of TPOT, so its p99 is the slow tail." },
    number!(rates::goodput_rate, Part, Rate, All, "1/s", Higher, "Intended requests of the window that met every limit of the service level, by its length. Failed and never-sent requests met none."),
    number!(rates::goodput_share, Part, Rate, All, "share", Higher, "Share of the intended requests of the window that met every limit of the service level."),
    number!(money::usd_total, Whole, Total, All, "USD", Lower, "Cost of the window: the whole pool's price for its length, or the billed tokens of its requests, failed ones included where their usage is known."),
    number!(money::usd_per_mtok_out, Whole, Value, All, "USD", Lower, "Cost per million output tokens: a pool's by the tokens that arrived in the window, an API's by the tokens billed."),
    number!(money::usd_per_mtok_total, Whole, Value, All, "USD", Lower, "Cost per million tokens, prompt and output together: a pool's by the tokens of the window, an API's by the tokens billed."),
    number!(money::usd_per_mtok_good_out, Whole, Value, All, "USD", Lower, "Cost per million output tokens of requests that met the service level, whatever the others cost: a pool's by those that arrived in the window, an API's by those billed. Never less than the cost per million output tokens."),
    number!(money::usd_per_request, Whole, Value, Ok, "USD", Lower, "Cost by the number of answers: a pool's by those that ended in the window, an API's by the answered requests that were billed."),
    number!(money::usd_per_mchar_out, Whole, Value, All, "USD", Lower, "Cost per million characters of output, as UTF-8 has them, by the characters that a token had: comparable between tokenizers."),
    number!(money::chars_per_token, Whole, Value, Ok, "characters", Neither, "Characters of output, as UTF-8 has them, for each output token, over answered requests of which both are counted."),
    number!(energy::energy_joules, Energy, Total, All, "J", Lower, "Joules drawn in the window, by the scope in the row's key: the growth of energy counters, or the area under readings of power."),
    number!(energy::avg_power_w, Energy, Value, All, "W", Neither, "Mean power of the window: its joules by its length."),
    number!(energy::j_per_output_token, Energy, Value, All, "J", Lower, "Joules of the window by the output tokens that arrived in it."),
    number!(energy::j_per_total_token, Energy, Value, All, "J", Lower, "Joules of the window by the tokens of the window, prompt and output together."),
    number!(energy::j_per_request, Energy, Value, All, "J", Lower, "Joules of the window by the answers that ended in it, as `request_rate` counts them."),
    number!(energy::energy_usd, Energy, Total, All, "USD", Lower, "What the joules of the window cost by the user's tariff, with the building's share where its effectiveness is told. Beside the cost of the pool, never added to it: an hourly price holds its power already."),
    number!(energy::energy_usd_per_mtok_out, Energy, Value, All, "USD", Lower, "The same per million output tokens that arrived in the window."),
    number!(gauges::kv_bytes_per_token, Whole, Value, All, "bytes", Lower, "Theoretical bytes of KV cache per token, from the model's shape."),
    number!(gauges::kv_allocated_bytes, Whole, Value, All, "bytes", Neither, "Bytes of KV cache the engine has allocated: its capacity, the latest reading up to the end of the window."),
    number!(gauges::kv_occupied_mean_bytes, Whole, Value, All, "bytes", Neither, "Bytes of KV cache in use, mean over the window; each reading holds until the next."),
    number!(gauges::kv_occupied_peak_bytes, Whole, Value, All, "bytes", Neither, "Bytes of KV cache in use, largest reading of the window."),
    number!(gauges::kv_occupied_peak_frac, Whole, Value, All, "share", Neither, "Share of the KV cache in use, largest reading of the window."),
    number!(gauges::kv_request_byte_seconds, Part, Value, Ok, "bytes·s", Neither, "KV memory that an answered request holds, in bytes × seconds, mean over the requests of the window: the theoretical bytes per token times, of every token, the time from the moment that it is known to be held to the last token. Of the prompt that is the first token, so that prefill and queue are left out and it is a lower bound; shared prefixes count for each."),
    number!(server::server_running_mean, Whole, Value, All, "requests", Neither, "Requests that the engine was working on, mean over the window; each reading holds until the next."),
    number!(server::server_running_peak, Whole, Value, All, "requests", Neither, "Requests that the engine was working on, largest reading of the window."),
    number!(server::server_waiting_mean, Whole, Value, All, "requests", Neither, "Requests that waited in the engine, mean over the window; each reading holds until the next."),
    number!(server::server_waiting_peak, Whole, Value, All, "requests", Neither, "Requests that waited in the engine, largest reading of the window."),
    number!(server::server_prompt_tokens, Whole, Total, All, "tokens", Neither, "Prompt tokens that the engine counted during the window, whoever asked. V07 holds its count of the whole run against the answers' usage."),
    number!(server::server_generation_tokens, Whole, Total, All, "tokens", Neither, "Tokens that the engine counted as generated during the window, whoever asked. V07 holds its count of the whole run against the answers' usage."),
    number!(server::prefix_hit_rate, Whole, Rate, All, "share", Neither, "Share of the prompt tokens looked up in the engine's prefix cache during the window that were found there, by its counters."),
    number!(server::external_hit_rate, Whole, Rate, All, "share", Neither, "Share of the prompt tokens looked up in a cache outside the engine during the window that were found there, by its counters."),
    number!(server::preemptions, Whole, Total, All, "requests", Lower, "Requests that the engine preempted during the window, by its counter."),
    number!(server::kv_transfer_bytes, Whole, Total, All, "bytes", Neither, "Bytes of KV that were moved between instances or tiers of memory during the window, by the engine's counter."),
    number!(server::kv_transfer_time, Whole, Total, All, "s", Neither, "Time spent moving KV during the window, added up over transfers, by the engine's counter."),
    told!(server_ttft, "TTFT as the engine sees it, of requests whose first token came in the window: from the growth of its histogram, interpolated in a bucket whose width is told. Never comparable with the client's TTFT or with another engine's."),
    told!(server_itl, "Time between tokens as the engine sees it: from the growth of its histogram over the window, interpolated in a bucket whose width is told."),
    told!(server_queue, "Time that requests waited in the engine, as it sees it: from the growth of its histogram over the window, interpolated in a bucket whose width is told."),
    told!(server_prefill, "Time of prefill as the engine sees it: from the growth of its histogram over the window, interpolated in a bucket whose width is told."),
    number!(rates::coalesced_share, Part, Rate, Ok, "share", Lower, "Share of the token-bearing chunks of answered requests that shared their read with another event: their stamps are upper bounds."),
    number!(rates::first_coalesced_share, Part, Rate, Ok, "share", Lower, "Share of answered requests whose first token shared its read with another event: their TTFT is an upper bound."),
    number!(rates::drain_seconds, Whole, Value, All, "s", Neither, "Time from the end of the window to the end of the last request."),
    number!(host::host_cpu_share, Whole, Value, All, "share", Neither, "Share of the cores' time of this host that was at work, for anybody, mean over the window. What a hypervisor took is not in it."),
    number!(host::host_steal_share, Whole, Value, All, "share", Lower, "Share of the cores' time of this host that its hypervisor gave to others while there was work here, mean over the window."),
    number!(host::host_cpu_pressure, Whole, Value, All, "share", Lower, "Share of the window in which at least one task of this host, anybody's, waited for a core."),
    number!(host::harness_cpu_cores, Whole, Value, All, "cores", Lower, "Cores used by this process, an engine in it included, mean over the window."),
    number!(host::harness_resident_peak_bytes, Whole, Value, All, "bytes", Lower, "Resident memory of this process, an engine in it included, largest reading of the window."),
    number!(host::harness_involuntary_rate, Whole, Rate, All, "1/s", Lower, "Times per second that a thread of this process was taken off its core while it had work, between the readings around the window."),
    number!(host::tcp_retransmits, Whole, Total, All, "segments", Lower, "TCP segments that this host sent again, on whatever connection, between the readings around the window."),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The doc comment of a function, its lines joined.
    fn doc_of(path: &str) -> String {
        let (module, function) = path.rsplit_once("::").expect("a path");
        let source = match module {
            "record::RequestRecord" => include_str!("record.rs"),
            "fold::energy" => include_str!("fold/energy.rs"),
            "fold::gaps" => include_str!("fold/gaps.rs"),
            "fold::gauges" => include_str!("fold/gauges.rs"),
            "fold::host" => include_str!("fold/host.rs"),
            "fold::latency" => include_str!("fold/latency.rs"),
            "fold::money" => include_str!("fold/money.rs"),
            "fold::rates" => include_str!("fold/rates.rs"),
            "fold::server" => include_str!("fold/server.rs"),
            other => panic!("no such module: {other}"),
        };
        let at = source.find(&format!("fn {function}(")).unwrap_or_else(|| panic!("no such function: {path}"));
        let before = &source[..source[..at].rfind('\n').map_or(0, |line| line + 1)];
        let mut lines: Vec<&str> =
            before.lines().rev().take_while(|l| l.trim().starts_with("///")).map(|l| l.trim().trim_start_matches("/// ")).collect();
        lines.reverse();
        lines.join(" ")
    }

    #[test]
    fn definitions_are_those_of_the_functions() {
        for metric in METRICS {
            assert_eq!(metric.about, doc_of(metric.of), "{}", metric.name);
        }
    }

    #[test]
    fn names_are_unique() {
        for (i, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[i + 1..].iter().all(|m| m.name != metric.name), "{}", metric.name);
            assert!(MetricDef::find(metric.name).is_some());
        }
        assert!(MetricDef::find("tokens").is_none());
    }
}
