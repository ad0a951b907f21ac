//! Truth before speed: what a variant wrote, held against the reference in f64.

use crate::device::{Device, DeviceError, Ready};
use crate::dims::{Dims, Dtype};
use crate::fill::mix;
use crate::kernel::{Distance, Inputs, Kernel, Role, Written};
use crate::problem::Problem;
use rayon::prelude::*;
use std::cell::RefCell;

/// Operations that the reference of one check may cost before units are sampled.
const REFERENCE_FLOPS: f64 = 2e8;
/// Elements of an output up to which every one is looked at for poison.
const LOOK_AT_ALL: usize = 4 << 20;

/// What a check found.
#[derive(Clone, PartialEq, Debug)]
pub struct Checked {
    /// L2 norm of the difference over that of the right values.
    pub error: f64,
    /// The largest that passes.
    pub tolerance: f64,
    /// Units compared.
    pub units: usize,
    /// Units there are.
    pub of: usize,
    /// Elements that are not a number, or an index twice or out of range.
    pub broken: u64,
    /// Output elements that nothing wrote.
    pub unwritten: u64,
}

impl Checked {
    /// Whether the variant may be timed.
    pub fn passed(&self) -> bool {
        self.broken == 0 && self.unwritten == 0 && self.error <= self.tolerance && !self.error.is_nan()
    }
}

impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "relative error {:.1e} (limit {:.0e})", self.error, self.tolerance)?;
        if self.broken > 0 {
            write!(f, ", {} elements wrong in kind", self.broken)?;
        }
        if self.unwritten > 0 {
            write!(f, ", {} elements never written", self.unwritten)?;
        }
        write!(f, ", {} of {} units compared", self.units, self.of)
    }
}

/// Runs the steps once on a problem whose outputs are poisoned, and compares.
///
/// # Errors
/// When the device fails; a wrong result is no error but a [`Checked`] that did not pass.
pub fn check(
    device: &dyn Device,
    kernel: &dyn Kernel,
    dims: &Dims,
    problem: &Problem<'_>,
    steps: &[Ready],
) -> Result<Checked, DeviceError> {
    problem.reset()?;
    problem.run(steps)?;
    device.sync()?;
    compare(kernel, dims, problem)
}

/// Compares what stands in the outputs with the reference.
///
/// # Errors
/// When the device fails.
pub fn compare(kernel: &dyn Kernel, dims: &Dims, problem: &Problem<'_>) -> Result<Checked, DeviceError> {
    let failed: RefCell<Option<DeviceError>> = RefCell::new(None);
    let fetch = |operand, from, len| {
        problem.row(operand, from, len).unwrap_or_else(|error| {
            failed.borrow_mut().get_or_insert(error);
            vec![f64::NAN; len]
        })
    };
    let written = Written::new(&fetch);
    let inputs = Inputs::new(problem.operands(), problem.seed());
    let of = kernel.units(dims);
    let right = problem.right(|| {
        let chosen = choose(of, kernel.cost(dims).flops().max(of as f64), problem.seed());
        chosen.into_par_iter().map(|unit| (unit, kernel.reference(dims, &inputs, unit))).collect()
    });
    let mut total = Distance::default();
    for (unit, right) in right {
        let Distance { error, norm, broken } = kernel.distance(dims, &inputs, *unit, right, &written);
        total = Distance { error: total.error + error, norm: total.norm + norm, broken: total.broken + broken };
    }
    let unwritten = unwritten(problem)?;
    if let Some(error) = failed.into_inner() {
        return Err(error);
    }
    let error = if total.norm > 0.0 { (total.error / total.norm).sqrt() } else { total.error.sqrt() };
    Ok(Checked { error, tolerance: kernel.tolerance(dims), units: right.len(), of, broken: total.broken, unwritten })
}

/// Elements of outputs that still hold poison: all are looked at where there are few, else the ends and stretches between.
fn unwritten(problem: &Problem<'_>) -> Result<u64, DeviceError> {
    let mut count = 0;
    for (index, operand) in problem.operands().iter().enumerate().filter(|(_, operand)| operand.role == Role::Out) {
        let stretch = operand.len.min(LOOK_AT_ALL / 16);
        let starts: Vec<usize> = if operand.len <= LOOK_AT_ALL {
            (0..operand.len).step_by(stretch.max(1)).collect()
        } else {
            (0..16).map(|part| part * (operand.len - stretch) / 15).collect()
        };
        for from in starts {
            let len = stretch.min(operand.len - from);
            // −1 is what poison is as an integer; that it may be an answer is for the family's own distance to say.
            let poison = |value: &&f64| value.is_nan() && operand.dtype != Dtype::I32;
            count += problem.row(index, from, len)?.iter().filter(poison).count() as u64;
        }
    }
    Ok(count)
}

/// Units to compare: all of them while the reference is cheap, else the first, the last and some between, by the seed.
fn choose(units: usize, flops: f64, seed: u32) -> Vec<usize> {
    let affordable = (REFERENCE_FLOPS / (flops / units.max(1) as f64)).max(2.0);
    if units as f64 <= affordable {
        return (0..units).collect();
    }
    let count = affordable.min(256.0) as usize;
    let mut chosen: Vec<usize> = (0..count as u64).map(|index| ((u64::from(mix(index, seed)) * units as u64) >> 32) as usize).collect();
    chosen.extend([0, units - 1]);
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_units_are_all_compared_and_many_are_sampled_with_both_ends() {
        assert_eq!(choose(5, 1e6, 1), [0, 1, 2, 3, 4]);
        let chosen = choose(1_000_000, 1e12, 1);
        assert!(chosen.len() > 100 && chosen.len() <= 258, "{}", chosen.len());
        assert_eq!((chosen[0], chosen[chosen.len() - 1]), (0, 999_999));
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
