//! A made-up report, with everything there.

use nomoat_core::fidelity::{CacheShares, Content, Fidelity, Spread};
use nomoat_core::record::{ErrorCode, Status};
use nomoat_core::report::{Counts, Interval, MetricRow, Population, RunReport, Scope, Stat, Window};
use nomoat_core::units::Nanos;
use nomoat_core::validity::{Finding, RuleResult, Severity, Validity};

/// A row over the whole run.
fn row(name: &'static str, unit: &'static str, stat: Stat, value: Option<f64>, n: u64) -> MetricRow {
    let population = if name.starts_with("goodput") { Population::All } else { Population::Ok };
    let method = match unit {
        "ns" => "exact",
        "USD" => "formula",
        "bytes" => "gauge",
        _ => "sum",
    };
    MetricRow { name, unit, stat, population, scope: Scope::default(), value, n, n_eff: None, ci: None, method, reason: None }
}

const LATENCY_STATS: [Stat; 6] = [Stat::P50, Stat::P90, Stat::P95, Stat::P99, Stat::Mean, Stat::Max];

/// The rows of one distribution in ns: p50, p90, p95, p99, mean, max.
fn latency(name: &'static str, n: u64, values_ms: [f64; 6]) -> Vec<MetricRow> {
    let rows = LATENCY_STATS.into_iter().zip(values_ms).map(|(stat, ms)| row(name, "ns", stat, Some((ms * 1e6).round()), n));
    rows.collect()
}

/// The same distribution over all intended requests, of whose statistics some do not exist.
fn failures_counted(answered: &[MetricRow], n: u64, reason: &str, missing: &[Stat]) -> Vec<MetricRow> {
    let rows = answered.iter().map(|row| {
        let row = MetricRow { population: Population::All, n, reason: None, ..row.clone() };
        if missing.contains(&row.stat) { MetricRow { value: None, reason: Some(reason.into()), ..row } } else { row }
    });
    rows.collect()
}

/// A number that does not exist.
fn missing(name: &'static str, unit: &'static str, stat: Stat, reason: &str) -> MetricRow {
    MetricRow { reason: Some(reason.to_owned()), ..row(name, unit, stat, None, 0) }
}

fn rule(code: &'static str, rule: &'static str, finding: Finding, value: &str, limit: &str, remedy: &str) -> RuleResult {
    let severity = if code == "V14" { Severity::Flag } else { Severity::Invalid };
    RuleResult { code, rule, severity, finding, value: value.into(), limit: limit.into(), remedy: remedy.into() }
}

