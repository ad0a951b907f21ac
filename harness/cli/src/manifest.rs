//! What was run, as it goes into `manifest.json`: secrets out, everything that repeats the run in.

use crate::config;
use crate::launch::secrets::redacted as redacted_pair;
use crate::setup::Setup;
use crate::target::Engine;
use nomoat_core::report::RunFacts;
use nomoat_core::schedule::{Limit, Load, Schedule, Source, Warmup};
use nomoat_core::units::Nanos;
use nomoat_drive::{HostFacts, MonotonicClock, Outcome, WallAnchor};
use nomoat_results::manifest::{
    Accelerator, Clock, ColdStart, Command, Cpu, Engine as EngineFacts, Harness, Host, System, Told, TraceInfo, WallAnchor as AnchorWire,
    Workload,
};
use nomoat_results::models::layout;
use nomoat_results::{Manifest, TableContext, rfc3339_utc};
use std::path::Path;

/// What the dry run and the manifest assume of an engine nobody has measured yet, for the peak concurrency offered.
pub const ASSUMED_TTFT: Nanos = Nanos::from_millis(200);
/// The same, per output token.
pub const ASSUMED_TPOT: Nanos = Nanos::from_millis(25);

/// Flags whose value is never kept.
const SECRET_FLAGS: [&str; 1] = ["--header"];

/// The manifest at the start of a run.
pub fn begin(setup: &Setup, engine: &Engine, schedule: &Schedule, load: &str, run_id: &str, group: &str, facts: &RunFacts) -> Manifest {
    let host = HostFacts::read();
    let created = rfc3339_utc(WallAnchor::now().unix_ns as i64);
    let text = |s: String| (!s.is_empty()).then_some(s);
    let env = |value: &str| text(value.to_owned());
    let rule = schedule.rule();
    let trace = match &rule.source {
        Source::Fixed { .. } => None,
        Source::Trace(trace) => Some(TraceInfo {
            name: trace.name.clone(),
            sha256: trace.source.to_string(),
            n_requests: trace.requests.len() as u64,
            licence: trace.origin.licence.clone(),
            losses: trace.losses.clone(),
        }),
    };
    let mut manifest = Manifest::new(run_id, group, &created, facts);
    manifest.labels.clone_from(&setup.labels);
    manifest.harness = Harness {
        version: env!("CARGO_PKG_VERSION").into(),
        git_sha: env(env!("NOMOAT_GIT_SHA")),
        git_dirty: env!("NOMOAT_GIT_DIRTY").parse().ok(),
        profile: env!("NOMOAT_PROFILE").into(),
        target: env!("NOMOAT_TARGET").into(),
        rustc: env(env!("NOMOAT_RUSTC")),
    };
    manifest.command = Command {
        argv_redacted: scrubbed(setup, redacted(std::env::args_os().map(|word| word.to_string_lossy().into_owned()))),
        config: resolved(setup, rule.load, rule.warmup, rule.limit),
    };
    manifest.clock = Clock {
        source: "CLOCK_MONOTONIC".into(),
        stamp_source: engine.info.stamps.into(),
        resolution_ns: MonotonicClock::resolution().0,
        clocksource: host.make.clocksource,
        ntp_synced: host.make.ntp_synchronised,
        wall_anchor: vec![],
    };
    manifest.host = Host {
        os: host.os,
        kernel: text(host.kernel),
        cpu: Cpu {
            model: text(host.cpu),
            cores: host.cores,
            threads: host.make.logical_cores,
            threads_per_core: host.make.threads_per_core,
            smt: host.make.smt,
            sockets: host.make.sockets,
            governor: host.make.governor,
            quota_cores: host.make.quota_cores,
        },
        virt: host.make.virtualisation,
        mem_bytes: Some(host.memory_bytes),
        numa_nodes: host.make.numa_nodes,
        load1_start: Some(host.load1),
        load1_end: None,
    };
    manifest.backend = EngineFacts {
        kind: engine.info.kind.into(),
        dialect: engine.info.dialect.clone(),
        target: engine.info.target.clone(),
        endpoints: if engine.targets.len() > 1 { engine.targets.clone() } else { vec![] },
        engine: engine.version.engine.clone(),
        engine_version: engine.version.version.clone(),
        version_source: engine.version.source.clone(),
        model: engine.can.model.clone(),
        context_tokens: engine.can.context_tokens,
        exact_length: engine.can.exact_length,
        token_ids: engine.can.token_ids,
        notes: engine.can.notes.clone(),
        told: engine.can.told.iter().map(|(name, t)| (name.clone(), Told { value: t.value.clone(), source: t.source.clone() })).collect(),
        probed: engine.can.probed.clone(),
        shares_host: engine.info.shares_host,
        launched: engine.born.as_ref().map(|(launched, _)| launched.clone()),
        cold_start: engine.born.as_ref().map(|(_, cold_start)| cold_start.clone()),
    };
    manifest.system = System {
        accelerators: setup.accelerators.iter().map(|(name, count)| Accelerator { name: name.clone(), count: *count }).collect(),
        declared: setup.declared.clone(),
        placement: setup.placement.clone(),
    };
    manifest.workload = Workload {
        trace,
        load: load.into(),
        schedule_digest: schedule.digest().to_string(),
        wire_digest: None,
        seed: setup.seed,
        totals: schedule.totals(ASSUMED_TTFT, ASSUMED_TPOT).map(Into::into),
    };
    manifest
}

