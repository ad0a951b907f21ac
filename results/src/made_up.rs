//! Made-up runs for the tests of this crate: every number in here is invented.

mod cold_start;
mod kernels;

use crate::facts::FactsWire;
use crate::manifest::{
    Accelerator, Clock, ColdStart, Command, Cpu, Engine, Harness, Host, Launched, Manifest, System, Told, TraceInfo, WallAnchor, Workload,
};
use crate::words::Word;
pub(crate) use cold_start::cold_start;
pub(crate) use kernels::kernel_run;
use nomoat_core::conform::Repeats;
use nomoat_core::cost::{Pricing, TokenPrices};
use nomoat_core::digest::OutputHash;
use nomoat_core::energy::{self, Absent, EnergyFacts, Job};
use nomoat_core::fidelity::{CacheShares, Content, Fidelity, PredictedCache, Routes, Spread};
use nomoat_core::kv::{KvGeometry, Mixer};
use nomoat_core::record::{Connection, ErrorCode, FinishReason, Moments, Phase, RequestRecord, StampSource, Status, Tokens};
use nomoat_core::report::{Counts, Interval, MetricRow, Population, RunFacts, RunReport, Scope, Stat, Window};
use nomoat_core::request::{LaneId, RequestId, SessionId, ShardId};
use nomoat_core::sample::{Sample, SampleSource};
use nomoat_core::schedule::{Limit, Warmup};
use nomoat_core::slo::Slo;
use nomoat_core::units::Nanos;
use nomoat_core::validity::{Finding, RuleResult, Severity, Validity};
use proptest::prelude::*;

pub(crate) const RUN_ID: &str = "01930000-0000-7000-8000-000000000001";

