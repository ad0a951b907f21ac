//! The table of a device: ceilings first, then every family, variant and shape, checked before timed; then how times grow.

use crate::check::{Checked, check, compare};
use crate::device::{Api, Built, Device, DeviceError, Ready};
use crate::dims::Dims;
use crate::kernel::{Cost, How, Kernel, Tier, Variant};
use crate::kernels::find;
use crate::plugin::Plugged;
use crate::problem::{NotRun, Problem, prepare};
use crate::scaling::{Scaling, Slope, fit};
use crate::timing::{Cache, Effort, Timing, problems, sets, time};

/// What is to be measured.
pub struct Ask<'a> {
    /// Families, in the order of the table.
    pub kernels: Vec<&'a dyn Kernel>,
    /// Variants by name; empty means all.
    pub variants: Vec<String>,
    /// Variants of others, for the families they are of.
    pub plugins: Vec<Plugged>,
    /// Which shapes.
    pub tier: Tier,
    /// How long each.
    pub effort: Effort,
    /// Whether times are followed over a growing size, too.
    pub sweep: bool,
    /// Seed of all values.
    pub seed: u32,
}

/// The best that this device did while nothing was computed, or nothing but a matrix product.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ceilings {
    /// Bytes per second of the copy, read and written, and which variant.
    pub copy: Option<(f64, &'static str)>,
    /// Bytes per second of reading, and which variant.
    pub read: Option<(f64, &'static str)>,
    /// Operations per second of the matrix product, and which variant.
    pub matrix: Option<(f64, &'static str)>,
}

/// What limits a problem, by its cost and the measured ceilings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Moving its bytes takes longer than computing it.
    Memory,
    /// Computing it takes longer.
    Compute,
}

impl Side {
    /// Its word in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Compute => "compute",
        }
    }
}

impl Ceilings {
    /// Bytes per second that bound a cost: reading where next to nothing is written, else the copy.
    pub fn bandwidth(&self, cost: &Cost) -> Option<f64> {
        let (copy, read) = (self.copy.map(|(rate, _)| rate), self.read.map(|(rate, _)| rate));
        // A device that copies faster than our own reading goes is not bound by our reading.
        if cost.written < 0.1 * cost.read { read.into_iter().chain(copy).reduce(f64::max) } else { copy.or(read) }
    }

    /// What limits a cost, and the least seconds that the ceilings allow it.
    pub fn limit(&self, cost: &Cost) -> Option<(Side, f64)> {
        let memory = cost.bytes() / self.bandwidth(cost)?;
        let compute = self.matrix.map_or(0.0, |(rate, _)| cost.matrix_flops / rate);
        Some(if compute > memory { (Side::Compute, compute) } else { (Side::Memory, memory) })
    }
}

/// One line of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Family.
    pub kernel: &'static str,
    /// Variant.
    pub variant: &'static str,
    /// Shape.
    pub dims: Dims,
    /// The least it costs.
    pub cost: Cost,
    /// What the check of this very shape found, before timing and again after.
    pub checked: Checked,
    /// What compiling told, per step.
    pub built: Vec<Built>,
    /// Times.
    pub timing: Timing,
}

/// Something that is not in the table, and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Absent {
    /// Family.
    pub kernel: &'static str,
    /// Variant.
    pub variant: &'static str,
    /// Shape, where it is about one.
    pub dims: Option<Dims>,
    /// What kind of absence.
    pub kind: Kind,
    /// Why.
    pub why: String,
}

/// Kinds of absence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Not for this device or shape.
    Unfit,
    /// Its result was wrong: it is not timed.
    Wrong,
    /// The device refused or failed.
    Failed,
}

/// How a family's time grew.
#[derive(Clone, PartialEq, Debug)]
pub struct Growth {
    /// Family.
    pub kernel: &'static str,
    /// The variant followed: the fastest of the table.
    pub variant: &'static str,
    /// What theory says.
    pub scaling: Scaling,
    /// The shape of the first point.
    pub dims: Dims,
    /// Sizes and seconds (processor seconds where the device is the host's processor).
    pub points: Vec<(f64, f64)>,
    /// The line through their logarithms.
    pub slope: Option<Slope>,
}

