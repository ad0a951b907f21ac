//! Launch: a kernel that does nothing, for what it costs to start one.

use crate::device::DeviceInfo;
use crate::dims::{Dims, Dtype};
use crate::host::Host;
use crate::kernel::{Cost, How, Inputs, Kernel, Launch as Start, Operand, Piece, Step, Tier, Variant};
use rayon::ThreadPool;

/// The time from one start to the next when nothing is done between them. Reported; there is no ceiling to hold it against.
#[derive(Debug)]
pub struct Launch;

impl Kernel for Launch {
    fn name(&self) -> &'static str {
        "launch"
    }

    fn about(&self) -> &'static str {
        "an empty kernel: what starting one costs, and the floor under every other time"
    }

    fn shapes(&self, tier: Tier, device: &DeviceInfo) -> Vec<Dims> {
        let of = |blocks: usize| Dims::new(Dtype::I32, &[("BLOCKS", blocks)]);
        match tier {
            Tier::Check | Tier::Quick => vec![of(1)],
            // And as many as run at once.
            Tier::Full => vec![of(1), of(device.units.max(1) as usize * 8)],
            Tier::Sweep => vec![],
        }
    }

    fn operands(&self, _: &Dims) -> Vec<Operand> {
        vec![]
    }

    fn cost(&self, _: &Dims) -> Cost {
        Cost::default()
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "empty", about: "a kernel without arguments, 256 threads a block", how: How::Text(empty) },
            Variant { name: "native", about: "an empty task for every thread of the pool, waited for", how: How::Native(native) },
        ]
    }

    fn units(&self, _: &Dims) -> usize {
        0
    }

    fn reference(&self, _: &Dims, _: &Inputs<'_>, _: usize) -> Vec<Piece> {
        vec![]
    }
}

fn empty(dims: &Dims, _: &DeviceInfo) -> Result<Vec<Step>, String> {
    let (text, entry, grid) = (include_str!("../text/launch.cu"), "launch_empty", [dims.get("BLOCKS") as u32, 1, 1]);
    Ok(vec![Step::Launch(Start { text, entry, defines: vec![], grid, block: 256, shared: 0, args: vec![] })])
}

fn native(_: &Dims, _: &mut [Host], pool: &ThreadPool) {
    pool.broadcast(|_| ());
}
