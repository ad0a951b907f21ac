//! A problem set up on a device: operands allocated, filled, poisoned, run, fetched.

use crate::device::{Api, Buffer, Device, DeviceError, Ready};
use crate::dims::{Dims, Dtype};
use crate::fill::{Fill, fine, from_bf16, to_bf16, uniform};
use crate::kernel::{Arg, How, Kernel, Launch, Operand, Piece, Role, Step, Variant, operand_seed};
use std::cell::OnceCell;

const TEXT: &str = include_str!("text/fill.cu");
/// Elements that the host makes at a time where the device cannot fill by itself.
const STRETCH: usize = 1 << 20;

/// Why a variant did not run.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum NotRun {
    /// It is not for this device or this shape.
    #[error("{0}")]
    Unfit(String),
    /// The device refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Makes the steps of a variant ready for a shape.
///
/// # Errors
/// When the variant does not fit, or the device refuses to compile or load it.
pub fn prepare(device: &dyn Device, kernel: &dyn Kernel, variant: &Variant, dims: &Dims) -> Result<Vec<Ready>, NotRun> {
    let steps = match variant.how {
        How::Native(_) if device.info().api != Api::Cpu => return Err(NotRun::Unfit("native variants run on the CPU".into())),
        How::Native(run) => vec![Step::Native { run, dims: dims.clone() }],
        How::Plugin(entry) => vec![Step::Plugin { entry, kernel: kernel.name(), dims: dims.clone() }],
        // A family may have a reason of its own.
        How::Text(steps) if device.info().api == Api::Cpu => {
            return Err(NotRun::Unfit(steps(dims, device.info()).err().unwrap_or_else(|| "kernel text runs on GPUs".into())));
        }
        How::Text(steps) => steps(dims, device.info()).map_err(NotRun::Unfit)?,
    };
    steps.iter().map(|step| device.prepare(step).map_err(NotRun::Device)).collect()
}

/// Operands of one shape on one device.
pub struct Problem<'d> {
    device: &'d dyn Device,
    operands: Vec<Operand>,
    buffers: Vec<Buffer>,
    seed: u32,
    /// Right values of the units that are compared: the same for every variant, so computed once.
    right: OnceCell<Vec<(usize, Vec<Piece>)>>,
}

impl<'d> Problem<'d> {
    /// Allocates and fills the operands of a shape.
    ///
    /// # Errors
    /// When the device has no room, or a driver call fails.
    pub fn new(device: &'d dyn Device, kernel: &dyn Kernel, dims: &Dims, seed: u32) -> Result<Self, DeviceError> {
        let operands = kernel.operands(dims);
        let label = |operand: &Operand| format!("{} of {} {dims}", operand.name, kernel.name());
        // An empty operand still has an address; others have their size, for functions of the host count elements by it.
        let buffers = operands
            .iter()
            .map(|operand| device.alloc(if operand.len == 0 { 16 } else { operand.bytes() }, &label(operand)))
            .collect::<Result<_, _>>()?;
        let problem = Self { device, operands, buffers, seed, right: OnceCell::new() };
        (0..problem.operands.len()).try_for_each(|index| problem.fill(index))?;
        Ok(problem)
    }

    /// The operands.
    pub fn operands(&self) -> &[Operand] {
        &self.operands
    }

    /// The seed of its values.
    pub fn seed(&self) -> u32 {
        self.seed
    }

    /// Memory of all operands, bytes.
    pub fn bytes(&self) -> usize {
        self.operands.iter().map(Operand::bytes).sum()
    }

    /// Right values of the units that are compared, computed when they are first asked for.
    pub(crate) fn right(&self, compute: impl FnOnce() -> Vec<(usize, Vec<Piece>)>) -> &[(usize, Vec<Piece>)] {
        self.right.get_or_init(compute)
    }

    /// Puts everything that a run writes back to what it was before: fills and poison.
    ///
    /// # Errors
    /// When a driver call fails.
    pub fn reset(&self) -> Result<(), DeviceError> {
        let written = (0..self.operands.len()).filter(|index| self.operands[*index].role != Role::In);
        written.into_iter().try_for_each(|index| self.fill(index))
    }

