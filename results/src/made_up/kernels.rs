//! A made-up measurement of kernels.

use crate::kernels::{
    AbsentWire, CeilingWire, CeilingsWire, CheckWire, CompileWire, CostWire, DeviceWire, GrowthWire, HostWire, KernelRun, RowWire, SCHEMA,
};
use serde_json::json;

fn row(kernel: &str, variant: &str, cache: &str, samples: &[f64], cost: CostWire) -> RowWire {
    let shape = json!({"M": 512, "N": 4096, "K": 14336});
    RowWire {
        kernel: kernel.into(),
        variant: variant.into(),
        dtype: "bf16".into(),
        shape: shape.as_object().cloned().unwrap_or_default(),
        cost,
        check: CheckWire { relative_error: 1.6e-7, limit: 5e-3, units: 34, of: 512 },
        compile: CompileWire { seconds: 0.43, cached: 0, registers: Some(168), spilled_bytes: Some(if variant == "mma" { 0 } else { 24 }) },
        cache: cache.into(),
        runs_per_sample: 12,
        samples_s: samples.to_vec(),
        cpu_s: None,
    }
}

/// A measurement of kernels.
pub(crate) fn kernel_run() -> KernelRun {
    let gemm = CostWire { matrix_flops: 6.0e10, vector_flops: 0.0, read_bytes: 1.3e8, written_bytes: 8.4e6 };
    let copy = CostWire { matrix_flops: 0.0, vector_flops: 0.0, read_bytes: 2.1e9, written_bytes: 2.1e9 };
    let absent = |variant: &str, kind: &str, why: &str| AbsentWire {
        kernel: "gemm".into(),
        variant: variant.into(),
        shape: (kind == "wrong").then(|| "bf16 M=130 N=257 K=136".into()),
        kind: kind.into(),
        why: why.into(),
    };
    KernelRun {
        schema: SCHEMA.into(),
        id: "made-up-kernels-cuda-0".into(),
        started_at: "2026-01-02T03:04:05.678Z".into(),
        nomoat: "0.1.0".into(),
        command: vec!["gemm".into()],
        host: HostWire { cpu: "Made-up 9000".into(), cores: 16, os: "Linux".into(), kernel: "6.12".into(), load1: 0.5 },
        device: DeviceWire {
            id: "cuda:0".into(),
            name: "Made-up G1".into(),
            arch: "sm_90".into(),
            units: 132,
            warp: 32,
            cache_bytes: 62_914_560,
            memory_bytes: 150_000_000_000,
            driver: "driver 580.1 (CUDA 13.0)".into(),
            compiler: "NVRTC 13.0".into(),
        },
        tier: "quick".into(),
        seed: 1,
        ceilings: CeilingsWire {
            copy: Some(CeilingWire { per_s: 4.2e12, variant: "vector".into() }),
            read: None,
            matrix: Some(CeilingWire { per_s: 7.5e14, variant: "vendor".into() }),
        },
        rows: vec![
            row("copy", "vector", "cold", &[1.0e-3, 1.01e-3, 0.99e-3], copy),
            row("gemm", "mma", "cold", &[2.0e-4, 2.1e-4, 2.2e-4, 1.9e-4], gemm),
            row("gemm", "mma", "hot", &[1.6e-4, 1.6e-4, 1.7e-4], gemm),
            row("gemm", "tiled", "cold", &[4.0e-3], gemm),
        ],
        absent: vec![
            absent("mfma", "unfit", "needs an AMD matrix core"),
            absent("wgmma", "wrong", "relative error 7.1e-1 (limit 5e-3), 130 of 130 units compared"),
        ],
        growth: vec![GrowthWire {
            kernel: "decode-mla".into(),
            variant: "mma".into(),
            over: "L".into(),
            claim: "time of dense attention grows with the context".into(),
            shape: "bf16 B=1 L=2048".into(),
            expected: 1.0,
            points: vec![(2048.0, 1e-4), (8192.0, 4e-4), (32768.0, 1.55e-3)],
            exponent: Some(0.988),
            standard_error: Some(0.007),
        }],
    }
}