/// A good run on eight accelerators, with everything there.
pub(crate) fn valid_report() -> RunReport {
    let mut metrics = vec![];
    metrics.extend(latency("ttft", 602, [142.0, 231.5, 266.25, 388.125, 155.5, 512.75]));
    metrics.extend(latency("ttft_service", 602, [140.5, 229.0, 264.0, 386.0, 153.8, 511.25]));
    metrics.extend(latency("ttfo", 602, [142.0, 231.5, 266.25, 388.125, 155.5, 512.75]));
    metrics.extend(latency("ttfb", 602, [12.0, 18.5, 21.0, 33.0, 13.1, 61.0]));
    metrics.extend(latency("tpot", 597, [18.2, 21.4, 22.3, 25.9, 18.6, 31.2]));
    metrics.extend(latency("itl", 61_820, [17.1, 24.6, 28.8, 44.0, 18.6, 203.0]));
    metrics.extend(latency("icl", 61_820, [17.1, 24.6, 28.8, 44.0, 18.6, 203.0]));
    metrics.extend(latency("e2e", 602, [1980.0, 4120.0, 5210.0, 9630.0, 2310.0, 12_400.0]));
    metrics.extend(latency("e2e_service", 602, [1978.5, 4118.0, 5208.0, 9628.0, 2308.0, 12_398.0]));
    metrics.extend(latency("dispatch_lag", 602, [0.021, 0.064, 0.088, 0.212, 0.031, 0.73]));
    metrics.extend(latency("connect", 602, [0.002, 0.004, 0.3, 0.41, 0.02, 1.2]));
    metrics.extend(latency("upload", 602, [0.04, 0.06, 0.07, 0.11, 0.043, 0.3]));
    metrics.extend(failures_counted(&metrics[..6], 603, "not reached: 1 of 603 requests failed", &[Stat::Mean, Stat::Max]));
    metrics[3].ci = Some(Interval { lo: 341e6, hi: None, level: 0.95 });
    metrics[0].n_eff = Some(488.5);
    metrics[0].ci = Some(Interval { lo: 139e6, hi: Some(145e6), level: 0.95 });
    metrics.extend([
        row("output_tput", "tokens/s", Stat::Rate, Some(2061.7), 602),
        row("input_tput", "tokens/s", Stat::Rate, Some(20_413.2), 602),
        row("total_tput", "tokens/s", Stat::Rate, Some(22_474.9), 602),
        row("request_rate", "1/s", Stat::Rate, Some(20.0667), 602),
        row("output_tput_per_accel", "tokens/s", Stat::Rate, Some(257.71), 602),
        row("total_tput_per_accel", "tokens/s", Stat::Rate, Some(2809.36), 602),
        row("interactivity", "tokens/s/user", Stat::P50, Some(54.945), 597),
        row("interactivity", "tokens/s/user", Stat::P99, Some(38.61), 597),
        row("goodput_rate", "1/s", Stat::Rate, Some(19.8), 603),
        row("goodput_share", "share", Stat::Rate, Some(0.985), 603),
        row("usd_per_mtok_out", "USD", Stat::Value, Some(0.38398), 602),
        row("usd_per_mtok_total", "USD", Stat::Value, Some(0.035_224), 602),
        row("usd_per_request", "USD", Stat::Value, Some(0.000_039_45), 602),
        row("usd_per_mtok_good_out", "USD", Stat::Value, Some(0.3901), 594),
        row("usd_total", "USD", Stat::Value, Some(0.023_75), 602),
        row("kv_bytes_per_token", "bytes", Stat::Value, Some(131_072.0), 1),
        row("kv_allocated_bytes", "bytes", Stat::Value, Some(412.5 * 1024.0 * 1024.0 * 1024.0), 30),
        row("kv_occupied_mean_bytes", "bytes", Stat::Value, Some(3.61e9), 30),
        row("kv_occupied_peak_bytes", "bytes", Stat::Value, Some(7.93e9), 30),
        row("kv_occupied_peak_frac", "share", Stat::Value, Some(0.0179), 30),
        row("coalesced_share", "share", Stat::Rate, Some(0.0123), 61_820),
        row("drain_seconds", "s", Stat::Value, Some(2.4), 1),
        row("host_cpu_share", "share", Stat::Value, Some(0.431), 31),
        row("host_steal_share", "share", Stat::Value, Some(0.0021), 31),
        MetricRow { reason: Some("this host does not tell".into()), ..row("host_cpu_pressure", "share", Stat::Value, None, 0) },
        row("harness_cpu_cores", "cores", Stat::Value, Some(0.3125), 31),
        row("harness_resident_peak_bytes", "bytes", Stat::Value, Some(42e6), 30),
        row("harness_involuntary_rate", "1/s", Stat::Rate, Some(12.25), 32),
        row("tcp_retransmits", "segments", Stat::Total, Some(3.0), 32),
    ]);
    let pass = |code, text, value: &str, limit: &str| rule(code, text, Finding::Pass, value, limit, "");
    RunReport {
        window: Window { start: Nanos::from_secs(2), end: Nanos::from_secs(32) },
        counts: Counts {
            scheduled: 640,
            recorded: 640,
            warmup: 37,
            drain: 0,
            measured: 603,
            sent: 603,
            ok: 602,
            failed: 1,
            left: 0,
            by_status: vec![(Status::Ok, 602), (Status::Timeout, 1)],
            by_error: vec![(ErrorCode::FirstTokenTimeout, 1)],
            by_endpoint: vec![],
            input_tokens: 612_396,
            cached_tokens: 91_120,
            input_wanted: 612_000,
            output_tokens: 61_851,
            output_wanted: 61_851,
            good_tokens: Some(60_318),
            uncounted: 0,
            clipped: 0,
            skipped: 3,
        },
        metrics,
        fidelity: Fidelity {
            content: Some(Content::SyntheticIds),
            prompts: Some(Spread { n: 602, p50: 0, p99: 3, max: 12 }),
            exact_answers: Some((600, 602)),
            lag: Some(Spread { n: 603, p50: Nanos::from_micros(40), p99: Nanos::from_micros(118), max: Nanos::from_millis(2) }),
            cache: Some(CacheShares { block_tokens: 16, predicted: 0.374, observed: Some(0.369) }),
        },
        validity: Validity {
            rules: vec![
                pass("V02", "at least one answered request", "602", "1"),
                pass("V03", "share of failures", "0.17 %", "1 %"),
                pass("V04", "every request accounted for once", "640 of 640", "640"),
                pass("V05", "the client is not the bottleneck", "dispatch lag p99 212 µs", "1.42 ms"),
                pass("V06", "achieved rate", "99.8 %", "98 %"),
                rule("V07", "token accounting", Finding::NotChecked, "no tokenizer was given", "1 %", "give --tokenizer FILE"),
            ],
        },
    }
}

