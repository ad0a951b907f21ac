//! Made-up runs for the tests of this crate: every number in here is invented.

mod cold_start;
mod kernels;
mod report;

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
use nomoat_core::fidelity::{Content, PredictedCache, Routes};
use nomoat_core::kv::{KvGeometry, Mixer};
use nomoat_core::record::{Connection, ErrorCode, FinishReason, Moments, Phase, RequestRecord, StampSource, Status, Tokens};
use nomoat_core::report::RunFacts;
use nomoat_core::request::{LaneId, RequestId, SessionId, ShardId};
use nomoat_core::sample::{Sample, SampleSource};
use nomoat_core::schedule::{Limit, Warmup};
use nomoat_core::slo::Slo;
use nomoat_core::units::Nanos;
use proptest::prelude::*;
pub(crate) use report::{invalid_report, valid_report};

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
