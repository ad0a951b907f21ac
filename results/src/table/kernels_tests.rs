//! Pictures of a made-up measurement of kernels, and its way through a file.

use super::Format;
use super::kernels::render_kernels;
use crate::kernels::{CeilingsWire, CostWire, KernelRun};
use crate::made_up::kernel_run;

#[test]
fn pictures() {
    insta::assert_snapshot!("kernels_table", render_kernels(&kernel_run(), Format::Table));
    insta::assert_snapshot!("kernels_markdown", render_kernels(&kernel_run(), Format::Markdown));
    insta::assert_snapshot!("kernels_csv", render_kernels(&kernel_run(), Format::Csv));
}

#[test]
fn what_is_written_is_read_again_and_another_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let run = kernel_run();
    run.write(directory.path()).unwrap();
    assert_eq!(KernelRun::read(directory.path()).unwrap(), run);
    let newer = KernelRun { schema: "kernel-run/2".into(), ..run };
    newer.write(directory.path()).unwrap();
    let error = KernelRun::read(directory.path()).unwrap_err().to_string();
    assert!(error.contains("kernel-run/2") && error.contains("kernel-run/1"), "{error}");
}

#[test]
fn what_limits_a_problem_is_the_longer_of_moving_and_computing() {
    let ceilings = kernel_run().ceilings;
    let cost = |flops, read, written| CostWire { matrix_flops: flops, vector_flops: 0.0, read_bytes: read, written_bytes: written };
    assert_eq!(ceilings.limit(&cost(7.5e14, 1e9, 1e9)), Some(("compute", 1.0)));
    assert_eq!(ceilings.limit(&cost(1.0, 4.2e12, 0.0)), Some(("memory", 1.0)));
    assert_eq!(ceilings.limit(&cost(0.0, 0.0, 0.0)), None);
    assert_eq!(CeilingsWire::default().limit(&cost(1.0, 1.0, 1.0)), None);
}