    /// Enqueues the steps once.
    ///
    /// # Errors
    /// When a driver call fails.
    pub fn run(&self, steps: &[Ready]) -> Result<(), DeviceError> {
        let operands: Vec<(Dtype, &Buffer)> = self.operands.iter().map(|operand| operand.dtype).zip(&self.buffers).collect();
        steps.iter().try_for_each(|step| self.device.enqueue(step, &operands))
    }

    /// `len` elements of an operand from `from` on, as numbers, after everything enqueued.
    ///
    /// # Errors
    /// When a driver call fails.
    pub fn row(&self, operand: usize, from: usize, len: usize) -> Result<Vec<f64>, DeviceError> {
        let dtype = self.operands[operand].dtype;
        let mut bytes = vec![0; len * dtype.bytes()];
        self.device.download(&self.buffers[operand], from * dtype.bytes(), &mut bytes)?;
        Ok(numbers(dtype, &bytes))
    }

    fn fill(&self, index: usize) -> Result<(), DeviceError> {
        let (operand, buffer) = (&self.operands[index], &self.buffers[index]);
        let seed = operand_seed(self.seed, index);
        match &operand.fill {
            Fill::Poison => self.device.poison(buffer),
            Fill::Ints(values) => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                self.device.upload(buffer, 0, &bytes)
            }
            Fill::Uniform { scale } => self.spread(operand, buffer, seed, *scale, 0.0, false),
            Fill::Shifted { low, scale } => self.spread(operand, buffer, seed, *scale, low + scale, false),
            Fill::Fine { scale } => self.spread(operand, buffer, seed, *scale, 0.0, true),
        }
    }

    /// Uniform values around `base`, by the device where it can, else by the host; the same numbers either way.
    fn spread(&self, operand: &Operand, buffer: &Buffer, seed: u32, scale: f32, base: f32, finely: bool) -> Result<(), DeviceError> {
        if self.device.info().api == Api::Cpu {
            let number = if finely { fine } else { uniform };
            return (0..operand.len).step_by(STRETCH).try_for_each(|from| {
                let stretch = from..operand.len.min(from + STRETCH);
                let values = stretch.map(|index| base + number(index as u64, seed, scale));
                let bytes: Vec<u8> = match operand.dtype {
                    Dtype::Bf16 => values.flat_map(|value| to_bf16(value).to_le_bytes()).collect(),
                    Dtype::F32 | Dtype::I32 => values.flat_map(f32::to_le_bytes).collect(),
                };
                self.device.upload(buffer, from * operand.dtype.bytes(), &bytes)
            });
        }
        let entry = match operand.dtype {
            Dtype::Bf16 => "fill_bf16",
            _ if finely => "fill_fine",
            _ => "fill_f32",
        };
        let (low, high) = (operand.len as u32, (operand.len as u64 >> 32) as u32);
        let args = [Arg::Operand(0), Arg::I32(low as i32), Arg::I32(high as i32), Arg::I32(seed as i32), Arg::F32(scale), Arg::F32(base)];
        let blocks = (operand.len.div_ceil(256) as u32).clamp(1, self.device.info().units.max(1) * 8);
        let launch = Launch { text: TEXT, entry, defines: vec![], grid: [blocks, 1, 1], block: 256, shared: 0, args: args.to_vec() };
        let ready = self.device.prepare(&Step::Launch(launch))?;
        self.device.enqueue(&ready, &[(operand.dtype, buffer)])
    }
}

impl std::fmt::Debug for Problem<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Problem").field("operands", &self.operands.len()).field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Elements as numbers.
fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        Dtype::Bf16 => bytes.as_chunks::<2>().0.iter().map(|two| f64::from(from_bf16(u16::from_le_bytes(*two)))).collect(),
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|four| f64::from(f32::from_le_bytes(*four))).collect(),
        Dtype::I32 => bytes.as_chunks::<4>().0.iter().map(|four| f64::from(i32::from_le_bytes(*four))).collect(),
    }
}
