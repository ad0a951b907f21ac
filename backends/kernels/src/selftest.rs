//! Every variant that a device can run, on every shape of the check: the report that tells whether a device computes rightly.

use crate::check::check;
use crate::device::{Api, Device, DeviceError};
use crate::kernel::{How, Kernel, Tier, Variant};
use crate::kernels::KERNELS;
use crate::problem::{NotRun, Problem, prepare};

/// What became of one variant.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Right on so many shapes; the largest relative error, and the limit that it stayed under.
    Right {
        /// Shapes that it fits.
        shapes: usize,
        /// The largest relative error.
        worst: f64,
        /// The limit of that shape.
        limit: f64,
    },
    /// It fits no shape on this device, or the device cannot run it.
    Unfit(String),
    /// It computed something else, on this shape.
    Wrong(String),
    /// The device refused or failed, on this shape.
    Failed(String),
}

/// One variant's line of the report.
#[derive(Clone, PartialEq, Debug)]
pub struct Tested {
    /// Family.
    pub kernel: &'static str,
    /// Variant.
    pub variant: &'static str,
    /// What became of it.
    pub outcome: Outcome,
}

/// Tests every variant of the device's kind. `say` is told which family is next.
pub fn selftest(device: &dyn Device, seed: u32, say: &mut dyn FnMut(&str)) -> Vec<Tested> {
    let cpu = device.info().api == Api::Cpu;
    let mut report = vec![];
    for kernel in KERNELS {
        say(kernel.name());
        for variant in kernel.variants().iter().filter(|variant| matches!(variant.how, How::Native(_)) == cpu) {
            report.push(Tested { kernel: kernel.name(), variant: variant.name, outcome: tested(device, *kernel, variant, seed) });
        }
    }
    report
}

fn tested(device: &dyn Device, kernel: &dyn Kernel, variant: &Variant, seed: u32) -> Outcome {
    let (mut shapes, mut worst, mut limit) = (0, 0.0, 0.0);
    let mut unfit = "the family has no shapes to check".to_owned();
    for dims in kernel.shapes(Tier::Check, device.info()) {
        let outcome = prepare(device, kernel, variant, &dims).and_then(|steps| {
            let problem = Problem::new(device, kernel, &dims, seed)?;
            Ok(check(device, kernel, &dims, &problem, &steps)?)
        });
        match outcome {
            Ok(checked) if checked.passed() => {
                shapes += 1;
                if checked.error >= worst {
                    (worst, limit) = (checked.error, checked.tolerance);
                }
            }
            Ok(checked) => return Outcome::Wrong(format!("{dims}: {checked}")),
            Err(NotRun::Unfit(why) | NotRun::Device(DeviceError::Unsupported { why, .. })) => unfit = why,
            Err(NotRun::Device(error)) => return Outcome::Failed(format!("{dims}: {error}")),
        }
    }
    if shapes > 0 { Outcome::Right { shapes, worst, limit } } else { Outcome::Unfit(unfit) }
}
