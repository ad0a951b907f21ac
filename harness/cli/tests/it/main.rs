//! The binary as a user meets it: started as a process in a folder of its own, against servers on free ports of the loopback
//! interface, judged by its exit code, its two streams and the files it leaves.
//!
//! Nothing here asserts how long something took. Where a test must wait for a process, it polls with a bound that only a hanging
//! program reaches. The rules of a verdict that judge the punctuality of the host (V05, V06) may fail on a busy machine and are allowed to.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails here fails the test")]

mod arrows;
mod audit;
mod calibrate;
mod cold_start;
mod common;
mod cost;
mod dry_run;
mod embedded;
mod endpoint;
mod energy;
mod engine;
mod errors;
mod exec;
mod faults;
mod help;
mod hosted;
mod interrupt;
mod kernels;
mod kv;
mod launch;
mod placement;
mod profiles;
mod reconcile;
mod record;
mod replay;
mod secrets;
mod study;
mod workloads;