/// An answered request with `chunks` chunks, different for each `i`.
pub(crate) fn record(i: u32, chunks: usize) -> RequestRecord {
    let due = Nanos::from_millis(i64::from(i) * 10);
    let first = due + Nanos::from_micros(1500 + i64::from(i % 100));
    let gaps: Vec<i64> = (0..chunks as i64).map(|c| if c == 0 { 0 } else { 1_000_000 + c * i64::from(i % 13) }).collect();
    let last = first + Nanos(gaps.iter().sum());
    RequestRecord {
        request: RequestId(i),
        session: i.is_multiple_of(3).then_some(SessionId(i / 3)),
        at: Moments {
            due,
            start: Some(due + Nanos(900)),
            sent: Some(due + Nanos(9_000)),
            first_token: Some(first),
            last_token: Some(last),
            end: Some(last + Nanos(50_000)),
            ..Moments::default()
        },
        chunk_tokens: vec![1; chunks],
        chunk_gaps: gaps,
        tokens: Tokens { input: Some(100 + i), output: Some(chunks as u32), wanted: chunks as u32, ..Tokens::default() },
        connection: Connection::Reused,
        bytes_down: u64::from(i) * 1000,
        output_hash: Some(OutputHash(u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        ..RequestRecord::default()
    }
}

pub(crate) fn sample(i: i64) -> Sample {
    Sample {
        at: Nanos::from_secs(i),
        source: SampleSource::Engine,
        metric: nomoat_core::sample::names::KV_USED_BYTES.into(),
        labels: String::new(),
        value: i as f64 * 0.1,
    }
}

fn member<W: Word + std::fmt::Debug>() -> impl Strategy<Value = W> {
    (0..W::ALL.len()).prop_map(|i| W::ALL[i])
}

fn moment() -> impl Strategy<Value = Option<Nanos>> {
    any::<Option<i64>>().prop_map(|m| m.map(Nanos))
}

/// Any record, sensible or not.
pub(crate) fn arbitrary_record() -> impl Strategy<Value = RequestRecord> {
    let identity = (
        any::<u32>(),
        any::<Option<u32>>(),
        any::<u16>(),
        any::<Option<u32>>(),
        any::<u16>(),
        member::<Phase>(),
        any::<(u16, i32, u16, u16)>(),
    );
    let moments = (any::<i64>(), prop::array::uniform13(moment()));
    let chunks = (prop::collection::vec(any::<i64>(), 0..12), prop::collection::vec(any::<u32>(), 0..12), any::<u32>());
    let tokens = (any::<[Option<u32>; 5]>(), any::<(u32, u32)>(), [member(), member(), member()]);
    let line = (member::<Connection>(), member::<StampSource>(), any::<bool>(), any::<u32>());
    let fate = (
        member::<Status>(),
        any::<Option<u16>>(),
        prop::option::of(member::<ErrorCode>()),
        prop::option::of(member::<FinishReason>()),
        any::<(u64, u64)>(),
        any::<(Option<u64>, Option<u32>)>(),
        prop::option::of(".{0,20}"),
    );
    (identity, moments, chunks, tokens, line, fate).prop_map(|(identity, moments, chunks, tokens, line, fate)| {
        let (request, session, turn, lane, shard, phase, (class, priority, endpoint, attempts)) = identity;
        let (
            due,
            [
                start,
                conn_ready,
                sent,
                headers,
                first_byte,
                first_choice,
                first_token,
                first_visible,
                last_token,
                last_choice,
                last_event,
                terminator,
                end,
            ],
        ) = moments;
        let ([input, cache_read, cache_write, output, reasoning], (wanted, wanted_input), [input_source, output_source, chunk_source]) =
            tokens;
        let (connection, stamp, first_coalesced, coalesced) = line;
        let (status, http_status, error, finish, (bytes_up, bytes_down), (output_hash, output_chars), vendor) = fate;
        let due = Nanos(due);
        RequestRecord {
            request: RequestId(request),
            session: session.map(SessionId),
            turn,
            lane: lane.map(LaneId),
            shard: ShardId(shard),
            phase,
            class,
            priority,
            endpoint,
            attempts,
            at: Moments {
                due,
                start,
                conn_ready,
                sent,
                headers,
                first_byte,
                first_choice,
                first_token,
                first_visible,
                last_token,
                last_choice,
                last_event,
                terminator,
                end,
            },
            chunk_gaps: chunks.0,
            chunk_tokens: chunks.1,
            empty_choices: chunks.2,
            tokens: Tokens {
                input,
                cache_read,
                cache_write,
                output,
                reasoning,
                wanted,
                wanted_input,
                input_source,
                output_source,
                chunk_source,
            },
            connection,
            stamp,
            first_coalesced,
            coalesced,
            status,
            http_status,
            error,
            finish,
            bytes_up,
            bytes_down,
            output_hash: output_hash.map(OutputHash),
            output_chars,
            vendor,
        }
    })
}

/// Any reading, NaN included.
pub(crate) fn arbitrary_sample() -> impl Strategy<Value = Sample> {
    (any::<i64>(), member::<SampleSource>(), ".{0,12}", ".{0,12}", any::<f64>()).prop_map(|(at, source, metric, labels, value)| Sample {
        at: Nanos(at),
        source,
        metric,
        labels,
        value,
    })
}

/// Any facts with finite numbers.
pub(crate) fn arbitrary_facts() -> impl Strategy<Value = RunFacts> {
    let finite = || any::<f64>().prop_filter("finite", |v| v.is_finite());
    let pricing = prop_oneof![
        finite().prop_map(|usd_per_hour| Pricing::Pool { usd_per_hour }),
        (finite(), prop::option::of(finite()), prop::option::of(finite()), finite(), prop::option::of(finite())).prop_map(
            |(input, cache_read, cache_write, output, reasoning)| Pricing::PerToken(TokenPrices {
                input,
                cache_read,
                cache_write,
                output,
                reasoning
            })
        ),
    ];
    let mixer = prop_oneof![
        any::<(u32, u32, u32)>().prop_map(|(kv_heads, key_dim, value_dim)| Mixer::Grouped { kv_heads, key_dim, value_dim }),
        any::<(u32, u32)>().prop_map(|(rank, rope_dim)| Mixer::Latent { rank, rope_dim }),
    ];
    let geometry =
        (any::<u32>(), mixer, finite()).prop_map(|(layers, mixer, bytes_per_element)| KvGeometry { layers, mixer, bytes_per_element });
    let warmup = prop_oneof![any::<i64>().prop_map(|t| Warmup::Time(Nanos(t))), any::<u32>().prop_map(Warmup::Requests)];
    let times = (any::<(i64, i64)>(), warmup, any::<(Option<i64>, Option<u32>)>());
    let load = (any::<Option<u32>>(), any::<u64>(), prop::option::of(finite()), prop::collection::vec(".{0,8}", 0..3));
    let told = (any::<[Option<i64>; 4]>(), prop::option::of(pricing), any::<Option<u32>>(), prop::option::of(geometry));
    (times, load, told, any::<(u32, u32, u16)>(), any::<[bool; 4]>()).prop_map(
        |(times, load, told, (clipped, skipped, endpoints), flags)| {
            let ((start, stop), warmup, (duration, requests)) = times;
            let (concurrency, scheduled, offered_rate_per_s, classes) = load;
            let ([ttft, tpot, e2e, error], pricing, accelerators, geometry) = told;
            let [exact_length, interrupted, shares_host, insecure] = flags;
            RunFacts {
                start: Nanos(start),
                stop: Nanos(stop),
                warmup,
                limit: Limit { duration: duration.map(Nanos), requests },
                concurrency,
                scheduled,
                offered_rate_per_s,
                exact_length,
                classes,
                slo: Slo { ttft: ttft.map(Nanos), tpot: tpot.map(Nanos), e2e: e2e.map(Nanos) },
                pricing,
                accelerators,
                geometry,
                clipped,
                skipped,
                interrupted,
                shares_host,
                insecure,
                endpoints,
                instrument_error: error.map(Nanos),
                shared_prefix: error.map(|ns| ns as f64 / 3e9),
                repeats: error.map(|ns| Repeats { prompts: 20, same_alone: ns as u32 % 21, ..Repeats::default() }),
                content: error.map(|ns| Content::ALL[ns.rem_euclid(5) as usize]),
                routes: error.map(|ns| Routes::ALL[ns.rem_euclid(2) as usize]),
                predicted_cache: error.map(|ns| PredictedCache { block_tokens: 16, cached: ns.unsigned_abs(), tokens: 4_000_000_000 }),
                energy: error.map(energy_facts).unwrap_or_default(),
            }
        },
    )
}

/// Facts of energy that differ with a number.
fn energy_facts(n: i64) -> EnergyFacts {
    let watts = n as f64 / 7e9;
    EnergyFacts {
        asked: n % 2 == 0,
        scope: Some(energy::Scope::ALL[n.rem_euclid(5) as usize]),
        packages: Some(n as u32),
        by_address: n % 2 == 1,
        provisioned_w: Some(watts),
        usd_per_kwh: Some(watts / 3.0),
        pue: (n % 3 == 0).then_some(1.25),
        job: Some(Job { id: n.to_string(), start: Nanos(n), end: Nanos::MAX, joules: watts * 1e3, nodes: (n % 2 == 0).then_some(2) }),
        absent: vec![Absent { what: "rapl".into(), why: format!("why {n}") }],
    }
}

pub(crate) fn facts() -> RunFacts {
    RunFacts {
        start: Nanos(1_000_000),
        stop: Nanos::from_secs(33),
        warmup: Warmup::Time(Nanos::from_secs(2)),
        limit: Limit { duration: Some(Nanos::from_secs(30)), requests: None },
        concurrency: None,
        scheduled: 640,
        offered_rate_per_s: Some(20.1),
        exact_length: true,
        classes: vec!["chat".into()],
        slo: Slo { ttft: Some(Nanos::from_millis(500)), tpot: Some(Nanos::from_millis(50)), e2e: None },
        pricing: Some(Pricing::Pool { usd_per_hour: 2.85 }),
        accelerators: Some(8),
        geometry: Some(KvGeometry {
            layers: 32,
            mixer: Mixer::Grouped { kv_heads: 8, key_dim: 128, value_dim: 128 },
            bytes_per_element: 2.0,
        }),
        clipped: 0,
        skipped: 3,
        interrupted: false,
        shares_host: false,
        insecure: false,
        endpoints: 1,
        instrument_error: None,
        shared_prefix: None,
        repeats: None,
        content: Some(Content::SyntheticIds),
        routes: None,
        predicted_cache: None,
        energy: EnergyFacts::default(),
    }
}

pub(crate) fn early_manifest() -> Manifest {
    let text = |s: &str| s.to_owned();
    let config = serde_json::json!({"url": "http://127.0.0.1:8000", "rate": 20.1, "duration": "30s", "seed": 7});
    Manifest {
        labels: [(text("team"), text("infra"))].into(),
        harness: Harness {
            version: text("0.1.0"),
            git_sha: Some(text("0123456789abcdef")),
            git_dirty: Some(false),
            profile: text("release"),
            target: text("x86_64-unknown-linux-gnu"),
            rustc: Some(text("1.95.0")),
        },
        command: Command {
            argv_redacted: vec![text("nomoat"), text("run"), text("--header"), text("Authorization: <redacted>")],
            config: config.as_object().cloned().unwrap_or_default(),
        },
        clock: Clock {
            source: text("CLOCK_MONOTONIC"),
            stamp_source: text("read"),
            resolution_ns: 1,
            clocksource: Some(text("tsc")),
            ntp_synced: Some(true),
            wall_anchor: vec![WallAnchor { mono_ns: 0, unix_ns: 1_763_911_445_678_000_000 }],
        },
        host: Host {
            os: text("linux"),
            kernel: Some(text("6.12")),
            cpu: Cpu {
                model: Some(text("Made-up 9000")),
                cores: 2,
                threads: Some(4),
                threads_per_core: Some(2),
                smt: Some(true),
                sockets: Some(1),
                governor: Some(text("performance")),
                quota_cores: Some(1.5),
            },
            virt: Some(text("none")),
            mem_bytes: Some(8 << 30),
            numa_nodes: Some(1),
            load1_start: Some(0.25),
            load1_end: None,
        },
        backend: Engine {
            kind: text("http"),
            dialect: text("openai-chat"),
            target: text("http://127.0.0.1:8000"),
            endpoints: vec![],
            engine: text("vllm"),
            engine_version: text("0.32.0"),
            version_source: text("/version"),
            model: text("made-up-8b"),
            context_tokens: Some(8192),
            exact_length: true,
            token_ids: false,
            notes: vec![text("usage comes with every chunk")],
            told: [(text("kv_cache_dtype"), Told { value: text("fp8"), source: text("/get_server_info") })].into(),
            probed: [(text("forced_length"), text("8 of 8 tokens"))].into(),
            shares_host: false,
            launched: Some(Launched {
                engine: text("vllm"),
                argv: vec![text("vllm"), text("serve"), text("made-up-8b")],
                env: [(text("OMP_NUM_THREADS"), text("8"))].into(),
                log: text("0198-launch-vllm/engine.log"),
                port_doubt: None,
            }),
            cold_start: Some(ColdStart {
                port_open_ns: 41_000_000_000,
                ready_ns: 62_000_000_000,
                first_token_ns: Some(62_500_000_000),
                looks_ns: [82_000_000, 124_000_000],
                ready_by: vec![text("GET /health")],
                resident_bytes: Some(17_179_869_184),
            }),
        },
        system: System {
            accelerators: vec![Accelerator { name: text("h200"), count: 8 }],
            declared: serde_json::json!({"parallel": {"tp": 8}}).as_object().cloned().unwrap_or_default(),
            placement: crate::placement::read(&[(text("job.json"), text(include_str!("../fixtures/placement/slurm.json")))]).unwrap(),
        },
        workload: Workload {
            trace: Some(TraceInfo {
                name: text("chat-sample"),
                sha256: text("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
                n_requests: 640,
                licence: Some(text("Apache-2.0")),
                losses: vec![],
            }),
            load: text("Poisson 20.1/s (recorded 5.2/s)"),
            schedule_digest: text("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"),
            wire_digest: None,
            seed: 7,
            totals: Some(
                nomoat_core::schedule::Totals {
                    requests: 640,
                    input_tokens: 640_000,
                    output_tokens: 64_000,
                    last_due: Nanos::from_secs(32),
                    peak_concurrency: 48,
                }
                .into(),
            ),
        },
        ..Manifest::new(RUN_ID, RUN_ID, "2025-11-23T15:24:05.678Z", &facts())
    }
}

pub(crate) fn manifest() -> Manifest {
    let mut manifest = early_manifest();
    manifest.ended(&facts());
    manifest.host.load1_end = Some(1.5);
    manifest.clock.wall_anchor.push(WallAnchor { mono_ns: 33_000_000_000, unix_ns: 1_763_911_478_678_000_100 });
    assert_eq!(manifest.facts, FactsWire::from(&facts()));
    manifest
}

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
