//! The receive path against bytes: recorded, synthetic, generated and broken ones.

mod common;
mod encoding;
mod equivalence;
mod goldens;
mod metrics;
mod mutations;
mod rows;