/// Adds what only the end knows.
pub fn end(manifest: &mut Manifest, outcome: &Outcome, facts: &RunFacts) {
    manifest.ended(facts);
    manifest.clock.wall_anchor = outcome.anchors.iter().map(|a| AnchorWire { mono_ns: a.monotonic.0, unix_ns: a.unix_ns as i64 }).collect();
    manifest.ext.insert("harness_cpu_ns".into(), outcome.cpu.0.to_string().into());
    manifest.host.load1_end = Some(HostFacts::load1());
    manifest.workload.wire_digest = Some(format!("sum/1:{:016x}", outcome.offered));
}

/// The settings as they were resolved: given to `-f`, they ask for the same run.
fn resolved(setup: &Setup, load: Load, warmup: Warmup, limit: Limit) -> serde_json::Map<String, serde_json::Value> {
    let mut args = setup.args.clone();
    args.repeat = setup.repeat;
    args.ladder = None;
    if let Load::Closed { concurrency, .. } = load {
        args.concurrency = Some(concurrency);
    }
    let nanos = |n: Nanos| format!("{}ns", n.0);
    args.warmup = Some(match warmup {
        Warmup::Time(t) => nanos(t),
        Warmup::Requests(n) => n.to_string(),
    });
    args.duration = limit.duration.map(nanos);
    args.requests = limit.requests;
    // How a run talks while it runs is no part of what it measured.
    args.quiet = false;
    if let Some(plan) = &setup.launch {
        // Its address was that of one launch, and a repetition loads the same model again.
        args.url = vec![];
        args.model.clone_from(&plan.model);
        let secrets = plan.secrets();
        for text in [&mut args.launch_args, &mut args.launch_command].into_iter().flatten() {
            *text = secrets.scrub(text);
        }
    }
    if let Some(adapter) = &setup.adapter {
        args.exec = args.exec.map(|text| adapter.secrets().scrub(&text));
    }
    config::to_map(&args)
}

/// The command line without what a started engine was given and no file may hold.
fn scrubbed(setup: &Setup, argv: Vec<String>) -> Vec<String> {
    if let Some(adapter) = &setup.adapter {
        let secrets = adapter.secrets();
        return argv.iter().map(|word| secrets.scrub(word)).collect();
    }
    let Some(plan) = &setup.launch else { return argv };
    let secrets = plan.secrets();
    let hide = |word: &str| match word.split_once('=') {
        Some(("--launch-env", pair)) => format!("--launch-env={}", redacted_pair(pair)),
        _ => redacted_pair(word),
    };
    let is_variable = |i: usize, word: &str| word.starts_with("--launch-env=") || (i > 0 && argv[i - 1] == "--launch-env");
    let word = |(i, word): (usize, &String)| secrets.scrub(&if is_variable(i, word) { hide(word) } else { word.clone() });
    argv.iter().enumerate().map(word).collect()
}