/// A bad run: the client was late, a third failed, and much is missing.
pub(crate) fn invalid_report() -> RunReport {
    let few = "too few observations; p99 needs at least 100";
    let accel = "the number of accelerators is not known; give --accelerators NAME:COUNT";
    let price = "no price; give --usd-per-hour or --price";
    let mut metrics = vec![];
    metrics.extend(latency("ttft", 14, [912.0, 2041.0, 2104.0, 2104.0, 1101.0, 2104.0]));
    metrics.extend(latency("ttft_service", 14, [640.0, 1811.0, 1900.0, 1900.0, 803.0, 1900.0]));
    metrics.extend(latency("tpot", 14, [31.0, 44.0, 45.1, 45.1, 33.2, 45.1]));
    metrics.extend(latency("itl", 420, [30.0, 51.0, 66.0, 104.0, 33.2, 181.0]));
    metrics.extend(latency("icl", 210, [60.0, 102.0, 132.0, 208.0, 66.4, 362.0]));
    metrics.extend(latency("e2e", 14, [1850.0, 3020.0, 3100.0, 3100.0, 2005.0, 3100.0]));
    metrics.extend(latency("dispatch_lag", 21, [210.0, 402.0, 410.0, 417.0, 233.0, 417.0]));
    for row in &mut metrics {
        let wanting = row.stat == Stat::P99 || (row.stat == Stat::P90 && row.name == "tpot");
        if wanting && row.n < 100 && row.name != "dispatch_lag" {
            row.value = None;
            row.reason = Some(few.into());
        }
    }
    let all = failures_counted(&metrics[..6], 30, "not reached: 16 of 30 requests failed", &LATENCY_STATS);
    metrics.extend(all);
    metrics.extend([
        row("output_tput", "tokens/s", Stat::Rate, Some(41.96), 14),
        row("total_tput", "tokens/s", Stat::Rate, Some(458.0), 14),
        row("request_rate", "1/s", Stat::Rate, Some(1.4), 14),
        missing("output_tput_per_accel", "tokens/s", Stat::Rate, accel),
        missing("total_tput_per_accel", "tokens/s", Stat::Rate, accel),
        row("interactivity", "tokens/s/user", Stat::P50, Some(32.258), 14),
        missing("interactivity", "tokens/s/user", Stat::P99, few),
        missing("goodput_rate", "1/s", Stat::Rate, "no service level; give --slo ttft=500ms,tpot=50ms"),
        missing("goodput_share", "share", Stat::Rate, "no service level; give --slo ttft=500ms,tpot=50ms"),
        missing("usd_per_mtok_out", "USD", Stat::Value, price),
        missing("usd_per_mtok_total", "USD", Stat::Value, price),
        missing("usd_per_request", "USD", Stat::Value, price),
        missing("kv_bytes_per_token", "bytes", Stat::Value, "the model's geometry is not known; give --model-config FILE"),
        missing("kv_allocated_bytes", "bytes", Stat::Value, "the engine reports no KV gauge"),
        missing("kv_occupied_mean_bytes", "bytes", Stat::Value, "the engine reports no KV gauge"),
        missing("kv_occupied_peak_bytes", "bytes", Stat::Value, "the engine reports no KV gauge"),
        row("coalesced_share", "share", Stat::Rate, Some(0.41), 210),
        row("drain_seconds", "s", Stat::Value, Some(1.9), 1),
    ]);
    RunReport {
        window: Window { start: Nanos::ZERO, end: Nanos::from_secs(10) },
        counts: Counts {
            scheduled: 30,
            recorded: 30,
            measured: 30,
            sent: 21,
            ok: 14,
            failed: 16,
            left: 0,
            by_status: vec![(Status::Ok, 14), (Status::Http, 5), (Status::Timeout, 2), (Status::Dropped, 9)],
            by_error: vec![(ErrorCode::TotalTimeout, 2), (ErrorCode::InFlightBound, 9), (ErrorCode::Http5xx, 5)],
            by_endpoint: vec![],
            input_tokens: 4160,
            input_wanted: 4096,
            output_tokens: 420,
            output_wanted: 448,
            uncounted: 14,
            clipped: 2,
            ..Counts::default()
        },
        metrics,
        fidelity: Fidelity::default(),
        validity: Validity {
            rules: vec![
                rule("V02", "at least one answered request", Finding::Pass, "14", "1", ""),
                rule(
                    "V03",
                    "share of failures",
                    Finding::Fail,
                    "53 % (9 dropped, 5 http, 2 timeout)",
                    "at most 1 %",
                    "lower --rate, or raise --max-in-flight if the endpoint can take more at once",
                ),
                rule("V04", "every request accounted for once", Finding::Pass, "30 of 30", "30", ""),
                rule(
                    "V05",
                    "the client is not the bottleneck",
                    Finding::Fail,
                    "dispatch lag p99 417 ms",
                    "at most 9.12 ms",
                    "use fewer streams per core, or a faster host for the harness",
                ),
                rule("V06", "achieved rate", Finding::NotChecked, "the run is too short", "at least 98 %", ""),
                rule(
                    "V07",
                    "token accounting",
                    Finding::NotChecked,
                    "the endpoint reports no usage",
                    "within 1 %",
                    "give --tokenizer FILE",
                ),
                rule("V14", "a quiet machine", Finding::Fail, "load 3.1 before the run", "below 0.2", "stop what else runs on this host"),
            ],
        },
    }
}
