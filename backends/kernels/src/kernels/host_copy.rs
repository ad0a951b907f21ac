//! Copies between the host's memory and the device's: the first leg of a cache that moves.

use crate::device::{Api, DeviceInfo};
use crate::dims::{Dims, Dtype};
use crate::fill::Fill;
use crate::kernel::{Cost, How, Inputs, Kernel, Operand, Piece, Step, Tier, Variant};

/// N bytes to the device or from it, through page-locked or ordinary memory of the host.
///
/// Nothing is compared: host memory that a device keeps for this holds what the last copy left in it.
#[derive(Debug)]
pub struct HostCopy;

impl Kernel for HostCopy {
    fn name(&self) -> &'static str {
        "host-copy"
    }

    fn about(&self) -> &'static str {
        "bytes between the host's memory and the device's, counted once: what the link gives"
    }

    fn shapes(&self, tier: Tier, _: &DeviceInfo) -> Vec<Dims> {
        let of = |bytes: usize| Dims::new(Dtype::F32, &[("N", bytes)]);
        match tier {
            Tier::Check => vec![of(16), of(65_540)],
            Tier::Quick => vec![of(256 << 20)],
            Tier::Full => vec![of(64 << 10), of(1 << 20), of(16 << 20), of(256 << 20)],
            Tier::Sweep => vec![],
        }
    }

    fn operands(&self, dims: &Dims) -> Vec<Operand> {
        vec![Operand::input("a", dims.dtype, dims.get("N") / 4, Fill::Uniform { scale: 1.0 })]
    }

    fn cost(&self, dims: &Dims) -> Cost {
        Cost { read: dims.get("N") as f64, ..Cost::default() }
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant {
                name: "to-pageable",
                about: "to the device from ordinary memory",
                how: How::Text(|_, device| step(device, true, false)),
            },
            Variant {
                name: "to-pinned",
                about: "to the device from page-locked memory",
                how: How::Text(|_, device| step(device, true, true)),
            },
            Variant {
                name: "from-pageable",
                about: "from the device to ordinary memory",
                how: How::Text(|_, device| step(device, false, false)),
            },
            Variant {
                name: "from-pinned",
                about: "from the device to page-locked memory",
                how: How::Text(|_, device| step(device, false, true)),
            },
        ]
    }

    fn units(&self, _: &Dims) -> usize {
        0
    }

    fn reference(&self, _: &Dims, _: &Inputs<'_>, _: usize) -> Vec<Piece> {
        vec![]
    }
}

fn step(device: &DeviceInfo, towards_device: bool, pinned: bool) -> Result<Vec<Step>, String> {
    if device.api == Api::Cpu {
        return Err("the CPU's memory is the host's: there is no link between them; `copy` measures it".into());
    }
    Ok(vec![Step::HostCopy { operand: 0, towards_device, pinned }])
}