/// All that was found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Found {
    /// The ceilings.
    pub ceilings: Ceilings,
    /// The table.
    pub rows: Vec<Row>,
    /// What is not in it.
    pub absent: Vec<Absent>,
    /// How times grow.
    pub growth: Vec<Growth>,
}

/// Measures a device.
///
/// `say` is told what is being done. A family that fails is a line of [`Found::absent`]; the rest goes on.
pub fn run(device: &dyn Device, ask: &Ask<'_>, say: &mut dyn FnMut(&str)) -> Found {
    let mut found = Found::default();
    let mut suite = Suite { device, ask, say, found: &mut found };
    // Ceilings are families like others; those that were not asked for are measured quickly and kept out of the table.
    for name in ["copy", "read", "gemm"] {
        let Some(kernel) = find(name) else { continue };
        let asked = ask.kernels.iter().any(|kernel| kernel.name() == name);
        let rows = suite.family(kernel, if asked { ask.tier } else { Tier::Quick }, asked);
        suite.ceiling(name, &rows);
        if asked {
            suite.found.rows.extend(rows);
        }
    }
    for kernel in ask.kernels.iter().filter(|kernel| !["copy", "read", "gemm"].contains(&kernel.name())) {
        let rows = suite.family(*kernel, ask.tier, true);
        suite.found.rows.extend(rows);
    }
    if ask.sweep {
        for kernel in &ask.kernels {
            if let Some(scaling) = kernel.scaling() {
                suite.grow(*kernel, scaling);
            }
        }
    }
    found
}

struct Suite<'a> {
    device: &'a dyn Device,
    ask: &'a Ask<'a>,
    say: &'a mut dyn FnMut(&str),
    found: &'a mut Found,
}