fn redacted(argv: impl Iterator<Item = String>) -> Vec<String> {
    let mut hide = false;
    argv.enumerate()
        .map(|(i, word)| {
            if i == 0 {
                // Where the binary lies is nobody's business.
                return "nomoat".into();
            }
            if std::mem::take(&mut hide) {
                return "<redacted>".into();
            }
            hide = SECRET_FLAGS.contains(&word.as_str());
            match word.split_once('=') {
                Some((flag, _)) if SECRET_FLAGS.contains(&flag) => format!("{flag}=<redacted>"),
                _ => word,
            }
        })
        .collect()
}

/// What stands around a run's table, from its manifest alone.
pub fn context(manifest: &Manifest, dir: &Path, next: &str) -> TableContext {
    let engine = &manifest.backend;
    let workload = &manifest.workload;
    let trace = match (&workload.trace, manifest.command.config.get("input-tokens"), manifest.command.config.get("output-tokens")) {
        (Some(trace), _, _) => format!("trace {} ({} requests)", trace.name, trace.n_requests),
        (None, Some(input), Some(output)) => format!("prompts of {input}, answers of {output} tokens"),
        _ => String::new(),
    };
    let host = &manifest.host;
    let mut below = vec![
        host_words(host, &manifest.clock),
        format!(
            "schedule {} · seed {} · nomoat {}{}",
            &workload.schedule_digest[..12.min(workload.schedule_digest.len())],
            workload.seed,
            manifest.harness.version,
            revision(manifest)
        ),
        format!("stamps: {}", manifest.clock.stamp_source),
    ];
    let opens = if engine.kind == "exec" { "socket" } else { "port" };
    below.extend(engine.launched.iter().zip(&engine.cold_start).map(|(launched, start)| started(&launched.engine, opens, start)));
    below.extend(
        engine.launched.iter().filter_map(|l| {
            Some(format!("note: whether {} itself answers at its port is not known: {}", l.engine, l.port_doubt.as_ref()?))
        }),
    );
    below.extend(manifest.system.placement.iter().map(nomoat_results::placement::line));
    below.extend(engine.notes.iter().map(|n| format!("note: {n}")));
    if let Some(trace) = &workload.trace {
        below.extend(trace.losses.iter().map(|l| format!("trace: {l}")));
        below.extend(trace.licence.iter().map(|l| format!("trace licence: {l}")));
    }
    below.push(format!("files: {}", dir.display()));
    TableContext {
        run_id: manifest.run_id.clone(),
        engine: engine.engine.clone(),
        version: engine.engine_version.clone(),
        model: engine.model.clone(),
        trace,
        load: workload.load.clone(),
        accelerators: (!manifest.system.accelerators.is_empty())
            .then(|| manifest.system.accelerators.iter().map(|a| format!("{} × {}", a.count, a.name)).collect::<Vec<_>>().join(", ")),
        slo: manifest.facts().map(|f| f.slo).unwrap_or_default(),
        energy_asked: manifest.facts.energy.asked,
        kv_rows: manifest.facts().ok().and_then(|facts| facts.geometry.as_ref().and_then(layout)),
        endpoints: engine.endpoints.clone(),
        below,
        calibration: manifest.calibration.as_ref().and_then(calibration),
        next: (!next.is_empty()).then(|| next.to_owned()),
    }
}

/// How long a started engine took, in a line; `opens` is what it listens on.
fn started(name: &str, opens: &str, start: &ColdStart) -> String {
    let first = start.first_token_ns.map_or("no first token".into(), |ns| format!("first token after {}", Nanos(ns)));
    format!(
        "cold start of {name}: {opens} open after {}, ready after {}, {first}, all from the start of its process",
        Nanos(start.port_open_ns),
        Nanos(start.ready_ns)
    )
}

