//! Cold starts that nobody measured.

use crate::cold_start::{ColdStartRun, CycleWire, EngineWire, SCHEMA};
use crate::kernels::HostWire;

pub(crate) fn cold_start() -> ColdStartRun {
    let cycle = |seconds: i64, refused: &[(u16, u32)]| CycleWire {
        cool_ns: 400_000_000,
        api_ns: Some(seconds * 900_000_000),
        port_open_ns: None,
        ready_ns: Some(seconds * 1_000_000_000),
        first_token_ns: seconds * 1_000_000_000 + 80_000_000,
        refused: refused.iter().copied().collect(),
        lost: 0,
        warm_token_ns: 21_000_000,
        resident_warm_bytes: Some(8 << 30),
        resident_cold_bytes: Some(6 << 30),
    };
    ColdStartRun {
        schema: SCHEMA.into(),
        id: "0198-cold-start-vllm".into(),
        started_at: "2026-11-23T15:04:05.678Z".into(),
        nomoat: "0.1.0".into(),
        host: HostWire { cpu: "CPU".into(), cores: 2, os: "OS".into(), kernel: "6.1".into(), load1: 0.5 },
        engine: EngineWire {
            name: "vllm".into(),
            version: "0.32.0".into(),
            model: "made-up-8b".into(),
            target: "http://127.0.0.1:8000".into(),
        },
        launched: None,
        action: "sleep:1".into(),
        cooled_by: vec!["POST /sleep?level=1".into()],
        cold_by: Some("GET /is_sleeping at /is_sleeping is `true`".into()),
        warmed_by: vec!["POST /wake_up".into()],
        ready_by: vec!["GET /is_sleeping at /is_sleeping is `false`".into()],
        wanted: 3,
        cycles: vec![cycle(1, &[]), cycle(3, &[(503, 4)])],
        stopped_because: Some("it was stopped".into()),
    }
}