impl Suite<'_> {
    /// All rows of a family. What is absent is noted if `note`.
    fn family(&mut self, kernel: &dyn Kernel, tier: Tier, note: bool) -> Vec<Row> {
        let before = self.found.absent.len();
        // That text is for GPUs and native functions are for the CPU needs no line in the table; a family without any says why.
        let cpu = self.device.info().api == Api::Cpu;
        let native = kernel.variants().iter().any(|variant| matches!(variant.how, How::Native(_)));
        let of_device = |variant: &Variant| match variant.how {
            How::Text(_) => !cpu || !native,
            How::Native(_) => cpu,
            How::Plugin(_) => true,
        };
        let named = |variant: &Variant| !note || self.ask.variants.is_empty() || self.ask.variants.iter().any(|name| name == variant.name);
        let wanted = |variant: &&Variant| of_device(variant) && named(variant);
        let plugged = self.ask.plugins.iter().filter(|plugged| plugged.kernel == kernel.name()).map(|plugged| &plugged.variant);
        let variants: Vec<&Variant> = kernel.variants().iter().chain(plugged).filter(wanted).collect();
        (self.say)(&format!("checking {}", kernel.name()));
        let sound: Vec<&Variant> = variants.into_iter().filter(|variant| self.sound(kernel, variant)).collect();
        let mut rows = vec![];
        for dims in kernel.shapes(tier, self.device.info()) {
            (self.say)(&format!("{} {dims}", kernel.name()));
            rows.extend(self.shape(kernel, &dims, &sound));
        }
        if !note {
            self.found.absent.truncate(before);
        }
        rows
    }

    /// Whether a variant is right on every small shape that it fits, and fits one.
    fn sound(&mut self, kernel: &dyn Kernel, variant: &Variant) -> bool {
        let mut unfit = None;
        let mut ran = false;
        for dims in kernel.shapes(Tier::Check, self.device.info()) {
            let outcome = prepare(self.device, kernel, variant, &dims).and_then(|steps| {
                let problem = Problem::new(self.device, kernel, &dims, self.ask.seed)?;
                Ok(check(self.device, kernel, &dims, &problem, &steps)?)
            });
            match outcome {
                Ok(checked) if checked.passed() => ran = true,
                Ok(checked) => return self.absent(kernel, variant, Some(&dims), Kind::Wrong, checked.to_string()),
                Err(NotRun::Unfit(why)) => unfit = Some(why),
                Err(NotRun::Device(error)) => return self.absent(kernel, variant, Some(&dims), kind(&error), error.to_string()),
            }
        }
        match unfit {
            Some(why) if !ran => self.absent(kernel, variant, None, Kind::Unfit, why),
            _ => ran,
        }
    }

    fn shape(&mut self, kernel: &dyn Kernel, dims: &Dims, variants: &[&Variant]) -> Vec<Row> {
        let bytes: usize = kernel.operands(dims).iter().map(crate::kernel::Operand::bytes).sum();
        let count = sets(bytes, self.device.info().cache);
        let made = match problems(self.device, kernel, dims, self.ask.seed, count.unwrap_or(1)) {
            Ok(made) => made,
            Err(error) => {
                for variant in variants {
                    self.absent(kernel, variant, Some(dims), kind(&error), error.to_string());
                }
                return vec![];
            }
        };
        let mut rows = vec![];
        for variant in variants {
            match self.timed(kernel, variant, dims, &made, count) {
                Ok(timed) => rows.extend(timed),
                Err(NotRun::Unfit(why)) => {
                    self.absent(kernel, variant, Some(dims), Kind::Unfit, why);
                }
                Err(NotRun::Device(error)) => {
                    self.absent(kernel, variant, Some(dims), kind(&error), error.to_string());
                }
            }
        }
        rows
    }

    /// Cold and, where operands could stay in the cache, hot.
    fn timed(
        &mut self,
        kernel: &dyn Kernel,
        variant: &Variant,
        dims: &Dims,
        made: &[Problem<'_>],
        count: Option<usize>,
    ) -> Result<Vec<Row>, NotRun> {
        let steps = prepare(self.device, kernel, variant, dims)?;
        let checked = check(self.device, kernel, dims, &made[0], &steps)?;
        if !checked.passed() {
            self.absent(kernel, variant, Some(dims), Kind::Wrong, checked.to_string());
            return Ok(vec![]);
        }
        let mut rows = vec![];
        let caches: &[Cache] = match count {
            Some(1) => &[Cache::Cold],
            Some(_) => &[Cache::Cold, Cache::Hot],
            None => &[Cache::Hot],
        };
        for cache in caches {
            let sets = if *cache == Cache::Cold { made } else { &made[..1] };
            let timing = time(self.device, sets, &steps, *cache, self.ask.effort)?;
            rows.push(row(kernel, variant, dims, &steps, checked.clone(), timing));
        }
        // Once more after all the repetitions: a race may show only under load. What is updated in place has moved on.
        if kernel.operands(dims).iter().all(|operand| operand.role != crate::kernel::Role::InOut) {
            let after = compare(kernel, dims, &made[0])?;
            if !after.passed() {
                self.absent(kernel, variant, Some(dims), Kind::Wrong, format!("after timing: {after}"));
                return Ok(vec![]);
            }
        }
        Ok(rows)
    }

    /// Follows the fastest variant of the table over the family's sweep.
    fn grow(&mut self, kernel: &dyn Kernel, scaling: Scaling) {
        let Some(fastest) = self.fastest(kernel) else { return };
        let plugged = self.ask.plugins.iter().filter(|plugged| plugged.kernel == kernel.name()).map(|plugged| &plugged.variant);
        let Some(variant) = kernel.variants().iter().chain(plugged).find(|variant| variant.name == fastest) else { return };
        let shapes = kernel.shapes(Tier::Sweep, self.device.info());
        let Some(first) = shapes.first().cloned() else { return };
        let mut points = vec![];
        for dims in shapes {
            (self.say)(&format!("{} over {}: {dims}", kernel.name(), scaling.over));
            match self.point(kernel, variant, &dims) {
                Ok(Some(seconds)) => points.push((dims.get(scaling.over) as f64, seconds)),
                Ok(None) => (),
                Err(NotRun::Unfit(why)) => {
                    self.absent(kernel, variant, Some(&dims), Kind::Unfit, why);
                }
                Err(NotRun::Device(error)) => {
                    self.absent(kernel, variant, Some(&dims), kind(&error), error.to_string());
                }
            }
        }
        let slope = fit(&points);
        self.found.growth.push(Growth { kernel: kernel.name(), variant: variant.name, scaling, dims: first, points, slope });
    }

    /// The variant that is best over all shapes of the table: it does most of them, and those in the least time beside the best of each.
    fn fastest(&self, kernel: &dyn Kernel) -> Option<&'static str> {
        let rows: Vec<&Row> = self.found.rows.iter().filter(|row| row.kernel == kernel.name()).collect();
        let alike = |a: &Row, b: &Row| a.dims == b.dims && a.timing.cache == b.timing.cache;
        let best =
            |row: &Row| rows.iter().filter(|other| alike(row, other)).map(|other| other.timing.median()).fold(f64::INFINITY, f64::min);
        let mut names: Vec<&'static str> = rows.iter().map(|row| row.variant).collect();
        names.dedup();
        let worth = |name: &str| {
            let own: Vec<f64> = rows.iter().filter(|row| row.variant == name).map(|row| row.timing.median() / best(row)).collect();
            (std::cmp::Reverse(own.len()), own.iter().sum::<f64>())
        };
        names.into_iter().min_by(|a, b| worth(a).0.cmp(&worth(b).0).then(worth(a).1.total_cmp(&worth(b).1)))
    }

    fn point(&mut self, kernel: &dyn Kernel, variant: &Variant, dims: &Dims) -> Result<Option<f64>, NotRun> {
        let steps = prepare(self.device, kernel, variant, dims)?;
        let problem = Problem::new(self.device, kernel, dims, self.ask.seed)?;
        let checked = check(self.device, kernel, dims, &problem, &steps)?;
        if !checked.passed() {
            self.absent(kernel, variant, Some(dims), Kind::Wrong, checked.to_string());
            return Ok(None);
        }
        let timing = time(self.device, std::slice::from_ref(&problem), &steps, Cache::Hot, self.ask.effort)?;
        // On a busy host processor time keeps slopes readable.
        Ok(Some(if self.device.info().api == Api::Cpu { timing.cpu.unwrap_or(timing.median()) } else { timing.median() }))
    }

    fn ceiling(&mut self, name: &str, rows: &[Row]) {
        let cold = rows.iter().filter(|row| row.timing.cache == Cache::Cold || name == "gemm");
        let rate = |row: &Row| if name == "gemm" { row.cost.matrix_flops } else { row.cost.bytes() } / row.timing.median();
        let best = cold.map(|row| (rate(row), row.variant)).max_by(|a, b| a.0.total_cmp(&b.0));
        match name {
            "copy" => self.found.ceilings.copy = best,
            "read" => self.found.ceilings.read = best,
            _ => self.found.ceilings.matrix = best,
        }
    }

    /// Notes an absence; always false, so that a caller can say so in one word.
    fn absent(&mut self, kernel: &dyn Kernel, variant: &Variant, dims: Option<&Dims>, kind: Kind, why: String) -> bool {
        self.found.absent.push(Absent { kernel: kernel.name(), variant: variant.name, dims: dims.cloned(), kind, why });
        false
    }
}

fn row(kernel: &dyn Kernel, variant: &Variant, dims: &Dims, steps: &[Ready], checked: Checked, timing: Timing) -> Row {
    Row {
        kernel: kernel.name(),
        variant: variant.name,
        dims: dims.clone(),
        cost: kernel.cost(dims),
        checked,
        built: steps.iter().map(|step| step.built.clone()).collect(),
        timing,
    }
}

/// A device that cannot do a thing at all has not failed at it.
fn kind(error: &DeviceError) -> Kind {
    if matches!(error, DeviceError::Unsupported { .. }) { Kind::Unfit } else { Kind::Failed }
}