/// The load host in a line: what it is, and of its set-up what is out of the ordinary.
fn host_words(host: &Host, clock: &Clock) -> String {
    let Cpu { cores, threads, threads_per_core, .. } = host.cpu;
    let mut words = vec![match (threads.filter(|all| *all != cores), threads_per_core.filter(|n| *n > 1)) {
        (None, None) => format!("{cores} cores"),
        (Some(all), None) => format!("{cores} of {all} cores"),
        (None, Some(n)) => format!("{cores} logical cores, {n} per core"),
        (Some(all), Some(n)) => format!("{cores} of {all} logical cores, {n} per core"),
    }];
    words.push(host.cpu.model.clone().unwrap_or_else(|| "unknown CPU".into()));
    words.push(host.os.clone());
    words.extend(host.virt.as_ref().filter(|v| *v != "none").map(|v| format!("virtual ({v})")));
    words.extend(host.numa_nodes.filter(|n| *n > 1).map(|n| format!("{n} NUMA nodes")));
    words.extend(host.cpu.governor.as_ref().filter(|g| *g != "performance").map(|g| format!("governor {g}")));
    words.extend(host.cpu.quota_cores.map(|q| format!("CPU quota of {q:.2} cores")));
    words.extend(clock.ntp_synced.filter(|synced| !synced).map(|_| "wall clock not kept by NTP".into()));
    format!("host: {}; load before {}", words.join(", "), host.load1_start.map_or("unknown".into(), |l| format!("{l:.2}")))
}

/// The instrument's error in words, from the certificates of a manifest.
fn calibration(certificates: &serde_json::Value) -> Option<String> {
    let one = |when: &str| {
        let errors = certificates.get(when)?.get("error")?;
        let of = |name: &str, key: &str| errors.get(name)?.get(key)?.as_f64().map(|ns| Nanos(ns as i64));
        Some(format!(
            "{when} the run: TTFT mean {}, p99 {}; ITL p99 {}; E2E p99 {}",
            of("ttft", "mean_ns")?,
            of("ttft", "p99_ns")?,
            of("itl", "p99_ns").map_or("–".into(), |n| n.to_string()),
            of("e2e", "p99_ns").map_or("–".into(), |n| n.to_string())
        ))
    };
    let words: Vec<String> = ["before", "after"].into_iter().filter_map(one).collect();
    let transport = certificates.pointer("/after/case/transport").and_then(serde_json::Value::as_str).unwrap_or("unknown transport");
    (!words.is_empty()).then(|| format!("own error at this load, {transport} on loopback, {}", words.join("; ")))
}

fn revision(manifest: &Manifest) -> String {
    match (&manifest.harness.git_sha, manifest.harness.git_dirty) {
        (Some(sha), Some(true)) => format!(" at {} with changes", &sha[..12.min(sha.len())]),
        (Some(sha), _) => format!(" at {}", &sha[..12.min(sha.len())]),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{host_words, redacted};
    use nomoat_results::manifest::{Clock, Cpu, Host};

    #[test]
    fn a_host_in_a_line() {
        let cpu = Cpu { model: Some("CPU".into()), cores: 4, ..Cpu::default() };
        let plain = Host { os: "OS".into(), cpu: cpu.clone(), load1_start: Some(0.5), ..Host::default() };
        assert_eq!(host_words(&plain, &Clock::default()), "host: 4 cores, CPU, OS; load before 0.50");
        let usual = Cpu { threads: Some(4), threads_per_core: Some(1), governor: Some("performance".into()), ..cpu.clone() };
        let usual = Host { cpu: usual, virt: Some("none".into()), numa_nodes: Some(1), ..plain.clone() };
        assert_eq!(host_words(&usual, &Clock { ntp_synced: Some(true), ..Clock::default() }), host_words(&plain, &Clock::default()));
        let odd = Cpu { threads: Some(8), threads_per_core: Some(2), governor: Some("powersave".into()), quota_cores: Some(2.5), ..cpu };
        let odd = Host { cpu: odd, virt: Some("kvm".into()), numa_nodes: Some(2), load1_start: None, ..plain };
        assert_eq!(
            host_words(&odd, &Clock { ntp_synced: Some(false), ..Clock::default() }),
            "host: 4 of 8 logical cores, 2 per core, CPU, OS, virtual (kvm), 2 NUMA nodes, governor powersave, CPU quota of 2.50 cores, \
             wall clock not kept by NTP; load before unknown"
        );
    }

    #[test]
    fn headers_are_not_kept() {
        let words = ["/somewhere/nomoat", "run", "--header", "X: secret", "--header=Y: secret", "--url", "http://h"];
        let kept = redacted(words.into_iter().map(String::from)).join(" ");
        assert_eq!(kept, "nomoat run --header <redacted> --header=<redacted> --url http://h");
    }
}
